package shared

import (
	"errors"
	"fmt"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"k8sbootcamp/components/rbac"
	"k8sbootcamp/internal/sharedcluster"
)

// PlatformType is the type token of the class's part of a shared cluster.
const PlatformType = "bootcamp:cluster:Platform"

// PlatformNamespace is the class's own namespace, one a cluster.
const PlatformNamespace = "bootcamp-platform"

// The class's ClusterRoles, which students' stacks bind to.
const (
	roleNodes   = "bootcamp-platform-nodes"   // the course looks at the nodes, and Prometheus finds them
	roleMetrics = "bootcamp-platform-metrics" // the API server's own metrics, for Prometheus
)

// PlatformOwned are the class's objects outside its namespace, and
// PlatformRequired those of them that a student's stack needs: all, for without
// the policy and its binding a student is not kept from anything.
var (
	PlatformOwned = []sharedcluster.Object{
		{Resource: "clusterroles", Name: roleNodes},
		{Resource: "clusterroles", Name: roleMetrics},
		{Resource: "validatingadmissionpolicies", Name: PolicyStudents},
		{Resource: "validatingadmissionpolicybindings", Name: PolicyStudents},
	}
	PlatformRequired = PlatformOwned
)

// PlatformArgs describe the class's part of a shared cluster.
type PlatformArgs struct{ Quota Quota }

// Platform is the class's part of a shared cluster.
type Platform struct{ pulumi.ResourceState }

// NewPlatform registers what the class has once on a shared cluster: the
// ClusterRoles, the admission policy, and the limits of its own namespace.
func NewPlatform(ctx *pulumi.Context, name string, on *Place, args *PlatformArgs, opts ...pulumi.ResourceOption) (*Platform, error) {
	if on == nil || args == nil {
		return nil, errors.New("shared.NewPlatform: cluster or args are nil")
	}
	if err := args.Quota.Validate(); err != nil {
		return nil, fmt.Errorf("shared.NewPlatform %s: %w", name, err)
	}
	p := &Platform{}
	if err := ctx.RegisterComponentResource(PlatformType, name, p, opts...); err != nil {
		return nil, err
	}
	wide := on.WideOptions(p)
	nodes := []rbac.Rule{{APIGroups: []string{""}, Resources: []string{"nodes"}, Verbs: rbac.Read}}
	if err := rbac.NewClusterRole(ctx, roleNodes, on.WideMeta(roleNodes), nodes, wide...); err != nil {
		return nil, err
	}
	metrics := []rbac.Rule{{NonResourceURLs: []string{"/metrics"}, Verbs: []rbac.Verb{rbac.Get}}}
	if err := rbac.NewClusterRole(ctx, roleMetrics, on.WideMeta(roleMetrics), metrics, wide...); err != nil {
		return nil, err
	}
	if err := newPolicy(ctx, on, p); err != nil {
		return nil, err
	}
	if _, err := newLimits(ctx, on, args.Quota.hard(), args.Quota, p); err != nil {
		return nil, err
	}
	return p, ctx.RegisterResourceOutputs(p, pulumi.Map{})
}
