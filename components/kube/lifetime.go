package kube

import (
	"github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// LiveAndDieWith makes objects live and die with another resource: a cluster of
// the stack's own, or its namespace on a shared one.
//
// A replaced cluster takes its objects with it: they are deleted, then the
// cluster, and made again in the new one. The engine does this only where every
// object itself has ReplaceWith (a component's children do not inherit it, as
// they do Provider and DeletedWith) and is deleted first; with less, `up` dies
// on a closed provider (pulumi/pulumi#14650) or reports success over an empty
// cluster. Hence the transformation, which reaches nested children too. So does it
// let them wait for what must be there before: a component's DependsOn does not go
// down to its children either.
func LiveAndDieWith(provider *kubernetes.Provider, lifetime pulumi.Resource, before ...pulumi.Resource) []pulumi.ResourceOption {
	together := func(args *pulumi.ResourceTransformationArgs) *pulumi.ResourceTransformationResult {
		return &pulumi.ResourceTransformationResult{
			Props: args.Props,
			Opts: append(args.Opts,
				pulumi.ReplaceWith([]pulumi.Resource{lifetime}),
				pulumi.DeleteBeforeReplace(true),
				pulumi.DependsOn(before)),
		}
	}
	return []pulumi.ResourceOption{
		pulumi.Provider(provider),
		pulumi.DeletedWith(lifetime),
		pulumi.Transformations([]pulumi.ResourceTransformation{together}),
	}
}
