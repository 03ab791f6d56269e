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

	"k8sbootcamp/cmd/class/internal/workspace"
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
  {"urn":"urn:pulumi:x::bootcamp::bootcamp:cluster:Kind$command:local:Command::cluster-claim","custom":true,"type":"command:local:Command","inputs":{"environment":{"BOOTCAMP_CLUSTER":"bootcamp-x"}},"outputs":{"stdout":"` + claim + `"}},
  {"urn":"urn:pulumi:x::bootcamp::bootcamp:cluster:Kind$command:local:Command::cluster","custom":true,"type":"command:local:Command","inputs":{"stdin":"kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nnodes:\n- role: control-plane\n- role: worker\n","environment":{"BOOTCAMP_CLUSTER":"bootcamp-x","BOOTCAMP_CLAIM":"` + claim + `"}},"outputs":{"stdout":{"4dabf18193072939515e22adb298388d":"1b47061264138c4ac30d75fd1eb44270","ciphertext":"v1:x"}}},
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
	s, err := ParseState(d.Deployment)
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
	assert.Equal(t, kindcluster.Cluster{Name: "bootcamp-x", Claim: claim}, s.Cluster.Cluster)
	assert.Equal(t, 2, s.Cluster.Nodes)
	assert.True(t, strings.HasSuffix(s.Cluster.URN, "command:local:Command::cluster"))
	require.Len(t, s.Objects, 1)
	assert.Equal(t, "Deployment default/bootcamp apps/v1", fmt.Sprintf("%s %s/%s %s", s.Objects[0].Kind, s.Objects[0].Namespace, s.Objects[0].Name, s.Objects[0].APIVersion))
}

func TestParseStateEmptyAndBroken(t *testing.T) {
	for _, raw := range []string{"", "null", `{"manifest":{}}`} {
		s, err := ParseState(json.RawMessage(raw))
		require.NoError(t, err)
		assert.Equal(t, &State{}, s)
	}
	_, err := ParseState(json.RawMessage(`{"resources":7}`))
	assert.ErrorContains(t, err, "the stack's state")
}

