package live

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	authorizationv1 "k8s.io/api/authorization/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/kind/pkg/log"

	"k8sbootcamp/components/editions"
	"k8sbootcamp/components/kind"
	"k8sbootcamp/components/settings"
	"k8sbootcamp/components/shared"
	"k8sbootcamp/internal/kindcluster"
	"k8sbootcamp/internal/lesson"
	"k8sbootcamp/tests/live/internal/livelab"
)

// classCluster is a cluster that no stack made: what a class finds there.
type classCluster struct {
	t          *testing.T
	name       string
	kubeconfig string // a file
	config     *rest.Config
	client     kubernetes.Interface
}

// newClassCluster makes a kind cluster by hand and removes it after the test.
func newClassCluster(t *testing.T, name string, workers int) *classCluster {
	t.Helper()
	image := os.Getenv("LAB_NODE_IMAGE")
	if image == "" {
		current, err := editions.Of(editions.Current)
		require.NoError(t, err)
		image = current.Node
	}
	config, err := kind.Config(&kind.Args{Name: name, Workers: workers, NodeImage: image})
	require.NoError(t, err)
	ctx := context.Background()
	c := kindcluster.Identity{Name: name, Claim: kindcluster.NewClaim()}
	m := &kindcluster.Manager{Driver: kindcluster.NewDockerDriver(log.NoopLogger{}), Log: io.Discard}
	t.Cleanup(func() { assert.NoError(t, m.Delete(ctx, c)) })
	raw, err := m.Ensure(ctx, c, config)
	require.NoError(t, err)
	s := &classCluster{t: t, name: name, kubeconfig: filepath.Join(t.TempDir(), "kubeconfig")}
	require.NoError(t, os.WriteFile(s.kubeconfig, []byte(raw), 0o600))
	s.config, s.client = connect(t, raw)
	return s
}

func connect(t *testing.T, kubeconfig string) (*rest.Config, kubernetes.Interface) {
	t.Helper()
	config, err := clientcmd.RESTConfigFromKubeConfig([]byte(kubeconfig))
	require.NoError(t, err)
	config.QPS, config.Burst = 100, 200
	config.WarningHandler = rest.NoWarnings{}
	client, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	return config, client
}

// keys are the configuration of a stack on the cluster.
func (s *classCluster) keys(mode settings.Mode) map[string]string {
	keys := map[string]string{
		"mode": string(mode), "kubeContext": "kind-" + s.name, "kubeconfigPath": s.kubeconfig, "edition": string(editions.Current),
	}
	maps.Copy(keys, livelab.Images(keys["edition"]))
	return keys
}

// flags are the same for the class tool.
func (s *classCluster) flags(mode settings.Mode) (flags []string) {
	for key, value := range s.keys(mode) {
		flags = append(flags, "--config", key+"="+value)
	}
	return flags
}

// agnhost is the image of that name, as this machine's nodes have it.
func agnhost() string {
	if image := livelab.Images(string(editions.Current))["echoImage"]; image != "" {
		return image
	}
	images, err := editions.Of(editions.Current)
	if err != nil {
		panic(err)
	}
	return images.Echo
}

// stack makes a stack on the cluster.
func (s *classCluster) stack(lab *livelab.Lab, name string, mode settings.Mode) *livelab.Stack {
	return lab.Stack(name, s.keys(mode))
}

