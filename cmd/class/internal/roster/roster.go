// Package roster reads the list of a class: one stack name a line, or CSV with
// a header.
package roster

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"k8sbootcamp/cmd/class/internal/config"
	"k8sbootcamp/components/settings"
	"k8sbootcamp/internal/kindcluster"
)

// Columns of a CSV roster beside the configuration keys.
const (
	ColumnName    = "name"    // the stack's name; needed
	ColumnStudent = "student" // what people call the student, in any script
)

// Student is one line of the roster.
type Student struct {
	Name    string            // of the stack
	Display string            // for people; the name where nothing else is given
	Config  map[string]string // configuration keys, without the project's prefix
	Unset   []string          // keys whose cell is empty: the default, whatever was set before
	Line    int               // in the file; 0 without one
}

// Read reads a roster. Empty lines and lines that begin with # are skipped; a
// UTF-8 byte order mark and CRLF are fine. It is CSV if the file's name ends in
// .csv or its first line has a comma; a CSV's first line is its header. All
// problems are reported at once, each with the file and the line.
func Read(r io.Reader, file string) ([]Student, error) {
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if bytes.HasPrefix(b, []byte{0xff, 0xfe}) || bytes.HasPrefix(b, []byte{0xfe, 0xff}) {
		return nil, fmt.Errorf("%s:1: this is UTF-16; save it as UTF-8 (in Excel: CSV UTF-8)", file)
	}
	b = bytes.TrimPrefix(b, []byte("\uFEFF"))
	p := &parser{file: file}
	for i, line := range bytes.Split(b, []byte("\n")) {
		if !utf8.Valid(line) {
			p.problem(i+1, "this is not UTF-8; save the file as UTF-8 (in Excel: CSV UTF-8)")
		}
	}
	if len(p.errs) > 0 {
		return nil, p.err()
	}
	if strings.EqualFold(filepath.Ext(file), ".csv") || strings.Contains(firstLine(b), ",") {
		p.csv(b)
	} else {
		p.list(b)
	}
	p.collisions()
	if len(p.students) == 0 && len(p.errs) == 0 {
		p.problem(1, "it names nobody")
	}
	if len(p.errs) > 0 {
		return nil, p.err()
	}
	return p.students, nil
}

type parser struct {
	file     string
	students []Student
	errs     []problem
}

type problem struct {
	line int
	error
}

func (p *parser) problem(line int, format string, a ...any) {
	p.errs = append(p.errs, problem{line, fmt.Errorf("%s:%d: %w", p.file, line, fmt.Errorf(format, a...))})
}

// err is all problems, in the order of the lines.
func (p *parser) err() error {
	slices.SortStableFunc(p.errs, func(a, b problem) int { return a.line - b.line })
	all := make([]error, len(p.errs))
	for i, e := range p.errs {
		all[i] = e.error
	}
	return errors.Join(all...)
}

// list reads a name a line.
func (p *parser) list(b []byte) {
	s := bufio.NewScanner(bytes.NewReader(b))
	s.Buffer(nil, len(b)+1)
	for line := 1; s.Scan(); line++ {
		name := strings.TrimSpace(s.Text())
		if name == "" || strings.HasPrefix(name, "#") {
			continue
		}
		p.add(Student{Name: name, Display: name, Line: line})
	}
}

// csv reads a header, then a student a record.
func (p *parser) csv(b []byte) {
	r := csv.NewReader(bytes.NewReader(b))
	r.Comment = '#'
	r.TrimLeadingSpace = true
	r.FieldsPerRecord = -1 // checked here, to go on after it
	header, err := r.Read()
	if err == io.EOF {
		return
	}
	if err != nil {
		p.csvError(err)
		return
	}
	at, _ := r.FieldPos(0)
	if !p.header(header, at) {
		return
	}
	for {
		record, err := r.Read()
		if err == io.EOF {
			return
		}
		if err != nil {
			p.csvError(err)
			return // where the quotes end is anybody's guess
		}
		line, _ := r.FieldPos(0)
		for i := range record {
			record[i] = strings.TrimSpace(record[i])
		}
		if !slices.ContainsFunc(record, func(cell string) bool { return cell != "" }) {
			continue // a spreadsheet's empty row
		}
		if len(record) != len(header) {
			p.problem(line, "it has %d columns and the header has %d", len(record), len(header))
			continue
		}
		s := Student{Config: map[string]string{}, Line: line}
		for i, column := range header {
			switch {
			case column == ColumnName:
				s.Name = record[i]
			case column == ColumnStudent:
				s.Display = record[i]
			case record[i] != "":
				s.Config[column] = record[i]
			default:
				s.Unset = append(s.Unset, column)
			}
		}
		if s.Display == "" {
			s.Display = s.Name
		}
		p.add(s)
	}
}

// header trims the columns' names and checks them.
func (p *parser) header(header []string, line int) bool {
	before := len(p.errs)
	seen := map[string]bool{}
	for i, column := range header {
		column = strings.TrimSpace(column)
		header[i] = column
		known := column == ColumnName || column == ColumnStudent ||
			slices.ContainsFunc(settings.Keys, func(k settings.Key) bool { return k.Name == column })
		switch {
		case !known:
			p.problem(line, "column %q is no configuration key; allowed are %s, %s and %s", column, ColumnName, ColumnStudent, keyNames())
		case seen[column]:
			p.problem(line, "column %q is there twice", column)
		}
		seen[column] = true
	}
	if !seen[ColumnName] {
		p.problem(line, "the header has no column %q (the stack's name)", ColumnName)
	}
	return len(p.errs) == before
}

func (p *parser) csvError(err error) {
	var bad *csv.ParseError
	if errors.As(err, &bad) {
		p.problem(bad.Line, "%w", bad.Err)
		return
	}
	p.problem(1, "%w", err)
}

func (p *parser) add(s Student) {
	if problems := config.CheckName(s.Name); len(problems) > 0 {
		p.problem(s.Line, "%w", errors.Join(problems...))
		return
	}
	p.students = append(p.students, s)
}

// collisions reports names that are there twice, or that would be the same
// file or the same kind cluster.
func (p *parser) collisions() {
	names, folded, clusters := map[string]Student{}, map[string]Student{}, map[string]Student{}
	for _, s := range p.students {
		fold, cluster := strings.ToLower(s.Name), kindcluster.Name(s.Name)
		if other, ok := names[s.Name]; ok {
			p.problem(s.Line, "%q is in line %d already", s.Name, other.Line)
			continue
		}
		if other, ok := folded[fold]; ok {
			p.problem(s.Line, "%q and %q of line %d differ by upper and lower case alone, which not every file system keeps apart", s.Name, other.Name, other.Line)
		} else if other, ok := clusters[cluster]; ok {
			p.problem(s.Line, "%q and %q of line %d would have the same kind cluster, %s", s.Name, other.Name, other.Line, cluster)
		}
		names[s.Name], folded[fold], clusters[cluster] = s, s, s
	}
}

func keyNames() string {
	names := make([]string, len(settings.Keys))
	for i, k := range settings.Keys {
		names[i] = k.Name
	}
	return strings.Join(names, ", ")
}

// firstLine is the first line that says something.
func firstLine(b []byte) string {
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			return line
		}
	}
	return ""
}
