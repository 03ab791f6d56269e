// Package mirror is a pull-through registry for a class: it fetches what it is asked for
// from the registries that images name, once, and serves it from a folder from then on.
//
// It is open to a network that students share. So it only reads, knows a short list of
// registries (another one could be any host of the instructor's network), and bounds what
// one client can have it do.
package mirror

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/distribution/reference"
	"golang.org/x/sync/singleflight"

	"k8sbootcamp/internal/printable"
)

// hub is the registry of images whose names have none, and of requests that name none.
const hub = "docker.io"

// Options are of a mirror.
type Options struct {
	Dir       string            // its folder, an OCI image layout; made where it is missing
	Upstreams map[string]string // URLs of registries, by what images call them
	Login     bool              // with the logins of the docker command; else with none
	Log       io.Writer         // what the instructor is to know, a line each
}

// Mirror is the registry. Make it with Open.
type Mirror struct {
	store     *store
	upstreams map[string]*upstream
	clients   *clients
	counts    counts
	log       func(format string, a ...any)

	ctx       context.Context // of what is fetched; who asked for it may go away
	stop      context.CancelFunc
	fetches   sync.WaitGroup
	manifests singleflight.Group
	slots     *slots // of blobs
	asks      *slots // of manifests: those do not wait for blobs

	mu        sync.Mutex
	resolved  map[string]bool      // tags that a registry was asked for in this run
	asked     map[string]int       // who waits for a manifest, by reference
	failures  map[string]failed    // by reference
	downloads map[string]*download // by digest
}

// Limits of what is fetched. On a slow line many blobs come slowly rather than a few at a
// time: who waits for the first byte goes to the registry itself after a while.
const (
	atOnce         = 64 // blobs,
	atOnceOfOne    = 24 // of those that one client began: a lab's nodes ask for half of that
	asksAtOnce     = 32 // manifests
	asksOfOne      = 16
	slotWithin     = 40 * time.Second // less than who asks waits
	manifestWithin = time.Minute
	failureHolds   = 10 * time.Second // until a registry is asked again for what it did not give
	mostFailures   = 10_000           // that are remembered
)

// Open opens a mirror's folder, which no other may have open.
func Open(o Options) (*Mirror, error) {
	m := &Mirror{
		upstreams: map[string]*upstream{},
		clients:   newClients(),
		slots:     newSlots(atOnce, atOnceOfOne),
		asks:      newSlots(asksAtOnce, asksOfOne),
		resolved:  map[string]bool{},
		asked:     map[string]int{},
		failures:  map[string]failed{},
		downloads: map[string]*download{},
	}
	var printing sync.Mutex
	m.log = func(format string, a ...any) {
		printing.Lock()
		defer printing.Unlock()
		fmt.Fprintln(o.Log, printable.Line(fmt.Sprintf(format, a...), 500))
	}
	for registry, at := range o.Upstreams {
		u, err := newUpstream(registry, at, o.Login)
		if err != nil {
			return nil, err
		}
		m.upstreams[registry] = u
	}
	var err error
	if m.store, err = openStore(o.Dir, o.Login); err != nil {
		return nil, err
	}
	m.ctx, m.stop = context.WithCancel(context.Background())
	return m, nil
}

// Close ends what is being fetched, and frees the folder.
func (m *Mirror) Close() error {
	m.stop()
	m.fetches.Wait()
	return m.store.close()
}

// Serve serves until the context ends.
func (m *Mirror) Serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler:           m,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          log.New(io.Discard, "", 0), // of what clients do
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(m.clients.limit(listener)) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	_ = server.Close() // who pulls asks the registry itself from then on
	return nil
}

// failure is what a client is told.
type failure struct {
	status  int
	code    string // of the distribution specification
	message string
	after   time.Duration // when to ask again, where that is known
	own     bool          // the client's alone: another may have it
}

func (f *failure) Error() string { return f.message }

// cannotTell tells that what the registry has by now could not be found out; else it said
// that there is no such thing, or not for the mirror.
func (f *failure) cannotTell() bool {
	return f.status != http.StatusNotFound && f.status != http.StatusForbidden
}

// failed is one that is remembered.
type failed struct {
	*failure
	until time.Time
}

func unknown(code, what string) *failure {
	return &failure{status: http.StatusNotFound, code: code, message: what + " is unknown"}
}

// clientPatience is how long a client may take for what it is being sent.
const clientPatience = time.Minute

