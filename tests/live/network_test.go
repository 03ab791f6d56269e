package live

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"k8sbootcamp/components/settings"
	"k8sbootcamp/components/shared"
	"k8sbootcamp/internal/check"
	"k8sbootcamp/internal/course"
	"k8sbootcamp/tests/docs"
	"k8sbootcamp/tests/live/internal/livelab"
)

// Addresses that the nodes are given for this test, where something answers.
const (
	nodeLocal = "169.254.20.10" // NodeLocal DNSCache's, on each node
	outside   = "192.0.2.1"     // of nobody's (RFC 5737), on the control plane
)

// Ports at which something answers on each node's own network.
const (
	nodeDNS   = 53
	nodeWeb   = 80
	nodeOther = 9253 // NodeLocal DNSCache's metrics
)

// TestNetworkEnforced: on a cluster that enforces network policies, a student reaches
// what the course needs and nothing else. What was tried is in docs/network.md. And
// class check tells such a cluster from one that enforces none.
func TestNetworkEnforced(t *testing.T) {
	turn(t, turnNetwork)
	lab := livelab.New(t)
	enforcer := filepath.Join(t.TempDir(), "netpol")
	build := exec.Command("go", "build", "-o", enforcer, "sigs.k8s.io/kube-network-policies/cmd")
	build.Dir, build.Env = filepath.Join(lab.Root, "tests", "live", "netpol"), append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))

	n := &network{classCluster: newClassCluster(t, livelab.Unique("network"), 1)}
	text, err := n.stack(lab, "class", settings.SharedPlatform).Up()
	require.NoError(t, err, text)
	n.alice, n.bob = n.stack(lab, "alice", settings.SharedStudent), n.stack(lab, "bob", settings.SharedStudent)
	n.both(func(s *livelab.Stack) error {
		text, err := s.Up()
		if err != nil {
			return fmt.Errorf("%w:\n%s", err, text)
		}
		return nil
	})
	n.settle()
	tool := &classroom{t: t, dir: lab.Project, tool: classTool(lab), env: lab.Command("true").Env}

	// kind's own network has enforced policies since 0.24.
	open := n.reaches(n.places["alice"], n.appOf(n.bob), false) == ""
	t.Logf("this cluster's own network enforces policies: %t", !open)
	warned := tool.network(n.alice)
	assert.Equal(t, open, warned.Warning, warned.Detail)
	if open {
		assert.Contains(t, warned.Detail, "the cluster does not enforce network policies: pod bootcamp-")
		assert.Contains(t, warned.Detail, " of bootcamp-bob was reached; students can reach each other's pods")
	}

	n.enforce(enforcer)
	n.listen()
	t.Run("Table", func(t *testing.T) { n.tryAll(t) })
	t.Run("Student", func(t *testing.T) { n.student(t) })
	t.Run("Check", func(t *testing.T) {
		n.both(func(s *livelab.Stack) error {
			said := tool.network(s)
			assert.True(t, said.OK, said.Detail)
			assert.False(t, said.Warning, said.Detail)
			return nil
		})
	})
	if !t.Failed() {
		comparePage(t, lab, "network.md", n.page())
	}
}

// network is a class of two whose connections are tried.
type network struct {
	*classCluster
	alice, bob *livelab.Stack
	places     map[string]place // that connections start from
	nodes      map[string]string
	seen       [][]string
}

// both does something with both students' stacks at once.
func (n *network) both(do func(*livelab.Stack) error) {
	n.t.Helper()
	var group errgroup.Group
	for _, s := range []*livelab.Stack{n.alice, n.bob} {
		group.Go(func() error { return do(s) })
	}
	require.NoError(n.t, group.Wait())
}

// place is a pod with agnhost.
type place struct{ namespace, pod string }

// network is what class check says of a student's.
func (c *classroom) network(s *livelab.Stack) (answer struct {
	ID, Question, Detail, Hint string
	OK, Warning                bool
}) {
	c.t.Helper()
	d := c.class(0, "check", "--stack", s.Name)
	require.NotEmpty(c.t, d.Stacks[0].Checks)
	last := d.Stacks[0].Checks[len(d.Stacks[0].Checks)-1]
	require.Equal(c.t, check.Network, last.Question)
	c.t.Logf("%s: ok %t, warning %t: %s%s", s.Name, last.OK, last.Warning, last.Detail, last.Hint)
	return last
}

