package labtools

import (
	"io"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/internal/certificate"
)

// TestPassword: one that nobody guesses, alone on standard output, another each time.
func TestPassword(t *testing.T) {
	first, second := printed(t, "password"), printed(t, "password")
	assert.Regexp(t, `^[A-Z2-7]{26}$`, first)
	assert.NotEqual(t, first, second)
	for _, args := range [][]string{nil, {"password", "more"}, {"claim"}} {
		assert.ErrorContains(t, runSecret(args), "usage: ./class secret", args)
	}
}

// TestCertificate: one for the host of the environment, alone on standard output; no host
// is an error that names the variable.
func TestCertificate(t *testing.T) {
	t.Setenv(certificate.EnvHost, "bootcamp.localhost")
	pair, err := certificate.Parse(printed(t, "certificate"))
	require.NoError(t, err)
	assert.NotEmpty(t, pair.Key)
	t.Setenv(certificate.EnvHost, "")
	assert.ErrorContains(t, runSecret([]string{"certificate"}), certificate.EnvHost)
}

func printed(t *testing.T, verb string) string {
	t.Helper()
	out := os.Stdout
	defer func() { os.Stdout = out }()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	os.Stdout = w
	require.NoError(t, runSecret([]string{verb}))
	require.NoError(t, w.Close())
	b, err := io.ReadAll(r)
	require.NoError(t, err)
	return string(b)
}
