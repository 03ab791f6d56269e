// Package fake stands in, in tests, for what is outside of this project: Docker
// with kind, a Kubernetes API server, and Pulumi's CLI with its backend.
package fake

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"

	"k8sbootcamp/internal/kindcluster"
)

// Docker is one machine's Docker in memory, with the kind clusters on it; it is a
// kindcluster.Driver. Make it with NewDocker. Its fields may be read and changed
// while nobody works on it; see Look and Change.
type Docker struct {
	Clusters map[string]*Cluster // by kind's name
	As       map[string]string   // names that it has images under, where those are not their own
	Ports    map[int]Publisher   // of the host, that containers publish
	Changes  []string            // every change, in order: "create cluster NAME", "start NODE"
	Fault    Fault               // of a change to come; it comes once
	Dead     bool                // whoever changes the machine has been killed; see Revive

	// On, where it is set, is asked before each call of the driver. It may wait; its
	// error is the call's, and nothing is done.
	On func(ctx context.Context, call Call, cluster string) error

	mu    sync.Mutex
	made  int // clusters so far; the last one's number
	begun int // changes so far, for Fault.At
}

// Call is one of the driver's methods.
type Call string

// Publisher is a container that publishes a port, and the kind cluster that it is of.
type Publisher struct{ Container, Cluster string }

// The calls.
const (
	Ping           Call = "ping"
	Pull           Call = "pull"
	Mirror         Call = "mirror"
	Containers     Call = "containers"
	Create         Call = "create"
	Delete         Call = "delete"
	Ready          Call = "ready"
	WaitReady      Call = "wait ready"
	Probe          Call = "probe"
	Kubeconfig     Call = "kubeconfig"
	Start          Call = "start"
	Stop           Call = "stop"
	ByName         Call = "by name"
	RestartKubelet Call = "restart kubelet"
	Finish         Call = "finish"
	Finished       Call = "finished"
)

// Fault is what goes wrong with one change of the machine.
type Fault struct {
	At   int    // the number of the change since Revive, from 1; 0 is none
	On   string // or the change's name
	How  How
	Kill bool // from then on nothing is changed and nothing is heard: ErrKilled
}

// How is how much of a change still happens.
type How int

// Of a change with a fault happens:
const (
	Before How = iota // nothing
	Half              // what a process leaves that ends in the middle
	After             // all of it, but nobody hears of it
)

func (h How) String() string { return [...]string{"before", "half-way", "after"}[h] }

// What a change with a fault returns.
var (
	ErrFault  = errors.New("injected fault")
	ErrKilled = errors.New("killed")
)

// Cluster is a kind cluster.
type Cluster struct {
	Number   int // tells a new cluster from an old one of the same name
	Config   v1alpha4.Cluster
	Nodes    []kindcluster.Container // the control plane first
	Finished bool
	NotReady error // what Ready returns, where it is set
	// ByAddress: its control plane asks for the API server at an address.
	ByAddress bool
	OnStart   func() // called, where it is set, as each of its nodes starts
	Server    string // of its kubeconfig
	// Kubeconfig, where it is set, is given instead of one with Server and Key.
	Kubeconfig []byte

	// Images are those that were loaded into its nodes.
	Images []string

	// Objects are what a test keeps in the cluster, by keys of its own. Those of a
	// copy are changed by replacing them, never inside.
	Objects map[string]map[string]any

	name string
}

// NewDocker returns a machine without clusters.
func NewDocker() *Docker { return &Docker{Clusters: map[string]*Cluster{}} }

