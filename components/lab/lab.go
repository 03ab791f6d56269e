// Package lab puts the course's lab together: settings, then the cluster, then
// what runs in it, then the outputs. Start reading at New.
//
// Its tests are in tests/.
package lab

import (
	"context"
	"errors"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"k8sbootcamp/components/dashboards"
	"k8sbootcamp/components/echo"
	"k8sbootcamp/components/kind"
	"k8sbootcamp/components/monitoring"
	"k8sbootcamp/components/settings"
	"k8sbootcamp/components/shared"
	"k8sbootcamp/components/topics"
	"k8sbootcamp/internal/course"
	"k8sbootcamp/internal/docker"
	"k8sbootcamp/internal/kindcluster"
	"k8sbootcamp/internal/sharedcluster"
)

// The stack's outputs.
const (
	OutClusterName           = "clusterName"
	OutContext               = "context"               // of the kubeconfig
	OutNamespace             = "namespace"             // where the app is
	OutKubeconfig            = "kubeconfig"            // secret; the administrator's on kind, the student's on a shared cluster
	OutStudentKubeconfig     = "studentKubeconfig"     // secret; only on a shared cluster
	OutAppProxyPath          = "appProxyPath"          // behind `kubectl proxy`
	OutAppPortForward        = "appPortForward"        // a command
	OutPrometheusPortForward = "prometheusPortForward" // a command; empty without monitoring
	OutGrafanaPortForward    = "grafanaPortForward"    // a command; with dashboards alone
	OutGrafanaPassword       = "grafanaPassword"       // secret; of Grafana's user admin, with dashboards alone
	OutAppURL                = "appURL"                // empty where the Service has no address
	OutExercises             = "exercises"             // the keys that add something to the course, those that are on; none is no output
)

// The exercises, as OutExercises lists them: the keys that add something to the course.
const (
	PodMonitoring = settings.PodMonitoring
	Rules         = settings.Rules
	Dashboards    = settings.Dashboards
)

// Has tells whether a stack whose outputs these are has an exercise.
func Has(outputs map[string]string, exercise string) bool {
	return slices.Contains(strings.Split(outputs[OutExercises], ","), exercise)
}

// SecretOutputs never leave the state but into a kubeconfig.
var SecretOutputs = []string{OutKubeconfig, OutStudentKubeconfig, OutGrafanaPassword}

// Ask is what the program asks of the world before it registers anything.
type Ask struct {
	// Docker, what it is, where that matters to the settings; nil where the host of the
	// program has asked (OnDocker).
	Docker func(context.Context) (*docker.Info, error)
	// Cluster, a shared one, which it is and whose are the objects; sharedcluster.Ask.
	Cluster func(_ context.Context, _ sharedcluster.Access, owned []sharedcluster.Object, student bool) (*sharedcluster.Facts, error)
}

// Program is the Pulumi program under a language host.
func Program(ctx *pulumi.Context) error {
	return New(settings.EnvKeys(), Ask{docker.Ask, sharedcluster.Ask})(ctx)
}

// New returns the Pulumi program for a host that knows the full names of the
// stack's configured keys by other means than the environment.
func New(configKeys []string, ask Ask) pulumi.RunFunc {
	return func(ctx *pulumi.Context) error {
		all := append(slices.Clone(checks), dockerFits(ctx.Context(), ask.Docker))
		s, err := settings.Parse(settings.FromContext(ctx, configKeys), all...)
		if err != nil {
			return err
		}
		switch s.Mode {
		case settings.SharedPlatform:
			return buildPlatform(ctx, s, ask)
		case settings.SharedStudent:
			return buildStudent(ctx, s, ask)
		default:
			return buildOwn(ctx, s)
		}
	}
}

// Configure is settings.Parse with what only the components know: what their pods
// take of a quota, and which images go together. Its error is *settings.Error.
func Configure(in settings.Input) (*settings.Settings, error) {
	return settings.Parse(in, checks...)
}

var checks = []settings.Check{studentFits, platformName, imagesFit}