// objects lists every object of the cluster that stays where nobody touches it,
// as "resource namespace/name uid".
func (s *classCluster) objects() []string {
	s.t.Helper()
	disco, err := discovery.NewDiscoveryClientForConfig(s.config)
	require.NoError(s.t, err)
	dyn, err := dynamic.NewForConfig(s.config)
	require.NoError(s.t, err)
	lists, err := disco.ServerPreferredResources()
	require.NoError(s.t, err)
	var out []string
	for _, l := range lists {
		gv, err := schema.ParseGroupVersion(l.GroupVersion)
		require.NoError(s.t, err)
		for _, r := range l.APIResources {
			if !strings.Contains(strings.Join(r.Verbs, " "), "list") || r.Name == "events" || r.Name == "componentstatuses" {
				continue
			}
			all, err := dyn.Resource(gv.WithResource(r.Name)).List(context.Background(), metav1.ListOptions{})
			require.NoError(s.t, err, r.Name)
			for _, o := range all.Items {
				// The address of a Service is an object of the cluster; this is whose it is.
				parent, _, err := unstructured.NestedString(o.Object, "spec", "parentRef", "namespace")
				require.NoError(s.t, err)
				out = append(out, fmt.Sprintf("%s %s%s/%s %s", r.Name, parent, o.GetNamespace(), o.GetName(), o.GetUID()))
			}
		}
	}
	sort.Strings(out)
	return out
}

// TestSharedCluster is a class on one cluster: the platform and students on it,
// what each may do, and that nothing but a stack's own is ever touched.
func TestSharedCluster(t *testing.T) {
	lab := livelab.New(t)
	on := newClassCluster(t, livelab.Unique("shared"), 1)
	ctx := context.Background()
	empty := on.objects()

	alice := on.stack(lab, "alice", settings.SharedStudent)
	out, err := alice.Up()
	require.Error(t, err, "a student went up without the class's platform")
	assert.Contains(t, out, "clusterroles/bootcamp-platform-nodes is missing")
	out, err = alice.Destroy()
	require.NoError(t, err, out)
	require.Equal(t, empty, on.objects(), "a student's failed up has left something")

	class := on.stack(lab, "class", settings.SharedPlatform)
	out, err = class.Up()
	require.NoError(t, err, out)
	bob := on.stack(lab, "bob", settings.SharedStudent)
	out, err = bob.Up()
	require.NoError(t, err, out)
	out, err = alice.Up()
	require.NoError(t, err, out)
	studentAccepts(t, alice)
	studentAccepts(t, bob)

	t.Run("CanI", func(t *testing.T) { canI(t, alice, bob) })
	t.Run("PodSecurity", func(t *testing.T) { podSecurity(t, on, alice) })

	t.Run("InPlace", func(t *testing.T) {
		before := uid(t, on, alice)
		alice.Set("replicas", "3")
		out, err := alice.Up()
		require.NoError(t, err, out)
		assert.Equal(t, before, uid(t, on, alice), "the namespace was replaced for a change of replicas")
		studentAccepts(t, alice)
		out, err = alice.Up()
		require.NoError(t, err, out)
		assert.NotRegexp(t, `[0-9]+ (created|updated|replaced|deleted)`, out)
	})

	t.Run("Foreign", func(t *testing.T) {
		theirs, err := on.client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
			Name: "bootcamp-carol", Labels: map[string]string{"app.kubernetes.io/managed-by": "Helm"},
		}}, metav1.CreateOptions{})
		require.NoError(t, err)
		carol := on.stack(lab, "carol", settings.SharedStudent)
		out, err := carol.Up()
		require.Error(t, err, out)
		assert.Contains(t, out, "namespaces/bootcamp-carol exists already; its owner is not this project (managed by Helm")
		out, err = carol.Destroy()
		require.NoError(t, err, out)
		now, err := on.client.CoreV1().Namespaces().Get(ctx, theirs.Name, metav1.GetOptions{})
		require.NoError(t, err, "another's namespace is gone")
		assert.Equal(t, theirs.ResourceVersion, now.ResourceVersion, "another's namespace was changed")
		require.NoError(t, on.client.CoreV1().Namespaces().Delete(ctx, theirs.Name, metav1.DeleteOptions{}))
		require.Eventually(t, func() bool { // in the background, with what was in it; "Moved" counts every object
			_, err := on.client.CoreV1().Namespaces().Get(ctx, theirs.Name, metav1.GetOptions{})
			return apierrors.IsNotFound(err)
		}, time.Minute, 100*time.Millisecond)

		second := on.stack(lab, "class2", settings.SharedPlatform)
		out, err = second.Up()
		require.Error(t, err, out)
		assert.Contains(t, out, "namespaces/bootcamp-platform exists already; its owner is stack organization/bootcamp/class")
		out, err = second.Destroy()
		require.NoError(t, err, out)
		studentAccepts(t, bob)
	})

	t.Run("Moved", func(t *testing.T) { moved(t, on, alice) })
	t.Run("AnotherCluster", func(t *testing.T) { anotherCluster(t, lab, on, alice) })

	t.Run("Outage", func(t *testing.T) {
		node := on.name + "-control-plane"
		docker(t, "stop", node)
		out, err := alice.Destroy()
		since := time.Now()
		docker(t, "start", node)
		require.Error(t, err, "a destroy succeeded while the cluster did not answer:\n"+out)
		require.Eventually(t, func() bool { return on.works(since) }, 3*time.Minute, time.Second, "the cluster did not come back")
		_, err = on.client.CoreV1().Namespaces().Get(ctx, "bootcamp-alice", metav1.GetOptions{})
		require.NoError(t, err, "what could not be destroyed is gone")
		on.starts(t)
		studentAccepts(t, bob)
	})

	on.settles(t)
	others := without(on.objects(), "bootcamp-alice")
	out, err = alice.Destroy()
	require.NoError(t, err, out)
	assert.Equal(t, others, on.objects(), "destroying alice left something of hers, or touched what was not hers")

	// The outage may have given the API server's node another address, which bob's
	// network policy has.
	out, err = bob.Up()
	require.NoError(t, err, out)
	t.Run("Class", func(t *testing.T) { classOnShared(t, lab, on, bob) })
	out, err = class.Destroy()
	require.NoError(t, err, out)
	assert.Equal(t, empty, on.objects(), "something of the class is left")
}

