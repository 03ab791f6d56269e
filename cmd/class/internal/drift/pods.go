package drift

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"k8sbootcamp/internal/check"
	"k8sbootcamp/internal/kubeclient"
)

// podGrace is how many seconds a pod may take to end that is to be another one.
const podGrace = 5

// workloads are the kinds whose pods are looked after.
var workloads = []string{"Deployment", "DaemonSet", "StatefulSet"}

// Pods restarts those of the stack's pods that do not get well by themselves soon, or are
// not what their workload makes, or have read what has been put right since; a healthy
// one stays. It says what it did.
func (c *Cluster) Pods(ctx context.Context, scope Scope, objects, changed []Object) (did []string, err error) {
	for _, namespace := range namespacesOf(objects, workloads...) {
		said, err := c.podsOf(ctx, scope, namespace, objects, changed)
		did = append(did, said...)
		if err != nil {
			return did, err
		}
	}
	return did, nil
}

// namespacesOf are those of the objects of some kinds, each once, in order.
func namespacesOf(objects []Object, kinds ...string) []string {
	all := map[string]bool{}
	for _, o := range objects {
		if slices.Contains(kinds, o.Kind) {
			all[o.Namespace] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// Evacuate has pods of the stack's Deployments made anew that are on nodes which do not run:
// elsewhere they start at once, and there only after their node has. It says what it did.
func (c *Cluster) Evacuate(ctx context.Context, nodes []string, objects []Object) (did []string, err error) {
	if len(nodes) == 0 {
		return nil, nil
	}
	for _, namespace := range namespacesOf(objects, "Deployment") {
		pods, err := c.typed.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return did, kubeclient.Explain(err)
		}
		templates, err := c.templates(ctx, namespace, objects)
		if err != nil {
			return did, kubeclient.Explain(err)
		}
		for _, p := range pods.Items {
			owner := metav1.GetControllerOf(&p)
			if owner == nil || owner.Kind != "ReplicaSet" || !slices.Contains(nodes, p.Spec.NodeName) {
				continue
			}
			if _, ours := templates[owner.UID]; !ours {
				continue
			}
			now := int64(0) // there is no kubelet that could end it
			err := c.typed.CoreV1().Pods(namespace).Delete(ctx, p.Name, metav1.DeleteOptions{GracePeriodSeconds: &now, Preconditions: &metav1.Preconditions{UID: &p.UID}})
			if err := kubeclient.IgnoreGone(err); err != nil {
				return did, fmt.Errorf("pod %s: %w", p.Name, err)
			}
			did = append(did, "pod "+p.Name+" is another now: its node "+p.Spec.NodeName+" was stopped")
		}
	}
	return did, nil
}

// template is what makes pods.
type template struct {
	spec corev1.PodTemplateSpec
	keep bool // the pod's own grace: it has data
}

func (c *Cluster) podsOf(ctx context.Context, scope Scope, namespace string, objects, changed []Object) ([]string, error) {
	pods, err := c.typed.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, kubeclient.Explain(err)
	}
	templates, err := c.templates(ctx, namespace, objects)
	if err != nil {
		return nil, kubeclient.Explain(err)
	}
	accounts, err := c.typed.CoreV1().ServiceAccounts(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, kubeclient.Explain(err)
	}
	made := map[string]metav1.Time{}
	for _, a := range accounts.Items {
		made[a.Name] = a.CreationTimestamp
	}
	var api metav1.Time // zero where it is not known
	if service, err := c.typed.CoreV1().Services(check.APIServiceNamespace).Get(ctx, check.APIService, metav1.GetOptions{}); err == nil && scope.Own {
		api = service.CreationTimestamp
	}
	did := make([]string, len(pods.Items))
	err = each(ctx, pods.Items, func(ctx context.Context, i int, p corev1.Pod) error {
		owner := metav1.GetControllerOf(&p)
		if owner == nil {
			return nil
		}
		t, ours := templates[owner.UID]
		if !ours {
			return nil
		}
		said, err := c.pod(ctx, scope, &p, t, made, api, changed)
		if err != nil {
			return fmt.Errorf("pod %s: %w", p.Name, err)
		}
		did[i] = said
		return nil
	})
	return slices.DeleteFunc(did, func(s string) bool { return s == "" }), err
}

// templates are those of the stack's workloads and of their ReplicaSets, by their UIDs.
func (c *Cluster) templates(ctx context.Context, namespace string, objects []Object) (map[types.UID]template, error) {
	found := map[types.UID]template{}
	deployments := map[types.UID]bool{}
	for _, o := range objects {
		if o.Namespace != namespace || !slices.Contains(workloads, o.Kind) {
			continue
		}
		at, err := c.at(o.gvk(), o.Namespace)
		if err != nil {
			return nil, err
		}
		live, err := at.Get(ctx, o.Name, metav1.GetOptions{})
		if err != nil {
			continue // it is gone, and Pulumi makes it again
		}
		if o.Kind == "Deployment" {
			deployments[live.GetUID()] = true
			continue
		}
		var set appsv1.DaemonSet // of which a StatefulSet has the same template
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(map[string]any{"spec": map[string]any{"template": nested(live, "spec", "template")}}, &set); err != nil {
			return nil, err
		}
		found[live.GetUID()] = template{set.Spec.Template, o.Kind == "StatefulSet"}
	}
	sets, err := c.typed.AppsV1().ReplicaSets(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for _, s := range sets.Items {
		if owner := metav1.GetControllerOf(&s); owner != nil && deployments[owner.UID] {
			found[s.UID] = template{s.Spec.Template, false}
		}
	}
	return found, nil
}

func nested(o *unstructured.Unstructured, path ...string) any {
	v, _, _ := unstructured.NestedFieldNoCopy(o.Object, path...)
	return v
}

// pod puts one pod right, and says what it did, if anything.
func (c *Cluster) pod(ctx context.Context, scope Scope, p *corev1.Pod, t template, accounts map[string]metav1.Time, api metav1.Time, changed []Object) (string, error) {
	at := c.typed.CoreV1().Pods(p.Namespace)
	if p.DeletionTimestamp != nil {
		kept := slices.DeleteFunc(slices.Clone(p.Finalizers), func(f string) bool { return !keeps("Pod", false)(f) })
		if len(kept) == len(p.Finalizers) {
			return "", nil
		}
		_, err := at.Patch(ctx, p.Name, types.MergePatchType, finalizers(p.UID, kept), metav1.PatchOptions{FieldManager: manager})
		return "pod " + p.Name + " can go: a finalizer held it", kubeclient.IgnoreGone(err)
	}
	why := sick(p)
	for _, o := range changed {
		if why == "" && reads(&p.Spec, o) {
			why = "it has read " + o.String() + " as it was"
		}
	}
	if made := accounts[p.Spec.ServiceAccountName]; why == "" && hasToken(&p.Spec) && made.After(p.CreationTimestamp.Time) {
		why = "its account " + p.Spec.ServiceAccountName + " was made anew, and its token is of the old one"
	}
	if why == "" && asksAPI(&p.Spec) && begunBy(p, api) {
		why = "the Service kubernetes was made anew, and it may have begun without it"
	}
	if why == "" && altered(p, &t.spec) {
		why = "it was edited"
	}
	if why != "" {
		options := metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &p.UID}}
		if grace := int64(podGrace); !t.keep && (p.Spec.TerminationGracePeriodSeconds == nil || *p.Spec.TerminationGracePeriodSeconds > grace) {
			options.GracePeriodSeconds = &grace
		}
		return "pod " + p.Name + " is another now: " + why, kubeclient.IgnoreGone(at.Delete(ctx, p.Name, options))
	}
	extra := map[string]any{}
	for key := range p.Labels {
		if !scope.Own { // it may be an admission webhook's of the cluster
			break
		}
		if _, has := t.spec.Labels[key]; !has && !slices.Contains(controllersLabels, key) {
			extra[key] = nil
		}
	}
	for key, value := range t.spec.Labels {
		if p.Labels[key] != value {
			extra[key] = value
		}
	}
	if len(extra) == 0 {
		return "", nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": p.UID, "labels": extra}})
	if err != nil {
		return "", err
	}
	_, err = at.Patch(ctx, p.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: manager})
	return "pod " + p.Name + " has its labels again", kubeclient.IgnoreGone(err)
}

