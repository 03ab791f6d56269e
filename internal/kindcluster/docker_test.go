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

	"k8sbootcamp/internal/docker"
	"k8sbootcamp/internal/hostlock"
)

var (
	errBoom  = errors.New("boom")
	errSmoke = errors.New("smoke")
)

func TestNoDocker(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	err := NewDockerDriver(log.NoopLogger{}).Ping(t.Context())
	var unusable *docker.Error
	require.ErrorAs(t, err, &unusable)
	assert.NotEmpty(t, unusable.Remedy)
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

// TestWithKubeconfig: each call has a fresh file, gone afterwards, and so is
// what a killed run has left.
func TestWithKubeconfig(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var seen []string
	for _, want := range []error{nil, errBoom} {
		private, err := hostlock.Dir()
		require.NoError(t, err)
		left := filepath.Join(private, "bootcamp-file.kube")
		require.NoError(t, os.Mkdir(left, 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(left, "kubeconfig"), []byte("a killed run's key"), 0o600))
		err = withKubeconfig("bootcamp-file", func(file string) error {
			seen = append(seen, file)
			_, err := os.Stat(file)
			assert.ErrorIs(t, err, os.ErrNotExist, "the file of a killed run is lent again")
			info, err := os.Stat(filepath.Dir(file))
			require.NoError(t, err)
			assert.Equal(t, os.FileMode(0o700), info.Mode().Perm(), "it will hold a private key")
			require.NoError(t, os.WriteFile(file, []byte("key"), 0o600))
			return want
		})
		assert.Equal(t, want, err)
		_, err = os.Stat(filepath.Dir(seen[len(seen)-1]))
		assert.ErrorIs(t, err, os.ErrNotExist)
	}
	assert.Len(t, seen, 2)
}
