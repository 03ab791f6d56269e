package live

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	kindcmd "sigs.k8s.io/kind/pkg/cmd"

	"k8sbootcamp/internal/kindcluster"
	"k8sbootcamp/tests/live/internal/imagelab"
	"k8sbootcamp/tests/live/internal/livelab"
)

// classMirror is `class mirror` before a registry, at an address of this machine that nodes
// reach.
type classMirror struct {
	url string

	cmd   *exec.Cmd
	ended chan struct{}
	once  sync.Once
	rest  strings.Builder // what it printed after its address
}

var mirrorRE = regexp.MustCompile(`imageMirror=(http://\S+)`)

func startMirror(t *testing.T, tool string, r *imagelab.Registry) *classMirror {
	t.Helper()
	m := &classMirror{ended: make(chan struct{})}
	m.cmd = exec.Command(tool, "mirror", "--listen", gateway(t)+":0", "--dir", t.TempDir(), "--upstream", r.Host+"=http://"+r.Host)
	m.cmd.Stderr = os.Stderr
	out, err := m.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, m.cmd.Start())
	t.Cleanup(func() { m.stop() })
	lines := bufio.NewReader(out)
	for m.url == "" {
		line, err := lines.ReadString('\n')
		require.NoError(t, err)
		if found := mirrorRE.FindStringSubmatch(line); found != nil {
			m.url = found[1]
		}
	}
	go func() {
		_, _ = io.Copy(&m.rest, lines)
		_ = m.cmd.Wait()
		close(m.ended)
	}()
	return m
}

// stop interrupts it, and returns what it printed.
func (m *classMirror) stop() string {
	m.once.Do(func() {
		_ = m.cmd.Process.Signal(syscall.SIGINT)
		select {
		case <-m.ended:
		case <-time.After(20 * time.Second):
			_ = m.cmd.Process.Kill()
			<-m.ended
		}
	})
	return m.rest.String()
}

// gateway is the address of this machine in the network of kind's nodes, or of containers.
func gateway(t *testing.T) string {
	t.Helper()
	for _, network := range []string{"kind", "bridge"} {
		out, err := exec.Command("docker", "network", "inspect", "--format", `{{range .IPAM.Config}}{{.Gateway}} {{end}}`, network).Output()
		if err != nil {
			continue
		}
		for _, address := range strings.Fields(string(out)) {
			if !strings.Contains(address, ":") {
				return address
			}
		}
	}
	t.Fatal("Docker has no network with an address of this machine")
	return ""
}

// idleNode is a node without a cluster, until the test ends.
func idleNode(t *testing.T, image string) string {
	t.Helper()
	name := livelab.Unique("idle-node") + "-" + fmt.Sprint(idleNodes)
	idleNodes++
	t.Cleanup(func() {
		out, err := exec.Command("docker", "rm", "--force", "--volumes", name).CombinedOutput()
		assert.NoError(t, err, string(out))
	})
	out, err := exec.Command("docker", "run", "--detach", "--privileged", "--tmpfs", "/tmp", "--tmpfs", "/run", "--volume", "/var",
		"--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined", "--cgroupns=private", "--name", name, image).CombinedOutput()
	require.NoError(t, err, string(out))
	nodeIsUp(t, name)
	return name
}

var idleNodes int

func nodeIsUp(t *testing.T, node string) {
	t.Helper()
	require.Eventually(t, func() bool {
		return exec.Command("docker", "exec", node, "ctr", "--namespace=k8s.io", "images", "list", "--quiet").Run() == nil
	}, time.Minute, 200*time.Millisecond, "containerd does not answer")
}

func inContainer(t *testing.T, container string, args ...string) string {
	t.Helper()
	out, err := exec.Command("docker", append([]string{"exec", container}, args...)...).CombinedOutput()
	require.NoError(t, err, "%v: %s", args, out)
	return string(out)
}

