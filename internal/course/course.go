// Package course holds the names and numbers that the course's text gives its
// objects, each once. Components make objects of these names, checks look for
// them.
package course

// Namespace is where the text works: the context's default one.
const Namespace = "default"

// The sample application (chapters 3-2 and 3-3).
const (
	App         = "bootcamp"     // the Deployment, and the label app of its pods
	Container   = "bootcamp-app" // in its pods
	AppPort     = 8080           // of the container
	Service     = "bootcamp-svc"
	ServicePort = 80
)

// The monitoring (chapters 4-1 to 4-3).
const (
	NodeExporter     = "node-exporter" // DaemonSet and Service
	NodeExporterPort = 9100            // on every node's own network
	Prometheus       = "prometheus"    // Deployment, Service, ConfigMap, ServiceAccount and role
	PrometheusPort   = 9090            // of the pod and of the Service
	HTTP             = "http"          // the named port of both
)

// The scrape jobs of prometheus.yml (chapter 4-3), and those of the exercise.
const (
	JobPrometheus       = "prometheus"
	JobAPIServer        = "apiserver"
	JobNodeExporter     = "node-exporter"
	JobKubeStateMetrics = "kube-state-metrics"
	JobCAdvisor         = "cadvisor"
)

// The monitoring of pods (the exercise of chapter 4-4).
const (
	KubeStateMetrics     = "kube-state-metrics" // Deployment, Service, ServiceAccount and role
	KubeStateMetricsPort = 8080
)

// The dashboards.
const (
	Grafana     = "grafana" // Deployment, Service, ConfigMap, Secret, and its port's name
	GrafanaPort = 3000
)

// Local ports of the port-forward commands; Prometheus's is the text's.
const (
	AppForwardPort        = 8081
	PrometheusForwardPort = 8080
	GrafanaForwardPort    = 3000
)
