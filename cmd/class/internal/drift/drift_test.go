package drift

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"k8sbootcamp/internal/fake"
)

const (
	configMap  = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c","namespace":"default","labels":{"app":"a"}},"data":{"k":"v"}}`
	deployment = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d","namespace":"default","uid":"d"},"spec":{"replicas":2,
		"selector":{"matchLabels":{"app":"a"}},"template":{"metadata":{"labels":{"app":"a"}},"spec":{"containers":[{"name":"c","image":"i:1"}]}}}}`
	balanced = `{"apiVersion":"v1","kind":"Service","metadata":{"name":"b","namespace":"default"},"spec":{"type":"LoadBalancer"}}`
	claimSet = `{"apiVersion":"apps/v1","kind":"StatefulSet","metadata":{"name":"s","namespace":"default"},"spec":{"volumeClaimTemplates":[{"metadata":{"name":"data"}}]}}`
)

// object is one of the stack's, of a manifest.
func object(t *testing.T, manifest string) Object {
	t.Helper()
	u := &unstructured.Unstructured{}
	require.NoError(t, u.UnmarshalJSON([]byte(manifest)))
	unstructured.RemoveNestedField(u.Object, "metadata", "uid")
	return NewObject("urn:"+u.GetName(), "", u.Object)
}

func connected(t *testing.T, api *fake.APIServer) *Cluster {
	t.Helper()
	c, err := Connect(api.Config())
	require.NoError(t, err)
	return c
}

// with is a manifest with a value at a path; none takes it out.
func with(t *testing.T, manifest, path, value string) string {
	t.Helper()
	u := &unstructured.Unstructured{}
	require.NoError(t, u.UnmarshalJSON([]byte(manifest)))
	at := strings.Split(path, "|")
	if value == "" {
		unstructured.RemoveNestedField(u.Object, at...)
	} else {
		var v any
		require.NoError(t, json.Unmarshal([]byte(value), &v))
		if f, is := v.(float64); is {
			v = int64(f)
		}
		require.NoError(t, unstructured.SetNestedField(u.Object, v, at...))
	}
	b, err := u.MarshalJSON()
	require.NoError(t, err)
	return string(b)
}

const configMapAt, deploymentAt = "/api/v1/namespaces/default/configmaps/c", "/apis/apps/v1/namespaces/default/deployments/d"

func TestCompare(t *testing.T) {
	for name, c := range map[string]struct {
		manifest, path, value string
		fields                string // none: it is as it should be
	}{
		"as it was":                       {configMap, "kind", `"ConfigMap"`, ""},
		"a value":                         {configMap, "data|k", `"x"`, "data.k"},
		"a key beside it":                 {configMap, "data|prometheus.yml", `"x"`, "data[prometheus.yml]"},
		"a label":                         {configMap, "metadata|labels|app", `"b"`, "metadata.labels.app"},
		"a student's label":               {configMap, "metadata|labels|example.com/x", `"b"`, "metadata.labels[example.com/x]"},
		"a finalizer":                     {configMap, "metadata|finalizers", `["example.com/x"]`, "metadata.finalizers"},
		"a finalizer of Kubernetes":       {configMap, "metadata|finalizers", `["foregroundDeletion"]`, ""},
		"an owner":                        {configMap, "metadata|ownerReferences", `[{"uid":"x"}]`, "metadata.ownerReferences"},
		"kubectl's annotation":            {configMap, "metadata|annotations|kubectl.kubernetes.io/last-applied-configuration", `"{}"`, "metadata.annotations"},
		"a finalizer of a load balancer":  {balanced, "metadata|finalizers", `["service.kubernetes.io/load-balancer-cleanup"]`, ""},
		"replicas":                        {deployment, "spec|replicas", `0`, "spec.replicas"},
		"an image":                        {deployment, "spec|template|spec|containers", `[{"name":"c","image":"i:2"}]`, "spec.template.spec.containers[c].image"},
		"a container":                     {deployment, "spec|template|spec|containers", `[{"name":"c","image":"i:1"},{"name":"e"}]`, "spec.template.spec.containers[e]"},
		"a revision":                      {deployment, "metadata|annotations|deployment.kubernetes.io/revision", `"7"`, ""},
		"a status":                        {deployment, "status|replicas", `1`, ""},
		"a restart":                       {deployment, "spec|template|metadata|annotations|kubectl.kubernetes.io/restartedAt", `"now"`, ""},
		"a revision on another kind":      {configMap, "metadata|annotations|deployment.kubernetes.io/revision", `"7"`, "metadata.annotations"},
		"a finalizer nobody serves there": {configMap, "metadata|finalizers", `["kubernetes.io/pvc-protection"]`, "metadata.finalizers"},
	} {
		t.Run(name, func(t *testing.T) {
			api := fake.NewAPIServer(t, with(t, c.manifest, c.path, c.value))
			cluster := connected(t, api)
			wanted := []Object{object(t, c.manifest)}
			found, err := cluster.Compare(context.Background(), wanted)
			require.NoError(t, err)
			assert.Empty(t, found.Gone)
			if c.fields == "" {
				assert.Empty(t, found.Edits)
				return
			}
			require.Len(t, found.Edits, 1)
			assert.Equal(t, Replace, found.Edits[0].Way)
			assert.Equal(t, c.fields, strings.Join(found.Edits[0].Fields, " "))

			gone, err := cluster.PutRight(context.Background(), found.Edits)
			require.NoError(t, err)
			assert.Empty(t, gone)
			found, err = cluster.Compare(context.Background(), wanted)
			require.NoError(t, err)
			assert.Empty(t, found.Edits, "it is as it was")
		})
	}
}

// What is gone is named, and made; what the cluster makes by itself is neither.
// Gone finds what Compare does, without a write; the cluster's own objects come by themselves.
func TestGoneAtOnce(t *testing.T) {
	api := fake.NewAPIServer(t, configMap)
	of := object(t, deployment)
	own := of
	own.URN, own.Name = "", "own"
	api.Answer("GET /api/v1/namespaces/default/configmaps/broken", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	broken := object(t, with(t, configMap, "metadata|name", `"broken"`))
	gone, err := connected(t, api).Gone(context.Background(), []Object{object(t, configMap), of, own, broken})
	require.NoError(t, err)
	assert.Equal(t, []Object{of}, gone)
}

func TestGone(t *testing.T) {
	api := fake.NewAPIServer(t)
	cluster := connected(t, api)
	found, err := cluster.Compare(context.Background(), append(Always("default"), object(t, configMap)))
	require.NoError(t, err)
	assert.Empty(t, found.Edits)
	require.Len(t, found.Gone, 1)
	require.NoError(t, cluster.Make(context.Background(), found.Gone))
	assert.Equal(t, "v", api.Get(configMapAt).Object["data"].(map[string]any)["k"])
}

// What cannot be changed is deleted, with the finalizer that a student gave it, and what
// has data is left.
func TestWhatCannotBeChanged(t *testing.T) {
	edited := with(t, with(t, configMap, "data|k", `"x"`), "metadata|finalizers", `["example.com/x"]`)
	api := fake.NewAPIServer(t, edited, with(t, claimSet, "spec|serviceName", `"x"`))
	api.Refuses = func(_, _ *unstructured.Unstructured) int { return http.StatusUnprocessableEntity }
	cluster := connected(t, api)
	found, err := cluster.Compare(context.Background(), []Object{object(t, configMap), object(t, claimSet)})
	require.NoError(t, err)
	require.Len(t, found.Edits, 2)
	assert.Equal(t, Remake, found.Edits[0].Way)
	assert.Equal(t, []string{"data.k"}, found.Edits[0].Fields)
	assert.True(t, found.Edits[0].Content())
	assert.Equal(t, Keep, found.Edits[1].Way)
	gone, err := cluster.PutRight(context.Background(), found.Edits)
	require.NoError(t, err)
	require.Len(t, gone, 1)
	assert.False(t, api.Has(configMapAt))
	assert.True(t, api.Has("/apis/apps/v1/namespaces/default/statefulsets/s"))
}

// An object that was deleted and does not go is let go.
func TestHeld(t *testing.T) {
	api := fake.NewAPIServer(t, with(t, with(t, configMap, "metadata|deletionTimestamp", `"2026-01-01T00:00:00Z"`), "metadata|finalizers", `["example.com/x"]`))
	cluster := connected(t, api)
	found, err := cluster.Compare(context.Background(), []Object{object(t, configMap)})
	require.NoError(t, err)
	require.Len(t, found.Edits, 1)
	assert.Equal(t, Held, found.Edits[0].Way)
	gone, err := cluster.PutRight(context.Background(), found.Edits)
	require.NoError(t, err)
	assert.Len(t, gone, 1)
	assert.False(t, api.Has(configMapAt))
}

// A write is tried again where a controller was faster; what is refused for good is told
// by the object's name.
func TestPutRightTriesAgain(t *testing.T) {
	api := fake.NewAPIServer(t, with(t, configMap, "data|k", `"x"`))
	cluster := connected(t, api)
	found, err := cluster.Compare(context.Background(), []Object{object(t, configMap)})
	require.NoError(t, err)
	tries := 0
	api.Refuses = func(_, _ *unstructured.Unstructured) int {
		if tries++; tries < 3 {
			return http.StatusConflict
		}
		return 0
	}
	_, err = cluster.PutRight(context.Background(), found.Edits)
	require.NoError(t, err)
	assert.Equal(t, 3, tries)
}

// A namespace that the stack made has labels of the cluster's, too; the default one of a
// student's own cluster has not.
func TestNamespaceLabels(t *testing.T) {
	namespace := func(label string) string {
		return fmt.Sprintf(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"n","labels":{%q:"x"}}}`, label)
	}
	api := fake.NewAPIServer(t, namespace("policy.example.com/by"))
	cluster := connected(t, api)
	for urn, edits := range map[string]int{"urn:n": 0, "": 1} {
		o := NewObject(urn, "", map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": "n"}})
		found, err := cluster.Compare(context.Background(), []Object{o})
		require.NoError(t, err)
		assert.Len(t, found.Edits, edits, urn)
	}
}