// controllersLabels are what controllers add to a template's.
var controllersLabels = []string{"pod-template-hash", "controller-revision-hash", "pod-template-generation",
	"statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index"}

// altered tells whether a pod is not what its template makes any more, in what can be
// changed of one that is there.
func altered(p *corev1.Pod, t *corev1.PodTemplateSpec) bool {
	if len(p.Spec.EphemeralContainers) > 0 || !reflect.DeepEqual(p.Spec.ActiveDeadlineSeconds, t.Spec.ActiveDeadlineSeconds) {
		return true
	}
	images := map[string]string{}
	for _, container := range slices.Concat(t.Spec.InitContainers, t.Spec.Containers) {
		images[container.Name] = container.Image
	}
	for _, container := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		if image, of := images[container.Name]; of && image != container.Image { // others an admission webhook of the cluster's has put in
			return true
		}
	}
	return false
}

// backingOff are why a container waits for longer than a reset may take.
var backingOff = []string{"CrashLoopBackOff", "ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull",
	"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}

// startTime is how long a pod that is given what it needs takes until its containers are
// made; one that takes longer may have missed something, and backs off.
const startTime = 5 * time.Second

// sick is why a pod does not get well by itself soon, or empty.
func sick(p *corev1.Pod) string {
	if p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded {
		return "it had ended"
	}
	for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		switch wait := s.State.Waiting; {
		case s.Ready || wait == nil:
			if ended := s.State.Terminated; ended != nil && ended.ExitCode != 0 {
				return "container " + s.Name + " had ended"
			}
		case slices.Contains(backingOff, wait.Reason):
			return "container " + s.Name + ": " + wait.Reason
		case wait.Reason == "ContainerCreating" && p.Status.StartTime != nil && time.Since(p.Status.StartTime.Time) > startTime && mounts(&p.Spec):
			return "container " + s.Name + " was not made"
		}
	}
	return ""
}

