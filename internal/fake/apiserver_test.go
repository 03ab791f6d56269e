package fake

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/restmapper"
)

// TestAPIServer: both kinds of client see in the fake what they would in a
// cluster.
func TestAPIServer(t *testing.T) {
	s := NewAPIServer(t, `{"apiVersion":"v1","kind":"Node","metadata":{"name":"n"}}`)
	typed, err := kubernetes.NewForConfig(s.Config())
	require.NoError(t, err)
	dyn, err := dynamic.NewForConfig(s.Config())
	require.NoError(t, err)

	groups, err := restmapper.GetAPIGroupResources(typed.Discovery())
	require.NoError(t, err)
	mapping, err := restmapper.NewDiscoveryRESTMapper(groups).RESTMapping(schema.GroupKind{Group: "apps", Kind: "Deployment"}, "v1")
	require.NoError(t, err)
	assert.Equal(t, schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}, mapping.Resource)

	pods := typed.CoreV1().Pods("a")
	made, err := pods.Create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "a", Labels: map[string]string{"app": "x"}}}, metav1.CreateOptions{})
	require.NoError(t, err)
	assert.NotEmpty(t, made.UID)
	_, err = pods.Create(t.Context(), made, metav1.CreateOptions{})
	assert.True(t, apierrors.IsConflict(err), "%v", err)
	o := &unstructured.Unstructured{}
	require.NoError(t, o.UnmarshalJSON([]byte(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"q","namespace":"b"}}`)))
	_, err = dyn.Resource(corev1.SchemeGroupVersion.WithResource("pods")).Namespace("b").Create(t.Context(), o, metav1.CreateOptions{})
	require.NoError(t, err)

	for selector, namespaces := range map[string]map[string]int{"": {"": 2, "a": 1, "c": 0}, "app=x": {"": 1, "b": 0}} {
		for namespace, want := range namespaces {
			list, err := typed.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{LabelSelector: selector})
			require.NoError(t, err)
			assert.Len(t, list.Items, want, "%q in %q", selector, namespace)
		}
	}

	other := made.UID + "x"
	err = pods.Delete(t.Context(), "p", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &other}})
	assert.True(t, apierrors.IsConflict(err), "%v", err)
	require.NoError(t, pods.Delete(t.Context(), "p", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &made.UID}}))
	_, err = pods.Get(t.Context(), "p", metav1.GetOptions{})
	assert.True(t, apierrors.IsNotFound(err), "%v", err)

	s.Fail("GET /api/v1/nodes/n", http.StatusForbidden)
	_, err = typed.CoreV1().Nodes().Get(t.Context(), "n", metav1.GetOptions{})
	assert.True(t, apierrors.IsForbidden(err), "%v", err)
}
