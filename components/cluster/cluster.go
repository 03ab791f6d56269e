// Package cluster gives the lab a Kubernetes cluster to run on.
package cluster

import (
	"github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// Cluster is a cluster that in-cluster components can be put on.
type Cluster struct {
	pulumi.ResourceState

	Name       pulumi.StringOutput `pulumi:"name"`
	Context    pulumi.StringOutput `pulumi:"context"`    // of the kubeconfig
	Kubeconfig pulumi.StringOutput `pulumi:"kubeconfig"` // secret; YAML

	Provider *kubernetes.Provider
	// lifetime is what in-cluster objects live and die with; nil where the
	// cluster outlives the stack.
	lifetime pulumi.Resource
}

// Options are for every in-cluster component: where it runs and what it lives
// and dies with.
//
// A replaced cluster takes its objects with it: they are deleted, then the
// cluster, and made anew in the new one. The engine does this only where every
// object itself has ReplaceWith (a component's children do not inherit it, as
// they do Provider and DeletedWith) and is deleted first; with less, `up` dies
// on a closed provider (pulumi/pulumi#14650) or reports success over an empty
// cluster. Hence the transformation, which reaches nested children too.
func (c *Cluster) Options() []pulumi.ResourceOption {
	opts := []pulumi.ResourceOption{pulumi.Providers(c.Provider)}
	if c.lifetime == nil {
		return opts
	}
	together := func(args *pulumi.ResourceTransformationArgs) *pulumi.ResourceTransformationResult {
		return &pulumi.ResourceTransformationResult{
			Props: args.Props,
			Opts: append(args.Opts,
				pulumi.ReplaceWith([]pulumi.Resource{c.lifetime}),
				pulumi.DeleteBeforeReplace(true)),
		}
	}
	return append(opts,
		pulumi.DeletedWith(c.lifetime),
		pulumi.Transformations([]pulumi.ResourceTransformation{together}))
}
