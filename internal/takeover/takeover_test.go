package takeover

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"k8sbootcamp/internal/fake"
	"k8sbootcamp/internal/kubeclient"
)

var (
	app  = Object{"deployments", "default", "bootcamp"}
	svc  = Object{"services", "default", "bootcamp-svc"}
	role = Object{"clusterroles", "", "prometheus"}
)

const (
	appPath  = "/apis/apps/v1/namespaces/default/deployments/bootcamp"
	svcPath  = "/api/v1/namespaces/default/services/bootcamp-svc"
	rolePath = "/apis/rbac.authorization.k8s.io/v1/clusterroles/prometheus"
)

// made is an object, with more metadata and a specification.
func made(apiVersion, kind, namespace, name, metadata, spec string) string {
	return fmt.Sprintf(`{"apiVersion":%q,"kind":%q,"metadata":{"namespace":%q,"name":%q%s},"spec":{%s}}`, apiVersion, kind, namespace, name, metadata, spec)
}

func appOf(metadata string) string {
	return made("apps/v1", "Deployment", "default", "bootcamp", metadata, "")
}

func svcOf(metadata, spec string) string {
	return made("v1", "Service", "default", "bootcamp-svc", metadata, spec)
}

// by is the metadata of who wrote an object, and how.
func by(manager, operation string) string {
	return fmt.Sprintf(`,"managedFields":[{"manager":"kube-controller-manager","operation":"Update"},{"manager":%q,"operation":%q}]`, manager, operation)
}

const kept = `,"finalizers":["example.com/never"]`

// taker is on a server with these objects, and in a hurry.
func taker(t *testing.T, objects ...string) (*Taker, *fake.APIServer, *bytes.Buffer) {
	t.Helper()
	server := fake.NewAPIServer(t, objects...)
	var log bytes.Buffer
	taker, err := On(server.Config(), &log)
	require.NoError(t, err)
	taker.tick, taker.patience, taker.limit = 5*time.Millisecond, 50*time.Millisecond, time.Second
	return taker, server, &log
}

func TestList(t *testing.T) {
	objects := []Object{role, app, svc}
	text := List(objects)
	assert.Equal(t, text, List([]Object{svc, role, app}), "their order says nothing")
	got, err := Parse(text)
	require.NoError(t, err)
	assert.ElementsMatch(t, objects, got)
	got, err = Parse("")
	require.NoError(t, err)
	assert.Empty(t, got)
	for _, bad := range []string{
		"deployments/bootcamp", "deployments/default/", "deployments//bootcamp", "deployments/default/a/b", "deployments", "clusterroles/", "clusterroles/default/x", "/x",
		"persistentvolumeclaims/default/x", "statefulsets/default/x", "namespaces/default", "pods/default/x",
	} {
		_, err := Parse(bad)
		assert.ErrorContains(t, err, fmt.Sprintf("%q", bad))
	}
}

// TestNew: what the run before printed is Pulumi's by now; what it printed and there is no
// more says nothing.
func TestNew(t *testing.T) {
	for _, c := range []struct {
		list, printed []Object
		want          []Object
	}{
		{[]Object{app, svc}, nil, []Object{app, svc}},
		{[]Object{app, svc}, []Object{app}, []Object{svc}},
		{[]Object{app, svc}, []Object{app, svc, role}, nil},
		{[]Object{role}, []Object{app, svc}, []Object{role}},
	} {
		got, err := New(List(c.list), List(c.printed)+"\n")
		require.NoError(t, err)
		assert.ElementsMatch(t, c.want, got)
	}
	_, err := New("pods/default/x", "")
	assert.Error(t, err)
}

