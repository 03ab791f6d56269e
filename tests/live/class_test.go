package live

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/internal/kindcluster"
	"k8sbootcamp/tests/internal/results"
	"k8sbootcamp/tests/live/internal/livelab"
)

// classroom is a copy of the repository, as a clone has it, with the class tool.
type classroom struct {
	t    *testing.T
	dir  string // of the copy
	tool string
	env  []string
}

func newClassroom(t *testing.T, stacks ...string) *classroom {
	t.Helper()
	lab := livelab.New(t) // skips, and guards the user's kubeconfig
	c := &classroom{t: t, dir: filepath.Join(t.TempDir(), "clone"), tool: classTool(lab)}
	require.NoError(t, copyRepository(lab.Root, c.dir))
	require.NoError(t, os.Remove(filepath.Join(c.dir, "class")))
	require.NoError(t, os.Symlink(c.tool, filepath.Join(c.dir, "class"))) // what that would compile, once for all tests
	// State and passphrase are the tool's own here.
	c.env = slices.DeleteFunc(lab.Command("true").Env, func(s string) bool {
		return strings.HasPrefix(s, "PULUMI_BACKEND_URL=") || strings.HasPrefix(s, "PULUMI_CONFIG_PASSPHRASE")
	})
	t.Cleanup(func() {
		for _, s := range stacks {
			for _, node := range c.nodes(s) {
				out, err := exec.Command("docker", "rm", "--force", "--volumes", node.ID).CombinedOutput()
				assert.NoError(t, err, string(out))
			}
		}
	})
	return c
}

// classTool is the class tool, which livelab has built.
func classTool(lab *livelab.Lab) string { return filepath.Join(lab.Root, "bin", "class") }

// copyRepository copies what git would clone, but for tests and their data.
func copyRepository(from, to string) error {
	return filepath.WalkDir(from, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		at, err := filepath.Rel(from, file)
		if err != nil {
			return err
		}
		switch at {
		case ".git", ".bootcamp", "bin", "dist", "tests", "docs":
			if entry.IsDir() {
				return filepath.SkipDir
			}
			return nil // .git of a worktree
		}
		name := entry.Name()
		made := strings.HasPrefix(name, "kubeconfig") || strings.HasPrefix(name, "Pulumi.") && name != "Pulumi.yaml" && name != "Pulumi.dev.yaml"
		switch {
		case entry.IsDir():
			return os.MkdirAll(filepath.Join(to, at), 0o755)
		case !entry.Type().IsRegular() || made && filepath.Dir(at) == ".":
			return nil
		}
		b, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, at), b, 0o644)
	})
}

func (c *classroom) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = c.dir, c.env
	return cmd
}

// said is what --json prints, as far as these tests ask.
type said struct {
	ExitCode int
	Error    string
	Retry    string
	Stacks   []struct {
		Stack, Outcome, Cause string
		Changes               struct{ Steps []struct{ Op, Name string } }
		Outputs               map[string]string
		Status                struct {
			Cluster      string
			Ready, Total int
			AppURL       string
			Problem      string
		}
		Checks []struct {
			ID, Question, Detail, Hint string
			OK, Warning                bool
		}
		Reset struct {
			Did     []string
			Foreign []struct {
				Object  string
				Removed bool
			}
		}
		Kept []string
		File string
	}
}

// class runs the tool with --json and expects an exit code.
func (c *classroom) class(code int, args ...string) said {
	c.t.Helper()
	var out, errOut bytes.Buffer
	cmd := c.command(c.tool, append(args, "--json")...)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	require.Equal(c.t, code, cmd.ProcessState.ExitCode(), "class %s: %v\n%s%s", strings.Join(args, " "), err, &errOut, &out)
	var d said
	require.NoError(c.t, json.Unmarshal(out.Bytes(), &d), out.String())
	assert.Equal(c.t, code, d.ExitCode)
	return d
}

