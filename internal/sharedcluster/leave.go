package sharedcluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"

	"k8sbootcamp/internal/kubeclient"
)

// LabelStudent is the label of students' namespaces.
const LabelStudent = "bootcamp/student"

// StudentsError is a platform that students still stand on.
type StudentsError struct{ Students []string } // namespaces, with their stacks

func (e *StudentsError) Error() string {
	return "students are still on this cluster, and their access and their limits hang on the platform: " + strings.Join(e.Students, ", ") +
		". Destroy them first"
}

// LeavePlatform is what the destroy of the class's own stack begins with: it returns a
// *StudentsError while there are students, and touches nothing.
func (c *Client) LeavePlatform(ctx context.Context, claim Claim, owned []Object) error {
	if err := c.mine(ctx, claim, owned); err != nil {
		return err
	}
	all, err := c.typed.CoreV1().Namespaces().List(ctx, metav1.ListOptions{LabelSelector: LabelStudent + "=true"})
	if err != nil {
		return kubeclient.Explain(err)
	}
	var there []string
	for _, n := range all.Items {
		there = append(there, fmt.Sprintf("%s (stack %s)", n.Name, n.Annotations[AnnotationStack]))
	}
	if len(there) > 0 {
		return &StudentsError{there}
	}
	return nil
}

