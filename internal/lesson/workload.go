package lesson

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/texttheater/golang-levenshtein/levenshtein"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"

	"k8sbootcamp/internal/course"
)

// workload is what makes pods.
type workload struct {
	kind, name  string
	wants       int32 // pods
	selector    *metav1.LabelSelector
	pod         corev1.PodTemplateSpec
	behind      bool   // its controller has not seen its last change
	refused     string // why its pods cannot be made
	created     time.Time
	progressing bool // pods of an earlier version are still there
}

func (w *workload) String() string { return w.kind + " " + w.name }

func (s *seen) deployment(name string) *workload {
	for _, d := range s.deployments {
		if d.Name != name {
			continue
		}
		w := &workload{kind: "Deployment", name: name, wants: 1, selector: d.Spec.Selector, pod: d.Spec.Template, created: d.CreationTimestamp.Time,
			behind: d.Status.ObservedGeneration < d.Generation, progressing: d.Status.UpdatedReplicas < d.Status.Replicas}
		if d.Spec.Replicas != nil {
			w.wants = *d.Spec.Replicas
		}
		for _, c := range d.Status.Conditions {
			if c.Type == "ReplicaFailure" && c.Status == corev1.ConditionTrue {
				w.refused = c.Message
			}
		}
		return w
	}
	return nil
}

func (s *seen) daemonSet(name string) *workload {
	for _, d := range s.daemonSets {
		if d.Name == name {
			return &workload{kind: "DaemonSet", name: name, wants: d.Status.DesiredNumberScheduled, selector: d.Spec.Selector, pod: d.Spec.Template,
				created: d.CreationTimestamp.Time, behind: d.Status.ObservedGeneration < d.Generation}
		}
	}
	return nil
}

func (s *seen) statefulSet(name string) *workload {
	for _, d := range s.statefulSets {
		if d.Name != name {
			continue
		}
		w := &workload{kind: "StatefulSet", name: name, wants: 1, selector: d.Spec.Selector, pod: d.Spec.Template,
			created: d.CreationTimestamp.Time, behind: d.Status.ObservedGeneration < d.Generation}
		if d.Spec.Replicas != nil {
			w.wants = *d.Spec.Replicas
		}
		return w
	}
	return nil
}

func (s *seen) service(name string) *corev1.Service {
	return named(s.services, name, func(o corev1.Service) string { return o.Name })
}

func (s *seen) configMap(name string) *corev1.ConfigMap {
	return named(s.configMaps, name, func(o corev1.ConfigMap) string { return o.Name })
}

func (s *seen) account(name string) *corev1.ServiceAccount {
	return named(s.accounts, name, func(o corev1.ServiceAccount) string { return o.Name })
}

func named[T any](all []T, name string, of func(T) string) *T {
	if i := slices.IndexFunc(all, func(o T) bool { return of(o) == name }); i >= 0 {
		return &all[i]
	}
	return nil
}

func names[T any](all []T, of func(T) string) []string {
	out := make([]string, len(all))
	for i, o := range all {
		out[i] = of(o)
	}
	return out
}

// exists judges whether an object of a name is there; others are the objects of its
// kind. Where it is not, the namespaces are looked at that the asker may see.
func (s *seen) exists(ctx context.Context, kind string, of schema.GroupVersionResource, name string, others []string) (finding, error) {
	if slices.Contains(others, name) {
		return good()
	}
	if near := nearest(name, others); near != "" {
		return wrong("There is no %[1]s %[2]s, but there is a %[1]s %[3]s: compare metadata.name with the text, letter by letter.",
			"%[1]s %[2]s はありませんが、%[1]s %[3]s があります。metadata.name をテキストと一文字ずつ見比べてください。", kind, name, near)
	}
	if wide[of.Resource] {
		return missing("There is no %s %s yet.", "%s %s はまだありません。", kind, name)
	}
	if found := s.elsewhere(ctx, of, name); len(found) > 0 {
		return wrong("%[1]s %[2]s is in namespace %[3]s, and not in %[4]s: look at metadata.namespace, and at the option -n of kubectl.",
			"%[1]s %[2]s はネームスペース %[4]s ではなく %[3]s にあります。metadata.namespace と kubectl の -n オプションを見直してください。", kind, name, found, s.namespace)
	}
	return missing("There is no %s %s in namespace %s yet.", "%s %s はまだネームスペース %s にありません。", kind, name, s.namespace)
}

