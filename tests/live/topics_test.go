package live

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"k8sbootcamp/components/settings"
	"k8sbootcamp/internal/course"
	"k8sbootcamp/tests/internal/results"
	"k8sbootcamp/tests/live/internal/livelab"
)

// TestTopics: each topic of chapter 5 does what it is for, on a cluster of one's own.
func TestTopics(t *testing.T) {
	turn(t, turnTopics)
	lab := livelab.New(t)
	s := lab.Stack(livelab.Unique("topics"), map[string]string{"workers": "1", "topics": "env configmap secret ingress"})
	shown := map[string]string{} // all that was printed, by what was run
	step := func(name, out string, err error) {
		t.Helper()
		require.NoError(t, err, out)
		shown[name] = out
	}
	out, err := s.Up("--diff")
	step("up --diff", out, err)
	_, client := connect(t, s.Output("kubeconfig"))
	c := &topicLab{t: t, client: client, namespace: course.Namespace}
	c.storage(s.Cluster)
	s.Set("topics", "all")
	out, err = s.Preview("--diff")
	step("preview --diff of all", out, err)
	out, err = s.Up("--diff")
	step("up --diff of all", out, err)
	out, err = s.Up("--expect-no-changes")
	step("up with nothing to do", out, err)

	const file, asVariable, env = "/api/v1/namespaces/default/services/topic-configmap/proxy/config/greeting",
		"/api/v1/namespaces/default/services/topic-configmap-env/proxy/", "/api/v1/namespaces/default/services/topic-env/proxy/"
	t.Run("Ingress", func(t *testing.T) {
		show(t, s, "get", "ingress,secret", "bootcamp")
		c.ingress(t, course.IngressHost)
	})
	t.Run("Greeting", func(t *testing.T) {
		c.says(t, course.TopicEnv, "/", "Hello Kubernetes!")
		c.says(t, course.TopicConfigMap, "/config/greeting", "Hello Kubernetes!")
		c.says(t, course.TopicConfigMapEnv, "/", "Hello Kubernetes!")
		for _, path := range []string{env, file, asVariable} {
			show(t, s, "get", "--raw", path)
		}
		show(t, s, "get", "pods")
		before := map[string]string{}
		for _, name := range []string{course.TopicEnv, course.TopicConfigMap, course.TopicConfigMapEnv} {
			before[name] = c.pod(t, name)
		}
		const greeting = "こんにちは $(POD_NAME) $5"
		s.Set("greeting", greeting)
		out, err := s.Up("--diff")
		step("up --diff of a greeting", out, err)
		changed := time.Now()
		for _, path := range []string{env, file, asVariable} {
			show(t, s, "get", "--raw", path)
		}
		show(t, s, "get", "pods")
		c.says(t, course.TopicEnv, "/", greeting)
		c.says(t, course.TopicConfigMapEnv, "/", greeting)
		assert.NotEqual(t, before[course.TopicEnv], c.pod(t, course.TopicEnv), "a variable changed in a pod that was there")
		assert.NotEqual(t, before[course.TopicConfigMapEnv], c.pod(t, course.TopicConfigMapEnv), "no rollout")
		c.says(t, course.TopicConfigMap, "/config/greeting", greeting)
		assert.Equal(t, before[course.TopicConfigMap], c.pod(t, course.TopicConfigMap), "a file changed, and the pod with it")
		results.Fact("A changed ConfigMap was in the pod's file, in the same pod, within %s after `up`.", time.Since(changed).Round(time.Second))
	})

	samples := c.samples(t, 6)
	files := c.files(t)
	require.Equal(t, []string{c.pod(t, course.TopicVolume)}, files)
	volumes := c.volumes(t)
	require.Len(t, volumes, 2)
	t.Run("Pods deleted", func(t *testing.T) {
		const data, query = "/api/v1/namespaces/default/services/topic-volume/proxy/data/",
			"/api/v1/namespaces/default/services/topic-statefulset/proxy/api/v1/query?query=count_over_time(up[1h])"
		look := func() {
			show(t, s, "get", "pods", "--selector", "app in (topic-volume, topic-statefulset)")
			show(t, s, "get", "--raw", data)
			show(t, s, "get", "--raw", query)
		}
		show(t, s, "get", "statefulset,pvc")
		look()
		defer look()
		was := map[string]string{}
		for _, name := range []string{course.TopicStatefulSet, course.TopicVolume} {
			was[name] = string(c.podObject(t, name).UID)
			require.NoError(t, client.CoreV1().Pods(c.namespace).Delete(t.Context(), c.pod(t, name), metav1.DeleteOptions{}))
		}
		for name, uid := range was {
			require.Eventually(t, func() bool { p := c.find(name); return p != nil && string(p.UID) != uid && ready(p) }, 2*time.Minute, time.Second, name)
		}
		assert.Equal(t, "topic-statefulset-0", c.pod(t, course.TopicStatefulSet), "a StatefulSet's pod keeps its name")
		assert.GreaterOrEqual(t, c.samples(t, samples), samples, "the database has lost what it had")
		files = append(files, c.pod(t, course.TopicVolume))
		assert.EventuallyWithT(t, func(t *assert.CollectT) { assert.ElementsMatch(t, files, c.files(t), "each pod's file is there") }, 30*time.Second, time.Second)
		assert.Equal(t, volumes, c.volumes(t))
	})
	t.Run("Node restarted", func(t *testing.T) {
		node := c.podObject(t, course.TopicStatefulSet).Spec.NodeName
		samples = c.samples(t, samples)
		begin := time.Now()
		docker(t, "stop", node)
		docker(t, "start", node)
		require.Eventually(t, func() bool { // the API server tells what it knew before; only the pods themselves know
			raw, err := c.ask(course.TopicStatefulSet, "/api/v1/query", map[string]string{"query": "time() - process_start_time_seconds"})
			values := vector(raw)
			if err != nil || len(values) != 1 {
				return false
			}
			age, err := strconv.ParseFloat(values[0], 64)
			return err == nil && age < time.Since(begin).Seconds()
		}, 4*time.Minute, time.Second, "the database does not come back")
		assert.GreaterOrEqual(t, c.samples(t, samples), samples, "the database has lost what it had")
		assert.EventuallyWithT(t, func(t *assert.CollectT) { assert.Subset(t, c.files(t), files) }, 2*time.Minute, time.Second)
		assert.Equal(t, volumes, c.volumes(t))
		results.Fact("A StatefulSet's database and a claim's files were whole after their pods were deleted and after their node's restart (%s).", time.Since(begin).Round(time.Second))
	})

	t.Run("Secret", func(t *testing.T) {
		var secrets []string
		for name, key := range map[string]string{course.TopicSecret: "password", course.Ingress: corev1.TLSPrivateKeyKey} {
			made, err := client.CoreV1().Secrets(c.namespace).Get(t.Context(), name, metav1.GetOptions{})
			require.NoError(t, err)
			value, encoded := string(made.Data[key]), base64.StdEncoding.EncodeToString(made.Data[key])
			if key == corev1.TLSPrivateKeyKey { // of which a part will do: line ends are written in many ways
				value, encoded = strings.Split(value, "\n")[2], encoded[len(encoded)/2:len(encoded)/2+40]
			}
			require.Greater(t, len(value), 20)
			secrets = append(secrets, value, encoded)
		}
		require.EventuallyWithT(t, func(t *assert.CollectT) { // its node was just restarted
			log, err := s.Kubectl("logs", "deployment/topic-secret", "--all-containers")
			assert.NoError(t, err, log)
			assert.Contains(t, log, "mount type of")
		}, 2*time.Minute, time.Second)
		show(t, s, "logs", "deployment/topic-secret", "--container", "look")
		log, err := s.Kubectl("logs", "deployment/topic-secret", "--all-containers")
		step("logs", log, err)
		assert.Regexp(t, `mount type of "/etc/bootcamp": tmpfs`, log, "it is in memory alone")
		assert.Regexp(t, `mode of file "/etc/bootcamp/password": -r--------`, log)
		described, err := s.Kubectl("describe", "pods", "--selector", "app="+course.TopicSecret)
		step("describe pods", described, err)
		assert.Contains(t, described, "<set to the key 'password' in secret 'topic-secret'>")
		events, err := s.Kubectl("get", "events", "--all-namespaces", "--output", "yaml")
		step("events", events, err)
		for _, args := range [][]string{{"stack", "output"}, {"stack", "output", "--json"}, {"stack", "export"}, {"refresh", "--yes", "--skip-preview", "--diff"}, {"stack", "history", "--show-secrets=false"}} {
			out, err := s.Pulumi(args...)
			step(strings.Join(args, " "), out, err)
		}
		whole, err := s.Pulumi("stack", "export", "--show-secrets")
		require.NoError(t, err)
		for name, text := range shown {
			noneIn(t, name, text, secrets)
		}
		state := map[string]string{}
		readAll(t, lab.Backend, state)
		readAll(t, lab.Project, state)
		for name, text := range state {
			noneIn(t, name, text, secrets)
		}
		assert.Contains(t, whole, secrets[0], "it is not in the state at all, so this proves nothing")
		results.Fact("A topic's password and certificate key, clear and in base64, were in none of %d outputs, logs and events, nor in %d files of state and configuration.", len(shown), len(state))
	})

	t.Run("Off", func(t *testing.T) {
		s.Set("topics", "")
		out, err := s.Up()
		step("up without", out, err)
		assert.EventuallyWithT(t, func(t *assert.CollectT) {
			left, err := s.Kubectl("get", "all,configmaps,secrets,ingresses,persistentvolumeclaims,persistentvolumes", "--output", "name")
			assert.NoError(t, err)
			assert.NotContains(t, left, "topic")
			assert.NotContains(t, left, "ingress")
			assert.NotContains(t, left, "persistentvolume")
		}, 2*time.Minute, time.Second)
	})
	out, err = s.Destroy("--diff")
	step("destroy", out, err)
	assert.Empty(t, s.Containers(), "containers are left")
}

