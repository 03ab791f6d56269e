package lesson

import (
	"context"
	"maps"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"k8sbootcamp/internal/course"
)

// begun tells whether a topic is to be there, or anything of it is; has is the object
// without which it is nothing.
func begun(topic string, has func(*seen) bool) func(*seen) bool {
	return func(s *seen) bool { return slices.Contains(s.options.Exercises, topic) || has(s) }
}

func hasDeployment(name string) func(*seen) bool {
	return func(s *seen) bool { return s.deployment(name) != nil }
}

// ofTopic is a judgement of a topic's Deployment, which may be missing.
func ofTopic(name string, judge func(context.Context, *seen, *workload) (finding, error)) func(context.Context, *seen) (finding, error) {
	return func(ctx context.Context, s *seen) (finding, error) {
		if f, err := deploymentExists(name)(ctx, s); err != nil || f.state != OK {
			return f, err
		}
		return judge(ctx, s, s.deployment(name))
	}
}

// greets judges the container's variable of the topic env.
func greets(ctx context.Context, s *seen, w *workload) (finding, error) {
	for _, c := range w.pod.Spec.Containers {
		for _, e := range c.Env {
			if e.Value != "" {
				return s.podsReady(ctx, w)
			}
		}
	}
	return wrong("%s: no container has a value in spec.template.spec.containers[].env: look at name and value there.",
		"%s: spec.template.spec.containers[].env に値を持つものがありません。name と value を見てください。", w.String())
}

// refersWell judges whether the ConfigMaps and keys that a workload's pods name are
// there, and then whether the pods are ready.
func refersWell(ctx context.Context, s *seen, w *workload) (finding, error) {
	judge := func(field, name, key string, optional *bool) (finding, bool) {
		if optional != nil && *optional {
			return finding{}, true
		}
		config := s.configMap(name)
		if config == nil {
			f, _ := wrong("%[1]s: %[2]s names ConfigMap %[3]s, which is not there: compare it with kubectl get configmaps.",
				"%[1]s: %[2]s が指すConfigMap %[3]s がありません。kubectl get configmaps と見比べてください。", w.String(), field, name)
			return f, false
		}
		_, text := config.Data[key]
		_, binary := config.BinaryData[key]
		if key != "" && !text && !binary {
			f, _ := wrong("%[1]s: %[2]s asks ConfigMap %[3]s for the key %[4]s, and that has %[5]s: compare the two, letter by letter.",
				"%[1]s: %[2]s がConfigMap %[3]s のキー %[4]s を求めていますが、あるのは %[5]s です。一文字ずつ見比べてください。", w.String(), field, name, key, slices.Sorted(maps.Keys(config.Data)))
			return f, false
		}
		return finding{}, true
	}
	for _, c := range slices.Concat(w.pod.Spec.InitContainers, w.pod.Spec.Containers) {
		for _, e := range c.Env {
			if e.ValueFrom == nil || e.ValueFrom.ConfigMapKeyRef == nil {
				continue
			}
			r := e.ValueFrom.ConfigMapKeyRef
			if f, ok := judge("env["+e.Name+"].valueFrom.configMapKeyRef", r.Name, r.Key, r.Optional); !ok {
				return f, nil
			}
		}
		for _, m := range c.VolumeMounts {
			for _, v := range w.pod.Spec.Volumes {
				if v.Name != m.Name || v.ConfigMap == nil {
					continue
				}
				if f, ok := judge("volumes["+v.Name+"].configMap", v.ConfigMap.Name, m.SubPath, v.ConfigMap.Optional); !ok {
					return f, nil
				}
			}
		}
	}
	return s.podsReady(ctx, w)
}

// bothConfigMapPods judges the two Deployments of the topic configmap.
func bothConfigMapPods(ctx context.Context, s *seen) (finding, error) {
	return inTurn(
		func() (finding, error) { return ofTopic(course.TopicConfigMap, refersWell)(ctx, s) },
		func() (finding, error) { return ofTopic(course.TopicConfigMapEnv, refersWell)(ctx, s) },
	)
}

