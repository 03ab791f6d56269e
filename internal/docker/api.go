package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// API is the programming interface of the Docker that the docker command talks to, for
// what the command itself does not tell: bytes while it pulls, and what there is of an
// image. Open makes one.
type API struct {
	http  *http.Client
	minor int // of the version, which is 1.minor

	// Platform is that of the machine that Docker runs on, and so of its nodes.
	Platform Platform
}

// Platform is an operating system and an architecture, as Go and images name them.
type Platform struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
}

func (p Platform) String() string { return p.OS + "/" + p.Architecture }

// Versions of the programming interface, each 1.N.
const (
	newest    = 51 // that this package was read against
	manifests = 48 // since when an image tells what there is of it, and is saved for one platform
)

// APIError is what Docker answers where it does not do what it is asked.
type APIError struct {
	Status  int // of HTTP; 0 where it came amid an answer that had begun well
	Message string
}

func (e *APIError) Error() string {
	if e.Message == "" {
		return fmt.Sprintf("Docker answered with status %d", e.Status)
	}
	return e.Message
}

// Open reaches Docker as the docker command does, by that command: so contexts,
// DOCKER_HOST, certificates and ssh hold. Its error is *Error, or the context's.
func Open(ctx context.Context) (*API, error) { return open(ctx, dialStdio) }

func open(ctx context.Context, dial func(context.Context) (net.Conn, error)) (*API, error) {
	a := &API{http: &http.Client{Transport: &http.Transport{
		DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		DisableCompression: true,
	}}}
	limited, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	var version struct{ APIVersion, Os, Arch string }
	err := a.get(limited, "/version", nil, &version)
	if err == nil {
		a.minor, err = parseVersion(version.APIVersion)
	}
	if err != nil {
		a.Close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if _, asked := Ask(ctx); asked != nil { // which knows what to do about it
			return nil, asked
		}
		return nil, &Error{"Docker's programming interface does not answer", "restart Docker", err}
	}
	a.minor = min(a.minor, newest)
	a.Platform = Platform{version.Os, version.Arch}
	return a, nil
}

// getTimeout is how long Docker may take for a question, on a machine that is busy too.
const getTimeout = 2 * time.Minute

func parseVersion(v string) (minor int, err error) {
	major, rest, _ := strings.Cut(v, ".")
	minor, err = strconv.Atoi(rest)
	if major != "1" || err != nil {
		return 0, fmt.Errorf("its version is %q, and should be 1.N", v)
	}
	return minor, nil
}

// Close ends what is left of the connections.
func (a *API) Close() { a.http.CloseIdleConnections() }

// Image is what Docker has under a name.
type Image struct {
	// ID is the digest of the image's configuration in Docker's classic store, and that
	// of its index, or of its one manifest, in containerd's.
	ID   string `json:"Id"`
	Size int64  // bytes; of what is unpacked in the classic store
	Platform

	// Manifests are the digests of those of its manifests that are of a platform and
	// wholly there; known of containerd's store alone.
	Manifests []string `json:"-"`
}

// Image returns what Docker has for its own platform under a name, wholly; nil where it
// has nothing, or only something else.
func (a *API) Image(ctx context.Context, name string) (*Image, error) {
	var found struct {
		Image
		Manifests []struct {
			ID        string
			Kind      string // image, attestation or unknown
			Available bool   // all of it is there
			ImageData *struct{ Platform Platform }
		}
	}
	query := url.Values{}
	if a.minor >= manifests {
		query.Set("manifests", "1")
	}
	err := a.get(ctx, a.path("/images/"+name+"/json"), query, &found)
	var answer *APIError
	if errors.As(err, &answer) && answer.Status == http.StatusNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if found.Manifests == nil { // the classic store, which has one platform of an image and that wholly
		if found.Platform != a.Platform {
			return nil, nil
		}
		return &found.Image, nil
	}
	for _, m := range found.Manifests {
		if m.Available && m.ImageData != nil && m.ImageData.Platform == a.Platform {
			found.Image.Manifests = append(found.Image.Manifests, m.ID)
		}
	}
	if found.Image.Manifests == nil {
		return nil, nil
	}
	return &found.Image, nil
}

