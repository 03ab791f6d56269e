package progress

import (
	"fmt"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/auto/events"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
	"github.com/pulumi/pulumi/sdk/v3/go/common/diag/colors"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
)

// Shown is what a Tracker writes to: a Line.
type Shown interface {
	Phase(string)
	Detail(string)
	Say(string)
}

// Tracker makes phases of the engine's events: what Pulumi works on right now,
// and which resource it waits for the longest.
type Tracker struct {
	show Shown
	open []operation // in the order they began
	said map[string]bool
}

type operation struct {
	urn  resource.URN
	verb string
}

// NewTracker returns a tracker that writes to a line.
func NewTracker(show Shown) *Tracker { return &Tracker{show: show, said: map[string]bool{}} }

var verbs = map[apitype.OpType]string{
	apitype.OpCreate:            "creating",
	apitype.OpCreateReplacement: "creating",
	apitype.OpUpdate:            "updating",
	apitype.OpDelete:            "deleting",
	apitype.OpDeleteReplaced:    "deleting",
	apitype.OpRefresh:           "reading",
	apitype.OpRead:              "reading",
}

// Event takes one event. Calls must not overlap.
func (t *Tracker) Event(e events.EngineEvent) {
	switch {
	case e.ResourcePreEvent != nil && e.ResourcePreEvent.Planning, e.ResOutputsEvent != nil && e.ResOutputsEvent.Planning:
		// A preview works on nothing.
	case e.ResourcePreEvent != nil:
		m := e.ResourcePreEvent.Metadata
		verb, counts := verbs[m.Op]
		custom := m.New != nil && m.New.Custom || m.Old != nil && m.Old.Custom
		if !counts || !custom || strings.HasPrefix(m.Type, "pulumi:") { // providers take no time
			return
		}
		t.open = append(t.open, operation{resource.URN(m.URN), verb})
		t.update()
	case e.ResOutputsEvent != nil:
		t.end(e.ResOutputsEvent.Metadata)
	case e.ResOpFailedEvent != nil:
		t.end(e.ResOpFailedEvent.Metadata)
	case e.ProgressEvent != nil && !e.ProgressEvent.Done:
		p := e.ProgressEvent
		t.show.Phase("installing Pulumi's plugins")
		detail := p.Message
		if p.Total > 0 {
			detail += fmt.Sprintf(" %d%%", p.Completed*100/p.Total)
		}
		t.show.Detail(detail)
	case e.DiagnosticEvent != nil:
		t.diagnostic(e.DiagnosticEvent)
	}
}

func (t *Tracker) end(m apitype.StepEventMetadata) {
	for i, o := range t.open {
		if o.urn == resource.URN(m.URN) && o.verb == verbs[m.Op] {
			t.open = append(t.open[:i], t.open[i+1:]...)
			t.update()
			return
		}
	}
}

// update shows the operation that takes the longest. Between two operations
// the last phase stays.
func (t *Tracker) update() {
	if len(t.open) == 0 {
		t.show.Detail("")
		return
	}
	oldest := t.open[0]
	t.show.Phase(oldest.verb + " " + what(oldest.urn))
	detail := short(oldest.urn)
	if more := len(t.open) - 1; more > 0 {
		detail += fmt.Sprintf(" and %d more", more)
	}
	t.show.Detail(detail)
}

func (t *Tracker) diagnostic(d *apitype.DiagnosticEvent) {
	message := strings.TrimSpace(colors.Never.Colorize(d.Message))
	if message == "" {
		return
	}
	switch d.Severity {
	case "warning":
		if !t.said[message] {
			t.said[message] = true
			t.show.Say("warning: " + strings.TrimPrefix(message, "warning: "))
		}
	case "info", "info#err":
		// What a resource says while it is worked on: kind's own steps, or which
		// pods a Deployment still waits for.
		if len(t.open) > 0 && resource.URN(d.URN) == t.open[0].urn {
			line := message[strings.LastIndexByte(message, '\n')+1:]
			t.show.Detail(short(t.open[0].urn) + ": " + strings.TrimSpace(line))
		}
	}
}

// what is the group that a resource belongs to.
func what(urn resource.URN) string {
	if strings.HasPrefix(string(urn.Type()), "command:") {
		return "the cluster"
	}
	return "the lab's objects"
}

func short(urn resource.URN) string {
	kind := string(urn.Type())
	return kind[strings.LastIndex(kind, ":")+1:] + " " + urn.Name()
}
