package kindcluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
	kind "sigs.k8s.io/kind/pkg/cluster"
	"sigs.k8s.io/kind/pkg/cluster/constants"
	"sigs.k8s.io/kind/pkg/cluster/nodes"
	kinderrors "sigs.k8s.io/kind/pkg/errors"
	kindexec "sigs.k8s.io/kind/pkg/exec"
	"sigs.k8s.io/kind/pkg/log"

	"k8sbootcamp/internal/docker"
	"k8sbootcamp/internal/hostimages"
	"k8sbootcamp/internal/hostlock"
)

// finishedFile lies in the control plane's file system once all is built.
const finishedFile = "/kind/bootcamp.finished"

// adminConf is kubeadm's kubeconfig inside the control plane.
const adminConf = "/etc/kubernetes/admin.conf"

// nodeEntrypoint is what kind's node images start.
const nodeEntrypoint = "/usr/local/bin/entrypoint"

// apiAddress has `docker inspect` tell where the control plane's API server is reached: by
// the label of a Docker Desktop that is on another machine, as kind reads it, or at the port
// that Docker publishes.
const apiAddress = `{{with index .Config.Labels "desktop.docker.io/ports/6443/tcp"}}{{.}}{{else}}` +
	`{{with index .NetworkSettings.Ports "6443/tcp"}}{{with index . 0}}{{.HostIp}}:{{.HostPort}}{{end}}{{end}}{{end}}`

// roleLabel is kind's own of what a node's container is.
const roleLabel = "io.x-k8s.kind.role"

// DockerDriver is the Driver of kind's library and the docker command. Each call has
// a kubeconfig file of its own, so the user's is never read or written.
type DockerDriver struct {
	ImageMirror string // URL of one that is asked first for node images; empty is none

	kind *kind.Provider
}

// NewDockerDriver returns the driver; kind's progress goes to the logger.
func NewDockerDriver(logger log.Logger) *DockerDriver {
	return &DockerDriver{kind: kind.NewProvider(kind.ProviderWithDocker(), kind.ProviderWithLogger(logger))}
}

var _ Driver = (*DockerDriver)(nil)

// Ping asks Docker whether it is there. Its error is *docker.Error.
func (d *DockerDriver) Ping(ctx context.Context) error {
	_, err := docker.Ask(ctx)
	return err
}

// Containers lists the cluster's node containers by kind's own label.
func (d *DockerDriver) Containers(ctx context.Context, cluster string) ([]Container, error) {
	ids, err := docker.Run(ctx, "ps", "--all", "--quiet", "--no-trunc", "--filter", "label="+docker.KindLabel+"="+cluster)
	if err != nil || len(bytes.Fields(ids)) == 0 {
		return nil, err
	}
	out, err := docker.Run(ctx, append([]string{"inspect", "--type", "container"}, strings.Fields(string(ids))...)...)
	if err != nil {
		return nil, err
	}
	var list []struct {
		Name   string
		Config struct{ Labels map[string]string }
		State  struct {
			Running, Paused bool
			StartedAt       time.Time
		}
		Mounts          []struct{ Destination string }
		NetworkSettings struct {
			Networks map[string]struct{ IPAddress string }
		}
	}
	if err := json.Unmarshal(out, &list); err != nil {
		return nil, fmt.Errorf("docker inspect: %w", err)
	}
	found := make([]Container, len(list))
	for i, c := range list {
		found[i] = Container{Name: strings.TrimPrefix(c.Name, "/"), Running: c.State.Running && !c.State.Paused, Started: c.State.StartedAt,
			ControlPlane: c.Config.Labels[roleLabel] == string(v1alpha4.ControlPlaneRole)}
		for _, n := range c.NetworkSettings.Networks { // a node has one
			found[i].Address = n.IPAddress
		}
		for _, m := range c.Mounts {
			found[i].Mounts = append(found[i].Mounts, m.Destination)
		}
	}
	return found, nil
}

// Pull has Docker have a node image, which kind would pull itself, but say nothing
// meanwhile, and under its own name alone; another image than a node's is refused.
func (d *DockerDriver) Pull(ctx context.Context, image string, log io.Writer) (string, error) {
	api, err := docker.Open(ctx)
	if err != nil {
		return "", err
	}
	defer api.Close()
	host := hostimages.New(api, api.Platform, log)
	host.Mirror = d.ImageMirror
	if err := host.Pull(ctx, []string{image}); err != nil {
		return "", err
	}
	as, err := host.NameOf(ctx, image)
	if err != nil {
		return "", err
	}
	entrypoint, err := docker.Run(ctx, "image", "inspect", "--format", "{{json .Config.Entrypoint}}", as)
	if err == nil && !bytes.Contains(entrypoint, []byte(nodeEntrypoint)) {
		err = fmt.Errorf("image %s is not one of kind's nodes (it starts %s); set another nodeImage", image, bytes.TrimSpace(entrypoint))
	}
	return as, err
}

