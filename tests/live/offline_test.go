package live

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	engine "k8sbootcamp/internal/docker"
	"k8sbootcamp/internal/hostimages"
	"k8sbootcamp/tests/internal/results"
	"k8sbootcamp/tests/live/internal/imagelab"
	"k8sbootcamp/tests/live/internal/livelab"
)

// set is an environment with other values; an empty one is taken out.
func set(env []string, values map[string]string) []string {
	env = slices.DeleteFunc(slices.Clone(env), func(s string) bool {
		name, _, _ := strings.Cut(s, "=")
		_, ours := values[name]
		return ours
	})
	for name, value := range values {
		if value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// fresh is the environment of a laptop that has Docker and Go, and of Pulumi nothing, and
// that reaches no network: a proxy that lets nothing through notes who tries.
func (c *classroom) fresh() (env []string, tried func() []string) {
	t := c.t
	t.Helper()
	bin := t.TempDir()
	var path []string
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if _, err := os.Stat(filepath.Join(dir, "pulumi")); err != nil {
			path = append(path, dir)
			continue
		}
		for _, needed := range []string{"docker", "go"} { // which may lie beside it
			if _, err := os.Stat(filepath.Join(dir, needed)); err == nil {
				require.NoError(t, os.Symlink(filepath.Join(dir, needed), filepath.Join(bin, needed)))
			}
		}
	}
	cache, err := exec.Command("go", "env", "GOCACHE", "GOMODCACHE").Output()
	require.NoError(t, err)
	folders := strings.Fields(string(cache))
	require.Len(t, folders, 2)

	var mu sync.Mutex
	var all []string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, r.Method+" "+r.Host)
		w.WriteHeader(http.StatusBadGateway)
	}))
	t.Cleanup(proxy.Close)
	return set(c.env, map[string]string{
			"PATH":        strings.Join(append([]string{bin}, path...), string(os.PathListSeparator)),
			"PULUMI_HOME": t.TempDir(), "XDG_CACHE_HOME": t.TempDir(),
			"GOCACHE": folders[0], "GOMODCACHE": folders[1], "GOPROXY": "off",
			"HTTP_PROXY": proxy.URL, "HTTPS_PROXY": proxy.URL, "http_proxy": "", "https_proxy": "",
		}), func() []string {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(all)
		}
}

// run runs the tool as a user does.
func (c *classroom) run(args ...string) string {
	c.t.Helper()
	began := time.Now()
	out, err := c.command(c.tool, args...).CombinedOutput()
	require.NoError(c.t, err, "class %s:\n%s", strings.Join(args, " "), out)
	c.t.Logf("class %s %s: %.1f s", args[0], args[1], time.Since(began).Seconds())
	return string(out)
}

func flags(config map[string]string) (args []string) {
	for key, value := range config {
		args = append(args, "--config", key+"="+value)
	}
	return args
}

