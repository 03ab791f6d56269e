package progress

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/auto/events"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
	"github.com/stretchr/testify/assert"

	"k8sbootcamp/components/images"
	"k8sbootcamp/components/kind"
	"k8sbootcamp/components/shared"
	"k8sbootcamp/components/tool"
)

const (
	cluster    = "urn:pulumi:x::bootcamp::bootcamp:cluster:Kind$command:local:Command::cluster"
	deployment = "urn:pulumi:x::bootcamp::bootcamp:echo:Echo$kubernetes:apps/v1:Deployment::bootcamp"
	service    = "urn:pulumi:x::bootcamp::bootcamp:echo:Echo$kubernetes:core/v1:Service::bootcamp"
	provider   = "urn:pulumi:x::bootcamp::pulumi:providers:kubernetes::cluster"
)

func meta(op apitype.OpType, urn string) apitype.StepEventMetadata {
	parts := strings.Split(urn, "::")
	typ := parts[2][strings.LastIndex(parts[2], "$")+1:]
	return apitype.StepEventMetadata{Op: op, URN: urn, Type: typ, New: &apitype.StepEventStateMetadata{Custom: true}}
}

func event(e apitype.EngineEvent) events.EngineEvent { return events.EngineEvent{EngineEvent: e} }

func begins(op apitype.OpType, urn string) events.EngineEvent {
	return event(apitype.EngineEvent{ResourcePreEvent: &apitype.ResourcePreEvent{Metadata: meta(op, urn)}})
}

func ends(op apitype.OpType, urn string) events.EngineEvent {
	return event(apitype.EngineEvent{ResOutputsEvent: &apitype.ResOutputsEvent{Metadata: meta(op, urn)}})
}

func said(severity, urn, message string) events.EngineEvent {
	return event(apitype.EngineEvent{DiagnosticEvent: &apitype.DiagnosticEvent{Severity: severity, URN: urn, Message: message}})
}

// track gives a line of stack x all events; it returns what was printed, and what
// the live line would say after each.
func track(all ...events.EngineEvent) (printed string, shown []string) {
	var out bytes.Buffer
	line := New(&out, false, []string{"x"}).Start("x")
	for _, e := range all {
		line.Event(e)
		text := line.text()
		shown = append(shown, strings.TrimSpace(text[strings.Index(text, "0s")+2:]))
	}
	return out.String(), shown
}

func TestPhases(t *testing.T) {
	printed, shown := track(
		begins(apitype.OpCreate, provider),
		begins(apitype.OpCreate, cluster),
		said("info#err", cluster, " * Preparing nodes\n * Starting control-plane\n"),
		said("info#err", deployment, "not its turn"),
		ends(apitype.OpCreate, cluster),
		begins(apitype.OpCreate, deployment),
		begins(apitype.OpUpdate, service),
		ends(apitype.OpCreate, deployment),
		ends(apitype.OpUpdate, service),
	)
	assert.Equal(t, "[x] creating the cluster\n[x] creating the lab's objects\n[x] updating the lab's objects\n", printed)
	assert.Equal(t, []string{
		"",
		"creating the cluster: Command cluster",
		"creating the cluster: Command cluster: * Starting control-plane",
		"creating the cluster: Command cluster: * Starting control-plane",
		"creating the cluster",
		"creating the lab's objects: Deployment bootcamp",
		"creating the lab's objects: Deployment bootcamp and 1 more",
		"updating the lab's objects: Service bootcamp",
		"updating the lab's objects",
	}, shown)
}

// TestPhasesOfSecrets: a command that makes a password is no cluster's.
func TestPhasesOfSecrets(t *testing.T) {
	for _, parent := range []string{"bootcamp:topics:Secret", "bootcamp:topics:Ingress", "bootcamp:dashboards:Dashboards"} {
		password := "urn:pulumi:dev::bootcamp::" + parent + "$command:local:Command::password"
		printed, _ := track(
			begins(apitype.OpDelete, password), ends(apitype.OpDelete, password),
			begins(apitype.OpDelete, cluster), ends(apitype.OpDelete, cluster))
		assert.Equal(t, "[x] deleting the lab's objects\n[x] deleting the cluster\n", printed)
	}
}

