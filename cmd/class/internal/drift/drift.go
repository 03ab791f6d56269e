// Package drift compares a cluster with what a stack's state says should be there:
// what was edited, what is gone, what does not belong there, which nodes and pods
// are out of order. It puts that right, but for making what is gone, which is
// Pulumi's.
package drift

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"

	"k8sbootcamp/internal/check"
	"k8sbootcamp/internal/kubeclient"
)

const (
	// atOnce is how many requests are under way at a time.
	atOnce = 8
	// tick is between two looks at what is being removed.
	tick = 200 * time.Millisecond
	// settleTime is how long a request is tried again: an API server forgets a webhook
	// or a policy a moment after it is removed.
	settleTime = 5 * time.Second
	// goneTime is how long what is deleted may take.
	goneTime = 30 * time.Second
	// manager is this tool in the fields' history; it owns nothing for longer than a
	// request.
	manager = "bootcamp-class"
)

// Object is one that the stack has, and how it should be. Without a URN it is the
// cluster's own, which makes it again by itself.
type Object struct {
	check.Object
	// Manifest is complete, as it was handed to the cluster. A Secret's values are in
	// clear: it is never printed.
	Manifest map[string]any
	// Manager is Pulumi in the fields' history of this object, empty where the state does
	// not say.
	Manager string
}

// NewObject returns the object of a manifest, as JSON has it.
func NewObject(urn, manager string, manifest map[string]any) Object {
	manifest = runtime.DeepCopyJSON(manifest)
	delete(manifest, "status")
	u := unstructured.Unstructured{Object: manifest}
	if texts, has, err := unstructured.NestedStringMap(manifest, "stringData"); has && err == nil { // as a Secret has them afterwards
		for key, text := range texts {
			_ = unstructured.SetNestedField(manifest, base64.StdEncoding.EncodeToString([]byte(text)), "data", key) // of no other type
		}
		delete(manifest, "stringData")
	}
	return Object{Object: check.Object{URN: urn, APIVersion: u.GetAPIVersion(), Kind: u.GetKind(), Namespace: u.GetNamespace(), Name: u.GetName()}, Manifest: manifest, Manager: manager}
}

func (o Object) String() string { return o.Kind + " " + o.Name }

func (o Object) gvk() schema.GroupVersionKind {
	return schema.FromAPIVersionAndKind(o.APIVersion, o.Kind)
}

// id is an object, whatever version of its kind.
type id struct{ group, kind, namespace, name string }

func (o Object) id() id { return id{o.gvk().Group, o.Kind, o.Namespace, o.Name} }

// Cluster is a connection to one.
type Cluster struct {
	config   *rest.Config
	dynamic  dynamic.Interface
	metadata metadata.Interface
	typed    kubernetes.Interface
	mapper   meta.RESTMapper
	served   []*metav1.APIResourceList // in the preferred versions
}

// Connect asks a cluster what it serves. An API of it that does not answer, such as one
// that a student added, is left out.
func Connect(config *rest.Config) (*Cluster, error) {
	c := &Cluster{config: rest.CopyConfig(config)}
	c.config.QPS = -1 // atOnce is the limit
	c.config.UserAgent = manager
	var err error
	if c.dynamic, err = dynamic.NewForConfig(c.config); err != nil {
		return nil, err
	}
	if c.metadata, err = metadata.NewForConfig(c.config); err != nil {
		return nil, err
	}
	if c.typed, err = kubernetes.NewForConfig(c.config); err != nil {
		return nil, err
	}
	finder := memory.NewMemCacheClient(c.typed.Discovery())
	groups, err := restmapper.GetAPIGroupResources(finder)
	if err != nil {
		return nil, kubeclient.Explain(err)
	}
	c.mapper = restmapper.NewDiscoveryRESTMapper(groups)
	if c.served, err = discovery.ServerPreferredResources(finder); err != nil && !discovery.IsGroupDiscoveryFailedError(err) {
		return nil, kubeclient.Explain(err)
	}
	return c, nil
}

// resource is that of a kind, and whether its objects are in namespaces.
func (c *Cluster) resource(kind schema.GroupVersionKind) (of schema.GroupVersionResource, namespaced bool, err error) {
	mapping, err := c.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return of, false, err
	}
	return mapping.Resource, mapping.Scope.Name() == meta.RESTScopeNameNamespace, nil
}

// at is where objects of a kind are.
func (c *Cluster) at(kind schema.GroupVersionKind, namespace string) (dynamic.ResourceInterface, error) {
	of, namespaced, err := c.resource(kind)
	if namespaced {
		return c.dynamic.Resource(of).Namespace(namespace), err
	}
	return c.dynamic.Resource(of), err
}

// metadataAt is where their metadata is, which is enough to remove them.
func (c *Cluster) metadataAt(kind schema.GroupVersionKind, namespace string) (metadata.ResourceInterface, error) {
	of, namespaced, err := c.resource(kind)
	if namespaced {
		return c.metadata.Resource(of).Namespace(namespace), err
	}
	return c.metadata.Resource(of), err
}

