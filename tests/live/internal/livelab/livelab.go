// Package livelab runs the real project on a real Docker for tests: a
// workspace, state and passphrase of its own, the `pulumi` command as a user
// runs it, and a clean-up that leaves no container.
//
// The lab is whatever Docker answers, with `pulumi` on PATH. Three variables
// fit it to a machine: LAB_EDITION and LAB_NODE_IMAGE, of which Keys tells, and
// LAB_PULUMI_HOME where plugins lie.
package livelab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"k8sbootcamp/components/editions"
	"k8sbootcamp/internal/kindcluster"
)

// Limit is how long one run of pulumi may take.
const Limit = 6 * time.Minute

// Lab is one test's workspace.
type Lab struct {
	t       testing.TB
	Root    string // of the repository
	Project string // a copy of Pulumi.yaml that runs the built program; stack files lie beside it
	Backend string // folder of the local backend
	env     []string
}

// Why tells why there is no lab on this machine, or is empty.
var Why = sync.OnceValue(func() string {
	if testing.Short() {
		return "-short"
	}
	if _, err := exec.LookPath("pulumi"); err != nil {
		return "no `pulumi` on PATH"
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "docker", "version", "--format", "{{.Server.Version}}").CombinedOutput(); err != nil {
		return fmt.Sprintf("no Docker engine answers (%v: %s)", err, strings.TrimSpace(string(out)))
	}
	return ""
})

// New returns a workspace, or skips the test where there is no lab.
func New(t testing.TB) *Lab {
	t.Helper()
	if why := Why(); why != "" {
		t.Skipf("SKIPPED, NOTHING WAS PROVEN: this test needs a real cluster: %s", why)
	}
	program, err := build()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	l := &Lab{t: t, Root: root(), Project: filepath.Join(dir, "project"), Backend: filepath.Join(dir, "state")}
	for _, d := range []string{l.Project, l.Backend} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := projectFile(l.Root, filepath.Join(l.Project, "Pulumi.yaml"), program); err != nil {
		t.Fatal(err)
	}
	l.guardKubeconfig(filepath.Join(dir, "users-kubeconfig"))
	l.env = append(l.env,
		"PULUMI_BACKEND_URL=file://"+l.Backend,
		"PULUMI_CONFIG_PASSPHRASE=livelab",
		"PULUMI_SKIP_UPDATE_CHECK=1")
	if home := os.Getenv("LAB_PULUMI_HOME"); home != "" {
		l.env = append(l.env, "PULUMI_HOME="+home)
	}
	return l
}

// guardKubeconfig makes a file stand in for the user's own kubeconfig, and
// fails the test if anything has written to it.
func (l *Lab) guardKubeconfig(file string) {
	const content = "# the user's own; a lab neither reads nor writes it\napiVersion: v1\nkind: Config\n"
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		l.t.Fatal(err)
	}
	l.env = append(l.env, "KUBECONFIG="+file)
	l.t.Cleanup(func() {
		if now, err := os.ReadFile(file); err != nil || string(now) != content {
			l.t.Errorf("the user's kubeconfig was written to: %v\n%s", err, now)
		}
	})
}

// projectFile writes a Pulumi.yaml that is the project's own, except that it
// runs a program built before, in the repository's root.
func projectFile(root, file, program string) error {
	own, err := os.ReadFile(filepath.Join(root, "Pulumi.yaml"))
	if err != nil {
		return err
	}
	var p map[string]any
	if err := yaml.Unmarshal(own, &p); err != nil {
		return fmt.Errorf("the project's Pulumi.yaml: %w", err)
	}
	p["main"] = root
	p["runtime"] = map[string]any{"name": "go", "options": map[string]any{"binary": program}}
	made, err := yaml.Marshal(p)
	if err != nil {
		return err
	}
	return os.WriteFile(file, made, 0o600)
}

var built struct {
	sync.Once
	dir string
	err error
}

// build compiles the program once for all tests of the binary, and what its commands run.
func build() (string, error) {
	built.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "livelab-"); built.err != nil {
			return
		}
		cmd := exec.Command("go", "build", "-o", filepath.Join(built.dir, "bootcamp"), ".")
		cmd.Dir = root()
		if out, err := cmd.CombinedOutput(); err != nil {
			built.err = fmt.Errorf("go build: %w\n%s", err, out)
			return
		}
		class := exec.Command("./class", "--version")
		class.Dir = root()
		if out, err := class.CombinedOutput(); err != nil {
			built.err = fmt.Errorf("./class: %w\n%s", err, out)
		}
	})
	return filepath.Join(built.dir, "bootcamp"), built.err
}

