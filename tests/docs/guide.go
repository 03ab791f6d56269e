package docs

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// GuidePages are the guide's pages in the order in which they are read, by the course's
// chapters. They are in docs/guide, and in Japanese in docs/guide/ja.
var GuidePages = []string{"0-3", "3-2", "3-3", "3-4", "4-1", "4-2", "4-3", "4-4"}

// GuideFolders are where the guide is, by language.
var GuideFolders = map[Language]string{English: "docs/guide", Japanese: "docs/guide/ja"}

// Fence is a block of code in a document.
type Fence struct {
	Language string // go, yaml, console, sh, or none
	File     string // of the repository, which an excerpt is from
	Line     int    // of the document, where the body begins; the first is 1
	Body     []string
}

// Elided is a line that stands for any lines left out.
const Elided = "..."

// course is where the text's manifests are.
const course = "tests/testdata/course/"

var markerRE = regexp.MustCompile(`^<!-- (text|code): (\S+) -->$`)

// Fences reads a document's blocks of code. Excerpts (go, yaml) name their file in a
// comment on the line before; all problems come in one error.
func Fences(document string) ([]Fence, error) {
	var (
		found  []Fence
		errs   []error
		marked []string // the marker of the line before
		open   bool
	)
	lines := strings.Split(document, "\n")
	wrong := func(i int, format string, a ...any) {
		errs = append(errs, fmt.Errorf("line %d: %s", i+1, fmt.Sprintf(format, a...)))
	}
	for i, line := range lines {
		language, fence := strings.CutPrefix(line, "```")
		switch {
		case open && line == "```":
			open = false
		case open:
			last := &found[len(found)-1]
			last.Body = append(last.Body, line)
		case fence:
			f := Fence{Language: language, Line: i + 2}
			want := map[string]string{"go": "code", "yaml": "text"}[language]
			switch {
			case !slices.Contains([]string{"go", "yaml", "console", "sh", "promql"}, language):
				wrong(i, "a block of %q: allowed are go, yaml, console, sh and promql", language)
			case want == "" && marked != nil:
				wrong(i, "a block of %s is no excerpt, and has a marker", language)
			case want != "" && (marked == nil || marked[1] != want):
				wrong(i, "a block of %s has no `<!-- %s: FILE -->` on the line before", language, want)
			case want == "text":
				f.File = course + marked[2]
			case want == "code":
				f.File = marked[2]
			}
			found, open = append(found, f), true
		case marked != nil:
			wrong(i-1, "a marker without a block")
		}
		if marked = markerRE.FindStringSubmatch(line); open {
			marked = nil
		}
	}
	if open {
		wrong(len(lines)-1, "a block is not closed")
	}
	if marked != nil {
		wrong(len(lines)-1, "a marker without a block")
	}
	return found, errors.Join(errs...)
}

// Excerpt tells whether lines stand in a file one after the other, as they are but for
// the tabs that all of them begin with there.
func Excerpt(body []string, file string) bool {
	if len(body) == 0 {
		return false
	}
	lines := strings.Split(file, "\n")
	for i := 0; i+len(body) <= len(lines); i++ {
		if slices.Equal(unindented(lines[i:i+len(body)]), body) {
			return true
		}
	}
	return false
}

func unindented(lines []string) []string {
	common := -1
	for _, l := range lines {
		if tabs := len(l) - len(strings.TrimLeft(l, "\t")); l != "" && (common < 0 || tabs < common) {
			common = tabs
		}
	}
	out := make([]string, len(lines))
	for i, l := range lines {
		out[i] = l[min(len(l), max(common, 0)):]
	}
	return out
}

// Command is what is typed and what is seen then.
type Command struct {
	Line   string
	Output []string
}

const prompt = "$ "

// Commands reads a block of console.
func Commands(body []string) ([]Command, error) {
	var found []Command
	for i, line := range body {
		typed, begins := strings.CutPrefix(line, prompt)
		switch {
		case begins:
			found = append(found, Command{Line: typed})
		case i == 0:
			return nil, fmt.Errorf("a block of console begins with %q, and not with %q", line, prompt)
		default:
			last := &found[len(found)-1]
			last.Output = append(last.Output, line)
		}
	}
	return found, nil
}

// Console writes a block of console.
func Console(commands []Command) (body []string) {
	for _, c := range commands {
		body = append(append(body, prompt+c.Line), c.Output...)
	}
	return body
}

// Rewrite puts other bodies into a document's blocks, in their order.
func Rewrite(document string, bodies [][]string) (string, error) {
	fences, err := Fences(document)
	if err != nil {
		return "", err
	}
	if len(fences) != len(bodies) {
		return "", fmt.Errorf("the document has %d blocks, not %d", len(fences), len(bodies))
	}
	lines := strings.Split(document, "\n")
	for i, f := range slices.Backward(fences) {
		lines = slices.Replace(lines, f.Line-1, f.Line-1+len(f.Body), bodies[i]...)
	}
	return strings.Join(lines, "\n"), nil
}

