package stack

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"

	"k8sbootcamp/internal/kindcluster"
)

// State is what this tool reads from a stack's state. Secrets stay encrypted.
type State struct {
	Resources int      // without the stack itself
	Pending   int      // operations that a killed run left open
	Unsure    []Create // those that may have made an object
	Claim     string   // the stack's mark on its cluster; empty before it has one
	Cluster   *Cluster // nil where the state has none
	Objects   []Object // in the cluster
}

// Cluster is the kind cluster that a state speaks of.
type Cluster struct {
	kindcluster.Cluster
	URN   string
	Nodes int
}

// Create is the creation of a Kubernetes object that a killed run left open.
type Create struct {
	URN string
	ID  string // namespace/name, or name, as the Kubernetes plugin has it
}

// Object is a Kubernetes object that a state speaks of.
type Object struct {
	URN, APIVersion, Kind, Namespace, Name string
}

// The names of the two commands that make a cluster; see components/cluster.
const (
	commandType  = "command:local:Command"
	clusterName  = "cluster"
	claimName    = "cluster-claim"
	objectPrefix = "kubernetes:"
)

type deployment struct {
	Resources []struct {
		URN    resource.URN `json:"urn"`
		Type   string       `json:"type"`
		Custom bool         `json:"custom"`
		Inputs struct {
			Stdin       any            `json:"stdin"`
			Environment map[string]any `json:"environment"`
		} `json:"inputs"`
		Outputs struct {
			Stdout     any    `json:"stdout"`
			APIVersion string `json:"apiVersion"`
			Kind       string `json:"kind"`
			Metadata   struct {
				Name      string `json:"name"`
				Namespace string `json:"namespace"`
			} `json:"metadata"`
		} `json:"outputs"`
	} `json:"resources"`
	Pending []struct {
		Type     string `json:"type"`
		Resource struct {
			URN    resource.URN `json:"urn"`
			Type   string       `json:"type"`
			Inputs struct {
				Metadata struct {
					Name      string `json:"name"`
					Namespace string `json:"namespace"`
				} `json:"metadata"`
			} `json:"inputs"`
		} `json:"resource"`
	} `json:"pending_operations"`
}

// ParseState reads the deployment of `pulumi stack export`.
func ParseState(raw json.RawMessage) (*State, error) {
	s := &State{}
	if len(raw) == 0 || string(raw) == "null" {
		return s, nil
	}
	var d deployment
	if err := json.Unmarshal(raw, &d); err != nil {
		return nil, fmt.Errorf("the stack's state: %w", err)
	}
	s.Pending = len(d.Pending)
	for _, p := range d.Pending {
		meta := p.Resource.Inputs.Metadata
		if p.Type != "creating" || !strings.HasPrefix(p.Resource.Type, objectPrefix) || meta.Name == "" {
			continue
		}
		s.Unsure = append(s.Unsure, Create{URN: string(p.Resource.URN), ID: strings.TrimPrefix(meta.Namespace+"/"+meta.Name, "/")})
	}
	for _, r := range d.Resources {
		if r.Type != string(resource.RootStackType) {
			s.Resources++
		}
		switch {
		case r.Type == commandType && r.URN.Name() == claimName:
			s.Claim, _ = r.Outputs.Stdout.(string)
		case r.Type == commandType && r.URN.Name() == clusterName:
			s.Cluster = &Cluster{URN: string(r.URN)}
			s.Cluster.Name, _ = r.Inputs.Environment[kindcluster.EnvName].(string)
			s.Cluster.Claim, _ = r.Inputs.Environment[kindcluster.EnvClaim].(string)
			config, _ := r.Inputs.Stdin.(string)
			var kind v1alpha4.Cluster
			if err := yaml.Unmarshal([]byte(config), &kind); err != nil {
				return nil, fmt.Errorf("kind's configuration in the stack's state: %w", err)
			}
			s.Cluster.Nodes = len(kind.Nodes)
		case r.Custom && strings.HasPrefix(r.Type, objectPrefix) && r.Outputs.Kind != "":
			s.Objects = append(s.Objects, Object{
				URN: string(r.URN), APIVersion: r.Outputs.APIVersion, Kind: r.Outputs.Kind,
				Namespace: r.Outputs.Metadata.Namespace, Name: r.Outputs.Metadata.Name,
			})
		}
	}
	return s, nil
}

// withoutPending returns an exported state with no open operations.
func withoutPending(export []byte) ([]byte, error) {
	var whole map[string]json.RawMessage
	if err := json.Unmarshal(export, &whole); err != nil {
		return nil, err
	}
	var d map[string]json.RawMessage
	if err := json.Unmarshal(whole["deployment"], &d); err != nil {
		return nil, err
	}
	delete(d, "pending_operations")
	var err error
	if whole["deployment"], err = json.Marshal(d); err != nil {
		return nil, err
	}
	return json.Marshal(whole)
}
