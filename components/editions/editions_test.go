package editions_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kind/pkg/apis/config/defaults"

	"k8sbootcamp/components/editions"
)

// TestCourse holds the course's images against the text's manifests.
func TestCourse(t *testing.T) {
	t.Parallel()
	course, err := editions.Of(editions.Course)
	require.NoError(t, err)
	for file, want := range map[string]string{
		"cluster": course.Node, "app": course.Echo, "prometheus": course.Prometheus, "node-exporter": course.NodeExporter,
	} {
		found := textImages(t, "../../tests/testdata/course/"+file+".yml")
		require.NotEmpty(t, found, file)
		for _, image := range found {
			assert.Equal(t, image, want, file)
		}
	}
	assert.Contains(t, course.Node, "@sha256:", "the text pins the node image by digest")
}

// textImages are all images that a file of the text names.
func textImages(t *testing.T, file string) []string {
	t.Helper()
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	type imaged struct{ Image string }
	var images []string
	for dec := yaml.NewDecoder(bytes.NewReader(b)); ; {
		var object struct {
			Nodes []imaged
			Spec  struct {
				Template struct{ Spec struct{ Containers []imaged } }
			}
		}
		err := dec.Decode(&object)
		if errors.Is(err, io.EOF) {
			return images
		}
		require.NoError(t, err, file)
		for _, i := range append(object.Nodes, object.Spec.Template.Spec.Containers...) {
			images = append(images, i.Image)
		}
	}
}

// TestCurrent: the node image is the one that the pinned kind was released with.
func TestCurrent(t *testing.T) {
	t.Parallel()
	current, err := editions.Of(editions.Current)
	require.NoError(t, err)
	assert.Equal(t, defaults.Image, current.Node)
}

func TestOf(t *testing.T) {
	t.Parallel()
	for _, n := range editions.Names {
		images, err := editions.Of(n)
		require.NoError(t, err)
		for _, i := range []string{images.Node, images.Echo, images.Prometheus, images.NodeExporter} {
			assert.NoError(t, editions.CheckImage(i), "%s: %s", n, i)
		}
	}
	_, err := editions.Of("yesterday")
	assert.ErrorContains(t, err, `"yesterday"`)
}

func TestCheckImage(t *testing.T) {
	t.Parallel()
	const digest = "@sha256:0866296e693efe1fed79d5e6c7af8df71fc73ae45e3679af05342239cdc5bc8e"
	for _, good := range []string{"a:1", "a/b:v1.2", "registry.example/a:1", "localhost:5000/a:1", "a" + digest, "a:1" + digest, "a:latest" + digest} {
		assert.NoError(t, editions.CheckImage(good), good)
	}
	for _, bad := range []string{
		"a", "localhost:5000/a", "a:latest", "a:LATEST",
		"", "A:1", "a:", "a b:1", "a:1\n", "a@sha256:00", "http://a:1", "-:1", digest, strings.Repeat("a", 256) + ":1",
	} {
		assert.Error(t, editions.CheckImage(bad), "%q", bad)
	}
}

func TestForPods(t *testing.T) {
	t.Parallel()
	for image, want := range map[string]string{
		"a:latest" + digest: "a" + digest, "r.example:5000/a/b:latest" + digest: "r.example:5000/a/b" + digest,
		"a:1" + digest: "a:1" + digest, "a" + digest: "a" + digest, "a:latest": "a:latest", "a:1": "a:1", "": "", "A:latest" + digest: "A:latest" + digest,
		"latest" + digest: "latest" + digest,
	} {
		assert.Equal(t, want, editions.ForPods(image), image)
	}
}

func TestEchoArgs(t *testing.T) {
	t.Parallel()
	serve := []string{"netexec", "--http-port=8080"}
	for image, want := range map[string][]string{
		"registry.k8s.io/echoserver:1.4":               nil,
		"registry.k8s.io/e2e-test-images/agnhost:2.63": serve,
		"agnhost:2":                              serve,
		"registry.example:5000/mirror/agnhost:2": serve,
		"registry.example/agnhost/echo:1":        nil,
		"registry.example/my-agnhost:1":          nil,
		"not an image":                           nil,
		"registry.k8s.io/e2e-test-images/agnhost@sha256:0866296e693efe1fed79d5e6c7af8df71fc73ae45e3679af05342239cdc5bc8e": serve,
	} {
		assert.Equal(t, want, editions.EchoArgs(image), image)
	}
}

// TestRegistries: those of the editions' images, each once.
func TestRegistries(t *testing.T) {
	t.Parallel()
	assert.Equal(t, []string{"docker.io", "quay.io", "registry.k8s.io"}, editions.Registries())
}