// works tells whether the cluster does more than answer: its controllers, its scheduler
// and every node's kubelet have said so since then.
func (s *classCluster) works(since time.Time) bool {
	ctx, leases := context.Background(), s.client.CoordinationV1()
	nodes, err := leases.Leases(corev1.NamespaceNodeLease).List(ctx, metav1.ListOptions{})
	if err != nil {
		return false
	}
	all := nodes.Items
	for _, name := range []string{"kube-controller-manager", "kube-scheduler"} {
		lease, err := leases.Leases(metav1.NamespaceSystem).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false
		}
		all = append(all, *lease)
	}
	return !slices.ContainsFunc(all, func(l coordinationv1.Lease) bool {
		return l.Spec.RenewTime == nil || l.Spec.RenewTime.Time.Before(since)
	})
}

// starts waits until each node that takes pods starts one: after an outage of the API
// server, a kubelet can be a minute behind though it says that it is there.
func (s *classCluster) starts(t *testing.T) {
	t.Helper()
	ctx, pods := context.Background(), s.client.CoreV1().Pods(metav1.NamespaceDefault)
	nodes, err := s.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	require.NoError(t, err)
	begin := time.Now()
	for _, n := range nodes.Items {
		name := "on-" + n.Name
		if len(n.Spec.Taints) > 0 {
			continue
		}
		_, err := pods.Create(ctx, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: corev1.PodSpec{
				NodeName:                      n.Name,
				Containers:                    []corev1.Container{{Name: "pause", Image: agnhost(), Args: []string{"pause"}}},
				TerminationGracePeriodSeconds: new(int64),
			},
		}, metav1.CreateOptions{})
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			p, err := pods.Get(ctx, name, metav1.GetOptions{})
			return err == nil && ready(p)
		}, 3*time.Minute, time.Second, "%s starts no pod", n.Name)
		require.NoError(t, pods.Delete(ctx, name, metav1.DeleteOptions{}))
	}
	s.settles(t)
	t.Logf("every node has started a pod after %s", time.Since(begin).Round(time.Second))
}

