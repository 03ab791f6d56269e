// Package takeover puts aside what a student made by hand where Pulumi is about to make
// the same: Pulumi then makes it anew, so that what was wrong with it is right. What
// Pulumi made itself stays, and so does all that is not asked about.
package takeover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"k8sbootcamp/internal/kubeclient"
)

// Verb is that of the tools kindcluster and sharedcluster.
const Verb = "takeover"

// EnvObjects are the stack's objects, as List writes them.
const EnvObjects = "BOOTCAMP_OBJECTS"

// Object is the plural resource of an object, its namespace if it has one, and its name.
type Object struct{ Resource, Namespace, Name string }

func (o Object) String() string {
	if o.Namespace != "" {
		return o.Resource + "/" + o.Namespace + "/" + o.Name
	}
	return o.Resource + "/" + o.Name
}

// kind is a resource that can be taken over.
type kind struct {
	schema.GroupVersionResource
	wide bool // in no namespace
}

// kinds are those that have nothing in them which cannot be made anew: no volume claims,
// and nothing that makes some.
var kinds = func() map[string]kind {
	const rbac = "rbac.authorization.k8s.io"
	all := map[string]kind{}
	for _, k := range []kind{
		{schema.GroupVersionResource{Group: "", Resource: "configmaps"}, false},
		{schema.GroupVersionResource{Group: "", Resource: "secrets"}, false},
		{schema.GroupVersionResource{Group: "", Resource: "serviceaccounts"}, false},
		{schema.GroupVersionResource{Group: "", Resource: "services"}, false},
		{schema.GroupVersionResource{Group: "apps", Resource: "daemonsets"}, false},
		{schema.GroupVersionResource{Group: "apps", Resource: "deployments"}, false},
		{schema.GroupVersionResource{Group: "networking.k8s.io", Resource: "ingresses"}, false},
		{schema.GroupVersionResource{Group: rbac, Resource: "roles"}, false},
		{schema.GroupVersionResource{Group: rbac, Resource: "rolebindings"}, false},
		{schema.GroupVersionResource{Group: rbac, Resource: "clusterroles"}, true},
		{schema.GroupVersionResource{Group: rbac, Resource: "clusterrolebindings"}, true},
	} {
		k.Version = "v1"
		all[k.Resource] = k
	}
	return all
}()