// LeaveStudent is what the destroy of a student's stack begins with: the student's
// access goes first, then the namespace, surely, whatever the student left in it.
// Where an object of the stack's name is not the claim's, nothing is touched.
func (c *Client) LeaveStudent(ctx context.Context, claim Claim, owned []Object, namespace string) error {
	if err := c.mine(ctx, claim, owned); err != nil {
		return err
	}
	bindings := c.typed.RbacV1().RoleBindings(namespace)
	if err := bindings.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		return fmt.Errorf("taking the student's rights in namespace %s: %w", namespace, kubeclient.Explain(err))
	}
	owned = slices.Clone(owned)
	isNamespace := func(o Object) int {
		if o.Resource == "namespaces" {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(owned, func(a, b Object) int { return isNamespace(a) - isNamespace(b) })
	for _, o := range owned {
		live, err := c.get(ctx, o)
		if err == nil && live != nil {
			err = c.remove(ctx, o, live.GetUID())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// mine is Mine, for what would be removed.
func (c *Client) mine(ctx context.Context, claim Claim, owned []Object) error {
	err := c.Mine(ctx, claim, owned)
	var taken *TakenError
	if errors.As(err, &taken) {
		return fmt.Errorf("%w\nNothing was touched. What another has made of that name stays if you take it out of the stack first (`pulumi state delete`)", err)
	}
	return err
}

// How long what is deleted may take, in ticks (seconds).
const (
	goneTicks = 240
	// A pod may end by itself; then its grace is cut short, whatever it says. A node
	// that is gone never reports its pods' end: those go without it.
	graceTicks = 10
	stuckTicks = 30
	// The cluster's own controllers take their finalizers off by themselves.
	finalizerTicks = 15
	// What still blocks is said by then, and again when it changes.
	sayTicks = 20
	// A cluster that stops answering may be back by then.
	silentTicks = 30
	// How often the cluster is asked to look at the namespace again: by itself it waits
	// for half of the longest grace of the pods that it saw there, gone or not.
	nudgeTicks = 10
)

// gone returns once the object of this UID is there no more.
func (c *Client) gone(ctx context.Context, o Object, uid types.UID) error {
	return c.until(ctx, o, uid, func(context.Context, int) error { return nil })
}

// vacate returns once a namespace that was deleted is gone. It takes away what a
// student can have left to keep it: a long grace of a pod, a finalizer that nobody
// serves. What is the cluster's own to finish is named, and waited for.
func (c *Client) vacate(ctx context.Context, namespace string, uid types.UID) error {
	said, nudged := "", 0
	var blocks []string
	err := c.until(ctx, Object{Resource: "namespaces", Name: namespace}, uid, func(ctx context.Context, since int) error {
		if since < graceTicks {
			return nil
		}
		found, err := c.unblock(ctx, namespace, since)
		if err != nil {
			return err
		}
		if since >= nudged+nudgeTicks || len(found) == 0 && len(blocks) > 0 {
			nudged = since
			if err := c.nudge(ctx, namespace, uid); err != nil {
				return err
			}
		}
		blocks = found
		if what := strings.Join(blocks, "; "); since > sayTicks && what != said {
			said = what
			fmt.Fprintf(c.log, "namespace %s is kept by: %s\n", namespace, what)
		}
		return nil
	})
	if err != nil && ctx.Err() == nil && len(blocks) > 0 {
		return fmt.Errorf("%w. The student has no access any more. The namespace is kept by: %s. Destroy again once that is done", err, strings.Join(blocks, "; "))
	}
	return err
}

// nudge has the cluster look at a namespace again that is being deleted.
func (c *Client) nudge(ctx context.Context, namespace string, uid types.UID) error {
	patch := fmt.Sprintf(`{"metadata":{"uid":%q,"annotations":{"bootcamp/left":%q}}}`, uid, time.Now().UTC().Format(time.RFC3339Nano))
	_, err := c.typed.CoreV1().Namespaces().Patch(ctx, namespace, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	return kubeclient.IgnoreGone(err)
}

// until returns once the object of this UID is there no more. Meanwhile it works at
// that, since so many ticks. A cluster that does not answer for long, or refuses, is an
// error before the time is over.
func (c *Client) until(ctx context.Context, o Object, uid types.UID, work func(ctx context.Context, since int) error) error {
	begin, limit := time.Now(), goneTicks*c.tick
	well := begin
	var lastErr error
	err := wait.PollUntilContextTimeout(ctx, c.tick, limit, true, func(ctx context.Context) (bool, error) {
		now, err := c.get(ctx, o)
		if err == nil && (now == nil || now.GetUID() != uid) {
			return true, nil
		}
		if err == nil {
			err = work(ctx, int(time.Since(begin)/c.tick))
		}
		switch {
		case ctx.Err() != nil: // this look was cut off; the one before tells
		case err == nil:
			well, lastErr = time.Now(), nil
		case time.Since(well) > silentTicks*c.tick:
			return false, err
		default:
			lastErr = err
		}
		return false, nil
	})
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case lastErr != nil || !wait.Interrupted(err):
		return fmt.Errorf("%s was deleted, and is still there: %w", o, cmp.Or(lastErr, err))
	}
	return fmt.Errorf("%s is still there %s after its deletion", o, limit)
}

// studentsOwn are the kinds that a student can write, and what controllers make of
// them: their finalizers are nobody's but the student's, or of no use any more.
var studentsOwn = []string{"pods", "configmaps", "services", "serviceaccounts", "deployments", "daemonsets", "replicasets", "controllerrevisions"}

// unblock takes away what may be taken, and tells what keeps a namespace that long
// after its deletion.
func (c *Client) unblock(ctx context.Context, namespace string, since int) (blocks []string, err error) {
	lists, err := discovery.ServerPreferredNamespacedResources(c.typed.Discovery())
	var broken *discovery.ErrGroupDiscoveryFailed
	if errors.As(err, &broken) { // the namespace waits for it, too
		for group := range broken.Groups {
			blocks = append(blocks, fmt.Sprintf("API %s, which does not answer (kubectl get apiservices)", group))
		}
	} else if err != nil {
		return nil, kubeclient.Explain(err)
	}
	for _, list := range discovery.FilteredBy(discovery.SupportsAllVerbs{Verbs: []string{"list", "delete"}}, lists) {
		group, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			return nil, err
		}
		for _, r := range list.APIResources {
			of := group.WithResource(r.Name)
			if of.Group == "events.k8s.io" || of.Resource == "events" { // they keep nothing
				continue
			}
			all, err := c.metadata.Resource(of).Namespace(namespace).List(ctx, metav1.ListOptions{})
			if err != nil {
				return nil, fmt.Errorf("listing %s in namespace %s: %w", r.Name, namespace, kubeclient.Explain(err))
			}
			for _, o := range all.Items {
				if o.DeletionTimestamp == nil {
					continue // its turn comes after the pods
				}
				why, err := c.release(ctx, of, &o, since)
				if err != nil {
					return nil, err
				}
				blocks = append(blocks, fmt.Sprintf("%s %s (%s)", r.Name, o.Name, why))
			}
		}
	}
	slices.Sort(blocks)
	return blocks, nil
}

// release takes from one object what keeps it, where that is the student's, and says
// what that was.
func (c *Client) release(ctx context.Context, of schema.GroupVersionResource, o *metav1.PartialObjectMetadata, since int) (why string, err error) {
	access := c.metadata.Resource(of).Namespace(o.Namespace)
	same := metav1.Preconditions{UID: &o.UID}
	if of.Resource == "pods" && of.Group == "" && len(o.Finalizers) == 0 {
		grace := int64(1)
		if since > stuckTicks {
			grace = 0
		}
		err := access.Delete(ctx, o.Name, metav1.DeleteOptions{GracePeriodSeconds: &grace, Preconditions: &same})
		return "its containers are being stopped", kubeclient.IgnoreGone(err)
	}
	if len(o.Finalizers) == 0 {
		return "it is being deleted", nil
	}
	why = "finalizer " + strings.Join(o.Finalizers, ", ")
	theirs := (of.Group == "" || of.Group == "apps") && slices.Contains(studentsOwn, of.Resource)
	if theirs && of.Resource == "services" {
		theirs, err = c.withoutBalancer(ctx, o)
		if err != nil {
			return "", kubeclient.IgnoreGone(err)
		}
	}
	if !theirs {
		return why + ", which is the cluster's own to take off", nil
	}
	if since < finalizerTicks {
		return why, nil
	}
	fmt.Fprintf(c.log, "taking %s off %s %s\n", why, of.Resource, o.Name)
	patch := fmt.Sprintf(`{"metadata":{"uid":%q,"finalizers":null}}`, o.UID)
	_, err = access.Patch(ctx, o.Name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	return why, kubeclient.IgnoreGone(err)
}

// withoutBalancer tells whether a Service has no load balancer.
func (c *Client) withoutBalancer(ctx context.Context, o *metav1.PartialObjectMetadata) (bool, error) {
	s, err := c.dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "services"}).Namespace(o.Namespace).Get(ctx, o.Name, metav1.GetOptions{})
	return err == nil && !kubeclient.HasBalancer(s), err
}

// PortTakenError is a port of the nodes that another's pod has.
type PortTakenError struct {
	Port      int
	Pod, Node string
}

func (e *PortTakenError) Error() string {
	return fmt.Sprintf("port %d of node %s is taken by pod %s, so the class's node-exporter could not start there. If that is a node-exporter itself, "+
		"set chapter=3-3 on the platform's stack: students' Prometheus finds it there. Else remove it", e.Port, e.Node, e.Pod)
}

// PortFree returns a *PortTakenError where a pod outside of a namespace has a port of
// its node. What is no pod is not seen.
func (c *Client) PortFree(ctx context.Context, port int, but string) error {
	for next := ""; ; {
		pods, err := c.typed.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{Limit: 500, Continue: next})
		if err != nil {
			return kubeclient.Explain(err)
		}
		for _, p := range pods.Items {
			if p.Namespace == but || p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
				continue
			}
			for _, container := range p.Spec.Containers {
				for _, at := range container.Ports {
					if int(at.HostPort) == port || p.Spec.HostNetwork && int(at.ContainerPort) == port {
						return &PortTakenError{port, p.Namespace + "/" + p.Name, p.Spec.NodeName}
					}
				}
			}
		}
		if next = pods.Continue; next == "" {
			return nil
		}
	}
}