// wide are the resources that are in no namespace.
var wide = map[string]bool{"clusterroles": true, "clusterrolebindings": true}

// elsewhere are the other namespaces that have an object of this name, as far as the
// asker may look.
func (s *seen) elsewhere(ctx context.Context, of schema.GroupVersionResource, name string) (found []string) {
	all, err := s.lab.metadata.Resource(of).List(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	if err != nil {
		return nil // it only would have said more
	}
	for _, o := range all.Items {
		if o.Namespace != s.namespace {
			found = append(found, o.Namespace)
		}
	}
	return found
}

// nearest is the name that was most likely meant for another: few letters differ.
func nearest(name string, others []string) string {
	best, least := "", max(2, len(name)/3)+1
	for _, o := range others {
		d := levenshtein.DistanceForStrings([]rune(name), []rune(o), levenshtein.DefaultOptions)
		if slices.Contains(known, o) || d >= least {
			continue
		}
		best, least = o, d
	}
	return best
}

// known are the names of the course and of Kubernetes itself, none of which is
// another one misspelt.
var known = []string{
	course.App, course.Service, course.NodeExporter, course.Prometheus, course.KubeStateMetrics, course.Grafana,
	course.TopicEnv, course.TopicConfigMap, course.TopicConfigMapEnv, course.TopicSecret, course.TopicStatefulSet, course.TopicVolume,
	"default", "kubernetes", "kube-root-ca.crt",
}

// hasLabel judges the label app of a workload's pods.
func (w *workload) hasLabel(app string) (finding, error) {
	if w.pod.Labels["app"] == app {
		return good()
	}
	if _, ok := w.pod.Labels["app"]; !ok {
		return wrong("%[1]s: spec.template.metadata.labels has no label app (it has %[3]s): the Service finds the pods by app=%[2]s.",
			"%[1]s: spec.template.metadata.labels にラベル app がありません(今は %[3]s)。Service は app=%[2]s でPodを探します。", w.String(), app, shown(w.pod.Labels))
	}
	return wrong("%[1]s: spec.template.metadata.labels has app=%[3]s, and the text has %[2]s: the Service finds the pods by that label.",
		"%[1]s: spec.template.metadata.labels が app=%[3]s です。テキストでは %[2]s で、Service はこのラベルでPodを探します。", w.String(), app, w.pod.Labels["app"])
}

func shown(m map[string]string) string {
	if len(m) == 0 {
		return "-"
	}
	return labels.Set(m).String()
}

// hasPort judges the container port of a workload.
func (w *workload) hasPort(port int) (finding, error) {
	var have []string
	for _, c := range w.pod.Spec.Containers {
		for _, p := range c.Ports {
			if int(p.ContainerPort) == port {
				return good()
			}
			have = append(have, fmt.Sprint(p.ContainerPort))
		}
	}
	if len(have) == 0 {
		return wrong("%[1]s: spec.template.spec.containers[].ports is empty: the text names there the port on which the container listens, %[2]d.",
			"%[1]s: spec.template.spec.containers[].ports が空です。コンテナが待ち受けるポート %[2]d をテキストではここに書いています。", w.String(), port)
	}
	return wrong("%[1]s: spec.template.spec.containers[].ports[].containerPort is %[3]s, but the container listens on %[2]d.",
		"%[1]s: spec.template.spec.containers[].ports[].containerPort が %[3]s ですが、コンテナは %[2]d で待ち受けています。", w.String(), port, have)
}

// own are a workload's pods, but for those that are going.
func (s *seen) own(w *workload) (all []*corev1.Pod) {
	selector, err := metav1.LabelSelectorAsSelector(w.selector)
	if err != nil {
		return nil
	}
	for i := range s.pods {
		if p := &s.pods[i]; p.DeletionTimestamp == nil && selector.Matches(labels.Set(p.Labels)) && p.Status.Phase != corev1.PodSucceeded {
			all = append(all, p)
		}
	}
	return all
}

// podsReady judges whether a workload has all its pods, and they are ready.
func (s *seen) podsReady(ctx context.Context, w *workload) (finding, error) {
	all := s.own(w)
	ready, latest := int32(0), time.Time{}
	for _, p := range all {
		if since, ok := readySince(p); ok {
			ready++
			latest = later(latest, since)
		}
	}
	for _, p := range all {
		if _, ok := readySince(p); !ok {
			if f := s.podTrouble(ctx, w, p); f.state != Starting {
				return f, nil
			}
		}
	}
	switch {
	case w.refused != "" && ready < w.wants:
		return wrong("%[1]s: its pods are refused: %[2]s.", "%[1]s: Podの作成が拒否されています: %[2]s", w.String(), w.refused)
	case w.progressing && ready >= w.wants:
		return starting("%[1]s: pods of an earlier version are still going.", "%[1]s: 以前の版のPodが終了中です。", w.String())
	case w.behind || ready < w.wants:
		return starting("%[1]s: %[2]d of %[3]d pods are ready; they are being started.", "%[1]s: Podは %[3]d 個中 %[2]d 個が準備完了で、起動中です。", w.String(), ready, w.wants)
	}
	return good()
}

// young is how long what has just begun may be without what follows from it.
func (s *seen) young(since time.Time, within time.Duration) bool { return s.now.Sub(since) < within }

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func readySince(p *corev1.Pod) (time.Time, bool) {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
			return c.LastTransitionTime.Time, true
		}
	}
	return time.Time{}, false
}

