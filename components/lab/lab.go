// Package lab puts the course's lab together: settings, then what each chapter adds,
// then the cluster and what runs in it, then the outputs. Start reading at contents.
//
// Its tests are in tests/.
package lab

import (
	"context"
	"slices"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"k8sbootcamp/components/settings"
	"k8sbootcamp/internal/course"
	"k8sbootcamp/internal/docker"
	"k8sbootcamp/internal/sharedcluster"
)

// contents are the course's: what each chapter adds to a lab, in the text's order. In the
// others there is nothing to make.
var contents = []struct {
	chapter course.Chapter
	adds    func(*plan) // nil: the cluster itself, or a place on a shared one, is always there
}{
	{course.Chapter03, nil},
	{course.Chapter32, (*plan).addApp},          // its Deployment
	{course.Chapter33, (*plan).addService},      // of the app
	{course.Chapter41, (*plan).addNodeExporter}, // on every node
	{course.Chapter42, (*plan).addAccount},      // which Prometheus reads the cluster with
	{course.Chapter43, (*plan).addPrometheus},   // and its targets
	{course.Chapter44, (*plan).addExercises},    // pods watched, rules, dashboards: where they are switched on
	{course.Chapter5, (*plan).addTopics},        // what the text leaves out: where it is switched on
}

// Ask is what the program asks of the world before it registers anything.
type Ask struct {
	// Docker, what it is, where that matters to the settings; nil where the host of the
	// program has asked (OnDocker).
	Docker func(context.Context) (*docker.Info, error)
	// Cluster, a shared one, which it is and whose are the objects; sharedcluster.Ask.
	Cluster func(_ context.Context, _ sharedcluster.Access, owned []sharedcluster.Object, student bool) (*sharedcluster.Facts, error)
}

// Program is the Pulumi program under a language host.
func Program(ctx *pulumi.Context) error {
	return New(settings.EnvKeys(), Ask{docker.Ask, sharedcluster.Ask})(ctx)
}

// New returns the Pulumi program for a host that knows the full names of the
// stack's configured keys by other means than the environment.
func New(configKeys []string, ask Ask) pulumi.RunFunc {
	return func(ctx *pulumi.Context) error {
		all := append(slices.Clone(checks), dockerFits(ctx.Context(), ask.Docker))
		s, err := settings.Parse(settings.FromContext(ctx, configKeys), all...)
		if err != nil {
			return err
		}
		switch s.Mode {
		case settings.SharedPlatform:
			return buildPlatform(ctx, s, ask)
		case settings.SharedStudent:
			return buildStudent(ctx, s, ask)
		default:
			return buildOwn(ctx, s)
		}
	}
}