// mounts tells whether a pod waits for objects before it starts.
func mounts(spec *corev1.PodSpec) bool {
	return slices.ContainsFunc(spec.Volumes, func(v corev1.Volume) bool { return v.ConfigMap != nil || v.Secret != nil })
}

// hasToken tells whether a pod has a token of its account, which ends with that.
func hasToken(spec *corev1.PodSpec) bool {
	return slices.ContainsFunc(spec.Volumes, func(v corev1.Volume) bool {
		return v.Projected != nil && slices.ContainsFunc(v.Projected.Sources, func(s corev1.VolumeProjection) bool { return s.ServiceAccountToken != nil })
	})
}

// asksAPI tells whether a pod has an account of its own, which it asks the API server by.
func asksAPI(spec *corev1.PodSpec) bool {
	return hasToken(spec) && spec.ServiceAccountName != "" && spec.ServiceAccountName != "default"
}

// begunBy tells whether a container of a pod had begun by then, and runs since; a moment of
// zero is long past.
func begunBy(p *corev1.Pod, then metav1.Time) bool {
	return slices.ContainsFunc(p.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool {
		return s.State.Running != nil && !s.State.Running.StartedAt.After(then.Time)
	})
}

// AwaitAPIService returns once the Service is there that pods find the API server by.
func (c *Cluster) AwaitAPIService(ctx context.Context) error {
	return check.AwaitAPIService(ctx, c.config)
}

