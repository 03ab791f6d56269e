package kindcluster

import (
	"testing"

	"github.com/stretchr/testify/assert"
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