// startTime is how long a container that runs may take until its probe answers, and a
// pod until its node has begun with it.
const startTime = 30 * time.Second

// podTrouble tells why a pod is not ready.
func (s *seen) podTrouble(ctx context.Context, w *workload, p *corev1.Pod) finding {
	field := func(c string) string { return "spec.template.spec.containers[" + c + "]" }
	var f finding
	tell := func(en, ja string, args ...any) finding {
		f, _ = wrong(en, ja, args...)
		return f
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			look := "resources.requests"
			if len(w.pod.Spec.NodeSelector) > 0 {
				look = "nodeSelector (" + shown(w.pod.Spec.NodeSelector) + ")"
			}
			why, _, _ := strings.Cut(c.Message, ". ") // then comes what preemption would not help
			return tell("%[1]s: no node takes pod %[2]s: %[3]s. Look at spec.template.spec, %[4]s.",
				"%[1]s: Pod %[2]s を置けるノードがありません: %[3]s。spec.template.spec の %[4]s を見てください。", w.String(), p.Name, why, look)
		}
	}
	for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		wait, ended := c.State.Waiting, c.State.Terminated
		if ended == nil {
			ended = c.LastTerminationState.Terminated
		}
		switch {
		case c.Ready:
		case wait != nil && (strings.Contains(wait.Reason, "Image") || strings.Contains(wait.Reason, "Pull")):
			return tell("%[1]s: %[2]s.image is %[3]s, which cannot be pulled (%[4]s): compare its name and tag with the text.",
				"%[1]s: %[2]s.image の %[3]s を取得できません(%[4]s)。イメージの名前とタグをテキストと見比べてください。", w.String(), field(c.Name), c.Image, pullReason(wait))
		case wait != nil && wait.Reason == "CreateContainerConfigError":
			return tell("%[1]s: container %[2]s cannot be made: %[3]s. Look at what its env and volumes name.",
				"%[1]s: コンテナ %[2]s を作れません: %[3]s。env と volumes が指す名前を見てください。", w.String(), c.Name, wait.Message)
		case ended != nil && ended.Reason == "OOMKilled":
			return tell("%[1]s: container %[2]s needs more memory than its limit: look at %[3]s.resources.limits.memory.",
				"%[1]s: コンテナ %[2]s のメモリが上限を超えました。%[3]s.resources.limits.memory を見てください。", w.String(), c.Name, field(c.Name))
		case ended != nil && c.State.Running == nil || c.RestartCount > 1:
			if said := s.lastWords(ctx, p, c.Name, ended); said != "" {
				return tell("%[1]s: container %[2]s ends as soon as it starts. It says: %[3]s.",
					"%[1]s: コンテナ %[2]s が起動直後に終了しています。最後の出力: %[3]s", w.String(), c.Name, said)
			}
			code := int32(0)
			if ended != nil {
				code = ended.ExitCode
			}
			return tell("%[1]s: container %[2]s ends with exit code %[3]d: look at %[4]s.command and args, and at its log.",
				"%[1]s: コンテナ %[2]s が終了コード %[3]d で終了しています。%[4]s の command と args、ログを見てください。", w.String(), c.Name, code, field(c.Name))
		case wait != nil && wait.Message != "" && wait.Reason != "PodInitializing":
			return tell("%[1]s: container %[2]s does not start: %[3]s: %[4]s.", "%[1]s: コンテナ %[2]s が起動しません: %[3]s: %[4]s", w.String(), c.Name, wait.Reason, wait.Message)
		case c.State.Running != nil && !s.young(c.State.Running.StartedAt.Time, startTime):
			return tell("%[1]s: container %[2]s runs, but its readiness probe gets no answer: look at %[3]s.readinessProbe and at its log.",
				"%[1]s: コンテナ %[2]s は動いていますが、readinessProbe に応答がありません。%[3]s.readinessProbe とログを見てください。", w.String(), c.Name, field(c.Name))
		}
	}
	if !s.young(p.CreationTimestamp.Time, startTime) {
		if said := s.mountTrouble(ctx, p); said != "" {
			return tell("%[1]s: pod %[2]s waits for a volume: %[3]s. Look at spec.template.spec.volumes.",
				"%[1]s: Pod %[2]s がボリュームを待っています: %[3]s。spec.template.spec.volumes を見てください。", w.String(), p.Name, said)
		}
	}
	f, _ = starting("Pod %s is being started.", "Pod %s は起動中です。", p.Name)
	return f
}

