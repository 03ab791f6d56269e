package hostimages

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"k8sbootcamp/internal/docker"
	"k8sbootcamp/internal/printable"
)

// EnvMirror is the environment variable that tells the tools a mirror's URL.
const EnvMirror = "BOOTCAMP_IMAGE_MIRROR"

// Mirror is a pull-through registry that is asked for images of all registries. As
// containerd has it, each request names in its parameter ns the registry that is meant.
type Mirror struct {
	URL      string          // http:// or https://, a host and perhaps a port; empty is none
	Platform docker.Platform // of the images that are wanted
}

// AllowedMirror is what CheckMirror lets through, in words.
const AllowedMirror = "http:// or https://, the name or address by which other machines reach it, perhaps a port, and nothing after that"

// hostRE is a host's name; an address has netip.
var hostRE = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*$`)

// CheckMirror returns an error unless it is the URL of a mirror that a node could reach:
// what that calls localhost is the node itself.
func CheckMirror(at string) error {
	if err := CheckURL(at); err != nil {
		return err
	}
	u, err := url.Parse(at)
	if err != nil {
		return err
	}
	address, err := netip.ParseAddr(u.Hostname())
	if err == nil && (address.IsLoopback() || address.IsUnspecified()) || strings.EqualFold(u.Hostname(), "localhost") {
		return errors.New("to a node that is the node itself")
	}
	return nil
}

// CheckURL returns an error unless it is http:// or https://, a host, perhaps a port, and
// nothing more.
func CheckURL(at string) error {
	u, err := url.Parse(at)
	if err != nil {
		return errors.New("it is no URL")
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return errors.New("it begins neither with http:// nor with https://")
	}
	if u.Scheme+"://"+u.Host != at { // a user, a path, a query, or another way to write it
		return errors.New("it has more than a host and a port")
	}
	host := u.Hostname()
	address, err := netip.ParseAddr(host)
	is6 := err == nil && address.Is6() && address.Zone() == ""
	if is6 != strings.HasPrefix(u.Host, "[") || !is6 && (len(host) > 253 || !hostRE.MatchString(host)) {
		return fmt.Errorf("%q is no host", host)
	}
	if _, err := strconv.ParseUint(u.Port(), 10, 16); err != nil && u.Port() != "" || strings.HasSuffix(u.Host, ":") || u.Port() == "0" {
		return fmt.Errorf("%q is no port", u.Port())
	}
	return nil
}

// Limits of what a mirror may take: it is close by, or it is none.
const (
	mirrorDials   = 5 * time.Second
	mirrorAnswers = time.Minute // it may have to ask its upstream first
)

// image is one that a mirror has.
func (m Mirror) image(ctx context.Context, n named) (v1.Image, error) {
	at, err := url.Parse(m.URL)
	if err != nil {
		return nil, err
	}
	repository, err := name.NewRepository(at.Host + "/" + strings.TrimPrefix(n.name, n.registry+"/"))
	if err != nil {
		return nil, err
	}
	ref := name.Reference(repository.Tag(n.version))
	if n.pinned {
		ref = repository.Digest(n.version)
	}
	found, err := remote.Get(ref, remote.WithContext(ctx),
		remote.WithTransport(&toMirror{at: at, registry: n.registry, through: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: mirrorDials}).DialContext,
			TLSHandshakeTimeout:   mirrorDials,
			ResponseHeaderTimeout: mirrorAnswers,
			IdleConnTimeout:       mirrorAnswers,
		}}),
		remote.WithPlatform(v1.Platform{OS: m.Platform.OS, Architecture: m.Platform.Architecture}),
		remote.WithRetryBackoff(remote.Backoff{Duration: time.Second, Factor: 2, Steps: 2}))
	if err != nil {
		return nil, err
	}
	image, err := found.Image() // of schema 1 there is none
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	if is := (docker.Platform{OS: config.OS, Architecture: config.Architecture}); is != m.Platform {
		return nil, fmt.Errorf("it is for %s", is)
	}
	return image, nil
}

// toMirror sends requests to a mirror: the way that its URL says, and with the registry.
type toMirror struct {
	at       *url.URL
	registry string
	through  http.RoundTripper
}

func (t *toMirror) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host == t.at.Host { // it may lead elsewhere for content
		r = r.Clone(r.Context())
		r.URL.Scheme = t.at.Scheme // which the library would choose by the address
		query := r.URL.Query()
		query.Set("ns", t.registry)
		r.URL.RawQuery = query.Encode()
	}
	answer, err := t.through.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	// Of a signed manifest the library believes the digest that the answer's head tells, and
	// a mirror is not to be believed.
	if kind := types.MediaType(answer.Header.Get("Content-Type")); kind == types.DockerManifestSchema1Signed || kind == types.DockerManifestSchema1 {
		answer.Body.Close()
		return nil, errors.New("a manifest of schema 1, which Docker does not take from here")
	}
	return answer, nil
}

// fromMirror puts an image of the mirror's into Docker, under its tag, or the one that
// stands for its digest.
func (h *Host) fromMirror(ctx context.Context, n named) error {
	ctx, heard, end := h.patient(ctx, n, h.limits.stall) // it may have to ask its upstream first
	defer end()
	err := h.transfer(ctx, n, heard)
	if gaveUp := (*Error)(nil); errors.As(context.Cause(ctx), &gaveUp) {
		return fmt.Errorf("nothing was heard of it %w", gaveUp.Err)
	}
	return err
}

func (h *Host) transfer(ctx context.Context, n named, heard func()) error {
	image, err := h.Mirror.image(ctx, n)
	if err != nil {
		return err
	}
	manifest, err := image.Manifest()
	if err != nil {
		return err
	}
	total := manifest.Config.Size
	for _, l := range manifest.Layers {
		total += l.Size
	}
	as, err := LoadName(n.given)
	if err != nil {
		return err
	}
	tag, err := name.NewTag(as)
	if err != nil {
		return err
	}
	progress := h.report.begin(n)
	defer h.report.end(progress)
	archive, to := io.Pipe()
	written := make(chan error, 1)
	go func() {
		err := tarball.Write(tag, image, to)
		to.CloseWithError(err) // nil is the end
		written <- err
	}()
	var done int64
	loaded := h.docker.Load(ctx, readerFunc(func(p []byte) (int, error) {
		got, err := archive.Read(p)
		done += int64(got)
		heard()
		h.report.set(progress, min(done, total), total, false) // the archive's own headers are more
		return got, err
	}))
	archive.CloseWithError(io.ErrClosedPipe)
	if err := <-written; err != nil && !errors.Is(err, io.ErrClosedPipe) { // and so Docker failed too
		return err
	}
	if loaded != nil {
		return loaded
	}
	h.report.say("image %s: from the mirror, %s", progress.name, printable.Megabytes(total))
	return nil
}
