package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/distribution/reference"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"k8sbootcamp/internal/hostimages"
	"k8sbootcamp/internal/printable"
)

// upstream is a registry that images are fetched from.
type upstream struct {
	name   string // as images call it
	scheme string
	at     name.Registry
	puller *remote.Puller
	base   http.RoundTripper
	login  bool

	requests, bytes atomic.Int64

	mu    sync.Mutex
	holds time.Time // until when it wants to be left alone
	told  bool      // the instructor, of that
}

// Limits of what a registry may take, and be.
const (
	dialsWithin   = 10 * time.Second
	answersWithin = 30 * time.Second
	mostManifest  = 8 << 20 // bytes
	mostHeld      = 10 * time.Minute
	heldByDefault = 30 * time.Second
)

// ValidRegistry tells whether images can name a registry so.
func ValidRegistry(name string) bool {
	named, err := reference.ParseNormalizedNamed(name + "/a")
	return err == nil && reference.Domain(named) == name
}

func newUpstream(registry, at string, login bool) (*upstream, error) {
	to, err := url.Parse(at)
	if err != nil {
		return nil, err
	}
	u := &upstream{name: registry, scheme: to.Scheme, login: login}
	var options []name.Option
	if to.Scheme == "http" {
		options = append(options, name.Insecure)
	}
	if u.at, err = name.NewRegistry(to.Host, options...); err != nil {
		return nil, err
	}
	base := remote.DefaultTransport.(*http.Transport).Clone()
	base.DialContext = (&net.Dialer{Timeout: dialsWithin}).DialContext
	base.TLSHandshakeTimeout, base.ResponseHeaderTimeout = dialsWithin, answersWithin
	u.base = base
	keys := authn.NewMultiKeychain() // none
	if login {
		keys = hostimages.Logins
	}
	u.puller, err = remote.NewPuller(
		remote.WithTransport(u), remote.WithAuthFromKeychain(keys), remote.WithUserAgent("bootcamp-mirror"), remote.WithJobs(atOnce+asksAtOnce),
		remote.WithRetryBackoff(remote.Backoff{Duration: time.Second, Factor: 2, Steps: 2}))
	return u, err
}

// errHeld is a registry that wants to be left alone for a while.
type errHeld struct{ until time.Time }

func (e errHeld) Error() string {
	return "it asked to be left alone until " + e.until.Format(time.TimeOnly)
}

// sizeKey is of a context's value, an *int64 that the length of the answer goes to: the
// library does not hand it on.
type sizeKey struct{}

// RoundTrip counts, and obeys a registry that is asked too often.
func (u *upstream) RoundTrip(r *http.Request) (*http.Response, error) {
	if until := u.held(); !until.IsZero() {
		return nil, errHeld{until}
	}
	if r.URL.Host == u.at.RegistryStr() { // the library may choose the scheme by the address
		r = r.Clone(r.Context())
		r.URL.Scheme = u.scheme
	}
	u.requests.Add(1)
	answer, err := u.base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode == http.StatusTooManyRequests {
		u.mu.Lock()
		u.holds, u.told = time.Now().Add(retryAfter(answer.Header)), false
		u.mu.Unlock()
	}
	if size, ok := r.Context().Value(sizeKey{}).(*int64); ok && answer.StatusCode == http.StatusOK {
		*size = answer.ContentLength
	}
	answer.Body = &counted{answer.Body, &u.bytes}
	if strings.Contains(r.URL.Path, "/manifests/") {
		answer.Body = http.MaxBytesReader(nil, answer.Body, mostManifest)
	}
	return answer, nil
}

// held is until when the registry wants to be left alone; zero is not at all.
func (u *upstream) held() time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	if time.Now().After(u.holds) {
		return time.Time{}
	}
	return u.holds
}

// news tells, once, that the registry wants to be left alone.
func (u *upstream) news() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	news := !u.told
	u.told = true
	return news
}

