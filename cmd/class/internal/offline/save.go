package offline

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/rogpeppe/go-internal/robustio"
	"golang.org/x/sync/errgroup"

	"k8sbootcamp/internal/docker"
	"k8sbootcamp/internal/hostimages"
	"k8sbootcamp/internal/schema1"
)

// Saver writes a file. Make it with NewSaver.
type Saver struct {
	Images    []string          // references
	Platforms []docker.Platform // of the laptops, whose Docker runs Linux on the same architecture
	Programs  Programs
	Config    []string // KEY=VALUE, with which a lab has these images; whoever loads them is told

	// Progress is told what comes now, and how much of all has come; total is 0 where
	// nobody knows it.
	Progress func(what string, done, total int64)

	client *http.Client
	puller *remote.Puller
	pause  time.Duration // before the second try

	what        string
	done, total int64
}

// NewSaver returns a Saver that fetches by itself, with the logins of the docker command
// and the environment's proxies; no Docker is asked.
func NewSaver() (*Saver, error) {
	patience := newTransport()
	puller, err := remotePuller(patience)
	if err != nil {
		return nil, err
	}
	return &Saver{
		Progress: func(string, int64, int64) {},
		client:   &http.Client{Transport: patience},
		puller:   puller,
		pause:    time.Second,
	}, nil
}

// remotePuller tries again what a registry fails with, but not what it refuses.
func remotePuller(by http.RoundTripper) (*remote.Puller, error) {
	return remote.NewPuller(remote.WithAuthFromKeychain(hostimages.Logins), remote.WithTransport(by),
		remote.WithRetryStatusCodes(http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout))
}

// Save writes the file, and returns its size in bytes. Where it fails, or is interrupted,
// there is nothing new. It is fs.ErrExist where the file is there, unless force is set.
func (s *Saver) Save(ctx context.Context, file string, force bool) (size int64, err error) {
	if _, err := os.Lstat(file); err == nil && !force {
		return 0, fmt.Errorf("%s: %w; name another one, or take --force", file, fs.ErrExist)
	}
	out, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+"-*.part") // nobody else's
	if err != nil {
		return 0, err
	}
	part := out.Name()
	defer func() {
		if err != nil {
			out.Close()
			os.Remove(part)
		}
	}()
	images, err := s.resolve(ctx)
	if err != nil {
		return 0, err
	}
	w := &writer{out: out, entries: map[string]entry{}, wrote: func(n int) {
		s.done += int64(n)
		s.Progress(s.what, s.done, s.total)
	}}
	if err := s.write(ctx, w, images); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return 0, err
	}
	if size, err = out.Seek(0, io.SeekCurrent); err != nil {
		return 0, err
	}
	if err := errors.Join(out.Sync(), out.Close(), os.Chmod(part, 0o644)); err != nil {
		return 0, err
	}
	return size, robustio.Rename(part, file)
}

func (s *Saver) write(ctx context.Context, w *writer, images []*image) error {
	if err := w.addJSON(layoutFile, map[string]string{"imageLayoutVersion": "1.0.0"}); err != nil {
		return err
	}
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}
	for _, i := range images {
		s.what = "image " + i.reference + " for " + i.platform.String()
		described, err := s.writeImage(ctx, w, i)
		if err != nil {
			return explain(i.reference, err)
		}
		described.Platform = &v1.Platform{OS: i.platform.OS, Architecture: i.platform.Architecture}
		described.Annotations = map[string]string{refName: i.reference}
		index.Manifests = append(index.Manifests, *described)
	}
	if err := w.addJSON(indexFile, index); err != nil {
		return err
	}
	var all []program
	for _, platform := range s.Platforms {
		written, err := s.writePrograms(ctx, w, platform)
		if err != nil {
			return err
		}
		all = append(all, written...)
	}
	return w.end(all, s.Config)
}

// image is one for a platform, as its registry has it.
type image struct {
	reference string
	platform  docker.Platform
	from      name.Repository

	index    []byte // that it was found in, or nil
	manifest *remote.Descriptor
}

// resolve asks for the manifests of all images, and says all that is wrong at once.
func (s *Saver) resolve(ctx context.Context) ([]*image, error) {
	var platforms []docker.Platform
	for _, p := range s.Platforms {
		if in := (docker.Platform{OS: "linux", Architecture: p.Architecture}); !slices.Contains(platforms, in) {
			platforms = append(platforms, in)
		}
	}
	found, errs := make([][]*image, len(s.Images)), make([]error, len(s.Images))
	var all errgroup.Group
	all.SetLimit(4)
	for i, reference := range s.Images {
		all.Go(func() error {
			if found[i], errs[i] = s.ask(ctx, reference, platforms); errs[i] != nil {
				errs[i] = explain(reference, errs[i])
			}
			return nil
		})
	}
	_ = all.Wait() // errs has them all
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	images := slices.Concat(found...)
	sizes := map[v1.Hash]int64{}
	for _, i := range images {
		if m, err := v1.ParseManifest(bytes.NewReader(i.manifest.Manifest)); err == nil {
			for _, l := range m.Layers {
				sizes[l.Digest] = l.Size
			}
		}
	}
	for _, size := range sizes {
		s.total += size
	}
	return images, errors.Join(errs...)
}

