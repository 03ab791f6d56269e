package engine

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"k8sbootcamp/internal/fake"
	"k8sbootcamp/tests/internal/results"
)

// TestKilledAnywhere kills a command at every change that it makes to the
// world: before the change, after it but unheard, and in the middle of it where
// that leaves something. What then is on disk is the state up to that moment.
// Both ways on must work at once: up, and destroy.
func TestKilledAnywhere(t *testing.T) {
	destroyOnce := func(s *sim, _ cfg) *outcome { return s.once(destroy, nil, false) }
	// A destroy that was killed may have left a state whose cluster is gone, which
	// an up cannot see: it needs the same as a cluster that vanished.
	rebuild := func(s *sim, c cfg) *outcome { return s.once(up, c, false, replaceCluster(s)) }
	scenarios := []struct {
		name     string
		from, to cfg
		empty    bool // there was no up from before
		command  func(*sim, cfg) *outcome
		again    func(*sim, cfg) *outcome
	}{
		{name: "first up", empty: true, command: upOnce, again: upOnce},
		{name: "replacement", from: cfg{"workers": "1"}, to: cfg{"workers": "2"}, command: upOnce, again: upOnce},
		{name: "change in place", from: cfg{"chapter": "3-3"}, to: cfg{"replicas": "3", "serviceType": "NodePort"}, command: upOnce, again: upOnce},
		{name: "back to an earlier chapter", to: cfg{"chapter": "3-3"}, command: upOnce, again: upOnce},
		{name: "destroy", command: destroyOnce, again: rebuild},
	}
	for _, sc := range scenarios {
		t.Run(sc.name, func(t *testing.T) {
			start := newSim(t, newWorld(), "dev")
			start.parallel = 1 // so that the journal is in the order of the changes
			if !sc.empty {
				require.NoError(t, start.once(up, sc.from, false).err)
			}
			whole := start.clone(t)
			done := sc.command(whole, sc.to)
			require.NoError(t, done.err)
			require.NotEmpty(t, done.changes)
			for i, change := range done.changes {
				hows := []fake.How{fake.Before, fake.After}
				if strings.Contains(change, " cluster ") { // the others are one call
					hows = append(hows, fake.Half)
				}
				for _, how := range hows {
					t.Run(fmt.Sprintf("%d %s %s", i+1, change, how), func(t *testing.T) {
						t.Parallel()
						s := start.clone(t)
						begin := time.Now()
						defer func() { results.Test(t, "in process: "+sc.name+" killed at each of its changes", begin) }()
						s.world.Fault = fake.Fault{At: i + 1, How: how, Kill: true}
						o := sc.command(s, sc.to)
						require.Error(t, o.err)
						require.True(t, s.world.Dead, "the kill never came")
						s.killed(t, o)

						s.world.Revive()
						other := s.clone(t)
						require.NoError(t, sc.again(other, sc.to).err, "up after the kill")
						requireFresh(t, other, sc.to)
						requireGone(t, other, other.once(destroy, nil, false))
						requireGone(t, s, s.once(destroy, nil, false))
					})
				}
			}
		})
	}
}
