package kindcluster

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestInotifyLow(t *testing.T) {
	t.Parallel()
	for limits, low := range map[InotifyLimits]bool{
		{0, 0}:        false, // unknown
		{512, 524288}: false,
		{511, 524288}: true,
		{512, 524287}: true,
		{128, 0}:      true,
		{0, 8192}:     true,
	} {
		assert.Equal(t, low, limits.Low(), "%+v", limits)
	}
	assert.Zero(t, readInt("/no/such/file"))
}

// TestInotifyRemedy: the command raises what is too low to what is enough, and
// what was not enough to twice of it.
func TestInotifyRemedy(t *testing.T) {
	t.Parallel()
	for limits, command := range map[InotifyLimits]string{
		{128, 8192}:     "sudo sysctl fs.inotify.max_user_instances=512 fs.inotify.max_user_watches=524288",
		{1024, 1048576}: "sudo sysctl fs.inotify.max_user_instances=2048 fs.inotify.max_user_watches=2097152",
	} {
		assert.Contains(t, limits.Remedy(), command)
		assert.Contains(t, limits.String(), command)
	}
}

// TestInotifyOfDocker: where Docker has a machine of its own, a node raises its limits.
func TestInotifyOfDocker(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir+":/usr/bin:/bin")
	for script, want := range map[string]string{
		"#!/bin/sh\n[ \"$*\" = 'exec n cat /proc/sys/fs/inotify/max_user_instances /proc/sys/fs/inotify/max_user_watches' ] && printf '128\\n1048576\\n'\n": "max_user_instances=512 fs.inotify.max_user_watches=2097152",
		"#!/bin/sh\nexit 1\n": "max_user_instances=512 fs.inotify.max_user_watches=524288",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "docker"), []byte(script), 0o700))
		assert.Contains(t, inotifyIn(t.Context(), "n"), "`docker exec n sysctl -w fs.inotify."+want+"`", script)
	}
}
