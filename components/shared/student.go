package shared

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pulumi/pulumi-command/sdk/go/command/local"
	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	metav1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/meta/v1"
	networkingv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/networking/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"k8sbootcamp/components/kube"
	"k8sbootcamp/components/rbac"
	"k8sbootcamp/components/tool"
	"k8sbootcamp/internal/course"
	"k8sbootcamp/internal/sharedcluster"
	"k8sbootcamp/internal/takeover"
)

// StudentType is the type token of a student's part of a shared cluster.
const StudentType = "bootcamp:cluster:Tenant" // as stacks in use have it

// StudentRole is the role, and its binding, that a student works by. The account is
// in the class's own namespace, by the name of the student's: no pod of the student's
// can run as it.
const StudentRole = "student"

// StudentArgs describe a student's part of a shared cluster.
type StudentArgs struct {
	Quota Quota
	// ServiceType of the student's own Service: what it takes of the cluster's node
	// ports and load balancers is in the quota.
	ServiceType string
	// TokenLifetime of the student's kubeconfig; the cluster may shorten it.
	TokenLifetime time.Duration
	// PrometheusAccount is the name of Prometheus's account, there yet or not: it reads
	// nodes and the API server's metrics through the class's roles.
	PrometheusAccount string
	// NodeExporterPort is where Prometheus finds the class's node-exporter, on
	// every node.
	NodeExporterPort int
	Topics           Topics
	// TakeOver are objects of the namespace that the student may have made by hand, and
	// that the stack is to make.
	TakeOver []takeover.Object
}

// Topics are what a stack's topics take of a shared cluster beyond the course's own kinds.
type Topics struct {
	Claims  int    // PersistentVolumeClaims, each of topics.ClaimSize
	Secret  string // that the student may read, and no other; empty is none
	Ingress bool   // of the echo app
}

// Validate reports every argument that cannot be used.
func (a *StudentArgs) Validate() error {
	err := a.Quota.Validate()
	if a.PrometheusAccount == "" {
		err = errors.Join(err, errors.New("the name of Prometheus's account is empty"))
	}
	if a.TokenLifetime < 10*time.Minute {
		err = errors.Join(err, fmt.Errorf("token lifetime %s: Kubernetes takes 10m and more", a.TokenLifetime))
	}
	return err
}

// Student is a student's part of a shared cluster.
type Student struct {
	pulumi.ResourceState

	Kubeconfig pulumi.StringOutput `pulumi:"kubeconfig"` // secret; the student's, with the namespace preset

	place    *Place
	limits   []pulumi.Resource
	takeover pulumi.Resource // what was made by hand is gone then
}

// Options are for every component in the student's namespace: its objects are
// made once the limits are there. A quota admits nothing that it has not counted
// yet, and a pod that comes before the LimitRange has no default sizes.
func (t *Student) Options() []pulumi.ResourceOption {
	return t.place.Options(append(slices.Clone(t.limits), t.takeover)...)
}

// Makes tells whether a student may make objects of a resource.
func Makes(resource string) bool {
	return slices.ContainsFunc(studentKinds, func(k kinds) bool { return slices.Contains(k.resources, resource) })
}

// StudentOwned are a student's objects outside their namespace.
func StudentOwned(namespace string) []sharedcluster.Object {
	return []sharedcluster.Object{
		{Resource: "clusterrolebindings", Name: namespace + "-nodes"},
		{Resource: "clusterrolebindings", Name: namespace + "-metrics"},
		{Resource: "serviceaccounts", Namespace: PlatformNamespace, Name: namespace},
	}
}

