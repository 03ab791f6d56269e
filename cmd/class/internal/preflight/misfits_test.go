package preflight

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/cmd/class/internal/config"
	"k8sbootcamp/components/editions"
	"k8sbootcamp/components/settings"
	"k8sbootcamp/internal/docker"
)

// TestMisfits: which images run on which Docker; one finding for all who share it.
func TestMisfits(t *testing.T) {
	course, err := editions.Of(editions.Course)
	require.NoError(t, err)
	current, err := editions.Of(editions.Current)
	require.NoError(t, err)
	stack := func(name string, edition editions.Name, node, echo string) *config.Stack {
		return &config.Stack{Name: name, Settings: &settings.Settings{
			Mode: settings.OwnCluster, Edition: edition, Images: editions.Images{Node: node, Echo: echo},
		}}
	}
	of := func(name string, edition editions.Name) *config.Stack {
		images, err := editions.Of(edition)
		require.NoError(t, err)
		return stack(name, edition, images.Node, images.Echo)
	}
	shared := of("shared", editions.Course)
	shared.Settings.Mode = settings.SharedStudent
	const (
		arch   = "the echo app's image exists for amd64 alone, and this Docker is arm64"
		cgroup = "nodes of a Kubernetes later than 1.34 do not start on cgroup v1, which this Docker has"
	)
	for name, c := range map[string]struct {
		architecture, cgroup string
		stacks               []*config.Stack
		want                 []string
	}{
		"amd64, cgroup v2":        {"x86_64", "2", []*config.Stack{of("a", editions.Course), of("b", editions.Current)}, nil},
		"amd64 by its other name": {"amd64", "2", []*config.Stack{of("a", editions.Course)}, nil},
		"arm64, course":           {"aarch64", "2", []*config.Stack{of("a", editions.Course)}, []string{arch + " (" + course.Echo + ")"}},
		"arm64, current":          {"aarch64", "2", []*config.Stack{of("a", editions.Current)}, nil},
		"arm64, current with the course's echo": {"aarch64", "2", []*config.Stack{stack("a", editions.Current, current.Node, "k8s.gcr.io/echoserver:1.4")},
			[]string{arch + " (k8s.gcr.io/echoserver:1.4)"}},
		"arm64, another echo":        {"aarch64", "2", []*config.Stack{stack("a", editions.Course, course.Node, "example/echo:1")}, nil},
		"a Docker that does not say": {"", "", []*config.Stack{of("a", editions.Course), of("b", editions.Current)}, nil},

		"cgroup v1, course":                       {"x86_64", "1", []*config.Stack{of("a", editions.Course)}, nil},
		"cgroup v1, current":                      {"x86_64", "1", []*config.Stack{of("a", editions.Current)}, []string{cgroup + " (" + current.Node + ")"}},
		"cgroup v1, 1.34":                         {"x86_64", "1", []*config.Stack{stack("a", editions.Current, "kindest/node:v1.34.11", current.Echo)}, nil},
		"cgroup v1, 1.35":                         {"x86_64", "1", []*config.Stack{stack("a", editions.Current, "kindest/node:v1.35.0", current.Echo)}, []string{cgroup + " (kindest/node:v1.35.0)"}},
		"cgroup v2, 1.35":                         {"x86_64", "2", []*config.Stack{stack("a", editions.Current, "kindest/node:v1.35.0", current.Echo)}, nil},
		"cgroup v1, a node of nobody knows which": {"x86_64", "1", []*config.Stack{stack("a", editions.Current, "example/node:1", current.Echo)}, nil},

		"a class of one mind": {"aarch64", "1", []*config.Stack{of("a", editions.Course), of("b", editions.Course), of("c", editions.Course)},
			[]string{arch + " (" + course.Echo + ")"}},
		"a class of several": {"aarch64", "1", []*config.Stack{of("a", editions.Course), of("b", editions.Current), shared, of("c", editions.Course), {Name: "wrong"}},
			[]string{"a, c: " + arch + " (" + course.Echo + ")", "b: " + cgroup + " (" + current.Node + ")"}},
		"both of one": {"aarch64", "1", []*config.Stack{stack("a", editions.Current, current.Node, course.Echo)},
			[]string{arch + " (" + course.Echo + ")", cgroup + " (" + current.Node + ")"}},
		"on a shared cluster": {"aarch64", "1", []*config.Stack{shared}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			m := &Machine{Docker: &docker.Info{Architecture: c.architecture, CgroupVersion: c.cgroup}}
			var got []string
			for _, f := range m.Misfits(c.stacks) {
				assert.Equal(t, CheckDocker, f.Check)
				assert.NotEmpty(t, f.Remedy)
				got = append(got, f.Problem)
			}
			assert.Equal(t, c.want, got)
		})
	}
	assert.Empty(t, (&Machine{}).Misfits([]*config.Stack{of("a", editions.Course)}), "no Docker")
}
