package lab

import (
	"strings"

	"k8sbootcamp/internal/course"
)

// ChapterOf is the chapter at which a lab with these outputs stands. A stack of a
// version that had no chapters has all, or has no monitoring.
func ChapterOf(outputs map[string]string) course.Chapter {
	if chapter := outputs["chapter"]; chapter != "" {
		return course.Chapter(chapter)
	}
	if outputs[OutPrometheusPortForward] == "" {
		return course.Chapter34
	}
	return course.All
}

// Exercises are those that a lab with these outputs has, and its topics.
func Exercises(outputs map[string]string) []string {
	return strings.FieldsFunc(outputs[OutExercises], func(r rune) bool { return r == ',' })
}
