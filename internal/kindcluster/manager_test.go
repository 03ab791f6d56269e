package kindcluster_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"

	"k8sbootcamp/internal/fake"
	. "k8sbootcamp/internal/kindcluster"
)

const (
	claim  = "00112233445566778899aabbccddeeff"
	others = "ffeeddccbbaa99887766554433221100"

	oneNode  = "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nnodes:\n- role: control-plane\n  image: node:1\n"
	twoNodes = oneNode + "- role: worker\n  image: node:1\n"
)

var (
	errBoom  = errors.New("boom")
	errSmoke = errors.New("smoke")
)

// said is what a Manager says; it may be read while the Manager works.
type said struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *said) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *said) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// setup returns a manager on a machine without clusters, and a cluster with a name
// that no other test has (a lock is the host's).
func setup(t *testing.T) (*Manager, *fake.Docker, Identity) {
	t.Helper()
	d := fake.NewDocker()
	m := &Manager{Driver: d, Log: &said{}, Limits: func() InotifyLimits { return InotifyLimits{Instances: 1 << 20, Watches: 1 << 20} }}
	return m, d, Identity{Name: Name(t.Name()), Claim: claim}
}

// built is setup with a cluster of two nodes that was built to its end.
func built(t *testing.T) (*Manager, *fake.Docker, Identity) {
	t.Helper()
	m, d, c := setup(t)
	_, err := m.Ensure(t.Context(), c, []byte(twoNodes))
	require.NoError(t, err)
	d.Revive()
	return m, d, c
}

// fails makes calls of the driver fail.
func fails(d *fake.Docker, err error, calls ...fake.Call) {
	d.On = func(_ context.Context, call fake.Call, _ string) error {
		for _, c := range calls {
			if c == call {
				return err
			}
		}
		return nil
	}
}

// kubeconfigOf is what the fake gives.
func kubeconfigOf(t *testing.T, d *fake.Docker, c Identity) string {
	t.Helper()
	out, err := d.Kubeconfig(t.Context(), c.Name)
	require.NoError(t, err)
	return out
}

func TestEnsureCreates(t *testing.T) {
	t.Parallel()
	m, d, c := setup(t)
	out, err := m.Ensure(t.Context(), c, []byte(twoNodes))
	require.NoError(t, err)
	assert.Equal(t, kubeconfigOf(t, d, c), out)
	assert.Equal(t, []string{"create cluster " + c.Name, "finish cluster " + c.Name}, d.Changes)

	made := d.Clusters[c.Name].Config
	require.Len(t, made.Nodes, 2)
	for _, n := range made.Nodes {
		assert.Equal(t, "node:1", n.Image)
		assert.Equal(t, []v1alpha4.Mount{{
			HostPath: "/dev/null", ContainerPath: MarkPath(claim, []byte(twoNodes)), Readonly: true,
		}}, n.ExtraMounts, "every node bears the mark")
	}
	assert.Equal(t, v1alpha4.ControlPlaneRole, made.Nodes[0].Role)
	assert.Equal(t, v1alpha4.WorkerRole, made.Nodes[1].Role)
}

