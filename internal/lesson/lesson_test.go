package lesson

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	"k8sbootcamp/internal/course"
	"k8sbootcamp/internal/fake"
)

// TestTable: a row has all that a row has, comes after rows that are before it, and its
// texts are in both languages.
func TestTable(t *testing.T) {
	japanese := regexp.MustCompile(`[\p{Hiragana}\p{Katakana}\p{Han}]`)
	seen, chapters := map[string]bool{}, []course.Chapter{}
	for _, c := range Checks {
		assert.False(t, seen[c.ID], "%s is there twice", c.ID)
		assert.True(t, strings.HasPrefix(c.ID, string(c.Chapter)+"/"), c.ID)
		assert.Positive(t, c.Points, c.ID)
		assert.NotEmpty(t, c.Question.EN, c.ID)
		assert.False(t, japanese.MatchString(c.Question.EN), c.ID)
		assert.True(t, japanese.MatchString(c.Question.JA) || c.Question.JA == c.Question.EN, c.ID)
		assert.True(t, strings.HasPrefix(c.Look, "kubectl "), "%s: %s", c.ID, c.Look)
		assert.True(t, c.ID == checkCluster || c.judge != nil, c.ID)
		for _, id := range c.After {
			assert.True(t, seen[id], "%s comes after %s, which comes after it", c.ID, id)
		}
		seen[c.ID] = true
		if !slices.Contains(chapters, c.Chapter) {
			chapters = append(chapters, c.Chapter)
		}
	}
	assert.GreaterOrEqual(t, len(Checks), 25)
	assert.Equal(t, course.Chapters, chapters, "the text's order, and no chapter without a check")
}

// TestHintsInBothLanguages: wherever a hint is made, both formats use the same arguments.
func TestHintsInBothLanguages(t *testing.T) {
	files, err := os.ReadDir(".")
	require.NoError(t, err)
	call := regexp.MustCompile(`(?s)\b(?:say|wrong|missing|starting|noted|tell)\(\s*"((?:[^"\\]|\\.)*)",\s*"((?:[^"\\]|\\.)*)"`)
	verb := regexp.MustCompile(`%(\[\d\])?[sdqv]`)
	found := 0
	for _, f := range files {
		if strings.HasSuffix(f.Name(), "_test.go") || !strings.HasSuffix(f.Name(), ".go") {
			continue
		}
		source, err := os.ReadFile(f.Name())
		require.NoError(t, err)
		for _, m := range call.FindAllStringSubmatch(string(source), -1) {
			found++
			args := func(format string) (all []string) {
				for i, v := range verb.FindAllString(format, -1) {
					if !strings.Contains(v, "[") {
						v = fmt.Sprintf("%%[%d]%s", i+1, v[1:])
					}
					all = append(all, v)
				}
				slices.Sort(all)
				return slices.Compact(all)
			}
			assert.Equal(t, args(m[1]), args(m[2]), m[0])
		}
	}
	assert.Greater(t, found, 60)
}

// Paths and answers of the lab.
const (
	proxy       = "GET /api/v1/namespaces/default/services/"
	appPath     = proxy + "bootcamp-svc/proxy/"
	targetsPath = proxy + "prometheus:http/proxy/api/v1/targets"
	configPath  = proxy + "prometheus:http/proxy/api/v1/status/config"
)

func node(name, ready, taints string) string {
	return `{"apiVersion":"v1","kind":"Node","metadata":{"name":"` + name + `"},"spec":{"taints":[` + taints + `]},"status":{"conditions":[{"type":"Ready","status":"` + ready + `"}],` +
		`"addresses":[{"type":"InternalIP","address":"192.0.2.` + fmt.Sprint(len(name)) + `"}]}}`
}

func taint(key string) string {
	return `{"key":"node-role.kubernetes.io/` + key + `","effect":"NoSchedule"}`
}

// lease is one that was renewed so long ago.
func lease_(namespace, name string, ago time.Duration) string {
	return `{"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"namespace":"` + namespace + `","name":"` + name + `"},` +
		`"spec":{"renewTime":"` + time.Now().Add(-ago).UTC().Format("2006-01-02T15:04:05.000000Z") + `"}}`
}

// pod is one of a workload, whose labels, owner and status are given.
func pod(name, app, owner, status string) string {
	return `{"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"default","name":"` + name + `","creationTimestamp":"2026-01-01T00:00:00Z","labels":{"app":"` + app + `"}` +
		owner + `},"status":` + status + `}`
}

const (
	owned = `,"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"r","uid":"1","controller":true}]`
	ready = `{"conditions":[{"type":"Ready","status":"True","lastTransitionTime":"2026-01-01T00:00:00Z"}]}`
)

// waits is a container's state.
func waits(state string) string {
	return `{"containerStatuses":[{"name":"bootcamp-app","image":"registry.example/echo:1","ready":false,` + state + `}]}`
}

