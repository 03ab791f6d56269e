package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// bench is one run: its folder, what is built once, and how commands are run.
type bench struct {
	options
	again    int    // how often in a turn there is nothing to do
	root     string // of the repository
	dir      string // a temporary one, with the project, the state and the manifests
	env      []string
	tool     string            // the class tool
	program  string            // the Pulumi program
	images   map[string]string // by key
	registry *throttled        // or nil
}

// editions are the images of the lab's pods, by the key that configures them: the text's
// own, and those of edition current, by their tags.
var editions = map[string]map[string]string{
	"course": {
		"echoImage":         "registry.k8s.io/echoserver:1.4",
		"nodeExporterImage": "prom/node-exporter:v1.3.1",
		"prometheusImage":   "prom/prometheus:v2.33.3",
	},
	"current": {
		"echoImage":         "registry.k8s.io/e2e-test-images/agnhost:2.63.0",
		"nodeExporterImage": "prom/node-exporter:v1.12.1",
		"prometheusImage":   "prom/prometheus:v3.13.2",
	},
}

// nodes are the editions' images of nodes.
var nodes = map[string]string{
	"course":  "kindest/node:v1.24.0@sha256:0866296e693efe1fed79d5e6c7af8df71fc73ae45e3679af05342239cdc5bc8e",
	"current": "kindest/node:v1.37.0@sha256:a1ed56cfb0e7b93589bdf97c8cd566405a265939e3620fc4f5de89adff580ae5",
}

// commandLimit is how long one command may take: a build that is cold is the longest.
const commandLimit = 30 * time.Minute

func newBench(ctx context.Context, o options) (*bench, error) {
	root, err := repository()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "bootcamp-bench-")
	if err != nil {
		return nil, err
	}
	b := &bench{options: o, again: 3, root: root, dir: dir, images: maps.Clone(editions[o.edition])}
	return b, b.prepare(ctx)
}

func (b *bench) prepare(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	if err := os.Mkdir(filepath.Join(b.dir, "state"), 0o700); err != nil {
		return err
	}
	b.env = append(os.Environ(), "GOFLAGS="+strings.TrimSpace(os.Getenv("GOFLAGS")+" -trimpath"),
		"PULUMI_BACKEND_URL=file://"+filepath.Join(b.dir, "state"), "PULUMI_CONFIG_PASSPHRASE=bench", "PULUMI_SKIP_UPDATE_CHECK=1",
		"KUBECONFIG="+filepath.Join(b.dir, "kubeconfig"))
	if home := os.Getenv("LAB_PULUMI_HOME"); home != "" {
		b.env = append(b.env, "PULUMI_HOME="+home)
	}
	fmt.Println("compiling what is compared (some minutes, the first time)")
	project := filepath.Join(b.dir, "project")
	if err := b.run(ctx, b.root, "go", "run", "./cmd/archive", project); err != nil {
		return err
	}
	if err := b.run(ctx, b.root, "go", "build", "-buildvcs=false", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(project, "class"), "./cmd/class/classtool"); err != nil {
		return err
	}
	if b.pull > 0 {
		if b.registry, err = startRegistry(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) close() error {
	if b.registry != nil {
		b.registry.stop()
	}
	return os.RemoveAll(b.dir)
}

func writeYAML(file string, content any) error {
	made, err := yaml.Marshal(content)
	if err != nil {
		return err
	}
	return os.WriteFile(file, made, 0o600)
}

// stackFile writes a stack's configuration: the text's lab, with the pods that are wanted.
func (b *bench) stackFile(stack string, replicas int, serviceType string, imagePull string) error {
	file := filepath.Join(b.dir, "project", "Pulumi."+stack+".yaml")
	var content struct {
		Salt   string         `yaml:"encryptionsalt,omitempty"`
		Config map[string]any `yaml:"config"`
	}
	if was, err := os.ReadFile(file); err == nil {
		if err := yaml.Unmarshal(was, &content); err != nil {
			return err
		}
	}
	content.Config = map[string]any{
		"bootcamp:workers":     fmt.Sprint(b.workers),
		"bootcamp:replicas":    fmt.Sprint(replicas),
		"bootcamp:serviceType": serviceType,
		"bootcamp:imagePull":   imagePull,
	}
	content.Config["bootcamp:edition"] = b.edition
	content.Config["bootcamp:nodeImage"] = b.nodeImage
	for key, image := range b.images {
		content.Config["bootcamp:"+key] = image
	}
	return writeYAML(file, content)
}

// run runs a command to its end; its output is in the error.
func (b *bench) run(ctx context.Context, dir, name string, args ...string) error {
	_, err := b.output(ctx, dir, name, args...)
	return err
}

func (b *bench) output(ctx context.Context, dir, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, b.env
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 30 * time.Second
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w\n%s%s", filepath.Base(name), strings.Join(args, " "), err, out.String(), errOut.String())
	}
	return out.String(), nil
}

// title says which runs can be compared: it is the heading of a part of the results.
func (b *bench) title() string {
	title := fmt.Sprintf("1+%d nodes, edition %s", b.workers, b.edition)
	if b.pull > 0 {
		title += fmt.Sprintf(", images over a registry of %g MB/s", b.pull)
	}
	if b.fill > 0 {
		title += fmt.Sprintf(", each larger by %d MB", b.fill)
	}
	return title
}

// write puts the table in the place of the one with the same title.
func (b *bench) write(names []string, took map[string]map[string][]time.Duration) error {
	was, err := os.ReadFile(b.out)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if len(was) == 0 {
		was = []byte(results)
	}
	var part strings.Builder
	fmt.Fprintf(&part, "## %s\n\n", b.title())
	fmt.Fprintf(&part, "Of %s: %d cores (%s/%s), medians of %d rounds in turn (nothing to do: %d each).\n\n",
		time.Now().Format(time.DateOnly), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, b.rounds, b.rounds*b.again)
	if b.note != "" {
		part.WriteString(b.note + "\n\n")
	}
	part.WriteString("| step |")
	for _, n := range names {
		part.WriteString(" " + headings[n] + " |")
	}
	part.WriteString("\n| --- |" + strings.Repeat(" ---: |", len(names)) + "\n")
	for _, step := range steps {
		part.WriteString("| " + step + " |")
		base := median(took[names[0]][step]).Seconds()
		for i, n := range names {
			m := median(took[n][step]).Seconds()
			fmt.Fprintf(&part, " %.1f s", m)
			if i > 0 {
				fmt.Fprintf(&part, ", %.2f x", m/base)
			}
			part.WriteString(" |")
		}
		part.WriteString("\n")
	}
	if b.registry != nil {
		part.WriteString("\n" + b.registry.says())
	}
	fmt.Print("\n" + part.String())
	before, after, _ := strings.Cut(string(was), "## "+b.title()+"\n")
	if _, rest, more := strings.Cut(after, "\n## "); more {
		part.WriteString("\n## " + rest)
	}
	return os.WriteFile(b.out, []byte(strings.TrimRight(before, "\n")+"\n\n"+part.String()), 0o644)
}

const results = `# By hand, and by this project

Written by ` + "`go -C bench run .`" + `, which runs anywhere; its flags say how.
`

var headings = map[string]string{
	"hand":   "by hand",
	"pulumi": "`pulumi up`",
	"nodes":  "`pulumi up`, imagePull=nodes",
	"class":  "`class up`",
}
