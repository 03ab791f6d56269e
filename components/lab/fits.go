package lab

import (
	"k8sbootcamp/components/dashboards"
	"k8sbootcamp/components/echo"
	"k8sbootcamp/components/monitoring"
	"k8sbootcamp/components/settings"
	"k8sbootcamp/components/shared"
	"k8sbootcamp/internal/kindcluster"
)

// Configure is settings.Parse with what only the components know: what their pods
// take of a quota, and which images go together. Its error is *settings.Error.
func Configure(in settings.Input) (*settings.Settings, error) {
	return settings.Parse(in, checks...)
}

var checks = []settings.Check{studentFits, platformName, imagesFit}

// studentFits finds a quota that the student's own pods would not fit in; they
// would wait for ever. It looks at the whole course, whichever chapter the class has
// come to: the quota is the same at all of them.
func studentFits(s *settings.Settings) []settings.Problem {
	if s.Mode != settings.SharedStudent {
		return nil
	}
	workloads := []shared.Workload{{Size: echo.Size, Pods: s.Replicas}, {Size: monitoring.PrometheusSize, Pods: 1}}
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
