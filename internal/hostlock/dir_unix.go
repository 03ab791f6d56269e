//go:build unix

package hostlock

import (
	"io/fs"
	"os"
	"syscall"
)

// private tells whether a folder is this user's, and nobody else reaches into it.
func private(dir fs.FileInfo) bool {
	owner, known := dir.Sys().(*syscall.Stat_t)
	return dir.Mode().Perm() == 0o700 && (!known || int(owner.Uid) == os.Getuid())
}
