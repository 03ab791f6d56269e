package live

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"

	"k8sbootcamp/components/editions"
	labs "k8sbootcamp/components/lab"
	"k8sbootcamp/components/settings"
	"k8sbootcamp/components/shared"
	"k8sbootcamp/internal/course"
	"k8sbootcamp/internal/lesson"
	"k8sbootcamp/tests/live/internal/livelab"
)

// TestPodsOnShared: on a shared cluster each student watches the pods of their own
// namespace, by a Prometheus of their own, and is told of nobody else's, whatever they
// ask and whomever.
func TestPodsOnShared(t *testing.T) {
	turn(t, turnPods)
	lab := livelab.New(t)
	on := newClassCluster(t, livelab.Unique("pods"), 1)
	images, err := editions.Of(editions.Current)
	require.NoError(t, err)
	livelab.Image{Module: "authproxy", Name: images.AuthProxy, User: "65532"}.Load(t, on.name)
	livelab.Image{Module: "labelproxy", Name: images.LabelProxy, User: "65534"}.Load(t, on.name)
	empty := on.objects()

	class := on.stack(lab, "class", settings.SharedPlatform)
	out, err := class.Up()
	require.NoError(t, err, out)
	before := on.objects()
	alice, bob := on.stack(lab, "alice", settings.SharedStudent), on.stack(lab, "bob", settings.SharedStudent)
	for _, s := range []*livelab.Stack{alice, bob} {
		s.Set("podMonitoring", "true")
		s.Set("rules", "true")
	}
	out, err = alice.Up()
	require.Error(t, err, "a student watches pods on a platform that does not")
	assert.Contains(t, out, "clusterroles/bootcamp-platform-prometheus is missing")
	assert.Contains(t, out, "podMonitoring=true")
	out, err = alice.Destroy()
	require.NoError(t, err, out)
	assert.Equal(t, before, on.objects(), "a student's failed up has left something")

	class.Set("podMonitoring", "true")
	out, err = class.Up()
	require.NoError(t, err, out)
	out, err = alice.Up()
	require.NoError(t, err, out)
	out, err = bob.Up()
	require.NoError(t, err, out)

	p := &podWatch{t: t, on: on, class: forwardClass(t, on)}
	for _, s := range []*livelab.Stack{alice, bob} {
		p.accepts(s)
		for _, metric := range []string{"container_memory_working_set_bytes", "kube_pod_info", "kube_deployment_spec_replicas"} {
			require.EventuallyWithT(t, func(t *assert.CollectT) {
				assert.Equal(t, []string{s.Output("namespace")}, p.namespaces(t, s, metric))
			}, time.Minute, time.Second, metric)
		}
	}
	t.Run("Attempts", func(t *testing.T) {
		p.attempts(t, alice.Output("namespace"), bob.Output("namespace"), alice.Output("studentKubeconfig"))
	})

	for _, s := range []*livelab.Stack{alice, bob, class} {
		out, err = s.Destroy()
		require.NoError(t, err, out)
	}
	assert.Equal(t, empty, on.objects(), "something is left")
}

// podWatch is a class whose students watch their pods.
type podWatch struct {
	t     *testing.T
	on    *classCluster
	class string // where the class's Prometheus is reached, by whoever is let in
}

func (p *podWatch) accepts(s *livelab.Stack) {
	allGreen(p.t, s, []byte(s.Output("studentKubeconfig")), lesson.Options{Exercises: []string{labs.PodMonitoring}})
}

// namespaces are those that a student's own Prometheus has a metric of.
func (p *podWatch) namespaces(t require.TestingT, s *livelab.Stack, metric string) (found []string) {
	_, client := connect(p.t, s.Output("studentKubeconfig"))
	raw, err := client.CoreV1().Services(s.Output("namespace")).
		ProxyGet("", course.Prometheus+":http", "", "/api/v1/label/namespace/values", map[string]string{"match[]": metric}).DoRaw(context.Background())
	require.NoError(t, err)
	var answer struct{ Data []string }
	require.NoError(t, json.Unmarshal(raw, &answer))
	return answer.Data
}

