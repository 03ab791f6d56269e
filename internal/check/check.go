// Package check asks the course's own acceptance questions of a running lab:
// what the text has the student see with kubectl and a browser. It works with
// any kubeconfig that may do what the course does.
package check

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sort"
	"strings"
	"sync/atomic"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"k8sbootcamp/internal/course"
	"k8sbootcamp/internal/kubeclient"
	"k8sbootcamp/internal/printable"
)

// The questions, as a Result has them.
const (
	Usable    = "the kubeconfig is usable" // asked aloud only where it is not
	Nodes     = "every node is Ready"
	Pods      = "the app has all its pods"
	Answers   = "the app answers through its Service"
	ComesBack = "a deleted pod comes back"
	Targets   = "every Prometheus target is up"
	Account   = "Prometheus's account can list pods and cannot delete them"
)

const (
	patience     = 90 * time.Second
	hurry        = 10 * time.Second // where nodes are not at work
	pollInterval = time.Second
)

// prometheusProxy names Prometheus's Service in a proxy path, where a named port
// must be named.
const prometheusProxy = course.Prometheus + ":" + course.HTTP

// Options say whose lab is asked.
type Options struct {
	Kubeconfig []byte // YAML
	Context    string // of the kubeconfig; empty is its current one
	Namespace  string // empty is "default"
	Monitoring bool   // chapter 4 is there

	PodMonitoring bool // the exercise of chapter 4-4 is there
	Shared        bool // the cluster is a class's, and has cAdvisor's metrics from it
	Disrupt       bool // delete a pod and see it come back (chapter 3-4)

	// Patience is how long a new pod, and Prometheus's first scrapes, may take; 0 is
	// a minute and a half.
	Patience time.Duration
}

// Result is the answer to one question.
type Result struct {
	Question string
	OK       bool
	Warning  bool   // the lab is well, and something else should be better
	Detail   string // what was seen; for a failure, the cause
	Took     time.Duration
}

// Failed returns the results that are not OK.
func Failed(all []Result) []Result {
	var out []Result
	for _, r := range all {
		if !r.OK {
			out = append(out, r)
		}
	}
	return out
}

// Unasked is the result of a question that could not be asked, or was not answered.
func Unasked(question string, err error) Result {
	return Result{Question: question, Detail: printable.Text(kubeclient.Explain(err).Error())}
}

// Run asks every question, one after the other; one failure hides no other.
func Run(ctx context.Context, o Options) []Result {
	if o.Namespace == "" {
		o.Namespace = metav1.NamespaceDefault
	}
	if o.Patience == 0 {
		o.Patience = patience
	}
	config, err := kubeclient.FromBytes(o.Kubeconfig, o.Context)
	if err != nil {
		return []Result{{Question: Usable, Detail: err.Error()}}
	}
	c := &checker{Options: o, config: config}
	watched := rest.CopyConfig(config)
	watched.Wrap(c.clock.watch)
	if c.client, err = kubernetes.NewForConfig(watched); err != nil {
		return []Result{{Question: Usable, Detail: err.Error()}}
	}
	questions := []question{
		{Nodes, c.nodes},
		{Pods, c.deployment},
		{Answers, c.answers},
	}
	if o.Disrupt {
		questions = append(questions, question{ComesBack, c.comesBack})
	}
	if o.Monitoring {
		questions = append(questions,
			question{Targets, c.targets},
			question{Account, c.account})
	}
	var out []Result
	for _, q := range questions {
		start := time.Now()
		detail, err := q.ask(ctx)
		r := Result{Question: q.text, OK: err == nil, Detail: detail}
		if err != nil {
			r = Unasked(q.text, err)
			if q.text == Nodes { // nothing gets better by waiting
				c.Patience = min(c.Patience, hurry)
			}
		}
		r.Took = time.Since(start)
		out = append(out, r)
	}
	return out
}

type question struct {
	text string
	ask  func(context.Context) (seen string, err error)
}

