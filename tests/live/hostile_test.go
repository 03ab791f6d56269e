package live

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	k8syaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"k8sbootcamp/components/editions"
	"k8sbootcamp/components/settings"
	"k8sbootcamp/components/shared"
	"k8sbootcamp/internal/course"
	"k8sbootcamp/tests/docs"
	"k8sbootcamp/tests/live/internal/livelab"
)

var update = flag.Bool("update", false, "write docs/hostile.md, docs/network.md and the outputs of docs/guide anew")

// TestHostileStudent has a student who means harm try what there is to try on a
// shared cluster, and one who does not type the course's commands. What was
// answered, and by which guard, is in docs/hostile.md.
func TestHostileStudent(t *testing.T) {
	turn(t, turnHostile)
	lab := livelab.New(t)
	on := newClassCluster(t, livelab.Unique("hostile"), 0)
	class := on.stack(lab, "class", settings.SharedPlatform)
	out, err := class.Up()
	require.NoError(t, err, out)
	alice := on.stack(lab, "alice", settings.SharedStudent)
	out, err = alice.Up()
	require.NoError(t, err, out)

	h := &hostile{t: t, on: on, namespace: alice.Output("namespace"), kubeconfig: alice.Output("studentKubeconfig")}
	config, client := connect(t, h.kubeconfig)
	h.client = client
	h.dynamic, err = dynamic.NewForConfig(config)
	require.NoError(t, err)
	h.teacher, err = dynamic.NewForConfig(on.config)
	require.NoError(t, err)

	t.Run("Typed", func(t *testing.T) { h.typed(t) })
	t.Run("Tried", func(t *testing.T) { h.tryAll(t) })
	t.Run("Counted", func(t *testing.T) { h.fillAll(t) })
	t.Run("Course", func(t *testing.T) { h.course(t, lab) })
	t.Run("Check", func(t *testing.T) { studentAccepts(t, alice) })
	t.Run("NodePort", func(t *testing.T) { twoNodePorts(t, on, lab, alice) })
	if t.Failed() {
		return
	}
	comparePage(t, lab, "hostile.md", h.page())
}

// comparePage holds a page of docs against what the test saw or, with -update, writes it.
func comparePage(t *testing.T, lab *livelab.Lab, name, page string) {
	t.Helper()
	file := filepath.Join(lab.Root, "docs", name)
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(page), 0o644))
	}
	kept, err := os.ReadFile(file)
	require.NoError(t, err, "make it with `go -C tests/live test -run %s . -update`", t.Name())
	assert.Equal(t, string(kept), page, "if this change is meant, `go -C tests/live test -run %s . -update`", t.Name())
}

type hostile struct {
	t                     *testing.T
	on                    *classCluster
	namespace, kubeconfig string
	client                kubernetes.Interface // the student's
	dynamic, teacher      dynamic.Interface

	tried    [][]string // what was seen: what, answer, guard
	commands [][]string // chapter, command
}

// The guards, in the order in which the API server asks them. The policy's are
// followed by the rule.
const (
	byRBAC       = "RBAC"
	byAccount    = "no such account"
	byLimitRange = "LimitRange"
	bySecurity   = "Pod Security"
	byPolicy     = "policy: "
	byQuota      = "quota"
	admitted     = ""
)

// guard tells who refused a request.
func guard(err error) string {
	if err == nil {
		return admitted
	}
	text := err.Error()
	for _, rule := range shared.PolicyRules {
		if strings.Contains(text, "ValidatingAdmissionPolicy '"+shared.PolicyStudents+"'") && strings.Contains(text, rule.Message) {
			return byPolicy + rule.Name
		}
	}
	switch {
	case strings.Contains(text, "error looking up service account"):
		return byAccount
	case strings.Contains(text, "violates PodSecurity"):
		return bySecurity
	case strings.Contains(text, "exceeded quota"):
		return byQuota
	case strings.Contains(text, "per Container is"):
		return byLimitRange
	case apierrors.IsForbidden(err) && strings.Contains(text, "cannot "):
		return byRBAC
	}
	return "(" + text + ")"
}

// An attempt is one thing that a student tries.
type attempt struct {
	what  string
	guard string // that refuses it
	do    func(h *hostile) error
}

var resourceOf = map[string]string{
	"Ingress": "ingresses", "Endpoints": "endpoints", "NetworkPolicy": "networkpolicies", "PodDisruptionBudget": "poddisruptionbudgets",
}

// at is where a kind's objects are.
func (h *hostile) at(client dynamic.Interface, gvk schema.GroupVersionKind) dynamic.ResourceInterface {
	resource := resourceOf[gvk.Kind]
	if resource == "" {
		resource = strings.ToLower(gvk.Kind) + "s"
	}
	return client.Resource(gvk.GroupVersion().WithResource(resource)).Namespace(h.namespace)
}

func parse(t testing.TB, text string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	require.NoError(t, k8syaml.Unmarshal([]byte(text), &o.Object), text)
	return o
}

var dry = []string{metav1.DryRunAll}

// create asks for an object of one line of YAML; nothing is made.
func create(text string) func(*hostile) error {
	return func(h *hostile) error {
		o := parse(h.t, text)
		_, err := h.at(h.dynamic, o.GroupVersionKind()).Create(context.Background(), o, metav1.CreateOptions{DryRun: dry})
		return err
	}
}

// inPlatform is create in the class's own namespace.
func inPlatform(text string) func(*hostile) error {
	return func(h *hostile) error {
		elsewhere := *h
		elsewhere.namespace = shared.PlatformNamespace
		return create(text)(&elsewhere)
	}
}

