package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"al.essio.dev/pkg/shellescape"

	"k8sbootcamp/components/settings"
	"k8sbootcamp/cmd/class/internal/config"
	"k8sbootcamp/internal/docker"
	"k8sbootcamp/cmd/class/internal/kubeconfig"
	"k8sbootcamp/cmd/class/internal/preflight"
	"k8sbootcamp/cmd/class/internal/progress"
	"k8sbootcamp/cmd/class/internal/roster"
	"k8sbootcamp/cmd/class/internal/runner"
	"k8sbootcamp/cmd/class/internal/workspace"
	"k8sbootcamp/cmd/class/internal/stack"
	"k8sbootcamp/cmd/class/internal/verbs"
	"k8sbootcamp/internal/kindcluster"
)

// needs is what a verb asks of the preflight.
type needs int

const (
	needValid    needs = 1 << iota // a configuration that is right
	needRoom                       // memory, disk, ports: what is about to be built
	needTools                      // the project's own tools, built
	needAnnounce                   // say where things lie
)

// session is one verb on some stacks.
type session struct {
	*app
	verb     string
	say      io.Writer // progress and what is not the result
	project  *workspace.Project
	cli      *workspace.CLI
	engine   docker.Engine
	book     kubeconfig.Book
	students []roster.Student
	configs  map[string]*config.Stack
	findings []preflight.Finding
	parallel int
}

// begin does all that comes before the first stack. Where it finds anything
// wrong, it says all of it at once, and nothing was made.
func (a *app) begin(ctx context.Context, verb string, need needs) (*session, error) {
	s := &session{app: a, verb: verb, say: a.out, configs: map[string]*config.Stack{}}
	if a.flags.json {
		s.say = a.err
	}
	if err := s.prepare(ctx, need); err != nil {
		if a.flags.json {
			d := &document{Verb: verb, ExitCode: a.quietCode(ctx, err), Findings: s.findings, Error: err.Error()}
			return nil, errors.Join(err, a.printJSON(d))
		}
		return nil, err
	}
	return s, nil
}

// quietCode is the exit code of an error.
func (a *app) quietCode(ctx context.Context, err error) int {
	var e *exit
	switch {
	case errors.As(err, &e):
		return e.code
	case ctx.Err() != nil:
		return exitInterrupted
	}
	return exitFailed
}

func (s *session) prepare(ctx context.Context, need needs) error {
	if s.flags.parallel < 0 {
		return &exit{exitUsage, fmt.Errorf("-j %d: it must be 1 or more", s.flags.parallel)}
	}
	for _, name := range s.flags.ignore {
		if !slices.Contains(preflight.Ignorable, name) {
			return &exit{exitUsage, fmt.Errorf("--ignore %s: allowed are %s", name, strings.Join(preflight.Ignorable, ", "))}
		}
	}
	here, err := os.Getwd()
	if err != nil {
		return err
	}
	dir, err := workspace.Find(here)
	if err != nil {
		return &exit{exitUsage, err}
	}
	if s.project, err = workspace.Open(dir, s.getenv); err != nil {
		return &exit{exitUsage, err}
	}
	s.book = kubeconfig.Book{Dir: s.project.Kubeconfigs()}
	s.engine = docker.New()

	if err := s.readStudents(); err != nil {
		return err
	}
	s.readConfigs(need&needValid != 0)
	if err := s.preflight(ctx, need); err != nil {
		return err
	}
	if s.flags.parallel > 0 {
		s.parallel = s.flags.parallel
	}
	if len(s.findings) > 0 {
		for _, f := range s.findings {
			fmt.Fprintln(s.err, f)
		}
		return &exit{exitUsage, fmt.Errorf("the preflight found %s; nothing was made", plural(len(s.findings), "problem"))}
	}

	finder := workspace.NewFinder(filepath.Join(s.project.Main(), "go.sum"), func(format string, a ...any) { fmt.Fprintf(s.say, format+"\n", a...) })
	if s.cli, err = finder.Find(ctx); err != nil {
		return err
	}
	if err := s.project.Prepare(); err != nil {
		return err
	}
	if need&needAnnounce != 0 {
		s.announce()
	}
	if need&needTools != 0 {
		return s.buildTools(ctx)
	}
	return nil
}

