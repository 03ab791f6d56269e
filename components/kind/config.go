package kind

import (
	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
)

// Config returns kind's configuration of a cluster (course, chapter 0-3:
// one control plane, the rest workers, all of one image), in YAML.
func Config(args *Args) ([]byte, error) {
	node := func(role v1alpha4.NodeRole) v1alpha4.Node {
		return v1alpha4.Node{Role: role, Image: args.NodeImage}
	}
	config := v1alpha4.Cluster{
		TypeMeta: v1alpha4.TypeMeta{Kind: "Cluster", APIVersion: "kind.x-k8s.io/v1alpha4"},
		Nodes:    []v1alpha4.Node{node(v1alpha4.ControlPlaneRole)},
	}
	for range args.Workers {
		config.Nodes = append(config.Nodes, node(v1alpha4.WorkerRole))
	}
	if args.HostPort != 0 {
		// kube-proxy opens a nodePort on every node, so the first will do. The
		// container's port must be the nodePort itself.
		config.Nodes[0].ExtraPortMappings = []v1alpha4.PortMapping{{
			ContainerPort: int32(args.NodePort),
			HostPort:      int32(args.HostPort),
			ListenAddress: "127.0.0.1",
			Protocol:      v1alpha4.PortMappingProtocolTCP,
		}}
	}
	return yaml.Marshal(config)
}
