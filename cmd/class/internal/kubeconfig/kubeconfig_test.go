package kubeconfig

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
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
	// A kind cluster, the same rebuilt, and a shared one.
	server, rebuilt, remote = "https://127.0.0.1:1111", "https://localhost:2222", "https://eks.example"
)

// home is a home of its own, and the kubeconfig in it, with a content if any.
func home(t *testing.T, content []byte) (file string) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	t.Setenv("KUBECONFIG", "")
	file = filepath.Join(dir, ".kube", "config")
	if content != nil {
		write(t, file, content)
	}
	return file
}

func write(t *testing.T, file string, content []byte) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o700))
	require.NoError(t, os.WriteFile(file, content, 0o644))
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	return string(b)
}

func load(t *testing.T, file string) *api.Config {
	t.Helper()
	c, err := clientcmd.LoadFromFile(file)
	require.NoError(t, err)
	return c
}

func merge(t *testing.T, name, server string) {
	t.Helper()
	_, err := Merge(of(name, server))
	require.NoError(t, err)
}

func mode(t *testing.T, file string) os.FileMode {
	t.Helper()
	info, err := os.Stat(file)
	require.NoError(t, err)
	return info.Mode().Perm()
}

func TestRead(t *testing.T) {
	e, err := Read(of(one, server))
	require.NoError(t, err)
	assert.Equal(t, Entry{one, server}, e)
	for _, bad := range []string{"", "a: b", "current-context: x\n", "\t"} {
		_, err := Read([]byte(bad))
		assert.Error(t, err, "%q", bad)
		file := filepath.Join(t.TempDir(), "k")
		assert.Error(t, Write(file, []byte(bad)))
		assert.NoFileExists(t, file)
	}
}

func TestWriteAndRemove(t *testing.T) {
	users := home(t, nil)
	file := filepath.Join(t.TempDir(), "k")
	write(t, file, of(one, server)) // which all can read
	require.NoError(t, Write(file, of(one, rebuilt)))
	assert.Equal(t, os.FileMode(0o600), mode(t, file))
	assert.Equal(t, string(of(one, rebuilt)), read(t, file))
	entries, err := os.ReadDir(filepath.Dir(file))
	require.NoError(t, err)
	assert.Len(t, entries, 1, "nothing else lies about")

	removed, err := Entry{Name: one}.Remove(file)
	require.NoError(t, err)
	assert.Equal(t, []string{file}, removed)
	assert.NoFileExists(t, file)
	removed, err = Entry{Name: one}.Remove(file)
	require.NoError(t, err)
	assert.Empty(t, removed)
	assert.NoDirExists(t, filepath.Dir(users), "the user's own is never touched unasked")
}

// TestKnown: wherever Remove would find something, or cannot tell.
func TestKnown(t *testing.T) {
	users := home(t, nil)
	file := filepath.Join(t.TempDir(), "kubeconfig-one.yaml")
	assert.False(t, Known(one, file), "there is no file at all")
	write(t, users, of(two, server))
	assert.False(t, Known(one, file))
	write(t, users, of(one, server))
	assert.True(t, Known(one, file), "it was merged")
	write(t, users, []byte("clusters: ["))
	assert.True(t, Known(one, file), "nobody can tell")
	require.NoError(t, os.Remove(users))
	write(t, file, []byte("whatever"))
	assert.True(t, Known(one, file))
}

func TestWriteLeavesOthersAlone(t *testing.T) {
	for name, content := range map[string]string{
		"another context": string(of(two, server)),
		"no kubeconfig":   "a: [letter\n",
		"other YAML":      "name: bootcamp\n",
		"nothing":         "",
	} {
		t.Run(name, func(t *testing.T) {
			home(t, nil)
			file := filepath.Join(t.TempDir(), "k")
			write(t, file, []byte(content))
			assert.ErrorIs(t, Write(file, of(one, server)), ErrLeftAlone)
			removed, err := Entry{one, server}.Remove(file)
			assert.ErrorIs(t, err, ErrLeftAlone)
			assert.ErrorContains(t, err, file)
			assert.Empty(t, removed)
			assert.Equal(t, content, read(t, file))
		})
	}
}

func TestMergeKeepsAllElse(t *testing.T) {
	file := home(t, append(of(two, remote), "preferences: {colors: true}\n"...))
	before := load(t, file)
	got, err := Merge(of(one, server))
	require.NoError(t, err)
	assert.Equal(t, file, got)
	c := load(t, file)
	assert.Equal(t, two, c.CurrentContext, "what the user works with stays")
	assert.Len(t, c.Contexts, 2)
	assert.Equal(t, server, c.Clusters[one].Server)
	assert.Equal(t, "secret", c.AuthInfos[one].Token)

	merge(t, one, rebuilt)
	c = load(t, file)
	assert.Equal(t, rebuilt, c.Clusters[one].Server)
	assert.Len(t, c.Contexts, 2)

	removed, err := Entry{one, server}.Remove("")
	require.NoError(t, err)
	assert.Equal(t, []string{file}, removed)
	assert.Equal(t, before, load(t, file))
	assert.NoFileExists(t, file+".lock")
}

func TestMergeIntoNone(t *testing.T) {
	file := home(t, nil)
	merge(t, one, server)
	merge(t, two, server)
	assert.Equal(t, os.FileMode(0o600), mode(t, file))
	assert.Equal(t, one, load(t, file).CurrentContext)
	for _, name := range []string{one, two} {
		_, err := Entry{Name: name}.Remove("")
		require.NoError(t, err)
	}
	c := load(t, file)
	assert.Empty(t, c.CurrentContext)
	assert.Zero(t, len(c.Contexts)+len(c.Clusters)+len(c.AuthInfos))
}

