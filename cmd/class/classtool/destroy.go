package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"k8sbootcamp/cmd/class/internal/kubeconfig"
	"k8sbootcamp/cmd/class/internal/progress"
	"k8sbootcamp/cmd/class/internal/shell"
	"k8sbootcamp/cmd/class/internal/stack"
	"k8sbootcamp/components/lab"
	"k8sbootcamp/internal/kindcluster"
	"k8sbootcamp/internal/printable"
)

func (t *tool) destroyCommand() *cobra.Command {
	c := &cobra.Command{Use: "destroy", Short: "Remove the labs, and prove it"}
	remove := c.Flags().Bool("remove", false, "also remove the stack, its state, and the configuration file if this tool made it")
	forget := c.Flags().Bool("forget", false, "the shared cluster is gone for good: forget what the stacks had there (refused while it answers)")
	yes := c.Flags().BoolP("yes", "y", false, "do not ask")
	c.PreRunE = func(*cobra.Command, []string) error {
		if !*yes && !terminal(t.in) {
			return errors.New("destroy asks before it removes anything, and this is no terminal; say --yes")
		}
		return nil
	}
	return t.command(c, verb{
		done: "removed", show: showDestroyed,
		confirm: func(ctx context.Context, s *session) (bool, error) {
			if *yes {
				return true, nil
			}
			return confirm(ctx, s, *remove, *forget)
		},
		work: func(ctx context.Context, _ *session, st *stack.Stack, line *progress.Line, r *row) error {
			return destroy(ctx, st, *remove, *forget, line, r)
		},
		end: func(_ context.Context, s *session, _ []row) error {
			if !*remove {
				return nil
			}
			return removeState(s)
		},
	})
}

// confirm asks on the terminal.
func confirm(ctx context.Context, s *session, remove, forget bool) (bool, error) {
	names := make([]string, len(s.stacks))
	for i, st := range s.stacks {
		names[i] = st.Name
	}
	what := "the lab"
	if remove {
		what = "the lab and the stack"
	}
	do := "Remove"
	if forget {
		do = "Forget, and remove nothing on the cluster,"
	}
	yes, err := answered(ctx, s, fmt.Sprintf("%s %s of %s?", do, what, strings.Join(names, ", ")))
	if err == nil && !yes {
		fmt.Fprintln(s.err, "nothing was removed")
	}
	return yes, err
}

// answered asks a question on the terminal that is answered with yes or no.
func answered(ctx context.Context, s *session, question string) (yes bool, err error) {
	fmt.Fprint(s.err, question+" [y/N] ")
	answers := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(s.in).ReadString('\n')
		answers <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case <-ctx.Done():
		return false, ctx.Err()
	case answer := <-answers:
		return answer == "y" || answer == "yes", nil
	}
}

// destroy removes the lab and proves it; with remove the stack too. What is left
// and is not the stack's is named; what is left and should not be is an error.
func destroy(ctx context.Context, st *stack.Stack, remove, forget bool, line *progress.Line, r *row) error {
	state, err := readState(ctx, st, line)
	if err != nil {
		return err
	}
	var claim string
	var outputs map[string]string
	if state != nil {
		if state.Pending > 0 {
			if err := st.ClearPending(ctx); err != nil { // what they made goes with the cluster, or by the claim
				return err
			}
		}
		claim = state.Claim
		// To read them takes the CLI a second. The configuration may be of another mode by now.
		name, file := kindcluster.Name(st.Name), st.Project.Kubeconfig(st.Name)
		if kubeconfig.Known(name, file) || kubeconfig.Known(kindcluster.Context(name), file) {
			if outputs, err = st.Outputs(ctx); err != nil {
				return err
			}
		}
		if forget {
			line.Phase("asking for the cluster")
			forgotten, err := st.Forget(ctx, state)
			if err != nil {
				return err
			}
			r.Kept = append(r.Kept, forgotten)
		} else {
			line.Phase("comparing")
			if r.Changes, err = st.Destroy(ctx, line); err != nil {
				return err
			}
		}
		left, err := st.State(ctx)
		if err != nil {
			return err
		}
		if left.Resources > 0 {
			return fmt.Errorf("the stack still has %s after its destroy", printable.Count(left.Resources, "resource"))
		}
	}

	line.Phase("looking for what is left")
	if st.OnKind() {
		foreign, err := st.Sweep(ctx, claim)
		if err != nil {
			return err
		}
		if len(foreign) > 0 {
			name := kindcluster.Name(st.Name)
			r.Kept = append(r.Kept, fmt.Sprintf("kind cluster %s (%s): belongs to another stack; left alone. If nobody needs it: %s kind delete cluster --name %s",
				name, strings.Join(foreign, " "), shell.Here.Class(), name))
		}
	}
	entry, err := kubeconfig.Read([]byte(outputs[lab.OutKubeconfig]))
	if err != nil { // an up that was cut off had no outputs; a lab's context has the cluster's name all the same
		entry = kubeconfig.Entry{Name: st.Context()}
	}
	if _, err := entry.Remove(st.Project.Kubeconfig(st.Name)); err != nil {
		r.Kept = append(r.Kept, err.Error())
	}
	if !remove || state == nil {
		return nil
	}
	line.Phase("removing the stack")
	files, err := st.Remove(ctx)
	r.Kept = append(r.Kept, files...)
	return err
}

// removeState removes the tool's own state once no stack is left in it.
func removeState(s *session) error {
	project := s.tools.Project
	if !project.OwnState {
		return nil
	}
	left, err := project.State.Stacks()
	if err != nil || len(left) > 0 {
		return err
	}
	secrets, err := stack.KeepsSecrets(project.Dir)
	if err != nil {
		return err
	}
	return project.RemoveOwn(secrets)
}

func showDestroyed(s *session, rows []row) {
	table := [][]string{{"STUDENT", "STACK", "RESULT", "TOOK"}}
	var kept []string
	for _, r := range rows {
		word := string(r.Outcome)
		if r.Outcome == ok {
			word = "nothing left"
			if len(r.Kept) > 0 {
				word = "removed"
			}
		}
		table = append(table, []string{r.Student, r.Stack, word, seconds(r.Seconds)})
		for _, k := range r.Kept {
			kept = append(kept, r.Stack+": stays: "+k)
		}
	}
	fmt.Fprintln(s.out)
	printTable(s.out, table)
	for _, k := range kept {
		fmt.Fprintln(s.out, printable.Line(k, 500))
	}
}