// List writes objects for EnvObjects, in an order of its own, and Parse reads them.
func List(objects []Object) string {
	out := make([]string, len(objects))
	for i, o := range objects {
		out[i] = o.String()
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// Parse is the inverse of List; nothing is no objects.
func Parse(list string) ([]Object, error) {
	var out []Object
	for _, text := range strings.Fields(list) {
		parts := strings.Split(text, "/")
		k, known := kinds[parts[0]]
		switch {
		case known && k.wide && len(parts) == 2 && parts[1] != "":
			out = append(out, Object{parts[0], "", parts[1]})
		case known && !k.wide && len(parts) == 3 && parts[1] != "" && parts[2] != "":
			out = append(out, Object{parts[0], parts[1], parts[2]})
		default:
			return nil, fmt.Errorf("%q is not RESOURCE/NAMESPACE/NAME, or RESOURCE/NAME of a resource without namespaces, of a known resource", text)
		}
	}
	return out, nil
}

// New are those of the objects (as List writes them) that were not printed by the run
// before: Pulumi has made the others.
func New(list, printed string) ([]Object, error) {
	objects, err := Parse(list)
	if err != nil {
		return nil, err
	}
	before := strings.Fields(printed)
	return slices.DeleteFunc(objects, func(o Object) bool { return slices.Contains(before, o.String()) }), nil
}

// Run takes over those of the objects that are new since the run before, and returns what
// the next one is to be told that this one printed. The cluster is reached only where
// there are some.
func Run(ctx context.Context, list, printed string, log io.Writer, reach func([]Object) (*rest.Config, error)) (string, error) {
	objects, err := New(list, printed)
	if err != nil || len(objects) == 0 {
		return list, err
	}
	config, err := reach(objects)
	if err != nil {
		return "", err
	}
	t, err := On(config, log)
	if err != nil {
		return "", err
	}
	return list, t.Take(ctx, objects)
}

// manager begins the name under which Pulumi's Kubernetes plugin applies objects.
const manager = "pulumi-kubernetes"

// ofPulumi tells whether Pulumi made an object, or has taken it over before.
func ofPulumi(o *unstructured.Unstructured) bool {
	return slices.ContainsFunc(o.GetManagedFields(), func(f metav1.ManagedFieldsEntry) bool {
		return f.Operation == metav1.ManagedFieldsOperationApply && strings.HasPrefix(f.Manager, manager)
	})
}

// KeptError is an object that was deleted, and is there still.
type KeptError struct {
	Object Object
	After  time.Duration
	By     string // what keeps it, in words
}

func (e *KeptError) Error() string {
	return fmt.Sprintf("%s was made by hand, and is still there %s after its deletion: %s. Remove it (`kubectl delete`), then `pulumi up` again", e.Object, e.After, e.By)
}

// Taker takes objects over.
type Taker struct {
	client dynamic.Interface
	log    io.Writer

	tick     time.Duration // between two looks at an object
	patience time.Duration // for an object to go by itself
	limit    time.Duration // for it to be gone
}

// On makes a Taker on a cluster; a line for each object goes to log.
func On(config *rest.Config, log io.Writer) (*Taker, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1 // all objects at once; what waits looks a few times a second
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	return &Taker{client: client, log: log, tick: 250 * time.Millisecond, patience: 5 * time.Second, limit: 30 * time.Second}, nil
}

// Take deletes those of the objects that are there and that Pulumi did not make, and
// returns once they are gone. It goes on with the others where one cannot be taken; such
// a one is a *KeptError, or what the API server said. It can be repeated at any time.
func (t *Taker) Take(ctx context.Context, objects []Object) error {
	var all errgroup.Group
	errs := make([]error, len(objects))
	said := make([]string, len(objects))
	for i, o := range objects {
		all.Go(func() error {
			said[i], errs[i] = t.take(ctx, o)
			return nil
		})
	}
	_ = all.Wait() // errs has them all
	for _, line := range said {
		if line != "" {
			fmt.Fprintln(t.log, line)
		}
	}
	return errors.Join(errs...)
}

// take takes one over, and says so where there was something to take.
func (t *Taker) take(ctx context.Context, o Object) (said string, err error) {
	var objects dynamic.ResourceInterface = t.client.Resource(kinds[o.Resource].GroupVersionResource)
	if o.Namespace != "" {
		objects = t.client.Resource(kinds[o.Resource].GroupVersionResource).Namespace(o.Namespace)
	}
	var since time.Time // when its deletion was first seen or asked for
	var keeps string
	err = wait.PollUntilContextTimeout(ctx, t.tick, t.limit, true, func(ctx context.Context) (bool, error) {
		live, err := objects.Get(ctx, o.Name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			return true, nil
		case err != nil && ctx.Err() != nil: // this look was cut off; the one before tells
			return false, ctx.Err()
		case err != nil:
			return false, fmt.Errorf("%s: %w", o, kubeclient.Explain(err))
		case ofPulumi(live):
			return true, nil
		}
		if since.IsZero() {
			since, said = time.Now(), fmt.Sprintf("taken over: %s %s, made by hand", live.GetKind(), o.Name)
		}
		uid := live.GetUID()
		if live.GetDeletionTimestamp() == nil {
			keeps = "it was made again"
			background := metav1.DeletePropagationBackground
			err = objects.Delete(ctx, o.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}, PropagationPolicy: &background})
		} else if finalizers := live.GetFinalizers(); len(finalizers) > 0 {
			keeps = "finalizer " + strings.Join(finalizers, ", ")
			if kubeclient.HasBalancer(live) {
				keeps += ", which is the cluster's own to take off: its load balancer has to go first"
			} else if time.Since(since) >= t.patience {
				err = t.free(ctx, objects, o.Name, uid)
			}
		} else {
			keeps = "it is being deleted"
		}
		if err := kubeclient.IgnoreGone(err); err != nil { // what is gone, or another, is looked at again
			return false, fmt.Errorf("deleting %s, which was made by hand: %w", o, err)
		}
		return false, nil
	})
	switch {
	case err == nil:
		return said, nil
	case ctx.Err() == nil && wait.Interrupted(err) && keeps != "":
		return "", &KeptError{o, t.limit, keeps}
	}
	return "", err
}

// free takes the finalizers off the object of this UID.
func (t *Taker) free(ctx context.Context, objects dynamic.ResourceInterface, name string, uid types.UID) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": uid, "finalizers": nil}})
	if err != nil {
		return err
	}
	_, err = objects.Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}