// Event is a step of a pull.
type Event struct {
	ID             string `json:"id"` // of the layer, where it is about one
	Status         string `json:"status"`
	ProgressDetail struct {
		Current, Total int64 // bytes
	} `json:"progressDetail"`
}

// Pull has Docker pull an image, given as a name and its tag or digest, with the login
// for its registry (see Login), and hands on each step. Its error is *APIError where
// Docker could not, and another one where Docker was not heard to the end.
func (a *API) Pull(ctx context.Context, name, tagOrDigest, login string, step func(Event)) error {
	query := url.Values{"fromImage": {name}, "tag": {tagOrDigest}}
	return a.follow(ctx, a.path("/images/create"), query, login, nil, step)
}

// Load has Docker read an archive of images, as `docker load` does. Its error is as Pull's.
func (a *API) Load(ctx context.Context, archive io.Reader) error {
	return a.follow(ctx, a.path("/images/load"), url.Values{"quiet": {"1"}}, "", archive, func(Event) {})
}

// follow has Docker do something that it tells the steps of.
func (a *API) follow(ctx context.Context, path string, query url.Values, login string, content io.Reader, step func(Event)) error {
	body, err := a.do(ctx, http.MethodPost, path, query, login, content)
	if err != nil {
		return err
	}
	defer body.Close()
	for lines := json.NewDecoder(body); ; {
		var line struct {
			Event
			Error string `json:"error"`
		}
		switch err := lines.Decode(&line); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case line.Error != "":
			return &APIError{Message: line.Error}
		}
		step(line.Event)
	}
}

// Save returns an image, by its ID, as an archive that has one platform of it: Docker's
// own.
func (a *API) Save(ctx context.Context, id string) (io.ReadCloser, error) {
	query := url.Values{"names": {id}}
	if a.minor >= manifests {
		platform, err := json.Marshal(a.Platform)
		if err != nil {
			return nil, err
		}
		query.Set("platform", string(platform))
	}
	return a.do(ctx, http.MethodGet, a.path("/images/get"), query, "", nil)
}

func (a *API) path(p string) string { return fmt.Sprintf("/v1.%d%s", a.minor, p) }

func (a *API) get(ctx context.Context, path string, query url.Values, into any) error {
	ctx, cancel := context.WithTimeoutCause(ctx, getTimeout, &Error{Problem: fmt.Sprintf("Docker does not answer within %s", getTimeout), Remedy: "restart it"})
	defer cancel()
	body, err := a.do(ctx, http.MethodGet, path, query, "", nil)
	if err == nil {
		defer body.Close()
		err = json.NewDecoder(body).Decode(into)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = context.Cause(ctx)
	}
	return err
}

func (a *API) do(ctx context.Context, method, path string, query url.Values, login string, content io.Reader) (io.ReadCloser, error) {
	to := url.URL{Scheme: "http", Host: "docker", Path: path, RawQuery: query.Encode()}
	request, err := http.NewRequestWithContext(ctx, method, to.String(), content)
	if err != nil {
		return nil, err
	}
	if content != nil {
		request.Header.Set("Content-Type", "application/x-tar")
	}
	if login != "" {
		request.Header.Set("X-Registry-Auth", login)
	}
	answer, err := a.http.Do(request)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode < 300 {
		return answer.Body, nil
	}
	defer answer.Body.Close()
	said, err := io.ReadAll(io.LimitReader(answer.Body, 10_000))
	if err != nil {
		return nil, err
	}
	var message struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(said, &message) != nil {
		message.Message = strings.TrimSpace(string(said))
	}
	return nil, &APIError{answer.StatusCode, message.Message}
}
