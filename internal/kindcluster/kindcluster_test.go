package kindcluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
)

// TestMain gives the locks a folder of their own, for TMPDIR is the process's.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "kindcluster-test-")
	if err != nil {
		panic(err)
	}
	os.Setenv("TMPDIR", dir)
	code := m.Run()
	if left, _ := os.ReadDir(dir); code == 0 && len(left) > 0 {
		fmt.Printf("FAIL: left behind in TMPDIR: %v\n", left)
		code = 1
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

const (
	claim  = "00112233445566778899aabbccddeeff"
	others = "ffeeddccbbaa99887766554433221100"

	oneNode  = "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nnodes:\n- role: control-plane\n  image: node:1\n"
	twoNodes = oneNode + "- role: worker\n  image: node:1\n"
)

// fake is an Engine in memory. The functions, where they are set, are asked
// before the engine does its work.
type fake struct {
	mu       sync.Mutex
	calls    []string
	nodes    map[string][]Container // of each cluster
	finished map[string]bool
	config   *v1alpha4.Cluster // of the last Create

	ping, list, del, finish, kubeconfig func() error
	create                              func(ctx context.Context) error
	ready                               func(ctx context.Context) error
	stuck                               bool // Delete leaves the first node
}

func newFake() *fake { return &fake{nodes: map[string][]Container{}, finished: map[string]bool{}} }

func (f *fake) called(what string, asked func() error) error {
	f.mu.Lock()
	f.calls = append(f.calls, what)
	f.mu.Unlock()
	if asked != nil {
		return asked()
	}
	return nil
}

func (f *fake) Ping(context.Context) error { return f.called("ping", f.ping) }

func (f *fake) Containers(_ context.Context, cluster string) ([]Container, error) {
	if err := f.called("containers", f.list); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.nodes[cluster]), nil
}

func (f *fake) Create(ctx context.Context, cluster string, config *v1alpha4.Cluster) error {
	err := f.called("create", func() error {
		if f.create != nil {
			return f.create(ctx)
		}
		return nil
	})
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.nodes[cluster]) > 0 {
		return errors.New("node(s) already exist")
	}
	f.config = config
	for i, n := range config.Nodes {
		c := Container{Name: fmt.Sprintf("%s-node%d", cluster, i), Running: true}
		for _, m := range n.ExtraMounts {
			c.Mounts = append(c.Mounts, m.ContainerPath)
		}
		f.nodes[cluster] = append(f.nodes[cluster], c)
	}
	return nil
}

func (f *fake) Delete(_ context.Context, cluster string) error {
	if err := f.called("delete", f.del); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stuck {
		f.nodes[cluster] = f.nodes[cluster][:1]
		return nil
	}
	delete(f.nodes, cluster)
	delete(f.finished, cluster)
	return nil
}

