package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/cmd/class/internal/config"
	"k8sbootcamp/cmd/class/internal/progress"
	"k8sbootcamp/cmd/class/internal/shell"
	"k8sbootcamp/cmd/class/internal/stack"
	"k8sbootcamp/cmd/class/internal/workspace"
	"k8sbootcamp/components/lab"
	"k8sbootcamp/internal/check"
	"k8sbootcamp/internal/fake"
	"k8sbootcamp/internal/kindcluster"
	"k8sbootcamp/internal/lesson"
)

const (
	claim      = "0123456789abcdef0123456789abcdef"
	other      = "ffffffffffffffffffffffffffffffff"
	clusterURN = "urn:pulumi:x::bootcamp::bootcamp:cluster:Kind$command:local:Command::cluster"
)

// world is one stack, x, with all that is around it.
type world struct {
	t      *testing.T
	pulumi *fake.Pulumi
	docker *fake.Docker
	stack  *stack.Stack
	out    bytes.Buffer // of the line
	row    row
}

func newWorld(t *testing.T, flags ...string) *world {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir()) // for kindcluster's lock
	t.Setenv("HOME", t.TempDir())
	t.Setenv("KUBECONFIG", "")
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "Pulumi.yaml"), []byte("name: bootcamp\nruntime: go\n"), 0o600))
	project, err := workspace.Open(dir, func(string) (string, bool) { return "", false })
	require.NoError(t, err)
	stacks, problems, err := config.Read(config.Request{Project: project.Settings, File: project.ConfigFile, Stack: "x", Flags: flags})
	require.NoError(t, err)
	require.Empty(t, problems)
	w := &world{t: t, pulumi: &fake.Pulumi{}, docker: fake.NewDocker()}
	w.stack, err = stack.Open(context.Background(), stack.Tools{Project: project, Pulumi: w.pulumi, Docker: w.docker}, stacks[0])
	require.NoError(t, err)
	return w
}

func (w *world) do(work func(ctx context.Context, line *progress.Line) error) error {
	w.pulumi.Did, w.out, w.row = nil, bytes.Buffer{}, row{Stack: "x", Student: "x"}
	return work(context.Background(), progress.New(&w.out, false, []string{"x"}).Start("x"))
}

func (w *world) up() error {
	return w.do(func(ctx context.Context, line *progress.Line) error { return up(ctx, nil, w.stack, line, &w.row) })
}

// did are the commands that change something.
func (w *world) did() string {
	var all []string
	for _, d := range w.pulumi.Did {
		if d != "stack export" && d != "stack output" && d != "stack history" {
			all = append(all, d)
		}
	}
	return strings.Join(all, ", ")
}

// state is what is in the stack's state.
type state struct {
	claimed, prepared bool

	cluster bool // one of one node
	objects []check.Object
	pending []string // objects (kind/name) whose creation is open
}

