package hostlock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gofrs/flock"
)

// EnvTemp names the folder for temporary files that Dir is in, to a process whose own is a
// scratch folder.
const EnvTemp = "BOOTCAMP_TEMP"

// scratches are how folders of Scratch are named, and scratchLock the file in each that its
// process has locked as long as it lives. What that started may outlive it for a while.
const (
	scratches   = "run-"
	scratchLock = "lock"
	outlives    = time.Hour // more than any command of a lab may take
)

var scratching sync.Mutex

// Scratch makes a folder for temporary files, which are nobody else's to read. What killed
// processes left of the kind, an hour ago or more, is removed first.
func Scratch(ctx context.Context) (dir string, remove func(), err error) {
	scratching.Lock() // sooner than a file's, which is looked at now and then
	defer scratching.Unlock()
	alone, err := Take(ctx, "scratch", nil) // whoever sweeps must not find one that is not locked yet
	if err != nil {
		return "", nil, err
	}
	defer alone()
	base, err := Dir()
	if err != nil {
		return "", nil, err
	}
	sweep(base, time.Now().Add(-outlives))
	if dir, err = os.MkdirTemp(base, scratches); err != nil {
		return "", nil, err
	}
	lock := flock.New(filepath.Join(dir, scratchLock))
	remove = func() {
		lock.Unlock() //nolint:errcheck // the kernel drops it anyhow
		os.RemoveAll(dir)
		os.Remove(base) // where nothing else is in it
	}
	if locked, err := lock.TryLock(); err != nil || !locked {
		remove()
		return "", nil, fmt.Errorf("the lock of %s: %w", dir, errors.Join(err, ctx.Err()))
	}
	return dir, remove, nil
}

// ScratchEnv has another program keep its temporary files in such a folder; those that it
// starts find Dir all the same.
func ScratchEnv(dir string) []string {
	env := []string{EnvTemp + "=" + temp()}
	for _, name := range []string{"TMPDIR", "TMP", "TEMP"} { // the last two on Windows
		env = append(env, name+"="+dir)
	}
	return env
}

// sweep removes scratch folders that nobody has locked, and in which nothing was made since.
// What cannot be removed stays for the next run. It is called by who has the lock without
// which none is made.
func sweep(base string, since time.Time) {
	left, err := filepath.Glob(filepath.Join(base, scratches+"*"))
	if err != nil {
		return
	}
	for _, dir := range left {
		info, err := os.Stat(dir)
		if err != nil || info.ModTime().After(since) {
			continue
		}
		file := filepath.Join(dir, scratchLock)
		if _, err := os.Stat(file); err == nil {
			lock := flock.New(file)
			if dead, err := lock.TryLock(); err != nil || !dead {
				continue
			}
			lock.Unlock() //nolint:errcheck // the kernel drops it anyhow
		}
		os.RemoveAll(dir)
	}
}

// temp is the folder for temporary files of the program that the user started.
func temp() string {
	if dir := os.Getenv(EnvTemp); dir != "" {
		return dir
	}
	return os.TempDir()
}
