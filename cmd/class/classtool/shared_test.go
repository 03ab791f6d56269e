package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"k8sbootcamp/cmd/class/internal/progress"
	"k8sbootcamp/components/editions"
	"k8sbootcamp/components/lab"
	"k8sbootcamp/internal/check"
	"k8sbootcamp/internal/fake"
	"k8sbootcamp/internal/lesson"
	"k8sbootcamp/internal/sharedcluster"
)

const (
	tokenURN    = "urn:pulumi:x::bootcamp::bootcamp:cluster:Tenant$command:local:Command::student-kubeconfig"
	accountPath = "/api/v1/namespaces/bootcamp-platform/serviceaccounts/bootcamp-x"
)

// sharedWorld is stack x with its place on a shared cluster.
type sharedWorld struct {
	*world
	api        *fake.APIServer
	kubeconfig string // the administrator's file
}

func newSharedWorld(t *testing.T, flags ...string) *sharedWorld {
	t.Helper()
	api := fake.NewAPIServer(t, `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"kube-system","uid":"this-one"}}`, of("Namespace", "", claim), of("ServiceAccount", "bootcamp-platform", claim))
	file := filepath.Join(t.TempDir(), "admin.yaml")
	require.NoError(t, os.WriteFile(file, api.Kubeconfig("class"), 0o600))
	w := &sharedWorld{newWorld(t, append(flags, "mode=shared-student", "kubeContext=class", "kubeconfigPath="+file)...), api, file}
	w.keep("this-one")
	return w
}

// of is an object of the stack's name with a claim.
func of(kind, namespace, mark string) string {
	return fmt.Sprintf(`{"apiVersion":"v1","kind":%q,"metadata":{"namespace":%q,"name":"bootcamp-x","annotations":{"bootcamp/claim":%q}}}`, kind, namespace, mark)
}

// keep puts the state of a stack that is up, on the cluster of an ID, into the backend,
// with a Service whose creation is open.
func (w *sharedWorld) keep(cluster string) {
	w.t.Helper()
	command := func(urn, create, stdout string) apitype.ResourceV3 {
		return apitype.ResourceV3{URN: resource.URN(urn), Custom: true, Type: "command:local:Command",
			Inputs: map[string]any{"create": create, "environment": map[string]any{
				sharedcluster.EnvOwned: "namespaces/bootcamp-x serviceaccounts/bootcamp-platform/bootcamp-x",
			}},
			Outputs: map[string]any{"stdout": stdout}}
	}
	b, err := json.Marshal(apitype.DeploymentV3{
		Resources: []apitype.ResourceV3{
			command("urn:pulumi:x::bootcamp::bootcamp:cluster:Existing$command:local:Command::cluster-claim", "claim", claim+" "+cluster),
			command(tokenURN, "kubeconfig", ""),
			{URN: "urn:pulumi:x::bootcamp::kubernetes:core/v1:Namespace::bootcamp-x", Custom: true, Type: "kubernetes:core/v1:Namespace",
				Outputs: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": "bootcamp-x", "uid": "1"}}},
		},
		PendingOperations: []apitype.OperationV2{{Type: "creating", Resource: apitype.ResourceV3{
			URN: "urn:pulumi:x::bootcamp::kubernetes:core/v1:Service::s", Custom: true, Type: "kubernetes:core/v1:Service",
			Inputs: map[string]any{"metadata": map[string]any{"name": "s", "namespace": "bootcamp-x"}},
		}}},
	})
	require.NoError(w.t, err)
	w.pulumi.Exists, w.pulumi.Deployment = true, b
}

// token is one that was made and ends that long ago and hence.
func token(made, ends time.Duration) string {
	payload := fmt.Sprintf(`{"iat":%d,"exp":%d}`, time.Now().Add(-made).Unix(), time.Now().Add(ends).Unix())
	return "h." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".s"
}

// hold makes the student's kubeconfig in the outputs one with a token.
func (w *sharedWorld) hold(token string) {
	w.outputs(strings.Replace(string(w.api.Kubeconfig("bootcamp-x")), "user: {}", "user:\n    token: "+token, 1))
}

// handed is what `class kubeconfig` writes.
func (w *sharedWorld) handed(renew bool) (string, error) {
	file := filepath.Join(w.t.TempDir(), "k.yaml")
	err := w.do(func(ctx context.Context, _ *progress.Line) error {
		return writeKubeconfig(ctx, &session{tool: &tool{}}, w.stack, file, false, renew, &w.row)
	})
	b, _ := os.ReadFile(file)
	return string(b), err
}

// An expired token is never handed out, nor one that soon ends; renewal is a flag.
func TestKubeconfigNeverExpires(t *testing.T) {
	fresh := fake.Token("bootcamp-platform", "bootcamp-x")
	for name, c := range map[string]struct {
		token string
		renew bool
		new   bool
	}{
		"young":            {token(time.Hour, 11*time.Hour), false, false},
		"young, renewed":   {token(time.Hour, 11*time.Hour), true, true},
		"past its half":    {token(7*time.Hour, 5*time.Hour), false, true},
		"ended":            {token(13*time.Hour, -time.Hour), false, true},
		"one that says no": {"opaque", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newSharedWorld(t)
			w.hold(c.token)
			got, err := w.handed(c.renew)
			require.NoError(t, err)
			if c.new {
				assert.Contains(t, got, fresh)
				assert.NotContains(t, got, c.token)
			} else {
				assert.Contains(t, got, c.token)
			}
			assert.Empty(t, w.did(), "the state is not touched")
		})
	}
	w := newSharedWorld(t)
	w.hold(token(13*time.Hour, -time.Hour))
	w.api.Put(t, of("ServiceAccount", "bootcamp-platform", other))
	_, err := w.handed(false)
	var taken *sharedcluster.TakenError
	require.ErrorAs(t, err, &taken, "another's account gets nobody a token")
	w.keep("that-one")
	_, err = w.handed(false)
	var another *sharedcluster.AnotherClusterError
	require.ErrorAs(t, err, &another)
}

