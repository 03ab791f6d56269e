package offline

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"k8sbootcamp/internal/hostimages"
	"k8sbootcamp/internal/printable"
)

// patient is a transport that ends a request where nothing more is heard.
type patient struct {
	inner         http.RoundTripper
	answer, stall time.Duration // until it is answered, and from then on
}

// errSilent is the error of one that was ended.
var errSilent = errors.New("nothing more was heard")

// newTransport honours the environment's proxies and the system's certificates.
func newTransport() http.RoundTripper {
	return patient{remote.DefaultTransport, 30 * time.Second, 2 * time.Minute}
}

func (p patient) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, end := context.WithCancelCause(r.Context())
	timer := time.AfterFunc(p.answer, func() { end(fmt.Errorf("%w for %s", errSilent, p.answer)) })
	answer, err := p.inner.RoundTrip(r.WithContext(ctx))
	timer.Stop()
	if err != nil {
		if cause := context.Cause(ctx); errors.Is(cause, errSilent) {
			err = cause
		}
		end(nil)
		return nil, err
	}
	answer.Body = &patientBody{answer.Body, ctx, end, p.stall}
	return answer, nil
}

type patientBody struct {
	io.ReadCloser
	ctx   context.Context
	end   context.CancelCauseFunc
	stall time.Duration
}

func (b *patientBody) Read(p []byte) (int, error) {
	timer := time.AfterFunc(b.stall, func() { b.end(fmt.Errorf("%w for %s", errSilent, b.stall)) })
	defer timer.Stop()
	n, err := b.ReadCloser.Read(p)
	if cause := context.Cause(b.ctx); err != nil && errors.Is(cause, errSilent) {
		err = cause
	}
	return n, err
}

func (b *patientBody) Close() error {
	defer b.end(nil)
	return b.ReadCloser.Close()
}

// saidLength is how much is shown of what a registry said, in characters.
const saidLength = 300

// unfit is an image that cannot be saved, whoever asks for it.
type unfit string

func (u unfit) Error() string { return string(u) }

// explain is the error of an image that its registry does not give, with the remedy.
func explain(image string, err error) error {
	registry := hostimages.RegistryOf(image)
	problem, remedy := "it cannot be fetched", "run this again; is the network there, and HTTPS_PROXY set where there is a proxy?"
	var answer *transport.Error
	var name *net.DNSError
	var certificate *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	switch {
	case errors.Is(err, context.Canceled), errors.As(err, new(*os.PathError)): // a full disk
		return err
	case errors.As(err, new(unfit)):
		return fmt.Errorf("image %s: %w", printable.Middle(image, 200), err)
	case errors.As(err, &answer):
		switch answer.StatusCode {
		case http.StatusTooManyRequests:
			problem, remedy = "too many images were pulled from its registry (429)", "log in (`docker login "+registry+"`), which raises the limit, or wait some hours"
		case http.StatusUnauthorized, http.StatusForbidden:
			problem, remedy = "its registry does not have it, or asks for a login", "is the name right, and the tag? Where it is private, log in (`docker login "+registry+"`)"
		case http.StatusNotFound:
			problem, remedy = "its registry does not have it", "is the name right, and the tag?"
		}
	case errors.As(err, &certificate), errors.As(err, &authority):
		problem, remedy = "its registry has a certificate that this machine does not trust", "put the certificate of its authority into the system's store, or name its file in SSL_CERT_FILE"
	case errors.As(err, &name):
		problem, remedy = "its registry's name cannot be looked up", "is the network there, and the image's name right?"
	}
	return fmt.Errorf("image %s: %s; %s (%s)", printable.Middle(image, 200), problem, remedy, printable.Line(err.Error(), saidLength))
}

// statusError is an answer that is not what was asked for.
type statusError struct {
	url, status string
	code        int
}

func (e statusError) Error() string { return e.url + " answers " + e.status }

// get fetches what is at a URL, with its size in bytes, or -1.
func get(client *http.Client, r *http.Request) (io.ReadCloser, int64, error) {
	answer, err := client.Do(r)
	if err != nil {
		return nil, -1, err
	}
	if answer.StatusCode != http.StatusOK {
		answer.Body.Close()
		return nil, -1, statusError{r.URL.Redacted(), answer.Status, answer.StatusCode}
	}
	return answer.Body, answer.ContentLength, nil
}
