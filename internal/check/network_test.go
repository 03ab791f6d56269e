package check

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
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"

	"k8sbootcamp/internal/fake"
)

// namespaceOf is that of a student.
func namespaceOf(name string) string {
	return `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"` + name + `","labels":{"bootcamp/student":"true"}}}`
}

// serving is a pod with a port.
func serving(namespace, name, ready, port string) string {
	return fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"namespace":%q,"name":%q,"labels":{"app":"bootcamp"}},
		"spec":{"containers":[{"name":"c","ports":[{"containerPort":53,"protocol":"TCP"},{"containerPort":53,"protocol":"UDP"},%s]}]},
		"status":{"podIP":"192.0.2.9","conditions":[{"type":"Ready","status":%q}]}}`, namespace, name, port, ready)
}

// class is a cluster with the student a, and whom else there is.
func class(t *testing.T, others ...string) *fake.APIServer {
	return fake.NewAPIServer(t, append(others, namespaceOf("a"),
		`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"namespace":"a","name":"bootcamp"}}`,
		`{"apiVersion":"v1","kind":"Service","metadata":{"namespace":"a","name":"bootcamp-svc"},"spec":{"clusterIP":"198.51.100.1","ports":[{"port":8080}]}}`)...)
}

var bob = []string{namespaceOf("b"), serving("b", "there", "True", `{"containerPort":8080}`)}

// ends has the probe's connections end as agnhost says it, after that many tries.
func ends(s *fake.APIServer, runs int, words map[string]string) {
	s.Created = func(o *unstructured.Unstructured) {
		var first, statuses []any
		for name, word := range words {
			code := int64(1)
			if word == "" {
				code = 0
			}
			to := &statuses
			if name == probeControl {
				to = &first
			}
			*to = append(*to, map[string]any{"name": name, "restartCount": int64(runs), "state": map[string]any{"waiting": map[string]any{"reason": "CrashLoopBackOff"}},
				"lastState": map[string]any{"terminated": map[string]any{"exitCode": code, "message": word + "\n"}}})
		}
		_ = unstructured.SetNestedSlice(o.Object, first, "status", "initContainerStatuses")
		_ = unstructured.SetNestedSlice(o.Object, statuses, "status", "containerStatuses")
	}
}

func probesIn(t *testing.T, s *fake.APIServer) []corev1.Pod {
	t.Helper()
	client, err := kubernetes.NewForConfig(s.Config())
	require.NoError(t, err)
	list, err := client.CoreV1().Pods("a").List(context.Background(), metav1.ListOptions{LabelSelector: "app=" + probeName})
	require.NoError(t, err)
	return list.Items
}

const reached, silent = "", "TIMEOUT"

// TestNetwork: what the connections tell, in words, and that nothing is left.
func TestNetwork(t *testing.T) {
	for name, c := range map[string]struct {
		others              []string
		app, neighbour, met string // how the connections end; "-" is not tried
		ok, warning         bool
		says                []string
	}{
		"enforced":                    {bob, reached, silent, silent, true, false, []string{"pod there of b", MetadataAddress}},
		"not enforced":                {bob, reached, reached, silent, true, true, []string{"does not enforce network policies", "pod there of b"}},
		"a cloud's metadata":          {bob, reached, silent, reached, true, true, []string{"metadata address 169.254.169.254 was reached"}},
		"a host that refuses":         {bob, reached, silent, "REFUSED", true, true, []string{"metadata address 169.254.169.254 was reached"}},
		"a policy that refuses":       {bob, reached, "REFUSED", "REFUSED", true, false, []string{"pod there of b"}},
		"no way there":                {bob, reached, "OTHER: no route to host", "OTHER: no route to host", true, false, nil},
		"both in reach":               {bob, reached, reached, reached, true, true, []string{"does not enforce", "metadata address"}},
		"the app is not reached":      {bob, silent, silent, silent, false, false, []string{"198.51.100.1:8080: TIMEOUT", "proves nothing"}},
		"nobody there":                {nil, reached, "-", silent, true, false, []string{"nobody else to try"}},
		"a neighbour who is not up":   {[]string{namespaceOf("b"), serving("b", "there", "False", `{"containerPort":8080}`)}, reached, "-", silent, true, false, []string{"nobody else to try"}},
		"alone, with the cluster's":   {[]string{serving("kube-system", "coredns", "True", `{"containerPort":9153}`)}, reached, reached, silent, true, true, []string{"pod coredns of kube-system"}},
		"alone, with DNS":             {[]string{serving("kube-system", "coredns", "True", `{"containerPort":9053,"protocol":"UDP"}`)}, reached, "-", silent, true, false, []string{"nobody else to try"}},
		"another, who is no student":  {[]string{`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"b"}}`, bob[1]}, reached, "-", silent, true, false, []string{"nobody else to try"}},
		"words that could clear it":   {bob, "\x1b[2Jx", silent, silent, false, false, []string{`\x1b[2Jx`}},
		"a student's neighbour first": {append(bob, serving("kube-system", "coredns", "True", `{"containerPort":9153}`)), reached, silent, silent, true, false, []string{"pod there of b"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := class(t, c.others...)
			words := map[string]string{probeControl: c.app, probeNeighbour: c.neighbour, probeMetadata: c.met}
			if c.neighbour == "-" {
				delete(words, probeNeighbour)
			}
			ends(s, 3, words)
			r := AskNetwork(t.Context(), s.Config(), NetworkOptions{Namespace: "a", Image: "agnhost:1"})
			assert.Equal(t, c.ok, r.OK, r.Detail)
			assert.Equal(t, c.warning, r.Warning, r.Detail)
			assert.Equal(t, Network, r.Question)
			for _, part := range c.says {
				assert.Contains(t, r.Detail, part)
			}
			assert.Empty(t, probesIn(t, s), "a pod is left")
		})
	}
}

// TestNetworkUnknown: where nothing can be learned, it says why. Only what is the
// lab's fault fails.
func TestNetworkUnknown(t *testing.T) {
	for name, c := range map[string]struct {
		spoil       func(t *testing.T, s *fake.APIServer)
		ok, warning bool
		says        string
	}{
		"no pods are wanted": {func(t *testing.T, s *fake.APIServer) {
			s.Put(t, `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"namespace":"a","name":"bootcamp"},"spec":{"replicas":0}}`)
		}, true, false, "replicas is 0"},
		"a full quota": {func(_ *testing.T, s *fake.APIServer) {
			s.Answer("POST /api/v1/namespaces/a/pods", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusForbidden)
				fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403,"message":"pods is forbidden: exceeded quota: bootcamp"}`)
			})
		}, true, true, "quota"},
		"pods are refused": {func(_ *testing.T, s *fake.APIServer) { s.Fail("POST /api/v1/namespaces/a/pods", 403) }, false, false, "forbidden"},
		"no Deployment": {func(_ *testing.T, s *fake.APIServer) {
			s.Delete("/apis/apps/v1/namespaces/a/deployments/bootcamp")
		}, false, false, "not found"},
		"no image": {func(_ *testing.T, s *fake.APIServer) {
			s.Created = func(o *unstructured.Unstructured) {
				_ = unstructured.SetNestedSlice(o.Object, []any{map[string]any{"name": probeControl, "image": "agnhost:1",
					"state": map[string]any{"waiting": map[string]any{"reason": "ErrImagePull", "message": "rpc error: not found"}}}}, "status", "containerStatuses")
			}
		}, true, true, "image agnhost:1: not found"},
		"a cluster that has fallen silent": {func(_ *testing.T, s *fake.APIServer) {
			s.Answer("GET /api/v1/namespaces", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		}, false, false, "the cluster does not answer"},
		"a pod that was taken away": {func(_ *testing.T, s *fake.APIServer) { s.Fail("GET /api/v1/namespaces/a/pods/bootcamp-probe-6", 404) }, false, false, "not found"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := class(t, bob...)
			c.spoil(t, s)
			r := AskNetwork(t.Context(), s.Config(), NetworkOptions{Namespace: "a", Image: "agnhost:1", Patience: 6 * time.Second})
			assert.Equal(t, c.ok, r.OK, r.Detail)
			assert.Equal(t, c.warning, r.Warning, r.Detail)
			assert.Contains(t, r.Detail, c.says)
			for _, jargon := range []string{"context", "deadline", "rate limiter"} {
				assert.NotContains(t, r.Detail, jargon)
			}
			assert.Less(t, r.Took, 10*time.Second)
			assert.Empty(t, probesIn(t, s), "a pod is left")
		})
	}
}

