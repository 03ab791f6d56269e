package live

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/components/editions"
	labs "k8sbootcamp/components/lab"
	"k8sbootcamp/internal/course"
	"k8sbootcamp/internal/hostimages"
	"k8sbootcamp/internal/lesson"
	"k8sbootcamp/tests/live/internal/livelab"
)

// TestLab is the course from first to last, as one student has it: up, all of
// the text's questions, the knobs in place, another shape, away. It is done on the
// node image of the lab, and, in the text's own edition, on one of the text's own
// Kubernetes. Another shape is given to one of the two, another each time.
func TestLab(t *testing.T) {
	another := some(moments(t), 2, 1)
	t.Run("Lab", func(t *testing.T) { wholeCourse(t, nil, slices.Contains(another, 0)) })
	t.Run("Kubernetes 1.24", func(t *testing.T) {
		image := os.Getenv("LAB_COURSE_NODE_IMAGE")
		if image == "" {
			t.Skip("SKIPPED, NOTHING WAS PROVEN: LAB_COURSE_NODE_IMAGE names no node image of Kubernetes 1.24")
		}
		wholeCourse(t, map[string]string{"nodeImage": image, "edition": string(editions.Course)}, slices.Contains(another, 1))
	})
}

func wholeCourse(t *testing.T, config map[string]string, reshape bool) {
	lab := livelab.New(t)
	s := lab.Stack(livelab.Unique("lab"), config)

	out, err := s.Up()
	require.NoError(t, err, out)
	require.Len(t, s.Containers(), 4, "one control plane and three workers")
	assert.NotContains(t, out, "client-key-data", "the kubeconfig was shown")
	assert.Equal(t, "bootcamp-"+s.Name, s.Output("clusterName"))
	assert.Equal(t, "kind-bootcamp-"+s.Name, s.Output("context"))
	assert.Equal(t, "/api/v1/namespaces/default/services/bootcamp-svc/proxy/", s.Output("appProxyPath"))
	assert.Empty(t, s.Output("appURL"))
	accepts(t, s, true, true)
	first := nodes(s)

	s.Set("podMonitoring", "true")
	out, err = s.Up()
	require.NoError(t, err, out)
	accepts(t, s, true, false)
	watchesPods(t, s)

	out, err = s.Up()
	require.NoError(t, err, out)
	assert.NotRegexp(t, `[0-9]+ (created|updated|replaced|deleted)`, out, "an up with nothing to do did something")

	// In place: nothing of the cluster is new.
	s.Set("replicas", "4")
	s.Set("serviceType", "NodePort")
	s.Set("scrapeInterval", "5s")
	out, err = s.Up()
	require.NoError(t, err, out)
	assert.Equal(t, first, nodes(s), "the cluster was replaced for a setting that needs no new one")
	assert.Equal(t, "4", kubectl(t, s, "get", "deployment", "bootcamp", "-o", "jsonpath={.status.availableReplicas}"))
	assert.Equal(t, "NodePort 30080", kubectl(t, s, "get", "service", "bootcamp-svc", "-o", "jsonpath={.spec.type} {.spec.ports[0].nodePort}"))
	accepts(t, s, true, false)
	assert.Contains(t, kubectl(t, s, "get", "--raw", "/api/v1/namespaces/default/services/prometheus:http/proxy/api/v1/status/config"),
		"scrape_interval: 5s", "Prometheus still has its old configuration")

	// A LoadBalancer, which kind does not give: the up ends and says so.
	s.Set("serviceType", "LoadBalancer")
	begin := time.Now()
	out, err = s.Up()
	require.NoError(t, err, out)
	assert.Less(t, time.Since(begin), time.Minute, "the up waited for an address that never comes")
	assert.Contains(t, out, "kind gives no load balancers")
	assert.Empty(t, s.Output("appURL"))

	if reshape {
		reshaped(t, s, first)
	}

	s.Set("podMonitoring", "false")
	s.Set("chapter", "3-3")
	out, err = s.Up()
	require.NoError(t, err, out)
	accepts(t, s, false, false)
	assert.Empty(t, strings.TrimSpace(kubectl(t, s, "get", "deployment,daemonset,configmap,serviceaccount,clusterrole,clusterrolebinding",
		"--all-namespaces", "--selector", "app in (prometheus,node-exporter,kube-state-metrics)", "-o", "name")))

	out, err = s.Destroy()
	require.NoError(t, err, out)
	assert.Empty(t, s.Containers(), "containers are left")
}

