package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"k8sbootcamp/cmd/class/internal/progress"
	"k8sbootcamp/cmd/class/internal/stack"
	"k8sbootcamp/components/lab"
	"k8sbootcamp/internal/check"
	"k8sbootcamp/internal/printable"
)

func (t *tool) checkCommand() *cobra.Command {
	c := &cobra.Command{Use: "check", Short: "Ask the course's own acceptance questions of a running lab"}
	disrupt := c.Flags().Bool("disrupt", false, "also delete a pod and see it come back")
	return t.command(c, verb{done: "no check failed", show: showChecks,
		work: func(ctx context.Context, _ *session, st *stack.Stack, line *progress.Line, r *row) error {
			return checkLab(ctx, st, *disrupt, line, r)
		}})
}

// answer is one question of the course, and what was seen.
type answer struct {
	Question string  `json:"question"`
	OK       bool    `json:"ok"`
	Warning  bool    `json:"warning"` // it is ok, and yet something should be better
	Detail   string  `json:"detail"`
	Seconds  float64 `json:"seconds"`
}

// checkLab asks with the kubeconfig that the student has and, of a shared cluster's
// network, with the administrator's.
func checkLab(ctx context.Context, st *stack.Stack, disrupt bool, line *progress.Line, r *row) error {
	line.Phase("asking")
	outputs, kubeconfig, err := studentOutputs(ctx, st, false)
	if err != nil {
		return err
	}
	_, onShared := st.Access()
	results := check.Run(ctx, check.Options{
		Kubeconfig: kubeconfig,
		Context:    outputs[lab.OutContext],
		Namespace:  outputs[lab.OutNamespace],
		Monitoring: outputs[lab.OutPrometheusPortForward] != "",
		Disrupt:    disrupt,

		PodMonitoring: lab.Has(outputs, lab.PodMonitoring),
		Shared:        onShared,
	})
	if onShared && ctx.Err() == nil {
		line.Phase("trying the network")
		results = append(results, st.AskNetwork(ctx, outputs[lab.OutNamespace]))
	}
	for _, result := range results {
		r.Checks = append(r.Checks, answer{result.Question, result.OK, result.Warning, result.Detail, result.Took.Seconds()})
	}
	if wrong := len(check.Failed(results)); wrong > 0 && ctx.Err() == nil {
		return fmt.Errorf("%d of %s failed", wrong, printable.Count(len(r.Checks), "check"))
	}
	return ctx.Err()
}

// errNotUp is the error of a verb that needs a lab that is up.
var errNotUp = errors.New("it is not up; run `class up` first")

// studentOutputs are the outputs of a lab that is up, and the student's kubeconfig,
// whose token has not ended, and is new where it is to be renewed. The class's
// platform has no student's lab.
func studentOutputs(ctx context.Context, st *stack.Stack, renew bool) (outputs map[string]string, kubeconfig []byte, err error) {
	if st.Platform() {
		return nil, nil, errors.New("this stack is the class's platform (mode=shared-platform), which has no student's lab; name a student's stack")
	}
	state, err := st.State(ctx)
	if err != nil {
		return nil, nil, err
	}
	if state == nil {
		return nil, nil, errNotUp
	}
	if outputs, err = st.Outputs(ctx); err != nil {
		return nil, nil, err
	}
	if strings.TrimSpace(outputs[lab.OutKubeconfig]) == "" {
		return nil, nil, errNotUp
	}
	kubeconfig, err = st.Kubeconfig(ctx, state, outputs, renew)
	return outputs, kubeconfig, err
}

func showChecks(s *session, rows []row) {
	for _, r := range rows {
		if len(r.Checks) == 0 {
			continue
		}
		fmt.Fprintf(s.out, "\n%s\n", r.Stack)
		var table [][]string
		for _, c := range r.Checks {
			word := "ok"
			switch {
			case !c.OK:
				word = "FAILED"
			case c.Warning:
				word = "warning"
			}
			table = append(table, []string{"  " + word, c.Question, c.Detail})
		}
		printTable(s.out, table)
	}
}
