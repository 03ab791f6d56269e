package workspace

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/blang/semver"
	"github.com/pulumi/pulumi/sdk/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func project(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "Pulumi.yaml"), []byte("name: bootcamp\nruntime: go\n"), 0o600))
	return dir
}

func env(pairs ...string) func(string) string {
	return func(key string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == key {
				return pairs[i+1]
			}
		}
		return ""
	}
}

func TestFind(t *testing.T) {
	dir := project(t)
	below := filepath.Join(dir, "a", "b")
	require.NoError(t, os.MkdirAll(below, 0o700))
	for _, from := range []string{dir, below} {
		got, err := Find(from)
		require.NoError(t, err)
		assert.Equal(t, dir, got)
	}
	// Another project in between is passed by.
	require.NoError(t, os.WriteFile(filepath.Join(below, "Pulumi.yaml"), []byte("name: other\nruntime: go\n"), 0o600))
	got, err := Find(below)
	require.NoError(t, err)
	assert.Equal(t, dir, got)

	_, err = Find(t.TempDir())
	assert.ErrorContains(t, err, `no Pulumi.yaml of project "bootcamp"`)
}

func TestOwnStateAndPassphrase(t *testing.T) {
	dir := project(t)
	p, err := Open(dir, env())
	require.NoError(t, err)
	state, phrase := filepath.Join(dir, ".bootcamp", "state"), filepath.Join(dir, ".bootcamp", "passphrase")
	assert.True(t, p.OwnState)
	assert.Equal(t, state, p.StateDir)
	assert.NoDirExists(t, state, "Open makes nothing")

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
	assert.Len(t, first, 64)

	require.NoError(t, p.Prepare())
	second, err := os.ReadFile(phrase)
	require.NoError(t, err)
	assert.Equal(t, first, second, "it is made once")
	entries, err := os.ReadDir(filepath.Join(dir, ".bootcamp"))
	require.NoError(t, err)
	assert.Len(t, entries, 2, "nothing else lies about")
	assert.Equal(t, []string{"export PULUMI_BACKEND_URL=file://" + state, "export PULUMI_CONFIG_PASSPHRASE_FILE=" + phrase},
		p.Exports(func(s string) string { return s }))

	require.NoError(t, p.RemoveOwn(false))
	assert.NoDirExists(t, filepath.Join(dir, ".bootcamp"))
}

func TestPrepareAtOnceAgrees(t *testing.T) {
	p, err := Open(project(t), env())
	require.NoError(t, err)
	var wg sync.WaitGroup
	seen := make([]string, 8)
	for i := range seen {
		wg.Go(func() {
			assert.NoError(t, p.Prepare())
			b, err := os.ReadFile(p.Passphrase())
			assert.NoError(t, err)
			seen[i] = string(b)
		})
	}
	wg.Wait()
	for _, s := range seen {
		assert.Equal(t, seen[0], s)
	}
}

func TestUsersBackendAndPassphraseAreKept(t *testing.T) {
	dir := project(t)
	p, err := Open(dir, env(EnvBackend, "s3://bucket", EnvPassphrase, "x"))
	require.NoError(t, err)
	assert.False(t, p.OwnState)
	assert.Empty(t, p.StateDir)
	assert.Empty(t, p.Passphrase())
	assert.NotContains(t, p.Env, EnvPassphraseFile)
	require.NoError(t, p.Prepare())
	assert.NoDirExists(t, filepath.Join(dir, ".bootcamp"))
	require.NoError(t, p.RemoveOwn(false))
	assert.Empty(t, p.Exports(nil))
}

func TestStateDir(t *testing.T) {
	t.Setenv("HOME", "/home/u")
	here, err := os.Getwd()
	require.NoError(t, err)
	for url, want := range map[string]string{
		"file:///a/b":               "/a/b",
		"file:///a%20b/c":           "/a b/c",
		"file:///a b":               "/a b",
		"file:///a?no_tmp_dir=true": "/a",
		"file://~":                  "/home/u",
		"file://~/x":                "/home/u/x",
		"file://./x":                filepath.Join(here, "x"),
		"https://api.pulumi.com":    "",
		"azblob://x":                "",
	} {
		got, err := stateDir(url)
		require.NoError(t, err)
		assert.Equal(t, want, got, url)
	}
}