// A Secret is compared as the cluster has it, and named by its keys.
func TestSecretsAreNamedByKeys(t *testing.T) {
	wanted := NewObject("urn:s", "", map[string]any{"apiVersion": "v1", "kind": "Secret",
		"metadata": map[string]any{"name": "s", "namespace": "default"}, "stringData": map[string]any{"password": "hunter2"}})
	api := fake.NewAPIServer(t, `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s","namespace":"default"},"data":{"password":"aHVudGVyMg=="}}`)
	cluster := connected(t, api)
	found, err := cluster.Compare(context.Background(), []Object{wanted})
	require.NoError(t, err)
	assert.Empty(t, found.Edits)
	api.Put(t, `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s","namespace":"default"},"data":{"password":"eA=="}}`)
	found, err = cluster.Compare(context.Background(), []Object{wanted})
	require.NoError(t, err)
	require.Len(t, found.Edits, 1)
	assert.Equal(t, []string{"data.password"}, found.Edits[0].Fields)
}

func TestFields(t *testing.T) {
	t.Parallel()
	of := func(text string) (v any) {
		require.NoError(t, json.Unmarshal([]byte(text), &v))
		return v
	}
	for _, c := range []struct{ a, b, want string }{
		{`{}`, `{"x":null,"y":{},"z":[]}`, ""},
		{`{"a":{"b":1}}`, `{"a":{"b":2}}`, "a.b"},
		{`{"l":[{"name":"x","v":1},{"name":"y"}]}`, `{"l":[{"name":"y"},{"name":"x","v":2}]}`, "l[x].v"},
		{`{"l":[{"port":1}]}`, `{"l":[{"port":2}]}`, "l[0].port"},
		{`{"l":[{"port":1}]}`, `{"l":[]}`, "l"},
		{`{"l":["a"]}`, `{"l":["b"]}`, "l"},
		{`{"l":[{"name":"x"},{"name":"x"}]}`, `{"l":[{"name":"x"},{"name":"y"}]}`, "l[1].name"},
		{`{"m":{"a.b/c":1}}`, `{"m":{}}`, "m[a.b/c]"},
		{`{"m":{"a":1}}`, `{}`, "m"},
		{`{"m":{"a.b/c":1,"d":1}}`, `{"m":{"d":1}}`, "m[a.b/c]"},
	} {
		assert.Equal(t, c.want, strings.Join(fields(of(c.a), of(c.b)), " "), "%s against %s", c.a, c.b)
		assert.Equal(t, c.want, strings.Join(fields(of(c.b), of(c.a)), " "), "%s against %s", c.b, c.a)
	}
	assert.Equal(t, "a, b, c, d and 1 more", Brief([]string{"a", "b", "c", "d", "e"}))
}