// bound judges a claim.
func (s *seen) bound(name string) (finding, error) {
	c := named(s.claims, name, func(c corev1.PersistentVolumeClaim) string { return c.Name })
	if c == nil {
		return missing("There is no PersistentVolumeClaim %s in namespace %s yet.", "PersistentVolumeClaim %s はまだネームスペース %s にありません。", name, s.namespace)
	}
	if c.Status.Phase == corev1.ClaimBound {
		return good()
	}
	class := "-"
	if c.Spec.StorageClassName != nil {
		class = *c.Spec.StorageClassName
	}
	if s.young(c.CreationTimestamp.Time, startTime) {
		return starting("PersistentVolumeClaim %s waits for a disk.", "PersistentVolumeClaim %s がディスクを待っています。", name)
	}
	return wrong("PersistentVolumeClaim %[1]s is %[2]s: no disk was found for it. Look at spec.storageClassName (%[3]s) and at kubectl get storageclass.",
		"PersistentVolumeClaim %[1]s は %[2]s で、ディスクがありません。spec.storageClassName(%[3]s)と kubectl get storageclass を見てください。", name, string(c.Status.Phase), class)
}

func databaseKeeps(ctx context.Context, s *seen) (finding, error) {
	return inTurn(
		func() (finding, error) {
			return s.exists(ctx, "StatefulSet", appsv1.SchemeGroupVersion.WithResource("statefulsets"), course.TopicStatefulSet,
				names(s.statefulSets, func(o appsv1.StatefulSet) string { return o.Name }))
		},
		func() (finding, error) { return s.bound("data-" + course.TopicStatefulSet + "-0") },
		func() (finding, error) { return s.podsReady(ctx, s.statefulSet(course.TopicStatefulSet)) },
	)
}

func volumeKeeps(ctx context.Context, s *seen) (finding, error) {
	return inTurn(
		func() (finding, error) { return s.bound(course.TopicVolume) },
		func() (finding, error) { return ofTopic(course.TopicVolume, allReady)(ctx, s) },
	)
}

func (s *seen) ingress() *networkingv1.Ingress {
	return named(s.ingresses, course.Ingress, func(i networkingv1.Ingress) string { return i.Name })
}

// ingressLeads judges whether the Ingress leads to a port of a Service that is there.
func ingressLeads(ctx context.Context, s *seen) (finding, error) {
	f, err := s.exists(ctx, "Ingress", networkingv1.SchemeGroupVersion.WithResource("ingresses"), course.Ingress,
		names(s.ingresses, func(i networkingv1.Ingress) string { return i.Name }))
	if err != nil || f.state != OK {
		return f, err
	}
	i := s.ingress()
	for n, r := range i.Spec.Rules {
		if r.HTTP == nil {
			continue
		}
		for _, p := range r.HTTP.Paths {
			b := p.Backend.Service
			if b == nil {
				continue
			}
			svc := s.service(b.Name)
			if svc == nil {
				return wrong("Ingress %[1]s: spec.rules[%[2]d]...backend.service.name is %[3]s, and there is no Service of this name: compare it with kubectl get services.",
					"Ingress %[1]s: spec.rules[%[2]d]...backend.service.name が %[3]s ですが、その名前のServiceはありません。kubectl get services と見比べてください。", i.Name, n, b.Name)
			}
			if !slices.ContainsFunc(svc.Spec.Ports, func(p corev1.ServicePort) bool {
				return b.Port.Number == p.Port || b.Port.Name != "" && b.Port.Name == p.Name
			}) {
				return wrong("Ingress %[1]s: spec.rules[%[2]d]...backend.service.port is %[3]d%[4]s, which Service %[5]s does not have: look at its spec.ports.",
					"Ingress %[1]s: spec.rules[%[2]d]...backend.service.port が %[3]d%[4]s ですが、Service %[5]s にはありません。spec.ports を見てください。", i.Name, n, b.Port.Number, b.Port.Name, b.Name)
			}
		}
	}
	return good()
}
