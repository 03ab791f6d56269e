package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"golang.org/x/time/rate"
)

// throttled is a registry with the images of the text's pods, from which all who ask at
// once get so many bytes a second together, as a class does behind one address. Docker
// and nodes alike call it localhost:PORT.
type throttled struct {
	*bench
	port    int
	server  *http.Server
	nodes   sync.Once // a second listener, where the nodes reach it
	limit   *rate.Limiter
	served  atomic.Int64 // bytes of blobs
	size    int64        // of all images
	nodesOK error
}

// registryPatch has containerd of older nodes read the folder that newer ones read anyway.
const registryPatch = `[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = "/etc/containerd/certs.d"
`

const chunk = 32 << 10

// startRegistry fills a registry. What is served nobody has seen before: each layer begins
// with a file of this run.
func startRegistry(ctx context.Context, b *bench) (*throttled, error) {
	perSecond := b.pull * 1e6
	t := &throttled{bench: b, limit: rate.NewLimiter(rate.Limit(perSecond), chunk)}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	t.port = listener.Addr().(*net.TCPAddr).Port
	store := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	var ready atomic.Bool
	t.server = &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if ready.Load() && q.Method == http.MethodGet && strings.Contains(q.URL.Path, "/blobs/") {
			w = &slow{ResponseWriter: w, to: t, ctx: q.Context()}
		}
		store.ServeHTTP(w, q)
	})}
	go t.server.Serve(listener) //nolint:errcheck // stop ends it
	inNode, err := b.nodeImages(ctx)
	if err != nil {
		return nil, err
	}
	defer inNode.remove()
	for key, image := range editions[b.edition] {
		found, err := inNode.image(ctx, image)
		if err != nil {
			ref, parsed := name.ParseReference(image)
			if parsed != nil {
				return nil, parsed
			}
			pulled, remoteErr := remote.Image(ref, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain))
			if remoteErr != nil {
				return nil, errors.Join(err, remoteErr)
			}
			found = pulled
		}
		if found, err = renewed(found, b.fill); err != nil {
			return nil, fmt.Errorf("%s: %w", image, err)
		}
		layers, err := found.Layers()
		if err != nil {
			return nil, err
		}
		for _, l := range layers {
			n, err := l.Size()
			if err != nil {
				return nil, err
			}
			t.size += n
		}
		named, err := name.NewTag(image)
		if err != nil {
			return nil, err
		}
		// By its own last name, which tells what it is.
		b.images[key] = fmt.Sprintf("localhost:%d/%s:1", t.port, path.Base(named.RepositoryStr()))
		ref, err := name.ParseReference(b.images[key])
		if err != nil {
			return nil, err
		}
		if err := remote.Write(ref, found, remote.WithContext(ctx)); err != nil {
			return nil, err
		}
	}
	ready.Store(true)
	return t, nil
}

func (t *throttled) stop() { _ = t.server.Close() }

func (t *throttled) says() string {
	return fmt.Sprintf("The images have %.0f MB together; %.0f MB were sent in all turns.\n", float64(t.size)/1e6, float64(t.served.Load())/1e6)
}

// slow is an answer that all of the class share the line for.
type slow struct {
	http.ResponseWriter
	to  *throttled
	ctx context.Context
}

func (s *slow) Write(p []byte) (done int, err error) {
	for len(p) > 0 {
		n := min(len(p), chunk)
		if err := s.to.limit.WaitN(s.ctx, n); err != nil {
			return done, err
		}
		n, err := s.ResponseWriter.Write(p[:n])
		s.to.served.Add(int64(n))
		done += n
		if err != nil {
			return done, err
		}
		p = p[n:]
	}
	return done, nil
}

