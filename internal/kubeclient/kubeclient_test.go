package kubeclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const two = `apiVersion: v1
kind: Config
current-context: a
clusters:
- {name: good, cluster: {server: "https://a.invalid"}}
- {name: open, cluster: {server: "https://b.invalid", insecure-skip-tls-verify: true}}
users:
- {name: u, user: {token: secret}}
contexts:
- {name: a, context: {cluster: good, user: u}}
- {name: b, context: {cluster: open, user: u}}
`

func TestFromFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "config")
	require.NoError(t, os.WriteFile(file, []byte(two), 0o600))
	config, err := FromFile(file, "a")
	require.NoError(t, err)
	assert.Equal(t, "https://a.invalid", config.Host)
	assert.Equal(t, Timeout, config.Timeout)

	_, err = FromFile(file, "")
	assert.ErrorContains(t, err, "its contexts are: a, b", "the current one is not taken unasked")
	_, err = FromFile(file, "b")
	assert.ErrorIs(t, err, ErrInsecure)
	assert.ErrorContains(t, err, file)
	_, err = FromFile(file+"x", "a")
	assert.ErrorIs(t, err, os.ErrNotExist)
}

func TestExplain(t *testing.T) {
	t.Parallel()
	dial := &net.OpError{Op: "dial", Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 6443}, Err: errors.New("connection refused")}
	for name, err := range map[string]error{
		"a refused connection": dial,
		"a deadline":           fmt.Errorf("get: %w", context.DeadlineExceeded),
		"the rate limiter":     errors.New("client rate limiter Wait returned an error: rate: Wait(n=1) would exceed context deadline"),
		"a closed connection":  fmt.Errorf("get: %w", io.EOF),
		"a cut answer":         io.ErrUnexpectedEOF,
	} {
		assert.ErrorIs(t, Explain(err), ErrNoAnswer, name)
		assert.NotContains(t, Explain(err).Error(), "Wait(", name)
	}
	assert.ErrorContains(t, Explain(dial), "127.0.0.1:6443")
	plain := errors.New("forbidden")
	assert.Equal(t, plain, Explain(plain))
	assert.ErrorIs(t, Explain(context.Canceled), context.Canceled)
	assert.NoError(t, Explain(nil))
}
