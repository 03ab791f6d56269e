package check

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"k8sbootcamp/internal/course"
	"k8sbootcamp/internal/kubeclient"
	"k8sbootcamp/internal/printable"
	"k8sbootcamp/internal/sharedcluster"
)

// Network is the question of AskNetwork.
const Network = "others' pods and the metadata address are out of reach"

// MetadataAddress is where clouds give a machine its credentials.
const MetadataAddress = "169.254.169.254"

const (
	probeName     = "bootcamp-probe"
	probePatience = 40 * time.Second // to see how the connections end
	probeRemoval  = 5 * time.Second
	probeDeadline = int64(60) // seconds, after which the cluster ends a probe that nobody removed
)

// NetworkOptions say from where AskNetwork asks.
type NetworkOptions struct {
	Namespace string        // the student's
	Image     string        // of agnhost
	Patience  time.Duration // 0 is 40 s
}

// AskNetwork asks as a pod of a student on a shared cluster: of what a network policy
// should keep it from, what does it reach? The client is the administrator's, who may
// look for others to try. What is in reach is a warning, since the lab works and the
// remedy is the cluster's.
func AskNetwork(ctx context.Context, config *rest.Config, o NetworkOptions) Result {
	start := time.Now()
	seen, warning, err := askNetwork(ctx, config, o)
	r := Result{Question: Network, OK: true, Warning: warning, Detail: printable.Text(seen)}
	if err != nil {
		r = Unasked(Network, err)
	}
	r.Took = time.Since(start)
	return r
}

func askNetwork(ctx context.Context, config *rest.Config, o NetworkOptions) (seen string, warning bool, err error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return "", false, err
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(o.Patience, probePatience))
	defer cancel()
	p := &probe{client: client, namespace: o.Namespace}
	app, err := p.app(ctx)
	if err != nil || app == "" {
		return "not asked: replicas is 0", false, err
	}
	if p.neighbour, err = p.somebody(ctx); err != nil {
		return "", false, err
	}
	p.targets = map[string]string{probeControl: app, probeMetadata: net.JoinHostPort(MetadataAddress, "80")}
	if p.neighbour != nil {
		p.targets[probeNeighbour] = p.neighbour.address
	}
	ends, err := p.run(ctx, o.Image)
	var unknown *unknownError
	switch {
	case errors.As(err, &unknown):
		return unknown.Error(), true, nil
	case err != nil:
		return "", false, err
	}
	return p.judge(ends)
}

// unknownError is why nothing could be learned, of which the lab may be innocent.
type unknownError struct{ why string }

func (e *unknownError) Error() string { return "not known: " + e.why }

// The connections that are tried, and their containers' names.
const (
	probeControl   = "own-app" // without which the others prove nothing
	probeNeighbour = "neighbour"
	probeMetadata  = "metadata"
)

type probe struct {
	client    kubernetes.Interface
	namespace string
	targets   map[string]string // HOST:PORT
	neighbour *neighbour        // nil where there is nobody
}

type neighbour struct{ namespace, pod, address string }

// app is where the student's own app answers, empty where it has no pods.
func (p *probe) app(ctx context.Context) (string, error) {
	d, err := p.client.AppsV1().Deployments(p.namespace).Get(ctx, course.App, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	if d.Spec.Replicas != nil && *d.Spec.Replicas == 0 {
		return "", nil
	}
	s, err := p.client.CoreV1().Services(p.namespace).Get(ctx, course.Service, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	if len(s.Spec.Ports) == 0 {
		return "", fmt.Errorf("the Service %s has no port", s.Name)
	}
	return net.JoinHostPort(s.Spec.ClusterIP, strconv.Itoa(int(s.Spec.Ports[0].Port))), nil
}

// somebody is a pod that a student must not reach: another student's or, where the
// student is alone, one of the cluster's own.
func (p *probe) somebody(ctx context.Context) (*neighbour, error) {
	students, err := p.client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{LabelSelector: sharedcluster.LabelStudent + "=true"})
	if err != nil {
		return nil, err
	}
	for _, n := range students.Items {
		if n.Name == p.namespace || n.DeletionTimestamp != nil {
			continue
		}
		if found, err := p.listener(ctx, n.Name, "app="+course.App); found != nil || err != nil {
			return found, err
		}
	}
	return p.listener(ctx, metav1.NamespaceSystem, "")
}

const dnsPort = 53 // which students do reach

// listener is the first pod of a namespace that serves, by TCP, what is not DNS.
func (p *probe) listener(ctx context.Context, namespace, selector string) (*neighbour, error) {
	pods, err := p.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, err
	}
	for _, pod := range pods.Items {
		if !podReady(&pod) || pod.DeletionTimestamp != nil || pod.Spec.HostNetwork || pod.Status.PodIP == "" {
			continue
		}
		for _, c := range pod.Spec.Containers {
			for _, port := range c.Ports {
				if port.ContainerPort != dnsPort && (port.Protocol == corev1.ProtocolTCP || port.Protocol == "") {
					return &neighbour{namespace, pod.Name, net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(int(port.ContainerPort)))}, nil
				}
			}
		}
	}
	return nil, nil
}

