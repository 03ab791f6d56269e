// Package results collects what the tests of a binary find, and writes it as
// RESULTS.md in their folder.
package results

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// File is what is written.
const File = "RESULTS.md"

var (
	mu     sync.Mutex
	faults []*fault
	facts  []string
)

// fault is a row: all runs of one fault.
type fault struct {
	name            string
	runs, recovered int
	lost            []string
	took            []time.Duration
	notes           []string
}

func rowOf(name string) *fault {
	i := slices.IndexFunc(faults, func(f *fault) bool { return f.name == name })
	if i < 0 {
		faults = append(faults, &fault{name: name})
		i = len(faults) - 1
	}
	return faults[i]
}

// Run runs a binary's tests and returns the exit code, for TestMain. It writes the
// file where BOOTCAMP_RESULTS=1, or where all tests ran and whole says that they
// had what they need (nil is no); a partial run would leave out rows.
func Run(m *testing.M, whole func() bool) int {
	flag.Parse()
	code := m.Run()
	all := whole != nil && whole()
	for _, selects := range []string{"test.run", "test.skip", "test.fuzz", "test.list"} {
		all = all && flag.Lookup(selects).Value.String() == ""
	}
	if os.Getenv("BOOTCAMP_RESULTS") == "1" || all {
		if err := os.WriteFile(File, page(), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return code
}

// Test notes a test as one run of a fault, unless it was skipped; defer it.
func Test(t testing.TB, name string, begin time.Time) {
	if t.Skipped() {
		return
	}
	if t.Failed() {
		Record(name, time.Since(begin), t.Name())
		return
	}
	Record(name, time.Since(begin))
}

// Record notes one run of a fault: how long the way back took and what was lost
// for good, nothing at best.
func Record(name string, took time.Duration, lost ...string) {
	mu.Lock()
	defer mu.Unlock()
	f := rowOf(name)
	f.runs++
	f.took = append(f.took, took)
	if len(lost) == 0 {
		f.recovered++
	}
	f.lost = append(f.lost, lost...)
}

// Remark adds a sentence to a fault's row, once.
func Remark(name, format string, a ...any) {
	mu.Lock()
	defer mu.Unlock()
	f, note := rowOf(name), fmt.Sprintf(format, a...)
	if !slices.Contains(f.notes, note) {
		f.notes = append(f.notes, note)
	}
}

// Fact adds a line about the run as a whole.
func Fact(format string, a ...any) {
	mu.Lock()
	defer mu.Unlock()
	facts = append(facts, fmt.Sprintf(format, a...))
}

func page() []byte {
	mu.Lock()
	defer mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "# Results\n\nWritten by the tests in this folder on %s, on %d cores (%s/%s).\n",
		time.Now().UTC().Format("2006-01-02"), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH)
	b.WriteString("A run has recovered when nothing was lost: the lab is what a fresh `up` gives, and after `destroy` no container is left.\n\n")
	b.WriteString("| fault | runs | recovered | lost | way back, median (longest) | remarks |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, f := range faults {
		lost := "nothing"
		switch {
		case f.runs == 0:
			lost = "not known: the test failed before"
		case len(f.lost) > 0:
			lost = strings.Join(f.lost, "; ")
		}
		fmt.Fprintf(&b, "| %s | %d | %d | %s | %s | %s |\n", f.name, f.runs, f.recovered, lost, spread(f.took), strings.Join(f.notes, "; "))
	}
	if len(facts) > 0 {
		b.WriteString("\n")
		for _, f := range facts {
			fmt.Fprintf(&b, "- %s\n", f)
		}
	}
	return []byte(b.String())
}

// spread is the median and the longest of some durations.
func spread(d []time.Duration) string {
	if len(d) == 0 {
		return ""
	}
	d = slices.Sorted(slices.Values(d))
	round := func(d time.Duration) string {
		if d < 10*time.Second {
			return d.Round(10 * time.Millisecond).String()
		}
		return d.Round(time.Second).String()
	}
	return fmt.Sprintf("%s (%s)", round(d[len(d)/2]), round(d[len(d)-1]))
}