// TestOffline: what was saved from a registry is loaded where there is neither that nor
// Pulumi, and the lab comes up: with images by a tag, by tag and digest, and by a digest
// alone, and with a node image by its digest.
func TestOffline(t *testing.T) {
	turn(t, turnOffline)
	name := livelab.Unique("offline")
	c := newClassroom(t, name)
	defer results.Test(t, "class tool: a lab without a network, out of a file", time.Now())
	r := imagelab.New(t)
	config := brought(t, r, map[string]string{"workers": "0"})
	for key, image := range map[string]string{"kubeStateMetricsImage": "metrics", "grafanaImage": "grafana", "topicImage": "topic"} { // for what is not switched on yet
		config[key], _ = r.Push(t, image, "1")
	}
	node, digest := r.Push(t, "node", "1") // a real one is a GB: see below
	real := livelab.Keys()
	if edition, ok := real["edition"]; ok {
		config["edition"] = edition
	}
	config["nodeImage"] = node + "@" + digest
	file := filepath.Join(t.TempDir(), "class.tar")
	r.Asked()

	listed := c.run(append([]string{"images", "list"}, flags(config)...)...)
	assert.Contains(t, listed, config["echoImage"])
	assert.Empty(t, r.Asked(), "to list is to ask nobody")
	out := c.run(append([]string{"images", "save", file}, flags(config)...)...)
	assert.Contains(t, out, "./class up --config ")
	for blob, n := range imagelab.Blobs(r.Asked()) {
		assert.Equal(t, 1, n, "%s was fetched more than once", blob)
	}
	for _, image := range []string{"echoImage", "prometheusImage", "nodeExporterImage", "nodeImage"} {
		assert.Error(t, exec.Command("docker", "image", "inspect", config[image]).Run(), "save leaves Docker alone")
	}
	r.Fail(imagelab.Says(http.StatusServiceUnavailable, "UNAVAILABLE", "there is no network"))

	var tried func() []string
	c.env, tried = c.fresh()
	out = c.run("images", "load", file)
	assert.Contains(t, out, "now here: pulumi v")
	assert.Contains(t, out, "7 images")
	assert.Contains(t, out, "--config echoImage="+config["echoImage"])
	assert.NotContains(t, out, "warning:", "all that this lab needs is there")
	assert.Contains(t, c.run("images", "load", file), "all of it is here already")
	loaded, err := hostimages.LoadName(config["nodeImage"])
	require.NoError(t, err)
	if image := real["nodeImage"]; image != "" { // what runs takes the place of what was loaded
		out, err := exec.Command("docker", "image", "rm", loaded).CombinedOutput() // or it stays, without a name
		require.NoError(t, err, string(out))
		out, err = exec.Command("docker", "tag", image, loaded).CombinedOutput()
		require.NoError(t, err, string(out))
	} else {
		delete(config, "nodeImage")
	}

	// The proxy is at an address that is another one inside of the nodes.
	began := time.Now()
	d := c.class(0, append([]string{"up", "--stack", name}, flags(config)...)...)
	t.Logf("class up: %.1f s", time.Since(began).Seconds())
	require.Len(t, d.Stacks, 1)
	assert.Empty(t, r.Asked(), "the registry was asked after the save")
	assert.Empty(t, tried(), "somebody asked the network")
	container := c.nodes(name)[0].Name
	assert.EventuallyWithT(t, func(t *assert.CollectT) { // as appSays
		says, err := exec.Command("docker", "exec", container, "kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf",
			"get", "--raw", d.Stacks[0].Outputs["appProxyPath"]).CombinedOutput()
		assert.NoError(t, err, string(says))
		assert.Equal(t, "echo:1", strings.TrimSpace(string(says)))
	}, 30*time.Second, time.Second)
	d = c.class(0, "status", "--stack", name)
	assert.Positive(t, d.Stacks[0].Status.Total)
	assert.Equal(t, d.Stacks[0].Status.Total, d.Stacks[0].Status.Ready)
	c.class(0, "destroy", "--stack", name, "--remove", "--yes")
	assert.Empty(t, c.nodes(name))
	assert.Empty(t, tried(), "somebody asked the network")
}

// TestLoadIntoContainerdStore: containerd's store takes the same file, and has the images
// under the same names.
func TestLoadIntoContainerdStore(t *testing.T) {
	c := newClassroom(t)
	host := containerdStore(t)
	r := imagelab.New(t)
	config := brought(t, r, map[string]string{"workers": "0"})
	for key, image := range map[string]string{"kubeStateMetricsImage": "metrics", "grafanaImage": "grafana", "topicImage": "topic"} {
		config[key], _ = r.Push(t, image, "1")
	}
	node, digest := r.Push(t, "node", "1")
	config["nodeImage"] = node + "@" + digest
	file := filepath.Join(t.TempDir(), "class.tar")
	c.run(append([]string{"images", "save", file}, flags(config)...)...)
	r.Fail(imagelab.Says(http.StatusServiceUnavailable, "UNAVAILABLE", "there is no network"))
	r.Asked()
	c.env = set(c.env, map[string]string{"DOCKER_HOST": host})
	assert.Contains(t, c.run("images", "load", file), "7 images")
	assert.Contains(t, c.run("images", "load", file), "all of it is here already")

	d := &elsewhere{host: host}
	require.NoError(t, d.on(func() (err error) { d.api, err = engine.Open(t.Context()); return err }))
	t.Cleanup(d.api.Close)
	var log strings.Builder
	h := hostimages.New(d, d.api.Platform, &log)
	var images []hostimages.Wanted
	for _, key := range []string{"echoImage", "prometheusImage", "nodeExporterImage", "nodeImage"} {
		images = append(images, hostimages.Wanted{Image: config[key]})
	}
	require.NoError(t, h.Pull(t.Context(), hostimages.Names(images)), log.String())
	assert.Empty(t, r.Asked())
	if image := os.Getenv("LAB_NODE_IMAGE"); image != "" {
		node := bareNode(t, image)
		require.NoError(t, h.Load(t.Context(), hostimages.DockerNodes{}, []hostimages.Node{{Name: node, ControlPlane: true}}, images), log.String())
		assert.Equal(t, 4, strings.Count(log.String(), ": loaded into 1 node"), log.String())
	}
}