func (c *classroom) nodes(stack string) []livelab.Container {
	c.t.Helper()
	found, err := livelab.Containers(kindcluster.Name(stack))
	require.NoError(c.t, err)
	return found
}

// config is a --config for a cluster of one node on this lab.
func (c *classroom) config() []string {
	args := []string{"--config", "workers=0"}
	for key, value := range livelab.Keys() {
		args = append(args, "--config", key+"="+value)
	}
	return args
}

// locks are those that lie in the tool's own state.
func (c *classroom) locks() []string {
	found, err := filepath.Glob(filepath.Join(c.dir, ".bootcamp", "state", ".pulumi", "locks", "organization", "bootcamp", "*", "*.json"))
	require.NoError(c.t, err)
	return found
}

// TestClassRoster: three students at once, one of them with a broken image; the
// retry of that one; and a class that leaves nothing.
func TestClassRoster(t *testing.T) {
	students := []string{livelab.Unique("roster-1"), livelab.Unique("roster-2"), livelab.Unique("roster-3")}
	one, two, three := students[0], students[1], students[2]
	c := newClassroom(t, students...)
	defer results.Test(t, "class tool: a roster of three, one of them broken; retry; nothing left", time.Now())
	before := c.files()
	dev, err := os.ReadFile(filepath.Join(c.dir, "Pulumi.dev.yaml"))
	require.NoError(t, err)
	roster := filepath.Join(t.TempDir(), "class.csv")
	own := livelab.Keys()["echoImage"] // an empty cell is the default, whatever --config says
	write := func(image, timeout string) {
		text := "\uFEFFname,student,echoImage,rolloutTimeout,hostPort,serviceType,chapter\r\n" +
			one + ",山田花子," + own + ",,18941,NodePort\r\n" +
			two + ",Bob," + image + "," + timeout + ",,,3-3\r\n\r\n" +
			three + ",," + own + ",,,,3-3\r\n"
		require.NoError(t, os.WriteFile(roster, []byte(text), 0o600))
	}
	outcomes := func(d said) string {
		var all []string
		for _, s := range d.Stacks {
			all = append(all, s.Stack+" "+s.Outcome)
		}
		return strings.Join(all, ", ")
	}

	write("registry.invalid/nope:1", "40s")
	up := append([]string{"up", "--roster", roster, "-j", "3"}, c.config()...)
	d := c.class(1, up...)
	assert.Equal(t, one+" ok, "+two+" failed, "+three+" ok", outcomes(d))
	assert.Contains(t, d.Stacks[1].Cause, "registry.invalid/nope:1", "the cause names the image")
	assert.NotContains(t, d.Stacks[1].Cause, "\n")
	assert.Contains(t, d.Retry, "--only "+two)
	assert.Equal(t, "http://127.0.0.1:18941/", d.Stacks[0].Outputs["appURL"])
	assert.NotContains(t, d.Stacks[0].Outputs, "kubeconfig")
	for _, s := range students {
		assert.Len(t, c.nodes(s), 1, s)
	}

	// The command that the summary names, once the roster is mended.
	write(own, "")
	d = c.class(0, append(up, "--only", two)...)
	assert.Equal(t, two+" ok", outcomes(d))
	d = c.class(0, up...)
	assert.Equal(t, one+" ok, "+two+" ok, "+three+" ok", outcomes(d))
	for _, s := range d.Stacks {
		assert.Empty(t, s.Changes.Steps, "%s: an up with nothing to do did something", s.Stack)
	}

	d = c.class(0, "status", "--roster", roster)
	for _, s := range d.Stacks {
		assert.Equal(t, "alive (nodes: 1)", s.Status.Cluster)
		assert.Equal(t, s.Status.Total, s.Status.Ready)
		assert.Positive(t, s.Status.Total)
	}
	d = c.class(0, "check", "--roster", roster, "--disrupt")
	for _, s := range d.Stacks {
		if s.Stack == one {
			assert.Equal(t, "4-4/node-exporter", s.Checks[len(s.Checks)-1].ID)
		}
		for _, q := range s.Checks {
			assert.True(t, q.OK, "%s: %s: %s", s.Stack, q.Question, q.Hint)
		}
	}

	four := livelab.Unique("roster-4")
	// A port that another's lab has is found before anything is made.
	d = c.class(2, append([]string{"up", "--stack", four, "--config", "hostPort=18941"}, c.config()...)...)
	assert.Contains(t, d.Error, "nothing was made")
	assert.Empty(t, c.nodes(four))

	d = c.class(0, "kubeconfig", "--roster", roster)
	for _, s := range d.Stacks {
		info, err := os.Stat(s.File)
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	}

	d = c.class(0, "destroy", "--roster", roster, "--remove", "--yes")
	for _, s := range d.Stacks {
		assert.Empty(t, s.Kept)
		assert.Empty(t, c.nodes(s.Stack), "containers are left")
	}
	assert.Equal(t, before, c.files(), "files are left")
	now, err := os.ReadFile(filepath.Join(c.dir, "Pulumi.dev.yaml"))
	require.NoError(t, err)
	assert.Equal(t, string(dev), string(now))
	assert.Empty(t, c.class(0, "destroy", "--roster", roster, "--remove", "--yes").Stacks[0].Kept, "once more is no error")
}

