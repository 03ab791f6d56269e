package verbs

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"

	"k8sbootcamp/components/lab"
	"k8sbootcamp/cmd/class/internal/stack"
	"k8sbootcamp/cmd/class/internal/status"
	"k8sbootcamp/internal/kindcluster"
)

const claim = "0123456789abcdef0123456789abcdef"

// fake is a stack that writes down what is done with it.
type fake struct {
	did     []string
	exists  bool
	locks   []stack.Lock
	held    error
	state   stack.State
	after   *stack.State // of a destroy
	replace []string
	err     error // of Up and Destroy
	kept    []string
	outputs map[string]string
}

func (f *fake) do(what string) { f.did = append(f.did, what) }

func (f *fake) Create(context.Context) error       { f.do("create"); f.exists = true; return nil }
func (f *fake) Unlock() ([]stack.Lock, error)      { f.do("unlock"); return f.locks, f.held }
func (f *fake) Configure(context.Context) error    { f.do("configure"); return nil }
func (f *fake) ClearPending(context.Context) error { f.do("clear pending"); return nil }
func (f *fake) State(context.Context) (*stack.State, error) {
	if !f.exists {
		return nil, nil
	}
	s := f.state
	return &s, nil
}

func (f *fake) Adopt(_ context.Context, unsure []stack.Create) error {
	f.do("adopt " + unsure[0].ID)
	f.state.Unsure, f.state.Pending = nil, f.state.Pending-len(unsure)
	return nil
}

func (f *fake) Refresh(_ context.Context, urns []string) error {
	f.do("refresh " + strings.Join(urns, " "))
	return nil
}

func (f *fake) Up(_ context.Context, replace []string, _ stack.Watch) (*stack.Changes, map[string]string, error) {
	f.do("up")
	f.replace = replace
	return &stack.Changes{}, f.outputs, f.err
}

func (f *fake) Preview(_ context.Context, replace []string, _ stack.Watch) (*stack.Changes, error) {
	f.do("preview")
	f.replace = replace
	return &stack.Changes{}, f.err
}

func (f *fake) Destroy(context.Context, stack.Watch) (*stack.Changes, error) {
	f.do("destroy")
	if f.after != nil {
		f.state = *f.after
	}
	return &stack.Changes{}, f.err
}

func (f *fake) Outputs(context.Context) (map[string]string, error) { return f.outputs, nil }
func (f *fake) LastChange(context.Context) (*stack.Change, error)  { return nil, nil }
func (f *fake) Remove(context.Context) ([]string, error) {
	f.do("remove")
	f.exists = false
	return f.kept, nil
}

// docker is an engine with some clusters.
type docker struct {
	kindcluster.Engine
	clusters map[string][]kindcluster.Container
	stuck    bool // what is deleted stays
}

func (d *docker) Ping(context.Context) error { return nil }
func (d *docker) Containers(_ context.Context, c string) ([]kindcluster.Container, error) {
	return d.clusters[c], nil
}

func (d *docker) Delete(_ context.Context, c string) error {
	if !d.stuck {
		delete(d.clusters, c)
	}
	return nil
}
func (d *docker) Start(context.Context, []string) error { return nil }
func (d *docker) WaitReady(context.Context, string, int, time.Duration) error {
	return nil
}

type line struct{ said []string }

func (*line) Phase(string)   {}
func (*line) Detail(string)  {}
func (l *line) Say(s string) { l.said = append(l.said, s) }

func node(owner string) []kindcluster.Container {
	return []kindcluster.Container{{Name: "bootcamp-x-control-plane", Running: true, Mounts: []string{"/kind/bootcamp/" + owner + "/cafe"}}}
}

func built() stack.State {
	return stack.State{Resources: 5, Claim: claim, Cluster: &stack.Cluster{
		Cluster: kindcluster.Cluster{Name: "bootcamp-x", Claim: claim}, URN: "urn:cluster", Nodes: 1,
	}}
}

func TestUpFirst(t *testing.T) {
	f := &fake{outputs: map[string]string{lab.OutKubeconfig: "secret", lab.OutAppURL: "http://x"}}
	r, err := Up(context.Background(), f, &docker{}, Own, &line{})
	require.NoError(t, err)
	assert.Equal(t, []string{"unlock", "create", "configure", "up"}, f.did)
	assert.Equal(t, map[string]string{lab.OutAppURL: "http://x"}, r.Outputs, "the kubeconfig is no plain output")
	assert.Equal(t, "secret", string(r.Kubeconfig))
	assert.Empty(t, f.replace)
}

func TestUpAfterAKill(t *testing.T) {
	f := &fake{exists: true, locks: []stack.Lock{{PID: 7}}, state: stack.State{Pending: 1, Claim: claim}}
	l := &line{}
	_, err := Up(context.Background(), f, &docker{}, Own, l)
	require.NoError(t, err)
	assert.Equal(t, []string{"unlock", "configure", "clear pending", "up"}, f.did)
	assert.Len(t, l.said, 2)
}