// Close removes what the tests of a binary share; TestMain calls it.
func Close() { os.RemoveAll(built.dir) }

var root = sync.OnceValue(func() string {
	dir, err := os.Getwd()
	if err != nil {
		panic(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if mod, err := os.ReadFile(filepath.Join(dir, "go.mod")); err == nil && strings.HasPrefix(string(mod), "module k8sbootcamp\n") {
			return dir
		}
	}
	panic("not inside the repository")
})

// Unique makes a stack's or cluster's name one of this run of the tests, so that
// it is neither a user's nor that of a run that was killed.
func Unique(name string) string { return name + "-" + run }

// run is the same for all packages and tests of one binary.
var run = fmt.Sprintf("%04x", rand.Uint32N(1<<16))

// Stack is one stack of the project, with its cluster.
type Stack struct {
	lab     *Lab
	Name    string
	Cluster string // kind's name of it

	keys map[string]string // of the configuration, at first
}

// Stack makes a stack with configuration of the project's namespace. Its
// cluster is removed after the test, however that ends.
func (l *Lab) Stack(name string, config map[string]string) *Stack {
	l.t.Helper()
	s := l.Unowned(name, config)
	l.t.Cleanup(s.remove)
	return s
}

// Unowned is a Stack whose cluster stays after the test: it is somebody else's.
func (l *Lab) Unowned(name string, config map[string]string) *Stack {
	l.t.Helper()
	s := &Stack{lab: l, Name: name, Cluster: kindcluster.Name(name)}
	if out, err := s.Pulumi("stack", "init"); err != nil {
		l.t.Fatalf("stack init: %v\n%s", err, out)
	}
	keys := Keys()
	if edition, own := config["edition"]; own && edition != keys["edition"] { // and with it the images
		for k := range Images(keys["edition"]) {
			delete(keys, k)
		}
		maps.Copy(keys, Images(edition))
	}
	maps.Copy(keys, config)
	for k, v := range keys {
		s.Set(k, v)
	}
	s.keys = keys
	return s
}

// Keys are the configuration that makes a stack's cluster one of this machine's:
// the kind node image of LAB_NODE_IMAGE, and the edition of LAB_EDITION. Without the
// latter it is the default, or, on a node image of one's own, current: the nodes of
// today refuse the course's echo app.
func Keys() map[string]string {
	keys := map[string]string{}
	if image := os.Getenv("LAB_NODE_IMAGE"); image != "" {
		keys["nodeImage"], keys["edition"] = image, string(editions.Current)
	}
	if edition := os.Getenv("LAB_EDITION"); edition != "" {
		keys["edition"] = edition
	}
	maps.Copy(keys, Images(keys["edition"]))
	return keys
}

// Images are the configuration of an edition's images. Those in a node image of one's
// own (LAB_NODE_IMAGE) have no digests that a registry would know, so there they are
// named by their tags; else they are the edition's own, which takes no key.
func Images(edition string) map[string]string {
	if os.Getenv("LAB_NODE_IMAGE") == "" {
		return nil
	}
	images, err := editions.Of(editions.Name(edition))
	if err != nil {
		panic(err)
	}
	keys := map[string]string{
		"echoImage": images.Echo, "prometheusImage": images.Prometheus, "nodeExporterImage": images.NodeExporter,
		"kubeStateMetricsImage": images.KubeStateMetrics,
		"topicImage":            images.Topic,
	}
	for key, image := range keys {
		tag, _, pinned := strings.Cut(image, "@")
		keys[key] = tag
		if !pinned {
			delete(keys, key)
		}
	}
	return keys
}

// remove kills what still runs for the lab and deletes the stack's containers.
func (s *Stack) remove() {
	for _, pid := range s.lab.tree() {
		kill(pid)
	}
	for _, c := range s.Containers() {
		if out, err := exec.Command("docker", "rm", "--force", "--volumes", c.ID).CombinedOutput(); err != nil {
			s.lab.t.Errorf("container %s could not be removed: %v: %s", c.Name, err, out)
		}
	}
}

// Set sets a key of the project's configuration.
func (s *Stack) Set(key, value string) {
	s.lab.t.Helper()
	if out, err := s.Pulumi("config", "set", "bootcamp:"+key, "--", value); err != nil {
		s.lab.t.Fatalf("config set %s: %v\n%s", key, err, out)
	}
}

// Unset gives a key of the project's configuration the value back that it had at first,
// or removes it.
func (s *Stack) Unset(key string) {
	s.lab.t.Helper()
	if first, had := s.keys[key]; had {
		s.Set(key, first)
		return
	}
	if out, err := s.Pulumi("config", "rm", "bootcamp:"+key); err != nil {
		s.lab.t.Fatalf("config rm %s: %v\n%s", key, err, out)
	}
}

// Up runs `pulumi up` and returns all that it printed.
func (s *Stack) Up(args ...string) (string, error) {
	return s.Pulumi(append([]string{"up", "--yes", "--skip-preview"}, args...)...)
}

// Preview runs `pulumi preview`.
func (s *Stack) Preview(args ...string) (string, error) {
	return s.Pulumi(append([]string{"preview"}, args...)...)
}

// Destroy runs `pulumi destroy`.
func (s *Stack) Destroy(args ...string) (string, error) {
	return s.Pulumi(append([]string{"destroy", "--yes", "--skip-preview"}, args...)...)
}

// ClusterURN is the URN of the resource that an up can be told to replace.
func (s *Stack) ClusterURN() string {
	return "urn:pulumi:" + s.Name + "::bootcamp::bootcamp:cluster:Kind$command:local:Command::cluster"
}

// StateFile is the stack's file in the local backend.
func (s *Stack) StateFile() string {
	return filepath.Join(s.lab.Backend, ".pulumi", "stacks", "bootcamp", s.Name+".json")
}

// State counts the resources in the stack's state, and the operations that a
// killed command has left open there.
func (s *Stack) State() (resources, pending int) {
	s.lab.t.Helper()
	out, err := s.Pulumi("stack", "export")
	var state struct {
		Deployment struct {
			Resources         []struct{}
			PendingOperations []struct{} `json:"pending_operations"`
		}
	}
	if err = errors.Join(err, json.Unmarshal([]byte(out), &state)); err != nil {
		s.lab.t.Fatalf("stack export: %v\n%s", err, out)
	}
	return len(state.Deployment.Resources), len(state.Deployment.PendingOperations)
}

// Output returns one of the stack's outputs, a secret one in clear.
func (s *Stack) Output(key string) string {
	s.lab.t.Helper()
	out, err := s.Pulumi("stack", "output", "--show-secrets", key)
	if err != nil {
		s.lab.t.Fatalf("stack output %s: %v\n%s", key, err, out)
	}
	return strings.TrimSuffix(out, "\n")
}

// Kubectl runs kubectl as the administrator, inside the control plane's node.
func (s *Stack) Kubectl(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), Limit)
	defer cancel()
	args = append([]string{"exec", s.Cluster + "-control-plane", "kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf"}, args...)
	out, err := exec.CommandContext(ctx, "docker", args...).CombinedOutput()
	return string(out), err
}