// settles waits for pods that are going: one that was deleted to see another come is a
// while in it.
func (s *classCluster) settles(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool {
		pods, err := s.client.CoreV1().Pods("").List(context.Background(), metav1.ListOptions{})
		return err == nil && !slices.ContainsFunc(pods.Items, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil })
	}, time.Minute, 500*time.Millisecond, "a pod does not go")
}

// renamed is a kubeconfig that leads to the same cluster by a context of another name.
func (s *classCluster) renamed(t *testing.T, context string) []byte {
	t.Helper()
	config, err := clientcmd.LoadFromFile(s.kubeconfig)
	require.NoError(t, err)
	config.Contexts[context] = config.Contexts["kind-"+s.name]
	if context != "kind-"+s.name {
		delete(config.Contexts, "kind-"+s.name)
	}
	config.CurrentContext = context
	out, err := clientcmd.Write(*config)
	require.NoError(t, err)
	return out
}

// moved: a stack stays where it is when its kubeconfig is moved and the context in it
// renamed.
func moved(t *testing.T, on *classCluster, alice *livelab.Stack) {
	on.settles(t)
	before := on.objects()
	file := filepath.Join(t.TempDir(), "elsewhere")
	require.NoError(t, os.WriteFile(file, on.renamed(t, "renamed"), 0o600))
	alice.Set("kubeContext", "renamed")
	alice.Set("kubeconfigPath", file)
	out, err := alice.Up()
	require.NoError(t, err, out)
	assert.NotRegexp(t, `[0-9]+ (created|replaced|deleted)`, out)
	assert.Equal(t, before, on.objects(), "something was made anew")
	alice.Set("kubeContext", "kind-"+on.name)
	alice.Set("kubeconfigPath", on.kubeconfig)
	out, err = alice.Up()
	require.NoError(t, err, out)
	assert.Equal(t, before, on.objects(), "something was made anew")
}

// anotherCluster: where the same context of the same file leads to another cluster,
// nothing is touched, on neither; and a cluster that is gone for good is forgotten.
func anotherCluster(t *testing.T, lab *livelab.Lab, on *classCluster, alice *livelab.Stack) {
	other := newClassCluster(t, livelab.Unique("other"), 0)
	before, there := on.objects(), other.objects()
	was, err := os.ReadFile(on.kubeconfig)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(on.kubeconfig, other.renamed(t, "kind-"+on.name), 0o600))
	const says = "this is another cluster than the stack's"
	out, err := alice.Preview()
	require.Error(t, err, out)
	assert.Contains(t, out, says)
	out, err = alice.Up()
	require.Error(t, err, out)
	assert.Contains(t, out, says)
	out, err = alice.Destroy()
	require.Error(t, err, out)
	assert.Contains(t, out, says)
	require.NoError(t, os.WriteFile(on.kubeconfig, was, 0o600))
	assert.Equal(t, before, on.objects(), "the stack's own cluster was touched")
	assert.Equal(t, there, other.objects(), "the other cluster was touched")
	out, err = alice.Up()
	require.NoError(t, err, out)
	assert.NotRegexp(t, `[0-9]+ (created|updated|replaced|deleted)`, out, "what was refused has changed the state")

	tool := &classroom{t: t, dir: lab.Project, tool: classTool(lab)}
	tool.env = lab.Command("true").Env
	forget := []string{"destroy", "--stack", "forgotten", "--forget", "--remove", "--yes"}
	tool.class(0, append([]string{"up", "--stack", "forgotten"}, other.flags(settings.SharedPlatform)...)...)
	d := tool.class(1, forget...)
	assert.Contains(t, d.Stacks[0].Cause, "the stack's cluster answers")
	docker(t, "rm", "--force", "--volumes", other.name+"-control-plane")
	d = tool.class(0, forget...)
	require.Len(t, d.Stacks[0].Kept, 1)
	assert.Contains(t, d.Stacks[0].Kept[0], "was forgotten and not removed")
	assert.NoFileExists(t, filepath.Join(lab.Project, "Pulumi.forgotten.yaml"))
	assert.Equal(t, before, on.objects())
}

