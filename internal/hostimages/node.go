package hostimages

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"

	"k8sbootcamp/internal/docker"
)

// Node is a node of a cluster that images are loaded into.
type Node struct {
	Name         string // of its container
	ControlPlane bool
}

// Nodes is what is asked of nodes; DockerNodes.
type Nodes interface {
	// Images are those that the node's containerd has.
	Images(ctx context.Context, node string) (Store, error)
	// Import has it read an archive, for the node's own platform.
	Import(ctx context.Context, node string, archive io.Reader) error
	// Finds tells whether the kubelet finds an image, by its full name.
	Finds(ctx context.Context, node, name string) bool
}

// Store is what a node's containerd has, by full name.
type Store map[string]Content

// Content is what is under a name.
type Content struct {
	Target string // the digest that the name leads to, of an index or a manifest
	Config string // of its configuration; the kubelet's ID of it
}

// DockerNodes are nodes that are containers, such as kind's.
type DockerNodes struct{}

// kubelets is the namespace of containerd in which the kubelet's images are.
const kubelets = "--namespace=k8s.io"

// Images asks ctr.
func (DockerNodes) Images(ctx context.Context, node string) (Store, error) {
	out, err := docker.Run(ctx, "exec", node, "ctr", kubelets, "images", "list")
	if err != nil {
		return nil, err
	}
	return parseStore(out), nil
}

// parseStore reads the table that ctr prints: REF, TYPE, DIGEST, and what else there is.
func parseStore(table []byte) Store {
	targets := map[string]string{} // by name
	configs := map[string]string{} // by target
	for lines := bufio.NewScanner(bytes.NewReader(table)); lines.Scan(); {
		cells := strings.Fields(lines.Text())
		if len(cells) < 3 || !strings.HasPrefix(cells[2], "sha256:") { // its head
			continue
		}
		if name, target := cells[0], cells[2]; strings.HasPrefix(name, "sha256:") {
			configs[target] = name // the kubelet's containerd keeps each image under its ID too
		} else {
			targets[name] = target
		}
	}
	all := Store{}
	for name, target := range targets {
		all[name] = Content{target, configs[target]}
	}
	return all
}

// Import has ctr read the archive. It unpacks nothing: that is done with the first
// container, by the snapshotter that the kubelet's containerd is set to.
func (DockerNodes) Import(ctx context.Context, node string, archive io.Reader) error {
	return docker.Feed(ctx, archive, "exec", "--interactive", node, "ctr", kubelets, "images", "import", "--no-unpack", "-")
}

// Finds asks for the label that the kubelet's part of containerd puts on an image which
// it knows of. A node need not have crictl.
func (DockerNodes) Finds(ctx context.Context, node, name string) bool {
	found, err := docker.Run(ctx, "exec", node, "ctr", kubelets, "images", "list", "--quiet",
		fmt.Sprintf(`name==%q,labels."io.cri-containerd.image"==managed`, name))
	return err == nil && len(bytes.TrimSpace(found)) > 0
}