// reachedFrom tells a cluster's nodes where localhost:PORT is, as kind's documentation of a
// local registry has it.
func (t *throttled) reachedFrom(ctx context.Context, cluster string) error {
	gateway, err := t.output(ctx, t.dir, "docker", "network", "inspect", "kind", "--format", "{{range .IPAM.Config}}{{.Gateway}} {{end}}")
	if err != nil {
		return err
	}
	address := ""
	for _, g := range strings.Fields(gateway) {
		if ip := net.ParseIP(g); ip != nil && ip.To4() != nil {
			address = net.JoinHostPort(g, fmt.Sprint(t.port))
		}
	}
	if address == "" {
		return fmt.Errorf("Docker's network kind has no IPv4 gateway: %q", gateway)
	}
	t.nodes.Do(func() {
		var listener net.Listener
		if listener, t.nodesOK = net.Listen("tcp", address); t.nodesOK == nil {
			go t.server.Serve(listener) //nolint:errcheck // stop ends it
		}
	})
	if t.nodesOK != nil {
		return t.nodesOK
	}
	nodes, err := t.output(ctx, t.dir, "kind", "get", "nodes", "--name", cluster)
	if err != nil {
		return err
	}
	folder := fmt.Sprintf("/etc/containerd/certs.d/localhost:%d", t.port)
	script := fmt.Sprintf("mkdir -p %s && printf '[host.\"http://%s\"]\\n' > %s/hosts.toml", folder, address, folder)
	for _, node := range strings.Fields(nodes) {
		if err := t.run(ctx, t.dir, "docker", "exec", node, "sh", "-c", script); err != nil {
			return err
		}
	}
	return nil
}

// renewed is an image with the same files in layers that nobody has seen, and one more of so
// many MB that cannot be compressed.
func renewed(image v1.Image, fill int) (v1.Image, error) {
	layers, err := image.Layers()
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	var fresh []mutate.Addendum
	for _, layer := range layers {
		mark, err := entry(".bench", rand.Text())
		if err != nil {
			return nil, err
		}
		made, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
			content, err := layer.Uncompressed()
			if err != nil {
				return nil, err
			}
			return struct {
				io.Reader
				io.Closer
			}{io.MultiReader(bytes.NewReader(mark), content), content}, nil
		}, tarball.WithCompressedCaching)
		if err != nil {
			return nil, err
		}
		fresh = append(fresh, mutate.Addendum{Layer: made})
	}
	if fill > 0 {
		content := make([]byte, fill*1e6)
		rand.Read(content)                                 //nolint:errcheck // never fails
		made, err := entry(".bench-fill", string(content)) // whose end may be that of the layer
		if err != nil {
			return nil, err
		}
		l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(made)), nil },
			tarball.WithCompressionLevel(gzip.NoCompression), tarball.WithCompressedCaching)
		if err != nil {
			return nil, err
		}
		fresh = append(fresh, mutate.Addendum{Layer: l})
	}
	config.RootFS.DiffIDs, config.History = nil, nil
	bare, err := mutate.ConfigFile(empty.Image, config)
	if err != nil {
		return nil, err
	}
	return mutate.Append(bare, fresh...)
}

// entry is a file of an archive that goes on after it.
func entry(name, content string) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o444, Size: int64(len(content))}); err != nil {
		return nil, err
	}
	if _, err := io.WriteString(w, content); err != nil {
		return nil, err
	}
	err := w.Flush() // to a full block
	return out.Bytes(), err
}

// nodeStore is a container of the node image, whose containerd is asked for images that it
// brings along.
type nodeStore struct {
	*bench
	container string
}

func (b *bench) nodeImages(ctx context.Context) (*nodeStore, error) {
	n := &nodeStore{b, fmt.Sprintf("bench-%d-store", os.Getpid())}
	if err := b.run(ctx, b.dir, "docker", "run", "--detach", "--privileged", "--network=none", "--name", n.container, "--entrypoint", "containerd", b.nodeImage); err != nil {
		return nil, err
	}
	for range 100 {
		if b.run(ctx, b.dir, "docker", "exec", n.container, "ctr", "version") == nil {
			return n, nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	n.remove()
	return nil, errors.New("the node image's containerd does not answer")
}

func (n *nodeStore) remove() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := n.run(ctx, n.dir, "docker", "rm", "--force", "--volumes", n.container); err != nil {
		fmt.Fprintln(os.Stderr, "warning:", err)
	}
}

func (n *nodeStore) image(ctx context.Context, image string) (v1.Image, error) {
	ref, err := name.ParseReference(image)
	if err != nil {
		return nil, err
	}
	full := strings.Replace(ref.Name(), "index.docker.io/", "docker.io/", 1)
	archive, err := n.output(ctx, n.dir, "docker", "exec", n.container, "ctr", "--namespace=k8s.io", "images", "export", "-", full)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(n.dir, "images-"+rand.Text()+".tar")
	if err := os.WriteFile(file, []byte(archive), 0o600); err != nil {
		return nil, err
	}
	return tarball.ImageFromPath(file, nil)
}