// TestTopicsOnShared: a student has all topics on a shared cluster too, with no right more
// than they take, and leaves nothing.
func TestTopicsOnShared(t *testing.T) {
	turn(t, turnTopics)
	lab := livelab.New(t)
	on := newClassCluster(t, livelab.Unique("topics"), 1)
	before := &topicLab{t: t, client: on.client}
	before.storage(on.name)
	empty := on.objects()
	class := on.stack(lab, "class", settings.SharedPlatform)
	out, err := class.Up()
	require.NoError(t, err, out)
	alice := on.stack(lab, "alice", settings.SharedStudent)
	alice.Set("topics", "all")
	out, err = alice.Up()
	require.NoError(t, err, out)
	out, err = alice.Up("--expect-no-changes")
	require.NoError(t, err, out)

	// All by her own account.
	_, hers := connect(t, alice.Output("studentKubeconfig"))
	c := &topicLab{t: t, client: hers, namespace: alice.Output("namespace")}
	c.says(t, course.TopicEnv, "/", "Hello Kubernetes!")
	c.says(t, course.TopicConfigMap, "/config/greeting", "Hello Kubernetes!")
	c.says(t, course.TopicConfigMapEnv, "/", "Hello Kubernetes!")
	c.samples(t, 2)
	assert.Equal(t, []string{c.pod(t, course.TopicVolume)}, c.files(t))
	assert.Len(t, c.volumes(t), 2)
	made, err := hers.CoreV1().Secrets(c.namespace).Get(t.Context(), course.TopicSecret, metav1.GetOptions{})
	require.NoError(t, err)
	assert.Len(t, made.Data["password"], 26)
	log, err := hers.CoreV1().Pods(c.namespace).GetLogs(c.pod(t, course.TopicSecret), &corev1.PodLogOptions{Container: "look"}).DoRaw(t.Context())
	require.NoError(t, err)
	assert.Contains(t, string(log), `mode of file "/etc/bootcamp/password": -r--r-----`)
	(&topicLab{t: t, client: on.client, namespace: c.namespace}).ingress(t, c.namespace+".localhost")

	dry := metav1.CreateOptions{DryRun: dry}
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "more"}, Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
	}}
	for what, try := range map[string]func() error{
		"the certificate's key": func() error {
			_, err := hers.CoreV1().Secrets(c.namespace).Get(t.Context(), course.Ingress, metav1.GetOptions{})
			return err
		},
		"all Secrets": func() error {
			_, err := hers.CoreV1().Secrets(c.namespace).List(t.Context(), metav1.ListOptions{})
			return err
		},
		"a Secret of her own": func() error {
			_, err := hers.CoreV1().Secrets(c.namespace).Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "x"}}, dry)
			return err
		},
		"one more claim": func() error {
			_, err := hers.CoreV1().PersistentVolumeClaims(c.namespace).Create(t.Context(), claim, dry)
			return err
		},
		"another Ingress": func() error {
			_, err := hers.NetworkingV1().Ingresses(c.namespace).Create(t.Context(), &networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Name: "x"}}, dry)
			return err
		},
	} {
		assert.True(t, apierrors.IsForbidden(try()), "%s: %v", what, try())
	}
	studentAccepts(t, alice)

	for _, s := range []*livelab.Stack{alice, class} {
		out, err = s.Destroy()
		require.NoError(t, err, out)
	}
	assert.EventuallyWithT(t, func(c *assert.CollectT) { // a disk goes after its claim
		assert.Equal(c, empty, on.objects(), "something is left")
	}, 2*time.Minute, 2*time.Second)
}