// byTeacher is create by the cluster's administrator, for what holds for pods
// whoever makes them.
func byTeacher(text string) func(*hostile) error {
	return func(h *hostile) error {
		o := parse(h.t, text)
		_, err := h.at(h.teacher, o.GroupVersionKind()).Create(context.Background(), o, metav1.CreateOptions{DryRun: dry})
		return err
	}
}

// patch changes one of the stack's objects, or a subresource of it.
func patch(kind, name, text string, sub ...string) func(*hostile) error {
	return func(h *hostile) error {
		raw, err := json.Marshal(parse(h.t, text).Object)
		require.NoError(h.t, err)
		gvk := schema.FromAPIVersionAndKind(apiVersion[kind], kind)
		_, err = h.at(h.dynamic, gvk).Patch(context.Background(), h.name(kind, name), types.StrategicMergePatchType, raw, metav1.PatchOptions{DryRun: dry}, sub...)
		return err
	}
}

func remove(kind, name string, grace *int64) func(*hostile) error {
	return func(h *hostile) error {
		gvk := schema.FromAPIVersionAndKind(apiVersion[kind], kind)
		return h.at(h.dynamic, gvk).Delete(context.Background(), h.name(kind, name), metav1.DeleteOptions{DryRun: dry, GracePeriodSeconds: grace})
	}
}

// name is that of an object; a pod's is the first one's of the app.
func (h *hostile) name(kind, name string) string {
	if kind != "Pod" {
		return name
	}
	pods, err := h.client.CoreV1().Pods(h.namespace).List(context.Background(), metav1.ListOptions{LabelSelector: "app=" + name})
	require.NoError(h.t, err)
	require.NotEmpty(h.t, pods.Items)
	return pods.Items[0].Name
}

var apiVersion = map[string]string{
	"Pod": "v1", "Service": "v1", "ConfigMap": "v1", "ServiceAccount": "v1", "ResourceQuota": "v1", "LimitRange": "v1", "Secret": "v1",
	"Namespace": "v1", "Deployment": "apps/v1", "DaemonSet": "apps/v1", "ReplicaSet": "apps/v1",
	"NetworkPolicy": "networking.k8s.io/v1", "Role": "rbac.authorization.k8s.io/v1",
}

func tokenOf(account string, seconds int64, audiences ...string) func(*hostile) error {
	return func(h *hostile) error {
		spec := authenticationv1.TokenRequestSpec{Audiences: audiences}
		if seconds != 0 {
			spec.ExpirationSeconds = &seconds
		}
		_, err := h.client.CoreV1().ServiceAccounts(h.namespace).CreateToken(context.Background(), account,
			&authenticationv1.TokenRequest{Spec: spec}, metav1.CreateOptions{})
		return err
	}
}

func grace(n int64) *int64 { return &n }

// Objects of one line.

func podWith(spec string) string { return podMade("", spec, "") }

// podIn is a pod whose one container has some fields.
func podIn(container string) string { return podMade("", "", container) }

func podMade(meta, spec, container string) string {
	return fmt.Sprintf("{apiVersion: v1, kind: Pod, metadata: {%sname: try}, spec: {%scontainers: [{%sname: c, image: 'example/i:1'}]}}",
		comma(meta), comma(spec), comma(container))
}

func workloadWith(kind, meta, spec string) string {
	return fmt.Sprintf("{apiVersion: apps/v1, kind: %s, metadata: {name: try}, spec: {selector: {matchLabels: {app: try}}, "+
		"template: {metadata: {%slabels: {app: try}}, spec: {%scontainers: [{name: c, image: 'example/i:1'}]}}}}", kind, comma(meta), comma(spec))
}

func serviceWith(spec string) string {
	return "{apiVersion: v1, kind: Service, metadata: {name: try}, spec: {" + comma(spec) + "ports: [{port: 80}]}}"
}

func metaOf(version, kind, meta string) string {
	return fmt.Sprintf("{apiVersion: %s, kind: %s, metadata: {%sname: try}}", version, kind, comma(meta))
}

func comma(s string) string {
	if s == "" {
		return ""
	}
	return s + ", "
}

const (
	never      = "finalizers: [example.com/never]"
	ephemeral  = "volumes: [{name: v, ephemeral: {volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 10Ti}}}}}}]"
	projected  = "volumes: [{name: v, projected: {sources: [{serviceAccountToken: {path: t"
	tolerate   = "tolerations: [{operator: Exists}]"
	tolerateCP = "tolerations: [{key: node-role.kubernetes.io/control-plane, operator: Exists, effect: NoSchedule}]"
	blocking   = "ownerReferences: [{apiVersion: v1, kind: Node, name: n1, uid: 00000000-0000-0000-0000-000000000000, blockOwnerDeletion: true}]"
)