// keep puts a state into the backend.
func (w *world) keep(s state) {
	w.t.Helper()
	w.pulumi.Exists = true
	command := func(name string, inputs, outputs map[string]any) apitype.ResourceV3 {
		return apitype.ResourceV3{URN: resource.URN(strings.Replace(clusterURN, "::cluster", "::"+name, 1)), Custom: true,
			Type: "command:local:Command", Inputs: inputs, Outputs: outputs}
	}
	var d apitype.DeploymentV3
	if s.claimed {
		d.Resources = append(d.Resources, command("cluster-claim", map[string]any{"create": "claim"}, map[string]any{"stdout": claim}))
	}
	if s.prepared {
		d.Resources = append(d.Resources, command("cluster-prepare", map[string]any{"create": "prepare"}, nil))
	}
	if s.cluster {
		d.Resources = append(d.Resources, command("cluster", map[string]any{
			"create": "create", "stdin": "nodes:\n- role: control-plane\n",
			"environment": map[string]any{kindcluster.EnvName: "bootcamp-x", kindcluster.EnvClaim: claim},
		}, nil))
	}
	for _, o := range s.objects {
		d.Resources = append(d.Resources, apitype.ResourceV3{URN: resource.URN(o.URN), Custom: true, Type: "kubernetes:core/v1:" + "Node",
			Outputs: map[string]any{"apiVersion": o.APIVersion, "kind": o.Kind, "metadata": map[string]any{"name": o.Name, "namespace": o.Namespace, "uid": "1"}}})
	}
	for _, p := range s.pending {
		kind, name, _ := strings.Cut(p, "/")
		d.PendingOperations = append(d.PendingOperations, apitype.OperationV2{Type: "creating", Resource: apitype.ResourceV3{
			URN: resource.URN("urn:pulumi:x::bootcamp::kubernetes:core/v1:" + kind + "::" + name), Custom: true, Type: resource.URN("urn:pulumi:x::bootcamp::kubernetes:core/v1:" + kind + "::" + name).Type(),
			Inputs: map[string]any{"metadata": map[string]any{"name": name, "namespace": "default"}},
		}})
	}
	b, err := json.Marshal(d)
	require.NoError(w.t, err)
	w.pulumi.Deployment = b
}

func (w *world) outputs(kubeconfig string) {
	w.pulumi.Outputs = map[string]string{lab.OutKubeconfig: kubeconfig, lab.OutAppURL: "http://x"}
	w.pulumi.Secret = lab.SecretOutputs
}

func (w *world) node(owner string) *fake.Cluster {
	return w.docker.Add(kindcluster.Identity{Name: "bootcamp-x", Claim: owner}, 0)
}

func TestUpFirst(t *testing.T) {
	w := newWorld(t, "replicas=3")
	w.outputs("secret")
	require.NoError(t, w.up())
	assert.Equal(t, "stack init, up", w.did())
	assert.Equal(t, map[string]string{lab.OutAppURL: "http://x"}, w.row.Outputs, "the kubeconfig is no plain output")
	written, err := os.ReadFile(w.stack.Project.ConfigFile("x"))
	require.NoError(t, err)
	assert.Contains(t, string(written), `bootcamp:replicas: "3"`)
}

// TestUpAsksOnce: each start of the CLI takes time, and what nobody reads is not asked.
func TestUpAsksOnce(t *testing.T) {
	w := newWorld(t)
	w.node(claim)
	w.keep(state{claimed: true, cluster: true})
	require.NoError(t, w.up())
	assert.Equal(t, []string{"stack export", "up"}, w.pulumi.Did)
}

// TestUpAsksDockerOnce: while the state is read, where all is well; what was wrong then is
// looked at again, for the state is newer.
func TestUpAsksDockerOnce(t *testing.T) {
	w := newWorld(t, "workers=0")
	api := fake.NewAPIServer(t, `{"apiVersion":"v1","kind":"Node","metadata":{"name":"here"}}`)
	w.node(claim).Kubeconfig = api.Kubeconfig("x")
	w.keep(state{claimed: true, cluster: true, objects: []check.Object{{URN: "urn:here", APIVersion: "v1", Kind: "Node", Name: "here"}}})
	var mu sync.Mutex
	var asked []fake.Call
	sick := false
	w.docker.On = func(_ context.Context, call fake.Call, _ string) error {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, call)
		if call == fake.Ready && sick {
			sick = false
			return kindcluster.ErrNotReady
		}
		return nil
	}
	require.NoError(t, w.up())
	assert.ElementsMatch(t, []fake.Call{fake.Containers, fake.Ready, fake.Kubeconfig}, asked)

	asked, sick = nil, true
	require.NoError(t, w.up())
	assert.ElementsMatch(t, []fake.Call{fake.Containers, fake.Ready, fake.Kubeconfig, fake.Containers, fake.Ready, fake.Kubeconfig}, asked)
	assert.NotContains(t, w.did(), "replace")
	assert.NotContains(t, w.out.String(), "repaired")
}