// studentFits finds a quota that the student's own pods would not fit in; they
// would wait for ever.
func studentFits(s *settings.Settings) []settings.Problem {
	if s.Mode != settings.SharedStudent {
		return nil
	}
	workloads := []shared.Workload{{Size: echo.Size, Pods: s.Replicas}}
	if s.Monitoring {
		workloads = append(workloads, shared.Workload{Size: monitoring.PrometheusSize, Pods: 1})
	}
	if s.PodMonitoring {
		workloads = append(workloads, shared.Workload{Size: monitoring.KubeStateMetricsSize, Pods: 1})
	}
	if s.Dashboards {
		workloads = append(workloads, shared.Workload{Size: dashboards.Size, Pods: 1})
	}
	for _, topic := range s.Topics {
		workloads = append(workloads, topicWorkloads[topic]...)
	}
	tooSmall := quota(s).TooSmallFor(workloads)
	var found []settings.Problem
	for _, q := range quotaKeys {
		if needed, ok := tooSmall[q.resource]; ok {
			found = append(found, settings.Problem{Key: q.key, Allowed: "the pods need " + needed + " while they roll out"})
		}
	}
	return found
}

// quotaKeys are the keys of a quota, in the order of settings.Keys.
var quotaKeys = []struct {
	resource shared.Resource
	key      string
}{{shared.Pods, "quotaPods"}, {shared.CPU, "quotaCPU"}, {shared.Memory, "quotaMemory"}}

// platformName finds a student's stack whose namespace would be the class's own.
func platformName(s *settings.Settings) []settings.Problem {
	if s.Mode != settings.SharedStudent || kindcluster.Name(s.Stack) != shared.PlatformNamespace {
		return nil
	}
	return []settings.Problem{{Key: "mode", Allowed: "the namespace of a student's stack of this name, " + shared.PlatformNamespace + ", is the class's own; use another stack name"}}
}