// reads tells whether a pod mounts an object or has its values as variables.
func reads(spec *corev1.PodSpec, o Object) bool {
	isMap, isSecret := o.Kind == "ConfigMap", o.Kind == "Secret"
	named := func(m, s string) bool { return isMap && m == o.Name || isSecret && s == o.Name }
	for _, v := range spec.Volumes {
		if v.ConfigMap != nil && named(v.ConfigMap.Name, "") || v.Secret != nil && named("", v.Secret.SecretName) {
			return true
		}
		if v.Projected == nil {
			continue
		}
		for _, s := range v.Projected.Sources {
			if s.ConfigMap != nil && named(s.ConfigMap.Name, "") || s.Secret != nil && named("", s.Secret.Name) {
				return true
			}
		}
	}
	for _, container := range slices.Concat(spec.InitContainers, spec.Containers) {
		for _, from := range container.EnvFrom {
			if from.ConfigMapRef != nil && named(from.ConfigMapRef.Name, "") || from.SecretRef != nil && named("", from.SecretRef.Name) {
				return true
			}
		}
		for _, v := range container.Env {
			if v.ValueFrom == nil {
				continue
			}
			if m, s := v.ValueFrom.ConfigMapKeyRef, v.ValueFrom.SecretKeyRef; m != nil && named(m.Name, "") || s != nil && named("", s.Name) {
				return true
			}
		}
	}
	return false
}

// Nudge has the controllers look again at the stack's workloads that lack pods: after a
// number of refusals they wait for minutes before they try once more.
func (c *Cluster) Nudge(ctx context.Context, objects []Object) error {
	return each(ctx, objects, func(ctx context.Context, _ int, o Object) error {
		if !slices.Contains(workloads, o.Kind) {
			return nil
		}
		at, err := c.at(o.gvk(), o.Namespace)
		if err != nil {
			return err
		}
		live, err := at.Get(ctx, o.Name, metav1.GetOptions{})
		if err != nil {
			return kubeclient.IgnoreGone(err)
		}
		want, have := "replicas", "replicas"
		if o.Kind == "DaemonSet" {
			want, have = "desiredNumberScheduled", "currentNumberScheduled"
		}
		number := func(path ...string) int64 { n, _, _ := unstructured.NestedInt64(live.Object, path...); return n }
		wanted := number("spec", want)
		if o.Kind == "DaemonSet" {
			wanted = number("status", want)
		}
		if number("status", have) >= wanted {
			return nil
		}
		if o.Kind != "Deployment" {
			return nudge(ctx, at, o.Name)
		}
		sets, err := c.at(schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "ReplicaSet"}, o.Namespace)
		if err != nil {
			return err
		}
		list, err := c.typed.AppsV1().ReplicaSets(o.Namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		lacking := 0
		for _, s := range list.Items {
			owner := metav1.GetControllerOf(&s)
			if owner == nil || owner.UID != live.GetUID() || s.Spec.Replicas == nil || s.Status.Replicas >= *s.Spec.Replicas {
				continue
			}
			lacking++
			if err := nudge(ctx, sets, s.Name); err != nil {
				return err
			}
		}
		if lacking > 0 { // the Deployment's annotations would go down to the ReplicaSet, and stay there
			return nil
		}
		return nudge(ctx, at, o.Name)
	})
}

// nudge changes an object, and takes that back.
func nudge(ctx context.Context, at dynamic.ResourceInterface, name string) error {
	for _, value := range []string{fmt.Sprintf("%q", time.Now().UTC().Format(time.RFC3339Nano)), "null"} {
		patch := fmt.Appendf(nil, `{"metadata":{"annotations":{"bootcamp/reset":%s}}}`, value)
		if _, err := at.Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: manager}); err != nil {
			return kubeclient.IgnoreGone(err)
		}
	}
	return nil
}
