// Package shared makes a stack's place on a cluster that is there already and
// that others use too: the class's platform, once, and a namespace a student.
//
// Its tests are in tests/.
package shared

import (
	"errors"
	"fmt"

	"github.com/pulumi/pulumi-command/sdk/go/command/local"
	"github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes"
	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	metav1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/meta/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"k8sbootcamp/components/kube"
	"k8sbootcamp/components/tool"
	"k8sbootcamp/internal/kindcluster"
	"k8sbootcamp/internal/sharedcluster"
)

// PlaceType is the type token of a place on a cluster that is there already.
const PlaceType = "bootcamp:cluster:Existing" // as stacks in use have it

// Pod Security levels (kubernetes.io/docs/concepts/security/pod-security-standards).
const (
	Privileged = "privileged"
	Baseline   = "baseline"
	Restricted = "restricted"
)

// PlaceArgs describe a stack's place on a cluster that others use too.
type PlaceArgs struct {
	Access    sharedcluster.Access
	Namespace string // the stack's own; made and removed with it
	Student   bool   // the class's admission policy is for the namespace
	// ServiceType is one that the policy lets a student's Services have, beside
	// ClusterIP.
	ServiceType string
	Enforce     string // Pod Security level of the namespace
	Warn        string // Pod Security level that is warned about
	// Owned are the stack's objects outside its namespace, and Required those
	// that another stack must have made before.
	Owned, Required []sharedcluster.Object
}

// Validate reports every argument that cannot be used. It reads the kubeconfig
// and does not talk to the cluster.
func (a *PlaceArgs) Validate() error {
	var errs []error
	if a.Access.Context == "" {
		errs = append(errs, errors.New("the context is empty"))
	} else {
		errs = append(errs, a.Access.Check())
	}
	if !kindcluster.ValidName(a.Namespace) {
		errs = append(errs, fmt.Errorf("namespace %q: allowed are a-z, 0-9 and '-'", a.Namespace))
	}
	for _, level := range []string{a.Enforce, a.Warn} {
		if level != Privileged && level != Baseline && level != Restricted {
			errs = append(errs, fmt.Errorf("level %q of Pod Security: allowed are %s, %s and %s", level, Privileged, Baseline, Restricted))
		}
	}
	return errors.Join(errs...)
}

// Place is a stack's place on a shared cluster.
type Place struct {
	pulumi.ResourceState

	Context pulumi.StringOutput `pulumi:"context"` // of the administrator's kubeconfig

	Namespace string // the stack's own
	Provider  *kubernetes.Provider

	access   sharedcluster.Access
	lifetime pulumi.Resource // the namespace
	claim    pulumi.StringOutput
	stack    string
}

// Options are for every component in the stack's namespace. Its objects are made
// once those before are there.
func (c *Place) Options(before ...pulumi.Resource) []pulumi.ResourceOption {
	return kube.LiveAndDieWith(c.Provider, c.lifetime, before...)
}

