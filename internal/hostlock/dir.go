package hostlock

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Dir makes the folder, in the one for temporary files, that this user alone
// can reach: another user of the machine could lock our files there, or put theirs
// in their place. It is on the machine's own disk, where locks can be relied on.
func Dir() (string, error) {
	dir := filepath.Join(temp(), fmt.Sprintf("bootcamp-%d", os.Getuid()))
	var info fs.FileInfo
	for info == nil { // a run that ends removes it
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", err
		}
		var err error
		if info, err = os.Lstat(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	if !info.IsDir() || !private(info) {
		return "", fmt.Errorf("%s is not a folder of this user alone (mode 0700); remove it, or set TMPDIR to another folder", dir)
	}
	return dir, nil
}