// NewStudent registers what keeps a student in their own namespace, and their
// way into it.
func NewStudent(ctx *pulumi.Context, name string, on *Place, args *StudentArgs, opts ...pulumi.ResourceOption) (*Student, error) {
	if on == nil || args == nil {
		return nil, errors.New("shared.NewStudent: cluster or args are nil")
	}
	if err := args.Validate(); err != nil {
		return nil, fmt.Errorf("shared.NewStudent %s: %w", name, err)
	}
	t := &Student{place: on}
	if err := ctx.RegisterComponentResource(StudentType, name, t, opts...); err != nil {
		return nil, err
	}
	limits, err := newLimits(ctx, on, studentHard(args.Quota, args.ServiceType, args.Topics.Claims), args.Quota, t)
	if err != nil {
		return nil, err
	}
	system, err := newSystemPriority(ctx, on, t)
	if err != nil {
		return nil, err
	}
	t.limits = append(limits, system)
	inside := append(on.Options(t.limits...), pulumi.Parent(t))
	if err := newNetworkPolicy(ctx, on, args.NodeExporterPort, inside); err != nil {
		return nil, err
	}
	if args.Topics.Ingress {
		if err := newIngressPolicy(ctx, on, inside); err != nil {
			return nil, err
		}
	}
	meta := on.WideMeta(on.Namespace)
	meta.Namespace = pulumi.String(PlatformNamespace)
	account, err := corev1.NewServiceAccount(ctx, on.Namespace, &corev1.ServiceAccountArgs{
		Metadata:                     meta,
		AutomountServiceAccountToken: pulumi.Bool(false),
	}, on.WideOptions(t)...)
	if err != nil {
		return nil, err
	}
	who := rbac.Subject{Namespace: pulumi.String(PlatformNamespace), Name: account.Metadata.Name().Elem()}
	student, err := rbac.New(ctx, StudentRole, &rbac.Args{
		Namespace: on.Namespace, Name: StudentRole, Rules: studentRules(on.Namespace, args), NamespaceOnly: true, Of: &who,
	}, inside...)
	if err != nil {
		return nil, err
	}
	readers := []rbac.Subject{who, {Namespace: pulumi.String(on.Namespace), Name: pulumi.String(args.PrometheusAccount)}}
	metrics := on.Namespace + "-metrics"
	if err := rbac.BindClusterRole(ctx, metrics, on.WideMeta(metrics), roleMetrics, readers[1:], on.WideOptions(t)...); err != nil {
		return nil, err
	}
	nodes := on.Namespace + "-nodes"
	if err := rbac.BindClusterRole(ctx, nodes, on.WideMeta(nodes), roleNodes, readers, on.WideOptions(t)...); err != nil {
		return nil, err
	}

	env := on.env()
	delete(env, sharedcluster.EnvOwned)
	env[sharedcluster.EnvClaim] = on.printed
	t.takeover, err = tool.NewTakeOver(ctx, sharedcluster.Tool, args.TakeOver, env, pulumi.Parent(t), pulumi.DependsOn([]pulumi.Resource{on.lifetime}))
	if err != nil {
		return nil, err
	}

	env = on.env()
	delete(env, sharedcluster.EnvOwned)
	env[sharedcluster.EnvAccount] = pulumi.Sprintf("%s/%s", who.Namespace, student.Name)
	env[sharedcluster.EnvLifetime] = pulumi.String(args.TokenLifetime.String())
	token, err := local.NewCommand(ctx, name+"-kubeconfig", &local.CommandArgs{
		Interpreter:            tool.Interpreter(sharedcluster.Tool),
		Create:                 pulumi.String(sharedcluster.VerbKubeconfig),
		Environment:            env,
		Logging:                local.LoggingStderr,
		AddPreviousOutputInEnv: pulumi.Bool(false),
		Triggers:               pulumi.Array{account.Metadata.Uid().Elem()}, // a token is good for one account alone
	}, pulumi.Parent(t), tool.Timeouts("2m"), pulumi.AdditionalSecretOutputs([]string{"stdout"}))
	if err != nil {
		return nil, err
	}
	t.Kubeconfig = pulumi.ToSecret(token.Stdout).(pulumi.StringOutput)
	return t, ctx.RegisterResourceOutputs(t, pulumi.Map{"kubeconfig": t.Kubeconfig})
}

