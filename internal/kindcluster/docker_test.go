package kindcluster

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	kinderrors "sigs.k8s.io/kind/pkg/errors"
	kindexec "sigs.k8s.io/kind/pkg/exec"
	"sigs.k8s.io/kind/pkg/log"
)

func TestNoDocker(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	assert.ErrorContains(t, NewDocker(log.NoopLogger{}).Ping(t.Context()), "install Docker")
}

// TestExplain: kind's errors leave out what the failed command printed.
func TestExplain(t *testing.T) {
	t.Parallel()
	assert.NoError(t, explain("x", nil))

	failed := &kindexec.RunError{Command: []string{"docker", "run"}, Output: []byte("\nport is already allocated\n"), Inner: errBoom}
	err := explain("kind could not create cluster x", kinderrors.Wrap(failed, "failed to create cluster"))
	assert.ErrorContains(t, err, "kind could not create cluster x")
	assert.ErrorContains(t, err, "port is already allocated")

	long := &kindexec.RunError{Output: []byte(strings.Repeat("a", 100_000) + "the end"), Inner: errBoom}
	err = explain("x", long)
	assert.ErrorContains(t, err, "the end")
	assert.Less(t, len(err.Error()), 3000)

	err = explain("x", kinderrors.NewAggregate([]error{errBoom, errSmoke}))
	assert.ErrorIs(t, err, errBoom)
	assert.ErrorIs(t, err, errSmoke)
	assert.ErrorIs(t, explain("x", errBoom), errBoom)
}

// TestWithKubeconfig: each call has a file of its own, gone afterwards.
func TestWithKubeconfig(t *testing.T) {
	t.Parallel()
	var seen []string
	for _, want := range []error{nil, errBoom} {
		err := withKubeconfig(func(file string) error {
			seen = append(seen, file)
			info, err := os.Stat(filepath.Dir(file))
			require.NoError(t, err)
			assert.Equal(t, os.FileMode(0o700), info.Mode().Perm(), "it will hold a private key")
			require.NoError(t, os.WriteFile(file, []byte("key"), 0o600))
			return want
		})
		assert.True(t, errors.Is(err, want))
		_, err = os.Stat(filepath.Dir(last(seen)))
		assert.ErrorIs(t, err, os.ErrNotExist)
	}
	assert.NotEqual(t, seen[0], seen[1])
}

func last(s []string) string { return s[len(s)-1] }
