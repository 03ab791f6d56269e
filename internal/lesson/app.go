package lesson

import (
	"context"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"

	"k8sbootcamp/internal/course"
	"k8sbootcamp/internal/printable"
)

// ofDeployment is a judgement of a Deployment that is there.
func ofDeployment(name string, judge func(context.Context, *seen, *workload) (finding, error)) func(context.Context, *seen) (finding, error) {
	return func(ctx context.Context, s *seen) (finding, error) { return judge(ctx, s, s.deployment(name)) }
}

// ofService is a judgement of a Service that is there.
func ofService(name string, judge func(*seen, *corev1.Service) (finding, error)) func(context.Context, *seen) (finding, error) {
	return func(_ context.Context, s *seen) (finding, error) { return judge(s, s.service(name)) }
}

func deploymentExists(name string) func(context.Context, *seen) (finding, error) {
	return func(ctx context.Context, s *seen) (finding, error) {
		return s.exists(ctx, "Deployment", appsv1.SchemeGroupVersion.WithResource("deployments"), name,
			names(s.deployments, func(o appsv1.Deployment) string { return o.Name }))
	}
}

func serviceExists(name string) func(context.Context, *seen) (finding, error) {
	return func(ctx context.Context, s *seen) (finding, error) {
		return s.exists(ctx, "Service", corev1.SchemeGroupVersion.WithResource("services"), name,
			names(s.services, func(o corev1.Service) string { return o.Name }))
	}
}

func labelled(_ context.Context, _ *seen, w *workload) (finding, error) { return w.hasLabel(w.name) }

func listensOn(port int) func(context.Context, *seen, *workload) (finding, error) {
	return func(_ context.Context, _ *seen, w *workload) (finding, error) { return w.hasPort(port) }
}

func wantsPods(_ context.Context, _ *seen, w *workload) (finding, error) {
	if w.wants == 0 {
		return wrong("%s: spec.replicas is 0, so there are no pods: look at what number the text has.",
			"%s: spec.replicas が 0 なのでPodがありません。テキストの数を見てください。", w.String())
	}
	return noted("%d", "%d", w.wants)
}

func allReady(ctx context.Context, s *seen, w *workload) (finding, error) { return s.podsReady(ctx, w) }

func appSelected(s *seen, svc *corev1.Service) (finding, error) {
	return selects(svc, s.deployment(course.App))
}

func appPort(_ *seen, svc *corev1.Service) (finding, error) {
	return hasServicePort(svc, course.ServicePort)
}

func appTarget(s *seen, svc *corev1.Service) (finding, error) {
	return leads(svc, course.ServicePort, s.deployment(course.App), course.AppPort)
}

func appAnswers(ctx context.Context, s *seen) (finding, error) {
	body, err := s.appAnswer(ctx)
	if err == nil {
		first, _, _ := strings.Cut(string(body), "\n")
		said := fmt.Sprintf("%d bytes: %s", len(body), printable.Line(first, 40))
		return noted("%s", "%s", said)
	}
	for _, p := range s.own(s.deployment(course.App)) {
		if since, ok := readySince(p); ok && s.young(since, startTime) {
			return starting("The app's pods are ready, and the Service does not lead to them yet.", "Podは準備完了ですが、Serviceがまだつながっていません。")
		}
	}
	return wrong("Service %[1]s: asked through the API server, it gives no answer: %[2]s. Look at its endpoints and at the pods' logs.",
		"Service %[1]s: APIサーバー経由で応答がありません: %[2]s。エンドポイントとPodのログを見てください。", course.Service, err)
}

// ownedPods are pods that a Deployment brings back; a bare one is gone for good.
func ownedPods(_ context.Context, s *seen) (finding, error) {
	for _, p := range s.pods {
		if p.Labels["app"] == course.App && p.DeletionTimestamp == nil && metav1.GetControllerOf(&p) == nil {
			return wrong("Pod %[1]s has the label app=%[2]s and no owner (metadata.ownerReferences): deleted, it would not come back. Look at what made it.",
				"Pod %[1]s はラベル app=%[2]s を持ちますが所有者(metadata.ownerReferences)がありません。削除すると戻りません。何が作ったPodか見てください。", p.Name, course.App)
		}
	}
	return good()
}

// checkComesBack is the one check that changes something.
const checkComesBack = "3-4/comes-back"

// comesBackTime is how long another pod may take.
const comesBackTime = 90 * time.Second

// comesBack deletes one of the app's pods, and sees whether another comes.
func comesBack(ctx context.Context, s *seen) (finding, error) {
	w := s.deployment(course.App)
	before := s.own(w)
	if len(before) == 0 {
		return wrong("Deployment %s has no pod that could be deleted.", "Deployment %s に削除できるPodがありません。", course.App)
	}
	old := map[types.UID]bool{}
	for _, p := range before {
		old[p.UID] = true
	}
	pods, begin := s.lab.client.CoreV1().Pods(s.namespace), time.Now()
	if err := pods.Delete(ctx, before[0].Name, metav1.DeleteOptions{}); err != nil {
		return finding{}, err
	}
	ready, came := int32(0), ""
	err := wait.PollUntilContextTimeout(ctx, pollInterval, comesBackTime, true, func(ctx context.Context) (bool, error) {
		now, err := pods.List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err
		}
		s.pods, ready, came = now.Items, 0, ""
		for _, p := range s.own(w) {
			if _, ok := readySince(p); ok {
				ready++
				if !old[p.UID] {
					came = p.Name
				}
			}
		}
		return ready == w.wants && came != "", nil
	})
	if wait.Interrupted(err) && ctx.Err() == nil {
		return wrong("Pod %[1]s was deleted, and after a while %[2]d of %[3]d pods are ready: look at the events.",
			"Pod %[1]s を削除しましたが、Podは %[3]d 個中 %[2]d 個しか準備完了になりません。イベントを見てください。", before[0].Name, ready, w.wants)
	}
	if err != nil {
		return finding{}, err
	}
	return noted("%[1]s for %[2]s after %[3]s", "%[2]s の代わりに %[1]s (%[3]s)", came, before[0].Name, time.Since(begin).Round(100*time.Millisecond).String())
}
