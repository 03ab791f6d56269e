package tests

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi/config"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/resource"

	"k8sbootcamp/components/kube"
	"k8sbootcamp/components/lab"
	"k8sbootcamp/components/settings"
	"k8sbootcamp/components/shared"
)

// TestQuotaFitsTheObjects: a quota with just what the registered objects need is
// taken, and one with less of anything is refused, before anything is made, with
// what they need.
func TestQuotaFitsTheObjects(t *testing.T) {
	t.Parallel()
	for _, replicas := range []int{0, 1, 4, 5, 30} {
		for what, on := range map[string]map[string]string{
			"course": {}, "everything": switches,
		} {
			t.Run(fmt.Sprintf("%d replicas, %s", replicas, what), func(t *testing.T) {
				t.Parallel()
				run := onShared("alice", "shared-student", map[string]string{
					"replicas": strconv.Itoa(replicas), "quotaPods": "200", "quotaCPU": "100", "quotaMemory": "1Ti",
				})
				maps.Copy(run.Config, on)
				pods, cpu, memory := needed(t, run.Good(t))
				just := map[string]string{"quotaPods": strconv.Itoa(pods), "quotaCPU": cpu.String(), "quotaMemory": memory.String()}
				for key, least := range map[string]string{"quotaPods": "4", "quotaCPU": "2", "quotaMemory": "1Gi"} {
					if have, bound := resource.MustParse(just[key]), resource.MustParse(least); have.Cmp(bound) < 0 {
						just[key] = least // a quota cannot be less, so this one cannot be too small
					}
				}
				cpu.Sub(resource.MustParse("1m"))
				memory.Sub(resource.MustParse("1Mi"))
				less := map[string]string{"quotaPods": strconv.Itoa(pods - 1), "quotaCPU": cpu.String(), "quotaMemory": memory.String()}
				configure := func(quota map[string]string) []settings.Problem {
					all := maps.Clone(run.Config)
					maps.Copy(all, quota)
					_, err := lab.Configure(input(all))
					if problems := settings.Problems(err); problems != nil {
						return problems
					}
					require.NoError(t, err)
					return nil
				}
				assert.Empty(t, configure(just))
				tooSmall := maps.Clone(just)
				var keys []string
				for _, key := range []string{"quotaPods", "quotaCPU", "quotaMemory"} {
					one := maps.Clone(just)
					one[key] = less[key]
					got := configure(one)
					require.Len(t, got, 1, key)
					assert.Equal(t, key, got[0].Key)
					assert.Equal(t, less[key], got[0].Value)
					if got[0].Kind == settings.BadValue {
						continue // less than a quota can be
					}
					assert.Equal(t, settings.Clash, got[0].Kind)
					assert.Contains(t, got[0].Allowed, " "+just[key]+" ", "what is needed")
					tooSmall[key] = less[key]
					keys = append(keys, key)
				}
				var all []string
				for _, p := range configure(tooSmall) {
					all = append(all, p.Key)
				}
				assert.Equal(t, keys, all, "all at once, in the keys' order")
			})
		}
	}
}

// inPlace tells whether an old pod of a workload goes before its successor comes.
func inPlace(w *Registration) bool {
	return w.Type == statefulType || at(w.Object(), "spec", "strategy", "type") == "Recreate"
}

