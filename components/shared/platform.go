package shared

import (
	"errors"
	"fmt"
	"slices"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"k8sbootcamp/components/monitoring"
	"k8sbootcamp/components/rbac"
	"k8sbootcamp/internal/course"
	"k8sbootcamp/internal/sharedcluster"
)

// PlatformType is the type token of the class's part of a shared cluster.
const PlatformType = "bootcamp:cluster:Platform"

// PlatformNamespace is the class's own namespace, one a cluster.
const PlatformNamespace = "bootcamp-platform"

// StudentsSelector picks the students' namespaces among all, in Prometheus's language.
const StudentsSelector = `namespace=~"bootcamp-.+",namespace!="` + PlatformNamespace + `"`

// The class's ClusterRoles, which students' stacks bind to.
const (
	roleNodes   = "bootcamp-platform-nodes"   // the course looks at the nodes, and Prometheus finds them
	roleMetrics = "bootcamp-platform-metrics" // the API server's own metrics, for Prometheus
)

// The class's ClusterRoles for what watches everybody's pods, each with a binding of its
// name.
const (
	rolePrometheus = "bootcamp-platform-prometheus"
	roleState      = "bootcamp-platform-kube-state-metrics"
)

// platformAlways are the class's objects outside its namespace that there always are.
var platformAlways = []sharedcluster.Object{
	{Resource: "clusterroles", Name: roleNodes},
	{Resource: "clusterroles", Name: roleMetrics},
	{Resource: "validatingadmissionpolicies", Name: PolicyStudents},
	{Resource: "validatingadmissionpolicybindings", Name: PolicyStudents},
}

// PlatformOwned are all of the class's objects outside its namespace, also those that
// the stack has only with the monitoring of pods.
var PlatformOwned = append(slices.Clone(platformAlways), []sharedcluster.Object{
	{Resource: "clusterroles", Name: rolePrometheus},
	{Resource: "clusterrolebindings", Name: rolePrometheus},
	{Resource: "clusterroles", Name: roleState},
	{Resource: "clusterrolebindings", Name: roleState},
}...)

// PlatformRequired are those that a student's stack needs: without the policy and its
// binding a student is not kept from anything, and who watches pods has part of it from
// the class.
func PlatformRequired(podMonitoring bool) []sharedcluster.Object {
	required := slices.Clone(platformAlways)
	if podMonitoring {
		required = append(required, sharedcluster.Object{Resource: "clusterroles", Name: rolePrometheus})
	}
	return required
}

// PlatformArgs describe the class's part of a shared cluster.
type PlatformArgs struct {
	Quota         Quota
	PodMonitoring bool // roles for what watches everybody's pods, in the class's namespace
}

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
	if args.PodMonitoring {
		for _, r := range []struct {
			role, account string
			rules         []rbac.Rule
		}{
			{rolePrometheus, course.Prometheus, monitoring.ClassRules},
			{roleState, course.KubeStateMetrics, monitoring.StateRules(monitoring.Class)},
		} {
			if err := rbac.NewClusterRole(ctx, r.role, on.WideMeta(r.role), r.rules, wide...); err != nil {
				return nil, err
			}
			who := []rbac.Subject{{Namespace: pulumi.String(on.Namespace), Name: pulumi.String(r.account)}}
			if err := rbac.BindClusterRole(ctx, r.role, on.WideMeta(r.role), r.role, who, wide...); err != nil {
				return nil, err
			}
		}
	}
	if err := newPolicy(ctx, on, p); err != nil {
		return nil, err
	}
	if _, err := newLimits(ctx, on, args.Quota.hard(), args.Quota, p); err != nil {
		return nil, err
	}
	return p, ctx.RegisterResourceOutputs(p, pulumi.Map{})
}