type checker struct {
	Options
	config *rest.Config
	client kubernetes.Interface
	clock  clock
}

// nodes asks for each node's condition and, where the asker may, for its lease, in
// which it says every ten seconds that it is there: a cluster that was stopped and
// started tells at first what was true before that.
func (c *checker) nodes(ctx context.Context) (string, error) {
	list, err := c.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", err
	}
	var not []string
	for _, n := range list.Items {
		ready := false
		for _, cond := range n.Status.Conditions {
			ready = ready || cond.Type == corev1.NodeReady && cond.Status == corev1.ConditionTrue
		}
		if !ready {
			not = append(not, n.Name)
		}
	}
	if len(not) > 0 || len(list.Items) == 0 {
		return "", fmt.Errorf("of %d nodes these are not Ready: %s", len(list.Items), strings.Join(not, ", "))
	}
	if err := c.silent(ctx); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d of %d", len(list.Items), len(list.Items)), nil
}

// How old a lease may be: fresh is one that was renewed in time, and after silence its
// holder is not at work. Kubernetes itself waits as long before it calls a node
// NotReady.
const (
	fresh   = 12 * time.Second
	silence = 40 * time.Second
)

// silent is an error that names the nodes, and the scheduler and the controller
// manager, that do not renew their leases. One that is neither fresh nor old tells
// nothing yet, so it waits for what becomes of it.
func (c *checker) silent(ctx context.Context) error {
	for {
		oldest, names, err := c.leases(ctx)
		switch {
		case apierrors.IsForbidden(err): // a student on a shared cluster
			return nil
		case err != nil:
			return err
		case len(names) > 0:
			return fmt.Errorf("%s; `class up` repairs that", strings.Join(names, ", "))
		case oldest <= fresh:
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pollInterval):
		}
	}
}

// leases tells the age of the oldest lease, and whose are older than silence.
func (c *checker) leases(ctx context.Context) (oldest time.Duration, silent []string, err error) {
	for _, namespace := range []string{corev1.NamespaceNodeLease, metav1.NamespaceSystem} {
		list, err := c.client.CoordinationV1().Leases(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return 0, nil, err
		}
		now := c.clock.now()
		for _, l := range list.Items {
			rules := l.Name == "kube-scheduler" || l.Name == "kube-controller-manager"
			if l.Spec.RenewTime == nil || namespace == metav1.NamespaceSystem && !rules {
				continue
			}
			age := now.Sub(l.Spec.RenewTime.Time)
			oldest = max(oldest, age)
			if age > silence {
				silent = append(silent, fmt.Sprintf("%s has not been heard of for %s", l.Name, age.Round(time.Second)))
			}
		}
	}
	return oldest, silent, nil
}

// clock is the cluster's, which may not be this machine's: Docker Desktop's stands
// still while a laptop sleeps.
type clock struct{ date atomic.Pointer[time.Time] }

// watch is a transport that reads the clock off every answer.
func (c *clock) watch(next http.RoundTripper) http.RoundTripper { return reader{c, next} }

type reader struct {
	clock *clock
	next  http.RoundTripper
}

func (r reader) RoundTrip(request *http.Request) (*http.Response, error) {
	answer, err := r.next.RoundTrip(request)
	if err == nil {
		if date, err := http.ParseTime(answer.Header.Get("Date")); err == nil {
			r.clock.date.Store(&date)
		}
	}
	return answer, err
}

// now is when the cluster last answered, by its own clock.
func (c *clock) now() time.Time {
	if date := c.date.Load(); date != nil {
		return *date
	}
	return time.Now()
}

