// Package conformance says where the lab departs from the course's text, and
// why. A test holds it against the text's manifests: a difference that is not
// here fails, and so does an entry that is none.
package conformance

import "k8sbootcamp/tests/docs"

// NotSet stands for a field that one of the two sides does not have.
const NotSet = "(not set)"

// Difference is a field of one of the text's objects that ours has otherwise.
type Difference struct {
	Object   string // kind and name, such as "ClusterRole prometheus"
	Field    string // path in the object; items of lists by their index
	Text     string // the text's value
	Ours     string
	Reason   string
	ReasonJA string
}

// Differences are all of them, in the order of the course's chapters.
var Differences = []Difference{
	{
		Object:   "DaemonSet node-exporter",
		Field:    "spec.template.spec.tolerations[1]",
		Text:     NotSet,
		Ours:     "effect NoSchedule, key node-role.kubernetes.io/master, operator Exists",
		Reason:   "Kubernetes 1.24 has a second taint on the control plane, `node-role.kubernetes.io/master`. With the text's one toleration node-exporter runs on three of four nodes, as the text's own output shows, and its fourth target is never up.",
		ReasonJA: "Kubernetes 1.24 のコントロールプレーンには、もう一つの taint `node-role.kubernetes.io/master` が付いている。本文の toleration だけでは node-exporter は 4 台中 3 台でしか動かず（本文の出力もそうなっている）、4 つ目のターゲットは up にならない。",
	},
	{
		Object:   "ClusterRole prometheus",
		Field:    "rules[0].resources",
		Text:     "nodes, services, endpoints, pods, metrics, nodes/metrics",
		Ours:     "nodes, services, endpoints, pods, nodes/metrics",
		Reason:   "The core group has no resource `metrics`; the kubelet's metrics are `nodes/metrics`, which stays.",
		ReasonJA: "core グループに `metrics` というリソースはない。kubelet のメトリクスは `nodes/metrics` であり、こちらは残す。",
	},
	{
		Object:   "ClusterRole prometheus",
		Field:    "rules[1].apiGroups",
		Text:     "extensions",
		Ours:     "networking.k8s.io",
		Reason:   "Kubernetes 1.22 removed the Ingress of `extensions`; it lives in `networking.k8s.io`.",
		ReasonJA: "`extensions` の Ingress は Kubernetes 1.22 で削除され、現在は `networking.k8s.io` にある。",
	},
	{
		Object:   "Deployment prometheus",
		Field:    "spec.template.spec.containers[0].volumeMounts[0].mountPath",
		Text:     "/prometheus/prometheus.yml",
		Ours:     "/prometheus",
		Reason:   "The whole directory is mounted, because a file mounted with `subPath` never sees a change of its ConfigMap. Prometheus still reads `/prometheus/prometheus.yml`; its data moves to `/prometheus-data`.",
		ReasonJA: "`subPath` でマウントしたファイルには ConfigMap の変更が反映されないため、ディレクトリごとマウントする。Prometheus が読むファイルは本文と同じ `/prometheus/prometheus.yml` で、データは `/prometheus-data` に置く。",
	},
	{
		Object:   "Deployment prometheus",
		Field:    "spec.template.spec.containers[0].volumeMounts[0].subPath",
		Text:     "prometheus.yml",
		Ours:     NotSet,
		Reason:   "As above.",
		ReasonJA: "同上。",
	},
}

// Markdown renders the differences as a table.
func Markdown(lang docs.Language) string {
	header := []string{"Object", "Field", "The text", "This project", "Why"}
	if lang == docs.Japanese {
		header = []string{"オブジェクト", "フィールド", "本文", "このプロジェクト", "理由"}
	}
	value := func(v string) string {
		if v == NotSet {
			return lang.Pick("not set", "なし")
		}
		return docs.Code(v)
	}
	rows := make([][]string, len(Differences))
	for i, d := range Differences {
		rows[i] = []string{d.Object, docs.Code(d.Field), value(d.Text), value(d.Ours), lang.Pick(d.Reason, d.ReasonJA)}
	}
	return docs.Table(header, rows)
}
