package offline

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestIsCLI: a version manager's script, or a link to another program, is not packed as the
// CLI. (TestOffline packs the real one.)
func TestIsCLI(t *testing.T) {
	t.Parallel()
	script := filepath.Join(t.TempDir(), "pulumi")
	require.NoError(t, os.WriteFile(script, []byte("#!/bin/sh\nexec manager pulumi \"$@\"\n"), 0o700))
	self, err := os.Executable()
	require.NoError(t, err)
	for _, other := range []string{script, self, filepath.Join(t.TempDir(), "none")} {
		assert.False(t, IsCLI(other), other)
	}
}
