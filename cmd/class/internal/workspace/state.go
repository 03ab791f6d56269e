package workspace

import (
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// StateFolder is the folder of a file:// backend, or "" where the backend is
// none. Its methods are the layout of Pulumi's backend in a folder, which is here
// and nowhere else (github.com/pulumi/pulumi/pkg/v3/backend/diy).
type StateFolder string

// stateFolder reads a backend's URL as Pulumi does.
func stateFolder(backend string) (StateFolder, error) {
	path, ok := strings.CutPrefix(backend, "file://")
	if !ok {
		return "", nil
	}
	path, _, _ = strings.Cut(path, "?")
	path, err := url.PathUnescape(path)
	if err != nil {
		return "", err
	}
	if path == "~" || strings.HasPrefix(path, "~/") {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		path = home + path[1:]
	}
	path, err = filepath.Abs(filepath.FromSlash(path))
	return StateFolder(path), err
}

func (f StateFolder) path(names ...string) string {
	return filepath.Join(append([]string{string(f), ".pulumi"}, names...)...)
}

// StackFile is where a stack's state lies, unless it is compressed (.gz, .zst).
func (f StateFolder) StackFile(stack string) string {
	return f.path("stacks", ProjectName, stack+".json")
}

// BackupFile is the state that StackFile had before it was last written.
func (f StateFolder) BackupFile(stack string) string { return f.StackFile(stack) + ".bak" }

// LockFolder holds the locks of those who work on a stack, a .json file each.
func (f StateFolder) LockFolder(stack string) string {
	return f.path("locks", "organization", ProjectName, stack)
}

// Stacks are the state files of all stacks, damaged ones and other projects' too.
func (f StateFolder) Stacks() ([]string, error) {
	return f.files(`stacks/.+\.json(\.gz|\.zst)?`)
}

// Leftovers are the files of a stack that was removed.
func (f StateFolder) Leftovers(stack string) ([]string, error) {
	own := ProjectName + "/" + regexp.QuoteMeta(stack)
	return f.files(`stacks/` + own + `\.(json(\.gz|\.zst)?(\.[0-9]+)?(\.bak)?|pulumi-tags)(\.attrs)?` +
		`|(backups|history|locks/organization)/` + own + `/.+`)
}

// files are those whose path in the layout, with slashes, matches as a whole.
func (f StateFolder) files(pattern string) (files []string, err error) {
	if f == "" {
		return nil, nil
	}
	layout := regexp.MustCompile(`^(` + pattern + `)$`)
	err = fs.WalkDir(os.DirFS(f.path()), ".", func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // there never was a stack, or the file has just gone
		}
		if err == nil && !entry.IsDir() && layout.MatchString(path) {
			files = append(files, f.path(filepath.FromSlash(path)))
		}
		return err
	})
	return files, err
}