// TestPrepare: nothing of a cluster is given up for one that its host has not the image or
// the port for.
func TestPrepare(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { taken.Close() })
	port := taken.Addr().(*net.TCPAddr).Port
	mapped := fmt.Sprintf(oneNode+"  extraPortMappings:\n  - hostPort: %d\n    containerPort: 30080\n", port)
	other := strings.ReplaceAll(twoNodes, "node:1", "node:2")
	prepare := func(t *testing.T, change func(d *fake.Docker, c Identity), config string) (pulled []string, err error) {
		t.Helper()
		m, d, c := built(t)
		var mu sync.Mutex
		d.On = func(_ context.Context, call fake.Call, of string) error {
			mu.Lock()
			defer mu.Unlock()
			if call == fake.Pull {
				pulled = append(pulled, of)
				if of == "node:2" {
					return errBoom
				}
			}
			return nil
		}
		before := slices.Clone(d.Changes)
		if change != nil {
			change(d, c)
		}
		err = m.Prepare(t.Context(), c, []byte(config))
		assert.Equal(t, before, d.Changes)
		return pulled, err
	}
	t.Run("a cluster that is there in this shape has it all", func(t *testing.T) {
		t.Parallel()
		pulled, err := prepare(t, nil, twoNodes)
		assert.NoError(t, err)
		assert.Empty(t, pulled)
	})
	t.Run("another shape of the same image", func(t *testing.T) {
		t.Parallel()
		pulled, err := prepare(t, nil, oneNode)
		assert.NoError(t, err)
		assert.Equal(t, []string{"node:1"}, pulled)
	})
	t.Run("an image that cannot be pulled", func(t *testing.T) {
		t.Parallel()
		_, err := prepare(t, nil, other)
		assert.ErrorIs(t, err, errBoom)
		assert.Regexp(t, `^cluster bootcamp-\S+ stays as it is: boom$`, err.Error())
	})
	t.Run("a port that another program has", func(t *testing.T) {
		t.Parallel()
		pulled, err := prepare(t, nil, mapped)
		assert.ErrorIs(t, err, ErrPort)
		assert.ErrorContains(t, err, fmt.Sprintf("hostPort %d cannot be used (listen tcp 127.0.0.1:%d", port, port))
		assert.Empty(t, pulled)
	})
	t.Run("a port that another container has", func(t *testing.T) {
		t.Parallel()
		_, err := prepare(t, func(d *fake.Docker, _ Identity) { d.Ports = map[int]fake.Publisher{port: {Container: "web"}} }, mapped)
		assert.ErrorContains(t, err, fmt.Sprintf(" stays as it is: hostPort %d cannot be used: container web has it; end that container or set another hostPort", port))
	})
	t.Run("a port that the cluster has", func(t *testing.T) {
		t.Parallel()
		pulled, err := prepare(t, func(d *fake.Docker, c Identity) {
			d.Ports = map[int]fake.Publisher{port: {Container: "x-control-plane", Cluster: c.Name}}
		}, mapped)
		assert.NoError(t, err)
		assert.Equal(t, []string{"node:1"}, pulled)
	})
	t.Run("a free port", func(t *testing.T) {
		t.Parallel()
		free, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		require.NoError(t, free.Close())
		_, err = prepare(t, nil, strings.Replace(mapped, strconv.Itoa(port), strconv.Itoa(free.Addr().(*net.TCPAddr).Port), 1))
		assert.NoError(t, err)
	})
	t.Run("a cluster that does not run, or lacks a node, is looked at again", func(t *testing.T) {
		t.Parallel()
		for _, change := range []func(d *fake.Docker, c Identity){
			func(d *fake.Docker, c Identity) { d.Clusters[c.Name].Nodes[1].Running = false },
			func(d *fake.Docker, c Identity) { d.Clusters[c.Name].Nodes = d.Clusters[c.Name].Nodes[:1] },
		} {
			pulled, err := prepare(t, change, twoNodes)
			assert.NoError(t, err)
			assert.Equal(t, []string{"node:1"}, pulled)
		}
	})
	t.Run("another's cluster", func(t *testing.T) {
		t.Parallel()
		m, _, c := built(t)
		assert.ErrorIs(t, m.Prepare(t.Context(), Identity{Name: c.Name, Claim: others}, []byte(oneNode)), ErrForeign)
	})
	t.Run("an image that cannot be pulled for the first cluster", func(t *testing.T) {
		t.Parallel()
		m, d, c := setup(t)
		fails(d, errBoom, fake.Pull)
		assert.Equal(t, errBoom, m.Prepare(t.Context(), c, []byte(oneNode)), "there is none to stay")
	})
	t.Run("what is not a configuration, or whose", func(t *testing.T) {
		t.Parallel()
		m, _, c := setup(t)
		assert.ErrorIs(t, m.Prepare(t.Context(), c, []byte("kind: [")), ErrConfig)
		assert.ErrorIs(t, m.Prepare(t.Context(), Identity{Name: c.Name, Claim: "x"}, []byte(oneNode)), ErrClaim)
	})
}