func TestWithoutPendingKeepsAllElse(t *testing.T) {
	clean, err := withoutPending([]byte(exported))
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
	claimed, err := withCreated([]byte(exported), unsure)
	require.NoError(t, err)
	var export struct{ Deployment json.RawMessage }
	require.NoError(t, json.Unmarshal(claimed, &export))
	s, err := ParseState(export.Deployment)
	require.NoError(t, err)
	assert.Zero(t, s.Pending)
	assert.Equal(t, 5+len(unsure), s.Resources)
	assert.Equal(t, unsure, s.Unsure, "they are not read yet")
	assert.Len(t, s.Objects, 1)
	again, err := withCreated(claimed, unsure)
	require.NoError(t, err)
	assert.JSONEq(t, string(claimed), string(again))

	// The old one is still in the state: as it was, or deleted.
	const urn = "urn:pulumi:x::bootcamp::kubernetes:core/v1:Service::s"
	for mark, want := range map[string]string{"": `"old"`, `"pendingReplacement":true,`: `"default/s"`} {
		claimed, err := withCreated([]byte(`{"deployment":{"resources":[{`+mark+`"urn":"`+urn+`","id":"old"}],
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

// docker is an engine with one cluster.
type docker struct {
	found   []kindcluster.Container
	started []string
	startup error // of Start
	waiting error // of WaitReady
}

func (d *docker) Containers(context.Context, string) ([]kindcluster.Container, error) {
	return d.found, nil
}

func (d *docker) Start(_ context.Context, names []string) error {
	d.started = append(d.started, names...)
	return d.startup
}

func (d *docker) WaitReady(context.Context, string, int, time.Duration) error { return d.waiting }

func node(name string, running bool, owner string) kindcluster.Container {
	return kindcluster.Container{Name: name, Running: running, Mounts: []string{"/var", "/kind/bootcamp/" + owner + "/cafe"}}
}

func TestHeal(t *testing.T) {
	up, down := node("c", true, claim), node("w", false, claim)
	other := strings.Repeat("f", 32)
	for name, c := range map[string]struct {
		engine  docker
		health  Health
		started bool
		replace bool
		err     string
	}{
		"alive":                {docker{found: []kindcluster.Container{up, node("w", true, claim)}}, Alive, false, false, ""},
		"gone":                 {docker{}, Gone, false, true, ""},
		"a node is missing":    {docker{found: []kindcluster.Container{up}}, Partial, false, true, ""},
		"stopped":              {docker{found: []kindcluster.Container{up, down}}, Stopped, true, false, ""},
		"cannot be started":    {docker{found: []kindcluster.Container{up, down}, startup: errors.New("no such network")}, Stopped, false, true, ""},
		"started, never ready": {docker{found: []kindcluster.Container{up, down}, waiting: errors.New("not Ready")}, Stopped, false, true, ""},
		"another's":            {docker{found: []kindcluster.Container{node("c", true, other), node("w", true, other)}}, Foreign, false, false, "did not make"},
		"half another's":       {docker{found: []kindcluster.Container{up, node("w", false, other)}}, Foreign, false, false, "did not make"},
	} {
		t.Run(name, func(t *testing.T) {
			cluster := state(t).Cluster
			health, _, err := Inspect(context.Background(), &c.engine, cluster)
			require.NoError(t, err)
			assert.Equal(t, c.health, health)

			var said []string
			healed, err := Heal(context.Background(), &c.engine, cluster, func(s string) { said = append(said, s) })
			if c.err != "" {
				assert.ErrorContains(t, err, c.err)
				assert.Empty(t, c.engine.started, "untouched")
				return
			}
			require.NoError(t, err)
			assert.Equal(t, c.started, healed.Started)
			if c.replace {
				assert.Equal(t, []string{cluster.URN}, healed.Replace)
			} else {
				assert.Empty(t, healed.Replace)
			}
			assert.Equal(t, health != Alive, len(said) > 0, "a repair is never silent")
		})
	}
}

func TestHealNoCluster(t *testing.T) {
	healed, err := Heal(context.Background(), &docker{}, nil, func(string) { t.Error("nothing to say") })
	require.NoError(t, err)
	assert.Equal(t, Healed{}, healed)
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
		cleared bool
	}{
		"its process is gone":       {Lock{PID: 7, Host: "here"}, true},
		"its process lives":         {Lock{PID: 1, Host: "here", User: "u"}, false},
		"it is of another host":     {Lock{PID: 7, Host: "there"}, false},
		"of another host, same pid": {Lock{PID: 1, Host: "there"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "x")
			file := writeLock(t, dir, c.lock)
			cleared, err := clearLocks(dir, "x", "here", isAlive)
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
			assert.FileExists(t, file)
		})
	}
}

func TestClearLocksNoneAndBroken(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "x")
	cleared, err := clearLocks(dir, "x", "here", nil)
	require.NoError(t, err)
	assert.Empty(t, cleared)

	require.NoError(t, os.MkdirAll(dir, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.json"), []byte("{"), 0o600))
	_, err = clearLocks(dir, "x", "here", nil)
	assert.ErrorContains(t, err, "pulumi cancel --stack x")
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

func TestWithoutSalt(t *testing.T) {
	plain := "# mine\nconfig:\n  bootcamp:replicas: 2\n"
	assert.Equal(t, plain, string(withoutSalt([]byte(plain+"encryptionsalt: v1:abc\n"))))
	assert.Equal(t, plain, string(withoutSalt([]byte(plain))))
	secret := "encryptionsalt: v1:abc\nconfig:\n  bootcamp:nodeImage:\n    secure: v1:x\n"
	assert.Equal(t, secret, string(withoutSalt([]byte(secret))), "a secret needs its salt")
}

func TestRemoveConfig(t *testing.T) {
	for name, c := range map[string]struct {
		before, after string // empty is no file
		kept          int
	}{
		"made by this tool": {mark + "encryptionsalt: v1:abc\n", "", 0},
		"the user's":        {"config:\n  bootcamp:replicas: 2\nencryptionsalt: v1:abc\n", "config:\n  bootcamp:replicas: 2\n", 1},
		"none":              {"", "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := &Stack{Name: "x", space: dirOnly{dir: t.TempDir()}}
			if c.before != "" {
				require.NoError(t, os.WriteFile(s.configFile(), []byte(c.before), 0o640))
			}
			kept, err := s.removeConfig()
			require.NoError(t, err)
			assert.Len(t, kept, c.kept)
			if c.after == "" {
				assert.NoFileExists(t, s.configFile())
				return
			}
			b, err := os.ReadFile(s.configFile())
			require.NoError(t, err)
			assert.Equal(t, c.after, string(b))
		})
	}
}

func TestLeftovers(t *testing.T) {
	dir := t.TempDir()
	s := &Stack{Name: "x", project: &workspace.Project{StateDir: dir}}
	for _, f := range []string{"stacks/bootcamp/x.json.bak", "stacks/bootcamp/xy.json", "backups/bootcamp/x/1.json", "locks/organization/bootcamp/y/1.json"} {
		f = filepath.Join(dir, ".pulumi", f)
		require.NoError(t, os.MkdirAll(filepath.Dir(f), 0o700))
		require.NoError(t, os.WriteFile(f, nil, 0o600))
	}
	require.NoError(t, os.MkdirAll(filepath.Join(dir, ".pulumi/history/bootcamp/x"), 0o700))
	left, err := s.leftovers()
	require.NoError(t, err)
	assert.Equal(t, []string{
		filepath.Join(dir, ".pulumi/backups/bootcamp/x/1.json"),
		filepath.Join(dir, ".pulumi/stacks/bootcamp/x.json.bak"),
	}, left)
}

// A cut state names its backup, where that is whole.
func TestDamaged(t *testing.T) {
	s := &Stack{Name: "x", project: &workspace.Project{StateDir: filepath.Join(t.TempDir(), "the state")}}
	assert.NoError(t, s.damaged(), "there is none")
	require.NoError(t, os.MkdirAll(filepath.Dir(s.stateFile()), 0o700))
	write := func(file, content string) {
		require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
	}
	write(s.stateFile(), `{"version": 3}`)
	assert.NoError(t, s.damaged())
	write(s.stateFile(), `{"versi`)
	assert.ErrorContains(t, s.damaged(), "has no whole backup; remove it")
	write(s.stateFile()+".bak", "")
	assert.ErrorContains(t, s.damaged(), "has no whole backup; remove it")
	write(s.stateFile()+".bak", `{}`)
	assert.ErrorContains(t, s.damaged(), "run `cp '"+s.stateFile()+".bak' '"+s.stateFile()+"'`, then this again")
	s.project.StateDir = ""
	assert.NoError(t, s.damaged(), "the state is no folder")
}

func TestCause(t *testing.T) {
	for message, want := range map[string]string{
		"no image":                               "no image",
		"error: no stack named 'x' found\n":      "no stack named 'x' found",
		"exit status 1\nkind is not well\nhere:": "kind is not well",
		"exit status 1: running \"go tool kindcluster\"\nkind could not create it": "kind could not create it",
		"2 errors occurred:\n\t* timed out\n\t* Back-off pulling image\n":          "timed out; Back-off pulling image",
		"exit status 1":          "exit status 1",
		strings.Repeat("x", 400): strings.Repeat("x", longestCause) + "…",
	} {
		assert.Equal(t, want, cause(message))
	}
}

func TestExplain(t *testing.T) {
	s := &Stack{command: &workspace.Command{}}
	assert.NoError(t, s.explain("the update", nil, nil))

	var d diagnostics
	d.add(&apitype.DiagnosticEvent{URN: "urn:pulumi:x::bootcamp::kubernetes:apps/v1:Deployment::bootcamp", Message: "<{%reset%}>1 error occurred:\n\t* no image\n\n"})
	d.add(&apitype.DiagnosticEvent{URN: "urn:pulumi:x::bootcamp::pulumi:pulumi:Stack::bootcamp-x", Message: "update failed"})
	err := s.explain("the update", &d, errors.New("exit status 255"))
	assert.EqualError(t, err, "Deployment bootcamp: no image")
	var e *Error
	require.ErrorAs(t, err, &e)
	assert.Contains(t, e.Detail, "1 error occurred")

	assert.EqualError(t, s.explain("the update", &diagnostics{}, errors.New("no Docker\nat all")), "the update: no Docker")
}

func TestWatcherEndsWithoutEvents(t *testing.T) {
	w := newWatcher(nil)
	w.stop() // a CLI that never sent any leaves the channel open
}

func TestWatcherNotes(t *testing.T) {
	w := newWatcher(nil)
	pre := func(op apitype.OpType, kind, urn string, keys ...string) {
		w.events <- events.EngineEvent{EngineEvent: apitype.EngineEvent{ResourcePreEvent: &apitype.ResourcePreEvent{
			Metadata: apitype.StepEventMetadata{Op: op, Type: kind, URN: urn, Diffs: keys}}}}
	}
	const urn = "urn:pulumi:x::bootcamp::command:local:Command::cluster"
	pre(apitype.OpSame, "command:local:Command", urn)
	pre(apitype.OpRead, "kubernetes:core/v1:Namespace", urn)
	pre(apitype.OpDeleteReplaced, "command:local:Command", urn)
	pre(apitype.OpReplace, "command:local:Command", urn, "stdin")
	pre(apitype.OpCreateReplacement, "command:local:Command", urn)
	w.events <- events.EngineEvent{EngineEvent: apitype.EngineEvent{SummaryEvent: &apitype.SummaryEvent{
		ResourceChanges: map[apitype.OpType]int{apitype.OpReplace: 1}}}}
	close(w.events)
	w.stop()
	assert.Equal(t, Changes{
		Summary: map[string]int{"replace": 1},
		Steps:   []Step{{Op: "replace", Type: "command:local:Command", Name: "cluster", Keys: []string{"stdin"}}},
	}, w.changes, "a replacement is one step")
}