func TestUpAfterAKill(t *testing.T) {
	w := newWorld(t)
	w.keep(state{claimed: true, pending: []string{"unknown/"}})
	locks := w.stack.Project.State.LockFolder("x")
	require.NoError(t, os.MkdirAll(locks, 0o700))
	host, err := os.Hostname()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(locks, "l.json"), fmt.Appendf(nil, `{"pid": 1073741823, "hostname": %q}`, host), 0o600))
	require.NoError(t, w.up())
	assert.Equal(t, "stack import, up", w.did())
	assert.NotContains(t, w.pulumi.Imported[0], "pending_operations")
	assert.Contains(t, w.out.String(), "removed the lock of process 1073741823")
	assert.NoFileExists(t, filepath.Join(locks, "l.json"))
}

// Objects that a killed run may have made are looked for where they can be.
func TestUpAdopts(t *testing.T) {
	w := newWorld(t)
	w.node(claim)
	w.keep(state{claimed: true, cluster: true, pending: []string{"Service/bootcamp"}})
	require.NoError(t, w.up())
	assert.Equal(t, "stack import, refresh --target=urn:pulumi:x::bootcamp::kubernetes:core/v1:Service::bootcamp, up", w.did())
	assert.Contains(t, w.pulumi.Imported[0], `"id":"default/bootcamp"`)

	w.docker.Clusters = map[string]*fake.Cluster{}
	w.keep(state{claimed: true, cluster: true, pending: []string{"Service/bootcamp"}})
	require.NoError(t, w.up())
	assert.Equal(t, "stack import, up --replace="+clusterURN, w.did(), "they are gone with their cluster")
}

func TestUpRebuildsWhatIsGone(t *testing.T) {
	w := newWorld(t)
	w.keep(state{claimed: true, cluster: true})
	require.NoError(t, w.up())
	assert.Equal(t, "up --replace="+clusterURN, w.did())

	require.NoError(t, w.do(func(ctx context.Context, line *progress.Line) error { return preview(ctx, nil, w.stack, line, &w.row) }))
	assert.Equal(t, "preview --replace="+clusterURN, w.did(), "a preview writes nothing")

	w.keep(state{claimed: true, prepared: true, cluster: true})
	require.NoError(t, w.up())
	assert.Equal(t, "up --replace="+clusterURN+"-prepare --replace="+clusterURN, w.did(), "what it needs is looked for before")

	w.node(claim)
	require.NoError(t, w.up())
	assert.Equal(t, "up", w.did(), "a healthy one stays")
}

// A cluster that was stopped is started, and rebuilt only where that does not help.
func TestUpStartsWhatWasStopped(t *testing.T) {
	w := newWorld(t)
	api := fake.NewAPIServer(t, `{"apiVersion":"v1","kind":"Node","metadata":{"name":"here"}}`)
	w.keep(state{claimed: true, cluster: true, objects: []check.Object{{URN: "urn:here", APIVersion: "v1", Kind: "Node", Name: "here"}}})
	w.outputs(string(api.Kubeconfig("x")))
	cluster := w.node(claim)
	cluster.Kubeconfig = api.Kubeconfig("x")
	cluster.Stop()
	require.NoError(t, w.up())
	assert.Equal(t, "up", w.did())
	assert.True(t, cluster.Nodes[0].Running)

	cluster.Stop()
	cluster.NotReady = kindcluster.ErrNotReady
	require.NoError(t, w.up())
	assert.Equal(t, "up --replace="+clusterURN, w.did())
	assert.Contains(t, w.out.String(), "did not come back")
}

