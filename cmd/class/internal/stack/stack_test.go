package stack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/auto/events"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/cmd/class/internal/config"
	"k8sbootcamp/cmd/class/internal/workspace"
	"k8sbootcamp/internal/fake"
	"k8sbootcamp/internal/kindcluster"
)

const claim = "0123456789abcdef0123456789abcdef"

// exported is a state as `pulumi stack export` prints it, cut to what matters.
const exported = `{"version":3,"deployment":{
 "manifest":{"time":"2026-01-01T00:00:00Z"},
 "secrets_providers":{"type":"passphrase"},
 "resources":[
  {"urn":"urn:pulumi:x::bootcamp::pulumi:pulumi:Stack::bootcamp-x","type":"pulumi:pulumi:Stack","outputs":{"kubeconfig":{"4dabf18193072939515e22adb298388d":"1b47061264138c4ac30d75fd1eb44270","ciphertext":"v1:x"}}},
  {"urn":"urn:pulumi:x::bootcamp::bootcamp:cluster:Kind::cluster","type":"bootcamp:cluster:Kind"},
  {"urn":"urn:pulumi:x::bootcamp::bootcamp:cluster:Kind$command:local:Command::cluster-claim","custom":true,"type":"command:local:Command","inputs":{"create":"claim","environment":{"BOOTCAMP_CLUSTER":"bootcamp-x"}},"outputs":{"stdout":"` + claim + `"}},
  {"urn":"urn:pulumi:x::bootcamp::bootcamp:cluster:Kind$command:local:Command::cluster","custom":true,"type":"command:local:Command","inputs":{"create":"create","stdin":"kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nnodes:\n- role: control-plane\n- role: worker\n","environment":{"BOOTCAMP_CLUSTER":"bootcamp-x","BOOTCAMP_CLAIM":"` + claim + `"}},"outputs":{"stdout":{"4dabf18193072939515e22adb298388d":"1b47061264138c4ac30d75fd1eb44270","ciphertext":"v1:x"}}},
  {"urn":"urn:pulumi:x::bootcamp::pulumi:providers:kubernetes::cluster","custom":true,"type":"pulumi:providers:kubernetes"},
  {"urn":"urn:pulumi:x::bootcamp::bootcamp:echo:Echo$kubernetes:apps/v1:Deployment::bootcamp","custom":true,"type":"kubernetes:apps/v1:Deployment","outputs":{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"bootcamp","namespace":"default","uid":"1-2-3"}}}
 ],
 "pending_operations":[
  {"type":"creating","resource":{"urn":"urn:pulumi:x::bootcamp::a:b:c::d"}},
  {"type":"updating","resource":{"urn":"urn:pulumi:x::bootcamp::kubernetes:core/v1:Service::d","type":"kubernetes:core/v1:Service","inputs":{"metadata":{"name":"d"}}}},
  {"type":"creating","resource":{"custom":true,"urn":"urn:pulumi:x::bootcamp::kubernetes:core/v1:Service::s","type":"kubernetes:core/v1:Service","inputs":{"metadata":{"name":"s","namespace":"default"}}}},
  {"type":"creating","resource":{"custom":true,"urn":"urn:pulumi:x::bootcamp::kubernetes:rbac.authorization.k8s.io/v1:ClusterRole::r","type":"kubernetes:rbac.authorization.k8s.io/v1:ClusterRole","inputs":{"metadata":{"name":"r"}}}}]}}`

func state(t *testing.T) *State {
	t.Helper()
	var d apitype.UntypedDeployment
	require.NoError(t, json.Unmarshal([]byte(exported), &d))
	s, err := parseState(d.Deployment)
	require.NoError(t, err)
	return s
}

func TestParseState(t *testing.T) {
	s := state(t)
	assert.Equal(t, 5, s.Resources, "all but the stack itself")
	assert.Equal(t, 4, s.Pending)
	assert.Equal(t, []Create{
		{"urn:pulumi:x::bootcamp::kubernetes:core/v1:Service::s", "default/s"},
		{"urn:pulumi:x::bootcamp::kubernetes:rbac.authorization.k8s.io/v1:ClusterRole::r", "r"},
	}, s.Unsure, "only creations of objects can have made one")
	assert.Equal(t, claim, s.Claim)
	require.NotNil(t, s.Cluster)
	assert.Equal(t, kindcluster.Identity{Name: "bootcamp-x", Claim: claim}, s.Cluster.Identity)
	assert.Equal(t, 2, s.Cluster.Nodes)
	assert.True(t, strings.HasSuffix(s.Cluster.URN, "command:local:Command::cluster"))
	require.Len(t, s.Objects, 1)
	assert.Equal(t, "Deployment default/bootcamp apps/v1", fmt.Sprintf("%s %s/%s %s", s.Objects[0].Kind, s.Objects[0].Namespace, s.Objects[0].Name, s.Objects[0].APIVersion))
}

