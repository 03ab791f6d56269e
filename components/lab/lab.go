// Package lab puts the course's lab together: settings, then the cluster, then
// what runs in it, then the outputs.
package lab

import (
	"fmt"
	"net"
	"net/url"
	"strconv"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"k8sbootcamp/components/cluster"
	"k8sbootcamp/components/echo"
	"k8sbootcamp/components/monitoring"
	"k8sbootcamp/components/settings"
	"k8sbootcamp/internal/kindcluster"
	"k8sbootcamp/internal/sharedcluster"
)

// Namespace is where the course works on a cluster of its own: the context's
// default one.
const Namespace = "default"

// Local ports of the port-forward commands. Prometheus's is the text's.
const (
	appForwardPort        = 8081
	prometheusForwardPort = 8080
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
	OutAppURL                = "appURL"                // empty where the Service has no address
)

// Program is the Pulumi program under a language host.
func Program(ctx *pulumi.Context) error { return New(settings.EnvKeys())(ctx) }

// New returns the Pulumi program for a host that knows the full names of the
// stack's configured keys by other means than the environment.
func New(configKeys []string) pulumi.RunFunc {
	return func(ctx *pulumi.Context) error {
		s, err := settings.Load(ctx, configKeys)
		if err != nil {
			return err
		}
		return build(ctx, s)
	}
}

func build(ctx *pulumi.Context, s *settings.Settings) error {
	switch {
	case s.Cluster == settings.Kind:
		return buildKind(ctx, s)
	case s.Role == settings.Platform:
		return buildPlatform(ctx, s)
	default:
		return buildStudent(ctx, s)
	}
}

// place is where the app and the monitoring go, and how the student gets there.
type place struct {
	namespace  string
	options    []pulumi.ResourceOption
	name       pulumi.StringInput // of the cluster
	context    pulumi.StringInput // of the kubeconfig
	kubeconfig pulumi.StringInput // secret
	parts      monitoring.Parts
	balancers  bool // the cluster gives load balancers
}

// buildKind is the whole course on a cluster of the stack's own.
func buildKind(ctx *pulumi.Context, s *settings.Settings) error {
	on, err := cluster.NewKind(ctx, "cluster", &cluster.KindArgs{
		Name:      kindcluster.Name(s.Stack),
		Workers:   s.Workers,
		NodeImage: s.Images.Node,
		NodePort:  s.NodePort,
		HostPort:  s.HostPort,
	})
	if err != nil {
		return err
	}
	if s.ServiceType == "LoadBalancer" {
		err := ctx.Log.Warn("serviceType=LoadBalancer: kind gives no load balancers, so Service "+echo.ServiceName+
			" has no address. Run cloud-provider-kind (sigs.k8s.io/cloud-provider-kind) beside the cluster and then `pulumi refresh`, "+
			"or use serviceType=NodePort with a hostPort", nil)
		if err != nil {
			return err
		}
	}
	return buildApps(ctx, s, &place{
		namespace:  Namespace,
		options:    on.Options(),
		name:       on.Name,
		context:    on.Context,
		kubeconfig: on.Kubeconfig,
	})
}

// buildPlatform is what the class has once on a shared cluster.
func buildPlatform(ctx *pulumi.Context, s *settings.Settings) error {
	on, err := cluster.NewExisting(ctx, "cluster", &cluster.ExistingArgs{
		Access:    access(s),
		Namespace: cluster.PlatformNamespace,
		Enforce:   cluster.Privileged, // node-exporter shares the nodes' network and processes
		Warn:      cluster.Privileged,
		Owned:     cluster.PlatformOwned,
	})
	if err != nil {
		return err
	}
	if _, err := cluster.NewPlatform(ctx, "platform", on, &cluster.PlatformArgs{Quota: quota(s)}); err != nil {
		return err
	}
	if s.Monitoring {
		if err := buildMonitoring(ctx, s, &place{
			namespace: on.Namespace, options: on.Options(), parts: monitoring.NodeExporterOnly,
		}); err != nil {
			return err
		}
	}
	ctx.Export(OutContext, on.Context)
	ctx.Export(OutNamespace, pulumi.String(on.Namespace))
	return nil
}

