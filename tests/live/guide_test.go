package live

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"k8sbootcamp/components/editions"
	"k8sbootcamp/internal/kindcluster"
	"k8sbootcamp/tests/docs"
	"k8sbootcamp/tests/live/internal/livelab"
)

// guideLimit is how long one of the guide's commands may take.
const guideLimit = 15 * time.Minute

// TestGuide is a student who reads the guide from the first page to the last, types
// every command as it stands there, and sees what the page says. With -update it
// writes what was seen into the pages of both languages.
func TestGuide(t *testing.T) {
	turn(t, turnGuide)
	s := newReader(t)
	before := s.files()
	typed := 0
	for _, page := range docs.GuidePages {
		t.Run(page, func(t *testing.T) { typed += s.reads(t, page) })
	}
	t.Logf("%d commands of %d pages", typed, len(docs.GuidePages))
	assert.Positive(t, typed)
	assert.Empty(t, s.nodes(s.stack), "containers are left")
	assert.Equal(t, before, s.files(), "files are left")
}

// reader is a student with the guide.
type reader struct {
	*classroom
	root  string // of the repository
	stack string // the guide's dev
	node  string // image of the lab's own, or none

	exports []string // what this terminal has exported
}

func newReader(t *testing.T) *reader {
	t.Helper()
	if _, err := exec.LookPath("kubectl"); err != nil && livelab.Why() == "" {
		t.Skip("SKIPPED, NOTHING WAS PROVEN: the guide needs `kubectl` on PATH")
	}
	if runtime.GOARCH != "amd64" {
		t.Skip("SKIPPED, NOTHING WAS PROVEN: the text's own echo app exists for amd64 alone")
	}
	node := os.Getenv("LAB_COURSE_NODE_IMAGE")
	if node == "" && os.Getenv("LAB_NODE_IMAGE") != "" {
		t.Skip("SKIPPED, NOTHING WAS PROVEN: LAB_COURSE_NODE_IMAGE names no node image of Kubernetes 1.24, which the guide is about")
	}
	// As long as "dev", so that the columns are as wide as a student's, and never dev.
	stack := "g" + livelab.Unique("")[3:]
	found, err := livelab.Containers(kindcluster.Name(stack))
	if err == nil && len(found) > 0 {
		t.Skipf("SKIPPED, NOTHING WAS PROVEN: there is a cluster named %s", kindcluster.Name(stack))
	}
	s := &reader{classroom: newClassroom(t, stack), root: "../..", stack: stack, node: node}
	s.class()
	s.configure()
	return s
}

// configure gives the stack the configuration file that dev has, with what makes its
// cluster one of this machine's.
func (s *reader) configure() {
	own, err := os.ReadFile(filepath.Join(s.dir, "Pulumi.dev.yaml"))
	require.NoError(s.t, err)
	var file struct {
		Config map[string]string `yaml:"config"`
	}
	require.NoError(s.t, yaml.Unmarshal(own, &file))
	keys := livelab.Images(string(editions.Course))
	if s.node != "" {
		if keys == nil {
			keys = map[string]string{}
		}
		keys["nodeImage"] = s.node
	}
	for key, value := range keys {
		file.Config["bootcamp:"+key] = value
	}
	made, err := yaml.Marshal(file)
	require.NoError(s.t, err)
	require.NoError(s.t, os.WriteFile(filepath.Join(s.dir, "Pulumi."+s.stack+".yaml"), made, 0o600))
}

// reads types a page's commands and compares what it sees, and tells how many.
func (s *reader) reads(t *testing.T, page string) (typed int) {
	files := map[docs.Language]string{}
	texts := map[docs.Language]string{}
	for language, folder := range docs.GuideFolders {
		files[language] = filepath.Join(s.root, folder, page+".md")
		text, err := os.ReadFile(files[language])
		require.NoError(t, err)
		texts[language] = string(text)
	}
	fences, err := docs.Fences(texts[docs.English])
	require.NoError(t, err)
	bodies := make([][]string, len(fences))
	for i, f := range fences {
		bodies[i] = f.Body
		if f.Language != "console" {
			continue
		}
		commands, err := docs.Commands(f.Body)
		require.NoError(t, err)
		for j, c := range commands {
			typed++
			seen, failed := s.types(t, c.Line)
			as := docs.Shows(c.Output, seen)
			for end := time.Now().Add(time.Minute); !*update && !as && readsRE.MatchString(c.Line) && time.Now().Before(end); time.Sleep(2 * time.Second) {
				t.Logf("not yet as on the page:\n%s", joined(seen)) // what only looks is typed again
				seen, failed = s.types(t, c.Line)
				as = docs.Shows(c.Output, seen)
			}
			if *update {
				commands[j].Output = docs.Fill(c.Output, seen)
				if failed != nil && !as { // some are meant to; another run tells, which compares
					t.Errorf("%s:%d: `%s`: %v: %s", page, f.Line, c.Line, failed, seen)
				}
			} else if !as {
				t.Errorf("%s:%d: `%s`: if this change is meant, `go -C tests/live test -run TestGuide . -update`\n%s", page, f.Line, c.Line,
					diff.Diff("page", joined(c.Output), "run", joined(seen)))
			}
		}
		bodies[i] = docs.Console(commands)
	}
	if *update {
		for language, file := range files {
			text, err := docs.Rewrite(texts[language], bodies)
			require.NoError(t, err, file)
			require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
		}
	}
	return typed
}

