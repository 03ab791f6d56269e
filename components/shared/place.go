// Package shared makes a stack's place on a cluster that is there already and
// that others use too: the class's platform, once, and a namespace a student.
//
// Its tests are in tests/.
package shared

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

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

// LeaveName is the name of the command that a destroy begins with.
const LeaveName = "cluster-leave"

// Pod Security levels (kubernetes.io/docs/concepts/security/pod-security-standards).
const (
	Privileged = "privileged"
	Baseline   = "baseline"
	Restricted = "restricted"
)

// PlaceArgs describe a stack's place on a cluster that others use too.
type PlaceArgs struct {
	Access    sharedcluster.Access
	Cluster   *sharedcluster.Facts // what it says of itself
	Namespace string               // the stack's own; made and removed with it
	Student   bool                 // the class's admission policy is for the namespace
	// ServiceType is one that the policy lets a student's Services have, beside
	// ClusterIP.
	ServiceType string
	Claims      bool   // the policy lets a student's pods use PersistentVolumeClaims
	Enforce     string // Pod Security level of the namespace
	Warn        string // Pod Security level that is warned about
	// Owned are the stack's objects outside its namespace, and Required those
	// that another stack must have made before.
	Owned, Required []sharedcluster.Object
	HostPort        int // of the nodes, which the stack's pods take; 0 is none
}

// Objects are all that lie outside of the stack's namespace, and that itself.
func Objects(namespace string, owned []sharedcluster.Object) []sharedcluster.Object {
	return append([]sharedcluster.Object{{Resource: "namespaces", Name: namespace}}, owned...)
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
	if a.Cluster == nil {
		errs = append(errs, errors.New("nothing is known of the cluster"))
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

	args     *PlaceArgs
	lifetime pulumi.Resource     // the namespace
	printed  pulumi.StringOutput // the sharedcluster.Claim
	stack    string

	registered registered
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
		args:      args,
		stack:     ctx.Organization() + "/" + ctx.Project() + "/" + ctx.Stack(),
	}
	if err := ctx.RegisterStackTransformation(c.registered.see); err != nil {
		return nil, err
	}
	if err := ctx.RegisterComponentResource(PlaceType, name, c, opts...); err != nil {
		return nil, err
	}

	env := c.env()
	env[sharedcluster.EnvRequired] = pulumi.String(sharedcluster.Owned(args.Required))
	if args.HostPort != 0 {
		env[sharedcluster.EnvHostPort] = pulumi.String(strconv.Itoa(args.HostPort))
	}
	claim, err := local.NewCommand(ctx, name+"-claim", &local.CommandArgs{
		Interpreter:            tool.Interpreter(sharedcluster.Tool),
		Create:                 pulumi.String(sharedcluster.VerbClaim),
		Update:                 pulumi.String(sharedcluster.VerbClaim),
		Delete:                 pulumi.String(sharedcluster.VerbRelease),
		Environment:            env,
		Logging:                local.LoggingStderr,
		AddPreviousOutputInEnv: pulumi.Bool(true), // the claim, for update and delete
	}, pulumi.Parent(c), pulumi.DeleteBeforeReplace(true), tool.Timeouts("5m"),
		pulumi.IgnoreChanges([]string{"triggers"})) // earlier stacks have some; a claim is never made anew
	if err != nil {
		return nil, err
	}
	c.printed = claim.Stdout

	provider := &kubernetes.ProviderArgs{
		// Nothing of another cluster is touched, nor of another owner: without its
		// provider no object goes anywhere.
		Context: claim.Stdout.ApplyT(func(printed string) (string, error) {
			return args.Access.Context, args.Cluster.Mine(printed)
		}).(pulumi.StringOutput),
		// Never here: in an outage, live objects would drop out of the state, and
		// an object of another would be taken over.
		DeleteUnreachable:      pulumi.Bool(false),
		UpsertExistingObjects:  pulumi.Bool(false),
		EnableConfigMapMutable: pulumi.Bool(true),
		EnablePatchForce:       pulumi.Bool(true), // as on kind; it acts on the stack's own objects only
		// Which cluster it is, the claim says: a renamed context, a moved kubeconfig or a
		// renewed credential makes nothing anew.
		ClusterIdentifier: pulumi.String("claimed"),
	}
	if args.Access.Kubeconfig != "" { // the path: no credential gets into the state
		provider.Kubeconfig = pulumi.String(args.Access.Kubeconfig)
	}
	// Earlier stacks have another identifier; a new one would be another provider.
	if c.Provider, err = kubernetes.NewProvider(ctx, name, provider, pulumi.Parent(c), pulumi.IgnoreChanges([]string{"clusterIdentifier"})); err != nil {
		return nil, err
	}

	meta := c.WideMeta(args.Namespace)
	labels := meta.Labels.(pulumi.StringMap)
	labels["pod-security.kubernetes.io/enforce"] = pulumi.String(args.Enforce)
	labels["pod-security.kubernetes.io/warn"] = pulumi.String(args.Warn)
	if args.Student {
		labels[sharedcluster.LabelStudent] = pulumi.String("true")
		labels[serviceTypeLabel] = pulumi.String(args.ServiceType)
		if args.Claims {
			labels[claimsLabel] = pulumi.String("true")
		}
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
		sharedcluster.AnnotationClaim: c.printed.ApplyT(func(s string) string { return sharedcluster.ParseClaim(s).Mark }).(pulumi.StringOutput),
		sharedcluster.AnnotationStack: pulumi.String(c.stack),
	}
	return meta
}