// Publisher asks Docker.
func (*DockerDriver) Publisher(ctx context.Context, port int) (container, cluster string, err error) {
	return docker.Publisher(ctx, port)
}

// Create runs kind, which removes what it made where it fails.
func (d *DockerDriver) Create(ctx context.Context, cluster string, config *v1alpha4.Cluster) error {
	return withKubeconfig(cluster, func(file string) error {
		watched, giveUp := context.WithCancelCause(ctx)
		var watching sync.WaitGroup
		watching.Go(func() { d.watch(watched, cluster, giveUp) })
		defer watching.Wait()
		defer giveUp(nil)
		err := d.kind.Create(cluster,
			kind.CreateWithV1Alpha4Config(config),
			kind.CreateWithKubeconfigPath(file),
			kind.CreateWithDisplayUsage(false),
			kind.CreateWithDisplaySalutation(false),
		)
		if err != nil && ctx.Err() == nil && watched.Err() != nil {
			err = context.Cause(watched)
		}
		return explain(fmt.Sprintf("kind could not create cluster %s", cluster), err)
	})
}

// Limits of a creation, from when its nodes are there; to pull their image may
// take any time. kubeadm gives up by itself within 5 minutes as a rule.
const (
	createTimeout  = 10 * time.Minute
	inotifyTimeout = 2 * time.Minute // where a node has said that inotify is used up
)

// watch ends a creation that would not end, by removing its nodes: kind waits for
// commands inside of them without a limit.
func (d *DockerDriver) watch(ctx context.Context, cluster string, giveUp context.CancelCauseFunc) {
	var since time.Time
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		found, err := d.Containers(ctx, cluster)
		if err != nil || len(found) == 0 {
			continue
		}
		if since.IsZero() {
			since = time.Now()
		}
		var why error
		switch age := time.Since(since); {
		case age > createTimeout:
			why = fmt.Errorf("it was not done within %s", createTimeout)
		case age > inotifyTimeout:
			why = outOfInotify(ctx, found)
		}
		if why == nil || ctx.Err() != nil {
			continue
		}
		giveUp(why)
		for _, c := range found {
			_, _ = docker.Run(context.WithoutCancel(ctx), "rm", "--force", "--volumes", c.Name) // kind removes them, too
		}
		return
	}
}

// outOfInotify returns an error with the remedy where a node has no inotify
// instance left, so that systemd or kubelet does not work.
func outOfInotify(ctx context.Context, found []Container) error {
	for _, c := range found {
		said, err := docker.Run(ctx, "exec", c.Name, "journalctl", "--boot", "--quiet", "--no-pager", "--lines=1", "--output=cat",
			"--grep=(inotify|fsnotify).*too many open files|inotify_init")
		if err == nil && len(bytes.TrimSpace(said)) > 0 {
			how := inotifyIn(ctx, c.Name)
			if here := Inotify(); here != (InotifyLimits{}) {
				how = here.String()
			}
			return fmt.Errorf("node %s says %q: this machine's inotify instances are used up; %s", c.Name, bytes.TrimSpace(said), how)
		}
	}
	return nil
}

// Delete runs kind.
func (d *DockerDriver) Delete(_ context.Context, cluster string) error {
	return withKubeconfig(cluster, func(file string) error {
		return explain(fmt.Sprintf("kind could not delete cluster %s", cluster), d.kind.Delete(cluster, file))
	})
}

// Kubeconfig asks kind.
func (d *DockerDriver) Kubeconfig(_ context.Context, cluster string) (string, error) {
	out, err := d.kind.KubeConfig(cluster, false)
	if err == nil && strings.TrimSpace(out) == "" {
		err = errors.New("it is empty")
	}
	return out, explain(fmt.Sprintf("the kubeconfig of cluster %s", cluster), err)
}

// Admin asks Docker two things at once. kind's own way to a kubeconfig asks it about each
// node, several times.
func (d *DockerDriver) Admin(ctx context.Context, cluster string) (admin Admin, err error) {
	node := controlPlaneOf(cluster)
	var both errgroup.Group
	both.Go(func() (err error) {
		admin.Kubeconfig, err = docker.Run(ctx, "exec", node, "cat", adminConf)
		return err
	})
	both.Go(func() error {
		address, err := docker.Run(ctx, "inspect", "--type", "container", "--format", apiAddress, node)
		admin.Server = "https://" + string(bytes.TrimSpace(address))
		if err == nil && len(bytes.TrimSpace(address)) == 0 {
			err = errors.New("its API server's port is not published")
		}
		return err
	})
	if err := both.Wait(); err != nil {
		return Admin{}, fmt.Errorf("the way to cluster %s: %w", cluster, err)
	}
	return admin, nil
}