// readStudents says who is meant.
func (s *session) readStudents() error {
	if s.flags.roster == "" {
		if len(s.flags.only) > 0 {
			return &exit{exitUsage, errors.New("--only picks from a roster; give --roster, or use --stack")}
		}
		for _, problem := range config.CheckName(s.flags.stack) {
			return &exit{exitUsage, problem}
		}
		s.students = []roster.Student{{Name: s.flags.stack, Display: s.flags.stack}}
		return nil
	}
	f, err := os.Open(s.flags.roster)
	if err != nil {
		return &exit{exitUsage, fmt.Errorf("the roster: %w", err)}
	}
	defer f.Close()
	if s.students, err = roster.Read(f, s.flags.roster); err != nil {
		for _, problem := range joined(err) {
			s.findings = append(s.findings, preflight.Finding{Check: preflight.Roster, Problem: problem.Error(), Remedy: "mend that line"})
		}
		return nil
	}
	return s.pick()
}

// pick keeps the students that --only names.
func (s *session) pick() error {
	if len(s.flags.only) == 0 {
		return nil
	}
	var unknown []string
	for _, name := range s.flags.only {
		if !slices.ContainsFunc(s.students, func(st roster.Student) bool { return st.Name == name }) {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) > 0 {
		return &exit{exitUsage, fmt.Errorf("--only: the roster %s has no %s", s.flags.roster, strings.Join(unknown, ", "))}
	}
	s.students = slices.DeleteFunc(s.students, func(st roster.Student) bool { return !slices.Contains(s.flags.only, st.Name) })
	return nil
}

// readConfigs works out each stack's configuration. Only where it must be right
// is what is wrong with it a finding: a lab can be removed all the same.
func (s *session) readConfigs(mustBeRight bool) {
	flags, err := config.ParseFlags(workspace.ProjectName, s.flags.config)
	for _, problem := range joined(err) {
		s.findings = append(s.findings, preflight.Finding{Check: preflight.Config, Problem: problem.Error(), Remedy: "write it as --config KEY=VALUE"})
	}
	seen := map[string]bool{}
	for _, st := range s.students {
		file, err := config.Load(s.project.Settings, s.project.ConfigFile(st.Name))
		if err != nil {
			s.findings = append(s.findings, preflight.Finding{Check: preflight.Config, Problem: err.Error(), Remedy: "mend that file"})
			file = &config.File{Values: config.Values{}}
		}
		c, err := config.Merge(workspace.ProjectName, st.Name, file, st.Unset, flags, st.Config)
		s.configs[st.Name] = c
		if !mustBeRight {
			continue
		}
		for _, problem := range config.Problems(err) {
			text := problem.Error()
			if st.Line > 0 && !fromFlags(text, flags, st.Config) {
				text = fmt.Sprintf("%s:%d: %s: %s", s.flags.roster, st.Line, st.Name, text)
			}
			if !seen[text] { // what is wrong with a flag is wrong for all
				seen[text] = true
				s.findings = append(s.findings, preflight.Finding{Check: preflight.Config, Problem: text, Remedy: "give an allowed value; Pulumi.yaml describes each key"})
			}
		}
	}
}

// fromFlags tells whether a problem is about a value of the command line, which
// the roster's own value of the same key hides.
func fromFlags(problem string, flags config.Values, own map[string]string) bool {
	for key := range flags {
		if _, hidden := own[key]; !hidden && strings.HasPrefix(problem, workspace.ProjectName+":"+key+" ") {
			return true
		}
	}
	return false
}

// preflight asks the machine.
func (s *session) preflight(ctx context.Context, need needs) error {
	var wants []preflight.Want
	if need&needRoom != 0 {
		for _, st := range s.students {
			if c := s.settings(st.Name); c != nil && c.Cluster == settings.Kind {
				wants = append(wants, preflight.Want{
					Stack: st.Name, Cluster: kindcluster.Name(st.Name),
					Nodes: 1 + c.Workers, Image: c.Images.Node, HostPort: c.HostPort,
				})
			}
		}
	}
	machine := preflight.This{Engine: s.engine}
	folders := []string{s.project.Dir}
	if !s.project.OwnState && s.project.StateDir != "" {
		folders = append(folders, s.project.StateDir)
	}
	found, err := preflight.Run(ctx, machine, s.onKind(), wants, folders...)
	if err != nil {
		return err
	}
	for _, f := range found.Findings {
		if slices.Contains(s.flags.ignore, f.Check) {
			fmt.Fprintf(s.say, "warning: %s\n", f)
			continue
		}
		if slices.Contains(preflight.Ignorable, f.Check) {
			f.Remedy += fmt.Sprintf(". If you know better: --ignore %s", f.Check)
		}
		s.findings = append(s.findings, f)
	}
	s.parallel = found.Parallel
	if len(wants) == 0 {
		s.parallel = min(2*runtime.NumCPU(), max(1, len(s.students)))
	}
	return nil
}

// settings are a stack's, or nil where its configuration is not right.
func (s *session) settings(name string) *settings.Settings {
	if c := s.configs[name]; c != nil {
		return c.Settings
	}
	return nil
}

// onKind tells whether any stack may have a kind cluster.
func (s *session) onKind() bool {
	for _, st := range s.students {
		if c := s.settings(st.Name); c == nil || c.Cluster == settings.Kind {
			return true
		}
	}
	return len(s.students) == 0
}

// onShared tells whether any stack is on a shared cluster.
func (s *session) onShared() bool {
	return slices.ContainsFunc(s.students, func(st roster.Student) bool {
		c := s.settings(st.Name)
		return c != nil && c.Cluster != settings.Kind
	})
}

// announce says what is used and where it lies.
func (s *session) announce() {
	fmt.Fprintf(s.say, "Pulumi CLI  v%s, %s\n", s.cli.Version, s.cli.Path)
	fmt.Fprintf(s.say, "state       %s\n", s.project.Backend)
	if p := s.project.Passphrase(); p != "" {
		fmt.Fprintf(s.say, "passphrase  %s\n", p)
	}
	if lines := s.project.Exports(shellescape.Quote); len(lines) > 0 {
		fmt.Fprintln(s.say, "for plain `pulumi` on the same stacks:")
		for _, line := range lines {
			fmt.Fprintln(s.say, "  "+line)
		}
	}
	if len(s.students) > 1 {
		fmt.Fprintf(s.say, "%d stacks, %d at a time\n", len(s.students), min(s.parallel, len(s.students)))
	}
}

// buildTools compiles what the lab's commands run, so that the first of them
// does not do it in the middle of an update, and several at once.
func (s *session) buildTools(ctx context.Context) error {
	slow := time.AfterFunc(3*time.Second, func() { fmt.Fprintln(s.say, "building the lab's own tools (once)") })
	defer slow.Stop()
	var tools []string
	if s.onKind() {
		tools = append(tools, "kindcluster")
	}
	if s.onShared() {
		tools = append(tools, "sharedcluster")
	}
	for _, tool := range tools {
		cmd := exec.CommandContext(ctx, "go", "tool", "-n", tool)
		cmd.Dir = s.project.Main()
		if out, err := cmd.CombinedOutput(); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("`go tool %s` cannot be built: %w\n%s", tool, err, strings.TrimSpace(string(out)))
		}
	}
	return nil
}