// TestEnsurePullsBeforeItRemoves: a cluster that has another shape stays where the image of
// the new one cannot be had.
func TestEnsurePullsBeforeItRemoves(t *testing.T) {
	t.Parallel()
	m, d, c := built(t)
	fails(d, errBoom, fake.Pull)
	before := slices.Clone(d.Changes)
	_, err := m.Ensure(t.Context(), c, []byte(strings.ReplaceAll(twoNodes, "node:1", "node:2")))
	assert.Equal(t, errBoom, err)
	assert.Equal(t, before, d.Changes)
}

// TestEnsurePullsNodeImages: each once, before kind builds; where one does not come nothing
// is built, and that alone is said.
func TestEnsurePullsNodeImages(t *testing.T) {
	t.Parallel()
	m, d, c := setup(t)
	m.Limits = func() InotifyLimits { return InotifyLimits{Instances: 1, Watches: 1} } // which have nothing to do with it
	var pulled []string
	d.On = func(_ context.Context, call fake.Call, of string) error {
		if call == fake.Pull {
			pulled = append(pulled, of)
			assert.Empty(t, d.Clusters)
			return errBoom
		}
		return nil
	}
	three := twoNodes + "- role: worker\n  image: node:2\n"
	_, err := m.Ensure(t.Context(), c, []byte(three))
	assert.Equal(t, errBoom, err)
	assert.Empty(t, d.Changes)

	d.On = func(_ context.Context, call fake.Call, of string) error {
		if call == fake.Pull {
			pulled = append(pulled, of)
		}
		return nil
	}
	_, err = m.Ensure(t.Context(), c, []byte(three))
	require.NoError(t, err)
	_, err = m.Ensure(t.Context(), c, []byte(three))
	require.NoError(t, err)
	assert.Equal(t, []string{"node:1", "node:1", "node:2"}, pulled, "for a cluster that is there nothing is pulled")
}

// TestEnsureTakesNodeImagesByTheirNames: kind is told the name that Docker has an image
// under; the cluster is the one of the configuration all the same.
func TestEnsureTakesNodeImagesByTheirNames(t *testing.T) {
	t.Parallel()
	m, d, c := setup(t)
	d.As = map[string]string{"node:1": "node:loaded"}
	_, err := m.Ensure(t.Context(), c, []byte(twoNodes+"- role: worker\n  image: node:2\n"))
	require.NoError(t, err)
	var images []string
	for _, n := range d.Clusters[c.Name].Config.Nodes {
		images = append(images, n.Image)
	}
	assert.Equal(t, []string{"node:loaded", "node:loaded", "node:2"}, images)
	d.As = nil
	_, err = m.Ensure(t.Context(), c, []byte(twoNodes+"- role: worker\n  image: node:2\n"))
	require.NoError(t, err)
	assert.Equal(t, 1, d.Clusters[c.Name].Number, "no other cluster, whatever Docker calls its images")
}

// TestNodes are those of the stack's cluster, the control plane told apart; another's are not.
func TestNodes(t *testing.T) {
	t.Parallel()
	m, _, c := built(t)
	found, err := m.Nodes(t.Context(), c)
	require.NoError(t, err)
	require.Len(t, found, 2)
	assert.True(t, found[0].ControlPlane)
	assert.False(t, found[1].ControlPlane)
	_, err = m.Nodes(t.Context(), Identity{Name: c.Name, Claim: others})
	assert.ErrorIs(t, err, ErrForeign)
	_, err = m.Nodes(t.Context(), Identity{Name: c.Name + "-x", Claim: claim})
	assert.ErrorIs(t, err, ErrGone)
	_, err = m.Nodes(t.Context(), Identity{Name: "A b", Claim: claim})
	assert.ErrorIs(t, err, ErrName)
}

// TestMarkPath has a fixed value: a cluster whose mark this project no longer
// knows would be lost.
func TestMarkPath(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "/kind/bootcamp/"+claim+"/e3b0c44298fc1c14", MarkPath(claim, nil))
	assert.NotEqual(t, MarkPath(claim, []byte(oneNode)), MarkPath(claim, []byte(twoNodes)))
}

func TestEnsureAdopts(t *testing.T) {
	t.Parallel()
	m, d, c := built(t)
	out, err := m.Ensure(t.Context(), c, []byte(twoNodes))
	require.NoError(t, err)
	assert.Equal(t, kubeconfigOf(t, d, c), out)
	assert.Empty(t, d.Changes)
}

