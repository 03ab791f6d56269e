package hostimages

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	emptyimage "github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
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

// TestFromMirror: what Docker has not comes from the mirror, for Docker's platform, each
// request with the registry that is meant; and Docker itself pulls nothing.
func TestFromMirror(t *testing.T) {
	m := newTestMirror(t)
	e := &engine{}
	h, log := host(e)
	h.Mirror = m.URL
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
		mirror string
		fault  http.HandlerFunc
		said   string
	}{
		"is gone":               {gone.URL, nil, "connection refused"},
		"has it not":            {m.URL, says(http.StatusNotFound), "404"},
		"is asked a lot":        {m.URL, says(http.StatusTooManyRequests), "429"},
		"wants a login":         {m.URL, says(http.StatusUnauthorized), "401"},
		"is no registry":        {m.URL, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "\x1b[31mhello") }, ""},
		"other platforms alone": {m.URL, nil, "amd64"},
		"says nothing":          {m.URL, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "nothing was heard of it for 300ms"},
		"breaks off": {m.URL, func(w http.ResponseWriter, r *http.Request) {
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
			if name == "other platforms alone" {
				h.Platform.Architecture = "amd64"
			}
			h.limits.stall = 300 * time.Millisecond
			if name != "says nothing" {
				h.limits.stall = time.Minute
			}
			require.NoError(t, h.Pull(t.Context(), []string{"a:1"}))
			assert.Equal(t, []string{"docker.io/library/a:1"}, e.pulls)
			assert.Contains(t, log.String(), "image a:1: not from the mirror "+c.mirror+", so Docker pulls it itself (")
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
	for _, what := range []string{"the image of an index", "the index", "the image, by a redirect"} {
		t.Run(what, func(t *testing.T) {
			m.fail(func(w http.ResponseWriter, r *http.Request) {
				_, digest, found := strings.Cut(r.URL.Path, "/manifests/")
				if at, ok := strings.CutPrefix(r.URL.Path, "/elsewhere/"); ok {
					digest, found = at, true
				} else if found && digest != m.digest && what == "the image, by a redirect" {
					http.Redirect(w, r, "/elsewhere/"+digest, http.StatusTemporaryRedirect)
					return
				}
				if !found || what != "the index" && digest == m.digest {
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
			h.Mirror = m.URL
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

// TestMirrorByName: also a name without a dot and without a port is a host, not a part of
// Docker Hub, which the library would ask otherwise.
func TestMirrorByName(t *testing.T) {
	n, err := parse("a:1")
	require.NoError(t, err)
	h, _ := host(&engine{})
	for at, want := range map[string]string{
		"http://mirror": "mirror", "https://instructor-laptop": "instructor-laptop", "http://mirror:5000": "mirror:5000",
		"http://192.168.1.5": "192.168.1.5", "http://[fd00::5]:5000": "[fd00::5]:5000", "http://[fd00::5]": "[fd00::5]", "http://localhost": "localhost",
	} {
		require.NoError(t, CheckURL(at))
		h.Mirror = at
		from, err := h.mirror(n)
		require.NoError(t, err, at)
		assert.Equal(t, want, from.repository.RegistryStr(), at)
		assert.Equal(t, "library/a", from.repository.RepositoryStr(), at)
	}
}

// TestMirrorLoadsSlowly: what Docker unpacks after the last byte is not taken for a mirror
// that fell silent.
func TestMirrorLoadsSlowly(t *testing.T) {
	m := newTestMirror(t)
	e := &engine{unpacks: 3 * time.Second}
	h, log := host(e)
	h.Mirror = m.URL
	h.limits.stall = 2 * time.Second
	require.NoError(t, h.Pull(t.Context(), []string{"a:1"}))
	assert.Contains(t, log.String(), "image a:1: from the mirror")
	assert.Empty(t, e.pulls)
}

// oldRegistry has, of any registry, the image old/a:1 in Docker's first format.
func oldRegistry(t *testing.T, arch string) (_ *httptest.Server, fetched *atomic.Int64) {
	t.Helper()
	zip := func(text string) []byte {
		var out bytes.Buffer
		w := gzip.NewWriter(&out)
		_, err := io.WriteString(w, text)
		require.NoError(t, errors.Join(err, w.Close()))
		return out.Bytes()
	}
	blobs := map[string][]byte{}
	sum := func(b []byte) map[string]string {
		digest := fmt.Sprintf("sha256:%x", sha256.Sum256(b))
		blobs["/v2/old/a/blobs/"+digest] = b
		return map[string]string{"blobSum": digest}
	}
	line := func(config string) map[string]string { return map[string]string{"v1Compatibility": config} }
	manifest, err := json.Marshal(map[string]any{
		"schemaVersion": 1, "name": "old/a", "tag": "1", "architecture": arch,
		"fsLayers": []any{sum(zip("top")), sum(zip("none")), sum(zip("bottom"))},
		"history": []any{
			line(`{"id":"3","config":{"Cmd":["nginx"]},"container_config":{"Cmd":["top"]}}`),
			line(`{"id":"2","throwaway":true}`),
			line(`{"id":"1","container_config":{"Cmd":["bottom"]}}`),
		},
	})
	require.NoError(t, err)
	fetched = &atomic.Int64{} // blobs
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		blob, ok := blobs[r.URL.Path]
		if ok && r.Method == http.MethodGet {
			fetched.Add(1)
		}
		switch {
		case r.URL.Path == "/v2/":
		case strings.HasPrefix(r.URL.Path, "/v2/old/a/manifests/"):
			w.Header().Set("Content-Type", string(types.DockerManifestSchema1Signed))
			w.Header().Set("Docker-Content-Digest", "sha256:"+strings.Repeat("0", 64))
			_, _ = w.Write(manifest)
		case ok:
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(blob))
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(s.Close)
	return s, fetched
}

// TestOldFormat: an image that Docker refuses for its format comes by this process, as one
// of today's that runs the same, from the registry and from a mirror.
func TestOldFormat(t *testing.T) {
	base := t.TempDir()
	t.Setenv("TMPDIR", base)
	refuses := func() *engine {
		return &engine{onPull: func(context.Context, string, func(docker.Event)) (*docker.Image, error) {
			return nil, &docker.APIError{Message: "schema 1 image manifests are no longer supported"}
		}}
	}
	r, fetched := oldRegistry(t, "arm64")
	other, fetchedOfOther := oldRegistry(t, "amd64")
	at := r.Listener.Addr().String()
	t.Run("registry", func(t *testing.T) {
		e := refuses()
		h, log := host(e)
		h.origin = ownRegistry
		require.NoError(t, h.Pull(t.Context(), []string{at + "/old/a:1"}))
		assert.Contains(t, log.String(), "image "+at+"/old/a:1: pulled, 0.0 MB, and made one of today's format\n")
		require.Contains(t, e.has, at+"/old/a:1")
		assertModern(t, e.loaded)
		assert.Len(t, e.pulls, 1)
	})
	t.Run("mirror", func(t *testing.T) {
		e := refuses()
		h, log := host(e)
		h.Mirror = r.URL
		require.NoError(t, h.Pull(t.Context(), []string{"r.example/old/a:1"}))
		assert.Contains(t, log.String(), "from the mirror")
		assertModern(t, e.loaded)
		assert.Empty(t, e.pulls)
	})
	for name, c := range map[string]struct{ image, said string }{
		"by a digest":           {at + "/old/a@sha256:" + strings.Repeat("0", 64), "does not match"},
		"for another processor": {other.Listener.Addr().String() + "/old/a:1", "it is for linux/amd64"},
		"that is not there":     {at + "/old/b:1", "404"},
	} {
		t.Run(name, func(t *testing.T) {
			e := refuses()
			h, _ := host(e)
			h.origin = ownRegistry
			var got *Error
			require.ErrorAs(t, h.Pull(t.Context(), []string{c.image}), &got)
			assert.Equal(t, OldFormat, got.Problem)
			assert.ErrorContains(t, got, c.said)
			assert.Empty(t, e.has)
		})
	}
	assert.Equal(t, int64(4), fetched.Load(), "two layers, twice, and none that is empty")
	assert.Zero(t, fetchedOfOther.Load(), "of what cannot run here nothing is fetched")
	left, err := filepath.Glob(filepath.Join(base, "*", "run-*"))
	require.NoError(t, err)
	assert.Empty(t, left, "temporary files")
}

// assertModern: an archive for Docker has both layers, the lowest first, and the command.
func assertModern(t *testing.T, archive []byte) {
	t.Helper()
	image, err := tarball.Image(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive)), nil }, nil)
	require.NoError(t, err)
	config, err := image.ConfigFile()
	require.NoError(t, err)
	assert.Equal(t, []string{"nginx"}, config.Config.Cmd)
	var said []string
	layers, err := image.Layers()
	require.NoError(t, err)
	for _, l := range layers {
		content, err := l.Uncompressed()
		require.NoError(t, err)
		text, err := io.ReadAll(content)
		require.NoError(t, err)
		said = append(said, string(text))
	}
	assert.Equal(t, []string{"bottom", "top"}, said)
	assert.Len(t, config.RootFS.DiffIDs, 2)
}
