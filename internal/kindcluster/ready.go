package kindcluster

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// silence is how much older than the newest lease of all a lease may be: a node
// renews its own every ten seconds, and Kubernetes itself waits 40.
const silence = 40 * time.Second

// controllers put pods on nodes; each renews a lease every two seconds.
var controllers = []string{"kube-controller-manager", "kube-scheduler"}

// object is what this package reads of a Node or of a Lease.
type object struct {
	Kind     string
	Metadata struct{ Name, Namespace string }
	Spec     struct{ RenewTime time.Time } // of a Lease
	Status   struct {                      // of a Node
		Conditions []struct{ Type, Status, Message string }
		Addresses  []struct{ Type, Address string }
	}
}

// notReady tells why a cluster does not work, a reason for each node or controller
// that does not, by what Docker says of its containers and by `kubectl get
// nodes,leases --all-namespaces --output=json`. Conditions alone would tell of a
// cluster that has just been stopped and started what was true before that.
func notReady(found []Container, want int, answer []byte) ([]string, error) {
	var list struct{ Items []object }
	if err := json.Unmarshal(answer, &list); err != nil {
		return nil, fmt.Errorf("the API server's answer: %w", err)
	}
	nodes := map[string]*object{}
	leases := map[string]time.Time{} // by namespace/name
	var newest time.Time
	for i, o := range list.Items {
		switch o.Kind {
		case "Node":
			nodes[o.Metadata.Name] = &list.Items[i]
		case "Lease":
			leases[o.Metadata.Namespace+"/"+o.Metadata.Name] = o.Spec.RenewTime
			newest = latest(newest, o.Spec.RenewTime)
		}
	}
	// silent is why a lease shows that its holder, in a container, is not at work.
	silent := func(lease string, in Container) string {
		switch renewed := leases[lease]; {
		case renewed.Before(in.Started):
			return "has not been heard of since its container was started"
		case newest.Sub(renewed) > silence:
			return "has not been heard of for " + newest.Sub(renewed).Round(time.Second).String()
		}
		return ""
	}
	var why []string
	if len(nodes) != want {
		why = append(why, fmt.Sprintf("of %d nodes %d are registered", want, len(nodes)))
	}
	for _, c := range found {
		node := nodes[c.Name]
		switch {
		case !c.Running:
			why = append(why, "node "+c.Name+" does not run")
		case node == nil:
			why = append(why, "node "+c.Name+" is not registered")
		default:
			said := cmp.Or(silent("kube-node-lease/"+c.Name, c), node.moved(c.Address), node.condition())
			if said != "" {
				why = append(why, "node "+c.Name+" "+said)
			}
		}
	}
	for _, c := range found {
		if !strings.HasSuffix(c.Name, "-control-plane") {
			continue
		}
		for _, name := range controllers {
			if said := silent("kube-system/"+name, c); said != "" {
				why = append(why, name+" "+said)
			}
		}
	}
	return why, nil
}

// moved is why a node's address is not that of its container, or empty.
func (o *object) moved(address string) string {
	var has []string
	for _, a := range o.Status.Addresses {
		if a.Type == "InternalIP" {
			has = append(has, a.Address)
		}
	}
	if address == "" || slices.Contains(has, address) {
		return ""
	}
	return fmt.Sprintf("is registered at %s, and its container is at %s", strings.Join(has, ", "), address)
}

// condition is why a node is not Ready, or empty.
func (o *object) condition() string {
	for _, c := range o.Status.Conditions {
		if c.Type != "Ready" {
			continue
		}
		if c.Status == "True" {
			return ""
		}
		return "is not Ready: " + c.Message
	}
	return "is not Ready"
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