// place is where the app and the monitoring go, and how the student gets there.
type place struct {
	namespace  string
	options    []pulumi.ResourceOption
	name       pulumi.StringInput // of the cluster
	context    pulumi.StringInput // of the kubeconfig
	kubeconfig pulumi.StringInput // secret
	scope      monitoring.Scope
	nodePort   int    // of the app's Service; 0 leaves the choice to the cluster
	host       string // that the app's Ingress is for
	balancers  bool   // the cluster gives load balancers
	restricted bool   // Pod Security warns about what is not
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

// buildOwn is the whole course on a cluster of the stack's own.
func buildOwn(ctx *pulumi.Context, s *settings.Settings) error {
	on, err := kind.New(ctx, "cluster", KindArgs(s))
	if err != nil {
		return err
	}
	if s.ServiceType == "LoadBalancer" {
		err := ctx.Log.Warn("serviceType=LoadBalancer: kind gives no load balancers, so Service "+course.Service+
			" has no address. Run cloud-provider-kind (sigs.k8s.io/cloud-provider-kind) beside the cluster and then `pulumi refresh`, "+
			"or use serviceType=NodePort with a hostPort", nil)
		if err != nil {
			return err
		}
	}
	return buildApps(ctx, s, &place{
		namespace:  course.Namespace,
		options:    on.Options(),
		name:       on.Name,
		context:    on.Context,
		kubeconfig: on.Kubeconfig,
		nodePort:   s.NodePort,
		host:       course.IngressHost,
	})
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
	args := &shared.PlaceArgs{
		Namespace: shared.PlatformNamespace,
		Enforce:   shared.Privileged, // node-exporter shares the nodes' network and processes
		Warn:      shared.Privileged,
		Owned:     shared.PlatformOwned,
	}
	if s.Monitoring {
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
	at := &place{namespace: on.Namespace, options: on.Options(), context: on.Context, scope: monitoring.Class}
	shown, err := buildDashboards(ctx, s, at)
	if err != nil {
		return err
	}
	if s.Monitoring {
		var beside *monitoring.Beside
		if shown != nil {
			beside = &monitoring.Beside{Container: shown.Container, Volumes: shown.Volumes, Checksum: shown.Checksum}
		}
		if err := buildMonitoring(ctx, s, at, beside); err != nil {
			return err
		}
	}
	ctx.Export(OutContext, on.Context)
	ctx.Export(OutNamespace, pulumi.String(on.Namespace))
	exportExercises(ctx, s)
	return on.NewLeave(ctx)
}

// buildStudent is the course in a student's namespace of a shared cluster.
func buildStudent(ctx *pulumi.Context, s *settings.Settings, ask Ask) error {
	namespace := kindcluster.Name(s.Stack)
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
	student := &shared.StudentArgs{
		Quota:            quota(s),
		ServiceType:      s.ServiceType,
		TokenLifetime:    s.TokenLifetime,
		NodeExporterPort: course.NodeExporterPort,
		Topics:           studentTopics(s),
	}
	if s.Monitoring {
		student.PrometheusAccount = course.Prometheus
	}
	t, err := shared.NewStudent(ctx, "student", on, student)
	if err != nil {
		return err
	}
	ctx.Export(OutStudentKubeconfig, t.Kubeconfig)
	err = buildApps(ctx, s, &place{
		namespace:  on.Namespace,
		options:    t.Options(),
		name:       on.Context,
		context:    pulumi.String(on.Namespace), // the one context of the student's kubeconfig
		kubeconfig: t.Kubeconfig,
		scope:      monitoring.Student,
		host:       on.Namespace + ".localhost",
		balancers:  true,
		restricted: true,
	})
	if err != nil {
		return err
	}
	return on.NewLeave(ctx)
}

func quota(s *settings.Settings) shared.Quota {
	return shared.Quota{Pods: s.QuotaPods, CPU: s.QuotaCPU, Memory: s.QuotaMemory}
}

// buildApps registers the echo app, the monitoring and the topics, and exports the outputs.
func buildApps(ctx *pulumi.Context, s *settings.Settings, at *place) error {
	app, err := echo.New(ctx, "bootcamp", &echo.Args{
		Namespace:         at.namespace,
		Replicas:          s.Replicas,
		Image:             s.Images.Echo,
		ServiceType:       s.ServiceType,
		NodePort:          at.nodePort,
		RolloutTimeout:    s.RolloutTimeout,
		AwaitLoadBalancer: at.balancers,
		Restricted:        at.restricted,
	}, at.options...)
	if err != nil {
		return err
	}
	if s.Monitoring {
		if err := buildMonitoring(ctx, s, at, nil); err != nil {
			return err
		}
	}
	if _, err := buildDashboards(ctx, s, at); err != nil {
		return err
	}
	if err := buildTopics(ctx, s, at); err != nil {
		return err
	}

	prometheusForward := pulumi.String("").ToStringOutput()
	if s.Monitoring {
		prometheusForward = at.forward(course.Prometheus, course.PrometheusForwardPort, course.PrometheusPort)
	}
	ctx.Export(OutClusterName, at.name)
	ctx.Export(OutContext, at.context)
	ctx.Export(OutNamespace, pulumi.String(at.namespace))
	ctx.Export(OutKubeconfig, pulumi.ToSecret(at.kubeconfig))
	ctx.Export(OutAppProxyPath, app.ProxyPath)
	ctx.Export(OutAppPortForward, at.forward(course.Service, course.AppForwardPort, course.ServicePort))
	ctx.Export(OutPrometheusPortForward, prometheusForward)
	ctx.Export(OutAppURL, appURL(s, app))
	exportExercises(ctx, s)
	return nil
}

func exportExercises(ctx *pulumi.Context, s *settings.Settings) {
	if on := s.Exercises(); len(on) > 0 {
		ctx.Export(OutExercises, pulumi.String(strings.Join(on, ",")))
	}
}

// forward is the command that leads from this machine to a Service.
func (at *place) forward(service string, local, remote int) pulumi.StringOutput {
	return pulumi.Sprintf("kubectl --context %s --namespace %s port-forward service/%s %d:%d", at.context, at.namespace, service, local, remote)
}

// buildDashboards registers Grafana, where there is to be one, and exports how to see it.
func buildDashboards(ctx *pulumi.Context, s *settings.Settings, at *place) (*dashboards.Dashboards, error) {
	if !s.Dashboards {
		return nil, nil
	}
	args := &dashboards.Args{
		Namespace:      at.namespace,
		Image:          s.Images.Grafana,
		Prometheus:     httpURL(course.Prometheus+"."+at.namespace+".svc", course.PrometheusPort),
		RolloutTimeout: s.RolloutTimeout,
		Anonymous:      true,
		Restricted:     at.restricted,
	}
	window := monitoring.Window(s.ScrapeInterval)
	app, err := dashboards.App(at.namespace, window)
	nodes, failed := dashboards.Nodes(window)
	err = errors.Join(err, failed)
	everywhere := dashboards.Everywhere
	if at.scope == monitoring.Class {
		everywhere = shared.StudentsSelector
	}
	class, failed := dashboards.Class(everywhere, window)
	err = errors.Join(err, failed)
	switch at.scope {
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
	shown, err := dashboards.New(ctx, course.Grafana, args, at.options...)
	if err != nil {
		return nil, err
	}
	ctx.Export(OutGrafanaPortForward, at.forward(course.Grafana, course.GrafanaForwardPort, course.GrafanaPort))
	ctx.Export(OutGrafanaPassword, shown.Password)
	return shown, nil
}

func buildMonitoring(ctx *pulumi.Context, s *settings.Settings, at *place, beside *monitoring.Beside) error {
	args := &monitoring.Args{
		Namespace:         at.namespace,
		Scope:             at.scope,
		PrometheusImage:   s.Images.Prometheus,
		NodeExporterImage: s.Images.NodeExporter,
		ScrapeInterval:    s.ScrapeInterval,
		RolloutTimeout:    s.RolloutTimeout,
		Beside:            beside,
	}
	if s.PodMonitoring {
		args.Pods = &monitoring.PodArgs{
			KubeStateMetricsImage: s.Images.KubeStateMetrics,
			AuthProxyImage:        s.Images.AuthProxy,
			LabelProxyImage:       s.Images.LabelProxy,
			ClassNamespace:        shared.PlatformNamespace,
		}
		args.Rules = s.Rules
	}
	_, err := monitoring.New(ctx, "monitoring", args, at.options...)
	return err
}

// buildTopics registers the topics that are on.
func buildTopics(ctx *pulumi.Context, s *settings.Settings, at *place) error {
	pods := func(image string) topics.Pods {
		return topics.Pods{Namespace: at.namespace, Image: image, RolloutTimeout: s.RolloutTimeout, Restricted: at.restricted}
	}
	agnhost := pods(s.Images.Topic)
	for _, name := range s.Topics {
		var err error
		switch name {
		case settings.TopicEnv:
			_, err = topics.NewEnv(ctx, name, &topics.EnvArgs{Pods: agnhost, Greeting: s.Greeting}, at.options...)
		case settings.TopicConfigMap:
			_, err = topics.NewConfigMap(ctx, name, &topics.ConfigMapArgs{Pods: agnhost, Greeting: s.Greeting}, at.options...)
		case settings.TopicSecret:
			_, err = topics.NewSecret(ctx, name, &topics.SecretArgs{Pods: agnhost}, at.options...)
		case settings.TopicStatefulSet:
			_, err = topics.NewStatefulSet(ctx, name, &topics.StatefulSetArgs{Pods: pods(s.Images.Prometheus)}, at.options...)
		case settings.TopicVolume:
			_, err = topics.NewVolume(ctx, name, &topics.VolumeArgs{Pods: agnhost}, at.options...)
		case settings.TopicIngress:
			_, err = topics.NewIngress(ctx, name, &topics.IngressArgs{Namespace: at.namespace, Host: at.host}, at.options...)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// appURL is where a browser on this machine reaches the application, or empty.
func appURL(s *settings.Settings, app *echo.Echo) pulumi.StringInput {
	switch {
	case s.ServiceType == "NodePort" && s.HostPort != 0:
		return pulumi.String(httpURL("127.0.0.1", s.HostPort))
	case s.ServiceType == "LoadBalancer":
		return app.Address.ApplyT(func(host string) string {
			if host == "" {
				return ""
			}
			return httpURL(host, course.ServicePort)
		}).(pulumi.StringOutput)
	}
	return pulumi.String("")
}

func httpURL(host string, port int) string {
	u := url.URL{Scheme: "http", Host: net.JoinHostPort(host, strconv.Itoa(port)), Path: "/"}
	if port == 80 {
		u.Host = strings.TrimSuffix(u.Host, ":80")
	}
	return u.String()
}