// attempts are what is tried. Nothing is made: the API server is asked to admit and
// then to forget it.
var attempts = []attempt{
	// to hold up whoever cleans up
	{"a finalizer on a ConfigMap", byPolicy + "finalizers", create(metaOf("v1", "ConfigMap", never))},
	{"a finalizer on a ServiceAccount", byPolicy + "finalizers", create(metaOf("v1", "ServiceAccount", never))},
	{"a finalizer on a Service", byPolicy + "finalizers", create("{apiVersion: v1, kind: Service, metadata: {name: try, " + never + "}, spec: {ports: [{port: 80}]}}")},
	{"a finalizer on a pod", byPolicy + "finalizers", create(podMade(never, "", ""))},
	{"the garbage collector's own finalizer on a ConfigMap", byPolicy + "finalizers", create(metaOf("v1", "ConfigMap", "finalizers: [foregroundDeletion]"))},
	{"a finalizer added to the running Deployment", byPolicy + "finalizers", patch("Deployment", course.App, "{metadata: {"+never+"}}")},
	{"a finalizer added to the running Service", byPolicy + "finalizers", patch("Service", course.Service, "{metadata: {"+never+"}}")},
	{"a finalizer added to a running pod", byPolicy + "finalizers", patch("Pod", course.App, "{metadata: {"+never+"}}")},
	{"a finalizer added to Prometheus's account", byPolicy + "finalizers", patch("ServiceAccount", course.Prometheus, "{metadata: {"+never+"}}")},
	{"a finalizer in a Deployment's pod template", byPolicy + "template finalizers", create(workloadWith("Deployment", never, ""))},
	{"a finalizer in a DaemonSet's pod template", byPolicy + "template finalizers", create(workloadWith("DaemonSet", never, ""))},
	{"a finalizer in the running Deployment's pod template", byPolicy + "template finalizers", patch("Deployment", course.App, "{spec: {template: {metadata: {"+never+"}}}}")},
	{"a pod with a finalizer, by an administrator or a controller", byPolicy + "pod finalizers", byTeacher(podMade(never, "", ""))},
	{"an owner that waits for a ConfigMap (blockOwnerDeletion)", byPolicy + "blocking owners", create(metaOf("v1", "ConfigMap", blocking))},
	{"a grace period of a day, of a pod", byPolicy + "grace period", create(podWith("terminationGracePeriodSeconds: 86400"))},
	{"a grace period of a day, of a Deployment's pods", byPolicy + "grace period", create(workloadWith("Deployment", "", "terminationGracePeriodSeconds: 86400"))},
	{"a grace period of a day, of the running Deployment's pods", byPolicy + "grace period", patch("Deployment", course.App, "{spec: {template: {spec: {terminationGracePeriodSeconds: 86400}}}}")},
	{"a grace period of a day, of a probe", byPolicy + "grace period", create(podIn("livenessProbe: {tcpSocket: {port: 80}, terminationGracePeriodSeconds: 86400}"))},
	{"a grace period of a day, of a pod's deletion", byPolicy + "grace period of a deletion", remove("Pod", course.App, grace(86400))},
	{"a grace period of a minute", admitted, create(podWith("terminationGracePeriodSeconds: 60"))},
	{"a pod's deletion at once", admitted, remove("Pod", course.App, grace(0))},

	// to get onto nodes, and before others
	{"a pod on the control plane, by the node's name", byPolicy + "node name", create(podWith("nodeName: control-plane"))},
	{"a Deployment on the control plane, by the node's name", byPolicy + "node name", create(workloadWith("Deployment", "", "nodeName: control-plane"))},
	{"a pod on the control plane, by the node's name, by an administrator or a controller", byPolicy + "node name", byTeacher(podWith("nodeName: control-plane"))},
	{"a pod as a node's own (a mirror pod)", byPolicy + "node name", create(podMade("annotations: {kubernetes.io/config.mirror: x}", "nodeName: control-plane", ""))},
	{"a pod that tolerates every taint", byPolicy + "tolerations", create(podWith(tolerate))},
	{"a Deployment that tolerates every taint", byPolicy + "tolerations", create(workloadWith("Deployment", "", tolerate))},
	{"a toleration of every taint added to a running pod", byPolicy + "tolerations", addToleration},
	{"a pod that tolerates the control plane's taint", byPolicy + "tolerations", create(podWith(tolerateCP))},
	{"the text's DaemonSet node-exporter, as it stands", byPolicy + "tolerations", create(workloadWith("DaemonSet", "", "hostNetwork: true, hostPID: true, "+tolerateCP))},
	{"a pod that tolerates a node that is not ready", admitted, create(podWith("tolerations: [{key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 30}]"))},
	{"a pod of class system-node-critical", byPolicy + "priority class", create(podWith("priorityClassName: system-node-critical"))},
	{"a pod of class system-cluster-critical", byPolicy + "priority class", create(podWith("priorityClassName: system-cluster-critical"))},
	{"a Deployment of class system-cluster-critical", byPolicy + "priority class", create(workloadWith("Deployment", "", "priorityClassName: system-cluster-critical"))},
	{"a pod of class system-node-critical, by an administrator or a controller", byPolicy + "priority class", byTeacher(podWith("priorityClassName: system-node-critical"))},
	{"a pod put onto a node past the scheduler (binding)", byRBAC, func(h *hostile) error {
		return h.client.CoreV1().Pods(h.namespace).Bind(context.Background(), &corev1.Binding{
			ObjectMeta: metav1.ObjectMeta{Name: "try"}, Target: corev1.ObjectReference{Kind: "Node", Name: "control-plane"},
		}, metav1.CreateOptions{DryRun: dry})
	}},

	// to get at the nodes
	{"a privileged container", bySecurity, create(podIn("securityContext: {privileged: true}"))},
	{"the node's network", bySecurity, create(podWith("hostNetwork: true"))},
	{"the node's processes", bySecurity, create(podWith("hostPID: true"))},
	{"the node's IPC", bySecurity, create(podWith("hostIPC: true"))},
	{"a path of the node", bySecurity, create(podWith("volumes: [{name: v, hostPath: {path: /}}]"))},
	{"a port of the node", bySecurity, create(podIn("ports: [{containerPort: 80, hostPort: 80}]"))},
	{"capability SYS_ADMIN", bySecurity, create(podIn("securityContext: {capabilities: {add: [SYS_ADMIN]}}"))},
	{"no seccomp", bySecurity, create(podIn("securityContext: {seccompProfile: {type: Unconfined}}"))},
	{"an unsafe sysctl", bySecurity, create(podWith("securityContext: {sysctls: [{name: kernel.msgmax, value: '1'}]}"))},

	// to take storage and what is scarce
	{"an ephemeral volume of 10Ti", byPolicy + "volume types", create(podWith(ephemeral))},
	{"an ephemeral volume of 10Ti, in a Deployment", byPolicy + "volume types", create(workloadWith("Deployment", "", ephemeral))},
	{"a volume of a claim", byPolicy + "volume types", create(podWith("volumes: [{name: v, persistentVolumeClaim: {claimName: c}}]"))},
	{"a volume of NFS", byPolicy + "volume types", create(podWith("volumes: [{name: v, nfs: {server: 192.0.2.1, path: /}}]"))},
	{"a volume of a CSI driver", byPolicy + "volume types", create(podWith("volumes: [{name: v, csi: {driver: example.com}}]"))},
	{"a volume of the kinds that the course has", admitted, create(podWith("volumes: [{name: a, configMap: {name: c}}, {name: b, emptyDir: {}}]"))},
	{"a claim", byRBAC, create("{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: try}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}")},
	{"a claim, by an administrator or a controller", byQuota, byTeacher("{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: try}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}")},
	{"more CPU than a container may have", byLimitRange, create(podIn("resources: {limits: {cpu: '7'}}"))},
	{"more memory than a container may have", byLimitRange, create(podIn("resources: {limits: {memory: 5Gi}}"))},
	{"more of a node's disk than a container may have", byLimitRange, create(podIn("resources: {limits: {ephemeral-storage: 3Gi}}"))},
	{"more CPU than the namespace has left", byQuota, create(podIn("resources: {limits: {cpu: '6'}}"))},
	{"more memory than the namespace has left", byQuota, create(podIn("resources: {limits: {memory: 4Gi}}"))},
	{"a GPU", byQuota, create(podIn("resources: {limits: {nvidia.com/gpu: 1}}"))},
	{"huge pages", byQuota, create(podIn("resources: {limits: {hugepages-2Mi: 2Mi}}"))},
	{"a container without sizes, as the text has it", admitted, create(podWith(""))},

	// to be somebody else
	{"a pod as the account that the student works as", byAccount, create(podWith("serviceAccountName: bootcamp-alice"))},
	{"a pod in the namespace of that account", byRBAC, inPlatform(podWith("serviceAccountName: bootcamp-alice"))},
	{"a pod as Prometheus's account", admitted, create(podWith("serviceAccountName: prometheus"))},
	{"a volume with a token for a cloud", byPolicy + "projected tokens", create(podWith(projected + ", audience: sts.example.com}}]}}]"))},
	{"a volume with a token for a day", byPolicy + "projected tokens", create(podWith(projected + ", expirationSeconds: 86400}}]}}]"))},
	{"a volume with a token for a day, in a Deployment", byPolicy + "projected tokens", create(workloadWith("Deployment", "", projected+", expirationSeconds: 86400}}]}}]"))},
	{"a token of 2^31 seconds", byPolicy + "token lifetime", tokenOf(course.Prometheus, 1<<31)},
	{"a token of two hours", byPolicy + "token lifetime", tokenOf(course.Prometheus, 7200)},
	{"a token for a cloud", byPolicy + "token audience", tokenOf(course.Prometheus, 0, "sts.example.com")},
	{"a token of an hour for the API server", admitted, tokenOf(course.Prometheus, 3600)},
	{"a token with nothing said", admitted, tokenOf(course.Prometheus, 0)},
	{"a token of the account that the student works as", byRBAC, func(h *hostile) error {
		_, err := h.client.CoreV1().ServiceAccounts(shared.PlatformNamespace).CreateToken(context.Background(), h.namespace,
			&authenticationv1.TokenRequest{}, metav1.CreateOptions{})
		return err
	}},
	{"a Role", byRBAC, create(metaOf("rbac.authorization.k8s.io/v1", "Role", ""))},
	{"a RoleBinding", byRBAC, create("{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: try}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}}")},
	{"a Secret", byRBAC, create(metaOf("v1", "Secret", ""))},

	// to draw the traffic of others, or to take what is the cluster's
	{"a Service of type NodePort", byPolicy + "Service type", create(serviceWith("type: NodePort"))},
	{"a Service of type LoadBalancer", byPolicy + "Service type", create(serviceWith("type: LoadBalancer"))},
	{"a Service of type ExternalName", byPolicy + "Service type", create(serviceWith("type: ExternalName, externalName: example.com"))},
	{"the running Service made a NodePort", byPolicy + "Service type", patch("Service", course.Service, "{spec: {type: NodePort}}")},
	{"the running Service made a LoadBalancer", byPolicy + "Service type", patch("Service", course.Service, "{spec: {type: LoadBalancer}}")},
	{"a Service with external IPs", byPolicy + "external IPs", create(serviceWith("externalIPs: [192.0.2.1]"))},
	{"external IPs added to the running Service", byPolicy + "external IPs", patch("Service", course.Service, "{spec: {externalIPs: [192.0.2.1]}}")},
	{"a Service of type NodePort, by an administrator or a controller", byQuota, byTeacher(serviceWith("type: NodePort"))},
	{"a Service of type LoadBalancer, by an administrator or a controller", byQuota, byTeacher(serviceWith("type: LoadBalancer"))},
	{"a Service of type ClusterIP", admitted, create(serviceWith(""))},
	{"endpoints of one's own", byRBAC, create(metaOf("v1", "Endpoints", ""))},
	{"an Ingress", byRBAC, create("{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: try}, spec: {defaultBackend: {service: {name: x, port: {number: 80}}}}}")},

	// to be rid of the guards
	{"the quota raised", byRBAC, patch("ResourceQuota", "bootcamp", "{spec: {hard: {pods: '1000'}}}")},
	{"the quota removed", byRBAC, remove("ResourceQuota", "bootcamp", nil)},
	{"the LimitRange removed", byRBAC, remove("LimitRange", "bootcamp", nil)},
	{"the network policy removed", byRBAC, remove("NetworkPolicy", "bootcamp", nil)},
	{"the student's role widened", byRBAC, patch("Role", shared.StudentRole, "{rules: []}")},
	{"the namespace's labels changed", byRBAC, func(h *hostile) error {
		_, err := h.client.CoreV1().Namespaces().Patch(context.Background(), h.namespace, types.MergePatchType,
			[]byte(`{"metadata":{"labels":{"bootcamp/student":null}}}`), metav1.PatchOptions{DryRun: dry})
		return err
	}},
	{"the admission policy's binding removed", byRBAC, func(h *hostile) error {
		return h.client.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings().Delete(context.Background(), shared.PolicyStudents, metav1.DeleteOptions{DryRun: dry})
	}},
	{"a pod said to have finished (status)", byRBAC, patch("Pod", course.App, "{status: {phase: Succeeded}}", "status")},
	{"a container put into a running pod", byRBAC, patch("Pod", course.App, "{spec: {ephemeralContainers: [{name: e, image: 'example/i:1'}]}}", "ephemeralcontainers")},
	{"a ReplicaSet of one's own", byRBAC, create(workloadWith("ReplicaSet", never, ""))},
	{"a StatefulSet", byRBAC, create(workloadWith("StatefulSet", "", ""))},
	{"a Job", byRBAC, create("{apiVersion: batch/v1, kind: Job, metadata: {name: try}, spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: 'example/i:1'}]}}}}")},
	{"a PodDisruptionBudget that keeps nodes from being drained", byRBAC, create("{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: try}, spec: {maxUnavailable: 0, selector: {}}}")},
}