// show logs what docs/topics has of it.
func show(t *testing.T, s *livelab.Stack, args ...string) {
	t.Helper()
	var out string
	failed := within(30*time.Second, func() (_ string, err error) { // a Service may lead nowhere for a moment
		out, err = s.Kubectl(args...)
		return out, err
	})
	assert.Empty(t, failed)
	t.Logf("$ kubectl %s\n%s", strings.Join(args, " "), out)
}

// topicLab is a namespace with topics, by whoever's account.
type topicLab struct {
	t         *testing.T
	client    kubernetes.Interface
	namespace string
}

// noneIn fails the test where one of the secrets is in a text.
func noneIn(t *testing.T, where, text string, secrets []string) {
	t.Helper()
	for _, secret := range secrets {
		if before, _, found := strings.Cut(text, secret); found {
			line := before[strings.LastIndex(before, "\n")+1:]
			t.Errorf("%s has a secret in clear, after %q", where, line[:min(len(line), 300)])
		}
	}
}

// ask gets a path of a topic's Service.
func (c *topicLab) ask(service, path string, query map[string]string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	raw, err := c.client.CoreV1().Services(c.namespace).ProxyGet("", service, "", path, query).DoRaw(ctx)
	return string(raw), err
}

// says waits until a topic answers so. A file of a ConfigMap follows it within a minute or
// two: the kubelet looks once a minute, and may have looked it up just before.
func (c *topicLab) says(t *testing.T, service, path, want string) {
	t.Helper()
	require.EventuallyWithT(t, func(t *assert.CollectT) {
		got, err := c.ask(service, path, nil)
		assert.NoError(t, err)
		assert.Equal(t, want, got)
	}, 150*time.Second, time.Second, service)
}

