// Package check asks a cluster what the class tool needs to know of it: which objects
// are there and ready, what keeps pods from being ready, and what a student's pods reach
// of others. What the course's text has a student see is asked by package lesson.
package check

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	"k8sbootcamp/internal/kubeclient"
	"k8sbootcamp/internal/printable"
)

const pollInterval = time.Second

// Result is the answer to one question.
type Result struct {
	Question string
	OK       bool
	Warning  bool   // the lab is well, and something else should be better
	Detail   string // what was seen; for a failure, the cause
	Took     time.Duration
}

// Unasked is the result of a question that could not be asked, or was not answered.
func Unasked(question string, err error) Result {
	return Result{Question: question, Detail: printable.Text(kubeclient.Explain(err).Error())}
}

func podReady(p *corev1.Pod) bool {
	for _, cond := range p.Status.Conditions {
		if cond.Type == corev1.PodReady {
			return cond.Status == corev1.ConditionTrue
		}
	}
	return false
}