func (f *fake) WaitReady(ctx context.Context, cluster string, want int, limit time.Duration) error {
	return f.called(fmt.Sprintf("ready %d", want), func() error {
		if limit <= 0 {
			return errors.New("no limit")
		}
		if f.ready != nil {
			return f.ready(ctx)
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if got := len(f.nodes[cluster]); got != want {
			return fmt.Errorf("%d nodes of %d", got, want)
		}
		return nil
	})
}

func (f *fake) Kubeconfig(_ context.Context, cluster string) (string, error) {
	return "kubeconfig of " + cluster, f.called("kubeconfig", f.kubeconfig)
}

func (f *fake) Finish(_ context.Context, cluster string) error {
	if err := f.called("finish", f.finish); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.finished[cluster] = true
	return nil
}

func (f *fake) Finished(_ context.Context, cluster string) bool {
	_ = f.called("finished", nil)
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.finished[cluster]
}

// count tells how often the engine was asked for something.
func (f *fake) count(what string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, c := range f.calls {
		if c == what {
			n++
		}
	}
	return n
}

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

// setup returns a manager on a fresh engine, and a cluster with a name that no
// other test has (a lock is the host's).
func setup(t *testing.T) (*Manager, *fake, *said, Cluster) {
	t.Helper()
	f, l := newFake(), &said{}
	m := &Manager{Engine: f, Log: l, Limits: func() InotifyLimits { return InotifyLimits{Instances: 1 << 20, Watches: 1 << 20} }}
	return m, f, l, Cluster{Name: Name(t.Name()), Claim: claim}
}

// built is setup with a cluster of two nodes that was built to its end.
func built(t *testing.T) (*Manager, *fake, *said, Cluster) {
	t.Helper()
	m, f, l, c := setup(t)
	_, err := m.Ensure(t.Context(), c, []byte(twoNodes))
	require.NoError(t, err)
	f.calls = nil
	return m, f, l, c
}

func TestEnsureCreates(t *testing.T) {
	t.Parallel()
	m, f, _, c := setup(t)
	out, err := m.Ensure(t.Context(), c, []byte(twoNodes))
	require.NoError(t, err)
	assert.Equal(t, "kubeconfig of "+c.Name, out)
	assert.Equal(t, []string{"ping", "containers", "create", "ready 2", "finish", "kubeconfig"}, f.calls)

	require.Len(t, f.config.Nodes, 2)
	for _, n := range f.config.Nodes {
		assert.Equal(t, "node:1", n.Image)
		require.Len(t, n.ExtraMounts, 1, "every node bears the mark")
		mark := n.ExtraMounts[0]
		assert.Equal(t, markPath(claim, []byte(twoNodes)), mark.ContainerPath)
		assert.Contains(t, mark.ContainerPath, claim)
		assert.Equal(t, "/dev/null", mark.HostPath)
		assert.True(t, mark.Readonly)
	}
	assert.Equal(t, v1alpha4.ControlPlaneRole, f.config.Nodes[0].Role)
	assert.Equal(t, v1alpha4.WorkerRole, f.config.Nodes[1].Role)
}

func TestEnsureAdopts(t *testing.T) {
	t.Parallel()
	m, f, l, c := built(t)
	out, err := m.Ensure(t.Context(), c, []byte(twoNodes))
	require.NoError(t, err)
	assert.Equal(t, "kubeconfig of "+c.Name, out)
	assert.Equal(t, []string{"ping", "containers", "finished", "ready 2", "kubeconfig"}, f.calls)
	assert.Contains(t, l.String(), "is there already")
}

// TestEnsureRebuilds: what is the stack's own and not whole is built anew.
func TestEnsureRebuilds(t *testing.T) {
	t.Parallel()
	notReady := func(f *fake, _ string) {
		first := true
		f.ready = func(context.Context) error {
			if first {
				first = false
				return errors.New("node0 is not Ready")
			}
			return nil
		}
	}
	// Kubernetes takes a node for Ready for a while after it is gone.
	stillReady := func(context.Context) error { return nil }
	tests := []struct {
		name   string
		config string
		spoil  func(f *fake, cluster string)
	}{
		{"unfinished", twoNodes, func(f *fake, c string) { f.finished[c] = false }},
		{"a node is stopped", twoNodes, func(f *fake, c string) { f.nodes[c][1].Running = false }},
		{"a node is missing", twoNodes, func(f *fake, c string) { f.nodes[c], f.ready = f.nodes[c][:1], stillReady }},
		{"one node too many", twoNodes, func(f *fake, c string) { f.nodes[c], f.ready = append(f.nodes[c], f.nodes[c][0]), stillReady }},
		{"another number of nodes", oneNode, func(*fake, string) {}},
		{"another image", strings.ReplaceAll(twoNodes, "node:1", "node:2"), func(*fake, string) {}},
		{"a node of an older shape", twoNodes, func(f *fake, c string) { f.nodes[c][1].Mounts = []string{markPath(claim, []byte(oneNode))} }},
		{"nodes that do not get Ready", twoNodes, notReady},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m, f, l, c := built(t)
			tt.spoil(f, c.Name)
			out, err := m.Ensure(t.Context(), c, []byte(tt.config))
			require.NoError(t, err)
			assert.Equal(t, "kubeconfig of "+c.Name, out)
			assert.Equal(t, 1, f.count("delete"))
			assert.Equal(t, 1, f.count("create"))
			assert.True(t, f.finished[c.Name])
			assert.Len(t, f.nodes[c.Name], strings.Count(tt.config, "role:"))
			assert.Contains(t, l.String(), "building it anew")
		})
	}
}

