package check

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	authorizationv1 "k8s.io/api/authorization/v1"

	"k8sbootcamp/internal/fake"
)

// Paths of the lab's objects.
const (
	deployment = "/apis/apps/v1/namespaces/default/deployments/bootcamp"
	pods       = "/api/v1/namespaces/default/pods"
	app        = "GET /api/v1/namespaces/default/services/bootcamp-svc/proxy/"
	targets    = "GET /api/v1/namespaces/default/services/prometheus:http/proxy/api/v1/targets"
)

func node(name, ready string) string {
	return `{"apiVersion":"v1","kind":"Node","metadata":{"name":"` + name + `"},"status":{"conditions":[{"type":"Ready","status":"` + ready + `"}]}}`
}

// lease is one that was renewed so long ago.
func lease(namespace, name string, ago time.Duration) string {
	return `{"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"namespace":"` + namespace + `","name":"` + name + `"},` +
		`"spec":{"renewTime":"` + time.Now().Add(-ago).UTC().Format("2006-01-02T15:04:05.000000Z") + `"}}`
}

func pod(name string) string {
	return `{"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"default","name":"` + name + `","labels":{"app":"bootcamp"}},` +
		`"status":{"conditions":[{"type":"Ready","status":"True"}]}}`
}

func deploymentOf(replicas, available string) string {
	return `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"namespace":"default","name":"bootcamp","generation":2},` +
		`"spec":{"replicas":` + replicas + `},"status":{"observedGeneration":2,"availableReplicas":` + available + `}}`
}

func target(job, health string) string {
	return `{"labels":{"job":"` + job + `"},"health":"` + health + `","lastError":"no route","scrapeUrl":"http://x/` + job + `"}`
}

func answer(targets ...string) string {
	out := `{"data":{"activeTargets":[`
	for i, s := range targets {
		if i > 0 {
			out += ","
		}
		out += s
	}
	return out + "]}}"
}

// lab is a cluster of two nodes with the whole course in it, where a deleted pod
// comes back.
func lab(t *testing.T) *fake.APIServer {
	s := fake.NewAPIServer(t, node("a", "True"), node("b", "True"),
		deploymentOf("2", "2"), pod("one"), pod("two"),
		`{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"namespace":"default","name":"prometheus"}}`)
	s.Say(app, "CLIENT VALUES:\nmore")
	s.Say(targets, answer(target("apiserver", "up"), target("node-exporter", "up"), target("node-exporter", "up"), target("prometheus", "up")))
	s.Answer("DELETE "+pods+"/one", func(w http.ResponseWriter, _ *http.Request) {
		s.Delete(pods + "/one")
		s.Put(t, pod("three"))
		_, _ = w.Write([]byte("{}"))
	})
	return s
}

// run asks everything, and gives the questions that were not answered well.
func run(t *testing.T, s *fake.APIServer) (failed []string) {
	t.Helper()
	all := Run(t.Context(), Options{Kubeconfig: s.Kubeconfig("x"), Monitoring: true, Disrupt: true, Patience: 2 * time.Second})
	for _, r := range all {
		if !r.OK {
			failed = append(failed, r.Question)
			assert.NotEmpty(t, r.Detail, r.Question)
		}
		t.Logf("%t %s: %s", r.OK, r.Question, r.Detail)
	}
	assert.Len(t, Failed(all), len(failed))
	return failed
}

func TestHealthy(t *testing.T) {
	all := Run(t.Context(), Options{Kubeconfig: lab(t).Kubeconfig("x"), Monitoring: true, Disrupt: true})
	var asked []string
	for _, r := range all {
		asked = append(asked, r.Question)
		assert.True(t, r.OK, "%s: %s", r.Question, r.Detail)
	}
	assert.Equal(t, []string{Nodes, Pods, Answers, ComesBack, Targets, Account}, asked)
}

// TestFewerQuestions: what is not there is not asked for, and a check is gentle
// unless it is told otherwise.
func TestFewerQuestions(t *testing.T) {
	s := lab(t)
	s.Fail(targets, http.StatusServiceUnavailable)
	var asked []string
	for _, r := range Run(t.Context(), Options{Kubeconfig: s.Kubeconfig("x")}) {
		asked = append(asked, r.Question)
		assert.True(t, r.OK, "%s: %s", r.Question, r.Detail)
	}
	assert.Equal(t, []string{Nodes, Pods, Answers}, asked)
	assert.True(t, s.Has(pods+"/one"), "a pod was deleted")
}

