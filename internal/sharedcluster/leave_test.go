package sharedcluster

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/internal/fake"
)

var aliceOwns = []Object{namespace, binding, account}

const (
	accountPath = "/api/v1/namespaces/bootcamp-platform/serviceaccounts/bootcamp-alice"
	rightsPath  = "/apis/rbac.authorization.k8s.io/v1/namespaces/bootcamp-alice/rolebindings/student"
)

// student are alice's namespace, account and rights, all with a claim.
func student(claim string) []string {
	return []string{
		namespaceOf(claimed(claim)), bindingOf(claimed(claim), ""),
		`{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"namespace":"bootcamp-platform","name":"bootcamp-alice","annotations":{` + claimed(claim) + `}}}`,
		`{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"RoleBinding","metadata":{"namespace":"bootcamp-alice","name":"student"}}`,
	}
}

// left is what a student has left in the namespace: an object with more metadata, and
// a specification.
func left(apiVersion, kind, metadata, spec string) string {
	return fmt.Sprintf(`{"apiVersion":%q,"kind":%q,"metadata":{"namespace":"bootcamp-alice","name":"left"%s},"spec":{%s}}`, apiVersion, kind, metadata, spec)
}

var mine = Claim{Mark: "c1", Cluster: "this-one"}

// TestLeaveStudent: whatever a student left, the access goes first and the namespace
// at last; what is the cluster's own to finish is waited for, and named.
func TestLeaveStudent(t *testing.T) {
	const finalizer, cloud = `,"finalizers":["example.com/never"]`, `,"finalizers":["service.kubernetes.io/load-balancer-cleanup"]`
	for name, c := range map[string]struct {
		left  string
		stays string // in the error; empty is nothing
	}{
		"nothing":                            {left("v1", "ConfigMap", "", ""), ""},
		"a finalizer on a ConfigMap":         {left("v1", "ConfigMap", finalizer, ""), ""},
		"a finalizer on a pod":               {left("v1", "Pod", finalizer, ""), ""},
		"a finalizer on a Deployment":        {left("apps/v1", "Deployment", finalizer, ""), ""},
		"a finalizer on an account":          {left("v1", "ServiceAccount", finalizer, ""), ""},
		"a finalizer on a Service":           {left("v1", "Service", finalizer, ""), ""},
		"a cloud's finalizer on a ConfigMap": {left("v1", "ConfigMap", cloud, ""), ""},
		"a foreground deletion":              {left("apps/v1", "DaemonSet", `,"finalizers":["foregroundDeletion"]`, ""), ""},
		"a grace of a day":                   {left("v1", "Pod", "", `"terminationGracePeriodSeconds":86400`), ""},
		"a load balancer":                    {left("v1", "Service", cloud, `"type":"LoadBalancer"`), "services left (finalizer service.kubernetes.io/load-balancer-cleanup, which is the cluster's own to take off)"},
		"what is not the student's":          {left("networking.k8s.io/v1", "NetworkPolicy", finalizer, ""), "networkpolicies left (finalizer example.com/never, which is the cluster's own to take off)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api, server, log := client(t, append(student("c1"), c.left)...)
			err := api.LeaveStudent(t.Context(), mine, aliceOwns, "bootcamp-alice")
			assert.False(t, server.Has(accountPath), "the student still has access")
			assert.False(t, server.Has(rightsPath), "the student still has rights")
			assert.False(t, server.Has(bindingPath))
			if c.stays == "" {
				require.NoError(t, err)
				assert.False(t, server.Has(namespacePath))
				return
			}
			require.ErrorContains(t, err, c.stays)
			assert.Contains(t, log.String(), c.stays, "it is said before the end")
			assert.True(t, server.Has(namespacePath))
		})
	}
}

// TestLeaveTouchesNothing where anything is not the stack's own.
func TestLeaveTouchesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		claim   Claim
		objects []string
		says    string
	}{
		"another cluster":       {Claim{"c1", "another"}, student("c1"), "this is another cluster than the stack's"},
		"another's namespace":   {mine, append(student("c1"), namespaceOf(claimed("c2"))), "namespaces/bootcamp-alice exists already"},
		"a binding of nobody's": {mine, append(student("c1"), bindingOf("", "")), "clusterrolebindings/bootcamp-alice-nodes exists already"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api, server, _ := client(t, c.objects[:4]...)
			server.Put(t, c.objects[4:]...)
			require.ErrorContains(t, api.LeaveStudent(t.Context(), c.claim, aliceOwns, "bootcamp-alice"), c.says)
			for _, path := range []string{namespacePath, bindingPath, accountPath, rightsPath} {
				assert.True(t, server.Has(path), path)
			}
		})
	}
}

