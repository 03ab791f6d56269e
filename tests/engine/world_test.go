package engine

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"k8s.io/client-go/tools/clientcmd"

	"k8sbootcamp/internal/fake"
	"k8sbootcamp/internal/sharedcluster"
)

// world is one machine in memory: its Docker, the kind clusters on it and the
// objects in those, by "KIND/NAMESPACE/NAME". The product's own
// kindcluster.Manager works on it.
type world struct {
	*fake.Docker
	broken map[string]bool // images that cannot be pulled
}

func newWorld() *world { return &world{fake.NewDocker(), map[string]bool{}} }

// clone copies the world as it is.
func (w *world) clone() *world { return &world{w.Docker.Clone(), maps.Clone(w.broken)} }

// containers is the number of all node containers.
func (w *world) containers() int {
	n := 0
	for _, c := range w.Clusters {
		n += len(c.Nodes)
	}
	return n
}

// content is all that matters of the world: which clusters there are, of what
// shape and with which objects; not how often they were made.
func (w *world) content() map[string]any {
	out := map[string]any{}
	for name, c := range w.Clusters {
		shape, err := yaml.Marshal(c.Config)
		if err != nil {
			panic(err)
		}
		running := 0
		for _, n := range c.Nodes {
			if n.Running {
				running++
			}
		}
		objects := map[string]any{}
		for key, o := range c.Objects {
			objects[key] = dropKeys(o, "status", "uid")
		}
		out[name] = map[string]any{
			"config":   stripClaim(string(shape)),
			"running":  running,
			"finished": c.Finished,
			"objects":  objects,
		}
	}
	return out
}

// stripClaim takes the random claim of the stack out of a kind configuration.
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

// ask is what a shared cluster says of itself.
func (w *world) ask(context.Context, sharedcluster.Access, []sharedcluster.Object, bool) (*sharedcluster.Facts, error) {
	return &sharedcluster.Facts{ID: worldID, APIServer: []string{"192.0.2.2"}, APIServerPorts: []int{6443}, DNS: []string{"198.51.100.10"}, Nodes: []string{"192.0.2.3"},
		Audiences: []string{fake.Audience}}, nil
}

// keys lists the objects of a cluster.
func keys(c *fake.Cluster) []string { return slices.Sorted(maps.Keys(c.Objects)) }

// open gives the cluster that a context of a kubeconfig, or of a kubeconfig's
// file, leads to, or nil where it is gone.
func (w *world) open(kubeconfig, context string) (*fake.Cluster, error) {
	raw := []byte(kubeconfig)
	if !strings.Contains(kubeconfig, "\n") {
		var err error
		if raw, err = os.ReadFile(kubeconfig); err != nil {
			return nil, err
		}
	}
	config, err := clientcmd.Load(raw)
	if err != nil {
		return nil, err
	}
	at := config.Contexts[context]
	if at == nil || config.Clusters[at.Cluster] == nil {
		return nil, errors.New("the kubeconfig has no context " + context + "; the user's own would be used")
	}
	var found *fake.Cluster
	w.Look(func() {
		for _, c := range w.Clusters {
			if c.Finished && c.Server == config.Clusters[at.Cluster].Server {
				found = c
			}
		}
	})
	return found, nil
}

// object is one of a cluster's, or nil.
func (w *world) object(c *fake.Cluster, key string) (o map[string]any) {
	w.Look(func() { o = c.Objects[key] })
	return o
}
