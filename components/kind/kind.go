// Package kind makes a cluster of the stack's own, on this machine's Docker
// (course, chapter 0-3).
//
// Its tests are in tests/.
package kind

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/pulumi/pulumi-command/sdk/go/command/local"
	"github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"k8sbootcamp/components/editions"
	"k8sbootcamp/components/kube"
	"k8sbootcamp/components/tool"
	"k8sbootcamp/internal/hostimages"
	"k8sbootcamp/internal/kindcluster"
	"k8sbootcamp/internal/takeover"
)

// Type is the type token of a kind cluster.
const Type = "bootcamp:cluster:Kind"

// Names of the commands before the one that makes the cluster, which is the lab's.
const (
	ClaimName   = "cluster-claim"
	PrepareName = "cluster-prepare"
)

// Args describe a kind cluster on this machine's Docker.
type Args struct {
	Name      string // kind's name of the cluster; see kindcluster.Name
	Workers   int    // 0 to 10, beside the one control plane
	NodeImage string // kind node image with a tag or a digest
	NodePort  int    // the port on every node that HostPort leads to
	HostPort  int    // on 127.0.0.1; 0 is none
	Mirror    string // URL of the mirror that is asked first for the node image; empty is none
	// TakeOver are objects that may have been made by hand, and that the stack is to make.
	TakeOver []takeover.Object
}

// Validate reports every argument that cannot be used.
func (a *Args) Validate() error {
	var errs []error
	if !kindcluster.ValidName(a.Name) {
		errs = append(errs, fmt.Errorf("cluster name %q is not one that kind takes", a.Name))
	}
	if a.Workers < 0 || a.Workers > 10 {
		errs = append(errs, fmt.Errorf("workers %d: allowed are 0 to 10", a.Workers))
	}
	if err := editions.CheckImage(a.NodeImage); err != nil {
		errs = append(errs, fmt.Errorf("node image %q: %w", a.NodeImage, err))
	}
	if a.Mirror != "" {
		if err := hostimages.CheckMirror(a.Mirror); err != nil {
			errs = append(errs, fmt.Errorf("mirror %q: %w", a.Mirror, err))
		}
	}
	if a.HostPort != 0 && (a.NodePort < 1 || a.NodePort > 65535 || a.HostPort < 1 || a.HostPort > 65535) {
		errs = append(errs, fmt.Errorf("host port %d to node port %d: allowed are 1 to 65535", a.HostPort, a.NodePort))
	}
	return errors.Join(errs...)
}

// Cluster is a kind cluster.
type Cluster struct {
	pulumi.ResourceState

	Name       pulumi.StringOutput `pulumi:"name"`
	Context    pulumi.StringOutput `pulumi:"context"`    // of the kubeconfig
	Kubeconfig pulumi.StringOutput `pulumi:"kubeconfig"` // secret; YAML

	Claim pulumi.StringOutput // the stack's mark on its nodes
	Made  pulumi.StringOutput // another one of a cluster that was rebuilt

	Provider *kubernetes.Provider
	Lifetime pulumi.Resource // the command that makes it
	takeover pulumi.Resource // what was made by hand is gone then
}

// Options are for every in-cluster component: where it runs, what it lives and dies
// with, and what must be there before it.
func (c *Cluster) Options(before ...pulumi.Resource) []pulumi.ResourceOption {
	return kube.LiveAndDieWith(c.Provider, c.Lifetime, append(before, c.takeover)...)
}

