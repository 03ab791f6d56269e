package stack

import (
	"context"
	"fmt"
	"time"

	"k8sbootcamp/cmd/class/internal/progress"
	"k8sbootcamp/internal/kindcluster"
	"k8sbootcamp/internal/printable"
)

// restartTimeout is how long the nodes of a cluster that was stopped may take to be
// Ready again.
const restartTimeout = 2 * time.Minute

// Health is what became of a cluster that the state speaks of.
type Health string

// The states of health.
const (
	None    Health = "none"    // the state has no kind cluster
	Alive   Health = "alive"   // all nodes run
	Stopped Health = "stopped" // all nodes are there, some do not run
	Partial Health = "partial" // nodes are missing
	Gone    Health = "gone"    // all nodes are missing
	Foreign Health = "foreign" // a cluster of its name belongs to another stack
)

// Inspect tells how the stack's kind cluster is, and which nodes there are.
func (s *Stack) Inspect(ctx context.Context, c *Cluster) (Health, []kindcluster.Container, error) {
	if c == nil {
		return None, nil, nil
	}
	found, err := s.Docker.Containers(ctx, c.Name)
	if err != nil {
		return "", nil, err
	}
	running := 0
	for _, f := range found {
		if f.Running {
			running++
		}
	}
	switch {
	case len(found) == 0:
		return Gone, nil, nil
	case !kindcluster.Owned(found, c.Claim):
		return Foreign, found, nil
	case len(found) < c.Nodes:
		return Partial, found, nil
	case running < len(found):
		return Stopped, found, nil
	}
	return Alive, found, nil
}

// Healed is what healing did, and what is left to the update.
type Healed struct {
	Started bool     // nodes that had been stopped run again
	Replace []string // URNs that the update must replace
}

// Heal makes the cluster that the state speaks of fit for an update. It starts
// stopped nodes; where that does not help, or nodes are gone, the update must
// replace the cluster, which Pulumi alone would call unchanged. A cluster of
// another stack is left alone, and an error (kindcluster.ErrForeign).
func (s *Stack) Heal(ctx context.Context, c *Cluster, line *progress.Line) (Healed, error) {
	health, found, err := s.Inspect(ctx, c)
	if err != nil {
		return Healed{}, err
	}
	switch health {
	case Foreign:
		return Healed{}, fmt.Errorf("the stack's own cluster is gone: %w", kindcluster.Foreign(c.Name, found))
	case Gone:
		line.Say("cluster " + c.Name + " is gone; it is rebuilt")
		return Healed{Replace: []string{c.URN}}, nil
	case Partial:
		line.Say(fmt.Sprintf("cluster %s has %d of %d nodes left; it is rebuilt", c.Name, len(found), c.Nodes))
		return Healed{Replace: []string{c.URN}}, nil
	case Stopped:
		line.Say("cluster " + c.Name + " was stopped; its nodes are started")
		err := s.Docker.Start(ctx, kindcluster.Names(found))
		if err == nil {
			err = s.Docker.WaitReady(ctx, c.Name, c.Nodes, restartTimeout)
		}
		if ctx.Err() != nil {
			return Healed{}, ctx.Err()
		}
		if err != nil {
			line.Say(fmt.Sprintf("cluster %s did not come back (%s); it is rebuilt", c.Name, printable.Line(err.Error(), causeLength)))
			return Healed{Replace: []string{c.URN}}, nil
		}
		return Healed{Started: true}, nil
	}
	return Healed{}, nil
}

// Sweep removes what is left of the stack's kind cluster that only its claim, and
// not the state, speaks of. It returns the containers of a cluster of that name
// that belongs to another stack; they were left alone.
func (s *Stack) Sweep(ctx context.Context, claim string) (foreign []string, err error) {
	name := kindcluster.Name(s.Name)
	if claim != "" {
		m := &kindcluster.Manager{Driver: s.Docker}
		if err := m.Delete(ctx, kindcluster.Identity{Name: name, Claim: claim}); err != nil {
			return nil, err
		}
	}
	left, err := s.Docker.Containers(ctx, name)
	return kindcluster.Names(left), err
}
