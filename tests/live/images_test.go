package live

import (
	"encoding/base64"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	engine "k8sbootcamp/internal/docker"
	"k8sbootcamp/internal/hostimages"
	"k8sbootcamp/tests/live/internal/imagelab"
	"k8sbootcamp/tests/live/internal/livelab"
)

// brought is the configuration of a lab all of whose images are in a registry on this
// machine, which its nodes do not reach: by a tag, by a tag and a digest, and by a digest
// alone.
func brought(t *testing.T, r *imagelab.Registry, config map[string]string) map[string]string {
	t.Helper()
	all := map[string]string{}
	all["echoImage"], _ = r.Push(t, "echo", "1")
	prometheus, digest := r.Push(t, "prometheus", "1")
	all["prometheusImage"] = prometheus + "@" + digest
	exporter, digest := r.Push(t, "exporter", "1")
	all["nodeExporterImage"] = strings.TrimSuffix(exporter, ":1") + "@" + digest
	for k, v := range config {
		all[k] = v
	}
	return all
}

// TestImagesComeOnce: the host's Docker pulls each image once, whatever the number of
// nodes and stacks; a rebuilt cluster pulls nothing, and a changed image is loaded into
// the cluster that is there.
func TestImagesComeOnce(t *testing.T) {
	turn(t, turnImages)
	for name, c := range map[string]struct {
		image   string // of the nodes
		edition string
	}{
		"Lab":             {os.Getenv("LAB_NODE_IMAGE"), "current"},
		"Kubernetes 1.24": {os.Getenv("LAB_COURSE_NODE_IMAGE"), "course"},
	} {
		t.Run(name, func(t *testing.T) {
			config := map[string]string{"edition": c.edition}
			if c.image != "" {
				config["nodeImage"] = c.image
			} else if name != "Lab" {
				t.Skip("SKIPPED, NOTHING WAS PROVEN: LAB_COURSE_NODE_IMAGE names no node image of Kubernetes 1.24")
			}
			imagesComeOnce(t, config)
		})
	}
}

func imagesComeOnce(t *testing.T, config map[string]string) {
	lab := livelab.New(t)
	r := imagelab.New(t)
	config = brought(t, r, config)
	s := lab.Stack(livelab.Unique("images"), config)
	up := func(s *livelab.Stack, what string, args ...string) (asked map[string]int, out string) {
		t.Helper()
		begin := time.Now()
		out, err := s.Up(args...)
		require.NoError(t, err, out)
		t.Logf("%s: %.1f s", what, time.Since(begin).Seconds())
		return r.Asked(), out
	}

	asked, out := up(s, "first up, 1+3 nodes")
	blobs := imagelab.Blobs(asked)
	// Three images: each its configuration and a layer of its own, and a layer of all.
	assert.Len(t, blobs, 7)
	for digest, n := range blobs {
		assert.Equal(t, 1, n, "%s was fetched more than once", digest)
	}
	assert.Contains(t, out, "image "+config["echoImage"]+": loaded into 3 nodes", out)
	assert.Contains(t, out, ": loaded into 4 nodes", "node-exporter runs on the control plane too")
	first := nodes(s)

	asked, out = up(s, "up with nothing to do")
	assert.Empty(t, asked)
	assert.NotRegexp(t, `[0-9]+ (created|updated|replaced|deleted)`, out)

	config["workers"] = "0"
	second := lab.Stack(livelab.Unique("images2"), config)
	asked, out = up(second, "first up of a second stack, 1+0 nodes")
	assert.Empty(t, asked, "Docker had all of it")
	for _, image := range []string{"echo:1", "prometheus:1", "exporter"} {
		assert.Contains(t, out, "image "+r.Host+"/"+image+": loaded into 1 node\n", out)
	}
	out, err := second.Destroy()
	require.NoError(t, err, out)

	echo, _ := r.Push(t, "echo", "2")
	s.Set("echoImage", echo)
	asked, _ = up(s, "another echoImage")
	assert.Len(t, imagelab.Blobs(asked), 2, "its configuration and its own layer; the other layer is there")
	assert.Equal(t, first, nodes(s), "the cluster is the same")
	appSays(t, s, "echo:2")

	asked, out = up(s, "a rebuilt cluster", "--replace", s.ClusterURN())
	assert.Empty(t, asked)
	assert.NotEqual(t, first, nodes(s))
	assert.Contains(t, out, "image "+echo+": loaded into 3 nodes")
	appSays(t, s, "echo:2")

	out, err = s.Destroy()
	require.NoError(t, err, out)
	assert.Empty(t, s.Containers())
}