// A cluster whose nodes run, as Docker starts them by itself, and are not at work is
// named, and repaired by an up.
func TestFailingClusterIsNamedAndRepaired(t *testing.T) {
	w := newWorld(t)
	api := fake.NewAPIServer(t, `{"apiVersion":"v1","kind":"Node","metadata":{"name":"here"}}`)
	w.keep(state{claimed: true, cluster: true, objects: []check.Object{{URN: "urn:here", APIVersion: "v1", Kind: "Node", Name: "here"}}})
	w.outputs(string(api.Kubeconfig("x")))
	cluster := w.node(claim)
	cluster.Kubeconfig = api.Kubeconfig("x")
	cluster.ByAddress, cluster.NotReady = true, fmt.Errorf("cluster bootcamp-x: %w: node a has not been heard of", kindcluster.ErrNotReady)

	require.NoError(t, w.do(func(ctx context.Context, line *progress.Line) error {
		return readStatus(ctx, nil, w.stack, line, &w.row)
	}))
	assert.Equal(t, "not working", w.row.Status.Cluster)
	assert.Contains(t, w.row.Status.Problem, "node a has not been heard of; ")
	assert.Contains(t, w.row.Status.Problem, "up --stack x repairs it")

	require.NoError(t, w.do(func(ctx context.Context, line *progress.Line) error { return preview(ctx, nil, w.stack, line, &w.row) }))
	assert.Equal(t, "preview", w.did())
	assert.Contains(t, w.out.String(), "node a has not been heard of; an up repairs it")

	require.NoError(t, w.up())
	assert.Equal(t, "up", w.did(), "it is not rebuilt")
	assert.Contains(t, w.out.String(), "node a has not been heard of; it is repaired")
	assert.NoError(t, cluster.NotReady)
}

// kind gives no load balancer an address: an up of a stopped lab does not wait for one.
func TestUpWaitsForNoLoadBalancer(t *testing.T) {
	w := newWorld(t)
	api := fake.NewAPIServer(t, `{"apiVersion":"v1","kind":"Service","metadata":{"name":"s","namespace":"default"},"spec":{"type":"LoadBalancer"}}`)
	w.keep(state{claimed: true, cluster: true, objects: []check.Object{{URN: "urn:s", APIVersion: "v1", Kind: "Service", Namespace: "default", Name: "s"}}})
	w.outputs(string(api.Kubeconfig("x")))
	cluster := w.node(claim)
	cluster.Kubeconfig = api.Kubeconfig("x")
	cluster.Stop()
	start := time.Now()
	require.NoError(t, w.up())
	assert.Less(t, time.Since(start), time.Minute)
}

// What somebody deleted in the cluster is made again; a cluster that does not
// answer is the update's business.
func TestUpMakesMissingObjectsAgain(t *testing.T) {
	w := newWorld(t)
	api := fake.NewAPIServer(t, `{"apiVersion":"v1","kind":"Node","metadata":{"name":"here"}}`)
	w.node(claim).Kubeconfig = api.Kubeconfig("x")
	w.keep(state{claimed: true, cluster: true, objects: []check.Object{
		{URN: "urn:here", APIVersion: "v1", Kind: "Node", Name: "here"},
		{URN: "urn:gone", APIVersion: "v1", Kind: "Node", Name: "gone"},
	}})
	require.NoError(t, w.up())
	assert.Equal(t, "refresh --target=urn:gone, up", w.did())
	assert.Contains(t, w.out.String(), "gone from the cluster, and made again: Node gone")

	api.Fail("GET /version", 500)
	require.NoError(t, w.up())
	assert.Equal(t, "up", w.did())
}

func TestUpStopsAtALiveLockAndAForeignCluster(t *testing.T) {
	w := newWorld(t)
	w.keep(state{claimed: true, cluster: true})
	w.node(other)
	assert.ErrorIs(t, w.up(), kindcluster.ErrForeign)
	assert.Empty(t, w.did())
	assert.Len(t, w.docker.Clusters, 1)

	locks := w.stack.Project.State.LockFolder("x")
	require.NoError(t, os.MkdirAll(locks, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(locks, "l.json"), []byte(`{"pid": 7, "hostname": "elsewhere"}`), 0o600))
	var held *stack.Held
	assert.ErrorAs(t, w.up(), &held)
	assert.Empty(t, w.did())
}

