package stack

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/auto/events"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
	"github.com/pulumi/pulumi/sdk/v3/go/common/diag/colors"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
)

// Changes are what an operation did, or would do.
type Changes struct {
	Summary map[string]int `json:"summary,omitempty"` // resources by operation
	Steps   []Step         `json:"steps,omitempty"`   // but for those that stay the same
}

// Step is one operation on one resource.
type Step struct {
	Op   string   `json:"op"`
	Type string   `json:"type"`
	Name string   `json:"name"`
	Keys []string `json:"keys,omitempty"` // properties that differ
}

// Empty tells whether nothing changes.
func (c *Changes) Empty() bool { return len(c.Steps) == 0 }

// Error is the failure of an operation. Its text is one line.
type Error struct {
	Cause  string // one line, the first thing that went wrong
	Detail string // all that was said, some lines
	err    error
}

func (e *Error) Error() string { return e.Cause }

func (e *Error) Unwrap() error { return e.err }

// watcher reads the engine's events: it keeps what a result needs and hands
// all of them on.
type watcher struct {
	events      chan events.EngineEvent
	done, ended chan struct{}
	changes     Changes
	diagnostics diagnostics
}

func newWatcher(on Watch) *watcher {
	w := &watcher{events: make(chan events.EngineEvent), done: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(w.ended)
		for {
			select {
			case e, ok := <-w.events:
				if !ok {
					return
				}
				w.note(e)
				if on != nil {
					on(e)
				}
			case <-w.done: // the CLI ended without ever sending an event
				return
			}
		}
	}()
	return w
}

// stop ends the reading, once the operation has ended.
func (w *watcher) stop() {
	close(w.done)
	<-w.ended
}

func (w *watcher) note(e events.EngineEvent) {
	switch {
	case e.ResourcePreEvent != nil:
		m := e.ResourcePreEvent.Metadata
		// A replacement comes in three steps; the one without effect says it all. To
		// read is no change.
		if m.Op == apitype.OpSame || m.Op == apitype.OpRead || m.Op == apitype.OpCreateReplacement || m.Op == apitype.OpDeleteReplaced || m.Type == string(resource.RootStackType) {
			return
		}
		w.changes.Steps = append(w.changes.Steps, Step{Op: string(m.Op), Type: m.Type, Name: resource.URN(m.URN).Name(), Keys: m.Diffs})
	case e.SummaryEvent != nil:
		w.changes.Summary = map[string]int{}
		for op, n := range e.SummaryEvent.ResourceChanges {
			w.changes.Summary[string(op)] = n
		}
	case e.DiagnosticEvent != nil && e.DiagnosticEvent.Severity == "error":
		w.diagnostics.add(e.DiagnosticEvent)
	}
}

// diagnostics are the errors that the engine reports, in order.
type diagnostics []diagnostic

type diagnostic struct{ resource, message string }

func (d *diagnostics) add(e *apitype.DiagnosticEvent) {
	message := strings.TrimSpace(Plain(e.Message))
	// The engine's own word that something failed follows each real error.
	if message == "" || message == "update failed" || message == "preview failed" || message == "destroy failed" {
		return
	}
	name := ""
	if urn := resource.URN(e.URN); urn.IsValid() && urn.Type() != resource.RootStackType {
		name = ShortType(string(urn.Type())) + " " + urn.Name()
	}
	*d = append(*d, diagnostic{name, message})
}

// Plain removes the engine's colour tags.
func Plain(message string) string { return colors.Never.Colorize(message) }

// ShortType is the last part of a type token, such as Deployment.
func ShortType(token string) string { return token[strings.LastIndex(token, ":")+1:] }

// explain makes an *Error of a failed operation.
func (s *Stack) explain(what string, d *diagnostics, err error) error {
	if err == nil {
		return nil
	}
	e := &Error{err: err}
	if d != nil {
		var all []string
		for _, one := range *d {
			line := cause(one.message)
			if one.resource != "" {
				line = one.resource + ": " + line
				one.message = one.resource + ": " + one.message
			}
			if e.Cause == "" {
				e.Cause = line
			}
			all = append(all, one.message)
		}
		e.Detail = strings.Join(all, "\n")
	}
	if said := s.command.LastError(); e.Cause == "" && said != "" {
		e.Cause = fmt.Sprintf("%s: %s", what, cause(said))
		e.Detail = said
	}
	if e.Cause == "" {
		var exec interface{ ExitCode() int }
		if errors.As(err, &exec) {
			e.Cause = fmt.Sprintf("%s ended with exit code %d and no word", what, exec.ExitCode())
		} else {
			e.Cause = fmt.Sprintf("%s: %s", what, cause(err.Error()))
		}
	}
	return e
}

// noise is what commands and the engine put before the real cause.
var noise = regexp.MustCompile(`^(error:|exit status \d+:?( running .*)?$|go: )`)

// several is the head of a list of causes, and bullet begins each of them.
var several = regexp.MustCompile(`\d+ errors? occurred:$`)

const bullet = "* "

const longestCause = 300 // runes

// cause is a message in one line: its first line that says anything, or, of a
// list of causes, as many as fit.
func cause(message string) string {
	best := ""
	list := false
	for line := range strings.Lines(message) {
		line = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "error:"))
		if line == "" || noise.MatchString(line) {
			continue
		}
		if several.MatchString(line) {
			list = true
			continue
		}
		if item, ok := strings.CutPrefix(line, bullet); list && ok {
			if best != "" {
				best += "; "
			}
			best += item
			continue
		}
		if best == "" {
			best = line
		}
		break
	}
	if best == "" {
		best, _, _ = strings.Cut(strings.TrimSpace(message), "\n")
	}
	if r := []rune(best); len(r) > longestCause {
		best = string(r[:longestCause]) + "…"
	}
	return best
}
