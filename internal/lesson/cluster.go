package lesson

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"k8sbootcamp/internal/kubeclient"
)

// checkCluster is judged by what asking comes to at all.
const checkCluster = "0-3/cluster"

func unreachable(err error) Text {
	err = kubeclient.Explain(err)
	if apierrors.IsUnauthorized(err) {
		return say("The cluster does not accept this kubeconfig (%s): it may have ended; ask for a new one.",
			"クラスターがこのkubeconfigを受け付けません(%s)。期限が切れているかもしれません。新しいものをもらってください。", err)
	}
	return say("The cluster gave no answer: %s. Look at server in the kubeconfig, and whether the cluster runs (docker ps).",
		"クラスターから応答がありません: %s。kubeconfigの server と、クラスターが動いているか(docker ps)を見てください。", err)
}

// How old a lease may be: fresh is one that was renewed in time, and after silence its
// holder is not at work. Kubernetes itself waits as long before it calls a node
// NotReady.
const (
	fresh   = 12 * time.Second
	silence = 40 * time.Second
)

func nodesReady(_ context.Context, s *seen) (finding, error) {
	var not []string
	for _, n := range s.nodes {
		ready := false
		for _, c := range n.Status.Conditions {
			ready = ready || c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
		}
		if !ready {
			not = append(not, n.Name)
		}
	}
	if len(not) > 0 || len(s.nodes) == 0 {
		return wrong("Of %[1]d nodes these are not Ready: %[2]s. Look at their conditions, and whether their containers run (docker ps).",
			"%[1]d ノードのうち Ready でないもの: %[2]s。conditions と、ノードのコンテナが動いているか(docker ps)を見てください。", len(s.nodes), strings.Join(not, ", "))
	}
	waits := false
	for _, l := range s.leases {
		if l.age > silence {
			not = append(not, fmt.Sprintf("%s (%s)", l.name, l.age.Round(time.Second)))
		}
		waits = waits || l.age > fresh
	}
	switch {
	case len(not) > 0:
		return wrong("These have not been heard of for a while: %s. Is the container stopped (docker ps)? `class up` repairs that.",
			"しばらく応答がないもの: %s。コンテナが止まっていませんか(docker ps)。`class up` で直ります。", strings.Join(not, ", "))
	case waits:
		return starting("The nodes are being asked whether they are at work.", "ノードが動いているか確認中です。")
	}
	return noted("%d of %[1]d", "%d 個中 %[1]d 個", len(s.nodes))
}

func nodesSchedulable(_ context.Context, s *seen) (finding, error) {
	var cordoned []string
	for _, n := range s.nodes {
		if n.Spec.Unschedulable {
			cordoned = append(cordoned, n.Name)
		}
	}
	if len(cordoned) > 0 {
		return wrong("Node %s: spec.unschedulable is true, so it takes no new pods: look at kubectl cordon and uncordon.",
			"ノード %s: spec.unschedulable が true なので、新しいPodが置かれません。kubectl cordon と uncordon を調べてください。", strings.Join(cordoned, ", "))
	}
	return good()
}
