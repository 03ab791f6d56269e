// Package offline keeps all that a lab takes from the network in one file: images, the
// Pulumi CLI and its plugins. Save writes such a file, and Open reads it.
//
// The file is a tar: an OCI image layout, a folder with the programs' own archives, and,
// at its end, a list of all that is in it with checksums.
package offline

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/blang/semver"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"k8sbootcamp/internal/docker"
)

// Files of the archive.
const (
	listFile   = "contents.json"
	layoutFile = "oci-layout"
	indexFile  = "index.json" // of the images: a manifest for each platform of each
	blobFolder = "blobs/sha256/"
	programs   = "pulumi/"
)

// Annotations of a manifest in the index: the image's reference as the configuration has
// it, and the name that containerd is to give it.
const (
	refName        = "org.opencontainers.image.ref.name"
	containerdName = "io.containerd.image.name"
)

// contentsVersion is what this program writes, and the last that it reads.
const contentsVersion = 1

// contents is the list at the archive's end.
type contents struct {
	Version  int               `json:"version"`
	Programs []program         `json:"programs"`
	Config   []string          `json:"config,omitempty"`
	SHA256   map[string]string `json:"sha256"` // in hex, of all other files
}

// program is an archive of the CLI or a plugin.
type program struct {
	Name     string          `json:"name"`    // pulumi, or the plugin's
	Version  string          `json:"version"` // without a v
	Platform docker.Platform `json:"platform"`
	File     string          `json:"file"`
}

// cli is the program that is no plugin.
const cli = "pulumi"

// entry is where a file of the archive lies.
type entry struct {
	at, size int64
	sha256   string // in hex
}

// blockSize is tar's.
const blockSize = 512

// writer writes an archive. What a file's size is it need not know before.
type writer struct {
	out     *os.File
	entries map[string]entry
	wrote   func(bytes int) // is told of progress
}

// add writes a file, unless it is there. Where that fails, nothing of it is left.
func (w *writer) add(name string, content io.Reader) (_ entry, err error) {
	if e, there := w.entries[name]; there {
		return e, nil
	}
	begin, err := w.out.Seek(0, io.SeekCurrent)
	if err != nil {
		return entry{}, err
	}
	defer func() {
		if err != nil {
			_, seek := w.out.Seek(begin, io.SeekStart)
			err = errors.Join(err, w.out.Truncate(begin), seek)
		}
	}()
	e := entry{at: begin + blockSize}
	if _, err := w.out.Seek(e.at, io.SeekStart); err != nil {
		return entry{}, err
	}
	sum := sha256.New()
	if e.size, err = io.Copy(io.MultiWriter(w.out, sum, counter(w.wrote)), content); err != nil {
		return entry{}, err
	}
	if _, err := w.out.Write(make([]byte, -e.size&(blockSize-1))); err != nil {
		return entry{}, err
	}
	var header bytes.Buffer
	err = tar.NewWriter(&header).WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: e.size, Format: tar.FormatUSTAR})
	if err == nil {
		_, err = w.out.WriteAt(header.Bytes(), begin)
	}
	if err != nil {
		return entry{}, err
	}
	e.sha256 = hex.EncodeToString(sum.Sum(nil))
	w.entries[name] = e
	return e, nil
}

// addBlob is add of what has a digest.
func (w *writer) addBlob(digest v1.Hash, content io.Reader) (entry, error) {
	name := blobFolder + digest.Hex
	e, err := w.add(name, content)
	if err == nil && e.sha256 != digest.Hex {
		return entry{}, fmt.Errorf("%s was asked for, and %s came", digest, e.sha256)
	}
	return e, err
}

func (w *writer) addJSON(name string, value any) error {
	content, err := json.Marshal(value)
	if err == nil {
		_, err = w.add(name, bytes.NewReader(content))
	}
	return err
}

// end writes the list and what ends a tar.
func (w *writer) end(all []program, config []string) error {
	list := contents{Version: contentsVersion, Programs: all, Config: config, SHA256: map[string]string{}}
	for name, e := range w.entries {
		list.SHA256[name] = e.sha256
	}
	if err := w.addJSON(listFile, list); err != nil {
		return err
	}
	_, err := w.out.Write(make([]byte, 2*blockSize))
	return err
}

type counter func(bytes int)

func (c counter) Write(p []byte) (int, error) {
	if c != nil {
		c(len(p))
	}
	return len(p), nil
}

// Archive is a file that Save wrote. Open opens it.
type Archive struct {
	name    string
	file    *os.File
	entries map[string]entry
	list    contents
	index   v1.IndexManifest
}

// Open reads what is in a file, but not all of it: see Verify. Its error tells what the
// file is instead, and what to do.
func Open(name string) (*Archive, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	a := &Archive{name: name, file: file, entries: map[string]entry{}}
	if err := a.read(); err != nil {
		file.Close()
		return nil, err
	}
	return a, nil
}

