package shared

import (
	"errors"
	"fmt"
	"strconv"

	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"k8s.io/apimachinery/pkg/api/resource"

	"k8sbootcamp/components/kube"
	"k8sbootcamp/components/monitoring"
	"k8sbootcamp/components/topics"
)

// Quota bounds a namespace; CPU and memory are Kubernetes quantities, of the
// limits of all its containers together.
type Quota struct {
	Pods        int
	CPU, Memory string
}

// Validate reports every field that cannot be used.
func (q Quota) Validate() error {
	var errs []error
	if q.Pods < 1 {
		errs = append(errs, fmt.Errorf("quota of %d pods: at least 1 is needed", q.Pods))
	}
	for _, s := range []string{q.CPU, q.Memory} {
		if v, err := resource.ParseQuantity(s); err != nil || v.Sign() <= 0 {
			errs = append(errs, fmt.Errorf("quota %q: allowed is a positive Kubernetes quantity, such as 2, 500m or 4Gi", s))
		}
	}
	return errors.Join(errs...)
}

// Resource is one thing that a quota bounds.
type Resource string

// The resources of a quota.
const (
	Pods   Resource = "pods"
	CPU    Resource = "cpu"
	Memory Resource = "memory"
)

// Workload is a number of pods of one size, each with one container.
type Workload struct {
	Size kube.Size
	Pods int
	// InPlace tells that an old pod goes before its successor comes, as of a StatefulSet
	// and of a Deployment that is recreated.
	InPlace bool
}

// TooSmallFor returns the resources of which the workloads need more than the
// quota has, and how much they need. While a Deployment rolls out it has a quarter
// more pods; of CPU and memory the largest pod once more will do, for one rollout
// waits for the other.
func (q Quota) TooSmallFor(workloads []Workload) map[Resource]string {
	pods := 0
	var cpu, memory, largestCPU, largestMemory resource.Quantity
	for _, w := range workloads {
		pods += w.Pods
		c, m := resource.MustParse(w.Size.CPULimit), resource.MustParse(w.Size.MemoryLimit)
		for range w.Pods {
			cpu.Add(c)
			memory.Add(m)
		}
		if w.InPlace {
			continue
		}
		pods += (w.Pods + 3) / 4
		if c.Cmp(largestCPU) > 0 {
			largestCPU = c
		}
		if m.Cmp(largestMemory) > 0 {
			largestMemory = m
		}
	}
	cpu.Add(largestCPU)
	memory.Add(largestMemory)
	needed := map[Resource]string{}
	if pods > q.Pods {
		needed[Pods] = strconv.Itoa(pods)
	}
	for name, r := range map[Resource]struct {
		have string
		need resource.Quantity
	}{CPU: {q.CPU, cpu}, Memory: {q.Memory, memory}} {
		if have, err := resource.ParseQuantity(r.have); err == nil && have.Cmp(r.need) < 0 {
			needed[name] = r.need.String()
		}
	}
	return needed
}

// What a container may keep on its node's disk (its own files, its logs and
// emptyDir volumes), unless it says otherwise, and at most. The most is what
// Prometheus takes.
const (
	storageRequest = "64Mi"
	storageLimit   = "512Mi"
	storageMax     = monitoring.StorageLimit
)

// hard are the bounds of a namespace's pods, and of what nobody has there.
func (q Quota) hard() pulumi.StringMap {
	// Each pod has one container of the default's size, but for Prometheus, of which
	// there are two while it rolls out.
	storage := func(each, prometheus string) pulumi.String {
		total := *resource.NewQuantity(0, resource.BinarySI)
		for range q.Pods - 2 {
			total.Add(resource.MustParse(each))
		}
		for range 2 {
			total.Add(resource.MustParse(prometheus))
		}
		return pulumi.String(total.String())
	}
	hard := pulumi.StringMap{
		"pods":                       pulumi.String(strconv.Itoa(q.Pods)),
		"requests.cpu":               pulumi.String(q.CPU),
		"limits.cpu":                 pulumi.String(q.CPU),
		"requests.memory":            pulumi.String(q.Memory),
		"limits.memory":              pulumi.String(q.Memory),
		"requests.ephemeral-storage": storage(storageRequest, monitoring.StorageRequest),
		"limits.ephemeral-storage":   storage(storageLimit, storageMax),
	}
	for _, none := range []string{
		"persistentvolumeclaims", "requests.storage", "services.loadbalancers", "services.nodeports",
		"requests.nvidia.com/gpu", "requests.amd.com/gpu", "requests.gpu.intel.com/i915",
		"requests.hugepages-2Mi", "requests.hugepages-1Gi",
	} {
		hard[none] = pulumi.String("0")
	}
	return hard
}

// spare is how many more objects of each kind a student may make than are counted
// below: to try something out, or for what a cluster puts into each namespace.
const spare = 4

