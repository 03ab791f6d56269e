package main

import (
	"fmt"

	"github.com/jeandeaual/go-locale"
	"github.com/spf13/cobra"

	"k8sbootcamp/internal/lesson"
)

// langFlag is the flag of a verb that speaks several languages.
func (t *tool) langFlag(c *cobra.Command) {
	c.Flags().StringVar(&t.lang, "lang", "", "`LANGUAGE` of questions and hints: en or ja (default: the locale's)")
}

// language is what --lang says, or the locale.
func (t *tool) language() (lesson.Lang, error) {
	for _, l := range lesson.Langs {
		if t.lang == string(l) {
			return l, nil
		}
	}
	if t.lang != "" {
		return "", fmt.Errorf("--lang %q: allowed are en and ja", t.lang)
	}
	name, err := locale.GetLocale()
	if err != nil {
		return lesson.English, nil // there is none
	}
	return lesson.LangOf(name), nil
}

// words are the tool's own in a language, beside the lesson's.
type words struct {
	student, stack, total, points, at, since, first, red string // columns
	done, mended, notAsked, warning, look                string
	summary                                              string // of points, and of how many
}

var wordsIn = map[lesson.Lang]words{
	lesson.English: {
		student: "STUDENT", stack: "STACK", total: "TOTAL", points: "POINTS", at: "AT", since: "FOR", first: "FIRST NOT OK", red: "LAST FAILED CHECK",
		done: "done", mended: "ok again", notAsked: "not asked yet", warning: "warning", look: "look: ", summary: "%d of %d points",
	},
	lesson.Japanese: {
		student: "受講者", stack: "スタック", total: "合計", points: "点", at: "現在の章", since: "経過", first: "最初の未達チェック", red: "失敗しているチェック",
		done: "完了", mended: "解決済み", notAsked: "未確認", warning: "警告", look: "確認: ", summary: "%d / %d 点",
	},
}

// score is a sum of points in words.
func (w words) score(s lesson.Score) string { return fmt.Sprintf(w.summary, s.Points, s.Of) }
