// Package verbs is what the class tool does with one stack.
package verbs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/auto/events"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"k8sbootcamp/components/lab"
	"k8sbootcamp/cmd/class/internal/progress"
	"k8sbootcamp/cmd/class/internal/stack"
	"k8sbootcamp/cmd/class/internal/status"
	"k8sbootcamp/internal/kindcluster"
)

// Stack is a Pulumi stack, whether it exists or not; see stack.Stack.
type Stack interface {
	Create(context.Context) error
	Unlock() ([]stack.Lock, error)
	Configure(context.Context) error
	State(context.Context) (*stack.State, error) // nil where there is no such stack
	Adopt(ctx context.Context, unsure []stack.Create) error
	Refresh(ctx context.Context, urns []string) error
	ClearPending(context.Context) error
	Up(ctx context.Context, replace []string, watch stack.Watch) (*stack.Changes, map[string]string, error)
	Preview(ctx context.Context, replace []string, watch stack.Watch) (*stack.Changes, error)
	Destroy(ctx context.Context, watch stack.Watch) (*stack.Changes, error)
	Outputs(context.Context) (map[string]string, error)
	LastChange(context.Context) (*stack.Change, error)
	Remove(context.Context) (kept []string, err error)
}

var _ Stack = (*stack.Stack)(nil)

// Engine is the container engine that kind clusters live on.
type Engine interface {
	stack.Engine
	kindcluster.Engine
}

// Line is where a verb says how it comes along.
type Line interface{ progress.Shown }

// secretOutputs never leave the tool but into a kubeconfig.
var secretOutputs = []string{lab.OutKubeconfig, lab.OutStudentKubeconfig}

// UpResult is what an `up` did.
type UpResult struct {
	Changes *stack.Changes
	Outputs map[string]string // but the secret ones
	// Kubeconfig is secret; it is for finding copies of it that are out of date.
	Kubeconfig []byte
}

// Up makes the lab be there as configured, whatever became of it.
func Up(ctx context.Context, s Stack, e Engine, access Access, line Line) (*UpResult, error) {
	state, err := ready(ctx, s, line)
	if err != nil {
		return nil, err
	}
	if state == nil {
		if err := s.Create(ctx); err != nil {
			return nil, err
		}
		state = &stack.State{}
	}
	if err := s.Configure(ctx); err != nil {
		return nil, err
	}
	healed, err := stack.Heal(ctx, e, state.Cluster, line.Say)
	// What the killed run may have made is gone with a cluster that is rebuilt.
	if err == nil && len(state.Unsure) > 0 && len(healed.Replace) == 0 {
		if err = s.Adopt(ctx, state.Unsure); err == nil {
			state, err = s.State(ctx)
		}
	}
	if err == nil && state.Pending > 0 {
		err = s.ClearPending(ctx)
	}
	if err == nil && len(healed.Replace) == 0 {
		err = forgetMissing(ctx, s, access, state.Objects, line)
	}
	if err != nil {
		return nil, err
	}
	line.Phase("comparing")
	r := &UpResult{}
	if r.Changes, r.Outputs, err = s.Up(ctx, healed.Replace, watch(line)); err != nil {
		return r, err
	}
	if healed.Started { // Pulumi waits for what it changes, and this it did not
		if err := awaitObjects(ctx, access, r.Outputs, state.Objects, line); err != nil {
			return r, err
		}
	}
	r.Kubeconfig = []byte(r.Outputs[lab.OutKubeconfig])
	for _, name := range secretOutputs {
		delete(r.Outputs, name)
	}
	return r, nil
}

// forgetMissing drops objects from the state that are in the cluster no more, such
// as one that a student deleted; an update alone would call them unchanged.
func forgetMissing(ctx context.Context, s Stack, access Access, objects []stack.Object, line Line) error {
	if len(objects) == 0 {
		return nil
	}
	outs, err := s.Outputs(ctx)
	if err != nil {
		return err
	}
	config, err := access(outs)
	if err != nil {
		return nil // an update that was cut off had no outputs yet
	}
	missing, err := status.Missing(ctx, config, objects)
	if err != nil || len(missing) == 0 {
		return ctx.Err() // where the cluster does not answer, the update says it better
	}
	var urns, names []string
	for _, o := range missing {
		urns, names = append(urns, o.URN), append(names, o.Kind+" "+o.Name)
	}
	line.Say("gone from the cluster, and made again: " + strings.Join(names, ", "))
	return s.Refresh(ctx, urns)
}

