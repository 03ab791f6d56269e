package tests

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"k8sbootcamp/internal/sharedcluster"
)

// TestKubeStateMetricsRole: it may list and watch what it is told to tell of, and
// nothing else, and in a student's namespace nothing that is in none.
func TestKubeStateMetricsRole(t *testing.T) {
	t.Parallel()
	for name, role := range map[string]string{
		"everything": "ClusterRole kube-state-metrics", "student-everything": "Role kube-state-metrics", "platform-everything": "ClusterRole bootcamp-platform-kube-state-metrics",
	} {
		recording := golden[name].Good(t)
		var granted, told []string
		for _, res := range recording.Kubernetes() {
			object := res.Object()
			switch objectName(object) {
			case role:
				for _, rule := range object["rules"].([]any) {
					assert.Equal(t, []any{"list", "watch"}, at(rule, "verbs"), name)
					for _, r := range at(rule, "resources").([]any) {
						granted = append(granted, r.(string))
					}
				}
			case "Deployment kube-state-metrics":
				flags := at(object, "spec", "template", "spec", "containers", 0, "args").([]any)
				told = strings.Split(strings.TrimPrefix(flags[0].(string), "--resources="), ",")
				if name == "student-everything" {
					assert.Equal(t, []any{flags[0], "--namespaces=bootcamp-alice"}, flags)
				}
			}
		}
		require.NotEmpty(t, granted, name)
		assert.ElementsMatch(t, told, granted, name)
		assert.Equal(t, name != "student-everything", slices.Contains(granted, "nodes"), name)
	}
}

// TestNodesProxy: nobody is given a kubelet's whole API, and a student's namespace no
// metrics of nodes.
func TestNodesProxy(t *testing.T) {
	t.Parallel()
	for name, recording := range allConfigurations(t) {
		for _, res := range recording.Kubernetes() {
			rules := fmt.Sprint(res.Object()["rules"])
			assert.NotContains(t, rules, "nodes/proxy", "%s: %s", name, res)
			if recording.shared() && len(recording.Of("bootcamp:cluster:Tenant", "")) > 0 {
				assert.NotContains(t, rules, "nodes/metrics", "%s: %s", name, res)
			}
		}
	}
}

// TestGrafanaIsInside: nobody outside of the cluster reaches Grafana, who does may look,
// and on a shared cluster's platform, where every pod does, only the administrator may.
func TestGrafanaIsInside(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]struct{ anonymous, workload string }{
		"everything": {"true", "grafana"}, "student-everything": {"true", "grafana"}, "platform-everything": {"false", "prometheus"},
	} {
		recording := golden[name].Good(t)
		service := recording.One(t, serviceType, "grafana").Object()
		assert.Equal(t, "ClusterIP", at(service, "spec", "type"), name)
		assert.Equal(t, in.workload, at(service, "spec", "selector", "app"), name)
		containers := at(recording.One(t, deploymentType, in.workload).Object(), "spec", "template", "spec", "containers").([]any)
		i := slices.IndexFunc(containers, func(c any) bool { return at(c, "name") == "grafana" })
		require.GreaterOrEqual(t, i, 0, name)
		env := map[any]any{}
		for _, e := range at(containers[i], "env").([]any) {
			env[at(e, "name")] = e
		}
		assert.Equal(t, in.anonymous, at(env["GF_AUTH_ANONYMOUS_ENABLED"], "value"), name)
		assert.Equal(t, "Viewer", at(env["GF_AUTH_ANONYMOUS_ORG_ROLE"], "value"), name)
		assert.Nil(t, at(env["GF_SECURITY_ADMIN_PASSWORD"], "value"), name)
		assert.Equal(t, "grafana", at(env["GF_SECURITY_ADMIN_PASSWORD"], "valueFrom", "secretKeyRef", "name"), name)
	}
}

