package stack

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"k8sbootcamp/cmd/class/internal/progress"
	"k8sbootcamp/cmd/class/internal/workspace"
	"k8sbootcamp/internal/printable"
)

// Error is the failure of an operation. Its text is one printable line.
type Error struct {
	Cause  string // the first thing that went wrong
	Detail string // all that was said, some lines
	// Workloads are the names of the Deployments and DaemonSets whose pods did not
	// become ready, where that is what failed.
	Workloads []string

	err error
}

func (e *Error) Error() string { return e.Cause }

func (e *Error) Unwrap() error { return e.err }

// quotaBusy is what an API server says where another has changed a quota at the same
// moment; that of a hosted cluster is several.
const quotaBusy = "Operation cannot be fulfilled on resourcequotas"

// Passing tells whether an operation failed for nothing that lasts, so that it is to
// be done once more.
func Passing(err error) bool {
	var e *Error
	return errors.As(err, &e) && strings.Contains(e.Detail, quotaBusy)
}

// noGo is how the system says that the commands of a state, those of a stack that was
// made before there were releases, do not find the Go that they run by.
const noGo = `exec: "go": executable file not found`

// explain makes an *Error of a failed operation; none of no error.
func (s *Stack) explain(what string, failures []failure, err error) error {
	if err == nil {
		return nil
	}
	e := &Error{err: err}
	var all []string
	for _, f := range failures {
		line, whole := cause(f.message), f.message
		if f.resource != "" {
			line, whole = progress.Short(f.resource)+": "+line, progress.Short(f.resource)+": "+whole
			if kind := progress.ShortType(string(f.resource.Type())); kind == "Deployment" || kind == "DaemonSet" {
				e.Workloads = append(e.Workloads, f.resource.Name())
			}
		}
		if e.Cause == "" {
			e.Cause = line
		}
		all = append(all, whole)
	}
	said := s.cli.lastError
	if e.Cause == "" && said != "" {
		e.Cause = what + ": " + cause(said)
		all = []string{said}
	}
	if e.Cause == "" {
		e.Cause = what + ": " + cause(err.Error())
		var exit interface{ ExitCode() int }
		if errors.As(err, &exit) {
			e.Cause = fmt.Sprintf("%s ended with exit code %d and no word", what, exit.ExitCode())
		}
	}
	if strings.Contains(said, "incorrect passphrase") {
		e.Cause = s.wrongPassphrase()
	}
	if slices.ContainsFunc(all, func(said string) bool { return strings.Contains(said, noGo) }) {
		e.Cause = fmt.Sprintf("stack %s was made from source by an earlier version, whose commands need Go, and Go is not installed: `class up --stack %s` changes them and nothing else; then do this again",
			s.Name, s.Name)
	}
	e.Cause = printable.Line(e.Cause, causeLength)
	e.Detail = printable.Text(strings.Join(all, "\n"))
	return e
}

// wrongPassphrase is what to do where the CLI says no more than that.
func (s *Stack) wrongPassphrase() string {
	file := filepath.Base(s.Project.ConfigFile(s.Name))
	from := "the one in the environment"
	if own := s.Project.Passphrase(); own != "" {
		from = "that in " + own
	}
	return fmt.Sprintf("incorrect passphrase: secrets of stack %s, in its state or in %s, were made with another than %s; set %s to that one, or take secrets that are not yours out of %s (`pulumi config rm`)",
		s.Name, file, from, workspace.EnvPassphrase, file)
}

// causeLength is how long a cause may be, in characters.
const causeLength = 300

var (
	// noiseRE is what commands and the engine put before the real cause: what they were
	// about to do, and how far they came, kind's steps among it.
	noiseRE = regexp.MustCompile(`^(error:|exit status \d+:?( running .*)?$|go: |Creating cluster ".*" \.\.\.$|[•✓✗] ` +
		`|(image \S+|\d+ images): ([\d.]+ |pulled, |(not )?from the mirror|loaded into |.*(; trying again|; waiting for that)$)|warning: )`)
	// listRE is the head of a list of causes, each of which begins with a bullet.
	listRE = regexp.MustCompile(`\d+ errors? occurred:$`)
	// initRE is what the Kubernetes plugin says before the name of a workload that
	// does not become ready: with the URN, some 300 characters.
	initRE = regexp.MustCompile(`(resource ".*?" was successfully created, but )?the Kubernetes API server reported that (it|".*?") failed to fully initialize or become live: `)
)

const bullet = "* "

// cause is a message on one line: its first line that says anything, or, of a list
// of causes, those about pods first.
func cause(message string) string {
	var best string
	var items []string
	list := false
	for line := range strings.Lines(initRE.ReplaceAllString(message, "")) {
		line = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "error:"))
		if line == "" || noiseRE.MatchString(line) {
			continue
		}
		if listRE.MatchString(line) {
			list = true
			continue
		}
		if item, ok := strings.CutPrefix(line, bullet); list && ok {
			items = append(items, item)
			continue
		}
		if best == "" && len(items) == 0 {
			best = line
		}
		break
	}
	var pods, rest []string
	for _, item := range items {
		if strings.HasPrefix(item, "[Pod ") {
			pods = append(pods, item)
		} else {
			rest = append(rest, item)
		}
	}
	if len(items) > 0 {
		best = strings.Join(append(pods, rest...), "; ")
	}
	if best == "" {
		best, _, _ = strings.Cut(strings.TrimSpace(message), "\n")
	}
	return best
}