// TestNetworkInterrupted: the pod goes too where the check is cut off, and one that a
// killed check left goes with the next.
func TestNetworkInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	s := class(t, bob...)
	s.Created = func(*unstructured.Unstructured) { time.AfterFunc(100*time.Millisecond, cancel) }
	s.Put(t, `{"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"a","name":"left","labels":{"app":"bootcamp-probe"}},"status":{"phase":"Failed"}}`)
	r := AskNetwork(ctx, s.Config(), NetworkOptions{Namespace: "a", Image: "agnhost:1"})
	assert.False(t, r.OK)
	assert.Less(t, r.Took, 5*time.Second)
	assert.Empty(t, probesIn(t, s))
}

// TestProbe: the pod is one that a student may have, and small, and where nobody
// removes it, it ends.
func TestProbe(t *testing.T) {
	t.Parallel()
	s := class(t, bob...)
	var made corev1.Pod
	ends(s, 3, map[string]string{probeControl: reached, probeNeighbour: silent, probeMetadata: silent})
	inner := s.Created
	s.Created = func(o *unstructured.Unstructured) {
		inner(o)
		b, _ := o.MarshalJSON()
		assert.NoError(t, json.Unmarshal(b, &made))
	}
	AskNetwork(t.Context(), s.Config(), NetworkOptions{Namespace: "a", Image: "agnhost:1"})
	require.Len(t, made.Spec.InitContainers, 1)
	targets := map[string]string{}
	for _, c := range append(made.Spec.InitContainers, made.Spec.Containers...) {
		targets[c.Name] = c.Args[len(c.Args)-1]
		assert.Equal(t, "agnhost:1", c.Image)
		assert.False(t, *c.SecurityContext.AllowPrivilegeEscalation)
		assert.Equal(t, []corev1.Capability{"ALL"}, c.SecurityContext.Capabilities.Drop)
		assert.Len(t, c.Resources.Limits, 3)
		assert.Len(t, c.Resources.Requests, 3)
	}
	assert.Equal(t, map[string]string{probeControl: "198.51.100.1:8080", probeNeighbour: "192.0.2.9:8080", probeMetadata: "169.254.169.254:80"}, targets)
	assert.True(t, *made.Spec.SecurityContext.RunAsNonRoot)
	assert.Equal(t, corev1.SeccompProfileTypeRuntimeDefault, made.Spec.SecurityContext.SeccompProfile.Type)
	assert.False(t, *made.Spec.AutomountServiceAccountToken)
	assert.Equal(t, probeDeadline, *made.Spec.ActiveDeadlineSeconds)
	assert.Equal(t, "bootcamp-probe", made.Labels["app"])
}

