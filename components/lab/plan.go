package lab

import (
	"errors"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"k8sbootcamp/components/dashboards"
	"k8sbootcamp/components/echo"
	"k8sbootcamp/components/monitoring"
	"k8sbootcamp/components/settings"
	"k8sbootcamp/components/shared"
	"k8sbootcamp/internal/course"
	"k8sbootcamp/internal/hostimages"
	"k8sbootcamp/internal/takeover"
)

// site is what is known of where the app and the monitoring go before that is there.
type site struct {
	namespace  string
	scope      monitoring.Scope
	nodePort   int    // of the app's Service; 0 leaves the choice to the cluster
	host       string // that the app's Ingress is for
	balancers  bool   // the cluster gives load balancers
	restricted bool   // Pod Security warns about what is not
}

// plan is what the chapters that the class has had add up to.
type plan struct {
	*settings.Settings
	site

	app        *echo.Args       // nil before chapter 3-2, and on the class's platform
	monitoring *monitoring.Args // nil before chapter 4-1
	dashboards bool
	topics     []string

	images []Image // that its pods run

	// byHand are the objects of it that a student may have made already.
	byHand []takeover.Object
}

// newPlan goes through the course's contents as far as the class has come.
func newPlan(s *settings.Settings, at site) *plan {
	p := &plan{Settings: s, site: at}
	for _, c := range contents {
		if c.adds != nil && s.Chapter.Reaches(c.chapter) {
			c.adds(p)
		}
	}
	return p
}

// mayBeThere notes objects of one name, by their resources, that a student may have made
// by hand: on a cluster of their own any, on a shared one what they may make there.
func (p *plan) mayBeThere(name string, resources ...string) {
	for _, r := range resources {
		switch {
		case p.scope == monitoring.Class, p.scope == monitoring.Student && !shared.Makes(r):
		case r == "clusterroles", r == "clusterrolebindings":
			p.byHand = append(p.byHand, takeover.Object{Resource: r, Name: name})
		default:
			p.byHand = append(p.byHand, takeover.Object{Resource: r, Namespace: p.namespace, Name: name})
		}
	}
}

// accountMayBeThere is mayBeThere for an account with a role and its binding.
func (p *plan) accountMayBeThere(name string) {
	p.mayBeThere(name, "serviceaccounts")
	if p.scope == monitoring.Own {
		p.mayBeThere(name, "clusterroles", "clusterrolebindings")
	}
}

// runs notes an image that pods of a part run: on the workers, or where there are none on
// the one node.
func (p *plan) runs(part, image string) {
	p.images = append(p.images, Image{Part: part, Wanted: hostimages.Wanted{Image: image}})
}

// runsEverywhere notes an image of which every node runs a pod.
func (p *plan) runsEverywhere(part, image string) {
	p.images = append(p.images, Image{Part: part, Wanted: hostimages.Wanted{Image: image, Everywhere: true}})
}

func (p *plan) addApp() {
	if p.scope == monitoring.Class {
		return
	}
	p.app = &echo.Args{
		Namespace:      p.namespace,
		Replicas:       p.Replicas,
		Image:          p.Images.Echo,
		RolloutTimeout: p.RolloutTimeout,
		Restricted:     p.restricted,
	}
	p.runs("echo app", p.Images.Echo)
	p.mayBeThere(course.App, "deployments")
}

func (p *plan) addService() {
	if p.scope == monitoring.Class {
		return
	}
	p.app.Service = &echo.ServiceArgs{Type: p.ServiceType, NodePort: p.nodePort, AwaitLoadBalancer: p.balancers}
	p.mayBeThere(course.Service, "services")
}

func (p *plan) addNodeExporter() {
	p.monitoring = &monitoring.Args{
		Namespace:         p.namespace,
		Scope:             p.scope,
		Until:             monitoring.NodeExporter,
		PrometheusImage:   p.Images.Prometheus,
		NodeExporterImage: p.Images.NodeExporter,
		ScrapeInterval:    p.ScrapeInterval,
		RolloutTimeout:    p.RolloutTimeout,
	}
	p.runsEverywhere(course.NodeExporter, p.Images.NodeExporter)
	if p.scope == monitoring.Own { // on a shared cluster it is the class's
		p.mayBeThere(course.NodeExporter, "daemonsets", "services")
	}
}

