package archive

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/workspace"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const root = "../.."

// TestProject: as Pulumi reads them, the release's Pulumi.yaml is the source's with another
// runtime, that lies in the archive.
func TestProject(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "archive")
	require.NoError(t, Write(root, dir))
	source, err := workspace.LoadProject(filepath.Join(root, "Pulumi.yaml"))
	require.NoError(t, err)
	release, err := workspace.LoadProject(filepath.Join(dir, "Pulumi.yaml"))
	require.NoError(t, err)

	assert.Equal(t, "go", source.Runtime.Name())
	assert.Equal(t, Runtime, release.Runtime.Name())
	assert.Empty(t, release.Runtime.Options())
	assert.Greater(t, len(release.Config), 20)
	assert.Equal(t, source.Config, release.Config)
	assert.Equal(t, source.Name, release.Name)
	assert.Equal(t, source.Description, release.Description)
	require.Len(t, release.Plugins.Languages, 1)
	for _, ext := range []string{"", ".cmd"} {
		assert.FileExists(t, filepath.Join(dir, release.Plugins.Languages[0].Path, "pulumi-language-"+Runtime+ext))
	}
	text, err := os.ReadFile(filepath.Join(dir, "Pulumi.yaml"))
	require.NoError(t, err)
	assert.Contains(t, string(text), "# Every key, its type and default.", "comments stay")

	_, err = Project([]byte("name: bootcamp\n"))
	assert.ErrorContains(t, err, "no runtime")
}

// TestStarter: what Pulumi starts is the executable beside Pulumi.yaml, wherever both lie,
// with the arguments as they are, and with nothing on PATH.
func TestStarter(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the other starter's")
	}
	dir := filepath.Join(t.TempDir(), "a folder")
	require.NoError(t, Write(root, dir))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "class"), []byte("#!/bin/sh\nprintf '%s|' \"$@\"\n"), 0o755))
	cmd := exec.Command(filepath.Join(dir, hosts, "pulumi-language-"+Runtime), "-v=9", "a b", "127.0.0.1:1")
	cmd.Dir, cmd.Env = t.TempDir(), []string{"PATH="}
	out, err := cmd.Output()
	require.NoError(t, err)
	assert.Equal(t, "language-host|-v=9|a b|127.0.0.1:1|", string(out))
}

// TestWrite: nothing of the source tree but what a release needs, and nothing of an earlier
// content; and nobody else's folder is emptied.
func TestWrite(t *testing.T) {
	others := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(others, "mine"), nil, 0o600))
	require.ErrorContains(t, Write(root, others), others)
	assert.FileExists(t, filepath.Join(others, "mine"))

	dir := t.TempDir()
	require.NoError(t, Write(root, dir))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "stale"), nil, 0o600))
	require.NoError(t, Write(root, dir))
	assert.NoFileExists(t, filepath.Join(dir, "stale"))
	used := filepath.Join(dir, ".bootcamp")
	require.NoError(t, os.Mkdir(used, 0o700))
	require.ErrorContains(t, Write(root, dir), ".bootcamp")
	require.NoError(t, os.Remove(used)) // it is there still
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	assert.Equal(t, "Pulumi.yaml README.ja.md README.md SECURITY.md docs runtime", strings.Join(names, " "))
	assert.FileExists(t, filepath.Join(dir, "docs", "class.md"))
	assert.FileExists(t, filepath.Join(dir, Sample))
}