// foreigners are clusters that the stack must not touch.
var foreigners = map[string][]Container{
	"made by hand":                   {{Name: "foreign-1", Running: true, Mounts: []string{"/var", "/lib/modules"}}},
	"no mounts at all":               {{Name: "foreign-1"}},
	"another stack's":                {{Name: "foreign-1", Running: true, Mounts: []string{markPath(others, []byte(twoNodes))}}},
	"partly another's":               {{Name: "foreign-1", Mounts: []string{markPath(claim, []byte(twoNodes))}}, {Name: "foreign-2"}},
	"a claim that begins like ours":  {{Name: "foreign-1", Mounts: []string{claimPath(claim) + "0/x"}}},
	"our claim under another folder": {{Name: "foreign-1", Mounts: []string{"/elsewhere/" + claim + "/x"}}},
}

func TestForeign(t *testing.T) {
	t.Parallel()
	for name, nodes := range foreigners {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, f, l, c := setup(t)
			f.nodes[c.Name] = nodes

			for verb, do := range map[string]func() error{
				"Ensure":     func() error { _, err := m.Ensure(t.Context(), c, []byte(twoNodes)); return err },
				"Kubeconfig": func() error { _, err := m.Kubeconfig(t.Context(), c); return err },
			} {
				err := do()
				require.ErrorIs(t, err, ErrForeign, verb)
				assert.ErrorContains(t, err, c.Name, verb)
				assert.ErrorContains(t, err, "foreign-1", verb)
				assert.ErrorContains(t, err, "left untouched", verb)
			}
			require.NoError(t, m.Delete(t.Context(), c), "a destroy must not fail on another's cluster")
			assert.Contains(t, l.String(), "foreign-1")
			assert.Contains(t, l.String(), "it stays")

			assert.Equal(t, nodes, f.nodes[c.Name])
			for _, touch := range []string{"create", "delete", "finish", "kubeconfig"} {
				assert.Zero(t, f.count(touch), touch)
			}
		})
	}
}

func TestOwned(t *testing.T) {
	t.Parallel()
	mine := []Container{{Mounts: []string{"/var", markPath(claim, []byte(oneNode))}}}
	assert.True(t, Owned(mine, claim))
	assert.True(t, Owned([]Container{{Mounts: []string{claimPath(claim)}}}, claim))
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
		m, f, _, c := setup(t)
		require.NoError(t, m.Delete(t.Context(), c))
		assert.Zero(t, f.count("delete"))
	})
	t.Run("own", func(t *testing.T) {
		t.Parallel()
		m, f, _, c := built(t)
		require.NoError(t, m.Delete(t.Context(), c))
		assert.Empty(t, f.nodes)
		require.NoError(t, m.Delete(t.Context(), c), "once more")
		assert.Equal(t, 1, f.count("delete"))
	})
	t.Run("half-built", func(t *testing.T) {
		t.Parallel()
		m, f, _, c := built(t)
		f.finished[c.Name] = false
		f.nodes[c.Name] = f.nodes[c.Name][:1]
		f.nodes[c.Name][0].Running = false
		require.NoError(t, m.Delete(t.Context(), c))
		assert.Empty(t, f.nodes)
	})
	t.Run("of an older shape", func(t *testing.T) {
		t.Parallel()
		m, f, _, c := setup(t)
		f.nodes[c.Name] = []Container{{Name: "old", Mounts: []string{markPath(claim, []byte("another"))}}}
		require.NoError(t, m.Delete(t.Context(), c))
		assert.Empty(t, f.nodes)
	})
	t.Run("not all of it goes", func(t *testing.T) {
		t.Parallel()
		m, f, _, c := built(t)
		f.stuck = true
		err := m.Delete(t.Context(), c)
		assert.ErrorContains(t, err, "could not be removed: "+c.Name+"-node0")
		assert.ErrorContains(t, err, "docker rm -f")
	})
	t.Run("fails", func(t *testing.T) {
		t.Parallel()
		m, f, _, c := built(t)
		f.del = func() error { return errBoom }
		assert.ErrorIs(t, m.Delete(t.Context(), c), errBoom)
		assert.Len(t, f.nodes[c.Name], 2)
	})
	t.Run("the nodes cannot be listed", func(t *testing.T) {
		t.Parallel()
		m, f, _, c := built(t)
		f.list = func() error { return errBoom }
		assert.ErrorIs(t, m.Delete(t.Context(), c), errBoom, "unknown is not gone")
		assert.Zero(t, f.count("delete"))
	})
}

