// Package kube holds what every in-cluster object of the lab has in common:
// labels, metadata, sizes and waits.
//
// Its tests are in tests/.
package kube

import (
	"slices"
	"time"

	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	metav1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/meta/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// SkipAwait is the annotation that tells the Kubernetes plugin not to wait for
// an object to be ready.
const SkipAwait = "pulumi.com/skipAwait"

// Selector is the course's own label, and nothing else: a selector cannot
// change, so it holds no version.
func Selector(app string) pulumi.StringMap { return pulumi.StringMap{"app": pulumi.String(app)} }

// Labels are the course's label and the common ones of Kubernetes
// (kubernetes.io/docs/concepts/overview/working-with-objects/common-labels).
func Labels(app string) pulumi.StringMap {
	return pulumi.StringMap{
		"app":                          pulumi.String(app),
		"app.kubernetes.io/name":       pulumi.String(app),
		"app.kubernetes.io/part-of":    pulumi.String("bootcamp"),
		"app.kubernetes.io/managed-by": pulumi.String("pulumi"),
	}
}

// Meta is the metadata of a namespaced object; an empty namespace is for
// objects of the whole cluster.
func Meta(namespace, name, app string) *metav1.ObjectMetaArgs {
	m := &metav1.ObjectMetaArgs{Name: pulumi.String(name), Labels: Labels(app)}
	if namespace != "" {
		m.Namespace = pulumi.String(namespace)
	}
	return m
}

// Size is what a container asks for and may use, in Kubernetes quantities. Those
// of the node's disk may be empty.
type Size struct {
	CPU, Memory, CPULimit, MemoryLimit string
	Storage, StorageLimit              string
}

// Resources makes the requests and limits of a container.
func (s Size) Resources() *corev1.ResourceRequirementsArgs {
	amounts := func(cpu, memory, storage string) pulumi.StringMap {
		out := pulumi.StringMap{"cpu": pulumi.String(cpu), "memory": pulumi.String(memory)}
		if storage != "" {
			out["ephemeral-storage"] = pulumi.String(storage)
		}
		return out
	}
	return &corev1.ResourceRequirementsArgs{
		Requests: amounts(s.CPU, s.Memory, s.Storage),
		Limits:   amounts(s.CPULimit, s.MemoryLimit, s.StorageLimit),
	}
}

// Restrict makes a pod one that Pod Security's level restricted admits
// (kubernetes.io/docs/concepts/security/pod-security-standards), run by a user.
func Restrict(pod *corev1.PodSpecArgs, user int) {
	pod.SecurityContext = &corev1.PodSecurityContextArgs{
		RunAsNonRoot:   pulumi.Bool(true),
		RunAsUser:      pulumi.Int(user),
		SeccompProfile: &corev1.SeccompProfileArgs{Type: pulumi.String("RuntimeDefault")},
	}
	all := slices.Clone(pod.Containers.(corev1.ContainerArray))
	if inits, ok := pod.InitContainers.(corev1.ContainerArray); ok {
		all = append(all, inits...)
	}
	for _, c := range all {
		c.(*corev1.ContainerArgs).SecurityContext = &corev1.SecurityContextArgs{
			AllowPrivilegeEscalation: pulumi.Bool(false),
			Capabilities:             &corev1.CapabilitiesArgs{Drop: pulumi.ToStringArray([]string{"ALL"})},
		}
	}
}

// Mount is a volume in a container.
func Mount(volume, path string) *corev1.VolumeMountArgs {
	return &corev1.VolumeMountArgs{Name: pulumi.String(volume), MountPath: pulumi.String(path)}
}

// Variable is one of a container's environment.
func Variable(name, value string) *corev1.EnvVarArgs {
	return &corev1.EnvVarArgs{Name: pulumi.String(name), Value: pulumi.String(value)}
}

// HTTPReady is a readiness probe on a named port.
func HTTPReady(path, port string) *corev1.ProbeArgs {
	return &corev1.ProbeArgs{
		HttpGet:       &corev1.HTTPGetActionArgs{Path: pulumi.String(path), Port: pulumi.String(port)},
		PeriodSeconds: pulumi.Int(2),
	}
}

// RolloutTimeouts bound the wait for a workload's pods, on create and update.
func RolloutTimeouts(d time.Duration) pulumi.ResourceOption {
	return pulumi.Timeouts(&pulumi.CustomTimeouts{Create: d.String(), Update: d.String()})
}
