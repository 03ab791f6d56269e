package main

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"k8sbootcamp/cmd/class/internal/progress"
	"k8sbootcamp/cmd/class/internal/stack"
	"k8sbootcamp/components/lab"
	"k8sbootcamp/internal/check"
	"k8sbootcamp/internal/printable"
)

func (t *tool) statusCommand() *cobra.Command {
	c := &cobra.Command{Use: "status", Short: "Tell how the labs are"}
	return t.command(c, verb{quiet: true, done: "read", work: readStatus, show: showStatus})
}

// status is how one lab is, from its state, its containers and its cluster.
type status struct {
	Made       bool          `json:"made"`               // the stack exists
	Cluster    string        `json:"cluster"`            // in words
	Ready      int           `json:"ready"`              // objects that are there and ready
	Total      int           `json:"total"`              // objects of the state
	NotReady   []string      `json:"notReady,omitempty"` // the others, with the reason
	AppURL     string        `json:"appURL,omitempty"`
	LastChange *stack.Change `json:"lastChange,omitempty"`
	Problem    string        `json:"problem,omitempty"` // why the objects were not asked
}

// readStatus looks at the lab and changes nothing.
func readStatus(ctx context.Context, _ *session, st *stack.Stack, _ *progress.Line, r *row) error {
	state, err := st.State(ctx)
	if err != nil {
		return err
	}
	if state == nil {
		r.Status = &status{Cluster: "not made"}
		return nil
	}
	now := &status{Made: true, Total: len(state.Objects)}
	seen, err := st.Inspect(ctx, state.Cluster)
	if err != nil {
		return err
	}
	now.Cluster = string(seen.Health)
	switch seen.Health {
	case stack.None:
		if len(state.Objects) > 0 {
			now.Cluster = "shared"
		}
	case stack.Alive:
		now.Cluster = fmt.Sprintf("alive (nodes: %d)", len(seen.Nodes))
	case stack.Partial:
		now.Cluster = fmt.Sprintf("partial (nodes: %d of %d)", len(seen.Nodes), state.Cluster.Nodes)
	case stack.Failing:
		now.Problem = seen.Why.Error() + "; " + call("up", st.Name) + " repairs it"
	}
	if now.LastChange, err = st.LastChange(ctx); err != nil {
		return err
	}
	r.Status = now
	if len(state.Objects) == 0 {
		return nil
	}
	outputs, err := st.Outputs(ctx)
	if err != nil {
		return err
	}
	now.AppURL = outputs[lab.OutAppURL]
	if seen.Health != stack.Alive && seen.Health != stack.None {
		return nil
	}
	config, err := st.Reach(outputs)
	if err == nil {
		now.Ready, now.NotReady, err = check.Ready(ctx, config, state.Objects)
	}
	if err != nil {
		now.Problem = err.Error()
	}
	return nil
}

func showStatus(s *session, rows []row) {
	table := [][]string{{"STUDENT", "STACK", "CLUSTER", "READY", "APP URL", "LAST CHANGE"}}
	var notes []string
	for _, r := range rows {
		now := r.Status
		if now == nil {
			table = append(table, []string{r.Student, r.Stack, string(r.Outcome), "-", "-", "-"})
			continue
		}
		last := "-"
		if c := now.LastChange; c != nil {
			last = fmt.Sprintf("%s %s, %s", c.Kind, c.Result, c.Time.Local().Format(time.DateTime))
		}
		table = append(table, []string{r.Student, r.Stack, now.Cluster, fmt.Sprintf("%d/%d", now.Ready, now.Total), cmp.Or(now.AppURL, "-"), last})
		for _, n := range now.NotReady {
			notes = append(notes, r.Stack+": "+n)
		}
		if now.Problem != "" {
			notes = append(notes, r.Stack+": "+now.Problem)
		}
	}
	printTable(s.out, table)
	for _, n := range notes {
		fmt.Fprintln(s.out, printable.Line(n, 500))
	}
}
