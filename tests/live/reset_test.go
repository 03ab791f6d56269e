package live

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"k8sbootcamp/components/settings"
	"k8sbootcamp/internal/course"
	"k8sbootcamp/internal/kindcluster"
	"k8sbootcamp/internal/lesson"
	"k8sbootcamp/tests/internal/results"
	"k8sbootcamp/tests/live/internal/livelab"
)

// greenWithin is how long after the start of a reset all questions are answered. The goal
// is half a minute, which holds on a machine that does nothing else: by hand it is
// asserted (BOOTCAMP_FULL=1), elsewhere the time is told, and the limit is a wider one.
var greenWithin = func() time.Duration {
	if os.Getenv("BOOTCAMP_FULL") == "1" {
		return 30 * time.Second
	}
	return 2 * time.Minute
}()

// resetImages are the node images that TestReset is done on.
var resetImages = []struct{ what, env, edition string }{
	{"today's Kubernetes", "LAB_NODE_IMAGE", "current"},
	{"Kubernetes 1.24", "LAB_COURSE_NODE_IMAGE", "course"},
}

// TestReset: from each of the ways in which a student breaks a lab, `class reset` brings it
// back, on the same nodes, and touches nothing that was well.
func TestReset(t *testing.T) {
	turn(t, turnReset)
	for _, image := range resetImages {
		t.Run(image.env, func(t *testing.T) {
			if os.Getenv(image.env) == "" {
				t.Skipf("SKIPPED, NOTHING WAS PROVEN: %s names no node image", image.env)
			}
			config := []string{"edition=" + image.edition, "nodeImage=" + os.Getenv(image.env)}
			for key, value := range livelab.Images(image.edition) {
				config = append(config, key+"="+value)
			}
			resetLab(t, image.what, config)
		})
	}
}

// broken is a lab that students break.
type broken struct {
	*classroom
	name, cluster string
	lab           *lesson.Lab
	client        kubernetes.Interface
}

