package progress

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/auto/events"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
	"github.com/pulumi/pulumi/sdk/v3/go/common/diag/colors"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"

	"k8sbootcamp/components/images"
	"k8sbootcamp/components/kind"
	"k8sbootcamp/components/shared"
	"k8sbootcamp/components/tool"
	"k8sbootcamp/internal/printable"
)

// tracker makes phases of the engine's events: what Pulumi works on right now,
// and which resource it waits for the longest.
type tracker struct {
	open []operation // in the order they began
}

type operation struct {
	urn  resource.URN
	verb string
}

var verbs = map[apitype.OpType]string{
	apitype.OpCreate:            "creating",
	apitype.OpCreateReplacement: "creating",
	apitype.OpUpdate:            "updating",
	apitype.OpDelete:            "deleting",
	apitype.OpDeleteReplaced:    "deleting",
	apitype.OpRefresh:           "reading",
	apitype.OpRead:              "reading",
}

// doing is what commands do that are neither of the cluster nor of the lab's objects, by
// their names. Their delete does nothing.
var doing = map[string]struct{ verb, what string }{
	tool.TakeOverName: {"looking for", "what was made by hand"},
	kind.PrepareName:  {"pulling", "the images"}, // the nodes'
	images.PullName:   {"pulling", "the images"},
	images.LoadName:   {"loading", "the images into the nodes"},
}

// Event takes one event of the engine. Calls must not overlap.
func (l *Line) Event(e events.EngineEvent) {
	t := &l.events
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
		urn := resource.URN(m.URN)
		mark := urn.Name() == kind.ClaimName && strings.HasPrefix(string(urn.QualifiedType()), kind.Type)
		if _, undone := doing[urn.Name()]; mark && verb == "creating" || undone && verb == "deleting" { // nor do these
			return
		}
		t.open = append(t.open, operation{urn, verb})
		l.show()
	case e.ResOutputsEvent != nil:
		l.ended(e.ResOutputsEvent.Metadata)
	case e.ResOpFailedEvent != nil:
		l.ended(e.ResOpFailedEvent.Metadata)
	case e.ProgressEvent != nil && !e.ProgressEvent.Done:
		p := e.ProgressEvent
		l.Phase("installing Pulumi's plugins")
		detail := p.Message
		if p.Total > 0 {
			detail += fmt.Sprintf(" %d%%", p.Completed*100/p.Total)
		}
		l.Detail(detail)
	case e.DiagnosticEvent != nil:
		l.diagnostic(e.DiagnosticEvent)
	}
}

func (l *Line) ended(m apitype.StepEventMetadata) {
	t := &l.events
	for i, o := range t.open {
		if o.urn == resource.URN(m.URN) && o.verb == verbs[m.Op] {
			t.open = append(t.open[:i], t.open[i+1:]...)
			l.show()
			return
		}
	}
}

// longest is the operation that is waited for the longest. Images are pulled beside the
// cluster, which is what everything waits for.
func (t *tracker) longest() (operation, bool) {
	for _, o := range t.open {
		if o.urn.Name() != images.PullName {
			return o, true
		}
	}
	if len(t.open) == 0 {
		return operation{}, false
	}
	return t.open[0], true
}

// show names the operation that takes the longest. Between two operations the last
// phase stays.
func (l *Line) show() {
	now, any := l.events.longest()
	if !any {
		l.Detail("")
		return
	}
	verb, what := now.verb, "the lab's objects"
	if strings.HasPrefix(string(now.urn.Type()), "command:") {
		does, ofOthers := doing[now.urn.Name()]
		switch parents := string(now.urn.QualifiedType()); {
		case ofOthers:
			verb, what = does.verb, does.what
		case strings.HasPrefix(parents, shared.PlaceType):
			what = "the place on the cluster"
		case strings.HasPrefix(parents, shared.StudentType):
			what = "the student's access"
		case strings.HasPrefix(parents, kind.Type):
			what = "the cluster"
		}
	}
	l.Phase(verb + " " + what)
	detail := Short(now.urn)
	if more := len(l.events.open) - 1; more > 0 {
		detail += fmt.Sprintf(" and %d more", more)
	}
	l.Detail(detail)
}

func (l *Line) diagnostic(d *apitype.DiagnosticEvent) {
	message := Plain(d.Message)
	if message == "" {
		return
	}
	switch d.Severity {
	case "warning":
		l.warn(strings.TrimPrefix(message, "warning: "))
	case "info", "info#err":
		name := resource.URN(d.URN).Name()
		if name == images.PullName { // what is wrong with it shows later, if at all
			for line := range strings.Lines(message) {
				if text, warns := strings.CutPrefix(line, "warning: "); warns {
					l.warn(text)
				}
			}
		}
		// What stands in the way of a destroy, and what is taken from a student's hands, is
		// to be read by everybody.
		if name == shared.LeaveName || name == tool.TakeOverName {
			for line := range strings.Lines(message) {
				l.Say(printable.Line(strings.TrimSpace(line), longest))
			}
			return
		}
		// What a resource says while it is worked on: kind's own steps, or which pods
		// a Deployment still waits for.
		if now, any := l.events.longest(); any && resource.URN(d.URN) == now.urn {
			line := message[strings.LastIndexByte(message, '\n')+1:]
			if _, brings := doing[name]; !brings { // whose lines name what they are about
				line = Short(now.urn) + ": " + line
			}
			l.Detail(line)
		}
	}
}

// suffixRE are the parts of pods' names that Kubernetes makes up.
var suffixRE = regexp.MustCompile(`-[0-9a-f]{8,10}-[0-9a-z]{5}\b|-[0-9a-z]{5}\b`)

// warn says a warning once; of those that differ by a pod's name alone, and of
// those that come again and again, End tells how many there were.
func (l *Line) warn(text string) {
	text = printable.Line(text, longest)
	same := suffixRE.ReplaceAllString(text, "-*")
	l.mu.Lock()
	l.said[same]++
	first := l.said[same] == 1
	l.mu.Unlock()
	if first {
		l.Say("warning: " + text)
	}
}

// Plain is a message of the engine without its colour tags.
func Plain(message string) string { return strings.TrimSpace(colors.Never.Colorize(message)) }

// ShortType is the last part of a type token, such as Deployment.
func ShortType(token string) string { return token[strings.LastIndex(token, ":")+1:] }

// Short names a resource by its type and name, such as Deployment bootcamp.
func Short(urn resource.URN) string { return ShortType(string(urn.Type())) + " " + urn.Name() }