func joined(lines []string) []byte { return []byte(strings.Join(lines, "\n") + "\n") }

// types runs a command as the student does, who has all on one terminal, and returns
// what is seen there.
func (s *reader) types(t *testing.T, line string) (seen []string, failed error) {
	t.Helper()
	mine := devRE.ReplaceAllString(line, "${1}"+s.stack)
	ctx, cancel := context.WithTimeout(context.Background(), guideLimit)
	defer cancel()
	script := strings.Join(append(slices.Clone(s.exports), mine), "\n")
	cmd := exec.CommandContext(ctx, "bash", "-c", script)
	cmd.Dir, cmd.Env = s.dir, s.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 10 * time.Second
	begin := time.Now()
	out, failed := cmd.CombinedOutput()
	t.Logf("$ %s (%s)", line, time.Since(begin).Round(100*time.Millisecond))
	if strings.HasPrefix(line, "export ") {
		s.exports = append(s.exports, mine)
	}
	return s.asSeen(string(out)), failed
}

// asStudent is ./class: the class tool, on another stack than dev, and what Pulumi's
// commands run.
const asStudent = `#!/bin/sh
case $1 in
kindcluster) exec '%[1]s' "$@" ;;
*) exec '%[1]s' "$@" --stack %[2]s ;;
esac
`

// class puts ./class into the student's folder.
func (s *reader) class() {
	file := filepath.Join(s.dir, "class")
	require.NoError(s.t, os.RemoveAll(file)) // it may be a link
	require.NoError(s.t, os.WriteFile(file, fmt.Appendf(nil, asStudent, s.tool, s.stack), 0o700))
}

// readsRE are commands that change nothing: what they show may be a few seconds late.
var readsRE = regexp.MustCompile(`^(kubectl get|kubectl auth can-i|docker ps|docker exec \S+ curl) `)

var devRE = regexp.MustCompile(`\b(bootcamp-|kubeconfig-|Pulumi\.)dev\b`)

// asSeen is an output as it is where the guide is read: of stack dev, in the student's
// folder, on the edition's own node image.
func (s *reader) asSeen(out string) []string {
	out = strings.ReplaceAll(out, " --stack "+s.stack, "")
	out = regexp.MustCompile(`\b`+s.stack+`\b`).ReplaceAllString(out, "dev")
	out = strings.ReplaceAll(out, s.dir, "/home/you/bootcamp")
	if cli, err := exec.LookPath("pulumi"); err == nil {
		out = strings.ReplaceAll(out, cli, "/usr/local/bin/pulumi")
	}
	if s.node != "" {
		images, err := editions.Of(editions.Course)
		require.NoError(s.t, err)
		version := regexp.MustCompile(`v1\.24\.\d+`)
		out = version.ReplaceAllString(strings.ReplaceAll(out, s.node, images.Node), version.FindString(images.Node))
	}
	out = strings.TrimRight(out, "\n")
	if out == "" {
		return nil
	}
	lines := strings.Split(out, "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, " ")
	}
	return lines
}

// TestGuideReader: what a student types and sees comes out as in the guide.
func TestGuideReader(t *testing.T) {
	s := &reader{classroom: &classroom{t: t, dir: t.TempDir(), tool: "/bin/echo", env: os.Environ()}, stack: "g00"}
	s.class()
	for _, c := range []struct {
		line string
		seen []string
		well bool
	}{
		{"./class up --config replicas=3", []string{"up --config replicas=3"}, true},
		{"echo $PWD/kubeconfig-dev.yaml bootcamp-dev-worker", []string{"/home/you/bootcamp/kubeconfig-dev.yaml bootcamp-dev-worker"}, true},
		{"export LAB=$PWD/kubeconfig-dev.yaml", nil, true},
		{`basename "$LAB" | tr 0 1`, []string{"kubeconfig-g11.yaml"}, true},
		{"echo no; exit 1", []string{"no"}, false},
	} {
		seen, failed := s.types(t, c.line)
		assert.Equal(t, c.seen, seen, c.line)
		assert.Equal(t, c.well, failed == nil, c.line)
	}
	s.tool = "/bin/false"
	s.class()
	seen, failed := s.types(t, "./class up")
	assert.Empty(t, seen)
	assert.Error(t, failed)
	s.node = "lab/node:v1.24.17"
	seen = s.asSeen("lab/node:v1.24.17 v1.24.17  \n\n")
	require.Len(t, seen, 1)
	assert.Contains(t, seen[0], "kindest/node:v1.24.0@sha256:")
	assert.True(t, strings.HasSuffix(seen[0], " v1.24.0"), seen[0])
}