func (c *checker) deployment(ctx context.Context) (string, error) {
	d, err := c.client.AppsV1().Deployments(c.Namespace).Get(ctx, course.App, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	want := int32(1)
	if d.Spec.Replicas != nil {
		want = *d.Spec.Replicas
	}
	seen := fmt.Sprintf("%d of %d", d.Status.AvailableReplicas, want)
	if d.Status.AvailableReplicas == want && d.Status.ObservedGeneration >= d.Generation {
		return seen, nil
	}
	if found, err := troubles(ctx, c.client, c.Namespace, course.App); err == nil && len(found) > 0 {
		return "", fmt.Errorf("%s pods are available; %s", seen, found[0])
	}
	return "", fmt.Errorf("%s pods are available", seen)
}

// replicas is how many pods the app is meant to have.
func (c *checker) replicas(ctx context.Context) (int32, error) {
	d, err := c.client.AppsV1().Deployments(c.Namespace).Get(ctx, course.App, metav1.GetOptions{})
	if err != nil {
		return 0, err
	}
	if d.Spec.Replicas == nil {
		return 1, nil
	}
	return *d.Spec.Replicas, nil
}

func (c *checker) answers(ctx context.Context) (string, error) {
	if n, err := c.replicas(ctx); err != nil {
		return "", err
	} else if n == 0 {
		return "not asked: replicas is 0", nil
	}
	var body []byte
	err := c.settle(ctx, func(ctx context.Context) (err error) {
		body, err = c.client.CoreV1().Services(c.Namespace).ProxyGet("", course.Service, "", "/", nil).DoRaw(ctx)
		if err == nil && len(body) == 0 {
			err = errors.New("an empty answer")
		}
		return err
	})
	if err != nil {
		return "", err
	}
	first, _, _ := strings.Cut(string(body), "\n")
	return fmt.Sprintf("%d bytes: %s", len(body), printable.Line(first, 40)), nil
}

func (c *checker) comesBack(ctx context.Context) (string, error) {
	want, err := c.replicas(ctx)
	if err != nil {
		return "", err
	}
	if want == 0 {
		return "not asked: replicas is 0", nil
	}
	pods := c.client.CoreV1().Pods(c.Namespace)
	selector := metav1.ListOptions{LabelSelector: "app=" + course.App}
	before, err := pods.List(ctx, selector)
	if err != nil {
		return "", err
	}
	if len(before.Items) == 0 {
		return "", errors.New("there is no pod to delete")
	}
	old := map[types.UID]bool{}
	for _, p := range before.Items {
		old[p.UID] = true
	}
	victim := before.Items[0]
	start := time.Now()
	if err := pods.Delete(ctx, victim.Name, metav1.DeleteOptions{}); err != nil {
		return "", err
	}
	var fresh string
	err = c.settle(ctx, func(ctx context.Context) error {
		now, err := pods.List(ctx, selector)
		if err != nil {
			return err
		}
		ready := int32(0)
		fresh = ""
		for _, p := range now.Items {
			if p.DeletionTimestamp != nil || !podReady(&p) {
				continue
			}
			ready++
			if !old[p.UID] {
				fresh = p.Name
			}
		}
		if ready != want || fresh == "" {
			return fmt.Errorf("after %s was deleted, %d of %d pods are ready, new among them: %q", victim.Name, ready, want, fresh)
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s came for %s after %s", fresh, victim.Name, time.Since(start).Round(100*time.Millisecond)), nil
}

func podReady(p *corev1.Pod) bool {
	for _, cond := range p.Status.Conditions {
		if cond.Type == corev1.PodReady {
			return cond.Status == corev1.ConditionTrue
		}
	}
	return false
}

// targets asks Prometheus itself, as its Targets page does.
func (c *checker) targets(ctx context.Context) (string, error) {
	nodes, err := c.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", err
	}
	want := map[string]int{course.JobAPIServer: 1, course.JobNodeExporter: len(nodes.Items), course.JobPrometheus: 1}
	if c.PodMonitoring {
		want[course.JobKubeStateMetrics], want[course.JobCAdvisor] = 1, len(nodes.Items)
		if c.Shared {
			want[course.JobCAdvisor] = 1
		}
	}
	err = c.settle(ctx, func(ctx context.Context) error {
		raw, err := c.client.CoreV1().Services(c.Namespace).
			ProxyGet("", prometheusProxy, "", "/api/v1/targets", map[string]string{"state": "active"}).DoRaw(ctx)
		if err != nil {
			return err
		}
		return compareTargets(raw, want)
	})
	if err == nil {
		return counts(want), nil
	}
	if lacking := c.withoutExporter(ctx, nodes.Items); len(lacking) > 0 {
		return "", fmt.Errorf("%w; no node-exporter runs on %s", err, strings.Join(lacking, ", "))
	}
	return "", err
}

// withoutExporter are the nodes on which no pod of node-exporter runs, as far as
// the asker may see them: on a shared cluster they are the class's.
func (c *checker) withoutExporter(ctx context.Context, nodes []corev1.Node) (lacking []string) {
	pods, err := c.client.CoreV1().Pods(c.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + course.NodeExporter})
	if err != nil || len(pods.Items) == 0 {
		return nil
	}
	for _, n := range nodes {
		if !slices.ContainsFunc(pods.Items, func(p corev1.Pod) bool { return p.Spec.NodeName == n.Name }) {
			lacking = append(lacking, n.Name)
		}
	}
	return lacking
}

// compareTargets holds Prometheus's answer (its HTTP API, /api/v1/targets)
// against the number of targets that each job must have, all of them up.
func compareTargets(raw []byte, want map[string]int) error {
	var answer struct {
		Data struct {
			ActiveTargets []struct {
				Labels    map[string]string `json:"labels"`
				Health    string            `json:"health"`
				LastError string            `json:"lastError"`
				ScrapeURL string            `json:"scrapeUrl"`
			} `json:"activeTargets"`
		} `json:"data"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return fmt.Errorf("the answer of Prometheus: %w", err)
	}
	up := map[string]int{}
	var errs []error
	for _, t := range answer.Data.ActiveTargets {
		if t.Health == "up" {
			up[t.Labels["job"]]++
		} else {
			errs = append(errs, fmt.Errorf("%s is %s: %s", t.ScrapeURL, t.Health, t.LastError))
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	if counts(up) != counts(want) {
		return fmt.Errorf("targets up: %s; expected: %s", counts(up), counts(want))
	}
	return nil
}

func counts(m map[string]int) string {
	out := make([]string, 0, len(m))
	for job, n := range m {
		out = append(out, fmt.Sprintf("%s %d", job, n))
	}
	sort.Strings(out)
	return strings.Join(out, ", ")
}

// account asks as Prometheus itself, with a token of its ServiceAccount, so
// that the asker needs no right to review others.
func (c *checker) account(ctx context.Context) (string, error) {
	seconds := int64(600)
	token, err := c.client.CoreV1().ServiceAccounts(c.Namespace).CreateToken(ctx, course.Prometheus,
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	as := rest.AnonymousClientConfig(c.config)
	as.Timeout = kubeclient.Timeout
	as.BearerToken = token.Status.Token
	client, err := kubernetes.NewForConfig(as)
	if err != nil {
		return "", err
	}
	for verb, want := range map[string]bool{"list": true, "delete": false} {
		review, err := client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
			Spec: authorizationv1.SelfSubjectAccessReviewSpec{
				ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: c.Namespace, Verb: verb, Resource: "pods"},
			},
		}, metav1.CreateOptions{})
		if err != nil {
			return "", err
		}
		if review.Status.Allowed != want {
			return "", fmt.Errorf("the account prometheus may %s pods: %s; expected: %s", verb, yesNo[review.Status.Allowed], yesNo[want])
		}
	}
	return "list yes, delete no", nil
}

var yesNo = map[bool]string{true: "yes", false: "no"}

// settle asks again until there is no error, as long as patience lasts, and
// returns the last error.
func (c *checker) settle(ctx context.Context, ask func(context.Context) error) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, pollInterval, c.Patience, true, func(ctx context.Context) (bool, error) {
		if err := ask(ctx); err != nil {
			if ctx.Err() == nil || last == nil {
				last = err
			}
			return false, nil
		}
		last = nil
		return true, nil
	})
	if last != nil {
		return last
	}
	return err
}
