package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/cmd/class/internal/config"
	"k8sbootcamp/cmd/class/internal/progress"
	"k8sbootcamp/cmd/class/internal/shell"
	"k8sbootcamp/components/kind"
	"k8sbootcamp/internal/fake"
	"k8sbootcamp/internal/kindcluster"
	"k8sbootcamp/internal/sharedcluster"
)

const (
	mapRight  = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c","namespace":"default"},"data":{"k":"v"}}`
	mapEdited = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c","namespace":"default"},"data":{"k":"w"}}`
	mapGone   = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"gone","namespace":"default"}}`
	mapMine   = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"mine","namespace":"default","uid":"mine","creationTimestamp":"2026-01-01T00:00:00Z"}}`
	secretKey = "4dabf18193072939515e22adb298388d"
	secretSig = "1b47061264138c4ac30d75fd1eb44270"
)

// resetWorld is stack x with a cluster of one node, an API server, and what the state says
// should be there.
type resetWorld struct {
	*world
	api     *fake.APIServer
	workers int // that the cluster was made with
}

func newResetWorld(t *testing.T, manifests []string, flags ...string) *resetWorld {
	t.Helper()
	if len(flags) == 0 {
		flags = []string{"workers=0"}
	}
	w := &resetWorld{world: newWorld(t, flags...), api: fake.NewAPIServer(t)}
	w.node(claim)
	w.outputs(string(w.api.Kubeconfig("x")))
	w.keepManifests(manifests)
	return w
}

// keepManifests puts a state into the backend whose objects have these inputs.
func (w *resetWorld) keepManifests(manifests []string) {
	w.t.Helper()
	w.keep(state{claimed: true, cluster: true})
	var d apitype.DeploymentV3
	require.NoError(w.t, json.Unmarshal(w.pulumi.Deployment, &d))
	made, err := kind.Config(&kind.Args{Name: "bootcamp-x", Workers: w.workers, NodeImage: w.stack.Settings.Images.Node})
	require.NoError(w.t, err)
	when := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range d.Resources {
		if d.Resources[i].Inputs["create"] == kindcluster.VerbCreate {
			d.Resources[i].Inputs["stdin"], d.Resources[i].Created = string(made), &when
		}
	}
	for _, m := range manifests {
		var inputs map[string]any
		require.NoError(w.t, json.Unmarshal([]byte(m), &inputs))
		meta := inputs["metadata"].(map[string]any)
		d.Resources = append(d.Resources, apitype.ResourceV3{URN: resource.URN("urn:" + meta["name"].(string)), Custom: true, Type: "kubernetes:core/v1:ConfigMap", Inputs: inputs,
			Outputs: map[string]any{"apiVersion": inputs["apiVersion"], "kind": inputs["kind"], "metadata": map[string]any{"name": meta["name"], "namespace": meta["namespace"], "uid": "1"}}})
	}
	w.pulumi.Deployment, err = json.Marshal(d)
	require.NoError(w.t, err)
}

func (w *resetWorld) reset(agreed consent) error {
	return w.do(func(ctx context.Context, line *progress.Line) error {
		return reset(ctx, w.stack, &agreed, line, &w.row)
	})
}

func at(name string) string { return "/api/v1/namespaces/default/configmaps/" + name }

// What was edited is undone, what is gone is made and read by Pulumi, and what does not
// belong there is listed, and goes if it may.
func TestReset(t *testing.T) {
	for _, yes := range []bool{false, true} {
		w := newResetWorld(t, []string{mapRight, mapGone})
		w.api.Put(t, mapEdited, mapMine)
		require.NoError(t, w.reset(consent{all: yes}))
		assert.Equal(t, "refresh --target=urn:gone, up", w.did())
		assert.Equal(t, map[string]any{"k": "v"}, w.api.Get(at("c")).Object["data"])
		assert.True(t, w.api.Has(at("gone")))
		assert.Equal(t, !yes, w.api.Has(at("mine")))
		assert.Equal(t, []string{"put right: ConfigMap c (data.k)", "made again: ConfigMap gone"}, w.row.Reset.Did)
		require.Len(t, w.row.Reset.Foreign, 1)
		assert.Equal(t, "ConfigMap mine", w.row.Reset.Foreign[0].Object)
		assert.Equal(t, yes, w.row.Reset.Foreign[0].Removed)
		assert.Contains(t, w.out.String(), "does not belong here")

		require.NoError(t, w.reset(consent{all: yes}))
		assert.Equal(t, "up", w.did(), "once more has nothing to do but the update")
		assert.Empty(t, w.row.Reset.Did)
	}
}