// names are the stacks'.
func (s *session) names() []string {
	names := make([]string, len(s.students))
	for i, st := range s.students {
		names[i] = st.Name
	}
	return names
}

// open returns a stack to work on.
func (s *session) open(ctx context.Context, name string) (*stack.Stack, error) {
	return stack.Open(ctx, s.kill, s.project, s.cli, name, s.configs[name])
}

// each does a job for every stack and returns its rows.
func (s *session) each(ctx context.Context, done string, job func(context.Context, *stack.Stack, *progress.Line, *row) error) []row {
	board := progress.New(s.say, terminal(s.say), s.names())
	results := runner.Run(ctx, board, s.names(), s.parallel, done,
		func(ctx context.Context, name string, line *progress.Line) (row, error) {
			var r row
			st, err := s.open(ctx, name)
			if err == nil {
				err = job(ctx, st, line, &r)
			}
			return r, err
		})
	board.Close()
	rows := make([]row, len(results))
	for i, result := range results {
		r := result.Value
		r.Stack, r.Student = result.Name, s.students[i].Display
		r.Outcome, r.Seconds = result.Outcome, result.Took.Seconds()
		if result.Err != nil && result.Outcome == runner.Failed {
			r.Cause = result.Err.Error()
			var e *stack.Error
			if errors.As(result.Err, &e) && e.Detail != e.Cause {
				r.Detail = e.Detail
			}
		}
		rows[i] = r
	}
	return rows
}