func target_(job, health, said string) string {
	return `{"labels":{"job":"` + job + `","instance":"` + job + `"},"health":"` + health + `","lastError":"` + said + `","scrapeUrl":"http://x/` + job + `"}`
}

func targets_(all ...string) string {
	return `{"data":{"activeTargets":[` + strings.Join(all, ",") + `]}}`
}

var up = []string{target_("prometheus", "up", ""), target_("apiserver", "up", ""), target_("node-exporter", "up", ""), target_("node-exporter", "up", "")}

// byHand is a cluster in which a student has done the whole course with the text's own
// manifests, of which the edits change some.
func byHand(t *testing.T, edits map[string]string) *fake.APIServer {
	t.Helper()
	s := fake.NewAPIServer(t, `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"default"}}`,
		node("control-plane", "True", taint("control-plane")), node("worker", "True", ""),
		pod("bootcamp-1", "bootcamp", owned, ready), pod("bootcamp-2", "bootcamp", owned, ready),
		pod("node-exporter-1", "node-exporter", owned, ready), pod("node-exporter-2", "node-exporter", owned, ready),
		pod("prometheus-1", "prometheus", owned, ready))
	used := map[string]bool{}
	var config string
	for _, file := range []string{"app", "service", "node-exporter", "role-based-access-control", "prometheus"} {
		raw, err := os.ReadFile("../../tests/testdata/course/" + file + ".yml")
		require.NoError(t, err)
		text := string(raw)
		for was, is := range edits {
			if strings.Contains(text, was) {
				used[was] = true
				text = strings.ReplaceAll(text, was, is)
			}
		}
		for _, part := range strings.Split(text, "\n---\n") {
			part = strings.TrimPrefix(part, "---\n")
			raw, err := yaml.ToJSON([]byte(part))
			require.NoError(t, err)
			json := string(raw)
			if !strings.Contains(json, `"namespace"`) && !strings.Contains(json, `"kind":"ClusterRole`) || strings.Contains(json, `"kind":"ConfigMap"`) || strings.Contains(json, `"kind":"Service","metadata":{"labels":{"app":"prometheus"`) {
				json = strings.Replace(json, `"metadata":{`, `"metadata":{"namespace":"default",`, 1)
			}
			json = strings.Replace(json, `"targetPort":`, `"protocol":"TCP","targetPort":`, 1)
			switch {
			case strings.Contains(json, `"kind":"DaemonSet"`):
				json = strings.Replace(json, `"spec":{`, `"status":{"desiredNumberScheduled":2,"observedGeneration":1},"spec":{`, 1)
			case strings.Contains(json, `"kind":"ConfigMap"`):
				config = json
			}
			s.Put(t, json)
		}
	}
	require.Len(t, used, len(edits), "an edit was of nothing")
	s.Say(appPath, "CLIENT VALUES:\nmore")
	s.Say(targetsPath, targets_(up...))
	if i := strings.Index(config, `"prometheus.yml":`); i >= 0 {
		content := config[i+len(`"prometheus.yml":`):]
		s.Say(configPath, `{"data":{"yaml":`+content[:strings.Index(content, `},"kind"`)]+`}}`)
	}
	return s
}

func ask(t *testing.T, s *fake.APIServer, o Options) Report {
	t.Helper()
	l, err := New(s.Kubeconfig("x"), "", "")
	require.NoError(t, err)
	r, err := l.Ask(t.Context(), o)
	require.NoError(t, err)
	assert.Positive(t, r.Requests)
	return r
}

// notOK are the checks of some states, as "ID state".
func notOK(r Report, but ...State) (all []string) {
	for _, a := range r.Answers {
		if a.State != OK && !slices.Contains(but, a.State) {
			all = append(all, a.ID+" "+string(a.State))
		}
	}
	return all
}

func TestTextPasses(t *testing.T) {
	r := ask(t, byHand(t, nil), Options{})
	assert.Empty(t, notOK(r))
	assert.True(t, r.OK())
	assert.Empty(t, r.At())
	total := r.Total()
	assert.Equal(t, total.Of, total.Points)
	assert.Nil(t, total.FirstNotOK)
}

func TestNothingYet(t *testing.T) {
	s := fake.NewAPIServer(t, `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"default"}}`, node("a", "True", ""))
	r := ask(t, s, Options{})
	assert.Equal(t, course.Chapter32, r.At())
	assert.False(t, r.Any(Failed), "who has not begun has made no mistake")
	for _, score := range r.Chapters()[1:] {
		assert.False(t, score.Begun, score.Chapter)
		assert.Zero(t, score.Points)
	}
	assert.Empty(t, notOK(ask(t, s, Options{Chapter: course.Chapter03})))
}

