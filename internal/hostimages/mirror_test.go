package hostimages

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	emptyimage "github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/internal/docker"
)

// testMirror is a mirror that has one image, for two platforms, as library/a:1 of docker.io.
type testMirror struct {
	*httptest.Server
	digest string // of the index
	store  http.Handler

	mu    sync.Mutex
	asked map[string]int // by registry
	fault http.HandlerFunc
}

func newTestMirror(t *testing.T) *testMirror {
	t.Helper()
	m := &testMirror{asked: map[string]int{}, store: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.mu.Lock()
		if !strings.HasPrefix(r.UserAgent(), "filler") {
			m.asked[r.URL.Query().Get("ns")]++
		}
		fault := m.fault
		m.mu.Unlock()
		if fault != nil {
			fault(w, r)
			return
		}
		m.store.ServeHTTP(w, r)
	}))
	t.Cleanup(m.Close)
	all := v1.ImageIndex(emptyimage.Index)
	for _, arch := range []string{"s390x", "arm64"} {
		image, err := random.Image(1000, 2)
		require.NoError(t, err)
		image, err = mutate.ConfigFile(image, &v1.ConfigFile{OS: "linux", Architecture: arch})
		require.NoError(t, err)
		all = mutate.AppendManifests(all, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
	}
	ref, err := name.ParseReference(m.Listener.Addr().String() + "/library/a:1")
	require.NoError(t, err)
	require.NoError(t, remote.WriteIndex(ref, all, remote.WithUserAgent("filler")))
	digest, err := all.Digest()
	require.NoError(t, err)
	m.digest = digest.String()
	return m
}

func (m *testMirror) fail(fault http.HandlerFunc) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = fault
}

func (m *testMirror) of(arch string) Mirror {
	return Mirror{URL: m.URL, Platform: docker.Platform{OS: "linux", Architecture: arch}}
}

// TestFromMirror: what Docker has not comes from the mirror, for Docker's platform, each
// request with the registry that is meant; and Docker itself pulls nothing.
func TestFromMirror(t *testing.T) {
	m := newTestMirror(t)
	e := &engine{}
	h, log := host(e)
	h.Mirror = m.of("arm64")
	require.NoError(t, h.Pull(t.Context(), []string{"a:1"}))
	assert.Contains(t, e.has, "docker.io/library/a:1")
	assert.Contains(t, log.String(), "image a:1: from the mirror, 0.0 MB\n")
	assert.Len(t, m.asked, 1)
	assert.Positive(t, m.asked["docker.io"])

	pinned := "a:1@" + m.digest
	require.NoError(t, h.Pull(t.Context(), []string{pinned}))
	name, err := h.NameOf(t.Context(), pinned)
	require.NoError(t, err)
	assert.Equal(t, "docker.io/library/a:sha256-"+m.digest[7:], name, "Docker's classic store keeps no registry's digest of what is loaded")
	assert.Contains(t, e.has, name)
	assert.Empty(t, e.pulls)

	clear(m.asked)
	require.NoError(t, h.Pull(t.Context(), []string{"a:1", pinned}))
	assert.Empty(t, m.asked, "Docker has both")
	name, err = h.NameOf(t.Context(), "a:1")
	require.NoError(t, err)
	assert.Equal(t, "a:1", name)
}