// TestStudentIsHandedTheirOwn: a student's Prometheus asks for their namespace by the
// parameter that both proxies read, and has the one right that the first of them asks for:
// to get, for whoever may POST too could name another namespace in the form.
func TestStudentIsHandedTheirOwn(t *testing.T) {
	t.Parallel()
	class, student := golden["platform-everything"].Good(t), golden["student-everything"].Good(t)
	parse := func(r *Recording, file string) any {
		text, _ := at(r.One(t, configMapType, "prometheus").Object(), "data", file).(string)
		var read any
		require.NoError(t, yaml.Unmarshal([]byte(text), &read))
		return read
	}
	jobs := at(parse(student, "prometheus.yml"), "scrape_configs").([]any)
	i := slices.IndexFunc(jobs, func(j any) bool { return at(j, "job_name") == "cadvisor" })
	require.GreaterOrEqual(t, i, 0)
	job, authorization := jobs[i], at(parse(class, "authorization.yml"), "authorization")
	param, _ := at(authorization, "rewrites", "byQueryParameter", "name").(string)
	assert.Equal(t, map[string]any{param: []any{"bootcamp-alice"}, "match[]": []any{`{job="cadvisor"}`}}, at(job, "params"))
	assert.Equal(t, []any{"prometheus.bootcamp-platform.svc:8443"}, at(job, "static_configs", 0, "targets"))
	assert.Equal(t, false, at(job, "honor_timestamps"))
	containers := at(class.One(t, deploymentType, "prometheus").Object(), "spec", "template", "spec", "containers").([]any)
	label := containers[slices.IndexFunc(containers, func(c any) bool { return at(c, "name") == "label-proxy" })]
	assert.Subset(t, at(label, "args"), []any{"-label=namespace", "-query-param=" + param})

	attributes := at(authorization, "resourceAttributes")
	assert.Equal(t, map[string]any{"apiGroup": "metrics.k8s.io", "resource": "pods", "namespace": "{{ .Value }}"}, attributes)
	asked := map[string]any{"apiGroups": []any{"metrics.k8s.io"}, "resources": []any{"pods"}, "verbs": []any{"get"}}
	assert.Contains(t, student.One(t, "kubernetes:rbac.authorization.k8s.io/v1:Role", "prometheus").Object()["rules"], asked)
	for _, res := range student.Kubernetes() {
		rules, _ := res.Object()["rules"].([]any)
		for _, rule := range rules {
			if slices.Contains(at(rule, "apiGroups").([]any), any("metrics.k8s.io")) {
				assert.Equal(t, asked, rule, res)
			}
		}
	}

	// Who watches pods needs the class's part of it.
	for name, needs := range map[string]bool{"student": false, "student-everything": true} {
		required, _ := at(golden[name].Good(t).One(t, commandType, "cluster-claim").Object(), "environment", sharedcluster.EnvRequired).(string)
		assert.Contains(t, required, "clusterroles/bootcamp-platform-nodes", name)
		assert.Equal(t, needs, strings.Contains(required, "clusterroles/bootcamp-platform-prometheus"), name)
	}
}

// TestClassPrometheusIsBehindTheProxies: the class's Prometheus, which knows of
// everybody's pods, listens in its own pod alone, and so does the second proxy.
func TestClassPrometheusIsBehindTheProxies(t *testing.T) {
	t.Parallel()
	recording := golden["platform-everything"].Good(t)
	containers := at(recording.One(t, deploymentType, "prometheus").Object(), "spec", "template", "spec", "containers").([]any)
	listens := map[any]string{"prometheus": "--web.listen-address=127.0.0.1:", "label-proxy": "-insecure-listen-address=127.0.0.1:", "auth-proxy": "--secure-listen-address=0.0.0.0:8443"}
	for _, c := range containers {
		want, known := listens[at(c, "name")]
		if !known {
			require.Equal(t, "grafana", at(c, "name"))
			continue
		}
		assert.Contains(t, fmt.Sprint(at(c, "args")), want)
		assert.Equal(t, at(c, "name") == "auth-proxy", at(c, "ports") != nil, "a port that others may find: %v", at(c, "name"))
		delete(listens, at(c, "name"))
	}
	assert.Empty(t, listens)
	assert.Equal(t, 8443, at(recording.One(t, serviceType, "prometheus").Object(), "spec", "ports", 0, "targetPort"))
}
