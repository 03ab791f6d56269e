package progress

import (
	"bytes"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/auto/events"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
	"github.com/stretchr/testify/assert"
)

const (
	cluster    = "urn:pulumi:x::bootcamp::bootcamp:cluster:Kind$command:local:Command::cluster"
	provider   = "urn:pulumi:x::bootcamp::pulumi:providers:kubernetes::cluster"
	deployment = "urn:pulumi:x::bootcamp::bootcamp:echo:Echo$kubernetes:apps/v1:Deployment::bootcamp"
	service    = "urn:pulumi:x::bootcamp::bootcamp:echo:Echo$kubernetes:core/v1:Service::bootcamp"
)

type shown struct{ lines []string }

func (s *shown) Phase(p string)  { s.lines = append(s.lines, "phase "+p) }
func (s *shown) Detail(d string) { s.lines = append(s.lines, "detail "+d) }
func (s *shown) Say(t string)    { s.lines = append(s.lines, "say "+t) }

func meta(op apitype.OpType, urn string) apitype.StepEventMetadata {
	kind := urn[:strings.LastIndex(urn, "::")]
	kind = kind[strings.LastIndexAny(kind, "$")+1:]
	kind = kind[strings.LastIndex(kind, "::")+1:]
	return apitype.StepEventMetadata{Op: op, URN: urn, Type: strings.TrimPrefix(kind, ":"), New: &apitype.StepEventStateMetadata{Custom: true}}
}

func pre(op apitype.OpType, urn string) events.EngineEvent {
	return events.EngineEvent{EngineEvent: apitype.EngineEvent{ResourcePreEvent: &apitype.ResourcePreEvent{Metadata: meta(op, urn)}}}
}

func done(op apitype.OpType, urn string) events.EngineEvent {
	return events.EngineEvent{EngineEvent: apitype.EngineEvent{ResOutputsEvent: &apitype.ResOutputsEvent{Metadata: meta(op, urn)}}}
}

func said(severity, urn, message string) events.EngineEvent {
	return events.EngineEvent{EngineEvent: apitype.EngineEvent{DiagnosticEvent: &apitype.DiagnosticEvent{Severity: severity, URN: urn, Message: message}}}
}

func track(all ...events.EngineEvent) []string {
	s := &shown{}
	t := NewTracker(s)
	for _, e := range all {
		t.Event(e)
	}
	return s.lines
}

func TestTrackerPhases(t *testing.T) {
	assert.Equal(t, []string{
		"phase creating the cluster", "detail Command cluster",
		"detail Command cluster: Preparing nodes",
		"detail ",
		"phase creating the lab's objects", "detail Deployment bootcamp",
		"phase creating the lab's objects", "detail Deployment bootcamp and 1 more",
		"phase creating the lab's objects", "detail Service bootcamp",
		"detail ",
	}, track(
		pre(apitype.OpCreate, cluster),
		said("info", cluster, "Ensuring image\n Preparing nodes"),
		said("info", service, "of another resource"),
		done(apitype.OpCreate, cluster),
		pre(apitype.OpCreate, provider), // takes no time
		done(apitype.OpCreate, provider),
		pre(apitype.OpSame, service), // is no work
		done(apitype.OpSame, service),
		pre(apitype.OpCreate, deployment),
		pre(apitype.OpCreate, service),
		done(apitype.OpCreate, deployment),
		events.EngineEvent{EngineEvent: apitype.EngineEvent{ResOpFailedEvent: &apitype.ResOpFailedEvent{Metadata: meta(apitype.OpCreate, service)}}},
	))
}

func TestTrackerReplacement(t *testing.T) {
	assert.Equal(t, []string{
		"phase deleting the cluster", "detail Command cluster",
		"detail ",
		"phase creating the cluster", "detail Command cluster",
	}, track(
		pre(apitype.OpDeleteReplaced, cluster), done(apitype.OpDeleteReplaced, cluster),
		pre(apitype.OpReplace, cluster), done(apitype.OpReplace, cluster),
		pre(apitype.OpCreateReplacement, cluster),
	))
}

func TestTrackerPreviewWorksOnNothing(t *testing.T) {
	e := pre(apitype.OpCreate, cluster)
	e.ResourcePreEvent.Planning = true
	assert.Empty(t, track(e))
}

func TestTrackerWarnsOnce(t *testing.T) {
	assert.Equal(t, []string{"say warning: no address"}, track(
		said("warning", "", "<{%fg 3%}>warning: <{%reset%}>no address\n"),
		said("warning", "", "warning: no address"),
		said("error", cluster, "is for the summary"),
	))
}

func TestTrackerPluginDownload(t *testing.T) {
	assert.Equal(t, []string{"phase installing Pulumi's plugins", "detail kubernetes 25%"}, track(
		events.EngineEvent{EngineEvent: apitype.EngineEvent{ProgressEvent: &apitype.ProgressEvent{Message: "kubernetes", Completed: 5, Total: 20}}}))
}

func TestPlainLinesOnlyForWhatIsNew(t *testing.T) {
	var out bytes.Buffer
	b := New(&out, false, []string{"a"})
	l := b.Start("a")
	l.Phase("creating the cluster")
	l.Detail("Preparing nodes")
	l.Phase("creating the cluster")
	l.Phase("creating the lab's objects")
	l.Say("warning: one\ntwo")
	l.End(true, "ready")
	b.Close()
	assert.Equal(t, "[a] creating the cluster\n[a] creating the lab's objects\n[a] warning: one\n[a] two\n[a] ready (0s)\n", out.String())
}

func TestLiveLinesKeepWhatStays(t *testing.T) {
	var out bytes.Buffer
	b := New(&out, true, []string{"a", "bb", "c"})
	a, bb := b.Start("a"), b.Start("bb")
	a.Phase("creating the cluster")
	a.Detail("Preparing nodes")
	assert.Equal(t, "a       0s  creating the cluster: Preparing nodes", a.text())
	assert.Equal(t, "0 of 3 done, 1 waiting for their turn  0s", b.totals())
	a.End(true, "ready")
	bb.Say("warning: look")
	bb.End(false, "FAILED: no image")
	assert.Equal(t, "1 of 3 done, 1 failed, 1 waiting for their turn  0s", b.totals())
	b.Start("c").End(true, "ready")
	b.Close()
	for _, line := range []string{"[a] ready (0s)\n", "[bb] warning: look\n", "[bb] FAILED: no image (0s)\n", "[c] ready (0s)\n"} {
		assert.Equal(t, 1, strings.Count(out.String(), line), "%q in\n%s", line, out.String())
	}
}
