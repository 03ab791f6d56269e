package stack

import (
	"encoding/json"
	"fmt"
	"slices"
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
	Unsure    []Create // objects that may be there: their creation was cut off
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
		// External objects are read, and never made.
		External bool   `json:"external"`
		ID       string `json:"id"`
		Inputs   struct {
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
				UID       string `json:"uid"`
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
		case r.Custom && !r.External && strings.HasPrefix(r.Type, objectPrefix) && r.Outputs.Metadata.UID == "":
			s.Unsure = append(s.Unsure, Create{URN: string(r.URN), ID: r.ID})
		case r.Custom && strings.HasPrefix(r.Type, objectPrefix) && r.Outputs.Kind != "":
			s.Objects = append(s.Objects, Object{
				URN: string(r.URN), APIVersion: r.Outputs.APIVersion, Kind: r.Outputs.Kind,
				Namespace: r.Outputs.Metadata.Namespace, Name: r.Outputs.Metadata.Name,
			})
		}
	}
	return s, nil
}

// find returns where among the resources a URN is, -1 where it is not, and whether
// what is there is deleted and waits for its replacement.
func find(resources []json.RawMessage, urn string) (at int, replaced bool, err error) {
	for i, raw := range resources {
		var r struct {
			URN      string `json:"urn"`
			Replaced bool   `json:"pendingReplacement"`
		}
		if err := json.Unmarshal(raw, &r); err != nil {
			return 0, false, err
		}
		if r.URN == urn {
			return i, r.Replaced, nil
		}
	}
	return -1, false, nil
}

// withoutPending returns an exported state with no open operations.
func withoutPending(export []byte) ([]byte, error) { return withCreated(export, nil) }

// withCreated returns an exported state with no open operations, in which those of
// these creations that were open are resources. They have an id and their inputs,
// and are to be read.
func withCreated(export []byte, creates []Create) ([]byte, error) {
	var whole, d map[string]json.RawMessage
	if err := json.Unmarshal(export, &whole); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(whole["deployment"], &d); err != nil {
		return nil, err
	}
	var resources []json.RawMessage
	var pending []struct {
		Resource map[string]json.RawMessage `json:"resource"`
	}
	for key, into := range map[string]any{"resources": &resources, "pending_operations": &pending} {
		if raw, ok := d[key]; ok {
			if err := json.Unmarshal(raw, into); err != nil {
				return nil, err
			}
		}
	}
	delete(d, "pending_operations")
	for _, p := range pending {
		var urn string
		if err := json.Unmarshal(p.Resource["urn"], &urn); err != nil {
			return nil, err
		}
		i := slices.IndexFunc(creates, func(c Create) bool { return c.URN == urn })
		if i < 0 {
			continue
		}
		var err error
		if p.Resource["id"], err = json.Marshal(creates[i].ID); err != nil {
			return nil, err
		}
		r, err := json.Marshal(p.Resource)
		if err != nil {
			return nil, err
		}
		switch at, replaced, err := find(resources, urn); {
		case err != nil:
			return nil, err
		case at < 0: // what it depends on was done before it, so the end is its place
			resources = append(resources, r)
		case replaced: // its predecessor is deleted already
			resources[at] = r
		}
	}
	var err error
	if len(resources) > 0 {
		if d["resources"], err = json.Marshal(resources); err != nil {
			return nil, err
		}
	}
	if whole["deployment"], err = json.Marshal(d); err != nil {
		return nil, err
	}
	return json.Marshal(whole)
}
