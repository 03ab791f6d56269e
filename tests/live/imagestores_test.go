package live

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	engine "k8sbootcamp/internal/docker"
	"k8sbootcamp/internal/hostimages"
	"k8sbootcamp/tests/live/internal/imagelab"
	"k8sbootcamp/tests/live/internal/livelab"
)

// TestImageStores: images come out of both image stores of Docker, the classic one and
// containerd's, and into nodes of both Kubernetes versions. A node here is a container in
// which containerd alone runs.
func TestImageStores(t *testing.T) {
	if why := livelab.Why(); why != "" {
		t.Skip("SKIPPED, NOTHING WAS PROVEN: " + why)
	}
	nodeImages := map[string]string{"Lab": os.Getenv("LAB_NODE_IMAGE"), "Kubernetes 1.24": os.Getenv("LAB_COURSE_NODE_IMAGE")}
	for _, store := range []string{"the machine's Docker", "containerd's store"} {
		t.Run(store, func(t *testing.T) {
			host := ""
			if store == "containerd's store" {
				host = containerdStore(t)
			}
			for name, image := range nodeImages {
				t.Run(name, func(t *testing.T) {
					if image == "" {
						t.Skip("SKIPPED, NOTHING WAS PROVEN: no node image")
					}
					fromStore(t, host, image)
				})
			}
		})
	}
}

func fromStore(t *testing.T, host, nodeImage string) {
	r := imagelab.New(t)
	tagged, _ := r.Push(t, "tagged", "1")
	both, digest := r.Push(t, "both", "1")
	alone, sum := r.Push(t, "alone", "1")
	repository := func(ref string) string { return strings.TrimSuffix(ref, ":1") }
	images := []hostimages.Wanted{{Image: tagged}, {Image: both + "@" + digest}, {Image: repository(alone) + "@" + sum}}
	full := []string{tagged, repository(both) + "@" + digest, repository(alone) + "@" + sum} // as the kubelet asks
	node := bareNode(t, nodeImage)
	cluster := []hostimages.Node{{Name: node, ControlPlane: true}}

	d := &elsewhere{host: host}
	require.NoError(t, d.on(func() (err error) { d.api, err = engine.Open(t.Context()); return err }))
	t.Cleanup(d.api.Close)
	var log strings.Builder
	h := hostimages.New(d, d.api.Platform, &log)
	load := func() {
		t.Helper()
		log.Reset()
		require.NoError(t, h.Load(t.Context(), hostimages.DockerNodes{}, cluster, images), log.String())
	}

	require.NoError(t, h.Pull(t.Context(), hostimages.Names(images)))
	for blob, n := range imagelab.Blobs(r.Asked()) {
		assert.Equal(t, 1, n, "%s was fetched more than once", blob)
	}
	require.NoError(t, h.Pull(t.Context(), hostimages.Names(images)))
	load()
	assert.Empty(t, r.Asked(), "Docker had them")
	assert.Equal(t, 3, strings.Count(log.String(), ": loaded into 1 node"), log.String())
	for _, name := range full {
		assert.True(t, hostimages.DockerNodes{}.Finds(t.Context(), node, name), "the kubelet does not find %s", name)
		assert.Contains(t, inNode(t, node, "images", "check", "name=="+name), " complete ")
	}
	for line := range strings.Lines(inNode(t, node, "images", "list", "--quiet")) {
		if strings.HasPrefix(line, r.Host) {
			assert.Contains(t, full, strings.TrimSpace(line), "a name of ours is left in the node")
		}
	}
	load()
	assert.Empty(t, log.String(), "the node has all of it")

	// The tag is another image's now.
	_, _ = r.Push(t, "tagged", "1")
	require.NoError(t, d.on(func() error { return exec.Command("docker", "image", "rm", tagged).Run() }))
	before := inNode(t, node, "images", "list", "name=="+tagged)
	load()
	assert.Empty(t, log.String(), "what the node has, and Docker has not, is pulled by nobody")
	require.NoError(t, h.Pull(t.Context(), []string{tagged}))
	load()
	assert.Contains(t, log.String(), "image "+tagged+": loaded into 1 node")
	assert.NotEqual(t, before, inNode(t, node, "images", "list", "name=="+tagged))
	assert.Equal(t, 1, strings.Count(log.String(), "loaded"), log.String())
}