// TestHints: each mistake has one check that is not ok, with a hint that names the object
// and the field; those after it are not asked. The live test makes more of them, on a
// real cluster.
func TestHints(t *testing.T) {
	const clusterTaint = "        - key: node-role.kubernetes.io/control-plane"
	for name, c := range map[string]struct {
		edits map[string]string
		spoil func(t *testing.T, s *fake.APIServer)
		check string // with its state
		names []string
	}{
		"a node is not Ready":        {nil, func(t *testing.T, s *fake.APIServer) { s.Put(t, node("worker", "Unknown", "")) }, "0-3/nodes failed", []string{"worker"}},
		"a node is Ready and silent": {nil, func(t *testing.T, s *fake.APIServer) { s.Put(t, lease_("kube-node-lease", "worker", 2*time.Minute)) }, "0-3/nodes failed", []string{"worker"}},
		"no scheduler":               {nil, func(t *testing.T, s *fake.APIServer) { s.Put(t, lease_("kube-system", "kube-scheduler", time.Minute)) }, "0-3/nodes failed", []string{"kube-scheduler"}},
		"a node is late":             {nil, func(t *testing.T, s *fake.APIServer) { s.Put(t, lease_("kube-node-lease", "worker", 20*time.Second)) }, "0-3/nodes starting", nil},
		"somebody else's lease":      {nil, func(t *testing.T, s *fake.APIServer) { s.Put(t, lease_("kube-system", "somebody", time.Hour)) }, "", nil},
		"leases may not be seen": {nil, func(t *testing.T, s *fake.APIServer) {
			s.Put(t, lease_("kube-node-lease", "worker", time.Hour))
			s.Fail("GET /apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases", http.StatusForbidden)
		}, "", nil},
		"a node is cordoned": {nil, func(t *testing.T, s *fake.APIServer) {
			s.Put(t, strings.Replace(node("worker", "True", ""), `"spec":{`, `"spec":{"unschedulable":true,`, 1))
		}, "0-3/schedulable failed", []string{"worker", "spec.unschedulable"}},

		"an image that cannot be pulled": {nil, func(t *testing.T, s *fake.APIServer) {
			s.Put(t, pod("bootcamp-2", "bootcamp", owned, waits(`"state":{"waiting":{"reason":"ImagePullBackOff","message":"Back-off pulling image: not found"}}`)))
		}, "3-2/pods failed", []string{"spec.template.spec.containers[bootcamp-app].image", "registry.example/echo:1", "not found"}},
		"a container that ends": {nil, func(t *testing.T, s *fake.APIServer) {
			s.Put(t, pod("bootcamp-2", "bootcamp", owned, waits(`"restartCount":3,"state":{"waiting":{"reason":"CrashLoopBackOff"}},"lastState":{"terminated":{"exitCode":7}}`)))
		}, "3-2/pods failed", []string{"bootcamp-app", "exit code 7", "command"}},
		"a container that says why it ends": {nil, func(t *testing.T, s *fake.APIServer) {
			s.Put(t, pod("bootcamp-2", "bootcamp", owned, waits(`"restartCount":3,"state":{"waiting":{"reason":"CrashLoopBackOff"}},"lastState":{"terminated":{"exitCode":7}}`)))
			s.Say("GET /api/v1/namespaces/default/pods/bootcamp-2/log", "ts=1 level=info\nts=2 level=error msg=x err=\"no such \x1b[31mword\"\nbye")
		}, "3-2/pods failed", []string{"bootcamp-app", `no such \x1b[31mword`}},
		"out of memory": {nil, func(t *testing.T, s *fake.APIServer) {
			s.Put(t, pod("bootcamp-2", "bootcamp", owned, waits(`"state":{"waiting":{"reason":"CrashLoopBackOff"}},"lastState":{"terminated":{"exitCode":137,"reason":"OOMKilled"}}`)))
		}, "3-2/pods failed", []string{"resources.limits.memory"}},
		"a ConfigMap that is not there": {nil, func(t *testing.T, s *fake.APIServer) {
			s.Put(t, pod("bootcamp-2", "bootcamp", owned, waits(`"state":{"waiting":{"reason":"CreateContainerConfigError","message":"configmap \"x\" not found"}}`)))
		}, "3-2/pods failed", []string{`configmap "x" not found`}},
		"a probe without an answer": {nil, func(t *testing.T, s *fake.APIServer) {
			s.Put(t, pod("bootcamp-2", "bootcamp", owned, waits(`"state":{"running":{"startedAt":"2026-01-01T00:00:00Z"}}`)))
		}, "3-2/pods failed", []string{"readinessProbe"}},
		"a pod that no node takes": {nil, func(t *testing.T, s *fake.APIServer) {
			s.Put(t, pod("bootcamp-2", "bootcamp", owned, `{"conditions":[{"type":"PodScheduled","status":"False","message":"0/2 nodes are available"}]}`))
		}, "3-2/pods failed", []string{"0/2 nodes are available", "resources.requests"}},
		"a pod that starts": {nil, func(t *testing.T, s *fake.APIServer) {
			s.Put(t, pod("bootcamp-2", "bootcamp", owned, waits(`"state":{"waiting":{"reason":"ContainerCreating"}}`)))
		}, "3-2/pods starting", nil},
		"pods are refused": {nil, func(t *testing.T, s *fake.APIServer) {
			s.Delete("/api/v1/namespaces/default/pods/bootcamp-2")
			s.Put(t, `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"namespace":"default","name":"bootcamp"},"spec":{"replicas":2,"selector":{"matchLabels":{"app":"bootcamp"}},"template":{"metadata":{"labels":{"app":"bootcamp"}},"spec":{"containers":[{"name":"a","ports":[{"containerPort":8080}]}]}}},"status":{"conditions":[{"type":"ReplicaFailure","status":"True","message":"exceeded quota"}]}}`)
		}, "3-2/pods failed", []string{"exceeded quota"}},
		"in another namespace": {nil, func(t *testing.T, s *fake.APIServer) {
			s.Delete("/apis/apps/v1/namespaces/default/deployments/bootcamp")
			s.Put(t, `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"namespace":"kube-public","name":"bootcamp"}}`)
		}, "3-2/deployment failed", []string{"Deployment bootcamp", "kube-public", "metadata.namespace"}},
		"an earlier version's pods": {nil, func(t *testing.T, s *fake.APIServer) {
			s.Put(t, `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"namespace":"default","name":"bootcamp"},"spec":{"replicas":2,"selector":{"matchLabels":{"app":"bootcamp"}},"template":{"metadata":{"labels":{"app":"bootcamp"}},"spec":{"containers":[{"name":"a","ports":[{"containerPort":8080}]}]}}},"status":{"replicas":3,"updatedReplicas":2}}`)
		}, "3-2/pods starting", []string{"earlier version"}},
		"no replicas":            {map[string]string{"replicas: 2": "replicas: 0"}, nil, "3-2/replicas failed", []string{"spec.replicas"}},
		"another container port": {map[string]string{"containerPort: 8080": "containerPort: 8008"}, nil, "3-2/port failed", []string{"containerPort", "8008"}},
		"a misspelt label": {map[string]string{"      labels:\n        app: bootcamp\n": "      labels:\n        app: bootcmp\n"}, nil,
			"3-2/label failed", []string{"spec.template.metadata.labels", "app=bootcmp"}},

		"a misspelt selector":   {map[string]string{"  selector:\n    app: bootcamp": "  selector:\n    app: bootcmp"}, nil, "3-3/selector failed", []string{"spec.selector", "app=bootcmp"}},
		"a port of nobody":      {map[string]string{"targetPort: 8080": "targetPort: 80"}, nil, "3-3/target failed", []string{"spec.ports[0].targetPort", "80"}},
		"a port's name":         {map[string]string{"targetPort: 8080": "targetPort: web"}, nil, "3-3/target failed", []string{"spec.ports[0].targetPort", "web"}},
		"the app is silent":     {nil, func(_ *testing.T, s *fake.APIServer) { s.Fail(appPath, http.StatusServiceUnavailable) }, "3-3/answer failed", []string{"bootcamp-svc"}},
		"the app says nothing":  {nil, func(_ *testing.T, s *fake.APIServer) { s.Say(appPath, "") }, "3-3/answer failed", []string{"bootcamp-svc"}},
		"the Service is gone":   {nil, func(_ *testing.T, s *fake.APIServer) { s.Delete("/api/v1/namespaces/default/services/bootcamp-svc") }, "3-3/service open", []string{"bootcamp-svc"}},
		"a pod of nobody":       {nil, func(t *testing.T, s *fake.APIServer) { s.Put(t, pod("mine", "bootcamp", "", ready)) }, "3-4/owner failed", []string{"Pod mine", "metadata.ownerReferences"}},
		"no toleration":         {map[string]string{clusterTaint: "        - key: nothing"}, nil, "4-1/toleration failed", []string{"spec.template.spec.tolerations", "control-plane", "nothing"}},
		"the host's network":    {map[string]string{"hostNetwork: true": "hostNetwork: false"}, nil, "4-1/host failed", []string{"hostNetwork"}},
		"the host's processes":  {map[string]string{"hostPID: true": "hostPID: false"}, nil, "4-1/host failed", []string{"hostPID"}},
		"the exporter's target": {map[string]string{"targetPort: http": "targetPort: htp"}, nil, "4-1/leads failed", []string{"targetPort", "htp"}},

		"a role without a verb":     {map[string]string{"- nodes/metrics\n  verbs: [\"get\", \"list\", \"watch\"]": "- nodes/metrics\n  verbs: [\"get\", \"list\"]"}, nil, "4-2/rules failed", []string{"rules[].verbs", "watch"}},
		"a role without a resource": {map[string]string{"  - pods\n": ""}, nil, "4-2/rules failed", []string{"rules[].resources", "pods"}},
		"a role for other groups":   {map[string]string{"- apiGroups: [\"\"]": "- apiGroups: [\"apps\"]"}, nil, "4-2/rules failed", []string{"apiGroups"}},
		"a binding for another namespace": {map[string]string{"- kind: ServiceAccount\n  name: prometheus\n  namespace: default": "- kind: ServiceAccount\n  name: prometheus\n  namespace: other"}, nil,
			"4-2/binding failed", []string{"ClusterRoleBinding prometheus", "subjects", "other/prometheus"}},
		"a binding of another role": {map[string]string{"  kind: ClusterRole\n  name: prometheus\nsubjects": "  kind: ClusterRole\n  name: view\nsubjects"}, nil,
			"4-2/binding failed", []string{"roleRef", "view"}},
		"a Service that is being deleted": {nil, func(t *testing.T, s *fake.APIServer) {
			s.Put(t, `{"apiVersion":"v1","kind":"Service","metadata":{"namespace":"default","name":"bootcamp-svc","deletionTimestamp":"2026-01-01T00:00:00Z","finalizers":["example.com/held"]},"spec":{"ports":[{"port":80,"protocol":"TCP","targetPort":8080}],"selector":{"app":"bootcamp"}}}`)
		}, "3-3/service open", []string{"bootcamp-svc"}},
		"the account is gone": {nil, func(_ *testing.T, s *fake.APIServer) {
			s.Delete("/api/v1/namespaces/default/serviceaccounts/prometheus")
		}, "4-2/account open", []string{"ServiceAccount prometheus"}},
		"Prometheus may delete": {nil, func(_ *testing.T, s *fake.APIServer) {
			s.Allowed = func(string, *authorizationv1.ResourceAttributes) bool { return true }
		}, "4-2/may failed", []string{"delete"}},
		"only the asker may list": {nil, func(_ *testing.T, s *fake.APIServer) {
			s.Allowed = func(token string, a *authorizationv1.ResourceAttributes) bool {
				return token != fake.Token("default", "prometheus") && a.Verb == "list"
			}
		}, "4-2/may failed", []string{"list"}},

		"another account":         {map[string]string{"serviceAccountName: prometheus": "serviceAccountName: promethus"}, nil, "4-3/account failed", []string{"serviceAccountName", "promethus"}},
		"a misspelt key":          {map[string]string{"  prometheus.yml: |": "  prometheus.yaml: |"}, nil, "4-3/file failed", []string{"ConfigMap prometheus", "data", "prometheus.yaml", "prometheus.yml"}},
		"a volume of another map": {map[string]string{"        configMap:\n          name: prometheus": "        configMap:\n          name: promethus"}, nil, "4-3/file failed", []string{"configMap.name", "promethus"}},
		"another file":            {map[string]string{"--config.file=/prometheus/": "--config.file=/etc/"}, nil, "4-3/file failed", []string{"--config.file", "/etc/prometheus.yml", "mountPath"}},
		"no argument":             {map[string]string{"--config.file=": "--config="}, nil, "4-3/file failed", []string{"args", "--config.file"}},
		"a mistyped job":          {map[string]string{"job_name: 'apiserver'": "job_name: 'apisrver'"}, nil, "4-3/jobs failed", []string{"job_name", "apisrver", "apiserver"}},
		"no YAML":                 {map[string]string{"      scrape_interval: 15s": "     - a\n      b: 1"}, nil, "4-3/yaml failed", []string{"ConfigMap prometheus"}},

		"an old configuration": {nil, func(_ *testing.T, s *fake.APIServer) {
			s.Say(configPath, `{"data":{"yaml":"scrape_configs:\n- job_name: prometheus\n"}}`)
		}, "4-4/loaded failed", []string{"rollout restart"}},
		"a target is down": {nil, func(_ *testing.T, s *fake.APIServer) {
			s.Say(targetsPath, targets_(append(slices.Clone(up[:3]), target_("node-exporter", "down", "connection refused"))...))
		}, "4-4/node-exporter failed", []string{"relabel_configs[0].replacement", "connection refused"}},
		"a target may not be asked": {nil, func(_ *testing.T, s *fake.APIServer) {
			s.Say(targetsPath, targets_(up[0], up[2], up[3], target_("apiserver", "down", "server returned HTTP status 403 Forbidden")))
		}, "4-4/apiserver failed", []string{"authorization.credentials_file", "403"}},
		"a target of another authority": {nil, func(_ *testing.T, s *fake.APIServer) {
			s.Say(targetsPath, targets_(up[0], up[2], up[3], target_("apiserver", "down", "x509: unknown authority")))
		}, "4-4/apiserver failed", []string{"tls_config.ca_file"}},
		"a target that was not asked yet": {nil, func(_ *testing.T, s *fake.APIServer) {
			s.Say(targetsPath, targets_(up[0], up[2], up[3], target_("apiserver", "unknown", "")))
		}, "4-4/apiserver starting", nil},
		"no target":       {nil, func(_ *testing.T, s *fake.APIServer) { s.Say(targetsPath, targets_(up[1:]...)) }, "4-4/prometheus failed", []string{"relabel_configs[0]", "prometheus-.+"}},
		"too few targets": {nil, func(_ *testing.T, s *fake.APIServer) { s.Say(targetsPath, targets_(up[:3]...)) }, "4-4/node-exporter failed", []string{"1/2"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := byHand(t, c.edits)
			if c.spoil != nil {
				c.spoil(t, s)
			}
			r := ask(t, s, Options{})
			var want []string
			if c.check != "" {
				want = []string{c.check}
			}
			require.Equal(t, want, notOK(r, Later), "%+v", r.Answers)
			if c.check == "" {
				return
			}
			id, _, _ := strings.Cut(c.check, " ")
			hint := r.Find(id).Hint
			for _, name := range c.names {
				assert.Contains(t, hint.In(English), name)
				if !regexp.MustCompile(`exit code|command|earlier version`).MatchString(name) {
					assert.Contains(t, hint.In(Japanese), name)
				}
			}
			assert.LessOrEqual(t, len([]rune(hint.In(English))), longest)
		})
	}
}

