package sharedcluster

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/internal/fake"
	"k8sbootcamp/internal/kubeclient"
)

var (
	namespace = Object{Resource: "namespaces", Name: "bootcamp-alice"}
	binding   = Object{Resource: "clusterrolebindings", Name: "bootcamp-alice-nodes"}
	account   = Object{Resource: "serviceaccounts", Namespace: "bootcamp-platform", Name: "bootcamp-alice"}
)

const (
	namespacePath = "/api/v1/namespaces/bootcamp-alice"
	bindingPath   = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/bootcamp-alice-nodes"
)

// namespaceOf is alice's namespace with annotations, and bindingOf her binding
// with labels, each as JSON.
func namespaceOf(annotations string) string {
	return `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"bootcamp-alice","annotations":{` + annotations + `}}}`
}

func bindingOf(annotations, labels string) string {
	return fmt.Sprintf(`{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRoleBinding",`+
		`"metadata":{"name":"bootcamp-alice-nodes","annotations":{%s},"labels":{%s}}}`, annotations, labels)
}

func claimed(by string) string { return `"bootcamp/claim":"` + by + `"` }

// client is connected to a cluster with these objects.
func client(t *testing.T, objects ...string) (*Client, *fake.APIServer, *bytes.Buffer) {
	t.Helper()
	server := fake.NewAPIServer(t, append(slices.Clone(objects), `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"kube-system","uid":"this-one"}}`)...)
	file := filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, os.WriteFile(file, server.Kubeconfig("class"), 0o600))
	var log bytes.Buffer
	c, err := Connect(Access{Kubeconfig: file, Context: "class"}, &log)
	require.NoError(t, err)
	c.tick = 20 * time.Millisecond
	return c, server, &log
}

// parts are the errors that were joined.
func parts(t *testing.T, err error) []error {
	t.Helper()
	joined, ok := err.(interface{ Unwrap() []error })
	require.True(t, ok, "%v", err)
	return joined.Unwrap()
}

func TestOwnedRoundTrip(t *testing.T) {
	objects := []Object{namespace, binding, account}
	got, err := ParseOwned(Owned(objects))
	require.NoError(t, err)
	assert.Equal(t, objects, got)

	got, err = ParseOwned("")
	require.NoError(t, err)
	assert.Empty(t, got)

	for _, bad := range []string{"pods/x", "namespaces", "namespaces/", "/x", "namespaces/a/b", "serviceaccounts/x", "serviceaccounts/x/y/z"} {
		_, err := ParseOwned(bad)
		assert.ErrorContains(t, err, fmt.Sprintf("%q", bad))
	}
}

func TestFree(t *testing.T) {
	both := []Object{namespace, binding}
	c, _, _ := client(t)
	assert.NoError(t, c.Free(t.Context(), Claim{}, both), "nothing is there")

	c, server, _ := client(t,
		namespaceOf(claimed("c1")+`,"bootcamp/stack":"organization/bootcamp/alice"`),
		bindingOf("", `"app.kubernetes.io/managed-by":"Helm"`))
	errs := parts(t, c.Free(t.Context(), Claim{}, both))
	require.Len(t, errs, 2)
	var taken *TakenError
	require.ErrorAs(t, errs[0], &taken)
	assert.Equal(t, namespace, taken.Object)
	assert.Equal(t, "organization/bootcamp/alice", taken.Stack)
	require.ErrorAs(t, errs[1], &taken)
	assert.Equal(t, binding, taken.Object)
	assert.Empty(t, taken.Stack)
	assert.Contains(t, taken.Owner, "Helm", "all that is known of the owner")

	errs = parts(t, c.Free(t.Context(), Claim{Mark: "c1"}, both))
	require.Len(t, errs, 1, "an object of the claim is free for it")
	require.ErrorAs(t, errs[0], &taken)
	assert.Equal(t, binding, taken.Object)
	assert.Error(t, c.Free(t.Context(), Claim{Mark: "c2"}, []Object{namespace}), "an object of another claim is not")

	server.Fail("GET "+namespacePath, http.StatusForbidden)
	err := c.Free(t.Context(), Claim{Mark: "c1"}, []Object{namespace})
	require.Error(t, err, "what cannot be seen may be another's")
	assert.NotErrorAs(t, err, &taken)
}

func TestThere(t *testing.T) {
	c, server, _ := client(t, namespaceOf(""))
	assert.NoError(t, c.There(t.Context(), []Object{namespace}))

	errs := parts(t, c.There(t.Context(), []Object{namespace, binding}))
	require.Len(t, errs, 1)
	var missing *MissingError
	require.ErrorAs(t, errs[0], &missing)
	assert.Equal(t, binding, missing.Object)

	server.Fail("GET "+namespacePath, http.StatusForbidden)
	err := c.There(t.Context(), []Object{namespace})
	require.Error(t, err)
	assert.NotErrorAs(t, err, &missing, "what cannot be seen may be there")
}