// NewPlace registers a stack's namespace on a cluster that is there already,
// and the provider to reach it. Before anything is made, a claim proves that
// the names the stack wants are free: an object that another made is an error
// that names its owner. Its delete removes what a killed `up` left.
func NewPlace(ctx *pulumi.Context, name string, args *PlaceArgs, opts ...pulumi.ResourceOption) (*Place, error) {
	if args == nil {
		return nil, errors.New("shared.NewPlace: args are nil")
	}
	if err := args.Validate(); err != nil {
		return nil, fmt.Errorf("shared.NewPlace %s: %w", name, err)
	}
	c := &Place{
		Namespace: args.Namespace,
		access:    args.Access,
		stack:     ctx.Organization() + "/" + ctx.Project() + "/" + ctx.Stack(),
	}
	if err := ctx.RegisterComponentResource(PlaceType, name, c, opts...); err != nil {
		return nil, err
	}

	provider := &kubernetes.ProviderArgs{
		Context: pulumi.String(args.Access.Context),
		// Never here: in an outage, live objects would drop out of the state, and
		// an object of another would be taken over.
		DeleteUnreachable:      pulumi.Bool(false),
		UpsertExistingObjects:  pulumi.Bool(false),
		EnableConfigMapMutable: pulumi.Bool(true),
		EnablePatchForce:       pulumi.Bool(true), // as on kind; it acts on the stack's own objects only
		// Another context is another cluster; a renewed credential is not.
		ClusterIdentifier: pulumi.String(args.Access.Kubeconfig + "#" + args.Access.Context),
	}
	if args.Access.Kubeconfig != "" { // the path: no credential gets into the state
		provider.Kubeconfig = pulumi.String(args.Access.Kubeconfig)
	}
	var err error
	if c.Provider, err = kubernetes.NewProvider(ctx, name, provider, pulumi.Parent(c)); err != nil {
		return nil, err
	}

	owned := append([]sharedcluster.Object{{Resource: "namespaces", Name: args.Namespace}}, args.Owned...)
	env := accessEnv(args.Access)
	env[sharedcluster.EnvOwned] = pulumi.String(sharedcluster.Owned(owned))
	env[sharedcluster.EnvRequired] = pulumi.String(sharedcluster.Owned(args.Required))
	claim, err := local.NewCommand(ctx, name+"-claim", &local.CommandArgs{
		Interpreter:            tool.Interpreter(sharedcluster.Tool),
		Create:                 pulumi.String(sharedcluster.VerbClaim),
		Update:                 pulumi.String(sharedcluster.VerbClaim),
		Delete:                 pulumi.String(sharedcluster.VerbRelease),
		Environment:            env,
		Logging:                local.LoggingStderr,
		Triggers:               pulumi.ToArray([]any{args.Access.Context, args.Namespace}),
		AddPreviousOutputInEnv: pulumi.Bool(true), // the claim, for update and delete
	}, pulumi.Parent(c), pulumi.DeleteBeforeReplace(true), tool.Timeouts("5m"))
	if err != nil {
		return nil, err
	}
	c.claim = claim.Stdout

	meta := c.WideMeta(args.Namespace)
	labels := meta.Labels.(pulumi.StringMap)
	labels["pod-security.kubernetes.io/enforce"] = pulumi.String(args.Enforce)
	labels["pod-security.kubernetes.io/warn"] = pulumi.String(args.Warn)
	if args.Student {
		labels[studentNamespace] = pulumi.String("true")
		labels[serviceTypeLabel] = pulumi.String(args.ServiceType)
	}
	namespace, err := corev1.NewNamespace(ctx, args.Namespace, &corev1.NamespaceArgs{Metadata: meta},
		pulumi.Parent(c), pulumi.Provider(c.Provider), pulumi.DeleteBeforeReplace(true))
	if err != nil {
		return nil, err
	}
	c.lifetime = namespace
	c.Context = pulumi.String(args.Access.Context).ToStringOutput()
	return c, ctx.RegisterResourceOutputs(c, pulumi.Map{"context": c.Context})
}

// WideMeta is the metadata of an object that is in no namespace: it says whose
// it is.
func (c *Place) WideMeta(name string) *metav1.ObjectMetaArgs {
	meta := kube.Meta("", name, "bootcamp")
	meta.Annotations = pulumi.StringMap{
		sharedcluster.AnnotationClaim: c.claim,
		sharedcluster.AnnotationStack: pulumi.String(c.stack),
	}
	return meta
}

// WideOptions are for objects that are in no namespace: they do not go with the
// stack's one, so each is deleted by itself.
func (c *Place) WideOptions(parent pulumi.Resource) []pulumi.ResourceOption {
	return []pulumi.ResourceOption{pulumi.Parent(parent), pulumi.Provider(c.Provider), pulumi.DeleteBeforeReplace(true)}
}

func accessEnv(a sharedcluster.Access) pulumi.StringMap {
	return pulumi.StringMap{
		sharedcluster.EnvKubeconfig: pulumi.String(a.Kubeconfig),
		sharedcluster.EnvContext:    pulumi.String(a.Context),
	}
}
