package hostimages

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"k8sbootcamp/internal/docker"
)

// engine is a Docker in memory.
type engine struct {
	mu     sync.Mutex
	has    map[string]*docker.Image // by full name
	pulls  []string                 // name and tag or digest, in order
	logins []string
	saves  []string
	loaded []byte // the last archive

	unpacks time.Duration // how long that takes it

	// onPull is what a pull does; it puts what it pulls into has. nil pulls all.
	onPull func(ctx context.Context, name string, step func(docker.Event)) (*docker.Image, error)
}

var (
	errDockerGone = errors.New("unexpected EOF")
	errOffline    = errors.New("no registry is asked here")
)

func (e *engine) Image(_ context.Context, name string) (*docker.Image, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.has[name], nil
}

func (e *engine) Pull(ctx context.Context, name, version, login string, step func(docker.Event)) error {
	separator := ":"
	if len(version) > 20 {
		separator = "@"
	}
	full := name + separator + version
	e.mu.Lock()
	e.pulls, e.logins = append(e.pulls, full), append(e.logins, login)
	e.mu.Unlock()
	image := &docker.Image{ID: "sha256:config of " + full, Size: 100}
	if e.onPull != nil {
		var err error
		if image, err = e.onPull(ctx, full, step); err != nil {
			return err
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.has == nil {
		e.has = map[string]*docker.Image{}
	}
	e.has[full] = image
	return nil
}

func (e *engine) Save(_ context.Context, id string) (io.ReadCloser, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.saves = append(e.saves, id)
	return io.NopCloser(bytes.NewReader(archive(map[string]string{listFile: `[{"Config":"` + id + `","RepoTags":null,"Layers":["l"]}]`, "l": "layer"}))), nil
}

// Load reads an archive of one image, and has it by its tag then.
func (e *engine) Load(ctx context.Context, from io.Reader) error {
	var list []manifest
	var all bytes.Buffer
	in := io.TeeReader(from, &all)
	for r := tar.NewReader(in); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		content, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		if header.Name == listFile {
			if err := json.Unmarshal(content, &list); err != nil {
				return err
			}
		}
	}
	if _, err := io.Copy(io.Discard, in); err != nil { // what ends the archive
		return err
	}
	if e.unpacks > 0 {
		if err := pass(ctx, e.unpacks); err != nil {
			return err
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.has == nil {
		e.has = map[string]*docker.Image{}
	}
	e.loaded = all.Bytes()
	for _, tag := range list[0].RepoTags {
		e.has[tag] = &docker.Image{ID: list[0].Config}
	}
	return nil
}

// archive is a tar of files, in the order of their names.
func archive(files map[string]string) []byte {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(files[name]))}); err != nil {
			panic(err)
		}
		if _, err := io.WriteString(w, files[name]); err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return out.Bytes()
}

// unpack is the inverse of archive.
func unpack(t *testing.T, packed io.Reader) map[string]string {
	t.Helper()
	files := map[string]string{}
	for r := tar.NewReader(packed); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		require.NoError(t, err)
		content, err := io.ReadAll(r)
		require.NoError(t, err)
		files[h.Name] = string(content)
	}
}

// nodes are those of a cluster in memory.
type nodes struct {
	t        *testing.T
	mu       sync.Mutex
	stores   map[string]Store
	imported map[string][]string // lists of archives, by node
	fails    map[string]error    // of an import
	blind    bool                // no kubelet ever finds what is imported
}

func (n *nodes) Images(_ context.Context, node string) (Store, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if store, ok := n.stores[node]; ok {
		return maps.Clone(store), nil
	}
	return nil, errors.New("no such node")
}

func (n *nodes) Import(_ context.Context, node string, from io.Reader) error {
	if err := n.fails[node]; err != nil {
		return err
	}
	files := unpack(n.t, from)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.imported == nil {
		n.imported = map[string][]string{}
	}
	n.imported[node] = append(n.imported[node], files[listFile])
	return nil
}

func (n *nodes) Finds(context.Context, string, string) bool { return !n.blind }

// host is a Host on a Docker in memory, without a login for any registry.
func host(e *engine) (*Host, *bytes.Buffer) {
	var log bytes.Buffer
	h := New(e, docker.Platform{OS: "linux", Architecture: "arm64"}, &log)
	h.login = func(string) (string, error) { return "", nil }
	h.origin = func(named) (source, error) { return source{}, errOffline }
	return h, &log
}

// event is a step of a pull.
func event(id, status string, current, total int64) docker.Event {
	e := docker.Event{ID: id, Status: status}
	e.ProgressDetail.Current, e.ProgressDetail.Total = current, total
	return e
}

// pass is time that passes, or the end of the context.
func pass(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