// access is how the owner of a stack reaches its cluster.
func (s *session) access(name string) verbs.Access {
	if c := s.settings(name); c != nil && c.Cluster != settings.Kind {
		return verbs.Shared(c.KubeconfigPath, c.KubeContext)
	}
	return verbs.Own
}

// end prints the result, and returns the error that is the exit code.
func (s *session) end(ctx context.Context, rows []row, table func(io.Writer, []row)) error {
	d := &document{Verb: s.verb, Stacks: rows}
	var again []string
	for _, r := range rows {
		if r.Outcome != runner.OK {
			again = append(again, r.Stack)
		}
	}
	switch {
	case ctx.Err() != nil:
		d.ExitCode = exitInterrupted
	case len(again) > 0:
		d.ExitCode = exitFailed
	}
	if len(again) > 0 {
		d.Retry = s.retry(again)
	}
	if s.flags.json {
		if err := s.printJSON(d); err != nil {
			return err
		}
	} else {
		table(s.out, rows)
		s.failures(rows, d.Retry)
	}
	if d.ExitCode != exitOK {
		return &exit{code: d.ExitCode}
	}
	return nil
}

// failures names what failed, why, and how to try again.
func (s *session) failures(rows []row, retry string) {
	if retry == "" {
		return
	}
	fmt.Fprintln(s.out)
	for _, r := range rows {
		switch r.Outcome {
		case runner.Failed:
			fmt.Fprintf(s.out, "%s FAILED: %s\n", r.Stack, r.Cause)
			if len(rows) == 1 && r.Detail != "" {
				fmt.Fprintln(s.out, indent(r.Detail))
			}
		case runner.Interrupted, runner.NotStarted:
			fmt.Fprintf(s.out, "%s %s\n", r.Stack, r.Outcome)
		}
	}
	fmt.Fprintf(s.out, "\nto try again what is missing:\n  %s\n", retry)
}

// retry is the command that tries again with these stacks.
func (s *session) retry(names []string) string {
	args := []string{s.self(), s.verb}
	if s.flags.roster != "" {
		args = append(args, "--roster", s.flags.roster)
		if len(names) < len(s.students) || len(s.flags.only) > 0 {
			args = append(args, "--only", strings.Join(names, ","))
		}
	} else if s.flags.stack != "dev" {
		args = append(args, "--stack", s.flags.stack)
	}
	for _, pair := range s.flags.config {
		args = append(args, "--config", pair)
	}
	for _, name := range s.flags.ignore {
		args = append(args, "--ignore", name)
	}
	for flag, on := range map[string]bool{"--remove": s.flags.remove, "--disrupt": s.flags.disrupt} {
		if on {
			args = append(args, flag)
		}
	}
	for i := range args[1:] {
		args[i+1] = shellescape.Quote(args[i+1])
	}
	return strings.Join(args, " ")
}

// command is how a verb is called for a stack.
func (s *session) command(verb, stack string) string {
	command := s.self() + " " + verb
	if stack != "dev" {
		command += " --stack " + shellescape.Quote(stack)
	}
	return command
}

// self is how this tool was called.
func (s *session) self() string {
	if file, err := os.Executable(); err == nil && !strings.Contains(file, "go-build") {
		return shellescape.Quote(os.Args[0])
	}
	return "go run ./cmd/class"
}

func joined(err error) []error {
	if err == nil {
		return nil
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // the join itself is meant
		return many.Unwrap()
	}
	return []error{err}
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func indent(s string) string { return "  " + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n  ") }