// TestLeaveAgain: what a leave that failed has done is done, and the next goes on.
func TestLeaveAgain(t *testing.T) {
	api, server, _ := client(t, student("c1")...)
	server.Fail("DELETE "+accountPath, http.StatusForbidden)
	require.ErrorContains(t, api.LeaveStudent(t.Context(), mine, aliceOwns, "bootcamp-alice"), account.String())
	assert.True(t, server.Has(namespacePath), "the namespace goes after the access")
	server.Answer("DELETE "+accountPath, nil)
	require.NoError(t, api.LeaveStudent(t.Context(), mine, aliceOwns, "bootcamp-alice"))
	require.NoError(t, api.LeaveStudent(t.Context(), mine, aliceOwns, "bootcamp-alice"), "nothing is left to do")

	_, err := Connect(Access{Kubeconfig: "/none", Context: "x"}, nil)
	assert.Error(t, err)
}

// TestLeaveOfASilentCluster ends before the time is over, and says why.
func TestLeaveOfASilentCluster(t *testing.T) {
	finalizer := left("v1", "ConfigMap", `,"finalizers":["example.com/never"]`, "")
	for request, says := range map[string]string{
		"GET /api/v1/namespaces/bootcamp-alice/configmaps":        "listing configmaps in namespace bootcamp-alice",
		"PATCH /api/v1/namespaces/bootcamp-alice/configmaps/left": "service unavailable",
	} {
		t.Run(request, func(t *testing.T) {
			t.Parallel()
			api, server, _ := client(t, append(student("c1"), finalizer)...)
			server.Fail(request, http.StatusServiceUnavailable)
			begin := time.Now()
			err := api.LeaveStudent(t.Context(), mine, aliceOwns, "bootcamp-alice")
			require.ErrorContains(t, err, says)
			assert.Less(t, time.Since(begin), goneTicks*api.tick)
			assert.False(t, server.Has(accountPath))

			server.Answer(request, nil)
			require.NoError(t, api.LeaveStudent(t.Context(), mine, aliceOwns, "bootcamp-alice"))
			assert.False(t, server.Has(namespacePath))
		})
	}
}

func TestLeavePlatform(t *testing.T) {
	owned := []Object{{Resource: "namespaces", Name: "bootcamp-platform"}}
	platform := `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"bootcamp-platform","annotations":{` + claimed("c1") + `}}}`
	api, server, _ := client(t, platform)
	require.NoError(t, api.LeavePlatform(t.Context(), mine, owned))

	server.Put(t, `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"bootcamp-bob","labels":{"bootcamp/student":"true"},"annotations":{"bootcamp/stack":"organization/bootcamp/bob"}}}`)
	var students *StudentsError
	require.ErrorAs(t, api.LeavePlatform(t.Context(), mine, owned), &students)
	assert.Equal(t, []string{"bootcamp-bob (stack organization/bootcamp/bob)"}, students.Students)
	assert.True(t, server.Has("/api/v1/namespaces/bootcamp-platform"), "a look removes nothing")
}

