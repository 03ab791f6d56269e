package live

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"k8sbootcamp/internal/kindcluster"
	"k8sbootcamp/tests/internal/results"
	"k8sbootcamp/tests/live/internal/livelab"
)

// small is the smallest lab: the faults are the same, and there is time for more.
var small = map[string]string{"workers": "0", "chapter": "3-3"}

// wrong lists what is not as it should be after an up: the application does not
// answer, or the engine wants to change something still.
func wrong(s *livelab.Stack, replicas int) (lost []string) {
	if out := within(3*time.Minute, func() (string, error) { return s.Kubectl("get", "--raw", "/readyz") }); out != "" {
		return []string{"the API server does not come back: " + out}
	}
	if out, err := s.Kubectl("wait", "node", "--all", "--for=condition=Ready", "--timeout=120s"); err != nil {
		lost = append(lost, "nodes are not Ready: "+out)
	}
	if out, err := s.Kubectl("rollout", "status", "deployment/bootcamp", "--timeout=120s"); err != nil {
		lost = append(lost, "deployment: "+out)
	}
	// Just after a restart all of these report what was true before it.
	app := func() (string, error) {
		return s.Kubectl("get", "--raw", "/api/v1/namespaces/default/services/bootcamp-svc/proxy/")
	}
	if out := within(2*time.Minute, app); out != "" {
		lost = append(lost, "the application does not answer: "+out)
	}
	available := func() (string, error) {
		out, err := s.Kubectl("get", "deployment", "bootcamp", "-o", "jsonpath={.status.availableReplicas}")
		if err == nil && out != strconv.Itoa(replicas) {
			err = fmt.Errorf("of %d pods are available", replicas)
		}
		return out, err
	}
	if out := within(2*time.Minute, available); out != "" {
		lost = append(lost, out)
	}
	if out, err := s.Preview("--expect-no-changes"); err != nil {
		lost = append(lost, "a further up has something to do: "+lastLines(out, 15))
	}
	return lost
}

// within tries until there is no error, and returns what was said last if that
// takes too long.
func within(limit time.Duration, try func() (string, error)) string {
	for end := time.Now().Add(limit); ; time.Sleep(time.Second) {
		out, err := try()
		if err == nil {
			return ""
		}
		if time.Now().After(end) {
			return fmt.Sprintf("%v: %s", err, out)
		}
	}
}

// gone destroys the stack and lists what is left.
func gone(l *livelab.Lab, s *livelab.Stack) (lost []string) {
	if out, err := unlocked(s, func() (string, error) { return s.Destroy() }); err != nil {
		lost = append(lost, "destroy failed: "+lastLines(out, 15))
	}
	if err := l.WaitIdle(3 * time.Minute); err != nil {
		lost = append(lost, err.Error())
	}
	for _, c := range s.Containers() {
		lost = append(lost, "container "+c.Name)
	}
	if n, _ := s.State(); n > 0 {
		lost = append(lost, fmt.Sprintf("%d resources in the state", n))
	}
	return lost
}

