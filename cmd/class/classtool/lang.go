package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"k8sbootcamp/internal/lesson"
)

// langFlag is the flag of a verb that speaks several languages.
func (t *tool) langFlag(c *cobra.Command) {
	c.Flags().StringVar(&t.lang, "lang", "", "`LANGUAGE` of questions and hints: en or ja (default: the locale's)")
}

// language is what --lang says, or English.
func (t *tool) language() (lesson.Lang, error) {
	for _, l := range lesson.Langs {
		if t.lang == string(l) {
			return l, nil
		}
	}
	if t.lang != "" {
		return "", fmt.Errorf("--lang %q: allowed are en and ja", t.lang)
	}
	return lesson.English, nil
}
