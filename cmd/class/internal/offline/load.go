package offline

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/blang/semver"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
	"github.com/pulumi/pulumi/sdk/v3/go/common/workspace"

	"k8sbootcamp/internal/docker"
	"k8sbootcamp/internal/hostimages"
)

// Docker is what is asked of Docker; *docker.API.
type Docker interface {
	Image(ctx context.Context, name string) (*docker.Image, error)
	Load(ctx context.Context, archive io.Reader) error
}

// Loader puts what is in an archive where an up looks for it.
type Loader struct {
	Docker   Docker
	Platform docker.Platform              // Docker's
	Plugins  []workspace.PluginDescriptor // that an up needs

	HasCLI func(context.Context) bool // one that is new enough
	// InstallCLI has a CLI's files unpacked, and puts them where they are found.
	InstallCLI func(_ context.Context, unpack func(dir string) error) error
	// InstallPlugin takes one out of a file.
	InstallPlugin func(_ context.Context, plugin workspace.PluginDescriptor, file string) error

	Progress func(what string, done, total int64) // as a Saver's
}

// Missing is what of an archive is missing on this machine.
type Missing struct {
	images   []v1.Descriptor
	programs []program
}

// None tells that there is nothing to do.
func (m *Missing) None() bool { return len(m.images) == 0 && len(m.programs) == 0 }

// Images are the missing images' references.
func (m *Missing) Images() []string {
	all := make([]string, len(m.images))
	for i, d := range m.images {
		all[i] = d.Annotations[refName]
	}
	return all
}

// Programs are the missing programs, each with its version.
func (m *Missing) Programs() []string {
	all := make([]string, len(m.programs))
	for i, p := range m.programs {
		all[i] = p.String()
	}
	return all
}

func (p program) String() string { return p.Name + " v" + p.Version }

// Check finds out what is missing, and then checks all of the archive; where nothing is, it
// is not even read. Nothing is changed.
func (l *Loader) Check(ctx context.Context, a *Archive) (*Missing, error) {
	m := &Missing{}
	images, all := a.imagesFor(l.Platform), a.programsFor(OwnPlatform)
	if len(images) == 0 || len(all) == 0 {
		return nil, fmt.Errorf("%s is for %s, and this machine is %s with a Docker of %s; save one with --platform %s",
			a.name, strings.Join(a.platforms(), ", "), OwnPlatform, l.Platform, OwnPlatform)
	}
	for _, i := range images {
		has, err := l.has(ctx, a, i)
		if err != nil {
			return nil, err
		}
		if !has {
			m.images = append(m.images, i)
		}
	}
	for _, p := range all {
		if p.Name == cli && !l.HasCLI(ctx) || p.Name != cli && !workspace.HasPlugin(p.plugin()) {
			m.programs = append(m.programs, p)
		}
	}
	for _, needed := range l.Plugins {
		same := func(p program) bool { return p.Name == needed.Name && p.Version == needed.Version.String() }
		if !workspace.HasPlugin(needed) && !slices.ContainsFunc(all, same) {
			return nil, fmt.Errorf("%s is of another version of this project: the plugin %s v%s is not in it; save it with this version, or bring this clone to that one's",
				a.name, needed.Name, needed.Version)
		}
	}
	if m.None() || ctx.Err() != nil {
		return m, ctx.Err()
	}
	var read int64
	err := a.Verify(ctx, func(n int) {
		read += int64(n)
		l.Progress("checking "+a.name, read, a.Size())
	})
	if err != nil {
		return nil, err
	}
	for _, i := range m.images {
		if err := a.proven(i); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// Load takes what is missing out of an archive that was checked.
func (l *Loader) Load(ctx context.Context, a *Archive, m *Missing) error {
	for _, i := range m.images {
		if err := l.loadImage(ctx, a, i); err != nil {
			return fmt.Errorf("image %s: %w", i.Annotations[refName], err)
		}
	}
	for _, p := range m.programs {
		l.Progress("installing "+p.String(), 0, 0)
		if err := l.install(ctx, a, p); err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
	}
	return nil
}

func (a *Archive) imagesFor(p docker.Platform) (images []v1.Descriptor) {
	for _, m := range a.index.Manifests {
		if m.Platform != nil && m.Platform.OS == p.OS && m.Platform.Architecture == p.Architecture && m.Annotations[refName] != "" {
			images = append(images, m)
		}
	}
	return images
}

func (a *Archive) programsFor(p docker.Platform) (all []program) {
	for _, one := range a.list.Programs {
		if one.Platform == p {
			all = append(all, one)
		}
	}
	return all
}

// plugin is what Pulumi calls a program that was checked.
func (p program) plugin() workspace.PluginDescriptor {
	version := semver.MustParse(p.Version)
	return workspace.PluginDescriptor{Name: p.Name, Kind: apitype.ResourcePlugin, Version: &version}
}

// has tells whether Docker has an image as it is in the archive, or from its registry.
func (l *Loader) has(ctx context.Context, a *Archive, i v1.Descriptor) (bool, error) {
	reference := i.Annotations[refName]
	as, err := hostimages.LoadName(reference)
	if err != nil {
		return false, a.damaged("%v", err)
	}
	var m v1.Manifest
	if err := a.readJSON(blobFolder+i.Digest.Hex, &m); err != nil {
		return false, err
	}
	for _, name := range hostimages.LocalNames(reference) {
		found, err := l.Docker.Image(ctx, name)
		if err != nil {
			return false, err
		}
		if found == nil {
			continue
		}
		if name != as || found.ID == m.Config.Digest.String() || found.ID == i.Digest.String() || slices.Contains(found.Manifests, i.Digest.String()) {
			return true, nil
		}
	}
	return false, nil
}

// proven returns an error unless an image that is named by a digest is that digest's: it
// becomes known to Docker by a tag, which proves nothing.
func (a *Archive) proven(i v1.Descriptor) error {
	_, digest, pinned := strings.Cut(i.Annotations[refName], "@")
	if !pinned || digest == i.Digest.String() {
		return nil
	}
	var index v1.IndexManifest
	if err := a.readJSON(blobFolder+strings.TrimPrefix(digest, "sha256:"), &index); err != nil {
		return err
	}
	if !slices.ContainsFunc(index.Manifests, func(m v1.Descriptor) bool { return m.Digest == i.Digest }) {
		return a.damaged("%s is another image", i.Annotations[refName])
	}
	return nil
}

// loadTimeout is how long Docker may take for an image, a node's of more than a GB too.
const loadTimeout = 30 * time.Minute

// loadImage streams an image into Docker.
func (l *Loader) loadImage(ctx context.Context, a *Archive, i v1.Descriptor) error {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	as, err := hostimages.LoadName(i.Annotations[refName])
	if err != nil {
		return err
	}
	var m v1.Manifest
	if err := a.readJSON(blobFolder+i.Digest.Hex, &m); err != nil {
		return err
	}
	var total, done int64
	for _, layer := range m.Layers {
		total += layer.Size
	}
	read, write := io.Pipe()
	defer read.CloseWithError(io.ErrClosedPipe)
	go func() {
		write.CloseWithError(a.writeImage(write, as, i, &m, func(n int) {
			done += int64(n)
			l.Progress("loading image "+i.Annotations[refName], min(done, total), total)
		}))
	}()
	return l.Docker.Load(ctx, read)
}

// writeImage writes an archive of one image as `docker save` does, with both lists: the
// one that Docker's classic store reads, and the one that containerd goes by.
func (a *Archive) writeImage(to io.Writer, as string, i v1.Descriptor, m *v1.Manifest, wrote func(int)) error {
	out := tar.NewWriter(to)
	file := func(name string, size int64, content io.Reader) error {
		if err := out.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: size}); err != nil {
			return err
		}
		_, err := io.Copy(io.MultiWriter(out, counter(wrote)), content)
		return err
	}
	list := []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}{{Config: blobFolder + m.Config.Digest.Hex, RepoTags: []string{as}}}
	for _, layer := range m.Layers {
		list[0].Layers = append(list[0].Layers, blobFolder+layer.Digest.Hex)
	}
	written := map[v1.Hash]bool{}
	for _, digest := range append(digests(m.Layers), m.Config.Digest, i.Digest) {
		if written[digest] {
			continue
		}
		written[digest] = true
		content, err := a.blob(digest)
		if err == nil {
			err = file(blobFolder+digest.Hex, content.Size(), content)
		}
		if err != nil {
			return err
		}
	}
	named := i
	named.Annotations = map[string]string{containerdName: as}
	for _, one := range []struct {
		name  string
		value any
	}{
		{layoutFile, map[string]string{"imageLayoutVersion": "1.0.0"}},
		{indexFile, v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{named}}},
		{"manifest.json", list},
	} {
		content, err := json.Marshal(one.value)
		if err == nil {
			err = file(one.name, int64(len(content)), bytes.NewReader(content))
		}
		if err != nil {
			return err
		}
	}
	return out.Close()
}