// TestMirrorOfNodes: nodes of both Kubernetes versions that pull at once, all through one
// mirror, cost the registry one request for each blob; another mirror restarts nothing, a
// restarted node has it still, and without one nothing is left of it.
func TestMirrorOfNodes(t *testing.T) {
	lab := livelab.New(t)
	tool := classTool(lab)
	driver := kindcluster.NewDockerDriver(kindcmd.NewLogger())
	const file = "/etc/containerd/certs.d/_default/hosts.toml"
	for name, image := range map[string]string{"Lab": os.Getenv("LAB_NODE_IMAGE"), "Kubernetes 1.24": os.Getenv("LAB_COURSE_NODE_IMAGE")} {
		t.Run(name, func(t *testing.T) {
			if image == "" {
				t.Skip("SKIPPED, NOTHING WAS PROVEN: no node image")
			}
			if name != "Lab" && os.Getenv("BOOTCAMP_FULL") != "1" {
				t.Skip("SKIPPED, NOTHING WAS PROVEN: BOOTCAMP_FULL=1 has nodes of Kubernetes 1.24 pull too")
			}
			r := imagelab.New(t)
			m := startMirror(t, tool, r)
			ref, digest := r.Push(t, "pulled", "1")
			pinned := strings.TrimSuffix(ref, ":1") + "@" + digest
			nodes := []string{idleNode(t, image), idleNode(t, image), idleNode(t, image)}
			each := func(do func(node string) error) {
				t.Helper()
				var all errgroup.Group
				for _, node := range nodes {
					all.Go(func() error { return do(node) })
				}
				require.NoError(t, all.Wait())
			}
			begin := time.Now()
			each(func(node string) error { return driver.Mirror(t.Context(), node, m.url) })
			t.Logf("%d nodes have a mirror after %s", len(nodes), time.Since(begin).Round(time.Millisecond))
			assert.Contains(t, inContainer(t, nodes[0], "containerd", "config", "dump"), `config_path = "/etc/containerd/certs.d"`)

			for _, image := range []string{ref, pinned} {
				each(func(node string) error {
					out, err := exec.Command("docker", "exec", node, "ctr", "--namespace=k8s.io", "images", "pull", "--hosts-dir=/etc/containerd/certs.d", image).CombinedOutput()
					if err != nil {
						err = fmt.Errorf("%s: %w: %s", node, err, out)
					}
					return err
				})
			}
			asked := r.Asked()
			blobs := imagelab.Blobs(asked)
			assert.Len(t, blobs, 3, "its configuration and two layers: %v", asked)
			for blob, n := range blobs {
				assert.Equal(t, 1, n, "%s was fetched more than once", blob)
			}

			started := func() string {
				return inContainer(t, nodes[0], "systemctl", "show", "containerd", "--property=ActiveEnterTimestampMonotonic")
			}
			was := started()
			const other = "https://mirror.example"
			require.NoError(t, driver.Mirror(t.Context(), nodes[0], other))
			require.NoError(t, driver.Mirror(t.Context(), nodes[0], other))
			assert.Equal(t, was, started(), "containerd reads the file at each pull")
			assert.Contains(t, inContainer(t, nodes[0], "cat", file), `"`+other+`"`)

			out, err := exec.Command("docker", "restart", nodes[0]).CombinedOutput()
			require.NoError(t, err, string(out))
			nodeIsUp(t, nodes[0])
			assert.Contains(t, inContainer(t, nodes[0], "cat", file), `"`+other+`"`)
			assert.Contains(t, inContainer(t, nodes[0], "containerd", "config", "dump"), `config_path = "/etc/containerd/certs.d"`)

			for range 2 {
				require.NoError(t, driver.Mirror(t.Context(), nodes[0], ""))
				assert.Error(t, exec.Command("docker", "exec", nodes[0], "test", "-e", file).Run(), "it is gone")
			}
			served := m.stop()
			assert.Regexp(t, regexp.QuoteMeta(r.Host)+`/pulled +\d+\.\d MB +\d+\.\d MB +3\n`, served)
		})
	}
}