// TestSilenceByTheClustersClock: a node's silence is told by the cluster's clock, not by
// this machine's.
func TestSilenceByTheClustersClock(t *testing.T) {
	s := byHand(t, nil)
	s.Ahead = time.Hour
	s.Put(t, lease_("kube-node-lease", "control-plane", -s.Ahead), lease_("kube-node-lease", "worker", 3*time.Minute-s.Ahead))
	r := ask(t, s, Options{Chapter: course.Chapter03})
	require.Equal(t, []string{"0-3/nodes failed"}, notOK(r))
	assert.Contains(t, r.Find("0-3/nodes").Hint.EN, "worker (")
	assert.NotContains(t, r.Find("0-3/nodes").Hint.EN, "control-plane (")
}

// TestTaintOfTheTextsKubernetes: a node that Kubernetes 1.24 taints twice is no mistake
// of a student who types what the text has.
func TestTaintOfTheTextsKubernetes(t *testing.T) {
	s := byHand(t, nil)
	s.Put(t, node("control-plane", "True", taint("control-plane")+","+taint("master")))
	s.Say(targetsPath, targets_(append(slices.Clone(up[:3]), strings.Replace(target_("node-exporter", "down", "connection refused"), `"instance":"node-exporter"`, `"instance":"192.0.2.13:9100"`, 1))...))
	r := ask(t, s, Options{})
	assert.Empty(t, notOK(r))
	assert.Contains(t, r.Find("4-1/toleration").Note.EN, "master")
	assert.Contains(t, r.Find("4-4/node-exporter").Note.EN, "1 up")
}

