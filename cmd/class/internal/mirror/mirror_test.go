package mirror

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"k8sbootcamp/internal/printable"
)

// origin is a registry that images come from: it counts, and fails as it is told.
type origin struct {
	*httptest.Server
	inside *httptest.Server // uncounted

	mu    sync.Mutex
	asked map[string]int // GET of manifests and blobs, by path
	fault func(w http.ResponseWriter, r *http.Request) bool
}

func newOrigin(t *testing.T, start func(http.Handler) *httptest.Server) *origin {
	t.Helper()
	o := &origin{asked: map[string]int{}}
	store := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	o.inside = httptest.NewServer(store)
	o.Server = start(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.mu.Lock()
		if r.URL.Path != "/v2/" {
			o.asked[r.Method+" "+r.URL.Path]++
		}
		fault := o.fault
		o.mu.Unlock()
		if fault == nil || !fault(w, r) {
			store.ServeHTTP(w, r)
		}
	}))
	o.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(func() { o.CloseClientConnections(); o.Close(); o.inside.Close() })
	return o
}

func (o *origin) fail(fault func(w http.ResponseWriter, r *http.Request) bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.fault = fault
}

func (o *origin) counts() map[string]int {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := o.asked
	o.asked = map[string]int{}
	return all
}

// push puts an index of two images into the registry.
func (o *origin) push(t *testing.T, repository string, layerBytes int64) v1.ImageIndex {
	t.Helper()
	index, err := random.Index(layerBytes, 3, 2)
	require.NoError(t, err)
	ref, err := name.ParseReference(o.inside.Listener.Addr().String() + "/" + repository)
	require.NoError(t, err)
	require.NoError(t, remote.WriteIndex(ref, index))
	return index
}

// open opens a mirror of an origin under the name r.example, and serves it.
func open(t *testing.T, o *origin, dir string, login bool) (*Mirror, *httptest.Server, *said) {
	t.Helper()
	var out said
	m, err := Open(Options{Dir: dir, Upstreams: map[string]string{"r.example": o.URL}, Login: login, Log: &out})
	require.NoError(t, err)
	s := httptest.NewServer(m)
	t.Cleanup(func() { s.CloseClientConnections(); s.Close(); assert.NoError(t, m.Close()) })
	return m, s, &out
}

// said is what is logged; it may be read meanwhile.
type said struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// answer is that of a mirror.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func ask(ctx context.Context, client *http.Client, method, at string, header ...string) (*answer, error) {
	r, err := http.NewRequestWithContext(ctx, method, at, nil)
	if err != nil {
		return nil, err
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	got, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer got.Body.Close()
	body, err := io.ReadAll(got.Body)
	return &answer{got.StatusCode, got.Header, body}, err
}

// pull pulls the first image of an index as containerd does: each part by its digest.
func pull(ctx context.Context, client *http.Client, mirror, repository, tag string) (bytes int64, err error) {
	get := func(method, what, digest string) ([]byte, error) {
		got, err := ask(ctx, client, method, fmt.Sprintf("%s/v2/%s/%s?ns=r.example", mirror, repository, what))
		if err != nil {
			return nil, err
		}
		if got.status != http.StatusOK {
			return nil, fmt.Errorf("%s %s: %d %s", method, what, got.status, got.body)
		}
		sum := sha256.Sum256(got.body)
		if digest != "" && digest != "sha256:"+hex.EncodeToString(sum[:]) {
			return nil, fmt.Errorf("%s is not what it should be", what)
		}
		bytes += int64(len(got.body))
		return got.body, nil
	}
	if _, err := get(http.MethodHead, "manifests/"+tag, ""); err != nil {
		return 0, err
	}
	content, err := get(http.MethodGet, "manifests/"+tag, "")
	if err != nil {
		return 0, err
	}
	index, err := v1.ParseIndexManifest(strings.NewReader(string(content)))
	if err != nil {
		return 0, err
	}
	digest := index.Manifests[0].Digest.String()
	if content, err = get(http.MethodGet, "manifests/"+digest, digest); err != nil {
		return 0, err
	}
	image, err := v1.ParseManifest(strings.NewReader(string(content)))
	if err != nil {
		return 0, err
	}
	for _, part := range append(image.Layers, image.Config) {
		if _, err := get(http.MethodGet, "blobs/"+part.Digest.String(), part.Digest.String()); err != nil {
			return 0, err
		}
	}
	return bytes, nil
}

