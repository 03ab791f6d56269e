// Package monitoring is chapter 4 of the course: node-exporter, the account
// that Prometheus reads the cluster with, and Prometheus.
//
// Its tests are in tests/.
package monitoring

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/common/model"
	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"k8sbootcamp/components/editions"
	"k8sbootcamp/components/rbac"
	"k8sbootcamp/internal/course"
)

// Type is the type token of the monitoring.
const Type = "bootcamp:monitoring:Monitoring"

// Scope is whose the monitoring is.
type Scope int

// On a shared cluster node-exporter is the class's, for only one can have port
// 9100 of a node, and each student has a Prometheus for their own namespace. What
// the kubelets tell of pods they tell of everybody's, so the class asks them, and
// hands each student what is theirs.
const (
	Own     Scope = iota // all of it, on a cluster of the stack's own
	Class                // on a shared cluster, once
	Student              // in a student's namespace of it
)

// Part is one of the monitoring's, in the order of the text's chapters: each stands on
// those before it.
type Part int

// The parts.
const (
	NodeExporter Part = iota + 1 // chapter 4-1
	Account                      // 4-2, which Prometheus reads the cluster with
	Prometheus                   // 4-3
)

// Args describe the monitoring.
type Args struct {
	Namespace         string
	Scope             Scope
	Until             Part // the last that there is
	PrometheusImage   string
	NodeExporterImage string
	ScrapeInterval    model.Duration // 1s to 5m
	RolloutTimeout    time.Duration  // for each workload's pods to be ready
	Pods              *PodArgs       // the exercise of chapter 4-4, with Prometheus alone; nil is without
	Rules             bool           // recording and alerting rules; with Pods alone
	Beside            *Beside        // with Class alone
}

// Beside is what runs in the pod of the class's Prometheus, which listens there alone.
type Beside struct {
	Container *corev1.ContainerArgs
	Volumes   corev1.VolumeArray
	Checksum  string // another one needs another pod
}

// PodArgs describe the monitoring of pods.
type PodArgs struct {
	KubeStateMetricsImage string
	// ClassNamespace is where a student's pods' metrics come from; with Student alone.
	ClassNamespace string
	// Of the pod that hands them out; with Class alone.
	AuthProxyImage, LabelProxyImage string
}

// Validate reports every argument that cannot be used.
func (a *Args) Validate() error {
	var errs []error
	if a.Namespace == "" {
		errs = append(errs, errors.New("namespace is empty"))
	}
	if a.Until < NodeExporter || a.Until > Prometheus {
		errs = append(errs, fmt.Errorf("part %d: allowed are %d to %d", a.Until, NodeExporter, Prometheus))
	}
	if a.Pods != nil && a.Until < Prometheus {
		errs = append(errs, errors.New("the monitoring of pods without Prometheus"))
	}
	images := []string{a.PrometheusImage, a.NodeExporterImage}
	if a.Pods != nil {
		images = append(images, a.Pods.KubeStateMetricsImage)
		if a.Scope == Class {
			images = append(images, a.Pods.AuthProxyImage, a.Pods.LabelProxyImage)
		}
		if a.Scope == Student && a.Pods.ClassNamespace == "" {
			errs = append(errs, errors.New("the class's namespace is empty"))
		}
	}
	if a.Rules && a.Pods == nil {
		errs = append(errs, errors.New("rules without the monitoring of pods"))
	}
	for _, image := range images {
		if err := editions.CheckImage(image); err != nil {
			errs = append(errs, fmt.Errorf("image %q: %w", image, err))
		}
	}
	if d := time.Duration(a.ScrapeInterval); d < time.Second || d > 5*time.Minute {
		errs = append(errs, fmt.Errorf("scrape interval %s: allowed are 1s to 5m", a.ScrapeInterval))
	}
	if a.RolloutTimeout <= 0 {
		errs = append(errs, fmt.Errorf("rollout timeout %s: it must be positive", a.RolloutTimeout))
	}
	return errors.Join(errs...)
}

// Monitoring is node-exporter and Prometheus.
type Monitoring struct {
	pulumi.ResourceState
}

// New registers the monitoring.
func New(ctx *pulumi.Context, name string, args *Args, opts ...pulumi.ResourceOption) (*Monitoring, error) {
	if args == nil {
		return nil, errors.New("monitoring.New: args are nil")
	}
	if err := args.Validate(); err != nil {
		return nil, fmt.Errorf("monitoring.New %s: %w", name, err)
	}
	m := &Monitoring{}
	if err := ctx.RegisterComponentResource(Type, name, m, opts...); err != nil {
		return nil, err
	}
	if args.Scope != Student {
		if err := newNodeExporter(ctx, args, pulumi.Parent(m)); err != nil {
			return nil, err
		}
	}
	if args.Pods != nil {
		account, err := newAccount(ctx, args, course.KubeStateMetrics, StateRules(args.Scope), pulumi.Parent(m))
		if err != nil {
			return nil, err
		}
		if err := newKubeStateMetrics(ctx, args, account, pulumi.Parent(m)); err != nil {
			return nil, err
		}
	}
	if args.Until >= Account && (args.Scope != Class || args.Pods != nil) {
		account, err := newAccount(ctx, args, course.Prometheus, prometheusRules(args), pulumi.Parent(m))
		if err != nil {
			return nil, err
		}
		if args.Until >= Prometheus {
			if err := newPrometheus(ctx, args, account, pulumi.Parent(m)); err != nil {
				return nil, err
			}
		}
	}
	return m, ctx.RegisterResourceOutputs(m, pulumi.Map{})
}

// newAccount registers the account of a workload, which has its name, and returns
// that once it may do its work. The class's roles are cluster-wide objects of a shared
// cluster, which the platform registers.
func newAccount(ctx *pulumi.Context, args *Args, name string, rules []rbac.Rule, opts ...pulumi.ResourceOption) (pulumi.StringOutput, error) {
	if args.Scope == Class {
		return rbac.NewServiceAccount(ctx, name, args.Namespace, opts...)
	}
	account, err := rbac.New(ctx, name, &rbac.Args{
		Namespace: args.Namespace, Name: name, Rules: rules, NamespaceOnly: args.Scope == Student,
	}, opts...)
	if err != nil {
		return pulumi.StringOutput{}, err
	}
	return account.Name, nil
}
