package kindcluster

import (
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// TestLockManyAtOnce: the lock is handed on, and only one has it at a time.
func TestLockManyAtOnce(t *testing.T) {
	t.Parallel()
	name := Name(t.Name())
	var inside, most, done int
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() {
			for range 4 { // who comes back makes the file anew, while others wait for the old one
				unlock, err := lock(t.Context(), name, nil)
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

// TestLockFolder: an unusable folder for locks is an error.
func TestLockFolder(t *testing.T) {
	dir := t.TempDir() + "/missing"
	t.Setenv("TMPDIR", dir)
	_, err := lock(t.Context(), "bootcamp-x", nil)
	assert.ErrorIs(t, err, os.ErrNotExist)
	assert.ErrorContains(t, err, dir)
}