// studentRules are the course's commands: its kinds to work with, the rest of
// `kubectl get all` to look at, logs, port-forward and the Service proxy.
func studentRules(namespace string, args *StudentArgs) []rbac.Rule {
	work := append([]rbac.Verb{rbac.Create, rbac.Update, rbac.Patch, rbac.Delete}, rbac.Read...)
	var rules []rbac.Rule
	for _, k := range studentKinds {
		rules = append(rules, rbac.Rule{APIGroups: []string{k.group}, Resources: k.resources, Verbs: work})
	}
	rules = append(rules, []rbac.Rule{
		{APIGroups: []string{"apps"}, Resources: []string{"deployments/scale"}, Verbs: []rbac.Verb{rbac.Get, rbac.Update, rbac.Patch}},
		{APIGroups: []string{"apps"}, Resources: []string{"replicasets", "statefulsets"}, Verbs: rbac.Read},
		{APIGroups: []string{"batch"}, Resources: []string{"jobs", "cronjobs"}, Verbs: rbac.Read},
		{APIGroups: []string{"autoscaling"}, Resources: []string{"horizontalpodautoscalers"}, Verbs: rbac.Read},
		{APIGroups: []string{"discovery.k8s.io"}, Resources: []string{"endpointslices"}, Verbs: rbac.Read},
		{APIGroups: []string{"networking.k8s.io"}, Resources: []string{"networkpolicies"}, Verbs: rbac.Read},
		{APIGroups: []string{"rbac.authorization.k8s.io"}, Resources: []string{"roles", "rolebindings"}, Verbs: rbac.Read},
		{APIGroups: []string{""}, Resources: []string{"endpoints", "events", "replicationcontrollers", "resourcequotas", "limitranges"}, Verbs: rbac.Read},
		{APIGroups: []string{""}, Resources: []string{"namespaces"}, ResourceNames: []string{namespace}, Verbs: []rbac.Verb{rbac.Get}},
		{APIGroups: []string{""}, Resources: []string{"pods/log"}, Verbs: []rbac.Verb{rbac.Get}},
		{APIGroups: []string{""}, Resources: []string{"pods/portforward"}, Verbs: []rbac.Verb{rbac.Get, rbac.Create}},
		{APIGroups: []string{""}, Resources: []string{"services/proxy"}, Verbs: []rbac.Verb{rbac.Get}},
		// To see with its own eyes what Prometheus's account may do.
		{APIGroups: []string{""}, Resources: []string{"serviceaccounts/token"}, ResourceNames: []string{args.PrometheusAccount}, Verbs: []rbac.Verb{rbac.Create}},
	}...)
	if args.Topics.Claims > 0 {
		rules = append(rules, rbac.Rule{APIGroups: []string{""}, Resources: []string{"persistentvolumeclaims"}, Verbs: rbac.Read})
	}
	if args.Topics.Secret != "" {
		// This one alone: who could make others would have tokens of accounts that never end.
		rules = append(rules, rbac.Rule{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{args.Topics.Secret}, Verbs: []rbac.Verb{rbac.Get}})
	}
	if args.Topics.Ingress {
		rules = append(rules, rbac.Rule{APIGroups: []string{"networking.k8s.io"}, Resources: []string{"ingresses"}, Verbs: rbac.Read})
	}
	return rules
}

// newIngressPolicy lets the cluster's Ingress controller reach the app, wherever it is but
// in another student's namespace.
func newIngressPolicy(ctx *pulumi.Context, on *Place, opts []pulumi.ResourceOption) error {
	name := on.Namespace + "-ingress"
	_, err := networkingv1.NewNetworkPolicy(ctx, name, &networkingv1.NetworkPolicyArgs{
		Metadata: kube.Meta(on.Namespace, name, "bootcamp"),
		Spec: &networkingv1.NetworkPolicySpecArgs{
			PodSelector: &metav1.LabelSelectorArgs{MatchLabels: kube.Selector(course.App)},
			PolicyTypes: pulumi.ToStringArray([]string{"Ingress"}),
			Ingress: networkingv1.NetworkPolicyIngressRuleArray{&networkingv1.NetworkPolicyIngressRuleArgs{
				From: networkingv1.NetworkPolicyPeerArray{&networkingv1.NetworkPolicyPeerArgs{
					NamespaceSelector: &metav1.LabelSelectorArgs{MatchExpressions: metav1.LabelSelectorRequirementArray{
						&metav1.LabelSelectorRequirementArgs{Key: pulumi.String(sharedcluster.LabelStudent), Operator: pulumi.String("DoesNotExist")},
					}},
				}},
				Ports: networkingv1.NetworkPolicyPortArray{&networkingv1.NetworkPolicyPortArgs{
					Protocol: pulumi.String("TCP"), Port: pulumi.Int(course.AppPort),
				}},
			}},
		},
	}, opts...)
	return err
}