// TestTokenOfTheAccount: a token is used for many rounds, but not for an account that was
// made anew since.
func TestTokenOfTheAccount(t *testing.T) {
	const account = "/api/v1/namespaces/default/serviceaccounts/prometheus"
	s, tokens := byHand(t, nil), 0
	s.Answer("POST "+account+"/token", func(w http.ResponseWriter, _ *http.Request) {
		tokens++
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","status":{"token":%q}}`, fake.Token("default", "prometheus"))
	})
	l, err := New(s.Kubeconfig("x"), "", "")
	require.NoError(t, err)
	for _, want := range []int{1, 1, 2} {
		if want == 2 {
			s.Put(t, `{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"namespace":"default","name":"prometheus","uid":"another"}}`)
		}
		r, err := l.Ask(t.Context(), Options{})
		require.NoError(t, err)
		assert.Equal(t, OK, r.Find("4-2/may").State)
		assert.Equal(t, want, tokens)
	}
}

// TestSkipped: what may not be seen is not asked, and in nobody's way.
func TestSkipped(t *testing.T) {
	s := byHand(t, nil)
	s.Fail("GET /apis/rbac.authorization.k8s.io/v1/clusterroles", http.StatusForbidden)
	s.Fail("GET /apis/rbac.authorization.k8s.io/v1/clusterrolebindings", http.StatusForbidden)
	s.Fail("POST /api/v1/namespaces/default/serviceaccounts/prometheus/token", http.StatusForbidden)
	r := ask(t, s, Options{})
	assert.Equal(t, []string{"4-2/role skipped", "4-2/rules skipped", "4-2/binding skipped", "4-2/may skipped"}, notOK(r))
	assert.True(t, r.OK())
	assert.Equal(t, 2, r.Chapter(course.Chapter42).Of)
}