// buildStudent is the course in a student's namespace of a shared cluster.
func buildStudent(ctx *pulumi.Context, s *settings.Settings) error {
	namespace := kindcluster.Name(s.Stack)
	if namespace == cluster.PlatformNamespace {
		return fmt.Errorf("stack name %q: its namespace %s is the class's own; use another stack name", s.Stack, namespace)
	}
	on, err := cluster.NewExisting(ctx, "cluster", &cluster.ExistingArgs{
		Access:    access(s),
		Namespace: namespace,
		Student:   true,
		Enforce:   cluster.Baseline,
		Warn:      cluster.Restricted,
		Owned:     cluster.TenantOwned(namespace),
		Required:  cluster.PlatformRequired,
	})
	if err != nil {
		return err
	}
	tenant := &cluster.TenantArgs{
		Quota:            quota(s),
		TokenLifetime:    s.TokenLifetime,
		NodeExporterPort: monitoring.NodeExporterPort,
	}
	if s.Monitoring {
		tenant.PrometheusAccount = monitoring.AppPrometheus
	}
	t, err := cluster.NewTenant(ctx, "student", on, tenant)
	if err != nil {
		return err
	}
	ctx.Export(OutStudentKubeconfig, t.Kubeconfig)
	return buildApps(ctx, s, &place{
		namespace:  on.Namespace,
		options:    on.Options(),
		name:       on.Context,
		context:    pulumi.String(on.Namespace), // the one context of the student's kubeconfig
		kubeconfig: t.Kubeconfig,
		parts:      monitoring.PrometheusOnly,
		balancers:  true,
	})
}

func access(s *settings.Settings) sharedcluster.Access {
	return sharedcluster.Access{Kubeconfig: s.KubeconfigPath, Context: s.KubeContext}
}

func quota(s *settings.Settings) cluster.Quota {
	return cluster.Quota{Pods: s.QuotaPods, CPU: s.QuotaCPU, Memory: s.QuotaMemory}
}

// buildApps registers the echo app and the monitoring, and exports the outputs.
func buildApps(ctx *pulumi.Context, s *settings.Settings, at *place) error {
	app, err := echo.New(ctx, "bootcamp", &echo.Args{
		Namespace:         at.namespace,
		Replicas:          s.Replicas,
		Image:             s.Images.Echo,
		ServiceType:       s.ServiceType,
		NodePort:          s.NodePort,
		RolloutTimeout:    s.RolloutTimeout,
		AwaitLoadBalancer: at.balancers,
	}, at.options...)
	if err != nil {
		return err
	}
	if s.Monitoring {
		if err := buildMonitoring(ctx, s, at); err != nil {
			return err
		}
	}

	forward := func(service string, local, remote int) pulumi.StringOutput {
		return pulumi.Sprintf("kubectl --context %s --namespace %s port-forward service/%s %d:%d", at.context, at.namespace, service, local, remote)
	}
	prometheusForward := pulumi.String("").ToStringOutput()
	if s.Monitoring {
		prometheusForward = forward(monitoring.AppPrometheus, prometheusForwardPort, monitoring.PrometheusPort)
	}
	ctx.Export(OutClusterName, at.name)
	ctx.Export(OutContext, at.context)
	ctx.Export(OutNamespace, pulumi.String(at.namespace))
	ctx.Export(OutKubeconfig, pulumi.ToSecret(at.kubeconfig))
	ctx.Export(OutAppProxyPath, app.ProxyPath)
	ctx.Export(OutAppPortForward, forward(echo.ServiceName, appForwardPort, echo.ServicePort))
	ctx.Export(OutPrometheusPortForward, prometheusForward)
	ctx.Export(OutAppURL, appURL(s, app))
	return nil
}

func buildMonitoring(ctx *pulumi.Context, s *settings.Settings, at *place) error {
	_, err := monitoring.New(ctx, "monitoring", &monitoring.Args{
		Namespace:         at.namespace,
		Parts:             at.parts,
		PrometheusImage:   s.Images.Prometheus,
		NodeExporterImage: s.Images.NodeExporter,
		ScrapeInterval:    s.ScrapeInterval,
		RolloutTimeout:    s.RolloutTimeout,
	}, at.options...)
	return err
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
			return httpURL(host, echo.ServicePort)
		}).(pulumi.StringOutput)
	}
	return pulumi.String("")
}

func httpURL(host string, port int) string {
	u := url.URL{Scheme: "http", Host: net.JoinHostPort(host, strconv.Itoa(port)), Path: "/"}
	if port == 80 {
		u.Host = host
		if ip := net.ParseIP(host); ip != nil && ip.To4() == nil {
			u.Host = fmt.Sprintf("[%s]", host)
		}
	}
	return u.String()
}