// classOnShared works on bob's lab with the class tool, which needs no Docker
// where the cluster is there already, and removes it.
func classOnShared(t *testing.T, lab *livelab.Lab, on *classCluster, bob *livelab.Stack) {
	tool := &classroom{t: t, dir: lab.Project, tool: classTool(lab)}
	tool.env = append(lab.Command("true").Env, "DOCKER_HOST=unix:///there/is/no/docker.sock")
	d := tool.class(0, "up", "--stack", bob.Name)
	assert.Empty(t, d.Stacks[0].Changes.Steps, "the tool has something to add to what plain Pulumi made")
	d = tool.class(0, "status", "--stack", bob.Name)
	assert.Equal(t, "shared", d.Stacks[0].Status.Cluster)
	assert.Positive(t, d.Stacks[0].Status.Total)
	assert.Equal(t, d.Stacks[0].Status.Total, d.Stacks[0].Status.Ready)
	d = tool.class(0, "check", "--stack", bob.Name, "--disrupt")
	assert.Equal(t, "network", d.Stacks[0].Checks[len(d.Stacks[0].Checks)-1].ID)
	for _, q := range d.Stacks[0].Checks {
		assert.True(t, q.OK, "%s: %s", q.Question, q.Detail+q.Hint)
		t.Logf("%s: %s", q.Question, q.Detail+q.Hint)
	}
	for _, o := range on.objects() {
		assert.NotContains(t, o, "bootcamp-probe")
	}
	d = tool.class(0, "kubeconfig", "--stack", bob.Name)
	written, err := os.ReadFile(d.Stacks[0].File)
	require.NoError(t, err)
	assert.Equal(t, bob.Output("studentKubeconfig"), string(written), "a student gets the student's")

	// A lab from first to last.
	d = tool.class(0, append([]string{"up", "--stack", "dave"}, on.flags(settings.SharedStudent)...)...)
	assert.Equal(t, "ok", d.Stacks[0].Outcome)
	d = tool.class(0, "destroy", "--stack", "dave", "--remove", "--yes")
	assert.Empty(t, d.Stacks[0].Kept)

	d = tool.class(0, "destroy", "--stack", bob.Name, "--remove", "--yes")
	assert.NoFileExists(t, filepath.Join(lab.Project, "kubeconfig-bob.yaml"))
	for _, o := range on.objects() {
		assert.NotContains(t, o, "bootcamp-bob")
		assert.NotContains(t, o, "bootcamp-dave")
	}
}

// without leaves out a namespace, what is in it, and what has it in its name.
func without(objects []string, namespace string) []string {
	var out []string
	for _, o := range objects {
		if !strings.Contains(o, namespace) {
			out = append(out, o)
		}
	}
	return out
}

func studentAccepts(t *testing.T, s *livelab.Stack) {
	t.Helper()
	allGreen(t, s, []byte(s.Output("studentKubeconfig")), lesson.Options{Disrupt: true})
}

func uid(t *testing.T, on *classCluster, s *livelab.Stack) string {
	t.Helper()
	ns, err := on.client.CoreV1().Namespaces().Get(context.Background(), s.Output("namespace"), metav1.GetOptions{})
	require.NoError(t, err)
	return string(ns.UID)
}