// TestMirrorFails: whatever a mirror does, Docker pulls by itself then, and it is said.
func TestMirrorFails(t *testing.T) {
	m := newTestMirror(t)
	gone := httptest.NewServer(nil)
	gone.Close()
	says := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(status) }
	}
	for name, c := range map[string]struct {
		mirror Mirror
		fault  http.HandlerFunc
		said   string
	}{
		"is gone":               {Mirror{URL: gone.URL, Platform: m.of("arm64").Platform}, nil, "connection refused"},
		"has it not":            {m.of("arm64"), says(http.StatusNotFound), "404"},
		"is asked a lot":        {m.of("arm64"), says(http.StatusTooManyRequests), "429"},
		"wants a login":         {m.of("arm64"), says(http.StatusUnauthorized), "401"},
		"is no registry":        {m.of("arm64"), func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "\x1b[31mhello") }, ""},
		"other platforms alone": {m.of("amd64"), nil, "amd64"},
		"says nothing":          {m.of("arm64"), func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "nothing was heard of it for 300ms"},
		"breaks off": {m.of("arm64"), func(w http.ResponseWriter, r *http.Request) {
			if !strings.Contains(r.URL.Path, "/blobs/") {
				m.store.ServeHTTP(w, r)
				return
			}
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, "half")
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			m.fail(c.fault)
			defer m.fail(nil)
			e := &engine{}
			h, log := host(e)
			h.Mirror = c.mirror
			h.limits.stall = 300 * time.Millisecond
			if name != "says nothing" {
				h.limits.stall = time.Minute
			}
			require.NoError(t, h.Pull(t.Context(), []string{"a:1"}))
			assert.Equal(t, []string{"docker.io/library/a:1"}, e.pulls)
			assert.Contains(t, log.String(), "image a:1: not from the mirror "+c.mirror.URL+", so Docker pulls it itself (")
			assert.Contains(t, log.String(), c.said)
			assert.NotContains(t, log.String(), "\x1b")
		})
	}
}

// TestForgingMirror: who answers for the mirror cannot have another image taken for one that
// is named by its digest: the head of an answer is not believed.
func TestForgingMirror(t *testing.T) {
	m := newTestMirror(t)
	forged, err := random.Image(500, 1)
	require.NoError(t, err)
	forged, err = mutate.ConfigFile(forged, &v1.ConfigFile{OS: "linux", Architecture: "arm64"})
	require.NoError(t, err)
	ref, err := name.ParseReference(m.Listener.Addr().String() + "/library/a:forged")
	require.NoError(t, err)
	require.NoError(t, remote.Write(ref, forged, remote.WithUserAgent("filler")))
	manifest, err := forged.RawManifest()
	require.NoError(t, err)
	for _, what := range []string{"the image of an index", "the index"} {
		t.Run(what, func(t *testing.T) {
			m.fail(func(w http.ResponseWriter, r *http.Request) {
				_, digest, found := strings.Cut(r.URL.Path, "/manifests/")
				if !found || what == "the image of an index" && digest == m.digest {
					m.store.ServeHTTP(w, r)
					return
				}
				w.Header().Set("Content-Type", string(types.DockerManifestSchema1Signed))
				w.Header().Set("Docker-Content-Digest", digest)
				_, _ = w.Write(manifest)
			})
			defer m.fail(nil)
			e := &engine{}
			h, log := host(e)
			h.Mirror = m.of("arm64")
			require.NoError(t, h.Pull(t.Context(), []string{"a:1@" + m.digest}))
			assert.Equal(t, []string{"docker.io/library/a@" + m.digest}, e.pulls, "not by Docker itself:\n"+log.String())
			assert.Contains(t, log.String(), "not from the mirror")
		})
	}
}

// TestMirrorsScheme: it is that of its URL, whatever its address looks like.
func TestMirrorsScheme(t *testing.T) {
	plain, err := url.Parse("https://10.0.0.1:5000")
	require.NoError(t, err)
	var got []string
	to := &toMirror{at: plain, registry: "r.example:5000", through: roundTrip(func(r *http.Request) (*http.Response, error) {
		got = append(got, r.URL.String())
		return nil, io.EOF
	})}
	for _, at := range []string{"http://10.0.0.1:5000/v2/", "http://elsewhere.example/blob?x=1"} {
		r, err := http.NewRequest(http.MethodGet, at, nil) //nolint:noctx // it goes nowhere
		require.NoError(t, err)
		_, err = to.RoundTrip(r) //nolint:bodyclose // there is none
		require.ErrorIs(t, err, io.EOF)
		assert.Equal(t, at, r.URL.String(), "a request is its sender's")
	}
	assert.Equal(t, []string{"https://10.0.0.1:5000/v2/?ns=r.example%3A5000", "http://elsewhere.example/blob?x=1"}, got)
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
