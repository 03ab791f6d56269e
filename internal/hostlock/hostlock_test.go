package hostlock

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestManyAtOnce: the lock is handed on, and only one has it at a time.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	name := t.Name()
	var inside, most, done int
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() {
			for range 4 { // who comes back makes the file anew, while others wait for the old one
				unlock, err := Take(t.Context(), name, nil)
				if !assert.NoError(t, err) {
					return
				}
				mu.Lock()
				inside++
				most = max(most, inside)
				mu.Unlock()
				time.Sleep(time.Millisecond) // long enough for another to get in
				mu.Lock()
				inside--
				done++
				mu.Unlock()
				unlock()
			}
		})
	}
	all.Wait()
	assert.Equal(t, 20, done)
	assert.Equal(t, 1, most)
}

// TestUnusableDir: an unusable folder for locks is an error.
func TestUnusableDir(t *testing.T) {
	dir := t.TempDir() + "/missing"
	t.Setenv("TMPDIR", dir)
	_, err := Take(t.Context(), "bootcamp-x", nil)
	assert.ErrorIs(t, err, os.ErrNotExist)
	assert.ErrorContains(t, err, dir)
}

// TestDir: a folder that another user could reach is not used, and none stays.
func TestDir(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	unlock, err := Take(t.Context(), "bootcamp-x", nil)
	require.NoError(t, err)
	dir, err := Dir()
	require.NoError(t, err)
	info, err := os.Stat(dir)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	unlock()
	assert.NoDirExists(t, dir)

	for name, spoil := range map[string]func() error{
		"others may write":   func() error { return errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, 0o777)) },
		"it leads elsewhere": func() error { return os.Symlink(t.TempDir(), dir) },
		"it is a file":       func() error { return os.WriteFile(dir, nil, 0o700) },
	} {
		require.NoError(t, spoil(), name)
		_, err := Take(t.Context(), "bootcamp-x", nil)
		assert.ErrorContains(t, err, dir+" is not a folder of this user alone", name)
		require.NoError(t, os.Remove(dir))
	}
}

// TestScratch: it is another program's folder for temporary files, from within which the
// host's locks are found; it goes with the run, and with the next one's where that was
// killed, but not while its process lives.
func TestScratch(t *testing.T) {
	base := t.TempDir()
	t.Setenv("TMPDIR", base)
	mine, remove, err := Scratch(t.Context())
	require.NoError(t, err)
	locks, err := Dir()
	require.NoError(t, err)
	require.DirExists(t, mine)
	env := ScratchEnv(mine)
	assert.ElementsMatch(t, []string{EnvTemp + "=" + base, "TMPDIR=" + mine, "TMP=" + mine, "TEMP=" + mine}, env)
	info, err := os.Stat(mine)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	require.NoError(t, os.WriteFile(filepath.Join(mine, "kubeconfig1"), nil, 0o600))

	t.Run("as the other program has it", func(t *testing.T) {
		for _, pair := range env {
			name, value, _ := strings.Cut(pair, "=")
			t.Setenv(name, value)
		}
		dir, err := Dir()
		require.NoError(t, err)
		assert.Equal(t, locks, dir)
	})

	left := func(name string, age time.Duration, files ...string) (dir string) {
		dir = filepath.Join(locks, name)
		require.NoError(t, os.Mkdir(dir, 0o700))
		for _, name := range files {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
		}
		require.NoError(t, os.Chtimes(dir, time.Time{}, time.Now().Add(-age)))
		return dir
	}
	killed, halfRemoved := left("run-killed", 2*time.Hour, "lock", "kubeconfig2"), left("run-half", 2*time.Hour, "kubeconfig3")
	orphans := left("run-orphans", 2*time.Minute, "lock", "kubeconfig4")
	require.NoError(t, os.Chtimes(mine, time.Time{}, time.Now().Add(-2*time.Hour)))
	_, removeOther, err := Scratch(t.Context())
	require.NoError(t, err)
	assert.NoDirExists(t, killed)
	assert.NoDirExists(t, halfRemoved)
	assert.DirExists(t, orphans, "what a killed process had started may still be at work")
	assert.FileExists(t, filepath.Join(mine, "kubeconfig1"), "its process lives")
	require.NoError(t, os.RemoveAll(orphans))
	removeOther()
	assert.DirExists(t, mine)
	remove()
	assert.NoDirExists(t, locks)
}
