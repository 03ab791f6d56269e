// Package images brings the images of the lab's pods to the nodes of a cluster of the
// stack's own, by way of the host's Docker, and tells the nodes of a mirror.
//
// Its tests are in tests/.
package images

import (
	"errors"
	"fmt"
	"maps"

	"github.com/pulumi/pulumi-command/sdk/go/command/local"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"k8sbootcamp/components/editions"
	"k8sbootcamp/components/tool"
	"k8sbootcamp/internal/hostimages"
	"k8sbootcamp/internal/kindcluster"
)

// Type is the type token of how images come to a cluster.
const Type = "bootcamp:images:Images"

// Names of the commands.
const (
	MirrorName = "images-mirror"
	PullName   = "images-pull"
	LoadName   = "images-load"
)

// Args say which images go to which cluster, and from where.
type Args struct {
	Images []hostimages.Wanted // that the host's Docker pulls; empty where the nodes do
	Mirror string              // URL of one that Docker and the nodes ask first; empty is none

	Cluster  string             // kind's name of it
	Claim    pulumi.StringInput // the stack's mark on it
	Made     pulumi.StringInput // tells a rebuilt one from the one before; known once it is there
	Lifetime pulumi.Resource    // what the nodes' knowledge of a mirror goes with
}

// Validate reports every argument that cannot be used.
func (a *Args) Validate() error {
	var errs []error
	if len(a.Images) == 0 && a.Mirror == "" {
		errs = append(errs, errors.New("neither images nor a mirror: there is nothing to bring"))
	}
	if a.Mirror != "" {
		if err := hostimages.CheckMirror(a.Mirror); err != nil {
			errs = append(errs, fmt.Errorf("mirror %q: %w", a.Mirror, err))
		}
	}
	for _, i := range a.Images {
		if err := editions.CheckImage(i.Image); err != nil {
			errs = append(errs, fmt.Errorf("image %q: %w", i.Image, err))
		}
	}
	if !kindcluster.ValidName(a.Cluster) {
		errs = append(errs, fmt.Errorf("cluster name %q is not one that kind takes", a.Cluster))
	}
	if a.Claim == nil || a.Made == nil || a.Mirror != "" && a.Lifetime == nil {
		errs = append(errs, errors.New("the cluster's claim, or what tells it from the one before, or what a mirror goes with, is nil"))
	}
	return errors.Join(errs...)
}

// Images are those that are brought.
type Images struct {
	pulumi.ResourceState

	Ready []pulumi.Resource // once they are there, every node has the images that it is to run, or can pull them
}

// New registers up to three commands. One has the nodes ask the mirror first, for what
// students pull too. One has Docker pull what it has not, while the cluster is made, and
// one loads that into the nodes. The pull's failures are warnings, for a node image may
// bring images along, and only a node knows; the load fails where a node lacks an image.
// Another list updates these two, another mirror all, and another cluster those that are
// about it.
//
// Images are not removed: Docker keeps them for the next stack, and the nodes theirs until
// they go. Without a mirror the nodes ask none.
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
	run := func(name, verb string, about pulumi.StringMap, command local.CommandArgs, opts ...pulumi.ResourceOption) (pulumi.Resource, error) {
		env := maps.Clone(about)
		if args.Mirror != "" {
			if env == nil {
				env = pulumi.StringMap{}
			}
			env[hostimages.EnvMirror] = pulumi.String(args.Mirror)
		}
		command.Interpreter = tool.Interpreter(kindcluster.Tool)
		command.Create, command.Update = pulumi.String(verb), pulumi.String(verb)
		command.Environment = env
		command.Logging = local.LoggingStderr
		command.AddPreviousOutputInEnv = pulumi.Bool(false)
		return local.NewCommand(ctx, name, &command, append(opts, pulumi.Parent(i), tool.Timeouts("30m"))...)
	}
	cluster := pulumi.StringMap{
		kindcluster.EnvName:  pulumi.String(args.Cluster),
		kindcluster.EnvClaim: args.Claim,
		kindcluster.EnvMade:  args.Made,
	}
	if args.Mirror != "" {
		mirror, err := run(MirrorName, kindcluster.VerbMirror, cluster,
			local.CommandArgs{Delete: pulumi.String(kindcluster.VerbNoMirror)}, pulumi.DeletedWith(args.Lifetime), pulumi.DeleteBeforeReplace(true))
		if err != nil {
			return nil, err
		}
		i.Ready = append(i.Ready, mirror)
	}
	if len(args.Images) > 0 {
		list := local.CommandArgs{Stdin: pulumi.String(hostimages.List(args.Images))}
		pull, err := run(PullName, hostimages.VerbPull, nil, list)
		if err != nil {
			return nil, err
		}
		// The mirror's command may restart what images are loaded into.
		load, err := run(LoadName, hostimages.VerbLoad, cluster, list, pulumi.DependsOn(append([]pulumi.Resource{pull}, i.Ready...)))
		if err != nil {
			return nil, err
		}
		i.Ready = append(i.Ready, load)
	}
	return i, ctx.RegisterResourceOutputs(i, pulumi.Map{})
}
