// Package echo is the course's sample application and its Service (chapters
// 3-2 and 3-3).
//
// Its tests are in tests/.
package echo

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

// Type is the type token of the application.
const Type = "bootcamp:echo:Echo"

// Size is that of each of its pods.
var Size = kube.Size{CPU: "10m", Memory: "32Mi", CPULimit: "200m", MemoryLimit: "128Mi"}

// Args describe the application.
type Args struct {
	Namespace      string
	Replicas       int           // 0 to 100
	Image          string        // answers HTTP on 8080
	Service        *ServiceArgs  // nil before chapter 3-3
	RolloutTimeout time.Duration // for the pods to be ready
	// Restricted runs the pods without any privilege, where the image is known to run so.
	Restricted bool
}

// ServiceArgs describe its Service.
type ServiceArgs struct {
	Type     string // ClusterIP, NodePort or LoadBalancer
	NodePort int    // with NodePort: 30000 to 32767; 0 leaves the choice to the cluster
	// AwaitLoadBalancer tells that the cluster gives load balancers, so the
	// Service waits for its address (at most RolloutTimeout).
	AwaitLoadBalancer bool
}

// Validate reports every argument that cannot be used.
func (a *Args) Validate() error {
	var errs []error
	if a.Namespace == "" {
		errs = append(errs, errors.New("namespace is empty"))
	}
	if a.Replicas < 0 || a.Replicas > 100 {
		errs = append(errs, fmt.Errorf("replicas %d: allowed are 0 to 100", a.Replicas))
	}
	if err := editions.CheckImage(a.Image); err != nil {
		errs = append(errs, fmt.Errorf("image %q: %w", a.Image, err))
	}
	if a.Service != nil {
		errs = append(errs, a.Service.validate())
	}
	if a.RolloutTimeout <= 0 {
		errs = append(errs, fmt.Errorf("rollout timeout %s: it must be positive", a.RolloutTimeout))
	}
	return errors.Join(errs...)
}

func (a *ServiceArgs) validate() error {
	switch a.Type {
	case "ClusterIP", "LoadBalancer":
	case "NodePort":
		if a.NodePort != 0 && (a.NodePort < 30000 || a.NodePort > 32767) {
			return fmt.Errorf("node port %d: allowed are 30000 to 32767, and 0 for one that the cluster chooses", a.NodePort)
		}
	default:
		return fmt.Errorf("service type %q: allowed are ClusterIP, NodePort and LoadBalancer", a.Type)
	}
	return nil
}

// Echo is the application: a Deployment and its Service.
type Echo struct {
	pulumi.ResourceState

	// ProxyPath is the API server's path to the application, as the course's
	// `kubectl proxy` uses it; empty without a Service.
	ProxyPath pulumi.StringOutput `pulumi:"proxyPath"`
	// Address is the load balancer's IP address or host name, else empty.
	Address pulumi.StringOutput `pulumi:"address"`
}

// New registers the application.
func New(ctx *pulumi.Context, name string, args *Args, opts ...pulumi.ResourceOption) (*Echo, error) {
	if args == nil {
		return nil, errors.New("echo.New: args are nil")
	}
	if err := args.Validate(); err != nil {
		return nil, fmt.Errorf("echo.New %s: %w", name, err)
	}
	e := &Echo{}
	if err := ctx.RegisterComponentResource(Type, name, e, opts...); err != nil {
		return nil, err
	}

	container := &corev1.ContainerArgs{
		Name:  pulumi.String(course.Container),
		Image: pulumi.String(args.Image),
		Ports: corev1.ContainerPortArray{&corev1.ContainerPortArgs{
			Name: pulumi.String(course.HTTP), ContainerPort: pulumi.Int(course.AppPort), Protocol: pulumi.String("TCP"),
		}},
		Resources:      Size.Resources(),
		ReadinessProbe: kube.HTTPReady("/", course.HTTP),
	}
	if a := editions.EchoArgs(args.Image); a != nil {
		container.Args = pulumi.ToStringArray(a)
	}
	pod := &corev1.PodSpecArgs{
		Containers:                   corev1.ContainerArray{container},
		RestartPolicy:                pulumi.String("Always"),
		AutomountServiceAccountToken: pulumi.Bool(false), // it never calls the API
		// It keeps nothing, so a class's namespaces need not wait half a minute to go.
		TerminationGracePeriodSeconds: pulumi.Int(5),
	}
	if user, known := editions.RunsAs(args.Image); known && args.Restricted {
		kube.Restrict(pod, user)
	}
	_, err := appsv1.NewDeployment(ctx, name, &appsv1.DeploymentArgs{
		Metadata: kube.Meta(args.Namespace, course.App, course.App),
		Spec: &appsv1.DeploymentSpecArgs{
			Replicas: pulumi.Int(args.Replicas),
			Selector: &metav1.LabelSelectorArgs{MatchLabels: kube.Selector(course.App)},
			Template: &corev1.PodTemplateSpecArgs{
				Metadata: &metav1.ObjectMetaArgs{Labels: kube.Labels(course.App)},
				Spec:     pod,
			},
		},
	}, pulumi.Parent(e), kube.RolloutTimeouts(args.RolloutTimeout))
	if err != nil {
		return nil, err
	}

	e.ProxyPath, e.Address = pulumi.String("").ToStringOutput(), pulumi.String("").ToStringOutput()
	if args.Service != nil {
		svc, err := newService(ctx, name, args, pulumi.Parent(e))
		if err != nil {
			return nil, err
		}
		e.ProxyPath = pulumi.Sprintf("/api/v1/namespaces/%s/services/%s/proxy/", args.Namespace, course.Service)
		e.Address = svc.Status.ApplyT(address).(pulumi.StringOutput)
	}
	return e, ctx.RegisterResourceOutputs(e, pulumi.Map{"proxyPath": e.ProxyPath, "address": e.Address})
}

func newService(ctx *pulumi.Context, name string, args *Args, opts ...pulumi.ResourceOption) (*corev1.Service, error) {
	port := &corev1.ServicePortArgs{
		Port: pulumi.Int(course.ServicePort), Protocol: pulumi.String("TCP"), TargetPort: pulumi.Int(course.AppPort),
	}
	if args.Service.Type == "NodePort" && args.Service.NodePort != 0 {
		port.NodePort = pulumi.Int(args.Service.NodePort)
	}
	meta := kube.Meta(args.Namespace, course.Service, course.App)
	if args.Service.Type != "LoadBalancer" || !args.Service.AwaitLoadBalancer {
		// The Deployment has waited for ready pods already; a second wait here
		// costs ten seconds, or, for an address that nothing gives, ten minutes.
		meta.Annotations = pulumi.StringMap{kube.SkipAwait: pulumi.String("true")}
	}
	return corev1.NewService(ctx, name, &corev1.ServiceArgs{
		Metadata: meta,
		Spec: &corev1.ServiceSpecArgs{
			Type:     pulumi.String(args.Service.Type),
			Ports:    corev1.ServicePortArray{port},
			Selector: kube.Selector(course.App),
		},
	}, append(opts, kube.RolloutTimeouts(args.RolloutTimeout))...)
}

// address picks the load balancer's first address from a Service's status.
func address(s *corev1.ServiceStatus) string {
	if s == nil || s.LoadBalancer == nil {
		return ""
	}
	for _, in := range s.LoadBalancer.Ingress {
		switch {
		case in.Ip != nil && *in.Ip != "":
			return *in.Ip
		case in.Hostname != nil && *in.Hostname != "":
			return *in.Hostname
		}
	}
	return ""
}