// retryAfter reads the header of that name, in seconds or as a date.
func retryAfter(h http.Header) time.Duration {
	after := heldByDefault
	said := h.Get("Retry-After")
	if seconds, err := strconv.Atoi(said); err == nil {
		after = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(said); err == nil {
		after = time.Until(at)
	}
	return min(max(after, time.Second), mostHeld)
}

type counted struct {
	io.ReadCloser
	bytes *atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.bytes.Add(int64(n))
	return n, err
}

// repository is where the registry has what is wanted.
func (u *upstream) repository(q *request) name.Repository {
	return u.at.Repo(strings.TrimPrefix(q.repository.Name(), u.name+"/"))
}

// manifest fetches a manifest of any kind; its digest is of the content, but of a signed
// one (schema 1) of what was signed.
func (u *upstream) manifest(ctx context.Context, q *request) (content []byte, mediaType, digest string, err error) {
	ref := name.Reference(u.repository(q).Tag(q.version))
	if q.byDigest {
		ref = u.repository(q).Digest(q.version)
	}
	found, err := u.puller.Get(ctx, ref)
	if err != nil {
		return nil, "", "", err
	}
	return found.Manifest, string(found.MediaType), found.Digest.String(), nil
}

// blob begins to fetch a blob; its size is -1 where that is not known. The last read fails
// where the content is not that of the digest.
func (u *upstream) blob(ctx context.Context, q *request) (_ io.ReadCloser, size int64, err error) {
	size = -1
	layer, err := u.puller.Layer(context.WithValue(ctx, sizeKey{}, &size), u.repository(q).Digest(q.version))
	if err != nil {
		return nil, 0, err
	}
	body, err := layer.Compressed()
	return body, size, err
}

// explain is an error as clients are told of it, and what the instructor is.
func (q *request) explain(err error) (_ *failure, said string) {
	registry := q.from.name
	own := (*failure)(nil)
	switch {
	case errors.As(err, &own):
		return own, ""
	case full(err):
		return &failure{status: http.StatusServiceUnavailable, code: "UNAVAILABLE", message: "the mirror's disk is full"}, err.Error()
	case errors.Is(err, errBusy):
		return &failure{status: http.StatusServiceUnavailable, code: "UNAVAILABLE", message: errBusy.Error(), after: failureHolds}, errBusy.Error()
	case errors.As(err, new(*fs.PathError)), errors.As(err, new(*os.LinkError)):
		return &failure{status: http.StatusServiceUnavailable, code: "UNAVAILABLE", message: "the mirror cannot write into its folder"},
			"it cannot be kept: " + err.Error()
	}
	if until := q.from.held(); !until.IsZero() {
		f := &failure{status: http.StatusTooManyRequests, code: "TOOMANYREQUESTS", message: registry + " was asked too often", after: time.Until(until).Round(time.Second)}
		if !q.from.news() {
			return f, ""
		}
		return f, fmt.Sprintf("%s answers that it was asked too often (429), and is left alone for %s; a login raises the limit (`docker login`, and --login)", registry, f.after)
	}
	answer := (*transport.Error)(nil)
	if !errors.As(err, &answer) {
		return &failure{status: http.StatusBadGateway, code: "UNAVAILABLE", message: registry + " does not answer the mirror"},
			registry + " cannot be asked: " + printable.Line(err.Error(), 300)
	}
	switch answer.StatusCode {
	case http.StatusNotFound:
		code := "BLOB_UNKNOWN"
		if q.manifest {
			code = "MANIFEST_UNKNOWN"
		}
		return unknown(code, q.ref()), ""
	case http.StatusUnauthorized, http.StatusForbidden:
		login := "with --login the mirror uses that of `docker login`"
		if q.from.login {
			login = "`docker login` as a user who may pull it"
		}
		return &failure{status: http.StatusForbidden, code: "DENIED", message: registry + " does not let the mirror have it"},
			registry + " does not have it, or asks for a login; " + login
	}
	return &failure{status: http.StatusBadGateway, code: "UNAVAILABLE", message: fmt.Sprintf("%s answers the mirror with status %d", registry, answer.StatusCode)},
		registry + " answers: " + printable.Line(answer.Error(), 300)
}