// container is one of agnhost.
func container(args ...string) corev1.Container {
	return corev1.Container{Name: "c" + strconv.Itoa(len(args)), Image: agnhost(), Args: args}
}

// settle finds the students' pods, and puts one beside them into each namespace that
// is not a student's.
func (n *network) settle() {
	ctx := context.Background()
	n.places, n.nodes = map[string]place{}, map[string]string{}
	nodes, err := n.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	require.NoError(n.t, err)
	for _, node := range nodes.Items {
		for _, a := range node.Status.Addresses {
			if a.Type == corev1.NodeInternalIP {
				n.nodes[node.Name] = a.Address
			}
		}
	}
	for _, s := range []*livelab.Stack{n.alice, n.bob} {
		n.places[s.Name] = place{s.Output("namespace"), n.pod(s.Output("namespace"), course.App).Name}
	}
	for _, namespace := range []string{metav1.NamespaceDefault, metav1.NamespaceSystem, shared.PlatformNamespace} {
		n.run(namespace, "by", corev1.PodSpec{Containers: []corev1.Container{container("netexec", "--http-port=8080")}})
		n.places[namespace] = place{namespace, "by"}
	}
	n.ready()
}

func (n *network) run(namespace, name string, spec corev1.PodSpec) {
	n.t.Helper()
	none := int64(0)
	spec.TerminationGracePeriodSeconds = &none
	_, err := n.client.CoreV1().Pods(namespace).Create(context.Background(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": "by"}}, Spec: spec,
	}, metav1.CreateOptions{})
	require.NoError(n.t, err)
}

// ready waits for the test's own pods.
func (n *network) ready() {
	n.t.Helper()
	require.Eventually(n.t, func() bool {
		pods, err := n.client.CoreV1().Pods("").List(context.Background(), metav1.ListOptions{LabelSelector: "app=by"})
		if err != nil {
			return false
		}
		for _, p := range pods.Items {
			if p.Status.Phase != corev1.PodRunning {
				return false
			}
			for _, c := range p.Status.ContainerStatuses {
				if !c.Ready {
					return false
				}
			}
		}
		return true
	}, 2*time.Minute, 500*time.Millisecond, "the test's own pods do not run")
}

func (n *network) pod(namespace, app string) corev1.Pod {
	n.t.Helper()
	pods, err := n.client.CoreV1().Pods(namespace).List(context.Background(), metav1.ListOptions{LabelSelector: "app=" + app})
	require.NoError(n.t, err)
	require.NotEmpty(n.t, pods.Items, "%s in %s", app, namespace)
	return pods.Items[0]
}

func (n *network) at(namespace, app string, port int) string {
	return fmt.Sprintf("%s:%d", n.pod(namespace, app).Status.PodIP, port)
}

func (n *network) appOf(s *livelab.Stack) string {
	return n.at(s.Output("namespace"), course.App, course.AppPort)
}

// connect tries a connection from a pod: nothing where it was made, else agnhost's word
// for how it ended.
func (n *network) connect(from place, target string, udp bool) string {
	args := []string{"exec", n.name + "-control-plane", "kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf",
		"exec", "--namespace", from.namespace, from.pod, "--", "/agnhost", "connect", "--timeout=2s", target}
	if udp {
		args = append(args, "--protocol=udp")
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "docker", args...).CombinedOutput()
	if err == nil {
		return ""
	}
	word, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return word
}

// reaches is connect where a connection is to be made: on a machine that has much to do
// one can take too long, and is tried again.
func (n *network) reaches(from place, target string, udp bool) (said string) {
	for range 5 {
		if said = n.connect(from, target, udp); said == "" {
			break
		}
	}
	return said
}