// addToleration adds a toleration of every taint to a running pod, which the API
// allows.
func addToleration(h *hostile) error {
	pods := h.client.CoreV1().Pods(h.namespace)
	pod, err := pods.Get(context.Background(), h.name("Pod", course.App), metav1.GetOptions{})
	require.NoError(h.t, err)
	pod.Spec.Tolerations = append(pod.Spec.Tolerations, corev1.Toleration{Operator: corev1.TolerationOpExists})
	_, err = pods.Update(context.Background(), pod, metav1.UpdateOptions{DryRun: dry})
	return err
}

// saw notes what was answered.
func (h *hostile) saw(what, by string) {
	answer := "refused"
	if by == admitted {
		answer = "admitted"
	}
	h.tried = append(h.tried, []string{what, answer, by})
}

func (h *hostile) tryAll(t *testing.T) {
	require.GreaterOrEqual(t, len(attempts), 60)
	for _, a := range attempts {
		by := guard(a.do(h))
		assert.Equal(t, a.guard, by, a.what)
		h.saw(a.what, by)
	}
	t.Logf("%d attempts", len(attempts))
}

// typed: the API server finds nothing in the policy that one of its kinds has not.
func (h *hostile) typed(t *testing.T) {
	policies := h.on.client.AdmissionregistrationV1().ValidatingAdmissionPolicies()
	require.Eventually(t, func() bool {
		p, err := policies.Get(context.Background(), shared.PolicyStudents, metav1.GetOptions{})
		require.NoError(t, err)
		if p.Status.TypeChecking == nil {
			return false
		}
		for _, w := range p.Status.TypeChecking.ExpressionWarnings {
			t.Errorf("%s: %s", w.FieldRef, w.Warning)
		}
		return true
	}, time.Minute, time.Second)
}

