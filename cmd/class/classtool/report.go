package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jstemmer/go-junit-report/v2/junit"
	"github.com/rogpeppe/go-internal/robustio"

	"k8sbootcamp/internal/lesson"
	"k8sbootcamp/internal/printable"
)

// reportFormat is how a file of this name is written; nil for a name of no known kind.
func reportFormat(file string) func(io.Writer, []row, lesson.Lang) error {
	switch strings.ToLower(filepath.Ext(file)) {
	case ".xml":
		return writeJUnit
	case ".csv":
		return writeCSV
	}
	return nil
}

// writeReport writes the points of every student to a file, if one was asked for. A
// report that is there already is whole at any time.
func writeReport(s *session, file string, rows []row) error {
	if file == "" {
		return nil
	}
	lang, err := s.language()
	if err != nil {
		return err
	}
	whole, err := os.CreateTemp(filepath.Dir(file), ".report-*"+filepath.Ext(file))
	if err != nil {
		return fmt.Errorf("--report: %w", err)
	}
	if err := errors.Join(reportFormat(file)(whole, rows, lang), whole.Close()); err != nil {
		os.Remove(whole.Name())
		return fmt.Errorf("--report: %w", err)
	}
	if err := robustio.Rename(whole.Name(), file); err != nil { // as where a program of Windows has the old one open
		return fmt.Errorf("--report: %w; the points are in %s", err, whole.Name())
	}
	fmt.Fprintf(s.say, "wrote %s\n", file)
	return nil
}

// writeJUnit writes a suite a student, and a case a check.
func writeJUnit(w io.Writer, rows []row, lang lesson.Lang) error {
	all := junit.Testsuites{Name: "bootcamp"}
	for _, r := range rows {
		suite := junit.Testsuite{Name: printable.Line(r.Student, 200), Time: fmt.Sprintf("%.3f", r.Seconds)}
		suite.SetTimestamp(time.Now())
		suite.AddProperty("stack", r.Stack)
		if r.Report == nil {
			suite.AddTestcase(junit.Testcase{Name: "check", Classname: r.Stack, Error: &junit.Result{Message: r.Cause, Type: string(r.Outcome)}})
			all.AddSuite(suite)
			continue
		}
		total := r.Report.Total()
		suite.AddProperty("points", strconv.Itoa(total.Points))
		suite.AddProperty("of", strconv.Itoa(total.Of))
		for _, a := range r.answers(lang) {
			c := junit.Testcase{Name: a.ID + ": " + a.Question, Classname: r.Stack + "." + a.Chapter}
			switch lesson.State(a.State) {
			case lesson.OK:
			case lesson.Later, lesson.Skipped:
				c.Skipped = &junit.Result{Message: a.Hint}
			default:
				c.Failure = &junit.Result{Message: a.Hint, Type: a.State, Data: a.Look}
			}
			suite.AddTestcase(c)
		}
		all.AddSuite(suite)
	}
	return all.WriteXML(w)
}

// writeCSV writes a line a student and check; who could not be asked has one line.
func writeCSV(w io.Writer, rows []row, lang lesson.Lang) error {
	if _, err := io.WriteString(w, "\uFEFF"); err != nil { // or Excel takes it for the system's old code page
		return err
	}
	out := csv.NewWriter(w)
	write := func(cells ...string) {
		for i, c := range cells {
			cells[i] = harmless(c)
		}
		out.Write(cells) //nolint:errcheck // Flush's Error has it
	}
	write("student", "stack", "chapter", "check", "points", "of", "state", "question", "hint")
	for _, r := range rows {
		if r.Report == nil {
			write(r.Student, r.Stack, "", "", "0", "", string(r.Outcome), "", r.Cause)
			continue
		}
		for _, a := range r.answers(lang) {
			got := 0
			if a.OK {
				got = a.Points
			}
			of := a.Points
			if lesson.State(a.State) == lesson.Skipped {
				of = 0
			}
			write(r.Student, r.Stack, a.Chapter, a.ID, strconv.Itoa(got), strconv.Itoa(of), a.State, a.Question, a.Hint)
		}
	}
	out.Flush()
	return out.Error()
}

// harmless keeps a spreadsheet from taking a cell for a formula.
func harmless(cell string) string {
	if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
		return "'" + cell
	}
	return cell
}
