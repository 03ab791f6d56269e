package drift

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"k8sbootcamp/internal/kubeclient"
)

// ownTaint tells whether a taint is one that Kubernetes, kubeadm or a cloud puts there.
func ownTaint(n *corev1.Node, t corev1.Taint) bool {
	if role, is := strings.CutPrefix(t.Key, "node-role.kubernetes.io/"); is { // of a control plane alone
		_, rules := n.Labels["node-role.kubernetes.io/control-plane"]
		return rules && (role == "control-plane" || role == "master") && t.Effect == corev1.TaintEffectNoSchedule
	}
	return strings.HasPrefix(t.Key, "node.kubernetes.io/") || strings.HasPrefix(t.Key, "node.cloudprovider.kubernetes.io/")
}

// Nodes lets pods onto the nodes again that a student has closed to them, and says what
// it did.
func (c *Cluster) Nodes(ctx context.Context) (did []string, err error) {
	list, err := c.typed.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, kubeclient.Explain(err)
	}
	for _, n := range list.Items {
		var done []string
		err := tried(ctx, func(ctx context.Context) (err error) { // a node writes to itself, too
			done, err = c.open(ctx, n.Name)
			return err
		})
		if err != nil {
			return did, fmt.Errorf("node %s: %w", n.Name, err)
		}
		did = append(did, done...)
	}
	return did, nil
}

func (c *Cluster) open(ctx context.Context, name string) (did []string, err error) {
	n, err := c.typed.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	if n.Spec.Unschedulable {
		did = append(did, "node "+n.Name+" takes pods again: it was cordoned")
	}
	kept := []corev1.Taint{}
	for _, t := range n.Spec.Taints {
		if ownTaint(n, t) {
			kept = append(kept, t)
		} else {
			did = append(did, fmt.Sprintf("node %s takes pods again: taint %s", n.Name, t.ToString()))
		}
	}
	if len(did) == 0 {
		return nil, nil
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": n.ResourceVersion}, // the list is written whole
		"spec":     map[string]any{"unschedulable": nil, "taints": kept},
	})
	if err != nil {
		return nil, err
	}
	_, err = c.typed.CoreV1().Nodes().Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: manager})
	return did, err
}