// enforce has each node enforce network policies. The enforcer decides about each new
// connection that the kernel hands it (NFQUEUE). Its own rules for that are nftables',
// of which not every kernel has the queue, so iptables hands it the same ones, and
// those from a pod to its own node, which Kubernetes would let through unseen.
func (n *network) enforce(binary string) {
	const name, queue, inNode = "kube-network-policies", "98", "/kind/netpol"
	ctx := context.Background()
	nodes, err := n.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	require.NoError(n.t, err)
	rules := []string{"iptables -t mangle -N NETPOL"}
	for _, node := range nodes.Items {
		for _, protocol := range []string{"tcp", "udp"} {
			for _, side := range []string{"-s", "-d"} {
				rules = append(rules, fmt.Sprintf("iptables -t mangle -A NETPOL %s %s -p %s -m conntrack --ctstate NEW -j NFQUEUE --queue-num %s",
					side, node.Spec.PodCIDR, protocol, queue))
			}
		}
	}
	rules = append(rules,
		"iptables -t mangle -A POSTROUTING -m owner --uid-owner 0 -j RETURN", // the node's own, such as the kubelet's probes
		"iptables -t mangle -A POSTROUTING -j NETPOL",
		"iptables -t mangle -A INPUT -j NETPOL")
	for node := range n.nodes {
		docker(n.t, "cp", binary, node+":"+inNode)
	}

	meta := metav1.ObjectMeta{Name: name, Namespace: metav1.NamespaceSystem}
	_, err = n.client.CoreV1().ServiceAccounts(meta.Namespace).Create(ctx, &corev1.ServiceAccount{ObjectMeta: meta}, metav1.CreateOptions{})
	require.NoError(n.t, err)
	_, err = n.client.RbacV1().ClusterRoles().Create(ctx, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"pods", "namespaces"}, Verbs: []string{"list", "watch"}},
		{APIGroups: []string{"networking.k8s.io"}, Resources: []string{"networkpolicies"}, Verbs: []string{"list", "watch"}},
	}}, metav1.CreateOptions{})
	require.NoError(n.t, err)
	_, err = n.client.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:  rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: name},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Name: name, Namespace: meta.Namespace}}}, metav1.CreateOptions{})
	require.NoError(n.t, err)
	yes, labels := true, map[string]string{"app": "by", "by": name}
	c := container("--nfqueue-id="+queue, "--hostname-override=$(NODE)", "--metrics-bind-address=127.0.0.1:9980")
	c.Command = []string{"/netpol"} // agnhost's image is one that each node has
	c.Env = []corev1.EnvVar{{Name: "NODE", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "spec.nodeName"}}}}
	c.SecurityContext = &corev1.SecurityContext{Privileged: &yes}
	c.VolumeMounts = []corev1.VolumeMount{{Name: "netpol", MountPath: "/netpol"}}
	_, err = n.client.AppsV1().DaemonSets(meta.Namespace).Create(ctx, &appsv1.DaemonSet{ObjectMeta: meta, Spec: appsv1.DaemonSetSpec{
		Selector: &metav1.LabelSelector{MatchLabels: labels},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{
			HostNetwork: true, ServiceAccountName: name, Containers: []corev1.Container{c},
			Tolerations: []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
			Volumes:     []corev1.Volume{{Name: "netpol", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: inNode}}}},
		}},
	}}, metav1.CreateOptions{})
	require.NoError(n.t, err)
	require.Eventually(n.t, func() bool {
		d, err := n.client.AppsV1().DaemonSets(meta.Namespace).Get(ctx, name, metav1.GetOptions{})
		return err == nil && int(d.Status.NumberReady) == len(n.nodes)
	}, 2*time.Minute, 500*time.Millisecond, "the enforcer does not run on each node")
	for node := range n.nodes {
		docker(n.t, "exec", node, "sh", "-ec", strings.Join(rules, "\n"))
	}
	require.Eventually(n.t, func() bool { return n.connect(n.places["alice"], n.appOf(n.bob), false) != "" }, time.Minute, time.Second, "no policy is enforced")
}

// listen has each node answer at addresses and ports of its own, so that what is not
// reached there is kept away and not merely absent.
func (n *network) listen() {
	control := n.name + "-control-plane"
	docker(n.t, "exec", control, "ip", "address", "add", outside+"/32", "dev", "lo")
	for node, address := range n.nodes {
		docker(n.t, "exec", node, "ip", "address", "add", nodeLocal+"/32", "dev", "lo")
		docker(n.t, "exec", node, "ip", "address", "add", check.MetadataAddress+"/32", "dev", "lo")
		if node != control {
			docker(n.t, "exec", node, "ip", "route", "add", outside+"/32", "via", n.nodes[control])
		}
		var all []corev1.Container
		for i, port := range []int{nodeDNS, nodeWeb, nodeOther} {
			udp := port
			if port != nodeDNS {
				udp += 20000
			}
			c := container("netexec", fmt.Sprintf("--http-port=%d", port), fmt.Sprintf("--udp-port=%d", udp),
				"--udp-listen-addresses="+nodeLocal+","+address) // so that it answers from where it was asked
			c.Name = "c" + strconv.Itoa(i)
			all = append(all, c)
		}
		n.run(metav1.NamespaceDefault, "on-"+strings.ReplaceAll(address, ".", "-"), corev1.PodSpec{NodeName: node, HostNetwork: true, Containers: all})
	}
	n.ready()
}

