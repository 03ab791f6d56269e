package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"
	kindcmd "sigs.k8s.io/kind/pkg/cmd"

	"k8sbootcamp/cmd/class/internal/config"
	"k8sbootcamp/cmd/class/internal/preflight"
	"k8sbootcamp/cmd/class/internal/progress"
	"k8sbootcamp/cmd/class/internal/shell"
	"k8sbootcamp/cmd/class/internal/stack"
	"k8sbootcamp/cmd/class/internal/workspace"
	"k8sbootcamp/internal/kindcluster"
	"k8sbootcamp/internal/printable"
)

// verb is what tells one verb from another.
type verb struct {
	valid bool // the configuration must be right
	room  bool // memory, disk and ports are asked for: something is about to be built
	quiet bool // it takes a moment: progress is for terminals alone

	confirm func(ctx context.Context, s *session) (bool, error) // asks the user; may be nil

	done string // the word of a stack that is done
	work func(ctx context.Context, s *session, st *stack.Stack, line *progress.Line, r *row) error
	show func(s *session, rows []row)
	end  func(ctx context.Context, s *session, rows []row) error // once all stacks are done; may be nil
}

// session is one verb at work on some stacks.
type session struct {
	*tool
	verb     verb
	cmd      *cobra.Command
	say      io.Writer // progress, and what is not the result
	tools    stack.Tools
	stacks   []*config.Stack
	findings []preflight.Finding
	parallel int
}

// command makes a command of a verb.
func (t *tool) command(c *cobra.Command, v verb) *cobra.Command {
	c.Args = cobra.NoArgs
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx := cmd.Context()
		s, err := t.session(cmd, v)
		if err != nil {
			return err
		}
		if v.confirm != nil {
			if yes, err := v.confirm(ctx, s); err != nil || !yes {
				return err
			}
		}
		rows := s.each(ctx)
		if v.end != nil && ctx.Err() == nil {
			if err := v.end(ctx, s, rows); err != nil {
				fmt.Fprintln(t.err, "warning:", err)
			}
		}
		return s.finish(ctx, rows)
	}
	return c
}

// session is a verb that is ready to go to work on its stacks.
func (t *tool) session(cmd *cobra.Command, v verb) (*session, error) {
	s := &session{tool: t, verb: v, cmd: cmd, say: t.out}
	if t.json {
		s.say = t.err
	}
	ctx := cmd.Context()
	err := s.prepare(ctx)
	if err != nil && t.json {
		err = errors.Join(err, s.printJSON(document{ExitCode: exitCode(ctx, err), Error: errorText(err), Findings: s.findings}))
	}
	return s, err
}

// prepare does all that comes before the first stack. Where it finds anything
// wrong, it says all of it at once, and nothing was made.
func (s *session) prepare(ctx context.Context) error {
	if s.tool.parallel < 0 {
		return fmt.Errorf("-j %d: it must be 1 or more", s.tool.parallel)
	}
	for _, name := range s.ignore {
		if !slices.Contains(preflight.Ignorable, name) {
			return fmt.Errorf("--ignore %s: allowed are %s", name, strings.Join(preflight.Ignorable, ", "))
		}
	}
	if err := s.open(); err != nil {
		return err
	}
	if err := s.read(); err != nil {
		return err
	}
	cli := make(chan *workspace.CLI, 1)
	go func() { cli <- workspace.OnPath(ctx) }() // it takes as long to tell its version as Docker to answer
	if err := s.preflight(ctx); err != nil {
		return err
	}
	if err := s.refuse(); err != nil {
		return err
	}
	return s.setUp(ctx, <-cli)
}

// open finds the project.
func (s *session) open() error {
	here, err := os.Getwd()
	if err != nil {
		return err
	}
	dir, err := workspace.Find(here)
	if err != nil {
		return err
	}
	project, err := workspace.Open(dir, os.LookupEnv)
	if err != nil {
		return err
	}
	s.tools = stack.Tools{Project: project, Docker: kindcluster.NewDockerDriver(kindcmd.NewLogger())}
	return nil
}

