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
		ScrapeConfigs []scrapeConfig `yaml:"scrape_configs"`
	}
	globalConfig struct {
		ScrapeInterval model.Duration `yaml:"scrape_interval"`
	}
	scrapeConfig struct {
		JobName       string          `yaml:"job_name"`
		Scheme        string          `yaml:"scheme,omitempty"`
		Discovery     []discovery     `yaml:"kubernetes_sd_configs,omitempty"`
		Static        []static        `yaml:"static_configs,omitempty"`
		TLS           *tlsConfig      `yaml:"tls_config,omitempty"`
		Authorization *authorization  `yaml:"authorization,omitempty"`
		Relabel       []relabelConfig `yaml:"relabel_configs,omitempty"`
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
		CAFile string `yaml:"ca_file"`
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

// ScrapeConfig returns prometheus.yml with the course's three jobs. Where only
// is set, Prometheus looks into that namespace alone: it finds its own pods
// there, and the API server by its well-known name, which is what the text's
// discovery comes to as well.
func ScrapeConfig(interval model.Duration, only string) ([]byte, error) {
	const account = "/var/run/secrets/kubernetes.io/serviceaccount/"
	pods := discovery{Role: "pod"}
	apiserver := scrapeConfig{
		JobName:       course.JobAPIServer,
		Scheme:        "https",
		Discovery:     []discovery{{Role: "service"}},
		TLS:           &tlsConfig{CAFile: account + "ca.crt"},
		Authorization: &authorization{CredentialsFile: account + "token"},
		Relabel: []relabelConfig{{
			SourceLabels: []string{"__meta_kubernetes_namespace", "__meta_kubernetes_service_name", "__meta_kubernetes_service_port_name"},
			Action:       "keep", Regex: "default;kubernetes;https",
		}},
	}
	if only != "" {
		pods.Namespaces = &namespaces{Names: []string{only}}
		apiserver.Discovery, apiserver.Relabel = nil, nil
		apiserver.Static = []static{{Targets: []string{"kubernetes.default.svc:443"}}}
	}
	return yaml.Marshal(promConfig{
		Global: globalConfig{ScrapeInterval: interval},
		ScrapeConfigs: []scrapeConfig{{
			JobName:   course.JobPrometheus,
			Discovery: []discovery{pods},
			Relabel: []relabelConfig{{
				SourceLabels: []string{"__meta_kubernetes_pod_name"}, Action: "keep", Regex: course.Prometheus + "-.+",
			}},
		}, apiserver, {
			JobName:   course.JobNodeExporter,
			Scheme:    "http",
			Discovery: []discovery{{Role: "node"}},
			Relabel: []relabelConfig{{
				SourceLabels: []string{"__address__"}, Action: "replace", Regex: "(.+):.+",
				Replacement: fmt.Sprintf("${1}:%d", course.NodeExporterPort), TargetLabel: "__address__",
			}},
		}},
	})
}