func (p *plan) addAccount() {
	p.monitoring.Until = monitoring.Account
	p.accountMayBeThere(course.Prometheus)
}

func (p *plan) addPrometheus() {
	p.monitoring.Until = monitoring.Prometheus
	p.runs(course.Prometheus, p.Images.Prometheus)
	p.mayBeThere(course.Prometheus, "configmaps", "deployments", "services")
}

func (p *plan) addExercises() {
	if p.PodMonitoring {
		p.monitoring.Pods = &monitoring.PodArgs{
			KubeStateMetricsImage: p.Images.KubeStateMetrics,
			AuthProxyImage:        p.Images.AuthProxy,
			LabelProxyImage:       p.Images.LabelProxy,
			ClassNamespace:        shared.PlatformNamespace,
		}
		p.monitoring.Rules = p.Rules
		p.runs(course.KubeStateMetrics, p.Images.KubeStateMetrics)
		p.accountMayBeThere(course.KubeStateMetrics)
		p.mayBeThere(course.KubeStateMetrics, "deployments", "services")
	}
	if p.dashboards = p.Dashboards; p.dashboards {
		p.runs(course.Grafana, p.Images.Grafana)
		p.mayBeThere(course.Grafana, "configmaps", "deployments", "secrets", "services")
	}
}

func (p *plan) addTopics() {
	if p.scope == monitoring.Class {
		return
	}
	p.topics = p.Topics
	for _, name := range p.topics {
		if len(topicWorkloads[name]) > 0 {
			p.runs("topic "+name, p.topicImage(name))
		}
		for _, made := range topicObjects[name] {
			p.mayBeThere(made.name, made.resources...)
		}
	}
}

// build registers what was planned, in a place that is there by now.
func (p *plan) build(ctx *pulumi.Context, at *place) error {
	var app *echo.Echo
	var err error
	if p.app != nil {
		if app, err = echo.New(ctx, "bootcamp", p.app, at.options...); err != nil {
			return err
		}
	}
	// On the platform Grafana is in Prometheus's pod, and so before it.
	shown, err := p.newDashboards(ctx, at)
	if err != nil {
		return err
	}
	if p.monitoring != nil {
		if shown != nil && p.scope == monitoring.Class {
			p.monitoring.Beside = &monitoring.Beside{Container: shown.Container, Volumes: shown.Volumes, Checksum: shown.Checksum}
		}
		if _, err := monitoring.New(ctx, "monitoring", p.monitoring, at.options...); err != nil {
			return err
		}
	}
	if err := p.newTopics(ctx, at); err != nil {
		return err
	}
	p.export(ctx, at, app, shown)
	return nil
}

// newDashboards registers Grafana, where there is to be one.
func (p *plan) newDashboards(ctx *pulumi.Context, at *place) (*dashboards.Dashboards, error) {
	if !p.dashboards {
		return nil, nil
	}
	args := &dashboards.Args{
		Namespace:      p.namespace,
		Image:          p.Images.Grafana,
		Prometheus:     httpURL(course.Prometheus+"."+p.namespace+".svc", course.PrometheusPort),
		RolloutTimeout: p.RolloutTimeout,
		Anonymous:      true,
		Restricted:     p.restricted,
	}
	window := monitoring.Window(p.ScrapeInterval)
	app, err := dashboards.App(p.namespace, window)
	nodes, failed := dashboards.Nodes(window)
	err = errors.Join(err, failed)
	everywhere := dashboards.Everywhere
	if p.scope == monitoring.Class {
		everywhere = shared.StudentsSelector
	}
	class, failed := dashboards.Class(everywhere, window)
	err = errors.Join(err, failed)
	switch p.scope {
	case monitoring.Own:
		args.Boards = []dashboards.Board{app, nodes, class}
	case monitoring.Student:
		args.Boards = []dashboards.Board{app, nodes}
	case monitoring.Class:
		// Every pod of the cluster reaches its Service, and it shows everybody's pods.
		args.Boards, args.Anonymous = []dashboards.Board{class, nodes}, false
		args.Prometheus, args.InPod = httpURL("127.0.0.1", course.PrometheusPort), course.Prometheus
	}
	if err != nil {
		return nil, err
	}
	return dashboards.New(ctx, course.Grafana, args, at.options...)
}
