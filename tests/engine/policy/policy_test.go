// Package policy holds the admission policy for students' namespaces against the
// API server's own code: requests go in, and are admitted or refused.
package policy

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	api "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/initializer"
	"k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/cel/environment"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"

	"k8sbootcamp/components/shared"
)

const audience = "https://kubernetes.default.svc.cluster.local"

// Those who send requests.
var (
	alice      = human("bootcamp-alice")
	alicesPod  = account("bootcamp-alice", "default")
	bob        = human("bootcamp-bob")
	controller = account("kube-system", "replicaset-controller")
	jobs       = account("kube-system", "job-controller")
	cloud      = account("kube-system", "service-controller")
	garbage    = account("kube-system", "generic-garbage-collector")
	kubelet    = &user.DefaultInfo{Name: "system:node:worker", Groups: []string{"system:nodes", "system:authenticated"}}
	teacher    = &user.DefaultInfo{Name: "teacher", Groups: []string{"system:masters", "system:authenticated"}}
	nobody     = &user.DefaultInfo{Name: "controller-manager-without-groups"}
)

// human is the account that a student works as, by their namespace.
func human(namespace string) user.Info { return account(shared.PlatformNamespace, namespace) }

func account(namespace, name string) user.Info {
	return &user.DefaultInfo{
		Name:   "system:serviceaccount:" + namespace + ":" + name,
		Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"},
	}
}

// request is one that the policy is asked about.
type request struct {
	by        user.Info // alice where it is nil
	namespace string    // hers where it is empty
	operation admission.Operation
	sub       string
	object    string // YAML; of a deletion, what is deleted
	old       string // of an update
	grace     *int64 // of a deletion
}

// kinds are the resource and the version of each kind.
var kinds = map[string]schema.GroupVersionResource{
	"Pod":            {Version: "v1", Resource: "pods"},
	"Service":        {Version: "v1", Resource: "services"},
	"ConfigMap":      {Version: "v1", Resource: "configmaps"},
	"Secret":         {Version: "v1", Resource: "secrets"},
	"ServiceAccount": {Version: "v1", Resource: "serviceaccounts"},
	"TokenRequest":   {Version: "v1", Resource: "serviceaccounts"}, // of group authentication.k8s.io, asked of an account
	"Deployment":     {Group: "apps", Version: "v1", Resource: "deployments"},
	"DaemonSet":      {Group: "apps", Version: "v1", Resource: "daemonsets"},
	"ReplicaSet":     {Group: "apps", Version: "v1", Resource: "replicasets"},
}

// plugin is the API server's, with the policy and its binding in namespaces of two
// students and of one other.
func plugin(t *testing.T) *validating.Plugin {
	t.Helper()
	namespace := func(name string, labels map[string]string) *corev1.Namespace {
		return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
	}
	student := func(stack, serviceType string) *corev1.Namespace {
		return namespace("bootcamp-"+stack, map[string]string{"bootcamp/student": "true", "bootcamp/service-type": serviceType})
	}
	name := metav1.ObjectMeta{Name: shared.PolicyStudents}
	spec := shared.PolicySpec([]string{audience})
	spec.MatchConstraints = defaulted(spec.MatchConstraints)
	client := fake.NewClientset(
		student("alice", "ClusterIP"), student("nodeport", "NodePort"), student("balanced", "LoadBalancer"), student("odd", "ExternalName"),
		namespace("bootcamp-claims", map[string]string{"bootcamp/student": "true", "bootcamp/service-type": "ClusterIP", "bootcamp/claims": "true"}),
		namespace("bootcamp-unclaimed", map[string]string{"bootcamp/student": "true", "bootcamp/service-type": "ClusterIP", "bootcamp/claims": "false"}),
		namespace("bootcamp-before", map[string]string{"bootcamp/student": "true"}), namespace("others", nil),
		&api.ValidatingAdmissionPolicy{ObjectMeta: name, Spec: spec},
		&api.ValidatingAdmissionPolicyBinding{ObjectMeta: name, Spec: api.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: name.Name, ValidationActions: []api.ValidationAction{api.Deny},
			MatchResources: defaulted(&api.MatchResources{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"bootcamp/student": "true"}}}),
		}},
	)
	factory := informers.NewSharedInformerFactory(client, 0)
	p := validating.NewPlugin(nil)
	nothing := authorizer.AuthorizerFunc(func(context.Context, authorizer.Attributes) (authorizer.Decision, string, error) {
		return authorizer.DecisionDeny, "", nil
	})
	initializer.New(client, dynamicfake.NewSimpleDynamicClient(scheme.Scheme), factory, nothing, utilfeature.DefaultFeatureGate,
		t.Context().Done(), meta.NewDefaultRESTMapper(nil)).Initialize(p)
	require.NoError(t, p.ValidateInitialization())
	factory.Start(t.Context().Done())
	factory.WaitForCacheSync(t.Context().Done())
	require.Eventually(t, func() bool { // it compiles in the background
		return ask(t, p, request{object: service("externalIPs: [192.0.2.1]")}) != nil
	}, 10*time.Second, 10*time.Millisecond, "the policy is in force")
	return p
}