// An attempt to connect.
type tried struct {
	from, what, target string
	udp, allowed       bool
	witness            string // from where a target that is denied does answer
}

// attempts are what is tried, from a pod of alice's at first.
func (n *network) attempts() []tried {
	const system, other, platform = metav1.NamespaceSystem, metav1.NamespaceDefault, shared.PlatformNamespace
	alice, bob := n.alice.Output("namespace"), n.bob.Output("namespace")
	dns, err := n.client.CoreV1().Services(system).Get(context.Background(), "kube-dns", metav1.GetOptions{})
	require.NoError(n.t, err)
	control := n.nodes[n.name+"-control-plane"]
	own := n.nodes[n.pod(alice, course.App).Spec.NodeName]
	require.NotEqual(n.t, control, own, "alice's app runs on the control plane")
	to := func(host string, port int) string { return fmt.Sprintf("%s:%d", host, port) }
	service := to(course.Service, course.ServicePort)
	return []tried{
		{from: "alice", what: "alice's Service, by its name (DNS over UDP)", target: service, allowed: true},
		{from: "alice", what: "another pod of alice's", target: n.at(alice, course.Prometheus, course.PrometheusPort), allowed: true},
		{from: "alice", what: "the cluster's name server, over TCP", target: to(dns.Spec.ClusterIP, 53), allowed: true},
		{from: "alice", what: "a name server on the node (NodeLocal DNSCache), over UDP", target: to(nodeLocal, nodeDNS), udp: true, allowed: true},
		{from: "alice", what: "a name server on the node (NodeLocal DNSCache), over TCP", target: to(nodeLocal, nodeDNS), allowed: true},
		{from: "alice", what: "the API server", target: "kubernetes.default.svc:443", allowed: true},
		{from: "alice", what: "node-exporter of the pod's own node", target: to(own, course.NodeExporterPort), allowed: true},
		{from: "alice", what: "node-exporter of another node", target: to(control, course.NodeExporterPort), allowed: true},
		{from: "alice", what: "a pod of the class's namespace", target: n.at(platform, "by", 8080), allowed: true},

		{from: "alice", what: "bob's app", target: n.appOf(n.bob), witness: "bob"},
		{from: "alice", what: "bob's Service", target: to(course.Service+"."+bob, course.ServicePort), witness: "bob"},
		{from: "alice", what: "bob's Prometheus", target: n.at(bob, course.Prometheus, course.PrometheusPort), witness: "bob"},
		{from: "alice", what: "a pod of namespace default", target: n.at(other, "by", 8080), witness: system},
		{from: "alice", what: "a pod of kube-system", target: n.at(system, "by", 8080), witness: other},
		{from: "alice", what: "the cluster's name server, another port (metrics)", target: to(dns.Spec.ClusterIP, 9153), witness: other},
		{from: "alice", what: "a name server on the node, another port", target: to(nodeLocal, nodeOther), witness: other},
		{from: "alice", what: "the kubelet of the pod's own node", target: to(own, 10250), witness: other},
		{from: "alice", what: "the kubelet of the API server's node", target: to(control, 10250), witness: other},
		{from: "alice", what: "port 80 of the pod's own node", target: to(own, nodeWeb), witness: other},
		{from: "alice", what: "port 80 of another node", target: to(control, nodeWeb), witness: other},
		{from: "alice", what: "port 53 of another node, over UDP", target: to(control, nodeDNS), udp: true, witness: other},
		{from: "alice", what: "an address outside of the cluster", target: to(outside, nodeWeb), witness: other},
		{from: "alice", what: "a cloud's metadata address, " + check.MetadataAddress, target: to(check.MetadataAddress, nodeWeb), witness: other},

		{from: "bob", what: "alice's app", target: n.appOf(n.alice), witness: "alice"},
		{from: "bob", what: "alice's Service", target: to(course.Service+"."+alice, course.ServicePort), witness: "alice"},
		{from: "bob", what: "alice's Prometheus", target: n.at(alice, course.Prometheus, course.PrometheusPort), witness: "alice"},
		{from: other, what: "alice's app", target: n.appOf(n.alice), witness: "alice"},
		{from: other, what: "alice's Service", target: to(course.Service+"."+alice, course.ServicePort), witness: "alice"},
		{from: system, what: "alice's app", target: n.appOf(n.alice), allowed: true},
		{from: platform, what: "alice's app", target: n.appOf(n.alice), allowed: true},
	}
}