// Container is a node of a kind cluster.
type Container struct {
	ID, Name, StartedAt string
	Running             bool
}

// Containers lists the nodes of the stack's cluster, running or not.
func (s *Stack) Containers() []Container {
	s.lab.t.Helper()
	found, err := Containers(s.Cluster)
	if err != nil {
		s.lab.t.Fatal(err)
	}
	return found
}

// Containers lists the nodes of a kind cluster, running or not.
func Containers(cluster string) ([]Container, error) {
	ids, err := exec.Command("docker", "ps", "--all", "--quiet", "--filter", "label=io.x-k8s.kind.cluster="+cluster).Output()
	if err != nil {
		return nil, fmt.Errorf("docker ps: %w", err)
	}
	var found []Container
	for _, id := range strings.Fields(string(ids)) {
		out, err := exec.Command("docker", "inspect", "--type", "container", id).Output()
		var list []struct {
			ID, Name string `json:",omitempty"`
			State    struct {
				Running   bool
				StartedAt string
			}
		}
		if err = errors.Join(err, json.Unmarshal(out, &list)); err != nil {
			return nil, fmt.Errorf("docker inspect %s: %w", id, err)
		}
		for _, c := range list {
			found = append(found, Container{c.ID, strings.TrimPrefix(c.Name, "/"), c.State.StartedAt, c.State.Running})
		}
	}
	return found, nil
}