// request is what a client wants of a repository.
type request struct {
	from       *upstream
	repository reference.Named // with the registry
	manifest   bool            // and not a blob
	version    string          // a tag or a digest
	byDigest   bool
}

var digestRE = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// read reads a request.
func (m *Mirror) read(r *http.Request) (*request, *failure) {
	bad := &failure{status: http.StatusNotFound, code: "NAME_INVALID", message: "this is a mirror: it has manifests and blobs of images, by their names"}
	rest, ok := strings.CutPrefix(r.URL.Path, "/v2/")
	if !ok {
		return nil, bad
	}
	q := &request{}
	name, version, ok := cutLast(rest, "/blobs/")
	if !ok {
		name, version, q.manifest = cutLast(rest, "/manifests/")
		if !q.manifest {
			return nil, bad
		}
	}
	registry := hub
	if ns := r.URL.Query().Get("ns"); ns != "" {
		registry = ns
	}
	if q.from, ok = m.upstreams[registry]; !ok {
		return nil, &failure{status: http.StatusForbidden, code: "DENIED", message: "this mirror does not serve images of " + printable.Middle(registry, 100)}
	}
	var err error
	if q.repository, err = reference.WithName(registry + "/" + name); err != nil {
		return nil, bad
	}
	q.version, q.byDigest = version, digestRE.MatchString(version)
	if !q.byDigest {
		if _, err := reference.WithTag(q.repository, version); err != nil || !q.manifest {
			return nil, &failure{status: http.StatusBadRequest, code: "DIGEST_INVALID", message: "neither a tag nor a digest (sha256)"}
		}
	}
	return q, nil
}

// cutLast is strings.Cut at the last separator.
func cutLast(s, separator string) (before, after string, found bool) {
	i := strings.LastIndex(s, separator)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(separator):], true
}

// ref is the full reference of what is wanted.
func (q *request) ref() string {
	if q.byDigest {
		return q.repository.Name() + "@" + q.version
	}
	return q.repository.Name() + ":" + q.version
}

func (m *Mirror) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Docker-Distribution-Api-Version", "registry/2.0")
	h.Set("X-Content-Type-Options", "nosniff")
	client := clientOf(r)
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		tell(w, &failure{status: http.StatusMethodNotAllowed, code: "UNSUPPORTED", message: "a mirror is read only"})
		return
	}
	if r.URL.Path == "/v2/" || r.URL.Path == "/v2" {
		h.Set("Content-Type", "application/json")
		io.WriteString(w, "{}") //nolint:errcheck // a client that is gone
		return
	}
	q, wrong := m.read(r)
	if wrong != nil {
		tell(w, wrong)
		return
	}
	to := &patientWriter{ResponseWriter: w}
	var err error
	if q.manifest {
		err = m.serveManifest(to, r, q, client)
	} else {
		err = m.serveBlob(to, r, q, client)
	}
	if err != nil {
		if r.Context().Err() != nil { // the client is gone
			return
		}
		f := (*failure)(nil)
		if !errors.As(err, &f) {
			m.log("%s: %v", q.ref(), err)
			f = &failure{status: http.StatusInternalServerError, code: "UNKNOWN", message: "the mirror cannot read what it has"}
		}
		tell(w, f)
		return
	}
	repository := q.repository.Name()
	if !m.store.knows(repository) { // a blob is served by its digest, whatever the name
		repository = others
	}
	m.counts.served(repository, client, to.written)
}

// tell is an error as registries write it.
func tell(w http.ResponseWriter, f *failure) {
	w.Header().Set("Content-Type", "application/json")
	if f.after > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(f.after.Seconds())+1))
	}
	w.WriteHeader(f.status)
	type one struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	_ = json.NewEncoder(w).Encode(map[string][]one{"errors": {{f.code, f.message}}}) // a client may be gone
}

// patientWriter gives each write to a client its time, and counts the bytes.
type patientWriter struct {
	http.ResponseWriter
	written int64
}

func (w *patientWriter) Write(p []byte) (int, error) {
	if err := http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Now().Add(clientPatience)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	n, err := w.ResponseWriter.Write(p)
	w.written += int64(n)
	return n, err
}