// pullReason is what the node says of a pull, without the image's name, which is told; a
// back-off alone does not say it.
func pullReason(wait *corev1.ContainerStateWaiting) string {
	if i := strings.LastIndex(wait.Message, ": "); i >= 0 {
		return wait.Message[i+2:]
	}
	return wait.Reason
}

// lastWords is the last line of an ended container's log that tells of an error, or what
// the node says of a container that could not even start.
func (s *seen) lastWords(ctx context.Context, p *corev1.Pod, container string, ended *corev1.ContainerStateTerminated) string {
	if ended != nil && (ended.Reason == "StartError" || ended.Reason == "ContainerCannotRun") {
		if i := strings.LastIndex(ended.Message, "exec: "); i >= 0 { // before it is who called whom
			return ended.Message[i:]
		}
		return ended.Message
	}
	tail := int64(20)
	for _, previous := range []bool{false, true} {
		raw, err := s.lab.client.CoreV1().Pods(p.Namespace).GetLogs(p.Name, &corev1.PodLogOptions{Container: container, TailLines: &tail, Previous: previous}).DoRaw(ctx)
		if err != nil {
			continue // it only would have said more
		}
		lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
		for _, line := range slices.Backward(lines) {
			if _, said, found := strings.Cut(line, "err="); found {
				return strings.Trim(said, `"`)
			}
		}
		for _, line := range slices.Backward(lines) {
			if l := strings.ToLower(line); strings.Contains(l, "error") || strings.Contains(l, "fatal") {
				return line
			}
		}
		if last := lines[len(lines)-1]; last != "" {
			return last
		}
	}
	return ""
}

