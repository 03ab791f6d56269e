package kindcluster

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

// lock takes the host's lock of one cluster, and waits for the process that has
// it. The kernel drops the lock with its process, so a kill never leaves one;
// wait is called once, where there is somebody to wait for.
//
// It is for the orphan of a killed `pulumi up`, which may still be building.
func lock(ctx context.Context, cluster string, wait func()) (unlock func(), err error) {
	for {
		dir, err := privateDir()
		if err != nil {
			return nil, fmt.Errorf("the lock of cluster %s: %w", cluster, err)
		}
		file := filepath.Join(dir, cluster+".lock")
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
			return nil, fmt.Errorf("the lock of cluster %s (%s): %w", cluster, file, err)
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
