package mirror

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gofrs/flock"
	"github.com/rogpeppe/go-internal/robustio"
	"github.com/shirou/gopsutil/v4/disk"

	"k8sbootcamp/internal/printable"
)

// store is a folder that is an OCI image layout: each manifest and blob is a file named by
// its digest, and the index says what was asked for by which name. What a run finds there
// it compares with its digest before it serves it: an earlier one may have ended in the
// middle of a file.
type store struct {
	dir  string
	lock *flock.Flock
	free func() (uint64, error) // bytes on its disk

	mu       sync.Mutex
	index    map[string]*descriptor // by reference
	whole    map[string]bool        // digests whose files are known to be right
	names    map[string]bool        // repositories that have a manifest in the index
	promised int64                  // bytes that are on their way
}

// descriptor is an entry of the index.
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"` // of the file
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations"`
}

// Annotations of a descriptor: the OCI's own of its reference, and the digest by which
// registries know it, where that is not the file's (schema 1).
const (
	refName   = "org.opencontainers.image.ref.name"
	knownName = "bootcamp.known-digest"
)

// known is the digest by which registries know it.
func (d *descriptor) known() string {
	if known := d.Annotations[knownName]; known != "" {
		return known
	}
	return d.Digest
}

// Files of an image layout.
const (
	layoutFile = "oci-layout"
	indexFile  = "index.json"
	blobsDir   = "blobs/sha256"
	partSuffix = ".part"
	lockFile   = ".lock"
	loginFile  = ".with-login" // there may be images that not everybody may have
)

// layout is the OCI's, as far as it is needed.
type layout struct {
	SchemaVersion int           `json:"schemaVersion"`
	Manifests     []*descriptor `json:"manifests"`
}

// reserve is what is left free of a disk, in bytes: the instructor needs it too.
const reserve = 1 << 30

var errFull = errors.New("the mirror's disk is full")

// full tells whether it is for want of room.
func full(err error) bool { return errors.Is(err, errFull) || errors.Is(err, syscall.ENOSPC) }

// openStore opens a folder; login says whether logins are used for what comes into it.
func openStore(dir string, login bool) (*store, error) {
	s := &store{dir: dir, index: map[string]*descriptor{}, whole: map[string]bool{}, names: map[string]bool{}}
	s.free = func() (uint64, error) {
		usage, err := disk.Usage(dir)
		if err != nil {
			return 0, err
		}
		return usage.Free, nil
	}
	if err := os.MkdirAll(s.path(blobsDir), 0o700); err != nil {
		return nil, err
	}
	s.lock = flock.New(s.path(lockFile))
	if got, err := s.lock.TryLock(); err != nil || !got {
		return nil, errors.Join(fmt.Errorf("another mirror has the folder %s; end that, or name another one (--dir)", dir), err)
	}
	err := s.forAll(login)
	if err == nil {
		err = s.read()
	}
	if err != nil {
		_ = s.lock.Unlock()
		return nil, err
	}
	return s, nil
}

