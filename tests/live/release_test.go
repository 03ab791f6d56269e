package live

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/internal/archive"
	"k8sbootcamp/tests/internal/results"
	"k8sbootcamp/tests/live/internal/livelab"
)

// TestRelease: a lab from a release's folder, on a machine that has docker and pulumi and
// nothing else; its folder moved; plain pulumi, the source tree and the next release on its
// state; and its end. Only the first up does anything.
func TestRelease(t *testing.T) {
	turn(t, turnRelease)
	name := livelab.Unique("release")
	source := newClassroom(t, name) // skips, and removes the containers after all
	defer results.Test(t, "release: up; the folder moved; plain pulumi, the source tree, the next release on its state; destroy", time.Now())

	machine := t.TempDir()
	bin, home := filepath.Join(machine, "bin"), filepath.Join(machine, "home")
	require.NoError(t, os.Mkdir(bin, 0o700))
	require.NoError(t, os.Mkdir(home, 0o700))
	for _, program := range []string{"docker", "pulumi"} {
		path, err := exec.LookPath(program)
		require.NoError(t, err)
		require.NoError(t, os.Symlink(path, filepath.Join(bin, program)))
	}
	a, b := filepath.Join(machine, "a folder", "bootcamp"), filepath.Join(machine, "another", "lab")
	r := &classroom{t: t, dir: a, tool: "./class", env: []string{"PATH=" + bin, "HOME=" + home}}
	for _, v := range source.env {
		if slices.ContainsFunc([]string{"PULUMI_", "DOCKER_", "KUBECONFIG=", "BOOTCAMP_LIVELAB="}, func(p string) bool { return strings.HasPrefix(v, p) }) {
			r.env = append(r.env, v)
		}
	}
	says := func(c *classroom, name string, args ...string) string {
		t.Helper()
		out, err := c.command(name, args...).CombinedOutput()
		require.NoError(t, err, string(out))
		return string(out)
	}
	up := append([]string{"up", "--stack", name}, r.config()...)
	nothingToDo := func() {
		t.Helper()
		assert.Empty(t, r.class(0, up...).Stacks[0].Changes.Steps)
	}

	unpack(t, "1.2.3", a)
	assert.Equal(t, "class 1.2.3\n", says(r, "./class", "--version"))
	assert.NotEmpty(t, r.class(0, up...).Stacks[0].Changes.Steps)
	for _, q := range r.class(0, "check", "--stack", name).Stacks[0].Checks {
		assert.True(t, q.OK, "%s: %s", q.Question, q.Hint)
	}
	state, err := os.ReadFile(filepath.Join(a, ".bootcamp", "state", ".pulumi", "stacks", "bootcamp", name+".json"))
	require.NoError(t, err)
	assert.Contains(t, string(state), "./class")
	assert.NotContains(t, string(state), machine, "the state names the folder")

	require.NoError(t, os.Mkdir(filepath.Dir(b), 0o700))
	require.NoError(t, os.Rename(a, b))
	r.dir = b
	nothingToDo()

	r.env = append(r.env, "PULUMI_BACKEND_URL=file://"+filepath.Join(b, ".bootcamp", "state"), "PULUMI_CONFIG_PASSPHRASE_FILE="+filepath.Join(b, ".bootcamp", "passphrase"))
	says(r, "pulumi", "preview", "--stack", name, "--expect-no-changes")
	says(r, "pulumi", "up", "--stack", name, "--expect-no-changes", "--yes", "--skip-preview")
	config, err := os.ReadFile(filepath.Join(b, "Pulumi."+name+".yaml"))
	require.NoError(t, err)
	wrong := filepath.Join(machine, "wrong.yaml")
	require.NoError(t, os.WriteFile(wrong, config, 0o600))
	out, err := r.command("pulumi", "preview", "--stack", name, "--config-file", wrong, "--config", "bootcamp:replicas=101").CombinedOutput()
	assert.Error(t, err)
	assert.Contains(t, string(out), `bootcamp:replicas = "101"`, "what the program says reaches the terminal")

	require.NoError(t, os.WriteFile(filepath.Join(source.dir, "Pulumi."+name+".yaml"), config, 0o600))
	source.env = append(source.env, r.env[len(r.env)-2:]...)
	says(source, "pulumi", "preview", "--stack", name, "--expect-no-changes")

	mine := filepath.Join(b, "Pulumi.dev.yaml")
	require.NoFileExists(t, mine, "another stack's up made it")
	require.NoError(t, os.WriteFile(mine, []byte("config:\n  bootcamp:edition: current\n"), 0o600))
	unpack(t, "1.3.0", b)
	kept, err := os.ReadFile(mine)
	require.NoError(t, err)
	assert.Contains(t, string(kept), "edition: current", "the next release took what is the user's")
	assert.Equal(t, "class 1.3.0\n", says(r, "./class", "--version"))
	nothingToDo()

	d := r.class(0, "destroy", "--stack", name, "--remove", "--yes")
	assert.Empty(t, d.Stacks[0].Kept)
	assert.Empty(t, r.nodes(name), "containers are left")
	assert.NoFileExists(t, filepath.Join(b, "Pulumi."+name+".yaml"))
}

// unpack puts what a release's archive has into a folder, over what is there.
func unpack(t *testing.T, version, dir string) {
	t.Helper()
	made := filepath.Join(t.TempDir(), "archive")
	require.NoError(t, archive.Write("../..", made))
	build := exec.Command("go", "build", "-buildvcs=false", "-trimpath", "-ldflags=-s -w -X main.version="+version, "-o", filepath.Join(made, "class"), "./cmd/class/classtool")
	build.Dir = filepath.Join("..", "..")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	require.NoError(t, os.MkdirAll(dir, 0o700))
	out, err = exec.Command("cp", "-R", made+"/.", dir).CombinedOutput()
	require.NoError(t, err, string(out))
}