// defaulted is what the API server makes of it before it keeps it.
func defaulted(m *api.MatchResources) *api.MatchResources {
	equivalent, anywhere := api.Equivalent, api.AllScopes
	m.MatchPolicy, m.ObjectSelector = &equivalent, &metav1.LabelSelector{}
	if m.NamespaceSelector == nil {
		m.NamespaceSelector = &metav1.LabelSelector{}
	}
	for i := range m.ResourceRules {
		m.ResourceRules[i].Scope = &anywhere
	}
	return m
}

// ask is what the API server answers.
func ask(t *testing.T, p *validating.Plugin, r request) error {
	t.Helper()
	decode := func(text string) runtime.Object {
		if text == "" {
			return nil
		}
		var plain map[string]any // the decoder takes YAML of one line for JSON
		require.NoError(t, yaml.Unmarshal([]byte(text), &plain), text)
		raw, err := json.Marshal(plain)
		require.NoError(t, err)
		o, _, err := scheme.Codecs.UniversalDeserializer().Decode(raw, nil, nil)
		require.NoError(t, err, text)
		return o
	}
	object, old := decode(r.object), decode(r.old)
	kind := object.GetObjectKind().GroupVersionKind()
	resource, known := kinds[kind.Kind]
	require.True(t, known, kind)
	by, namespace, operation := r.by, r.namespace, r.operation
	if by == nil {
		by = alice
	}
	if namespace == "" {
		namespace = "bootcamp-alice"
	}
	if operation == "" {
		operation = admission.Create
	}
	var options runtime.Object = &metav1.CreateOptions{}
	switch operation {
	case admission.Update:
		options = &metav1.UpdateOptions{}
		if old == nil {
			old = object.DeepCopyObject()
		}
	case admission.Delete:
		options, object, old = &metav1.DeleteOptions{GracePeriodSeconds: r.grace}, nil, object
	}
	attributes := admission.NewAttributesRecord(object, old, kind, namespace, "x", resource, r.sub, operation, options, false, by)
	return p.Validate(t.Context(), attributes, admission.NewObjectInterfacesFromScheme(scheme.Scheme))
}

// Objects, as YAML of one line each.

func pod(spec string) string { return podMeta("{name: x}", spec) }

func podMeta(meta, spec string) string {
	return "{apiVersion: v1, kind: Pod, metadata: " + meta + ", spec: {" + more(spec) + "containers: [{name: c, image: 'i:1'}]}}"
}

func workload(kind, templateMeta, spec string) string {
	return fmt.Sprintf("{apiVersion: apps/v1, kind: %s, metadata: {name: x}, spec: {selector: {matchLabels: {app: x}}, "+
		"template: {metadata: {%slabels: {app: x}}, spec: {%scontainers: [{name: c, image: 'i:1'}]}}}}", kind, more(templateMeta), more(spec))
}

func deployment(spec string) string { return workload("Deployment", "", spec) }

func service(spec string) string {
	return "{apiVersion: v1, kind: Service, metadata: {name: x}, spec: {" + more(spec) + "ports: [{port: 80}]}}"
}

func with(kind, meta string) string {
	return "{apiVersion: v1, kind: " + kind + ", metadata: {name: x, " + meta + "}}"
}

