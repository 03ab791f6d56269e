package course

import "slices"

// Chapter is a chapter of the text, as the text numbers it.
type Chapter string

// The chapters in which there is something to do.
const (
	Chapter03 Chapter = "0-3" // the cluster
	Chapter32 Chapter = "3-2" // the app's Deployment
	Chapter33 Chapter = "3-3" // its Service
	Chapter34 Chapter = "3-4" // a deleted pod comes back
	Chapter41 Chapter = "4-1" // node-exporter
	Chapter42 Chapter = "4-2" // Prometheus's account
	Chapter43 Chapter = "4-3" // Prometheus
	Chapter44 Chapter = "4-4" // its targets
	Chapter5  Chapter = "5"   // what the text names and leaves out

	All Chapter = "all" // the whole course
)

// Chapters are all of them, in the text's order.
var Chapters = []Chapter{Chapter03, Chapter32, Chapter33, Chapter34, Chapter41, Chapter42, Chapter43, Chapter44, Chapter5}

// Reaches tells whether a class that has come to c has had another chapter.
func (c Chapter) Reaches(other Chapter) bool {
	return c == All || slices.Index(Chapters, c) >= slices.Index(Chapters, other)
}

// Title is what a chapter is about, in Japanese or in English.
func (c Chapter) Title(japanese bool) string {
	t := titles[c]
	if japanese {
		return t[1]
	}
	return t[0]
}

var titles = map[Chapter][2]string{
	Chapter03: {"the cluster", "クラスター"},
	Chapter32: {"Deployment", "Deployment"},
	Chapter33: {"Service", "Service"},
	Chapter34: {"a deleted pod comes back", "Podを削除してみる"},
	Chapter41: {"node-exporter", "node-exporter"},
	Chapter42: {"the account (RBAC)", "アカウント(RBAC)"},
	Chapter43: {"Prometheus", "Prometheus"},
	Chapter44: {"its targets", "ターゲットの確認"},
	Chapter5:  {"topics", "トピック"},
}