// read works out the stacks.
func (s *session) read() (err error) {
	project := s.tools.Project
	s.stacks, s.findings, err = config.Read(config.Request{
		Project: project.Settings, File: project.ConfigSource,
		Stack: s.tool.stack, Roster: s.roster, Trusted: s.trusted, Only: s.only, Flags: s.config, MustBeRight: s.verb.valid,
	})
	if err != nil {
		return err
	}
	names, err := project.Stacks()
	if err != nil {
		return err
	}
	for _, st := range s.stacks {
		if other := workspace.Namesake(names, st.Name); other != "" {
			s.findings = append(s.findings, config.Problem{Check: config.CheckConfig,
				Problem: fmt.Sprintf("there is no stack %s, and a stack %s: their files would be the same ones on many systems", st.Name, other),
				Remedy:  fmt.Sprintf("write %s as it is, or take another name", other)})
		}
	}
	return nil
}

// refuse is the error of what was found so far, which it says.
func (s *session) refuse() error {
	if len(s.findings) == 0 {
		return nil
	}
	for _, f := range s.findings {
		fmt.Fprintln(s.err, f)
	}
	return fmt.Errorf("the preflight found %s; nothing was made", printable.Count(len(s.findings), "problem"))
}

// preflight asks the machine. What rests on an estimate may be ignored.
func (s *session) preflight(ctx context.Context) error {
	project := s.tools.Project
	folders := []string{project.Dir}
	if !project.OwnState && project.State != "" {
		folders = append(folders, string(project.State))
	}
	var build []*config.Stack
	if s.verb.room {
		build = s.stacks
	}
	machine, err := preflight.Look(ctx, build, s.onKind(), folders...)
	if err != nil {
		return err
	}
	found := machine.Findings()
	if s.verb.valid {
		found = append(found, machine.Misfits(s.stacks)...)
	}
	for _, f := range found {
		if slices.Contains(s.ignore, f.Check) {
			fmt.Fprintf(s.say, "warning: %s\n", f)
			continue
		}
		if slices.Contains(preflight.Ignorable, f.Check) {
			f.Remedy += ". If you know better: --ignore " + f.Check
		}
		s.findings = append(s.findings, f)
	}
	for _, w := range machine.Warnings() {
		fmt.Fprintf(s.say, "warning: %s\n", w)
	}
	s.parallel = cmp.Or(s.tool.parallel, machine.Parallel(len(s.stacks)))
	return nil
}

// setUp makes what Pulumi needs, and says where it lies. cli is nil where it is yet to be
// found.
func (s *session) setUp(ctx context.Context, cli *workspace.CLI) (err error) {
	project := s.tools.Project
	if cli == nil {
		cli, err = workspace.FindCLI(ctx, project.Tools(), func(format string, a ...any) { fmt.Fprintf(s.say, format+"\n", a...) })
	}
	switch {
	case err != nil && project.Prebuilt(): // it was looked for, and nothing was begun
		return err
	case err != nil:
		return begun{err}
	}
	s.tools.Pulumi = &workspace.Command{CLI: cli, Kill: s.kill}
	if err := project.Prepare(); err != nil {
		return begun{err}
	}
	if !s.verb.room {
		return nil
	}
	fmt.Fprintf(s.say, "Pulumi CLI  v%s, %s\nstate       %s\n", cli.Version, cli.Path, project.Backend)
	if p := project.Passphrase(); p != "" {
		fmt.Fprintf(s.say, "passphrase  %s\n", p)
	}
	if lines := project.Exports(); len(lines) > 0 {
		fmt.Fprintf(s.say, "for plain `pulumi` on the same stacks:\n  %s\n", strings.Join(lines, "\n  "))
	}
	for _, st := range s.stacks {
		if !st.File.Ours {
			what := "whose " + filepath.Base(project.ConfigFile(st.Name)) + " is left as it is"
			if project.ConfigSource(st.Name) != project.ConfigFile(st.Name) {
				what = "which has no file of its own"
			}
			fmt.Fprintf(s.say, "  and for stack %s, %s: pulumi --cwd %s preview --stack %s\n",
				st.Name, what, shell.Here.Quote(project.ConfigCopy(st.Name)), st.Name)
		}
	}
	if n := len(s.stacks); n > 1 {
		fmt.Fprintf(s.say, "%d stacks, %d at a time\n", n, min(s.parallel, n))
	}
	return nil
}