func version(s string) semver.Version { return semver.MustParse(s) }

// finder has a CLI on PATH and one in the cache; empty is none.
func finder(t *testing.T, onPath, cached string) (*Finder, *[]string) {
	t.Helper()
	var did []string
	root := t.TempDir()
	file := filepath.Join(root, "bin", "pulumi")
	f := &Finder{
		Version: version("3.259.0"),
		Say:     func(string, ...any) {},
		LookPath: func(string) (string, error) {
			if onPath == "" {
				return "", errors.New("not found")
			}
			return "/usr/bin/pulumi", nil
		},
		Probe: func(_ context.Context, path string) (semver.Version, error) {
			v := cached
			if path != file {
				v = onPath
			}
			return semver.ParseTolerant(v)
		},
		Root:     func() (string, error) { return root, nil },
		Download: func(context.Context, string) error { did = append(did, "download"); cached = "3.259.0"; return nil },
		Build:    func(context.Context, string) error { did = append(did, "build"); cached = "3.259.0"; return nil },
	}
	return f, &did
}

func TestFinder(t *testing.T) {
	for name, c := range map[string]struct {
		onPath, cached string
		fromPath       bool
		did            []string
	}{
		"the one on PATH":            {"3.259.0", "", true, nil},
		"a later one on PATH":        {"v3.300.1", "", true, nil},
		"too old on PATH":            {"3.258.0", "", false, []string{"download"}},
		"another major on PATH":      {"4.0.0", "", false, []string{"download"}},
		"broken on PATH":             {"what?", "", false, []string{"download"}},
		"too old on PATH, cached":    {"3.1.0", "3.259.0", false, nil},
		"none":                       {"", "", false, []string{"download"}},
		"none on PATH, too old here": {"", "3.200.0", false, []string{"download"}},
	} {
		t.Run(name, func(t *testing.T) {
			f, did := finder(t, c.onPath, c.cached)
			cli, err := f.Find(context.Background())
			require.NoError(t, err)
			assert.Equal(t, c.fromPath, cli.Path == "/usr/bin/pulumi")
			assert.Equal(t, c.did, *did)
		})
	}
}

func TestFinderBuildsWhereItCannotDownload(t *testing.T) {
	f, did := finder(t, "", "")
	f.Download = func(context.Context, string) error {
		*did = append(*did, "download")
		return errors.New("no route\nto host")
	}
	var said []string
	f.Say = func(format string, _ ...any) { said = append(said, format) }
	cli, err := f.Find(context.Background())
	require.NoError(t, err)
	assert.Equal(t, []string{"download", "build"}, *did)
	assert.Equal(t, version("3.259.0"), cli.Version)
	assert.Len(t, said, 3, "what it does is said")
}

func TestFinderFailsBothWays(t *testing.T) {
	f, _ := finder(t, "", "")
	f.Download = func(context.Context, string) error { return errors.New("no route") }
	f.Build = func(context.Context, string) error { return errors.New("no proxy") }
	_, err := f.Find(context.Background())
	for _, part := range []string{"no route", "no proxy", "install Pulumi v3.259.0 yourself"} {
		assert.ErrorContains(t, err, part)
	}
}

func TestFinderRefusesWhatItInstalledIfUnusable(t *testing.T) {
	f, _ := finder(t, "", "")
	f.Download = func(context.Context, string) error { return nil }
	_, err := f.Find(context.Background())
	assert.ErrorContains(t, err, "is not usable")
}

// The CLI is built with the SDK of the project's own go.sum: the module's sum
// and its go.mod's.
func TestSumsOf(t *testing.T) {
	sums, err := sumsOf(filepath.Join("..", "..", "..", "go.sum"), sdkModule+" v"+sdk.Version.String())
	require.NoError(t, err)
	assert.Equal(t, 2, bytes.Count(sums, []byte("\n")))
}

