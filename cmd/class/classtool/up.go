package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"

	"k8sbootcamp/cmd/class/internal/progress"
	"k8sbootcamp/cmd/class/internal/shell"
	"k8sbootcamp/cmd/class/internal/stack"
	"k8sbootcamp/components/lab"
	"k8sbootcamp/internal/check"
)

func (t *tool) upCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "up",
		Short: "Make the lab be there as configured, whatever became of it",
		Long: `up builds what is missing, changes what differs, and rebuilds a cluster that
vanished. It can be run again at any time: what is right stays as it is.`,
	}
	t.configFlags(c)
	c.Flags().Bool("yes", false, "accepted, for symmetry: up asks nothing")
	return t.command(c, verb{valid: true, room: true, done: "ready", work: up, show: showUp})
}

// up makes the lab be there as configured, whatever became of it.
func up(ctx context.Context, _ *session, st *stack.Stack, line *progress.Line, r *row) error {
	ahead := st.Ahead(ctx) // while the state is read
	defer ahead()
	state, err := readState(ctx, st, line)
	if err != nil {
		return err
	}
	if state == nil {
		if err := st.Create(ctx); err != nil {
			return err
		}
		state = &stack.State{}
	}
	if err := st.Configure(); err != nil {
		return err
	}
	healed, err := st.Heal(ctx, state.Cluster, ahead, line)
	if err == nil {
		if rebuilt := len(healed.Replace) > 0; rebuilt {
			state.Unsure = nil // what a killed run may have made is gone with the cluster
		}
		state, err = settle(ctx, st, state)
	}
	if err == nil && len(healed.Replace) == 0 && len(state.Objects) > 0 {
		err = forgetMissing(ctx, st, healed, state.Objects, line)
		if err == nil && state.Token != "" {
			var outputs map[string]string
			if outputs, err = st.Outputs(ctx); err == nil && stack.EndsSoon([]byte(outputs[lab.OutKubeconfig])) {
				line.Say("the student's token ends soon; a new one is made (class kubeconfig hands it out)")
				healed.Replace = append(healed.Replace, state.Token)
			}
		}
	}
	if err != nil {
		return err
	}

	line.Phase("comparing")
	changes, err := st.Up(ctx, healed.Replace, line)
	if stack.Passing(err) && ctx.Err() == nil {
		line.Say("the cluster was still counting for its quota; once more")
		changes, err = st.Up(ctx, nil, line)
	}
	r.Changes = changes
	if err != nil {
		return st.WithTrouble(ctx, err)
	}
	if healed.Revived { // Pulumi waits for what it changes, and this it did not
		config, _, err := st.ReachNow(ctx)
		if err == nil {
			err = awaitObjects(ctx, st, config, state.Objects, line)
		}
		if err != nil {
			return err
		}
	}
	r.Outputs, err = st.PlainOutputs(ctx)
	return err
}

// settle takes into the state what a killed run may have made, and forgets the rest of
// what that left open. It returns the state as it is then.
func settle(ctx context.Context, st *stack.Stack, state *stack.State) (*stack.State, error) {
	if len(state.Unsure) > 0 {
		if err := st.Mine(ctx, state); err != nil { // what is another's is not taken over
			return state, err
		}
		if err := st.Adopt(ctx, state.Unsure); err != nil {
			return state, err
		}
		var err error
		if state, err = st.State(ctx); err != nil {
			return state, err
		}
	}
	if state.Pending > 0 {
		return state, st.ClearPending(ctx)
	}
	return state, nil
}

// readState frees the stack from the lock that a killed run left, and reads its
// state, which is nil where there is no such stack.
func readState(ctx context.Context, st *stack.Stack, line *progress.Line) (*stack.State, error) {
	if err := unlock(st, line); err != nil {
		return nil, err
	}
	state, err := st.State(ctx)
	if err == nil && state != nil && state.Pending > 0 {
		line.Say("an earlier run was cut off; going on from there")
	}
	return state, err
}

// unlock frees the stack from the lock that a killed run left.
func unlock(st *stack.Stack, line *progress.Line) error {
	line.Phase("reading the state")
	locks, err := st.Unlock()
	for _, l := range locks {
		line.Say(fmt.Sprintf("removed the lock of process %d, which is gone", l.PID))
	}
	return err
}