// TestEnsureRebuilds: what is the stack's own and not whole is built anew.
func TestEnsureRebuilds(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		config string
		spoil  func(*fake.Cluster)
	}{
		{"unfinished", twoNodes, func(c *fake.Cluster) { c.Finished = false }},
		{"a node is stopped", twoNodes, func(c *fake.Cluster) { c.Stop(c.Nodes[1].Name) }},
		{"a node is missing", twoNodes, func(c *fake.Cluster) { c.Nodes = c.Nodes[:1] }},
		{"one node too many", twoNodes, func(c *fake.Cluster) { c.Nodes = append(c.Nodes, c.Nodes[1]) }},
		{"another number of nodes", oneNode, func(*fake.Cluster) {}},
		{"another image", strings.ReplaceAll(twoNodes, "node:1", "node:2"), func(*fake.Cluster) {}},
		{"a node of an older shape", twoNodes, func(c *fake.Cluster) { c.Nodes[1].Mounts = []string{MarkPath(claim, []byte(oneNode))} }},
		{"nodes that do not get Ready", twoNodes, func(c *fake.Cluster) { c.NotReady = ErrNotReady }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m, d, c := built(t)
			tt.spoil(d.Clusters[c.Name])
			out, err := m.Ensure(t.Context(), c, []byte(tt.config))
			require.NoError(t, err)
			assert.Equal(t, kubeconfigOf(t, d, c), out)
			assert.Equal(t, []string{"delete cluster " + c.Name, "create cluster " + c.Name, "finish cluster " + c.Name}, d.Changes)
			assert.True(t, d.Clusters[c.Name].Finished)
			assert.Len(t, d.Clusters[c.Name].Nodes, strings.Count(tt.config, "role:"))
		})
	}
}

// foreigners are clusters that the stack must not touch.
var foreigners = map[string][]Container{
	"made by hand":                   {{Name: "foreign-1", Running: true, Mounts: []string{"/var", "/lib/modules"}}},
	"no mounts at all":               {{Name: "foreign-1"}},
	"another stack's":                {{Name: "foreign-1", Running: true, Mounts: []string{MarkPath(others, []byte(twoNodes))}}},
	"partly another's":               {{Name: "foreign-1", Mounts: []string{MarkPath(claim, []byte(twoNodes))}}, {Name: "foreign-2"}},
	"a claim that begins like ours":  {{Name: "foreign-1", Mounts: []string{"/kind/bootcamp/" + claim + "0/x"}}},
	"our claim under another folder": {{Name: "foreign-1", Mounts: []string{"/elsewhere/" + claim + "/x"}}},
}

func TestForeign(t *testing.T) {
	t.Parallel()
	for name, nodes := range foreigners {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, d, c := setup(t)
			d.Add(Identity{Name: c.Name}, 0).Nodes = nodes

			for verb, do := range map[string]func() error{
				"Ensure":     func() error { _, err := m.Ensure(t.Context(), c, []byte(twoNodes)); return err },
				"Kubeconfig": func() error { _, err := m.Kubeconfig(t.Context(), c); return err },
			} {
				err := do()
				require.ErrorIs(t, err, ErrForeign, verb)
				assert.ErrorContains(t, err, c.Name, verb)
				assert.ErrorContains(t, err, "foreign-1", verb)
			}
			require.NoError(t, m.Delete(t.Context(), c), "a destroy must not fail on another's cluster")
			assert.Contains(t, m.Log.(*said).String(), "foreign-1", "and says which it left")

			assert.Equal(t, nodes, d.Clusters[c.Name].Nodes)
			assert.Empty(t, d.Changes)
		})
	}
}

func TestOwned(t *testing.T) {
	t.Parallel()
	mine := []Container{{Mounts: []string{"/var", MarkPath(claim, []byte(oneNode))}}}
	assert.True(t, Owned(mine, claim))
	assert.True(t, Owned([]Container{{Mounts: []string{"/kind/bootcamp/" + claim}}}, claim))
	assert.False(t, Owned(mine, others))
	assert.False(t, Owned(mine, ""), "no claim owns nothing")
	assert.False(t, Owned(nil, claim), "no nodes are nobody's")
	for name, nodes := range foreigners {
		assert.False(t, Owned(nodes, claim), name)
	}
}

