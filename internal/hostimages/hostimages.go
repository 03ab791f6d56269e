// Package hostimages brings a lab's images to the nodes of its cluster by way of the
// host's Docker: they are pulled there once, with the proxies, certificates, mirrors and
// logins that hold there, and loaded from there into every node that is to run them. So a
// second stack on the machine pulls nothing, and a rebuilt cluster neither.
//
// What Docker has already is not pulled again, also where its registry has something else
// under the name by now: as with the kubelet's own rule (IfNotPresent).
package hostimages

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"k8sbootcamp/internal/docker"
	"k8sbootcamp/internal/hostlock"
	"k8sbootcamp/internal/printable"
)

// Verbs of the tool kindcluster.
const (
	VerbPull = "pull" // pull what Docker has not
	VerbLoad = "load" // into the nodes that have it not
)

// Docker is what is asked of the host's Docker; *docker.API.
type Docker interface {
	Image(ctx context.Context, name string) (*docker.Image, error)
	Pull(ctx context.Context, name, tagOrDigest, login string, step func(docker.Event)) error
	Save(ctx context.Context, id string) (io.ReadCloser, error)
	Load(ctx context.Context, archive io.Reader) error
}

// Host pulls and loads. Make it with New.
type Host struct {
	// Mirror is the URL of a pull-through registry for images of all registries, which is
	// asked first for what Docker has not; empty is none. As containerd has it, each request
	// names in its parameter ns the registry that is meant. See CheckURL.
	Mirror   string
	Platform docker.Platform // Docker's own

	docker Docker
	report *reporter
	limits limits
	login  func(registry string) (string, error)
	origin func(named) (source, error) // the image's own registry
}

// limits are how long one waits.
type limits struct {
	answer time.Duration // until the registry is heard; a further try has to begin within
	stall  time.Duration // with nothing new
	busy   time.Duration // with nothing new, where Docker has something else to do first, or unpacks
	pauses []time.Duration
}

// New returns a Host; lines of progress go to log.
func New(d Docker, own docker.Platform, log io.Writer) *Host {
	return &Host{
		Platform: own,
		docker:   d,
		report:   &reporter{out: log},
		limits:   limits{answer: 30 * time.Second, stall: 2 * time.Minute, busy: 15 * time.Minute, pauses: []time.Duration{time.Second, 3 * time.Second}},
		login:    login,
		origin:   ownRegistry,
	}
}

// atOnce is how many images are pulled at a time: Docker itself fetches three layers.
const atOnce = 3

// Pull has Docker pull those of the images that it has not, for its own platform, and
// goes on with the others where one fails. Its error joins an *Error for each that did.
func (h *Host) Pull(ctx context.Context, images []string) error {
	errs := make([]error, len(images))
	var all errgroup.Group
	all.SetLimit(atOnce)
	for i, image := range images {
		all.Go(func() error {
			n, err := parse(image)
			if err == nil {
				_, err = h.have(ctx, n)
			}
			errs[i] = err
			return nil
		})
	}
	_ = all.Wait() // errs has them all
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return errors.Join(errs...)
}

// have returns the image as Docker has it, once it has. Its error is *Error, or the
// context's.
func (h *Host) have(ctx context.Context, n named) (*docker.Image, error) {
	// Who looks without the lock sees what is there; only who pulls has to be alone.
	found, err := h.look(ctx, n)
	if found != nil || err != nil {
		return found, err
	}
	sum := sha256.Sum256([]byte(n.full))
	unlock, err := hostlock.Take(ctx, "image-"+hex.EncodeToString(sum[:8]), func() {
		h.report.say("image %s: another run pulls it; waiting for that", n.short())
	})
	if err != nil {
		return nil, err
	}
	defer unlock()
	if found, err := h.look(ctx, n); found != nil || err != nil { // the other run had it pulled
		return found, err
	}
	if h.Mirror != "" {
		if err := h.fromMirror(ctx, n); err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			h.report.say("image %s: not from the mirror %s, so Docker pulls it itself (%s)", n.short(), h.Mirror, printable.Line(err.Error(), saidLength))
		} else if found, err := h.look(ctx, n); found != nil || err != nil {
			return found, err
		}
	}
	err = h.pull(ctx, n)
	if why := (*Error)(nil); errors.As(err, &why) && why.Problem == OldFormat {
		err = h.modernize(ctx, n)
	}
	if err != nil {
		return nil, err
	}
	found, err = h.look(ctx, n)
	if found == nil && err == nil {
		err = &Error{Image: n.given, Problem: OtherArch, registry: n.registry}
	}
	return found, err
}

// fromMirror puts an image of the mirror's into Docker.
func (h *Host) fromMirror(ctx context.Context, n named) error {
	from, err := h.mirror(n)
	if err != nil {
		return err
	}
	size, err := h.transfer(ctx, n, from)
	if err == nil {
		h.report.say("image %s: from the mirror, %s", n.short(), printable.Megabytes(size))
	}
	return err
}