// watchesPods asks Prometheus what the exercise of chapter 4-4 is about: how many pods the
// app has and is meant to have, and what each of them takes.
func watchesPods(t *testing.T, s *livelab.Stack) {
	t.Helper()
	for query, want := range map[string]string{
		`kube_deployment_spec_replicas{deployment="bootcamp"}`:                                                           "2",
		`kube_deployment_status_replicas_available{deployment="bootcamp"}`:                                               "2",
		`count(container_memory_working_set_bytes{namespace="default",pod=~"bootcamp-.+",container="bootcamp-app"} > 0)`: "2",
		`count(count by (node) (kube_node_info))`:                                                                        "4",
	} {
		assert.EventuallyWithT(t, func(t *assert.CollectT) {
			assert.Equal(t, []string{want}, prometheusSays(t, s, query))
		}, time.Minute, time.Second, query)
	}
}

// prometheusSays are the values that Prometheus answers a query with.
func prometheusSays(t require.TestingT, s *livelab.Stack, query string) (values []string) {
	raw, err := s.Kubectl("get", "--raw", "/api/v1/namespaces/default/services/prometheus:http/proxy/api/v1/query?query="+url.QueryEscape(query))
	require.NoError(t, err, raw)
	var answer struct {
		Data struct{ Result []struct{ Value [2]any } }
	}
	require.NoError(t, json.Unmarshal([]byte(raw), &answer), raw)
	for _, r := range answer.Data.Result {
		values = append(values, fmt.Sprint(r.Value[1]))
	}
	return values
}

// appSays asks the app through its Service, which may lead nowhere, or to a pod that is
// going, for a moment after an up.
func appSays(t *testing.T, s *livelab.Stack, want string) {
	t.Helper()
	path := s.Output("appProxyPath")
	assert.EventuallyWithT(t, func(t *assert.CollectT) {
		said, err := s.Kubectl("get", "--raw", path)
		assert.NoError(t, err, said)
		assert.Equal(t, want, strings.TrimSpace(said))
	}, 30*time.Second, time.Second)
}

// reshaped gives a lab another shape: a new cluster, with everything in it.
func reshaped(t *testing.T, s *livelab.Stack, first []string) {
	t.Helper()
	s.Set("workers", "1")
	s.Set("serviceType", "NodePort")
	s.Set("hostPort", "18931")
	out, err := s.Up()
	require.NoError(t, err, out)
	require.Len(t, s.Containers(), 2)
	assert.NotContains(t, nodes(s), first[0])
	accepts(t, s, true, false)
	require.Equal(t, "http://127.0.0.1:18931/", s.Output("appURL"))
	answer, err := http.Get("http://127.0.0.1:18931/")
	require.NoError(t, err)
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	assert.Equal(t, http.StatusOK, answer.StatusCode, string(body))
}

// TestDestroyWithoutCluster: a cluster that is long gone is no obstacle.
func TestDestroyWithoutCluster(t *testing.T) {
	s := livelab.New(t).Stack(livelab.Unique("gone"), map[string]string{"workers": "0", "chapter": "3-3"})
	out, err := s.Up()
	require.NoError(t, err, out)
	for _, c := range s.Containers() {
		said, err := exec.Command("docker", "rm", "--force", "--volumes", c.ID).CombinedOutput()
		require.NoError(t, err, string(said))
	}
	out, err = s.Destroy()
	require.NoError(t, err, out)
	assert.Contains(t, out, "have been deleted")
}