// TestTakeOver: what is taken from a student's hands is said, line by line.
func TestTakeOver(t *testing.T) {
	for _, parent := range []string{"bootcamp:cluster:Kind", "bootcamp:cluster:Tenant"} {
		command := "urn:pulumi:x::bootcamp::" + parent + "$command:local:Command::cluster-takeover"
		printed, _ := track(
			begins(apitype.OpUpdate, command),
			said("info#err", command, "taken over: Deployment bootcamp, made by hand\ntaken over: Service bootcamp-svc, made by hand\n"),
			ends(apitype.OpUpdate, command),
			begins(apitype.OpDelete, command), ends(apitype.OpDelete, command))
		assert.Equal(t, "[x] looking for what was made by hand\n[x] taken over: Deployment bootcamp, made by hand\n"+
			"[x] taken over: Service bootcamp-svc, made by hand\n", printed, "its delete does nothing")
	}
}

// TestDestroyOfACluster: what prepared it, and what brought it images and objects, is forgotten
// in no time, before, beside and after the cluster.
func TestDestroyOfACluster(t *testing.T) {
	const of = "urn:pulumi:x::bootcamp::bootcamp:cluster:Kind$command:local:Command::"
	var all []events.EngineEvent
	forgotten := func(name string) {
		all = append(all, begins(apitype.OpDelete, of+name), ends(apitype.OpDelete, of+name))
	}
	all = append(all, begins(apitype.OpDelete, deployment), ends(apitype.OpDelete, deployment))
	forgotten(tool.TakeOverName)
	forgotten(images.LoadName)
	all = append(all, begins(apitype.OpDelete, cluster))
	forgotten(images.PullName)
	all = append(all, ends(apitype.OpDelete, cluster))
	forgotten(images.PullName)
	forgotten(kind.PrepareName)
	all = append(all, begins(apitype.OpDelete, of+kind.ClaimName), ends(apitype.OpDelete, of+kind.ClaimName))
	printed, _ := track(all...)
	assert.Equal(t, "[x] deleting the lab's objects\n[x] deleting the cluster\n", printed)
}

// TestClaim: a mark takes no time, and a place on a shared cluster does.
func TestClaim(t *testing.T) {
	for parent, want := range map[string]string{"bootcamp:cluster:Kind": "", shared.PlaceType: "[x] creating the place on the cluster\n"} {
		claim := "urn:pulumi:x::bootcamp::" + parent + "$command:local:Command::" + kind.ClaimName
		printed, _ := track(begins(apitype.OpCreate, claim), ends(apitype.OpCreate, claim))
		assert.Equal(t, want, printed, parent)
	}
}

// TestImages: they are pulled beside the cluster, whose steps are shown; then how far they
// are. What cannot be pulled is said at once, for it may fail the lab in the end. No phase
// is left for another's moment.
func TestImages(t *testing.T) {
	const (
		of      = "urn:pulumi:x::bootcamp::bootcamp:cluster:Kind$command:local:Command::"
		claim   = of + kind.ClaimName
		prepare = of + kind.PrepareName
		pull    = "urn:pulumi:x::bootcamp::bootcamp:images:Images$command:local:Command::images-pull"
		load    = "urn:pulumi:x::bootcamp::bootcamp:images:Images$command:local:Command::images-load"
	)
	printed, shown := track(
		begins(apitype.OpCreate, pull),
		begins(apitype.OpCreate, claim),
		said("info#err", pull, "image a/b:1: 1.5 MB\n"),
		ends(apitype.OpCreate, claim),
		begins(apitype.OpCreate, prepare),
		said("info#err", prepare, "image node:1: 3.0 MB\n"),
		ends(apitype.OpCreate, prepare),
		begins(apitype.OpCreate, cluster),
		said("info#err", pull, "image a/b:1: 2.5 MB\nwarning: image a/c:1: gone\nimage a/b:1: 3.5 MB\n"),
		said("info#err", cluster, " * Preparing nodes\n"),
		ends(apitype.OpCreate, cluster),
		said("info#err", pull, "image a/b:1: 9.5 of 10.0 MB\n"),
		ends(apitype.OpCreate, pull),
		begins(apitype.OpCreate, load),
		said("info#err", load, "image a/b:1: 4.5 of 10.0 MB\n"),
		ends(apitype.OpCreate, load),
		begins(apitype.OpDelete, load), ends(apitype.OpDelete, load))
	assert.Equal(t, "[x] pulling the images\n[x] creating the cluster\n[x] warning: image a/c:1: gone\n[x] pulling the images\n"+
		"[x] loading the images into the nodes\n", printed)
	assert.Equal(t, []string{
		"pulling the images: Command images-pull",
		"pulling the images: Command images-pull",
		"pulling the images: image a/b:1: 1.5 MB",
		"pulling the images: image a/b:1: 1.5 MB",
		"pulling the images: Command cluster-prepare and 1 more",
		"pulling the images: image node:1: 3.0 MB",
		"pulling the images: Command images-pull",
		"creating the cluster: Command cluster and 1 more",
		"creating the cluster: Command cluster and 1 more",
		"creating the cluster: Command cluster: * Preparing nodes",
		"pulling the images: Command images-pull",
		"pulling the images: image a/b:1: 9.5 of 10.0 MB",
		"pulling the images",
		"loading the images into the nodes: Command images-load",
		"loading the images into the nodes: image a/b:1: 4.5 of 10.0 MB",
		"loading the images into the nodes",
		"loading the images into the nodes",
		"loading the images into the nodes",
	}, shown, "a delete that does nothing is no phase")
}

