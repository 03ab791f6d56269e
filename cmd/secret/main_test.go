package main

import (
	"io"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestPassword: one that nobody guesses, alone on standard output, another each time.
func TestPassword(t *testing.T) {
	first, second := printed(t), printed(t)
	assert.Regexp(t, `^[A-Z2-7]{26}$`, first)
	assert.NotEqual(t, first, second)
	for _, args := range [][]string{nil, {"password", "more"}, {"claim"}} {
		assert.ErrorContains(t, run(args), "usage: go tool secret", args)
	}
}

func printed(t *testing.T) string {
	t.Helper()
	out := os.Stdout
	defer func() { os.Stdout = out }()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	os.Stdout = w
	require.NoError(t, run([]string{"password"}))
	require.NoError(t, w.Close())
	b, err := io.ReadAll(r)
	require.NoError(t, err)
	return string(b)
}
