// Package topics is what chapter 5 of the course names and leaves out, a component a
// topic: env, ConfigMap, Secret, StatefulSet, volumes, and the Ingress of chapter 3-3.
// docs/topics has a page of each.
//
// Its tests are in tests/.
package topics

import (
	"errors"
	"fmt"
	"time"

	appsv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/apps/v1"
	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	metav1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/meta/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"k8sbootcamp/components/editions"
	"k8sbootcamp/components/kube"
	"k8sbootcamp/internal/course"
)

// Size is that of each pod but the database's.
var Size = kube.Size{CPU: "10m", Memory: "32Mi", CPULimit: "200m", MemoryLimit: "128Mi"}

// ClaimSize is what each PersistentVolumeClaim asks for.
const ClaimSize = "1Gi"

// Pods are what the topics that have pods have in common.
type Pods struct {
	Namespace      string
	Image          string        // agnhost, one program of many commands; of the StatefulSet, Prometheus
	RolloutTimeout time.Duration // for the pods to be ready
	// Restricted runs them without any privilege, where the image is known to run so.
	Restricted bool
}

// Validate reports every argument that cannot be used.
func (a *Pods) Validate() error {
	var errs []error
	if a.Namespace == "" {
		errs = append(errs, errors.New("namespace is empty"))
	}
	if err := editions.CheckImage(a.Image); err != nil {
		errs = append(errs, fmt.Errorf("image %q: %w", a.Image, err))
	}
	if a.RolloutTimeout <= 0 {
		errs = append(errs, fmt.Errorf("rollout timeout %s: it must be positive", a.RolloutTimeout))
	}
	return errors.Join(errs...)
}

// container is one that runs a command of agnhost.
func (a *Pods) container(name string, args ...string) *corev1.ContainerArgs {
	return &corev1.ContainerArgs{
		Name:      pulumi.String(name),
		Image:     pulumi.String(a.Image),
		Args:      pulumi.ToStringArray(args),
		Resources: Size.Resources(),
	}
}

// serves makes a container one that answers HTTP, of which a path tells that it is ready.
func serves(c *corev1.ContainerArgs, port int, path string) *corev1.ContainerArgs {
	c.Ports = corev1.ContainerPortArray{&corev1.ContainerPortArgs{
		Name: pulumi.String(course.HTTP), ContainerPort: pulumi.Int(port), Protocol: pulumi.String("TCP"),
	}}
	c.ReadinessProbe = kube.HTTPReady(path, course.HTTP)
	return c
}

// template is the pod of a workload: it has the workload's name as its label, no token
// of the API, and no privilege where it needs none.
func (a *Pods) template(name string, pod *corev1.PodSpecArgs) *corev1.PodTemplateSpecArgs {
	pod.AutomountServiceAccountToken = pulumi.Bool(false)
	// agnhost does not hear that it should end, and Prometheus needs no more.
	pod.TerminationGracePeriodSeconds = pulumi.Int(5)
	if user, known := a.user(); known && a.Restricted {
		kube.Restrict(pod, user)
	}
	return &corev1.PodTemplateSpecArgs{Metadata: &metav1.ObjectMetaArgs{Labels: kube.Labels(name)}, Spec: pod}
}

// user is whom the image is known to run as without any privilege.
func (a *Pods) user() (user int, known bool) { return editions.RunsAs(a.Image) }

// group gives a pod's volumes to the user that the pod runs as, where that is known:
// the disks of most clusters belong to root.
func (a *Pods) group(pod *corev1.PodTemplateSpecArgs) *corev1.PodTemplateSpecArgs {
	user, known := a.user()
	if !known {
		return pod
	}
	spec := pod.Spec.(*corev1.PodSpecArgs)
	if spec.SecurityContext == nil {
		spec.SecurityContext = &corev1.PodSecurityContextArgs{}
	}
	spec.SecurityContext.(*corev1.PodSecurityContextArgs).FsGroup = pulumi.Int(user)
	return pod
}

// deployment registers a Deployment of one pod.
func (a *Pods) deployment(ctx *pulumi.Context, name string, pod *corev1.PodTemplateSpecArgs, strategy string, opts ...pulumi.ResourceOption) error {
	spec := &appsv1.DeploymentSpecArgs{
		Replicas: pulumi.Int(1),
		Selector: &metav1.LabelSelectorArgs{MatchLabels: kube.Selector(name)},
		Template: pod,
	}
	if strategy != "" {
		spec.Strategy = &appsv1.DeploymentStrategyArgs{Type: pulumi.String(strategy)}
	}
	_, err := appsv1.NewDeployment(ctx, name, &appsv1.DeploymentArgs{
		Metadata: kube.Meta(a.Namespace, name, name), Spec: spec,
	}, append(opts, kube.RolloutTimeouts(a.RolloutTimeout))...)
	return err
}

// service registers the Service of a workload, by whose name `kubectl get --raw` and
// `kubectl port-forward` reach its pod. A headless one gives the pod a name of its own.
func (a *Pods) service(ctx *pulumi.Context, name string, port int, headless bool, opts ...pulumi.ResourceOption) error {
	meta := kube.Meta(a.Namespace, name, name)
	// The workload has waited for its pod already.
	meta.Annotations = pulumi.StringMap{kube.SkipAwait: pulumi.String("true")}
	spec := &corev1.ServiceSpecArgs{
		Type:     pulumi.String("ClusterIP"),
		Selector: kube.Selector(name),
		Ports: corev1.ServicePortArray{&corev1.ServicePortArgs{
			Port: pulumi.Int(port), TargetPort: pulumi.String(course.HTTP), Protocol: pulumi.String("TCP"),
		}},
	}
	if headless {
		spec.ClusterIP = pulumi.String("None")
	}
	_, err := corev1.NewService(ctx, name, &corev1.ServiceArgs{Metadata: meta, Spec: spec}, opts...)
	return err
}

// newConfigMap registers a ConfigMap of one file and returns its name, once it is there.
func newConfigMap(ctx *pulumi.Context, namespace, name, file, content string, opts ...pulumi.ResourceOption) (pulumi.StringOutput, error) {
	made, err := corev1.NewConfigMap(ctx, name, &corev1.ConfigMapArgs{
		Metadata: kube.Meta(namespace, name, name), Data: pulumi.StringMap{file: pulumi.String(content)},
	}, opts...)
	if err != nil {
		return pulumi.StringOutput{}, err
	}
	return made.Metadata.Name().Elem(), nil
}
