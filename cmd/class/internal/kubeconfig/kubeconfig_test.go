package kubeconfig

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/client-go/tools/clientcmd"
)

func of(name, server string) []byte {
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters: [{name: %[1]s, cluster: {server: %[2]q, certificate-authority-data: Y2E=}}]
users: [{name: %[1]s, user: {token: secret}}]
contexts: [{name: %[1]s, context: {cluster: %[1]s, user: %[1]s}}]
current-context: %[1]s
`, name, server)
}

const (
	one = "kind-bootcamp-one"
	two = "kind-bootcamp-two"
)

// home is a home of its own, with a kubeconfig where one is given.
func home(t *testing.T, kubeconfig []byte) (file string) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	t.Setenv("KUBECONFIG", "")
	file = filepath.Join(dir, ".kube", "config")
	if kubeconfig != nil {
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o700))
		require.NoError(t, os.WriteFile(file, kubeconfig, 0o600))
	}
	return file
}

func book(t *testing.T) Book { return Book{Dir: filepath.Join(t.TempDir(), "kubeconfigs")} }

func mode(t *testing.T, file string) os.FileMode {
	t.Helper()
	info, err := os.Stat(file)
	require.NoError(t, err)
	return info.Mode().Perm()
}

func TestWriteAndRemove(t *testing.T) {
	users := home(t, nil)
	b := book(t)
	file := filepath.Join(t.TempDir(), FileName("one"))
	require.NoError(t, os.WriteFile(file, of(one, "https://old"), 0o644))
	require.NoError(t, b.Write("one", file, of(one, "https://new")))
	assert.Equal(t, os.FileMode(0o600), mode(t, file), "also over a file that all could read")
	got, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, of(one, "https://new"), got)
	assert.NoFileExists(t, users, "the user's own is never touched unasked")

	require.NoError(t, b.Write("one", file, of(one, "https://new")))
	records, err := b.Records("one")
	require.NoError(t, err)
	assert.Len(t, records, 1)

	removed, err := b.Remove("one")
	require.NoError(t, err)
	assert.Equal(t, []string{file}, removed)
	assert.NoFileExists(t, file)
	removed, err = b.Remove("one")
	require.NoError(t, err)
	assert.Empty(t, removed)
}

func TestWriteLeavesOthersAlone(t *testing.T) {
	b := book(t)
	file := filepath.Join(t.TempDir(), "config")
	require.NoError(t, os.WriteFile(file, of(two, "https://two"), 0o600))
	assert.ErrorContains(t, b.Write("one", file, of(one, "https://one")), "other contexts")
	require.NoError(t, os.WriteFile(file, []byte("a: [letter\n"), 0o600))
	assert.ErrorContains(t, b.Write("one", file, of(one, "https://one")), "no kubeconfig")
	records, err := b.Records("one")
	require.NoError(t, err)
	assert.Empty(t, records)
}

func TestMergeKeepsAllElse(t *testing.T) {
	file := home(t, of(two, "https://two"))
	b := book(t)
	got, err := b.Merge("one", of(one, "https://one"))
	require.NoError(t, err)
	assert.Equal(t, file, got)
	c, err := clientcmd.LoadFromFile(file)
	require.NoError(t, err)
	assert.Equal(t, two, c.CurrentContext, "what the user works with stays")
	assert.Len(t, c.Contexts, 2)
	assert.Equal(t, "https://one", c.Clusters[one].Server)
	assert.Equal(t, "https://two", c.Clusters[two].Server)
	assert.Equal(t, "secret", c.AuthInfos[one].Token)
	assert.NoFileExists(t, file+".lock")

	_, err = b.Merge("one", of(one, "https://rebuilt"))
	require.NoError(t, err)
	c, err = clientcmd.LoadFromFile(file)
	require.NoError(t, err)
	assert.Equal(t, "https://rebuilt", c.Clusters[one].Server)
	assert.Len(t, c.Contexts, 2)

	removed, err := b.Remove("one")
	require.NoError(t, err)
	assert.Equal(t, []string{file}, removed)
	c, err = clientcmd.LoadFromFile(file)
	require.NoError(t, err)
	assert.Equal(t, two, c.CurrentContext)
	assert.Len(t, c.Contexts, 1)
	assert.Len(t, c.Clusters, 1)
	assert.Len(t, c.AuthInfos, 1)
}

func TestMergeIntoNone(t *testing.T) {
	file := home(t, nil)
	b := book(t)
	_, err := b.Merge("one", of(one, "https://one"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), mode(t, file))
	c, err := clientcmd.LoadFromFile(file)
	require.NoError(t, err)
	assert.Equal(t, one, c.CurrentContext)
	_, err = b.Merge("one", of(one, "https://rebuilt"))
	require.NoError(t, err)
	_, err = b.Remove("one")
	require.NoError(t, err)
	assert.NoFileExists(t, file, "the merge made it, and nothing else is in it")
}

func TestRemoveLeavesAFileThatWasThere(t *testing.T) {
	file := home(t, []byte("apiVersion: v1\nkind: Config\n"))
	b := book(t)
	_, err := b.Merge("one", of(one, "https://one"))
	require.NoError(t, err)
	_, err = b.Remove("one")
	require.NoError(t, err)
	assert.FileExists(t, file)
}

func TestRemoveLeavesWhatCameLater(t *testing.T) {
	file := home(t, nil)
	b := book(t)
	_, err := b.Merge("one", of(one, "https://one"))
	require.NoError(t, err)
	_, err = b.Merge("two", of(two, "https://two"))
	require.NoError(t, err)
	_, err = b.Remove("one")
	require.NoError(t, err)
	c, err := clientcmd.LoadFromFile(file)
	require.NoError(t, err)
	assert.Empty(t, c.CurrentContext)
	assert.Len(t, c.Contexts, 1)
	assert.Contains(t, c.Contexts, two)
}

func TestMergeStaysInTheFileThatHasIt(t *testing.T) {
	home(t, nil)
	dir := t.TempDir()
	first, second := filepath.Join(dir, "1"), filepath.Join(dir, "2")
	require.NoError(t, os.WriteFile(first, of(two, "https://two"), 0o600))
	require.NoError(t, os.WriteFile(second, of(one, "https://old"), 0o600))
	t.Setenv("KUBECONFIG", first+string(os.PathListSeparator)+second)
	before, err := os.ReadFile(first)
	require.NoError(t, err)

	file, err := book(t).Merge("one", of(one, "https://new"))
	require.NoError(t, err)
	assert.Equal(t, second, file)
	after, err := os.ReadFile(first)
	require.NoError(t, err)
	assert.Equal(t, string(before), string(after))
	c, err := clientcmd.LoadFromFile(second)
	require.NoError(t, err)
	assert.Equal(t, "https://new", c.Clusters[one].Server)
}

func TestRemoveNamesWhatItCannot(t *testing.T) {
	home(t, nil)
	b := book(t)
	dir := t.TempDir()
	first, second := filepath.Join(dir, "1"), filepath.Join(dir, "2")
	require.NoError(t, b.Write("one", first, of(one, "https://one")))
	require.NoError(t, b.Write("one", second, of(one, "https://one")))
	require.NoError(t, os.WriteFile(first, of(two, "https://mine now"), 0o600))
	removed, err := b.Remove("one")
	assert.ErrorContains(t, err, first+" stays: other contexts")
	assert.Equal(t, []string{second}, removed, "the rest goes all the same")
	assert.FileExists(t, first)
}

func TestStale(t *testing.T) {
	home(t, nil)
	b := book(t)
	file := filepath.Join(t.TempDir(), "k")
	require.NoError(t, b.Write("one", file, of(one, "https://one")))
	stale, err := b.Stale("one", of(one, "https://one"))
	require.NoError(t, err)
	assert.Empty(t, stale)
	stale, err = b.Stale("one", of(one, "https://rebuilt"))
	require.NoError(t, err)
	assert.Equal(t, []string{file}, stale)
	require.NoError(t, os.Remove(file))
	stale, err = b.Stale("one", of(one, "https://rebuilt"))
	require.NoError(t, err)
	assert.Empty(t, stale)
}

func TestBadKubeconfig(t *testing.T) {
	for _, bad := range []string{"", "a: b", "current-context: x\n", "\t"} {
		assert.Error(t, book(t).Write("one", filepath.Join(t.TempDir(), "k"), []byte(bad)), "%q", bad)
	}
}
