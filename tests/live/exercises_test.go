package live

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/components/editions"
	"k8sbootcamp/components/monitoring"
	"k8sbootcamp/internal/course"
	"k8sbootcamp/tests/live/internal/livelab"
)

// TestExercises is a lab with all that Prometheus and Grafana have beyond the course: every
// query of every dashboard has data, an alert fires when a worker is stopped and ends
// when it is back, and Grafana's password is nowhere in clear.
func TestExercises(t *testing.T) {
	turn(t, turnExercises)
	lab := livelab.New(t)
	config := map[string]string{"workers": "2", "scrapeInterval": "5s", "podMonitoring": "true", "rules": "true", "dashboards": "true"}
	// No registry is reached where the nodes are a lab's own, and no node has Grafana.
	grafana := os.Getenv("LAB_NODE_IMAGE") == ""
	if !grafana {
		config["dashboards"] = "false"
		config["imagePull"] = "nodes" // by the host, up would end before there is anything
	}
	s := lab.Stack(livelab.Unique("all"), config)
	out, err := s.Up()
	if !grafana {
		require.NoError(t, err, out)
		s.Set("dashboards", "true")
		s.Set("rolloutTimeout", "25s")
		out, err = s.Up()
	}
	if grafana {
		require.NoError(t, err, out)
		grafanaShows(t, s)
	} else {
		images, failed := editions.Of(editions.Current)
		require.NoError(t, failed)
		require.Error(t, err, "Grafana runs: then it is to be tested")
		assert.Contains(t, out, "grafana")
		assert.Equal(t, []string{"kubernetes:apps/v1:Deployment grafana"}, failedToCreate(out), out)
		t.Logf("NOT SHOWN HERE: that Grafana starts and shows its dashboards. No node has its image (%s), so the up ended at its pod; "+
			"what it is provisioned with is there, and Prometheus answers every query of it", images.Grafana)
	}

	t.Run("Queries", func(t *testing.T) { everyQuery(t, s) })
	t.Run("Password", func(t *testing.T) { nowhereInClear(t, s, out) })
	t.Run("Alert", func(t *testing.T) { alertOfAStoppedWorker(t, s) })
	out, err = s.Destroy()
	require.NoError(t, err, out)
	assert.Empty(t, s.Containers())
}

// failedToCreate are the resources of which `pulumi up` said so.
func failedToCreate(out string) (failed []string) {
	for _, m := range regexp.MustCompile(`(?m)^ *\+ +(\S+ \S+) \*\*creating failed\*\*`).FindAllStringSubmatch(out, -1) {
		failed = append(failed, m[1])
	}
	return failed
}

// everyQuery asks Prometheus every query of every panel of the dashboards that there are.
func everyQuery(t *testing.T, s *livelab.Stack) {
	var files map[string]string
	require.NoError(t, json.Unmarshal([]byte(kubectl(t, s, "get", "configmap", course.Grafana, "-o", "jsonpath={.data}")), &files))
	asked := 0
	for name, content := range files {
		if !strings.HasSuffix(name, ".json") {
			continue
		}
		var board struct {
			Title  string
			Panels []struct {
				Title   string
				Targets []struct{ Expr string }
			}
		}
		require.NoError(t, json.Unmarshal([]byte(content), &board), name)
		for _, p := range board.Panels {
			for _, target := range p.Targets {
				asked++
				require.EventuallyWithT(t, func(t *assert.CollectT) {
					assert.NotEmpty(t, prometheusSays(t, s, target.Expr))
				}, 3*time.Minute, time.Second, "%s: %s has no data: %s", board.Title, p.Title, target.Expr)
			}
		}
	}
	assert.Equal(t, 20, asked, "of three dashboards")
	t.Logf("%d queries have data", asked)
}

// nowhereInClear looks for Grafana's password, and for what Kubernetes makes of it.
func nowhereInClear(t *testing.T, s *livelab.Stack, said string) {
	encoded := kubectl(t, s, "get", "secret", course.Grafana, "-o", "jsonpath={.data.password}")
	password, err := base64.StdEncoding.DecodeString(encoded)
	require.NoError(t, err)
	require.Regexp(t, `^[A-Z2-7]{26}$`, string(password))
	state, err := os.ReadFile(s.StateFile())
	require.NoError(t, err)
	preview, err := s.Preview("--diff")
	require.NoError(t, err, preview)
	for what, text := range map[string]string{
		"up": said, "the state": string(state), "a preview": preview,
		"the events": kubectl(t, s, "get", "events", "--all-namespaces", "-o", "yaml"),
		"its pod":    kubectl(t, s, "get", "pods", "--selector", "app="+course.Grafana, "-o", "yaml"),
		"the files":  kubectl(t, s, "get", "configmaps", "--all-namespaces", "-o", "yaml"),
	} {
		require.NotEmpty(t, text, what)
		assert.NotContains(t, text, string(password), what)
		assert.NotContains(t, text, encoded, what)
	}
}

// alertOfAStoppedWorker stops one on which Prometheus is not.
func alertOfAStoppedWorker(t *testing.T, s *livelab.Stack) {
	var node string
	at := kubectl(t, s, "get", "pods", "--selector", "app="+course.Prometheus, "-o", "jsonpath={.items[0].spec.nodeName}")
	for _, c := range s.Containers() {
		if strings.Contains(c.Name, "worker") && c.Name != at {
			node = c.Name
		}
	}
	require.NotEmpty(t, node)
	instance := node // service discovery names it so
	// Of one job: the node's cAdvisor is down too.
	firing := fmt.Sprintf(`ALERTS{alertname=%q,alertstate="firing",instance=%q,job=%q}`, monitoring.TargetDown, instance, course.JobNodeExporter)
	require.Empty(t, prometheusSays(t, s, firing))
	begin := time.Now()
	docker(t, "stop", node)
	t.Cleanup(func() {
		if t.Failed() {
			for _, what := range []string{"alerts", "rules", "query?query=up"} {
				said, _ := s.Kubectl("get", "--raw", "/api/v1/namespaces/default/services/prometheus:http/proxy/api/v1/"+what)
				t.Logf("%s: %.6000s", what, said)
			}
		}
	})
	fired := assert.EventuallyWithT(t, func(t *assert.CollectT) { assert.Len(t, prometheusSays(t, s, firing), 1) }, 4*time.Minute, time.Second, "no alert of %s", instance)
	t.Logf("%s fired %s after %s was stopped", monitoring.TargetDown, time.Since(begin).Round(time.Second), node)
	begin = time.Now()
	docker(t, "start", node)
	require.True(t, fired)
	require.EventuallyWithT(t, func(t *assert.CollectT) { assert.Empty(t, prometheusSays(t, s, firing)) }, 4*time.Minute, time.Second, "the alert of %s does not end", instance)
	t.Logf("it ended %s after the worker was started", time.Since(begin).Round(time.Second))
}

// grafanaShows asks Grafana itself, as a viewer who has not logged in.
func grafanaShows(t *testing.T, s *livelab.Stack) {
	const grafana = "/api/v1/namespaces/default/services/" + course.Grafana + ":" + course.Grafana + "/proxy"
	var found []struct{ UID, Title string }
	require.NoError(t, json.Unmarshal([]byte(kubectl(t, s, "get", "--raw", grafana+"/api/search?type=dash-db")), &found))
	var titles []string
	for _, f := range found {
		titles = append(titles, f.Title)
		kubectl(t, s, "get", "--raw", grafana+"/api/dashboards/uid/"+f.UID)
	}
	assert.ElementsMatch(t, []string{"Echo app", "Nodes", "Class"}, titles)
}