// find is a topic's pod, but for one that is going, or nil.
func (c *topicLab) find(name string) *corev1.Pod {
	pods, err := c.client.CoreV1().Pods(c.namespace).List(context.Background(), metav1.ListOptions{LabelSelector: "app=" + name})
	if err != nil {
		return nil
	}
	there := slices.DeleteFunc(pods.Items, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil })
	if len(there) != 1 {
		return nil
	}
	return &there[0]
}

func (c *topicLab) podObject(t *testing.T, name string) *corev1.Pod {
	t.Helper()
	var found *corev1.Pod
	require.Eventually(t, func() bool { found = c.find(name); return found != nil }, time.Minute, time.Second, "%s has not just one pod", name)
	return found
}

func (c *topicLab) pod(t *testing.T, name string) string {
	t.Helper()
	return c.podObject(t, name).Name
}

func ready(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// samples waits until the database has so many samples of the last hour, and returns how
// many there are. An empty one would have none.
func (c *topicLab) samples(t *testing.T, least int) (n int) {
	t.Helper()
	begin := time.Now()
	require.Eventually(t, func() bool {
		raw, err := c.ask(course.TopicStatefulSet, "/api/v1/query", map[string]string{"query": `count_over_time(up{job="itself"}[1h])`})
		values := vector(raw)
		if err != nil || len(values) != 1 {
			return false
		}
		n, err = strconv.Atoi(values[0])
		return err == nil && n >= least
	}, time.Minute, time.Second, "the database has fewer than %d samples", least)
	// It writes one down every five seconds; those of before the wait are what counts.
	return n - int(time.Since(begin)/(5*time.Second))
}

// vector are the values that Prometheus answers with.
func vector(raw string) (values []string) {
	var answer struct {
		Data struct{ Result []struct{ Value [2]any } }
	}
	if json.Unmarshal([]byte(raw), &answer) != nil {
		return nil
	}
	for _, r := range answer.Data.Result {
		values = append(values, fmt.Sprint(r.Value[1]))
	}
	return values
}

var linkRE = regexp.MustCompile(`<a href="([^"/]+)">`)

// files are those of the claim.
func (c *topicLab) files(t require.TestingT) (names []string) {
	page, err := c.ask(course.TopicVolume, "/data/", nil)
	require.NoError(t, err, page)
	for _, m := range linkRE.FindAllStringSubmatch(page, -1) {
		names = append(names, m[1])
	}
	return names
}

// volumes are the claims, each with its volume.
func (c *topicLab) volumes(t *testing.T) map[string]string {
	t.Helper()
	claims, err := c.client.CoreV1().PersistentVolumeClaims(c.namespace).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	found := map[string]string{}
	for _, claim := range claims.Items {
		assert.Equal(t, corev1.ClaimBound, claim.Status.Phase, claim.Name)
		found[claim.Name] = claim.Spec.VolumeName
	}
	return found
}

// ingress follows the Ingress to the app, as a browser does that trusts its certificate.
func (c *topicLab) ingress(t *testing.T, host string) {
	ingress, err := c.client.NetworkingV1().Ingresses(c.namespace).Get(t.Context(), course.Ingress, metav1.GetOptions{})
	require.NoError(t, err)
	require.Len(t, ingress.Spec.TLS, 1)
	require.Equal(t, []string{host}, ingress.Spec.TLS[0].Hosts)
	secret, err := c.client.CoreV1().Secrets(c.namespace).Get(t.Context(), ingress.Spec.TLS[0].SecretName, metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, corev1.SecretTypeTLS, secret.Type)
	pair, err := tls.X509KeyPair(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(secret.Data[corev1.TLSCertKey]))
	_, err = pair.Leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: roots})
	require.NoError(t, err)
	t.Logf("the certificate is for %v, until %s", pair.Leaf.DNSNames, pair.Leaf.NotAfter)

	var address string
	if at := ingress.Status.LoadBalancer.Ingress; len(at) > 0 {
		address = net.JoinHostPort(at[0].IP+at[0].Hostname, "443")
	} else {
		t.Log("NOT PROVEN: this cluster has no Ingress controller, and none was found that builds from Go modules in minutes. " +
			"The Ingress was accepted and its certificate is good; what answers below is a stand-in within this test, " +
			"which goes by nothing but the Ingress and its Secret")
		address = standIn(t, c.client, ingress, &pair)
	}
	browser := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		},
	}}
	answer, err := browser.Get("https://" + host + "/")
	require.NoError(t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, answer.StatusCode, string(body))
	assert.NotEmpty(t, body)
	_, err = browser.Get("https://other.localhost/")
	assert.ErrorAs(t, err, new(*tls.CertificateVerificationError), "the certificate is taken for another host")
}