// A failed pull is told as the cluster tells it: which pod, which image, why.
func TestUpTellsWhyPodsAreNotReady(t *testing.T) {
	w := newWorld(t)
	api := fake.NewAPIServer(t, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"bootcamp-1","namespace":"default","labels":{"app":"bootcamp"}},
		"status":{"containerStatuses":[{"name":"bootcamp-app","image":"registry.invalid/nope:1","ready":false,
		"state":{"waiting":{"reason":"ErrImagePull","message":"rpc error: dial tcp: lookup registry.invalid: no such host"}}}]}}`)
	api.Put(t, `{"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"default","name":"exporter-1","labels":{"app":"node-exporter"}}}`)
	w.node(claim).Kubeconfig = api.Kubeconfig("kind-bootcamp-x")
	failed := func(component, kind, name string) apitype.EngineEvent {
		return apitype.EngineEvent{DiagnosticEvent: &apitype.DiagnosticEvent{Severity: "error",
			URN:     "urn:pulumi:x::bootcamp::" + component + "$kubernetes:apps/v1:" + kind + "::" + name,
			Message: "1 error occurred:\n\t* '" + name + "' timed out waiting to be Ready"}}
	}
	slow := failed("bootcamp:monitoring:Monitoring", "DaemonSet", "node-exporter")
	bad := failed("bootcamp:echo:Echo", "Deployment", "bootcamp")
	// What is merely slow may fail before it, or alone.
	for _, events := range [][]apitype.EngineEvent{{slow, bad}, {slow}} {
		w.pulumi.Do = map[string]func(*fake.Pulumi) ([]apitype.EngineEvent, string){"up": func(*fake.Pulumi) ([]apitype.EngineEvent, string) {
			return events, "error: update failed"
		}}
		err := w.up()
		require.Error(t, err)
		w.row.fail(err)
		assert.Equal(t, "pod bootcamp-1: image registry.invalid/nope:1: no such host; check the image's registry and this machine's DNS", w.row.Cause)
		assert.Contains(t, w.row.Detail, "timed out waiting")
	}
}

func TestDestroy(t *testing.T) {
	empties := func(p *fake.Pulumi) ([]apitype.EngineEvent, string) { p.Deployment = nil; return nil, "" }
	for name, c := range map[string]struct {
		state   *state // nil is no stack
		owner   string // of the cluster that is there; empty is none
		stuck   bool   // what is deleted stays
		keeps   bool   // the destroy leaves the state as it is
		failure string // of the destroy
		remove  bool
		did     string
		kept    string
		err     error
		errText string
		left    int // clusters
	}{
		"all goes":                     {state: &state{claimed: true, cluster: true}, did: "destroy"},
		"with the stack":               {state: &state{claimed: true, cluster: true}, remove: true, did: "destroy, stack rm"},
		"a cluster the state forgot":   {state: &state{claimed: true, pending: []string{"x/y"}}, owner: claim, did: "stack import, destroy"},
		"another's cluster":            {state: &state{claimed: true}, owner: other, did: "destroy", kept: "belongs to another stack; left alone", left: 1},
		"no stack, no cluster":         {remove: true},
		"no stack, somebody's cluster": {owner: other, kept: "./class kind delete cluster --name bootcamp-x", left: 1},
		"a container that stays":       {state: &state{claimed: true, cluster: true}, owner: claim, stuck: true, did: "destroy", err: kindcluster.ErrLeft, left: 1},
		"resources that stay":          {state: &state{claimed: true, cluster: true}, keeps: true, remove: true, did: "destroy", errText: "still has 2 resources"},
		"a destroy that fails":         {state: &state{claimed: true, cluster: true}, failure: "error: no Docker", remove: true, did: "destroy", errText: "no Docker"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.pulumi.Do = map[string]func(*fake.Pulumi) ([]apitype.EngineEvent, string){"destroy": empties}
			if c.keeps || c.failure != "" {
				w.pulumi.Do["destroy"] = func(*fake.Pulumi) ([]apitype.EngineEvent, string) { return nil, c.failure }
			}
			if c.state != nil {
				w.keep(*c.state)
			}
			if c.owner != "" {
				w.node(c.owner)
			}
			if c.stuck {
				w.docker.On = func(_ context.Context, call fake.Call, _ string) error {
					if call == fake.Containers && len(w.docker.Clusters) == 0 {
						w.node(claim)
					}
					return nil
				}
			}
			err := w.do(func(ctx context.Context, line *progress.Line) error {
				return destroy(ctx, w.stack, c.remove, false, line, &w.row)
			})
			switch {
			case c.err != nil:
				assert.ErrorIs(t, err, c.err)
			case c.errText != "":
				assert.ErrorContains(t, err, c.errText)
			default:
				require.NoError(t, err)
			}
			assert.Equal(t, c.did, w.did())
			assert.Len(t, w.docker.Clusters, c.left)
			if c.kept == "" {
				assert.Empty(t, w.row.Kept)
			} else {
				assert.Contains(t, strings.Join(w.row.Kept, "\n"), c.kept)
			}
		})
	}
}