// slowly is a fault: all is sent in pieces, so that those who ask meanwhile find it under
// way.
func slowly(o *origin) func(w http.ResponseWriter, r *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		whole, err := http.Get(o.inside.URL + r.URL.Path) //nolint:noctx // a test's own
		if err != nil {
			return false
		}
		defer whole.Body.Close()
		w.Header().Set("Content-Length", fmt.Sprint(whole.ContentLength))
		for {
			if n, err := io.CopyN(w, whole.Body, whole.ContentLength/8+1); err != nil || n == 0 {
				return true
			}
			_ = http.NewResponseController(w).Flush()
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// TestEachOnce: forty clients that pull two images at once cost their registry one request
// for each blob and manifest; a mirror that is started again asks for tags alone, and one
// whose registry is gone serves all of it still.
func TestEachOnce(t *testing.T) {
	const students = 40
	o := newOrigin(t, httptest.NewServer)
	for _, repository := range []string{"a/one:1", "a/two:1"} {
		o.push(t, repository, 1<<20)
	}
	o.fail(slowly(o))
	dir := t.TempDir()
	m, s, _ := open(t, o, dir, false)
	class := func(at string) int64 {
		t.Helper()
		var all errgroup.Group
		var mu sync.Mutex
		var sum int64
		for i := range students {
			all.Go(func() error {
				client := &http.Client{Transport: &http.Transport{}}
				defer client.CloseIdleConnections()
				repository := []string{"a/one", "a/two"}[i%2]
				for _, r := range []string{repository, map[string]string{"a/one": "a/two", "a/two": "a/one"}[repository]} {
					n, err := pull(t.Context(), client, at, r, "1")
					if err != nil {
						return err
					}
					mu.Lock()
					sum += n
					mu.Unlock()
				}
				return nil
			})
		}
		require.NoError(t, all.Wait())
		return sum
	}
	begin := time.Now()
	served := class(s.URL)
	took := time.Since(begin)
	asked := o.counts()
	assert.Len(t, asked, 2*(2+4), "%v", asked) // each image its index, its manifest, its configuration and three layers
	for what, n := range asked {
		assert.Equal(t, 1, n, what)
	}
	images, registries := m.Tables()
	require.Len(t, images, 3)
	assert.Equal(t, printable.Megabytes(served), printable.Megabytes(sumOf(m, func(c *count) int64 { return c.served })))
	fetched := sumOf(m, func(c *count) int64 { return c.fetched })
	assert.Equal(t, served, students*fetched, "each gets all, and it is fetched once")
	assert.Equal(t, "r.example", registries[1][0])
	assert.Equal(t, fmt.Sprintf("images 2, clients 1, fetched %s, served %s", printable.Megabytes(fetched), printable.Megabytes(served)), m.Line())
	t.Logf("%d clients that pull two images at once: %d requests to the registry, each blob once; %s fetched, %s served in %s",
		students, len(asked), printable.Megabytes(fetched), printable.Megabytes(served), took.Round(time.Millisecond))

	class(s.URL)
	assert.Empty(t, o.counts())

	s.Close()
	require.NoError(t, m.Close())
	_, s, _ = open(t, o, dir, false)
	class(s.URL)
	assert.Equal(t, map[string]int{"GET /v2/a/one/manifests/1": 1, "GET /v2/a/two/manifests/1": 1}, o.counts())

	again := t.TempDir()
	require.NoError(t, os.CopyFS(again, os.DirFS(dir)))
	o.Close()
	_, s, out := open(t, o, again, false)
	class(s.URL)
	assert.Contains(t, out.String(), "r.example/a/one:1: r.example cannot be asked: ")
	assert.Equal(t, 2, strings.Count(out.String(), "\n"), "each is told once: %s", out)
}

func sumOf(m *Mirror, of func(*count) int64) (sum int64) {
	m.counts.mu.Lock()
	defer m.counts.mu.Unlock()
	for _, c := range m.counts.all {
		sum += of(c)
	}
	return sum
}

// TestLayout: the folder is an image layout that others read.
func TestLayout(t *testing.T) {
	o := newOrigin(t, httptest.NewServer)
	index := o.push(t, "a/one:1", 1000)
	dir := t.TempDir()
	_, s, _ := open(t, o, dir, false)
	_, err := pull(t.Context(), s.Client(), s.URL, "a/one", "1")
	require.NoError(t, err)
	content, err := os.ReadFile(filepath.Join(dir, "index.json"))
	require.NoError(t, err)
	kept, err := v1.ParseIndexManifest(bytes.NewReader(content))
	require.NoError(t, err)
	digest, err := index.Digest()
	require.NoError(t, err)
	refs := map[string]string{}
	for _, d := range kept.Manifests {
		refs[d.Annotations["org.opencontainers.image.ref.name"]] = d.Digest.String()
	}
	assert.Equal(t, digest.String(), refs["r.example/a/one:1"])
	assert.Len(t, refs, 3, "the tag, and both manifests by their digests")
	files, err := filepath.Glob(filepath.Join(dir, "blobs/sha256/*"))
	require.NoError(t, err)
	assert.Len(t, files, 6)
	for _, file := range files {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		assert.Equal(t, filepath.Base(file), fmt.Sprintf("%x", sha256.Sum256(content)))
	}
	layout, err := os.ReadFile(filepath.Join(dir, "oci-layout"))
	require.NoError(t, err)
	assert.JSONEq(t, `{"imageLayoutVersion":"1.0.0"}`, string(layout))

	_, err = Open(Options{Dir: dir, Log: io.Discard})
	assert.ErrorContains(t, err, "another mirror has the folder "+dir)
}

// layerOf is the digest and the content of a layer of an index's first image.
func layerOf(t *testing.T, index v1.ImageIndex) (digest string, content []byte) {
	t.Helper()
	all, err := index.IndexManifest()
	require.NoError(t, err)
	image, err := index.Image(all.Manifests[0].Digest)
	require.NoError(t, err)
	layers, err := image.Layers()
	require.NoError(t, err)
	sum, err := layers[0].Digest()
	require.NoError(t, err)
	body, err := layers[0].Compressed()
	require.NoError(t, err)
	content, err = io.ReadAll(body)
	require.NoError(t, err)
	return sum.String(), content
}

// TestRanges: a client that was cut off goes on where it was, of a blob that is there and
// of one that is on its way.
func TestRanges(t *testing.T) {
	o := newOrigin(t, httptest.NewServer)
	digest, content := layerOf(t, o.push(t, "a/one:1", 1<<20))
	o.fail(slowly(o))
	_, s, _ := open(t, o, t.TempDir(), false)
	for range 2 {
		got, err := ask(t.Context(), s.Client(), http.MethodGet, s.URL+"/v2/a/one/blobs/"+digest+"?ns=r.example", "Range", "bytes=1000000-")
		require.NoError(t, err)
		assert.Equal(t, http.StatusPartialContent, got.status)
		assert.Equal(t, content[1000000:], got.body)
		assert.Equal(t, digest, got.header.Get("Docker-Content-Digest"))
	}
	head, err := ask(t.Context(), s.Client(), http.MethodHead, s.URL+"/v2/a/one/blobs/"+digest+"?ns=r.example")
	require.NoError(t, err)
	assert.Equal(t, fmt.Sprint(len(content)), head.header.Get("Content-Length"))
	assert.Len(t, o.counts(), 1)
}

// has tells whether a mirror has all of a blob.
func has(m *Mirror, digest string) bool {
	file, err := m.store.open(digest)
	if err != nil {
		return false
	}
	file.Close()
	return true
}

// TestClientGoesAway: what it asked for comes all the same.
func TestClientGoesAway(t *testing.T) {
	o := newOrigin(t, httptest.NewServer)
	digest, content := layerOf(t, o.push(t, "a/one:1", 1<<20))
	goOn := make(chan struct{})
	slow := slowly(o)
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	o.fail(func(w http.ResponseWriter, r *http.Request) bool {
		leave()
		<-goOn
		return slow(w, r)
	})
	m, s, _ := open(t, o, t.TempDir(), false)
	at := s.URL + "/v2/a/one/blobs/" + digest + "?ns=r.example"
	_, err := ask(ctx, s.Client(), http.MethodGet, at)
	require.ErrorIs(t, err, context.Canceled)
	close(goOn)
	require.Eventually(t, func() bool { return has(m, digest) }, 10*time.Second, 10*time.Millisecond)
	got, err := ask(t.Context(), s.Client(), http.MethodGet, at)
	require.NoError(t, err)
	assert.Equal(t, content, got.body)
	assert.Equal(t, map[string]int{"GET /v2/a/one/blobs/" + digest: 1}, o.counts())
}

// TestRefused: what is asked for that is none of a mirror's business, and reaches nobody.
func TestRefused(t *testing.T) {
	o := newOrigin(t, httptest.NewServer)
	_, s, _ := open(t, o, t.TempDir(), false)
	digest := "sha256:" + strings.Repeat("0", 64)
	for request, want := range map[string]int{
		"PUT /v2/a/one/manifests/1?ns=r.example":                            http.StatusMethodNotAllowed,
		"POST /v2/a/one/blobs/uploads/?ns=r.example":                        http.StatusMethodNotAllowed,
		"DELETE /v2/a/one/manifests/1?ns=r.example":                         http.StatusMethodNotAllowed,
		"GET /v2/a/one/manifests/1?ns=169.254.169.254":                      http.StatusForbidden,
		"GET /v2/a/one/manifests/1?ns=127.0.0.1:22":                         http.StatusForbidden,
		"GET /v2/a/one/manifests/1?ns=r.example.evil":                       http.StatusForbidden,
		"GET /v2/a/one/manifests/1?ns=r.example%2F..%2F":                    http.StatusForbidden,
		"GET /v2/a/one/manifests/1":                                         http.StatusForbidden, // docker.io, which is not served here
		"GET /v2/a/../../manifests/1?ns=r.example":                          http.StatusNotFound,
		"GET /v2/%2e%2e/%2e%2e/etc/passwd/manifests/1?ns=r.example":         http.StatusNotFound,
		"GET /v2/A/one/manifests/1?ns=r.example":                            http.StatusNotFound,
		"GET /v2/a/one/blobs/../../../index.json?ns=r.example":              http.StatusBadRequest,
		"GET /v2/a/one/blobs/1?ns=r.example":                                http.StatusBadRequest,
		"GET /v2/a/one/blobs/sha256:00?ns=r.example":                        http.StatusBadRequest,
		"GET /v2/a/one/blobs/sha512:" + digest[7:] + "?ns=r.example":        http.StatusBadRequest,
		"GET /v2/a/one/manifests/%2e%2e?ns=r.example":                       http.StatusBadRequest,
		"GET /v2/a/one/tags/list?ns=r.example":                              http.StatusNotFound,
		"GET /v2/_catalog":                                                  http.StatusNotFound,
		"GET /":                                                             http.StatusNotFound,
		"GET /v2/":                                                          http.StatusOK,
		"GET /v2/" + strings.Repeat("a", 300) + "/manifests/1?ns=r.example": http.StatusNotFound,
	} {
		method, path, _ := strings.Cut(request, " ")
		got, err := ask(t.Context(), s.Client(), method, s.URL+path)
		require.NoError(t, err, request)
		assert.Equal(t, want, got.status, request)
		if want != http.StatusOK {
			var told struct {
				Errors []struct{ Code, Message string }
			}
			require.NoError(t, json.Unmarshal(got.body, &told), request)
			assert.NotEmpty(t, told.Errors[0].Code, request)
			assert.NotContains(t, told.Errors[0].Message, "\x1b")
		}
	}
	assert.Empty(t, o.counts())
}

// TestFailures: what a registry answers is handed on as registries say it, is told to the
// instructor once, and the registry is not asked again at once.
func TestFailures(t *testing.T) {
	says := func(status int, header ...string) func(w http.ResponseWriter, r *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/v2/" && status != http.StatusUnauthorized {
				return false
			}
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "{\"errors\":[{\"code\":\"X\",\"message\":\"no \x1b[31m\"}]}")
			return true
		}
	}
	for name, c := range map[string]struct {
		fault  func(w http.ResponseWriter, r *http.Request) bool
		status int
		code   string
		after  string // Retry-After, as a pattern
		said   string // in what the instructor is told
	}{
		"not found":           {nil, http.StatusNotFound, "MANIFEST_UNKNOWN", "^$", ""},
		"too many requests":   {says(http.StatusTooManyRequests, "Retry-After", "30"), http.StatusTooManyRequests, "TOOMANYREQUESTS", "^(29|30|31)$", "a/none:1: r.example answers that it was asked too often (429), and is left alone for "},
		"a login":             {says(http.StatusUnauthorized, "WWW-Authenticate", `Basic realm="r"`), http.StatusForbidden, "DENIED", "^$", "with --login the mirror uses that of `docker login`"},
		"an error of its own": {says(http.StatusInternalServerError), http.StatusBadGateway, "UNAVAILABLE", "^$", "r.example answers: GET "},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOrigin(t, httptest.NewServer)
			o.fail(c.fault)
			_, s, out := open(t, o, t.TempDir(), false)
			var before map[string]int
			for range 3 {
				got, err := ask(t.Context(), s.Client(), http.MethodGet, s.URL+"/v2/a/none/manifests/1?ns=r.example")
				require.NoError(t, err)
				assert.Equal(t, c.status, got.status)
				assert.Contains(t, string(got.body), `"code":"`+c.code+`"`)
				assert.Regexp(t, c.after, got.header.Get("Retry-After"))
				assert.Empty(t, got.header.Get("WWW-Authenticate"), "a client has no business with the registry's login")
				if before == nil {
					before = o.counts()
				}
			}
			assert.Empty(t, o.counts(), "after %v", before)
			assert.Contains(t, out.String(), c.said)
			assert.NotContains(t, out.String(), "\x1b")
			if c.said == "" {
				assert.Empty(t, out.String())
			} else {
				assert.Equal(t, 1, strings.Count(out.String(), "\n"), out)
			}
		})
	}
}