// TestRun: the cluster is reached where there is something new, and what is printed is all.
func TestRun(t *testing.T) {
	_, server, log := taker(t, appOf(""), svcOf("", ""))
	reached := 0
	reach := func(objects []Object) (*rest.Config, error) {
		reached++
		assert.Equal(t, []Object{svc}, objects)
		return server.Config(), nil
	}
	list := List([]Object{app, svc})
	out, err := Run(t.Context(), list, list, log, reach)
	require.NoError(t, err)
	assert.Equal(t, list, out)
	assert.Zero(t, reached, "an update of something else asked the cluster")

	out, err = Run(t.Context(), list, app.String(), log, reach)
	require.NoError(t, err)
	assert.Equal(t, list, out)
	assert.True(t, server.Has(appPath), "it stands since the run before")
	assert.False(t, server.Has(svcPath))

	_, err = Run(t.Context(), list, app.String(), log, func([]Object) (*rest.Config, error) { return nil, io.ErrUnexpectedEOF })
	assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

// TestTake: what was made by hand goes, whoever else wrote to it; what Pulumi made stays,
// and so does all that was not asked about.
func TestTake(t *testing.T) {
	for name, c := range map[string]struct {
		object string
		goes   bool
	}{
		"kubectl apply":                   {appOf(by("kubectl-client-side-apply", "Update")), true},
		"kubectl apply --server-side":     {appOf(by("kubectl", "Apply")), true},
		"no manager at all":               {appOf(""), true},
		"Pulumi":                          {appOf(by("pulumi-kubernetes-0a1b2c3d", "Apply")), false},
		"Pulumi's name, not its way":      {appOf(by("pulumi-kubernetes", "Update")), true},
		"deleted already":                 {appOf(`,"deletionTimestamp":"2026-01-01T00:00:00Z","finalizers":["foregroundDeletion"]`), true},
		"a finalizer":                     {appOf(kept), true},
		"Pulumi's, and a finalizer":       {appOf(kept + by("pulumi-kubernetes-0a1b2c3d", "Apply")), false},
		"another namespace's":             {made("apps/v1", "Deployment", "other", "bootcamp", "", ""), false},
		"another name":                    {made("apps/v1", "Deployment", "default", "bootcamp2", "", ""), false},
		"another kind of that name":       {made("apps/v1", "DaemonSet", "default", "bootcamp", "", ""), false},
		"nothing, where it is not there ": {appOf(by("pulumi-kubernetes", "Apply")), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			taker, server, log := taker(t, c.object)
			before := count(t, server)
			require.NoError(t, taker.Take(t.Context(), []Object{app, svc}))
			if c.goes {
				assert.False(t, server.Has(appPath))
				assert.Equal(t, "taken over: Deployment bootcamp, made by hand\n", log.String())
			} else {
				assert.Empty(t, log.String())
				assert.Equal(t, before, count(t, server))
			}
			require.NoError(t, taker.Take(t.Context(), []Object{app, svc}), "it can be repeated")
		})
	}
}

// count is how many workloads a server has.
func count(t *testing.T, server *fake.APIServer) int {
	t.Helper()
	n := 0
	for _, path := range []string{appPath, appPath + "2", strings.Replace(appPath, "/default/", "/other/", 1), strings.Replace(appPath, "deployments", "daemonsets", 1)} {
		if server.Has(path) {
			n++
		}
	}
	return n
}

// TestTakeWide: what is in no namespace, and several at once, each named.
func TestTakeWide(t *testing.T) {
	taker, server, log := taker(t, appOf(""), svcOf("", ""), `{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRole","metadata":{"name":"prometheus"}}`)
	require.NoError(t, taker.Take(t.Context(), []Object{role, app, svc}))
	for _, path := range []string{appPath, svcPath, rolePath} {
		assert.False(t, server.Has(path), path)
	}
	assert.Equal(t, "taken over: ClusterRole prometheus, made by hand\ntaken over: Deployment bootcamp, made by hand\ntaken over: Service bootcamp-svc, made by hand\n", log.String())
}