// forgetMissing drops objects from the state that are in the cluster no more, such
// as one that a student deleted; an update alone would call them unchanged.
func forgetMissing(ctx context.Context, st *stack.Stack, healed stack.Healed, objects []check.Object, line *progress.Line) error {
	config, _, err := st.ReachHealed(ctx, healed)
	if err != nil {
		return ctx.Err() // the update says it better
	}
	missing, err := check.Missing(ctx, config, objects)
	if err != nil || len(missing) == 0 {
		return ctx.Err() // where the cluster does not answer, the update says it better
	}
	if err := check.AwaitAPIService(ctx, config); err != nil {
		return err
	}
	urns, names := named(missing)
	line.Say("gone from the cluster, and made again: " + names)
	return st.Refresh(ctx, urns)
}

// named are the URNs of objects, and what they are called, on one line.
func named(objects []check.Object) (urns []string, line string) {
	var names []string
	for _, o := range objects {
		urns, names = append(urns, o.URN), append(names, o.Kind+" "+o.Name)
	}
	return urns, strings.Join(names, ", ")
}

// objectsTimeout is how long the pods of a cluster that was stopped may take.
const objectsTimeout = 3 * time.Minute

// awaitObjects returns once all objects are ready. On kind a Service is as ready as
// it gets: nothing gives a load balancer an address there, which the program says.
func awaitObjects(ctx context.Context, st *stack.Stack, config *rest.Config, objects []check.Object, line *progress.Line) error {
	line.Phase("waiting for the pods to come back")
	if st.OnKind() {
		objects = slices.DeleteFunc(slices.Clone(objects), func(o check.Object) bool { return o.Kind == "Service" })
	}
	var not []string
	err := wait.PollUntilContextTimeout(ctx, 2*time.Second, objectsTimeout, true, func(ctx context.Context) (bool, error) {
		var err error
		if _, not, err = check.Ready(ctx, config, objects); err != nil {
			not = []string{err.Error()} // the API server may be slow to come back
		}
		if len(not) > 0 {
			line.Detail(not[0])
		}
		return len(not) == 0, nil
	})
	if err != nil && ctx.Err() == nil && len(not) > 0 {
		return errors.New("after " + objectsTimeout.String() + " this is not ready: " + strings.Join(not, "; "))
	}
	return err
}

func showUp(s *session, rows []row) {
	fmt.Fprintln(s.out)
	if len(rows) == 1 && rows[0].Outcome == ok {
		showLab(s, rows[0])
		return
	}
	table := [][]string{{"STUDENT", "STACK", "RESULT", "TOOK", "CHANGES", "APP URL"}}
	for _, r := range rows {
		table = append(table, []string{r.Student, r.Stack, string(r.Outcome), seconds(r.Seconds), changed(r.Changes), cmp.Or(r.Outputs[lab.OutAppURL], "-")})
	}
	printTable(s.out, table)
}

// showLab is for the student whose lab it is.
func showLab(s *session, r row) {
	if s.stacks[0].Platform() {
		fmt.Fprintf(s.out, "The class's platform %s is up (%s).\n", r.Stack, changed(r.Changes))
		if forward := r.Outputs[lab.OutGrafanaPortForward]; forward != "" {
			printTable(s.out, [][]string{
				{"  Grafana, by port-forward", forward},
				{"  its user admin's password", "pulumi stack output " + lab.OutGrafanaPassword + " --show-secrets"},
			})
		}
		fmt.Fprintln(s.out, "next:")
		printTable(s.out, [][]string{
			{"  " + shell.Here.Class() + " up --roster FILE", "with --config mode=shared-student, and the same kubeContext: the students"},
			{"  " + call("destroy", r.Stack), "removes it, once no student is left"},
		})
		return
	}
	fmt.Fprintf(s.out, "The lab %s is up (%s).\n", r.Stack, changed(r.Changes))
	var table [][]string
	for _, o := range []struct{ name, what string }{
		{lab.OutAppURL, "app"},
		{lab.OutAppPortForward, "app, by port-forward"},
		{lab.OutAppProxyPath, "app, behind `kubectl proxy`"},
		{lab.OutPrometheusPortForward, "Prometheus, by port-forward"},
		{lab.OutGrafanaPortForward, "Grafana, by port-forward"},
	} {
		if v := r.Outputs[o.name]; v != "" {
			table = append(table, []string{"  " + o.what, v})
		}
	}
	printTable(s.out, table)
	fmt.Fprintln(s.out, "next:")
	printTable(s.out, [][]string{
		{"  " + call("kubeconfig", r.Stack), "writes a kubeconfig for kubectl"},
		{"  " + call("check", r.Stack), "asks the course's own questions"},
		{"  " + call("destroy", r.Stack), "removes it all"},
	})
}