var (
	errBoom  = errors.New("boom")
	errSmoke = errors.New("smoke")
)

func TestCreateFails(t *testing.T) {
	t.Parallel()
	m, f, _, c := setup(t)
	f.create = func(context.Context) error { return errBoom }
	out, err := m.Ensure(t.Context(), c, []byte(twoNodes))
	require.ErrorIs(t, err, errBoom)
	assert.Empty(t, out)
	assert.Zero(t, f.count("finish"))
	assert.Zero(t, f.count("kubeconfig"))

	f.create = nil
	_, err = m.Ensure(t.Context(), c, []byte(twoNodes))
	assert.NoError(t, err, "the next run")
}

// TestBuildFailsLate: what fails after kind's own work leaves nothing behind,
// and no error hides another.
func TestBuildFailsLate(t *testing.T) {
	t.Parallel()
	fails := map[string]func(f *fake){
		"not Ready":   func(f *fake) { f.ready = func(context.Context) error { return errBoom } },
		"no mark":     func(f *fake) { f.finish = func() error { return errBoom } },
		"interrupted": func(f *fake) { f.ready = func(ctx context.Context) error { <-ctx.Done(); return errBoom } },
	}
	for name, spoil := range fails {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, f, _, c := setup(t)
			spoil(f)
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			out, err := m.Ensure(ctx, c, []byte(twoNodes))
			require.ErrorIs(t, err, errBoom)
			assert.Empty(t, out)
			assert.Empty(t, f.nodes, "nothing half-built stays")
		})
		t.Run(name+", and the removal fails", func(t *testing.T) {
			t.Parallel()
			m, f, _, c := setup(t)
			spoil(f)
			f.del = func() error { return errSmoke }
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			_, err := m.Ensure(ctx, c, []byte(twoNodes))
			assert.ErrorIs(t, err, errBoom)
			assert.ErrorIs(t, err, errSmoke)

			f.del, f.ready, f.finish = nil, nil, nil
			_, err = m.Ensure(t.Context(), c, []byte(twoNodes))
			require.NoError(t, err, "the next run takes over what is left")
			assert.True(t, f.finished[c.Name])
		})
	}
}

// TestCancelledWhileAdopting: who presses Ctrl-C while a healthy cluster is
// looked at does not lose it.
func TestCancelledWhileAdopting(t *testing.T) {
	t.Parallel()
	m, f, _, c := built(t)
	ctx, cancel := context.WithCancel(t.Context())
	f.ready = func(ctx context.Context) error {
		cancel()
		<-ctx.Done()
		return ctx.Err()
	}
	_, err := m.Ensure(ctx, c, []byte(twoNodes))
	require.ErrorIs(t, err, context.Canceled)
	assert.Zero(t, f.count("delete"))
	assert.Len(t, f.nodes[c.Name], 2)
}

func TestInotifyHint(t *testing.T) {
	t.Parallel()
	low := InotifyLimits{Instances: 128, Watches: 8192}

	m, f, l, c := setup(t)
	m.Limits = func() InotifyLimits { return low }
	_, err := m.Ensure(t.Context(), c, []byte(oneNode))
	require.NoError(t, err, "low limits are no error by themselves")
	assert.Contains(t, l.String(), "warning: low inotify limits")

	for name, spoil := range map[string]func(){
		"create": func() { f.create = func(context.Context) error { return errBoom } },
		"ready":  func() { f.create, f.ready = nil, func(context.Context) error { return errBoom } },
	} {
		require.NoError(t, m.Delete(t.Context(), c))
		spoil()
		_, err = m.Ensure(t.Context(), c, []byte(oneNode))
		require.ErrorIs(t, err, errBoom, name)
		assert.ErrorContains(t, err, "a likely cause: low inotify limits", name)
		assert.ErrorContains(t, err, "sudo sysctl fs.inotify.max_user_instances=512 fs.inotify.max_user_watches=524288", name)
	}

	m, f, l, c = setup(t)
	f.create = func(context.Context) error { return errBoom }
	_, err = m.Ensure(t.Context(), c, []byte(oneNode))
	require.ErrorIs(t, err, errBoom)
	assert.NotContains(t, err.Error(), "inotify", "where the limits are high enough")
	assert.NotContains(t, l.String(), "inotify")
}