// pod has a container for each connection, and one for the app's that comes before: a
// network plugin may need a moment to hear of a new pod. For the same reason they run
// again and again.
func (p *probe) pod(image string) *corev1.Pod {
	no, yes, none, nobody, deadline := false, true, int64(0), int64(65534), probeDeadline
	amounts := func(cpu, memory, storage string) corev1.ResourceList {
		return corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory),
			corev1.ResourceEphemeralStorage: resource.MustParse(storage),
		}
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: probeName + "-", Labels: map[string]string{"app": probeName}},
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyAlways, ActiveDeadlineSeconds: &deadline, TerminationGracePeriodSeconds: &none,
			AutomountServiceAccountToken: &no, EnableServiceLinks: &no,
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot: &yes, RunAsUser: &nobody, RunAsGroup: &nobody,
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
		},
	}
	for name, target := range p.targets {
		c := corev1.Container{
			Name: name, Image: image, Args: []string{"connect", "--timeout=2s", target},
			TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
			Resources:                corev1.ResourceRequirements{Requests: amounts("10m", "16Mi", "1Mi"), Limits: amounts("100m", "64Mi", "16Mi")},
			SecurityContext: &corev1.SecurityContext{
				AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes,
				Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			},
		}
		if name == probeControl {
			pod.Spec.InitContainers = append(pod.Spec.InitContainers, c)
		} else {
			pod.Spec.Containers = append(pod.Spec.Containers, c)
		}
	}
	slices.SortFunc(pod.Spec.Containers, func(a, b corev1.Container) int { return cmp.Compare(a.Name, b.Name) })
	return pod
}

// run makes the pod, waits for how the connections end, and removes it.
func (p *probe) run(ctx context.Context, image string) (ends map[string]ending, err error) {
	pods := p.client.CoreV1().Pods(p.namespace)
	if err := p.sweep(ctx); err != nil {
		return nil, err
	}
	pod, err := pods.Create(ctx, p.pod(image), metav1.CreateOptions{})
	if apierrors.IsForbidden(err) && strings.Contains(err.Error(), "exceeded quota") {
		return nil, &unknownError{"the quota of the namespace has no room for the pod that asks"}
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeRemoval)
		defer cancel()
		now := metav1.NewDeleteOptions(0)
		now.Preconditions = metav1.NewUIDPreconditions(string(pod.UID))
		if gone := pods.Delete(ctx, pod.Name, *now); gone != nil && !apierrors.IsNotFound(gone) && !apierrors.IsConflict(gone) {
			err = errors.Join(err, fmt.Errorf("pod %s stays in %s; it ends by itself in a minute: %w", pod.Name, p.namespace, kubeclient.Explain(gone)))
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return ends, p.late(ctx, ends)
		case <-time.After(pollInterval):
		}
		now, err := pods.Get(ctx, pod.Name, metav1.GetOptions{})
		if err != nil {
			if ctx.Err() != nil {
				return ends, p.late(ctx, ends)
			}
			return nil, err
		}
		ends = map[string]ending{}
		settled := 0
		for _, s := range slices.Concat(now.Status.InitContainerStatuses, now.Status.ContainerStatuses) {
			e := lastEnding(s)
			ends[s.Name] = e
			if e.settled(s.Name) {
				settled++
			}
		}
		control := ends[probeControl]
		if settled == len(p.targets) || control.settled(probeControl) && !control.connected {
			return ends, nil
		}
	}
}