// TestMirrorAfterKill: a run that was killed while it told a node's containerd of mirrors,
// before it was started anew or after it did not start, is made good by the next.
func TestMirrorAfterKill(t *testing.T) {
	livelab.New(t)
	image := os.Getenv("LAB_COURSE_NODE_IMAGE")
	if image == "" {
		t.Skip("SKIPPED, NOTHING WAS PROVEN: no image of a node whose containerd is to be told of mirrors")
	}
	const config, before = "/etc/containerd/config.toml", "/etc/containerd/config.toml.before-mirror"
	driver := kindcluster.NewDockerDriver(kindcmd.NewLogger())
	node := idleNode(t, image)
	put := func(file, content string) {
		t.Helper()
		cmd := exec.Command("docker", "exec", "--interactive", node, "cp", "/dev/stdin", file)
		cmd.Stdin = strings.NewReader(content)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
	}
	was := inContainer(t, node, "cat", config)
	require.NotContains(t, was, "certs.d", "this image's containerd looks for mirrors by itself")
	require.NoError(t, driver.Mirror(t.Context(), node, "http://mirror.example"))
	told := inContainer(t, node, "cat", config)
	require.Contains(t, told, "certs.d")
	for name, left := range map[string]string{"not started anew": told, "does not start": "version = 2\n[plugins"} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, driver.Mirror(t.Context(), node, ""))
			put(config, was)
			inContainer(t, node, "systemctl", "restart", "containerd")
			nodeIsUp(t, node)
			put(before, was)
			put(config, left)
			if name == "does not start" {
				require.Error(t, exec.Command("docker", "exec", node, "systemctl", "restart", "containerd").Run())
			}
			require.NoError(t, driver.Mirror(t.Context(), node, "http://mirror.example"))
			assert.Equal(t, told, inContainer(t, node, "cat", config))
			assert.Error(t, exec.Command("docker", "exec", node, "test", "-e", before).Run(), "what was before is left")
			begun := inContainer(t, node, "sh", "-c", `date -d "$(systemctl show containerd --property=ActiveEnterTimestamp --value)" +%s`)
			written := inContainer(t, node, "stat", "--format=%Y", config)
			assert.GreaterOrEqual(t, begun, written, "containerd has not read what is there")
			nodeIsUp(t, node)
		})
	}
}

// fetchedOnce is that the registry was asked for each blob once, or not at all.
func fetchedOnce(t *testing.T, r *imagelab.Registry) (blobs int) {
	t.Helper()
	return eachOnce(t, r.Asked())
}

func eachOnce(t *testing.T, asked map[string]int) (blobs int) {
	t.Helper()
	all := imagelab.Blobs(asked)
	for blob, n := range all {
		assert.Equal(t, 1, n, "%s was fetched more than once", blob)
	}
	return len(all)
}

// TestMirror: a lab's nodes, and then the host's Docker, are given images by a mirror; where
// that is gone Docker pulls by itself; and without the key the nodes ask none.
func TestMirror(t *testing.T) {
	turn(t, turnMirror)
	lab := livelab.New(t)
	r := imagelab.New(t)
	m := startMirror(t, classTool(lab), r)
	config := brought(t, r, map[string]string{"workers": "0", "chapter": "3-3", "imagePull": "nodes", "imageMirror": m.url, "edition": "current"})
	if image := os.Getenv("LAB_NODE_IMAGE"); image != "" {
		config["nodeImage"] = image
	}
	s := lab.Stack(livelab.Unique("mirror"), config)
	up := func(what string) string {
		t.Helper()
		begin := time.Now()
		out, err := s.Up()
		require.NoError(t, err, out)
		t.Logf("%s: %.1f s", what, time.Since(begin).Seconds())
		return out
	}
	up("first up, the nodes pull")
	assert.Equal(t, 3, fetchedOnce(t, r), "the app's image: its configuration and two layers")
	appSays(t, s, "echo:1")
	first := nodes(s)

	second, digest := r.Push(t, "echo", "2")
	s.Set("imagePull", "host")
	s.Set("echoImage", second+"@"+digest)
	out := up("the host's Docker pulls, by a digest")
	assert.Contains(t, out, "image "+second+": from the mirror, ")
	assert.Equal(t, 2, fetchedOnce(t, r), "its configuration and its own layer; the mirror had the other")
	appSays(t, s, "echo:2")
	kept, err := exec.Command("docker", "image", "inspect", "--format", "{{.Id}}", strings.TrimSuffix(second, ":2")+":sha256-"+digest[7:]).CombinedOutput()
	require.NoError(t, err, string(kept))

	served := m.stop()
	assert.Contains(t, served, r.Host+"/echo ")
	third, _ := r.Push(t, "echo", "3")
	s.Set("echoImage", third)
	out = up("the mirror is gone")
	assert.Contains(t, out, "image "+third+": not from the mirror "+m.url)
	appSays(t, s, "echo:3")

	const file = "/etc/containerd/certs.d/_default/hosts.toml"
	node := s.Cluster + "-control-plane"
	assert.Contains(t, inContainer(t, node, "cat", file), m.url)
	s.Set("imageMirror", "")
	up("without the key")
	assert.Error(t, exec.Command("docker", "exec", node, "test", "-e", file).Run(), "it is gone")
	appSays(t, s, "echo:3")
	assert.Equal(t, first, nodes(s), "the cluster is the same")
	out, err = s.Destroy()
	require.NoError(t, err, out)
}