// counts are what a quota counts: objects that may be made without end otherwise.
var counts = []struct{ what, resource, object string }{
	{"ConfigMaps", "configmaps", "{apiVersion: v1, kind: ConfigMap, metadata: {name: try-%d, labels: {try: fill}}}"},
	{"Services", "services", "{apiVersion: v1, kind: Service, metadata: {name: try-%d, labels: {try: fill}}, spec: {ports: [{port: 80}]}}"},
	{"ServiceAccounts", "serviceaccounts", "{apiVersion: v1, kind: ServiceAccount, metadata: {name: try-%d, labels: {try: fill}}}"},
	{"Deployments", "deployments.apps", "{apiVersion: apps/v1, kind: Deployment, metadata: {name: try-%d, labels: {try: fill}}, spec: {replicas: 0, selector: {matchLabels: {app: try}}, template: {metadata: {labels: {app: try}}, spec: {containers: [{name: c, image: 'example/i:1'}]}}}}"},
	{"DaemonSets", "daemonsets.apps", "{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: try-%d, labels: {try: fill}}, spec: {selector: {matchLabels: {app: try}}, template: {metadata: {labels: {app: try}}, spec: {nodeSelector: {there: is-none}, containers: [{name: c, image: 'example/i:1'}]}}}}"},
}

