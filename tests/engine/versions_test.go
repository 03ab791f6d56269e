package engine

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/modfile"
)

// TestVersions: the repository's own module, this one and tests/live resolve the
// same version of what they share, so that one compile of the Kubernetes SDK, which
// takes minutes, serves all three. Where one differs: `go get MODULE@VERSION` in
// the repository's root, then `go mod tidy` in all three.
func TestVersions(t *testing.T) {
	root := required(t, filepath.Join("..", ".."))
	for _, dir := range []string{".", filepath.Join("..", "live")} {
		shared := 0
		for module, version := range required(t, dir) {
			if at, ok := root[module]; ok {
				shared++
				require.Equal(t, at, version, "%s, in the root and in %s", module, dir)
			}
		}
		require.Greater(t, shared, 100)
	}
}

// required are the versions that a module's go.mod names.
func required(t *testing.T, dir string) map[string]string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	require.NoError(t, err)
	file, err := modfile.Parse(dir, raw, nil)
	require.NoError(t, err)
	out := map[string]string{}
	for _, r := range file.Require {
		out[r.Mod.Path] = r.Mod.Version
	}
	return out
}