// TestHeld: a registry that wants to be left alone is, whatever is asked for.
func TestHeld(t *testing.T) {
	o := newOrigin(t, httptest.NewServer)
	digest, _ := layerOf(t, o.push(t, "a/one:1", 1000))
	o.fail(func(w http.ResponseWriter, r *http.Request) bool {
		w.WriteHeader(http.StatusTooManyRequests)
		return true
	})
	m, s, _ := open(t, o, t.TempDir(), false)
	for _, path := range []string{"a/one/manifests/1", "a/two/manifests/1", "a/one/blobs/" + digest} {
		got, err := ask(t.Context(), s.Client(), http.MethodGet, s.URL+"/v2/"+path+"?ns=r.example")
		require.NoError(t, err)
		assert.Equal(t, http.StatusTooManyRequests, got.status, path)
	}
	assert.EqualValues(t, 1, m.upstreams["r.example"].requests.Load())
	assert.Equal(t, heldByDefault, retryAfter(http.Header{}))
	assert.Equal(t, mostHeld, retryAfter(http.Header{"Retry-After": {"86400"}}))
	assert.InDelta(t, 60, retryAfter(http.Header{"Retry-After": {time.Now().Add(time.Minute).UTC().Format(http.TimeFormat)}}).Seconds(), 2)
}

