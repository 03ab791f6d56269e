package config

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/unicode"

	"k8sbootcamp/components/settings"
	"k8sbootcamp/internal/kindcluster"
	"k8sbootcamp/internal/printable"
)

// Columns of a roster beside the configuration keys.
const (
	columnName    = "name"    // the stack's name; needed
	columnStudent = "student" // what people call the student
)

// Far are the keys that decide what runs on this machine beside a lab, or which
// cluster a lab goes to: a node is a privileged container, and a kubeconfig may name
// programs to run. A roster often comes by mail.
var Far = []string{"nodeImage", "imageMirror", "kubeContext", "kubeconfigPath"}

// student is one line of the roster.
type student struct {
	name, called string
	line         int
	cells        Values   // configuration
	empty        []string // keys whose cell is empty: the default, whatever was set before
}

// readRoster reads the list of a class: a stack's name a line, or a table with a
// header, its cells apart by commas, semicolons or tabs. Empty lines and those
// that begin with # are skipped. A roster that is not trusted has no columns of Far.
// All problems are reported, each with its line.
func readRoster(b []byte, file string, trusted bool) ([]student, []Problem) {
	r := &roster{file: file, trusted: trusted}
	text, damaged := decode(b)
	if damaged > 0 {
		r.problem(damaged, `save it as UTF-8: in Excel as "CSV UTF-8", in Numbers with the text encoding "Unicode (UTF-8)"`,
			"this is not UTF-8 (Japanese Windows writes Shift JIS)")
		return nil, r.problems
	}
	first := ""
	for line := range strings.Lines(text) {
		if first = strings.TrimSpace(line); first != "" && first[0] != '#' {
			break
		}
	}
	ext := strings.ToLower(filepath.Ext(file))
	at := strings.IndexAny(first, ",;\t") // none is in any column's name
	switch {
	case at >= 0:
		r.read(text, rune(first[at]), nil)
	case ext == ".csv", ext == ".tsv", strings.EqualFold(first, columnName):
		r.read(text, ',', nil)
	default: // a list
		r.read(text, ',', []string{columnName})
	}
	if len(r.students) == 0 && len(r.problems) == 0 {
		r.problem(1, "write a stack's name a line, or a table with a header", "it names nobody")
	}
	if len(r.problems) > 0 {
		return nil, r.problems
	}
	return r.students, nil
}

// decode makes one kind of line end of all three, and UTF-8 of UTF-16 that begins
// with its mark. It returns the line of the first thing that can be no text.
func decode(b []byte) (text string, damaged int) {
	if bytes.HasPrefix(b, []byte("\xff\xfe")) || bytes.HasPrefix(b, []byte("\xfe\xff")) {
		// What cannot be decoded becomes U+FFFD.
		b, _ = unicode.UTF16(unicode.BigEndian, unicode.UseBOM).NewDecoder().Bytes(b)
	}
	text = strings.NewReplacer("\uFEFF", "", "\r\n", "\n", "\r", "\n").Replace(string(b))
	line := 0
	for l := range strings.Lines(text) {
		line++
		if !utf8.ValidString(l) || strings.ContainsAny(l, "\x00\uFFFD") {
			return "", line
		}
	}
	return text, 0
}

type roster struct {
	file     string
	trusted  bool
	students []student
	problems []Problem
}

const fixLine = "fix that line"

func (r *roster) problem(line int, remedy, format string, a ...any) {
	r.problems = append(r.problems, Problem{CheckRoster, fmt.Sprintf("%s:%d: ", r.file, line) + fmt.Sprintf(format, a...), remedy})
}

// read reads students; without a header, it is the first record.
func (r *roster) read(text string, comma rune, header []string) {
	in := csv.NewReader(strings.NewReader(text))
	in.Comma, in.Comment = comma, '#'
	in.TrimLeadingSpace = comma != '\t' // it would take an empty cell's tab
	in.FieldsPerRecord = -1
	for {
		record, err := in.Read()
		if err != nil {
			var bad *csv.ParseError
			if errors.As(err, &bad) { // and not the end
				r.problem(bad.Line, fixLine, "%v", bad.Err)
			}
			return // where the quotes end is anybody's guess
		}
		line, _ := in.FieldPos(0)
		end := 0 // programs write empty cells at the end, or leave them out
		for i, cell := range record {
			if record[i] = strings.TrimSpace(cell); record[i] != "" {
				end = i + 1
			}
		}
		switch record = record[:end]; {
		case end == 0 || record[0] != "" && record[0][0] == '#':
		case header == nil:
			if header = r.header(record, line); header == nil {
				return
			}
		case end > len(header):
			r.problem(line, fixLine, "it has more cells (%d) than there are columns (%d)", end, len(header))
		default:
			r.row(header, append(record, make([]string, len(header)-end)...), line)
		}
	}
}

// header checks the columns, and returns them as the keys are written.
func (r *roster) header(cells []string, line int) []string {
	before := len(r.problems)
	known := append([]string{columnName, columnStudent}, settings.Names()...)
	var unknown []string
	for i, cell := range cells {
		at := slices.IndexFunc(known, func(k string) bool { return strings.EqualFold(k, cell) })
		if instead, old := settings.Instead(cell); old {
			r.problem(line, "write a column "+instead+" in its place; README.md has the values, in Upgrading", "column %q: no longer a key", cell)
		} else if at < 0 {
			unknown = append(unknown, cell)
		} else if cells[i] = known[at]; slices.Contains(cells[:i], cells[i]) {
			r.problem(line, "remove one of them", "column %q is there twice", cells[i])
		}
	}
	if len(unknown) > 0 {
		r.problem(line, "allowed are "+strings.Join(known, ", "), `not configuration keys: "%s"`, printable.Line(strings.Join(unknown, ", "), 80))
	}
	for _, cell := range cells {
		if slices.Contains(Far, cell) && !r.trusted {
			r.problem(line, "set it with --config or in the stack's configuration file, or, if you wrote or read the roster yourself, add --trust-roster",
				"column %q decides what runs on this machine or where a lab goes", cell)
		}
	}
	if !slices.Contains(cells, columnName) {
		r.problem(line, "add it to the first line", "the header has no column %q (the stack's name)", columnName)
	}
	if len(r.problems) > before {
		return nil
	}
	return cells
}

// row takes in a student in whose name can be a stack's, and whose file and kind
// cluster are nobody else's.
func (r *roster) row(header, record []string, line int) {
	s := student{line: line, cells: Values{}}
	for i, column := range header {
		switch cell := record[i]; {
		case column == columnName:
			s.name = cell
		case column == columnStudent:
			s.called = printable.Line(cell, 80)
		case cell != "":
			s.cells[column] = cell
		default:
			s.empty = append(s.empty, column)
		}
	}
	if s.called == "" {
		s.called = s.name
	}
	if p := settings.CheckStackName(s.name); p != nil {
		r.problem(line, fixLine, "%v", p)
		return
	}
	for _, other := range r.students {
		switch cluster := kindcluster.Name(s.name); {
		case s.name == other.name:
			r.problem(line, fixLine, "%q is in line %d already", s.name, other.line)
		case strings.EqualFold(s.name, other.name):
			r.problem(line, fixLine, "%q and %q of line %d differ by upper and lower case alone, which not every file system keeps apart", s.name, other.name, other.line)
		case cluster == kindcluster.Name(other.name):
			r.problem(line, fixLine, "%q and %q of line %d would have the same kind cluster, %s", s.name, other.name, other.line, cluster)
		default:
			continue
		}
		return
	}
	r.students = append(r.students, s)
}