// onKind tells whether any stack may have a kind cluster.
func (s *session) onKind() bool {
	return len(s.stacks) == 0 || slices.ContainsFunc(s.stacks, (*config.Stack).OnKind)
}

// each does the verb's work for every stack, some at a time and in the order of the
// roster; one stack's failure never stops the others. A cancelled context starts no
// further ones and waits for those that run.
func (s *session) each(ctx context.Context) []row {
	out := s.say
	if s.verb.quiet && !terminal(out) {
		out = io.Discard
	}
	names := make([]string, len(s.stacks))
	rows := make([]row, len(s.stacks))
	for i, st := range s.stacks {
		names[i] = st.Name
		rows[i] = row{Stack: st.Name, Student: st.Student, Outcome: notStarted}
	}
	board := progress.New(out, terminal(out), names)
	defer board.Close()
	var group errgroup.Group
	group.SetLimit(max(1, s.parallel))
	for i := range s.stacks {
		group.Go(func() error {
			if ctx.Err() == nil {
				s.one(ctx, s.stacks[i], board.Start(names[i]), &rows[i])
			}
			return nil
		})
	}
	_ = group.Wait() // each row has its own error
	return rows
}

func (s *session) one(ctx context.Context, c *config.Stack, line *progress.Line, r *row) {
	start := time.Now()
	st, err := stack.Open(ctx, s.tools, c)
	if err == nil {
		err = s.verb.work(ctx, s, st, line, r)
	}
	r.Seconds = time.Since(start).Seconds()
	switch {
	case err == nil:
		r.Outcome = ok
		line.End(true, s.verb.done)
	case ctx.Err() != nil || errors.Is(err, context.Canceled):
		r.Outcome = interrupted
		line.End(false, string(interrupted))
	default:
		r.Outcome = failed
		r.fail(err)
		line.End(false, "FAILED: "+r.Cause)
	}
}

// finish prints the result, and returns the error that is the exit code.
func (s *session) finish(ctx context.Context, rows []row) error {
	var missing []string
	for _, r := range rows {
		if r.Outcome != ok {
			missing = append(missing, r.Stack)
		}
	}
	var err error
	d := document{Stacks: rows}
	if len(missing) > 0 {
		err = begun{errTold}
		d.Retry = s.again(missing)
	}
	d.ExitCode = exitCode(ctx, err)
	if s.json {
		return errors.Join(err, s.printJSON(d))
	}
	s.verb.show(s, rows)
	s.printFailures(rows, d.Retry)
	return err
}

// again is the command that does the verb again for the stacks of these names, with
// the flags as they were given.
func (s *session) again(names []string) string {
	args := []string{s.cmd.Name()}
	s.cmd.Flags().Visit(func(f *pflag.Flag) {
		list, isList := f.Value.(pflag.SliceValue)
		switch {
		case f.Name == "only":
		case isList:
			for _, v := range list.GetSlice() {
				args = append(args, "--"+f.Name, v)
			}
		case f.Value.Type() == "bool":
			args = append(args, "--"+f.Name+map[string]string{"true": "", "false": "=false"}[f.Value.String()])
		default:
			args = append(args, "--"+f.Name, f.Value.String())
		}
	})
	if s.roster != "" && (len(names) < len(s.stacks) || len(s.only) > 0) {
		args = append(args, "--only", strings.Join(names, ","))
	}
	return shell.Here.Class() + " " + shell.Here.Quote(args...)
}

// as is how another verb is called for the same stacks.
func (s *session) as(verb string) string {
	args := []string{verb}
	s.cmd.Flags().Visit(func(f *pflag.Flag) {
		switch f.Name {
		case "stack", "roster":
			args = append(args, "--"+f.Name, f.Value.String())
		case "only":
			args = append(args, "--only", strings.Join(s.only, ","))
		case "trust-roster":
			args = append(args, "--trust-roster")
		}
	})
	return shell.Here.Class() + " " + shell.Here.Quote(args...)
}

// call is how a verb is called for a stack.
func call(verb, stack string) string {
	args := []string{verb}
	if stack != workspace.SampleStack {
		args = append(args, "--stack", stack)
	}
	return shell.Here.Class() + " " + shell.Here.Quote(args...)
}
