package live

import (
	"encoding/json"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/internal/kindcluster"
	"k8sbootcamp/tests/internal/results"
	"k8sbootcamp/tests/live/internal/livelab"
)

// restartImages are node images that take a change of their addresses in different
// ways: of today, of the course, and one that does not repair its own kubelet.
var restartImages = []struct{ what, env, edition string }{
	{"today's Kubernetes", "LAB_NODE_IMAGE", "current"},
	{"the course's Kubernetes", "LAB_COURSE_NODE_IMAGE", "course"},
	{"a node image that repairs no address", "LAB_STALE_NODE_IMAGE", "current"},
}

// TestRestart: a lab of four nodes comes back, with all that is in it, whatever
// addresses Docker gives the nodes when they are started again. One image a run,
// all of them with BOOTCAMP_FULL=1.
func TestRestart(t *testing.T) {
	turn(t, turnRestart)
	var images []int
	for i, image := range restartImages {
		if os.Getenv(image.env) != "" {
			images = append(images, i)
		}
	}
	if len(images) == 0 {
		t.Skip("SKIPPED, NOTHING WAS PROVEN: no node image is named by LAB_NODE_IMAGE, LAB_COURSE_NODE_IMAGE or LAB_STALE_NODE_IMAGE")
	}
	r := moments(t)
	for _, i := range some(r, len(images), 1) {
		image := restartImages[images[i]]
		t.Run(image.env, func(t *testing.T) {
			config := []string{"edition=" + image.edition, "nodeImage=" + os.Getenv(image.env)}
			for key, value := range livelab.Images(image.edition) {
				config = append(config, key+"="+value)
			}
			restart(t, r, "restart, "+image.what, config...)
		})
	}
}

func restart(t *testing.T, r *rand.Rand, fault string, config ...string) {
	c := newRestarted(t, r, config...)
	c.class(0, c.up...)
	made := c.ids()

	part := func(what string, body func(t *testing.T)) {
		t.Helper()
		require.True(t, t.Run(what, func(t *testing.T) {
			outer := c.t
			c.t = t
			defer func() { c.t = outer }()
			defer results.Test(t, fault+": "+what, time.Now())
			body(t)
			assert.Equal(t, made, c.ids(), "a node was made anew")
		}), "the next parts stand on this one")
	}
	part("nodes in reverse order, and nobody calls up", func(t *testing.T) {
		c.stop()
		c.start(slices.Reverse[[]string])
		c.comesBack()
	})
	part("stopped, then `class up`", func(t *testing.T) {
		had := c.addresses()
		c.stop()
		now, _ := c.seen()
		assert.Equal(t, "stopped", now)
		c.class(0, c.up...)
		assert.Equal(t, had, c.addresses(), "each node has its own address again")
		c.works(3 * time.Minute)
	})
	// As this program's earlier versions, and kind alone, leave a cluster.
	part("built by address, in a shuffled order, then `class up`", func(t *testing.T) {
		c.byAddress()
		c.stop()
		c.start(c.shuffle)
		if strings.Contains(fault, "repairs no address") {
			answers := func() bool {
				return exec.Command("docker", "exec", c.cluster+"-control-plane", "kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf", "get", "nodes").Run() == nil
			}
			require.Eventually(t, answers, 3*time.Minute, time.Second, "the API server does not answer")
			node := c.cluster + "-control-plane"
			now, problem := c.seen()
			assert.Equal(t, "not working", now)
			assert.Contains(t, problem, "node "+node+" has not been heard of since its container was started")
			said := ""
			assert.Eventually(t, func() bool { // a kubelet may be silent for 40 s
				for _, q := range c.check().Stacks[0].Checks {
					if q.ID == "0-3/nodes" {
						said = q.Hint
						return !q.OK && strings.Contains(q.Hint, node)
					}
				}
				return false
			}, 2*time.Minute, 2*time.Second)
			t.Logf("the check says: %s", said)
		}
		c.comeUp()
		c.works(3 * time.Minute)
	})
	part("Docker restarted, and nobody calls up", func(t *testing.T) {
		if os.Getenv("BOOTCAMP_RESTART_DOCKER") != "1" || os.Getenv("BOOTCAMP_FULL") != "1" {
			t.Skip("SKIPPED, NOTHING WAS PROVEN: restarting Docker stops the containers of everybody on this machine; BOOTCAMP_RESTART_DOCKER=1 and BOOTCAMP_FULL=1 allow it")
		}
		restartDocker(t)
		c.comesBack()
		assert.Empty(t, c.class(0, c.up...).Stacks[0].Changes.Steps)
	})
	c.class(0, "destroy", "--stack", c.name, "--yes", "--remove")
	require.Empty(t, c.nodes(c.name))
}