// counted are the objects of each kind that the course comes to: what Kubernetes
// makes in each namespace (ConfigMap kube-root-ca.crt, ServiceAccount default), what
// the stack has with all that can be switched on, and the text's own manifests typed
// beside it under other names. A test counts them in the stack's objects and in the
// text's files.
var counted = map[string]int{
	"count/configmaps":        1 + 4 + 1,
	"count/serviceaccounts":   1 + 3 + 1,
	"count/services":          0 + 9 + 3,
	"count/deployments.apps":  0 + 9 + 2,
	"count/daemonsets.apps":   0 + 0 + 1,
	"count/statefulsets.apps": 0 + 1 + 0,
}

// revisions are the objects that one Deployment, DaemonSet or StatefulSet has while it rolls
// out: ten old ones, which is Kubernetes' own revisionHistoryLimit, the one that is
// there, and the new one.
const revisions = 10 + 2

// studentHard are the bounds of a student's namespace: everything in it that can
// be counted.
func studentHard(q Quota, serviceType string, claims int) pulumi.StringMap {
	hard := q.hard()
	set := func(what string, n int) { hard[what] = pulumi.String(strconv.Itoa(n)) }
	for what, n := range counted {
		set(what, n+spare)
	}
	set("count/replicasets.apps", (counted["count/deployments.apps"]+spare)*revisions)
	set("count/controllerrevisions.apps", (counted["count/daemonsets.apps"]+counted["count/statefulsets.apps"]+spare)*revisions)
	set("count/pods", 2*q.Pods) // those that have finished, or were evicted, stay
	if claims > 0 {             // those of the stack, and not one more
		set("persistentvolumeclaims", claims)
		storage := *resource.NewQuantity(0, resource.BinarySI)
		for range claims {
			storage.Add(resource.MustParse(topics.ClaimSize))
		}
		hard["requests.storage"] = pulumi.String(storage.String())
	}
	switch serviceType {
	case "NodePort":
		set("services.nodeports", 1)
	case "LoadBalancer":
		set("services.loadbalancers", 1)
		set("services.nodeports", 1) // a load balancer takes one too
	}
	return hard
}

// newLimits registers a namespace's ResourceQuota, and the LimitRange that
// gives a container without sizes some (the course's manifests have none, and a
// quota refuses those). It returns both.
func newLimits(ctx *pulumi.Context, on *Place, hard pulumi.StringMap, q Quota, parent pulumi.Resource) ([]pulumi.Resource, error) {
	opts := append(on.Options(), pulumi.Parent(parent))
	quota, err := corev1.NewResourceQuota(ctx, on.Namespace, &corev1.ResourceQuotaArgs{
		Metadata: kube.Meta(on.Namespace, "bootcamp", "bootcamp"),
		Spec:     &corev1.ResourceQuotaSpecArgs{Hard: hard},
	}, opts...)
	if err != nil {
		return nil, err
	}
	amounts := func(cpu, memory, storage string) pulumi.StringMap {
		return pulumi.StringMap{"cpu": pulumi.String(cpu), "memory": pulumi.String(memory), "ephemeral-storage": pulumi.String(storage)}
	}
	sizes, err := corev1.NewLimitRange(ctx, on.Namespace, &corev1.LimitRangeArgs{
		Metadata: kube.Meta(on.Namespace, "bootcamp", "bootcamp"),
		Spec: &corev1.LimitRangeSpecArgs{Limits: corev1.LimitRangeItemArray{&corev1.LimitRangeItemArgs{
			Type:           pulumi.String("Container"),
			DefaultRequest: amounts("10m", "32Mi", storageRequest),
			Default:        amounts("200m", "128Mi", storageLimit),
			Max:            amounts(q.CPU, q.Memory, storageMax),
		}}},
	}, opts...)
	return []pulumi.Resource{quota, sizes}, err
}

// newSystemPriority registers the quota of pods that drive away others' pods: none.
// Where a quota has their class in its scope, Kubernetes admits no such pod in a
// namespace without one. Other classes are the admission policy's, for one of them
// may be the cluster's default.
func newSystemPriority(ctx *pulumi.Context, on *Place, parent pulumi.Resource) (pulumi.Resource, error) {
	const name = "bootcamp-system-priority"
	return corev1.NewResourceQuota(ctx, on.Namespace+"-system-priority", &corev1.ResourceQuotaArgs{
		Metadata: kube.Meta(on.Namespace, name, "bootcamp"),
		Spec: &corev1.ResourceQuotaSpecArgs{
			Hard: pulumi.StringMap{"pods": pulumi.String("0")},
			ScopeSelector: &corev1.ScopeSelectorArgs{MatchExpressions: corev1.ScopedResourceSelectorRequirementArray{
				&corev1.ScopedResourceSelectorRequirementArgs{
					ScopeName: pulumi.String("PriorityClass"), Operator: pulumi.String("In"),
					Values: pulumi.ToStringArray([]string{"system-node-critical", "system-cluster-critical"}),
				},
			}},
		},
	}, append(on.Options(), pulumi.Parent(parent))...)
}
