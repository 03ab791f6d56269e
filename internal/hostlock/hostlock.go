// Package hostlock keeps runs on one machine out of each other's way: a lock for each
// thing that two of them must not work on at once, and a folder for the files of this
// user's runs.
package hostlock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// Take takes the host's lock of that name, which is a file's, and waits for the process
// that has it. The kernel drops the lock with its process, so a kill never leaves one;
// wait is called once, where there is somebody to wait for.
func Take(ctx context.Context, name string, wait func()) (unlock func(), err error) {
	for {
		dir, err := Dir()
		if err != nil {
			return nil, fmt.Errorf("the lock of %s: %w", name, err)
		}
		file := filepath.Join(dir, name+".lock")
		l := flock.New(file)
		got, err := l.TryLock()
		if err == nil && !got {
			if wait != nil {
				wait()
				wait = nil
			}
			got, err = l.TryLockContext(ctx, 200*time.Millisecond)
		}
		if errors.Is(err, fs.ErrNotExist) {
			continue // its last holder has just removed the folder
		}
		if err != nil || !got {
			return nil, fmt.Errorf("the lock of %s (%s): %w", name, file, err)
		}
		// Its last holder removed the file while we waited: ours is nobody's lock.
		if held, err := l.Stat(); err == nil {
			if now, err := os.Stat(file); err == nil && os.SameFile(held, now) {
				return func() {
					os.Remove(file)
					os.Remove(dir)
					l.Unlock() //nolint:errcheck // the kernel drops it anyhow
				}, nil
			}
		}
		l.Unlock() //nolint:errcheck // as above
	}
}
