package shared

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	admissionv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/admissionregistration/v1"
	metav1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/meta/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	api "k8s.io/api/admissionregistration/v1"
	apimetav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"k8sbootcamp/internal/sharedcluster"
)

// PolicyStudents is the name of the admission policy for students' namespaces,
// and of its binding.
const PolicyStudents = "bootcamp-platform-students"

// serviceTypeLabel of a student's namespace, which the policy reads, has the type of
// Service, beside ClusterIP, that the stack asked for.
const serviceTypeLabel = "bootcamp/service-type"

// claimsLabel of a student's namespace, which the policy reads, is "true" where the stack
// has PersistentVolumeClaims.
const claimsLabel = "bootcamp/claims"

// kinds are those of an API group; all are served as v1.
type kinds struct {
	group     string
	resources []string
}

// studentKinds are what a student works with. The student's role is made of them,
// and the policy looks at each.
var studentKinds = []kinds{
	{"", []string{"pods", "services", "configmaps", "serviceaccounts"}},
	{"apps", []string{"deployments", "daemonsets"}},
}

// requests are some that the policy looks at.
type requests struct{ operations, resources []string }

// A Rule is one thing that the policy refuses.
type Rule struct {
	Name string // for tests and documents
	on   []requests
	// admits is CEL (kubernetes.io/docs/reference/using-api/cel), true where the
	// request may go on. What it may use are the API's own variables and policyVariables.
	admits  string
	Message string // one sentence: what, and why
}

var (
	everything = []requests{{[]string{"CREATE", "UPDATE"}, slices.Concat(studentKinds[0].resources, studentKinds[1].resources)}}
	templates  = requests{[]string{"CREATE", "UPDATE"}, studentKinds[1].resources}
	newPods    = requests{[]string{"CREATE"}, []string{"pods"}}
	podSpecs   = []requests{newPods, templates}
)