func (m *Mirror) serveManifest(w http.ResponseWriter, r *http.Request, q *request, client string) error {
	found, err := m.manifest(r.Context(), q, client)
	if err != nil {
		return err
	}
	file, err := m.store.open(found.Digest)
	if errors.Is(err, os.ErrNotExist) { // somebody removed it, which is known now
		if found, err = m.manifest(r.Context(), q, client); err == nil {
			file, err = m.store.open(found.Digest)
		}
	}
	if err != nil {
		return err
	}
	defer file.Close()
	h := w.Header()
	h.Set("Content-Type", found.MediaType)
	h.Set("Docker-Content-Digest", found.known())
	h.Set("ETag", strconv.Quote(found.known()))
	http.ServeContent(w, r, "", time.Time{}, file)
	return nil
}

func (m *Mirror) serveBlob(w http.ResponseWriter, r *http.Request, q *request, client string) error {
	content, err := m.blob(r.Context(), q, client)
	if err != nil {
		return err
	}
	defer content.Close()
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Docker-Content-Digest", q.version)
	h.Set("ETag", strconv.Quote(q.version))
	http.ServeContent(w, r, "", time.Time{}, content)
	return nil
}

// manifest returns what is under a tag, as a registry has it in this run, or a digest.
func (m *Mirror) manifest(ctx context.Context, q *request, client string) (*descriptor, error) {
	ref := q.ref()
	kept, current := m.kept(q)
	if current {
		return kept, nil
	}
	if err := m.remembered(ref); err != nil {
		if kept != nil && err.cannotTell() {
			return kept, nil
		}
		return nil, err
	}
	first, err := m.wait(ref, client)
	if err != nil {
		return nil, err
	}
	m.fetches.Add(1)
	got := m.manifests.DoChan(ref, func() (any, error) {
		if d, current := m.kept(q); current { // since it was looked for
			return d, nil
		}
		d, err := m.fetchManifest(q)
		if err != nil {
			return nil, m.remember(ref, q, err)
		}
		return d, nil
	})
	done := make(chan singleflight.Result, 1)
	go func() {
		defer m.fetches.Done()
		result := <-got
		m.waited(ref, client, first)
		done <- result
	}()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case result := <-done:
		f := (*failure)(nil)
		if kept != nil && errors.As(result.Err, &f) && f.cannotTell() {
			return kept, nil
		}
		d, _ := result.Val.(*descriptor)
		return d, result.Err
	}
}

// wait lets a client wait for a manifest. Who is the first has it fetched, and may not do
// that without end; who joins has nothing fetched.
func (m *Mirror) wait(ref, client string) (first bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if first = m.asked[ref] == 0; first {
		if err := m.clients.mayFetch(client); err != nil {
			return false, err
		}
		if err := m.asks.begin(client); err != nil {
			return false, err
		}
	}
	m.asked[ref]++
	return first, nil
}