// breaks are what students do to a lab.
var breaks = []struct {
	name string
	do   func(b *broken)
	red  []string // checks that are not ok then; none where the lab does its work all the same
	// The pods (labels app) that it strikes; others are the same ones afterwards. "*" is
	// all of them.
	strikes string
	gone    string // what must not be there afterwards, for kubectl
}{
	{"nothing", func(*broken) {}, nil, "", ""},
	{"wrong labels", func(b *broken) {
		b.kubectl("label", "deployment", course.App, "app=wrong", "--overwrite")
		b.kubectl("label", "pods", "--selector=app="+course.App, "app=wrong", "--overwrite")
		b.kubectl("label", "pods", "--selector=app="+course.Prometheus, "lesson=4", "--overwrite")
		b.kubectl("patch", "service", course.Service, "--patch", `{"spec":{"selector":{"app":"wrong-too"}}}`)
	}, []string{"3-3/selector"}, course.App, "pods --selector=app=wrong"},
	{"scaled to zero", func(b *broken) {
		b.kubectl("scale", "deployment", course.App, course.Prometheus, "--replicas=0")
	}, []string{"3-2/replicas", "4-3/replicas"}, course.App + " " + course.Prometheus, ""},
	{"deleted Service", func(b *broken) {
		b.kubectl("delete", "service", course.Service, course.NodeExporter)
	}, []string{"3-3/service", "4-1/service"}, "", ""},
	{"foreign Deployments", func(b *broken) {
		b.kubectl("create", "deployment", "hello", "--image="+agnhost())
		b.kubectl("run", "bare", "--image="+agnhost(), "--labels=app="+course.App, "--", "pause")
		b.kubectl("create", "namespace", "fremd")
		b.kubectl("--namespace=fremd", "create", "deployment", "hello", "--image="+agnhost())
		b.kubectl("create", "clusterrole", "fremd", "--verb=get", "--resource=pods")
		b.kubectl("--namespace=kube-system", "create", "deployment", "hello", "--image="+agnhost())
	}, []string{"3-4/owner"}, "", "deployments,pods,namespaces,clusterroles --all-namespaces --field-selector=metadata.name=fremd"},
	{"broken ConfigMap", func(b *broken) {
		b.kubectl("patch", "configmap", course.Prometheus, "--type=merge", "--patch", `{"data":{"prometheus.yml":null,"promtheus.yml":"{}"}}`)
		b.kubectl("delete", "pods", "--selector=app="+course.Prometheus)
		b.until("CrashLoopBackOff", "get", "pods", "--selector=app="+course.Prometheus)
	}, []string{"4-3/file"}, course.Prometheus, ""},
	{"cordoned nodes", func(b *broken) {
		b.kubectl("cordon", "--selector=kubernetes.io/os=linux")
		b.kubectl("delete", "pods", "--selector=app="+course.App, "--wait=false")
	}, []string{"0-3/schedulable", "3-2/pods"}, course.App, ""},
	{"deleted role", func(b *broken) {
		b.kubectl("delete", "clusterrole", course.Prometheus)
		b.kubectl("delete", "clusterrolebinding", course.Prometheus)
		b.kubectl("create", "clusterrolebinding", course.Prometheus, "--clusterrole=cluster-admin", "--serviceaccount=default:"+course.Prometheus)
	}, []string{"4-2/role", "4-2/binding"}, "", ""},
	{"a deleted account", func(b *broken) { // another of its name is not the same: tokens end with it
		b.kubectl("delete", "serviceaccount", course.Prometheus)
	}, []string{"4-2/account"}, course.Prometheus, ""},
	{"deleted contents of the namespace", func(b *broken) {
		b.kubectl("delete", "all", "--all", "--wait=false")
		b.kubectl("delete", "configmaps,serviceaccounts,secrets,roles,rolebindings", "--all", "--wait=false")
	}, []string{"3-2/deployment", "3-3/service", "4-2/account", "4-3/config", "4-3/deployment"}, "*", ""},
	{"deleted Services and pods", func(b *broken) { // the API server's Service too: the pods that come begin without it
		b.kubectl("delete", "services", "--all")
		b.kubectl("delete", "pods", "--all", "--grace-period=1", "--wait=false")
	}, []string{"3-3/service", "4-1/service", "4-3/service"}, "*", ""},
	{"stopped node", func(b *broken) {
		docker(b.t, "stop", "--time", "1", b.cluster+"-worker2")
	}, []string{"0-3/nodes"}, "*", ""},
	{"NetworkPolicy that denies all", func(b *broken) {
		b.apply(`{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"name":"deny"},"spec":{"podSelector":{},"policyTypes":["Ingress","Egress"]}}`)
		b.apply(`{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"name":"deny","namespace":"kube-system"},"spec":{"podSelector":{},"policyTypes":["Ingress","Egress"]}}`)
	}, nil, "", "networkpolicies --all-namespaces"},

	{"a pod's label", func(b *broken) {
		pod := strings.TrimSpace(b.kubectl("get", "pods", "--selector=app="+course.NodeExporter, "--output=jsonpath={.items[0].metadata.name}"))
		b.kubectl("label", "pod", pod, "app=mine", "--overwrite")
	}, nil, course.NodeExporter, "pods --selector=app=mine"},
	{"another image and a variable", func(b *broken) {
		b.kubectl("set", "image", "deployment/"+course.App, course.Container+"=registry.invalid/nope:1")
		b.kubectl("set", "env", "deployment/"+course.Prometheus, "DEBUG=1")
	}, []string{"3-2/pods"}, course.App + " " + course.Prometheus, ""},
	{"a Service's type and port", func(b *broken) {
		b.kubectl("patch", "service", course.Service, "--type=merge", "--patch", `{"spec":{"type":"NodePort","ports":[{"port":81,"targetPort":9}]}}`)
		b.kubectl("patch", "service", course.Prometheus, "--type=merge", "--patch", `{"spec":{"type":"ExternalName","externalName":"example.com","clusterIP":null,"clusterIPs":null}}`)
	}, []string{"3-3/port"}, "", ""},
	{"a Service without a selector", func(b *broken) {
		b.kubectl("patch", "service", course.Service, "--type=merge", "--patch", `{"spec":{"selector":null}}`)
		b.kubectl("delete", "endpointslices", "--selector=kubernetes.io/service-name="+course.Service)
		b.kubectl("delete", "endpoints", course.Service)
	}, []string{"3-3/selector"}, "", ""},
	{"tainted nodes", func(b *broken) {
		b.kubectl("taint", "nodes", "--selector=!node-role.kubernetes.io/control-plane", "lesson=over:NoExecute")
	}, []string{"3-2/pods", "4-1/toleration"}, "*", ""},
	{"a quota of no pods", func(b *broken) {
		b.kubectl("create", "quota", "none", "--hard=pods=0")
		b.kubectl("delete", "pods", "--selector=app in ("+course.App+","+course.NodeExporter+")", "--wait=false")
	}, []string{"3-2/pods"}, course.App + " " + course.NodeExporter, "quota"},
	{"a webhook that refuses all pods", func(b *broken) {
		b.apply(`{"apiVersion":"admissionregistration.k8s.io/v1","kind":"ValidatingWebhookConfiguration","metadata":{"name":"none"},"webhooks":[{
			"name":"none.example.com","admissionReviewVersions":["v1"],"sideEffects":"NoneOnDryRun","failurePolicy":"Fail","timeoutSeconds":2,
			"clientConfig":{"service":{"name":"none","namespace":"default"}},
			"rules":[{"apiGroups":["","apps"],"apiVersions":["*"],"operations":["*"],"resources":["pods","deployments"]}]}]}`)
		b.kubectl("delete", "daemonset", course.NodeExporter, "--wait=false")
		b.kubectl("--namespace=kube-system", "get", "pods")
	}, []string{"4-1/daemonset"}, course.NodeExporter, "validatingwebhookconfigurations"},
	{"finalizers", func(b *broken) {
		for _, o := range []string{"configmap/" + course.Prometheus, "deployment/" + course.App, "service/" + course.Service} {
			b.kubectl("patch", o, "--type=merge", "--patch", `{"metadata":{"finalizers":["example.com/held"]}}`)
			b.kubectl("delete", o, "--wait=false")
		}
	}, []string{"3-2/deployment", "3-3/service", "4-3/config"}, course.App, ""},
	{"an immutable ConfigMap", func(b *broken) {
		b.kubectl("patch", "configmap", course.Prometheus, "--type=merge", "--patch", `{"immutable":true,"data":{"prometheus.yml":"scrape_configs: []\n"}}`)
		b.kubectl("delete", "pods", "--selector=app="+course.Prometheus)
	}, []string{"4-3/jobs"}, course.Prometheus, ""},
}

