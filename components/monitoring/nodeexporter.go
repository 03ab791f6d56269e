package monitoring

import (
	appsv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/apps/v1"
	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	metav1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/meta/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"k8sbootcamp/components/kube"
	"k8sbootcamp/internal/course"
)

// NodeExporterSize is that of each of its pods.
var NodeExporterSize = kube.Size{CPU: "10m", Memory: "32Mi", CPULimit: "250m", MemoryLimit: "128Mi"}

// controlPlane tolerates what keeps pods off a control plane: the text's one, and the
// one that Kubernetes 1.24, which the text uses, has beside it as soon as there are
// workers. Without the second the fourth node has no exporter, as the text's own
// output shows.
var controlPlane = func() (all corev1.TolerationArray) {
	for _, key := range []string{"node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"} {
		all = append(all, &corev1.TolerationArgs{
			Key:      pulumi.String(key),
			Operator: pulumi.String("Exists"),
			Value:    pulumi.String(""), // as the text has it
			Effect:   pulumi.String("NoSchedule"),
		})
	}
	return all
}()

// newNodeExporter registers the exporter on every node, the control plane too
// (course, chapter 4-1).
func newNodeExporter(ctx *pulumi.Context, args *Args, opts ...pulumi.ResourceOption) error {
	_, err := appsv1.NewDaemonSet(ctx, course.NodeExporter, &appsv1.DaemonSetArgs{
		Metadata: kube.Meta(args.Namespace, course.NodeExporter, course.NodeExporter),
		Spec: &appsv1.DaemonSetSpecArgs{
			Selector: &metav1.LabelSelectorArgs{MatchLabels: kube.Selector(course.NodeExporter)},
			Template: &corev1.PodTemplateSpecArgs{
				Metadata: &metav1.ObjectMetaArgs{Labels: kube.Labels(course.NodeExporter)},
				Spec: &corev1.PodSpecArgs{
					Containers: corev1.ContainerArray{&corev1.ContainerArgs{
						Name:  pulumi.String(course.NodeExporter),
						Image: pulumi.String(args.NodeExporterImage),
						Ports: corev1.ContainerPortArray{&corev1.ContainerPortArgs{
							Name: pulumi.String(course.HTTP), ContainerPort: pulumi.Int(course.NodeExporterPort), Protocol: pulumi.String("TCP"),
						}},
						Resources:      NodeExporterSize.Resources(),
						ReadinessProbe: kube.HTTPReady("/", course.HTTP),
					}},
					// It measures the node, so it shares the node's network and processes.
					HostNetwork:                  pulumi.Bool(true),
					HostPID:                      pulumi.Bool(true),
					AutomountServiceAccountToken: pulumi.Bool(false),
					Tolerations:                  controlPlane,
				},
			},
		},
	}, append(opts, kube.RolloutTimeouts(args.RolloutTimeout))...)
	if err != nil {
		return err
	}
	return newService(ctx, args.Namespace, course.NodeExporter, course.HTTP, course.NodeExporterPort, pulumi.String(course.HTTP), opts...)
}

// newService registers the ClusterIP Service of one of the exporters.
func newService(ctx *pulumi.Context, namespace, app, portName string, port int, target pulumi.Input, opts ...pulumi.ResourceOption) error {
	meta := kube.Meta(namespace, app, app)
	meta.Annotations = pulumi.StringMap{kube.SkipAwait: pulumi.String("true")} // the workload has waited
	_, err := corev1.NewService(ctx, app, &corev1.ServiceArgs{
		Metadata: meta,
		Spec: &corev1.ServiceSpecArgs{
			Type: pulumi.String("ClusterIP"),
			Ports: corev1.ServicePortArray{&corev1.ServicePortArgs{
				Name: pulumi.String(portName), Port: pulumi.Int(port), Protocol: pulumi.String("TCP"), TargetPort: target,
			}},
			Selector: kube.Selector(app),
		},
	}, opts...)
	return err
}