// attempts are what alice may ask of the class's Prometheus, and what not.
func (p *podWatch) attempts(t *testing.T, own, other, kubeconfig string) {
	config, client := connect(t, kubeconfig)
	hers := token(t, client, own)
	const metric = "container_memory_working_set_bytes"
	in := func(namespaces ...string) url.Values {
		return url.Values{"namespace": namespaces, "query": {metric}, "match[]": {metric}}
	}
	naming := func(namespace, matcher string) url.Values {
		selector := fmt.Sprintf("%s{namespace%s}", metric, matcher)
		return url.Values{"namespace": {namespace}, "query": {selector}, "match[]": {selector}}
	}
	for _, a := range []struct {
		what, token, method, path string
		query, form               url.Values
		want                      int
	}{
		{"her own", hers, "GET", "/federate", in(own), nil, 200},
		{"her own, by a query", hers, "GET", "/api/v1/query", in(own), nil, 200},
		{"bob's", hers, "GET", "/federate", in(other), nil, 403},
		{"bob's, by a query", hers, "GET", "/api/v1/query", in(other), nil, 403},
		{"both", hers, "GET", "/federate", in(own, other), nil, 403},
		{"both, the other way round", hers, "GET", "/federate", in(other, own), nil, 403},
		{"the cluster's", hers, "GET", "/federate", in("kube-system"), nil, 403},
		{"nobody's", hers, "GET", "/federate", url.Values{"match[]": {metric}}, nil, 400},
		{"a namespace that is empty", hers, "GET", "/federate", in(""), nil, 403},
		{"bob's in the selector", hers, "GET", "/federate", naming(own, fmt.Sprintf("=%q", other)), nil, 200},
		{"everybody's in the selector", hers, "GET", "/federate", naming(own, `=~".+"`), nil, 200},
		{"everybody's in the query", hers, "GET", "/api/v1/query", naming(own, `!=""`), nil, 200},
		{"bob's in a form", hers, "POST", "/api/v1/query", in(own), in(other), 403},
		{"bob's in a form alone", hers, "POST", "/api/v1/query", nil, in(other), 400},
		{"what is scraped", hers, "GET", "/api/v1/targets", in(own), nil, 404},
		{"the configuration", hers, "GET", "/api/v1/status/config", in(own), nil, 404},
		{"to end it", hers, "POST", "/-/quit", in(own), nil, 403},
		{"with her own account", config.BearerToken, "GET", "/federate", in(own), nil, 403},
		{"with no token", "", "GET", "/federate", in(own), nil, 401},
		{"with another's word", "not-a-token", "GET", "/federate", in(own), nil, 401},
	} {
		status, body := p.ask(t, a.method, a.path, a.token, a.query, a.form)
		assert.Equal(t, a.want, status, "%s: %s", a.what, body)
		assert.NotContains(t, body, other, "%s: bob is in the answer", a.what)
		assert.NotContains(t, body, "kube-system", a.what)
		if strings.HasPrefix(a.what, "her own") || strings.HasPrefix(a.what, "everybody's") {
			assert.Equal(t, a.want == 200, strings.Contains(body, own), "%s: %s", a.what, body)
		}
	}

	// Round the proxies.
	pods, err := p.on.client.CoreV1().Pods(shared.PlatformNamespace).List(context.Background(), metav1.ListOptions{LabelSelector: "app=" + course.Prometheus})
	require.NoError(t, err)
	require.Len(t, pods.Items, 1)
	for _, port := range []int{course.PrometheusPort, 8081} {
		out, err := exec.Command("docker", "exec", p.on.name+"-worker", "bash", "-c", fmt.Sprintf("exec 3<>/dev/tcp/%s/%d", pods.Items[0].Status.PodIP, port)).CombinedOutput()
		assert.Error(t, err, "port %d of the class's Prometheus is open", port)
		assert.Contains(t, string(out), "Connection refused", "port %d", port)
	}
	nodes, err := p.on.client.CoreV1().Nodes().List(context.Background(), metav1.ListOptions{})
	require.NoError(t, err)
	for _, n := range nodes.Items {
		i := slices.IndexFunc(n.Status.Addresses, func(a corev1.NodeAddress) bool { return a.Type == corev1.NodeInternalIP })
		status, body := get(t, "GET", fmt.Sprintf("https://%s:10250/metrics/cadvisor", n.Status.Addresses[i].Address), hers, nil)
		assert.Equal(t, 403, status, "a kubelet tells a student of everybody's pods: %.200s", body)
	}
}