// TestShared: on a class's cluster node-exporter is the class's, and the role one of the
// student's namespace.
func TestShared(t *testing.T) {
	s := byHand(t, nil)
	s.Put(t, `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"default","labels":{"bootcamp/student":"true"}}}`)
	s.Delete("/apis/apps/v1/namespaces/default/daemonsets/node-exporter")
	r := ask(t, s, Options{})
	assert.Zero(t, r.Chapter(course.Chapter41).Checks)
	assert.Contains(t, notOK(r), "4-2/role open")
	s.Put(t, `{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role","metadata":{"namespace":"default","name":"prometheus"},"rules":[{"apiGroups":[""],"resources":["pods"],"verbs":["get","list","watch"]}]}`,
		`{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"RoleBinding","metadata":{"namespace":"default","name":"prometheus"},"roleRef":{"kind":"Role","name":"prometheus"},"subjects":[{"kind":"ServiceAccount","name":"prometheus","namespace":"default"}]}`)
	assert.Empty(t, notOK(ask(t, s, Options{})))
}

// TestUnreachable: a cluster that gives no answer is one red check, and says so.
func TestUnreachable(t *testing.T) {
	for name, fail := range map[string]func(s *fake.APIServer){
		"an error":     func(s *fake.APIServer) { s.Fail("GET /api/v1/nodes", http.StatusInternalServerError) },
		"unauthorized": func(s *fake.APIServer) { s.Fail("GET /api/v1/namespaces/default", http.StatusUnauthorized) },
	} {
		s := byHand(t, nil)
		fail(s)
		r := ask(t, s, Options{})
		assert.Equal(t, []string{"0-3/cluster failed"}, notOK(r, Later), name)
		assert.False(t, r.Reached())
	}
}