func TestInotifyLow(t *testing.T) {
	t.Parallel()
	for limits, low := range map[InotifyLimits]bool{
		{0, 0}:        false, // unknown
		{512, 524288}: false,
		{511, 524288}: true,
		{512, 524287}: true,
		{128, 0}:      true,
		{0, 8192}:     true,
	} {
		assert.Equal(t, low, limits.Low(), "%+v", limits)
	}
	assert.Zero(t, readInt("/no/such/file"))
}

// TestBadArguments are found before the engine is asked for anything.
func TestBadArguments(t *testing.T) {
	t.Parallel()
	good := Cluster{Name: "bootcamp-dev", Claim: claim}
	for _, tt := range []struct {
		name   string
		c      Cluster
		config string
		want   []string
	}{
		{"no name", Cluster{Claim: claim}, oneNode, []string{"cluster name"}},
		{"a hostile name", Cluster{Name: "a;rm -rf /", Claim: claim}, oneNode, []string{"cluster name"}},
		{"a flag for a name", Cluster{Name: "--all", Claim: claim}, oneNode, []string{"cluster name"}},
		{"a long name", Cluster{Name: strings.Repeat("a", 50), Claim: claim}, oneNode, []string{"cluster name"}},
		{"no claim", Cluster{Name: "a"}, oneNode, []string{"claim"}},
		{"a claim of another length", Cluster{Name: "a", Claim: "00"}, oneNode, []string{"claim"}},
		{"a claim that is a path", Cluster{Name: "a", Claim: "../../../../../../etc/kubernetes/x"}, oneNode, []string{"claim"}},
		{"neither", Cluster{}, oneNode, []string{"cluster name", "claim"}},
		{"no configuration", good, "", []string{"kind configuration", "standard input"}},
		{"no nodes", good, "kind: Cluster\n", []string{"no nodes"}},
		{"no YAML", good, "\t{", []string{"kind configuration"}},
		{"an unknown field", good, oneNode + "  imgae: node:1\n", []string{"imgae"}},
		{"a wrong type", good, "nodes: 3\n", []string{"kind configuration"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m, f, _, _ := setup(t)
			_, err := m.Ensure(t.Context(), tt.c, []byte(tt.config))
			for _, w := range tt.want {
				assert.ErrorContains(t, err, w)
			}
			if tt.c != good {
				_, err = m.Kubeconfig(t.Context(), tt.c)
				assert.Error(t, err)
				assert.Error(t, m.Delete(t.Context(), tt.c))
			}
			assert.Empty(t, f.calls)
		})
	}
}

func TestEngineDoesNotAnswer(t *testing.T) {
	t.Parallel()
	m, f, _, c := setup(t)
	f.ping = func() error { return errBoom }
	_, err := m.Ensure(t.Context(), c, []byte(oneNode))
	assert.ErrorIs(t, err, errBoom)
	_, err = m.Kubeconfig(t.Context(), c)
	assert.ErrorIs(t, err, errBoom)
	assert.ErrorIs(t, m.Delete(t.Context(), c), errBoom, "no engine is not: no cluster")
	assert.Equal(t, []string{"ping", "ping", "ping"}, f.calls)
}

func TestKubeconfig(t *testing.T) {
	t.Parallel()
	m, f, _, c := built(t)
	out, err := m.Kubeconfig(t.Context(), c)
	require.NoError(t, err)
	assert.Equal(t, "kubeconfig of "+c.Name, out)

	f.kubeconfig = func() error { return errBoom }
	_, err = m.Kubeconfig(t.Context(), c)
	require.ErrorIs(t, err, errBoom)

	delete(f.nodes, c.Name)
	_, err = m.Kubeconfig(t.Context(), c)
	assert.ErrorContains(t, err, "cluster "+c.Name+" is gone; rebuild it")
	f.list = func() error { return errBoom }
	_, err = m.Kubeconfig(t.Context(), c)
	assert.ErrorIs(t, err, errBoom)
	assert.Zero(t, f.count("create")+f.count("delete"))
}

func TestNewClaim(t *testing.T) {
	t.Parallel()
	a, b := NewClaim(), NewClaim()
	assert.NotEqual(t, a, b)
	for _, c := range []string{a, b} {
		assert.NoError(t, Cluster{Name: "a", Claim: c}.Validate())
	}
}