// An up makes a token anew that soon ends, and takes over only what is the stack's.
func TestUpOnASharedCluster(t *testing.T) {
	w := newSharedWorld(t)
	w.hold(token(7*time.Hour, 5*time.Hour))
	require.NoError(t, w.up())
	assert.Equal(t, "stack import, refresh --target=urn:pulumi:x::bootcamp::kubernetes:core/v1:Service::s, up --replace="+tokenURN, w.did())

	w = newSharedWorld(t)
	w.hold(token(time.Hour, 11*time.Hour))
	w.api.Put(t, of("Namespace", "", other))
	var taken *sharedcluster.TakenError
	require.ErrorAs(t, w.up(), &taken)
	assert.Empty(t, w.did(), "nothing of another's was taken into the state")
}

// A stack whose cluster is gone for good is forgotten; one that answers is not.
func TestForget(t *testing.T) {
	forget := func(w *sharedWorld, remove bool) error {
		return w.do(func(ctx context.Context, line *progress.Line) error {
			return destroy(ctx, w.stack, remove, true, line, &w.row)
		})
	}
	w := newSharedWorld(t)
	require.ErrorContains(t, forget(w, true), "the stack's cluster answers (context class)")
	w.api.Put(t, of("Namespace", "", other))
	require.ErrorContains(t, forget(w, true), "the stack's cluster answers (context class)", "also where something of its name is another's")
	for _, code := range []int{401, 403} { // an instructor whose access has ended
		w.api.Fail("GET /api/v1/namespaces/kube-system", code)
		require.ErrorContains(t, forget(w, true), "a cluster answers (context class), and may be the stack's")
		assert.Empty(t, w.did())
	}

	for name, gone := range map[string]func(w *sharedWorld){
		"another cluster":       func(w *sharedWorld) { w.keep("that-one") },
		"no answer":             func(w *sharedWorld) { w.api.Fail("GET /api/v1/namespaces/kube-system", 503) },
		"a context that is not": func(w *sharedWorld) { require.NoError(t, os.WriteFile(w.kubeconfig, w.api.Kubeconfig("else"), 0o600)) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newSharedWorld(t)
			gone(w)
			require.NoError(t, forget(w, true))
			assert.Equal(t, "stack import, stack import, stack rm", w.did())
			require.Len(t, w.row.Kept, 1)
			assert.Contains(t, w.row.Kept[0], "on the cluster of context class, 1 objects, was forgotten and not removed")
			assert.True(t, w.api.Has(accountPath), "the cluster was touched")
		})
	}

	own := newWorld(t)
	own.keep(state{claimed: true, cluster: true})
	err := own.do(func(ctx context.Context, line *progress.Line) error {
		return destroy(ctx, own.stack, true, true, line, &own.row)
	})
	assert.ErrorContains(t, err, "--forget is for stacks on a shared cluster")
	assert.Empty(t, own.did())
}