// needed is what a stack's pods come to while they roll out: of each Deployment a
// quarter more pods (maxSurge's default, rounded up), and the limits of all of them
// with those of the largest once more. What is recreated, or a StatefulSet, has no more
// pods then.
func needed(t *testing.T, r *Recording) (pods int, cpu, memory resource.Quantity) {
	t.Helper()
	require.Empty(t, r.Of(daemonSetType, ""), "a student has none; this test does not count them")
	require.NotEmpty(t, r.Of(deploymentType, ""))
	workloads := slices.Concat(r.Of(deploymentType, ""), r.Of(statefulType, ""))
	sum := func(unit string) (total resource.Quantity) {
		var largest resource.Quantity
		for _, w := range workloads {
			containers, _ := at(w.Object(), "spec", "template", "spec", "containers").([]any)
			var pod resource.Quantity
			for _, c := range containers {
				pod.Add(resource.MustParse(fmt.Sprint(at(c, "resources", "limits", unit))))
			}
			inits, _ := at(w.Object(), "spec", "template", "spec", "initContainers").([]any)
			for _, c := range inits { // they run before the others, so a pod takes no more for them
				first := resource.MustParse(fmt.Sprint(at(c, "resources", "limits", unit)))
				require.LessOrEqual(t, first.Cmp(pod), 0, "%s: this test does not count init containers", w)
			}
			for range at(w.Object(), "spec", "replicas").(int) {
				total.Add(pod)
			}
			if pod.Cmp(largest) > 0 && !inPlace(w) {
				largest = pod
			}
		}
		total.Add(largest)
		return total
	}
	for _, w := range workloads {
		replicas := at(w.Object(), "spec", "replicas").(int)
		pods += replicas
		if !inPlace(w) {
			require.Nil(t, at(w.Object(), "spec", "strategy"), "%s: maxSurge is the default", w)
			pods += (replicas + 3) / 4
		}
	}
	return pods, sum("cpu"), sum("memory")
}

// TestQuotaIsTheObjects: the quota that is checked is the one that is made, and
// nothing that only others should have is in it.
func TestQuotaIsTheObjects(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"shared-student", "shared-platform"} {
		quota := map[string]string{"quotaPods": "50", "quotaCPU": "12500m", "quotaMemory": "9Gi"}
		recording := onShared("alice", mode, quota).Good(t)
		want := map[string]any{
			"pods":       "50",
			"limits.cpu": "12500m", "requests.cpu": "12500m", "limits.memory": "9Gi", "requests.memory": "9Gi",
			"requests.ephemeral-storage": "3328Mi", // 48 pods of 64Mi and twice Prometheus's 128Mi
			"limits.ephemeral-storage":   "28Gi",   // 48 pods of 512Mi and twice Prometheus's 2Gi
			"persistentvolumeclaims":     "0", "requests.storage": "0",
			"services.loadbalancers": "0", "services.nodeports": "0",
			"requests.nvidia.com/gpu": "0", "requests.amd.com/gpu": "0", "requests.gpu.intel.com/i915": "0",
			"requests.hugepages-2Mi": "0", "requests.hugepages-1Gi": "0",
		}
		if mode == "shared-student" {
			maps.Copy(want, map[string]any{
				"count/pods": "100", "count/configmaps": "10", "count/serviceaccounts": "9", "count/services": "16",
				"count/deployments.apps": "15", "count/daemonsets.apps": "5", "count/statefulsets.apps": "5",
				"count/replicasets.apps": "180", "count/controllerrevisions.apps": "72",
			})
		}
		hard := at(recording.One(t, quotaType, recording.namespace()).Object(), "spec", "hard")
		assert.Equal(t, want, hard, mode)
	}
}

// TestQuotaCountsTheCourse: of each kind that is counted there is room for what
// Kubernetes makes in a namespace, for the stack's own objects and, beside them, for
// the text's; and for four more.
func TestQuotaCountsTheCourse(t *testing.T) {
	t.Parallel()
	recording := everything("shared-student").Good(t)
	hard := at(recording.One(t, quotaType, "bootcamp-alice").Object(), "spec", "hard")
	text := courseObjects(t)
	for what, kind := range map[string]struct {
		typ, name  string
		kubernetes int
	}{
		"count/configmaps":        {configMapType, "ConfigMap", 1},
		"count/serviceaccounts":   {"kubernetes:core/v1:ServiceAccount", "ServiceAccount", 1},
		"count/services":          {serviceType, "Service", 0},
		"count/deployments.apps":  {deploymentType, "Deployment", 0},
		"count/daemonsets.apps":   {daemonSetType, "DaemonSet", 0},
		"count/statefulsets.apps": {statefulType, "StatefulSet", 0},
	} {
		n := kind.kubernetes + len(recording.Of(kind.typ, ""))
		for name := range text {
			if strings.HasPrefix(name, kind.name+" ") {
				n++
			}
		}
		assert.Equal(t, strconv.Itoa(n+4), at(hard, what), what)
	}
}