// unlocked runs a command, and again after `pulumi cancel` where a killed one
// has left its lock, as the command's own message says.
func unlocked(s *livelab.Stack, command func() (string, error)) (string, error) {
	out, err := command()
	if err == nil || !strings.Contains(out, "pulumi cancel") {
		return out, err
	}
	if out, err := s.Pulumi("cancel", "--yes"); err != nil {
		return out, fmt.Errorf("pulumi cancel: %w", err)
	}
	return command()
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// checkLost records a run of a fault and fails the test where something was lost.
func checkLost(t *testing.T, fault string, begin time.Time, lost []string) {
	t.Helper()
	short := make([]string, len(lost))
	for i, l := range lost {
		short[i], _, _ = strings.Cut(l, "\n")
	}
	results.Record(fault, time.Since(begin), short...)
	if len(lost) > 0 {
		t.Errorf("%s: lost:\n%s", fault, strings.Join(lost, "\n"))
	}
}

// moments is a source of randomness whose seed is logged, and taken from BOOTCAMP_SEED to repeat a run.
func moments(t *testing.T) *rand.Rand {
	n := uint64(time.Now().UnixNano())
	if s := os.Getenv("BOOTCAMP_SEED"); s != "" {
		var err error
		n, err = strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("BOOTCAMP_SEED=%d repeats the moments of the kills", n)
	return rand.New(rand.NewPCG(n, 0))
}

// The long tests, for turn.
const (
	turnRestart = iota
	turnKilled
	turnStanding
	turnTwoAndInotify
	turnPoisons
	turnHostile
	turnNetwork
	turnPods
	turnExercises
	turnTopics
	turnChapters
	turnGuide
	turnLesson
	turnReset
	turnImages
	turnOffline
	turnMirror
	turnRelease
	turns
)

// whose is the turn: one of the long tests a run, another each time.
var whose = sync.OnceValue(func() int { return rand.IntN(turns) })

// turn skips a long test whose turn it is not. One that is picked with -run, and all
// with BOOTCAMP_FULL=1, run always.
func turn(t *testing.T, which int) {
	t.Helper()
	if which != whose() && os.Getenv("BOOTCAMP_FULL") != "1" && flag.Lookup("test.run").Value.String() == "" {
		t.Skip("SKIPPED, NOTHING WAS PROVEN: one of the long tests is done each time, and it is another's turn; BOOTCAMP_FULL=1 runs all")
	}
}

// TestFaultKilledUp kills `pulumi up` with SIGKILL at moments spread over its
// whole duration, in turn the CLI alone and the whole process tree. Most of the
// runs go on with up, all end with destroy. Each time a part of the moments is tried.
func TestFaultKilledUp(t *testing.T) {
	turn(t, turnKilled)
	l := livelab.New(t)
	r := moments(t)
	s := l.Stack(livelab.Unique("kill"), small)
	begin := time.Now()
	out, err := s.Up()
	require.NoError(t, err, out)
	whole := time.Since(begin)
	require.Empty(t, gone(l, s))
	results.Fact("An undisturbed first `up` of one node without monitoring took %s.", whole.Round(time.Second))

	const ups, destroys = 10, 4
	killAt := func(t *testing.T, i, n int, wholeTree bool) string {
		at := time.Duration((float64(i) + r.Float64()) / float64(n) * float64(whole))
		run, err := s.Start("up", "--yes", "--skip-preview")
		require.NoError(t, err)
		time.Sleep(at)
		if run.Done() {
			t.Logf("the up ended before %s", at)
		}
		kill := run.Kill
		if wholeTree {
			kill = run.KillTree
		}
		out, err := kill()
		if err == nil {
			t.Logf("nothing was left to kill after %s", at)
		}
		t.Logf("killed after %s, whole tree: %v, last words: %s", at.Round(100*time.Millisecond), wholeTree, lastLines(out, 1))
		return at.Round(100 * time.Millisecond).String()
	}
	for _, i := range some(r, ups, 3) {
		t.Run(fmt.Sprintf("up %d", i+1), func(t *testing.T) {
			fault := []string{"`up` killed, the CLI alone; then `up`, `destroy`", "`up` killed, with all its children; then `up`, `destroy`"}[i%2]
			killAt(t, i, ups, i%2 == 1)
			begin := time.Now()
			out, err := unlocked(s, func() (string, error) { return s.Up() })
			if err != nil && strings.Contains(out, "already exists") {
				// The plugin has made the object and the state does not know it. The
				// provider's upsertExistingObjects takes it over; a plugin without that
				// option (older than 4.29, or a stand-in) needs the cluster anew.
				results.Remark(fault, "the plugin here knows no upsertExistingObjects: a kill amid the objects needed a new cluster")
				t.Log("the plugin does not take over an object that is there; replacing the cluster")
				out, err = s.Up("--replace", s.ClusterURN())
			}
			lost := []string{}
			if err != nil {
				lost = append(lost, "up failed: "+lastLines(out, 20))
			} else {
				lost = wrong(s, 2)
			}
			if _, pending := s.State(); pending > 0 {
				results.Remark(fault, "the state keeps the cut-off create, of which Pulumi warns on every `up` until `pulumi refresh --clear-pending-creates`")
			}
			took := time.Since(begin)
			lost = append(lost, gone(l, s)...)
			checkLost(t, fault, time.Now().Add(-took), lost)
		})
	}
	for _, i := range some(r, destroys, 1) {
		t.Run(fmt.Sprintf("destroy %d", i+1), func(t *testing.T) {
			killAt(t, i, destroys, i%2 == 1)
			begin := time.Now()
			checkLost(t, "`up` killed; `destroy` at once", begin, gone(l, s))
		})
	}
	t.Run("class destroy", func(t *testing.T) {
		for _, i := range some(r, 2, 1) {
			killAt(t, i, 2, i%2 == 1)
			begin := time.Now()
			cmd := l.Command("./class", "destroy", "--stack", s.Name, "--yes")
			cmd.Dir = l.Root
			out, err := cmd.CombinedOutput()
			var lost []string
			if err != nil {
				lost = append(lost, "class destroy failed: "+lastLines(string(out), 15))
			}
			for _, c := range s.Containers() {
				lost = append(lost, "container "+c.Name)
			}
			checkLost(t, "`up` killed; `class destroy` at once", begin, lost)
		}
	})
}

// some are n of the rows of a long table, others each time, in their order. With
// BOOTCAMP_FULL=1 they are all of them.
func some(r *rand.Rand, rows, n int) []int {
	picked := r.Perm(rows)
	if os.Getenv("BOOTCAMP_FULL") != "1" {
		picked = picked[:n]
	}
	slices.Sort(picked)
	return picked
}

// TestFaultStanding does to one standing lab what may befall it in a week.
func TestFaultStanding(t *testing.T) {
	turn(t, turnStanding)
	l := livelab.New(t)
	s := l.Stack(livelab.Unique("stand"), small)
	out, err := s.Up()
	require.NoError(t, err, out)
	node := s.Cluster + "-control-plane"

	t.Run("node stopped and started", func(t *testing.T) {
		docker(t, "stop", node)
		begin := time.Now()
		docker(t, "start", node)
		out, err := s.Up()
		require.NoError(t, err, out)
		checkLost(t, "a node's container stopped and started", begin, wrong(s, 2))
	})

	t.Run("docker restarted", func(t *testing.T) {
		if os.Getenv("BOOTCAMP_RESTART_DOCKER") != "1" {
			t.Skip("SKIPPED, NOTHING WAS PROVEN: restarting Docker stops the containers of everybody on this machine; BOOTCAMP_RESTART_DOCKER=1 allows it")
		}
		restartDocker(t)
		begin := time.Now()
		checkLost(t, "Docker restarted", begin, wrong(s, 2))
	})

	for pulls, says := range map[string]string{
		"host":  `registry\.invalid/no/such:1: its registry's name cannot be looked up .*is the network there`,
		"nodes": `bootcamp-[a-z0-9]+-[a-z0-9]+(.|\n)*(ErrImagePull|ImagePullBackOff)`, // the pod, and why
	} {
		t.Run("bad image, pulled by "+pulls, func(t *testing.T) {
			fault := "an image that cannot be pulled by " + pulls
			s.Set("imagePull", pulls)
			s.Set("echoImage", "registry.invalid/no/such:1")
			begin := time.Now()
			out, err := s.Up()
			took := time.Since(begin)
			require.Error(t, err, out)
			require.Less(t, took, 3*time.Minute, "the failing up took too long")
			require.Contains(t, out, "registry.invalid/no/such:1", "the image is not named")
			require.Regexp(t, says, out)
			results.Remark(fault, "the failing `up` ended after %s and named the image and the reason", took.Round(time.Second))
			s.Unset("echoImage")
			s.Unset("imagePull")
			begin = time.Now()
			out, err = s.Up()
			require.NoError(t, err, out)
			checkLost(t, fault, begin, wrong(s, 2))
		})
	}

	t.Run("state file cut in half", func(t *testing.T) {
		const fault = "the state file cut in half"
		state, err := os.ReadFile(s.StateFile())
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(s.StateFile(), state[:len(state)/2], 0o600))
		begin := time.Now()
		out, err := s.Up()
		require.Error(t, err, out)
		require.Contains(t, out, s.Name, "the broken stack is not named")
		results.Remark(fault, "Pulumi says %q, which names no backup; it is the state file's neighbour with .bak, as the class tool says", lastLines(out, 1))
		backup := s.StateFile() + ".bak"
		saved, err := os.ReadFile(backup)
		require.NoError(t, err, "no backup beside the state")
		require.NoError(t, os.WriteFile(s.StateFile(), saved, 0o600))
		out, err = s.Up()
		require.NoError(t, err, out)
		checkLost(t, fault, begin, wrong(s, 2))
	})

	t.Run("foreign cluster of the same name", func(t *testing.T) {
		const fault = "the name taken by a foreign cluster"
		was := s.Containers()
		other := livelab.New(t)            // another backend: another user's stack
		s2 := other.Unowned(s.Name, small) // its clean-up must not remove our cluster
		begin := time.Now()
		out, err := s2.Up()
		require.Error(t, err, out)
		require.Contains(t, out, kindcluster.ErrForeign.Error())
		require.Contains(t, out, node, "the foreign cluster is not named")
		var lost []string
		if out, err := s2.Destroy(); err != nil {
			lost = append(lost, "destroy: "+lastLines(out, 10))
		}
		require.Equal(t, was, s.Containers(), "the foreign cluster was touched")
		checkLost(t, fault, begin, append(lost, wrong(s, 2)...))
	})

	t.Run("cluster deleted behind its back", func(t *testing.T) {
		const fault = "the cluster deleted behind Pulumi's back"
		docker(t, "rm", "--force", "--volumes", node)
		begin := time.Now()
		out, err := s.Up("--replace", s.ClusterURN())
		require.NoError(t, err, out)
		checkLost(t, fault, begin, wrong(s, 2))

		docker(t, "rm", "--force", "--volumes", node)
		begin = time.Now()
		checkLost(t, "the cluster deleted, then `destroy`", begin, gone(l, s))
	})
}

// TestFaultTwoAtOnce brings two stacks up at the same time.
func TestFaultTwoAtOnce(t *testing.T) {
	const fault = "two stacks at once"
	turn(t, turnTwoAndInotify)
	l := livelab.New(t)
	a, b := l.Stack(livelab.Unique("two-a"), small), l.Stack(livelab.Unique("two-b"), small)
	begin := time.Now()
	runA, err := a.Start("up", "--yes", "--skip-preview")
	require.NoError(t, err)
	runB, err := b.Start("up", "--yes", "--skip-preview")
	require.NoError(t, err)
	out, err := runA.Wait()
	require.NoError(t, err, out)
	out, err = runB.Wait()
	require.NoError(t, err, out)
	lost := append(wrong(a, 2), wrong(b, 2)...)
	was := b.Containers()
	lost = append(lost, gone(l, a)...)
	require.Equal(t, was, b.Containers(), "destroying one stack touched the other")
	lost = append(lost, wrong(b, 2)...)
	lost = append(lost, gone(l, b)...)
	checkLost(t, fault, begin, lost)
}

// TestFaultInotify takes the kernel's inotify instances away, as many clusters
// on one machine do.
func TestFaultInotify(t *testing.T) {
	const fault, limit = "a full inotify table", "/proc/sys/fs/inotify/max_user_instances"
	turn(t, turnTwoAndInotify)
	if os.Getenv("BOOTCAMP_LOWER_INOTIFY") != "1" {
		t.Skip("SKIPPED, NOTHING WAS PROVEN: lowering fs.inotify.max_user_instances breaks other programs of this machine for a minute; BOOTCAMP_LOWER_INOTIFY=1 allows it")
	}
	l := livelab.New(t)
	s := l.Stack(livelab.Unique("inotify"), small)
	was, err := os.ReadFile(limit)
	require.NoError(t, err)
	restore := func() { require.NoError(t, os.WriteFile(limit, was, 0)) }
	t.Cleanup(restore)
	require.NoError(t, os.WriteFile(limit, []byte("1\n"), 0))
	begin := time.Now()
	out, err := s.Up()
	took := time.Since(begin)
	restore()
	require.Error(t, err, out)
	require.Contains(t, out, "fs.inotify.max_user_instances", "the cause is not named")
	require.Contains(t, out, "sysctl", "the remedy is not named")
	results.Remark(fault, "the failing `up` ended after %s and named the limit and the sysctl that raises it", took.Round(time.Second))
	begin = time.Now()
	out, err = s.Up()
	require.NoError(t, err, out)
	lost := wrong(s, 2)
	checkLost(t, fault, begin, append(lost, gone(l, s)...))
}

// docker runs the docker command, which must end well, and returns what it said.
func docker(t testing.TB, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "docker", args...).CombinedOutput()
	require.NoError(t, err, "docker %v: %s", args, out)
	return strings.TrimSpace(string(out))
}

