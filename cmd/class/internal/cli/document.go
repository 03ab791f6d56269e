package cli

import (
	"encoding/json"

	"k8sbootcamp/cmd/class/internal/preflight"
	"k8sbootcamp/cmd/class/internal/runner"
	"k8sbootcamp/cmd/class/internal/stack"
	"k8sbootcamp/cmd/class/internal/status"
)

// document is what --json prints: one object, on standard output, at the end,
// however the run ended. jsonHelp describes it.
type document struct {
	Verb     string              `json:"verb"`
	ExitCode int                 `json:"exitCode"`
	Error    string              `json:"error,omitempty"`
	Findings []preflight.Finding `json:"findings,omitempty"`
	Stacks   []row               `json:"stacks"`
	Retry    string              `json:"retry,omitempty"`
}

// row is what there is to say about one stack.
type row struct {
	Stack   string            `json:"stack"`
	Student string            `json:"student"`
	Outcome runner.Outcome    `json:"outcome"`
	Seconds float64           `json:"seconds"`
	Cause   string            `json:"cause,omitempty"`
	Detail  string            `json:"detail,omitempty"`
	Changes *stack.Changes    `json:"changes,omitempty"`
	Outputs map[string]string `json:"outputs,omitempty"`
	Status  *status.Status    `json:"status,omitempty"`
	Checks  []answer          `json:"checks,omitempty"`
	Kept    []string          `json:"kept,omitempty"`
	File    string            `json:"file,omitempty"`
}

type answer struct {
	Question string  `json:"question"`
	OK       bool    `json:"ok"`
	Detail   string  `json:"detail"`
	Seconds  float64 `json:"seconds"`
}

const jsonHelp = `With --json, a verb prints one JSON object on standard output when it ends:

  verb       the verb
  exitCode   as the process's: 0 well, 1 failed, 2 nothing was begun, 130 interrupted
  error      why nothing was begun, if so
  findings   what the preflight found: [{check, problem, remedy}]
  retry      the command that tries again what failed
  stacks     [{
    stack, student
    outcome  "ok", "failed", "interrupted" or "not started"
    seconds  how long it took
    cause    a failure in one line; detail: all that was said
    changes  up, preview, destroy: {summary: {operation: resources},
             steps: [{op, type, name, keys}]}
    outputs  up: the stack's outputs but the kubeconfig
    status   status: {made, cluster, ready, total, notReady, appURL,
             lastChange: {kind, result, time}, problem}
    checks   check: [{question, ok, detail, seconds}]
    kept     destroy: what stays, and why
    file     kubeconfig: where it was written
  }]`

func (a *app) printJSON(d *document) error {
	if d.Stacks == nil {
		d.Stacks = []row{}
	}
	enc := json.NewEncoder(a.out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(d)
}
