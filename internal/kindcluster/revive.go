package kindcluster

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"k8sbootcamp/internal/docker"
)

// addressFile is where a node of kind keeps the address that it last had.
const addressFile = "/kind/old-ipv4"

// Start starts the cluster's stopped nodes, in the order of the addresses that they
// had: Docker gives each the lowest that is free, and so its own again.
func (d *DockerDriver) Start(ctx context.Context, cluster string) error {
	found, err := d.Containers(ctx, cluster)
	if err != nil {
		return err
	}
	had := map[string]netip.Addr{}
	for _, c := range found {
		had[c.Name] = lastAddress(ctx, c.Name)
	}
	slices.SortStableFunc(found, func(a, b Container) int { return had[a.Name].Compare(had[b.Name]) })
	for _, c := range found {
		if c.Running {
			continue
		}
		// A paused one is neither running nor stopped.
		if _, err := docker.Run(ctx, "unpause", c.Name); err == nil {
			continue
		}
		if _, err := docker.Run(ctx, "start", c.Name); err != nil {
			return err
		}
	}
	return nil
}

// lastAddress is the address that a node had when it last ran, or the zero one.
func lastAddress(ctx context.Context, container string) netip.Addr {
	out, err := docker.Run(ctx, "cp", container+":"+addressFile, "-")
	if err != nil {
		return netip.Addr{}
	}
	file := tar.NewReader(bytes.NewReader(out))
	if _, err := file.Next(); err != nil {
		return netip.Addr{}
	}
	content, _ := io.ReadAll(file) // a part of an address is none
	address, _ := netip.ParseAddr(strings.TrimSpace(string(content)))
	return address
}

// Stop stops the cluster's nodes.
func (d *DockerDriver) Stop(ctx context.Context, cluster string) error {
	found, err := d.Containers(ctx, cluster)
	if err != nil || len(found) == 0 {
		return err
	}
	_, err = docker.Run(ctx, append([]string{"stop", "--time", "5"}, Names(found)...)...)
	return err
}

// byAddress are the files in which kubeadm tells those on the control plane's node
// the API server's address; all others ask for it by that node's name.
var byAddress = []string{"/etc/kubernetes/kubelet.conf", "/etc/kubernetes/controller-manager.conf", "/etc/kubernetes/scheduler.conf"}

// serverRE is an API server's address in such a file.
var serverRE = regexp.MustCompile(`server: https://[0-9.]+:6443`)

// ByName lets all on the control plane's node ask for the API server by that node's
// name, as the other nodes do, and tells whether that is new. Docker may give a
// container another address when it is started; not every node image repairs that,
// and with those that do not the control plane is NotReady for good
// (kubernetes-sigs/kind#2759, #3989).
func (d *DockerDriver) ByName(ctx context.Context, cluster string) (changed bool, err error) {
	node, err := d.controlPlane(cluster)
	if err != nil {
		return false, err
	}
	exec := func(args ...string) ([]byte, error) {
		return docker.Run(ctx, slices.Concat([]string{"exec", node.String()}, args, byAddress)...)
	}
	content, err := exec("cat")
	if err != nil || !serverRE.Match(content) {
		return false, err
	}
	_, err = exec("sed", "--in-place", "--regexp-extended", "s#"+serverRE.String()+"#server: https://"+node.String()+":6443#")
	return err == nil, err
}

// systemdTimeout is how long a node's systemd may take to be there, once its
// container is started.
const systemdTimeout = 30 * time.Second

// RestartKubelet restarts that of the control plane, which reads its files then and
// starts the controllers anew.
func (d *DockerDriver) RestartKubelet(ctx context.Context, cluster string) error {
	node, err := d.controlPlane(cluster)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, systemdTimeout)
	defer cancel()
	for {
		_, err := docker.Run(ctx, "exec", node.String(), "systemctl", "restart", "kubelet")
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Second):
		}
	}
}

// probeName is a DaemonSet that is there for as long as a cluster is probed.
const probeName = "bootcamp-probe"

