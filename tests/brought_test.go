package tests

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/components/images"
	"k8sbootcamp/components/kind"
	"k8sbootcamp/components/settings"
	"k8sbootcamp/internal/course"
	"k8sbootcamp/internal/hostimages"
	"k8sbootcamp/internal/kindcluster"
)

// imagesOf are those that the pods of a recording run, as the tools are told of them.
func imagesOf(r *Recording) []hostimages.Wanted {
	var all []hostimages.Wanted
	for _, res := range r.Kubernetes() {
		for _, list := range []string{"containers", "initContainers"} {
			containers, _ := at(res.Object(), "spec", "template", "spec", list).([]any)
			for _, c := range containers {
				all = append(all, hostimages.Wanted{Image: c.(map[string]any)["image"].(string), Everywhere: res.Type == daemonSetType})
			}
		}
	}
	return all
}

// TestImagesAreBrought: at every chapter the images that pods run, and no other, are
// pulled beside the cluster and loaded once it is there; and all in the cluster is made
// after that, and does not go with it.
func TestImagesAreBrought(t *testing.T) {
	t.Parallel()
	runs := map[string]Run{}
	for name, set := range map[string]map[string]Run{"golden": golden, "further": further} {
		for one, run := range set {
			runs[name+" "+one] = run
		}
	}
	for _, c := range chapters() {
		runs["chapter "+string(c)] = walkers["own"].at(c)
	}
	brought := 0
	for name, run := range runs {
		r := run.Good(t)
		mirror := run.Config["imageMirror"]
		off := r.shared() || run.Config["imagePull"] == string(settings.PullByNodes) || run.Config["chapter"] == string(course.Chapter03)
		mirrorIsAsked(t, name, r, mirror)
		if off {
			if mirror == "" {
				assert.Empty(t, r.Of(images.Type, ""), name)
			}
			assert.Empty(t, r.Of(commandType, images.PullName), name)
			assert.Empty(t, r.Of(commandType, images.LoadName), name)
			continue
		}
		brought++
		pull, load := r.One(t, commandType, images.PullName), r.One(t, commandType, images.LoadName)
		want := hostimages.List(imagesOf(r))
		for _, command := range []*Registration{pull, load} {
			assert.JSONEq(t, want, command.Object()["stdin"].(string), "%s of %s", command, name)
			assert.Equal(t, images.Type, r.ByURN(command.Parent).Type)
			assert.False(t, command.DeleteBeforeReplace)
		}
		assert.Empty(t, pull.DependsOn, "%s: it need not wait for the cluster", name)
		assert.Contains(t, load.DependsOn, pull.URN, name)
		cluster := r.One(t, commandType, "cluster")
		assert.Contains(t, load.DependsOn, cluster.URN, name)
		assert.NotEmpty(t, at(load.Object(), "environment", kindcluster.EnvMade), "%s: another cluster has it run again", name)
		assert.NotContains(t, load.SecretOutputs, "stdout")
		for _, res := range r.Kubernetes() {
			assert.Contains(t, res.DependsOn, load.URN, "%s of %s", res, name)
			assert.Equal(t, cluster.URN, res.DeletedWith, "%s of %s", res, name)
			assert.NotContains(t, res.ReplaceWith, load.URN, "%s of %s", res, name)
		}
	}
	assert.Greater(t, brought, 10)
}

// mirrorIsAsked: by the nodes before anything runs there, for whoever pulls, and by all that
// has Docker pull; the cluster is the same without it.
func mirrorIsAsked(t *testing.T, name string, r *Recording, mirror string) {
	t.Helper()
	var asks []string
	for _, command := range r.Of(commandType, "") {
		if url, ok := at(command.Object(), "environment", hostimages.EnvMirror).(string); ok {
			assert.Equal(t, mirror, url, "%s of %s", command, name)
			asks = append(asks, command.Name)
		}
	}
	if mirror == "" {
		assert.Empty(t, asks, name)
		assert.Empty(t, r.Of(commandType, images.MirrorName), name)
		return
	}
	want := []string{kind.PrepareName, images.MirrorName}
	if len(r.Of(commandType, images.PullName)) > 0 {
		want = append(want, images.PullName, images.LoadName)
		assert.Contains(t, r.One(t, commandType, images.LoadName).DependsOn, r.One(t, commandType, images.MirrorName).URN, "%s: it may restart what images are loaded into", name)
	}
	assert.ElementsMatch(t, want, asks, name)
	cluster, nodes := r.One(t, commandType, "cluster"), r.One(t, commandType, images.MirrorName)
	assert.Contains(t, nodes.DependsOn, cluster.URN, name)
	assert.Equal(t, cluster.URN, nodes.DeletedWith, "%s: a cluster that goes need not be told", name)
	assert.NotEmpty(t, at(nodes.Object(), "environment", kindcluster.EnvMade), "%s: another cluster has it run again", name)
	for _, res := range r.Kubernetes() {
		assert.Contains(t, res.DependsOn, nodes.URN, "%s of %s", res, name)
	}
}

// TestClusterIsPrepared: what a cluster needs of its host is looked for before each that is
// made, and so before the one is given up that it takes the place of; with the same cluster
// nothing is looked for again.
func TestClusterIsPrepared(t *testing.T) {
	t.Parallel()
	seen := 0
	for name, run := range golden {
		r := run.Good(t)
		if r.shared() {
			assert.Empty(t, r.Of(commandType, kind.PrepareName), name)
			continue
		}
		seen++
		cluster, prepare := r.One(t, commandType, "cluster"), r.One(t, commandType, kind.PrepareName)
		assert.Contains(t, cluster.DependsOn, prepare.URN, name)
		assert.Equal(t, cluster.Object()["stdin"], prepare.Object()["stdin"], name)
		assert.Nil(t, prepare.Object()["triggers"], "%s: it is updated", name)
		assert.NotContains(t, cluster.ReplaceWith, prepare.URN, name)
	}
	assert.Greater(t, seen, 3)
}

// TestImagesOfTwoPods: an image of several pods is told once, and for every node where one
// of them runs everywhere, in whichever order.
func TestImagesOfTwoPods(t *testing.T) {
	t.Parallel()
	list := []hostimages.Wanted{{Image: "b:1"}, {Image: "a:1"}, {Image: "b:1", Everywhere: true}, {Image: "a:1"}}
	want := []hostimages.Wanted{{Image: "a:1"}, {Image: "b:1", Everywhere: true}}
	for range 2 {
		var told []hostimages.Wanted
		require.NoError(t, json.Unmarshal([]byte(hostimages.List(list)), &told))
		assert.Equal(t, want, told)
		slices.Reverse(list)
	}
}
