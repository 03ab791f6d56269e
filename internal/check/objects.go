package check

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"

	"k8sbootcamp/internal/kubeclient"
)

// Object is a Kubernetes object that should be there.
type Object struct {
	URN                               string // Pulumi's name for it
	APIVersion, Kind, Namespace, Name string
}

// Ready asks a cluster for objects: how many are ready, and which are not, with the
// reason.
func Ready(ctx context.Context, config *rest.Config, objects []Object) (ready int, not []string, err error) {
	err = ask(ctx, config, objects, func(o Object, why string) {
		if why == "" {
			ready++
			return
		}
		not = append(not, fmt.Sprintf("%s %s: %s", o.Kind, o.Name, why))
	})
	return ready, not, err
}

// Missing asks a cluster for objects and returns those that are not there.
func Missing(ctx context.Context, config *rest.Config, objects []Object) (missing []Object, err error) {
	err = ask(ctx, config, objects, func(o Object, why string) {
		if why == gone {
			missing = append(missing, o)
		}
	})
	return missing, err
}

// gone is why an object that is not there is not ready.
const gone = "it is gone"

// ask tells of each object why it is not ready, or "".
func ask(ctx context.Context, config *rest.Config, objects []Object, tell func(o Object, why string)) error {
	finder, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return err
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	if _, err := finder.ServerVersion(); err != nil {
		return kubeclient.Explain(err)
	}
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(finder))
	for _, o := range objects {
		why, err := why(ctx, client, mapper, o)
		if err != nil {
			return kubeclient.Explain(err)
		}
		tell(o, why)
	}
	return nil
}

// why is the reason that an object is not ready, or empty.
func why(ctx context.Context, client dynamic.Interface, mapper meta.RESTMapper, o Object) (string, error) {
	kind := schema.FromAPIVersionAndKind(o.APIVersion, o.Kind)
	mapping, err := mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if meta.IsNoMatchError(err) {
		return "the cluster does not know its kind " + o.APIVersion, nil
	}
	if err != nil {
		return "", err
	}
	namespaced := client.Resource(mapping.Resource)
	var resource dynamic.ResourceInterface = namespaced
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		resource = namespaced.Namespace(o.Namespace)
	}
	object, err := resource.Get(ctx, o.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return gone, nil
	case apierrors.IsForbidden(err):
		return "this kubeconfig may not see it", nil
	case err != nil:
		return "", err
	}
	return notReady(object)
}

// notReady is the reason that an object of the cluster is not ready, or empty.
func notReady(object *unstructured.Unstructured) (string, error) {
	var want, have int32
	var seen int64
	switch object.GetKind() {
	case "Deployment":
		var d appsv1.Deployment
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &d); err != nil {
			return "", err
		}
		want, have, seen = 1, min(d.Status.AvailableReplicas, d.Status.UpdatedReplicas), d.Status.ObservedGeneration
		if d.Spec.Replicas != nil {
			want = *d.Spec.Replicas
		}
	case "DaemonSet":
		var d appsv1.DaemonSet
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &d); err != nil {
			return "", err
		}
		want, have, seen = d.Status.DesiredNumberScheduled, min(d.Status.NumberAvailable, d.Status.UpdatedNumberScheduled), d.Status.ObservedGeneration
	case "Service":
		var s corev1.Service
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &s); err != nil {
			return "", err
		}
		if s.Spec.Type == corev1.ServiceTypeLoadBalancer && len(s.Status.LoadBalancer.Ingress) == 0 {
			return "no load balancer has given it an address", nil
		}
		return "", nil
	default:
		return "", nil // being there is all it does
	}
	if seen < object.GetGeneration() {
		return "its controller has not seen the last change", nil
	}
	if have < want {
		return fmt.Sprintf("%d of %d pods are ready", have, want), nil
	}
	return "", nil
}
