package workspace

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/lockedfile"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/internal/archive"
)

func project(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	write(t, filepath.Join(dir, "Pulumi.yaml"), "name: bootcamp\nruntime: go\n")
	return dir
}

func write(t *testing.T, file, content string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o700))
	require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
}

type env map[string]string

func (e env) lookup(key string) (string, bool) { v, ok := e[key]; return v, ok }

func open(t *testing.T, dir string, e env) *Project {
	t.Helper()
	p, err := Open(dir, e.lookup)
	require.NoError(t, err)
	return p
}

func TestFind(t *testing.T) {
	dir := project(t)
	below := filepath.Join(dir, "a", "b")
	write(t, filepath.Join(below, "Pulumi.yaml"), "name: other\nruntime: go\n")
	for _, from := range []string{dir, filepath.Dir(below), below} {
		got, err := Find(from)
		require.NoError(t, err)
		assert.Equal(t, dir, got, "another project in between is passed by")
	}
	_, err := Find(t.TempDir())
	assert.ErrorContains(t, err, ProjectName)
	write(t, filepath.Join(below, "Pulumi.yaml"), "name: [cut")
	_, err = Find(below)
	assert.ErrorContains(t, err, filepath.Join(below, "Pulumi.yaml"))
}

// A release has no Go: its own runtime says so, and is found from a copy of Pulumi.yaml too.
func TestPrebuilt(t *testing.T) {
	source := open(t, project(t), nil)
	assert.False(t, source.Prebuilt())
	assert.Equal(t, filepath.Join(source.Dir, "tools"), source.Tools())
	assert.Nil(t, source.From().Plugins)
	assert.Equal(t, source.Dir, source.From().Main)

	dir := t.TempDir()
	write(t, filepath.Join(dir, "Pulumi.yaml"), "name: bootcamp\nruntime: bootcamp\nplugins:\n  languages:\n    - name: bootcamp\n      path: runtime\n")
	release := open(t, dir, nil)
	assert.True(t, release.Prebuilt())
	assert.Empty(t, release.Tools())
	assert.Equal(t, filepath.Join(dir, "runtime"), release.From().Plugins.Languages[0].Path)
	assert.Equal(t, "runtime", release.Settings.Plugins.Languages[0].Path, "the project's own is as it was")
}

func TestPaths(t *testing.T) {
	p := open(t, project(t), nil)
	assert.Equal(t, filepath.Join(p.Dir, "Pulumi.dev.yaml"), p.ConfigFile("dev"))
	assert.Equal(t, filepath.Join(p.Dir, ".bootcamp", "config", "dev"), p.ConfigCopy("dev"))
	assert.Equal(t, filepath.Join(p.Dir, "kubeconfig-dev.yaml"), p.Kubeconfig("dev"))
	assert.Equal(t, p.Dir, p.Main())
	p.Settings.Main = "program"
	assert.Equal(t, filepath.Join(p.Dir, "program"), p.Main())
	p.Settings.Main = "/elsewhere"
	assert.Equal(t, "/elsewhere", p.Main())
}

func TestOwnStateAndPassphrase(t *testing.T) {
	dir := project(t)
	own := filepath.Join(dir, ".bootcamp")
	state, phrase := filepath.Join(own, "state"), filepath.Join(own, "passphrase")
	p := open(t, dir, env{EnvBackend: ""})
	assert.True(t, p.OwnState)
	assert.Equal(t, StateFolder(state), p.State)
	assert.Equal(t, phrase, p.Passphrase())
	assert.Equal(t, map[string]string{EnvBackend: "file://" + state, EnvPassphraseFile: phrase, "PULUMI_SKIP_UPDATE_CHECK": "true"}, p.Env)
	assert.NoDirExists(t, own, "Open makes nothing")

	require.NoError(t, p.Prepare())
	mode := func(file string) string {
		info, err := os.Stat(file)
		require.NoError(t, err)
		return info.Mode().String()
	}
	assert.Equal(t, "drwx------", mode(state))
	assert.Equal(t, "-rw-------", mode(phrase))
	first, err := os.ReadFile(phrase)
	require.NoError(t, err)
	assert.GreaterOrEqual(t, len(first), 26)
	require.NoError(t, p.Prepare())
	second, err := os.ReadFile(phrase)
	require.NoError(t, err)
	assert.Equal(t, first, second, "it is made once")
	entries, err := os.ReadDir(own)
	require.NoError(t, err)
	assert.Len(t, entries, 2, "nothing else lies about")

	write(t, filepath.Join(p.ConfigCopy("dev"), "Pulumi.dev.yaml"), "")
	require.NoError(t, p.RemoveOwn(true))
	assert.FileExists(t, phrase)
	assert.NoDirExists(t, state)
	require.NoError(t, p.RemoveOwn(false))
	assert.NoDirExists(t, own)
	require.NoError(t, p.RemoveOwn(false), "there is nothing left to remove")
}