func (p *podWatch) ask(t *testing.T, method, path, token string, query, form url.Values) (int, string) {
	u := p.class + path
	if len(query) > 0 {
		u += "?" + query.Encode()
	}
	status, body, err := send(t, method, u, token, form)
	for range 3 {
		if err == nil {
			break
		}
		// A forwarded port ends with a connection that its server closes first.
		t.Logf("the port is forwarded anew: %v", err)
		u = strings.Replace(u, p.class, "", 1)
		p.class = forwardClass(t, p.on)
		u = p.class + u
		status, body, err = send(t, method, u, token, form)
	}
	require.NoError(t, err)
	return status, body
}

// forwardClass leads to the class's Prometheus.
func forwardClass(t *testing.T, on *classCluster) string {
	return forward(t, on, shared.PlatformNamespace, "app="+course.Prometheus, 8443)
}

// get sends a request to who has a certificate that it made itself.
func get(t *testing.T, method, u, token string, form url.Values) (int, string) {
	t.Helper()
	status, body, err := send(t, method, u, token, form)
	require.NoError(t, err)
	return status, body
}

// send is get; its error is that of a connection.
func send(t *testing.T, method, u, token string, form url.Values) (status int, body string, err error) {
	t.Helper()
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	request, err := http.NewRequest(method, u, strings.NewReader(form.Encode()))
	require.NoError(t, err)
	if form != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	read, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(read), err
}

// token is one of Prometheus's account, as a student may ask for it.
func token(t *testing.T, client kubernetes.Interface, namespace string) string {
	t.Helper()
	seconds := int64(600)
	answer, err := client.CoreV1().ServiceAccounts(namespace).CreateToken(context.Background(), course.Prometheus,
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}, metav1.CreateOptions{})
	require.NoError(t, err)
	return answer.Status.Token
}

// forward leads from this machine to a port of the pod that a selector finds, until the
// test ends, and returns where, as https.
func forward(t *testing.T, on *classCluster, namespace, selector string, port int) string {
	t.Helper()
	pods, err := on.client.CoreV1().Pods(namespace).List(context.Background(), metav1.ListOptions{LabelSelector: selector})
	require.NoError(t, err)
	require.NotEmpty(t, pods.Items, selector)
	round, upgrader, err := spdy.RoundTripperFor(on.config)
	require.NoError(t, err)
	to := on.client.CoreV1().RESTClient().Post().Resource("pods").Namespace(namespace).Name(pods.Items[0].Name).SubResource("portforward").URL()
	stop, ready := make(chan struct{}), make(chan struct{})
	f, err := portforward.NewOnAddresses(spdy.NewDialer(upgrader, &http.Client{Transport: round}, http.MethodPost, to),
		[]string{"127.0.0.1"}, []string{fmt.Sprintf("0:%d", port)}, stop, ready, io.Discard, io.Discard)
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- f.ForwardPorts() }()
	t.Cleanup(func() { close(stop) })
	select {
	case <-ready:
	case err := <-ended:
		require.NoError(t, err)
	}
	ports, err := f.GetPorts()
	require.NoError(t, err)
	return fmt.Sprintf("https://127.0.0.1:%d", ports[0].Local)
}
