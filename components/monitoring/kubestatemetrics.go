package monitoring

import (
	"slices"
	"strings"

	appsv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/apps/v1"
	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	metav1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/meta/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"k8sbootcamp/components/editions"
	"k8sbootcamp/components/kube"
	"k8sbootcamp/components/rbac"
	"k8sbootcamp/internal/course"
)

// KubeStateMetricsSize is that of its pod.
var KubeStateMetricsSize = kube.Size{CPU: "10m", Memory: "32Mi", CPULimit: "200m", MemoryLimit: "128Mi"}

// classKubeStateMetricsSize is for the objects of a whole class.
var classKubeStateMetricsSize = kube.Size{CPU: "20m", Memory: "64Mi", CPULimit: "500m", MemoryLimit: "512Mi"}

// stateOf are the kinds that kube-state-metrics tells of. Its flag and its role are
// both made of this, so that it may look at what it lists and at nothing else.
var stateOf = []struct {
	group, resource string
	wide            bool // it is in no namespace, so not a student's
}{
	{"", "nodes", true},
	{"", "persistentvolumeclaims", false},
	{"", "pods", false},
	{"", "resourcequotas", false},
	{"", "services", false},
	{"apps", "daemonsets", false},
	{"apps", "deployments", false},
	{"apps", "replicasets", false},
	{"apps", "statefulsets", false},
}

// stateResources are the names of the kinds in a scope, by API group.
func stateResources(scope Scope) map[string][]string {
	found := map[string][]string{}
	for _, k := range stateOf {
		if scope != Student || !k.wide {
			found[k.group] = append(found[k.group], k.resource)
		}
	}
	return found
}

// StateRules are what kube-state-metrics may do: list and watch the kinds it tells of.
func StateRules(scope Scope) []rbac.Rule {
	resources := stateResources(scope)
	var rules []rbac.Rule
	for _, group := range []string{"", "apps"} {
		rules = append(rules, rbac.Rule{APIGroups: []string{group}, Resources: resources[group], Verbs: []rbac.Verb{rbac.List, rbac.Watch}})
	}
	return rules
}

// newKubeStateMetrics registers kube-state-metrics, which tells Prometheus what the API
// server knows of the objects (the exercise of chapter 4-4).
func newKubeStateMetrics(ctx *pulumi.Context, args *Args, account pulumi.StringInput, opts ...pulumi.ResourceOption) error {
	const telemetry = "telemetry" // its own state, beside the metrics
	resources := stateResources(args.Scope)
	flags := []string{"--resources=" + strings.Join(slices.Concat(resources[""], resources["apps"]), ",")}
	size := KubeStateMetricsSize
	switch args.Scope {
	case Student:
		flags = append(flags, "--namespaces="+args.Namespace)
	case Class:
		size = classKubeStateMetricsSize
	}
	pod := &corev1.PodSpecArgs{
		ServiceAccountName: account,
		Containers: corev1.ContainerArray{&corev1.ContainerArgs{
			Name:  pulumi.String(course.KubeStateMetrics),
			Image: pulumi.String(args.Pods.KubeStateMetricsImage),
			Args:  pulumi.ToStringArray(flags),
			Ports: corev1.ContainerPortArray{
				&corev1.ContainerPortArgs{Name: pulumi.String(course.HTTP), ContainerPort: pulumi.Int(course.KubeStateMetricsPort), Protocol: pulumi.String("TCP")},
				&corev1.ContainerPortArgs{Name: pulumi.String(telemetry), ContainerPort: pulumi.Int(course.KubeStateMetricsPort + 1), Protocol: pulumi.String("TCP")},
			},
			Resources:      size.Resources(),
			ReadinessProbe: kube.HTTPReady("/readyz", telemetry),
		}},
	}
	if user, known := editions.RunsAs(args.Pods.KubeStateMetricsImage); known && args.Scope == Student {
		kube.Restrict(pod, user)
	}
	_, err := appsv1.NewDeployment(ctx, course.KubeStateMetrics, &appsv1.DeploymentArgs{
		Metadata: kube.Meta(args.Namespace, course.KubeStateMetrics, course.KubeStateMetrics),
		Spec: &appsv1.DeploymentSpecArgs{
			Replicas: pulumi.Int(1),
			Selector: &metav1.LabelSelectorArgs{MatchLabels: kube.Selector(course.KubeStateMetrics)},
			Template: &corev1.PodTemplateSpecArgs{
				Metadata: &metav1.ObjectMetaArgs{Labels: kube.Labels(course.KubeStateMetrics)},
				Spec:     pod,
			},
		},
	}, append(opts, kube.RolloutTimeouts(args.RolloutTimeout))...)
	if err != nil {
		return err
	}
	return newService(ctx, args.Namespace, course.KubeStateMetrics, course.HTTP, course.KubeStateMetricsPort, pulumi.String(course.HTTP), opts...)
}