func TestUnusableKubeconfig(t *testing.T) {
	for name, raw := range map[string]string{"empty": "", "no YAML": "{", "no clusters": "apiVersion: v1\nkind: Config\n"} {
		_, err := New([]byte(raw), "", "")
		assert.Error(t, err, name)
	}
	_, err := New(fake.NewAPIServer(t).Kubeconfig("x"), "y", "")
	assert.Error(t, err, "a context that is not there")
}

// TestComesBack: a pod is deleted when that is asked for, and another is seen to come.
func TestComesBack(t *testing.T) {
	s := byHand(t, nil)
	const one = "/api/v1/namespaces/default/pods/bootcamp-1"
	deleted := 0
	s.Answer("DELETE "+one, func(w http.ResponseWriter, _ *http.Request) {
		deleted++
		s.Delete(one)
		s.Put(t, pod("bootcamp-3", "bootcamp", owned, ready))
		_, _ = w.Write([]byte("{}"))
	})
	assert.Empty(t, ask(t, s, Options{}).Find("3-4/comes-back").State)
	assert.Zero(t, deleted)
	a := ask(t, s, Options{Disrupt: true}).Find("3-4/comes-back")
	assert.Equal(t, OK, a.State, a.Hint.EN)
	assert.Contains(t, a.Note.EN, "bootcamp-3 for bootcamp-1")
	assert.Equal(t, 1, deleted)
}