func TestDelete(t *testing.T) {
	t.Parallel()
	t.Run("gone", func(t *testing.T) {
		t.Parallel()
		m, d, c := setup(t)
		require.NoError(t, m.Delete(t.Context(), c))
		assert.Empty(t, d.Changes)
	})
	t.Run("own", func(t *testing.T) {
		t.Parallel()
		m, d, c := built(t)
		require.NoError(t, m.Delete(t.Context(), c))
		assert.Empty(t, d.Clusters)
		require.NoError(t, m.Delete(t.Context(), c), "once more")
		assert.Equal(t, []string{"delete cluster " + c.Name}, d.Changes)
	})
	t.Run("half-built", func(t *testing.T) {
		t.Parallel()
		m, d, c := built(t)
		half := d.Clusters[c.Name]
		half.Finished, half.Nodes = false, half.Nodes[:1]
		half.Stop()
		require.NoError(t, m.Delete(t.Context(), c))
		assert.Empty(t, d.Clusters)
	})
	t.Run("of an older shape", func(t *testing.T) {
		t.Parallel()
		m, d, c := setup(t)
		d.Add(c, 0).Nodes[0].Mounts = []string{MarkPath(claim, []byte("another"))}
		require.NoError(t, m.Delete(t.Context(), c))
		assert.Empty(t, d.Clusters)
	})
	t.Run("not all of it goes", func(t *testing.T) {
		t.Parallel()
		m, d, c := built(t)
		m.Driver = sticky{d}
		err := m.Delete(t.Context(), c)
		assert.ErrorIs(t, err, ErrLeft)
		assert.ErrorContains(t, err, "docker rm -f "+c.Name+"-control-plane")
	})
	t.Run("fails", func(t *testing.T) {
		t.Parallel()
		m, d, c := built(t)
		fails(d, errBoom, fake.Delete)
		assert.ErrorIs(t, m.Delete(t.Context(), c), errBoom)
		assert.Len(t, d.Clusters[c.Name].Nodes, 2)
	})
	t.Run("the nodes cannot be listed", func(t *testing.T) {
		t.Parallel()
		m, d, c := built(t)
		fails(d, errBoom, fake.Containers)
		assert.ErrorIs(t, m.Delete(t.Context(), c), errBoom, "unknown is not gone")
		assert.Empty(t, d.Changes)
	})
}

// sticky is a Docker whose deletes leave the first node.
type sticky struct{ *fake.Docker }

func (s sticky) Delete(_ context.Context, cluster string) error {
	s.Clusters[cluster].Nodes = s.Clusters[cluster].Nodes[:1]
	return nil
}

func TestCreateFails(t *testing.T) {
	t.Parallel()
	m, d, c := setup(t)
	fails(d, errBoom, fake.Create)
	out, err := m.Ensure(t.Context(), c, []byte(twoNodes))
	require.ErrorIs(t, err, errBoom)
	assert.Empty(t, out)
	assert.Empty(t, d.Changes)

	d.On = nil
	_, err = m.Ensure(t.Context(), c, []byte(twoNodes))
	assert.NoError(t, err, "the next run")
}

// TestBuildFailsLate: what fails after kind's own work leaves nothing behind,
// and no error hides another.
func TestBuildFailsLate(t *testing.T) {
	t.Parallel()
	spoils := map[string]func(interrupt func(), call fake.Call) error{
		"not Ready": func(_ func(), call fake.Call) error { return on(call, fake.WaitReady, errBoom) },
		"no mark":   func(_ func(), call fake.Call) error { return on(call, fake.Finish, errBoom) },
		"interrupted": func(interrupt func(), call fake.Call) error {
			if call == fake.WaitReady {
				interrupt()
			}
			return on(call, fake.WaitReady, errBoom)
		},
	}
	for name, spoil := range spoils {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, d, c := setup(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			d.On = func(_ context.Context, call fake.Call, _ string) error { return spoil(cancel, call) }
			out, err := m.Ensure(ctx, c, []byte(twoNodes))
			require.ErrorIs(t, err, errBoom)
			assert.Empty(t, out)
			assert.Empty(t, d.Clusters, "nothing half-built stays")
		})
		t.Run(name+", and the removal fails", func(t *testing.T) {
			t.Parallel()
			m, d, c := setup(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			d.On = func(_ context.Context, call fake.Call, _ string) error {
				return errors.Join(spoil(cancel, call), on(call, fake.Delete, errSmoke))
			}
			_, err := m.Ensure(ctx, c, []byte(twoNodes))
			assert.ErrorIs(t, err, errBoom)
			assert.ErrorIs(t, err, errSmoke)

			d.On = nil
			_, err = m.Ensure(t.Context(), c, []byte(twoNodes))
			require.NoError(t, err, "the next run takes over what is left")
			assert.True(t, d.Clusters[c.Name].Finished)
		})
	}
}