// TestImagesThatDoNotCome: `up` says which image Docker cannot pull, why, and what to do,
// as a warning at once and as its error before any pod is made; and the next one works.
func TestImagesThatDoNotCome(t *testing.T) {
	turn(t, turnImages)
	lab := livelab.New(t)
	r := imagelab.New(t)
	config := brought(t, r, map[string]string{"workers": "0", "chapter": "0-3"})
	s := lab.Stack(livelab.Unique("faults"), config)
	out, err := s.Up()
	require.NoError(t, err, out)
	s.Set("chapter", "3-2")

	echo := config["echoImage"]
	// One for each row, for an unchanged one is not pulled beside the cluster again.
	fresh := func(name string) string {
		image, _ := r.Push(t, "faulty", name)
		return image
	}
	other, _ := r.PushFor(t, "other", "1", "s390x")
	type row struct {
		image  string
		fault  imagelab.Fault
		want   hostimages.Problem
		remedy string // in it
	}
	faults := map[string]row{
		"too many":             {fresh("many"), imagelab.SaysOfManifests(http.StatusTooManyRequests, "TOOMANYREQUESTS", "You have reached your pull rate limit"), hostimages.RateLimited, "docker login " + r.Host},
		"no login":             {fresh("login"), imagelab.Login("ann", "secret"), hostimages.Unauthorized, "docker login " + r.Host},
		"no such tag":          {strings.TrimSuffix(echo, "1") + "0", nil, hostimages.NotFound, "is the name right"},
		"another architecture": {other, nil, hostimages.OtherArch, "configure an image that does"},
		"no such host":         {"registry.invalid/echo:1", nil, hostimages.NoSuchHost, "is the network there"},
		"nobody listens":       {"127.0.0.1:1/echo:1", nil, hostimages.Unreachable, "docker pull 127.0.0.1:1/echo:1"},
		"an error of its own":  {fresh("error"), imagelab.SaysOfManifests(http.StatusServiceUnavailable, "UNAVAILABLE", "try later"), hostimages.Registry, "run this again in a while"},
	}
	if untrusted := imagelab.NewUntrusted(t); untrusted != nil {
		image, _ := untrusted.Push(t, "echo", "1")
		faults["a certificate of nobody's"] = row{image, nil, hostimages.Untrusted, "/etc/docker/certs.d/" + untrusted.Host}
	}
	for name, f := range faults {
		t.Run(name, func(t *testing.T) {
			r.Fail(f.fault)
			defer r.Fail(nil)
			s.Set("echoImage", f.image)
			begin := time.Now()
			out, err := s.Up()
			require.Error(t, err, out)
			t.Logf("%.1f s", time.Since(begin).Seconds())
			want := "image " + f.image + ": " + string(f.want)
			assert.Contains(t, out, "warning: "+want, out)
			assert.GreaterOrEqual(t, strings.Count(out, want), 2, out)
			assert.Contains(t, out, f.remedy)
			assert.Empty(t, strings.TrimSpace(kubectl(t, s, "get", "deployments", "--all-namespaces", "--selector", "app=bootcamp", "-o", "name")), "pods are waited for")
		})
	}

	// With a login it comes.
	r.Fail(imagelab.Login("ann", "secret"))
	s.Set("echoImage", echo)
	s.Set("chapter", "3-3") // with its Service
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	auth := base64.StdEncoding.EncodeToString([]byte("ann:secret"))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"auths":{"`+r.Host+`":{"auth":"`+auth+`"}}}`), 0o600))
	out, err = s.Up()
	require.NoError(t, err, out)
	appSays(t, s, "echo:1")

	// A node that has an image already needs nobody to pull it.
	r.Fail(imagelab.Says(http.StatusServiceUnavailable, "UNAVAILABLE", "gone"))
	if os.Getenv("LAB_NODE_IMAGE") != "" { // whose nodes bring the lab's images along
		own := livelab.Keys()["echoImage"]
		s.Set("echoImage", own)
		out, err = s.Up()
		require.NoError(t, err, out)
		assert.Contains(t, out, "warning: image "+own, "nobody pulls it here")
	}
	out, err = s.Destroy()
	require.NoError(t, err, out)
}

// TestImageThatStalls, with BOOTCAMP_FULL=1, for it takes two minutes: what stops coming
// ends the pull.
func TestImageThatStalls(t *testing.T) {
	if os.Getenv("BOOTCAMP_FULL") != "1" {
		t.Skip("SKIPPED, NOTHING WAS PROVEN: BOOTCAMP_FULL=1 waits for a pull that stalls")
	}
	if why := livelab.Why(); why != "" {
		t.Skip("SKIPPED, NOTHING WAS PROVEN: " + why)
	}
	r := imagelab.New(t)
	image, _ := r.Push(t, "stalls", "1")
	r.Fail(imagelab.Stalls(r))
	api, err := engine.Open(t.Context())
	require.NoError(t, err)
	defer api.Close()
	var log strings.Builder
	begin := time.Now()
	var got *hostimages.Error
	require.ErrorAs(t, hostimages.New(api, api.Platform, &log).Pull(t.Context(), []string{image}), &got)
	assert.Equal(t, hostimages.Stalled, got.Problem)
	assert.InDelta(t, 125, time.Since(begin).Seconds(), 20)
}
