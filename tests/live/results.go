// Package live holds the tests that need more than Go: Pulumi's real engine in
// process, and a real cluster on Docker.
package live

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// results is what RESULTS.md is made of.
var results struct {
	sync.Mutex
	faults []*faultResult
	facts  []string
}

// faultResult is a row: all runs of one fault.
type faultResult struct {
	name            string
	runs, recovered int
	lost            []string
	took            []time.Duration
	notes           []string
}

func resultOf(fault string) *faultResult {
	i := slices.IndexFunc(results.faults, func(f *faultResult) bool { return f.name == fault })
	if i < 0 {
		results.faults = append(results.faults, &faultResult{name: fault})
		i = len(results.faults) - 1
	}
	return results.faults[i]
}

// record notes one run of a fault: how long the way back took and what was
// lost for good, nothing at best.
func record(fault string, took time.Duration, lost ...string) {
	results.Lock()
	defer results.Unlock()
	f := resultOf(fault)
	f.runs++
	f.took = append(f.took, took)
	if len(lost) == 0 {
		f.recovered++
	}
	f.lost = append(f.lost, lost...)
}

// remark adds a sentence to a fault's row, once.
func remark(fault, format string, a ...any) {
	results.Lock()
	defer results.Unlock()
	f, note := resultOf(fault), fmt.Sprintf(format, a...)
	if !slices.Contains(f.notes, note) {
		f.notes = append(f.notes, note)
	}
}

// fact adds a line about the run as a whole.
func fact(format string, a ...any) {
	results.Lock()
	defer results.Unlock()
	results.facts = append(results.facts, fmt.Sprintf(format, a...))
}

// writeResults writes RESULTS.md.
func writeResults(file string) error {
	results.Lock()
	defer results.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "# Results\n\nWritten by the tests in this folder on %s, on %d cores (%s/%s).\n",
		time.Now().UTC().Format("2006-01-02"), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH)
	b.WriteString("A run has recovered when nothing was lost: the lab is what a fresh `up` gives, and after `destroy` no container is left.\n\n")
	b.WriteString("| fault | runs | recovered | lost | way back, median (longest) | remarks |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, f := range results.faults {
		lost := "nothing"
		switch {
		case f.runs == 0:
			lost = "not known: the test failed before"
		case len(f.lost) > 0:
			lost = strings.Join(f.lost, "; ")
		}
		fmt.Fprintf(&b, "| %s | %d | %d | %s | %s | %s |\n", f.name, f.runs, f.recovered, lost, spread(f.took), strings.Join(f.notes, "; "))
	}
	if len(results.facts) > 0 {
		b.WriteString("\n")
		for _, f := range results.facts {
			fmt.Fprintf(&b, "- %s\n", f)
		}
	}
	return os.WriteFile(file, []byte(b.String()), 0o644)
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