// canI asks, as alice, what the course needs and what it must not allow.
func canI(t *testing.T, alice, bob *livelab.Stack) {
	_, client := connect(t, alice.Output("studentKubeconfig"))
	own, other := alice.Output("namespace"), bob.Output("namespace")
	const rbacGroup, all = "rbac.authorization.k8s.io", ""
	for _, q := range []struct {
		want                                        bool
		verb, group, resource, sub, namespace, name string
	}{
		// the course's commands
		{true, "list", "", "pods", "", own, ""},
		{true, "watch", "", "pods", "", own, ""},
		{true, "delete", "", "pods", "", own, ""},
		{true, "create", "", "pods", "", own, ""},
		{true, "get", "", "pods", "log", own, ""},
		{true, "create", "", "pods", "portforward", own, ""},
		{true, "create", "apps", "deployments", "", own, ""},
		{true, "patch", "apps", "deployments", "", own, ""},
		{true, "update", "apps", "deployments", "scale", own, ""},
		{true, "list", "apps", "replicasets", "", own, ""},
		{true, "create", "apps", "daemonsets", "", own, ""},
		{true, "create", "", "services", "", own, ""},
		{true, "get", "", "services", "proxy", own, ""},
		{true, "patch", "", "configmaps", "", own, ""},
		{true, "create", "", "serviceaccounts", "", own, ""},
		{true, "list", "", "events", "", own, ""},
		{true, "list", "", "endpoints", "", own, ""},
		{true, "get", "", "namespaces", "", own, own},
		{true, "list", "", "nodes", "", all, ""},
		{true, "create", "", "serviceaccounts", "token", own, "prometheus"},
		// others
		{false, "list", "", "pods", "", other, ""},
		{false, "delete", "", "pods", "", other, ""},
		{false, "get", "", "services", "proxy", other, ""},
		{false, "get", "", "configmaps", "", other, ""},
		{false, "list", "", "pods", "", all, ""},
		{false, "list", "", "pods", "", "default", ""},
		{false, "list", "", "pods", "", shared.PlatformNamespace, ""},
		{false, "delete", "apps", "daemonsets", "", shared.PlatformNamespace, "node-exporter"},
		{false, "get", "", "secrets", "", "kube-system", ""},
		{false, "list", "", "secrets", "", "kube-system", ""},
		{false, "list", "", "secrets", "", own, ""},
		{false, "get", "", "configmaps", "", "kube-system", ""},
		// the cluster
		{false, "delete", "", "nodes", "", all, ""},
		{false, "patch", "", "nodes", "", all, ""},
		{false, "get", "", "nodes", "proxy", all, ""},
		{false, "create", "", "namespaces", "", all, ""},
		{false, "list", "", "namespaces", "", all, ""},
		{false, "delete", "", "namespaces", "", own, own},
		{false, "patch", "", "namespaces", "", own, own},
		{false, "create", "", "persistentvolumes", "", all, ""},
		{false, "create", "apiextensions.k8s.io", "customresourcedefinitions", "", all, ""},
		{false, "create", "admissionregistration.k8s.io", "validatingwebhookconfigurations", "", all, ""},
		{false, "delete", "admissionregistration.k8s.io", "validatingadmissionpolicies", "", all, ""},
		// a way up
		{false, "create", rbacGroup, "roles", "", own, ""},
		{false, "create", rbacGroup, "rolebindings", "", own, ""},
		{false, "patch", rbacGroup, "roles", "", own, "student"},
		{false, "create", rbacGroup, "clusterrolebindings", "", all, ""},
		{false, "bind", rbacGroup, "clusterroles", "", all, "cluster-admin"},
		{false, "escalate", rbacGroup, "roles", "", own, ""},
		{false, "escalate", rbacGroup, "clusterroles", "", all, ""},
		{false, "impersonate", "", "users", "", all, ""},
		{false, "impersonate", "", "groups", "", all, "system:masters"},
		{false, "impersonate", "", "serviceaccounts", "", "kube-system", ""},
		{false, "create", "", "serviceaccounts", "token", own, "student"},
		{false, "create", "", "serviceaccounts", "token", "kube-system", ""},
		{false, "create", "", "pods", "exec", own, ""},
		// the limits
		{false, "patch", "", "resourcequotas", "", own, ""},
		{false, "delete", "", "resourcequotas", "", own, ""},
		{false, "delete", "", "limitranges", "", own, ""},
		{false, "delete", "networking.k8s.io", "networkpolicies", "", own, ""},
		{false, "create", "networking.k8s.io", "networkpolicies", "", own, ""},
		{false, "create", "certificates.k8s.io", "certificatesigningrequests", "", all, ""},
	} {
		answer, err := client.AuthorizationV1().SelfSubjectAccessReviews().Create(context.Background(), &authorizationv1.SelfSubjectAccessReview{
			Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
				Verb: q.verb, Group: q.group, Resource: q.resource, Subresource: q.sub, Namespace: q.namespace, Name: q.name,
			}},
		}, metav1.CreateOptions{})
		require.NoError(t, err)
		assert.Equal(t, q.want, answer.Status.Allowed, "can a student %s %s/%s %s in %q?", q.verb, q.resource, q.sub, q.name, q.namespace)
	}
}