// standIn is an Ingress controller of one Ingress: it ends TLS with the Secret's
// certificate, and leads by host and path to the Service, through the API server.
func standIn(t *testing.T, client kubernetes.Interface, ingress *networkingv1.Ingress, pair *tls.Certificate) (address string) {
	t.Helper()
	api := client.CoreV1().RESTClient()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, rule := range ingress.Spec.Rules {
			for _, path := range rule.HTTP.Paths {
				if host, _, _ := strings.Cut(r.Host, ":"); host != rule.Host || !strings.HasPrefix(r.URL.Path, path.Path) {
					continue
				}
				to := path.Backend.Service
				base := api.Get().Namespace(ingress.Namespace).Resource("services").Name(fmt.Sprintf("%s:%d", to.Name, to.Port.Number)).SubResource("proxy").URL()
				(&httputil.ReverseProxy{
					Rewrite: func(p *httputil.ProxyRequest) {
						p.SetURL(&url.URL{Scheme: base.Scheme, Host: base.Host, Path: base.Path})
					},
					Transport: api.(*rest.RESTClient).Client.Transport,
				}).ServeHTTP(w, r)
				return
			}
		}
		http.NotFound(w, r)
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{*pair}}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// storage brings kind's own provisioner, and the class that kind has, where the cluster
// has none that works: a node image may have the class alone.
func (c *topicLab) storage(cluster string) {
	t, ctx := c.t, context.Background()
	t.Helper()
	const isDefault, provisioner = "storageclass.kubernetes.io/is-default-class", "rancher.io/local-path"
	classes, err := c.client.StorageV1().StorageClasses().List(ctx, metav1.ListOptions{})
	require.NoError(t, err)
	its := slices.IndexFunc(classes.Items, func(s storagev1.StorageClass) bool { return s.Annotations[isDefault] == "true" })
	deployments, err := c.client.AppsV1().Deployments("").List(ctx, metav1.ListOptions{FieldSelector: "metadata.name=local-path-provisioner"})
	require.NoError(t, err)
	if its >= 0 && (classes.Items[its].Provisioner != provisioner || len(deployments.Items) > 0) {
		return
	}
	const name, helper, namespace = "bootcamp.test/local-path-provisioner:v0.0.30", "bootcamp.test/volumehelper:v1", "local-path-storage"
	livelab.Image{Module: "provisioner", Name: name, User: "0"}.Load(t, cluster)
	livelab.Image{Module: "volumehelper", Name: helper, User: "0"}.Load(t, cluster)
	meta := metav1.ObjectMeta{Name: "local-path-provisioner", Namespace: namespace, Labels: map[string]string{"app": "local-path-provisioner"}}
	wide := metav1.ObjectMeta{Name: meta.Name}
	none := metav1.CreateOptions{}
	_, err = c.client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, none)
	require.NoError(t, err)
	_, err = c.client.CoreV1().ServiceAccounts(namespace).Create(ctx, &corev1.ServiceAccount{ObjectMeta: meta}, none)
	require.NoError(t, err)
	_, err = c.client.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: wide, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Name: meta.Name, Namespace: namespace}},
	}, none)
	require.NoError(t, err)
	raw, err := json.Marshal(map[string]any{
		"nodePathMap":  []any{map[string]any{"node": "DEFAULT_PATH_FOR_NON_LISTED_NODES", "paths": []string{"/var/local-path-provisioner"}}},
		"setupCommand": "/program", "teardownCommand": "/program",
	})
	require.NoError(t, err)
	pod, err := json.Marshal(&corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, ObjectMeta: metav1.ObjectMeta{Name: "helper-pod"},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "helper-pod", Image: helper, ImagePullPolicy: corev1.PullNever}}},
	})
	require.NoError(t, err)
	files, err := c.client.CoreV1().ConfigMaps(namespace).Create(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "local-path-config", Namespace: namespace},
		Data:       map[string]string{"config.json": string(raw), "helperPod.yaml": string(pod)},
	}, none)
	require.NoError(t, err)
	one := int32(1)
	_, err = c.client.AppsV1().Deployments(namespace).Create(ctx, &appsv1.Deployment{
		ObjectMeta: meta, Spec: appsv1.DeploymentSpec{
			Replicas: &one, Selector: &metav1.LabelSelector{MatchLabels: meta.Labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: meta.Labels}, Spec: corev1.PodSpec{
				ServiceAccountName: meta.Name,
				Containers: []corev1.Container{{
					Name: meta.Name, Image: name, ImagePullPolicy: corev1.PullNever,
					Args:         []string{"start", "--config", "/etc/config/config.json", "--service-account-name", meta.Name},
					Env:          []corev1.EnvVar{{Name: "POD_NAMESPACE", Value: namespace}, {Name: "CONFIG_MOUNT_PATH", Value: "/etc/config/"}},
					VolumeMounts: []corev1.VolumeMount{{Name: "config", MountPath: "/etc/config/"}},
				}},
				Volumes: []corev1.Volume{{Name: "config", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
					LocalObjectReference: corev1.LocalObjectReference{Name: files.Name},
				}}}},
			}},
		},
	}, none)
	require.NoError(t, err)
	if its < 0 {
		wait := storagev1.VolumeBindingWaitForFirstConsumer
		_, err = c.client.StorageV1().StorageClasses().Create(ctx, &storagev1.StorageClass{
			ObjectMeta:  metav1.ObjectMeta{Name: "standard", Annotations: map[string]string{isDefault: "true"}},
			Provisioner: provisioner, VolumeBindingMode: &wait,
		}, none)
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool {
		d, err := c.client.AppsV1().Deployments(namespace).Get(ctx, meta.Name, metav1.GetOptions{})
		return err == nil && d.Status.AvailableReplicas == 1
	}, 2*time.Minute, time.Second, "the provisioner does not start")
}