// Add puts a cluster on the machine that was built to its end, all of whose nodes
// run: a control plane and workers. Without a claim it is one that somebody made
// by hand.
func (d *Docker) Add(id kindcluster.Identity, workers int) *Cluster {
	d.mu.Lock()
	defer d.mu.Unlock()
	config := v1alpha4.Cluster{Nodes: []v1alpha4.Node{{Role: v1alpha4.ControlPlaneRole}}}
	for range workers {
		config.Nodes = append(config.Nodes, v1alpha4.Node{Role: v1alpha4.WorkerRole})
	}
	if id.Claim != "" {
		for i := range config.Nodes {
			config.Nodes[i].ExtraMounts = []v1alpha4.Mount{{ContainerPath: kindcluster.MarkPath(id.Claim, nil)}}
		}
	}
	c := d.build(id.Name, &config, len(config.Nodes))
	c.Finished = true
	return c
}

func (d *Docker) build(name string, config *v1alpha4.Cluster, nodes int) *Cluster {
	d.made++
	c := &Cluster{Number: d.made, Config: *config, name: name, Objects: map[string]map[string]any{}}
	c.Server = fmt.Sprintf("https://%s-%d.invalid:6443", name, c.Number)
	for i, n := range config.Nodes[:nodes] {
		node := kindcluster.Container{Name: name + suffix(i), Running: true, ControlPlane: i == 0}
		for _, m := range n.ExtraMounts {
			node.Mounts = append(node.Mounts, m.ContainerPath)
		}
		c.Nodes = append(c.Nodes, node)
	}
	d.Clusters[name] = c
	return c
}

// suffix is kind's own of a node's name.
func suffix(i int) string {
	switch i {
	case 0:
		return controlPlane
	case 1:
		return "-worker"
	}
	return fmt.Sprintf("-worker%d", i)
}

const controlPlane = "-control-plane"

// Key is the client key in the cluster's kubeconfig, as it stands there.
func (c *Cluster) Key() string { return base64.StdEncoding.EncodeToString(c.key()) }

func (c *Cluster) key() []byte {
	return fmt.Appendf(nil, "client key of %s, number %d\n", c.name, c.Number)
}

// Stop stops nodes of the cluster, all where none is named.
func (c *Cluster) Stop(names ...string) {
	for i, n := range c.Nodes {
		if len(names) == 0 || slices.Contains(names, n.Name) {
			c.Nodes[i].Running = false
		}
	}
}

// Change makes one change to the machine or to what runs on it, unless a fault is
// due. The change is told whether it gets to its end.
func (d *Docker) Change(name string, change func(whole bool) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.Dead {
		return ErrKilled
	}
	d.begun++
	if d.begun != d.Fault.At && (d.Fault.On == "" || d.Fault.On != name) {
		d.Changes = append(d.Changes, name)
		return change(true)
	}
	f := d.Fault
	d.Fault = Fault{}
	d.Dead = f.Kill
	err := ErrFault
	if f.Kill {
		err = ErrKilled
	}
	if f.How != Before {
		d.Changes = append(d.Changes, fmt.Sprintf("%s (%s)", name, f.How))
		err = errors.Join(err, change(f.How == After))
	}
	return fmt.Errorf("%s: %w", name, err)
}

// Look reads what is on the machine while somebody works on it.
func (d *Docker) Look(read func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	read()
}

// Revive lets the machine be changed again, as the next command does, and counts
// its changes anew.
func (d *Docker) Revive() { d.Dead, d.Fault, d.begun, d.Changes = false, Fault{}, 0, nil }

// Clone copies the machine and its clusters as they are.
func (d *Docker) Clone() *Docker {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := &Docker{Clusters: map[string]*Cluster{}, made: d.made}
	for name, c := range d.Clusters {
		n := *c
		n.Nodes = slices.Clone(c.Nodes)
		n.Images = slices.Clone(c.Images)
		n.Objects = map[string]map[string]any{}
		for k, o := range c.Objects {
			n.Objects[k] = maps.Clone(o)
		}
		out.Clusters[name] = &n
	}
	return out
}

var _ kindcluster.Driver = (*Docker)(nil)