// waited is the end of a wait.
func (m *Mirror) waited(ref, client string, first bool) {
	if first {
		m.asks.end(client)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.asked[ref]--; m.asked[ref] == 0 {
		delete(m.asked, ref)
	}
}

// kept is the manifest that is there, or nil, and whether its registry need not be asked.
func (m *Mirror) kept(q *request) (d *descriptor, current bool) {
	ref := q.ref()
	d = m.store.find(ref)
	m.mu.Lock()
	defer m.mu.Unlock()
	return d, d != nil && (q.byDigest || m.resolved[ref])
}

func (m *Mirror) fetchManifest(q *request) (*descriptor, error) {
	ctx, cancel := context.WithTimeout(m.ctx, manifestWithin)
	defer cancel()
	if err := m.asks.take(ctx); err != nil {
		return nil, err
	}
	defer m.asks.give()
	content, mediaType, digest, err := q.from.manifest(ctx, q)
	if err != nil {
		return nil, err
	}
	ref := q.ref()
	d, err := m.store.keep(ref, mediaType, digest, content)
	if err != nil {
		return nil, err
	}
	m.counts.fetched(q.repository.Name(), int64(len(content)))
	m.mu.Lock()
	defer m.mu.Unlock()
	m.resolved[ref] = true
	return d, nil
}

var errBusy = errors.New("the mirror has too much to fetch at the moment")

// slots are how much is fetched at a time, by all and by one client.
type slots struct {
	all    chan struct{}
	share  int
	within time.Duration

	mu sync.Mutex
	of map[string]int // by the client that had it begun
}

func newSlots(all, share int) *slots {
	return &slots{all: make(chan struct{}, all), share: share, within: slotWithin, of: map[string]int{}}
}

// begin counts what a client has fetched, which may have some at a time.
func (s *slots) begin(client string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of[client] >= s.share {
		return &failure{http.StatusTooManyRequests, "TOOMANYREQUESTS", "this client has too much fetched at a time", time.Second, true}
	}
	s.of[client]++
	return nil
}

func (s *slots) end(client string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of[client]--; s.of[client] <= 0 {
		delete(s.of, client)
	}
}

// take waits for its turn, but not longer than those who asked do.
func (s *slots) take(ctx context.Context) error {
	late := time.NewTimer(s.within)
	defer late.Stop()
	select {
	case s.all <- struct{}{}:
		return nil
	case <-late.C:
		return errBusy
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *slots) give() { <-s.all }

// blob returns a blob, as far as it is there: what of it is still to come, is waited for
// as it is read. Who asks while it is on its way out of another repository, waits for that,
// and has it fetched out of its own where that fails.
func (m *Mirror) blob(ctx context.Context, q *request, client string) (io.ReadSeekCloser, error) {
	for {
		m.mu.Lock()
		d := m.downloads[q.version]
		m.mu.Unlock()
		if d == nil {
			file, err := m.store.open(q.version)
			if err == nil {
				return file, nil
			}
			if !errors.Is(err, os.ErrNotExist) {
				return nil, err
			}
			if err := m.remembered(q.ref()); err != nil {
				return nil, err
			}
			if err := m.clients.mayFetch(client); err != nil {
				return nil, err
			}
			if d, err = m.download(q, client); err != nil {
				return nil, err
			}
		}
		reading, err := d.open(ctx)
		if err == nil {
			return reading, nil
		}
		f := (*failure)(nil)
		anothers := errors.As(err, &f) && f.own && d.client != client
		if d.ref == q.ref() && !anothers || ctx.Err() != nil {
			return nil, err
		}
	}
}

// download begins to fetch a blob, where nobody has.
func (m *Mirror) download(q *request, client string) (*download, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if d := m.downloads[q.version]; d != nil {
		return d, nil
	}
	if err := m.slots.begin(client); err != nil {
		return nil, err
	}
	d := newDownload(q.ref(), client)
	m.downloads[q.version] = d
	m.fetches.Go(func() {
		err := m.fetchBlob(q, d, client)
		m.slots.end(client)
		if err != nil {
			err = m.remember(d.ref, q, err)
		}
		m.mu.Lock()
		delete(m.downloads, q.version)
		m.mu.Unlock()
		d.end(err)
	})
	return d, nil
}

func (m *Mirror) fetchBlob(q *request, d *download, client string) error {
	ctx, cancel := context.WithCancel(m.ctx)
	defer cancel()
	if err := m.slots.take(ctx); err != nil {
		return err
	}
	defer m.slots.give()
	if size, right := m.store.look(q.version); right { // of an earlier run
		d.begin(m.store.file(q.version), size)
		d.progress(size)
		return nil
	}
	began := time.Now()
	body, size, err := q.from.blob(ctx, q)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := m.clients.mayHave(client, size); err != nil {
		return err
	}
	written, err := m.store.fill(q.version, size, d, cancel, body)
	m.clients.correct(client, written-max(size, 0)) // which may be less than was told
	m.counts.fetched(q.repository.Name(), written)
	if err != nil {
		return err
	}
	if written > 1<<20 {
		m.log("%s: %s fetched in %s", q.repository.Name(), printable.Megabytes(written), time.Since(began).Round(100*time.Millisecond))
	}
	return nil
}

// remembered is the failure that there was lately of this.
func (m *Mirror) remembered(what string) *failure {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, ok := m.failures[what]
	if !ok {
		return nil
	}
	if time.Now().After(f.until) {
		delete(m.failures, what)
		return nil
	}
	return f.failure
}

// remember makes a failure for clients of an error, and tells the instructor of it.
func (m *Mirror) remember(what string, q *request, err error) *failure {
	f, said := q.explain(err)
	if f.own {
		return f
	}
	m.mu.Lock()
	if len(m.failures) >= mostFailures {
		clear(m.failures)
	}
	m.failures[what] = failed{f, time.Now().Add(max(failureHolds, f.after))}
	m.mu.Unlock()
	if said != "" && m.ctx.Err() == nil {
		m.log("%s: %s", q.ref(), said)
	}
	return f
}