var made = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// madeAt is an object of that name, made so many minutes after the cluster.
func madeAt(kind, namespace, name string, minutes int, more string) string {
	version := map[string]string{"Deployment": "apps/v1", "ReplicaSet": "apps/v1", "NetworkPolicy": "networking.k8s.io/v1", "EndpointSlice": "discovery.k8s.io/v1", "Lease": "coordination.k8s.io/v1",
		"ClusterRole": "rbac.authorization.k8s.io/v1", "ValidatingWebhookConfiguration": "admissionregistration.k8s.io/v1"}[kind]
	if version == "" {
		version = "v1"
	}
	if more != "" {
		more = "," + more
	}
	return fmt.Sprintf(`{"apiVersion":%q,"kind":%q,"metadata":{"namespace":%q,"name":%q,"uid":%q,"creationTimestamp":%q%s}}`,
		version, kind, namespace, name, kind+name, made.Add(time.Duration(minutes)*time.Minute).Format(time.RFC3339), more)
}

func owner(kind, uid string) string {
	return fmt.Sprintf(`"ownerReferences":[{"kind":%q,"uid":%q,"controller":true}]`, kind, uid)
}

// foreignObjects are what may be on a cluster, and whether it belongs to the stack, which
// has ConfigMap c, Deployment d and StatefulSet s.
var foreignObjects = []struct {
	what    string
	object  string
	foreign bool
}{
	{"the stack's", configMap, false},
	{"its ReplicaSet", madeAt("ReplicaSet", "default", "d-1", 1, owner("Deployment", "d")), false},
	{"its pod", madeAt("Pod", "default", "d-1-x", 1, owner("ReplicaSet", "ReplicaSetd-1")), false},
	{"a ReplicaSet that lost it", madeAt("ReplicaSet", "default", "d-2", 1, `"labels":{"app":"a","pod-template-hash":"2"}`), false},
	{"a pod that lost its ReplicaSet", madeAt("Pod", "default", "d-2-x", 1, `"labels":{"app":"a","pod-template-hash":"2"}`), false},
	{"a pod of no ReplicaSet", madeAt("Pod", "default", "d-3-x", 1, `"labels":{"app":"a","pod-template-hash":"3"}`), true},
	{"a pod with another label", madeAt("Pod", "default", "d-2-y", 1, `"labels":{"app":"b","pod-template-hash":"2"}`), true},
	{"a pod with the app's label", madeAt("Pod", "default", "bare", 1, `"labels":{"app":"a"}`), true},
	{"a student's", madeAt("Deployment", "default", "hello", 1, ""), true},
	{"a student's ReplicaSet", madeAt("ReplicaSet", "default", "hello-1", 1, owner("Deployment", "Deploymenthello")), false},
	{"one whose owner is gone", madeAt("Pod", "default", "left", 1, owner("ReplicaSet", "nowhere")), true},
	{"one whose owner is of a kind not looked at", madeAt("Pod", "default", "other", 1, owner("Grid", "nowhere")), false},
	{"the API server's Service", madeAt("Service", "default", "kubernetes", 0, ""), false},
	{"its slice", madeAt("EndpointSlice", "default", "kubernetes", 0, ""), false},
	{"a slice by hand", madeAt("EndpointSlice", "default", "kubernetes-2", 1, ""), true},
	{"the certificate", madeAt("ConfigMap", "default", "kube-root-ca.crt", 0, ""), false},
	{"the account", madeAt("ServiceAccount", "default", "default", 0, ""), false},
	{"its token", madeAt("Secret", "default", "default-token-ab12c", 0, `"annotations":{"kubernetes.io/service-account.name":"default"}`), false},
	{"a token by hand", madeAt("Secret", "default", "mine", 1, `"annotations":{"kubernetes.io/service-account.name":"default"}`), true},
	{"what happened", madeAt("Event", "default", "e", 1, ""), false},
	{"a lease", madeAt("Lease", "default", "l", 1, ""), false},
	{"a claim of the StatefulSet's", madeAt("PersistentVolumeClaim", "default", "data-s-12", 1, ""), false},
	{"a claim beside it", madeAt("PersistentVolumeClaim", "default", "data-s-x", 1, ""), true},
	{"another stack's", madeAt("ConfigMap", "default", "claimed", 1, `"annotations":{"bootcamp/claim":"x"}`), false},
	{"one that goes", madeAt("ConfigMap", "default", "going", 1, `"deletionTimestamp":"2026-01-01T00:00:00Z"`), false},
	{"one that does not go", madeAt("ConfigMap", "default", "held", 1, `"deletionTimestamp":"2026-01-01T00:00:00Z","finalizers":["example.com/x"]`), true},
	{"a namespace", madeAt("Namespace", "", "fremd", 1, ""), true},
	{"what is in it", madeAt("Deployment", "fremd", "x", 1, ""), false},
	{"a namespace of the cluster's", madeAt("Namespace", "", "kube-system", 1, ""), false},
	{"one that was there before", madeAt("Namespace", "", "extra", -1, ""), false},
	{"a role", madeAt("ClusterRole", "", "zz", 1, ""), true},
	{"a role of before", madeAt("ClusterRole", "", "podroutes", -1, ""), false},
	{"a role of Kubernetes", madeAt("ClusterRole", "", "system:x", 1, ""), false},
	{"a webhook", madeAt("ValidatingWebhookConfiguration", "", "no", 1, ""), true},
	{"the cluster's DNS", madeAt("Deployment", "kube-system", "coredns", 1, ""), false},
	{"a student's in its namespace", madeAt("Deployment", "kube-system", "mine", 1, ""), true},
	{"a policy there", madeAt("NetworkPolicy", "kube-system", "deny", 1, ""), true},
	{"a mirror of a node's pod", madeAt("Pod", "kube-system", "etcd", 1, `"annotations":{"kubernetes.io/config.mirror":"x"}`), false},
	{"what the cluster may make there", madeAt("ConfigMap", "kube-system", "later", 1, ""), false},
}