// PolicyRules are what is refused in a student's namespace. Pods are looked at
// whoever makes them, so that a controller makes none that the student could not;
// all other requests only where the student (or a pod of the student's) sends them,
// so that controllers and cloud providers can do their work.
var PolicyRules = []Rule{{
	Name: "finalizers",
	on:   everything,
	admits: `!variables.tenant || !has(object.metadata.finalizers) ||
object.metadata.finalizers.all(f, f in variables.oldFinalizers)`,
	Message: "a student's objects may not be given finalizers, since whoever deletes them would wait without end",
}, {
	Name: "pod finalizers",
	on:   []requests{newPods},
	// The Job controller's own is taken off by it.
	admits:  `!has(object.metadata.finalizers) || object.metadata.finalizers.all(f, f == 'batch.kubernetes.io/job-tracking')`,
	Message: "a student's pods may not have finalizers, since whoever deletes them would wait without end",
}, {
	Name:    "template finalizers",
	on:      []requests{templates},
	admits:  `!has(variables.template.metadata) || !has(variables.template.metadata.finalizers) || size(variables.template.metadata.finalizers) == 0`,
	Message: "a student's pod templates may not have finalizers, since whoever deletes the pods would wait without end",
}, {
	Name: "blocking owners",
	on:   everything,
	admits: `!variables.tenant || !has(object.metadata.ownerReferences) ||
object.metadata.ownerReferences.all(r, !has(r.blockOwnerDeletion) || !r.blockOwnerDeletion ||
variables.oldOwners.exists(o, o.uid == r.uid && has(o.blockOwnerDeletion) && o.blockOwnerDeletion))`,
	Message: "a student's objects may not be given owners with blockOwnerDeletion, since that holds up the deletion of the owner, which may be another's",
}, {
	Name: "grace period",
	on:   podSpecs,
	admits: `(!has(variables.pod.terminationGracePeriodSeconds) || variables.pod.terminationGracePeriodSeconds <= 60) &&
variables.containers.all(c,
(!has(c.livenessProbe) || !has(c.livenessProbe.terminationGracePeriodSeconds) || c.livenessProbe.terminationGracePeriodSeconds <= 60) &&
(!has(c.startupProbe) || !has(c.startupProbe.terminationGracePeriodSeconds) || c.startupProbe.terminationGracePeriodSeconds <= 60))`,
	Message: "a terminationGracePeriodSeconds may be 60 at most, since the end of the lab waits for its pods",
}, {
	Name: "grace period of a deletion",
	on:   []requests{{[]string{"DELETE"}, []string{"pods"}}},
	admits: `!has(request.options) || !has(request.options.gracePeriodSeconds) ||
request.options.gracePeriodSeconds <= 60`,
	Message: "a pod may be deleted with a grace period of 60 seconds at most, since the end of the lab waits for its pods",
}, {
	Name:    "node name",
	on:      podSpecs,
	admits:  `!has(variables.pod.nodeName) || variables.pod.nodeName == ''`,
	Message: "a student's pods may not name their node (nodeName), since that goes round the scheduler and its taints; use a nodeSelector",
}, {
	Name: "tolerations",
	on:   append([]requests{{[]string{"UPDATE"}, []string{"pods"}}}, podSpecs...),
	// What the DaemonSet controller and the admission plugins add themselves.
	admits: `!has(variables.pod.tolerations) || variables.pod.tolerations.all(t, has(t.key) && t.key in [
'node.kubernetes.io/not-ready', 'node.kubernetes.io/unreachable', 'node.kubernetes.io/disk-pressure',
'node.kubernetes.io/memory-pressure', 'node.kubernetes.io/pid-pressure', 'node.kubernetes.io/unschedulable',
'node.kubernetes.io/network-unavailable'])`,
	Message: "a student's pods may tolerate no other taints than those of a node in trouble (node.kubernetes.io/...), since the others keep pods off nodes that are not for students; node-exporter, which is on control planes too, is the class's own here",
}, {
	Name: "priority class",
	on:   podSpecs,
	// A cluster may have a default class, so of a controller's pods only the
	// system's are refused: its templates have been looked at.
	admits: `!has(variables.pod.priorityClassName) || variables.pod.priorityClassName == '' ||
variables.resource == 'pods' && !variables.tenant && !variables.pod.priorityClassName.startsWith('system-')`,
	Message: "a student's pods may have no priority class, since they would drive away the pods of others",
}, {
	Name: "volume types",
	on:   podSpecs,
	admits: `!has(variables.pod.volumes) || variables.pod.volumes.all(v,
has(v.configMap) || has(v.emptyDir) || has(v.projected) || has(v.secret) || has(v.downwardAPI) ||
has(v.persistentVolumeClaim) && variables.claims)`,
	Message: "a student's volumes may be of the types configMap, emptyDir, projected, secret and downwardAPI, and persistentVolumeClaim where the stack has a topic with claims, since all others take storage of the cluster or reach out of it",
}, {
	Name: "projected tokens",
	on:   podSpecs,
	// 3607 s is what the API server itself puts into each pod.
	admits: `!has(variables.pod.volumes) || variables.pod.volumes.all(v, !has(v.projected) || !has(v.projected.sources) ||
v.projected.sources.all(s, !has(s.serviceAccountToken) ||
(!has(s.serviceAccountToken.audience) || s.serviceAccountToken.audience == '') &&
(!has(s.serviceAccountToken.expirationSeconds) || s.serviceAccountToken.expirationSeconds <= 3607)))`,
	Message: "a token in a student's volume may be for the API server alone and for an hour at most, since it is good outside of the lab too",
}, {
	Name:    "Service type",
	on:      []requests{{[]string{"CREATE", "UPDATE"}, []string{"services"}}},
	admits:  `!has(variables.spec.type) || variables.spec.type in ['ClusterIP', variables.serviceType] && variables.spec.type != 'ExternalName'`,
	Message: "a student's Service may be of type ClusterIP, or of the serviceType that the stack was configured with, since ports of the nodes, load balancers and names outside are the whole cluster's",
}, {
	// Whoever may set them can draw any address's traffic in the whole cluster to
	// themselves (CVE-2020-8554).
	Name:    "external IPs",
	on:      []requests{{[]string{"CREATE", "UPDATE"}, []string{"services"}}},
	admits:  `!has(variables.spec.externalIPs) || size(variables.spec.externalIPs) == 0`,
	Message: "a student's Service may not have externalIPs, since it would draw traffic that is meant for others",
}, {
	Name:    "token lifetime",
	on:      []requests{{[]string{"CREATE"}, []string{"serviceaccounts/token"}}},
	admits:  `!has(variables.spec.expirationSeconds) || variables.spec.expirationSeconds == null || variables.spec.expirationSeconds <= 3600`,
	Message: "a student may ask for a token of an hour at most, since it is good outside of the lab too",
}, {
	Name: "token audience",
	on:   []requests{{[]string{"CREATE"}, []string{"serviceaccounts/token"}}},
	// The API server has put its own in where none was asked for.
	admits:  `!has(variables.spec.audiences) || variables.spec.audiences == null || variables.spec.audiences.all(a, a in variables.audiences)`,
	Message: "a student may ask for a token for the API server alone and name no audience, since others would take it for more than a student's",
}}

