package stack

import (
	"context"
	"fmt"
	"strings"
	"time"

	"k8sbootcamp/internal/kindcluster"
)

// restartTimeout is how long the nodes of a cluster that was stopped may take
// to be Ready again.
const restartTimeout = 2 * time.Minute

// Engine is what healing asks of the container engine.
type Engine interface {
	Containers(ctx context.Context, cluster string) ([]kindcluster.Container, error)
	Start(ctx context.Context, containers []string) error
	WaitReady(ctx context.Context, cluster string, nodes int, limit time.Duration) error
}

// Health is what became of a cluster that the state speaks of.
type Health string

// The states of health.
const (
	None    Health = "none"    // the state has no cluster
	Alive   Health = "alive"   // all nodes run
	Stopped Health = "stopped" // all nodes are there, some do not run
	Partial Health = "partial" // nodes are missing
	Gone    Health = "gone"    // all nodes are missing
	Foreign Health = "foreign" // a cluster of its name is another's
)

// Inspect tells how a stack's cluster is; nil is a stack without one.
func Inspect(ctx context.Context, e Engine, c *Cluster) (Health, []kindcluster.Container, error) {
	if c == nil {
		return None, nil, nil
	}
	found, err := e.Containers(ctx, c.Name)
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
// replace the cluster, which Pulumi alone would call unchanged. A cluster that
// is another's is an error, and untouched.
func Heal(ctx context.Context, e Engine, c *Cluster, say func(string)) (Healed, error) {
	health, found, err := Inspect(ctx, e, c)
	if err != nil {
		return Healed{}, err
	}
	switch health {
	case Foreign:
		return Healed{}, fmt.Errorf("the stack's cluster is gone, and a kind cluster named %q (%s) that this stack did not make has its name; it was left untouched. "+
			"Remove it with `go tool kind delete cluster --name %s` and run again", c.Name, names(found), c.Name)
	case Gone:
		say("cluster " + c.Name + " is gone; it is rebuilt")
		return Healed{Replace: []string{c.URN}}, nil
	case Partial:
		say(fmt.Sprintf("cluster %s has %d of %d nodes left; it is rebuilt", c.Name, len(found), c.Nodes))
		return Healed{Replace: []string{c.URN}}, nil
	case Stopped:
		say("cluster " + c.Name + " was stopped; its nodes are started")
		err := e.Start(ctx, containerNames(found))
		if err == nil {
			err = e.WaitReady(ctx, c.Name, c.Nodes, restartTimeout)
		}
		if ctx.Err() != nil {
			return Healed{}, ctx.Err()
		}
		if err != nil {
			say(fmt.Sprintf("cluster %s did not come back (%s); it is rebuilt", c.Name, cause(err.Error())))
			return Healed{Replace: []string{c.URN}}, nil
		}
		return Healed{Started: true}, nil
	}
	return Healed{}, nil
}

func containerNames(found []kindcluster.Container) []string {
	out := make([]string, len(found))
	for i, f := range found {
		out[i] = f.Name
	}
	return out
}

func names(found []kindcluster.Container) string { return strings.Join(containerNames(found), " ") }
