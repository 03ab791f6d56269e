package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"

	"k8sbootcamp/cmd/class/internal/preflight"
	"k8sbootcamp/cmd/class/internal/stack"
	"k8sbootcamp/internal/check"
	"k8sbootcamp/internal/lesson"
	"k8sbootcamp/internal/printable"
)

// outcome is how a verb ended for a stack.
type outcome string

const (
	ok          outcome = "ok"
	failed      outcome = "failed"
	interrupted outcome = "interrupted" // begun, and cancelled by the user
	notStarted  outcome = "not started" // cancelled before its turn came
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
	Images   *imagesReport       `json:"images,omitempty"`
}

// row is what there is to say about one stack.
type row struct {
	Stack   string            `json:"stack"`
	Student string            `json:"student"`
	Outcome outcome           `json:"outcome"`
	Seconds float64           `json:"seconds"`
	Cause   string            `json:"cause,omitempty"`
	Detail  string            `json:"detail,omitempty"`
	Changes *stack.Changes    `json:"changes,omitempty"`
	Outputs map[string]string `json:"outputs,omitempty"`
	Status  *status           `json:"status,omitempty"`
	Checks  []answer          `json:"checks,omitempty"` // Report and Network, in the language asked for
	Report  *lesson.Report    `json:"-"`
	Network *check.Result     `json:"-"` // of a shared cluster, asked of the administrator
	Reset   *wasReset         `json:"reset,omitempty"`
	Kept    []string          `json:"kept,omitempty"`
	File    string            `json:"file,omitempty"`
}

// fail notes why the verb failed.
func (r *row) fail(err error) {
	r.Cause = printable.Line(err.Error(), 500)
	var e *stack.Error
	if errors.As(err, &e) && e.Detail != e.Cause {
		r.Detail = e.Detail
	}
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
    changes  up, preview, reset, destroy: {summary: {operation: resources},
             steps: [{op, type, name, keys}]}
    outputs  up: the stack's outputs but the kubeconfig
    status   status: {made, cluster, ready, total, notReady, appURL,
             lastChange: {kind, result, time}, problem}
    checks   check: [{id, chapter, points, question, state, ok, hint, look, detail}];
             state is "ok", "failed", "open" (not begun), "starting", "later"
             (another check comes first) or "skipped" (not to be seen)
    reset    reset: {did: what was put right, in words,
             foreign: what did not belong there [{object, created, removed}]}
    kept     destroy: what stays, and why
    file     kubeconfig: where it was written
  }]
  images     {
    images     images list: [{image, registry, parts, pulls, byHost, byNodes}]
    registries images list: [{registry, each, laptops, pulls, limit, account}]
    file       images save: what was written, and its size in bytes
    loaded     images load: the images that Docker had not; installed: the programs;
               lacking: the images that the lab here needs and that are not there
  }`

func (s *session) printJSON(d document) error {
	d.Verb = strings.TrimPrefix(s.cmd.CommandPath(), s.cmd.Root().Name()+" ")
	if d.Stacks == nil {
		d.Stacks = []row{}
	}
	lang, err := s.language()
	if err != nil {
		return err
	}
	for i := range d.Stacks {
		d.Stacks[i].Checks = d.Stacks[i].answers(lang)
	}
	enc := json.NewEncoder(s.out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(d)
}

// printFailures names what failed, why, and how to try again.
func (s *session) printFailures(rows []row, retry string) {
	if retry == "" {
		return
	}
	fmt.Fprintln(s.out)
	for _, r := range rows {
		switch r.Outcome {
		case failed:
			fmt.Fprintf(s.out, "%s FAILED: %s\n", r.Stack, r.Cause)
			if len(rows) == 1 && r.Detail != "" {
				fmt.Fprintln(s.out, "  "+strings.ReplaceAll(strings.TrimSpace(r.Detail), "\n", "\n  "))
			}
		case interrupted, notStarted:
			fmt.Fprintf(s.out, "%s %s\n", r.Stack, r.Outcome)
		}
	}
	fmt.Fprintf(s.out, "\nto try again what is missing:\n  %s\n", retry)
}

// printTable prints columns that are as wide as their widest cell. Widths are those
// of a terminal, where a Japanese name takes two places a character (which
// text/tabwriter does not know).
func printTable(w io.Writer, rows [][]string) {
	var widths []int
	for _, r := range rows {
		for i, cell := range r {
			indent := len(cell) - len(strings.TrimLeft(cell, " "))
			r[i] = cell[:indent] + printable.Line(cell, 500)
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], runewidth.StringWidth(r[i]))
		}
	}
	for _, r := range rows {
		var line strings.Builder
		for i, cell := range r {
			line.WriteString(runewidth.FillRight(cell, widths[i]+2))
		}
		fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
}

// changed is a summary of what was done, such as "3 created, 1 updated".
func changed(c *stack.Changes) string {
	return summary(c, func(n int, op string) string { return fmt.Sprintf("%d %s", n, cmp.Or(done[op], op)) })
}

// done are the engine's operations once they are done.
var done = map[string]string{
	"create": "created", "update": "updated", "delete": "deleted", "replace": "replaced", "import": "imported", "refresh": "refreshed",
}

// planned is a summary of what would be done, such as "3 to create, 1 to update".
func planned(c *stack.Changes) string {
	return summary(c, func(n int, op string) string { return fmt.Sprintf("%d to %s", n, op) })
}

// summary lists the engine's operations (create, update, delete, replace, ...).
func summary(c *stack.Changes, word func(n int, op string) string) string {
	if c == nil {
		return "-"
	}
	var parts []string
	for _, op := range slices.Sorted(maps.Keys(c.Summary)) {
		if op != "same" && c.Summary[op] > 0 {
			parts = append(parts, word(c.Summary[op], op))
		}
	}
	if len(parts) == 0 {
		return "no change"
	}
	return strings.Join(parts, ", ")
}

func seconds(s float64) string {
	return (time.Duration(s * float64(time.Second))).Round(time.Second).String()
}
