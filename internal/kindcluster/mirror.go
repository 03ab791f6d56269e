package kindcluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/util/wait"

	"k8sbootcamp/internal/docker"
	"k8sbootcamp/internal/hostimages"
)

// Verbs of the tool for a mirror.
const (
	VerbMirror   = "mirror"   // have the nodes ask it first
	VerbNoMirror = "unmirror" // have them ask none
)

// UseMirror has all nodes of the stack's cluster ask a mirror, given by its URL, first for
// all images. Its errors are as Kubeconfig's, or a node's.
func (m *Manager) UseMirror(ctx context.Context, c Identity, url string) error {
	err := hostimages.CheckMirror(url)
	if err != nil {
		err = fmt.Errorf("the mirror %q: %w; allowed are %s", url, err, hostimages.AllowedMirror)
	}
	if err := errors.Join(c.Validate(), err); err != nil {
		return err
	}
	found, unlock, err := m.take(ctx, c)
	if err != nil {
		return err
	}
	defer unlock()
	return m.mirror(ctx, found, url)
}

// NoMirror is the inverse of UseMirror. A cluster that is gone or another's asks none of
// this stack's.
func (m *Manager) NoMirror(ctx context.Context, c Identity) error {
	found, unlock, err := m.take(ctx, c)
	if errors.Is(err, ErrGone) || errors.Is(err, ErrForeign) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	return m.mirror(ctx, found, "")
}

// take takes the lock of the stack's cluster, and returns its nodes.
func (m *Manager) take(ctx context.Context, c Identity) (_ []Container, unlock func(), err error) {
	if err := c.Validate(); err != nil {
		return nil, nil, err
	}
	if unlock, err = m.start(ctx, c.Name); err != nil {
		return nil, nil, err
	}
	found, err := m.own(ctx, c)
	if err != nil {
		unlock()
		return nil, nil, err
	}
	return found, unlock, nil
}

func (m *Manager) mirror(ctx context.Context, nodes []Container, url string) error {
	var stopped []string
	for _, n := range nodes {
		if !n.Running {
			stopped = append(stopped, n.Name)
		}
	}
	if len(stopped) > 0 {
		return fmt.Errorf("these nodes do not run: %s; start them with `./class up`, or `docker start`", strings.Join(stopped, " "))
	}
	errs := make([]error, len(nodes))
	var all errgroup.Group
	for i, n := range nodes {
		all.Go(func() error {
			if err := m.Driver.Mirror(ctx, n.Name, url); err != nil {
				errs[i] = fmt.Errorf("node %s: %w", n.Name, err)
			}
			return nil
		})
	}
	_ = all.Wait() // errs has them all
	return errors.Join(errs...)
}

// Of containerd's configuration, and where it looks for mirrors of a registry. Those of
// folder _default are asked for all that have no folder of their own.
const (
	containerdConfig = "/etc/containerd/config.toml"
	defaultFolder    = "/etc/containerd/certs.d"
	hostsFile        = "_default/hosts.toml"
)

// mirrorHosts is the file that has containerd ask a mirror first, and the registry itself
// where that fails. A mirror that is gone is not waited for long; containerd before 2.1
// does not know of that and goes on after half a minute.
func mirrorHosts(url string) string {
	return fmt.Sprintf(`# Written for the lab's key imageMirror, and removed with it.
[host.%q]
  capabilities = ["pull", "resolve"]
  dial_timeout = "3s"
`, url)
}

// configBefore is what containerd's configuration was before a change that is not proven yet.
const configBefore = containerdConfig + ".before-mirror"

// Mirror writes the file that containerd reads at each pull, in a folder that it has to be
// told of once.
func (d *DockerDriver) Mirror(ctx context.Context, node, url string) error {
	exec := func(args ...string) ([]byte, error) {
		return docker.Run(ctx, append([]string{"exec", node}, args...)...)
	}
	if was, err := exec("cat", configBefore); err == nil { // a run was killed, and what containerd has read is not known
		if err := takeBack(ctx, node, was); err != nil {
			return err
		}
	}
	dump, err := exec("containerd", "config", "dump") // what it says of the file
	if err != nil {
		return err
	}
	folder, err := hostsFolder(dump)
	if err != nil {
		return err
	}
	if url == "" {
		if folder == "" {
			return nil
		}
		_, err := exec("rm", "-f", path.Join(folder, hostsFile))
		return err
	}
	if folder == "" {
		folder = defaultFolder
		if err := d.readHosts(ctx, node, folder); err != nil {
			return err
		}
	}
	return writeFile(ctx, node, path.Join(folder, hostsFile), []byte(mirrorHosts(url)))
}

