package lab

import (
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"k8sbootcamp/components/images"
	"k8sbootcamp/components/kind"
	"k8sbootcamp/components/monitoring"
	"k8sbootcamp/components/settings"
	"k8sbootcamp/components/shared"
	"k8sbootcamp/internal/course"
	"k8sbootcamp/internal/kindcluster"
	"k8sbootcamp/internal/sharedcluster"
)

// place is where the app and the monitoring go, and how the student gets there.
type place struct {
	options    []pulumi.ResourceOption
	name       pulumi.StringInput // of the cluster
	context    pulumi.StringInput // of the kubeconfig
	kubeconfig pulumi.StringInput // secret
}

// KindArgs are what shapes a stack's own cluster: with other ones it is another cluster.
func KindArgs(s *settings.Settings) *kind.Args {
	return &kind.Args{
		Name:      kindcluster.Name(s.Stack),
		Workers:   s.Workers,
		NodeImage: s.Images.Node,
		NodePort:  s.NodePort,
		HostPort:  s.HostPort,
	}
}

// ownPlan is the plan of a lab on a cluster of the stack's own.
func ownPlan(s *settings.Settings) *plan {
	return newPlan(s, site{namespace: course.Namespace, scope: monitoring.Own, nodePort: s.NodePort, host: course.IngressHost})
}

// buildOwn is the course on a cluster of the stack's own.
func buildOwn(ctx *pulumi.Context, s *settings.Settings) error {
	p := ownPlan(s)
	args := KindArgs(s)
	args.TakeOver, args.Mirror = p.byHand, s.ImageMirror
	on, err := kind.New(ctx, "cluster", args)
	if err != nil {
		return err
	}
	if p.app != nil && p.app.Service != nil && s.ServiceType == "LoadBalancer" {
		err := ctx.Log.Warn("serviceType=LoadBalancer: kind gives no load balancers, so Service "+course.Service+
			" has no address. Run cloud-provider-kind (sigs.k8s.io/cloud-provider-kind) beside the cluster and then `pulumi refresh`, "+
			"or use serviceType=NodePort with a hostPort", nil)
		if err != nil {
			return err
		}
	}
	var before []pulumi.Resource
	bring := &images.Args{Mirror: s.ImageMirror, Cluster: args.Name, Claim: on.Claim, Made: on.Made, Lifetime: on.Lifetime}
	if s.ImagePull == settings.PullByHost {
		bring.Images = wanted(p.images)
	}
	if len(bring.Images) > 0 || bring.Mirror != "" {
		brought, err := images.New(ctx, "images", bring)
		if err != nil {
			return err
		}
		before = brought.Ready
	}
	return p.build(ctx, &place{options: on.Options(before...), name: on.Name, context: on.Context, kubeconfig: on.Kubeconfig})
}

// newPlace is the stack's place on a shared cluster, once that was asked.
func newPlace(ctx *pulumi.Context, s *settings.Settings, ask Ask, args *shared.PlaceArgs) (*shared.Place, error) {
	args.Access = sharedcluster.Access{Kubeconfig: s.KubeconfigPath, Context: s.KubeContext}
	var err error
	if args.Cluster, err = ask.Cluster(ctx.Context(), args.Access, shared.Objects(args.Namespace, args.Owned), args.Student); err != nil {
		return nil, err
	}
	return shared.NewPlace(ctx, "cluster", args)
}

// buildPlatform is what the class has once on a shared cluster.
func buildPlatform(ctx *pulumi.Context, s *settings.Settings, ask Ask) error {
	p := newPlan(s, site{namespace: shared.PlatformNamespace, scope: monitoring.Class})
	args := &shared.PlaceArgs{
		Namespace: p.namespace,
		Enforce:   shared.Privileged, // node-exporter shares the nodes' network and processes
		Warn:      shared.Privileged,
		Owned:     shared.PlatformOwned,
	}
	if p.monitoring != nil { // an earlier chapter's platform may be on a cluster with a node-exporter
		args.HostPort = course.NodeExporterPort
	}
	on, err := newPlace(ctx, s, ask, args)
	if err != nil {
		return err
	}
	_, err = shared.NewPlatform(ctx, "platform", on, &shared.PlatformArgs{Quota: quota(s), PodMonitoring: s.PodMonitoring})
	if err != nil {
		return err
	}
	if err := p.build(ctx, &place{options: on.Options(), context: on.Context}); err != nil {
		return err
	}
	return on.NewLeave(ctx)
}

// buildStudent is the course in a student's namespace of a shared cluster.
func buildStudent(ctx *pulumi.Context, s *settings.Settings, ask Ask) error {
	namespace := kindcluster.Name(s.Stack)
	p := newPlan(s, site{namespace: namespace, scope: monitoring.Student, host: namespace + ".localhost", balancers: true, restricted: true})
	on, err := newPlace(ctx, s, ask, &shared.PlaceArgs{
		Namespace:   namespace,
		Student:     true,
		ServiceType: s.ServiceType,
		Claims:      studentTopics(s).Claims > 0,
		Enforce:     shared.Baseline,
		Warn:        shared.Restricted,
		Owned:       shared.StudentOwned(namespace),
		Required:    shared.PlatformRequired(s.PodMonitoring),
	})
	if err != nil {
		return err
	}
	t, err := shared.NewStudent(ctx, "student", on, &shared.StudentArgs{
		Quota:             quota(s),
		ServiceType:       s.ServiceType,
		TokenLifetime:     s.TokenLifetime,
		PrometheusAccount: course.Prometheus,
		NodeExporterPort:  course.NodeExporterPort,
		Topics:            studentTopics(s),
		TakeOver:          p.byHand,
	})
	if err != nil {
		return err
	}
	ctx.Export(OutStudentKubeconfig, t.Kubeconfig)
	err = p.build(ctx, &place{
		options:    t.Options(),
		name:       on.Context,
		context:    pulumi.String(on.Namespace), // the one context of the student's kubeconfig
		kubeconfig: t.Kubeconfig,
	})
	if err != nil {
		return err
	}
	return on.NewLeave(ctx)
}

func quota(s *settings.Settings) shared.Quota {
	return shared.Quota{Pods: s.QuotaPods, CPU: s.QuotaCPU, Memory: s.QuotaMemory}
}
