package imagelab

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Registry is one on this machine. Docker takes those on 127.0.0.1 without a certificate.
type Registry struct {
	Host string // and port

	inside  *httptest.Server // where images are put in, uncounted
	outside *httptest.Server

	mu     sync.Mutex
	counts map[string]int    // requests, by method and path
	old    map[string][]byte // manifests of schema 1, by their path
	fault  Fault
}

// Fault is how a registry fails; nil is not at all. It answers the request itself, or
// returns false.
type Fault func(w http.ResponseWriter, r *http.Request) (answered bool)

// New starts a registry, which ends with the test.
func New(t testing.TB) *Registry {
	t.Helper()
	return start(t, func(h http.Handler) *httptest.Server { return httptest.NewServer(h) })
}

// NewUntrusted starts one whose certificate nobody trusts, at an address of this machine
// for which Docker asks for one; nil where the machine has none.
func NewUntrusted(t testing.TB) *Registry {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		if ip, ok := a.(*net.IPNet); ok && !ip.IP.IsLoopback() && ip.IP.To4() != nil && !ip.IP.IsLinkLocalUnicast() {
			return start(t, func(h http.Handler) *httptest.Server {
				s := httptest.NewUnstartedServer(h)
				s.Listener.Close()
				if s.Listener, err = net.Listen("tcp", net.JoinHostPort(ip.IP.String(), "0")); err != nil {
					t.Fatal(err)
				}
				s.Config.ErrorLog = log.New(io.Discard, "", 0) // of a handshake that the other side ends
				s.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
				s.StartTLS()
				return s
			})
		}
	}
	return nil
}

func start(t testing.TB, serve func(http.Handler) *httptest.Server) *Registry {
	r := &Registry{counts: map[string]int{}, old: map[string][]byte{}}
	store := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	r.inside = httptest.NewServer(store)
	r.outside = serve(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.mu.Lock()
		r.counts[q.Method+" "+q.URL.Path]++
		fault, old := r.fault, r.old[q.URL.Path]
		r.mu.Unlock()
		switch {
		case fault != nil && fault(w, q):
		case old != nil:
			w.Header().Set("Content-Type", string(types.DockerManifestSchema1Signed))
			w.Header().Set("Content-Length", strconv.Itoa(len(old)))
			_, _ = w.Write(old)
		default:
			store.ServeHTTP(w, q)
		}
	}))
	r.Host = r.outside.Listener.Addr().String()
	t.Cleanup(func() {
		r.outside.CloseClientConnections()
		r.outside.Close()
		r.inside.Close()
		r.forget(t)
	})
	return r
}

// forget takes from Docker what came from this registry.
func (r *Registry) forget(t testing.TB) {
	out, err := exec.Command("docker", "image", "list", "--digests", "--format", "{{.Repository}} {{.Tag}} {{.Digest}}").Output()
	if err != nil {
		t.Errorf("images could not be listed: %v", err)
		return
	}
	for line := range strings.Lines(string(out)) {
		cells := strings.Fields(line)
		if len(cells) != 3 || !strings.HasPrefix(cells[0], r.Host+"/") {
			continue
		}
		for _, ref := range []string{cells[0] + ":" + cells[1], cells[0] + "@" + cells[2]} {
			if !strings.HasSuffix(ref, "<none>") {
				_ = exec.Command("docker", "image", "rm", ref).Run() // a tag may take the digest with it
			}
		}
	}
}

// Fail has the registry fail so from now on.
func (r *Registry) Fail(f Fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fault = f
}

// Asked returns how often what was asked for since the last time, and forgets it: by
// method and path.
func (r *Registry) Asked() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := maps.Clone(r.counts)
	clear(r.counts)
	return all
}

// Blobs are those of the requests that fetched content, by its digest.
func Blobs(asked map[string]int) map[string]int {
	blobs := map[string]int{}
	for request, n := range asked {
		if found := blobRE.FindStringSubmatch(request); found != nil {
			blobs[found[1]] += n
		}
	}
	return blobs
}

var blobRE = regexp.MustCompile(`^GET /v2/.*/blobs/(sha256:[0-9a-f]+)$`)

// Says is a fault: an answer to all that is asked.
func Says(status int, code, message string) Fault {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		answer(w, status, code, message)
		return true
	}
}

// SaysOfManifests is Says, but of manifests alone.
func SaysOfManifests(status int, code, message string) Fault {
	return func(w http.ResponseWriter, q *http.Request) bool {
		if !strings.Contains(q.URL.Path, "/manifests/") {
			return false
		}
		answer(w, status, code, message)
		return true
	}
}

func answer(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"errors":[{"code":%q,"message":%q}]}`, code, message)
}

// Login is a fault for whoever does not log in so.
func Login(user, password string) Fault {
	return func(w http.ResponseWriter, q *http.Request) bool {
		if u, p, ok := q.BasicAuth(); ok && u == user && p == password {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="imagelab"`)
		answer(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
		return true
	}
}

// Stalls is a fault: half of each blob, and then nothing until the client goes.
func Stalls(r *Registry) Fault {
	return func(w http.ResponseWriter, q *http.Request) bool {
		if !strings.Contains(q.URL.Path, "/blobs/") || q.Method != http.MethodGet {
			return false
		}
		whole, err := http.Get(r.inside.URL + q.URL.Path)
		if err != nil {
			return false
		}
		defer whole.Body.Close()
		w.Header().Set("Content-Length", fmt.Sprint(whole.ContentLength))
		_, _ = io.CopyN(w, whole.Body, whole.ContentLength/2)
		_ = http.NewResponseController(w).Flush()
		<-q.Context().Done()
		return true
	}
}
