package kindcluster_test

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	. "k8sbootcamp/internal/kindcluster"

	"k8sbootcamp/internal/fake"
)

// TestRevive: what is there is kept, and each remedy is tried only where it is needed.
func TestRevive(t *testing.T) {
	t.Parallel()
	start := func(c Identity) []string {
		return []string{"start " + c.Name + "-control-plane", "start " + c.Name + "-worker"}
	}
	for name, tt := range map[string]struct {
		spoil func(c *fake.Cluster)
		want  func(c Identity) []string
		err   error
	}{
		"nothing is wrong": {func(*fake.Cluster) {}, func(Identity) []string { return nil }, nil},
		"stopped":          {func(c *fake.Cluster) { c.Stop() }, start, nil},
		"a worker stopped": {func(c *fake.Cluster) { c.Stop(c.Nodes[1].Name) }, func(c Identity) []string { return start(c)[1:] }, nil},
		"started elsewhere": {func(c *fake.Cluster) { c.ByAddress, c.NotReady = true, ErrNotReady },
			func(c Identity) []string { return []string{"by name " + c.Name, "restart kubelet " + c.Name} }, nil},
		"stopped, and starts elsewhere": {func(c *fake.Cluster) { c.Stop(); c.ByAddress, c.NotReady = true, ErrNotReady },
			func(c Identity) []string { return append(start(c), "by name "+c.Name, "restart kubelet "+c.Name) }, nil},
		"helped by a restart": {func(c *fake.Cluster) { c.NotReady = ErrNotReady; c.OnStart = func() { c.NotReady = nil } },
			func(c Identity) []string {
				return slices.Concat([]string{"stop " + c.Name + "-control-plane", "stop " + c.Name + "-worker"}, start(c))
			}, nil},
		"beyond help": {func(c *fake.Cluster) { c.NotReady = ErrNotReady },
			func(c Identity) []string {
				return slices.Concat([]string{"stop " + c.Name + "-control-plane", "stop " + c.Name + "-worker"}, start(c))
			}, ErrNotReady},
		"stopped and beyond help": {func(c *fake.Cluster) { c.Stop(); c.NotReady = ErrNotReady }, start, ErrNotReady},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, d, c := built(t)
			tt.spoil(d.Clusters[c.Name])
			assert.ErrorIs(t, m.Revive(t.Context(), c.Name, 2), tt.err)
			assert.Equal(t, tt.want(c), d.Changes)
			assert.Equal(t, 1, d.Clusters[c.Name].Number, "it is the same cluster")
		})
	}
}

// TestReviveProbes: nodes that say they are at work are not believed until a pod is.
func TestReviveProbes(t *testing.T) {
	t.Parallel()
	m, d, c := built(t)
	fails(d, ErrNotReady, fake.Probe)
	assert.ErrorIs(t, m.Revive(t.Context(), c.Name, 2), ErrNotReady)

	fails(d, errBoom, fake.Start)
	d.Changes = nil
	assert.ErrorIs(t, m.Revive(t.Context(), c.Name, 2), errBoom)
	assert.Empty(t, d.Changes, "a Docker that fails is no reason to stop nodes")
}

// TestReviveIsCancelled without a second try.
func TestReviveIsCancelled(t *testing.T) {
	t.Parallel()
	m, d, c := built(t)
	ctx, cancel := context.WithCancel(t.Context())
	d.On = func(_ context.Context, call fake.Call, _ string) error {
		if call == fake.WaitReady {
			cancel()
			return ErrNotReady
		}
		return nil
	}
	assert.Error(t, m.Revive(ctx, c.Name, 2))
	assert.Empty(t, d.Changes)
}

// TestBuiltByName: before a cluster is finished, nothing in it depends on an address.
func TestBuiltByName(t *testing.T) {
	t.Parallel()
	m, d, c := setup(t)
	var calls []fake.Call
	d.On = func(_ context.Context, call fake.Call, _ string) error {
		calls = append(calls, call)
		return nil
	}
	_, err := m.Ensure(t.Context(), c, []byte(twoNodes))
	require.NoError(t, err)
	byName, finished := slices.Index(calls, fake.ByName), slices.Index(calls, fake.Finish)
	assert.Positive(t, byName)
	assert.Less(t, byName, finished)

	d.On = nil
	require.NoError(t, m.Delete(t.Context(), c))
	fails(d, errBoom, fake.ByName)
	_, err = m.Ensure(t.Context(), c, []byte(twoNodes))
	assert.ErrorIs(t, err, errBoom)
	assert.Empty(t, d.Clusters, "nothing half-built stays behind")
}