func TestForeign(t *testing.T) {
	api := fake.NewAPIServer(t, deployment)
	want := map[string]bool{}
	for _, o := range foreignObjects {
		api.Put(t, o.object)
		if o.foreign {
			u := &unstructured.Unstructured{}
			require.NoError(t, u.UnmarshalJSON([]byte(o.object)))
			want[strings.TrimPrefix(u.GetNamespace()+"/"+u.GetName(), "/")] = true
		}
	}
	cluster := connected(t, api)
	objects := []Object{object(t, configMap), object(t, deployment), object(t, claimSet)}
	find := func(scope Scope) ([]Foreign, map[string]bool) {
		found, err := cluster.Foreign(context.Background(), scope, objects)
		require.NoError(t, err)
		names := map[string]bool{}
		for _, f := range found {
			names[strings.TrimPrefix(f.Namespace+"/"+f.Name, "/")] = true
		}
		return found, names
	}
	found, names := find(Scope{Namespace: "default", Own: true, Since: made})
	assert.Equal(t, want, names)
	_, names = find(Scope{Namespace: "default", Own: true})
	for name := range names {
		assert.True(t, strings.HasPrefix(name, "default/"), "%s: when the cluster was made is not known", name)
	}
	for _, f := range found {
		if f.Name == "hello" {
			assert.Equal(t, "Deployment hello", f.String())
		}
		if f.Name == "mine" && f.Kind == "Deployment" {
			assert.Equal(t, "Deployment kube-system/mine", f.String())
		}
	}

	for _, err := range cluster.Remove(context.Background(), found) {
		require.NoError(t, err)
	}
	for _, o := range foreignObjects {
		u := &unstructured.Unstructured{}
		require.NoError(t, u.UnmarshalJSON([]byte(o.object)))
		if _, at := find(Scope{Namespace: "default", Own: true, Since: made}); o.foreign {
			assert.NotContains(t, at, u.GetNamespace()+"/"+u.GetName(), o.what)
		}
	}
	assert.True(t, api.Has(configMapAt))
	assert.True(t, api.Has("/apis/rbac.authorization.k8s.io/v1/clusterroles/podroutes"))
}

