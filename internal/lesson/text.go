package lesson

import (
	"fmt"
	"strings"

	"k8sbootcamp/internal/printable"
)

// Lang is a language that the lesson speaks.
type Lang string

// The languages.
const (
	English  Lang = "en"
	Japanese Lang = "ja"
)

// Langs are all of them.
var Langs = []Lang{English, Japanese}

// LangOf is the language of a locale such as ja_JP.UTF-8 or ja-JP; English where the
// lesson does not speak it.
func LangOf(locale string) Lang {
	if l := strings.ToLower(locale); l == "ja" || strings.HasPrefix(l, "ja_") || strings.HasPrefix(l, "ja-") || strings.HasPrefix(l, "ja.") {
		return Japanese
	}
	return English
}

// Text is a text in every language.
type Text struct{ EN, JA string }

// In is the text in one language, on one line and printable: what a cluster says may
// be in it.
func (t Text) In(l Lang) string {
	if l == Japanese {
		return printable.Line(t.JA, longest)
	}
	return printable.Line(t.EN, longest)
}

// In is a state in a word.
func (s State) In(l Lang) string { return stateWords[s].In(l) }

var stateWords = map[State]Text{
	OK: {"ok", "合格"}, Failed: {"failed", "失敗"}, Open: {"open", "未完了"}, Starting: {"starting", "起動中"}, Later: {"later", "後で"}, Skipped: {"not seen", "権限なし"},
}

// longest is how long a hint may be, in characters.
const longest = 500

// quoted is the most of what a cluster says that a hint has.
const quoted = 160

// say makes a text of two formats and the same arguments, which are made short and
// printable where they are text.
func say(en, ja string, args ...any) Text {
	for i, a := range args {
		switch a := a.(type) {
		case string:
			args[i] = printable.Line(a, quoted)
		case []string:
			args[i] = printable.Line(strings.Join(a, ", "), quoted)
		case error:
			args[i] = printable.Line(a.Error(), quoted)
		}
	}
	return Text{EN: fmt.Sprintf(en, args...), JA: fmt.Sprintf(ja, args...)}
}