func TestParseStateEmptyAndBroken(t *testing.T) {
	for _, raw := range []string{"", "null", `{"manifest":{}}`} {
		s, err := parseState(json.RawMessage(raw))
		require.NoError(t, err)
		assert.Equal(t, &State{}, s)
	}
	_, err := parseState(json.RawMessage(`{"resources":7}`))
	assert.ErrorContains(t, err, "the stack's state")
}

func TestWithoutPendingKeepsAllElse(t *testing.T) {
	clean, err := withoutPending([]byte(exported), nil)
	require.NoError(t, err)
	var before, after map[string]any
	require.NoError(t, json.Unmarshal([]byte(exported), &before))
	require.NoError(t, json.Unmarshal(clean, &after))
	delete(before["deployment"].(map[string]any), "pending_operations")
	assert.Equal(t, before, after)
}

// What a killed run was making becomes a resource that is still to be read, once.
func TestWithCreated(t *testing.T) {
	unsure := state(t).Unsure
	claimed, err := withoutPending([]byte(exported), unsure)
	require.NoError(t, err)
	var export struct{ Deployment json.RawMessage }
	require.NoError(t, json.Unmarshal(claimed, &export))
	s, err := parseState(export.Deployment)
	require.NoError(t, err)
	assert.Zero(t, s.Pending)
	assert.Equal(t, 5+len(unsure), s.Resources)
	assert.Equal(t, unsure, s.Unsure, "they are not read yet")
	assert.Len(t, s.Objects, 1)
	again, err := withoutPending(claimed, unsure)
	require.NoError(t, err)
	assert.JSONEq(t, string(claimed), string(again))

	// The old one is still in the state: as it was, or deleted.
	const urn = "urn:pulumi:x::bootcamp::kubernetes:core/v1:Service::s"
	for mark, want := range map[string]string{"": `"old"`, `"pendingReplacement":true,`: `"default/s"`} {
		claimed, err := withoutPending([]byte(`{"deployment":{"resources":[{`+mark+`"urn":"`+urn+`","id":"old"}],
			"pending_operations":[{"type":"creating","resource":{"urn":"`+urn+`"}}]}}`), []Create{{urn, "default/s"}})
		require.NoError(t, err)
		var export struct {
			Deployment struct {
				Resources []struct{ ID json.RawMessage }
			}
		}
		require.NoError(t, json.Unmarshal(claimed, &export))
		require.Len(t, export.Deployment.Resources, 1)
		assert.Equal(t, want, string(export.Deployment.Resources[0].ID))
	}
}

func writeLock(t *testing.T, dir string, l Lock) string {
	t.Helper()
	b, err := json.Marshal(l)
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(dir, 0o700))
	file := filepath.Join(dir, fmt.Sprintf("%d.json", l.PID))
	require.NoError(t, os.WriteFile(file, b, 0o600))
	require.NoError(t, os.WriteFile(file+".attrs", []byte("{}"), 0o600))
	return file
}

func TestClearLocks(t *testing.T) {
	isAlive := func(l Lock) bool { return l.PID == 1 }
	for name, c := range map[string]struct {
		lock    Lock
		network string
		cleared bool
	}{
		"its process is gone":       {Lock{PID: 7, Host: "here"}, "", true},
		"its process lives":         {Lock{PID: 1, Host: "here", User: "u"}, "", false},
		"it is of another host":     {Lock{PID: 7, Host: "there"}, "", false},
		"of another host, same pid": {Lock{PID: 1, Host: "there"}, "", false},
		"here may be elsewhere":     {Lock{PID: 7, Host: "here"}, "nfs", false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "x")
			file := writeLock(t, dir, c.lock)
			cleared, err := clearLocks(dir, "x", "here", c.network, isAlive)
			if c.cleared {
				require.NoError(t, err)
				require.Len(t, cleared, 1)
				assert.Equal(t, c.lock.PID, cleared[0].PID)
				assert.NoFileExists(t, file)
				assert.NoFileExists(t, file+".attrs")
				return
			}
			var held *Held
			require.ErrorAs(t, err, &held)
			assert.ErrorContains(t, err, fmt.Sprintf("process %d", c.lock.PID))
			assert.ErrorContains(t, err, "host "+c.lock.Host)
			assert.Contains(t, err.Error(), c.network)
			assert.FileExists(t, file)
		})
	}
}