// fillAll makes objects of each kind until the quota says no.
func (h *hostile) fillAll(t *testing.T) {
	ctx := context.Background()
	hard := func(what string) int {
		q, err := h.client.CoreV1().ResourceQuotas(h.namespace).Get(ctx, "bootcamp", metav1.GetOptions{})
		require.NoError(t, err)
		n := q.Spec.Hard[corev1.ResourceName("count/"+what)]
		return int(n.Value())
	}
	clear := func(at dynamic.ResourceInterface) {
		all, err := at.List(ctx, metav1.ListOptions{LabelSelector: "try=fill"})
		require.NoError(t, err)
		for _, o := range all.Items {
			require.NoError(t, at.Delete(ctx, o.GetName(), metav1.DeleteOptions{GracePeriodSeconds: grace(0)}))
		}
	}
	for _, c := range counts {
		at := h.at(h.dynamic, parse(t, fmt.Sprintf(c.object, 0)).GroupVersionKind())
		made := 0
		var err error
		for (err == nil || apierrors.IsConflict(err)) && made < 100 { // the quota may be counting just now
			if _, err = at.Create(ctx, parse(t, fmt.Sprintf(c.object, made)), metav1.CreateOptions{}); err == nil {
				made++
			}
		}
		by := guard(err)
		assert.Equal(t, byQuota, by, c.what)
		all, listErr := at.List(ctx, metav1.ListOptions{})
		require.NoError(t, listErr)
		// What Kubernetes made of its own while the quota began to count is not
		// counted until the quota's next round, minutes later.
		assert.GreaterOrEqual(t, len(all.Items), hard(c.resource), c.what)
		assert.LessOrEqual(t, len(all.Items), hard(c.resource)+1, c.what)
		assert.Greater(t, made, 4, c.what)
		h.saw(c.what+" without end", by)
		clear(at)
	}

	// Pods that have finished take none of the quota of pods, and stay.
	pods := h.at(h.dynamic, schema.GroupVersionKind{Version: "v1", Kind: "Pod"})
	finish := h.at(h.teacher, schema.GroupVersionKind{Version: "v1", Kind: "Pod"}) // in the kubelet's stead
	var err error
	for made, waits := 0, 0; made < 200 && waits < 100; {
		o := parse(t, fmt.Sprintf("{apiVersion: v1, kind: Pod, metadata: {name: try-%d, labels: {try: fill}}, spec: {nodeSelector: {there: is-none}, containers: [{name: c, image: 'example/i:1'}]}}", made))
		if _, err = pods.Create(ctx, o, metav1.CreateOptions{}); err == nil {
			_, finishErr := finish.Patch(ctx, o.GetName(), types.MergePatchType, []byte(`{"status":{"phase":"Succeeded"}}`), metav1.PatchOptions{}, "status")
			require.NoError(t, finishErr)
			made++
		} else if strings.Contains(err.Error(), "count/pods=") {
			break
		} else { // the quota has not heard yet that they have finished
			waits++
			time.Sleep(200 * time.Millisecond)
		}
	}
	by := guard(err)
	assert.Equal(t, byQuota, by, "finished pods")
	h.saw("finished pods without end", by)
	clear(pods)
	require.Eventually(t, func() bool {
		q, err := h.client.CoreV1().ResourceQuotas(h.namespace).Get(ctx, "bootcamp", metav1.GetOptions{})
		require.NoError(t, err)
		used := q.Status.Used["count/pods"]
		return used.Value() <= 3
	}, time.Minute, time.Second, "the quota counts what is gone")
}

// own are the text's objects as the student types them beside the stack's: in the
// student's namespace, with names and images of their own, and the DaemonSet without
// what is the nodes'.
func own(t *testing.T, root, file string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, "tests", "testdata", "course", file))
	require.NoError(t, err)
	images, err := editions.Of(editions.Current)
	require.NoError(t, err)
	if tags := livelab.Images(string(editions.Current)); tags != nil {
		images.Echo, images.Prometheus, images.NodeExporter = tags["echoImage"], tags["prometheusImage"], tags["nodeExporterImage"]
	}
	names := func(m map[string]any, path ...string) {
		if s, ok, _ := unstructured.NestedString(m, path...); ok {
			require.NoError(t, unstructured.SetNestedField(m, "my-"+s, path...))
		}
	}
	list := &unstructured.UnstructuredList{Object: map[string]any{"apiVersion": "v1", "kind": "List"}}
	for _, text := range regexp.MustCompile(`(?m)^---$`).Split(string(raw), -1) {
		if strings.TrimSpace(text) == "" {
			continue
		}
		o := parse(t, text)
		if strings.HasPrefix(o.GetKind(), "ClusterRole") {
			continue // the class's own stack has made them
		}
		o.SetNamespace("")
		names(o.Object, "metadata", "name")
		names(o.Object, "metadata", "labels", "app")
		names(o.Object, "spec", "selector", "app")
		names(o.Object, "spec", "selector", "matchLabels", "app")
		names(o.Object, "spec", "template", "metadata", "labels", "app")
		if spec, ok, _ := unstructured.NestedMap(o.Object, "spec", "template", "spec"); ok {
			names(spec, "serviceAccountName")
			for _, nodes := range []string{"hostNetwork", "hostPID", "tolerations"} {
				delete(spec, nodes)
			}
			container := spec["containers"].([]any)[0].(map[string]any)
			switch container["name"] {
			case course.Container:
				container["image"] = images.Echo
				if args := editions.EchoArgs(images.Echo); args != nil {
					container["args"] = []any{args[0], args[1]}
				}
			case course.NodeExporter:
				container["image"] = images.NodeExporter
			case course.Prometheus:
				container["image"] = images.Prometheus
			}
			if volumes, ok := spec["volumes"].([]any); ok {
				names(volumes[0].(map[string]any), "configMap", "name")
			}
			require.NoError(t, unstructured.SetNestedMap(o.Object, spec, "spec", "template", "spec"))
		}
		list.Items = append(list.Items, *o)
	}
	out, err := list.MarshalJSON()
	require.NoError(t, err)
	return string(out)
}