// On a shared cluster only what the student may make can be the student's.
// A cluster's clock may be another than this machine's, by which the state has its times.
func TestForeignByTheClustersClock(t *testing.T) {
	const ahead = time.Hour
	for name, c := range map[string]struct {
		minutes int // after the cluster was made, by this machine
		foreign bool
	}{"before": {-1, false}, "after": {1, true}} {
		created := made.Add(ahead + time.Duration(c.minutes)*time.Minute)
		api := fake.NewAPIServer(t, `{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRole","metadata":{"name":"r","creationTimestamp":"`+created.UTC().Format(time.RFC3339)+`"}}`)
		api.Ahead = ahead
		found, err := connected(t, api).Foreign(context.Background(), Scope{Namespace: "default", Own: true, Since: made}, nil)
		require.NoError(t, err)
		if !c.foreign {
			assert.Empty(t, found, name)
			continue
		}
		require.Len(t, found, 1, name)
		assert.WithinDuration(t, made.Add(time.Minute), found[0].Created, 5*time.Second, "its age is told by this machine's clock")
	}
}

func TestForeignOnASharedCluster(t *testing.T) {
	role := `{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role","metadata":{"name":"student","namespace":"n"},"rules":[
		{"apiGroups":["apps"],"resources":["deployments"],"verbs":["create","get"]},{"apiGroups":[""],"resources":["secrets"],"verbs":["get"]},
		{"apiGroups":[""],"resources":["serviceaccounts"],"resourceNames":["x"],"verbs":["create"]}]}`
	api := fake.NewAPIServer(t, role, madeAt("Deployment", "n", "hello", 1, ""), madeAt("Deployment", "m", "theirs", 1, ""), madeAt("Secret", "n", "classes", 1, ""),
		madeAt("NetworkPolicy", "n", "admins", 1, ""), madeAt("ServiceAccount", "n", "y", 1, ""), madeAt("Namespace", "", "fremd", 1, ""), madeAt("ReplicaSet", "n", "orphan", 1, ""))
	cluster := connected(t, api)
	for _, c := range []struct {
		objects []Object
		want    []string
	}{
		{[]Object{object(t, role)}, []string{"Deployment hello", "ReplicaSet orphan"}},
		{nil, nil},
	} {
		found, err := cluster.Foreign(context.Background(), Scope{Namespace: "n", Since: made}, c.objects)
		require.NoError(t, err)
		var names []string
		for _, f := range found {
			names = append(names, f.String())
		}
		assert.Equal(t, c.want, names)
	}
}