// A kubeconfig that was written or merged goes with the lab, and no other does.
func TestDestroyTakesTheKubeconfigBack(t *testing.T) {
	w := newWorld(t)
	w.node(claim)
	kubeconfig, err := w.docker.Kubeconfig(context.Background(), "bootcamp-x")
	require.NoError(t, err)
	w.keep(state{claimed: true, cluster: true})
	w.outputs(kubeconfig)
	w.pulumi.Do = map[string]func(*fake.Pulumi) ([]apitype.EngineEvent, string){
		"destroy": func(p *fake.Pulumi) ([]apitype.EngineEvent, string) { p.Deployment = nil; return nil, "" },
	}
	s := &session{tool: &tool{out: io.Discard}}
	for _, merge := range []bool{false, true} {
		require.NoError(t, w.do(func(ctx context.Context, _ *progress.Line) error {
			return writeKubeconfig(ctx, s, w.stack, "", merge, false, &w.row)
		}))
		require.FileExists(t, w.row.File)
	}
	merged := w.row.File
	require.NoError(t, w.do(func(ctx context.Context, line *progress.Line) error {
		return destroy(ctx, w.stack, false, false, line, &w.row)
	}))
	assert.Empty(t, w.row.Kept)
	assert.NoFileExists(t, w.stack.Project.Kubeconfig("x"))
	left, err := os.ReadFile(merged)
	require.NoError(t, err)
	assert.NotContains(t, string(left), "bootcamp-x")
}

func TestStatus(t *testing.T) {
	w := newWorld(t)
	read := func() *status {
		require.NoError(t, w.do(func(ctx context.Context, line *progress.Line) error {
			return readStatus(ctx, nil, w.stack, line, &w.row)
		}))
		return w.row.Status
	}
	assert.Equal(t, &status{Cluster: "not made"}, read())

	w.keep(state{claimed: true, cluster: true, objects: []check.Object{{URN: "urn:s", APIVersion: "v1", Kind: "Node", Name: "n"}}})
	w.outputs("")
	assert.Equal(t, &status{Made: true, Cluster: "gone", Total: 1, AppURL: "http://x"}, read(), "a cluster that is gone is asked nothing")

	w.node(claim)
	assert.Equal(t, "alive (nodes: 1)", read().Cluster)
	assert.NotEmpty(t, read().Problem, "without a kubeconfig it says why it knows nothing")

	w.outputs(string(fake.NewAPIServer(t).Kubeconfig("x")))
	assert.Equal(t, []string{"Node n: it is gone"}, read().NotReady)
}