// TestFaults: each fault fails its own questions and no other.
func TestFaults(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(t *testing.T, s *fake.APIServer)
		want  []string
	}{
		"a node is not Ready": {func(t *testing.T, s *fake.APIServer) { s.Put(t, node("b", "Unknown")) }, []string{Nodes}},
		"a node is Ready and silent": {func(t *testing.T, s *fake.APIServer) {
			s.Put(t, lease("kube-node-lease", "a", 2*time.Second), lease("kube-node-lease", "b", 2*time.Minute))
		}, []string{Nodes}},
		"no scheduler": {func(t *testing.T, s *fake.APIServer) { s.Put(t, lease("kube-system", "kube-scheduler", time.Minute)) }, []string{Nodes}},
		"a lease that is not asked for": {func(t *testing.T, s *fake.APIServer) {
			s.Put(t, lease("kube-node-lease", "a", 10*time.Second), lease("kube-system", "somebody", time.Hour))
		}, nil},
		"a node is late, and renews": {func(t *testing.T, s *fake.APIServer) {
			s.Put(t, lease("kube-node-lease", "a", 20*time.Second))
			time.AfterFunc(time.Second, func() { s.Put(t, lease("kube-node-lease", "a", 0)) })
		}, nil},
		"a node is late, and does not": {func(t *testing.T, s *fake.APIServer) { s.Put(t, lease("kube-node-lease", "a", 38*time.Second)) }, []string{Nodes}},
		"leases are hidden": {func(t *testing.T, s *fake.APIServer) {
			s.Put(t, lease("kube-node-lease", "a", time.Hour))
			s.Fail("GET /apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases", http.StatusForbidden)
		}, nil},
		"nodes are hidden": {func(_ *testing.T, s *fake.APIServer) { s.Fail("GET /api/v1/nodes", http.StatusForbidden) },
			[]string{Nodes, Targets}},
		"a pod is missing": {func(t *testing.T, s *fake.APIServer) { s.Put(t, deploymentOf("2", "1")) }, []string{Pods}},
		"a change that nobody has seen": {func(t *testing.T, s *fake.APIServer) {
			s.Put(t, `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"namespace":"default","name":"bootcamp","generation":3},`+
				`"spec":{"replicas":2},"status":{"observedGeneration":2,"availableReplicas":2}}`)
		}, []string{Pods}},
		"the app is gone": {func(_ *testing.T, s *fake.APIServer) { s.Delete(deployment) }, []string{Pods, Answers, ComesBack}},
		"the app does not answer": {func(_ *testing.T, s *fake.APIServer) { s.Fail(app, http.StatusServiceUnavailable) },
			[]string{Answers}},
		"the app answers nothing": {func(_ *testing.T, s *fake.APIServer) { s.Say(app, "") }, []string{Answers}},
		"no pod comes back": {func(_ *testing.T, s *fake.APIServer) {
			s.Answer("DELETE "+pods+"/one", func(w http.ResponseWriter, _ *http.Request) { s.Delete(pods + "/one") })
		}, []string{ComesBack}},
		"a pod is not deleted": {func(_ *testing.T, s *fake.APIServer) {
			s.Answer("DELETE "+pods+"/one", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{}")) })
		}, []string{ComesBack}},
		"a pod comes back and another does not": {func(t *testing.T, s *fake.APIServer) { s.Put(t, deploymentOf("3", "3")) },
			[]string{ComesBack}},
		"a target is down": {func(_ *testing.T, s *fake.APIServer) {
			s.Say(targets, answer(target("apiserver", "up"), target("node-exporter", "up"), target("node-exporter", "down"), target("prometheus", "up")))
		}, []string{Targets}},
		"a target is missing": {func(_ *testing.T, s *fake.APIServer) {
			s.Say(targets, answer(target("apiserver", "up"), target("node-exporter", "up"), target("prometheus", "up")))
		}, []string{Targets}},
		"Prometheus has no account": {func(_ *testing.T, s *fake.APIServer) {
			s.Delete("/api/v1/namespaces/default/serviceaccounts/prometheus")
		}, []string{Account}},
		"Prometheus may delete": {func(_ *testing.T, s *fake.APIServer) {
			s.Allowed = func(string, *authorizationv1.ResourceAttributes) bool { return true }
		}, []string{Account}},
		"Prometheus may not list": {func(_ *testing.T, s *fake.APIServer) {
			s.Allowed = func(string, *authorizationv1.ResourceAttributes) bool { return false }
		}, []string{Account}},
		"only the asker may list": {func(_ *testing.T, s *fake.APIServer) {
			s.Allowed = func(token string, a *authorizationv1.ResourceAttributes) bool {
				return token != fake.Token("default", "prometheus") && a.Verb == "list"
			}
		}, []string{Account}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := lab(t)
			c.spoil(t, s)
			assert.Equal(t, c.want, run(t, s))
		})
	}
}

