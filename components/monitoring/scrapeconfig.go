package monitoring

import (
	"fmt"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"

	"k8sbootcamp/internal/course"
)

// The part of Prometheus's configuration that the course uses
// (prometheus.io/docs/prometheus/latest/configuration/configuration).
type (
	promConfig struct {
		Global        globalConfig   `yaml:"global"`
		RuleFiles     []string       `yaml:"rule_files,omitempty"`
		ScrapeConfigs []scrapeConfig `yaml:"scrape_configs"`
	}
	globalConfig struct {
		ScrapeInterval     model.Duration `yaml:"scrape_interval"`
		EvaluationInterval model.Duration `yaml:"evaluation_interval,omitempty"`
	}
	scrapeConfig struct {
		JobName         string              `yaml:"job_name"`
		HonorLabels     bool                `yaml:"honor_labels,omitempty"`
		HonorTimestamps *bool               `yaml:"honor_timestamps,omitempty"` // true where unset
		MetricsPath     string              `yaml:"metrics_path,omitempty"`
		Params          map[string][]string `yaml:"params,omitempty"`
		Scheme          string              `yaml:"scheme,omitempty"`
		Discovery       []discovery         `yaml:"kubernetes_sd_configs,omitempty"`
		Static          []static            `yaml:"static_configs,omitempty"`
		TLS             *tlsConfig          `yaml:"tls_config,omitempty"`
		Authorization   *authorization      `yaml:"authorization,omitempty"`
		Relabel         []relabelConfig     `yaml:"relabel_configs,omitempty"`
		MetricRelabel   []relabelConfig     `yaml:"metric_relabel_configs,omitempty"`
	}
	discovery struct {
		Role       string      `yaml:"role"`
		Namespaces *namespaces `yaml:"namespaces,omitempty"`
	}
	namespaces struct {
		Names []string `yaml:"names"`
	}
	static struct {
		Targets []string `yaml:"targets"`
	}
	tlsConfig struct {
		CAFile             string `yaml:"ca_file,omitempty"`
		InsecureSkipVerify bool   `yaml:"insecure_skip_verify,omitempty"`
	}
	authorization struct {
		CredentialsFile string `yaml:"credentials_file"`
	}
	relabelConfig struct {
		SourceLabels []string `yaml:"source_labels,flow"`
		Action       string   `yaml:"action"`
		Regex        string   `yaml:"regex"`
		Replacement  string   `yaml:"replacement,omitempty"`
		TargetLabel  string   `yaml:"target_label,omitempty"`
	}
)

// account is where a pod finds the token of its ServiceAccount.
const account = "/var/run/secrets/kubernetes.io/serviceaccount/"

// ScrapeConfig returns prometheus.yml with the course's three jobs, and the two of the
// exercise where pods are watched.
func ScrapeConfig(args *Args) ([]byte, error) {
	config := promConfig{Global: globalConfig{ScrapeInterval: args.ScrapeInterval}}
	if args.Rules {
		config.Global.EvaluationInterval = args.ScrapeInterval
		config.RuleFiles = []string{configDir + "/" + rulesFile}
	}
	add := func(jobs ...scrapeConfig) { config.ScrapeConfigs = append(config.ScrapeConfigs, jobs...) }
	switch args.Scope {
	case Own:
		add(itself(nil), discoveredAPIServer, nodeExporters)
	case Student:
		// In one namespace Prometheus finds its own pods, and the API server by its
		// well-known name, which is what the text's discovery comes to as well.
		add(itself(&namespaces{Names: []string{args.Namespace}}), namedAPIServer, nodeExporters)
	case Class:
		add(nodeExporters)
	}
	if args.Pods != nil {
		add(kubeStateMetrics(args.Namespace))
		switch args.Scope {
		case Own:
			add(cAdvisor())
		case Student:
			add(ownPods(args))
		case Class:
			everybody := cAdvisor()
			everybody.MetricRelabel = []relabelConfig{handedOut}
			add(everybody)
		}
	}
	return yaml.Marshal(config)
}