// restartDocker ends the engine as a reboot does and starts it again in the same
// way: through systemd where that runs it, else with its own command line.
func restartDocker(t *testing.T) {
	t.Helper()
	if exec.Command("systemctl", "is-active", "--quiet", "docker").Run() == nil {
		out, err := exec.Command("systemctl", "restart", "docker").CombinedOutput()
		require.NoError(t, err, string(out))
		waitForDocker(t)
		return
	}
	raw, err := os.ReadFile("/var/run/docker.pid")
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	require.NoError(t, err)
	read := func(file string) []string {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
		require.NoError(t, err)
		return strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00")
	}
	line, environ := read("cmdline"), read("environ")
	require.Contains(t, filepath.Base(line[0]), "dockerd")
	require.NoError(t, syscall.Kill(pid, syscall.SIGTERM))
	require.Eventually(t, func() bool { return syscall.Kill(pid, 0) != nil || zombie(pid) }, 90*time.Second, 100*time.Millisecond, "dockerd does not end")

	cmd := exec.Command(line[0], line[1:]...)
	cmd.Env = environ
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // it outlives the tests
	require.NoError(t, cmd.Start())
	if file := filepath.Join(os.Getenv("LAB_HOME"), "dockerd.pid"); os.Getenv("LAB_HOME") != "" {
		require.NoError(t, os.WriteFile(file, []byte(strconv.Itoa(cmd.Process.Pid)+"\n"), 0o644))
	}
	require.NoError(t, cmd.Process.Release())
	waitForDocker(t)
}

// zombie tells whether a process has ended and only its parent does not know.
func zombie(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, rest, _ := bytes.Cut(b, []byte(") "))
	return bytes.HasPrefix(rest, []byte("Z"))
}

func waitForDocker(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		return exec.CommandContext(ctx, "docker", "info").Run() == nil
	}, 90*time.Second, 500*time.Millisecond, "Docker does not come back")
}
