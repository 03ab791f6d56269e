package livelab

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Image is a container image that no registry here has, made of one of tests/live/images:
// each of these modules names one Go program as its tool.
type Image struct {
	Module string // its folder
	Name   string // with a tag; what the pods ask for
	User   string // a number, that of the image itself
}

// Load builds an image and gives it to the nodes of a kind cluster. The program is its
// entrypoint, and all that is in it. Docker forgets it after the test.
func (i Image) Load(t testing.TB, cluster string) {
	t.Helper()
	dir := t.TempDir()
	run := func(stdin string, command string, args ...string) string {
		t.Helper()
		cmd := exec.Command(command, args...)
		cmd.Dir, cmd.Env = filepath.Join(root(), "tests", "live", "images", i.Module), append(os.Environ(), "CGO_ENABLED=0")
		if stdin != "" {
			file, err := os.Open(stdin)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			cmd.Stdin = file
		}
		var said strings.Builder // what Go downloads, for one
		cmd.Stderr = &said
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s %s: %v\n%s%s", command, strings.Join(args, " "), err, out, said.String())
		}
		return strings.TrimSpace(string(out))
	}
	tool := run("", "go", "list", "-f", "{{.ImportPath}}", "tool")
	run("", "go", "build", "-trimpath", "-ldflags=-s", "-o", filepath.Join(dir, "program"), tool)
	layer, saved := filepath.Join(dir, "layer.tar"), filepath.Join(dir, "image.tar")
	run("", "tar", "--create", "--file", layer, "--directory", dir, "program")
	run("", "docker", "import", "--change", `ENTRYPOINT ["/program"]`, "--change", "USER "+i.User, layer, i.Name)
	t.Cleanup(func() {
		if out, err := exec.Command("docker", "image", "rm", i.Name).CombinedOutput(); err != nil {
			t.Errorf("image %s could not be removed: %v: %s", i.Name, err, out)
		}
	})
	run("", "docker", "save", "--output", saved, i.Name)
	nodes, err := Containers(cluster)
	if err != nil || len(nodes) == 0 {
		t.Fatalf("cluster %s has %d nodes: %v", cluster, len(nodes), err)
	}
	for _, n := range nodes {
		run(saved, "docker", "exec", "--interactive", n.Name, "ctr", "--namespace", "k8s.io", "images", "import", "-")
	}
}