// podSecurity has alice try what her rights alone would let her do, and the
// admission refuses.
func podSecurity(t *testing.T, on *classCluster, alice *livelab.Stack) {
	_, client := connect(t, alice.Output("studentKubeconfig"))
	ns := alice.Output("namespace")
	yes := true
	pod := func(change func(*corev1.PodSpec)) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "try-"}, Spec: corev1.PodSpec{
			Containers: []corev1.Container{{Name: "c", Image: agnhost()}},
		}}
		change(&p.Spec)
		return p
	}
	dry := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
	for name, p := range map[string]*corev1.Pod{
		"privileged":  pod(func(s *corev1.PodSpec) { s.Containers[0].SecurityContext = &corev1.SecurityContext{Privileged: &yes} }),
		"hostNetwork": pod(func(s *corev1.PodSpec) { s.HostNetwork = true }),
		"hostPID":     pod(func(s *corev1.PodSpec) { s.HostPID = true }),
		"hostPath": pod(func(s *corev1.PodSpec) {
			s.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}}}
		}),
		"hostPort": pod(func(s *corev1.PodSpec) {
			s.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 80, HostPort: 80}}
		}),
	} {
		_, err := client.CoreV1().Pods(ns).Create(context.Background(), p, dry)
		assert.True(t, apierrors.IsForbidden(err), "%s: %v", name, err)
		assert.ErrorContains(t, err, "PodSecurity", name)
	}
	// What the stack itself runs there needs no privilege at all.
	strict, err := on.client.CoreV1().Namespaces().Create(context.Background(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: "strict", Labels: map[string]string{"pod-security.kubernetes.io/enforce": shared.Restricted},
	}}, metav1.CreateOptions{})
	require.NoError(t, err)
	deployments, err := client.AppsV1().Deployments(ns).List(context.Background(), metav1.ListOptions{})
	require.NoError(t, err)
	require.Len(t, deployments.Items, 2)
	for _, d := range deployments.Items {
		spec := d.Spec.Template.Spec
		spec.ServiceAccountName, spec.DeprecatedServiceAccount = "", ""
		require.Eventually(t, func() bool { // until the namespace has its ServiceAccount
			_, err = on.client.CoreV1().Pods(strict.Name).Create(context.Background(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: spec}, dry)
			return err == nil || strings.Contains(err.Error(), "PodSecurity")
		}, 30*time.Second, time.Second, "%v", err)
		assert.NoError(t, err, d.Name)
	}
	require.NoError(t, on.client.CoreV1().Namespaces().Delete(context.Background(), strict.Name, metav1.DeleteOptions{}))
	require.Eventually(t, func() bool {
		_, err := on.client.CoreV1().Namespaces().Get(context.Background(), strict.Name, metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	}, time.Minute, time.Second)

	_, err = client.CoreV1().Pods(ns).Create(context.Background(), pod(func(*corev1.PodSpec) {}), dry)
	assert.NoError(t, err, "a plain pod without sizes, as the course's manifests have it")

	_, err = client.CoreV1().Services(ns).Create(context.Background(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "steal"},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}, ExternalIPs: []string{"192.0.2.1"}},
	}, dry)
	assert.ErrorContains(t, err, "may not have externalIPs")

	_, err = client.CoreV1().Nodes().Get(context.Background(), on.name+"-control-plane", metav1.GetOptions{})
	assert.NoError(t, err)
}