// TestClaims: a student has as many PersistentVolumeClaims as the stack's topics, of their
// size together, and the policy lets pods use them only there.
func TestClaims(t *testing.T) {
	t.Parallel()
	for topics, want := range map[string]struct{ claims, storage string }{
		"": {"0", "0"}, "env secret ingress": {"0", "0"}, "volume": {"1", "1Gi"}, "statefulset": {"1", "1Gi"}, "all": {"2", "2Gi"},
	} {
		recording := onShared("alice", "shared-student", map[string]string{"topics": topics}).Good(t)
		hard := at(recording.One(t, quotaType, "bootcamp-alice").Object(), "spec", "hard")
		assert.Equal(t, want.claims, at(hard, "persistentvolumeclaims"), topics)
		assert.Equal(t, want.storage, at(hard, "requests.storage"), topics)
		label := at(recording.One(t, "kubernetes:core/v1:Namespace", "").Object(), "metadata", "labels", "bootcamp/claims")
		assert.Equal(t, want.claims != "0", label == "true", topics)

		var claims int
		var storage resource.Quantity
		add := func(spec any) {
			claims++
			storage.Add(resource.MustParse(at(spec, "resources", "requests", "storage").(string)))
		}
		for _, c := range recording.Of(claimType, "") {
			add(at(c.Object(), "spec"))
		}
		for _, s := range recording.Of(statefulType, "") {
			templates, _ := at(s.Object(), "spec", "volumeClaimTemplates").([]any)
			for _, c := range templates {
				add(at(c, "spec"))
			}
		}
		assert.Equal(t, want.claims, strconv.Itoa(claims), "the stack's own")
		assert.Equal(t, want.storage, storage.String(), "the stack's own")
	}
	platform := everything("shared-platform").Good(t)
	assert.Equal(t, "0", at(platform.One(t, quotaType, "bootcamp-platform").Object(), "spec", "hard", "persistentvolumeclaims"))
}

// TestStorageFits: what the stack's own containers may keep on a disk fits into the
// quota and the LimitRange, with Prometheus once more while it rolls out.
func TestStorageFits(t *testing.T) {
	t.Parallel()
	recording := everything("shared-student").Good(t)
	hard := at(recording.One(t, quotaType, "bootcamp-alice").Object(), "spec", "hard")
	limits := at(recording.One(t, limitRangeType, "").Object(), "spec", "limits", 0)
	const storage = "ephemeral-storage"
	amount := func(v any) resource.Quantity {
		require.NotNil(t, v)
		return resource.MustParse(v.(string))
	}
	most := amount(at(limits, "max", storage))
	for kind, otherwise := range map[string]string{"requests": "defaultRequest", "limits": "default"} {
		total := resource.Quantity{}
		for _, d := range slices.Concat(recording.Of(deploymentType, ""), recording.Of(statefulType, "")) {
			replicas := at(d.Object(), "spec", "replicas").(int)
			v := at(d.Object(), "spec", "template", "spec", "containers", 0, "resources", kind, storage)
			if v == nil {
				v = at(limits, otherwise, storage)
			}
			one := amount(v)
			assert.LessOrEqual(t, one.Cmp(most), 0, d)
			if !inPlace(d) {
				replicas += (replicas + 3) / 4
			}
			for range replicas {
				total.Add(one)
			}
		}
		have := amount(at(hard, kind+"."+storage))
		assert.LessOrEqual(t, total.Cmp(have), 0, "%s: %s are needed, %s are there", kind, total.String(), have.String())
	}
	flags := fmt.Sprint(at(recording.One(t, deploymentType, "prometheus").Object(), "spec", "template", "spec", "containers", 0, "args"))
	assert.Contains(t, flags, "--storage.tsdb.retention.size=512MB")
	own := fmt.Sprint(at((Run{}).Good(t).One(t, deploymentType, "prometheus").Object(), "spec", "template", "spec", "containers", 0, "args"))
	assert.NotContains(t, own, "retention.size", "on a cluster of one's own the disk is one's own")
}