func TestClearLocksNoneAndBroken(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "x")
	cleared, err := clearLocks(dir, "x", "here", "", nil)
	require.NoError(t, err)
	assert.Empty(t, cleared)

	require.NoError(t, os.MkdirAll(dir, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.json"), []byte("{"), 0o600))
	_, err = clearLocks(dir, "x", "here", "", nil)
	assert.ErrorContains(t, err, "pulumi cancel --stack x")
}

func TestNetwork(t *testing.T) {
	assert.Empty(t, network(filepath.Join(t.TempDir(), "not", "there")), "this machine's own disk")
}

func TestAlive(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	require.NoError(t, cmd.Start())
	pid := int32(cmd.Process.Pid)
	assert.True(t, alive(Lock{PID: pid, Timestamp: time.Now()}))
	assert.False(t, alive(Lock{PID: pid, Timestamp: time.Now().Add(-time.Hour)}), "it began after the lock was taken, so it is another process")

	require.NoError(t, cmd.Process.Kill())
	for deadline := time.Now().Add(5 * time.Second); alive(Lock{PID: pid, Timestamp: time.Now()}); {
		require.True(t, time.Now().Before(deadline), "a killed process that nobody has waited for is gone too")
	}
	_ = cmd.Wait()
	assert.False(t, alive(Lock{PID: pid, Timestamp: time.Now()}))
}

// A cut state names its backup, where that is whole.
func TestDamaged(t *testing.T) {
	state := workspace.StateFolder(filepath.Join(t.TempDir(), "the state"))
	s := &Stack{Stack: &config.Stack{Name: "x"}, Tools: Tools{Project: &workspace.Project{State: state}}}
	file, backup := state.StackFile("x"), state.BackupFile("x")
	assert.NoError(t, s.damaged(), "there is none")
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o700))
	write := func(file, content string) {
		require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
	}
	write(file, `{"version": 3}`)
	assert.NoError(t, s.damaged())
	write(file, `{"versi`)
	assert.ErrorContains(t, s.damaged(), "has no whole backup; remove it")
	write(backup, "")
	assert.ErrorContains(t, s.damaged(), "has no whole backup; remove it")
	write(backup, `{}`)
	assert.ErrorContains(t, s.damaged(), "run `cp '"+backup+"' '"+file+"'`, then this again")
	s.Project.State = ""
	assert.NoError(t, s.damaged(), "the state is no folder")
}

func TestCause(t *testing.T) {
	const plugin = `1 error occurred:
	* resource "urn:pulumi:x::bootcamp::bootcamp:echo:Echo$kubernetes:apps/v1:Deployment::bootcamp" was successfully created, but the Kubernetes API server reported that it failed to fully initialize or become live: 'bootcamp' timed out waiting to be Ready
	* [MinimumReplicasUnavailable] Deployment does not have minimum availability.
	* [Pod bootcamp-1]: containers with unready status: [bootcamp-app][ErrImagePull] no such host
`
	for message, want := range map[string]string{
		"no image":                               "no image",
		"error: no stack named 'x' found\n":      "no stack named 'x' found",
		"exit status 1\nkind is not well\nhere:": "kind is not well",
		"exit status 1: running \"go tool kindcluster\"\nkind could not create it": "kind could not create it",
		"2 errors occurred:\n\t* timed out\n\t* Back-off pulling image\n":          "timed out; Back-off pulling image",
		"exit status 1": "exit status 1",
		"exit status 1: running \"load\":\nimage a/b:1: 1.5 of 20.3 MB\n2 images: 3.0 MB\nimage a/b:1: pulled, 20.3 MB\nimage a/d:1: pulled, 1.0 MB, and made one of today's format\nimage a/e:1: from the mirror, 3.0 MB\nimage a/c:1: not from the mirror http://m, so Docker pulls it itself (gone)\nwarning: image a/f:1: it is old\nimage a/c:1: its registry is gone; wait": "image a/c:1: its registry is gone; wait",
		"exit status 1: running \"create\":\nCreating cluster \"x\" ...\n • Preparing nodes 📦   ...\n ✗ Preparing nodes 📦 \nno room": "no room",
		plugin: "[Pod bootcamp-1]: containers with unready status: [bootcamp-app][ErrImagePull] no such host; " +
			"'bootcamp' timed out waiting to be Ready; [MinimumReplicasUnavailable] Deployment does not have minimum availability.",
		`the Kubernetes API server reported that "default/bootcamp" failed to fully initialize or become live: 'bootcamp' timed out`: "'bootcamp' timed out",
	} {
		assert.Equal(t, want, cause(message))
	}
}

