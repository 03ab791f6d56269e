package stack

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"k8sbootcamp/cmd/class/internal/progress"
	"k8sbootcamp/internal/kindcluster"
	"k8sbootcamp/internal/printable"
)

// Health is what became of a cluster that the state speaks of.
type Health string

// The states of health.
const (
	None    Health = "none"        // the state has no kind cluster
	Alive   Health = "alive"       // all nodes are at work
	Failing Health = "not working" // all nodes run, and some are not at work
	Stopped Health = "stopped"     // all nodes are there, some do not run
	Partial Health = "partial"     // nodes are missing
	Gone    Health = "gone"        // all nodes are missing
	Foreign Health = "foreign"     // a cluster of its name belongs to another stack
)

// Condition is how a stack's kind cluster is.
type Condition struct {
	Health Health
	Nodes  []kindcluster.Container // those that there are
	Why    error                   // of one that is failing
}

// Inspect tells how the stack's kind cluster is.
func (s *Stack) Inspect(ctx context.Context, c *Cluster) (Condition, error) {
	if c == nil {
		return Condition{Health: None}, nil
	}
	return s.glance(ctx, c.Name, c.Nodes, false).condition(c)
}

// Glance is what Docker says of a cluster, asked in one go: each question takes a moment.
type Glance struct {
	name   string
	want   int // nodes
	found  []kindcluster.Container
	failed error // to list them
	ready  error // of Driver.Ready
	admin  kindcluster.Admin
	none   error // why there is no admin
}

// glance looks at a cluster that should have so many nodes, and at the way to it if told so.
func (s *Stack) glance(ctx context.Context, name string, want int, reach bool) *Glance {
	g := &Glance{name: name, want: want, none: errNotAsked}
	var all sync.WaitGroup
	all.Go(func() { g.found, g.failed = s.Docker.Containers(ctx, name) })
	if reach {
		all.Go(func() { g.admin, g.none = s.Docker.Admin(ctx, name) })
	}
	g.ready = s.Docker.Ready(ctx, name, want)
	all.Wait()
	return g
}

var errNotAsked = errors.New("not asked")

// Ahead begins to ask Docker about the cluster that the stack has, if it has one, and
// returns how to wait for the answer, which is nil without a cluster of the stack's own.
func (s *Stack) Ahead(ctx context.Context) func() *Glance {
	if s.Settings == nil || !s.OnKind() {
		return func() *Glance { return nil }
	}
	wait := sync.OnceValue(func() *Glance { return s.glance(ctx, kindcluster.Name(s.Name), s.Nodes(), true) })
	go wait()
	return wait
}

// of tells whether it is the cluster that the state speaks of, in its shape, that was asked
// for: another may be configured by now.
func (g *Glance) of(c *Cluster) bool { return g != nil && g.name == c.Name && g.want == c.Nodes }

// condition is how the cluster is that the state speaks of.
func (g *Glance) condition(c *Cluster) (Condition, error) {
	if g.failed != nil {
		return Condition{}, g.failed
	}
	now := Condition{Health: Alive, Nodes: g.found}
	switch {
	case len(g.found) == 0:
		now.Health = Gone
	case !kindcluster.Owned(g.found, c.Claim):
		now.Health = Foreign
	case len(g.found) < c.Nodes:
		now.Health = Partial
	case slices.ContainsFunc(g.found, func(n kindcluster.Container) bool { return !n.Running }):
		now.Health = Stopped
	case errors.Is(g.ready, kindcluster.ErrNotReady):
		now.Health, now.Why = Failing, g.ready
	default:
		return now, g.ready
	}
	return now, nil
}

// Healed is what healing did, and what is left to the update.
type Healed struct {
	Revived bool     // nodes that were stopped or failing are at work again
	Replace []string // URNs that the update must replace

	admin *kindcluster.Admin // the way to a cluster of the stack's own that was at work
}

// Heal makes the cluster that the state speaks of fit for an update. It revives one
// that is stopped or failing; where that does not help, or nodes are gone, the update
// must replace the cluster, which Pulumi alone would call unchanged. A cluster of
// another stack is left alone, and an error (kindcluster.ErrForeign). ahead is of Ahead, and
// believed where all was well.
func (s *Stack) Heal(ctx context.Context, c *Cluster, ahead func() *Glance, line *progress.Line) (Healed, error) {
	if c == nil {
		return Healed{}, nil
	}
	seen, now := ahead(), Condition{}
	var err error
	if seen.of(c) {
		now, err = seen.condition(c)
	}
	if err != nil || now.Health != Alive { // the state is newer
		seen = s.glance(ctx, c.Name, c.Nodes, true)
		now, err = seen.condition(c)
	}
	if err != nil {
		return Healed{}, err
	}
	switch now.Health {
	case Alive:
		if seen.none != nil {
			return Healed{}, nil
		}
		return Healed{admin: &seen.admin}, nil
	case Foreign:
		return Healed{}, fmt.Errorf("the stack's own cluster is gone: %w", kindcluster.Foreign(c.Name, now.Nodes))
	case Gone:
		line.Say("cluster " + c.Name + " is gone; it is rebuilt")
		return Healed{Replace: c.Anew()}, nil
	case Partial:
		line.Say(fmt.Sprintf("cluster %s has %d of %d nodes left; it is rebuilt", c.Name, len(now.Nodes), c.Nodes))
		return Healed{Replace: c.Anew()}, nil
	}
	if err := s.revive(ctx, c, now, line); err != nil {
		if ctx.Err() != nil {
			return Healed{}, ctx.Err()
		}
		line.Say(fmt.Sprintf("cluster %s did not come back (%s); it is rebuilt", c.Name, printable.Line(err.Error(), causeLength)))
		return Healed{Replace: c.Anew()}, nil
	}
	return Healed{Revived: true}, nil
}

// Anew is what must be replaced for another cluster: it, and, before it, what looks whether
// one can be made.
func (c *Cluster) Anew() []string {
	if c.Prepare == "" { // the state of an earlier version
		return []string{c.URN}
	}
	return []string{c.Prepare, c.URN}
}

// revive brings a cluster back to work whose nodes are all there.
func (s *Stack) revive(ctx context.Context, c *Cluster, now Condition, line *progress.Line) error {
	if now.Health == Stopped {
		line.Say("cluster " + c.Name + " was stopped; its nodes are started")
	} else {
		line.Say(printable.Line(now.Why.Error(), causeLength) + "; it is repaired")
	}
	line.Phase("waiting for the cluster's nodes")
	m := &kindcluster.Manager{Driver: s.Docker}
	return m.Revive(ctx, c.Name, c.Nodes)
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
