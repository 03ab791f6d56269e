// Package printable makes text from outside fit for a terminal: from a cluster, a
// file of the user's, or a tool. Escape sequences can set the clipboard or hide
// text, and a message can be of any length.
package printable

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// Text returns the text with every character that is not printable written as Go
// does, such as \x1b; line breaks and tabs stay.
func Text(s string) string {
	return clean(s, func(r rune) bool { return r == '\n' || r == '\t' })
}

// Line returns the text on one line, of at most that many characters: line breaks
// are spaces, and what is too long ends in "…".
func Line(s string, most int) string {
	s = clean(strings.Join(strings.Fields(s), " "), func(rune) bool { return false })
	if r := []rune(s); len(r) > most {
		return strings.TrimRight(string(r[:most-1]), " ") + "…"
	}
	return s
}

// Middle is Line, but what is too long loses its middle: of an image's name or a
// path both ends tell something.
func Middle(s string, most int) string {
	r := []rune(Line(s, len(s)+1))
	if len(r) <= most {
		return string(r)
	}
	half := (most - 1) / 2
	return string(r[:half]) + "…" + string(r[len(r)-(most-1-half):])
}

// Megabytes is a number of bytes in MB, which are millions.
func Megabytes(bytes int64) string { return fmt.Sprintf("%.1f MB", float64(bytes)/1e6) }

// Count is a number of things, such as "1 problem" or "3 problems".
func Count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

func clean(s string, keep func(rune) bool) string {
	if strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) && !keep(r) }) < 0 && strings.ToValidUTF8(s, "") == s {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) || keep(r) {
			b.WriteRune(r)
			continue
		}
		quoted := strconv.QuoteRune(r)
		b.WriteString(quoted[1 : len(quoted)-1])
	}
	return b.String()
}