// New registers a kind cluster (course, chapter 0-3) and its provider. The
// cluster is made, and all nodes are Ready, before anything is put on it.
//
// Three commands make it: the claim, a random mark that is in the state before
// anything is built; what the cluster needs of the host, its node image and its port, so
// that no cluster is given up for one that cannot be made; and the cluster, whose nodes
// bear that mark. So an `up` that is killed while kind works is taken over by the next
// `up` and removed by the next `destroy` (the claim's delete), though the state never
// heard of the cluster; and a cluster without the mark is never touched.
func New(ctx *pulumi.Context, name string, args *Args, opts ...pulumi.ResourceOption) (*Cluster, error) {
	if args == nil {
		return nil, errors.New("kind.New: args are nil")
	}
	if err := args.Validate(); err != nil {
		return nil, fmt.Errorf("kind.New %s: %w", name, err)
	}
	config, err := Config(args)
	if err != nil {
		return nil, fmt.Errorf("kind's configuration: %w", err)
	}

	c := &Cluster{}
	if err := ctx.RegisterComponentResource(Type, name, c, opts...); err != nil {
		return nil, err
	}
	interpreter := tool.Interpreter(kindcluster.Tool)

	claim, err := local.NewCommand(ctx, name+"-claim", &local.CommandArgs{
		Interpreter: interpreter,
		Create:      pulumi.String(kindcluster.VerbClaim),
		Update:      pulumi.String(kindcluster.VerbClaim), // the same one again
		Delete:      pulumi.String(kindcluster.VerbDelete),
		Environment: pulumi.StringMap{kindcluster.EnvName: pulumi.String(args.Name)},
		Logging:     local.LoggingStderr,
		Triggers:    pulumi.ToArray([]any{args.Name}),
		// Update and delete are told the claim through this: it is what create printed.
		AddPreviousOutputInEnv: pulumi.Bool(true),
	}, pulumi.Parent(c), pulumi.DeleteBeforeReplace(true), tool.Timeouts("5m"))
	if err != nil {
		return nil, err
	}

	prepareEnv := pulumi.StringMap{kindcluster.EnvName: pulumi.String(args.Name), kindcluster.EnvClaim: claim.Stdout}
	if args.Mirror != "" {
		prepareEnv[hostimages.EnvMirror] = pulumi.String(args.Mirror)
	}
	prepare, err := local.NewCommand(ctx, name+"-prepare", &local.CommandArgs{
		Interpreter:            interpreter,
		Create:                 pulumi.String(kindcluster.VerbPrepare),
		Update:                 pulumi.String(kindcluster.VerbPrepare),
		Stdin:                  pulumi.String(config),
		Environment:            prepareEnv,
		Logging:                local.LoggingStderr,
		AddPreviousOutputInEnv: pulumi.Bool(false),
	}, pulumi.Parent(c), tool.Timeouts("30m"))
	if err != nil {
		return nil, err
	}
	kind, err := local.NewCommand(ctx, name, &local.CommandArgs{
		Interpreter: interpreter,
		Create:      pulumi.String(kindcluster.VerbCreate),
		Update:      pulumi.String(kindcluster.VerbKubeconfig), // nothing that shapes the cluster gets here
		Delete:      pulumi.String(kindcluster.VerbDelete),
		Stdin:       pulumi.String(config),
		Environment: pulumi.StringMap{kindcluster.EnvName: pulumi.String(args.Name), kindcluster.EnvClaim: claim.Stdout},
		// Standard output is the kubeconfig: neither shown, nor handed on.
		Logging:                local.LoggingStderr,
		AddPreviousOutputInEnv: pulumi.Bool(false),
		Triggers:               pulumi.Array{pulumi.String(digest(config)), claim.Stdout},
	}, pulumi.Parent(c), pulumi.DeleteBeforeReplace(true), tool.Timeouts("30m"),
		pulumi.AdditionalSecretOutputs([]string{"stdout"}), pulumi.DependsOn([]pulumi.Resource{prepare}))
	if err != nil {
		return nil, err
	}

	contextName := kindcluster.Context(args.Name)
	kubeconfig := pulumi.ToSecret(kind.Stdout.ApplyT(func(s string) (string, error) {
		if strings.TrimSpace(s) == "" { // the provider would take the user's own
			return "", fmt.Errorf("cluster %s gave an empty kubeconfig", args.Name)
		}
		return s, nil
	})).(pulumi.StringOutput)

	c.Provider, err = kubernetes.NewProvider(ctx, name, &kubernetes.ProviderArgs{
		Kubeconfig: kubeconfig,
		Context:    pulumi.String(contextName),
		// A constant: with it a new cluster's kubeconfig updates the provider,
		// where it would replace it otherwise, and close it on its objects.
		ClusterIdentifier: pulumi.String("bootcamp"),
		// The cluster is the stack's own: where it is gone, so are its objects, and
		// an object that is there already is one that a killed `up` made.
		DeleteUnreachable:      pulumi.Bool(true),
		UpsertExistingObjects:  pulumi.Bool(true),
		EnableConfigMapMutable: pulumi.Bool(true),
		// A field that a student set with kubectl, or a killed `up` under another
		// field manager, is no conflict: an `up` makes the lab as configured.
		EnablePatchForce: pulumi.Bool(true),
	}, pulumi.Parent(c))
	if err != nil {
		return nil, err
	}
	c.takeover, err = tool.NewTakeOver(ctx, kindcluster.Tool, args.TakeOver, pulumi.StringMap{
		kindcluster.EnvName: pulumi.String(args.Name), kindcluster.EnvClaim: claim.Stdout,
	}, pulumi.Parent(c), pulumi.DependsOn([]pulumi.Resource{kind}))
	if err != nil {
		return nil, err
	}
	c.Name = pulumi.String(args.Name).ToStringOutput()
	c.Context = pulumi.String(contextName).ToStringOutput()
	c.Kubeconfig = kubeconfig
	c.Claim = claim.Stdout
	// A cluster's kubeconfig has keys that were made with it. Their hash is no secret.
	c.Made = pulumi.UnsecretWithContext(ctx.Context(), kubeconfig.ApplyT(func(s string) string {
		return digest([]byte(s))
	})).(pulumi.StringOutput)
	c.Lifetime = kind
	return c, ctx.RegisterResourceOutputs(c, pulumi.Map{
		"name":       c.Name,
		"context":    c.Context,
		"kubeconfig": c.Kubeconfig,
	})
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}
