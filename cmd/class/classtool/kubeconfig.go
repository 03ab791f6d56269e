package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"k8sbootcamp/cmd/class/internal/kubeconfig"
	"k8sbootcamp/cmd/class/internal/progress"
	"k8sbootcamp/cmd/class/internal/shell"
	"k8sbootcamp/cmd/class/internal/stack"
	"k8sbootcamp/components/lab"
)

func (t *tool) kubeconfigCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "kubeconfig",
		Short: "Write the lab's kubeconfig (mode 0600), or merge it into yours",
	}
	output := c.Flags().StringP("output", "o", "", "`FILE` to write, - for standard output (default kubeconfig-NAME.yaml in the project's folder)")
	merge := c.Flags().Bool("merge", false, "merge into $KUBECONFIG or ~/.kube/config; all else in it stays")
	renew := c.Flags().Bool("renew", false, "on a shared cluster: with a new token, also where the last one has most of its life left")
	c.MarkFlagsMutuallyExclusive("output", "merge")
	c.PreRunE = func(*cobra.Command, []string) error {
		switch {
		case t.roster != "" && *output != "":
			return errors.New("--output is for one stack; with --roster each gets its own kubeconfig-NAME.yaml")
		case *output == "-" && t.json:
			return errors.New("--output - and --json both want standard output; take one")
		}
		return nil
	}
	return t.command(c, verb{
		quiet: true, done: "written",
		work: func(ctx context.Context, s *session, st *stack.Stack, _ *progress.Line, r *row) error {
			return writeKubeconfig(ctx, s, st, *output, *merge, *renew, r)
		},
		show: func(s *session, rows []row) { showKubeconfigs(s, rows, *merge) },
	})
}

// writeKubeconfig hands the lab's kubeconfig out.
func writeKubeconfig(ctx context.Context, s *session, st *stack.Stack, output string, merge, renew bool, r *row) error {
	outputs, content, err := studentOutputs(ctx, st, renew)
	if err != nil {
		return err
	}
	r.Outputs = map[string]string{lab.OutContext: outputs[lab.OutContext]}
	switch {
	case output == "-":
		_, err = s.out.Write(content)
		return err
	case merge:
		r.File, err = kubeconfig.Merge(content)
		return err
	case output == "":
		r.File = st.Project.Kubeconfig(st.Name)
	default:
		if r.File, err = filepath.Abs(output); err != nil {
			return err
		}
	}
	return kubeconfig.Write(r.File, content)
}

func showKubeconfigs(s *session, rows []row, merge bool) {
	for _, r := range rows {
		switch {
		case r.Outcome != ok || r.File == "":
		case merge:
			fmt.Fprintf(s.out, "merged into %s; use it with: kubectl --context %s get nodes\n", r.File, shell.Here.Quote(r.Outputs[lab.OutContext]))
		default:
			fmt.Fprintf(s.out, "wrote %s; use it with: kubectl --kubeconfig %s get nodes\n", r.File, shell.Here.Quote(r.File))
		}
	}
}
