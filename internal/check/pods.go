package check

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"k8sbootcamp/internal/printable"
)

// Trouble is what keeps one pod, or a workload's pods, from being ready.
type Trouble struct {
	Object string // such as "pod bootcamp-1"
	Image  string // where the image is the trouble
	Why    string // in words
	Remedy string // what to do about it
	Slow   bool   // waiting may be all that it takes
}

// troubleLength is how long a trouble may be, in characters: a line of a terminal
// or two.
const troubleLength = 200

// String is the trouble on one line of at most 200 characters; what is cut is the
// middle of names, and then the reason.
func (t Trouble) String() string {
	head := printable.Middle(t.Object, 48) + ": "
	if t.Image != "" {
		head = printable.Middle(t.Object, 40) + ": image " + printable.Middle(t.Image, 56) + ": "
	}
	tail := "; " + t.Remedy
	room := max(20, troubleLength-len([]rune(head))-len([]rune(tail)))
	return printable.Line(head+printable.Line(t.Why, room)+tail, troubleLength)
}

// Troubles asks the cluster what keeps pods from being ready, the pods of an app
// (their label) or, where it is empty, all of the namespace. What waiting does not mend
// comes first, and of that an image's trouble, for others follow from it.
func Troubles(ctx context.Context, config *rest.Config, namespace, app string) ([]Trouble, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	return troubles(ctx, client, namespace, app)
}

func troubles(ctx context.Context, client kubernetes.Interface, namespace, app string) ([]Trouble, error) {
	var options metav1.ListOptions
	if app != "" {
		options.LabelSelector = "app=" + app
	}
	pods, err := client.CoreV1().Pods(namespace).List(ctx, options)
	if err != nil {
		return nil, err
	}
	var found []Trouble
	for _, p := range pods.Items {
		if p.DeletionTimestamp == nil && !podReady(&p) {
			found = append(found, podTrouble(ctx, client, &p))
		}
	}
	deployments, err := client.AppsV1().Deployments(namespace).List(ctx, options)
	if err != nil {
		return nil, err
	}
	for _, d := range deployments.Items {
		for _, c := range d.Status.Conditions {
			if c.Type == "ReplicaFailure" && c.Status == corev1.ConditionTrue {
				remedy := "`kubectl describe replicasets` tells more"
				if strings.Contains(c.Message, "exceeded quota") {
					remedy = "fewer replicas, or a larger quota (quotaPods, quotaCPU, quotaMemory)"
				}
				found = append(found, Trouble{Object: "Deployment " + d.Name, Why: "its pods are refused: " + c.Message, Remedy: remedy})
			}
		}
	}
	slices.SortStableFunc(found, Worse)
	return found, nil
}

// Worse compares troubles, the worst first.
func Worse(a, b Trouble) int {
	rank := func(t Trouble) int {
		switch {
		case t.Slow:
			return 2
		case t.Image == "":
			return 1
		}
		return 0
	}
	return cmp.Or(rank(a)-rank(b), strings.Compare(b.Image, a.Image))
}

func podTrouble(ctx context.Context, client kubernetes.Interface, p *corev1.Pod) Trouble {
	t := Trouble{Object: "pod " + p.Name}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			t.Why, t.Remedy = "it cannot be scheduled: "+c.Message, "fewer replicas, more workers, or a larger machine"
			return t
		}
	}
	for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		if c.Ready {
			continue
		}
		logs := "`kubectl logs " + p.Name + "` tells more"
		wait, ended := c.State.Waiting, c.State.Terminated
		if ended == nil {
			ended = c.LastTerminationState.Terminated
		}
		switch {
		case wait != nil && imageReasons[wait.Reason]:
			t.Image = c.Image
			said := wait.Message
			if pull := lastPull(ctx, client, p); pull != "" && !strings.Contains(said, "rpc error") {
				said += ": " + pull // a back-off alone does not say why
			}
			t.Why, t.Remedy = explainImage(said)
			return t
		case ended != nil && strings.Contains(ended.Message, "exec format error"):
			t.Image = c.Image
			t.Why, t.Remedy = explainImage(ended.Message)
			return t
		case ended != nil && ended.Reason == "OOMKilled":
			t.Why, t.Remedy = "container "+c.Name+" needs more memory than its limit", logs
			return t
		case ended != nil:
			t.Why, t.Remedy = fmt.Sprintf("container %s ended with exit code %d", c.Name, ended.ExitCode), logs
			if wait != nil && wait.Reason == "CrashLoopBackOff" {
				t.Why += ", again and again"
			}
			return t
		case wait != nil && wait.Message != "":
			t.Why, t.Remedy = wait.Reason+": "+wait.Message, "`kubectl describe pod "+p.Name+"` tells more"
			return t
		case c.State.Running != nil:
			t.Why, t.Remedy = "container "+c.Name+" runs, but does not answer its readiness probe", logs
			return t
		}
	}
	t.Why, t.Remedy, t.Slow = "its containers are being started", "on a slow network raise rolloutTimeout", true
	if image := pulled(ctx, client, p); image != "" {
		t.Image, t.Why = image, "it is still being pulled"
	}
	return t
}