// TestSettled: what a connection came to at first does not count, for the network may
// not know of the pod yet.
func TestSettled(t *testing.T) {
	t.Parallel()
	status := func(restarts, exit int32, word string, running bool) corev1.ContainerStatus {
		ended := &corev1.ContainerStateTerminated{ExitCode: exit, Message: word}
		s := corev1.ContainerStatus{RestartCount: restarts, State: corev1.ContainerState{Terminated: ended}}
		if running {
			s.State, s.LastTerminationState = corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}, corev1.ContainerState{Terminated: ended}
		}
		return s
	}
	for name, c := range map[string]struct {
		status  corev1.ContainerStatus
		targets []string // that need no other try
	}{
		"not begun":             {corev1.ContainerStatus{}, nil},
		"reached at once":       {status(0, 0, "", false), []string{probeControl}},
		"not reached at once":   {status(0, 1, "TIMEOUT", false), []string{probeNeighbour, probeMetadata}},
		"reached, and again":    {status(1, 0, "", true), []string{probeControl}},
		"refused twice":         {status(1, 1, "REFUSED", false), nil},
		"reached twice":         {status(1, 0, "", false), []string{probeControl}},
		"reached three times":   {status(2, 0, "", false), []string{probeControl, probeNeighbour, probeMetadata}},
		"no control in three":   {status(3, 1, "TIMEOUT", true), []string{probeControl, probeNeighbour, probeMetadata}},
		"refused a third time":  {status(2, 1, "REFUSED", false), []string{probeControl, probeNeighbour, probeMetadata}},
		"words, and then again": {status(2, 1, "OTHER: x\ny", false), []string{probeControl, probeNeighbour, probeMetadata}},
	} {
		t.Run(name, func(t *testing.T) {
			e := lastEnding(c.status)
			assert.False(t, strings.Contains(e.word, "\n"))
			for _, target := range []string{probeControl, probeNeighbour, probeMetadata} {
				assert.Equal(t, slices.Contains(c.targets, target), e.settled(target), target)
			}
		})
	}
}