// Shows tells whether a page's output is a run's, but for what differs from run to run.
func Shows(page, run []string) bool {
	want, got := Normalize(page), Normalize(run)
	first, rest, elided := cut(want)
	if !elided {
		return slices.Equal(want, got)
	}
	if len(got) < len(first) || !slices.Equal(got[:len(first)], first) {
		return false
	}
	for got = got[len(first):]; ; {
		var part []string
		if part, rest, elided = cut(rest); !elided {
			return len(got) >= len(part) && slices.Equal(got[len(got)-len(part):], part)
		}
		at := index(got, part)
		if at < 0 {
			return false
		}
		got = got[at+len(part):]
	}
}

// cut returns the lines before the first that stands for others, and those after it.
func cut(lines []string) (before, after []string, elided bool) {
	if i := slices.Index(lines, Elided); i >= 0 {
		return lines[:i], lines[i+1:], true
	}
	return lines, nil, false
}

// index is where lines stand in others, or -1.
func index(lines, part []string) int {
	for i := 0; i+len(part) <= len(lines); i++ {
		if slices.Equal(lines[i:i+len(part)], part) {
			return i
		}
	}
	return -1
}

// Fill returns a run's output with as many lines left out as a page leaves out: those
// that it shows first and last are as many as before, those between are the same ones,
// but for numbers.
func Fill(page, run []string) []string {
	first, rest, elided := cut(page)
	if !elided || len(run) < len(first) {
		return run
	}
	out := append(slices.Clone(run[:len(first)]), Elided)
	for left := run[len(first):]; ; {
		var part []string
		if part, rest, elided = cut(rest); !elided {
			if len(part) > len(left) {
				return run
			}
			return append(out, left[len(left)-len(part):]...)
		}
		at := index(countless(left), countless(part))
		if at < 0 {
			return run
		}
		out = append(append(out, left[at:at+len(part)]...), Elided)
		left = left[at+len(part):]
	}
}

// countless returns as many lines, without numbers and what differs from run to run.
func countless(lines []string) (out []string) {
	for _, line := range lines {
		normal := strings.Join(Normalize([]string{line}), "")
		out = append(out, numberRE.ReplaceAllString(normal, "N"))
	}
	return out
}

// volatile is what differs from run to run, or from machine to machine, and what is put
// in its place. What the guide is about (counts of pods, types, settings) is not here.
var volatile = []struct {
	what *regexp.Regexp
	by   string
}{
	// Kubernetes makes the names of pods of these characters alone.
	{regexp.MustCompile(`-[bcdfghjklmnpqrstvwxz2456789]{7,10}(-[bcdfghjklmnpqrstvwxz2456789]{5})?\b`), "-HASH"},
	{regexp.MustCompile(`\b(node-exporter)-[bcdfghjklmnpqrstvwxz2456789]{5}\b`), "$1-HASH"},
	{regexp.MustCompile(`client_address=.*`), "client_address=IP"},
	{regexp.MustCompile(`\b127\.0\.0\.1:\d+`), "127.0.0.1:PORT"},
	{regexp.MustCompile(`\b(10|172|192)\.\d+\.\d+\.\d+\b`), "IP"},
	{regexp.MustCompile(`\bv(\d+\.\d+)\.\d+\b`), "v$1.PATCH"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\dZ?`), "TIME"},
	{regexp.MustCompile(`\b\d{10}(\.\d+)?,`), "TIME,"},
	{regexp.MustCompile(`\b\d+ bytes\b`), "N bytes"},
	{regexp.MustCompile(`\((\d+[hms])+\)`), "(TIME)"},
	{regexp.MustCompile(`\bafter ([0-9.]+[hms])+(\)?)$`), "after TIME$2"},
	{regexp.MustCompile(`\bnothing left +(\d+[hms])+$`), "nothing left TIME"},
	{regexp.MustCompile(`\.go:\d+:\d+:`), ".go:LINE:"},
	{regexp.MustCompile(`^(node_\w+(\{.*\})?) [0-9.e+-]+$`), "$1 VALUE"},
	{regexp.MustCompile(` deleted from default namespace$`), " deleted"}, // of newer kubectls
	{regexp.MustCompile(`\s+`), " "},
	{regexp.MustCompile(` $`), ""},
}

var (
	headerRE  = regexp.MustCompile(`^NAME\b.*\bAGE\b`) // of kubectl's tables
	ageRE     = regexp.MustCompile(`(\s)(\d+[dhmsy])+(\s|$)`)
	numberRE  = regexp.MustCompile(`\d+`)
	waitingRE = regexp.MustCompile(`^Waiting for `) // as many as it takes
)

// Normalize returns lines without what differs from run to run.
func Normalize(lines []string) (out []string) {
	table := false
	for _, line := range lines {
		if waitingRE.MatchString(line) {
			continue
		}
		if table = headerRE.MatchString(line) || table && line != ""; table {
			line = ageRE.ReplaceAllString(line, "${1}AGE$3")
		}
		for _, v := range volatile {
			line = v.what.ReplaceAllString(line, v.by)
		}
		out = append(out, line)
	}
	return out
}