// on is an error for one call.
func on(call, which fake.Call, err error) error {
	if call == which {
		return err
	}
	return nil
}

// TestCancelledWhileAdopting: who presses Ctrl-C while a healthy cluster is
// looked at does not lose it.
func TestCancelledWhileAdopting(t *testing.T) {
	t.Parallel()
	m, d, c := built(t)
	ctx, cancel := context.WithCancel(t.Context())
	d.On = func(ctx context.Context, call fake.Call, _ string) error {
		if call != fake.WaitReady {
			return nil
		}
		cancel()
		<-ctx.Done()
		return ctx.Err()
	}
	_, err := m.Ensure(ctx, c, []byte(twoNodes))
	require.ErrorIs(t, err, context.Canceled)
	assert.Empty(t, d.Changes)
	assert.Len(t, d.Clusters[c.Name].Nodes, 2)
}

// TestInotifyHint: where the limits are low, a build that fails says so.
func TestInotifyHint(t *testing.T) {
	t.Parallel()
	low := InotifyLimits{Instances: 128, Watches: 8192}

	m, d, c := setup(t)
	m.Limits = func() InotifyLimits { return low }
	_, err := m.Ensure(t.Context(), c, []byte(oneNode))
	require.NoError(t, err, "low limits are no error by themselves")
	assert.Contains(t, m.Log.(*said).String(), low.Remedy(), "they are worth a warning")

	for _, call := range []fake.Call{fake.Create, fake.WaitReady} {
		d.On = nil
		require.NoError(t, m.Delete(t.Context(), c))
		fails(d, errBoom, call)
		_, err = m.Ensure(t.Context(), c, []byte(oneNode))
		require.ErrorIs(t, err, errBoom, call)
		var hint *InotifyError
		require.ErrorAs(t, err, &hint, call)
		assert.Equal(t, low, hint.Limits, call)
		assert.ErrorContains(t, err, low.Remedy(), call)
	}

	m, d, c = setup(t)
	fails(d, errBoom, fake.Create)
	_, err = m.Ensure(t.Context(), c, []byte(oneNode))
	require.ErrorIs(t, err, errBoom)
	var hint *InotifyError
	assert.NotErrorAs(t, err, &hint, "where the limits are high enough")
	assert.Empty(t, m.Log.(*said).String())
}