func TestExplain(t *testing.T) {
	s := &Stack{}
	assert.NoError(t, s.explain("the update", nil, nil))

	const deployment = "urn:pulumi:x::bootcamp::kubernetes:apps/v1:Deployment::bootcamp"
	err := s.explain("the update", []failure{{deployment, "1 error occurred:\n\t* no \x1b[31mimage\n\n"}, {"", "more"}}, errors.New("exit status 255"))
	assert.EqualError(t, err, `Deployment bootcamp: no \x1b[31mimage`)
	var e *Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, []string{"bootcamp"}, e.Workloads)
	assert.Contains(t, e.Detail, "1 error occurred")
	assert.NotContains(t, e.Detail, "\x1b", "no escape sequence of a server's reaches the terminal")

	assert.EqualError(t, s.explain("the update", nil, errors.New("no Docker\nat all")), "the update: no Docker")
	long := s.explain("x", nil, errors.New(strings.Repeat("y", 1000)))
	assert.Len(t, []rune(long.Error()), causeLength)
}

// The CLI's own words on a wrong passphrase have no remedy.
func TestWrongPassphrase(t *testing.T) {
	s := &Stack{Stack: &config.Stack{Name: "ann"}, Tools: Tools{Project: project(t)}}
	s.cli.lastError = "error: could not create secrets manager for new stack: incorrect passphrase"
	err := s.explain("pulumi stack init", nil, errors.New("exit status 255"))
	for _, part := range []string{"incorrect passphrase", "stack ann", "Pulumi.ann.yaml", "PULUMI_CONFIG_PASSPHRASE", "pulumi config rm"} {
		assert.ErrorContains(t, err, part)
	}
}

// A stack of an earlier version on a machine that has a release and no Go.
func TestNoGo(t *testing.T) {
	s := &Stack{Stack: &config.Stack{Name: "ann"}, Tools: Tools{Project: project(t)}}
	err := s.explain("the destroy", []failure{{message: `exec: "go": executable file not found in $PATH: running "delete"`}}, errors.New("exit status 255"))
	for _, part := range []string{"stack ann", "Go is not installed", "`class up --stack ann`"} {
		assert.ErrorContains(t, err, part)
	}
}

func TestWatcherEndsWithoutEvents(t *testing.T) {
	watch(nil).stop() // a CLI that never sent any leaves the channel open
}

func TestWatcherNotes(t *testing.T) {
	w := watch(nil)
	pre := func(op apitype.OpType, kind, urn string, keys ...string) {
		w.events <- events.EngineEvent{EngineEvent: apitype.EngineEvent{ResourcePreEvent: &apitype.ResourcePreEvent{
			Metadata: apitype.StepEventMetadata{Op: op, Type: kind, URN: urn, Diffs: keys}}}}
	}
	said := func(urn, message string) {
		w.events <- events.EngineEvent{EngineEvent: apitype.EngineEvent{DiagnosticEvent: &apitype.DiagnosticEvent{
			Severity: "error", URN: urn, Message: message}}}
	}
	const urn = "urn:pulumi:x::bootcamp::command:local:Command::cluster"
	pre(apitype.OpSame, "command:local:Command", urn)
	pre(apitype.OpRead, "kubernetes:core/v1:Namespace", urn)
	pre(apitype.OpDeleteReplaced, "command:local:Command", urn)
	pre(apitype.OpReplace, "command:local:Command", urn, "stdin")
	pre(apitype.OpCreateReplacement, "command:local:Command", urn)
	said(urn, "<{%reset%}>no Docker\n")
	said("urn:pulumi:x::bootcamp::pulumi:pulumi:Stack::bootcamp-x", "update failed")
	w.events <- events.EngineEvent{EngineEvent: apitype.EngineEvent{SummaryEvent: &apitype.SummaryEvent{
		ResourceChanges: map[apitype.OpType]int{apitype.OpReplace: 1}}}}
	close(w.events)
	w.stop()
	assert.Equal(t, Changes{
		Summary: map[string]int{"replace": 1},
		Steps:   []Step{{Op: "replace", Type: "command:local:Command", Name: "cluster", Keys: []string{"stdin"}}},
	}, w.changes, "a replacement is one step")
	assert.Equal(t, []failure{{urn, "no Docker"}}, w.failures)
}