// The state is not written over what another program wrote meanwhile.
func TestStateChangedMeanwhile(t *testing.T) {
	w := newSharedWorld(t)
	w.hold("opaque")
	exports := 0
	w.pulumi.Before = func(p *fake.Pulumi, did string) {
		if did != "stack export" {
			return
		}
		if exports++; exports == 3 { // the second look of an edit
			p.Deployment = json.RawMessage(`{"manifest":{"version":"other"}}`)
		}
	}
	require.ErrorContains(t, w.up(), "another program has changed the stack's state just now")
	assert.Empty(t, w.did())
}

// check tries the network as a pod of the student's: with agnhost, on the stack's own
// cluster and no other.
func TestCheckTriesTheNetwork(t *testing.T) {
	var made []string
	ask := func(w *sharedWorld) answer {
		w.hold(token(time.Hour, 11*time.Hour))
		w.pulumi.Outputs[lab.OutNamespace] = "bootcamp-x"
		w.api.Say("GET /api/v1/namespaces/bootcamp-x/services/bootcamp-svc/proxy/", "the app")
		made = nil
		w.api.Created = func(o *unstructured.Unstructured) {
			for spec, status := range map[string]string{"initContainers": "initContainerStatuses", "containers": "containerStatuses"} {
				containers, _, _ := unstructured.NestedSlice(o.Object, "spec", spec)
				var statuses []any
				for _, c := range containers {
					c := c.(map[string]any)
					made = append(made, fmt.Sprint(c["name"], " ", c["image"]))
					statuses = append(statuses, map[string]any{"name": c["name"], "restartCount": int64(3),
						"lastState": map[string]any{"terminated": map[string]any{"exitCode": int64(0)}}})
				}
				_ = unstructured.SetNestedSlice(o.Object, statuses, "status", status)
			}
		}
		err := w.do(func(ctx context.Context, line *progress.Line) error {
			return checkLab(ctx, w.stack, checkFlags{}, line, &w.row)
		})
		require.Error(t, err, "there are no nodes")
		all := w.row.answers(lesson.English)
		require.NotEmpty(t, all)
		last := all[len(all)-1]
		require.Equal(t, check.Network, last.Question)
		return last
	}
	place := []string{
		`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"namespace":"bootcamp-x","name":"bootcamp"}}`,
		`{"apiVersion":"v1","kind":"Service","metadata":{"namespace":"bootcamp-x","name":"bootcamp-svc"},"spec":{"clusterIP":"198.51.100.1","ports":[{"port":8080}]}}`,
	}
	current, err := editions.Of(editions.Current)
	require.NoError(t, err)
	for flag, image := range map[string]string{
		"edition=course":                       current.Echo,
		"echoImage=registry.example/agnhost:9": "registry.example/agnhost:9",
		"echoImage=registry.example/echo:9":    current.Echo,
	} {
		w := newSharedWorld(t, flag)
		w.api.Put(t, place...)
		got := ask(w)
		assert.True(t, got.OK, got.Detail)
		assert.True(t, got.Warning, got.Detail)
		assert.ElementsMatch(t, []string{"metadata " + image, "own-app " + image}, made)
	}

	w := newSharedWorld(t)
	w.api.Put(t, place...)
	w.keep("that-one")
	got := ask(w)
	assert.False(t, got.OK)
	assert.Contains(t, got.Hint, "another cluster")
	assert.Empty(t, made, "a pod was made on another cluster")
}

// What fails since the API server was busy with the quota is done once more, and only
// once.
func TestUpOnceMore(t *testing.T) {
	for name, c := range map[string]struct {
		message string
		fails   int
		did     string
		well    bool
	}{
		"busy":        {`Operation cannot be fulfilled on resourcequotas "bootcamp": the object has been modified`, 1, "up, up", true},
		"busy always": {`Operation cannot be fulfilled on resourcequotas "bootcamp": the object has been modified`, 2, "up, up", false},
		"another":     {"exceeded quota: bootcamp", 1, "up", false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newSharedWorld(t)
			w.hold("opaque")
			w.pulumi.Deployment = nil
			fails := 0
			w.pulumi.Do = map[string]func(*fake.Pulumi) ([]apitype.EngineEvent, string){"up": func(*fake.Pulumi) ([]apitype.EngineEvent, string) {
				if fails++; fails > c.fails {
					return nil, ""
				}
				return []apitype.EngineEvent{{DiagnosticEvent: &apitype.DiagnosticEvent{Severity: "error", Message: c.message}}}, "error: update failed"
			}}
			err := w.up()
			assert.Equal(t, c.well, err == nil, "%v", err)
			assert.Equal(t, c.did, w.did())
		})
	}
}