// What has the lab's name and is another's is neither overwritten nor removed.
func TestWhoseEntry(t *testing.T) {
	edit := func(change func(*api.Config)) []byte {
		c, err := clientcmd.Load(of(one, server))
		require.NoError(t, err)
		change(c)
		b, err := clientcmd.Write(*c)
		require.NoError(t, err)
		return b
	}
	for name, c := range map[string]struct {
		users  []byte
		server string // the lab's
		own    bool
	}{
		"the same server":                     {of(one, remote), remote, true},
		"another server":                      {of(one, remote), "https://other.example", false},
		"a rebuilt kind cluster":              {of(one, server), rebuilt, true},
		"IPv6":                                {of(one, "https://[::1]:1"), rebuilt, true},
		"a kind cluster, the lab's is shared": {of(one, server), remote, false},
		"a shared one, the lab's is kind":     {of(one, remote), server, false},
		"a kind cluster, the lab's unknown":   {of(one, server), "", true},
		"a shared one, the lab's unknown":     {of(one, remote), "", false},
		"its context is gone":                 {edit(func(c *api.Config) { delete(c.Contexts, one) }), server, true},
		"its cluster is gone":                 {edit(func(c *api.Config) { delete(c.Clusters, one) }), server, false},
		"it is another cluster's context":     {edit(func(c *api.Config) { c.Contexts[one].Cluster = "mine" }), server, false},
		"it is another user's context":        {edit(func(c *api.Config) { c.Contexts[one].AuthInfo = "me" }), server, false},
	} {
		t.Run(name, func(t *testing.T) {
			file := home(t, c.users)
			if c.server != "" && !c.own {
				_, err := Merge(of(one, c.server))
				assert.ErrorIs(t, err, ErrLeftAlone)
				assert.ErrorContains(t, err, file)
				assert.Equal(t, string(c.users), read(t, file))
			}
			removed, err := Entry{one, c.server}.Remove("")
			if c.own {
				require.NoError(t, err)
				assert.Equal(t, []string{file}, removed)
				assert.Empty(t, load(t, file).AuthInfos)
				return
			}
			assert.ErrorIs(t, err, ErrLeftAlone)
			assert.ErrorContains(t, err, file)
			assert.Empty(t, removed)
			assert.Equal(t, string(c.users), read(t, file))
		})
	}
}

func TestSeveralFiles(t *testing.T) {
	home(t, nil)
	dir := t.TempDir()
	first, second, none := filepath.Join(dir, "1"), filepath.Join(dir, "2"), filepath.Join(dir, "3")
	write(t, first, of(two, server))
	write(t, second, of(one, server))
	t.Setenv("KUBECONFIG", first+string(os.PathListSeparator)+second+string(os.PathListSeparator)+none)
	file, err := Merge(of(one, rebuilt))
	require.NoError(t, err)
	assert.Equal(t, second, file, "an entry stays in the file that has it")
	assert.Equal(t, rebuilt, load(t, second).Clusters[one].Server)
	assert.Equal(t, string(of(two, server)), read(t, first))
	file, err = Merge(of("kind-bootcamp-new", server))
	require.NoError(t, err)
	assert.Equal(t, first, file, "where kubectl writes a new one")
	assert.Equal(t, two, load(t, first).CurrentContext)

	// One that is another's is named, and the rest goes all the same.
	write(t, first, of(one, remote))
	own := filepath.Join(dir, "own")
	write(t, own, of(one, rebuilt))
	removed, err := Entry{one, rebuilt}.Remove(own)
	assert.ErrorIs(t, err, ErrLeftAlone)
	assert.ErrorContains(t, err, first)
	assert.Equal(t, []string{own, second}, removed)
	assert.Equal(t, string(of(one, remote)), read(t, first))
	assert.Empty(t, load(t, second).Contexts)
	assert.NoFileExists(t, none)
}

func TestBrokenKubeconfigIsKept(t *testing.T) {
	file := home(t, []byte("a: [letter\n"))
	_, err := Merge(of(one, server))
	require.Error(t, err)
	_, err = Entry{one, server}.Remove("")
	assert.ErrorContains(t, err, file)
	assert.Equal(t, "a: [letter\n", read(t, file))
}

// Merges wait for the lock that kubectl and kind take, so that all of many at once
// get through, and none takes another's entry away.
func TestMergesAtOnce(t *testing.T) {
	file := home(t, of(two, remote))
	write(t, file+".lock", nil) // kubectl is at work
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			_, err := Merge(of(fmt.Sprint(one, i), server))
			assert.NoError(t, err)
		})
	}
	time.Sleep(200 * time.Millisecond)
	assert.Equal(t, string(of(two, remote)), read(t, file), "they wait")
	require.NoError(t, os.Remove(file+".lock"))
	wg.Wait()
	assert.Len(t, load(t, file).Contexts, 11)
	assert.Len(t, load(t, file).Clusters, 11)
	assert.Len(t, load(t, file).AuthInfos, 11)
	assert.NoFileExists(t, file+".lock")
}

func TestALockThatNobodyRemoves(t *testing.T) {
	file := home(t, of(two, remote))
	write(t, file+".lock", nil)
	lockTimeout = 50 * time.Millisecond
	t.Cleanup(func() { lockTimeout = 10 * time.Second })
	_, err := Merge(of(one, server))
	assert.ErrorContains(t, err, file+".lock")
	assert.Equal(t, string(of(two, remote)), read(t, file))
	assert.FileExists(t, file+".lock", "it is not this tool's")
}