func TestNodes(t *testing.T) {
	node := func(name, labels, spec string) string {
		return fmt.Sprintf(`{"apiVersion":"v1","kind":"Node","metadata":{"name":%q,"labels":{%s}},"spec":{%s}}`, name, labels, spec)
	}
	const master = `{"key":"node-role.kubernetes.io/master","effect":"NoSchedule"}`
	api := fake.NewAPIServer(t,
		node("a", `"node-role.kubernetes.io/control-plane":""`, `"taints":[`+master+`]`),
		node("b", "", `"unschedulable":true,"taints":[{"key":"node.kubernetes.io/unschedulable","effect":"NoSchedule"}]`),
		node("c", "", `"taints":[`+master+`,{"key":"a","value":"b","effect":"NoExecute"}]`))
	cluster := connected(t, api)
	did, err := cluster.Nodes(context.Background())
	require.NoError(t, err)
	assert.Len(t, did, 3)
	taints := func(name string) []any {
		list, _, _ := unstructured.NestedSlice(api.Get("/api/v1/nodes/"+name).Object, "spec", "taints")
		return list
	}
	assert.Len(t, taints("a"), 1)
	assert.Len(t, taints("b"), 1, "Kubernetes takes its own off")
	assert.NotContains(t, api.Get("/api/v1/nodes/b").Object["spec"], "unschedulable")
	assert.Empty(t, taints("c"))
	did, err = cluster.Nodes(context.Background())
	require.NoError(t, err)
	assert.Empty(t, did)
}