// modernize puts an image into Docker that Docker refuses for its old format, as one of
// today's. Its error is *Error, or the context's.
func (h *Host) modernize(ctx context.Context, n named) error {
	from, err := h.origin(n)
	var size int64
	if err == nil {
		size, err = h.transfer(ctx, n, from)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return &Error{Image: n.given, Problem: OldFormat, Err: err, registry: n.registry}
	}
	h.report.say("image %s: pulled, %s, and made one of today's format", n.short(), printable.Megabytes(size))
	return nil
}

// look returns the image as Docker has it, nil where it has not.
func (h *Host) look(ctx context.Context, n named) (*docker.Image, error) {
	found, _, err := h.find(ctx, n)
	return found, err
}

// find is look, and tells the name that Docker has it under.
func (h *Host) find(ctx context.Context, n named) (found *docker.Image, as string, err error) {
	for _, as = range n.local() {
		found, err = h.docker.Image(ctx, as)
		switch {
		case ctx.Err() != nil:
			return nil, "", ctx.Err()
		case err != nil:
			return nil, "", n.explain(err)
		case found != nil:
			return found, as, nil
		}
	}
	return nil, "", nil
}

// NameOf returns the name under which Docker has an image, which is not the image's own
// where it was loaded and has a digest (LoadName). Where Docker has it not, it is the
// image's own.
func (h *Host) NameOf(ctx context.Context, image string) (string, error) {
	n, err := parse(image)
	if err != nil {
		return "", err
	}
	_, as, err := h.find(ctx, n)
	if as == "" || as == n.full {
		as = image
	}
	return as, err
}

// pull has Docker pull an image, some times where what goes wrong passes by itself.
func (h *Host) pull(ctx context.Context, n named) error {
	began := time.Now()
	auth, noLogin := h.login(n.registry) // Docker may have no need of it
	for try := 0; ; try++ {
		err := h.fetch(ctx, n, auth)
		if err == nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		why := n.explain(err)
		if noLogin != nil && (why.Problem == Unauthorized || why.Problem == DeniedOrNone) {
			why.Err = errors.Join(noLogin, why.Err)
		}
		if !why.Problem.passes() || try >= len(h.limits.pauses) || time.Since(began) > h.limits.answer {
			return why
		}
		h.report.say("image %s: %s; trying again", n.short(), why.Problem)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(h.limits.pauses[try]):
		}
	}
}

// fetch has Docker pull an image once, and gives up where nothing more comes.
func (h *Host) fetch(ctx context.Context, n named, auth string) error {
	ctx, heard, end := h.patient(ctx, n, h.limits.answer)
	defer end()
	progress := h.report.begin(n)
	defer h.report.end(progress)
	all := layers{}
	err := h.docker.Pull(ctx, n.name, n.version, auth, func(e docker.Event) {
		if all.take(e) {
			within := h.limits.stall
			if all.queued() {
				within = h.limits.busy
			}
			heard(within)
		}
		done, total, more := all.sum()
		h.report.set(progress, done, total, more)
	})
	if err != nil {
		if gaveUp := (*Error)(nil); errors.As(context.Cause(ctx), &gaveUp) {
			return gaveUp
		}
		return err
	}
	_, total, _ := all.sum()
	h.report.say("image %s: pulled, %s", progress.name, printable.Megabytes(total))
	return nil
}

// patient returns a context that ends, with an *Error as its cause, where nothing is heard
// for too long: at first for as long as answer says, and then for as long as was said when
// something was heard last.
func (h *Host) patient(ctx context.Context, n named, answer time.Duration) (_ context.Context, heard func(within time.Duration), end func()) {
	ctx, giveUp := context.WithCancelCause(ctx)
	var last atomic.Int64 // 0: nothing was heard yet
	silence := time.AfterFunc(answer, func() {
		e := &Error{Image: n.given, Problem: Silent, Err: fmt.Errorf("for %s", answer), registry: n.registry}
		if within := time.Duration(last.Load()); within > 0 {
			e.Problem, e.Err = Stalled, fmt.Errorf("for %s", within)
		}
		giveUp(e)
	})
	heard = func(within time.Duration) {
		last.Store(int64(within))
		silence.Reset(within)
	}
	end = func() {
		silence.Stop()
		giveUp(nil)
	}
	return ctx, heard, end
}

// Warn says each *Error in what Pull returned, and then that images are missing so far; it
// returns the rest.
func (h *Host) Warn(err error) error {
	var rest []error
	warned := false
	for _, one := range parts(err) {
		var missing *Error
		switch {
		case !errors.As(one, &missing):
			rest = append(rest, one)
		case missing.Problem == OldFormat:
			h.report.say("warning: image %s: %s, nor could it be made one of today's (%s); the nodes pull it themselves",
				printable.Middle(missing.Image, 200), OldFormat, printable.Line(missing.Err.Error(), saidLength))
		default:
			h.report.say("warning: %v", missing)
			warned = true
		}
	}
	if warned { // on a line of its own, for those above may be cut where they are shown
		h.report.say("warning: what Docker cannot pull is no matter where the nodes have it; this goes on, and fails where one does not")
	}
	return errors.Join(rest...)
}

// parts are the errors that an error joins.
func parts(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // what errors.Join made
		return joined.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}
