package kindcluster

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// answer is what the API server says of a control plane and a worker.
type answer struct {
	ready                   map[string]string // by node; "True" where it is not there
	address                 map[string]string // likewise, that of its container
	renewed                 map[string]time.Time
	missing                 string // a node
	workerStarted           time.Time
	workerStopped, noWorker bool
}

func TestNotReady(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	long := now.Add(-time.Hour)
	for name, c := range map[string]struct {
		spoil func(*answer)
		want  []string
	}{
		"all well":             {func(*answer) {}, nil},
		"a node not Ready":     {func(a *answer) { a.ready["c-worker"] = "Unknown" }, []string{"node c-worker is not Ready: said so"}},
		"a node unregistered":  {func(a *answer) { a.missing = "c-worker" }, []string{"of 2 nodes 1 are registered", "node c-worker is not registered"}},
		"another address":      {func(a *answer) { a.address["c-worker"] = "10.0.0.9" }, []string{"node c-worker is registered at 10.0.0.9, and its container is at 10.0.0.2"}},
		"a container missing":  {func(a *answer) { a.noWorker = true }, nil},
		"a container stopped":  {func(a *answer) { a.workerStopped = true }, []string{"node c-worker does not run"}},
		"a silent kubelet":     {func(a *answer) { a.renewed["kube-node-lease/c-worker"] = now.Add(-3 * time.Minute) }, []string{"node c-worker has not been heard of for 3m0s"}},
		"a little late":        {func(a *answer) { a.renewed["kube-node-lease/c-worker"] = now.Add(-silence) }, nil},
		"stale since a start":  {func(a *answer) { a.workerStarted = now.Add(time.Second) }, []string{"node c-worker has not been heard of since its container was started"}},
		"no lease":             {func(a *answer) { delete(a.renewed, "kube-node-lease/c-worker") }, []string{"node c-worker has not been heard of since its container was started"}},
		"no scheduler":         {func(a *answer) { a.renewed["kube-system/kube-scheduler"] = long }, []string{"kube-scheduler has not been heard of since its container was started"}},
		"no manager":           {func(a *answer) { a.renewed["kube-system/kube-controller-manager"] = now.Add(-time.Minute) }, []string{"kube-controller-manager has not been heard of for 1m0s"}},
		"silence before state": {func(a *answer) { a.ready["c-worker"] = "False"; a.workerStarted = now.Add(time.Second) }, []string{"node c-worker has not been heard of since its container was started"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := &answer{ready: map[string]string{}, address: map[string]string{}, workerStarted: now.Add(-10 * time.Minute), renewed: map[string]time.Time{
				"kube-node-lease/c-control-plane": now, "kube-node-lease/c-worker": now.Add(-5 * time.Second),
				"kube-system/kube-scheduler": now, "kube-system/kube-controller-manager": now,
				"kube-system/apiserver-x": long,
			}}
			c.spoil(a)
			found := []Container{{Name: "c-control-plane", Running: true, Started: now.Add(-10 * time.Minute), Address: "10.0.0.1"}}
			if !a.noWorker {
				found = append(found, Container{Name: "c-worker", Running: !a.workerStopped, Started: a.workerStarted, Address: "10.0.0.2"})
			}
			why, err := notReady(found, 2, a.json(t))
			require.NoError(t, err)
			assert.Equal(t, c.want, why)
		})
	}
	_, err := notReady(nil, 1, []byte("Unable to connect"))
	assert.Error(t, err)
}

func (a *answer) json(t *testing.T) []byte {
	var items []string
	for i, name := range []string{"c-control-plane", "c-worker"} {
		if name == a.missing {
			continue
		}
		ready, address := "True", fmt.Sprintf("10.0.0.%d", i+1)
		if v, ok := a.ready[name]; ok {
			ready = v
		}
		if v, ok := a.address[name]; ok {
			address = v
		}
		items = append(items, fmt.Sprintf(`{"kind":"Node","metadata":{"name":%q},"status":{"addresses":[{"type":"Hostname","address":%q},{"type":"InternalIP","address":%q}],`+
			`"conditions":[{"type":"MemoryPressure","status":"False"},{"type":"Ready","status":%q,"message":"said so"}]}}`, name, name, address, ready))
	}
	for lease, renewed := range a.renewed {
		namespace, name, _ := strings.Cut(lease, "/")
		items = append(items, fmt.Sprintf(`{"kind":"Lease","metadata":{"namespace":%q,"name":%q},"spec":{"renewTime":%q}}`, namespace, name, renewed.Format("2006-01-02T15:04:05.000000Z")))
	}
	return fmt.Appendf(nil, `{"kind":"List","items":[%s]}`, strings.Join(items, ","))
}

// TestProbeOf: the probe is the cluster's DNS on every node, and no Service's.
func TestProbeOf(t *testing.T) {
	t.Parallel()
	made, err := probeOf([]byte(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"coredns","namespace":"kube-system","uid":"1"},
		"spec":{"replicas":2,"selector":{"matchLabels":{"k8s-app":"kube-dns"}},"template":{"metadata":{"labels":{"k8s-app":"kube-dns"}},
		"spec":{"containers":[{"name":"coredns","image":"dns:1","readinessProbe":{"httpGet":{"path":"/ready"},"periodSeconds":10}},{"name":"other"}],"tolerations":[{"key":"a"}],"affinity":{"podAntiAffinity":{}}}}}}`))
	require.NoError(t, err)
	var p probe
	require.NoError(t, json.Unmarshal(made, &p))
	assert.Equal(t, "DaemonSet", p.Kind)
	assert.Equal(t, probeName, p.Metadata.Name)
	assert.Equal(t, "kube-system", p.Metadata.Namespace)
	assert.Equal(t, p.Spec.Selector.MatchLabels, p.Spec.Template.Metadata.Labels)
	assert.JSONEq(t, `[{"operator":"Exists"}]`, string(p.Spec.Template.Spec["tolerations"]), "on every node, whatever its taints")
	assert.JSONEq(t, `[{"name":"coredns","image":"dns:1","readinessProbe":{"httpGet":{"path":"/ready"},"periodSeconds":1}},{"name":"other"}]`, string(p.Spec.Template.Spec["containers"]))
	assert.NotContains(t, string(made), "kube-dns", "a Service would send it questions")
	assert.NotContains(t, string(made), "uid")
	assert.NotContains(t, string(made), "replicas")

	_, err = probeOf([]byte("Error from server"))
	assert.ErrorContains(t, err, "DNS Deployment")
}
