package stack

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/sig"
	"k8s.io/apimachinery/pkg/util/json"

	"k8sbootcamp/cmd/class/internal/drift"
	"k8sbootcamp/cmd/class/internal/progress"
	"k8sbootcamp/components/kind"
	"k8sbootcamp/components/lab"
	"k8sbootcamp/components/shared"
	"k8sbootcamp/internal/course"
	"k8sbootcamp/internal/kindcluster"
	"k8sbootcamp/internal/printable"
)

// Wanted is a stack's state with what it says should be in the cluster. Secrets are in
// clear: it stays in memory, and no value of it is printed.
type Wanted struct {
	*State
	Outputs   map[string]string
	Manifests []drift.Object
}

// Wanted reads the state, which is nil where there is no such stack.
func (s *Stack) Wanted(ctx context.Context) (*Wanted, error) {
	out, err := s.export(ctx, "--show-secrets")
	if out == nil || err != nil {
		return nil, err
	}
	var export apitype.UntypedDeployment
	if err := json.Unmarshal(out, &export); err != nil {
		return nil, fmt.Errorf("pulumi stack export: %w", err)
	}
	w := &Wanted{Outputs: map[string]string{}}
	if w.State, err = parseState(export.Deployment); err != nil {
		return nil, err
	}
	if len(export.Deployment) == 0 {
		return w, nil
	}
	var d struct {
		Resources []apitype.ResourceV3 `json:"resources"`
	}
	if err := json.Unmarshal(export.Deployment, &d); err != nil { // whole numbers stay whole, as Kubernetes has them
		return nil, fmt.Errorf("the stack's state: %w", err)
	}
	for _, r := range d.Resources {
		switch {
		case r.Type == resource.RootStackType:
			for name, value := range r.Outputs {
				w.Outputs[name], _ = plainly(value).(string)
			}
		case !inCluster(r) || r.External || text(r.Outputs, "kind") == "":
		default:
			manifest, _ := plainly(r.Inputs).(map[string]any)
			w.Manifests = append(w.Manifests, drift.NewObject(string(r.URN), text(r.Outputs, "__fieldManager"), manifest))
		}
	}
	return w, nil
}

// plainly is a value of the state as the cluster was handed it: secrets are what they hold,
// and what the plugin keeps for itself is left out.
func plainly(value any) any {
	switch v := value.(type) {
	case map[string]any:
		if v[sig.Key] == sig.Secret {
			var held any
			plain, _ := v["plaintext"].(string)
			if json.Unmarshal([]byte(plain), &held) != nil {
				return nil
			}
			return plainly(held)
		}
		out := map[string]any{}
		for key, inner := range v {
			if !strings.HasPrefix(key, "__") {
				out[key] = plainly(inner)
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = plainly(v[i])
		}
		return out
	}
	return value
}

// Repair is the nodes of a cluster coming back to work.
type Repair struct {
	Stopped []string // those that do not run yet, where the control plane is at work all the same
	was     bool     // any was not at work
	ended   <-chan error
}

// Wait returns when all nodes are at work again, and tells whether any was not.
func (r *Repair) Wait() (repaired bool, err error) {
	if r.ended != nil {
		err = <-r.ended
	}
	return r.was, err
}

// Repair brings the nodes of the stack's own cluster back to work. Where its control plane
// is at work all the same it returns at once. It never makes a node anew: where that is
// what it takes, it is an *Error.
func (s *Stack) Repair(ctx context.Context, c *Cluster, line *progress.Line) (*Repair, error) {
	now, err := s.Inspect(ctx, c)
	if err != nil {
		return nil, err
	}
	const rebuilds = "; `class up` rebuilds it, and what was done on it by hand goes with it"
	switch now.Health {
	case None, Alive:
		return &Repair{}, nil
	case Foreign:
		return nil, fmt.Errorf("the stack's own cluster is gone: %w", kindcluster.Foreign(c.Name, now.Nodes))
	case Gone:
		return nil, &Error{Cause: "cluster " + c.Name + " is gone" + rebuilds}
	case Partial:
		return nil, &Error{Cause: fmt.Sprintf("cluster %s has %d of %d nodes left%s", c.Name, len(now.Nodes), c.Nodes, rebuilds)}
	}
	ended := make(chan error, 1)
	go func() {
		err := s.revive(ctx, c, now, line)
		if err != nil && ctx.Err() == nil {
			err = &Error{Cause: printable.Line("cluster "+c.Name+" did not come back ("+err.Error()+")", causeLength) + rebuilds, err: err}
		}
		ended <- err
	}()
	var stopped []string
	for _, n := range now.Nodes {
		if !n.Running {
			stopped = append(stopped, n.Name)
		}
	}
	rules := now.Health == Stopped && !slices.ContainsFunc(stopped, func(n string) bool { return strings.HasSuffix(n, "-control-plane") })
	if rules {
		return &Repair{Stopped: stopped, was: true, ended: ended}, nil
	}
	if err := <-ended; err != nil {
		return nil, err
	}
	return &Repair{was: true}, nil
}

// SameCluster returns an *Error where the configuration asks for another cluster than the
// stack has: an update would replace it.
func (s *Stack) SameCluster(state *State) error {
	another := state.Cluster == nil
	if s.OnKind() && !another {
		config, err := kind.Config(lab.KindArgs(s.Settings))
		if err != nil {
			return fmt.Errorf("kind's configuration: %w", err)
		}
		another = string(config) != state.Cluster.Config
	}
	if !s.OnKind() {
		another = state.Cluster != nil
	}
	if another {
		return &Error{Cause: "the configuration asks for another cluster than there is (mode, workers, nodeImage, hostPort); `class up` makes it"}
	}
	return nil
}

// Drift connects to the stack's cluster, once that is proven to be the stack's, to compare
// it with what should be there. Objects that every cluster has are compared, too, where the
// cluster is the stack's own.
func (s *Stack) Drift(ctx context.Context, w *Wanted) (*drift.Cluster, drift.Scope, error) {
	scope := drift.Scope{Namespace: course.Namespace, Own: s.OnKind()}
	if err := s.Mine(ctx, w.State); err != nil {
		return nil, scope, err
	}
	config, err := s.Reach(w.Outputs)
	if err != nil {
		return nil, scope, err
	}
	switch {
	case s.Platform():
		scope.Namespace = shared.PlatformNamespace
	case !s.OnKind():
		scope.Namespace = kindcluster.Name(s.Name)
	case w.Cluster == nil:
		return nil, scope, errors.New("the state has no cluster")
	default:
		scope.Since = w.Cluster.Made
		w.Manifests = append(w.Manifests, drift.Always(scope.Namespace)...)
	}
	cluster, err := drift.Connect(config)
	return cluster, scope, err
}