func resetLab(t *testing.T, on string, config []string) {
	name := livelab.Unique("reset")
	b := &broken{classroom: newClassroom(t, name), name: name, cluster: kindcluster.Name(name)}
	up := []string{"up", "--stack", name}
	for _, set := range append(config, "workers=3", "podMonitoring=true", "topics=configmap,secret") {
		up = append(up, "--config", set)
	}
	b.class(1, "reset", "--stack", name, "--yes") // there is none yet
	b.class(0, up...)
	kubeconfig, err := os.ReadFile(b.class(0, "kubeconfig", "--stack", name).Stacks[0].File)
	require.NoError(t, err)
	b.lab, err = lesson.New(kubeconfig, "", "")
	require.NoError(t, err)
	_, b.client = connect(t, string(kubeconfig))
	b.green(3 * time.Minute)

	for _, br := range breaks {
		t.Run(br.name, func(t *testing.T) {
			outer := b.t
			b.t = t
			defer func() { b.t = outer }()
			b.settled()
			pods, nodes := b.pods(br.strikes), b.nodeUIDs()
			br.do(b)
			b.turnsRed(br.red)

			begin := time.Now()
			d := b.class(0, "reset", "--stack", name, "--yes")
			reset := time.Since(begin)
			b.green(greenWithin - time.Since(begin))
			took := time.Since(begin)
			t.Logf("reset took %s, all was green after %s: %s; removed: %v", reset.Round(100*time.Millisecond), took.Round(100*time.Millisecond),
				strings.Join(d.Stacks[0].Reset.Did, "; "), d.Stacks[0].Reset.Foreign)
			assert.LessOrEqual(t, took, greenWithin)
			assert.Equal(t, nodes, b.nodeUIDs(), "a node was made anew")
			for uid, pod := range pods {
				assert.Contains(t, b.pods(br.strikes), uid, "%s was well, and is gone", pod)
			}
			for _, f := range d.Stacks[0].Reset.Foreign {
				assert.True(t, f.Removed, f.Object)
			}
			if br.gone != "" {
				assert.Empty(t, strings.TrimSpace(b.kubectl(append([]string{"get", "--output=name"}, strings.Fields(br.gone)...)...)))
			}
			if br.name == "nothing" {
				assert.Empty(t, d.Stacks[0].Reset.Did)
				assert.Empty(t, d.Stacks[0].Changes.Steps)
			}
			var lost []string
			if t.Failed() {
				lost = []string{t.Name()}
			}
			results.Record("reset, "+on+": "+br.name, took, lost...)
		})
	}

	t.Run("left without --yes", func(t *testing.T) {
		b.t = t
		b.kubectl("create", "deployment", "mine", "--image="+agnhost())
		d := b.class(0, "reset", "--stack", name)
		require.Len(t, d.Stacks[0].Reset.Foreign, 1)
		assert.Equal(t, "Deployment mine", d.Stacks[0].Reset.Foreign[0].Object)
		assert.False(t, d.Stacks[0].Reset.Foreign[0].Removed)
		b.kubectl("get", "deployment", "mine")
	})
	b.t = t
	b.class(0, "destroy", "--stack", name, "--yes", "--remove")
	require.Empty(t, b.nodes(name))
}