// WideOptions are for objects that are in no namespace: they do not go with the
// stack's one, so each is deleted by itself.
func (c *Place) WideOptions(parent pulumi.Resource) []pulumi.ResourceOption {
	return []pulumi.ResourceOption{pulumi.Parent(parent), pulumi.Provider(c.Provider), pulumi.DeleteBeforeReplace(true)}
}

// NewLeave registers what a destroy of the stack begins with, before anything else
// goes: for a student, the end of their access and of all that is in the namespace;
// for the class, the proof that no student is left. It is the last that is registered,
// and depends on all that was before; that stays where this fails.
func (c *Place) NewLeave(ctx *pulumi.Context) error {
	rest := c.registered.all()
	env := c.env()
	env[sharedcluster.EnvClaim] = c.printed
	if !c.args.Student {
		delete(env, sharedcluster.EnvNamespace)
	}
	// There is nothing to create: only its end counts.
	_, err := local.NewCommand(ctx, LeaveName, &local.CommandArgs{
		Interpreter:            tool.Interpreter(sharedcluster.Tool),
		Delete:                 pulumi.String(sharedcluster.VerbLeave),
		Environment:            env,
		Logging:                local.LoggingStderr,
		AddPreviousOutputInEnv: pulumi.Bool(false),
	}, pulumi.Parent(c), pulumi.DeleteBeforeReplace(true), tool.Timeouts("5m"),
		pulumi.DependsOn(rest))
	return err
}

// registered are the stack's resources but for the components, in the order of their
// constructors. To depend on a component is not enough: the SDK makes a resource its
// parent's child in the background, so that a component has not all of its own yet when
// its constructor returns.
type registered struct {
	mu        sync.Mutex
	resources []pulumi.Resource
}

func (r *registered) see(args *pulumi.ResourceTransformationArgs) *pulumi.ResourceTransformationResult {
	if component := strings.HasPrefix(args.Type, "bootcamp:"); !component {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.resources = append(r.resources, args.Resource)
	}
	return nil
}

func (r *registered) all() []pulumi.Resource {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.resources)
}

// env is what each of the place's commands is told.
func (c *Place) env() pulumi.StringMap {
	return pulumi.StringMap{
		sharedcluster.EnvKubeconfig: pulumi.String(c.args.Access.Kubeconfig),
		sharedcluster.EnvContext:    pulumi.String(c.args.Access.Context),
		sharedcluster.EnvNamespace:  pulumi.String(c.Namespace),
		sharedcluster.EnvOwned:      pulumi.String(sharedcluster.Owned(Objects(c.Namespace, c.args.Owned))),
	}
}