// TestDeletion: in the background, and of the object that was looked at alone. One that
// took its place in the meantime is looked at again.
func TestDeletion(t *testing.T) {
	taker, server, _ := taker(t, appOf(`,"uid":"first"`))
	var mu sync.Mutex
	var sent []metav1.DeleteOptions
	server.Answer("DELETE "+appPath, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		var options metav1.DeleteOptions
		if assert.NoError(t, json.NewDecoder(r.Body).Decode(&options)) {
			sent = append(sent, options)
		}
		if len(sent) == 1 { // somebody was faster
			server.Put(t, appOf(`,"uid":"second"`))
			w.WriteHeader(http.StatusConflict)
			_, _ = w.Write([]byte(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Conflict","code":409}`))
			return
		}
		server.Delete(appPath)
		_, _ = w.Write([]byte(`{"kind":"Status","apiVersion":"v1","status":"Success"}`))
	})
	require.NoError(t, taker.Take(t.Context(), []Object{app}))
	require.Len(t, sent, 2)
	for i, uid := range []string{"first", "second"} {
		assert.Equal(t, uid, string(*sent[i].Preconditions.UID))
		assert.Equal(t, metav1.DeletePropagationBackground, *sent[i].PropagationPolicy)
	}
}

// TestKept: what does not go is an error that names it and what keeps it; the others are
// taken all the same. A load balancer is the cloud's to end.
func TestKept(t *testing.T) {
	const cloud = `,"finalizers":["service.kubernetes.io/load-balancer-cleanup"]`
	taker, server, log := taker(t, appOf(""), svcOf(cloud, `"type":"LoadBalancer"`))
	taker.limit = 2 * time.Second
	err := taker.Take(t.Context(), []Object{app, svc})
	var still *KeptError
	require.ErrorAs(t, err, &still)
	assert.Equal(t, svc, still.Object)
	assert.Contains(t, still.By, "service.kubernetes.io/load-balancer-cleanup")
	assert.True(t, server.Has(svcPath))
	assert.False(t, server.Has(appPath))
	assert.Equal(t, "taken over: Deployment bootcamp, made by hand\n", log.String())

	server.Put(t, svcOf(cloud, `"type":"ClusterIP"`))
	require.NoError(t, taker.Take(t.Context(), []Object{svc}), "there is no load balancer to wait for")

	server.Put(t, appOf(""))
	server.Say("DELETE "+appPath, `{"kind":"Status","apiVersion":"v1","status":"Success"}`) // and does nothing
	require.ErrorAs(t, taker.Take(t.Context(), []Object{app}), &still)
	assert.Equal(t, app, still.Object)
}

// TestRefused: an API server that refuses, or does not answer, is an error at once, of
// the object that it was about.
func TestRefused(t *testing.T) {
	for request, object := range map[string]string{"GET " + appPath: appOf(""), "DELETE " + appPath: appOf(""), "PATCH " + appPath: appOf(kept)} {
		taker, server, log := taker(t, object, svcOf("", ""))
		taker.limit = time.Minute
		server.Fail(request, http.StatusForbidden)
		begin := time.Now()
		err := taker.Take(t.Context(), []Object{app, svc})
		assert.Less(t, time.Since(begin), 10*time.Second, request)
		require.ErrorContains(t, err, app.String(), request)
		assert.False(t, errors.As(err, new(*KeptError)), request)
		assert.True(t, server.Has(appPath), request)
		assert.False(t, server.Has(svcPath), request)
		assert.NotContains(t, log.String(), "Deployment", request)
	}

	t.Run("silent", func(t *testing.T) {
		server := fake.NewAPIServer(t)
		server.Answer("GET "+appPath, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		config := server.Config()
		config.Timeout = 50 * time.Millisecond
		taker, err := On(config, io.Discard)
		require.NoError(t, err)
		begin := time.Now()
		require.ErrorIs(t, taker.Take(t.Context(), []Object{app, svc}), kubeclient.ErrNoAnswer)
		assert.Less(t, time.Since(begin), 10*time.Second)
	})
}
