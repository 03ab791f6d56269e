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
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"k8sbootcamp/components/editions"
	"k8sbootcamp/components/rbac"
	"k8sbootcamp/internal/course"
)

// Type is the type token of the monitoring.
const Type = "bootcamp:monitoring:Monitoring"

// Parts are what a stack has of the monitoring.
type Parts int

// On a shared cluster node-exporter is the class's, for only one can have port
// 9100 of a node, and each student has a Prometheus for their own namespace.
const (
	Everything Parts = iota
	NodeExporterOnly
	PrometheusOnly
)

// Args describe the monitoring.
type Args struct {
	Namespace         string
	Parts             Parts
	PrometheusImage   string
	NodeExporterImage string
	ScrapeInterval    model.Duration // 1s to 5m
	RolloutTimeout    time.Duration  // for each workload's pods to be ready
}

// Validate reports every argument that cannot be used.
func (a *Args) Validate() error {
	var errs []error
	if a.Namespace == "" {
		errs = append(errs, errors.New("namespace is empty"))
	}
	for _, image := range []string{a.PrometheusImage, a.NodeExporterImage} {
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
	if args.Parts != PrometheusOnly {
		if err := newNodeExporter(ctx, args, pulumi.Parent(m)); err != nil {
			return nil, err
		}
	}
	if args.Parts != NodeExporterOnly {
		account, err := rbac.New(ctx, course.Prometheus, &rbac.Args{
			Namespace: args.Namespace, Name: course.Prometheus, Rules: prometheusRules(args), NamespaceOnly: args.Parts == PrometheusOnly,
		}, pulumi.Parent(m))
		if err != nil {
			return nil, err
		}
		if err := newPrometheus(ctx, args, account.Name, pulumi.Parent(m)); err != nil {
			return nil, err
		}
	}
	return m, ctx.RegisterResourceOutputs(m, pulumi.Map{})
}