// TestLogin: the docker command's logins are used where that was asked for, and no client
// sees them.
func TestLogin(t *testing.T) {
	o := newOrigin(t, httptest.NewServer)
	o.push(t, "a/one:1", 1000)
	o.fail(func(w http.ResponseWriter, r *http.Request) bool {
		if user, password, _ := r.BasicAuth(); user == "ann" && password == "secret" {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="r"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	auth := base64.StdEncoding.EncodeToString([]byte("ann:secret"))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"auths":{"`+o.Listener.Addr().String()+`":{"auth":"`+auth+`"}}}`), 0o600))
	_, s, _ := open(t, o, t.TempDir(), false)
	_, err := pull(t.Context(), s.Client(), s.URL, "a/one", "1")
	assert.ErrorContains(t, err, "403")
	_, s, out := open(t, o, t.TempDir(), true)
	_, err = pull(t.Context(), s.Client(), s.URL, "a/one", "1")
	require.NoError(t, err)
	got, err := ask(t.Context(), s.Client(), http.MethodGet, s.URL+"/v2/a/one/manifests/1?ns=r.example")
	require.NoError(t, err)
	for _, shown := range append(got.header["Docker-Content-Digest"], fmt.Sprint(got.header), out.String()) {
		assert.NotContains(t, shown, auth)
		assert.NotContains(t, shown, "secret")
	}
}

// TestLoginLater: what came with a login is served by no run without, neither out of its
// folder, nor where the registry now says that it is not for the mirror.
func TestLoginLater(t *testing.T) {
	dir := t.TempDir()
	o := newOrigin(t, httptest.NewServer)
	o.push(t, "a/one:1", 100)
	m, err := Open(Options{Dir: dir, Upstreams: map[string]string{"r.example": o.URL}, Login: true, Log: io.Discard})
	require.NoError(t, err)
	require.NoError(t, m.Close())
	_, err = Open(Options{Dir: dir, Upstreams: map[string]string{"r.example": o.URL}, Log: io.Discard})
	require.ErrorContains(t, err, dir)
	for _, remedy := range []string{"--login", "--dir"} {
		require.ErrorContains(t, err, remedy)
	}

	m, s, _ := open(t, o, dir, true)
	at := s.URL + "/v2/a/one/manifests/1?ns=r.example"
	get := func() int {
		got, err := ask(t.Context(), s.Client(), http.MethodGet, at)
		require.NoError(t, err)
		return got.status
	}
	require.Equal(t, http.StatusOK, get())
	for status, want := range map[int]int{
		http.StatusForbidden: http.StatusForbidden, http.StatusUnauthorized: http.StatusForbidden,
		http.StatusTeapot: http.StatusOK, http.StatusInternalServerError: http.StatusOK,
	} {
		m.mu.Lock()
		clear(m.resolved) // as a run that began later
		clear(m.failures)
		m.mu.Unlock()
		o.fail(func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(status)
			return true
		})
		assert.Equal(t, want, get(), "the registry answers %d", status)
		assert.Equal(t, want, get(), "it has just answered %d", status)
	}
}

// TestOthersRepository: who asks for a blob where it is not, denies it to nobody who asks
// where it is, before or afterwards.
func TestOthersRepository(t *testing.T) {
	o := newOrigin(t, httptest.NewServer)
	digest, content := layerOf(t, o.push(t, "a/one:1", 1000))
	of := func(repository string) string { return "/v2/" + repository + "/blobs/" + digest }
	asked, goOn := make(chan struct{}), make(chan struct{})
	o.fail(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != of("no/such") {
			return false
		}
		close(asked)
		<-goOn
		w.WriteHeader(http.StatusNotFound)
		return true
	})
	m, s, _ := open(t, o, t.TempDir(), false)
	status := make(chan int, 2)
	get := func(repository string) {
		got, err := ask(t.Context(), s.Client(), http.MethodGet, s.URL+of(repository)+"?ns=r.example")
		if !assert.NoError(t, err) {
			status <- 0
			return
		}
		if got.status == http.StatusOK {
			assert.Equal(t, content, got.body)
		}
		status <- got.status
	}
	go get("no/such")
	<-asked
	go get("a/one") // waits for it
	time.Sleep(50 * time.Millisecond)
	close(goOn)
	assert.ElementsMatch(t, []int{http.StatusNotFound, http.StatusOK}, []int{<-status, <-status})
	assert.Equal(t, map[string]int{"GET " + of("no/such"): 1, "GET " + of("a/one"): 1}, o.counts())

	m.store.mu.Lock()
	clear(m.store.whole) // as if it had not come
	m.store.mu.Unlock()
	require.NoError(t, os.Remove(m.store.file(digest)))
	get("no/such")
	assert.Equal(t, http.StatusNotFound, <-status, "remembered")
	get("a/one")
	assert.Equal(t, http.StatusOK, <-status)
}

// TestDamaged: what an earlier run left half of, or a failing disk, is fetched again; what
// it left whole is not. A folder may have any name.
func TestDamaged(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a [*] b")
	o := newOrigin(t, httptest.NewServer)
	index := o.push(t, "a/one:1", 1<<20)
	digest, content := layerOf(t, index)
	manifest, err := index.Digest()
	require.NoError(t, err)
	paths := []string{"/v2/a/one/manifests/1", "/v2/a/one/manifests/" + manifest.String(), "/v2/a/one/blobs/" + digest}
	for name, c := range map[string]struct {
		spoil func(t *testing.T, s *store)
		asked map[string]int
	}{
		"whole": {func(*testing.T, *store) {}, nil},
		"half a blob": {func(t *testing.T, s *store) {
			require.NoError(t, os.Truncate(s.file(digest), int64(len(content))/2))
		}, map[string]int{"GET " + paths[2]: 1}},
		"an empty manifest": {func(t *testing.T, s *store) {
			require.NoError(t, os.Truncate(s.file(manifest.String()), 0))
		}, map[string]int{"GET " + paths[0]: 1}},
		"a part": {func(t *testing.T, s *store) {
			require.NoError(t, os.WriteFile(s.path(blobsDir, "1"+partSuffix), nil, 0o600))
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := Open(Options{Dir: dir, Upstreams: map[string]string{"r.example": o.URL}, Log: io.Discard})
			require.NoError(t, err)
			run := func(m *Mirror) {
				t.Helper()
				s := httptest.NewServer(m)
				defer s.Close()
				for _, p := range paths {
					got, err := ask(t.Context(), s.Client(), http.MethodGet, s.URL+p+"?ns=r.example")
					require.NoError(t, err)
					require.Equal(t, http.StatusOK, got.status)
					if p == paths[2] {
						assert.Equal(t, content, got.body)
					}
				}
			}
			run(m)
			require.NoError(t, m.Close())
			c.spoil(t, m.store)
			o.counts()
			m, err = Open(Options{Dir: dir, Upstreams: map[string]string{"r.example": o.URL}, Log: io.Discard})
			require.NoError(t, err)
			defer m.Close()
			run(m)
			asked := o.counts()
			if c.asked == nil {
				delete(asked, "GET "+paths[0]) // a tag is asked for once a run
			}
			delete(asked, "HEAD "+paths[0])
			if c.asked == nil {
				assert.Empty(t, asked)
			} else {
				for path, n := range c.asked {
					assert.Equal(t, n, asked[path], "%v", asked)
				}
			}
			left, err := filepath.Glob(filepath.Join(filepath.Dir(dir), "*", blobsDir, "*"+partSuffix))
			require.NoError(t, err)
			assert.Empty(t, left)
		})
	}
}

// TestUntrusted: of a registry with a certificate of nobody's nothing is taken.
func TestUntrusted(t *testing.T) {
	o := newOrigin(t, httptest.NewTLSServer)
	o.push(t, "a/one:1", 1000)
	_, s, out := open(t, o, t.TempDir(), false)
	got, err := ask(t.Context(), s.Client(), http.MethodGet, s.URL+"/v2/a/one/manifests/1?ns=r.example")
	require.NoError(t, err)
	assert.Equal(t, http.StatusBadGateway, got.status)
	assert.Contains(t, out.String(), "x509: ")
	assert.Empty(t, o.counts())
}

// TestWrongContent: what is not of its digest, or breaks off, is neither finished nor kept.
func TestWrongContent(t *testing.T) {
	for name, spoil := range map[string]func(content []byte) []byte{
		"another byte": func(content []byte) []byte { content[len(content)/2]++; return content },
		"breaks off":   func(content []byte) []byte { return content[:len(content)/2] },
	} {
		t.Run(name, func(t *testing.T) {
			o := newOrigin(t, httptest.NewServer)
			digest, content := layerOf(t, o.push(t, "a/one:1", 1<<20))
			o.fail(func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.Contains(r.URL.Path, "/blobs/") {
					return false
				}
				w.Header().Set("Content-Length", fmt.Sprint(len(content)))
				_, _ = w.Write(spoil(bytes.Clone(content)))
				return true
			})
			m, s, _ := open(t, o, t.TempDir(), false)
			at := s.URL + "/v2/a/one/blobs/" + digest + "?ns=r.example"
			got, err := ask(t.Context(), s.Client(), http.MethodGet, at)
			assert.True(t, err != nil || got.status == http.StatusBadGateway, "%v %v", got, err)
			if got != nil {
				assert.Less(t, len(got.body), len(content))
			}
			assert.False(t, has(m, digest))
			left, err := filepath.Glob(m.store.path(blobsDir, "*"))
			require.NoError(t, err)
			assert.Empty(t, left)

			o.fail(nil)
			m.mu.Lock()
			clear(m.failures) // as after a while
			m.mu.Unlock()
			got, err = ask(t.Context(), s.Client(), http.MethodGet, at)
			require.NoError(t, err)
			assert.Equal(t, content, got.body)
		})
	}
}

// TestDiskFull: one line to the instructor, and the registry itself is left to the clients.
func TestDiskFull(t *testing.T) {
	o := newOrigin(t, httptest.NewServer)
	digest, _ := layerOf(t, o.push(t, "a/one:1", 1<<20))
	m, s, out := open(t, o, t.TempDir(), false)
	m.store.free = func() (uint64, error) { return reserve + 1000, nil }
	for range 2 {
		got, err := ask(t.Context(), s.Client(), http.MethodGet, s.URL+"/v2/a/one/blobs/"+digest+"?ns=r.example")
		require.NoError(t, err)
		assert.Equal(t, http.StatusServiceUnavailable, got.status)
	}
	assert.Contains(t, out.String(), "the mirror's disk is full: "+m.store.dir+" has ")
	assert.Equal(t, 1, strings.Count(out.String(), "\n"), out)
}

// TestRoomForAll: what is on its way counts, so that two at once do not fill a disk that
// each by itself would fit on.
func TestRoomForAll(t *testing.T) {
	o := newOrigin(t, httptest.NewServer)
	one, _ := layerOf(t, o.push(t, "a/one:1", 1<<20))
	two, _ := layerOf(t, o.push(t, "a/two:1", 1<<20))
	begun, goOn := make(chan struct{}), make(chan struct{})
	o.fail(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, one) {
			w.Header().Set("Content-Length", "1048576")
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			close(begun)
			<-goOn
			return true
		}
		return false
	})
	m, s, _ := open(t, o, t.TempDir(), false)
	m.store.free = func() (uint64, error) { return reserve + 3<<19, nil }
	var group errgroup.Group
	group.Go(func() error {
		_, _ = ask(t.Context(), s.Client(), http.MethodGet, s.URL+"/v2/a/one/blobs/"+one+"?ns=r.example")
		return nil
	})
	<-begun
	require.Eventually(t, func() bool {
		m.store.mu.Lock()
		defer m.store.mu.Unlock()
		return m.store.promised > 0
	}, 10*time.Second, 10*time.Millisecond)
	second := func() int {
		got, err := ask(t.Context(), s.Client(), http.MethodGet, s.URL+"/v2/a/two/blobs/"+two+"?ns=r.example")
		require.NoError(t, err)
		return got.status
	}
	assert.Equal(t, http.StatusServiceUnavailable, second())
	close(goOn)
	require.NoError(t, group.Wait())
	require.Eventually(t, func() bool {
		m.store.mu.Lock()
		defer m.store.mu.Unlock()
		return m.store.promised == 0
	}, 10*time.Second, 10*time.Millisecond, "what was promised is given back")
	m.mu.Lock()
	clear(m.failures)
	m.mu.Unlock()
	assert.Equal(t, http.StatusOK, second())
}

// TestInventedNames: what is there is served under any name, and what is counted does not
// grow by that.
func TestInventedNames(t *testing.T) {
	o := newOrigin(t, httptest.NewServer)
	o.push(t, "a/one:1", 1000)
	m, s, _ := open(t, o, t.TempDir(), false)
	_, err := pull(t.Context(), s.Client(), s.URL, "a/one", "1")
	require.NoError(t, err)
	images, _ := m.Tables()
	require.Len(t, images, 2)
	digest := slices.Collect(maps.Keys(m.store.whole))[0]
	for i := range 100 {
		got, err := ask(t.Context(), s.Client(), http.MethodHead, fmt.Sprintf("%s/v2/invented/%d/blobs/%s?ns=r.example", s.URL, i, digest))
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, got.status)
	}
	images, _ = m.Tables()
	require.Len(t, images, 3)
	assert.Equal(t, others, images[2][0])
}

// TestShares: one client has but some blobs begun at a time, its manifests wait for no blob,
// and what one is refused another one gets.
func TestShares(t *testing.T) {
	o := newOrigin(t, httptest.NewServer)
	o.push(t, "a/one:1", 1000)
	held := make(chan struct{})
	o.fail(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/blobs/") {
			<-held
		}
		return false
	})
	m, s, _ := open(t, o, t.TempDir(), false)
	m.slots.within = 100 * time.Millisecond
	blob := func(i int) *request {
		r := httptest.NewRequest(http.MethodGet, fmt.Sprintf("/v2/a/one/blobs/sha256:%064d?ns=r.example", i), nil)
		q, wrong := m.read(r)
		require.Nil(t, wrong)
		return q
	}
	for i := range atOnce { // every slot, by as few clients as may
		_, err := m.download(blob(i), fmt.Sprint("greedy", i/atOnceOfOne))
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool { return len(m.slots.all) == atOnce }, 10*time.Second, time.Millisecond)
	got := (*failure)(nil)
	_, err := m.blob(t.Context(), blob(1000), "greedy0")
	require.ErrorAs(t, err, &got)
	assert.Equal(t, http.StatusTooManyRequests, got.status)
	assert.Nil(t, m.remembered(blob(1000).ref()), "that is no other client's")

	_, err = m.blob(t.Context(), blob(1001), "student")
	require.ErrorAs(t, err, &got)
	assert.Equal(t, http.StatusServiceUnavailable, got.status)
	assert.ErrorContains(t, err, "too much to fetch")
	manifest, err := ask(t.Context(), s.Client(), http.MethodGet, s.URL+"/v2/a/one/manifests/1?ns=r.example")
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, manifest.status)
	close(held)
	require.Eventually(t, func() bool { return len(m.slots.all) == 0 }, 10*time.Second, time.Millisecond)
	require.Eventually(t, func() bool { m.slots.mu.Lock(); defer m.slots.mu.Unlock(); return len(m.slots.of) == 0 }, 10*time.Second, time.Millisecond)
}

// TestTooMuchForOne: who had the mirror fetch too much is refused more, and who waits for
// the same has it fetched.
func TestTooMuchForOne(t *testing.T) {
	o := newOrigin(t, httptest.NewServer)
	digest, content := layerOf(t, o.push(t, "a/one:1", 1<<20))
	m, _, _ := open(t, o, t.TempDir(), false)
	m.clients.correct("greedy", bytesOfOne-int64(len(content))+1)
	read := func(client string) error {
		q, wrong := m.read(httptest.NewRequest(http.MethodGet, "/v2/a/one/blobs/"+digest+"?ns=r.example", nil))
		require.Nil(t, wrong)
		content, err := m.blob(t.Context(), q, client)
		if err == nil {
			_, err = io.Copy(io.Discard, content)
			content.Close()
		}
		return err
	}
	var greedy, student error
	var both errgroup.Group
	both.Go(func() error { greedy = read("greedy"); return nil })
	both.Go(func() error { student = read("student"); return nil })
	require.NoError(t, both.Wait())
	require.NoError(t, student)
	if greedy != nil { // it may have come second
		assert.ErrorContains(t, greedy, "too much")
	}
	assert.NoError(t, read("greedy"), "what is there is fetched for nobody")
	m.store.mu.Lock()
	clear(m.store.whole)
	m.store.mu.Unlock()
	require.NoError(t, os.Remove(m.store.file(digest)))
	assert.ErrorContains(t, read("greedy"), "too much")
	assert.NoError(t, read("student"))
}

// TestManifestRemoved: who tidies the folder meanwhile costs the registry one more request.
func TestManifestRemoved(t *testing.T) {
	o := newOrigin(t, httptest.NewServer)
	o.push(t, "a/one:1", 1000)
	m, s, _ := open(t, o, t.TempDir(), false)
	for range 2 {
		got, err := ask(t.Context(), s.Client(), http.MethodGet, s.URL+"/v2/a/one/manifests/1?ns=r.example")
		require.NoError(t, err)
		assert.Equal(t, http.StatusOK, got.status)
		require.NoError(t, os.Remove(m.store.file(got.header.Get("Docker-Content-Digest"))))
	}
}

// TestJoiningIsFree: who waits for what another one has fetched spends nothing.
func TestJoiningIsFree(t *testing.T) {
	o := newOrigin(t, httptest.NewServer)
	o.push(t, "a/one:1", 1000)
	asked, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	o.fail(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/manifests/") {
			once.Do(func() { close(asked) })
			<-goOn
		}
		return false
	})
	m, s, _ := open(t, o, t.TempDir(), false)
	var all errgroup.Group
	one := func() error {
		got, err := ask(t.Context(), s.Client(), http.MethodGet, s.URL+"/v2/a/one/manifests/1?ns=r.example")
		if err == nil && got.status != http.StatusOK {
			err = fmt.Errorf("%d %s", got.status, got.body)
		}
		return err
	}
	all.Go(one)
	<-asked
	const more = 50
	for range more {
		all.Go(one)
	}
	require.Eventually(t, func() bool { m.mu.Lock(); defer m.mu.Unlock(); return m.asked["r.example/a/one:1"] == more+1 }, 10*time.Second, time.Millisecond)
	close(goOn)
	require.NoError(t, all.Wait())
	assert.Greater(t, m.clients.had["127.0.0.1"].may.Tokens(), float64(fetchesOfOne-2))
	assert.Empty(t, m.asked)
	assert.Empty(t, m.asks.of)
}

// TestShareOfManifests: one client has but some manifests asked for at a time, and pays for
// what was fetched, not for what was not.
func TestShareOfManifests(t *testing.T) {
	o := newOrigin(t, httptest.NewServer)
	o.push(t, "a/one:1", 1000)
	m, _, _ := open(t, o, t.TempDir(), false)
	for i := range asksOfOne {
		_, err := m.wait(fmt.Sprint(i), "greedy")
		require.NoError(t, err)
	}
	_, err := m.wait("more", "greedy")
	got := (*failure)(nil)
	require.ErrorAs(t, err, &got)
	assert.Equal(t, http.StatusTooManyRequests, got.status)
	first, err := m.wait("0", "greedy")
	require.NoError(t, err, "who joins")
	assert.False(t, first)
	_, err = m.wait("more", "student")
	require.NoError(t, err)
	m.waited("0", "greedy", false)
	for i := range asksOfOne {
		m.waited(fmt.Sprint(i), "greedy", true)
	}
	m.waited("more", "student", true)
	assert.Empty(t, m.asked)
	assert.Empty(t, m.asks.of)

	digest, content := layerOf(t, o.push(t, "a/two:1", 1<<20))
	o.fail(func(w http.ResponseWriter, r *http.Request) bool { // it breaks off
		if !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		_, _ = w.Write(content[:1000])
		return true
	})
	q, wrong := m.read(httptest.NewRequest(http.MethodGet, "/v2/a/two/blobs/"+digest+"?ns=r.example", nil))
	require.Nil(t, wrong)
	reading, err := m.blob(t.Context(), q, "student")
	if err == nil {
		_, err = io.Copy(io.Discard, reading)
		reading.Close()
	}
	require.Error(t, err)
	m.fetches.Wait()
	assert.LessOrEqual(t, m.clients.had["student"].bytes, int64(1000))
	assert.Zero(t, m.store.promised)
}

// TestOldFormat: a signed manifest (schema 1) is known by what was signed, not by its
// bytes, and is served as it came.
func TestOldFormat(t *testing.T) {
	const content = `{"schemaVersion":1,"signatures":[]}`
	digest := "sha256:" + strings.Repeat("5", 64)
	o := newOrigin(t, httptest.NewServer)
	o.fail(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/manifests/") {
			return false
		}
		w.Header().Set("Content-Type", "application/vnd.docker.distribution.manifest.v1+prettyjws")
		w.Header().Set("Docker-Content-Digest", digest)
		_, _ = io.WriteString(w, content)
		return true
	})
	_, s, _ := open(t, o, t.TempDir(), false)
	for _, version := range []string{"1.4", digest} {
		got, err := ask(t.Context(), s.Client(), http.MethodGet, s.URL+"/v2/echoserver/manifests/"+version+"?ns=r.example")
		require.NoError(t, err)
		assert.Equal(t, content, string(got.body))
		assert.Equal(t, digest, got.header.Get("Docker-Content-Digest"))
		assert.Equal(t, "application/vnd.docker.distribution.manifest.v1+prettyjws", got.header.Get("Content-Type"))
	}
	assert.Equal(t, map[string]int{"GET /v2/echoserver/manifests/1.4": 1}, o.counts())
}

// TestBounds: one client has neither the registries asked without end, nor all connections.
func TestBounds(t *testing.T) {
	o := newOrigin(t, httptest.NewServer)
	m, s, _ := open(t, o, t.TempDir(), false)
	statuses := map[int]int{}
	for i := range fetchesOfOne + 20 {
		got, err := ask(t.Context(), s.Client(), http.MethodGet, fmt.Sprintf("%s/v2/a/one/manifests/%d?ns=r.example", s.URL, i))
		require.NoError(t, err)
		statuses[got.status]++
	}
	assert.Greater(t, statuses[http.StatusTooManyRequests], 0, statuses)
	assert.NoError(t, m.clients.mayFetch("another"))

	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	bounded := newClients().limit(l)
	defer bounded.Close()
	accepted := make(chan net.Conn, 2*connectionsOfOne)
	go func() {
		for {
			c, err := bounded.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	var open []net.Conn
	for range connectionsOfOne + 1 {
		c, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		defer c.Close()
		open = append(open, c)
	}
	last := open[connectionsOfOne]
	require.NoError(t, last.SetReadDeadline(time.Now().Add(10*time.Second)))
	_, err = last.Read(make([]byte, 1))
	require.Error(t, err)
	assert.False(t, os.IsTimeout(err), "one too many is closed: %v", err)
	require.NoError(t, (<-accepted).Close())
	c, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	require.Eventually(t, func() bool { return len(accepted) == connectionsOfOne }, 10*time.Second, 10*time.Millisecond, "there is room for another")
}

// TestServe: an interrupt ends it, also where a registry does not answer.
func TestServe(t *testing.T) {
	o := newOrigin(t, httptest.NewServer)
	release := make(chan struct{})
	defer close(release)
	o.fail(func(http.ResponseWriter, *http.Request) bool { <-release; return false })
	m, err := Open(Options{Dir: t.TempDir(), Upstreams: map[string]string{"r.example": o.URL}, Log: io.Discard})
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, interrupt := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- m.Serve(ctx, l) }()
	asked := make(chan error, 1)
	go func() {
		_, err := ask(t.Context(), http.DefaultClient, http.MethodGet, "http://"+l.Addr().String()+"/v2/a/one/manifests/1?ns=r.example")
		asked <- err
	}()
	require.Eventually(t, func() bool { return m.upstreams["r.example"].requests.Load() > 0 }, 10*time.Second, 10*time.Millisecond)
	interrupt()
	require.NoError(t, <-ended)
	require.Error(t, <-asked)
	closed := make(chan error, 1)
	go func() { closed <- m.Close() }()
	select {
	case err := <-closed:
		require.NoError(t, err)
	case <-time.After(10 * time.Second):
		t.Fatal("it hangs")
	}
}

// TestAddresses: those of the machine, or the one that is listened on.
func TestAddresses(t *testing.T) {
	for at, want := range map[string]string{"127.0.0.1:0": "127.0.0.1:", "[::1]:0": "[::1]:"} {
		l, err := net.Listen("tcp", at)
		if err != nil {
			continue // no IPv6
		}
		defer l.Close()
		found, err := Addresses(l)
		require.NoError(t, err)
		require.Len(t, found, 1)
		assert.True(t, strings.HasPrefix(found[0], want))
	}
	l, err := net.Listen("tcp", ":0")
	require.NoError(t, err)
	defer l.Close()
	found, err := Addresses(l)
	require.NoError(t, err)
	for _, a := range found {
		host, _, err := net.SplitHostPort(a)
		require.NoError(t, err)
		assert.False(t, net.ParseIP(host).IsLoopback())
	}
}

// TestReachable: of the addresses of several systems, those that a class reaches.
func TestReachable(t *testing.T) {
	ip := net.ParseIP
	for system, c := range map[string]struct {
		all     []place
		outward string
		want    []string
	}{
		"Windows": {[]place{
			{"vEthernet (WSL (Hyper-V firewall))", ip("172.22.48.1")}, {"vEthernet (Default Switch)", ip("172.20.0.1")},
			{"Loopback Pseudo-Interface 1", ip("127.0.0.1")}, {"VirtualBox Host-Only Network", ip("192.168.56.1")},
			{"Ethernet 2", ip("10.8.0.2")}, {"Wi-Fi", ip("fe80::1")}, {"Wi-Fi", ip("2001:db8::5")}, {"Wi-Fi", ip("192.168.11.20")},
		}, "192.168.11.20", []string{"192.168.11.20:5000", "10.8.0.2:5000", "[2001:db8::5]:5000"}},
		"macOS": {[]place{
			{"lo0", ip("127.0.0.1")}, {"bridge100", ip("192.168.64.1")}, {"utun3", ip("100.64.0.3")}, {"en0", ip("10.0.0.7")},
		}, "100.64.0.3", []string{"10.0.0.7:5000"}}, // a VPN has the route
		"Linux, no route": {[]place{
			{"lo", ip("127.0.0.1")}, {"docker0", ip("172.17.0.1")}, {"br-0a1b", ip("172.18.0.1")}, {"wlp2s0", ip("192.168.0.4")},
		}, "", []string{"192.168.0.4:5000"}},
		"nothing": {nil, "", []string{}},
	} {
		assert.Equal(t, c.want, reachable(c.all, ip(c.outward), 5000), system)
	}
	assert.Contains(t, hidden("5.15.167.4-microsoft-standard-WSL2\n"), "networkingMode=mirrored")
	assert.Empty(t, hidden("6.1.0-31-amd64\n"))
}

// TestLastByte: the last byte of what is on its way is held back until all of it is known
// to be right.
func TestLastByte(t *testing.T) {
	for name, wrong := range map[string]error{"right": nil, "wrong": io.ErrNoProgress} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "blob")
			require.NoError(t, os.WriteFile(file, []byte("0123456789"), 0o600))
			d := newDownload("r.example/a@sha256:1", "client")
			d.begin(file, 10)
			d.progress(10)
			r, err := d.open(t.Context())
			require.NoError(t, err)
			defer r.Close()
			got := make([]byte, 20)
			n, err := r.Read(got)
			require.NoError(t, err)
			assert.Equal(t, "012345678", string(got[:n]))
			d.end(wrong)
			n, err = r.Read(got)
			assert.Equal(t, wrong, err)
			assert.Equal(t, map[string]string{"right": "9", "wrong": ""}[name], string(got[:n]))
		})
	}
}