// forAll sees to it that what came with a login is served by no run that has none: who may
// pull from that one need not be who may pull from this.
func (s *store) forAll(login bool) error {
	if login {
		return os.WriteFile(s.path(loginFile), nil, 0o600)
	}
	_, err := os.Stat(s.path(loginFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(fmt.Errorf("the folder %s has images that came with a login, which anybody could pull from this mirror; take --login again, or name another folder (--dir)", s.dir), err)
}

func (s *store) read() error {
	files, err := os.ReadDir(s.path(blobsDir))
	if err != nil {
		return err
	}
	for _, f := range files {
		if strings.HasSuffix(f.Name(), partSuffix) { // of a run that was killed
			if err := os.Remove(s.path(blobsDir, f.Name())); err != nil {
				return err
			}
		}
	}
	content, err := os.ReadFile(s.path(indexFile))
	if errors.Is(err, fs.ErrNotExist) {
		return s.write(layoutFile, []byte(`{"imageLayoutVersion":"1.0.0"}`))
	}
	var all layout
	if err == nil {
		err = json.Unmarshal(content, &all)
	}
	if err != nil {
		return fmt.Errorf("%s is no mirror's folder, or it is damaged; remove it, or name another one (--dir): %w", s.dir, err)
	}
	for _, d := range all.Manifests {
		if d == nil || !digestRE.MatchString(d.Digest) {
			continue
		}
		if _, right := s.look(d.Digest); right {
			s.index[d.Annotations[refName]] = d
			s.names[repositoryOf(d.Annotations[refName])] = true
		}
	}
	return nil
}

func (s *store) close() error { return s.lock.Unlock() }

func (s *store) path(name ...string) string {
	return filepath.Join(append([]string{s.dir}, name...)...)
}

// file is where a digest's content is. It has been looked at: no other path can come of it.
func (s *store) file(digest string) string {
	return s.path(blobsDir, strings.TrimPrefix(digest, "sha256:"))
}

// open opens what is known to be there and right. Its error is fs.ErrNotExist for anything
// else.
func (s *store) open(digest string) (*os.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.whole[digest] {
		return nil, fs.ErrNotExist
	}
	file, err := os.Open(s.file(digest))
	if err != nil { // somebody removed it
		delete(s.whole, digest)
	}
	return file, err
}

// look finds out whether what an earlier run left of a digest is all of it, and removes it
// if it is not. Nobody may write it meanwhile.
func (s *store) look(digest string) (size int64, right bool) {
	file, err := os.Open(s.file(digest))
	if err != nil {
		return 0, false
	}
	sum := sha256.New()
	size, err = io.Copy(sum, file)
	_ = file.Close()
	if err != nil || "sha256:"+hex.EncodeToString(sum.Sum(nil)) != digest {
		_ = os.Remove(s.file(digest)) // or it is written over
		return 0, false
	}
	s.is(digest)
	return size, true
}

// is notes that a digest's file is right.
func (s *store) is(digest string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.whole[digest] = true
}

// find returns what was kept under a reference and is there, or nil.
func (s *store) find(ref string) *descriptor {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.index[ref]
	if d == nil || !s.whole[d.Digest] {
		return nil
	}
	return d
}

// knows tells whether there is a manifest of a repository.
func (s *store) knows(repository string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.names[repository]
}

// repositoryOf is a reference without its tag or digest.
func repositoryOf(ref string) string {
	name, _, byDigest := strings.Cut(ref, "@")
	if !byDigest {
		name, _, _ = cutLast(name, ":")
	}
	return name
}

// keep keeps a manifest under a reference; its digest is that by which registries know it.
func (s *store) keep(ref, mediaType, digest string, content []byte) (*descriptor, error) {
	sum := sha256.Sum256(content)
	d := &descriptor{MediaType: mediaType, Digest: "sha256:" + hex.EncodeToString(sum[:]), Size: int64(len(content)), Annotations: map[string]string{refName: ref}}
	if digest != d.Digest {
		d.Annotations[knownName] = digest
	}
	if err := s.room(d.Size); err != nil {
		return nil, err
	}
	defer s.giveBack(d.Size)
	if err := s.write(filepath.Join(blobsDir, strings.TrimPrefix(d.Digest, "sha256:")), content); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.whole[d.Digest] = true
	s.index[ref] = d
	s.names[repositoryOf(ref)] = true
	if !strings.Contains(ref, "@") { // who has asked for the tag asks for its digest next
		known := *d
		known.Annotations = maps.Clone(d.Annotations)
		known.Annotations[refName] = repositoryOf(ref) + "@" + digest
		s.index[known.Annotations[refName]] = &known
	}
	all := layout{SchemaVersion: 2}
	for _, ref := range slices.Sorted(maps.Keys(s.index)) {
		all.Manifests = append(all.Manifests, s.index[ref])
	}
	written, err := json.MarshalIndent(all, "", " ")
	if err != nil {
		return nil, err
	}
	return d, s.write(indexFile, written)
}

// write writes a file as a whole.
func (s *store) write(name string, content []byte) error {
	fresh, err := os.CreateTemp(s.path(blobsDir), "*"+partSuffix)
	if err != nil {
		return err
	}
	_, err = fresh.Write(content)
	if err = errors.Join(err, fresh.Sync(), fresh.Close()); err == nil {
		err = robustio.Rename(fresh.Name(), s.path(name))
	}
	if err != nil {
		_ = os.Remove(fresh.Name())
	}
	return err
}

// room promises that many bytes of the disk, or returns errFull where they, beside what else
// is promised, would leave too little. What is written, or is not going to be, is given back.
func (s *store) room(size int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	free, err := s.free()
	if err == nil && int64(free) < reserve+s.promised+size { //nolint:gosec // no disk has that many
		err = fmt.Errorf("%w: %s has %s left, and %s are kept free", errFull, s.dir, printable.Megabytes(int64(free)), printable.Megabytes(reserve))
	}
	if err == nil {
		s.promised += size
	}
	return err
}

func (s *store) giveBack(size int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.promised -= size
}

// looksEvery is after how many bytes the disk is looked at anew: others write to it too.
const looksEvery = 16 << 20

// silence is how long a registry may send nothing of a blob.
const silence = time.Minute

// fill writes a blob as it comes, and tells the download of it. Where nothing comes it
// gives up (cancel). It returns how much has come. The file has its name from the
// beginning, for on some systems none that is being read gets another; that it is all there
// is known at the end.
func (s *store) fill(digest string, size int64, d *download, cancel context.CancelFunc, body io.Reader) (written int64, err error) {
	left := size  // of what is promised
	if size < 0 { // nobody knows how much it will be
		left = looksEvery
	}
	if err := s.room(left); err != nil {
		return 0, err
	}
	defer func() { s.giveBack(left) }()
	fresh, err := os.OpenFile(s.file(digest), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(fresh.Name())
		}
	}()
	stalled := time.AfterFunc(silence, cancel)
	defer stalled.Stop()
	d.begin(fresh.Name(), size)
	for buffer, read := make([]byte, 256<<10), error(nil); read == nil; {
		var n int
		n, read = io.ReadAtLeast(body, buffer, 1)
		stalled.Reset(silence)
		if n > 0 {
			if _, err := fresh.Write(buffer[:n]); err != nil {
				return written, errors.Join(err, fresh.Close())
			}
			written += int64(n)
			d.progress(written)
			come := min(left, int64(n))
			left -= come
			s.giveBack(come)
			more := int64(0)
			if size < 0 && left == 0 {
				more = looksEvery
			}
			if more > 0 || written/looksEvery != (written-int64(n))/looksEvery {
				if err := s.room(more); err != nil {
					return written, errors.Join(err, fresh.Close())
				}
				left += more
			}
		}
		if read != nil && !errors.Is(read, io.EOF) {
			return written, errors.Join(read, fresh.Close())
		}
	}
	if err := fresh.Close(); err != nil {
		return written, err
	}
	s.is(digest)
	return written, nil
}

// download is a blob that is on its way: many may read it, as far as it has come.
type download struct {
	ref    string // by which its registry is asked for it
	client string // which had it begun

	mu      sync.Mutex
	changed chan struct{} // closed at the next change
	file    string        // empty until it has begun
	size    int64         // -1: known at the end
	come    int64
	ended   bool
	err     error
}

func newDownload(ref, client string) *download {
	return &download{ref: ref, client: client, changed: make(chan struct{})}
}

func (d *download) change(do func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	do()
	close(d.changed)
	d.changed = make(chan struct{})
}

func (d *download) begin(file string, size int64) {
	d.change(func() { d.file, d.size = file, size })
}
func (d *download) progress(come int64) { d.change(func() { d.come = come }) }

func (d *download) end(err error) {
	d.change(func() {
		d.ended, d.err = true, err
		if err == nil {
			d.size = d.come
		}
	})
}

// wait waits until something is so, or the download has failed.
func (d *download) wait(ctx context.Context, so func() bool) error {
	for {
		d.mu.Lock()
		is, ended, err, changed := so(), d.ended, d.err, d.changed
		d.mu.Unlock()
		switch {
		case err != nil:
			return err
		case is:
			return nil
		case ended:
			return io.ErrUnexpectedEOF
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// open returns a reader, once it is known how much there is to read.
func (d *download) open(ctx context.Context) (*reader, error) {
	var file *os.File
	var opened error
	err := d.wait(ctx, func() bool {
		if d.file == "" || d.size < 0 {
			return false
		}
		if file == nil {
			file, opened = os.Open(d.file)
		}
		// A download that fails removes its file before it says why.
		return d.ended || !errors.Is(opened, fs.ErrNotExist)
	})
	if err = errors.Join(err, opened); err != nil {
		if file != nil {
			_ = file.Close()
		}
		return nil, err
	}
	return &reader{ctx: ctx, d: d, file: file}, nil
}

// reader reads a download. The last byte is read once all of it is known to be right.
type reader struct {
	ctx  context.Context
	d    *download
	file *os.File
	at   int64
}

func (r *reader) Read(p []byte) (int, error) {
	var ready int64
	err := r.d.wait(r.ctx, func() bool {
		ready = min(r.d.come, r.d.size-1)
		if r.d.ended {
			ready = r.d.size
		}
		return ready > r.at || r.d.ended
	})
	if err != nil {
		return 0, err
	}
	if ready <= r.at {
		return 0, io.EOF
	}
	n, err := r.file.ReadAt(p[:min(int64(len(p)), ready-r.at)], r.at)
	r.at += int64(n)
	if n > 0 {
		err = nil
	}
	return n, err
}

func (r *reader) Seek(offset int64, whence int) (int64, error) {
	r.d.mu.Lock()
	size := r.d.size
	r.d.mu.Unlock()
	switch whence {
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		offset += size
	}
	if offset < 0 {
		return 0, fs.ErrInvalid
	}
	r.at = offset
	return offset, nil
}

func (r *reader) Close() error { return r.file.Close() }

var _ io.ReadSeekCloser = (*reader)(nil)