// newNetworkPolicy lets in and out what the course needs and nothing else:
// nobody from another student's namespace gets in. kube-system may, since a
// hosted API server reaches pods through its agents there. A network plugin
// that knows no policies ignores it.
func newNetworkPolicy(ctx *pulumi.Context, on *Place, nodeExporterPort int, opts []pulumi.ResourceOption) error {
	peers := func(addresses []string) networkingv1.NetworkPolicyPeerArray {
		var all networkingv1.NetworkPolicyPeerArray
		for _, a := range addresses {
			all = append(all, &networkingv1.NetworkPolicyPeerArgs{IpBlock: &networkingv1.IPBlockArgs{Cidr: pulumi.String(hostCIDR(a))}})
		}
		return all
	}
	cluster := on.args.Cluster
	// A rule without peers is for everybody, and one without ports for all of them.
	if len(cluster.APIServer) == 0 || len(cluster.APIServerPorts) == 0 || len(cluster.Nodes) == 0 {
		return fmt.Errorf("the cluster names no address or port of its API server or none of its nodes (EndpointSlice default/kubernetes: %d, ports: %d, nodes: %d), so the NetworkPolicy cannot",
			len(cluster.APIServer), len(cluster.APIServerPorts), len(cluster.Nodes))
	}
	apiServer, nodes := peers(cluster.APIServer), peers(cluster.Nodes)
	namespace := func(name string) *networkingv1.NetworkPolicyPeerArgs {
		return &networkingv1.NetworkPolicyPeerArgs{NamespaceSelector: &metav1.LabelSelectorArgs{
			MatchLabels: pulumi.StringMap{"kubernetes.io/metadata.name": pulumi.String(name)},
		}}
	}
	own := &networkingv1.NetworkPolicyPeerArgs{PodSelector: &metav1.LabelSelectorArgs{}}
	port := func(protocol string, number int) *networkingv1.NetworkPolicyPortArgs {
		return &networkingv1.NetworkPolicyPortArgs{Protocol: pulumi.String(protocol), Port: pulumi.Int(number)}
	}
	var apiServerPorts networkingv1.NetworkPolicyPortArray
	for _, p := range cluster.APIServerPorts {
		apiServerPorts = append(apiServerPorts, port("TCP", p))
	}
	_, err := networkingv1.NewNetworkPolicy(ctx, on.Namespace, &networkingv1.NetworkPolicyArgs{
		Metadata: kube.Meta(on.Namespace, "bootcamp", "bootcamp"),
		Spec: &networkingv1.NetworkPolicySpecArgs{
			PodSelector: &metav1.LabelSelectorArgs{},
			PolicyTypes: pulumi.ToStringArray([]string{"Ingress", "Egress"}),
			Ingress: networkingv1.NetworkPolicyIngressRuleArray{
				&networkingv1.NetworkPolicyIngressRuleArgs{From: networkingv1.NetworkPolicyPeerArray{
					own, namespace(PlatformNamespace), namespace("kube-system"),
				}},
				&networkingv1.NetworkPolicyIngressRuleArgs{From: apiServer},
			},
			Egress: networkingv1.NetworkPolicyEgressRuleArray{
				&networkingv1.NetworkPolicyEgressRuleArgs{To: networkingv1.NetworkPolicyPeerArray{own, namespace(PlatformNamespace)}},
				&networkingv1.NetworkPolicyEgressRuleArgs{ // DNS: its pods, and where a cache on the node answers for them
					To:    append(networkingv1.NetworkPolicyPeerArray{namespace("kube-system")}, peers(slices.Concat(cluster.DNS, nodeLocalDNS))...),
					Ports: networkingv1.NetworkPolicyPortArray{port("UDP", 53), port("TCP", 53)},
				},
				&networkingv1.NetworkPolicyEgressRuleArgs{To: apiServer, Ports: apiServerPorts}, // it may be on a node, which has other ports
				&networkingv1.NetworkPolicyEgressRuleArgs{ // node-exporter, at the nodes' own addresses
					To:    nodes,
					Ports: networkingv1.NetworkPolicyPortArray{port("TCP", nodeExporterPort)},
				},
			},
		},
	}, opts...)
	return err
}

// nodeLocalDNS are the addresses at which a cache on each node answers: NodeLocal
// DNSCache by its manual and on GKE and EKS, and AKS's LocalDNS.
var nodeLocalDNS = []string{"169.254.20.10", "169.254.10.10", "169.254.10.11"}

func hostCIDR(address string) string {
	for _, c := range address {
		if c == ':' {
			return address + "/128"
		}
	}
	return address + "/32"
}