// probe is a DaemonSet, as far as it has to be told.
type probe struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	} `json:"metadata"`
	Spec struct {
		Selector struct {
			MatchLabels map[string]string `json:"matchLabels"`
		} `json:"selector"`
		Template struct {
			Metadata struct {
				Labels map[string]string `json:"labels"`
			} `json:"metadata"`
			Spec map[string]json.RawMessage `json:"spec"`
		} `json:"template"`
	} `json:"spec"`
}

// probeOf makes a probe of the cluster's DNS Deployment (JSON). Its image is on
// every kind node, and its pod is ready once it answers its kubelet and has heard
// from the API server through that one's Service.
func probeOf(deployment []byte) ([]byte, error) {
	p := &probe{}
	if err := json.Unmarshal(deployment, p); err != nil {
		return nil, fmt.Errorf("the DNS Deployment: %w", err)
	}
	labels := map[string]string{"app": probeName} // no Service's
	p.APIVersion, p.Kind = "apps/v1", "DaemonSet"
	p.Metadata.Name = probeName
	p.Spec.Selector.MatchLabels = labels
	p.Spec.Template.Metadata.Labels = labels
	p.Spec.Template.Spec["tolerations"] = json.RawMessage(`[{"operator":"Exists"}]`)
	p.Spec.Template.Spec["terminationGracePeriodSeconds"] = json.RawMessage(`0`)
	var containers []map[string]json.RawMessage
	if err := json.Unmarshal(p.Spec.Template.Spec["containers"], &containers); err != nil {
		return nil, fmt.Errorf("the DNS Deployment's containers: %w", err)
	}
	for _, c := range containers { // it is asked every ten seconds otherwise
		var ask map[string]json.RawMessage
		if err := json.Unmarshal(c["readinessProbe"], &ask); err == nil && ask != nil {
			ask["periodSeconds"] = json.RawMessage(`1`)
			c["readinessProbe"], _ = json.Marshal(ask) // of what was JSON
		}
	}
	p.Spec.Template.Spec["containers"], _ = json.Marshal(containers) // likewise
	return json.Marshal(p)
}

// Probe runs a pod on every node, and removes them.
func (d *DockerDriver) Probe(ctx context.Context, cluster string) error {
	node, err := d.controlPlane(cluster)
	if err != nil {
		return err
	}
	run := func(ctx context.Context, stdin io.Reader, args ...string) ([]byte, error) {
		return kubectl(ctx, node, stdin, append(args, "--namespace=kube-system")...)
	}
	dns, err := run(ctx, nil, "get", "deployment/coredns", "--output=json")
	if err != nil {
		return err
	}
	manifest, err := probeOf(dns)
	if err != nil {
		return err
	}
	defer func() {
		_, _ = run(context.WithoutCancel(ctx), nil, "delete", "daemonset/"+probeName, "--ignore-not-found", "--wait=false", "--request-timeout=10s")
	}()
	if _, err := run(ctx, bytes.NewReader(manifest), "apply", "--filename=-"); err != nil {
		return err
	}
	end := time.Now().Add(probeTimeout)
	for patience := probePatience; ; patience *= 2 {
		left := time.Until(end)
		_, err := run(ctx, nil, "rollout", "status", "daemonset/"+probeName, fmt.Sprintf("--timeout=%ds", int(max(min(patience, left), time.Second).Seconds())))
		switch {
		case err == nil, ctx.Err() != nil:
			return ctx.Err()
		case left < patience:
			return fmt.Errorf("cluster %s: %w: a new pod on every node does not answer within %s", cluster, ErrNotReady, probeTimeout)
		}
		// What a pod asks of the API server before its node's kube-proxy is at work is
		// lost, and the pod waits for half a minute before it asks again: another one
		// is faster.
		if _, err := run(ctx, nil, "delete", "pods", "--selector=app="+probeName, "--wait=false"); err != nil {
			return err
		}
	}
}