// objectsTimeout is how long the pods of a cluster that was stopped may take.
const objectsTimeout = 3 * time.Minute

// awaitObjects returns once all objects are ready.
func awaitObjects(ctx context.Context, access Access, outs map[string]string, objects []stack.Object, line Line) error {
	line.Phase("waiting for the pods to come back")
	config, err := access(outs)
	if err != nil {
		return err
	}
	var not []string
	err = wait.PollUntilContextTimeout(ctx, 2*time.Second, objectsTimeout, true, func(ctx context.Context) (bool, error) {
		var err error
		_, not, err = status.Objects(ctx, config, objects)
		if err != nil {
			not = []string{err.Error()} // the API server may be slow to come back
		}
		if len(not) > 0 {
			line.Detail(not[0])
		}
		return len(not) == 0, nil
	})
	if err != nil && ctx.Err() == nil && len(not) > 0 {
		return fmt.Errorf("the cluster was started, but after %s this is not ready: %s", objectsTimeout, strings.Join(not, "; "))
	}
	return err
}

// ready frees the stack from the lock that a killed run left, and reads its
// state, which is nil where there is no such stack.
func ready(ctx context.Context, s Stack, line Line) (*stack.State, error) {
	line.Phase("reading the state")
	locks, err := s.Unlock()
	for _, l := range locks {
		line.Say(fmt.Sprintf("removed the lock of process %d, which is gone", l.PID))
	}
	if err != nil {
		return nil, err
	}
	state, err := s.State(ctx)
	if err != nil {
		return nil, err
	}
	if state != nil && state.Pending > 0 {
		line.Say("an earlier run was cut off; going on from there")
	}
	return state, nil
}

func watch(line Line) stack.Watch {
	t := progress.NewTracker(line)
	return func(e events.EngineEvent) { t.Event(e) }
}

// Preview tells what Up would do.
func Preview(ctx context.Context, s Stack, e Engine, line Line) (*stack.Changes, error) {
	line.Phase("reading the state")
	state, err := s.State(ctx)
	if err != nil {
		return nil, err
	}
	var replace []string
	if state != nil {
		health, _, err := stack.Inspect(ctx, e, state.Cluster)
		if err != nil {
			return nil, err
		}
		if health == stack.Gone || health == stack.Partial {
			line.Say("cluster " + state.Cluster.Name + " is " + string(health) + "; an up rebuilds it")
			replace = []string{state.Cluster.URN}
		}
	}
	line.Phase("comparing")
	return s.Preview(ctx, replace, watch(line))
}

// DestroyResult is what a `destroy` did.
type DestroyResult struct {
	Changes *stack.Changes
	Kept    []string // what stays, and why, in words
}

// Destroy removes the lab and proves it; with remove the stack too. cluster is
// kind's name of the stack's cluster, or empty on a shared one. What is left and is not the stack's is
// named, what is left and should not be is an error.
func Destroy(ctx context.Context, s Stack, e Engine, cluster string, remove bool, line Line) (*DestroyResult, error) {
	r := &DestroyResult{}
	state, err := ready(ctx, s, line)
	if err != nil {
		return r, err
	}
	exists, claim := state != nil, ""
	if exists {
		if state.Pending > 0 {
			if err := s.ClearPending(ctx); err != nil { // what they made goes with the cluster, or by the claim
				return r, err
			}
		}
		claim = state.Claim
		line.Phase("comparing")
		if r.Changes, err = s.Destroy(ctx, watch(line)); err != nil {
			return r, err
		}
		if state, err = s.State(ctx); err != nil {
			return r, err
		}
		if state.Resources > 0 {
			return r, fmt.Errorf("the stack still has %d resources after its destroy", state.Resources)
		}
	}
	if cluster != "" {
		if err := sweep(ctx, e, cluster, claim, r, line); err != nil {
			return r, err
		}
	}
	if remove && exists {
		line.Phase("removing the stack")
		kept, err := s.Remove(ctx)
		r.Kept = append(r.Kept, kept...)
		if err != nil {
			return r, err
		}
	}
	return r, nil
}

