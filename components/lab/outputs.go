package lab

import (
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"k8sbootcamp/components/dashboards"
	"k8sbootcamp/components/echo"
	"k8sbootcamp/components/monitoring"
	"k8sbootcamp/components/settings"
	"k8sbootcamp/internal/course"
)

// The stack's outputs. What is of a chapter that has not come is empty.
const (
	OutClusterName           = "clusterName"
	OutContext               = "context"               // of the kubeconfig
	OutNamespace             = "namespace"             // where the app is
	OutChapter               = "chapter"               // that the lab stands at, a course.Chapter
	OutKubeconfig            = "kubeconfig"            // secret; the administrator's on kind, the student's on a shared cluster
	OutStudentKubeconfig     = "studentKubeconfig"     // secret; only on a shared cluster
	OutAppProxyPath          = "appProxyPath"          // behind `kubectl proxy`
	OutAppPortForward        = "appPortForward"        // a command
	OutPrometheusPortForward = "prometheusPortForward" // a command
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
	return slices.Contains(Exercises(outputs), exercise)
}

// Exercises are those that a lab with these outputs has, and its topics.
func Exercises(outputs map[string]string) []string {
	return strings.FieldsFunc(outputs[OutExercises], func(r rune) bool { return r == ',' })
}

// ChapterOf is the last chapter that a lab with these outputs can be asked about: the one
// that it stands at, or the one after it where there is nothing to make. A stack of a
// version that had no chapters has all, or has no monitoring.
func ChapterOf(outputs map[string]string) course.Chapter {
	switch chapter := course.Chapter(outputs[OutChapter]); {
	case chapter == "" && outputs[OutPrometheusPortForward] == "", chapter == course.Chapter33:
		return course.Chapter34
	case chapter == "":
		return course.All
	case chapter == course.Chapter43:
		return course.Chapter44
	default:
		return chapter
	}
}

// SecretOutputs never leave the state but into a kubeconfig.
var SecretOutputs = []string{OutKubeconfig, OutStudentKubeconfig, OutGrafanaPassword}

// export registers the outputs. The app and what shows the dashboards are nil where there
// is none.
func (p *plan) export(ctx *pulumi.Context, at *place, app *echo.Echo, shown *dashboards.Dashboards) {
	ctx.Export(OutContext, at.context)
	ctx.Export(OutNamespace, pulumi.String(p.namespace))
	ctx.Export(OutChapter, pulumi.String(string(p.Chapter)))
	if on := p.Exercises(); len(on) > 0 {
		ctx.Export(OutExercises, pulumi.String(strings.Join(on, ",")))
	}
	if shown != nil {
		ctx.Export(OutGrafanaPortForward, p.forward(at, course.Grafana, course.GrafanaForwardPort, course.GrafanaPort))
		ctx.Export(OutGrafanaPassword, shown.Password)
	}
	if p.scope == monitoring.Class {
		return
	}
	none := pulumi.String("").ToStringOutput()
	proxyPath, appForward, prometheusForward := none, none, none
	if app != nil {
		proxyPath = app.ProxyPath
	}
	if p.app != nil && p.app.Service != nil {
		appForward = p.forward(at, course.Service, course.AppForwardPort, course.ServicePort)
	}
	if p.monitoring != nil && p.monitoring.Until >= monitoring.Prometheus {
		prometheusForward = p.forward(at, course.Prometheus, course.PrometheusForwardPort, course.PrometheusPort)
	}
	ctx.Export(OutClusterName, at.name)
	ctx.Export(OutKubeconfig, pulumi.ToSecret(at.kubeconfig))
	ctx.Export(OutAppProxyPath, proxyPath)
	ctx.Export(OutAppPortForward, appForward)
	ctx.Export(OutPrometheusPortForward, prometheusForward)
	ctx.Export(OutAppURL, p.appURL(app))
}

// forward is the command that leads from this machine to a Service.
func (p *plan) forward(at *place, service string, local, remote int) pulumi.StringOutput {
	return pulumi.Sprintf("kubectl --context %s --namespace %s port-forward service/%s %d:%d", at.context, p.namespace, service, local, remote)
}

// appURL is where a browser on this machine reaches the application, or empty.
func (p *plan) appURL(app *echo.Echo) pulumi.StringInput {
	switch {
	case app == nil || p.app.Service == nil:
	case p.ServiceType == "NodePort" && p.HostPort != 0:
		return pulumi.String(httpURL("127.0.0.1", p.HostPort))
	case p.ServiceType == "LoadBalancer":
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