// Close closes the file.
func (a *Archive) Close() { a.file.Close() }

// damaged is the error of a file that is not as it was written.
func (a *Archive) damaged(format string, args ...any) error {
	return fmt.Errorf("%s is damaged (%s); copy it here again, or save it anew", a.name, fmt.Sprintf(format, args...))
}

func (a *Archive) read() error {
	if info, err := a.file.Stat(); err != nil {
		return err
	} else if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no file", a.name)
	}
	first := true
	for in := tar.NewReader(a.file); ; first = false {
		header, err := in.Next()
		if errors.Is(err, io.EOF) && !first {
			break
		}
		if err != nil && (first || len(a.entries) == 0) {
			return a.foreign()
		}
		if err != nil {
			return a.damaged("%v", err)
		}
		at, err := a.file.Seek(0, io.SeekCurrent) // the reader takes a header and no more
		if err != nil {
			return err
		}
		a.entries[header.Name] = entry{at: at, size: header.Size}
	}
	if _, ok := a.entries[layoutFile]; !ok {
		return a.foreign()
	}
	if _, ok := a.entries[listFile]; !ok {
		return a.damaged("its end is missing")
	}
	if err := a.readJSON(listFile, &a.list); err != nil {
		return err
	}
	if a.list.Version > contentsVersion {
		return fmt.Errorf("%s is of a newer version (%d) than this program reads (%d); bring this clone up to date (`git pull`), or save the file with this one",
			a.name, a.list.Version, contentsVersion)
	}
	for _, p := range a.list.Programs { // their names become those of folders
		if _, err := semver.Parse(p.Version); err != nil || !programName.MatchString(p.Name) {
			return a.damaged("it has a program %q of version %q", p.Name, p.Version)
		}
	}
	return a.readJSON(indexFile, &a.index)
}

var programName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*$`)

func (a *Archive) foreign() error {
	return fmt.Errorf("%s is no file that `class images save` wrote; give that one", a.name)
}

// most is how large a manifest or a list may be, in bytes.
const most = 16 << 20

func (a *Archive) open(name string) (*io.SectionReader, error) {
	e, ok := a.entries[name]
	if !ok {
		return nil, a.damaged("%s is missing", name)
	}
	return io.NewSectionReader(a.file, e.at, e.size), nil
}

func (a *Archive) readJSON(name string, into any) error {
	content, err := a.open(name)
	if err == nil && content.Size() > most {
		err = a.damaged("%s is too large", name)
	}
	if err != nil {
		return err
	}
	if err := json.NewDecoder(content).Decode(into); err != nil {
		return a.damaged("%s: %v", name, err)
	}
	return nil
}

// blob is where a digest's content lies.
func (a *Archive) blob(digest v1.Hash) (*io.SectionReader, error) {
	return a.open(blobFolder + digest.Hex)
}

// Verify reads all of the file and compares checksums; read is told of each bytes.
func (a *Archive) Verify(ctx context.Context, read func(bytes int)) error {
	for name, e := range a.entries {
		if name == listFile {
			continue
		}
		content := &countingReader{ctx, io.NewSectionReader(a.file, e.at, e.size), read}
		sum := sha256.New()
		if _, err := io.Copy(sum, content); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return a.damaged("%s: %v", name, err)
		}
		own := hex.EncodeToString(sum.Sum(nil))
		if digest, blob := strings.CutPrefix(name, blobFolder); own != a.list.SHA256[name] || blob && own != digest {
			return a.damaged("the checksum of %s is another one", name)
		}
	}
	for name := range a.list.SHA256 {
		if _, ok := a.entries[name]; !ok {
			return a.damaged("%s is missing", name)
		}
	}
	return nil
}

// Size is that of the file, in bytes.
func (a *Archive) Size() (all int64) {
	for _, e := range a.entries {
		all += e.size
	}
	return all
}

// countingReader reads until the context ends.
type countingReader struct {
	ctx  context.Context
	from io.Reader
	read func(bytes int)
}

func (c *countingReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.from.Read(p)
	c.read(n)
	return n, err
}

// Config is the configuration that it was saved for, KEY=VALUE each, as whoever saved it
// wrote it.
func (a *Archive) Config() []string { return a.list.Config }

// platforms are those that the archive has anything for.
func (a *Archive) platforms() []string {
	var all []string
	for _, m := range a.index.Manifests {
		if m.Platform != nil {
			all = append(all, m.Platform.OS+"/"+m.Platform.Architecture)
		}
	}
	for _, p := range a.list.Programs {
		all = append(all, p.Platform.String())
	}
	slices.Sort(all)
	return slices.Compact(all)
}