// TestServes: a kind that the cluster does not have is told apart from an object
// that is missing, with the cluster's version.
func TestServes(t *testing.T) {
	policy := Object{Resource: "validatingadmissionpolicies", Name: "bootcamp-platform-students"}
	c, server, _ := client(t)
	assert.NoError(t, c.Serves([]Object{namespace, binding, policy}))
	const group = "/apis/admissionregistration.k8s.io/v1"
	for name, answer := range map[string]func(){
		"no such version": func() { server.Fail("GET "+group, http.StatusNotFound) },
		"no such kind": func() {
			server.Answer("GET "+group, func(w http.ResponseWriter, _ *http.Request) { // as Kubernetes 1.29 does
				w.Header().Set("Content-Type", "application/json")
				_, _ = w.Write([]byte(`{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"admissionregistration.k8s.io/v1",` +
					`"resources":[{"name":"validatingwebhookconfigurations","kind":"ValidatingWebhookConfiguration"}]}`))
			})
		},
	} {
		answer()
		server.Say("GET /version", `{"gitVersion":"v1.29.3"}`)
		assert.NoError(t, c.Serves([]Object{namespace, binding}), name)
		var unserved *UnservedError
		require.ErrorAs(t, c.Serves([]Object{namespace, policy, binding}), &unserved, name)
		assert.Equal(t, resources[policy.Resource], unserved.Resource)
		assert.Equal(t, "v1.29.3", unserved.Version)
		assert.Contains(t, unserved.Error(), "1.30")
	}
	server.Fail("GET "+group, http.StatusForbidden)
	err := c.Serves([]Object{policy})
	var unserved *UnservedError
	require.Error(t, err)
	assert.NotErrorAs(t, err, &unserved, "what cannot be seen may be served")
}

// TestAudiences: they are what the API server says of a token that was asked for
// without any, and a list in any case.
func TestAudiences(t *testing.T) {
	c, server, _ := client(t, `{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"namespace":"default","name":"default"}}`)
	got, err := c.audiences(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{fake.Audience}, got)
	server.Delete("/api/v1/namespaces/default/serviceaccounts/default")
	_, err = c.audiences(t.Context())
	assert.Error(t, err)
}

func TestRelease(t *testing.T) {
	c, server, log := client(t, namespaceOf(claimed("c1")), bindingOf(claimed("c2"), ""))
	assert.Error(t, c.Release(t.Context(), Claim{}, []Object{namespace}), "an empty claim would be everybody's")

	require.NoError(t, c.Release(t.Context(), Claim{Mark: "c1"}, []Object{namespace, binding, {Resource: "clusterroles", Name: "never-made"}}))
	assert.False(t, server.Has(namespacePath), "the claim's namespace is still there")
	assert.True(t, server.Has(bindingPath), "an object of another claim is gone")
	assert.Contains(t, log.String(), namespace.String())
	assert.NotContains(t, log.String(), binding.String())
}

// TestReleaseOfAnother: an object that another made in the meantime, under the
// same name, is not the one that was looked at.
func TestReleaseOfAnother(t *testing.T) {
	c, server, _ := client(t, namespaceOf(claimed("c1")))
	looked := false
	server.Answer("GET "+namespacePath, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if looked {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		looked = true
		_, _ = w.Write([]byte(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"bootcamp-alice","uid":"an-older-one","annotations":{` + claimed("c1") + `}}}`))
	})
	assert.Error(t, c.Release(t.Context(), Claim{Mark: "c1"}, []Object{namespace}))
	assert.True(t, server.Has(namespacePath), "another's namespace is gone")
}

// TestKubeconfig: it leads to the cluster, as the account, into the namespace.
func TestKubeconfig(t *testing.T) {
	c, server, _ := client(t, `{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"namespace":"bootcamp-platform","name":"bootcamp-alice"}}`)
	raw, _, err := c.Kubeconfig(t.Context(), "bootcamp-alice", "bootcamp-platform/bootcamp-alice", time.Hour)
	require.NoError(t, err)
	config, err := kubeclient.FromBytes(raw, "bootcamp-alice")
	require.NoError(t, err)
	assert.Equal(t, server.URL, config.Host)
	assert.Equal(t, fake.Token("bootcamp-platform", "bootcamp-alice"), config.BearerToken)
	assert.Contains(t, string(raw), "namespace: bootcamp-alice")

	_, _, err = c.Kubeconfig(t.Context(), "bootcamp-alice", "bootcamp-platform/teacher", time.Hour)
	assert.Error(t, err, "an account that is not there")
	_, _, err = c.Kubeconfig(t.Context(), "bootcamp-alice", "bootcamp-alice", time.Hour)
	assert.ErrorContains(t, err, "not NAMESPACE/NAME")
}

func TestAccess(t *testing.T) {
	file := filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, os.WriteFile(file, fake.NewAPIServer(t).Kubeconfig("class"), 0o600))
	assert.NoError(t, Access{Kubeconfig: file, Context: "class"}.Check())
	err := Access{Kubeconfig: file, Context: "clas"}.Check()
	assert.ErrorContains(t, err, `"clas"`)
	assert.ErrorContains(t, err, "contexts are: class", "those that there are")
	assert.Error(t, Access{Kubeconfig: file}.Check(), "the current context is never taken by itself")
	assert.ErrorIs(t, Access{Kubeconfig: file + "-gone", Context: "class"}.Check(), os.ErrNotExist)
}