// TestComesBackLater: where a node is late just then, no pod is deleted yet.
func TestComesBackLater(t *testing.T) {
	s := byHand(t, nil)
	const one, leases = "/api/v1/namespaces/default/pods/bootcamp-1", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
	deleted, asked := 0, 0
	s.Answer("DELETE "+one, func(w http.ResponseWriter, _ *http.Request) {
		deleted++
		s.Delete(one)
		s.Put(t, pod("bootcamp-3", "bootcamp", owned, ready))
		_, _ = w.Write([]byte("{}"))
	})
	s.Answer("GET "+leases, func(w http.ResponseWriter, _ *http.Request) {
		asked++
		ago := time.Second
		if asked == 2 { // when the pod is to be deleted
			ago = 20 * time.Second
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"kind":"LeaseList","apiVersion":"coordination.k8s.io/v1","items":[` + lease_("kube-node-lease", "worker", ago) + `]}`))
	})
	r := ask(t, s, Options{Disrupt: true, Patience: 20 * time.Second})
	assert.Empty(t, notOK(r))
	assert.Equal(t, OK, r.Find("3-4/comes-back").State)
	assert.Equal(t, 1, deleted)
	assert.Equal(t, 3, asked)
}

// TestPatience: a lab that starts is waited for; one with a mistake is not.
func TestPatience(t *testing.T) {
	s := byHand(t, nil)
	starts := pod("bootcamp-2", "bootcamp", owned, waits(`"state":{"waiting":{"reason":"ContainerCreating"}}`))
	s.Put(t, starts)
	time.AfterFunc(1500*time.Millisecond, func() { s.Put(t, pod("bootcamp-2", "bootcamp", owned, ready)) })
	assert.True(t, ask(t, s, Options{Patience: 20 * time.Second}).OK())

	s = byHand(t, map[string]string{"targetPort: 8080": "targetPort: 80"})
	s.Put(t, starts)
	begin := time.Now()
	assert.True(t, ask(t, s, Options{Patience: 20 * time.Second}).Any(Failed))
	assert.Less(t, time.Since(begin), 10*time.Second)
}

// TestTopics: a topic is asked about where there is anything of it, or is to be.
func TestTopics(t *testing.T) {
	s := byHand(t, nil)
	assert.Zero(t, ask(t, s, Options{}).Chapter(course.Chapter5).Checks)
	topics := []string{"topic-env", "topic-configmap", "topic-secret", "topic-statefulset", "topic-volume", "topic-ingress"}
	r := ask(t, s, Options{Exercises: topics})
	assert.Equal(t, []string{"5/env open", "5/configmap open", "5/secret open", "5/statefulset open", "5/volume open", "5/ingress open"}, notOK(r))

	deployment := func(name, container, volumes string) string {
		return `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"namespace":"default","name":"` + name + `"},"spec":{"replicas":1,"selector":{"matchLabels":{"app":"` + name + `"}},"template":{"metadata":{"labels":{"app":"` + name + `"}},"spec":{"containers":[` + container + `],"volumes":[` + volumes + `]}}}}`
	}
	claim := func(name, phase string) string {
		return `{"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"namespace":"default","name":"` + name + `","creationTimestamp":"2026-01-01T00:00:00Z"},"spec":{"storageClassName":"standard"},"status":{"phase":"` + phase + `"}}`
	}
	ingress := func(service, port string) string {
		return `{"apiVersion":"networking.k8s.io/v1","kind":"Ingress","metadata":{"namespace":"default","name":"bootcamp"},"spec":{"rules":[{"http":{"paths":[{"path":"/","pathType":"Prefix","backend":{"service":{"name":"` + service + `","port":{"number":` + port + `}}}}]}}]}}`
	}
	configMap := func(key string) string {
		return `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"namespace":"default","name":"topic-configmap"},"data":{"` + key + `":"hello"}}`
	}
	for _, name := range []string{"topic-env", "topic-configmap", "topic-configmap-env", "topic-secret", "topic-statefulset", "topic-volume"} {
		s.Put(t, pod(name+"-1", name, owned, ready))
	}
	s.Put(t,
		deployment("topic-env", `{"name":"c","env":[{"name":"A","value":"b"}]}`, ""),
		deployment("topic-configmap", `{"name":"c","volumeMounts":[{"name":"v","mountPath":"/c"}]}`, `{"name":"v","configMap":{"name":"topic-configmap"}}`),
		deployment("topic-configmap-env", `{"name":"c","env":[{"name":"A","valueFrom":{"configMapKeyRef":{"name":"topic-configmap","key":"greeting"}}}]}`, ""),
		deployment("topic-secret", `{"name":"c"}`, ""), deployment("topic-volume", `{"name":"c"}`, ""),
		`{"apiVersion":"apps/v1","kind":"StatefulSet","metadata":{"namespace":"default","name":"topic-statefulset"},"spec":{"replicas":1,"selector":{"matchLabels":{"app":"topic-statefulset"}}}}`,
		configMap("greeting"), claim("data-topic-statefulset-0", "Bound"), claim("topic-volume", "Bound"), ingress("bootcamp-svc", "80"))
	assert.Empty(t, notOK(ask(t, s, Options{Exercises: topics})))

	for check, c := range map[string]struct {
		object string
		names  []string
	}{
		"5/env":         {deployment("topic-env", `{"name":"c"}`, ""), []string{"Deployment topic-env", "env"}},
		"5/configmap":   {configMap("greting"), []string{"configMapKeyRef", "greeting", "greting"}},
		"5/statefulset": {claim("data-topic-statefulset-0", "Pending"), []string{"data-topic-statefulset-0", "storageClassName", "standard"}},
		"5/volume":      {claim("topic-volume", "Pending"), []string{"topic-volume", "Pending"}},
		"5/ingress":     {ingress("bootcamp-srv", "80"), []string{"Ingress bootcamp", "backend.service.name", "bootcamp-srv"}},
	} {
		s.Put(t, c.object)
		hint := ask(t, s, Options{}).Find(check).Hint
		for _, name := range c.names {
			assert.Contains(t, hint.EN, name, check)
			assert.Contains(t, hint.JA, name, check)
		}
	}
	s.Put(t, ingress("bootcamp-svc", "8080"))
	assert.Contains(t, ask(t, s, Options{}).Find("5/ingress").Hint.EN, "backend.service.port is 8080")
}

func TestLangOf(t *testing.T) {
	for locale, want := range map[string]Lang{"ja_JP.UTF-8": Japanese, "ja": Japanese, "ja-JP": Japanese, "en_US": English, "C": English, "": English, "jab_XX": English} {
		assert.Equal(t, want, LangOf(locale), locale)
	}
}
