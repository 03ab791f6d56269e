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
	states                                map[lesson.State]string
	points, chapter, at, done, since, red string
	notAsked, look, student, stack, total string
	warning, first, mended                string
	summary                               func(points, of int) string
}

var wordsIn = map[lesson.Lang]words{
	lesson.English: {
		states: map[lesson.State]string{
			lesson.OK: "ok", lesson.Failed: "FAILED", lesson.Open: "open", lesson.Starting: "starting", lesson.Later: "later", lesson.Skipped: "not seen",
		},
		points: "POINTS", chapter: "chapter", at: "AT", done: "done", since: "FOR", red: "LAST FAILED CHECK", student: "STUDENT", stack: "STACK", total: "TOTAL",
		notAsked: "not asked yet", look: "look: ", warning: "warning", first: "FIRST NOT OK", mended: "ok again",
		summary: func(points, of int) string { return fmt.Sprintf("%d of %d points", points, of) },
	},
	lesson.Japanese: {
		states: map[lesson.State]string{
			lesson.OK: "ok", lesson.Failed: "失敗", lesson.Open: "未着手", lesson.Starting: "起動中", lesson.Later: "後で", lesson.Skipped: "権限なし",
		},
		points: "点", chapter: "章", at: "現在の章", done: "完了", since: "経過", red: "失敗しているチェック", student: "受講者", stack: "スタック", total: "合計",
		notAsked: "未確認", look: "確認: ", warning: "警告", first: "最初の未達チェック", mended: "解決済み",
		summary: func(points, of int) string { return fmt.Sprintf("%d / %d 点", points, of) },
	},
}