// What is asked for is what was shown, and no more.
func TestResetAsksOnce(t *testing.T) {
	for answer, goes := range map[string]bool{"y\n": true, "\n": false} {
		w := newResetWorld(t, []string{mapRight})
		w.api.Put(t, mapRight, mapMine)
		in, typed, err := os.Pipe()
		require.NoError(t, err)
		_, err = typed.WriteString(answer)
		require.NoError(t, err)
		var asked bytes.Buffer
		s := &session{tool: &tool{in: in, err: &asked}, tools: w.stack.Tools, stacks: []*config.Stack{w.stack.Stack}}
		var agreed consent
		require.NoError(t, agreed.ask(context.Background(), s))
		assert.Contains(t, asked.String(), "x: does not belong here: ConfigMap mine")
		assert.Contains(t, asked.String(), "Remove 1 object? [y/N]")
		w.api.Put(t, strings.ReplaceAll(mapMine, "mine", "later"))
		require.NoError(t, w.reset(agreed))
		assert.Equal(t, !goes, w.api.Has(at("mine")))
		assert.True(t, w.api.Has(at("later")), "nobody was asked about it")
	}
}

// A reset makes no node anew: where that is what it takes, nothing is touched.
func TestResetNeverReplacesANode(t *testing.T) {
	untouched := func(w *resetWorld, err error) {
		t.Helper()
		require.Error(t, err)
		assert.Contains(t, err.Error(), "`class up`")
		assert.Empty(t, w.did())
		assert.Equal(t, map[string]any{"k": "w"}, w.api.Get(at("c")).Object["data"])
	}
	w := newResetWorld(t, []string{mapRight}, "workers=1")
	w.api.Put(t, mapEdited)
	untouched(w, w.reset(consent{all: true}))

	w = newResetWorld(t, []string{mapRight})
	w.api.Put(t, mapEdited)
	w.docker.Clusters = map[string]*fake.Cluster{}
	untouched(w, w.reset(consent{all: true}))

	w = newResetWorld(t, []string{mapRight})
	w.api.Put(t, mapEdited)
	cluster := w.docker.Clusters["bootcamp-x"]
	cluster.Stop()
	cluster.NotReady = kindcluster.ErrNotReady
	untouched(w, w.reset(consent{all: true}))

	cluster.Stop()
	cluster.NotReady = nil
	require.NoError(t, w.reset(consent{}))
	assert.True(t, cluster.Nodes[0].Running)
	assert.Equal(t, "up", w.did())
}

// While a node that was stopped comes back, its pods start elsewhere.
func TestResetOfAStoppedNode(t *testing.T) {
	manifests := []string{`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d","namespace":"default"},"spec":{"replicas":1}}`}
	const pod = "/api/v1/namespaces/default/pods/p"
	for stopped, leaves := range map[int]bool{0: false, 1: true} { // without a control plane nobody could be told
		w := newResetWorld(t, manifests, "workers=1")
		w.workers = 1
		w.keepManifests(manifests)
		w.docker.Clusters = map[string]*fake.Cluster{}
		cluster := w.docker.Add(kindcluster.Identity{Name: "bootcamp-x", Claim: claim}, 1)
		w.outputs(string(w.api.Kubeconfig("x")))
		cluster.Nodes[stopped].Running = false
		w.api.Put(t, strings.Replace(manifests[0], `"metadata":{`, `"status":{"replicas":1,"updatedReplicas":1,"readyReplicas":1,"availableReplicas":1},"metadata":{"uid":"d",`, 1),
			`{"apiVersion":"apps/v1","kind":"ReplicaSet","metadata":{"name":"d-1","namespace":"default","uid":"rs","ownerReferences":[{"apiVersion":"apps/v1","kind":"Deployment","name":"d","uid":"d","controller":true}]}}`,
			`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","namespace":"default","uid":"p","ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"d-1","uid":"rs","controller":true}]},"spec":{"nodeName":"`+cluster.Nodes[stopped].Name+`"}}`)
		require.NoError(t, w.reset(consent{}))
		assert.Equal(t, !leaves, w.api.Has(pod))
		assert.Equal(t, leaves, strings.Contains(strings.Join(w.row.Reset.Did, "\n"), "pod p is another now"))
		assert.True(t, cluster.Nodes[stopped].Running)
		assert.Contains(t, w.row.Reset.Did, "the cluster's nodes are at work again")
	}
}

func TestResetOfALabThatIsNotUp(t *testing.T) {
	w := newWorld(t)
	do := func() error {
		return w.do(func(ctx context.Context, line *progress.Line) error {
			return reset(ctx, w.stack, &consent{}, line, &w.row)
		})
	}
	assert.ErrorIs(t, do(), errNotUp)
	w.keep(state{claimed: true, cluster: true})
	assert.ErrorIs(t, do(), errNotUp)
	assert.Empty(t, w.did())
}

