package hostimages

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// EnvMirror is the environment variable that tells the tools a mirror's URL.
const EnvMirror = "BOOTCAMP_IMAGE_MIRROR"

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

// mirror is the mirror as a source.
func (h *Host) mirror(n named) (source, error) {
	at, err := url.Parse(h.Mirror)
	if err != nil {
		return source{}, err
	}
	host, err := name.NewRegistry(at.Host) // which is one also where it has neither a dot nor a port
	if err != nil {
		return source{}, err
	}
	return source{host.Repo(n.path()), []remote.Option{
		remote.WithTransport(&toMirror{at: at, registry: n.registry, through: exact{newTransport()}}),
	}}, nil
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
	return t.through.RoundTrip(r)
}