func TestKubeconfigOfALabThatIsNotUp(t *testing.T) {
	w := newWorld(t)
	for _, there := range []func(){func() {}, func() { w.keep(state{}) }, func() { w.outputs(" \n") }} {
		there()
		_, _, err := studentOutputs(context.Background(), w.stack, false)
		assert.ErrorIs(t, err, errNotUp)
	}
	w.outputs("k")
	outputs, kubeconfig, err := studentOutputs(context.Background(), w.stack, false)
	require.NoError(t, err)
	assert.Equal(t, "k", outputs[lab.OutKubeconfig])
	assert.Equal(t, "k", string(kubeconfig))
}

// jsonFields are all names in a document that has everything.
func jsonFields(t *testing.T) []string {
	t.Helper()
	full := row{
		Cause: "x", Detail: "x", Changes: &stack.Changes{Summary: map[string]int{}, Steps: []stack.Step{{Keys: []string{"k"}}}},
		Outputs: map[string]string{"o": ""}, Kept: []string{"x"}, File: "x", Checks: []answer{{}},
		Reset:  &wasReset{Did: []string{"x"}, Foreign: []foreign{{}}},
		Status: &status{NotReady: []string{"x"}, AppURL: "x", LastChange: &stack.Change{}, Problem: "x"},
	}
	b, err := json.Marshal(document{Error: "x", Retry: "x", Findings: []config.Problem{{}}, Stacks: []row{full}})
	require.NoError(t, err)
	var names []string
	for dec := json.NewDecoder(bytes.NewReader(b)); ; {
		token, err := dec.Token()
		if err != nil {
			return names
		}
		if name, ok := token.(string); ok && len(name) > 1 && name[0] != '0' { // values here have one letter, or are a time
			names = append(names, name)
		}
	}
}

// end is what is printed of rows, and the error of the run.
func end(t *testing.T, ctx context.Context, args string, stacks int, show func(*session, []row), rows ...row) (string, error) {
	t.Helper()
	var out bytes.Buffer
	tl := &tool{out: &out, err: io.Discard}
	s := &session{tool: tl, stacks: make([]*config.Stack, stacks), verb: verb{show: show}}
	root := tl.root()
	for _, c := range root.Commands() {
		c.PreRunE = nil
		c.RunE = func(cmd *cobra.Command, _ []string) error { s.cmd = cmd; return nil }
	}
	root.SetArgs(strings.Split(args, " "))
	require.NoError(t, root.Execute())
	err := s.finish(ctx, rows)
	return out.String(), err
}

func TestSummaryOfAHalfFailedRoster(t *testing.T) {
	out, err := end(t, context.Background(), "up --roster class.csv --config nodeImage=a:1", 3, showUp,
		row{Stack: "a", Student: "山田花子", Outcome: ok, Seconds: 61, Changes: &stack.Changes{Summary: map[string]int{"create": 18, "same": 2}}, Outputs: map[string]string{lab.OutAppURL: "http://127.0.0.1:18080/"}},
		row{Stack: "b", Student: "Bob", Outcome: failed, Cause: "Deployment bootcamp: no image", Detail: "much"},
		row{Stack: "c", Student: "c", Outcome: failed, Cause: "no memory"})
	assert.Equal(t, exitFailed, exitCode(context.Background(), err))
	assert.Equal(t, `
STUDENT   STACK  RESULT  TOOK  CHANGES     APP URL
山田花子  a      ok      1m1s  18 created  http://127.0.0.1:18080/
Bob       b      failed  0s    -           -
c         c      failed  0s    -           -

b FAILED: Deployment bootcamp: no image
c FAILED: no memory

to try again what is missing:
  `+shell.Here.Class()+` up --config nodeImage=a:1 --roster class.csv --only b,c
`, out)
}

func TestSummaryOfAnInterruptedRun(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	out, err := end(t, ctx, "up --roster r --json", 2, showUp,
		row{Stack: "a", Student: "a", Outcome: interrupted}, row{Stack: "b", Student: "b", Outcome: notStarted})
	assert.Equal(t, exitInterrupted, exitCode(ctx, err))
	var d document
	require.NoError(t, json.Unmarshal([]byte(out), &d))
	assert.Equal(t, exitInterrupted, d.ExitCode)
	assert.Equal(t, shell.Here.Class()+" up --json --roster r", d.Retry, "all of them need no --only")
	assert.Equal(t, notStarted, d.Stacks[1].Outcome)
}

