package status

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"k8sbootcamp/cmd/class/internal/stack"
)

func TestNotReady(t *testing.T) {
	for name, c := range map[string]struct{ object, want string }{
		"ready Deployment":          {`{"kind":"Deployment","spec":{"replicas":2},"status":{"availableReplicas":2,"updatedReplicas":2}}`, ""},
		"one pod of two":            {`{"kind":"Deployment","spec":{"replicas":2},"status":{"availableReplicas":1,"updatedReplicas":2}}`, "1 of 2 pods are ready"},
		"old pods are not the new":  {`{"kind":"Deployment","spec":{"replicas":2},"status":{"availableReplicas":2,"updatedReplicas":1}}`, "1 of 2 pods are ready"},
		"none wanted":               {`{"kind":"Deployment","spec":{"replicas":0}}`, ""},
		"one by default":            {`{"kind":"Deployment"}`, "0 of 1 pods are ready"},
		"change not seen yet":       {`{"kind":"Deployment","metadata":{"generation":3},"spec":{"replicas":0},"status":{"observedGeneration":2}}`, "its controller has not seen the last change"},
		"ready DaemonSet":           {`{"kind":"DaemonSet","status":{"desiredNumberScheduled":4,"numberAvailable":4,"updatedNumberScheduled":4}}`, ""},
		"a node without":            {`{"kind":"DaemonSet","status":{"desiredNumberScheduled":4,"numberAvailable":3,"updatedNumberScheduled":4}}`, "3 of 4 pods are ready"},
		"ClusterIP":                 {`{"kind":"Service","spec":{"type":"ClusterIP"}}`, ""},
		"LoadBalancer without one":  {`{"kind":"Service","spec":{"type":"LoadBalancer"}}`, "no load balancer has given it an address"},
		"LoadBalancer":              {`{"kind":"Service","spec":{"type":"LoadBalancer"},"status":{"loadBalancer":{"ingress":[{"ip":"1.2.3.4"}]}}}`, ""},
		"what only has to be there": {`{"kind":"ConfigMap"}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			o := &unstructured.Unstructured{}
			require.NoError(t, o.UnmarshalJSON([]byte(c.object)))
			got, err := NotReady(o)
			require.NoError(t, err)
			assert.Equal(t, c.want, got)
		})
	}
}

// api is an API server with a few answers.
func api(t *testing.T, answers map[string]string) *rest.Config {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		answer, ok := answers[r.URL.Path]
		switch {
		case !ok:
			w.WriteHeader(http.StatusNotFound)
			answer = `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`
		case answer == "forbidden":
			w.WriteHeader(http.StatusForbidden)
			answer = `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403}`
		}
		_, _ = w.Write([]byte(answer))
	}))
	t.Cleanup(server.Close)
	return &rest.Config{Host: server.URL}
}

func TestObjects(t *testing.T) {
	config := api(t, map[string]string{
		"/version":      `{"major":"1","minor":"34"}`,
		"/api":          `{"kind":"APIVersions","versions":["v1"]}`,
		"/apis":         `{"kind":"APIGroupList","groups":[{"name":"apps","versions":[{"groupVersion":"apps/v1","version":"v1"}],"preferredVersion":{"groupVersion":"apps/v1","version":"v1"}}]}`,
		"/api/v1":       `{"kind":"APIResourceList","groupVersion":"v1","resources":[{"name":"services","namespaced":true,"kind":"Service"},{"name":"nodes","namespaced":false,"kind":"Node"}]}`,
		"/apis/apps/v1": `{"kind":"APIResourceList","groupVersion":"apps/v1","resources":[{"name":"deployments","namespaced":true,"kind":"Deployment"}]}`,
		"/apis/apps/v1/namespaces/default/deployments/bootcamp": `{"kind":"Deployment","apiVersion":"apps/v1","spec":{"replicas":1},"status":{"availableReplicas":1,"updatedReplicas":1}}`,
		"/apis/apps/v1/namespaces/default/deployments/slow":     `{"kind":"Deployment","apiVersion":"apps/v1","spec":{"replicas":1}}`,
		"/api/v1/nodes/n": "forbidden",
	})
	objects := []stack.Object{
		{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "default", Name: "bootcamp"},
		{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "default", Name: "slow"},
		{APIVersion: "v1", Kind: "Service", Namespace: "default", Name: "bootcamp-svc"},
		{APIVersion: "v1", Kind: "Node", Name: "n"},
		{APIVersion: "example.org/v1", Kind: "Thing", Name: "t"},
	}
	ready, not, err := Objects(context.Background(), config, objects)
	require.NoError(t, err)
	assert.Equal(t, 1, ready)
	assert.Equal(t, []string{
		"Deployment slow: 0 of 1 pods are ready",
		"Service bootcamp-svc: it is gone",
		"Node n: this kubeconfig may not see it",
		"Thing t: the cluster does not know its kind example.org/v1",
	}, not)
	missing, err := Missing(context.Background(), config, objects)
	require.NoError(t, err)
	assert.Equal(t, objects[2:3], missing, "what is slow, hidden or unknown may be there")
}

func TestObjectsOfADeadCluster(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	_, _, err := Objects(context.Background(), &rest.Config{Host: server.URL}, []stack.Object{{}})
	assert.ErrorContains(t, err, "the cluster does not answer")
}
