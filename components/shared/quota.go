package shared

import (
	"errors"
	"fmt"
	"strconv"

	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"k8s.io/apimachinery/pkg/api/resource"

	"k8sbootcamp/components/kube"
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
}

// TooSmallFor returns the resources of which the workloads need more than the
// quota has, and how much they need. While a Deployment rolls out it has a quarter
// more pods; of CPU and memory the largest pod once more will do, for one rollout
// waits for the other.
func (q Quota) TooSmallFor(workloads []Workload) map[Resource]string {
	pods := 0
	var cpu, memory, largestCPU, largestMemory resource.Quantity
	for _, w := range workloads {
		pods += w.Pods + (w.Pods+3)/4
		c, m := resource.MustParse(w.Size.CPULimit), resource.MustParse(w.Size.MemoryLimit)
		for range w.Pods {
			cpu.Add(c)
			memory.Add(m)
		}
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

// newLimits registers a namespace's ResourceQuota, and the LimitRange that
// gives a container without sizes some (the course's manifests have none, and a
// quota refuses those).
func newLimits(ctx *pulumi.Context, on *Place, q Quota, parent pulumi.Resource) error {
	opts := append(on.Options(), pulumi.Parent(parent))
	_, err := corev1.NewResourceQuota(ctx, on.Namespace, &corev1.ResourceQuotaArgs{
		Metadata: kube.Meta(on.Namespace, "bootcamp", "bootcamp"),
		Spec: &corev1.ResourceQuotaSpecArgs{Hard: pulumi.StringMap{
			"pods":                   pulumi.String(strconv.Itoa(q.Pods)),
			"requests.cpu":           pulumi.String(q.CPU),
			"limits.cpu":             pulumi.String(q.CPU),
			"requests.memory":        pulumi.String(q.Memory),
			"limits.memory":          pulumi.String(q.Memory),
			"services.loadbalancers": pulumi.String("1"),
			"services.nodeports":     pulumi.String("2"), // a load balancer takes one too
		}},
	}, opts...)
	if err != nil {
		return err
	}
	amounts := func(cpu, memory string) pulumi.StringMap {
		return pulumi.StringMap{"cpu": pulumi.String(cpu), "memory": pulumi.String(memory)}
	}
	_, err = corev1.NewLimitRange(ctx, on.Namespace, &corev1.LimitRangeArgs{
		Metadata: kube.Meta(on.Namespace, "bootcamp", "bootcamp"),
		Spec: &corev1.LimitRangeSpecArgs{Limits: corev1.LimitRangeItemArray{&corev1.LimitRangeItemArgs{
			Type:           pulumi.String("Container"),
			DefaultRequest: amounts("10m", "32Mi"),
			Default:        amounts("200m", "128Mi"),
			Max:            amounts(q.CPU, q.Memory),
		}}},
	}, opts...)
	return err
}
