// Package docs makes the tables that the READMEs show from what the program
// itself knows, so that no documentation is kept by hand beside the code.
package docs

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Language is the language of a document.
type Language int

// The languages of the documentation.
const (
	English Language = iota
	Japanese
)

// Pick returns the text of the language.
func (l Language) Pick(english, japanese string) string {
	if l == Japanese {
		return japanese
	}
	return english
}

// Table renders a Markdown table. Cells may hold Markdown, on one line.
func Table(header []string, rows [][]string) string {
	var b strings.Builder
	line := func(cells []string) {
		for _, c := range cells {
			b.WriteString("| " + strings.ReplaceAll(c, "|", `\|`) + " ")
		}
		b.WriteString("|\n")
	}
	line(header)
	line(slices.Repeat([]string{"---"}, len(header)))
	for _, r := range rows {
		line(r)
	}
	return b.String()
}

// Cells takes a line of a table apart.
func Cells(line string) []string {
	const bar = "\x00"
	line = strings.ReplaceAll(strings.TrimSpace(line), `\|`, bar)
	cells := strings.Split(strings.Trim(line, "|"), "|")
	for i, c := range cells {
		cells[i] = strings.ReplaceAll(strings.TrimSpace(c), bar, "|")
	}
	return cells
}

// Code marks a value as code; an empty one stays empty.
func Code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}

// Block returns what stands between the markers `<!-- name:begin -->` and
// `<!-- name:end -->` of a document.
func Block(document, name string) (string, error) {
	from, to, err := find(document, name)
	if err != nil {
		return "", err
	}
	return document[from:to], nil
}

// Replace puts a text between the markers of a document.
func Replace(document, name, text string) (string, error) {
	from, to, err := find(document, name)
	if err != nil {
		return "", err
	}
	return document[:from] + text + document[to:], nil
}

func find(document, name string) (from, to int, err error) {
	begin, end := fmt.Sprintf("<!-- %s:begin -->\n", name), fmt.Sprintf("<!-- %s:end -->", name)
	if strings.Count(document, begin) != 1 || strings.Count(document, end) != 1 {
		return 0, 0, fmt.Errorf("the document needs a line %q and, after it, a line %q, each once", strings.TrimSpace(begin), end)
	}
	from, to = strings.Index(document, begin)+len(begin), strings.Index(document, end)
	if to < from {
		return 0, 0, errors.New("the document has " + end + " before its begin")
	}
	return from, to, nil
}
