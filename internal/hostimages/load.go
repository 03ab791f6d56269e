package hostimages

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/util/wait"

	"k8sbootcamp/internal/docker"
	"k8sbootcamp/internal/printable"
)

// Load loads images into those of the nodes that are to run them and have them not, or
// have something else under the name than Docker has. What Docker has not either it pulls
// first, but not what all of those nodes have: a node image may bring the lab's images
// along. Its error joins an *Error for each image that a node lacks in the end; one in a
// format that Docker does not pull is left to the nodes.
func (h *Host) Load(ctx context.Context, on Nodes, nodes []Node, images []Wanted) error {
	stores := make(map[string]Store, len(nodes))
	found := make([]Store, len(nodes))
	asking, asked := errgroup.WithContext(ctx)
	for i, n := range nodes {
		asking.Go(func() (err error) {
			found[i], err = on.Images(asked, n.Name)
			return err
		})
	}
	if err := asking.Wait(); err != nil {
		return err
	}
	for i, n := range nodes {
		stores[n.Name] = found[i]
	}
	loads := make([]load, len(images))
	var all errgroup.Group
	all.SetLimit(atOnce)
	for i, w := range images {
		all.Go(func() error {
			loads[i] = h.plan(ctx, w, targets(nodes, w), stores)
			return nil
		})
	}
	_ = all.Wait() // loads has the errors
	var errs []error
	for _, l := range loads {
		err := l.err
		if err == nil && len(l.nodes) > 0 {
			err = h.load(ctx, on, l)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// targets are the nodes that are to run an image.
func targets(nodes []Node, w Wanted) []string {
	var all, workers []string
	for _, n := range nodes {
		all = append(all, n.Name)
		if !n.ControlPlane {
			workers = append(workers, n.Name)
		}
	}
	if w.Everywhere || len(workers) == 0 {
		return all
	}
	return workers
}

// load is an image that nodes need.
type load struct {
	named
	from  *docker.Image
	nodes []string
	err   error // instead
}

// plan finds out which of the nodes need an image, and has Docker have it then.
func (h *Host) plan(ctx context.Context, w Wanted, nodes []string, stores map[string]Store) load {
	n, err := parse(w.Image)
	if err != nil {
		return load{err: err}
	}
	l := load{named: n}
	if l.from, l.err = h.look(ctx, n); l.err != nil {
		return l
	}
	for _, node := range nodes {
		if has, ok := stores[node][n.full]; !ok || l.from != nil && !n.pinned && !same(l.from, has) {
			l.nodes = append(l.nodes, node)
		}
	}
	if l.from != nil || len(l.nodes) == 0 {
		return l
	}
	l.from, l.err = h.have(ctx, n)
	var missing *Error
	if errors.As(l.err, &missing) && missing.Problem == OldFormat { // they may well take it
		l.nodes, l.err = nil, h.Warn(l.err)
	}
	return l
}

// same tells whether what a node has is what Docker has.
func same(d *docker.Image, has Content) bool {
	return has.Config == d.ID || has.Target == d.ID || slices.Contains(d.Manifests, has.Target)
}

// seenWithin is how long the kubelet's containerd may take to see what was put into its
// store. It hears of it at once.
const seenWithin = 15 * time.Second

// load streams an image out of Docker into all nodes that need it, at the same time.
func (h *Host) load(ctx context.Context, on Nodes, l load) error {
	progress := h.report.begin(l.named)
	defer h.report.end(progress)
	fail := func(err error) error {
		e := &Error{Image: l.given, Problem: NotLoaded, Err: err, registry: l.registry}
		if strings.Contains(err.Error(), "no space left on device") {
			e.Problem = DiskFull
		}
		return e
	}
	archive, err := h.docker.Save(ctx, l.from.ID)
	if err != nil {
		return fail(err)
	}
	defer archive.Close()

	var done, total int64
	if l.from.Manifests == nil { // of containerd's store the size is another one than the archive's
		total = l.from.Size
	}
	counted := readerFunc(func(p []byte) (int, error) {
		n, err := archive.Read(p)
		done += int64(n)
		h.report.set(progress, done, total, false)
		return n, err
	})
	err = fanOut(len(l.nodes),
		func(to io.Writer) error { return rename(to, counted, l.full) },
		func(i int, from io.Reader) error {
			node := l.nodes[i]
			if err := on.Import(ctx, node, from); err != nil {
				return fmt.Errorf("node %s: %w", node, err)
			}
			// containerd tells the part of it that the kubelet asks, by an event.
			if wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, seenWithin, true, func(ctx context.Context) (bool, error) {
				return on.Finds(ctx, node, l.full), nil
			}) != nil {
				return fmt.Errorf("node %s: its kubelet does not find it after %s", node, seenWithin)
			}
			return nil
		})
	if err != nil {
		return fail(err)
	}
	h.report.say("image %s: loaded into %s", progress.name, printable.Count(len(l.nodes), "node"))
	return nil
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
