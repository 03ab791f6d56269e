package kindcluster

import (
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestRefusedByWindows: a port that Windows keeps is nobody's.
func TestRefusedByWindows(t *testing.T) {
	t.Parallel()
	bind := func(code syscall.Errno) error {
		return &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", code)}
	}
	assert.True(t, refusedByWindows("windows", bind(10013)))
	assert.False(t, refusedByWindows("windows", bind(10048)), "it is taken")
	assert.False(t, refusedByWindows("linux", bind(10013)))
}
