package live

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"

	"k8sbootcamp/internal/kindcluster"
)

// world is one machine in memory: its Docker, the kind clusters on it and the
// objects in those. The product's own kindcluster.Manager works on it.
type world struct {
	mu       sync.Mutex
	clusters map[string]*memCluster // by kind's name
	made     int                    // clusters so far; the last one's number
	log      []string               // every change, in order

	fault fault
	dead  bool // everybody who changes the world has been killed
	acts  int  // changes begun so far
}

// fault is what goes wrong with one change of the world.
type fault struct {
	at   int    // the number of the change, from 1; 0 is none
	on   string // or the change's name, once
	how  how
	kill bool // from then on nothing is changed and nothing is heard
}

// how much of the change still happens.
type how int

const (
	before how = iota // nothing
	half              // what a process leaves that ends in the middle
	after             // all of it, but nobody hears of it
)

func (h how) String() string { return [...]string{"before", "half-way", "after"}[h] }

var (
	errKilled = errors.New("killed")
	errFault  = errors.New("injected fault")
)

// memCluster is a kind cluster.
type memCluster struct {
	number   int // tells a new cluster from an old one of the same name
	config   v1alpha4.Cluster
	nodes    []kindcluster.Container
	finished bool
	objects  map[string]map[string]any // by key
	broken   map[string]bool           // images that cannot be pulled
}

func newWorld() *world { return &world{clusters: map[string]*memCluster{}} }

// act makes one change to the world, unless a fault is due. The change is told
// whether it gets to its end.
func (w *world) act(name string, change func(whole bool) error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead {
		return errKilled
	}
	w.acts++
	if w.acts != w.fault.at && (w.fault.on == "" || w.fault.on != name) {
		w.log = append(w.log, name)
		return change(true)
	}
	f := w.fault
	w.fault = fault{}
	w.dead = f.kill
	err := errFault
	if f.kill {
		err = errKilled
	}
	if f.how != before {
		w.log = append(w.log, fmt.Sprintf("%s (%s)", name, f.how))
		err = errors.Join(err, change(f.how == after))
	}
	return fmt.Errorf("%s: %w", name, err)
}

// revive lets the world be changed again, as the next command does.
func (w *world) revive() { w.dead, w.fault, w.acts, w.log = false, fault{}, 0, nil }

// clone copies the world as it is.
func (w *world) clone() *world {
	out := &world{clusters: map[string]*memCluster{}, made: w.made}
	for name, c := range w.clusters {
		n := *c
		n.nodes, n.broken = slices.Clone(c.nodes), maps.Clone(c.broken)
		n.objects = map[string]map[string]any{}
		for k, o := range c.objects {
			n.objects[k] = maps.Clone(o) // objects are replaced, never changed inside
		}
		out.clusters[name] = &n
	}
	return out
}

// containers is the number of all node containers.
func (w *world) containers() int {
	n := 0
	for _, c := range w.clusters {
		n += len(c.nodes)
	}
	return n
}

// content is all that matters of the world: which clusters there are, of what
// shape and with which objects; not how often they were made.
func (w *world) content() map[string]any {
	out := map[string]any{}
	for name, c := range w.clusters {
		shape, err := yaml.Marshal(c.config)
		if err != nil {
			panic(err)
		}
		running := 0
		for _, n := range c.nodes {
			if n.Running {
				running++
			}
		}
		objects := map[string]any{}
		for key, o := range c.objects {
			objects[key] = dropKeys(o, "status", "uid")
		}
		out[name] = map[string]any{
			"config":   stripClaim(string(shape)),
			"running":  running,
			"finished": c.finished,
			"objects":  objects,
		}
	}
	return out
}

// stripClaim takes the random mark of the stack out of a kind configuration.
func stripClaim(config string) string {
	lines := strings.Split(config, "\n")
	return strings.Join(slices.DeleteFunc(lines, func(l string) bool {
		return strings.Contains(strings.ToLower(l), "containerpath: /kind/bootcamp/")
	}), "\n")
}

func dropKeys(o map[string]any, keys ...string) map[string]any {
	out := map[string]any{}
	for k, v := range o {
		if !slices.Contains(keys, k) {
			out[k] = v
		}
	}
	return out
}

// memDocker is the world as the kindcluster package sees it.
type memDocker struct{ *world }

var _ kindcluster.Engine = memDocker{}