// ask asks an image's registry for its manifests.
func (s *Saver) ask(ctx context.Context, reference string, platforms []docker.Platform) ([]*image, error) {
	if _, err := hostimages.LoadName(reference); err != nil {
		return nil, unfit(err.Error())
	}
	ref, err := name.ParseReference(reference)
	if err != nil {
		return nil, err
	}
	top, err := s.puller.Get(ctx, ref)
	if err != nil {
		return nil, err
	}
	of := func(p docker.Platform, manifest *remote.Descriptor) *image {
		return &image{reference: reference, platform: p, from: ref.Context(), manifest: manifest}
	}
	if !top.MediaType.IsIndex() {
		own, err := s.platformOf(ctx, ref.Context(), top)
		if err != nil {
			return nil, err
		}
		for _, p := range platforms {
			if p != own {
				return nil, missing(p)
			}
		}
		return []*image{of(own, top)}, nil
	}
	list, err := v1.ParseIndexManifest(bytes.NewReader(top.Manifest))
	if err != nil {
		return nil, err
	}
	var images []*image
	for _, p := range platforms {
		at := slices.IndexFunc(list.Manifests, func(d v1.Descriptor) bool {
			return d.Platform != nil && d.Platform.OS == p.OS && d.Platform.Architecture == p.Architecture
		})
		if at < 0 {
			return nil, missing(p)
		}
		manifest, err := s.puller.Get(ctx, ref.Context().Digest(list.Manifests[at].Digest.String()))
		if err != nil {
			return nil, err
		}
		i := of(p, manifest)
		i.index = top.Manifest
		images = append(images, i)
	}
	return images, nil
}

func missing(p docker.Platform) error {
	return unfit(fmt.Sprintf("it does not exist for %s; configure an image that does (of the echo app: edition=current), or save for other platforms (--platform)", p))
}

// platformOf is the platform of an image that exists for one.
func (s *Saver) platformOf(ctx context.Context, from name.Repository, of *remote.Descriptor) (docker.Platform, error) {
	if schema1.Is(of.MediaType) {
		old, err := schema1.Parse(of.Manifest)
		if err != nil {
			return docker.Platform{}, err
		}
		return docker.Platform{OS: old.Config.OS, Architecture: old.Config.Architecture}, nil
	}
	m, err := v1.ParseManifest(bytes.NewReader(of.Manifest))
	if err != nil {
		return docker.Platform{}, err
	}
	var config bytes.Buffer
	err = s.again(ctx, func() error {
		config.Reset()
		return s.fetch(ctx, from, m.Config.Digest, func(r io.Reader) error {
			_, err := io.Copy(&config, io.LimitReader(r, most))
			return err
		})
	})
	if err != nil {
		return docker.Platform{}, err
	}
	var p docker.Platform
	err = json.Unmarshal(config.Bytes(), &p)
	return p, err
}

// writeImage writes all of an image, and returns what leads to it.
func (s *Saver) writeImage(ctx context.Context, w *writer, i *image) (*v1.Descriptor, error) {
	if schema1.Is(i.manifest.MediaType) {
		return s.convert(ctx, w, i)
	}
	m, err := v1.ParseManifest(bytes.NewReader(i.manifest.Manifest))
	if err != nil {
		return nil, err
	}
	for _, part := range append(m.Layers, m.Config) {
		if _, err := s.writeBlob(ctx, w, i.from, part.Digest); err != nil {
			return nil, err
		}
	}
	if i.index != nil {
		digest, _, err := v1.SHA256(bytes.NewReader(i.index))
		if err == nil {
			_, err = w.addBlob(digest, bytes.NewReader(i.index))
		}
		if err != nil {
			return nil, err
		}
	}
	_, err = w.addBlob(i.manifest.Digest, bytes.NewReader(i.manifest.Manifest))
	return &v1.Descriptor{MediaType: i.manifest.MediaType, Digest: i.manifest.Digest, Size: i.manifest.Size}, err
}

// writeBlob has a registry's content in the archive.
func (s *Saver) writeBlob(ctx context.Context, w *writer, from name.Repository, digest v1.Hash) (e entry, err error) {
	if e, there := w.entries[blobFolder+digest.Hex]; there {
		return e, nil
	}
	err = s.again(ctx, func() error {
		done := s.done
		err := s.fetch(ctx, from, digest, func(r io.Reader) (err error) {
			e, err = w.addBlob(digest, r)
			return err
		})
		if err != nil {
			s.done = done
		}
		return err
	})
	return e, err
}

// fetch hands on a registry's content, which is compared with its digest.
func (s *Saver) fetch(ctx context.Context, from name.Repository, digest v1.Hash, to func(io.Reader) error) error {
	layer, err := s.puller.Layer(ctx, from.Digest(digest.String()))
	if err != nil {
		return err
	}
	content, err := layer.Compressed()
	if err != nil {
		return err
	}
	defer content.Close()
	return to(content)
}

// tries is how often what may pass by itself is done.
const tries = 3

// again does something until it works, or fails for good.
func (s *Saver) again(ctx context.Context, do func() error) error {
	pause := s.pause
	for try := 1; ; try++ {
		err := do()
		if err == nil || ctx.Err() != nil || try == tries || final(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		pause *= 3
	}
}

// final tells of an error that it does not pass by itself: a refusal (a registry's library
// has tried again what is none), or this machine's disk.
func final(err error) bool {
	var answer statusError
	return errors.As(err, new(*transport.Error)) || errors.As(err, new(*os.PathError)) ||
		errors.As(err, &answer) && answer.code < http.StatusInternalServerError
}
