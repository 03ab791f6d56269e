package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"k8sbootcamp/cmd/class/internal/progress"
	"k8sbootcamp/cmd/class/internal/stack"
	"k8sbootcamp/internal/printable"
)

func (t *tool) previewCommand() *cobra.Command {
	c := &cobra.Command{Use: "preview", Short: "Tell what up would do; nothing is changed, not even a file"}
	t.configFlags(c)
	return t.command(c, verb{valid: true, done: "previewed", work: preview, show: showPreview})
}

// preview tells what up would do.
func preview(ctx context.Context, _ *session, st *stack.Stack, line *progress.Line, r *row) error {
	line.Phase("reading the state")
	state, err := st.State(ctx)
	if err != nil {
		return err
	}
	var replace []string
	if state != nil {
		now, err := st.Inspect(ctx, state.Cluster)
		if err != nil {
			return err
		}
		switch now.Health {
		case stack.Gone, stack.Partial:
			line.Say("cluster " + state.Cluster.Name + " is " + string(now.Health) + "; an up rebuilds it")
			replace = state.Cluster.Anew()
		case stack.Stopped:
			line.Say("cluster " + state.Cluster.Name + " is stopped; an up starts it")
		case stack.Failing:
			line.Say(printable.Line(now.Why.Error(), 300) + "; an up repairs it")
		}
	}
	line.Phase("comparing")
	r.Changes, err = st.Preview(ctx, replace, line)
	return err
}

func showPreview(s *session, rows []row) {
	for _, r := range rows {
		if r.Outcome != ok {
			continue
		}
		fmt.Fprintf(s.out, "\n%s: %s\n", r.Stack, planned(r.Changes))
		var table [][]string
		for _, step := range r.Changes.Steps {
			table = append(table, []string{"  " + step.Op, progress.ShortType(step.Type), step.Name, strings.Join(step.Keys, ", ")})
		}
		printTable(s.out, table)
	}
}
