package hostimages

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"k8sbootcamp/internal/docker"
	"k8sbootcamp/internal/printable"
)

// Error is an image that a lab's nodes could not be given.
type Error struct {
	Image   string // as the configuration has it
	Problem Problem
	Err     error // what was said by Docker, a registry or a node

	registry string // its host
}

// Problem is what kind of thing went wrong.
type Problem string

// The problems, each as it is told to the user.
const (
	RateLimited  Problem = "its registry answers that too many images were pulled from it (429)"
	Untrusted    Problem = "its registry has a certificate (x509) that Docker does not trust"
	PlainHTTP    Problem = "its registry speaks plain HTTP, which Docker takes from its own machine alone"
	WrongTime    Problem = "its registry has a certificate (x509) that is not valid at Docker's time"
	NoSuchHost   Problem = "its registry's name cannot be looked up (no such host)"
	Proxy        Problem = "Docker's proxy does not let it through"
	OtherArch    Problem = "it does not exist for this machine's architecture"
	Occupied     Problem = "Docker has it for another architecture, in whose place it puts no other"
	Unauthorized Problem = "its registry asks for a login (unauthorized)"
	NotFound     Problem = "its registry does not have it (not found)"
	DeniedOrNone Problem = "its registry does not have it, or asks for a login"
	DiskFull     Problem = "Docker's disk is full"
	NoDocker     Problem = "Docker went away while it was pulled"
	OldFormat    Problem = "it is in an old format (schema 1) that this Docker does not pull"
	Unreachable  Problem = "its registry cannot be reached"
	Reset        Problem = "the connection to its registry broke off"
	Registry     Problem = "its registry answered with an error of its own (5xx)"
	Silent       Problem = "nothing was heard from its registry"
	Stalled      Problem = "no more of it arrived"
	Unknown      Problem = "Docker could not pull it"
	NotLoaded    Problem = "it could not be loaded into a node"
)

// remedies are what to do, with {image}, its {registry}, and what `docker login` is {to}.
var remedies = map[Problem]string{
	RateLimited:  "log in (`docker login{to}`), which raises the limit, or wait some hours; or bring the images here (`class images save` and `load`), or set up a mirror for Docker (registry-mirrors)",
	Untrusted:    "put the certificate of its authority, a company's as a rule, where Docker looks: /etc/docker/certs.d/{registry}/ca.crt, or the system's store and then restart Docker",
	PlainHTTP:    "name it in Docker's \"insecure-registries\" (/etc/docker/daemon.json) and restart Docker, or give it a certificate: {registry}",
	WrongTime:    "is the clock right, here and where Docker runs? A machine that slept may be behind",
	NoSuchHost:   "is the network there, and the image's name right? A network without that name needs a mirror for Docker (registry-mirrors), or the images brought here (`class images save` and `load`)",
	Proxy:        "set Docker's own proxy right (`docker info` shows it; /etc/docker/daemon.json has \"proxies\")",
	OtherArch:    "configure an image that does, or use a Docker of the image's architecture",
	Occupied:     "remove that one with `docker image rm {image}`, then this again",
	Unauthorized: "log in (`docker login{to}`) as a user who may pull it",
	NotFound:     "is the name right, and the tag? `docker pull {image}` asks for it again",
	DeniedOrNone: "is the name right, and the tag? Where it is private, log in (`docker login{to}`)",
	DiskFull:     "free some space; `docker system df` shows what Docker uses, `docker image prune --all` removes the images that no container does",
	NoDocker:     "start Docker, then this again",
	OldFormat:    "configure another image (of the echo app: edition=current)",
	Unreachable:  "is the network there, and does Docker need a proxy or a mirror? `docker pull {image}` asks for it again",
	Reset:        "run this again",
	Registry:     "run this again in a while, or set up a mirror for Docker (registry-mirrors)",
	Silent:       "is the network there, and does Docker need a proxy or a mirror? `docker pull {image}` asks for it again",
	Stalled:      "run this again; a slow network needs a mirror, or the images brought here (`class images save` and `load`)",
	Unknown:      "`docker pull {image}` asks for it again",
	NotLoaded:    "run this again",
}