// kubectl is the student's.
func (b *broken) kubectl(args ...string) string {
	b.t.Helper()
	return b.fed("", args...)
}

func (b *broken) fed(stdin string, args ...string) string {
	b.t.Helper()
	cmd := exec.Command("docker", append([]string{"exec", "--interactive", b.cluster + "-control-plane", "kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf"}, args...)...)
	var out, errOut bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errOut
	require.NoError(b.t, cmd.Run(), "kubectl %s: %s", strings.Join(args, " "), &errOut)
	return out.String()
}

func (b *broken) apply(manifest string) { b.fed(manifest, "apply", "--filename=-") }

// until asks until the answer has this.
func (b *broken) until(part string, args ...string) {
	b.t.Helper()
	require.Eventually(b.t, func() bool { return strings.Contains(b.kubectl(args...), part) }, 2*time.Minute, time.Second, part)
}

// ask asks the course's questions, and returns those that are not ok, with what was seen.
func (b *broken) ask(patience time.Duration) map[string]string {
	report, err := b.lab.Ask(context.Background(), lesson.Options{Patience: patience, Exercises: []string{"podMonitoring", "topic-configmap", "topic-secret"}})
	require.NoError(b.t, err)
	failed := map[string]string{}
	for _, a := range report.Answers {
		if a.State != lesson.OK {
			failed[a.ID] = cmp.Or(a.Hint.EN, string(a.State))
		}
	}
	return failed
}

// green returns once no question fails.
func (b *broken) green(within time.Duration) {
	b.t.Helper()
	end := time.Now().Add(within)
	for {
		failed := b.ask(time.Until(end))
		if len(failed) == 0 {
			return
		}
		if time.Now().After(end) {
			assert.Empty(b.t, failed, "not all is green in time")
			b.settled()
			return
		}
	}
}

// settled waits until the lab is at rest: what was deleted is gone, and all is green.
func (b *broken) settled() {
	b.t.Helper()
	require.Eventually(b.t, func() bool {
		pods, err := b.client.CoreV1().Pods("").List(context.Background(), metav1.ListOptions{})
		return err == nil && !slices.ContainsFunc(pods.Items, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil }) && len(b.ask(2*time.Second)) == 0
	}, 3*time.Minute, time.Second, "the lab does not come to rest")
}

// turnsRed waits until these questions fail.
func (b *broken) turnsRed(questions []string) {
	b.t.Helper()
	if len(questions) == 0 {
		b.t.Logf("no question was asked before: %v", b.ask(time.Second))
		return
	}
	var failed map[string]string
	assert.Eventually(b.t, func() bool { // and if not, it is to be reset all the same
		failed = b.ask(time.Second)
		return !slices.ContainsFunc(questions, func(q string) bool { return failed[q] == "" })
	}, 3*time.Minute, 500*time.Millisecond, "what was broken does not show in %v", questions)
	b.t.Logf("red: %v", failed)
}

// pods are those that a break does not strike, by UID and number of restarts.
func (b *broken) pods(strikes string) map[string]string {
	b.t.Helper()
	found := map[string]string{}
	if strikes == "*" {
		return found
	}
	pods, err := b.client.CoreV1().Pods(course.Namespace).List(context.Background(), metav1.ListOptions{})
	require.NoError(b.t, err)
	for _, p := range pods.Items {
		if slices.Contains(strings.Fields(strikes), p.Labels["app"]) {
			continue
		}
		restarts := int32(0)
		for _, s := range p.Status.ContainerStatuses {
			restarts += s.RestartCount
		}
		found[fmt.Sprintf("%s, restarted %d times", p.UID, restarts)] = p.Name
	}
	return found
}

// nodeUIDs are the nodes, as containers and as objects.
func (b *broken) nodeUIDs() (all []string) {
	b.t.Helper()
	for _, n := range b.nodes(b.name) {
		all = append(all, n.ID)
	}
	nodes, err := b.client.CoreV1().Nodes().List(context.Background(), metav1.ListOptions{})
	require.NoError(b.t, err)
	for _, n := range nodes.Items {
		all = append(all, n.Name+" "+string(n.UID))
	}
	slices.Sort(all)
	return all
}