// TestSystemPriority: no pod of a student's may have a class that drives away the
// pods of others.
func TestSystemPriority(t *testing.T) {
	t.Parallel()
	spec := at(onShared("alice", "shared-student", nil).Good(t).One(t, quotaType, "bootcamp-alice-system-priority").Object(), "spec")
	assert.Equal(t, map[string]any{
		"hard": map[string]any{"pods": "0"},
		"scopeSelector": map[string]any{"matchExpressions": []any{map[string]any{
			"scopeName": "PriorityClass", "operator": "In", "values": []any{"system-node-critical", "system-cluster-critical"},
		}}},
	}, spec)
}

// TestQuotaOfOthers: only a student's own pods have to fit; node-exporter's number
// is the cluster's nodes', and a cluster of one's own has no quota.
func TestQuotaOfOthers(t *testing.T) {
	t.Parallel()
	small := map[string]string{"quotaPods": "4", "quotaCPU": "2", "quotaMemory": "1Gi", "replicas": "100"}
	for _, run := range []Run{{Config: small}, onShared("class", "shared-platform", small)} {
		_, err := lab.Configure(input(run.Config))
		assert.NoError(t, err)
	}
}

// TestTooSmallFor: the sums by themselves.
func TestTooSmallFor(t *testing.T) {
	t.Parallel()
	app := kube.Size{CPU: "1m", Memory: "1Mi", CPULimit: "200m", MemoryLimit: "128Mi"}
	big := kube.Size{CPU: "1m", Memory: "1Mi", CPULimit: "1", MemoryLimit: "1Gi"}
	type needs = map[shared.Resource]string
	tests := []struct {
		name      string
		quota     shared.Quota
		workloads []shared.Workload
		want      needs
	}{
		{"nothing", shared.Quota{Pods: 0, CPU: "0", Memory: "0"}, nil, needs{}},
		{"just enough", shared.Quota{Pods: 5, CPU: "1", Memory: "640Mi"}, []shared.Workload{{Size: app, Pods: 4}}, needs{}},
		{"a pod of a rollout", shared.Quota{Pods: 4, CPU: "1", Memory: "640Mi"}, []shared.Workload{{Size: app, Pods: 4}}, needs{shared.Pods: "5"}},
		{"a quarter, rounded up", shared.Quota{Pods: 6, CPU: "9", Memory: "9Gi"}, []shared.Workload{{Size: app, Pods: 5}}, needs{shared.Pods: "7"}},
		{"CPU", shared.Quota{Pods: 5, CPU: "999m", Memory: "640Mi"}, []shared.Workload{{Size: app, Pods: 4}}, needs{shared.CPU: "1"}},
		{"memory", shared.Quota{Pods: 5, CPU: "1", Memory: "639Mi"}, []shared.Workload{{Size: app, Pods: 4}}, needs{shared.Memory: "640Mi"}},
		{"in place", shared.Quota{Pods: 4, CPU: "800m", Memory: "512Mi"}, []shared.Workload{{Size: app, Pods: 4, InPlace: true}}, needs{}},
		{"in place, one too many", shared.Quota{Pods: 3, CPU: "9", Memory: "9Gi"}, []shared.Workload{{Size: app, Pods: 4, InPlace: true}}, needs{shared.Pods: "4"}},
		{
			"two, of which the largest once more", shared.Quota{Pods: 1, CPU: "1", Memory: "1"},
			[]shared.Workload{{Size: app, Pods: 2}, {Size: big, Pods: 1}}, needs{shared.Pods: "5", shared.CPU: "2400m", shared.Memory: "2304Mi"},
		},
	}
	for _, tt := range tests {
		assert.Equal(t, tt.want, tt.quota.TooSmallFor(tt.workloads), tt.name)
	}
}

// input is a configuration of stack alice.
func input(values map[string]string) settings.Input {
	in := settings.Input{Project: Project, Stack: "alice", Source: source(values)}
	for _, k := range slices.Sorted(maps.Keys(values)) {
		in.Keys = append(in.Keys, Project+":"+k)
	}
	return in
}

type source map[string]string

func (s source) Try(key string) (string, error) {
	if v, ok := s[key]; ok {
		return v, nil
	}
	return "", config.ErrMissingVar
}