// script is a CLI that is a shell script.
func script(t *testing.T, text string) *CLI {
	t.Helper()
	file := filepath.Join(t.TempDir(), "pulumi")
	require.NoError(t, os.WriteFile(file, []byte("#!/bin/sh\n"+text), 0o700))
	return &CLI{Path: file, Version: version("3.259.0")}
}

func TestCommand(t *testing.T) {
	c := &Command{CLI: script(t, `echo "$@|$PULUMI_AUTOMATION_API|$X|$(pwd)"; cat; echo bad >&2; exit 3`), Kill: context.Background()}
	dir := t.TempDir()
	var copied bytes.Buffer
	out, errOut, code, err := c.Run(context.Background(), dir, strings.NewReader("in"), []ioWriter{&copied}, nil, []string{"X=y"}, "stack", "ls")
	require.Error(t, err)
	assert.Equal(t, 3, code)
	assert.Equal(t, "--non-interactive stack ls|true|y|"+dir+"\nin", out)
	assert.Equal(t, out, copied.String())
	assert.Equal(t, "bad\n", errOut)
	assert.Equal(t, "bad", c.LastError())
}

func TestCancelInterruptsOnceAndWaits(t *testing.T) {
	c := &Command{Kill: context.Background(), CLI: script(t, `
trap 'n=$((n+1)); echo caught $n' INT
echo started
i=0; while [ $i -lt 10 ]; do i=$((i+1)); sleep 0.1; done
echo done; exit 1`)}
	ctx, cancel := context.WithCancel(context.Background())
	out := &starts{on: "started", do: cancel}
	text, _, code, err := c.Run(ctx, t.TempDir(), nil, []ioWriter{out}, nil, nil, "up")
	assert.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, 1, code)
	assert.Equal(t, "started\ncaught 1\ndone\n", text, "one signal, and time to end by itself")
}

func TestKillEndsTheWholeGroup(t *testing.T) {
	kill, killNow := context.WithCancel(context.Background())
	pidFile := filepath.Join(t.TempDir(), "pid")
	c := &Command{Kill: kill, CLI: script(t, "trap '' INT\nsleep 60 &\necho $! >"+pidFile+"\necho started\nwait; sleep 60")}
	ctx, cancel := context.WithCancel(context.Background())
	out := &starts{on: "started", do: func() { cancel(); killNow() }}
	began := time.Now()
	_, _, _, err := c.Run(ctx, t.TempDir(), nil, []ioWriter{out}, nil, nil, "up")
	require.Error(t, err)
	assert.Less(t, time.Since(began), 4*time.Second)
	pid, err := os.ReadFile(pidFile)
	require.NoError(t, err)
	gone := func() bool {
		stat, err := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/stat")
		return err != nil || strings.Contains(string(stat), ") Z ")
	}
	assert.Eventually(t, gone, 5*time.Second, 20*time.Millisecond, "its child is gone too")
}

func TestCancelledBeforeItBegins(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ran")
	c := &Command{Kill: context.Background(), CLI: script(t, "touch "+file)}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, _, _, err := c.Run(ctx, t.TempDir(), nil, nil, nil, nil, "up")
	assert.ErrorIs(t, err, context.Canceled)
	assert.NoFileExists(t, file)
}

// The tool's own state may go only when no stack is in it, be it damaged or another's.
func TestStacks(t *testing.T) {
	p := &Project{StateDir: t.TempDir()}
	files, err := p.Stacks()
	require.NoError(t, err)
	assert.Empty(t, files, "there never was one")
	dir := filepath.Join(p.StateDir, ".pulumi", "stacks", ProjectName)
	require.NoError(t, os.MkdirAll(dir, 0o700))
	for _, name := range []string{"a.json", "a.json.attrs", "a.json.bak", "b.json.gz", "b.json.gz.bak"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("{cut"), 0o600))
	}
	files, err = p.Stacks()
	require.NoError(t, err)
	assert.Equal(t, []string{"a.json", "b.json.gz"}, files)
}