// sweep removes the pods of checks that were killed.
func (p *probe) sweep(ctx context.Context) error {
	left, err := p.client.CoreV1().Pods(p.namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + probeName})
	if err != nil {
		return err
	}
	for _, pod := range left.Items {
		if pod.Status.Phase == corev1.PodFailed {
			if err := p.client.CoreV1().Pods(p.namespace).Delete(ctx, pod.Name, *metav1.NewDeleteOptions(0)); err != nil && !apierrors.IsNotFound(err) {
				return err
			}
		}
	}
	return nil
}

// late is the error of a pod that has not told all when the time is up, nil where what
// it told will do.
func (p *probe) late(ctx context.Context, ends map[string]ending) error {
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return ctx.Err()
	}
	if control := ends[probeControl]; control.runs > 0 && !control.connected {
		return nil // which says enough
	}
	if len(ends) == len(p.targets) && !slices.ContainsFunc(slices.Collect(maps.Values(ends)), func(e ending) bool { return e.runs == 0 }) {
		return nil
	}
	why := "its containers have not run"
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeRemoval)
	defer cancel()
	if found, err := troubles(ctx, p.client, p.namespace, probeName); err == nil && len(found) > 0 {
		why = found[0].String()
	}
	return &unknownError{"the pod that asks did not get to it in time: " + why}
}

// ending is how a container's last connection ended.
type ending struct {
	runs      int // so far
	connected bool
	word      string // agnhost's
}

// refused is agnhost's word for a host that answers, where nobody listens.
const refused = "REFUSED"

func lastEnding(s corev1.ContainerStatus) ending {
	runs, last := int(s.RestartCount), s.LastTerminationState.Terminated
	if s.State.Terminated != nil {
		runs, last = runs+1, s.State.Terminated
	}
	if last == nil {
		return ending{}
	}
	word, _, _ := strings.Cut(strings.TrimSpace(last.Message), "\n")
	return ending{max(runs, 1), last.ExitCode == 0, word}
}

// settled tells whether another try would say nothing new. A new pod may reach
// everything, or nothing, before the network knows of it; so what should not be counts
// only at the third try, ten seconds after the second.
func (e ending) settled(target string) bool {
	well := e.runs > 0 && !e.connected && !strings.HasPrefix(e.word, refused)
	if target == probeControl {
		well = e.connected
	}
	return well || e.runs >= 3
}

// judge says what the endings mean.
func (p *probe) judge(ends map[string]ending) (seen string, warning bool, err error) {
	if !ends[probeControl].connected {
		return "", false, fmt.Errorf("a pod of the namespace does not reach the app through its Service (%s: %s), so what else it does not reach proves nothing",
			p.targets[probeControl], cmp.Or(ends[probeControl].word, "no answer"))
	}
	at := ends[probeNeighbour]
	var in, out []string
	if p.neighbour != nil {
		name := fmt.Sprintf("pod %s of %s", p.neighbour.pod, p.neighbour.namespace)
		if at.connected {
			in = append(in, fmt.Sprintf("the cluster does not enforce network policies: %s was reached; students can reach each other's pods", name))
		} else {
			out = append(out, name)
		}
	}
	// Where a policy refuses instead of dropping, the neighbour, who does listen,
	// seems to refuse as well.
	rejects := strings.HasPrefix(at.word, refused)
	if e := ends[probeMetadata]; e.connected || strings.HasPrefix(e.word, refused) && !rejects {
		in = append(in, "the metadata address "+MetadataAddress+" was reached; in a cloud, pods may get the node's own rights there")
	} else {
		out = append(out, MetadataAddress)
	}
	if len(in) > 0 {
		return strings.Join(in, "; "), true, nil
	}
	seen = "the app was reached from a pod, and not: " + strings.Join(out, ", ")
	if p.neighbour == nil {
		seen += "; there was nobody else to try"
	}
	return seen, false, nil
}
