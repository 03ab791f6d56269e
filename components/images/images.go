// Package images brings the images of the lab's pods to the nodes of a cluster of the
// stack's own, by way of the host's Docker.
//
// Its tests are in tests/.
package images

import (
	"errors"
	"fmt"

	"github.com/pulumi/pulumi-command/sdk/go/command/local"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"k8sbootcamp/components/editions"
	"k8sbootcamp/components/tool"
	"k8sbootcamp/internal/hostimages"
	"k8sbootcamp/internal/kindcluster"
)

// Type is the type token of images that are brought to a cluster.
const Type = "bootcamp:images:Images"

// Names of the two commands.
const (
	PullName = "images-pull"
	LoadName = "images-load"
)

// Args say which images go to which cluster.
type Args struct {
	Images []hostimages.Wanted // one at least

	Cluster string             // kind's name of it
	Claim   pulumi.StringInput // the stack's mark on it
	Made    pulumi.StringInput // tells a rebuilt one from the one before; known once it is there
}

// Validate reports every argument that cannot be used.
func (a *Args) Validate() error {
	var errs []error
	if len(a.Images) == 0 {
		errs = append(errs, errors.New("no images: there is nothing to bring"))
	}
	for _, i := range a.Images {
		if err := editions.CheckImage(i.Image); err != nil {
			errs = append(errs, fmt.Errorf("image %q: %w", i.Image, err))
		}
	}
	if !kindcluster.ValidName(a.Cluster) {
		errs = append(errs, fmt.Errorf("cluster name %q is not one that kind takes", a.Cluster))
	}
	if a.Claim == nil || a.Made == nil {
		errs = append(errs, errors.New("the cluster's claim, or what tells it from the one before, is nil"))
	}
	return errors.Join(errs...)
}

// Images are those that are brought.
type Images struct {
	pulumi.ResourceState

	Loaded pulumi.Resource // once it is there, every node has the images that it is to run
}

// New registers two commands: one has Docker pull what it has not, while the cluster is
// made; the other loads them into the nodes. The first one's failures are warnings, for a
// node image may bring images along, and only a node knows; the second one fails where a
// node lacks an image. Another list updates both, and another cluster the second.
//
// Neither removes anything: Docker keeps the images for the next stack, and the nodes
// theirs until they go.
func New(ctx *pulumi.Context, name string, args *Args, opts ...pulumi.ResourceOption) (*Images, error) {
	if args == nil {
		return nil, errors.New("images.New: args are nil")
	}
	if err := args.Validate(); err != nil {
		return nil, fmt.Errorf("images.New %s: %w", name, err)
	}
	i := &Images{}
	if err := ctx.RegisterComponentResource(Type, name, i, opts...); err != nil {
		return nil, err
	}
	run := func(name, verb string, env pulumi.StringMap, opts ...pulumi.ResourceOption) (*local.Command, error) {
		return local.NewCommand(ctx, name, &local.CommandArgs{
			Interpreter:            tool.Interpreter(kindcluster.Tool),
			Create:                 pulumi.String(verb),
			Update:                 pulumi.String(verb),
			Stdin:                  pulumi.String(hostimages.List(args.Images)),
			Environment:            env,
			Logging:                local.LoggingStderr,
			AddPreviousOutputInEnv: pulumi.Bool(false),
		}, append(opts, pulumi.Parent(i), tool.Timeouts("30m"))...)
	}
	pull, err := run(PullName, hostimages.VerbPull, nil)
	if err != nil {
		return nil, err
	}
	i.Loaded, err = run(LoadName, hostimages.VerbLoad, pulumi.StringMap{
		kindcluster.EnvName:  pulumi.String(args.Cluster),
		kindcluster.EnvClaim: args.Claim,
		kindcluster.EnvMade:  args.Made,
	}, pulumi.DependsOn([]pulumi.Resource{pull}))
	if err != nil {
		return nil, err
	}
	return i, ctx.RegisterResourceOutputs(i, pulumi.Map{})
}