func itself(in *namespaces) scrapeConfig {
	return scrapeConfig{
		JobName:   course.JobPrometheus,
		Discovery: []discovery{{Role: "pod", Namespaces: in}},
		Relabel: []relabelConfig{{
			SourceLabels: []string{"__meta_kubernetes_pod_name"}, Action: "keep", Regex: course.Prometheus + "-.+",
		}},
	}
}

var (
	withAccount         = &authorization{CredentialsFile: account + "token"}
	discoveredAPIServer = scrapeConfig{
		JobName:       course.JobAPIServer,
		Scheme:        "https",
		Discovery:     []discovery{{Role: "service"}},
		TLS:           &tlsConfig{CAFile: account + "ca.crt"},
		Authorization: withAccount,
		Relabel: []relabelConfig{{
			SourceLabels: []string{"__meta_kubernetes_namespace", "__meta_kubernetes_service_name", "__meta_kubernetes_service_port_name"},
			Action:       "keep", Regex: "default;kubernetes;https",
		}},
	}
	namedAPIServer = scrapeConfig{
		JobName:       course.JobAPIServer,
		Scheme:        "https",
		Static:        []static{{Targets: []string{"kubernetes.default.svc:443"}}},
		TLS:           &tlsConfig{CAFile: account + "ca.crt"},
		Authorization: withAccount,
	}
	nodeExporters = scrapeConfig{
		JobName:   course.JobNodeExporter,
		Scheme:    "http",
		Discovery: []discovery{{Role: "node"}},
		Relabel: []relabelConfig{{
			SourceLabels: []string{"__address__"}, Action: "replace", Regex: "(.+):.+",
			Replacement: fmt.Sprintf("${1}:%d", course.NodeExporterPort), TargetLabel: "__address__",
		}},
	}
)

// kubeStateMetrics is asked by its Service. Its namespaces and pods are those of the
// objects that it tells of, so its labels stay.
func kubeStateMetrics(namespace string) scrapeConfig {
	return scrapeConfig{
		JobName:     course.JobKubeStateMetrics,
		HonorLabels: true,
		Static:      []static{{Targets: []string{fmt.Sprintf("%s.%s.svc:%d", course.KubeStateMetrics, namespace, course.KubeStateMetricsPort)}}},
	}
}

// cAdvisor is in each kubelet, which has a certificate that it made itself, and lets in
// who may get nodes/metrics. Its samples bear times at which it measured, later ones for
// pods that are gone than for others, so the scrape's own are taken.
func cAdvisor() scrapeConfig {
	return scrapeConfig{
		JobName:         course.JobCAdvisor,
		HonorTimestamps: new(bool),
		MetricsPath:     "/metrics/cadvisor",
		Scheme:          "https",
		Discovery:       []discovery{{Role: "node"}},
		TLS:             &tlsConfig{InsecureSkipVerify: true},
		Authorization:   withAccount,
	}
}

// handedOut are the metrics of cAdvisor's that the class keeps and hands out: of
// processor, memory, network and disk, and of the pods of a namespace alone.
var handedOut = relabelConfig{
	SourceLabels: []string{"__name__", "namespace"},
	Action:       "keep",
	Regex: "container_(cpu_usage_seconds_total|cpu_cfs_throttled_periods_total|cpu_cfs_periods_total|" +
		"memory_working_set_bytes|memory_rss|memory_usage_bytes|oom_events_total|spec_memory_limit_bytes|start_time_seconds|" +
		"network_receive_bytes_total|network_transmit_bytes_total|fs_reads_bytes_total|fs_writes_bytes_total|fs_usage_bytes);.+",
}

// ownPods asks the class for what cAdvisor says of the student's own pods.
func ownPods(args *Args) scrapeConfig {
	return scrapeConfig{
		JobName:         course.JobCAdvisor,
		HonorLabels:     true,
		HonorTimestamps: new(bool),
		MetricsPath:     "/federate",
		Params: map[string][]string{
			tenantParam: {args.Namespace},
			"match[]":   {fmt.Sprintf("{job=%q}", course.JobCAdvisor)},
		},
		Scheme:        "https",
		Static:        []static{{Targets: []string{fmt.Sprintf("%s.%s.svc:%d", course.Prometheus, args.Pods.ClassNamespace, tenantPort)}}},
		TLS:           &tlsConfig{InsecureSkipVerify: true},
		Authorization: withAccount,
	}
}
