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

// The topics of chapter 5: Deployments, Services, ConfigMaps and the like of these
// names, and the label app of their pods. The text has no manifests of them.
const (
	TopicEnv          = "topic-env"
	TopicConfigMap    = "topic-configmap"     // whose pod reads it as a file
	TopicConfigMapEnv = "topic-configmap-env" // whose pod reads it as a variable
	TopicSecret       = "topic-secret"
	TopicStatefulSet  = "topic-statefulset"
	TopicVolume       = "topic-volume"
	TopicPort         = 8080 // of each of their pods but the database's, and of their Services
)

// The Ingress of the app (chapters 3-3 and 5), and on a cluster of the stack's own the
// host that it is for. All names below localhost are this machine (RFC 6761).
const (
	Ingress     = "bootcamp"
	IngressHost = "bootcamp.localhost"
)

// Local ports of the port-forward commands; Prometheus's is the text's.
const (
	AppForwardPort        = 8081
	PrometheusForwardPort = 8080
	GrafanaForwardPort    = 3000
)