func digests(of []v1.Descriptor) []v1.Hash {
	out := make([]v1.Hash, len(of))
	for i, d := range of {
		out[i] = d.Digest
	}
	return out
}

// install installs a program.
func (l *Loader) install(ctx context.Context, a *Archive, p program) error {
	content, err := a.open(p.File)
	if err != nil {
		return err
	}
	if p.Name == cli {
		take := unpack
		if strings.HasSuffix(p.File, zipSuffix) {
			take = unzip
		}
		return l.InstallCLI(ctx, func(dir string) error { return take(content, dir) })
	}
	file, err := os.CreateTemp("", "class-*.tar.gz") // what Pulumi takes
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	_, err = io.Copy(file, content)
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	return l.InstallPlugin(ctx, p.plugin(), file.Name())
}

// unzip is unpack of a zip.
func unzip(archive *io.SectionReader, dir string) error {
	files, err := zip.NewReader(archive, archive.Size())
	if err != nil {
		return err
	}
	for _, f := range files.File {
		if !f.Mode().IsRegular() {
			continue
		}
		content, err := f.Open()
		if err != nil {
			return err
		}
		if err := errors.Join(write(dir, f.Name, content), content.Close()); err != nil {
			return err
		}
	}
	return nil
}

// write writes a program into a folder.
func write(dir, name string, content io.Reader) error {
	file, err := os.OpenFile(filepath.Join(dir, path.Base(name)), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, content) //nolint:gosec // its checksum is the one that was saved
	return errors.Join(err, file.Close())
}

// unpack writes the files of a release of the CLI into a folder, whichever folder of the
// archive they are in.
func unpack(archive *io.SectionReader, dir string) error {
	unpacked, err := gzip.NewReader(archive)
	if err != nil {
		return err
	}
	for files := tar.NewReader(unpacked); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil && header.Typeflag == tar.TypeReg {
			err = write(dir, header.Name, files)
		}
		if err != nil {
			return err
		}
	}
}
