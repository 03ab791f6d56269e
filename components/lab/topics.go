package lab

import (
	"slices"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"k8sbootcamp/components/settings"
	"k8sbootcamp/components/shared"
	"k8sbootcamp/components/topics"
	"k8sbootcamp/internal/course"
)

// buildTopics registers the topics that are on, which it returns.
func buildTopics(ctx *pulumi.Context, s *settings.Settings, at *place) ([]pulumi.Resource, error) {
	pods := func(image string) topics.Pods {
		return topics.Pods{Namespace: at.namespace, Image: image, RolloutTimeout: s.RolloutTimeout, Restricted: at.restricted}
	}
	agnhost := pods(s.Images.Topic)
	var made []pulumi.Resource
	for _, name := range s.Topics {
		var topic pulumi.Resource
		var err error
		switch name {
		case settings.TopicEnv:
			topic, err = topics.NewEnv(ctx, name, &topics.EnvArgs{Pods: agnhost, Greeting: s.Greeting}, at.options...)
		case settings.TopicConfigMap:
			topic, err = topics.NewConfigMap(ctx, name, &topics.ConfigMapArgs{Pods: agnhost, Greeting: s.Greeting}, at.options...)
		case settings.TopicSecret:
			topic, err = topics.NewSecret(ctx, name, &topics.SecretArgs{Pods: agnhost}, at.options...)
		case settings.TopicStatefulSet:
			topic, err = topics.NewStatefulSet(ctx, name, &topics.StatefulSetArgs{Pods: pods(s.Images.Prometheus)}, at.options...)
		case settings.TopicVolume:
			topic, err = topics.NewVolume(ctx, name, &topics.VolumeArgs{Pods: agnhost}, at.options...)
		case settings.TopicIngress:
			topic, err = topics.NewIngress(ctx, name, &topics.IngressArgs{Namespace: at.namespace, Host: at.host}, at.options...)
		}
		if err != nil {
			return nil, err
		}
		made = append(made, topic)
	}
	return made, nil
}

// topicWorkloads are the pods of a topic.
var topicWorkloads = map[string][]shared.Workload{
	settings.TopicEnv:         {{Size: topics.Size, Pods: 1}},
	settings.TopicConfigMap:   {{Size: topics.Size, Pods: 1}, {Size: topics.Size, Pods: 1}},
	settings.TopicSecret:      {{Size: topics.Size, Pods: 1}},
	settings.TopicStatefulSet: {{Size: topics.DatabaseSize, Pods: 1, InPlace: true}},
	settings.TopicVolume:      {{Size: topics.Size, Pods: 1, InPlace: true}},
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