// saidLength is how much is shown of what Docker or a registry said, in characters.
const saidLength = 300

// Remedy is what the user can do.
func (e *Error) Remedy() string {
	to := ""
	if e.registry != hubRegistry {
		to = " " + e.registry
	}
	return strings.NewReplacer("{image}", e.Image, "{registry}", e.registry, "{to}", to).Replace(remedies[e.Problem])
}

// Error is one printable line.
func (e *Error) Error() string {
	text := fmt.Sprintf("image %s: %s; %s", printable.Middle(e.Image, 200), e.Problem, e.Remedy())
	if e.Err != nil {
		text += fmt.Sprintf(" (%s)", printable.Line(e.Err.Error(), saidLength))
	}
	return text
}

func (e *Error) Unwrap() error { return e.Err }

// said are the words of Docker and of registries by which a problem is known: Docker's
// programming interface has none but these. The first that fits counts.
var said = []struct {
	words *regexp.Regexp
	is    Problem
}{
	{regexp.MustCompile(`(?i)toomanyrequests|too many requests|\b429\b`), RateLimited},
	{regexp.MustCompile(`no space left on device`), DiskFull},
	// Of a proxy's answer to CONNECT there is the sentence alone, without the number.
	{regexp.MustCompile(`proxyconnect|Proxy Authentication Required|": (Forbidden|Bad Gateway|Service Unavailable|Gateway Time-?[Oo]ut)$`), Proxy},
	{regexp.MustCompile(`http: server gave HTTP response to HTTPS client`), PlainHTTP},
	{regexp.MustCompile(`certificate has expired or is not yet valid`), WrongTime},
	{regexp.MustCompile(`x509:|certificate signed by|certificate is (not )?valid`), Untrusted},
	{regexp.MustCompile(`no such host|server misbehaving|name resolution`), NoSuchHost},
	{regexp.MustCompile(`no matching manifest|no match for platform|does not match the specified platform|cannot be used on this platform`), OtherArch},
	{regexp.MustCompile(`(?i)cannot overwrite digest`), Occupied}, // moby#43188
	{regexp.MustCompile(`manifest\.v1\+|(?i:schema 1\b)|Docker Image Format v1`), OldFormat},
	{regexp.MustCompile(`no basic auth credentials`), Unauthorized},
	{regexp.MustCompile(`repository does not exist or may require`), DeniedOrNone},
	{regexp.MustCompile(`manifest unknown|name unknown|repository name not known|manifest for .* not found|: not found$|\b404\b`), NotFound},
	{regexp.MustCompile(`(?i)unauthorized|authentication required|denied|forbidden|\b40[13]\b`), Unauthorized},
	{regexp.MustCompile(`connection reset|broken pipe|unexpected EOF|: EOF$|use of closed network connection|INTERNAL_ERROR`), Reset},
	{regexp.MustCompile(`i/o timeout|Client\.Timeout|TLS handshake timeout|deadline exceeded|no route to host|network is unreachable|connection refused|connect:|dial tcp`), Unreachable},
	{regexp.MustCompile(`\b5\d\d (Internal|Bad|Service|Gateway)|received unexpected HTTP status: 5|status code 5\d\d|: 5\d\d\b`), Registry},
}

// passes tells whether a problem goes away by itself, so that one asks again.
func (p Problem) passes() bool { return p == Reset || p == Registry || p == Unreachable }

// explain is a pull's error as an *Error.
func (n named) explain(err error) *Error {
	var known *Error
	if errors.As(err, &known) {
		return known
	}
	e := &Error{Image: n.given, Problem: Unknown, Err: err, registry: n.registry}
	var answer *docker.APIError
	var gone *docker.Error
	switch {
	case errors.As(err, &answer):
		for _, s := range said {
			if s.words.MatchString(answer.Message) {
				e.Problem = s.is
				break
			}
		}
	case errors.As(err, &gone), !errors.Is(err, context.Canceled): // it was Docker that was not heard
		e.Problem = NoDocker
	}
	return e
}