// A run that was killed between making the file and filling it leaves it empty.
func TestPrepareFillsAnEmptyPassphrase(t *testing.T) {
	p := open(t, project(t), nil)
	write(t, p.Passphrase(), "")
	require.NoError(t, p.Prepare())
	b, err := os.ReadFile(p.Passphrase())
	require.NoError(t, err)
	assert.NotEmpty(t, b)
}

func TestPrepareAtOnceAgrees(t *testing.T) {
	dir := project(t)
	var wg sync.WaitGroup
	seen := make([]string, 8)
	for i := range seen {
		p := open(t, dir, nil)
		wg.Go(func() {
			assert.NoError(t, p.Prepare())
			b, err := os.ReadFile(p.Passphrase())
			assert.NoError(t, err)
			seen[i] = string(b)
		})
	}
	wg.Wait()
	assert.NotEmpty(t, seen[0])
	for _, s := range seen {
		assert.Equal(t, seen[0], s)
	}
}

// A run waits for the one that is filling the file, and keeps what that one wrote.
func TestPrepareWaitsForAnotherRun(t *testing.T) {
	p := open(t, project(t), nil)
	write(t, p.Passphrase(), "")
	other, err := lockedfile.OpenFile(p.Passphrase(), os.O_RDWR, 0)
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- p.Prepare() }()
	select {
	case err := <-done:
		done <- err
		t.Error("it did not wait")
	case <-time.After(100 * time.Millisecond):
	}
	_, err = other.WriteString("theirs")
	require.NoError(t, errors.Join(err, other.Close()))
	require.NoError(t, <-done)
	b, err := os.ReadFile(p.Passphrase())
	require.NoError(t, err)
	assert.Equal(t, "theirs", string(b))
}

func TestUsersBackendAndPassphraseAreKept(t *testing.T) {
	dir := project(t)
	for name, c := range map[string]struct {
		env      env
		ownState bool
		phrase   bool // the tool's own
	}{
		"a backend that is no folder":   {env{EnvBackend: "s3://bucket"}, false, false},
		"a folder":                      {env{EnvBackend: "file:///elsewhere"}, false, true},
		"a passphrase":                  {env{EnvPassphrase: "x"}, true, false},
		"an empty passphrase is one":    {env{EnvPassphrase: ""}, true, false},
		"a passphrase's file":           {env{EnvPassphraseFile: "/file"}, true, false},
		"an empty name of one is none":  {env{EnvPassphraseFile: ""}, true, true},
		"both a backend and passphrase": {env{EnvBackend: "file:///elsewhere", EnvPassphrase: "x"}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := open(t, dir, c.env)
			assert.Equal(t, c.ownState, p.OwnState)
			assert.Equal(t, c.phrase, p.Passphrase() != "")
			assert.Equal(t, c.phrase, p.Env[EnvPassphraseFile] != "")
			var lines []string
			if c.ownState {
				lines = append(lines, "export PULUMI_BACKEND_URL="+p.Backend)
			}
			if c.phrase {
				lines = append(lines, "export PULUMI_CONFIG_PASSPHRASE_FILE="+p.Passphrase())
			}
			assert.Equal(t, lines, p.Exports())
			if !c.ownState && !c.phrase {
				require.NoError(t, p.Prepare())
				require.NoError(t, p.RemoveOwn(false))
				assert.NoDirExists(t, filepath.Join(dir, ".bootcamp"))
			}
		})
	}
}

func TestExportsAreQuoted(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "my class")
	write(t, filepath.Join(dir, "Pulumi.yaml"), "name: bootcamp\nruntime: go\n")
	p := open(t, dir, nil)
	assert.Equal(t, "export PULUMI_CONFIG_PASSPHRASE_FILE='"+p.Passphrase()+"'", p.Exports()[1])
	assert.Equal(t, filepath.Join(dir, ".bootcamp", "state"), string(p.State), "the backend's URL leads back")
}

// TestConfigSource: where a release's folder has no file of the sample stack's, the sample is
// read, and is not in the place of the user's: the next release is unpacked over it.
func TestConfigSource(t *testing.T) {
	release := t.TempDir()
	require.NoError(t, archive.Write("../../../..", release))
	none := func(string) (string, bool) { return "", false }
	p, err := Open(release, none)
	require.NoError(t, err)
	own := p.ConfigFile(SampleStack)
	require.NoFileExists(t, own, "an archive that is unpacked over a release's folder would bring it back")
	sample, err := os.ReadFile("../../../../Pulumi.dev.yaml")
	require.NoError(t, err)
	read, err := os.ReadFile(p.ConfigSource(SampleStack))
	require.NoError(t, err)
	assert.Equal(t, string(sample), string(read))
	assert.Equal(t, p.ConfigFile("alice"), p.ConfigSource("alice"))

	write(t, own, "config:\n  bootcamp:edition: current\n")
	assert.Equal(t, own, p.ConfigSource(SampleStack))
	p, err = Open(project(t), none)
	require.NoError(t, err)
	assert.Equal(t, p.ConfigFile(SampleStack), p.ConfigSource(SampleStack), "the source tree has one")
}