// project is a project's folder.
func project(t *testing.T) *workspace.Project {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "Pulumi.yaml"), []byte("name: bootcamp\nruntime: go\n"), 0o600))
	p, err := workspace.Open(dir, func(string) (string, bool) { return "", false })
	require.NoError(t, err)
	return p
}

// open makes a stack whose configuration file is this; empty is none.
func open(t *testing.T, p *workspace.Project, cli *fake.Pulumi, file string, flags ...string) *Stack {
	t.Helper()
	if file != "" {
		require.NoError(t, os.WriteFile(p.ConfigFile("x"), []byte(file), 0o600))
	}
	stacks, problems, err := config.Read(config.Request{Project: p.Settings, File: p.ConfigFile, Stack: "x", Flags: flags, MustBeRight: true})
	require.NoError(t, err)
	require.Empty(t, problems)
	s, err := Open(context.Background(), Tools{Project: p, Pulumi: cli}, stacks[0])
	require.NoError(t, err)
	return s
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	return string(b)
}

// A stack without a configuration file gets one that says who made it, and that
// goes with the stack.
func TestConfigOfOurOwn(t *testing.T) {
	p, cli := project(t), &fake.Pulumi{}
	s := open(t, p, cli, "", "replicas=3")
	require.NoError(t, s.Create(context.Background()))
	require.NoError(t, s.Configure())
	assert.Equal(t, config.Header+"config:\n  bootcamp:replicas: \"3\"\n", read(t, p.ConfigFile("x")))
	assert.Equal(t, p.Dir, cli.Dirs[0])

	// What Pulumi or the user adds stays, and an unset key goes.
	s = open(t, p, cli, config.Header+"# mine\nconfig:\n  bootcamp:replicas: \"3\"\n  other:key: x\nencryptionsalt: v1:abc\n", "replicas=4")
	require.NoError(t, s.Configure())
	assert.Equal(t, config.Header+"# mine\nconfig:\n  bootcamp:replicas: \"4\"\n  other:key: x\nencryptionsalt: v1:abc\n", read(t, p.ConfigFile("x")))

	left, err := s.Remove(context.Background())
	require.NoError(t, err)
	assert.Empty(t, left)
	assert.NoFileExists(t, p.ConfigFile("x"))
}

// A file that the tool did not make, such as the tracked Pulumi.dev.yaml, is never
// written to: the CLI works with a copy, which keeps its salt.
func TestConfigOfTheUsers(t *testing.T) {
	const users = "# mine\nconfig:\n  bootcamp:replicas: \"2\"\n"
	p, cli := project(t), &fake.Pulumi{}
	s := open(t, p, cli, users, "replicas=3")
	require.NoError(t, s.Create(context.Background()))
	require.NoError(t, s.Configure())
	assert.Equal(t, users, read(t, p.ConfigFile("x")))
	work := p.ConfigCopy("x")
	assert.Equal(t, work, cli.Dirs[0], "the CLI writes the salt where it works")
	copied := filepath.Join(work, "Pulumi.x.yaml")
	assert.Contains(t, read(t, copied), `bootcamp:replicas: "3"`)
	assert.Contains(t, read(t, filepath.Join(work, "Pulumi.yaml")), "main: "+p.Dir, "the lab's commands run in the project's folder")

	require.NoError(t, os.WriteFile(copied, []byte(read(t, copied)+"encryptionsalt: v1:abc\n"), 0o600)) // as the CLI does
	s = open(t, p, cli, users)
	require.NoError(t, s.Configure())
	assert.Contains(t, read(t, copied), `bootcamp:replicas: "2"`, "the user's file is what holds")
	assert.Contains(t, read(t, copied), "encryptionsalt: v1:abc")

	_, err := s.Remove(context.Background())
	require.NoError(t, err)
	assert.Equal(t, users, read(t, p.ConfigFile("x")))
	assert.NoDirExists(t, filepath.Dir(work))
}