// sweep removes what is left of a kind cluster of the claim, and names one that
// is another's.
func sweep(ctx context.Context, e Engine, cluster, claim string, r *DestroyResult, line Line) error {
	line.Phase("looking for what is left")
	if claim != "" { // a cluster that only its claim speaks of
		m := &kindcluster.Manager{Engine: e, Log: io.Discard}
		if err := m.Delete(ctx, kindcluster.Cluster{Name: cluster, Claim: claim}); err != nil {
			return err
		}
	}
	left, err := e.Containers(ctx, cluster)
	if err != nil {
		return err
	}
	if len(left) > 0 {
		r.Kept = append(r.Kept, fmt.Sprintf("kind cluster %s (%s): this stack did not make it. If nobody needs it: go tool kind delete cluster --name %s",
			cluster, containers(left), cluster))
	}
	return nil
}

func containers(list []kindcluster.Container) string {
	names := make([]string, len(list))
	for i, c := range list {
		names[i] = c.Name
	}
	return strings.Join(names, " ")
}

// Access is how the owner of a stack reaches its cluster: the outputs say it
// where the cluster is the stack's own.
type Access func(outputs map[string]string) (*rest.Config, error)

// Own is the Access of a cluster that is the stack's own.
func Own(outputs map[string]string) (*rest.Config, error) {
	return clientcmd.RESTConfigFromKubeConfig([]byte(outputs[lab.OutKubeconfig]))
}

// Shared is the Access of a cluster that is shared by the class. Its arguments
// are of the stack's configuration.
func Shared(kubeconfig, context string) Access {
	return func(map[string]string) (*rest.Config, error) {
		rules := clientcmd.NewDefaultClientConfigLoadingRules()
		rules.ExplicitPath = kubeconfig
		return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: context}).ClientConfig()
	}
}

// Status looks at the lab and changes nothing.
func Status(ctx context.Context, s Stack, e Engine, access Access) (*status.Status, error) {
	state, err := s.State(ctx)
	if err != nil {
		return nil, err
	}
	if state == nil {
		return &status.Status{Cluster: status.NotMade}, nil
	}
	r := &status.Status{Made: true, Total: len(state.Objects)}
	var found []kindcluster.Container
	health, found, err := stack.Inspect(ctx, e, state.Cluster)
	if err != nil {
		return nil, err
	}
	r.Cluster = clusterWord(health, state, found)
	if r.LastChange, err = s.LastChange(ctx); err != nil {
		return nil, err
	}
	if len(state.Objects) == 0 {
		return r, nil
	}
	outs, err := s.Outputs(ctx)
	if err != nil {
		return nil, err
	}
	r.AppURL = outs[lab.OutAppURL]
	if health != stack.Alive && health != stack.None {
		return r, nil
	}
	config, err := access(outs)
	if err == nil {
		r.Ready, r.NotReady, err = status.Objects(ctx, config, state.Objects)
	}
	if err != nil {
		r.Problem = err.Error()
	}
	return r, nil
}

func clusterWord(h stack.Health, state *stack.State, found []kindcluster.Container) string {
	switch {
	case h == stack.None && len(state.Objects) > 0:
		return "shared"
	case h == stack.Alive:
		return fmt.Sprintf("alive (nodes: %d)", len(found))
	case h == stack.Partial:
		return fmt.Sprintf("partial (nodes: %d of %d)", len(found), state.Cluster.Nodes)
	}
	return string(h)
}

// ErrNotUp is returned where a verb needs a lab that is up.
var ErrNotUp = errors.New("it is not up; run `class up` first")

// Kubeconfig returns the outputs of a stack that is up, the secret ones too.
func Kubeconfig(ctx context.Context, s Stack) (map[string]string, error) {
	state, err := s.State(ctx)
	if err != nil {
		return nil, err
	}
	if state == nil {
		return nil, ErrNotUp
	}
	outs, err := s.Outputs(ctx)
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(outs[lab.OutKubeconfig]) == "" {
		return nil, ErrNotUp
	}
	return outs, nil
}