// WaitReady waits with the kubectl inside the control plane, so the host needs none.
func (d *DockerDriver) WaitReady(ctx context.Context, cluster string, want int, limit time.Duration) error {
	node, err := d.controlPlane(cluster)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	end, _ := ctx.Deadline()
	for { // kubectl wait sees only nodes that are registered, and what they last said
		_, err := kubectl(ctx, node, nil, "wait", "node", "--all", "--for=condition=Ready", fmt.Sprintf("--timeout=%ds", max(1, int(time.Until(end).Seconds()))))
		if err == nil {
			err = d.Ready(ctx, cluster, want)
		}
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			if why := d.Ready(context.WithoutCancel(ctx), cluster, want); why != nil {
				err = why
			}
			return fmt.Errorf("%w within %s", err, limit)
		case <-time.After(time.Second):
		}
	}
}

// Ready asks Docker and, meanwhile, with the kubectl inside the control plane, the API
// server.
func (d *DockerDriver) Ready(ctx context.Context, cluster string, want int) error {
	var found []Container
	var both errgroup.Group
	both.Go(func() (err error) {
		found, err = d.Containers(ctx, cluster)
		return err
	})
	out, silent := docker.Run(ctx, "exec", controlPlaneOf(cluster),
		"kubectl", "--kubeconfig", adminConf, "get", "nodes,leases", "--all-namespaces", "--output=json", "--request-timeout=10s")
	if err := both.Wait(); err != nil {
		return err
	}
	var why []string
	if silent == nil {
		why, silent = notReady(found, want, out)
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case silent != nil:
		return fmt.Errorf("cluster %s: %w: its API server does not answer", cluster, ErrNotReady)
	case len(why) > 0:
		return fmt.Errorf("cluster %s: %w: %s", cluster, ErrNotReady, strings.Join(why, "; "))
	}
	return nil
}

// kubectl runs the kubectl of the control plane's node as the administrator.
func kubectl(ctx context.Context, node nodes.Node, stdin io.Reader, args ...string) ([]byte, error) {
	var out, stderr bytes.Buffer
	cmd := node.CommandContext(ctx, "kubectl", append([]string{"--kubeconfig", adminConf}, args...)...)
	if stdin != nil {
		cmd.SetStdin(stdin)
	}
	if err := cmd.SetStdout(&out).SetStderr(&stderr).Run(); err != nil {
		return nil, fmt.Errorf("kubectl %s: %w: %s", args[0], err, docker.Tail(stderr.Bytes(), 500))
	}
	return out.Bytes(), nil
}

// Finish writes the mark that Finished looks for.
func (d *DockerDriver) Finish(ctx context.Context, cluster string) error {
	node, err := d.controlPlane(cluster)
	if err != nil {
		return err
	}
	return explain("marking cluster "+cluster, node.CommandContext(ctx, "touch", finishedFile).Run())
}

// Finished tells whether the cluster was built to its end.
func (d *DockerDriver) Finished(ctx context.Context, cluster string) bool {
	node, err := d.controlPlane(cluster)
	return err == nil && node.CommandContext(ctx, "test", "-e", finishedFile).Run() == nil
}

// controlPlaneOf is how kind names the node with the API server, where there is one.
func controlPlaneOf(cluster string) string {
	return cluster + "-" + constants.ControlPlaneNodeRoleValue
}

// controlPlane is the node with the API server. kind's own way to it asks Docker twice for
// each node.
func (d *DockerDriver) controlPlane(cluster string) (nodes.Node, error) {
	all, err := d.kind.ListNodes(cluster)
	if err != nil {
		return nil, explain("listing the nodes of cluster "+cluster, err)
	}
	for _, n := range all {
		if strings.HasSuffix(n.String(), "-"+constants.ControlPlaneNodeRoleValue) {
			return n, nil
		}
	}
	return nil, fmt.Errorf("cluster %s: %w: it has no control plane", cluster, ErrNotReady)
}

// withKubeconfig lends a fresh kubeconfig file: the user's own has a lock that
// kind's delete does not wait for, and a lab does not rewrite it unasked. Its
// folder has the cluster's name, so that what a killed run left, an
// administrator's key perhaps, goes with the next one.
func withKubeconfig(cluster string, do func(file string) error) error {
	private, err := hostlock.Dir()
	if err != nil {
		return err
	}
	dir := filepath.Join(private, cluster+".kube")
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	return do(filepath.Join(dir, "kubeconfig"))
}

// explain adds what the failed command printed, which kind's errors leave out.
func explain(what string, err error) error {
	if err == nil {
		return nil
	}
	if run := kindexec.RunErrorForError(err); run != nil && len(run.Output) > 0 {
		return fmt.Errorf("%s: %w\n%s", what, err, docker.Tail(run.Output, 2000))
	}
	if all := kinderrors.Errors(err); len(all) > 0 {
		return fmt.Errorf("%s: %w", what, errors.Join(all...))
	}
	return fmt.Errorf("%s: %w", what, err)
}
