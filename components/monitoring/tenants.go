package monitoring

import (
	"fmt"

	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"go.yaml.in/yaml/v3"

	"k8sbootcamp/components/kube"
	"k8sbootcamp/components/rbac"
	"k8sbootcamp/internal/course"
)

// A kubelet tells of everybody's pods or of nobody's, so on a shared cluster no student
// may ask it. The class's Prometheus does, and listens in its own pod alone. Two proxies
// stand before it there: one asks the API server whether who asks may get the metrics of
// the namespace that the request names, the other lets the answer have that namespace's
// and no other's. Both have the namespace from the same parameter.
const (
	tenantParam    = "namespace" // of the request, and the label that is enforced
	tenantPort     = 8443
	tenantPortName = "https"

	loopback  = "127.0.0.1"
	labelPort = 8081
	authFile  = "authorization.yml" // in the ConfigMap, beside prometheus.yml
)

// proxySize is that of each of the two.
var proxySize = kube.Size{CPU: "10m", Memory: "32Mi", CPULimit: "200m", MemoryLimit: "128Mi"}

// MetricsRule is what a student's Prometheus needs to be handed the metrics of their
// namespace. It is the right that Kubernetes' own metrics API has for the same, and
// grants no more than get: who may only get cannot POST another namespace past the
// first proxy.
var MetricsRule = rbac.Rule{APIGroups: []string{"metrics.k8s.io"}, Resources: []string{"pods"}, Verbs: []rbac.Verb{rbac.Get}}

// ClassRules are those of the class's Prometheus and its proxies: to find the nodes and
// to be told by their kubelets, and to ask who somebody is and what they may do.
var ClassRules = []rbac.Rule{
	{APIGroups: []string{""}, Resources: []string{"nodes"}, Verbs: rbac.Read},
	{APIGroups: []string{""}, Resources: []string{"nodes/metrics"}, Verbs: []rbac.Verb{rbac.Get}},
	{APIGroups: []string{"authentication.k8s.io"}, Resources: []string{"tokenreviews"}, Verbs: []rbac.Verb{rbac.Create}},
	{APIGroups: []string{"authorization.k8s.io"}, Resources: []string{"subjectaccessreviews"}, Verbs: []rbac.Verb{rbac.Create}},
}

// authConfig is the first proxy's file (github.com/brancz/kube-rbac-proxy).
type authConfig struct {
	Authorization struct {
		Rewrites struct {
			ByQueryParameter struct {
				Name string `yaml:"name"`
			} `yaml:"byQueryParameter"`
		} `yaml:"rewrites"`
		ResourceAttributes struct {
			APIGroup  string `yaml:"apiGroup"`
			Resource  string `yaml:"resource"`
			Namespace string `yaml:"namespace"`
		} `yaml:"resourceAttributes"`
	} `yaml:"authorization"`
}

func authorizationFile() ([]byte, error) {
	var c authConfig
	c.Authorization.Rewrites.ByQueryParameter.Name = tenantParam
	c.Authorization.ResourceAttributes.APIGroup = MetricsRule.APIGroups[0]
	c.Authorization.ResourceAttributes.Resource = MetricsRule.Resources[0]
	c.Authorization.ResourceAttributes.Namespace = "{{ .Value }}"
	return yaml.Marshal(c)
}

// ready asks Prometheus, through both proxies: a port by its number may be another
// container's.
func ready() *corev1.ProbeArgs {
	return &corev1.ProbeArgs{
		HttpGet:       &corev1.HTTPGetActionArgs{Scheme: pulumi.String("HTTPS"), Path: pulumi.String(readyPath), Port: pulumi.Int(tenantPort)},
		PeriodSeconds: pulumi.Int(2),
	}
}

// tenantProxies are the two, in the pod of the class's Prometheus, whose files are in
// dir.
func tenantProxies(args *PodArgs, dir *corev1.VolumeMountArgs) corev1.ContainerArray {
	return corev1.ContainerArray{
		&corev1.ContainerArgs{
			Name:  pulumi.String("label-proxy"),
			Image: pulumi.String(args.LabelProxyImage),
			Args: pulumi.ToStringArray([]string{
				fmt.Sprintf("-insecure-listen-address=%s:%d", loopback, labelPort),
				fmt.Sprintf("-upstream=http://%s:%d", loopback, course.PrometheusPort),
				"-label=" + tenantParam,
				"-query-param=" + tenantParam,
				"-unsafe-passthrough-paths=" + readyPath,
			}),
			Resources:      proxySize.Resources(),
			ReadinessProbe: ready(),
		},
		&corev1.ContainerArgs{
			Name:  pulumi.String("auth-proxy"),
			Image: pulumi.String(args.AuthProxyImage),
			Args: pulumi.ToStringArray([]string{
				fmt.Sprintf("--secure-listen-address=0.0.0.0:%d", tenantPort),
				fmt.Sprintf("--upstream=http://%s:%d", loopback, labelPort),
				"--config-file=" + configDir + "/" + authFile,
				"--ignore-paths=" + readyPath, // the kubelet shows no token
			}),
			Ports: corev1.ContainerPortArray{&corev1.ContainerPortArgs{
				Name: pulumi.String(tenantPortName), ContainerPort: pulumi.Int(tenantPort), Protocol: pulumi.String("TCP"),
			}},
			VolumeMounts:   corev1.VolumeMountArray{dir},
			Resources:      proxySize.Resources(),
			ReadinessProbe: ready(),
		},
	}
}
