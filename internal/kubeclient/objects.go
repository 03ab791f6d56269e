package kubeclient

import (
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// IgnoreGone is Explain, but an object that has gone meanwhile, or is another by now, is
// no error.
func IgnoreGone(err error) error {
	if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return Explain(err)
}

// HasBalancer tells whether an object is a Service that has, or is to have, a load
// balancer, which a cloud would go on to charge for: only its controller knows when that
// is gone, and takes its finalizer off then.
func HasBalancer(o *unstructured.Unstructured) bool {
	kind, _, _ := unstructured.NestedString(o.Object, "spec", "type")
	has, _, _ := unstructured.NestedSlice(o.Object, "status", "loadBalancer", "ingress")
	return o.GetKind() == "Service" && (kind == "LoadBalancer" || len(has) > 0)
}
