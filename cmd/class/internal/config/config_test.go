package config

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/workspace"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const project = "bootcamp"

func load(t *testing.T, text string) *File {
	t.Helper()
	file := filepath.Join(t.TempDir(), "Pulumi.x.yaml")
	if text != "" {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	}
	f, err := Load(&workspace.Project{Name: project}, file)
	require.NoError(t, err)
	return f
}

func TestMerge(t *testing.T) {
	f := load(t, "config:\n  bootcamp:replicas: 3\n  bootcamp:workers: \"1\"\n  bootcamp:hostPort: 18080\n  other:key: x\n")
	c, err := Merge(project, "x", f, []string{"hostPort", "edition"},
		Values{"replicas": "4", "workers": "1"}, Values{"replicas": "5"})
	require.NoError(t, err)
	assert.Equal(t, 5, c.Settings.Replicas, "the last one wins")
	assert.Equal(t, 1, c.Settings.Workers)
	assert.Equal(t, 0, c.Settings.HostPort, "an unset key is the default")
	assert.Equal(t, Values{"replicas": "5"}, c.Set, "only what differs is written")
	assert.Equal(t, []string{"bootcamp:hostPort"}, c.Unset, "only what is there goes")
	assert.Equal(t, []string{"bootcamp:replicas", "bootcamp:workers", "other:key"}, c.Keys)
}

func TestMergeUnsetYieldsToFlag(t *testing.T) {
	c, err := Merge(project, "x", load(t, "config:\n  bootcamp:replicas: 3\n"), []string{"replicas"}, Values{"replicas": "4"}, Values{})
	require.NoError(t, err)
	assert.Equal(t, 4, c.Settings.Replicas)
	assert.Empty(t, c.Unset)
	assert.Equal(t, Values{"replicas": "4"}, c.Set)
}

func TestMergeReportsAll(t *testing.T) {
	_, err := Merge(project, "x", load(t, "config:\n  bootcamp:worker: 3\n"), nil, Values{"replicas": "many", "edition": "old"})
	problems := Problems(err)
	require.Len(t, problems, 3)
	assert.ErrorContains(t, problems[0], `bootcamp:replicas = "many"`)
	assert.ErrorContains(t, problems[1], `bootcamp:edition = "old"`)
	assert.ErrorContains(t, problems[2], "bootcamp:worker is no key of this project; did you mean workers?")
}

func TestSecretIsLeftToPulumi(t *testing.T) {
	f := load(t, "encryptionsalt: v1:x\nconfig:\n  bootcamp:nodeImage:\n    secure: v1:abc\n")
	assert.True(t, f.Secrets["nodeImage"])
	c, err := Merge(project, "x", f, nil)
	require.NoError(t, err)
	assert.Empty(t, c.Set)
	assert.Equal(t, []string{"bootcamp:nodeImage"}, c.Keys)
}

func TestLoadMissingAndBroken(t *testing.T) {
	assert.False(t, load(t, "").Exists)
	file := filepath.Join(t.TempDir(), "Pulumi.x.yaml")
	require.NoError(t, os.WriteFile(file, []byte("config: [\n"), 0o600))
	_, err := Load(&workspace.Project{Name: project}, file)
	assert.ErrorContains(t, err, file)
}

func TestParseFlags(t *testing.T) {
	got, err := ParseFlags(project, []string{"replicas=3", "bootcamp:nodeImage=a=b:1", "echoImage="})
	require.NoError(t, err)
	assert.Equal(t, Values{"replicas": "3", "nodeImage": "a=b:1", "echoImage": ""}, got)

	_, err = ParseFlags(project, []string{"replicas", "=3", "workers=1", "bootcamp:workers=2"})
	require.Error(t, err)
	assert.Len(t, err.(interface{ Unwrap() []error }).Unwrap(), 3)
}

func TestCheckName(t *testing.T) {
	assert.Empty(t, CheckName("hanako-1"))
	assert.Len(t, CheckName("a/b"), 1)
	assert.Len(t, CheckName(""), 1)
}