// TestTwoAtOnce: a second run waits for the first, and adopts what it made.
func TestTwoAtOnce(t *testing.T) {
	t.Parallel()
	first, f, _, c := setup(t)
	creating, goOn := make(chan struct{}), make(chan struct{})
	f.create = func(context.Context) error {
		close(creating) // a second create would close it twice, and panic
		<-goOn
		return nil
	}
	second := &Manager{Engine: f, Log: &said{}, Limits: first.Limits}

	results := make(chan error, 2)
	ensure := func(m *Manager) {
		_, err := m.Ensure(t.Context(), c, []byte(twoNodes))
		results <- err
	}
	go ensure(first)
	<-creating
	go ensure(second)
	require.Eventually(t, func() bool {
		return strings.Contains(second.Log.(*said).String(), "another run is still at work")
	}, 10*time.Second, time.Millisecond)
	assert.Equal(t, 1, f.count("containers"), "the second looks at nothing before its turn")
	close(goOn)
	require.NoError(t, <-results)
	require.NoError(t, <-results)
	assert.Equal(t, 1, f.count("create"))
	assert.Zero(t, f.count("delete"))
	assert.Contains(t, second.Log.(*said).String(), "is there already")
}

// TestManyAtOnce: the lock is handed on, and only one has it at a time.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	name := Name(t.Name())
	var inside, most, done int
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() {
			for range 4 { // who comes back makes the file anew, while others wait for the old one
				unlock, err := lock(t.Context(), name, nil)
				if !assert.NoError(t, err) {
					return
				}
				mu.Lock()
				inside++
				most = max(most, inside)
				mu.Unlock()
				time.Sleep(time.Millisecond) // long enough for another to get in
				mu.Lock()
				inside--
				done++
				mu.Unlock()
				unlock()
			}
		})
	}
	all.Wait()
	assert.Equal(t, 20, done)
	assert.Equal(t, 1, most)
}

// TestCancelledWhileWaiting: who waits for another run may give up.
func TestCancelledWhileWaiting(t *testing.T) {
	t.Parallel()
	m, f, _, c := setup(t)
	unlock, err := lock(t.Context(), c.Name, nil)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() {
		_, err := m.Ensure(ctx, c, []byte(oneNode))
		result <- err
	}()
	require.Eventually(t, func() bool { return strings.Contains(m.Log.(*said).String(), "another run") }, 10*time.Second, time.Millisecond)
	cancel()
	select {
	case err := <-result:
		assert.ErrorIs(t, err, context.Canceled)
		assert.ErrorContains(t, err, c.Name)
	case <-time.After(2 * time.Second):
		t.Fatal("it still waits")
	}
	assert.Equal(t, []string{"ping"}, f.calls)
	unlock()

	_, err = m.Ensure(t.Context(), c, []byte(oneNode))
	assert.NoError(t, err, "the lock is free")
}

// TestLockFolder: an unusable folder for locks is an error that names it.
func TestLockFolder(t *testing.T) {
	dir := t.TempDir() + "/missing"
	t.Setenv("TMPDIR", dir)
	_, err := lock(t.Context(), "bootcamp-x", nil)
	assert.ErrorContains(t, err, dir)
}

// TestTriesAgain: what another program or a busy Docker spoils once is tried a
// second time, and no more.
func TestTriesAgain(t *testing.T) {
	t.Parallel()
	for name, times := range map[string]int{"once": 1, "always": 9} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake()
			taken, busy := times, times
			f.create = func(context.Context) error {
				if taken--; taken >= 0 {
					return errors.New("listen tcp4 127.0.0.1:40385: bind: address already in use")
				}
				return nil
			}
			f.del = func() error {
				if busy--; busy >= 0 {
					return errors.New("did not receive an exit event")
				}
				return nil
			}
			m := &Manager{Engine: f, Log: &bytes.Buffer{}}
			c := Cluster{Name: "bootcamp-again-" + name, Claim: claim}
			_, err := m.Ensure(context.Background(), c, []byte(oneNode))
			assert.Equal(t, 2, f.count("create"))
			if times > 2 {
				require.ErrorContains(t, err, "address already in use")
				return
			}
			require.NoError(t, err)
			require.NoError(t, m.Delete(context.Background(), c))
			assert.Equal(t, 2, f.count("delete"))
		})
	}
}