var imageReasons = map[string]bool{
	"ErrImagePull": true, "ImagePullBackOff": true, "InvalidImageName": true, "ErrImageNeverPull": true, "ImageInspectError": true, "RegistryUnavailable": true,
}

// lastPull is what the kubelet said of its last failed pull for a pod.
func lastPull(ctx context.Context, client kubernetes.Interface, p *corev1.Pod) string {
	for _, e := range slices.Backward(eventsOf(ctx, client, p)) {
		if e.Type == corev1.EventTypeWarning && strings.Contains(e.Message, "ailed to pull image") {
			return e.Message
		}
	}
	return ""
}

// pulled is the image that the kubelet is pulling for a pod, if any.
func pulled(ctx context.Context, client kubernetes.Interface, p *corev1.Pod) string {
	events := eventsOf(ctx, client, p)
	if len(events) == 0 || events[len(events)-1].Reason != "Pulling" {
		return ""
	}
	for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		if strings.Contains(events[len(events)-1].Message, `"`+c.Image+`"`) {
			return c.Image
		}
	}
	return ""
}

// eventsOf are a pod's, the latest last; none where they cannot be had, for they
// only would have said it better.
func eventsOf(ctx context.Context, client kubernetes.Interface, p *corev1.Pod) []corev1.Event {
	events, err := client.CoreV1().Events(p.Namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=" + p.Name})
	if err != nil {
		return nil
	}
	slices.SortStableFunc(events.Items, func(a, b corev1.Event) int { return lastSeen(a).Compare(lastSeen(b)) })
	return events.Items
}

func lastSeen(e corev1.Event) time.Time {
	return slices.MaxFunc([]time.Time{e.FirstTimestamp.Time, e.LastTimestamp.Time, e.EventTime.Time}, time.Time.Compare)
}

// imageCauses are why an image cannot be pulled or run, by what containerd and the
// registries say; the first that fits counts.
var imageCauses = []struct {
	said        []string // in lower case
	why, remedy string
}{
	{[]string{"429", "toomanyrequests", "rate limit"}, "the registry's rate limit for this address is reached (429)", "wait, log in to the registry, or use a mirror"},
	{[]string{"x509", "certificate"}, "the registry's certificate is not trusted (a proxy's, perhaps)", "give the nodes the proxy's certificate, or use another network"},
	{[]string{"no such host", "server misbehaving", "name resolution"}, "no such host", "check the image's registry and this machine's DNS"},
	{[]string{"no match for platform", "exec format error", "no matching manifest"}, "it is not for this machine's architecture", "use edition=current, or an image for it"},
	{[]string{"schema 1", "schema1", "prettyjws", "schema version 1"}, "it is a schema 1 image, which these nodes refuse", "use edition=current, or another echoImage"},
	{[]string{"unauthorized", "authentication required", "denied", "forbidden"}, "the registry denies access", "check the image's name; a private one needs a login"},
	{[]string{"not found", "manifest unknown", "notfound", "does not exist"}, "not found", "check the image's name and tag"},
	{[]string{"connection refused", "timeout", "deadline exceeded", "unreachable", "proxyconnect", "connection reset", "eof"}, "the registry does not answer", "check this machine's network and proxy"},
	{[]string{"invalidimagename", "couldn't parse image", "invalid reference"}, "it is no valid name", "check the image's name"},
	{[]string{"never pull", "neverpull"}, "the node does not have it, and may not pull it", "load it into the node, or allow pulls"},
}

func explainImage(said string) (why, remedy string) {
	lower := strings.ToLower(said)
	for _, c := range imageCauses {
		if slices.ContainsFunc(c.said, func(part string) bool { return strings.Contains(lower, part) }) {
			return c.why, c.remedy
		}
	}
	return said, "check the image's name and the network"
}
