package sharedcluster

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic/fake"
)

var (
	namespace = Object{"namespaces", "bootcamp-alice"}
	binding   = Object{"clusterrolebindings", "bootcamp-alice-nodes"}
)

func TestOwnedRoundTrip(t *testing.T) {
	objects := []Object{namespace, binding}
	got, err := ParseOwned(Owned(objects))
	require.NoError(t, err)
	assert.Equal(t, objects, got)

	got, err = ParseOwned("")
	require.NoError(t, err)
	assert.Empty(t, got)

	for _, bad := range []string{"pods/x", "namespaces", "namespaces/", "/x"} {
		_, err := ParseOwned(bad)
		assert.ErrorContains(t, err, bad, bad)
	}
}

func object(apiVersion, kind, name string, annotations, labels map[string]string) *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	o.SetAPIVersion(apiVersion)
	o.SetKind(kind)
	o.SetName(name)
	o.SetAnnotations(annotations)
	o.SetLabels(labels)
	return o
}

func client(objects ...runtime.Object) (*Client, *bytes.Buffer) {
	var log bytes.Buffer
	return &Client{dynamic: fake.NewSimpleDynamicClient(runtime.NewScheme(), objects...), log: &log}, &log
}

func TestFree(t *testing.T) {
	ctx := context.Background()
	both := []Object{namespace, binding}
	ours := map[string]string{AnnotationClaim: "c1", AnnotationStack: "organization/bootcamp/alice"}

	c, _ := client()
	assert.NoError(t, c.Free(ctx, "", both), "nothing is there")

	c, _ = client(
		object("v1", "Namespace", namespace.Name, ours, nil),
		object("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", binding.Name, nil, map[string]string{"app.kubernetes.io/managed-by": "Helm"}))
	err := c.Free(ctx, "", both)
	assert.ErrorContains(t, err, "namespaces/bootcamp-alice exists already; its owner is stack organization/bootcamp/alice")
	assert.ErrorContains(t, err, "clusterrolebindings/bootcamp-alice-nodes exists already; its owner is not this project (managed by Helm")

	err = c.Free(ctx, "c1", both)
	assert.NotContains(t, err.Error(), "namespaces/bootcamp-alice", "an object of the claim is free for it")
	assert.Error(t, c.Free(ctx, "c2", []Object{namespace}), "an object of another claim is not")
}

func TestThere(t *testing.T) {
	c, _ := client(object("v1", "Namespace", namespace.Name, nil, nil))
	assert.NoError(t, c.There(context.Background(), []Object{namespace}))
	assert.ErrorContains(t, c.There(context.Background(), []Object{namespace, binding}), "clusterrolebindings/bootcamp-alice-nodes is missing")
}

func TestRelease(t *testing.T) {
	ctx := context.Background()
	c, log := client(
		object("v1", "Namespace", namespace.Name, map[string]string{AnnotationClaim: "c1"}, nil),
		object("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", binding.Name, map[string]string{AnnotationClaim: "c2"}, nil))
	assert.Error(t, c.Release(ctx, "", []Object{namespace}), "an empty claim would be everybody's")

	require.NoError(t, c.Release(ctx, "c1", []Object{namespace, binding, {"clusterroles", "never-made"}}))
	assert.Contains(t, log.String(), "removing namespaces/bootcamp-alice")
	_, err := c.dynamic.Resource(resources["namespaces"]).Get(ctx, namespace.Name, metav1.GetOptions{})
	assert.Error(t, err, "the claim's namespace is still there")
	_, err = c.dynamic.Resource(resources["clusterrolebindings"]).Get(ctx, binding.Name, metav1.GetOptions{})
	assert.NoError(t, err, "an object of another claim is gone")
}

func TestAccess(t *testing.T) {
	file := filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, os.WriteFile(file, []byte(`apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: u, user: {}}]
contexts: [{name: class, context: {cluster: c, user: u}}]
current-context: class
`), 0o600))
	assert.NoError(t, Access{Kubeconfig: file, Context: "class"}.Check())
	assert.ErrorContains(t, Access{Kubeconfig: file, Context: "clas"}.Check(), `has no context "clas"; its contexts are: class`)
	assert.Error(t, Access{Kubeconfig: file}.Check(), "the current context is never taken by itself")
	assert.ErrorContains(t, Access{Kubeconfig: file + "-gone", Context: "class"}.Check(), file+"-gone")
}