func TestOneFailureIsToldInFull(t *testing.T) {
	out, _ := end(t, context.Background(), "up", 1, showUp, row{Stack: "dev", Outcome: failed, Cause: "short", Detail: "line 1\nline 2"})
	assert.Contains(t, out, "dev FAILED: short\n  line 1\n  line 2\n")
	assert.True(t, strings.HasSuffix(out, "  "+shell.Here.Class()+" up\n"), out)
}

func TestTables(t *testing.T) {
	answer := func(id string, state lesson.State, hint string) lesson.Answer {
		return lesson.Answer{Check: lesson.Find(id), State: state, Hint: lesson.Text{EN: hint, JA: hint}}
	}
	report := lesson.Report{Answers: []lesson.Answer{
		answer("0-3/cluster", lesson.OK, ""), answer("0-3/nodes", lesson.Failed, "Node b \x1b[31m is not."), answer("0-3/schedulable", lesson.OK, ""),
		answer("3-2/deployment", lesson.Open, "There is none."),
	}}
	for name, c := range map[string]struct {
		show func(*session, []row)
		rows []row
		want string
	}{
		"status": {showStatus, []row{
			{Stack: "a", Student: "a", Outcome: ok, Status: &status{Made: true, Cluster: "alive (nodes: 1)", Ready: 9, Total: 10, NotReady: []string{"Deployment bootcamp: 0 of 2 pods are ready"}}},
			{Stack: "b", Student: "b", Outcome: ok, Status: &status{Cluster: "not made"}},
		}, `STUDENT  STACK  CLUSTER           READY  APP URL  LAST CHANGE
a        a      alive (nodes: 1)  9/10   -        -
b        b      not made          0/0    -        -
a: Deployment bootcamp: 0 of 2 pods are ready
`},
		"destroy": {showDestroyed, []row{
			{Stack: "a", Student: "a", Outcome: ok},
			{Stack: "b", Student: "b", Outcome: ok, Kept: []string{"kind cluster bootcamp-b"}},
		}, `
STUDENT  STACK  RESULT        TOOK
a        a      nothing left  0s
b        b      removed       0s
b: stays: kind cluster bootcamp-b
`},
		"preview": {showPreview, []row{{Stack: "a", Outcome: ok, Changes: &stack.Changes{
			Summary: map[string]int{"update": 1}, Steps: []stack.Step{{Op: "update", Type: "kubernetes:apps/v1:Deployment", Name: "bootcamp", Keys: []string{"spec"}}},
		}}}, "\na: 1 to update\n  update  Deployment  bootcamp  spec\n"},
		"check": {showChecks, []row{{Stack: "a", Outcome: ok, Report: &report, Network: &check.Result{Question: "network", OK: true, Warning: true, Detail: "no \x1b[31manswer"}}}, `
0-3  the cluster  (2 of 4 points)
  ok        the cluster answers
  FAILED    every node is Ready
            Node b \x1b[31m is not.
            look: kubectl get nodes
  ok        every node takes pods

3-2  Deployment  open

  warning   network (no \x1b[31manswer)

2 of 7 points
`},
		"check of a class": {showChecks, []row{{Stack: "a", Student: "青木", Outcome: ok, Report: &report}, {Stack: "b", Student: "b", Outcome: ok}}, `
STUDENT  STACK  TOTAL  0-3  3-2  AT   FIRST NOT OK
青木     a      2/7    2/4  0/3  0-3  0-3/nodes: Node b \x1b[31m is not.
b        b      ok
`},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := end(t, context.Background(), "status", len(c.rows), c.show, c.rows...)
			require.NoError(t, err)
			assert.Equal(t, c.want, out)
		})
	}
}