func TestPods(t *testing.T) {
	set := `{"apiVersion":"apps/v1","kind":"ReplicaSet","metadata":{"name":"d-1","namespace":"default","uid":"rs","ownerReferences":[{"kind":"Deployment","uid":"d","controller":true}]},
		"spec":{"template":{"metadata":{"labels":{"app":"a"}},"spec":{"containers":[{"name":"c","image":"i:1"}]}}}}`
	pod := func(name, labels, more, status string) string {
		if more != "" {
			more = "," + more
		}
		return fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":%q,"namespace":"default","labels":{"app":"a","pod-template-hash":"1"%s},"ownerReferences":[{"kind":"ReplicaSet","uid":"rs","controller":true}]},
			"spec":{"containers":[{"name":"c","image":"i:1"}]%s},"status":{%s}}`, name, labels, more, status)
	}
	waiting := func(reason string) string {
		return fmt.Sprintf(`"containerStatuses":[{"name":"c","state":{"waiting":{"reason":%q}}}]`, reason)
	}
	mounted := `"volumes":[{"name":"v","configMap":{"name":"c"}}]`
	token := `"serviceAccountName":"s","volumes":[{"name":"t","projected":{"sources":[{"serviceAccountToken":{"path":"token"}}]}}]`
	since := func(pod, made string) string {
		return strings.Replace(pod, `"metadata":{`, `"metadata":{"creationTimestamp":"2026-01-01T`+made+`Z",`, 1)
	}
	runs := func(since string) string {
		return `"containerStatuses":[{"name":"c","ready":true,"state":{"running":{"startedAt":"2026-01-01T` + since + `Z"}}}]`
	}
	api := fake.NewAPIServer(t, deployment, set, `{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"s","namespace":"default","creationTimestamp":"2026-01-01T12:00:00Z"}}`)
	api.Put(t, `{"apiVersion":"v1","kind":"Service","metadata":{"name":"kubernetes","namespace":"default","creationTimestamp":"2026-01-01T13:00:00Z"}}`)
	for _, c := range []struct {
		pod  string
		goes bool
	}{
		{pod("well", "", "", ""), false},
		{pod("starting", "", "", waiting("ContainerCreating")), false},
		{pod("missed", "", mounted, `"startTime":"2026-01-01T00:00:00Z",`+waiting("ContainerCreating")), true},
		{pod("crashing", "", "", waiting("CrashLoopBackOff")), true},
		{pod("evicted", "", "", `"phase":"Failed"`), true},
		{pod("reader", "", mounted, ""), true},
		{pod("variables", "", `"initContainers":[{"name":"i","envFrom":[{"configMapRef":{"name":"c"}}]}]`, ""), true},
		{pod("other-reader", "", `"volumes":[{"name":"v","secret":{"secretName":"c"}}]`, ""), false},
		{since(pod("older-than-its-account", "", token, ""), "11:00:00"), true},
		{since(pod("as-old-as-its-account", "", token, ""), "12:00:00"), false},
		{since(pod("begun-before-the-api-servers-service", "", token, runs("13:00:00")), "12:59:59"), true},
		{since(pod("begun-after-the-api-servers-service", "", token, runs("13:00:01")), "12:59:59"), false},
		{pod("asks-no-api-server", "", "", runs("12:59:59")), false},
		{since(pod("without-a-token", "", `"serviceAccountName":"s"`, ""), "11:00:00"), false},
		{pod("debugged", "", `"ephemeralContainers":[{"name":"e"}]`, ""), true},
		{pod("labelled", `,"x":"y"`, "", ""), false},
		{strings.Replace(pod("another-image", "", "", ""), "i:1", "i:2", 1), true},
		{strings.Replace(pod("nobodys", "", "", waiting("CrashLoopBackOff")), `"rs"`, `"other"`, 1), false},
	} {
		api.Put(t, c.pod)
		u := &unstructured.Unstructured{}
		require.NoError(t, u.UnmarshalJSON([]byte(c.pod)))
		t.Run(u.GetName(), func(t *testing.T) {
			_, err := connected(t, api).Pods(context.Background(), Scope{Own: true}, []Object{object(t, deployment)}, []Object{object(t, configMap)})
			require.NoError(t, err)
			assert.Equal(t, !c.goes, api.Has("/api/v1/namespaces/default/pods/"+u.GetName()))
		})
	}
	assert.Equal(t, map[string]string{"app": "a", "pod-template-hash": "1"}, api.Get("/api/v1/namespaces/default/pods/labelled").GetLabels())

	// On a shared cluster a label may be its own.
	api.Put(t, pod("labelled", `,"x":"y"`, "", ""))
	_, err := connected(t, api).Pods(context.Background(), Scope{}, []Object{object(t, deployment)}, nil)
	require.NoError(t, err)
	assert.Equal(t, "y", api.Get("/api/v1/namespaces/default/pods/labelled").GetLabels()["x"])
}

// Pods of Deployments leave the nodes that do not run: those of the stack, and no others.
func TestEvacuate(t *testing.T) {
	pod := func(name, node, kind, owner string) string {
		return fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":%q,"namespace":"default","uid":%q,"ownerReferences":[{"kind":%q,"uid":%q,"controller":true}]},
			"spec":{"nodeName":%q,"containers":[{"name":"c","image":"i:1"}]}}`, name, name, kind, owner, node)
	}
	const set = `{"apiVersion":"apps/v1","kind":"ReplicaSet","metadata":{"name":"d-1","namespace":"default","uid":"rs","ownerReferences":[{"kind":"Deployment","uid":"d","controller":true}]}}`
	claims := with(t, claimSet, "metadata|uid", `"ss"`)
	api := fake.NewAPIServer(t, deployment, set, claims,
		pod("here", "stopped", "ReplicaSet", "rs"), pod("there", "runs", "ReplicaSet", "rs"),
		pod("with-data", "stopped", "StatefulSet", "ss"), pod("nobodys", "stopped", "ReplicaSet", "other"))
	for _, stopped := range []string{"", "stopped"} {
		did, err := connected(t, api).Evacuate(context.Background(), strings.Fields(stopped), []Object{object(t, deployment), object(t, claims)})
		require.NoError(t, err)
		assert.Equal(t, stopped != "", slices.Equal([]string{"pod here is another now: its node stopped was stopped"}, did))
		for _, name := range []string{"here", "there", "with-data", "nobodys"} {
			assert.Equal(t, name != "here" || stopped == "", api.Has("/api/v1/namespaces/default/pods/"+name), name)
		}
	}
}