// files are all files of the copy.
func (c *classroom) files() []string {
	var all []string
	require.NoError(c.t, filepath.WalkDir(c.dir, func(file string, entry fs.DirEntry, err error) error {
		all = append(all, file)
		return err
	}))
	return all
}

// running is a class tool at work.
type running struct {
	*exec.Cmd
	out *bufio.Reader
	all bytes.Buffer
}

func (c *classroom) start(args ...string) *running {
	c.t.Helper()
	r := &running{Cmd: c.command(c.tool, args...)}
	pipe, err := r.StdoutPipe()
	require.NoError(c.t, err)
	r.Stderr = r.Stdout
	r.out = bufio.NewReader(io.TeeReader(pipe, &r.all))
	require.NoError(c.t, r.Start())
	return r
}

// until reads the output up to a line with this.
func (r *running) until(t *testing.T, part string) {
	t.Helper()
	for {
		line, err := r.out.ReadString('\n')
		require.NoError(t, err, "%q was never said:\n%s", part, &r.all)
		if strings.Contains(line, part) {
			return
		}
	}
}

// code waits for the end and returns the exit code.
func (r *running) code(t *testing.T) int {
	t.Helper()
	_, err := io.Copy(io.Discard, r.out)
	require.NoError(t, err)
	_ = r.Wait()
	return r.ProcessState.ExitCode()
}