func TestReplacement(t *testing.T) {
	printed, _ := track(
		begins(apitype.OpDeleteReplaced, cluster), ends(apitype.OpDeleteReplaced, cluster),
		begins(apitype.OpReplace, cluster), // has no effect of its own
		begins(apitype.OpCreateReplacement, cluster), ends(apitype.OpCreateReplacement, cluster))
	assert.Equal(t, "[x] deleting the cluster\n[x] creating the cluster\n", printed)
}

func TestPreviewWorksOnNothing(t *testing.T) {
	e := begins(apitype.OpCreate, cluster)
	e.ResourcePreEvent.Planning = true
	printed, _ := track(e)
	assert.Empty(t, printed)
}

func TestPluginDownload(t *testing.T) {
	_, shown := track(event(apitype.EngineEvent{ProgressEvent: &apitype.ProgressEvent{Message: "kubernetes", Completed: 1, Total: 4}}))
	assert.Equal(t, []string{"installing Pulumi's plugins: kubernetes 25%"}, shown)
}

// The same warning of each pod, again and again, is said once, and counted.
func TestWarningsAreSaidOnce(t *testing.T) {
	var out bytes.Buffer
	line := New(&out, false, []string{"x"}).Start("x")
	for _, pod := range []string{"bootcamp-5d4f8c7b9d-abcde", "bootcamp-5d4f8c7b9d-fghij", "bootcamp-5d4f8c7b9d-abcde"} {
		line.Event(said("warning", deployment, "<{%fg 3%}>warning: <{%reset%}>[Pod "+pod+"]: Back-off pulling image"))
	}
	line.Event(said("warning", deployment, "another"))
	line.End(false, "FAILED")
	assert.Equal(t, `[x] warning: [Pod bootcamp-5d4f8c7b9d-abcde]: Back-off pulling image
[x] warning: another
[x] warning, 3 times: [Pod bootcamp-*]: Back-off pulling image
[x] FAILED (0s)
`, out.String())
}

// What a cluster or a tool says cannot steer the terminal, nor fill it.
func TestWhatIsShownIsPrintable(t *testing.T) {
	var out bytes.Buffer
	line := New(&out, false, []string{"x"}).Start("x")
	line.Event(said("warning", deployment, "\x1b]52;c;ZXZpbA==\x07"+strings.Repeat("y", 5000)))
	line.Say("\x1b[2J")
	line.Detail("\x1b[31m")
	line.End(true, "done\x1b[0m")
	assert.NotContains(t, out.String(), "\x1b")
	assert.NotContains(t, line.text(), "\x1b")
	assert.Less(t, out.Len(), 1000)
}

func TestPlainLinesOnlyForWhatIsNew(t *testing.T) {
	var out bytes.Buffer
	b := New(&out, false, []string{"a", "long"})
	line := b.Start("a")
	line.Phase("one")
	line.Phase("one")
	line.Detail("x")
	line.Say("first\nsecond")
	line.Phase("two")
	line.End(true, "ready")
	b.Close()
	assert.Equal(t, "[a] one\n[a] first\n[a] second\n[a] two\n[a] ready (0s)\n", out.String())
}

func TestLiveLinesKeepWhatStays(t *testing.T) {
	var out bytes.Buffer
	b := New(&out, true, []string{"a", "b"})
	for _, name := range []string{"a", "b"} {
		line := b.Start(name)
		line.Phase("working")
		line.Say("a word")
		line.End(name == "a", "the end")
	}
	b.Close()
	plain := regexp.MustCompile(`\x1b\[[0-9;]*[A-Za-z]`).ReplaceAllString(out.String(), "")
	for _, want := range []string{"[a] a word", "[a] the end", "[b] a word", "[b] the end"} {
		assert.Contains(t, plain, want)
	}
}