// each does something for each of a number of things, some at a time. One that fails is
// no reason to leave the others.
func each[T any](ctx context.Context, all []T, do func(ctx context.Context, i int, one T) error) error {
	failed := make([]error, len(all))
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i, one := range all {
		group.Go(func() error {
			if failed[i] = ctx.Err(); failed[i] == nil {
				failed[i] = do(ctx, i, one)
			}
			return nil
		})
	}
	_ = group.Wait() // each has its own error
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return errors.Join(failed...)
}

// tried does a request again while it fails for what passes.
func tried(ctx context.Context, request func(ctx context.Context) error) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, tick, settleTime, true, func(ctx context.Context) (bool, error) {
		last = request(ctx)
		switch {
		case last == nil:
			return true, nil
		case apierrors.IsInvalid(last), apierrors.IsNotFound(last), meta.IsNoMatchError(last):
			return false, last
		}
		return false, nil
	})
	if last != nil && ctx.Err() == nil {
		return kubeclient.Explain(last)
	}
	return err
}

// remove deletes the object of a UID and returns once it is gone. Finalizers but those
// that it is to keep are taken off: nobody serves what a student wrote there. Meanwhile,
// where it is not nil, it works at what keeps the object.
func remove(ctx context.Context, of metadata.ResourceInterface, what, name string, uid types.UID, keep func(finalizer string) bool, meanwhile func(ctx context.Context) error) error {
	background := metav1.DeletePropagationBackground
	options := metav1.DeleteOptions{PropagationPolicy: &background, Preconditions: &metav1.Preconditions{UID: &uid}}
	gone := func(err error) bool { return apierrors.IsNotFound(err) || apierrors.IsConflict(err) } // or another one of its name
	err := tried(ctx, func(ctx context.Context) error {
		if err := of.Delete(ctx, name, options); err != nil && !gone(err) {
			return err
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s could not be removed: %w", what, err)
	}
	var last error
	err = wait.PollUntilContextTimeout(ctx, tick, goneTime, true, func(ctx context.Context) (bool, error) {
		var live *metav1.PartialObjectMetadata
		if live, last = of.Get(ctx, name, metav1.GetOptions{}); apierrors.IsNotFound(last) || last == nil && live.GetUID() != uid {
			return true, nil
		}
		if last != nil {
			return false, nil
		}
		if kept := slices.DeleteFunc(slices.Clone(live.GetFinalizers()), func(f string) bool { return !keep(f) }); len(kept) < len(live.GetFinalizers()) {
			last = setFinalizers(ctx, of, name, uid, kept)
		}
		if meanwhile != nil && last == nil {
			last = meanwhile(ctx)
		}
		return false, nil
	})
	if err == nil || ctx.Err() != nil {
		return err
	}
	if last != nil && !gone(last) {
		return fmt.Errorf("%s was deleted, and is still there: %w", what, kubeclient.Explain(last))
	}
	return fmt.Errorf("%s is still there %s after its deletion", what, goneTime)
}

// setFinalizers leaves an object these alone.
func setFinalizers(ctx context.Context, of metadata.ResourceInterface, name string, uid types.UID, kept []string) error {
	_, err := of.Patch(ctx, name, types.MergePatchType, finalizers(uid, kept), metav1.PatchOptions{FieldManager: manager})
	return err
}

// finalizers is a patch that leaves an object these alone.
func finalizers(uid types.UID, kept []string) []byte {
	list := "null"
	if len(kept) > 0 {
		list = `["` + strings.Join(kept, `","`) + `"]`
	}
	return fmt.Appendf(nil, `{"metadata":{"uid":%q,"finalizers":%s}}`, uid, list)
}

// ownFinalizers are those of Kubernetes itself, by kind; it takes them off when its work
// is done. Of other kinds nobody serves them.
var ownFinalizers = map[string][]string{
	"PersistentVolumeClaim":    {"kubernetes.io/pvc-protection"},
	"PersistentVolume":         {"kubernetes.io/pv-protection"},
	"Pod":                      {"batch.kubernetes.io/job-tracking"},
	"CustomResourceDefinition": {"customresourcecleanup.apiextensions.k8s.io"},
	"":                         {metav1.FinalizerDeleteDependents, metav1.FinalizerOrphanDependents},
}

// keeps tells which finalizers of an object are not the student's. A load balancer's and
// an Ingress's may be a cloud's, which would go on to charge for what it made.
func keeps(kind string, balancer bool) func(finalizer string) bool {
	return func(finalizer string) bool {
		return slices.Contains(ownFinalizers[kind], finalizer) || slices.Contains(ownFinalizers[""], finalizer) || kind == "Ingress" || balancer
	}
}

// Always are the objects that every cluster makes for a namespace, as it makes them.
func Always(namespace string) []Object {
	of := func(kind, namespace, name string) Object {
		metadata := map[string]any{"name": name}
		if namespace != "" {
			metadata["namespace"] = namespace
		}
		return NewObject("", "", map[string]any{"apiVersion": "v1", "kind": kind, "metadata": metadata})
	}
	return []Object{of("Namespace", "", namespace), of("ServiceAccount", namespace, "default")}
}