const studentsFile = "/kind/student.kubeconfig" // in the node, which has kubectl

// kubectl runs it as the student, in the cluster's node.
func (h *hostile) kubectl(input string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "docker", append([]string{"exec", "-i", h.on.name + "-control-plane", "kubectl", "--kubeconfig", studentsFile}, args...)...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// sit gives the node's kubectl the student's kubeconfig.
func (h *hostile) sit(t *testing.T) {
	node := h.on.name + "-control-plane"
	server := regexp.MustCompile(`server: .*`)
	put := exec.Command("docker", "exec", "-i", node, "cp", "/dev/stdin", studentsFile)
	put.Stdin = strings.NewReader(server.ReplaceAllString(h.kubeconfig, "server: https://127.0.0.1:6443"))
	out, err := put.CombinedOutput()
	require.NoError(t, err, string(out))
}

// course types the text's commands, chapter by chapter.
func (h *hostile) course(t *testing.T, lab *livelab.Lab) {
	node := h.on.name + "-control-plane"
	h.sit(t)
	for _, c := range []struct {
		chapter, file string // the text's file that goes in
		command       string
		want          string // in what is printed
	}{
		{"2", "", "get nodes", node},
		{"3-2", "app.yml", "apply -f -", "deployment.apps/my-bootcamp created"},
		{"3-2", "", "rollout status deployment my-bootcamp --timeout=2m", "successfully rolled out"},
		{"3-2", "", "get pods", "my-bootcamp-"},
		{"3-2", "", "get deployments", "my-bootcamp"},
		{"3-2", "", "get replicasets", "my-bootcamp-"},
		{"3-2", "", "describe deployment my-bootcamp", "my-bootcamp"},
		{"3-2", "", "logs deployment/my-bootcamp", ""},
		{"3-2", "", "scale deployment my-bootcamp --replicas=3", "scaled"},
		{"3-2", "", "rollout status deployment my-bootcamp --timeout=2m", "successfully rolled out"},
		{"3-2", "app.yml", "apply -f -", "deployment.apps/my-bootcamp configured"},
		{"3-2", "", "set env deployment my-bootcamp TRY=1", "updated"},
		{"3-2", "", "rollout restart deployment my-bootcamp", "restarted"},
		{"3-2", "", "rollout status deployment my-bootcamp --timeout=2m", "successfully rolled out"},
		{"3-2", "", "rollout history deployment my-bootcamp", "REVISION"},
		{"3-2", "", "rollout undo deployment my-bootcamp", "rolled back"},
		{"3-2", "", "rollout status deployment my-bootcamp --timeout=2m", "successfully rolled out"},
		{"3-3", "service.yml", "apply -f -", "service/my-bootcamp-svc created"},
		{"3-3", "", "get svc", "my-bootcamp-svc"},
		{"3-3", "", "config get-contexts", h.namespace},
		{"3-3", "", "get --raw /api/v1/namespaces/" + h.namespace + "/services/my-bootcamp-svc/proxy/", ""},
		{"3-4", "", "delete pods -l app=my-bootcamp --wait=false", "deleted"},
		{"3-4", "", "rollout status deployment my-bootcamp --timeout=2m", "successfully rolled out"},
		{"3-4", "", "delete pods -l app=my-bootcamp --force --grace-period=0", "force deleted"},
		{"3-4", "", "rollout status deployment my-bootcamp --timeout=2m", "successfully rolled out"},
		{"4-1", "node-exporter.yml", "apply -f -", "daemonset.apps/my-node-exporter created"},
		{"4-1", "", "get daemonsets", "my-node-exporter"},
		{"4-2", "role-based-access-control.yml", "apply -f -", "serviceaccount/my-prometheus created"},
		{"4-2", "", "create token prometheus", "eyJ"},
		{"4-2", "", "auth can-i list pods", "yes"},
		{"4-3", "prometheus.yml", "apply -f -", "deployment.apps/my-prometheus created"},
		{"4-3", "", "rollout status deployment my-prometheus --timeout=2m", "successfully rolled out"},
		{"4-3", "", "get all", "deployment.apps/my-prometheus"},
		{"4-3", "", "describe configmap my-prometheus", "scrape_interval"},
		{"4-3", "", "get events", ""},
		{"after", "", "delete deployment my-prometheus --cascade=foreground --timeout=90s", "deleted"},
		{"after", "", "delete deployment my-bootcamp --cascade=orphan --timeout=90s", "deleted"},
		{"after", "app.yml", "apply -f -", "deployment.apps/my-bootcamp created"},
		{"after", "app.yml", "delete -f - --timeout=90s", "deleted"},
		{"after", "service.yml", "delete -f -", "deleted"},
		{"after", "node-exporter.yml", "delete -f - --cascade=foreground --timeout=90s", "deleted"},
		{"after", "role-based-access-control.yml", "delete -f -", "deleted"},
		{"after", "", "delete service,configmap my-prometheus", "deleted"},
	} {
		input := ""
		if c.file != "" {
			input = own(t, lab.Root, c.file)
		}
		out, err := h.kubectl(input, strings.Fields(c.command)...)
		assert.NoError(t, err, "kubectl %s: %s", c.command, out)
		assert.Contains(t, out, c.want, "kubectl %s", c.command)
		shown := "kubectl " + strings.ReplaceAll(c.command, "-f -", "-f "+c.file)
		shown = strings.ReplaceAll(shown, h.namespace, "NAMESPACE")
		h.commands = append(h.commands, []string{c.chapter, docs.Code(shown)})
	}
	for i, c := range []struct{ chapter, service, port, path string }{
		{"3-3", course.Service, strconv.Itoa(course.ServicePort), "/"},
		{"4-4", course.Prometheus, strconv.Itoa(course.PrometheusPort), "/-/ready"},
	} {
		assert.NoError(t, h.forward(18080+i, c.service, c.port, c.path), c.service)
		h.commands = append(h.commands, []string{c.chapter, docs.Code("kubectl port-forward service/" + c.service + " :" + c.port)})
	}
}

// forward asks a Service through kubectl's port-forward.
func (h *hostile) forward(local int, service, port, path string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	node := h.on.name + "-control-plane"
	var said bytes.Buffer
	forward := exec.CommandContext(ctx, "docker", "exec", node, "timeout", "60", "kubectl", "--kubeconfig", studentsFile,
		"port-forward", "service/"+service, fmt.Sprintf("%d:%s", local, port))
	forward.Stdout, forward.Stderr = &said, &said
	if err := forward.Start(); err != nil {
		return err
	}
	defer func() {
		cancel()
		_ = forward.Wait() // it was killed
	}()
	out, err := exec.CommandContext(ctx, "docker", "exec", node, "curl", "--silent", "--show-error", "--fail", "--max-time", "5",
		"--retry", "20", "--retry-delay", "1", "--retry-all-errors", fmt.Sprintf("http://127.0.0.1:%d%s", local, path)).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// twoNodePorts: two students' stacks of type NodePort go up beside each other, each
// on a port that the cluster chose, and each has what it asked for and no more.
func twoNodePorts(t *testing.T, on *classCluster, lab *livelab.Lab, alice *livelab.Stack) {
	bob := on.stack(lab, "bob", settings.SharedStudent)
	ports := map[int32]string{}
	for _, s := range []*livelab.Stack{alice, bob} {
		s.Set("serviceType", "NodePort")
		out, err := s.Up()
		require.NoError(t, err, out)
		_, client := connect(t, s.Output("studentKubeconfig"))
		namespace := s.Output("namespace")
		service, err := client.CoreV1().Services(namespace).Get(context.Background(), course.Service, metav1.GetOptions{})
		require.NoError(t, err)
		assert.Equal(t, corev1.ServiceTypeNodePort, service.Spec.Type)
		port := service.Spec.Ports[0].NodePort
		assert.NotZero(t, port)
		assert.Empty(t, ports[port], "two students on one port")
		ports[port] = s.Name
		another := service.DeepCopy()
		another.ObjectMeta = metav1.ObjectMeta{Name: "try"}
		another.Spec.ClusterIP, another.Spec.ClusterIPs, another.Spec.Ports[0].NodePort = "", nil, 0
		_, err = client.CoreV1().Services(namespace).Create(context.Background(), another, metav1.CreateOptions{DryRun: dry})
		assert.Equal(t, byQuota, guard(err), "a second node port")
		another.Spec.Type = corev1.ServiceTypeLoadBalancer
		_, err = client.CoreV1().Services(namespace).Create(context.Background(), another, metav1.CreateOptions{DryRun: dry})
		assert.Equal(t, byPolicy+"Service type", guard(err), "a load balancer")
		studentAccepts(t, s)
	}
}

// page is docs/hostile.md.
func (h *hostile) page() string {
	by := map[string]int{}
	refused := 0
	for _, row := range h.tried {
		name, _, _ := strings.Cut(row[2], ":")
		by[name]++
		if row[2] != admitted {
			refused++
		}
	}
	var guards []string
	for _, g := range []string{byRBAC, byAccount, bySecurity, strings.TrimSuffix(byPolicy, ": "), byLimitRange, byQuota} {
		guards = append(guards, fmt.Sprintf("%s %d", g, by[g]))
	}
	return fmt.Sprintf(`# A student who means harm

Written by TestHostileStudent in tests/live (with `+"`-update`"+`), which holds it against a real shared cluster each time it runs: each row was asked as a student, with the student's own kubeconfig, but for those that say otherwise. Of %d attempts %d were refused (%s).

The API server asks RBAC first, then LimitRange, Pod Security, the admission policy and the quota; the guard in the table is the first that said no.

%s
## The course's own commands

They all work, as the same student. The text's manifests are typed beside what the stack has made, under names of their own; node-exporter without the node's network and processes and without the control plane's toleration, since on a shared cluster the class has it.

%s`, len(h.tried), refused, strings.Join(guards, ", "),
		docs.Table([]string{"what is tried", "answer", "by"}, h.tried), docs.Table([]string{"chapter", "command"}, h.commands))
}