// A Secret is put right by the values of the state, and none of them is told.
func TestResetTellsNoSecrets(t *testing.T) {
	secret := `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s","namespace":"default"},"stringData":{"` + secretKey + `":"` + secretSig + `","plaintext":"{\"password\":\"hunter2\"}"}}`
	w := newResetWorld(t, []string{secret})
	w.api.Put(t, `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s","namespace":"default"},"data":{"password":"c3RvbGVu"}}`)
	require.NoError(t, w.reset(consent{}))
	assert.Equal(t, []string{"put right: Secret s (data.password)"}, w.row.Reset.Did)
	assert.Equal(t, map[string]any{"password": "aHVudGVyMg=="}, w.api.Get("/api/v1/namespaces/default/secrets/s").Object["data"])
	var shown bytes.Buffer
	require.NoError(t, json.NewEncoder(&shown).Encode(w.row))
	for _, value := range []string{"hunter2", "aHVudGVyMg", "stolen", "c3RvbGVu"} {
		assert.NotContains(t, w.out.String()+shown.String(), value)
	}
}

// A reset that was killed in its update is done again.
func TestResetAfterAKill(t *testing.T) {
	w := newResetWorld(t, []string{mapRight})
	w.api.Put(t, mapRight)
	var d apitype.DeploymentV3
	require.NoError(t, json.Unmarshal(w.pulumi.Deployment, &d))
	d.PendingOperations = []apitype.OperationV2{{Type: "creating", Resource: apitype.ResourceV3{URN: "urn:pulumi:x::bootcamp::a:b:c::d"}}}
	var err error
	w.pulumi.Deployment, err = json.Marshal(d)
	require.NoError(t, err)
	require.NoError(t, w.reset(consent{}))
	assert.Equal(t, "stack import, up", w.did())
	assert.NotContains(t, w.pulumi.Imported[0], "pending_operations")
}

// On a shared cluster nothing is touched that is not proven to be the stack's.
func TestResetOnASharedCluster(t *testing.T) {
	w := newSharedWorld(t)
	w.hold(token(time.Hour, 11*time.Hour))
	w.api.Put(t, strings.ReplaceAll(mapMine, "default", "bootcamp-x"))
	again := func() error {
		return w.do(func(ctx context.Context, line *progress.Line) error {
			return reset(ctx, w.stack, &consent{all: true}, line, &w.row)
		})
	}
	keep := func(cluster string) { // with a manifest, and nothing open
		w.keep(cluster)
		var d apitype.DeploymentV3
		require.NoError(t, json.Unmarshal(w.pulumi.Deployment, &d))
		d.PendingOperations = nil
		d.Resources[2].Inputs = map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": "bootcamp-x",
			"annotations": map[string]any{"bootcamp/claim": claim}, "labels": map[string]any{"bootcamp/student": "true"}}}
		var err error
		w.pulumi.Deployment, err = json.Marshal(d)
		require.NoError(t, err)
	}
	keep("that-one")
	var another *sharedcluster.AnotherClusterError
	require.ErrorAs(t, again(), &another)
	assert.Empty(t, w.did())

	keep("this-one")
	w.api.Put(t, `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"bootcamp-x","annotations":{"bootcamp/claim":"`+claim+`"},"labels":{"bootcamp/student":"false"}}}`)
	require.NoError(t, again())
	assert.Equal(t, []string{"put right: Namespace bootcamp-x (metadata.labels[bootcamp/student])"}, w.row.Reset.Did)
	assert.Empty(t, w.row.Reset.Foreign, "the student has no role that makes a ConfigMap")
	assert.Equal(t, "up", w.did())
}

func TestSummaryOfAReset(t *testing.T) {
	out, err := end(t, context.Background(), "reset --roster class.csv --only a,b,c", 3, showReset,
		row{Stack: "a", Student: "a", Outcome: ok, Seconds: 7, Reset: &wasReset{Did: []string{"x", "y"}}},
		row{Stack: "b", Student: "b", Outcome: ok, Reset: &wasReset{Foreign: []foreign{{Removed: true}, {Removed: false}}}},
		row{Stack: "c", Student: "c", Outcome: failed, Cause: "it is not up"})
	assert.Equal(t, exitFailed, exitCode(context.Background(), err))
	assert.Equal(t, `
STUDENT  STACK  RESULT  TOOK  PUT RIGHT  DOES NOT BELONG
a        a      ok      7s    2          -
b        b      ok      0s    0          1 left
c        c      failed  0s    -          -

left, and not of the lab: 1 object. To remove them:
  `+shell.Here.Class()+` reset --roster class.csv --only b --yes

to ask the course's own questions:
  `+shell.Here.Class()+` check --only a,b,c --roster class.csv

c FAILED: it is not up

to try again what is missing:
  `+shell.Here.Class()+` reset --roster class.csv --only c
`, out)
	out, err = end(t, context.Background(), "reset", 1, showReset, row{Stack: "dev", Outcome: ok, Reset: &wasReset{}})
	require.NoError(t, err)
	assert.NotContains(t, out, "To remove them")
	assert.Contains(t, out, "to ask the course's own questions")
	out, _ = end(t, context.Background(), "reset", 1, showReset, row{Stack: "dev", Outcome: failed, Cause: "it is not up"})
	assert.NotContains(t, out, "to ask the course's own questions", "there is nothing to ask")
}
