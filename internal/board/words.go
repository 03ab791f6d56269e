package board

import (
	"strconv"
	"strings"
	"time"

	"k8sbootcamp/internal/lesson"
)

// words are what the page itself says in a language. In those with braces, the page
// and its script put a number or a time.
type words struct {
	Lang, Name     string // the language, and what it calls itself
	Title, Caption string

	Students, Done, Red, Lost string // counts
	Round, NoRound            string

	Student, Points, At, Check string // columns

	Finished                    string // of a student who has done all
	NotAsked, NoLab, NoAnswer   string // of a student of whom nothing, or no more, is known
	Known                       string // beside it, where something was known
	None                        string // of a chapter that has no question here
	Look                        string
	Since                       string
	Moments, Minutes, Hours     string // how long
	Disconnected, WithoutScript string
}

var wordsIn = map[lesson.Lang]words{
	lesson.English: {
		Lang: "en", Name: "English",
		Title: "The class", Caption: "The students, by the chapters of the course",
		Students: "students: {n}", Done: "{n} done", Red: "{n} red", Lost: "{n} without answer",
		Round: "all asked in {n} s, at {time}", NoRound: "asking everybody for the first time",
		Student: "Student", Points: "Points", At: "At", Check: "The first check that fails",
		Finished: "done",
		NotAsked: "not asked yet", NoLab: "the lab is not up yet", NoAnswer: "no answer from the lab for {time}",
		Known: "(shown is what was known)", None: "not asked",
		Look:  "Look:",
		Since: "for {time}", Moments: "<1 min", Minutes: "{m} min", Hours: "{h} h",
		Disconnected:  "Connection lost at {time}. Shown is what was known; the page tries again by itself.",
		WithoutScript: "Without JavaScript the page loads itself anew every 10 seconds.",
	},
	lesson.Japanese: {
		Lang: "ja", Name: "日本語",
		Title: "クラスの進み具合", Caption: "受講者ごと、章ごとの状況",
		Students: "受講者 {n} 人", Done: "完了 {n} 人", Red: "失敗 {n} 人", Lost: "応答なし {n} 人",
		Round: "{time} に全員を確認 ({n} 秒)", NoRound: "最初の確認をしています",
		Student: "受講者", Points: "点", At: "現在の章", Check: "最初に失敗したチェック",
		Finished: "完了",
		NotAsked: "未確認", NoLab: "ラボはまだありません", NoAnswer: "{time}前からラボが応答しません",
		Known: "(表示は最後に分かった状況)", None: "未確認",
		Look:  "確認:",
		Since: "{time}前から", Moments: "1分未満", Minutes: "{m}分", Hours: "{h}時間",
		Disconnected:  "{time} に接続が切れました。表示は最後に分かった状況です。自動的に再接続します。",
		WithoutScript: "JavaScriptが無効なため、10秒ごとにページを読み込み直します。",
	},
}

// count puts a number into words.
func count(words string, n int) string { return strings.ReplaceAll(words, "{n}", strconv.Itoa(n)) }

// ago is a time in words; board.js says it alike.
func (w words) ago(d time.Duration) string {
	minutes := int(d / time.Minute)
	switch {
	case minutes < 1:
		return w.Moments
	case minutes < 60:
		return strings.ReplaceAll(w.Minutes, "{m}", strconv.Itoa(minutes))
	}
	return strings.ReplaceAll(w.Hours, "{h}", strconv.Itoa(minutes/60))
}