func token(spec string) string {
	return "{apiVersion: authentication.k8s.io/v1, kind: TokenRequest, spec: {" + spec + "}}"
}

func more(s string) string {
	if s == "" {
		return ""
	}
	return s + ", "
}

func seconds(n int64) *int64 { return &n }

const (
	update = admission.Update
	remove = admission.Delete

	finalizer  = "finalizers: [example.com/never]"
	cleanup    = "finalizers: [service.kubernetes.io/load-balancer-cleanup]"
	owner      = "ownerReferences: [{apiVersion: v1, kind: Node, name: n1, uid: u1"
	mountToken = "volumes: [{name: v, projected: {sources: [{serviceAccountToken: {path: t"
	controlled = "tolerations: [{key: node-role.kubernetes.io/control-plane, operator: Exists, effect: NoSchedule}]"
)

// rows are, by rule, what is refused and what is next to it and goes on.
var rows = map[string][]struct {
	name    string
	admits  bool
	request request
}{
	"finalizers": {
		{"on a ConfigMap", false, request{object: with("ConfigMap", finalizer)}},
		{"on a ServiceAccount", false, request{object: with("ServiceAccount", finalizer)}},
		{"on a pod", false, request{object: podMeta("{name: x, "+finalizer+"}", "")}},
		{"the garbage collector's own", false, request{object: with("ConfigMap", "finalizers: [foregroundDeletion]")}},
		{"by a pod of hers", false, request{by: alicesPod, object: with("ConfigMap", finalizer)}},
		{"added", false, request{operation: update, object: with("ConfigMap", finalizer), old: with("ConfigMap", "labels: {}")}},
		{"one more", false, request{operation: update, object: with("ConfigMap", "finalizers: [a/b, c/d]"), old: with("ConfigMap", "finalizers: [a/b]")}},
		{"none", true, request{object: with("ConfigMap", "labels: {a: b}")}},
		{"an empty list", true, request{object: with("ConfigMap", "finalizers: []")}},
		{"kept while she changes something else", true, request{operation: update, object: with("ConfigMap", "finalizers: [a/b], labels: {a: b}"), old: with("ConfigMap", "finalizers: [a/b]")}},
		{"taken off", true, request{operation: update, object: with("ConfigMap", "labels: {}"), old: with("ConfigMap", finalizer)}},
		{"a cloud's, on her Service", true, request{by: cloud, operation: update, object: with("Service", cleanup), old: with("Service", "labels: {}")}},
		{"a cloud's, that is on her Service already", true, request{operation: update, object: with("Service", cleanup+", labels: {a: b}"), old: with("Service", cleanup)}},
		{"the garbage collector takes its own off", true, request{by: garbage, operation: update, object: pod(""), old: podMeta("{name: x, finalizers: [foregroundDeletion]}", "")}},
		{"the teacher's", true, request{by: teacher, object: with("ConfigMap", finalizer)}},
		{"on a Deployment, whose status its controller writes", true, request{by: controller, operation: update, sub: "status", object: deployment("")}},
		{"on a kind that she cannot write", true, request{object: with("Secret", finalizer)}},
	},
	"pod finalizers": {
		{"that a controller copies from a template", false, request{by: controller, object: podMeta("{name: x, "+finalizer+"}", "")}},
		{"the teacher's", false, request{by: teacher, object: podMeta("{name: x, "+finalizer+"}", "")}},
		{"by somebody without groups", false, request{by: nobody, object: podMeta("{name: x, "+finalizer+"}", "")}},
		{"a Job's", true, request{by: jobs, object: podMeta("{name: x, finalizers: [batch.kubernetes.io/job-tracking]}", "")}},
		{"none", true, request{by: controller, object: pod("")}},
		{"in a namespace that is not a student's", true, request{namespace: "others", object: podMeta("{name: x, "+finalizer+"}", "")}},
	},
	"template finalizers": {
		{"of a Deployment", false, request{object: workload("Deployment", finalizer, "")}},
		{"of a DaemonSet", false, request{object: workload("DaemonSet", finalizer, "")}},
		{"added", false, request{operation: update, object: workload("Deployment", finalizer, ""), old: deployment("")}},
		{"none", true, request{object: deployment("")}},
		{"annotations", true, request{object: workload("Deployment", "annotations: {a: b}", "")}},
	},
	"blocking owners": {
		{"a node", false, request{object: with("ConfigMap", owner+", blockOwnerDeletion: true}]")}},
		{"added to a pod", false, request{operation: update, object: podMeta("{name: x, "+owner+", blockOwnerDeletion: true}]}", ""), old: pod("")}},
		{"made to block", false, request{operation: update, object: with("ConfigMap", owner+", blockOwnerDeletion: true}]"), old: with("ConfigMap", owner+"}]")}},
		{"that does not block", true, request{object: with("ConfigMap", owner+", blockOwnerDeletion: false}]")}},
		{"that says nothing of it", true, request{object: with("ConfigMap", owner+"}]")}},
		{"that is there already", true, request{operation: update, object: podMeta("{name: x, labels: {a: b}, "+owner+", blockOwnerDeletion: true}]}", ""), old: podMeta("{name: x, "+owner+", blockOwnerDeletion: true}]}", "")}},
		{"a controller's", true, request{by: controller, object: podMeta("{name: x, "+owner+", blockOwnerDeletion: true}]}", "")}},
	},
	"grace period": {
		{"of a pod", false, request{object: pod("terminationGracePeriodSeconds: 61")}},
		{"of a day", false, request{object: pod("terminationGracePeriodSeconds: 86400")}},
		{"of a pod that a controller makes", false, request{by: controller, object: pod("terminationGracePeriodSeconds: 61")}},
		{"of a Deployment's pods", false, request{object: deployment("terminationGracePeriodSeconds: 61")}},
		{"of a DaemonSet's pods, changed", false, request{operation: update, object: workload("DaemonSet", "", "terminationGracePeriodSeconds: 61"), old: workload("DaemonSet", "", "")}},
		{"of a probe", false, request{object: pod("initContainers: [{name: i, image: 'i:1', restartPolicy: Always, livenessProbe: {tcpSocket: {port: 80}, terminationGracePeriodSeconds: 61}}]")}},
		{"of another probe", false, request{object: deployment("initContainers: [{name: i, image: 'i:1', startupProbe: {tcpSocket: {port: 80}, terminationGracePeriodSeconds: 61}}]")}},
		{"of a minute", true, request{object: pod("terminationGracePeriodSeconds: 60")}},
		{"of none", true, request{object: deployment("terminationGracePeriodSeconds: 0")}},
		{"not said", true, request{object: pod("")}},
		{"of a probe, a minute", true, request{object: pod("initContainers: [{name: i, image: 'i:1', livenessProbe: {tcpSocket: {port: 80}, terminationGracePeriodSeconds: 60}}]")}},
		{"of a Deployment that its controller writes", true, request{by: controller, operation: update, object: deployment("terminationGracePeriodSeconds: 61")}},
		{"on a pod that is there already, by its controller", true, request{by: controller, operation: update, object: pod("terminationGracePeriodSeconds: 61")}},
	},
	"grace period of a deletion": {
		{"a day", false, request{operation: remove, object: pod(""), grace: seconds(86400)}},
		{"61 seconds", false, request{operation: remove, object: pod(""), grace: seconds(61)}},
		{"a minute", true, request{operation: remove, object: pod(""), grace: seconds(60)}},
		{"none", true, request{operation: remove, object: pod(""), grace: seconds(0)}},
		{"the pod's own", true, request{operation: remove, object: pod("")}},
		{"of a pod that is as it may not be", true, request{operation: remove, object: podMeta("{name: x, "+finalizer+"}", "terminationGracePeriodSeconds: 86400, nodeName: n1")}},
		{"of a ConfigMap", true, request{operation: remove, object: with("ConfigMap", "labels: {}"), grace: seconds(86400)}},
		{"the teacher's", true, request{by: teacher, operation: remove, object: pod(""), grace: seconds(86400)}},
	},
	"node name": {
		{"of a pod", false, request{object: pod("nodeName: control-plane")}},
		{"of a pod that a controller makes", false, request{by: controller, object: pod("nodeName: control-plane")}},
		{"in a template", false, request{object: deployment("nodeName: control-plane")}},
		{"of a pod that the scheduler has placed", true, request{operation: update, object: podMeta("{name: x, labels: {a: b}}", "nodeName: worker"), old: pod("nodeName: worker")}},
		{"a selector", true, request{object: pod("nodeSelector: {kubernetes.io/hostname: worker}")}},
		{"a DaemonSet's affinity", true, request{by: controller, object: pod("affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchFields: [{key: metadata.name, operator: In, values: [worker]}]}]}}}")}},
	},
	"tolerations": {
		{"everything", false, request{object: pod("tolerations: [{operator: Exists}]")}},
		{"everything, in a template", false, request{object: deployment("tolerations: [{operator: Exists}]")}},
		{"everything, by a controller", false, request{by: controller, object: pod("tolerations: [{operator: Exists}]")}},
		{"a control plane", false, request{object: pod(controlled)}},
		{"a control plane, as the text's node-exporter", false, request{object: workload("DaemonSet", "", controlled)}},
		{"one more, added", false, request{operation: update, object: pod("tolerations: [{operator: Exists}]"), old: pod("")}},
		{"somebody's own taint", false, request{object: pod("tolerations: [{key: example.com/gpu, operator: Exists}]")}},
		{"one that looks alike", false, request{object: pod("tolerations: [{key: node.kubernetes.io/other, operator: Exists}]")}},
		{"those that every pod is given", true, request{object: pod("tolerations: [{key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 300}, {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 300}]")}},
		{"those that a DaemonSet's pods are given", true, request{by: controller, object: pod("tolerations: [{key: node.kubernetes.io/disk-pressure, operator: Exists}, {key: node.kubernetes.io/memory-pressure, operator: Exists}, {key: node.kubernetes.io/pid-pressure, operator: Exists}, {key: node.kubernetes.io/unschedulable, operator: Exists}]")}},
		{"that of a DaemonSet's pods on the node's network", true, request{by: controller, object: pod("tolerations: [{key: node.kubernetes.io/network-unavailable, operator: Exists}]")}},
		{"none", true, request{object: workload("DaemonSet", "", "")}},
	},
	"priority class": {
		{"the system's", false, request{object: pod("priorityClassName: system-node-critical")}},
		{"the system's, by a controller", false, request{by: controller, object: pod("priorityClassName: system-cluster-critical")}},
		{"somebody's", false, request{object: pod("priorityClassName: important")}},
		{"the system's, in a template", false, request{object: deployment("priorityClassName: system-node-critical")}},
		{"somebody's, in a template", false, request{object: workload("DaemonSet", "", "priorityClassName: important")}},
		{"the cluster's default, by a controller", true, request{by: controller, object: pod("priorityClassName: default-of-the-cluster, priority: 10")}},
		{"none", true, request{object: pod("priorityClassName: ''")}},
	},
	"volume types": {
		{"ephemeral", false, request{object: pod("volumes: [{name: v, ephemeral: {volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 10Ti}}}}}}]")}},
		{"a claim", false, request{object: pod("volumes: [{name: v, persistentVolumeClaim: {claimName: c}}]")}},
		{"a claim, by a controller", false, request{by: controller, object: pod("volumes: [{name: v, persistentVolumeClaim: {claimName: c}}]")}},
		{"a claim where the stack says that it has none", false, request{by: controller, namespace: "bootcamp-unclaimed", object: pod("volumes: [{name: v, persistentVolumeClaim: {claimName: c}}]")}},
		{"a claim in a namespace that says nothing", false, request{by: controller, namespace: "bootcamp-before", object: pod("volumes: [{name: v, persistentVolumeClaim: {claimName: c}}]")}},
		{"ephemeral where the stack has claims", false, request{by: human("bootcamp-claims"), namespace: "bootcamp-claims", object: pod("volumes: [{name: v, ephemeral: {volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}}}]")}},
		{"the node's where the stack has claims", false, request{by: controller, namespace: "bootcamp-claims", object: pod("volumes: [{name: v, persistentVolumeClaim: {claimName: c}}, {name: w, hostPath: {path: /}}]")}},
		{"a claim where the stack has some", true, request{by: human("bootcamp-claims"), namespace: "bootcamp-claims", object: pod("volumes: [{name: v, persistentVolumeClaim: {claimName: c}}]")}},
		{"a claim of a StatefulSet's pod where the stack has some", true, request{by: controller, namespace: "bootcamp-claims", object: pod("volumes: [{name: v, persistentVolumeClaim: {claimName: c}}, {name: w, configMap: {name: c}}]")}},
		{"NFS", false, request{object: deployment("volumes: [{name: v, nfs: {server: 192.0.2.1, path: /}}]")}},
		{"CSI", false, request{object: deployment("volumes: [{name: v, csi: {driver: example.com}}]")}},
		{"an image", false, request{object: pod("volumes: [{name: v, image: {reference: 'i:1'}}]")}},
		{"the node's", false, request{by: controller, object: pod("volumes: [{name: v, hostPath: {path: /}}]")}},
		{"one of two", false, request{object: pod("volumes: [{name: v, emptyDir: {}}, {name: w, nfs: {server: 192.0.2.1, path: /}}]")}},
		{"those of the text and like it", true, request{object: deployment("volumes: [{name: a, configMap: {name: c}}, {name: b, emptyDir: {}}, {name: c, secret: {secretName: s}}, {name: d, downwardAPI: {items: []}}, {name: e, projected: {sources: []}}]")}},
		{"none", true, request{object: pod("")}},
	},
	"projected tokens": {
		{"for a cloud", false, request{object: pod(mountToken + ", audience: sts.example.com}}]}}]")}},
		{"for a day", false, request{object: deployment(mountToken + ", expirationSeconds: 86400}}]}}]")}},
		{"for a day, by a controller", false, request{by: controller, object: pod(mountToken + ", expirationSeconds: 86400}}]}}]")}},
		{"that every pod has", true, request{object: pod(mountToken + ", expirationSeconds: 3607}}, {configMap: {name: kube-root-ca.crt}}]}}]")}},
		{"with nothing said", true, request{object: pod(mountToken + "}}]}}]")}},
	},
	"Service type": {
		{"NodePort", false, request{object: service("type: NodePort")}},
		{"LoadBalancer", false, request{object: service("type: LoadBalancer")}},
		{"ExternalName", false, request{object: service("type: ExternalName, externalName: example.com")}},
		{"changed", false, request{operation: update, object: service("type: NodePort"), old: service("type: ClusterIP")}},
		{"a load balancer where ports were asked for", false, request{by: human("bootcamp-nodeport"), namespace: "bootcamp-nodeport", object: service("type: LoadBalancer")}},
		{"ports where a load balancer was asked for", false, request{by: human("bootcamp-balanced"), namespace: "bootcamp-balanced", object: service("type: NodePort")}},
		{"ExternalName, which no stack can ask for", false, request{by: human("bootcamp-odd"), namespace: "bootcamp-odd", object: service("type: ExternalName, externalName: example.com")}},
		{"NodePort in a namespace that says nothing", false, request{by: human("bootcamp-before"), namespace: "bootcamp-before", object: service("type: NodePort")}},
		{"ClusterIP", true, request{object: service("type: ClusterIP")}},
		{"the default", true, request{object: service("")}},
		{"ClusterIP in a namespace that says nothing", true, request{by: human("bootcamp-before"), namespace: "bootcamp-before", object: service("type: ClusterIP")}},
		{"NodePort where it was asked for", true, request{by: human("bootcamp-nodeport"), namespace: "bootcamp-nodeport", object: service("type: NodePort")}},
		{"LoadBalancer where it was asked for", true, request{by: human("bootcamp-balanced"), namespace: "bootcamp-balanced", object: service("type: LoadBalancer")}},
		{"by the stack", true, request{by: teacher, object: service("type: NodePort")}},
	},
	"external IPs": {
		{"of a Service", false, request{object: service("externalIPs: [192.0.2.1]")}},
		{"added", false, request{operation: update, object: service("externalIPs: [192.0.2.1]"), old: service("")}},
		{"by a pod of hers", false, request{by: alicesPod, object: service("externalIPs: [192.0.2.1]")}},
		{"an empty list", true, request{object: service("externalIPs: []")}},
		{"in a namespace that is not a student's", true, request{namespace: "others", object: service("externalIPs: [192.0.2.1]")}},
	},
	"token lifetime": {
		{"two hours", false, request{sub: "token", object: token("audiences: [], expirationSeconds: 7200")}},
		{"for ever", false, request{sub: "token", object: token("audiences: [], expirationSeconds: 2147483648")}},
		{"an hour", true, request{sub: "token", object: token("audiences: [], expirationSeconds: 3600")}},
		{"not said", true, request{sub: "token", object: token("audiences: []")}},
		{"by the kubelet", true, request{by: kubelet, sub: "token", object: token("audiences: [a], expirationSeconds: 86400")}},
		{"by the stack", true, request{by: teacher, sub: "token", object: token("audiences: [], expirationSeconds: 43200")}},
	},
	"token audience": {
		{"a cloud", false, request{sub: "token", object: token("audiences: [sts.example.com]")}},
		{"a cloud beside the API server", false, request{sub: "token", object: token("audiences: ['" + audience + "', sts.example.com]")}},
		{"the API server", true, request{sub: "token", object: token("audiences: ['" + audience + "']")}},
		{"none", true, request{sub: "token", object: token("audiences: []")}},
	},
	"": { // of no rule
		{"another's request in her namespace", true, request{by: bob, object: with("ConfigMap", finalizer)}},
		{"a ReplicaSet, which only controllers make", true, request{by: controller, object: workload("ReplicaSet", finalizer, "nodeName: n1")}},
		{"a scale", true, request{operation: update, sub: "scale", object: deployment("nodeName: n1")}},
	},
}

