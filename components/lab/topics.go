package lab

import (
	"slices"

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
