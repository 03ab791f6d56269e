package cli

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"

	"k8sbootcamp/components/lab"
	"k8sbootcamp/cmd/class/internal/runner"
	"k8sbootcamp/cmd/class/internal/stack"
)

// table prints columns that are as wide as their widest cell. Widths are those
// of a terminal, where a Japanese name takes two places a character (which
// text/tabwriter does not know).
func table(w io.Writer, rows [][]string) {
	var widths []int
	for _, r := range rows {
		for i, cell := range r {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], runewidth.StringWidth(cell))
		}
	}
	for _, r := range rows {
		var line strings.Builder
		for i, cell := range r {
			line.WriteString(runewidth.FillRight(cell, widths[i]+2))
		}
		fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
}

// who is the first two columns.
func who(r row) []string { return []string{r.Student, r.Stack} }

func (s *session) printUp(w io.Writer, rows []row) {
	if len(rows) == 1 && rows[0].Outcome == runner.OK {
		s.printOne(w, rows[0])
		return
	}
	lines := [][]string{{"STUDENT", "STACK", "RESULT", "TOOK", "CHANGES", "APP URL"}}
	for _, r := range rows {
		lines = append(lines, append(who(r), string(r.Outcome), seconds(r.Seconds), changed(r.Changes), or(r.Outputs[lab.OutAppURL], "-")))
	}
	fmt.Fprintln(w)
	table(w, lines)
}

// printOne is for the student whose lab it is.
func (s *session) printOne(w io.Writer, r row) {
	fmt.Fprintf(w, "\nThe lab %s is up (%s).\n", r.Stack, changed(r.Changes))
	lines := [][]string{}
	for _, o := range []struct{ name, what string }{
		{lab.OutAppURL, "app"},
		{lab.OutAppPortForward, "app, by port-forward"},
		{lab.OutAppProxyPath, "app, behind `kubectl proxy`"},
		{lab.OutPrometheusPortForward, "Prometheus, by port-forward"},
	} {
		if v := r.Outputs[o.name]; v != "" {
			lines = append(lines, []string{"  " + o.what, v})
		}
	}
	table(w, lines)
	fmt.Fprintln(w, "next:")
	table(w, [][]string{
		{"  " + s.command("kubeconfig", r.Stack), "writes a kubeconfig for kubectl"},
		{"  " + s.command("check", r.Stack), "asks the course's own questions"},
		{"  " + s.command("destroy", r.Stack), "removes it all"},
	})
}

func printPreview(w io.Writer, rows []row) {
	for _, r := range rows {
		if r.Outcome != runner.OK {
			continue
		}
		fmt.Fprintf(w, "\n%s: %s\n", r.Stack, changed(r.Changes))
		var lines [][]string
		for _, s := range r.Changes.Steps {
			lines = append(lines, []string{"  " + s.Op, stack.ShortType(s.Type), s.Name, strings.Join(s.Keys, ", ")})
		}
		table(w, lines)
	}
}

func printStatus(w io.Writer, rows []row) {
	lines := [][]string{{"STUDENT", "STACK", "CLUSTER", "READY", "APP URL", "LAST CHANGE"}}
	var notes []string
	for _, r := range rows {
		s := r.Status
		if s == nil {
			lines = append(lines, append(who(r), string(r.Outcome), "-", "-", "-"))
			continue
		}
		last := "-"
		if s.LastChange != nil {
			last = fmt.Sprintf("%s %s, %s", s.LastChange.Kind, s.LastChange.Result, s.LastChange.Time.Local().Format(time.DateTime))
		}
		lines = append(lines, append(who(r), s.Cluster, fmt.Sprintf("%d/%d", s.Ready, s.Total), or(s.AppURL, "-"), last))
		for _, n := range s.NotReady {
			notes = append(notes, r.Stack+": "+n)
		}
		if s.Problem != "" {
			notes = append(notes, r.Stack+": "+s.Problem)
		}
	}
	table(w, lines)
	for _, n := range notes {
		fmt.Fprintln(w, n)
	}
}

func printChecks(w io.Writer, rows []row) {
	for _, r := range rows {
		if len(r.Checks) == 0 {
			continue
		}
		fmt.Fprintf(w, "\n%s\n", r.Stack)
		var lines [][]string
		for _, c := range r.Checks {
			word := "ok"
			if !c.OK {
				word = "FAILED"
			}
			lines = append(lines, []string{"  " + word, c.Question, c.Detail})
		}
		table(w, lines)
	}
}

func printDestroy(w io.Writer, rows []row) {
	lines := [][]string{{"STUDENT", "STACK", "RESULT", "TOOK"}}
	var kept []string
	for _, r := range rows {
		word := string(r.Outcome)
		if r.Outcome == runner.OK {
			word = "nothing left"
			if len(r.Kept) > 0 {
				word = "removed"
			}
		}
		lines = append(lines, append(who(r), word, seconds(r.Seconds)))
		for _, k := range r.Kept {
			kept = append(kept, fmt.Sprintf("%s: stays: %s", r.Stack, k))
		}
	}
	fmt.Fprintln(w)
	table(w, lines)
	for _, k := range kept {
		fmt.Fprintln(w, k)
	}
}

// changed is a summary such as "3 create, 1 update".
func changed(c *stack.Changes) string {
	if c == nil {
		return "-"
	}
	var parts []string
	for _, op := range slices.Sorted(maps.Keys(c.Summary)) {
		if op != "same" && c.Summary[op] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", c.Summary[op], op))
		}
	}
	return or(strings.Join(parts, ", "), "no change")
}

func or(s, instead string) string {
	if s == "" {
		return instead
	}
	return s
}
