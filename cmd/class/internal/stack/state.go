package stack

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"

	"k8sbootcamp/components/tool"
	"k8sbootcamp/internal/check"
	"k8sbootcamp/internal/kindcluster"
	"k8sbootcamp/internal/sharedcluster"
)

// State is what this tool reads from a stack's state. Secrets stay encrypted.
type State struct {
	Resources int            // without the stack itself
	Pending   int            // operations that a killed run left open
	Unsure    []Create       // objects that may be there: their creation was cut off
	Claim     string         // whose the stack's cluster, or its place on a shared one, is; empty before it has one
	Owned     string         // its objects outside its namespace, on a shared cluster
	Token     string         // the URN of what made the student's kubeconfig, on a shared cluster
	Cluster   *Cluster       // the stack's own kind cluster; nil where the state has none
	Objects   []check.Object // in the cluster
}

// Cluster is the kind cluster that a state speaks of.
type Cluster struct {
	kindcluster.Identity
	URN     string
	Prepare string // URN of the command that runs before it; empty in the state of an earlier version
	Nodes   int
	Config  string    // kind's configuration, YAML
	Made    time.Time // when all of it was there; zero where the state does not say
}

// Create is the creation of a Kubernetes object that a killed run left open.
type Create struct {
	URN string
	ID  string // namespace/name, or name, as the Kubernetes plugin has it
}

// parseState reads the deployment of `pulumi stack export`.
func parseState(raw json.RawMessage) (*State, error) {
	s := &State{}
	if len(raw) == 0 || string(raw) == "null" {
		return s, nil
	}
	var d apitype.DeploymentV3
	if err := json.Unmarshal(raw, &d); err != nil {
		return nil, fmt.Errorf("the stack's state: %w", err)
	}
	s.Pending = len(d.PendingOperations)
	for _, p := range d.PendingOperations {
		name := text(p.Resource.Inputs, "metadata", "name")
		if p.Type == apitype.OperationTypeCreating && inCluster(p.Resource) && name != "" {
			id := strings.TrimPrefix(text(p.Resource.Inputs, "metadata", "namespace")+"/"+name, "/")
			s.Unsure = append(s.Unsure, Create{URN: string(p.Resource.URN), ID: id})
		}
	}
	var prepare string
	for _, r := range d.Resources {
		if r.Type != resource.RootStackType {
			s.Resources++
		}
		switch {
		case r.Type == tool.CommandType && text(r.Inputs, "create") == kindcluster.VerbClaim:
			s.Claim = text(r.Outputs, "stdout")
			s.Owned = text(r.Inputs, "environment", sharedcluster.EnvOwned)
		case r.Type == tool.CommandType && text(r.Inputs, "create") == sharedcluster.VerbKubeconfig:
			s.Token = string(r.URN)
		case r.Type == tool.CommandType && text(r.Inputs, "create") == kindcluster.VerbPrepare:
			prepare = string(r.URN)
		case r.Type == tool.CommandType && text(r.Inputs, "create") == kindcluster.VerbCreate:
			c := &Cluster{URN: string(r.URN)}
			c.Name = text(r.Inputs, "environment", kindcluster.EnvName)
			c.Claim = text(r.Inputs, "environment", kindcluster.EnvClaim)
			var kind v1alpha4.Cluster
			if err := yaml.Unmarshal([]byte(text(r.Inputs, "stdin")), &kind); err != nil {
				return nil, fmt.Errorf("kind's configuration in the stack's state: %w", err)
			}
			c.Nodes, c.Config = len(kind.Nodes), text(r.Inputs, "stdin")
			if r.Created != nil {
				c.Made = *r.Created
			}
			s.Cluster = c
		case !inCluster(r):
		case !r.External && text(r.Outputs, "metadata", "uid") == "": // made, and never read
			s.Unsure = append(s.Unsure, Create{URN: string(r.URN), ID: string(r.ID)})
		case text(r.Outputs, "kind") != "":
			s.Objects = append(s.Objects, check.Object{
				URN: string(r.URN), APIVersion: text(r.Outputs, "apiVersion"), Kind: text(r.Outputs, "kind"),
				Namespace: text(r.Outputs, "metadata", "namespace"), Name: text(r.Outputs, "metadata", "name"),
			})
		}
	}
	if s.Cluster != nil {
		s.Cluster.Prepare = prepare
	}
	return s, nil
}

func inCluster(r apitype.ResourceV3) bool {
	return r.Custom && strings.HasPrefix(string(r.Type), "kubernetes:")
}

// text is the string at a path of a resource's properties, or empty.
func text(properties map[string]any, path ...string) string {
	var v any = properties
	for _, key := range path {
		m, _ := v.(map[string]any)
		v = m[key]
	}
	s, _ := v.(string)
	return s
}

// withoutPending returns an exported state without open operations, in which those
// of these creations that were open are resources: they have an id and their
// inputs, and are to be read. All that this tool does not know of stays as it is,
// hence the raw JSON.
func withoutPending(export []byte, creates []Create) ([]byte, error) {
	var whole, deployment map[string]json.RawMessage
	if err := json.Unmarshal(export, &whole); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(whole["deployment"], &deployment); err != nil {
		return nil, err
	}
	var resources []json.RawMessage
	var pending []struct {
		Resource map[string]json.RawMessage `json:"resource"`
	}
	for key, into := range map[string]any{"resources": &resources, "pending_operations": &pending} {
		if raw, ok := deployment[key]; ok {
			if err := json.Unmarshal(raw, into); err != nil {
				return nil, err
			}
		}
	}
	delete(deployment, "pending_operations")
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
		made, err := json.Marshal(p.Resource)
		if err != nil {
			return nil, err
		}
		switch at, replaced, err := find(resources, urn); {
		case err != nil:
			return nil, err
		case at < 0: // what it depends on was done before it, so the end is its place
			resources = append(resources, made)
		case replaced: // its predecessor is deleted already
			resources[at] = made
		}
	}
	var err error
	if len(resources) > 0 {
		if deployment["resources"], err = json.Marshal(resources); err != nil {
			return nil, err
		}
	}
	if whole["deployment"], err = json.Marshal(deployment); err != nil {
		return nil, err
	}
	return json.Marshal(whole)
}

// withoutResources returns an exported state in which there is nothing any more. All
// else stays as it is, hence the raw JSON.
func withoutResources(export []byte) ([]byte, error) {
	var whole, deployment map[string]json.RawMessage
	if err := json.Unmarshal(export, &whole); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(whole["deployment"], &deployment); err != nil {
		return nil, err
	}
	delete(deployment, "pending_operations")
	delete(deployment, "resources")
	var err error
	if whole["deployment"], err = json.Marshal(deployment); err != nil {
		return nil, err
	}
	return json.Marshal(whole)
}

// find returns where among the resources a URN is, -1 where it is not, and whether
// what is there is deleted and waits for its replacement.
func find(resources []json.RawMessage, urn string) (at int, replaced bool, err error) {
	for i, raw := range resources {
		var r apitype.ResourceV3
		if err := json.Unmarshal(raw, &r); err != nil {
			return 0, false, err
		}
		if string(r.URN) == urn {
			return i, r.PendingReplacement, nil
		}
	}
	return -1, false, nil
}