// A file with the salt of another passphrase, such as a colleague's, is no obstacle
// to a new stack; one with a secret keeps it.
func TestSaltOfAnotherPassphrase(t *testing.T) {
	for name, c := range map[string]struct {
		file string
		kept bool
	}{
		"no secrets": {"config:\n  bootcamp:replicas: \"2\"\nencryptionsalt: v1:abc\n", false},
		"a secret":   {"config:\n  bootcamp:nodeImage:\n    secure: v1:x\nencryptionsalt: v1:abc\n", true},
	} {
		t.Run(name, func(t *testing.T) {
			p := project(t)
			s := open(t, p, &fake.Pulumi{}, c.file)
			require.NoError(t, s.Create(context.Background()))
			file := filepath.Join(p.ConfigCopy("x"), "Pulumi.x.yaml")
			copied := read(t, file)
			assert.Equal(t, c.kept, strings.Contains(copied, "encryptionsalt"), copied)
			if !c.kept { // the CLI puts its own there, which holds from then on
				require.NoError(t, os.WriteFile(file, []byte(copied+"encryptionsalt: v1:own\n"), 0o600))
				open(t, p, &fake.Pulumi{Exists: true}, c.file)
				assert.Contains(t, read(t, file), "encryptionsalt: v1:own")
			}
			assert.Equal(t, c.file, read(t, p.ConfigFile("x")))
		})
	}
}

// A stack without a configuration file has none after its destroy either.
func TestDestroyLeavesNoConfiguration(t *testing.T) {
	p := project(t)
	s := open(t, p, &fake.Pulumi{Exists: true, Do: map[string]func(*fake.Pulumi) ([]apitype.EngineEvent, string){
		"destroy": func(*fake.Pulumi) ([]apitype.EngineEvent, string) {
			require.NoError(t, os.WriteFile(p.ConfigFile("x"), []byte("encryptionsalt: v1:abc\n"), 0o600))
			return nil, ""
		},
	}}, "")
	_, err := s.Destroy(context.Background(), nil)
	require.NoError(t, err)
	assert.NoFileExists(t, p.ConfigFile("x"))
}

// A preview changes nothing, be the stack there or not.
func TestPreviewWritesNothing(t *testing.T) {
	for name, exists := range map[string]bool{"no stack yet": false, "a stack": true} {
		t.Run(name, func(t *testing.T) {
			p, cli := project(t), &fake.Pulumi{Exists: exists}
			s := open(t, p, cli, "", "replicas=3")
			_, err := s.Preview(context.Background(), []string{"urn:c"}, nil)
			require.NoError(t, err)
			assert.Equal(t, "preview --replace=urn:c", cli.Did[len(cli.Did)-1])
			assert.NoFileExists(t, p.ConfigFile("x"))
			last := cli.Dirs[len(cli.Dirs)-1]
			assert.NotEqual(t, p.Dir, last)
			assert.NoDirExists(t, last, "the copy is gone")
		})
	}
}

func TestKeepsSecrets(t *testing.T) {
	dir := t.TempDir()
	for content, want := range map[string]bool{
		"config:\n  bootcamp:replicas: 2\nencryptionsalt: v1:x\n": false,
		"config:\n  bootcamp:nodeImage:\n    secure: v1:x\n":      true,
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "Pulumi.x.yaml"), []byte(content), 0o600))
		got, err := KeepsSecrets(dir)
		require.NoError(t, err)
		assert.Equal(t, want, got, content)
	}
}

// TestSameHost: a Mac's lock is its own after it has changed the network.
func TestSameHost(t *testing.T) {
	assert.True(t, sameHost("linux", "a.x", "a.x"))
	assert.False(t, sameHost("linux", "a.x", "a.y"))
	assert.True(t, sameHost("darwin", "Annas-Mac.local", "Annas-Mac.lan"))
	assert.False(t, sameHost("darwin", "Annas-Mac.local", "Bobs-Mac.local"))
}
