package workspace

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestStateFolder(t *testing.T) {
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
		got, err := stateFolder(url)
		require.NoError(t, err)
		assert.Equal(t, StateFolder(want), got, url)
	}
	_, err = stateFolder("file:///a%zz")
	assert.Error(t, err)
}

func TestLayout(t *testing.T) {
	f := StateFolder("/s")
	assert.Equal(t, "/s/.pulumi/stacks/bootcamp/x.json", f.StackFile("x"))
	assert.Equal(t, "/s/.pulumi/stacks/bootcamp/x.json.bak", f.BackupFile("x"))
	assert.Equal(t, "/s/.pulumi/locks/organization/bootcamp/x", f.LockFolder("x"))
}

// state is a folder with these files below its .pulumi.
func state(t *testing.T, files ...string) StateFolder {
	t.Helper()
	f := StateFolder(t.TempDir())
	for _, name := range files {
		write(t, f.path(name), "{cut")
	}
	return f
}

// below are files as names below .pulumi.
func below(t *testing.T, f StateFolder, files []string) (names []string) {
	t.Helper()
	for _, file := range files {
		name, err := filepath.Rel(f.path(), file)
		require.NoError(t, err)
		names = append(names, filepath.ToSlash(name))
	}
	return names
}

// The tool's own state may go only when no stack is in it, be it damaged or
// another project's.
func TestStacks(t *testing.T) {
	for _, none := range []StateFolder{"", state(t), state(t, "meta.yaml", "backups/bootcamp/a/a.1.json", "stacks/bootcamp/a.json.bak")} {
		files, err := none.Stacks()
		require.NoError(t, err)
		assert.Empty(t, files)
	}
	f := state(t, "stacks/bootcamp/a.json", "stacks/bootcamp/a.json.attrs", "stacks/bootcamp/a.json.bak", "stacks/bootcamp/a.pulumi-tags",
		"stacks/bootcamp/b.json.gz", "stacks/bootcamp/b.json.gz.bak", "stacks/bootcamp/c.json.zst", "stacks/other/a.json", "stacks/legacy.json")
	files, err := f.Stacks()
	require.NoError(t, err)
	assert.Equal(t, []string{"stacks/bootcamp/a.json", "stacks/bootcamp/b.json.gz", "stacks/bootcamp/c.json.zst",
		"stacks/legacy.json", "stacks/other/a.json"}, below(t, f, files))
}

func TestLeftovers(t *testing.T) {
	of := func(stack string) []string {
		s := "stacks/bootcamp/" + stack
		return []string{
			"backups/bootcamp/" + stack + "/" + stack + ".1.json",
			"history/bootcamp/" + stack + "/" + stack + "-1.history.json.attrs",
			"locks/organization/bootcamp/" + stack + "/0-0.json",
			s + ".json", s + ".json.12", s + ".json.attrs", s + ".json.bak", s + ".json.gz", s + ".json.gz.bak.attrs", s + ".pulumi-tags",
		}
	}
	// Stacks of the layout's own names, and of names that begin alike.
	stacks := []string{"x", "xy", "x.json", "x.json.bak", "a.x", "stacks", "bootcamp", "organization", "history", "locks", "backups"}
	files := []string{"meta.yaml", "stacks/other/x.json"}
	for _, stack := range stacks {
		files = append(files, of(stack)...)
	}
	f := state(t, files...)
	require.NoError(t, os.MkdirAll(f.path("history/bootcamp/gone"), 0o700))
	for _, stack := range append(stacks, "gone", "none", ".", "x.") {
		var want []string
		if stack != "gone" && stack != "none" && stack != "." && stack != "x." {
			want = of(stack)
		}
		left, err := f.Leftovers(stack)
		require.NoError(t, err)
		assert.Equal(t, want, below(t, f, left), stack)
	}
	left, err := StateFolder("").Leftovers("x")
	require.NoError(t, err)
	assert.Empty(t, left)
}

// TestNamesake: a name in other capitals is another stack's, unless it is there itself.
func TestNamesake(t *testing.T) {
	p := &Project{Dir: t.TempDir(), State: state(t, "stacks/bootcamp/alice.json", "stacks/bootcamp/bob.json.gz", "stacks/bootcamp/Eve.json",
		"stacks/bootcamp/eve.json", "stacks/bootcamp/carol.json.bak", "stacks/other/dave.json")}
	write(t, filepath.Join(p.Dir, "Pulumi.yaml"), "")
	write(t, filepath.Join(p.Dir, "Pulumi.dev.yaml"), "")
	names, err := p.Stacks()
	require.NoError(t, err)
	for stack, want := range map[string]string{
		"alice": "", "Alice": "alice", "BOB": "bob", "eve": "", "Eve": "", "Carol": "", "Dave": "", "Dev": "dev", "dev": "", "zoe": "", "YAML": "",
	} {
		assert.Equal(t, want, Namesake(names, stack), stack)
	}
	p.State = "" // another backend, whose stacks are not files
	names, err = p.Stacks()
	require.NoError(t, err)
	assert.Equal(t, []string{"dev"}, names)
	p.State = StateFolder(filepath.Join(t.TempDir(), "none yet"))
	names, err = p.Stacks()
	require.NoError(t, err)
	assert.Equal(t, []string{"dev"}, names)
}
