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
)

// Namespace is where the course works: the context's default one.
const Namespace = "default"

// Local ports of the port-forward commands. Prometheus's is the text's.
const (
	appForwardPort        = 8081
	prometheusForwardPort = 8080
)

// The stack's outputs.
const (
	OutClusterName           = "clusterName"
	OutContext               = "context"
	OutKubeconfig            = "kubeconfig"            // secret
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
	app, err := echo.New(ctx, "bootcamp", &echo.Args{
		Namespace:      Namespace,
		Replicas:       s.Replicas,
		Image:          s.Images.Echo,
		ServiceType:    s.ServiceType,
		NodePort:       s.NodePort,
		RolloutTimeout: s.RolloutTimeout,
	}, on.Options()...)
	if err != nil {
		return err
	}
	if s.Monitoring {
		_, err := monitoring.New(ctx, "monitoring", &monitoring.Args{
			Namespace:         Namespace,
			PrometheusImage:   s.Images.Prometheus,
			NodeExporterImage: s.Images.NodeExporter,
			ScrapeInterval:    s.ScrapeInterval,
			RolloutTimeout:    s.RolloutTimeout,
		}, on.Options()...)
		if err != nil {
			return err
		}
	}
	export(ctx, s, on, app)
	return nil
}

func export(ctx *pulumi.Context, s *settings.Settings, on *cluster.Cluster, app *echo.Echo) {
	forward := func(service string, local, remote int) pulumi.StringOutput {
		return pulumi.Sprintf("kubectl --context %s --namespace %s port-forward service/%s %d:%d", on.Context, Namespace, service, local, remote)
	}
	ctx.Export(OutClusterName, on.Name)
	ctx.Export(OutContext, on.Context)
	ctx.Export(OutKubeconfig, pulumi.ToSecret(on.Kubeconfig))
	ctx.Export(OutAppProxyPath, app.ProxyPath)
	ctx.Export(OutAppPortForward, forward(echo.ServiceName, appForwardPort, echo.ServicePort))
	if s.Monitoring {
		ctx.Export(OutPrometheusPortForward, forward(monitoring.AppPrometheus, prometheusForwardPort, monitoring.PrometheusPort))
	} else {
		ctx.Export(OutPrometheusPortForward, pulumi.String(""))
	}
	ctx.Export(OutAppURL, appURL(s, app))
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