// TestClusterIsKept: a cluster is not given up for one whose node image or port cannot be
// had, which is said; and with what it had before there is nothing to do.
func TestClusterIsKept(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	port := strconv.Itoa(taken.Addr().(*net.TCPAddr).Port)
	s := livelab.New(t).Stack(livelab.Unique("kept"), map[string]string{"workers": "0", "chapter": "3-3"})
	out, err := s.Up()
	require.NoError(t, err, out)
	before, image := s.Containers(), livelab.Keys()["nodeImage"]
	require.Len(t, before, 1)

	for key, f := range map[string]struct{ value, said string }{
		"nodeImage": {"registry.invalid/node:1", "image registry.invalid/node:1: " + string(hostimages.NoSuchHost)},
		"hostPort":  {port, "hostPort " + port + " cannot be used"},
	} {
		s.Set(key, f.value)
		out, err := s.Up()
		require.Error(t, err, out)
		assert.Contains(t, out, f.said)
		assert.Equal(t, before, s.Containers(), key)
		if key == "nodeImage" && image != "" {
			s.Set(key, image)
		} else {
			s.Unset(key)
		}
	}
	out, err = s.Up("--expect-no-changes")
	require.NoError(t, err, out)
	assert.Equal(t, before, s.Containers())
	assert.Contains(t, kubectl(t, s, "get", "deployment", course.App), "2/2")
	out, err = s.Destroy()
	require.NoError(t, err, out)
}

// accepts asks the course's questions with the stack's own kubeconfig.
func accepts(t *testing.T, s *livelab.Stack, monitoring, disrupt bool) {
	t.Helper()
	o := lesson.Options{Disrupt: disrupt}
	if !monitoring {
		o.Chapter = course.Chapter34
	}
	if hasExercise(t, s, labs.PodMonitoring) {
		o.Exercises = []string{labs.PodMonitoring}
	}
	allGreen(t, s, []byte(s.Output("kubeconfig")), o)
}

// allGreen asks everything of a lab, and expects every check to be ok in the end.
func allGreen(t *testing.T, s *livelab.Stack, kubeconfig []byte, o lesson.Options) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	l, err := lesson.New(kubeconfig, "", "")
	require.NoError(t, err)
	o.Patience = patient
	disrupt := o.Disrupt
	var report lesson.Report
	said := ""
	// A cluster that comes back tells for a while what was true before, and may do so
	// until after a pod was deleted: that is done once, and the rest asked again.
	for end := time.Now().Add(patient); ; time.Sleep(time.Second) {
		o.Disrupt = false
		report, err = l.Ask(ctx, o)
		require.NoError(t, err)
		if report.OK() && disrupt {
			o.Disrupt = true
			report, err = l.Ask(ctx, o)
			require.NoError(t, err)
			back := report.Find("3-4/comes-back")
			require.NotEqual(t, lesson.Failed, back.State, "%s: %s", s.Name, back.Hint.EN)
			disrupt = back.State != lesson.OK
		}
		if report.OK() && !disrupt || time.Now().After(end) {
			break
		}
		if now := open(report); now != said {
			t.Logf("%s: asked again: %s", s.Name, now)
			said = now
		}
	}
	assert.False(t, disrupt, "%s: no pod was deleted, as what comes before was not ok", s.Name)
	for _, a := range report.Answers {
		assert.Equal(t, lesson.OK, a.State, "%s: %s: %s", s.Name, a.ID, a.Hint.EN)
	}
	total := report.Total()
	assert.Greater(t, total.OK, 10)
	t.Logf("%s: %d checks ok, %d of %d points (%s)", s.Name, total.OK, total.Points, total.Of, report.Took.Round(time.Millisecond))
}

// open is what is not ok, and why.
func open(r lesson.Report) string {
	var out []string
	for _, a := range r.Answers {
		if a.State != lesson.OK {
			out = append(out, a.ID+": "+a.Hint.EN)
		}
	}
	return strings.Join(out, "; ")
}

// hasExercise tells whether a stack says that it has one.
func hasExercise(t *testing.T, s *livelab.Stack, exercise string) bool {
	t.Helper()
	raw, err := s.Pulumi("stack", "output", "--json")
	require.NoError(t, err, raw)
	var outputs map[string]any
	require.NoError(t, json.Unmarshal([]byte(raw), &outputs), raw)
	on, _ := outputs[labs.OutExercises].(string)
	return labs.Has(map[string]string{labs.OutExercises: on}, exercise)
}

func nodes(s *livelab.Stack) []string {
	var ids []string
	for _, c := range s.Containers() {
		ids = append(ids, fmt.Sprintf("%s %s", c.Name, c.ID))
	}
	return ids
}

func kubectl(t *testing.T, s *livelab.Stack, args ...string) string {
	t.Helper()
	out, err := s.Kubectl(args...)
	require.NoError(t, err, out)
	return out
}
