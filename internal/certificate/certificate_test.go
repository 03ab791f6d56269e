package certificate_test

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/internal/certificate"
)

// TestNew: a client that trusts the certificate takes it for its host, for a year, and
// for no other; and the key is its own.
func TestNew(t *testing.T) {
	t.Parallel()
	now := time.Now()
	pair, err := certificate.New("bootcamp.localhost", now)
	require.NoError(t, err)
	made, err := tls.X509KeyPair([]byte(pair.Certificate), []byte(pair.Key))
	require.NoError(t, err, "they do not belong together")
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM([]byte(pair.Certificate)))
	verify := func(host string, at time.Time) error {
		_, err := made.Leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: roots, CurrentTime: at})
		return err
	}
	assert.NoError(t, verify("bootcamp.localhost", now))
	assert.NoError(t, verify("bootcamp.localhost", now.Add(364*24*time.Hour)))
	assert.Error(t, verify("other.localhost", now))
	assert.Error(t, verify("bootcamp.localhost", now.Add(366*24*time.Hour)))
	assert.False(t, made.Leaf.IsCA, "it could sign others")

	again, err := certificate.New("bootcamp.localhost", now)
	require.NoError(t, err)
	assert.NotEqual(t, pair.Key, again.Key)
}

// TestHosts: what is no host's name is refused, and named.
func TestHosts(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"", "*.localhost", "a b", "A.localhost", "a..b", "https://a", "a/b", "a\nb"} {
		_, err := certificate.New(host, time.Now())
		require.Error(t, err, "%q", host)
		assert.ErrorContains(t, err, certificate.EnvHost)
	}
}

// TestParse: what is printed is read again, and an error shows nothing of it.
func TestParse(t *testing.T) {
	t.Parallel()
	pair, err := certificate.New("a.localhost", time.Now())
	require.NoError(t, err)
	assert.NotContains(t, pair.String(), "\n", "more than a line")
	same, err := certificate.Parse(pair.String())
	require.NoError(t, err)
	assert.Equal(t, pair, same)
	for _, bad := range []string{"", "hunter2", "{}", `{"key":"hunter2"}`, `{"certificate":"hunter2"}`} {
		_, err := certificate.Parse(bad)
		require.Error(t, err, bad)
		assert.NotContains(t, err.Error(), "hunter2")
	}
}