// TestClassLife is one student's lab through all that may befall it in a week.
func TestClassLife(t *testing.T) {
	name := livelab.Unique("life")
	c := newClassroom(t, name)
	up := append([]string{"up", "--stack", name, "--config", "chapter=3-3"}, c.config()...)
	id := func() string {
		nodes := c.nodes(name)
		require.Len(c.t, nodes, 1)
		return nodes[0].ID
	}
	healthy := func() {
		c.t.Helper()
		d := c.class(0, "check", "--stack", name)
		require.NotEmpty(c.t, d.Stacks[0].Checks)
		for _, q := range d.Stacks[0].Checks {
			assert.True(c.t, q.OK, "%s: %s", q.Question, q.Hint)
		}
	}
	part := func(fault string, body func(t *testing.T)) {
		t.Helper()
		ok := t.Run(fault, func(t *testing.T) {
			outer := c.t
			c.t = t // what fails is this part
			defer func() { c.t = outer }()
			defer results.Test(t, "class tool: "+fault, time.Now())
			body(t)
		})
		require.True(t, ok, "the next parts stand on this one")
	}

	part("preview makes nothing", func(t *testing.T) {
		before := c.files()
		d := c.class(0, append([]string{"preview"}, up[1:]...)...)
		assert.NotEmpty(t, d.Stacks[0].Changes.Steps)
		assert.Empty(t, c.nodes(name))
		after := slices.DeleteFunc(c.files(), func(f string) bool { return strings.Contains(f, ".bootcamp") })
		assert.Equal(t, before, after)
		assert.Equal(t, "not made", c.class(0, "status", "--stack", name).Stacks[0].Status.Cluster)
	})

	part("interrupted, then up", func(t *testing.T) {
		r := c.start(up...)
		r.until(t, "creating the cluster")
		require.NoError(t, r.Process.Signal(os.Interrupt))
		begin := time.Now()
		require.Equal(t, 130, r.code(t), r.all.String())
		t.Logf("it ended %s after the interrupt", time.Since(begin).Round(time.Millisecond))
		assert.Contains(t, r.all.String(), "["+name+"] interrupted")
		assert.Empty(t, c.locks(), "a clean end leaves no lock")
		d := c.class(0, up...)
		assert.Equal(t, "ok", d.Stacks[0].Outcome)
		healthy()
	})

	part("nothing to do", func(t *testing.T) {
		first := id()
		begin := time.Now()
		assert.Empty(t, c.class(0, up...).Stacks[0].Changes.Steps)
		t.Logf("it took %s", time.Since(begin).Round(time.Millisecond))
		assert.Equal(t, first, id())
	})

	part("cluster vanished", func(t *testing.T) {
		first := id()
		out, err := exec.Command("docker", "rm", "--force", "--volumes", first).CombinedOutput()
		require.NoError(t, err, string(out))
		assert.Equal(t, "gone", c.class(0, "status", "--stack", name).Stacks[0].Status.Cluster)
		c.class(0, up...)
		assert.NotEqual(t, first, id())
		healthy() // asked of the new cluster, not of an exit code
	})

	part("cluster stopped", func(t *testing.T) {
		first := id()
		out, err := exec.Command("docker", "stop", first).CombinedOutput()
		require.NoError(t, err, string(out))
		assert.Equal(t, "stopped", c.class(0, "status", "--stack", name).Stacks[0].Status.Cluster)
		c.class(0, up...)
		assert.Equal(t, first, id(), "it is started, not rebuilt")
		healthy()
	})

	part("plain pulumi on the same stack", func(t *testing.T) {
		pulumi := func(args ...string) {
			t.Helper()
			cmd := c.command("pulumi", append(args, "--non-interactive", "--stack", name)...)
			cmd.Env = append(slices.Clone(c.env),
				"PULUMI_BACKEND_URL=file://"+filepath.Join(c.dir, ".bootcamp", "state"),
				"PULUMI_CONFIG_PASSPHRASE_FILE="+filepath.Join(c.dir, ".bootcamp", "passphrase"))
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, string(out))
		}
		pulumi("up", "--yes", "--skip-preview", "--expect-no-changes")
		pulumi("config", "set", "replicas", "1")
		pulumi("up", "--yes", "--skip-preview")
		assert.Empty(t, c.class(0, up...).Stacks[0].Changes.Steps, "the tool has something to add to what plain Pulumi made")
		c.class(0, append(up, "--config", "replicas=3")...)
		pulumi("up", "--yes", "--skip-preview", "--expect-no-changes")
	})

	part("objects deleted by hand, then up", func(t *testing.T) {
		first := id()
		out, err := exec.Command("docker", "exec", kindcluster.Name(name)+"-control-plane", "kubectl",
			"--kubeconfig", "/etc/kubernetes/admin.conf", "delete", "deployment/bootcamp", "service/bootcamp-svc").CombinedOutput()
		require.NoError(t, err, string(out))
		assert.Len(t, c.class(0, up...).Stacks[0].Changes.Steps, 2, "the two are made again, and nothing else")
		assert.Equal(t, first, id())
		assert.Empty(t, c.class(0, up...).Stacks[0].Changes.Steps)
		healthy()
	})

	part("state file cut in half", func(t *testing.T) {
		first := id()
		file := filepath.Join(c.dir, ".bootcamp", "state", ".pulumi", "stacks", "bootcamp", name+".json")
		state, err := os.ReadFile(file)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(file, state[:len(state)/2], 0o600))
		remedy := "run `cp " + file + ".bak " + file + "`"
		for _, args := range [][]string{up, {"status", "--stack", name}, {"destroy", "--stack", name, "--remove", "--yes"}} {
			d := c.class(1, args...)
			assert.Contains(t, d.Stacks[0].Cause, remedy)
			assert.NotContains(t, d.Stacks[0].Cause, "\n")
		}
		assert.Equal(t, "not made", c.class(0, "status", "--stack", livelab.Unique("other")).Stacks[0].Status.Cluster,
			"a damaged stack is in the way of others")
		assert.Equal(t, first, id())
		saved, err := os.ReadFile(file + ".bak")
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(file, saved, 0o600))
		c.class(0, up...)
		assert.Equal(t, first, id())
		healthy()
	})

	// The pods make the Deployment's creation last; in the state it is open, in
	// the cluster it is done.
	part("killed amid the objects, then up", func(t *testing.T) {
		c.class(0, "destroy", "--stack", name, "--yes")
		r := c.start(up...)
		r.until(t, "creating the lab's objects")
		require.Eventually(t, func() bool {
			out, err := exec.Command("docker", "exec", kindcluster.Name(name)+"-control-plane", "kubectl",
				"--kubeconfig", "/etc/kubernetes/admin.conf", "get", "deployment", "bootcamp", "-o", "name").Output()
			return err == nil && len(out) > 0
		}, time.Minute, 50*time.Millisecond, "the Deployment never came")
		require.NotEmpty(t, killChildren(t, r.Process.Pid), "the CLI was not there to be killed")
		require.NoError(t, r.Process.Kill())
		r.code(t)
		first := id()
		c.class(0, up...)
		assert.Equal(t, first, id(), "the cluster was built anew for an object that was there")
		assert.Empty(t, c.class(0, up...).Stacks[0].Changes.Steps)
		healthy()
	})

	part("killed, then destroy", func(t *testing.T) {
		c.class(0, "destroy", "--stack", name, "--yes")
		require.Empty(t, c.nodes(name))
		r := c.start(up...)
		r.until(t, "creating the cluster")
		require.Eventually(t, func() bool {
			found, err := livelab.Containers(kindcluster.Name(name)) // an error is one that is just being made
			return err == nil && len(found) > 0
		}, time.Minute, 100*time.Millisecond)
		// The CLI has a process group of its own: the kill must reach it there.
		require.NotEmpty(t, killChildren(t, r.Process.Pid), "the CLI was not there to be killed")
		require.NoError(t, r.Process.Kill())
		r.code(t)
		assert.NotEmpty(t, c.locks(), "a killed CLI leaves its lock")
		d := c.class(0, "destroy", "--stack", name, "--remove", "--yes")
		assert.Empty(t, d.Stacks[0].Kept)
		assert.Empty(t, c.nodes(name), "the half-built cluster is left")
		assert.NoDirExists(t, filepath.Join(c.dir, ".bootcamp"))
	})
}

// killChildren kills the children of a process, and returns their ids.
func killChildren(t *testing.T, parent int) (killed []int) {
	t.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", parent))
	require.NoError(t, err)
	for _, list := range lists {
		children, err := os.ReadFile(list)
		require.NoError(t, err)
		for _, child := range strings.Fields(string(children)) {
			pid, err := strconv.Atoi(child)
			require.NoError(t, err)
			require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
			killed = append(killed, pid)
		}
	}
	return killed
}