// PolicySpec is the policy, on a cluster whose API server's own audiences these are.
func PolicySpec(audiences []string) api.ValidatingAdmissionPolicySpec {
	fail := api.Fail
	forbidden := apimetav1.StatusReasonForbidden
	spec := api.ValidatingAdmissionPolicySpec{
		FailurePolicy:    &fail,
		MatchConstraints: &api.MatchResources{},
		MatchConditions: []api.MatchCondition{{
			Name:       "new-pods-and-the-students-requests",
			Expression: `request.resource.resource == 'pods' && request.operation == 'CREATE' || ` + fromTenant,
		}},
		Variables: []api.Variable{
			// Whether the request is the student's, or that of a pod in the namespace.
			{Name: "tenant", Expression: fromTenant},
			{Name: "resource", Expression: `request.resource.resource + (has(request.subResource) && request.subResource != '' ? '/' + request.subResource : '')`},
			// dyn, since the API server tells of each field that one of the kinds has not.
			{Name: "spec", Expression: `dyn(object).spec`},
			{Name: "template", Expression: `variables.spec.template`},
			{Name: "pod", Expression: `variables.resource == 'pods' ? variables.spec : variables.template.spec`},
			{Name: "containers", Expression: `variables.pod.containers + (has(variables.pod.initContainers) ? variables.pod.initContainers : [])`},
			{Name: "oldFinalizers", Expression: `request.operation == 'UPDATE' && has(oldObject.metadata.finalizers) ? oldObject.metadata.finalizers : []`},
			{Name: "oldOwners", Expression: `request.operation == 'UPDATE' && has(oldObject.metadata.ownerReferences) ? oldObject.metadata.ownerReferences : []`},
			{Name: "serviceType", Expression: `has(namespaceObject.metadata.labels) && '` + serviceTypeLabel + `' in namespaceObject.metadata.labels ? ` +
				`namespaceObject.metadata.labels['` + serviceTypeLabel + `'] : 'ClusterIP'`},
			{Name: "claims", Expression: `has(namespaceObject.metadata.labels) && '` + claimsLabel + `' in namespaceObject.metadata.labels && ` +
				`namespaceObject.metadata.labels['` + claimsLabel + `'] == 'true'`},
			{Name: "audiences", Expression: celList(audiences)},
		},
	}
	match := func(group string, operations []api.OperationType, resources ...string) {
		spec.MatchConstraints.ResourceRules = append(spec.MatchConstraints.ResourceRules, api.NamedRuleWithOperations{
			RuleWithOperations: api.RuleWithOperations{Operations: operations, Rule: api.Rule{
				APIGroups: []string{group}, APIVersions: []string{"v1"}, Resources: resources,
			}},
		})
	}
	for _, k := range studentKinds {
		match(k.group, []api.OperationType{api.Create, api.Update}, k.resources...)
	}
	match("", []api.OperationType{api.Delete}, "pods")
	match("", []api.OperationType{api.Create}, "serviceaccounts/token")
	for _, r := range PolicyRules {
		spec.Validations = append(spec.Validations, api.Validation{
			Expression: r.expression(), Message: r.Message, Reason: &forbidden,
		})
	}
	return spec
}