// TestResetOnASharedCluster: the instructor resets one student's namespace. The others
// and the class's platform stay as they are.
func TestResetOnASharedCluster(t *testing.T) {
	turn(t, turnReset)
	lab := livelab.New(t)
	on := newClassCluster(t, livelab.Unique("reset-shared"), 1)
	tool := &classroom{t: t, dir: lab.Project, tool: classTool(lab)}
	tool.env = append(lab.Command("true").Env, "DOCKER_HOST=unix:///there/is/no/docker.sock")
	tool.class(0, append([]string{"up", "--stack", "class"}, on.flags(settings.SharedPlatform)...)...)
	for _, student := range []string{"alice", "bob"} {
		tool.class(0, append([]string{"up", "--stack", student}, on.flags(settings.SharedStudent)...)...)
	}
	file := tool.class(0, "kubeconfig", "--stack", "alice").Stacks[0].File
	accepts := func(student string) {
		t.Helper()
		for _, q := range tool.class(0, "check", "--stack", student).Stacks[0].Checks {
			assert.True(t, q.OK, "%s: %s: %s", student, q.Question, q.Detail+q.Hint)
		}
	}
	accepts("alice")
	require.Eventually(t, func() bool { // what the check made is a while in going
		return !strings.Contains(strings.Join(on.objects(), "\n"), "bootcamp-probe")
	}, time.Minute, time.Second)
	others := func() []string {
		return slices.DeleteFunc(without(on.objects(), "bootcamp-alice"), func(o string) bool { return strings.HasPrefix(o, "leases ") })
	}
	before := others()

	student, err := os.ReadFile(file)
	require.NoError(t, err)
	_, alice := connect(t, string(student))
	ctx := context.Background()
	const namespace = "bootcamp-alice"
	require.NoError(t, alice.AppsV1().Deployments(namespace).Delete(ctx, course.App, metav1.DeleteOptions{}))
	require.NoError(t, alice.CoreV1().Services(namespace).Delete(ctx, course.Service, metav1.DeleteOptions{}))
	require.NoError(t, alice.CoreV1().ConfigMaps(namespace).Delete(ctx, course.Prometheus, metav1.DeleteOptions{}))
	require.NoError(t, alice.CoreV1().ServiceAccounts(namespace).Delete(ctx, course.Prometheus, metav1.DeleteOptions{}))
	_, err = alice.CoreV1().ConfigMaps(namespace).Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "mine"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	service, err := alice.CoreV1().Services(namespace).Get(ctx, course.Prometheus, metav1.GetOptions{})
	require.NoError(t, err)
	service.Spec.Selector = map[string]string{"app": "wrong"}
	_, err = alice.CoreV1().Services(namespace).Update(ctx, service, metav1.UpdateOptions{})
	require.NoError(t, err)
	// The class's own, which no student may make: it is none of the student's.
	_, err = on.client.CoreV1().Secrets(namespace).Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "classes"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	assert.NotEmpty(t, tool.class(1, "check", "--stack", "alice").Stacks[0].Cause)

	begin := time.Now()
	d := tool.class(0, "reset", "--stack", "alice", "--yes")
	t.Logf("reset took %s: %s", time.Since(begin).Round(100*time.Millisecond), strings.Join(d.Stacks[0].Reset.Did, "; "))
	require.Len(t, d.Stacks[0].Reset.Foreign, 1)
	assert.Equal(t, "ConfigMap mine", d.Stacks[0].Reset.Foreign[0].Object)
	accepts("alice")
	results.Record("reset on a shared cluster: a student's namespace", time.Since(begin))
	_, err = on.client.CoreV1().Secrets(namespace).Get(ctx, "classes", metav1.GetOptions{})
	require.NoError(t, err, "another's object is gone")
	require.Eventually(t, func() bool { return assert.ObjectsAreEqual(before, others()) }, time.Minute, time.Second)
	assert.Equal(t, before, others(), "another's was touched")
	assert.Empty(t, tool.class(0, "reset", "--stack", "alice").Stacks[0].Reset.Did, "once more has nothing to do")
	assert.Empty(t, tool.class(0, "reset", "--stack", "class").Stacks[0].Reset.Did)
	accepts("bob")
	for _, stack := range []string{"alice", "bob", "class"} {
		tool.class(0, "destroy", "--stack", stack, "--remove", "--yes")
	}
	assert.NoFileExists(t, filepath.Join(lab.Project, "kubeconfig-alice.yaml"))
}