// TestBadArguments are found before Docker is asked for anything.
func TestBadArguments(t *testing.T) {
	t.Parallel()
	good := Identity{Name: "bootcamp-dev", Claim: claim}
	for _, tt := range []struct {
		name   string
		c      Identity
		config string
		want   []error
	}{
		{"no name", Identity{Claim: claim}, oneNode, []error{ErrName}},
		{"a hostile name", Identity{Name: "a;rm -rf /", Claim: claim}, oneNode, []error{ErrName}},
		{"a flag for a name", Identity{Name: "--all", Claim: claim}, oneNode, []error{ErrName}},
		{"a long name", Identity{Name: strings.Repeat("a", 50), Claim: claim}, oneNode, []error{ErrName}},
		{"no claim", Identity{Name: "a"}, oneNode, []error{ErrClaim}},
		{"a claim of another length", Identity{Name: "a", Claim: "00"}, oneNode, []error{ErrClaim}},
		{"a claim that is a path", Identity{Name: "a", Claim: "../../../../../../etc/kubernetes/x"}, oneNode, []error{ErrClaim}},
		{"neither", Identity{}, oneNode, []error{ErrName, ErrClaim}},
		{"no configuration", good, "", []error{ErrConfig}},
		{"no nodes", good, "kind: Cluster\n", []error{ErrConfig}},
		{"no YAML", good, "\t{", []error{ErrConfig}},
		{"an unknown field", good, oneNode + "  imgae: node:1\n", []error{ErrConfig}},
		{"a wrong type", good, "nodes: 3\n", []error{ErrConfig}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m, d, _ := setup(t)
			d.On = func(_ context.Context, call fake.Call, _ string) error {
				t.Errorf("Docker was asked: %s", call)
				return nil
			}
			all := []error{ErrName, ErrClaim, ErrConfig}
			_, err := m.Ensure(t.Context(), tt.c, []byte(tt.config))
			for _, e := range all {
				assert.Equal(t, contains(tt.want, e), errors.Is(err, e), "%v: %v", e, err)
			}
			if tt.c != good {
				_, err = m.Kubeconfig(t.Context(), tt.c)
				assert.ErrorIs(t, err, tt.want[0])
				assert.ErrorIs(t, m.Delete(t.Context(), tt.c), tt.want[0])
			}
		})
	}
}

func contains(all []error, e error) bool {
	for _, a := range all {
		if a == e {
			return true
		}
	}
	return false
}

func TestDockerDoesNotAnswer(t *testing.T) {
	t.Parallel()
	m, d, c := built(t)
	fails(d, errBoom, fake.Ping)
	_, err := m.Ensure(t.Context(), c, []byte(oneNode))
	assert.ErrorIs(t, err, errBoom)
	_, err = m.Kubeconfig(t.Context(), c)
	assert.ErrorIs(t, err, errBoom)
	assert.ErrorIs(t, m.Delete(t.Context(), c), errBoom, "no Docker is not: no cluster")
	assert.Empty(t, d.Changes)
}

func TestKubeconfig(t *testing.T) {
	t.Parallel()
	m, d, c := built(t)
	out, err := m.Kubeconfig(t.Context(), c)
	require.NoError(t, err)
	assert.Equal(t, kubeconfigOf(t, d, c), out)

	fails(d, errBoom, fake.Kubeconfig)
	_, err = m.Kubeconfig(t.Context(), c)
	require.ErrorIs(t, err, errBoom)

	delete(d.Clusters, c.Name)
	_, err = m.Kubeconfig(t.Context(), c)
	assert.ErrorIs(t, err, ErrGone)
	fails(d, errBoom, fake.Containers)
	_, err = m.Kubeconfig(t.Context(), c)
	assert.ErrorIs(t, err, errBoom)
	assert.NotErrorIs(t, err, ErrGone, "unknown is not gone")
	assert.Empty(t, d.Changes)
}

func TestNewClaim(t *testing.T) {
	t.Parallel()
	a, b := NewClaim(), NewClaim()
	assert.NotEqual(t, a, b)
	for _, c := range []string{a, b} {
		assert.NoError(t, Identity{Name: "a", Claim: c}.Validate())
	}
}

// busy blocks the first creation until it is let go.
func busy(d *fake.Docker) (creating, letGo chan struct{}) {
	creating, letGo = make(chan struct{}), make(chan struct{})
	d.On = func(_ context.Context, call fake.Call, _ string) error {
		if call == fake.Create {
			close(creating) // a second creation would close it twice, and panic
			<-letGo
		}
		return nil
	}
	return creating, letGo
}

// waits is a manager that waits for another's work, which it says before.
func waits(t *testing.T, m *Manager) {
	t.Helper()
	require.Eventually(t, func() bool { return m.Log.(*said).String() != "" }, 10*time.Second, time.Millisecond)
}

// TestTwoAtOnce: a second run waits for the first, and adopts what it made.
func TestTwoAtOnce(t *testing.T) {
	t.Parallel()
	first, d, c := setup(t)
	creating, letGo := busy(d)
	second := &Manager{Driver: d, Log: &said{}, Limits: first.Limits}

	results := make(chan error, 2)
	ensure := func(m *Manager) {
		_, err := m.Ensure(t.Context(), c, []byte(twoNodes))
		results <- err
	}
	go ensure(first)
	<-creating
	go ensure(second)
	waits(t, second)
	close(letGo)
	require.NoError(t, <-results)
	require.NoError(t, <-results)
	assert.Equal(t, []string{"create cluster " + c.Name, "finish cluster " + c.Name}, d.Changes)
}

