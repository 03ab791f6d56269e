package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// files are the text's manifests, in its order.
var files = []string{"app.yml", "service.yml", "node-exporter.yml", "role-based-access-control.yml", "prometheus.yml"}

// byHand is who types the text's commands.
type byHand struct {
	*bench
	name, manifests string
}

func (h *byHand) kubeconfig() string { return filepath.Join(h.dir, "kubeconfig-"+h.name) }

func (h *byHand) prepare(_ context.Context, name string) error {
	h.name, h.manifests = name, filepath.Join(h.dir, name)
	if err := os.MkdirAll(h.manifests, 0o700); err != nil {
		return err
	}
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(h.root, "tests", "testdata", "course", f))
		if err != nil {
			return err
		}
		manifest := string(text)
		for key, image := range h.images {
			manifest = strings.ReplaceAll(manifest, editions["course"][key], image)
		}
		if h.edition == "current" { // agnhost has many commands
			manifest = strings.Replace(manifest, "- name: bootcamp-app\n", "- name: bootcamp-app\n        args: [netexec, --http-port=8080]\n", 1)
		}
		if err := os.WriteFile(filepath.Join(h.manifests, f), []byte(manifest), 0o600); err != nil {
			return err
		}
	}
	// Beside the manifests, so that `kubectl diff` of their folder does not meet it.
	cluster := map[string]any{"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4"}
	var nodes []map[string]string
	for i := range h.workers + 1 {
		n := map[string]string{"role": "worker", "image": h.nodeImage}
		if i == 0 {
			n["role"] = "control-plane"
		}
		nodes = append(nodes, n)
	}
	cluster["nodes"] = nodes
	if h.registry != nil {
		cluster["containerdConfigPatches"] = []string{registryPatch}
	}
	return writeYAML(h.manifests+"-cluster.yml", cluster)
}

func (h *byHand) kubectl(ctx context.Context, args ...string) error {
	return h.run(ctx, h.manifests, "kubectl", append([]string{"--kubeconfig", h.kubeconfig()}, args...)...)
}

func (h *byHand) first(ctx context.Context) error {
	if err := h.run(ctx, h.dir, "kind", "create", "cluster", "--name", h.name, "--config", h.manifests+"-cluster.yml", "--kubeconfig", h.kubeconfig()); err != nil {
		return err
	}
	if h.registry != nil {
		if err := h.registry.reachedFrom(ctx, h.name); err != nil {
			return err
		}
	}
	for _, f := range files {
		if err := h.kubectl(ctx, "apply", "-f", f); err != nil {
			return err
		}
	}
	return nil
}

// again asks whether anything is not as the manifests say. `kubectl diff` ends with 1 where
// something is.
func (h *byHand) again(ctx context.Context) error { return h.kubectl(ctx, "diff", "-f", ".") }

func (h *byHand) edit() error {
	for _, e := range []struct{ file, from, to string }{
		{"app.yml", "replicas: 2", "replicas: 3"},
		{"service.yml", "type: ClusterIP", "type: NodePort"},
	} {
		file := filepath.Join(h.manifests, e.file)
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if !strings.Contains(string(text), e.from) {
			return fmt.Errorf("%s has no %q", e.file, e.from)
		}
		if err := os.WriteFile(file, []byte(strings.Replace(string(text), e.from, e.to, 1)), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (h *byHand) change(ctx context.Context) error {
	for _, f := range []string{"app.yml", "service.yml"} {
		if err := h.kubectl(ctx, "apply", "-f", f); err != nil {
			return err
		}
	}
	return h.kubectl(ctx, "rollout", "status", "deployment/bootcamp", "--timeout=5m")
}

func (h *byHand) destroy(ctx context.Context) error {
	return h.run(ctx, h.dir, "kind", "delete", "cluster", "--name", h.name, "--kubeconfig", h.kubeconfig())
}

// byPulumi is who runs plain `pulumi` in a release's folder.
type byPulumi struct {
	*bench
	imagePull string
	name      string
}

func (p *byPulumi) kubeconfig() string { return filepath.Join(p.dir, "kubeconfig-"+p.name) }

func (p *byPulumi) prepare(ctx context.Context, name string) error {
	p.name = name
	if err := p.pulumi(ctx, "stack", "init", name); err != nil {
		return err
	}
	return p.stackFile(name, 2, "ClusterIP", p.imagePull)
}

func (p *byPulumi) pulumi(ctx context.Context, args ...string) error {
	return p.run(ctx, filepath.Join(p.dir, "project"), "pulumi", append([]string{"--non-interactive"}, args...)...)
}

func (p *byPulumi) up(ctx context.Context) error {
	return p.pulumi(ctx, "up", "--yes", "--skip-preview", "--stack", p.name)
}

func (p *byPulumi) first(ctx context.Context) error {
	if err := p.up(ctx); err != nil {
		return err
	}
	config, err := p.output(ctx, filepath.Join(p.dir, "project"), "pulumi", "stack", "output", "kubeconfig", "--show-secrets", "--stack", p.name)
	if err != nil {
		return err
	}
	return os.WriteFile(p.kubeconfig(), []byte(config), 0o600)
}

func (p *byPulumi) again(ctx context.Context) error  { return p.up(ctx) }
func (p *byPulumi) edit() error                      { return p.stackFile(p.name, 3, "NodePort", p.imagePull) }
func (p *byPulumi) change(ctx context.Context) error { return p.up(ctx) }

func (p *byPulumi) destroy(ctx context.Context) error {
	return p.pulumi(ctx, "destroy", "--yes", "--skip-preview", "--remove", "--stack", p.name)
}

// byClass is who runs the class tool.
type byClass struct {
	*bench
	name string
}

func (c *byClass) kubeconfig() string {
	return filepath.Join(c.dir, "project", "kubeconfig-"+c.name+".yaml")
}

func (c *byClass) prepare(_ context.Context, name string) error {
	c.name = name
	return c.stackFile(name, 2, "ClusterIP", "host")
}

func (c *byClass) class(ctx context.Context, args ...string) error {
	return c.run(ctx, filepath.Join(c.dir, "project"), "./class", append(args, "--stack", c.name)...)
}

func (c *byClass) first(ctx context.Context) error {
	if err := c.class(ctx, "up"); err != nil {
		return err
	}
	return c.class(ctx, "kubeconfig")
}

func (c *byClass) again(ctx context.Context) error  { return c.class(ctx, "up") }
func (c *byClass) edit() error                      { return c.stackFile(c.name, 3, "NodePort", "host") }
func (c *byClass) change(ctx context.Context) error { return c.class(ctx, "up") }

func (c *byClass) destroy(ctx context.Context) error {
	return c.class(ctx, "destroy", "--yes")
}

// forget has Docker forget what came over the registry of this run, so that who is next
// begins as whoever was first.
func (b *bench) forget() error {
	var errs []error
	for _, image := range b.images {
		if out, err := exec.Command("docker", "image", "rm", image).CombinedOutput(); err != nil && !strings.Contains(string(out), "No such image") {
			errs = append(errs, fmt.Errorf("docker image rm %s: %w: %s", image, err, out))
		}
	}
	return errors.Join(errs...)
}
