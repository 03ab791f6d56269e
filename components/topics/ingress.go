package topics

import (
	"errors"
	"fmt"

	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	networkingv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/networking/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"k8s.io/apimachinery/pkg/util/validation"

	"k8sbootcamp/components/kube"
	"k8sbootcamp/components/secret"
	"k8sbootcamp/internal/course"
)

// IngressType is the type token of the topic ingress.
const IngressType = "bootcamp:topics:Ingress"

// IngressArgs describe the topic ingress.
type IngressArgs struct {
	Namespace string
	Host      string // a name of the DNS; one host is one stack's in the whole cluster
}

// Validate reports every argument that cannot be used.
func (a *IngressArgs) Validate() error {
	var errs []error
	if a.Namespace == "" {
		errs = append(errs, errors.New("namespace is empty"))
	}
	if problems := validation.IsDNS1123Subdomain(a.Host); len(problems) > 0 {
		errs = append(errs, fmt.Errorf("host %q: allowed is a name of the DNS, such as %s", a.Host, course.IngressHost))
	}
	return errors.Join(errs...)
}

// Ingress is the echo app's way in from outside, with TLS.
type Ingress struct{ pulumi.ResourceState }

// NewIngress registers the topic ingress.
func NewIngress(ctx *pulumi.Context, name string, args *IngressArgs, opts ...pulumi.ResourceOption) (*Ingress, error) {
	if args == nil {
		return nil, errors.New("topics.NewIngress: args are nil")
	}
	if err := args.Validate(); err != nil {
		return nil, fmt.Errorf("topics.NewIngress %s: %w", name, err)
	}
	i := &Ingress{}
	if err := ctx.RegisterComponentResource(IngressType, name, i, opts...); err != nil {
		return nil, err
	}
	cert, key, err := secret.NewCertificate(ctx, course.Ingress+"-certificate", args.Host, pulumi.Parent(i))
	if err != nil {
		return nil, err
	}
	pair, err := corev1.NewSecret(ctx, course.Ingress, &corev1.SecretArgs{
		Metadata:   kube.Meta(args.Namespace, course.Ingress, course.App),
		Type:       pulumi.String("kubernetes.io/tls"),
		StringData: pulumi.StringMap{"tls.crt": cert, "tls.key": key},
	}, pulumi.Parent(i))
	if err != nil {
		return nil, err
	}
	meta := kube.Meta(args.Namespace, course.Ingress, course.App)
	// The plugin waits for an address, which a cluster without a controller never gives.
	meta.Annotations = pulumi.StringMap{kube.SkipAwait: pulumi.String("true")}
	_, err = networkingv1.NewIngress(ctx, course.Ingress, &networkingv1.IngressArgs{
		Metadata: meta,
		Spec: &networkingv1.IngressSpecArgs{ // of the cluster's default class
			Tls: networkingv1.IngressTLSArray{&networkingv1.IngressTLSArgs{
				Hosts: pulumi.ToStringArray([]string{args.Host}), SecretName: pair.Metadata.Name().Elem(),
			}},
			Rules: networkingv1.IngressRuleArray{&networkingv1.IngressRuleArgs{
				Host: pulumi.String(args.Host),
				Http: &networkingv1.HTTPIngressRuleValueArgs{Paths: networkingv1.HTTPIngressPathArray{&networkingv1.HTTPIngressPathArgs{
					Path: pulumi.String("/"), PathType: pulumi.String("Prefix"),
					Backend: &networkingv1.IngressBackendArgs{Service: &networkingv1.IngressServiceBackendArgs{
						Name: pulumi.String(course.Service),
						Port: &networkingv1.ServiceBackendPortArgs{Number: pulumi.Int(course.ServicePort)},
					}},
				}}},
			}},
		},
	}, pulumi.Parent(i))
	if err != nil {
		return nil, err
	}
	return i, ctx.RegisterResourceOutputs(i, pulumi.Map{})
}