// mountTrouble is the last warning of a pod's events.
func (s *seen) mountTrouble(ctx context.Context, p *corev1.Pod) string {
	events, err := s.lab.client.CoreV1().Events(p.Namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.uid=" + string(p.UID)})
	if err != nil {
		return ""
	}
	for _, e := range slices.Backward(events.Items) {
		if e.Reason == "FailedMount" {
			return e.Message
		}
	}
	return ""
}

// selects judges whether a Service's selector finds the pods of a workload.
func selects(svc *corev1.Service, w *workload) (finding, error) {
	if len(svc.Spec.Selector) == 0 {
		return wrong("Service %[1]s: spec.selector is empty, so it finds no pods: the text has the pods' label there.",
			"Service %[1]s: spec.selector が空なのでPodが見つかりません。テキストではここにPodのラベルを書いています。", svc.Name)
	}
	var off []string
	for _, key := range slices.Sorted(maps.Keys(svc.Spec.Selector)) {
		if w.pod.Labels[key] != svc.Spec.Selector[key] {
			off = append(off, key+"="+svc.Spec.Selector[key])
		}
	}
	if len(off) == 0 {
		return good()
	}
	return wrong("Service %[1]s: spec.selector asks for %[2]s, and the pods of %[3]s have the labels %[4]s: no pod has all that is asked for.",
		"Service %[1]s: spec.selector が %[2]s を求めていますが、%[3]s のPodのラベルは %[4]s です。すべてを満たすPodがありません。", svc.Name, off, w.String(), shown(w.pod.Labels))
}

// leads judges whether a port of a Service leads to a port on which the pods of a
// workload listen.
func leads(svc *corev1.Service, port int32, w *workload, listens int) (finding, error) {
	i := slices.IndexFunc(svc.Spec.Ports, func(p corev1.ServicePort) bool { return p.Port == port && p.Protocol == corev1.ProtocolTCP })
	if i < 0 {
		return good() // which is another question
	}
	target := svc.Spec.Ports[i].TargetPort
	if target.Type == intstr.Int {
		if target.IntValue() == listens {
			return good()
		}
		return wrong("Service %[1]s: spec.ports[%[2]d].targetPort is %[3]d, a port on which nobody listens in the pods of %[4]s: look at the container's ports there.",
			"Service %[1]s: spec.ports[%[2]d].targetPort が %[3]d ですが、%[4]s のPodではこのポートで誰も待ち受けていません。コンテナの ports を見てください。", svc.Name, i, target.IntValue(), w.String())
	}
	var have []string
	for _, c := range w.pod.Spec.Containers {
		for _, p := range c.Ports {
			if p.Name == target.StrVal {
				return good() // its number is another question
			}
			if p.Name != "" {
				have = append(have, p.Name)
			}
		}
	}
	if len(have) == 0 {
		return wrong("Service %[1]s: spec.ports[%[2]d].targetPort is the name %[3]s, and no port of the containers of %[4]s has a name: look at ports[].name there.",
			"Service %[1]s: spec.ports[%[2]d].targetPort が名前 %[3]s ですが、%[4]s のコンテナのポートには名前がありません。ports[].name を見てください。", svc.Name, i, target.StrVal, w.String())
	}
	return wrong("Service %[1]s: spec.ports[%[2]d].targetPort is the name %[3]s, and the ports of the containers of %[4]s are named %[5]s: compare the two.",
		"Service %[1]s: spec.ports[%[2]d].targetPort が名前 %[3]s ですが、%[4]s のコンテナのポートの名前は %[5]s です。見比べてください。", svc.Name, i, target.StrVal, w.String(), have)
}

// hasServicePort judges the port of a Service.
func hasServicePort(svc *corev1.Service, port int32) (finding, error) {
	var have []string
	for _, p := range svc.Spec.Ports {
		if p.Port == port && p.Protocol == corev1.ProtocolTCP {
			return good()
		}
		have = append(have, fmt.Sprintf("%d/%s", p.Port, p.Protocol))
	}
	return wrong("Service %[1]s: spec.ports[].port and protocol are %[2]s, and the text has %[3]d/TCP.",
		"Service %[1]s: spec.ports[].port と protocol が %[2]s です。テキストでは %[3]d/TCP です。", svc.Name, have, port)
}

// inTurn judges one thing after another, up to the first that is not ok.
func inTurn(judges ...func() (finding, error)) (finding, error) {
	for _, judge := range judges {
		if f, err := judge(); err != nil || f.state != OK || f.text != (Text{}) {
			return f, err
		}
	}
	return good()
}