// TestPolicy asks the API server's admission about each row.
func TestPolicy(t *testing.T) {
	p := plugin(t)
	message := map[string]string{}
	n := 0
	for _, r := range shared.PolicyRules {
		message[r.Name] = r.Message
		for _, admits := range []bool{true, false} {
			assert.True(t, slices.ContainsFunc(rows[r.Name], func(row struct {
				name    string
				admits  bool
				request request
			}) bool {
				return row.admits == admits
			}), "rule %q has no row that it admits (%t)", r.Name, admits)
		}
	}
	require.Len(t, message, len(shared.PolicyRules), "names are not used twice")
	for rule, list := range rows {
		require.True(t, rule == "" || message[rule] != "", "no rule %q", rule)
		for _, row := range list {
			n++
			t.Run(rule+"/"+row.name, func(t *testing.T) {
				err := ask(t, p, row.request)
				if row.admits {
					assert.NoError(t, err)
					return
				}
				require.Error(t, err)
				assert.ErrorContains(t, err, message[rule])
				assert.Equal(t, metav1.StatusReasonForbidden, err.(interface{ Status() metav1.Status }).Status().Reason)
			})
		}
	}
	t.Logf("%d rows of %d rules", n, len(shared.PolicyRules))
}

// TestPolicyOn130: the expressions are ones of Kubernetes 1.30, the first that has
// such policies.
func TestPolicyOn130(t *testing.T) {
	env, err := cel.NewCompositionEnv(cel.VariablesTypeName, environment.MustBaseEnvSet(version.MajorMinor(1, 30), true))
	require.NoError(t, err)
	compiler := cel.NewCompositedCompilerFromTemplate(env)
	options := cel.OptionalVariableDeclarations{HasAuthorizer: true, StrictCost: true}
	compile := func(of, expression string, accessor cel.ExpressionAccessor) {
		r := compiler.CompileCELExpression(accessor, options, environment.NewExpressions)
		assert.Nil(t, r.Error, "%s: %s", of, expression)
	}
	spec := shared.PolicySpec(nil)
	for _, v := range spec.Variables {
		r := compiler.CompileAndStoreVariable(&validating.Variable{Name: v.Name, Expression: v.Expression}, options, environment.NewExpressions)
		assert.Nil(t, r.Error, v.Name)
	}
	for _, c := range spec.MatchConditions {
		compile(c.Name, c.Expression, &validating.ValidationCondition{Expression: c.Expression})
	}
	for i, v := range spec.Validations {
		compile(shared.PolicyRules[i].Name, v.Expression, &validating.ValidationCondition{Expression: v.Expression})
	}
}