// TestCancelledWhileWaiting: who waits for another run may give up.
func TestCancelledWhileWaiting(t *testing.T) {
	t.Parallel()
	first, d, c := setup(t)
	creating, letGo := busy(d)
	second := &Manager{Driver: d, Log: &said{}, Limits: first.Limits}

	done := make(chan error, 1)
	go func() {
		_, err := first.Ensure(t.Context(), c, []byte(twoNodes))
		done <- err
	}()
	<-creating
	ctx, cancel := context.WithCancel(t.Context())
	gaveUp := make(chan error, 1)
	go func() {
		_, err := second.Ensure(ctx, c, []byte(oneNode))
		gaveUp <- err
	}()
	waits(t, second)
	cancel()
	select {
	case err := <-gaveUp:
		assert.ErrorIs(t, err, context.Canceled)
		assert.ErrorContains(t, err, c.Name)
	case <-time.After(2 * time.Second):
		t.Fatal("it still waits")
	}
	close(letGo)
	require.NoError(t, <-done)
	assert.Equal(t, []string{"create cluster " + c.Name, "finish cluster " + c.Name}, d.Changes, "the second did something")

	_, err := second.Ensure(t.Context(), c, []byte(twoNodes))
	assert.NoError(t, err, "the lock is free")
}

// TestTriesAgain: what another program or a busy Docker spoils once is tried a
// second time, and no more.
func TestTriesAgain(t *testing.T) {
	t.Parallel()
	taken := errors.New("listen tcp4 127.0.0.1:40385: bind: address already in use") // Docker's own words
	for name, times := range map[string]int{"once": 1, "always": 9} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, d, c := setup(t)
			tried := map[fake.Call]int{}
			d.On = func(_ context.Context, call fake.Call, _ string) error {
				tried[call]++
				if tried[call] > times {
					return nil
				}
				return errors.Join(on(call, fake.Create, taken), on(call, fake.Delete, errBoom))
			}
			_, err := m.Ensure(t.Context(), c, []byte(oneNode))
			assert.Equal(t, 2, tried[fake.Create])
			if times > 2 {
				require.ErrorIs(t, err, taken)
				return
			}
			require.NoError(t, err)
			require.NoError(t, m.Delete(t.Context(), c))
			assert.Equal(t, 2, tried[fake.Delete])
		})
	}
}

// TestMirror: all nodes are told of a mirror, and of none again; those that do not run are
// named, and another's are left alone.
func TestMirror(t *testing.T) {
	t.Parallel()
	m, d, c := built(t)
	var told []string
	d.On = func(_ context.Context, call fake.Call, of string) error {
		if call == fake.Mirror {
			told = append(told, of)
		}
		return nil
	}
	const url = "http://10.0.0.1:5000"
	nodes := Names(d.Clusters[c.Name].Nodes)
	require.NoError(t, m.UseMirror(t.Context(), c, url))
	assert.ElementsMatch(t, []string{nodes[0] + " " + url, nodes[1] + " " + url}, told)
	told = nil
	require.NoError(t, m.NoMirror(t.Context(), c))
	assert.ElementsMatch(t, []string{nodes[0] + " ", nodes[1] + " "}, told)

	told = nil
	assert.ErrorContains(t, m.UseMirror(t.Context(), c, "http://localhost:5000"), "the node itself")
	assert.ErrorIs(t, m.UseMirror(t.Context(), Identity{c.Name, others}, url), ErrForeign)
	require.NoError(t, m.NoMirror(t.Context(), Identity{c.Name, others}))
	d.Clusters[c.Name].Nodes[1].Running = false
	assert.ErrorContains(t, m.UseMirror(t.Context(), c, url), "do not run: "+nodes[1]+";")
	assert.Empty(t, told)

	delete(d.Clusters, c.Name)
	assert.ErrorIs(t, m.UseMirror(t.Context(), c, url), ErrGone)
	require.NoError(t, m.NoMirror(t.Context(), c))
}
