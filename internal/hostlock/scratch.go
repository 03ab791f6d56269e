package hostlock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"
)

// EnvTemp names the folder for temporary files that Dir is in, to a process whose own is a
// scratch folder.
const EnvTemp = "BOOTCAMP_TEMP"

// scratches are how folders of Scratch are named, and scratchLock the file in each that its
// process has locked as long as it lives.
const (
	scratches   = "run-"
	scratchLock = "lock"
)

// Scratch makes a folder for the temporary files of another program, which may leave files
// there that are nobody else's to read. env has that program use it, and those that it
// starts find Dir all the same. What killed processes left of the kind is removed first.
func Scratch(ctx context.Context) (env []string, remove func(), err error) {
	alone, err := Take(ctx, "scratch", nil) // whoever sweeps must not find one that is not locked yet
	if err != nil {
		return nil, nil, err
	}
	defer alone()
	base, err := Dir()
	if err != nil {
		return nil, nil, err
	}
	if err := sweep(base); err != nil {
		return nil, nil, err
	}
	dir, err := os.MkdirTemp(base, scratches)
	if err != nil {
		return nil, nil, err
	}
	lock := flock.New(filepath.Join(dir, scratchLock))
	remove = func() {
		lock.Unlock() //nolint:errcheck // the kernel drops it anyhow
		os.RemoveAll(dir)
		os.Remove(base) // where nothing else is in it
	}
	if locked, err := lock.TryLock(); err != nil || !locked {
		remove()
		return nil, nil, fmt.Errorf("the lock of %s: %w", dir, errors.Join(err, ctx.Err()))
	}
	env = []string{EnvTemp + "=" + temp()}
	for _, name := range []string{"TMPDIR", "TMP", "TEMP"} { // the last two on Windows
		env = append(env, name+"="+dir)
	}
	return env, remove, nil
}

// sweep removes scratch folders whose processes are gone.
func sweep(base string) error {
	left, err := filepath.Glob(filepath.Join(base, scratches+"*", scratchLock))
	if err != nil {
		return err
	}
	for _, file := range left {
		lock := flock.New(file)
		if dead, err := lock.TryLock(); err != nil || !dead {
			continue
		}
		lock.Unlock() //nolint:errcheck // the kernel drops it anyhow
		if err := os.RemoveAll(filepath.Dir(file)); err != nil {
			return err
		}
	}
	return nil
}

// temp is the folder for temporary files of the program that the user started.
func temp() string {
	if dir := os.Getenv(EnvTemp); dir != "" {
		return dir
	}
	return os.TempDir()
}
