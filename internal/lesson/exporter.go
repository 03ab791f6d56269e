package lesson

import (
	"context"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"k8sbootcamp/internal/course"
)

// ofExporter is a judgement of the DaemonSet that is there.
func ofExporter(judge func(context.Context, *seen, *workload) (finding, error)) func(context.Context, *seen) (finding, error) {
	return func(ctx context.Context, s *seen) (finding, error) {
		return judge(ctx, s, s.daemonSet(course.NodeExporter))
	}
}

func exporterExists(ctx context.Context, s *seen) (finding, error) {
	const name = course.NodeExporter
	if s.daemonSet(name) == nil && s.deployment(name) != nil {
		return wrong("There is a Deployment %[1]s and no DaemonSet: look at kind. Which of the two has a pod on every node?",
			"Deployment %[1]s がありますが DaemonSet がありません。kind を見てください。各ノードにPodを置くのはどちらでしょう。", name)
	}
	return s.exists(ctx, "DaemonSet", appsv1.SchemeGroupVersion.WithResource("daemonsets"), name,
		names(s.daemonSets, func(o appsv1.DaemonSet) string { return o.Name }))
}

// tolerated tells whether a pod tolerates what keeps pods off a node, and the taint
// that it does not.
func tolerated(pod *corev1.PodSpec, n *corev1.Node) (taint string, ok bool) {
	for _, t := range n.Spec.Taints {
		if t.Effect == corev1.TaintEffectPreferNoSchedule || strings.HasPrefix(t.Key, "node.kubernetes.io/") {
			continue // every DaemonSet's pods tolerate what Kubernetes puts there itself
		}
		found := false
		for _, tol := range pod.Tolerations {
			key := tol.Key == t.Key || tol.Key == "" && tol.Operator == corev1.TolerationOpExists
			effect := tol.Effect == "" || tol.Effect == t.Effect
			value := tol.Operator == corev1.TolerationOpExists || tol.Value == t.Value
			found = found || key && effect && value
		}
		if !found {
			return t.Key + ":" + string(t.Effect), false
		}
	}
	return "", true
}

// lacking are the nodes whose taints a pod does not tolerate, with the taints.
func (s *seen) lacking(w *workload) (nodes map[string]string) {
	nodes = map[string]string{}
	for i := range s.nodes {
		if taint, ok := tolerated(&w.pod.Spec, &s.nodes[i]); !ok {
			nodes[s.nodes[i].Name] = taint
		}
	}
	return nodes
}

// exporterTolerates judges the toleration that the text has. Kubernetes 1.24 taints its
// control plane twice where there are workers, and the text tolerates one of the two:
// its own output shows no exporter there. That is no mistake of the student's.
func exporterTolerates(_ context.Context, s *seen, w *workload) (finding, error) {
	for _, n := range s.nodes {
		taint, lacks := s.lacking(w)[n.Name]
		if !lacks {
			continue
		}
		if key, _, _ := strings.Cut(taint, ":"); key == "node-role.kubernetes.io/master" {
			return noted("Node %[1]s has the taint %[2]s too, which the text does not tolerate: no exporter runs there, as in the text's own output.",
				"ノード %[1]s にはテキストが許容しない taint %[2]s もあり、テキストの出力どおりそこではexporterが動きません。", n.Name, taint)
		}
		var have []string
		for _, tol := range w.pod.Spec.Tolerations {
			have = append(have, tol.Key+":"+string(tol.Effect))
		}
		if len(have) == 0 {
			return wrong("%[1]s: spec.template.spec.tolerations is empty, and node %[2]s has the taint %[3]s, so it has no exporter: look at what the text writes there.",
				"%[1]s: spec.template.spec.tolerations がありません。ノード %[2]s には taint %[3]s があるのでexporterが動きません。テキストの書き方を見てください。", w.String(), n.Name, taint)
		}
		return wrong("%[1]s: spec.template.spec.tolerations has %[4]s, and node %[2]s has the taint %[3]s, so it has no exporter: compare key, operator and effect.",
			"%[1]s: spec.template.spec.tolerations は %[4]s ですが、ノード %[2]s の taint は %[3]s なのでexporterが動きません。key、operator、effect を見比べてください。", w.String(), n.Name, taint, have)
	}
	return good()
}

func exporterShares(_ context.Context, _ *seen, w *workload) (finding, error) {
	switch {
	case !w.pod.Spec.HostNetwork:
		return wrong("%s: spec.template.spec.hostNetwork is not true, so the exporter is cut off from the node's own address, where Prometheus asks. Look at what the text says of it.",
			"%s: spec.template.spec.hostNetwork が true ではないため、Prometheusが見に行くノードのアドレスでexporterが待ち受けません。テキストの説明を見てください。", w.String())
	case !w.pod.Spec.HostPID:
		return wrong("%s: spec.template.spec.hostPID is not true, so the exporter does not see the node's processes. Look at what the text says of it.",
			"%s: spec.template.spec.hostPID が true ではないため、exporterからノードのプロセスが見えません。テキストの説明を見てください。", w.String())
	}
	return good()
}

func exporterReady(ctx context.Context, s *seen, w *workload) (finding, error) {
	return s.podsReady(ctx, w)
}

// exporterLeads judges the Service of node-exporter: its port, whom it finds, and where
// it leads.
func exporterLeads(s *seen, svc *corev1.Service) (finding, error) {
	w := s.daemonSet(course.NodeExporter)
	return inTurn(
		func() (finding, error) { return hasServicePort(svc, course.NodeExporterPort) },
		func() (finding, error) { return selects(svc, w) },
		func() (finding, error) { return leads(svc, course.NodeExporterPort, w, course.NodeExporterPort) },
	)
}
