package shared

import (
	"errors"
	"fmt"

	admissionv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/admissionregistration/v1"
	metav1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/meta/v1"
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

const policyExternalIPs = "bootcamp-platform-no-external-ips"

// PlatformOwned are the class's objects outside its namespace, and PlatformRequired
// those that a student's stack needs: all of the class's guards.
var (
	PlatformOwned = []sharedcluster.Object{
		{Resource: "clusterroles", Name: roleNodes},
		{Resource: "clusterroles", Name: roleMetrics},
		{Resource: "validatingadmissionpolicies", Name: policyExternalIPs},
		{Resource: "validatingadmissionpolicybindings", Name: policyExternalIPs},
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
	if err := newExternalIPsPolicy(ctx, on, wide); err != nil {
		return nil, err
	}
	if err := newLimits(ctx, on, args.Quota, p); err != nil {
		return nil, err
	}
	return p, ctx.RegisterResourceOutputs(p, pulumi.Map{})
}

// newExternalIPsPolicy refuses Services with external IPs in students'
// namespaces: whoever may make one can draw any address's traffic in the whole
// cluster to themselves (CVE-2020-8554), and no quota or Pod Security level
// stops that. It needs Kubernetes 1.30.
func newExternalIPsPolicy(ctx *pulumi.Context, on *Place, opts []pulumi.ResourceOption) error {
	policy, err := admissionv1.NewValidatingAdmissionPolicy(ctx, policyExternalIPs, &admissionv1.ValidatingAdmissionPolicyArgs{
		Metadata: on.WideMeta(policyExternalIPs),
		Spec: &admissionv1.ValidatingAdmissionPolicySpecArgs{
			FailurePolicy: pulumi.String("Fail"),
			MatchConstraints: &admissionv1.MatchResourcesArgs{
				ResourceRules: admissionv1.NamedRuleWithOperationsArray{&admissionv1.NamedRuleWithOperationsArgs{
					ApiGroups:   pulumi.ToStringArray([]string{""}),
					ApiVersions: pulumi.ToStringArray([]string{"v1"}),
					Operations:  pulumi.ToStringArray([]string{"CREATE", "UPDATE"}),
					Resources:   pulumi.ToStringArray([]string{"services"}),
				}},
			},
			Validations: admissionv1.ValidationArray{&admissionv1.ValidationArgs{
				Expression: pulumi.String("!has(object.spec.externalIPs) || size(object.spec.externalIPs) == 0"),
				Message:    pulumi.String("a student's Service may not have externalIPs"),
			}},
		},
	}, opts...)
	if err != nil {
		return err
	}
	_, err = admissionv1.NewValidatingAdmissionPolicyBinding(ctx, policyExternalIPs, &admissionv1.ValidatingAdmissionPolicyBindingArgs{
		Metadata: on.WideMeta(policyExternalIPs),
		Spec: &admissionv1.ValidatingAdmissionPolicyBindingSpecArgs{
			PolicyName:        policy.Metadata.Name().Elem(),
			ValidationActions: pulumi.ToStringArray([]string{"Deny"}),
			MatchResources: &admissionv1.MatchResourcesArgs{
				NamespaceSelector: &metav1.LabelSelectorArgs{MatchLabels: pulumi.StringMap{sharedcluster.LabelStudent: pulumi.String("true")}},
			},
		},
	}, opts...)
	return err
}