// asked is the beginning of every call.
func (d *Docker) asked(ctx context.Context, call Call, cluster string) error {
	if d.On != nil {
		if err := d.On(ctx, call, cluster); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// running gives a cluster whose control plane runs.
func (d *Docker) running(cluster string) (*Cluster, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.Clusters[cluster]
	if c == nil {
		return nil, fmt.Errorf("no nodes found for cluster %q", cluster)
	}
	for _, n := range c.Nodes {
		if n.Name == cluster+controlPlane && n.Running {
			return c, nil
		}
	}
	return nil, fmt.Errorf("the control plane of cluster %q does not run", cluster)
}

// Ping answers.
func (d *Docker) Ping(ctx context.Context) error {
	if err := d.asked(ctx, Ping, ""); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.Dead {
		return ErrKilled
	}
	return nil
}

// Containers lists the nodes.
func (d *Docker) Containers(ctx context.Context, cluster string) ([]kindcluster.Container, error) {
	if err := d.asked(ctx, Containers, cluster); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if c := d.Clusters[cluster]; c != nil {
		return slices.Clone(c.Nodes), nil
	}
	return nil, nil
}

// Pull finds that the image is there, under its own name or as As says.
func (d *Docker) Pull(ctx context.Context, image string, _ io.Writer) (string, error) {
	return cmp.Or(d.As[image], image), d.asked(ctx, Pull, image)
}

// Publisher says what Ports says.
func (d *Docker) Publisher(_ context.Context, port int) (container, cluster string, err error) {
	return d.Ports[port].Container, d.Ports[port].Cluster, nil
}

// Mirror notes the mirror that a node asks.
func (d *Docker) Mirror(ctx context.Context, node, url string) error {
	return d.asked(ctx, Mirror, node+" "+url)
}

// Create makes a cluster; half of it is one container with no Kubernetes in it.
func (d *Docker) Create(ctx context.Context, cluster string, config *v1alpha4.Cluster) error {
	if err := d.asked(ctx, Create, cluster); err != nil {
		return err
	}
	return d.Change("create cluster "+cluster, func(whole bool) error {
		switch {
		case d.Clusters[cluster] != nil:
			return fmt.Errorf("node(s) already exist for a cluster with the name %q", cluster)
		case whole:
			d.build(cluster, config, len(config.Nodes))
		default:
			d.build(cluster, config, 1).NotReady = kindcluster.ErrNotReady
		}
		return nil
	})
}

// Delete removes a cluster; half-way its control plane is gone.
func (d *Docker) Delete(ctx context.Context, cluster string) error {
	if err := d.asked(ctx, Delete, cluster); err != nil {
		return err
	}
	return d.Change("delete cluster "+cluster, func(whole bool) error {
		if c := d.Clusters[cluster]; c != nil && !whole && len(c.Nodes) > 1 {
			c.Nodes = c.Nodes[1:]
			return nil
		}
		delete(d.Clusters, cluster)
		return nil
	})
}

// Ready finds what NotReady says, and nodes that do not run or were not asked for.
func (d *Docker) Ready(ctx context.Context, cluster string, nodes int) error {
	if err := d.asked(ctx, Ready, cluster); err != nil {
		return err
	}
	return d.ready(cluster, nodes)
}

// WaitReady is Ready; it waits for nothing.
func (d *Docker) WaitReady(ctx context.Context, cluster string, nodes int, limit time.Duration) error {
	if err := d.asked(ctx, WaitReady, cluster); err != nil {
		return err
	}
	if limit <= 0 {
		return fmt.Errorf("cluster %s: %w: no time to wait", cluster, kindcluster.ErrNotReady)
	}
	return d.ready(cluster, nodes)
}

// Probe is Ready, too: a cluster whose nodes are at work runs pods.
func (d *Docker) Probe(ctx context.Context, cluster string) error {
	if err := d.asked(ctx, Probe, cluster); err != nil {
		return err
	}
	c, err := d.running(cluster)
	if err != nil {
		return err
	}
	return d.ready(cluster, len(c.Config.Nodes))
}

func (d *Docker) ready(cluster string, nodes int) error {
	c, err := d.running(cluster)
	switch {
	case err != nil:
		return err
	case c.NotReady != nil:
		return c.NotReady
	case len(c.Config.Nodes) != nodes:
		return fmt.Errorf("cluster %s: %w: of %d nodes there are %d", cluster, kindcluster.ErrNotReady, nodes, len(c.Config.Nodes))
	}
	return nil
}

// Kubeconfig leads to the cluster's Server.
func (d *Docker) Kubeconfig(ctx context.Context, cluster string) (string, error) {
	if err := d.asked(ctx, Kubeconfig, cluster); err != nil {
		return "", err
	}
	c, err := d.running(cluster)
	if err != nil {
		return "", err
	}
	if c.Kubeconfig != nil {
		return string(c.Kubeconfig), nil
	}
	name := kindcluster.Context(cluster) // kind's own, of all three
	out, err := clientcmd.Write(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{name: {Server: c.Server}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{name: {ClientKeyData: c.key()}},
		Contexts:       map[string]*clientcmdapi.Context{name: {Cluster: name, AuthInfo: name}},
		CurrentContext: name,
	})
	return string(out), err
}

// Admin leads there too.
func (d *Docker) Admin(ctx context.Context, cluster string) (kindcluster.Admin, error) {
	out, err := d.Kubeconfig(ctx, cluster)
	if err != nil {
		return kindcluster.Admin{}, err
	}
	config, err := clientcmd.RESTConfigFromKubeConfig([]byte(out))
	if err != nil {
		return kindcluster.Admin{}, err
	}
	return kindcluster.Admin{Kubeconfig: []byte(out), Server: config.Host}, nil
}

// Start starts the nodes that do not run.
func (d *Docker) Start(ctx context.Context, cluster string) error {
	return d.each(ctx, Start, cluster, true)
}

// Stop stops the nodes that run.
func (d *Docker) Stop(ctx context.Context, cluster string) error {
	return d.each(ctx, Stop, cluster, false)
}

func (d *Docker) each(ctx context.Context, call Call, cluster string, running bool) error {
	if err := d.asked(ctx, call, cluster); err != nil {
		return err
	}
	c := d.Clusters[cluster]
	if c == nil {
		return fmt.Errorf("no nodes found for cluster %q", cluster)
	}
	for i, n := range c.Nodes {
		if n.Running == running {
			continue
		}
		err := d.Change(string(call)+" "+n.Name, func(bool) error {
			c.Nodes[i].Running = running
			if running && c.OnStart != nil {
				c.OnStart()
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// ByName finds what ByAddress says.
func (d *Docker) ByName(ctx context.Context, cluster string) (changed bool, err error) {
	if err := d.asked(ctx, ByName, cluster); err != nil {
		return false, err
	}
	c, err := d.running(cluster)
	if err != nil || !c.ByAddress {
		return false, err
	}
	return true, d.Change("by name "+cluster, func(bool) error {
		c.ByAddress = false
		return nil
	})
}

// RestartKubelet mends a cluster that is not Ready for its control plane's address.
func (d *Docker) RestartKubelet(ctx context.Context, cluster string) error {
	if err := d.asked(ctx, RestartKubelet, cluster); err != nil {
		return err
	}
	c, err := d.running(cluster)
	if err != nil {
		return err
	}
	return d.Change("restart kubelet "+cluster, func(bool) error {
		c.NotReady = nil
		return nil
	})
}

// Finish marks a cluster.
func (d *Docker) Finish(ctx context.Context, cluster string) error {
	if err := d.asked(ctx, Finish, cluster); err != nil {
		return err
	}
	c, err := d.running(cluster)
	if err != nil {
		return err
	}
	return d.Change("finish cluster "+cluster, func(whole bool) error {
		c.Finished = whole
		return nil
	})
}

// Finished looks for the mark.
func (d *Docker) Finished(ctx context.Context, cluster string) bool {
	if d.asked(ctx, Finished, cluster) != nil {
		return false
	}
	c, err := d.running(cluster)
	return err == nil && c.Finished
}