// tryAll tries the connections, some at a time.
func (n *network) tryAll(t *testing.T) {
	all := n.attempts()
	got, shown := make([]string, len(all)), make([]string, len(all))
	var group errgroup.Group
	group.SetLimit(4)
	for i, a := range all {
		group.Go(func() error {
			try := n.connect
			if a.allowed {
				try = n.reaches
			}
			got[i] = try(n.places[a.from], a.target, a.udp)
			if a.witness != "" {
				shown[i] = n.reaches(n.places[a.witness], a.target, a.udp)
			}
			return nil
		})
	}
	require.NoError(t, group.Wait())
	for i, a := range all {
		t.Logf("from %s to %s (%s): %q, from %s: %q", a.from, a.what, a.target, got[i], a.witness, shown[i])
		assert.Equal(t, a.allowed, got[i] == "", "from %s to %s (%s): %s", a.from, a.what, a.target, got[i])
		assert.Empty(t, shown[i], "%s (%s) answers nobody, not even %s, so that nothing is shown", a.what, a.target, a.witness)
		n.saw(a.from, a.what, got[i] == "", a.witness)
	}
}

func (n *network) saw(from, what string, reached bool, witness string) {
	name := func(place string) string {
		switch place {
		case "":
			return ""
		case "alice", "bob":
			return place + "'s app"
		}
		return "a pod of " + place
	}
	n.seen = append(n.seen, []string{name(from), what, map[bool]string{true: "reached", false: "**not reached**"}[reached], name(witness)})
}

// student does what the course has students do from their own machine, and sees all
// that Prometheus looks at.
func (n *network) student(t *testing.T) {
	h := &hostile{t: t, on: n.classCluster, namespace: n.alice.Output("namespace"), kubeconfig: n.alice.Output("studentKubeconfig")}
	h.sit(t)
	for i, c := range []struct {
		service string
		port    int
		path    string
	}{{course.Service, course.ServicePort, "/"}, {course.Prometheus, course.PrometheusPort, "/-/ready"}} {
		assert.NoError(t, h.forward(18080+i, c.service, strconv.Itoa(c.port), c.path), c.service)
	}
	out, err := h.kubectl("", "get", "--raw", "/api/v1/namespaces/"+h.namespace+"/services/"+course.Service+"/proxy/")
	assert.NoError(t, err, out)
	studentAccepts(t, n.alice)
	studentAccepts(t, n.bob)
}

// page is docs/network.md.
func (n *network) page() string {
	reached := 0
	for _, row := range n.seen {
		if row[2] == "reached" {
			reached++
		}
	}
	return fmt.Sprintf(`# What a student's pods reach

Written by TestNetworkEnforced in tests/live (with `+"`-update`"+`), which holds it against a real shared cluster of two nodes each time it runs. kind's older networks, and that of the tests' lab, enforce no policies, so the test brings [kube-network-policies](https://github.com/kubernetes-sigs/kube-network-policies), a Kubernetes project that implements them to the letter. Of %d connections %d were made.

Where one was not made, the same target did answer the pod in the last column, so that it was the policy that kept it away.

%s
Kubernetes' own rule is that a pod always reaches the node it runs on, and is reached from there; some network plugins keep to that, others hold these connections against the policy too, as this test does. Where yours keeps to it, the pod's own node is reached at all its ports. The metadata address stands on the nodes in this test alone; in a cloud it is outside of them as a rule, where the policy keeps pods from it either way.

From the student's own machine, with the student's kubeconfig, all of the course works at the same time: `+"`kubectl port-forward`"+` to the app and to Prometheus, the app through the API server's Service proxy, a deleted pod that comes back, and every one of Prometheus's targets is up.

`+"`class check`"+` asks the cluster that a class has: see [shared-cluster.md](shared-cluster.md#whether-the-network-policy-holds).
`, len(n.seen), reached, docs.Table([]string{"from", "to", "answer", "answers to"}, n.seen))
}