func (d memDocker) find(cluster string) *memCluster {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.clusters[cluster]
}

func (d memDocker) Ping(context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead {
		return errKilled
	}
	return nil
}

func (d memDocker) Containers(_ context.Context, cluster string) ([]kindcluster.Container, error) {
	if c := d.find(cluster); c != nil {
		return slices.Clone(c.nodes), nil
	}
	return nil, nil
}

func (d memDocker) Create(_ context.Context, cluster string, config *v1alpha4.Cluster) error {
	return d.act("create cluster "+cluster, func(whole bool) error {
		if d.clusters[cluster] != nil {
			return fmt.Errorf("node(s) already exist for a cluster with the name %q", cluster)
		}
		d.made++
		c := &memCluster{number: d.made, config: *config, objects: map[string]map[string]any{}, broken: map[string]bool{}}
		for i, n := range config.Nodes {
			node := kindcluster.Container{Name: fmt.Sprintf("%s-%d", cluster, i), Running: true}
			for _, m := range n.ExtraMounts {
				node.Mounts = append(node.Mounts, m.ContainerPath)
			}
			c.nodes = append(c.nodes, node)
			if !whole {
				break // one container, and no Kubernetes in it
			}
		}
		d.clusters[cluster] = c
		return nil
	})
}

func (d memDocker) Delete(_ context.Context, cluster string) error {
	return d.act("delete cluster "+cluster, func(whole bool) error {
		if c := d.clusters[cluster]; c != nil && !whole && len(c.nodes) > 1 {
			c.nodes = c.nodes[1:] // without its control plane
			return nil
		}
		delete(d.clusters, cluster)
		return nil
	})
}

func (d memDocker) WaitReady(_ context.Context, cluster string, nodes int, _ time.Duration) error {
	if c := d.find(cluster); c == nil || len(c.nodes) != nodes || len(c.config.Nodes) != nodes {
		return fmt.Errorf("cluster %s: not all of %d nodes are Ready", cluster, nodes)
	}
	return nil
}

func (d memDocker) Kubeconfig(_ context.Context, cluster string) (string, error) {
	c := d.find(cluster)
	if c == nil {
		return "", fmt.Errorf("no cluster %s", cluster)
	}
	out, err := yaml.Marshal(kubeconfig{
		Clusters: []namedCluster{{Name: "kind-" + cluster, Server: fmt.Sprintf("%s/%d", cluster, c.number)}},
		Contexts: []namedContext{{Name: "kind-" + cluster, Cluster: "kind-" + cluster}},
		Users:    []namedUser{{Name: "kind-" + cluster, Key: d.key(cluster)}},
	})
	return string(out), err
}

// key is the client key in a cluster's kubeconfig.
func (w *world) key(cluster string) string {
	return fmt.Sprintf("LS0tLS1-%s-%d-canary", cluster, w.clusters[cluster].number)
}

func (d memDocker) Finish(_ context.Context, cluster string) error {
	return d.act("finish cluster "+cluster, func(whole bool) error {
		if c := d.clusters[cluster]; c != nil {
			c.finished = whole
		}
		return nil
	})
}

func (d memDocker) Finished(_ context.Context, cluster string) bool {
	c := d.find(cluster)
	return c != nil && c.finished
}

// kubeconfig is as much of one as names a cluster.
type (
	kubeconfig struct {
		Clusters []namedCluster
		Contexts []namedContext
		Users    []namedUser
	}
	namedCluster struct{ Name, Server string }
	namedContext struct{ Name, Cluster string }
	namedUser    struct {
		Name string
		Key  string `yaml:"client-key-data"`
	}
)

// open gives the cluster that a kubeconfig leads to, or nil where it is gone.
func (w *world) open(text, context string) (*memCluster, error) {
	var k kubeconfig
	if err := yaml.Unmarshal([]byte(text), &k); err != nil {
		return nil, err
	}
	at := slices.IndexFunc(k.Contexts, func(c namedContext) bool { return c.Name == context })
	if at < 0 {
		return nil, fmt.Errorf("the kubeconfig has no context %q; the user's own would be used", context)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range k.Clusters {
		for name, m := range w.clusters {
			if c.Name == k.Contexts[at].Cluster && c.Server == fmt.Sprintf("%s/%d", name, m.number) && m.finished {
				return m, nil
			}
		}
	}
	return nil, nil
}
