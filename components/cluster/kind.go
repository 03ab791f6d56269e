package cluster

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
	"k8sbootcamp/internal/kindcluster"
)

// KindType is the type token of a kind cluster.
const KindType = "bootcamp:cluster:Kind"

// KindArgs describe a kind cluster on this machine's Docker.
type KindArgs struct {
	Name      string // kind's name of the cluster; see kindcluster.Name
	Workers   int    // 0 to 10, beside the one control plane
	NodeImage string // kind node image with a tag or a digest
	NodePort  int    // the port on every node that HostPort leads to
	HostPort  int    // on 127.0.0.1; 0 is none
}

// Validate reports every argument that cannot be used.
func (a *KindArgs) Validate() error {
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
	if a.HostPort != 0 && (a.NodePort < 1 || a.NodePort > 65535 || a.HostPort < 1 || a.HostPort > 65535) {
		errs = append(errs, fmt.Errorf("host port %d to node port %d: allowed are 1 to 65535", a.HostPort, a.NodePort))
	}
	return errors.Join(errs...)
}

// NewKind registers a kind cluster (course, chapter 0-3) and its provider. The
// cluster is made, and all nodes are Ready, before anything is put on it.
//
// Two commands make it: the claim, a random mark that is in the state before
// anything is built, and the cluster, whose nodes bear that mark. So an `up`
// that is killed while kind works is taken over by the next `up` and removed by
// the next `destroy` (the claim's delete), though the state never heard of the
// cluster; and a cluster without the mark is never touched.
func NewKind(ctx *pulumi.Context, name string, args *KindArgs, opts ...pulumi.ResourceOption) (*Cluster, error) {
	if args == nil {
		return nil, errors.New("cluster.NewKind: args are nil")
	}
	if err := args.Validate(); err != nil {
		return nil, fmt.Errorf("cluster.NewKind %s: %w", name, err)
	}
	config, err := KindConfig(args)
	if err != nil {
		return nil, fmt.Errorf("kind's configuration: %w", err)
	}

	c := &Cluster{}
	if err := ctx.RegisterComponentResource(KindType, name, c, opts...); err != nil {
		return nil, err
	}
	interpreter := goTool("kindcluster")

	claim, err := local.NewCommand(ctx, name+"-claim", &local.CommandArgs{
		Interpreter: interpreter,
		Create:      pulumi.String("claim"),
		Update:      pulumi.String("claim"), // the same one again
		Delete:      pulumi.String("delete"),
		Environment: pulumi.StringMap{kindcluster.EnvName: pulumi.String(args.Name)},
		Logging:     local.LoggingStderr,
		Triggers:    pulumi.ToArray([]any{args.Name}),
		// Update and delete are told the claim through this: it is what create printed.
		AddPreviousOutputInEnv: pulumi.Bool(true),
	}, pulumi.Parent(c), pulumi.DeleteBeforeReplace(true), timeouts("5m"))
	if err != nil {
		return nil, err
	}

	kind, err := local.NewCommand(ctx, name, &local.CommandArgs{
		Interpreter: interpreter,
		Create:      pulumi.String("create"),
		Update:      pulumi.String("kubeconfig"), // nothing that shapes the cluster gets here
		Delete:      pulumi.String("delete"),
		Stdin:       pulumi.String(config),
		Environment: pulumi.StringMap{kindcluster.EnvName: pulumi.String(args.Name), kindcluster.EnvClaim: claim.Stdout},
		// Standard output is the kubeconfig: neither shown, nor handed on.
		Logging:                local.LoggingStderr,
		AddPreviousOutputInEnv: pulumi.Bool(false),
		Triggers:               pulumi.Array{pulumi.String(digest(config)), claim.Stdout},
	}, pulumi.Parent(c), pulumi.DeleteBeforeReplace(true), timeouts("30m"),
		pulumi.AdditionalSecretOutputs([]string{"stdout"}))
	if err != nil {
		return nil, err
	}

	contextName := "kind-" + args.Name
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
	c.Name = pulumi.String(args.Name).ToStringOutput()
	c.Context = pulumi.String(contextName).ToStringOutput()
	c.Kubeconfig = kubeconfig
	c.lifetime = kind
	return c, ctx.RegisterResourceOutputs(c, pulumi.Map{
		"name":       c.Name,
		"context":    c.Context,
		"kubeconfig": c.Kubeconfig,
	})
}

// goTool runs a tool of this module for a command, with no shell between. It
// needs what the program itself was built with, and the project's folder, which
// is where Pulumi runs commands.
func goTool(name string) pulumi.StringArray {
	return pulumi.ToStringArray([]string{"go", "tool", name})
}

// timeouts bound one run of a tool. They are generous: kind pulls a node
// image of about a gigabyte on the first one.
func timeouts(d string) pulumi.ResourceOption {
	return pulumi.Timeouts(&pulumi.CustomTimeouts{Create: d, Update: d, Delete: "5m"})
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}
