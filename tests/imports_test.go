package tests

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "k8sbootcamp"

// settingsReaders read the stack's configuration; everybody else takes plain
// arguments.
var settingsReaders = []string{"components/lab", "cmd/class/internal/config"}

// TestImports: one direction, cmd to components to internal, never back.
func TestImports(t *testing.T) {
	t.Parallel()
	seen := map[string][]string{} // importers by what they import
	for file, imports := range goFiles(t) {
		from := path.Dir(file)
		for _, to := range imports {
			seen[to] = append(seen[to], from)
			if why := forbidden(from, to); why != "" {
				t.Errorf("%s imports %s: %s", file, to, why)
			}
		}
	}
	for _, reader := range settingsReaders {
		assert.Contains(t, seen["components/settings"], reader, "it is listed as a reader of settings and is none")
	}
}

// forbidden says why a package of the module may not import another, or nothing.
// Both are folders; "." has main.go.
func forbidden(from, to string) string {
	switch {
	case in("tests", from): // they look at everything
		return ""
	case in("tests", to), in("internal/fake", to):
		return "that is for tests"
	case from == "." && to != "components/lab":
		return "main.go runs components/lab and nothing else"
	case in("internal", from) && !in("internal", to):
		return "the others stand on internal"
	case in("components", from) && in("cmd", to):
		return "a component knows of no command"
	case in("cmd", to) && command(from) != command(to):
		return "a command's packages are its own"
	case to == "components/settings" && !slices.Contains(settingsReaders, from):
		return "only " + strings.Join(settingsReaders, " and ") + " read settings"
	}
	return ""
}

func in(folder, pkg string) bool { return pkg == folder || strings.HasPrefix(pkg, folder+"/") }

// command is the folder in cmd that a package belongs to.
func command(pkg string) string {
	parts := append(strings.Split(pkg, "/"), "")
	return path.Join(parts[:2]...)
}

// TestForbidden shows that each rule can be broken.
func TestForbidden(t *testing.T) {
	t.Parallel()
	for _, imports := range [][2]string{
		{".", "components/lab"},
		{"components/lab", "components/settings"},
		{"components/lab", "internal/course"},
		{"components/shared", "components/kube"},
		{"internal/check", "internal/course"},
		{"cmd/class/classtool", "cmd/class/internal/stack"},
		{"cmd/class/classtool", "components/lab"},
		{"cmd/class/internal/config", "components/settings"},
		{"cmd/class/internal/stack", "cmd/class/internal/config"},
		{"cmd/kindcluster", "internal/kindcluster"},
		{"tests/docs", "components/settings"},
	} {
		assert.Empty(t, forbidden(imports[0], imports[1]), imports)
	}
	for _, imports := range [][2]string{
		{".", "components/settings"},
		{".", "internal/course"},
		{"internal/check", "components/kube"},
		{"internal/kindcluster", "cmd/class"},
		{"internal/check", "internal/fake"},
		{"components/lab", "cmd/class/internal/config"},
		{"components/echo", "components/settings"},
		{"components/kind", "tests/docs"},
		{"cmd/kindcluster", "components/settings"},
		{"cmd/class/internal/stack", "components/settings"},
		{"cmd/kindcluster", "cmd/class/internal/stack"},
		{"cmd/kindcluster", "cmd/sharedcluster"},
	} {
		assert.NotEmpty(t, forbidden(imports[0], imports[1]), imports)
	}
}

// goFiles are the module's Go files but for tests, by their path in it, with the
// packages of the module that each imports.
func goFiles(t *testing.T) map[string][]string {
	t.Helper()
	const root = ".."
	files := map[string][]string{}
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			_, err := os.Stat(filepath.Join(name, "go.mod"))
			if name != root && (err == nil || strings.HasPrefix(entry.Name(), ".")) { // another module, or none
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		file := filepath.ToSlash(relative)
		files[file] = []string{}
		for _, i := range parsed.Imports {
			imported, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
			if pkg, ours := strings.CutPrefix(imported, module+"/"); ours {
				files[file] = append(files[file], pkg)
			}
		}
		return nil
	})
	require.NoError(t, err)
	require.Contains(t, files, "main.go")
	require.Contains(t, files, "components/lab/lab.go")
	return files
}
