package editions_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/components/editions"
)

const digest = "@sha256:0866296e693efe1fed79d5e6c7af8df71fc73ae45e3679af05342239cdc5bc8e"

// TestNodes: what the version in a node image's tag says of its nodes.
func TestNodes(t *testing.T) {
	t.Parallel()
	type refuses struct{ schema1, cgroupV1 bool }
	for node, want := range map[string]refuses{
		"kindest/node:v1.24.0":                               {},
		"kindest/node:v1.24.0" + digest:                      {},
		"kindest/node:v1.28.15":                              {},
		"kindest/node:v1.29.12":                              {}, // of kind 0.26, with containerd 1.7
		"kindest/node:v1.30.8":                               {},
		"kindest/node:v1.31.4":                               {},
		"kindest/node:v1.32.0":                               {},
		"kindest/node:v1.29.14":                              {schema1: true}, // of kind 0.27, with containerd 2.0
		"kindest/node:v1.30.10":                              {schema1: true},
		"kindest/node:v1.31.6":                               {schema1: true},
		"kindest/node:v1.31.14":                              {schema1: true},
		"kindest/node:v1.32.1":                               {schema1: true},
		"kindest/node:v1.33.0":                               {schema1: true},
		"kindest/node:v1.34.11" + digest:                     {schema1: true},
		"registry.example:5000/mirror/node:v1.34.4":          {schema1: true},
		"node:v1.34.4-stale":                                 {schema1: true},
		"kindest/node:v1.35.0":                               {true, true},
		"kindest/node:v1.35.0-rc.1":                          {true, true},
		"docker.io/kindest/node:v1.37.0" + digest:            {true, true},
		"kindest/node:v1.100.0":                              {true, true},
		"kindest/node" + digest:                              {},
		"kindest/node:latest" + digest:                       {},
		"kindest/node:v1.35":                                 {},
		"kindest/node:v1":                                    {},
		"kindest/node:1.35.0":                                {},
		"kindest/node:v1.14.1_1":                             {},
		"registry.example/node:v2.36.0":                      {},
		"registry.example/node:v0.36.0":                      {},
		"registry.example/v1.36.0:main":                      {},
		"registry.example/node:v1.99999999999999999999999.0": {},
		"not an image":                                       {},
		"":                                                   {},
	} {
		assert.Equal(t, want, refuses{editions.RefusesSchema1(node), editions.RefusesCgroupV1(node)}, node)
	}
	for _, patch := range []string{".0", ".15", ".99"} {
		assert.False(t, editions.RefusesSchema1("kindest/node:v"+editions.LastForSchema1+patch))
		assert.False(t, editions.RefusesCgroupV1("kindest/node:v"+editions.LastForCgroupV1+patch))
	}
}

// TestEchoservers: what is known of the course's echo image, and of nothing else.
func TestEchoservers(t *testing.T) {
	t.Parallel()
	type known struct {
		schema1 bool
		onlyFor string
	}
	for image, want := range map[string]known{
		"registry.k8s.io/echoserver:1.4":              {true, "amd64"},
		"registry.k8s.io/echoserver:1.4" + digest:     {true, "amd64"},
		"registry.k8s.io/echoserver-amd64:1.4":        {true, "amd64"},
		"k8s.gcr.io/echoserver:1.4":                   {true, "amd64"},
		"gcr.io/google_containers/echoserver:1.4":     {true, "amd64"},
		"gcr.io/google-containers/echoserver:1.4":     {true, "amd64"},
		"gcr.io/google_containers/echoserver:1.0":     {true, "amd64"},
		"registry.k8s.io/echoserver:1.8":              {false, "amd64"},
		"registry.k8s.io/echoserver:1.10":             {false, "amd64"},
		"registry.k8s.io/echoserver-amd64:1.10":       {false, "amd64"},
		"registry.k8s.io/echoserver:1.11":             {},
		"registry.k8s.io/echoserver:1.-4":             {},
		"registry.k8s.io/echoserver:4":                {},
		"registry.k8s.io/echoserver:2.4":              {},
		"registry.k8s.io/echoserver" + digest:         {},
		"registry.k8s.io/echoserver":                  {},
		"registry.k8s.io/echoserver-arm:1.8":          {},
		"registry.k8s.io/e2e-test-images/agnhost:1.4": {},
		"registry.example/echoserver:1.4":             {}, // may be built anew
		"echoserver:1.4":                              {},
		"not an image":                                {},
		"":                                            {},
	} {
		assert.Equal(t, want, known{editions.Schema1(image), editions.OnlyFor(image)}, image)
	}
}

// TestEachEditionFits: an edition's own nodes take its own images.
func TestEachEditionFits(t *testing.T) {
	t.Parallel()
	for _, n := range editions.Names {
		images, err := editions.Of(n)
		require.NoError(t, err)
		if editions.RefusesSchema1(images.Node) {
			for _, i := range []string{images.Echo, images.Prometheus, images.NodeExporter} {
				assert.False(t, editions.Schema1(i), "%s: %s", n, i)
			}
		}
	}
	course, err := editions.Of(editions.Course)
	require.NoError(t, err)
	assert.True(t, editions.Schema1(course.Echo), "the reason why images come in sets")
	current, err := editions.Of(editions.Current)
	require.NoError(t, err)
	assert.Empty(t, editions.OnlyFor(current.Echo), "what is told to who has another architecture")
}

func TestRunsAs(t *testing.T) {
	for image, want := range map[string]int{
		"prom/prometheus:v3.13.2":                        65534,
		"docker.io/prom/prometheus:v2.33.3":              65534,
		"quay.io/prometheus/prometheus:v3.13.2":          65534,
		"registry.k8s.io/e2e-test-images/agnhost:2.63.0": 1000,
		"registry.k8s.io/echoserver:1.4":                 0,
		"registry.example/prom/prometheus:v3.13.2":       0,
		"not an image": 0,
	} {
		user, known := editions.RunsAs(image)
		assert.Equal(t, want, user, image)
		assert.Equal(t, want != 0, known, image)
	}
	for _, edition := range editions.Names {
		images, err := editions.Of(edition)
		require.NoError(t, err)
		_, known := editions.RunsAs(images.Prometheus)
		assert.True(t, known, edition)
		_, known = editions.RunsAs(images.Echo)
		assert.Equal(t, edition == editions.Current, known, edition)
	}
}