func TestPortFree(t *testing.T) {
	pod := func(namespace, spec string) string {
		return fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"namespace":%q,"name":"exporter-1"},"spec":{"nodeName":"n1",%s}}`, namespace, spec)
	}
	const onHost = `"hostNetwork":true,"containers":[{"name":"c","ports":[{"containerPort":9100}]}]`
	for name, c := range map[string]struct {
		pod   string
		taken bool
	}{
		"a port of the pod alone":  {pod("monitoring", `"containers":[{"name":"c","ports":[{"containerPort":9100}]}]`), false},
		"a host port":              {pod("monitoring", `"containers":[{"name":"c","ports":[{"containerPort":80,"hostPort":9100}]}]`), true},
		"the host's network":       {pod("monitoring", onHost), true},
		"another port":             {pod("monitoring", `"hostNetwork":true,"containers":[{"name":"c","ports":[{"containerPort":9101}]}]`), false},
		"the class's own exporter": {pod("bootcamp-platform", onHost), false},
	} {
		t.Run(name, func(t *testing.T) {
			api, _, _ := client(t, c.pod)
			err := api.PortFree(t.Context(), 9100, "bootcamp-platform")
			if !c.taken {
				require.NoError(t, err)
				return
			}
			var taken *PortTakenError
			require.ErrorAs(t, err, &taken)
			assert.Equal(t, PortTakenError{9100, "monitoring/exporter-1", "n1"}, *taken)
		})
	}
}

func TestFacts(t *testing.T) {
	node := func(name, address string) string {
		return fmt.Sprintf(`{"apiVersion":"v1","kind":"Node","metadata":{"name":%q},"status":{"addresses":[{"type":"Hostname","address":%q},{"type":"InternalIP","address":%q}]}}`, name, name, address)
	}
	dns := func(name, ip string, port int) string {
		return fmt.Sprintf(`{"apiVersion":"v1","kind":"Service","metadata":{"namespace":"kube-system","name":%q},"spec":{"clusterIP":%q,"clusterIPs":[%q],"ports":[{"port":%d}]}}`, name, ip, ip, port)
	}
	api, server, _ := client(t, node("b", "192.0.2.12"), node("a", "192.0.2.11"),
		dns("rke2-coredns", "198.51.100.10", 53), dns("metrics-server", "198.51.100.11", 443), dns("headless", "None", 53),
		`{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","metadata":{"namespace":"default","name":"kubernetes"},"addressType":"IPv4","endpoints":[{"addresses":["192.0.2.1"]}],"ports":[{"name":"https","port":6443}]}`,
		namespaceOf(claimed("c1")+`,"bootcamp/stack":"organization/bootcamp/alice"`))
	f, err := api.facts(t.Context(), aliceOwns, true)
	require.NoError(t, err)
	assert.Equal(t, &Facts{
		ID: "this-one", APIServer: []string{"192.0.2.1"}, APIServerPorts: []int{6443}, DNS: []string{"198.51.100.10"}, Nodes: []string{"192.0.2.11", "192.0.2.12"},
		Owners: []Owner{{namespace, "c1", "organization/bootcamp/alice", "stack organization/bootcamp/alice"}},
	}, f)

	server.Put(t, `{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"namespace":"default","name":"default"}}`)
	platform, err := api.facts(t.Context(), nil, false)
	require.NoError(t, err)
	assert.Equal(t, &Facts{ID: "this-one", Audiences: []string{fake.Audience}}, platform)

	assert.NoError(t, f.Mine("c1 this-one"))
	assert.NoError(t, f.Mine("c1"), "a claim of an earlier version knows no cluster")
	var another *AnotherClusterError
	require.ErrorAs(t, f.Mine("c1 that-one"), &another)
	assert.Equal(t, AnotherClusterError{Was: "that-one", Is: "this-one"}, *another)
	var taken *TakenError
	require.ErrorAs(t, f.Mine("c2 this-one"), &taken)
	require.ErrorAs(t, f.Mine(""), &taken)

	server.Fail("GET /api/v1/nodes", http.StatusServiceUnavailable)
	_, err = api.facts(t.Context(), aliceOwns, true)
	assert.Error(t, err)
}

func TestClaim(t *testing.T) {
	fresh := Claim{Mark: "c1"}
	api, _, _ := client(t)
	got, err := api.Claim(t.Context(), fresh, aliceOwns, nil)
	require.NoError(t, err)
	assert.Equal(t, mine, got)
	assert.Equal(t, mine, ParseClaim(got.String()+"\n"))

	_, err = api.Claim(t.Context(), fresh, nil, []Object{binding})
	var missing *MissingError
	assert.ErrorAs(t, err, &missing)
	_, err = api.Claim(t.Context(), Claim{"c1", "another"}, nil, nil)
	var another *AnotherClusterError
	assert.ErrorAs(t, err, &another)

	api, _, _ = client(t, student("c1")...)
	got, err = api.Claim(t.Context(), mine, aliceOwns, nil)
	require.NoError(t, err, "once more is the same")
	assert.Equal(t, mine, got)
	_, err = api.Claim(t.Context(), Claim{Mark: "c2"}, aliceOwns, nil)
	var taken *TakenError
	assert.ErrorAs(t, err, &taken)
}