// What waits for others to be asked is made before them.
func TestMakeInOrder(t *testing.T) {
	var made []string
	api := fake.NewAPIServer(t)
	api.Created = func(o *unstructured.Unstructured) { made = append(made, o.GetKind()+" "+o.GetName()) }
	named := func(name string) Object {
		return object(t, with(t, deployment, "metadata|name", fmt.Sprintf("%q", name)))
	}
	var gone []Object
	for i := range 2 * atOnce { // more than are made at a time
		gone = append(gone, named(fmt.Sprint("d", i)))
	}
	gone = append(gone, named("prometheus"), object(t, configMap), object(t, `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"n"}}`))
	require.NoError(t, connected(t, api).Make(context.Background(), gone))
	require.Len(t, made, len(gone))
	assert.Equal(t, []string{"Namespace n", "ConfigMap c", "Deployment prometheus"}, made[:3])
}

// A workload that lacks pods has its controller look again, and bears no trace of it.
func TestNudge(t *testing.T) {
	set := `{"apiVersion":"apps/v1","kind":"ReplicaSet","metadata":{"name":"d-1","namespace":"default","uid":"rs","ownerReferences":[{"kind":"Deployment","uid":"d","controller":true}]},"spec":{"replicas":2},"status":{"replicas":%d}}`
	const at = "/apis/apps/v1/namespaces/default/replicasets/d-1"
	for has, nudged := range map[int]bool{0: true, 2: false} {
		api := fake.NewAPIServer(t, with(t, deployment, "status|replicas", fmt.Sprint(has)), fmt.Sprintf(set, has))
		require.NoError(t, connected(t, api).Nudge(context.Background(), []Object{object(t, deployment)}))
		assert.Equal(t, nudged, api.Get(at).GetResourceVersion() != "")
		assert.Empty(t, api.Get(at).GetAnnotations())
		assert.Empty(t, api.Get(deploymentAt).GetResourceVersion(), "its annotations would go down to the ReplicaSet")
	}
}

// What a controller writes beside an edit stays, and what it counts is no edit.
func TestWhatControllersWrite(t *testing.T) {
	const revision = "deployment.kubernetes.io/revision"
	live := with(t, deployment, "metadata|annotations|"+revision, `"7"`)
	api := fake.NewAPIServer(t, with(t, live, "spec|replicas", `0`))
	cluster := connected(t, api)
	wanted := []Object{object(t, deployment)}
	found, err := cluster.Compare(context.Background(), wanted)
	require.NoError(t, err)
	_, err = cluster.PutRight(context.Background(), found.Edits)
	require.NoError(t, err)
	assert.Equal(t, "7", api.Get(deploymentAt).GetAnnotations()[revision])

	api.Refuses = func(_, now *unstructured.Unstructured) int { // it refuses none, and counts
		now.SetAnnotations(map[string]string{revision: "8"})
		return 0
	}
	found, err = cluster.Compare(context.Background(), wanted)
	require.NoError(t, err)
	assert.Empty(t, found.Edits)
}
