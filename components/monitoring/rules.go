package monitoring

import (
	"fmt"
	"time"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"
)

// What of a node is in use, 0 to 1, in Prometheus's language: the rules record it, and
// the dashboards show it, with rules or without.
const (
	NodeMemoryUsed = `1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes`
	NodeDiskUsed   = `max by (instance) (1 - node_filesystem_avail_bytes{fstype!~"tmpfs|ramfs"} / node_filesystem_size_bytes)` // of the fullest
)

// NodeCPUBusy is the same of a node's processors, over a window.
func NodeCPUBusy(window model.Duration) string {
	return fmt.Sprintf(`1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[%s]))`, window)
}

// The series that recording rules make, by Prometheus's naming (level:metric:operation).
const (
	PodCPU     = "namespace_pod:container_cpu_usage_seconds:rate"   // processors that a pod's containers use
	PodMemory  = "namespace_pod:container_memory_working_set:bytes" // what they hold
	NodeCPU    = "instance:node_cpu_busy:ratio"                     // 0 to 1
	NodeMemory = "instance:node_memory_used:ratio"                  // 0 to 1
	NodeDisk   = "instance:node_filesystem_used:ratio"              // 0 to 1, of the fullest
)

// The alerts.
const (
	TargetDown            = "TargetDown"
	DeploymentPodsMissing = "DeploymentPodsMissing"
	DaemonSetPodsMissing  = "DaemonSetPodsMissing"
	PodRestarts           = "PodRestarts"
	NodeMemoryFull        = "NodeMemoryFull"
	NodeDiskFull          = "NodeDiskFull"
)

// full is from when on a node is called full.
const full = 0.9

// The part of Prometheus's rule files that is used here
// (prometheus.io/docs/prometheus/latest/configuration/recording_rules).
type (
	ruleFile struct {
		Groups []ruleGroup `yaml:"groups"`
	}
	ruleGroup struct {
		Name  string `yaml:"name"`
		Rules []rule `yaml:"rules"`
	}
	rule struct {
		Record      string            `yaml:"record,omitempty"`
		Alert       string            `yaml:"alert,omitempty"`
		Expr        string            `yaml:"expr"`
		For         model.Duration    `yaml:"for,omitempty"`
		Annotations map[string]string `yaml:"annotations,omitempty"`
	}
)

// Window is over what a rate is taken: at least four scrapes, of which two may fail.
func Window(interval model.Duration) model.Duration {
	return max(model.Duration(2*time.Minute), 4*interval)
}

// Rules returns rules.yml: what the course shows of nodes, targets and pods, as series to
// look at and as alerts. They need the monitoring of pods.
func Rules(interval model.Duration) ([]byte, error) {
	// Whatever heals by itself within two scrapes, or a minute, is no alert.
	patience := max(model.Duration(time.Minute), 2*interval)
	window := Window(interval)
	alert := func(name string, wait model.Duration, summary, format string, a ...any) rule {
		return rule{Alert: name, Expr: fmt.Sprintf(format, a...), For: wait, Annotations: map[string]string{"summary": summary}}
	}
	record := func(name, expr string) rule { return rule{Record: name, Expr: expr} }
	return yaml.Marshal(ruleFile{[]ruleGroup{
		{"bootcamp-pods", []rule{
			record(PodCPU, fmt.Sprintf(`sum by (namespace, pod) (rate(container_cpu_usage_seconds_total{container!=""}[%s]))`, window)),
			record(PodMemory, `sum by (namespace, pod) (container_memory_working_set_bytes{container!=""})`),
			alert(DeploymentPodsMissing, patience,
				"Deployment {{ $labels.namespace }}/{{ $labels.deployment }} has {{ $value }} pods fewer than it wants",
				`kube_deployment_spec_replicas - kube_deployment_status_replicas_available > 0`),
			alert(DaemonSetPodsMissing, patience,
				"DaemonSet {{ $labels.namespace }}/{{ $labels.daemonset }} has {{ $value }} pods fewer than it wants",
				`kube_daemonset_status_desired_number_scheduled - kube_daemonset_status_number_available > 0`),
			alert(PodRestarts, 0,
				"Container {{ $labels.container }} of pod {{ $labels.namespace }}/{{ $labels.pod }} has restarted",
				`increase(kube_pod_container_status_restarts_total[%s]) > 0`, max(model.Duration(10*time.Minute), window)),
		}},
		{"bootcamp-nodes", []rule{
			record(NodeCPU, NodeCPUBusy(window)),
			record(NodeMemory, NodeMemoryUsed),
			record(NodeDisk, NodeDiskUsed),
			alert(NodeMemoryFull, patience, "Node {{ $labels.instance }} has {{ $value | humanizePercentage }} of its memory in use",
				`%s > %v`, NodeMemory, full),
			alert(NodeDiskFull, patience, "Node {{ $labels.instance }} has a disk that is {{ $value | humanizePercentage }} full",
				`%s > %v`, NodeDisk, full),
		}},
		{"bootcamp-targets", []rule{
			alert(TargetDown, patience, "Prometheus cannot reach {{ $labels.instance }} of job {{ $labels.job }}", `up == 0`),
		}},
	}})
}