// restarted is a class of one, whose lab has four nodes.
type restarted struct {
	*classroom
	r             *rand.Rand
	name, cluster string
	up            []string
	had           map[string]string // addresses, before the last stop
}

func newRestarted(t *testing.T, r *rand.Rand, config ...string) *restarted {
	name := livelab.Unique("again")
	c := &restarted{classroom: newClassroom(t, name), r: r, name: name, cluster: kindcluster.Name(name), up: []string{"up", "--stack", name}}
	for _, set := range append(config, "workers=3") {
		c.up = append(c.up, "--config", set)
	}
	return c
}

func (c *restarted) names() (names []string) {
	for _, n := range c.nodes(c.name) {
		names = append(names, n.Name)
	}
	slices.Sort(names)
	return names
}

// ids are those of the nodes; an id is a container's for life.
func (c *restarted) ids() (ids []string) {
	for _, n := range c.nodes(c.name) {
		ids = append(ids, n.Name+" "+n.ID)
	}
	slices.Sort(ids)
	return ids
}

// addresses are those of the nodes, by name.
func (c *restarted) addresses() map[string]string {
	all := map[string]string{}
	for _, n := range c.names() {
		all[n] = docker(c.t, "inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", n)
	}
	return all
}

func (c *restarted) stop() {
	c.t.Helper()
	c.had = c.addresses()
	docker(c.t, append([]string{"stop", "--time", "5"}, c.names()...)...)
}

// start starts the stopped nodes in another order than that of their addresses:
// Docker gives each the lowest that is free.
func (c *restarted) start(order func(names []string)) {
	c.t.Helper()
	names := c.names()
	slices.SortFunc(names, func(a, b string) int {
		return netip.MustParseAddr(c.had[a]).Compare(netip.MustParseAddr(c.had[b]))
	})
	first, control := slices.Clone(names), c.cluster+"-control-plane"
	for slices.Index(names, control) == slices.Index(first, control) {
		order(names)
	}
	docker(c.t, append([]string{"start"}, names...)...)
	require.NotEqual(c.t, c.had[control], c.addresses()[control], "the control plane's address has not changed")
}

func (c *restarted) shuffle(names []string) {
	c.r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
}

// comeUp runs `class up` as a student sees it.
func (c *restarted) comeUp() {
	c.t.Helper()
	out, err := c.command(c.tool, c.up...).CombinedOutput()
	require.NoError(c.t, err, string(out))
	c.t.Log(string(out))
}

func (c *restarted) seen() (cluster, problem string) {
	c.t.Helper()
	s := c.class(0, "status", "--stack", c.name).Stacks[0].Status
	return s.Cluster, s.Problem
}

// comesBack waits for what `status` says, and asks the course's own questions.
func (c *restarted) comesBack() {
	c.t.Helper()
	begin := time.Now()
	for {
		now, problem := c.seen()
		if strings.HasPrefix(now, "alive") {
			break
		}
		require.Less(c.t, time.Since(begin), 4*time.Minute, "%s: %s", now, problem)
		time.Sleep(2 * time.Second)
	}
	c.t.Logf("its nodes were at work %s after the start", time.Since(begin).Round(time.Second))
	c.works(6*time.Minute - time.Since(begin))
}

// works asks the course's own questions until all is well. One look can take a minute and a
// half, for it waits for what starts.
func (c *restarted) works(within time.Duration) {
	c.t.Helper()
	for end := time.Now().Add(within); ; time.Sleep(time.Second) {
		d := c.check()
		if d.ExitCode == 0 {
			return
		}
		require.True(c.t, time.Now().Before(end), "%+v", d.Stacks[0].Checks)
	}
}

// check asks, and sees to it that every answer is in words for people.
func (c *restarted) check() said {
	c.t.Helper()
	out, _ := c.command(c.tool, "check", "--stack", c.name, "--json").Output() // the exit code is in it
	var d said
	require.NoError(c.t, json.Unmarshal(out, &d), string(out))
	require.NotEmpty(c.t, d.Stacks)
	require.NotEmpty(c.t, d.Stacks[0].Checks)
	for _, q := range d.Stacks[0].Checks {
		if !strings.HasPrefix(q.ID, "4-4/") { // there it is Prometheus that is quoted
			assert.NotRegexp(c.t, "rate limiter|context deadline|EOF|connection reset", q.Detail+q.Hint)
		}
	}
	return d
}

// byAddress makes the control plane ask for the API server at an address, as kubeadm
// leaves it.
func (c *restarted) byAddress() {
	c.t.Helper()
	node := c.cluster + "-control-plane"
	docker(c.t, "exec", node, "sed", "-i", "s#server: https://"+node+":6443#server: https://"+c.addresses()[node]+":6443#",
		"/etc/kubernetes/kubelet.conf", "/etc/kubernetes/controller-manager.conf", "/etc/kubernetes/scheduler.conf")
}
