package stack

import (
	"github.com/pulumi/pulumi/sdk/v3/go/auto/events"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"

	"k8sbootcamp/cmd/class/internal/progress"
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

// watcher reads the engine's events: it keeps what a result needs, and shows all of
// them on a line.
type watcher struct {
	events      chan events.EngineEvent
	done, ended chan struct{}
	changes     Changes
	failures    []failure
	outputs     map[string]any // the stack's, secret ones covered; nil while there are none
}

// failure is an error that the engine reports, of a resource or of none.
type failure struct {
	resource resource.URN
	message  string
}

// watch begins to read; a nil line shows nothing.
func watch(line *progress.Line) *watcher {
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
				if line != nil {
					line.Event(e)
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
		switch m.Op {
		// A replacement comes in three steps; the one without effect says it all. To
		// read is no change.
		case apitype.OpSame, apitype.OpRead, apitype.OpCreateReplacement, apitype.OpDeleteReplaced:
			return
		}
		if m.Type != string(resource.RootStackType) {
			w.changes.Steps = append(w.changes.Steps, Step{Op: string(m.Op), Type: m.Type, Name: resource.URN(m.URN).Name(), Keys: m.Diffs})
		}
	case e.ResOutputsEvent != nil:
		if m := e.ResOutputsEvent.Metadata; m.Type == string(resource.RootStackType) && m.New != nil {
			w.outputs = m.New.Outputs
		}
	case e.SummaryEvent != nil:
		w.changes.Summary = map[string]int{}
		for op, n := range e.SummaryEvent.ResourceChanges {
			w.changes.Summary[string(op)] = n
		}
	case e.DiagnosticEvent != nil && e.DiagnosticEvent.Severity == "error":
		switch message := progress.Plain(e.DiagnosticEvent.Message); message {
		case "", "update failed", "preview failed", "destroy failed":
			// The engine's own word that something failed follows each real error.
		default:
			f := failure{message: message}
			if urn := resource.URN(e.DiagnosticEvent.URN); urn.IsValid() && urn.Type() != resource.RootStackType {
				f.resource = urn
			}
			w.failures = append(w.failures, f)
		}
	}
}