// Objects that a killed run may have made are looked for where they can be.
func TestUpAdopts(t *testing.T) {
	after := built()
	after.Pending, after.Unsure = 2, []stack.Create{{URN: "urn", ID: "default/bootcamp"}}
	alive := &docker{clusters: map[string][]kindcluster.Container{"bootcamp-x": node(claim)}}
	f := &fake{exists: true, state: after}
	_, err := Up(context.Background(), f, alive, Own, &line{})
	require.NoError(t, err)
	assert.Equal(t, []string{"unlock", "configure", "adopt default/bootcamp", "clear pending", "up"}, f.did)

	f = &fake{exists: true, state: after}
	_, err = Up(context.Background(), f, &docker{}, Own, &line{})
	require.NoError(t, err)
	assert.Equal(t, []string{"unlock", "configure", "clear pending", "up"}, f.did, "they are gone with their cluster")
}

func TestUpRebuildsWhatIsGone(t *testing.T) {
	f := &fake{exists: true, state: built()}
	_, err := Up(context.Background(), f, &docker{}, Own, &line{})
	require.NoError(t, err)
	assert.Equal(t, []string{"urn:cluster"}, f.replace)

	f = &fake{exists: true, state: built()}
	_, err = Preview(context.Background(), f, &docker{}, &line{})
	require.NoError(t, err)
	assert.Equal(t, []string{"urn:cluster"}, f.replace)
	assert.Equal(t, []string{"preview"}, f.did, "a preview writes nothing")
}

func TestUpLeavesAHealthyOne(t *testing.T) {
	f := &fake{exists: true, state: built()}
	_, err := Up(context.Background(), f, &docker{clusters: map[string][]kindcluster.Container{"bootcamp-x": node(claim)}}, Own, &line{})
	require.NoError(t, err)
	assert.Empty(t, f.replace)
}

// What somebody deleted in the cluster is made again; a cluster that does not
// answer is the update's business.
func TestUpMakesMissingObjectsAgain(t *testing.T) {
	answers := map[string]string{
		"/version":           `{"major":"1","minor":"34"}`,
		"/api":               `{"kind":"APIVersions","versions":["v1"]}`,
		"/apis":              `{"kind":"APIGroupList","groups":[]}`,
		"/api/v1":            `{"kind":"APIResourceList","groupVersion":"v1","resources":[{"name":"nodes","namespaced":false,"kind":"Node"}]}`,
		"/api/v1/nodes/here": `{"kind":"Node","apiVersion":"v1","metadata":{"name":"here"}}`,
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		answer, ok := answers[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			answer = `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`
		}
		_, _ = w.Write([]byte(answer))
	}))
	to := func(map[string]string) (*rest.Config, error) { return &rest.Config{Host: server.URL}, nil }
	alive := &docker{clusters: map[string][]kindcluster.Container{"bootcamp-x": node(claim)}}
	state := built()
	state.Objects = []stack.Object{
		{URN: "urn:here", APIVersion: "v1", Kind: "Node", Name: "here"},
		{URN: "urn:gone", APIVersion: "v1", Kind: "Node", Name: "gone"},
	}

	f, l := &fake{exists: true, state: state}, &line{}
	_, err := Up(context.Background(), f, alive, to, l)
	require.NoError(t, err)
	assert.Equal(t, []string{"unlock", "configure", "refresh urn:gone", "up"}, f.did)
	assert.Equal(t, []string{"gone from the cluster, and made again: Node gone"}, l.said)

	f = &fake{exists: true, state: state}
	_, err = Up(context.Background(), f, &docker{}, to, &line{})
	require.NoError(t, err)
	assert.Equal(t, []string{"unlock", "configure", "up"}, f.did, "they are gone with their cluster")

	server.Close()
	f = &fake{exists: true, state: state}
	_, err = Up(context.Background(), f, alive, to, &line{})
	require.NoError(t, err)
	assert.Equal(t, []string{"unlock", "configure", "up"}, f.did)
}

func TestUpStopsAtALiveLockAndAForeignCluster(t *testing.T) {
	f := &fake{exists: true, held: &stack.Held{Stack: "x"}}
	_, err := Up(context.Background(), f, &docker{}, Own, &line{})
	assert.ErrorContains(t, err, "is locked")
	assert.NotContains(t, f.did, "up")

	f = &fake{exists: true, state: built()}
	d := &docker{clusters: map[string][]kindcluster.Container{"bootcamp-x": node(strings.Repeat("f", 32))}}
	_, err = Up(context.Background(), f, d, Own, &line{})
	assert.ErrorContains(t, err, "did not make")
	assert.NotContains(t, f.did, "up")
	assert.Len(t, d.clusters, 1)
}