// TestOldFormat: an image of Docker's first format comes into Docker, whether that pulls it
// itself or refuses it, and from there into nodes whose containerd refuses it too.
func TestOldFormat(t *testing.T) {
	if why := livelab.Why(); why != "" {
		t.Skip("SKIPPED, NOTHING WAS PROVEN: " + why)
	}
	node := os.Getenv("LAB_NODE_IMAGE")
	if node == "" {
		t.Skip("SKIPPED, NOTHING WAS PROVEN: no node image")
	}
	for _, store := range []string{"the machine's Docker", "containerd's store"} {
		t.Run(store, func(t *testing.T) {
			host := ""
			if store == "containerd's store" {
				host = containerdStore(t)
			}
			r := imagelab.New(t)
			image := r.PushOld(t, "old", "1")
			d := &elsewhere{host: host}
			require.NoError(t, d.on(func() (err error) { d.api, err = engine.Open(t.Context()); return err }))
			t.Cleanup(d.api.Close)
			var log strings.Builder
			h := hostimages.New(d, d.api.Platform, &log)
			require.NoError(t, h.Pull(t.Context(), []string{image}), log.String())
			if host != "" {
				assert.Contains(t, log.String(), "and made one of today's format")
			}
			for blob, n := range imagelab.Blobs(r.Asked()) {
				assert.Equal(t, 1, n, "%s was fetched more than once", blob)
			}
			require.NoError(t, h.Pull(t.Context(), []string{image}))
			assert.Empty(t, r.Asked(), "Docker had it")
			at := bareNode(t, node)
			require.NoError(t, h.Load(t.Context(), hostimages.DockerNodes{}, []hostimages.Node{{Name: at, ControlPlane: true}}, []hostimages.Wanted{{Image: image}}), log.String())
			assert.True(t, hostimages.DockerNodes{}.Finds(t.Context(), at, image))
			assert.Contains(t, inNode(t, at, "images", "check", "name=="+image), " complete ")
			assert.Contains(t, inNode(t, at, "run", "--rm", "--snapshotter", "native", image, "once", "/server", "once"), "old:1")
		})
	}
}

// elsewhere is a Docker that is not that of the nodes: the docker command is told which one
// it is for as long as it is asked.
type elsewhere struct {
	host string // as DOCKER_HOST; empty is the machine's
	api  *engine.API
	mu   sync.Mutex
}

func (e *elsewhere) on(do func() error) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.host == "" {
		return do()
	}
	was, set := os.LookupEnv("DOCKER_HOST")
	os.Setenv("DOCKER_HOST", e.host) //nolint:usetesting // until it has answered, and no longer
	defer func() {
		os.Unsetenv("DOCKER_HOST")
		if set {
			os.Setenv("DOCKER_HOST", was) //nolint:usetesting // as above
		}
	}()
	return do()
}

func (e *elsewhere) Image(ctx context.Context, name string) (found *engine.Image, err error) {
	err = e.on(func() (err error) { found, err = e.api.Image(ctx, name); return err })
	return found, err
}

func (e *elsewhere) Pull(ctx context.Context, name, version, login string, step func(engine.Event)) error {
	return e.on(func() error { return e.api.Pull(ctx, name, version, login, step) })
}

func (e *elsewhere) Save(ctx context.Context, id string) (archive io.ReadCloser, err error) {
	err = e.on(func() (err error) { archive, err = e.api.Save(ctx, id); return err })
	return archive, err
}

func (e *elsewhere) Load(ctx context.Context, archive io.Reader) error {
	return e.on(func() error { return e.api.Load(ctx, archive) })
}