// celList is a list of strings in CEL, whose strings are written as Go's.
func celList(list []string) string {
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = strconv.Quote(s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

const fromTenant = `request.userInfo.username == 'system:serviceaccount:` + PlatformNamespace + `:' + request.namespace || ` +
	`has(request.userInfo.groups) && request.userInfo.groups.exists(g, g == 'system:serviceaccounts:' + request.namespace)`

// expression admits whatever the rule is not for.
func (r Rule) expression() string {
	guards := make([]string, len(r.on))
	for i, on := range r.on {
		guards[i] = fmt.Sprintf("request.operation in ['%s'] && variables.resource in ['%s']",
			strings.Join(on.operations, "', '"), strings.Join(on.resources, "', '"))
	}
	return "!(" + strings.Join(guards, " ||\n") + ") || (\n" + r.admits + ")"
}

// newPolicy registers the admission policy for students' namespaces, which needs
// Kubernetes 1.30.
func newPolicy(ctx *pulumi.Context, on *Place, parent pulumi.Resource) error {
	if len(on.args.Cluster.Audiences) == 0 {
		return errors.New("the cluster names no audience of its own tokens, so the admission policy cannot tell them from others")
	}
	opts := on.WideOptions(parent)
	policy, err := admissionv1.NewValidatingAdmissionPolicy(ctx, PolicyStudents, &admissionv1.ValidatingAdmissionPolicyArgs{
		Metadata: on.WideMeta(PolicyStudents),
		Spec:     policyArgs(PolicySpec(on.args.Cluster.Audiences)),
	}, opts...)
	if err != nil {
		return err
	}
	_, err = admissionv1.NewValidatingAdmissionPolicyBinding(ctx, PolicyStudents, &admissionv1.ValidatingAdmissionPolicyBindingArgs{
		Metadata: on.WideMeta(PolicyStudents),
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

// policyArgs is a policy as Pulumi takes it.
func policyArgs(spec api.ValidatingAdmissionPolicySpec) *admissionv1.ValidatingAdmissionPolicySpecArgs {
	args := &admissionv1.ValidatingAdmissionPolicySpecArgs{FailurePolicy: pulumi.String(*spec.FailurePolicy)}
	rules := admissionv1.NamedRuleWithOperationsArray{}
	for _, r := range spec.MatchConstraints.ResourceRules {
		operations := pulumi.StringArray{}
		for _, o := range r.Operations {
			operations = append(operations, pulumi.String(o))
		}
		rules = append(rules, &admissionv1.NamedRuleWithOperationsArgs{
			ApiGroups: pulumi.ToStringArray(r.APIGroups), ApiVersions: pulumi.ToStringArray(r.APIVersions),
			Operations: operations, Resources: pulumi.ToStringArray(r.Resources),
		})
	}
	args.MatchConstraints = &admissionv1.MatchResourcesArgs{ResourceRules: rules}
	conditions := admissionv1.MatchConditionArray{}
	for _, c := range spec.MatchConditions {
		conditions = append(conditions, &admissionv1.MatchConditionArgs{Name: pulumi.String(c.Name), Expression: pulumi.String(c.Expression)})
	}
	args.MatchConditions = conditions
	variables := admissionv1.VariableArray{}
	for _, v := range spec.Variables {
		variables = append(variables, &admissionv1.VariableArgs{Name: pulumi.String(v.Name), Expression: pulumi.String(v.Expression)})
	}
	args.Variables = variables
	validations := admissionv1.ValidationArray{}
	for _, v := range spec.Validations {
		validations = append(validations, &admissionv1.ValidationArgs{
			Expression: pulumi.String(v.Expression), Message: pulumi.String(v.Message), Reason: pulumi.String(*v.Reason),
		})
	}
	args.Validations = validations
	return args
}