// TestMissingExporterNamesTheNode: Kubernetes 1.24 has a taint that the text's
// node-exporter does not tolerate.
func TestMissingExporterNamesTheNode(t *testing.T) {
	t.Parallel()
	s := lab(t)
	s.Say(targets, answer(target("apiserver", "up"), target("node-exporter", "up"), target("node-exporter", "down"), target("prometheus", "up")))
	s.Put(t, `{"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"default","name":"e","labels":{"app":"node-exporter"}},"spec":{"nodeName":"b"}}`)
	var detail string
	for _, r := range Run(t.Context(), Options{Kubeconfig: s.Kubeconfig("x"), Monitoring: true, Patience: time.Millisecond}) {
		if r.Question == Targets {
			detail = r.Detail
		}
	}
	assert.Contains(t, detail, "no node-exporter runs on a")
}

// TestNothingWanted: an app of no pods has none to answer or to come back.
func TestNothingWanted(t *testing.T) {
	s := lab(t)
	s.Put(t, deploymentOf("0", "0"))
	s.Fail(app, http.StatusServiceUnavailable)
	assert.Empty(t, run(t, s))
	assert.True(t, s.Has(pods+"/one"))
}

func TestCompareTargets(t *testing.T) {
	want := map[string]int{"a": 1, "b": 2}
	compare := func(targets ...string) error { return compareTargets([]byte(answer(targets...)), want) }
	a, b := target("a", "up"), target("b", "up")
	assert.NoError(t, compare(a, b, b))
	assert.ErrorContains(t, compare(a, b, target("b", "down")), "http://x/b")
	assert.ErrorContains(t, compare(a, b), "b 1")
	assert.ErrorContains(t, compare(a, b, b, target("c", "up")), "c 1")
	assert.Error(t, compare())
	assert.Error(t, compareTargets([]byte("<html>"), want))
}

func TestUnusableKubeconfig(t *testing.T) {
	for name, raw := range map[string]string{"empty": "", "no YAML": "{", "no clusters": "apiVersion: v1\nkind: Config\n"} {
		t.Run(name, func(t *testing.T) {
			got := Run(t.Context(), Options{Kubeconfig: []byte(raw)})
			require.Len(t, got, 1)
			assert.Equal(t, Usable, got[0].Question)
			assert.False(t, got[0].OK)
			assert.Equal(t, got, Failed(got))
			assert.NotEmpty(t, got[0].Detail)
		})
	}
}

// TestAccountAlone: Prometheus's rights are asked for with its token alone, not
// with what the asker has besides.
func TestAccountAlone(t *testing.T) {
	kubeconfig := strings.Replace(string(lab(t).Kubeconfig("x")), "user: {}", "user: {username: admin, password: secret}", 1)
	all := Run(t.Context(), Options{Kubeconfig: []byte(kubeconfig), Monitoring: true})
	require.Len(t, all, 5)
	assert.Empty(t, Failed(all))
}

// TestContext: the context that is asked for is the one that is used.
func TestContext(t *testing.T) {
	s := lab(t)
	ask := func(context string) []string {
		var failed []string
		for _, r := range Failed(Run(t.Context(), Options{Kubeconfig: s.Kubeconfig("x"), Context: context})) {
			failed = append(failed, r.Question)
		}
		return failed
	}
	assert.Empty(t, ask("x"))
	assert.True(t, slices.Equal([]string{Usable}, ask("y")))
}

// A node's silence is told by the cluster's clock, not by this machine's.
func TestSilenceByTheClustersClock(t *testing.T) {
	s := lab(t)
	later := time.Now().Add(time.Hour)
	s.Answer("GET /apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", later.UTC().Format(http.TimeFormat))
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"apiVersion":"coordination.k8s.io/v1","kind":"LeaseList","items":[` + lease("kube-node-lease", "a", -time.Hour) + `,` + lease("kube-node-lease", "b", 3*time.Minute-time.Hour) + `]}`))
	})
	failed := Failed(Run(t.Context(), Options{Kubeconfig: s.Kubeconfig("x")}))
	require.Len(t, failed, 1)
	assert.Equal(t, Nodes, failed[0].Question)
	assert.Contains(t, failed[0].Detail, "b has not been heard of for ")
	assert.NotContains(t, failed[0].Detail, "a has not")
}
