package lab

import (
	"slices"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"k8sbootcamp/components/settings"
	"k8sbootcamp/components/shared"
	"k8sbootcamp/components/topics"
	"k8sbootcamp/internal/course"
)

// topicWorkloads are the pods of a topic.
var topicWorkloads = map[string][]shared.Workload{
	settings.TopicEnv:         {{Size: topics.Size, Pods: 1}},
	settings.TopicConfigMap:   {{Size: topics.Size, Pods: 1}, {Size: topics.Size, Pods: 1}},
	settings.TopicSecret:      {{Size: topics.Size, Pods: 1}},
	settings.TopicStatefulSet: {{Size: topics.DatabaseSize, Pods: 1, InPlace: true}},
	settings.TopicVolume:      {{Size: topics.Size, Pods: 1, InPlace: true}},
}

// topicObjects are the objects of a topic that may be made anew: what keeps data, and what
// makes something that does, is not among them.
var topicObjects = map[string][]struct {
	name      string
	resources []string
}{
	settings.TopicEnv:         {{course.TopicEnv, []string{"deployments", "services"}}},
	settings.TopicConfigMap:   {{course.TopicConfigMap, []string{"configmaps", "deployments", "services"}}, {course.TopicConfigMapEnv, []string{"deployments", "services"}}},
	settings.TopicSecret:      {{course.TopicSecret, []string{"deployments", "secrets"}}},
	settings.TopicStatefulSet: {{course.TopicStatefulSet, []string{"configmaps", "services"}}},
	settings.TopicVolume:      {{course.TopicVolume, []string{"deployments", "services"}}},
	settings.TopicIngress:     {{course.Ingress, []string{"ingresses", "secrets"}}},
}

// studentTopics are what a student's topics take of a shared cluster.
func studentTopics(s *settings.Settings) shared.Topics {
	var t shared.Topics
	for _, name := range []string{settings.TopicStatefulSet, settings.TopicVolume} {
		if slices.Contains(s.Topics, name) {
			t.Claims++
		}
	}
	if slices.Contains(s.Topics, settings.TopicSecret) {
		t.Secret = course.TopicSecret
	}
	t.Ingress = slices.Contains(s.Topics, settings.TopicIngress)
	return t
}

// topicImage is what the pods of a topic run.
func (p *plan) topicImage(name string) string {
	if name == settings.TopicStatefulSet {
		return p.Images.Prometheus
	}
	return p.Images.Topic
}

// newTopics registers the topics that are on.
func (p *plan) newTopics(ctx *pulumi.Context, at *place) error {
	for _, name := range p.topics {
		pods := topics.Pods{Namespace: p.namespace, Image: p.topicImage(name), RolloutTimeout: p.RolloutTimeout, Restricted: p.restricted}
		var err error
		switch name {
		case settings.TopicEnv:
			_, err = topics.NewEnv(ctx, name, &topics.EnvArgs{Pods: pods, Greeting: p.Greeting}, at.options...)
		case settings.TopicConfigMap:
			_, err = topics.NewConfigMap(ctx, name, &topics.ConfigMapArgs{Pods: pods, Greeting: p.Greeting}, at.options...)
		case settings.TopicSecret:
			_, err = topics.NewSecret(ctx, name, &topics.SecretArgs{Pods: pods}, at.options...)
		case settings.TopicStatefulSet:
			_, err = topics.NewStatefulSet(ctx, name, &topics.StatefulSetArgs{Pods: pods}, at.options...)
		case settings.TopicVolume:
			_, err = topics.NewVolume(ctx, name, &topics.VolumeArgs{Pods: pods}, at.options...)
		case settings.TopicIngress:
			_, err = topics.NewIngress(ctx, name, &topics.IngressArgs{Namespace: p.namespace, Host: p.host}, at.options...)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