// bareNode is a container of a node image in which containerd runs, until the test ends.
func bareNode(t *testing.T, image string) string {
	t.Helper()
	name := livelab.Unique("bare-node")
	t.Cleanup(func() {
		out, err := exec.Command("docker", "rm", "--force", "--volumes", name).CombinedOutput()
		assert.NoError(t, err, string(out))
	})
	out, err := exec.Command("docker", "run", "--detach", "--privileged", "--network=none", "--name", name, "--entrypoint", "containerd", image).CombinedOutput()
	require.NoError(t, err, string(out))
	require.Eventually(t, func() bool {
		return exec.Command("docker", "exec", name, "ctr", "--namespace=k8s.io", "images", "list", "--quiet").Run() == nil
	}, time.Minute, 200*time.Millisecond, "containerd does not answer")
	return name
}

func inNode(t *testing.T, node string, args ...string) string {
	t.Helper()
	out, err := exec.Command("docker", append([]string{"exec", node, "ctr", "--namespace=k8s.io"}, args...)...).CombinedOutput()
	require.NoError(t, err, "%v: %s", args, out)
	return string(out)
}

// containerdStore starts a second Docker, with containerd's image store, and returns where
// it is; it runs no container. BOOTCAMP_DOCKERD names a dockerd with its containerd beside
// it, where the one on PATH is of before Docker 25.
func containerdStore(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED, NOTHING WAS PROVEN: a second Docker needs root")
	}
	dockerd := os.Getenv("BOOTCAMP_DOCKERD")
	if dockerd == "" {
		dockerd = "dockerd"
	}
	dockerd, err := exec.LookPath(dockerd)
	if err != nil {
		t.Skipf("SKIPPED, NOTHING WAS PROVEN: %v", err)
	}
	said, err := exec.Command(dockerd, "--version").CombinedOutput()
	var version int
	if _, e := fmt.Sscanf(string(said), "Docker version %d.", &version); err != nil || e != nil || version < 25 {
		t.Skipf("SKIPPED, NOTHING WAS PROVEN: %s is no Docker of 25 or later (%s); BOOTCAMP_DOCKERD names another", dockerd, said)
	}
	dir, err := os.MkdirTemp("", "bootcamp-dockerd-") // the path of a socket is a short one
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	in := func(name string) string { return filepath.Join(dir, name) }
	log, err := os.Create(in("log"))
	require.NoError(t, err)
	defer log.Close()
	host := "unix://" + in("sock")
	bridge := ownBridge(t)
	require.NoError(t, os.WriteFile(in("daemon.json"), []byte(`{"features":{"containerd-snapshotter":true}}`), 0o600))
	cmd := exec.Command(dockerd, "--config-file", in("daemon.json"), "--host", host, "--data-root", in("data"), "--exec-root", in("exec"), "--pidfile", in("pid"),
		"--bridge", bridge, "--ip-forward=false", "--iptables=false", "--ip6tables=false")
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(dockerd)+":"+os.Getenv("PATH"))
	cmd.Stdout, cmd.Stderr = log, log
	require.NoError(t, cmd.Start())
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(30 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
		if t.Failed() {
			said, _ := os.ReadFile(in("log"))
			t.Logf("dockerd said: %s", engine.Tail(said, 3000))
		}
	})
	require.Eventually(t, func() bool {
		out, err := exec.Command("docker", "--host", host, "info", "--format", "{{.DriverStatus}}").Output()
		return err == nil && strings.Contains(string(out), "io.containerd.snapshotter.v1")
	}, time.Minute, 500*time.Millisecond, "a second Docker does not answer with containerd's store: "+fmt.Sprint(dockerd))
	return host
}

// ownBridge makes a network bridge that nothing is on, until the test ends. A Docker told
// to have none (--bridge=none) removes docker0, which is that of the machine's own Docker.
func ownBridge(t *testing.T) string {
	t.Helper()
	name := "bc-" + strings.TrimPrefix(livelab.Unique(""), "-")
	run := func(args ...string) error {
		out, err := exec.Command("ip", args...).CombinedOutput()
		if err != nil {
			err = fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
		}
		return err
	}
	if err := run("link", "add", name, "type", "bridge"); err != nil {
		t.Skipf("SKIPPED, NOTHING WAS PROVEN: a second Docker needs a bridge of its own: %v", err)
	}
	t.Cleanup(func() { assert.NoError(t, run("link", "delete", name)) })
	require.NoError(t, run("address", "add", "198.51.100.1/30", "dev", name)) // a range for documentation (RFC 5737)
	return name
}