func TestDestroy(t *testing.T) {
	other := strings.Repeat("f", 32)
	for name, c := range map[string]struct {
		stack  fake
		nodes  []kindcluster.Container
		stuck  bool
		remove bool
		did    []string
		kept   string
		err    string
		left   int
	}{
		"all goes":                      {stack: fake{exists: true, state: built(), after: &stack.State{}}, did: []string{"unlock", "destroy"}},
		"with the stack":                {stack: fake{exists: true, state: built(), after: &stack.State{}, kept: []string{"Pulumi.x.yaml"}}, remove: true, did: []string{"unlock", "destroy", "remove"}, kept: "Pulumi.x.yaml"},
		"a cluster the state forgot":    {stack: fake{exists: true, state: stack.State{Claim: claim, Pending: 1}, after: &stack.State{}}, nodes: node(claim), did: []string{"unlock", "clear pending", "destroy"}},
		"another's cluster":             {stack: fake{exists: true, state: stack.State{Claim: claim}, after: &stack.State{}}, nodes: node(other), did: []string{"unlock", "destroy"}, kept: "did not make it", left: 1},
		"no stack, no cluster":          {stack: fake{}, remove: true, did: []string{"unlock"}},
		"no stack, somebody's cluster":  {stack: fake{}, nodes: node(other), did: []string{"unlock"}, kept: "go tool kind delete cluster --name bootcamp-x", left: 1},
		"a container that stays":        {stack: fake{exists: true, state: built(), after: &stack.State{}}, nodes: node(claim), stuck: true, did: []string{"unlock", "destroy"}, err: "could not be removed: bootcamp-x-control-plane", left: 1},
		"resources that stay":           {stack: fake{exists: true, state: built()}, remove: true, did: []string{"unlock", "destroy"}, err: "still has 5 resources"},
		"a destroy that fails":          {stack: fake{exists: true, state: built(), err: errors.New("no Docker")}, remove: true, did: []string{"unlock", "destroy"}, err: "no Docker"},
		"a stack that others work with": {stack: fake{exists: true, held: &stack.Held{Stack: "x"}}, did: []string{"unlock"}, err: "is locked"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("TMPDIR", t.TempDir()) // for kindcluster's lock
			d := &docker{stuck: c.stuck, clusters: map[string][]kindcluster.Container{}}
			if c.nodes != nil {
				d.clusters["bootcamp-x"] = c.nodes
			}
			r, err := Destroy(context.Background(), &c.stack, d, "bootcamp-x", c.remove, &line{})
			if c.err != "" {
				assert.ErrorContains(t, err, c.err)
			} else {
				require.NoError(t, err)
			}
			assert.Equal(t, c.did, c.stack.did)
			assert.Len(t, d.clusters, c.left)
			if c.kept == "" {
				assert.Empty(t, r.Kept)
			} else {
				assert.Contains(t, strings.Join(r.Kept, "\n"), c.kept)
			}
		})
	}
}

func TestStatus(t *testing.T) {
	s, err := Status(context.Background(), &fake{}, &docker{}, Own)
	require.NoError(t, err)
	assert.Equal(t, &status.Status{Cluster: status.NotMade}, s)

	withObjects := built()
	withObjects.Objects = []stack.Object{{Kind: "Service"}}
	s, err = Status(context.Background(), &fake{exists: true, state: withObjects, outputs: map[string]string{lab.OutAppURL: "http://x"}}, &docker{}, Own)
	require.NoError(t, err)
	assert.Equal(t, &status.Status{Made: true, Cluster: "gone", Total: 1, AppURL: "http://x"}, s, "a cluster that is gone is asked nothing")

	alive := &docker{clusters: map[string][]kindcluster.Container{"bootcamp-x": node(claim)}}
	s, err = Status(context.Background(), &fake{exists: true, state: withObjects, outputs: map[string]string{}}, alive, Own)
	require.NoError(t, err)
	assert.Equal(t, "alive (nodes: 1)", s.Cluster)
	assert.NotEmpty(t, s.Problem, "without a kubeconfig it says why it knows nothing")
}

func TestKubeconfig(t *testing.T) {
	for _, f := range []*fake{{}, {exists: true}, {exists: true, outputs: map[string]string{lab.OutKubeconfig: " \n"}}} {
		_, err := Kubeconfig(context.Background(), f)
		assert.ErrorIs(t, err, ErrNotUp)
	}
	outs, err := Kubeconfig(context.Background(), &fake{exists: true, outputs: map[string]string{lab.OutKubeconfig: "k"}})
	require.NoError(t, err)
	assert.Equal(t, "k", outs[lab.OutKubeconfig])
}
