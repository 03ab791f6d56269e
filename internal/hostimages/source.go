package hostimages

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	emptyimage "github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"k8sbootcamp/internal/docker"
	"k8sbootcamp/internal/hostlock"
	"k8sbootcamp/internal/schema1"
)

// source is where this process fetches an image by itself and puts it into Docker, where
// Docker does not pull it.
type source struct {
	repository name.Repository
	options    []remote.Option
}

// How long whoever is asked may take: a mirror is close by, or it is none, and may have to
// ask its upstream first.
const (
	dials   = 5 * time.Second
	answers = time.Minute
)

func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: dials}).DialContext,
		TLSHandshakeTimeout:   dials,
		ResponseHeaderTimeout: answers,
		IdleConnTimeout:       answers,
	}
}

// exact has the library take every manifest's digest of its content: of a signed one of
// schema 1 it would believe the one that the answer's head tells, whatever came of a redirect.
type exact struct{ http.RoundTripper }

func (e exact) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := e.RoundTripper.RoundTrip(r)
	if err == nil {
		answer.Header.Del("Docker-Content-Digest")
	}
	return answer, err
}

// ownRegistry is the image's own, with the logins of the docker command.
func ownRegistry(n named) (source, error) {
	repository, err := name.NewRepository(n.name)
	return source{repository, []remote.Option{
		remote.WithTransport(exact{newTransport()}),
		remote.WithAuthFromKeychain(Logins),
	}}, err
}

// image is one of a source, for a platform. One of schema 1 becomes one of today's, with
// its layers in dir; step is told how much of them has come, and of how much.
func (s source) image(ctx context.Context, n named, platform docker.Platform, dir string, step func(done, total int64)) (v1.Image, error) {
	options := append([]remote.Option{
		remote.WithContext(ctx),
		remote.WithPlatform(v1.Platform{OS: platform.OS, Architecture: platform.Architecture}),
		remote.WithRetryBackoff(remote.Backoff{Duration: time.Second, Factor: 2, Steps: 2}),
	}, s.options...)
	ref := name.Reference(s.repository.Tag(n.version))
	if n.pinned {
		ref = s.repository.Digest(n.version)
	}
	found, err := remote.Get(ref, options...)
	if err != nil {
		return nil, err
	}
	var image v1.Image
	if schema1.Is(found.MediaType) {
		image, err = s.convert(n, found.Manifest, platform, dir, step, options)
	} else {
		image, err = found.Image()
	}
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	return image, isFor(platform, config)
}

// isFor returns an error unless an image is for a platform.
func isFor(platform docker.Platform, config *v1.ConfigFile) error {
	if is := (docker.Platform{OS: config.OS, Architecture: config.Architecture}); is != platform {
		return fmt.Errorf("it is for %s", is)
	}
	return nil
}

// convert makes an image of today of one of schema 1.
func (s source) convert(n named, manifest []byte, platform docker.Platform, dir string, step func(done, total int64), options []remote.Option) (v1.Image, error) {
	if n.pinned {
		return nil, errors.New("its digest is that of a manifest of schema 1, and ends with it")
	}
	old, err := schema1.Parse(manifest)
	if err != nil {
		return nil, err
	}
	if err := isFor(platform, &old.Config); err != nil { // before all of it is fetched
		return nil, err
	}
	layers, total := make([]v1.Layer, len(old.Layers)), int64(0)
	for i, digest := range old.Layers {
		if layers[i], err = remote.Layer(s.repository.Digest(digest.String()), options...); err != nil {
			return nil, err
		}
		size, err := layers[i].Size() // the manifest has none
		if err != nil {
			return nil, err
		}
		total += size
	}
	image, done := v1.Image(emptyimage.Image), int64(0)
	for i, layer := range layers {
		file := filepath.Join(dir, old.Layers[i].Hex)
		if err := keep(layer, file, func(n int) { done += int64(n); step(done, total) }); err != nil {
			return nil, err
		}
		kept, err := tarball.LayerFromFile(file)
		if err != nil {
			return nil, fmt.Errorf("its layer %s: %w", old.Layers[i], err)
		}
		if image, err = mutate.AppendLayers(image, kept); err != nil {
			return nil, err
		}
	}
	made, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	old.Config.RootFS = made.RootFS
	return mutate.ConfigFile(image, &old.Config)
}

// keep writes a layer into a file, as it comes; read is told of bytes.
func keep(layer v1.Layer, file string, read func(bytes int)) error {
	content, err := layer.Compressed() // compared with its digest
	if err != nil {
		return err
	}
	defer content.Close()
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, readerFunc(func(p []byte) (int, error) {
		n, err := content.Read(p)
		read(n)
		return n, err
	}))
	return errors.Join(err, out.Close())
}

// transfer puts an image of a source into Docker, under its tag, or the one that stands for
// its digest. It returns the image's size in bytes, as it comes.
func (h *Host) transfer(ctx context.Context, n named, from source) (total int64, err error) {
	ctx, heard, end := h.patient(ctx, n, h.limits.stall)
	defer end()
	total, err = h.carry(ctx, n, from, heard)
	if gaveUp := (*Error)(nil); err != nil && errors.As(context.Cause(ctx), &gaveUp) {
		err = fmt.Errorf("nothing was heard of it %w", gaveUp.Err)
	}
	return total, err
}

func (h *Host) carry(ctx context.Context, n named, from source, heard func(within time.Duration)) (total int64, err error) {
	dir, remove, err := hostlock.Scratch(ctx)
	if err != nil {
		return 0, err
	}
	defer remove()
	progress := h.report.begin(n)
	defer h.report.end(progress)
	step := func(done, total int64) {
		heard(h.limits.stall)
		h.report.set(progress, min(done, total), total, false)
	}
	image, err := from.image(ctx, n, h.Platform, dir, step)
	if err != nil {
		return 0, err
	}
	manifest, err := image.Manifest()
	if err != nil {
		return 0, err
	}
	total = manifest.Config.Size
	for _, l := range manifest.Layers {
		total += l.Size
	}
	as, err := LoadName(n.given)
	if err != nil {
		return 0, err
	}
	tag, err := name.NewTag(as)
	if err != nil {
		return 0, err
	}
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
		step(done, total) // the archive's own headers are more
		if errors.Is(err, io.EOF) {
			heard(h.limits.busy) // now it unpacks, without a word
		}
		return got, err
	}))
	archive.CloseWithError(io.ErrClosedPipe)
	if err := <-written; err != nil && !errors.Is(err, io.ErrClosedPipe) { // and so Docker failed too
		return 0, err
	}
	return total, loaded
}

// path is an image's in its registry.
func (n named) path() string { return strings.TrimPrefix(n.name, n.registry+"/") }
