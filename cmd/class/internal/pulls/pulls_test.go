package pulls

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/cmd/class/internal/config"
	"k8sbootcamp/components/editions"
	"k8sbootcamp/components/settings"
	"k8sbootcamp/internal/course"
)

func stack(t *testing.T, name string, workers int, by settings.ImagePull, topics ...string) *config.Stack {
	t.Helper()
	images, err := editions.Of(editions.Current)
	require.NoError(t, err)
	images.Node, images.Echo, images.Prometheus, images.NodeExporter, images.Topic = "node:1", "r.example/agnhost:1", "prometheus:1", "exporter:1", "r.example/agnhost:1"
	return &config.Stack{Name: name, Settings: &settings.Settings{Stack: name, Mode: settings.OwnCluster, Chapter: course.All,
		Workers: workers, ImagePull: by, Images: images, Topics: topics}}
}

func none(string) bool { return false }

// TestCount: Docker pulls once for a machine, nodes each by themselves.
func TestCount(t *testing.T) {
	own, nodes := settings.PullByHost, settings.PullByNodes
	pulled := func(has func(string) bool, stacks ...*config.Stack) map[string][3]int {
		out := map[string][3]int{}
		for _, i := range Count(stacks, has) {
			out[i.Image] = [3]int{i.Pulls, i.ByHost, i.ByNodes}
		}
		return out
	}
	host, node := stack(t, "a", 3, own), stack(t, "b", 3, nodes)
	assert.Equal(t, map[string][3]int{"node:1": {1, 1, 1}, "r.example/agnhost:1": {1, 1, 3}, "exporter:1": {1, 1, 4}, "prometheus:1": {1, 1, 3}}, pulled(none, host))
	assert.Equal(t, map[string][3]int{"node:1": {1, 1, 1}, "r.example/agnhost:1": {3, 1, 3}, "exporter:1": {4, 1, 4}, "prometheus:1": {3, 1, 3}}, pulled(none, node))
	assert.Equal(t, map[string][3]int{"node:1": {1, 1, 1}, "r.example/agnhost:1": {1, 1, 6}, "exporter:1": {1, 1, 8}, "prometheus:1": {1, 1, 6}},
		pulled(none, host, stack(t, "c", 3, own)), "a second stack of the machine pulls nothing")
	assert.Equal(t, map[string][3]int{"node:1": {0, 1, 1}, "r.example/agnhost:1": {3, 1, 6}, "exporter:1": {4, 1, 8}, "prometheus:1": {3, 1, 6}},
		pulled(func(string) bool { return true }, host, node), "what Docker has, nodes still pull")
	assert.Equal(t, [3]int{1, 1, 1}, pulled(none, stack(t, "d", 0, nodes))["prometheus:1"], "the one node runs all")

	topics := Count([]*config.Stack{stack(t, "e", 3, nodes, settings.TopicEnv, settings.TopicSecret)}, none)
	assert.Equal(t, []string{"echo app", "topic env", "topic secret"}, topics[1].Parts)
	assert.Equal(t, 3, topics[1].Pulls, "a node pulls it once for all")

	mirrored := stack(t, "m", 3, nodes)
	mirrored.Settings.ImageMirror = "http://192.168.1.5:5000"
	assert.Equal(t, []Registry{{"http://192.168.1.5:5000", 11, 40, 440, 0, 0}}, ByRegistry(Count([]*config.Stack{mirrored}, none), 40), "a mirror has no limit")

	shared := stack(t, "f", 3, own)
	shared.Settings.Mode = settings.SharedStudent
	assert.Empty(t, Count([]*config.Stack{shared, {Name: "wrong"}}, none))
}

// TestLimits: forty laptops pass what one does not.
func TestLimits(t *testing.T) {
	images := Count([]*config.Stack{stack(t, "a", 3, settings.PullByHost)}, none)
	assert.Equal(t, []Registry{{"docker.io", 3, 33, 99, 100, 200}, {"r.example", 1, 33, 33, 0, 0}}, ByRegistry(images, 33))
	for laptops, over := range map[int]bool{1: false, 33: false, 34: true, 400: true} {
		all := ByRegistry(images, laptops)
		assert.Equal(t, over, all[0].Over(), laptops)
		assert.False(t, all[1].Over(), "of it no limit is known")
	}
	text := ByRegistry(images, 40)[0].Warning()
	for _, fact := range []string{"120 pulls from docker.io", "3 on each of 40 laptops", "100 in 6 hours", "docker login", "class images save", "imagePull=host"} {
		assert.Contains(t, text, fact)
	}
}