// readHosts has a node's containerd look for mirrors in a folder. That takes a restart of
// it, at which running containers stay. Where it does not work then, all is as it was.
func (d *DockerDriver) readHosts(ctx context.Context, node, folder string) error {
	was, err := docker.Run(ctx, "exec", node, "cat", containerdConfig)
	if err != nil {
		return err
	}
	now, err := withHostsFolder(was, folder)
	if err != nil {
		return err
	}
	if err := writeFile(ctx, node, configBefore, was); err != nil {
		return err
	}
	err = writeFile(ctx, node, containerdConfig, now)
	if err == nil {
		err = restartContainerd(ctx, node)
	}
	if err != nil {
		return errors.Join(err, takeBack(context.WithoutCancel(ctx), node, was))
	}
	return forgetBefore(ctx, node)
}

// takeBack has a node's containerd go by its configuration of before.
func takeBack(ctx context.Context, node string, was []byte) error {
	if err := writeFile(ctx, node, containerdConfig, was); err != nil {
		return err
	}
	if err := restartContainerd(ctx, node); err != nil {
		return err
	}
	return forgetBefore(ctx, node)
}

func forgetBefore(ctx context.Context, node string) error {
	_, err := docker.Run(ctx, "exec", node, "rm", "-f", configBefore)
	return err
}

// containerdTimeout is how long a containerd may take to start.
const containerdTimeout = time.Minute

// restartContainerd returns once the part of it that the kubelet talks to works again.
func restartContainerd(ctx context.Context, node string) error {
	ctx, cancel := context.WithTimeout(ctx, containerdTimeout)
	defer cancel()
	if _, err := docker.Run(ctx, "exec", node, "systemctl", "restart", "containerd"); err != nil {
		return err
	}
	var plugins []byte
	err := wait.PollUntilContextCancel(ctx, 200*time.Millisecond, true, func(ctx context.Context) (_ bool, err error) {
		plugins, err = docker.Run(ctx, "exec", node, "ctr", "plugins", "list")
		return err == nil, nil
	})
	if err != nil {
		return errors.New("its containerd does not answer after a restart")
	}
	for line := range strings.Lines(string(plugins)) {
		cells := strings.Fields(line)
		if len(cells) > 2 && cells[0] == "io.containerd.grpc.v1" && cells[1] == "cri" && slices.Contains(cells, "ok") {
			return nil
		}
	}
	return errors.New("its containerd does not take a folder for mirrors")
}

// writeFile writes a file of a node as a whole, for containerd may be reading it.
func writeFile(ctx context.Context, node, file string, content []byte) error {
	if _, err := docker.Run(ctx, "exec", node, "mkdir", "-p", path.Dir(file)); err != nil {
		return err
	}
	fresh := file + ".new"
	if err := docker.Feed(ctx, bytes.NewReader(content), "exec", "--interactive", node, "cp", "/dev/stdin", fresh); err != nil {
		return err
	}
	_, err := docker.Run(ctx, "exec", node, "mv", fresh, file)
	return err
}

// Plugins of containerd that have what it knows of registries: since 2.0, in version 3 of
// its configuration, and before.
const (
	imagesPlugin = "io.containerd.cri.v1.images"
	criPlugin    = "io.containerd.grpc.v1.cri"
)

// errOwnMirrors is a containerd that would not start with a folder for mirrors.
var errOwnMirrors = errors.New("its containerd has mirrors or certificates of its own in an older form (registry.mirrors, registry.configs), " +
	"beside which it takes none; use another nodeImage, or no imageMirror")

// hostsFolder is the folder where containerd looks for mirrors, empty where in none, by
// what it says of its configuration (`containerd config dump`).
func hostsFolder(dump []byte) (string, error) {
	var all struct{ Plugins map[string]map[string]any }
	if err := toml.Unmarshal(dump, &all); err != nil {
		return "", fmt.Errorf("what containerd says of its configuration: %w", err)
	}
	plugin, ok := all.Plugins[imagesPlugin]
	if !ok {
		plugin = all.Plugins[criPlugin]
	}
	registry, _ := plugin["registry"].(map[string]any)
	folders, _ := registry["config_path"].(string)
	if first, _, _ := strings.Cut(folders, ":"); first != "" {
		return first, nil
	}
	mirrors, _ := registry["mirrors"].(map[string]any)
	configs, _ := registry["configs"].(map[string]any)
	if len(mirrors) > 0 || len(configs) > 0 {
		return "", errOwnMirrors
	}
	return "", nil
}

// withHostsFolder is containerd's file of configuration with that folder in it.
func withHostsFolder(config []byte, folder string) ([]byte, error) {
	all := map[string]any{}
	if err := toml.Unmarshal(config, &all); err != nil {
		return nil, fmt.Errorf("%s: %w", containerdConfig, err)
	}
	plugin := criPlugin
	switch version, _ := all["version"].(int64); {
	case version < 2:
		return nil, fmt.Errorf("%s is of version %d, and should be of 2 or later", containerdConfig, version)
	case version > 2:
		plugin = imagesPlugin
	}
	at := all
	for _, key := range []string{"plugins", plugin, "registry"} {
		next, ok := at[key].(map[string]any)
		if !ok {
			next = map[string]any{}
			at[key] = next
		}
		at = next
	}
	at["config_path"] = folder
	return toml.Marshal(all)
}
