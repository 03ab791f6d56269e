// Package cli is the class tool's command line: flags, what is done in which
// order, and what is printed where.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// Exit codes.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2   // bad flags, configuration or roster, or a preflight finding
	exitInterrupted = 130 // as shells have it
)

// exit is an error with an exit code. Without a text, all has been said.
type exit struct {
	code int
	err  error
}

func (e *exit) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exit) Unwrap() error { return e.err }

// app is one run of the tool.
type app struct {
	in       *os.File
	out, err io.Writer
	getenv   func(string) string
	kill     context.Context // done: end everything without mercy
	begun    bool            // the flags were fine
	flags    flags
}

type flags struct {
	stack    string
	roster   string
	only     []string
	parallel int
	config   []string
	ignore   []string
	yes      bool
	json     bool
	remove   bool
	disrupt  bool
	output   string
	merge    bool
}

// Main runs the tool and returns its exit code.
func Main(args []string) int {
	ctx, cancel := context.WithCancelCause(context.Background())
	kill, killNow := context.WithCancel(context.Background())
	defer killNow()
	go onSignals(cancel, killNow)

	a := &app{in: os.Stdin, out: os.Stdout, err: os.Stderr, getenv: os.Getenv, kill: kill}
	root := a.root()
	root.SetArgs(args)
	root.SetOut(os.Stdout)
	root.SetErr(os.Stderr)
	return a.code(ctx, root.ExecuteContext(ctx))
}

// code prints an error that nobody has printed yet, and returns the exit code.
func (a *app) code(ctx context.Context, err error) int {
	var e *exit
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &e):
		if text := e.Error(); text != "" {
			fmt.Fprintln(a.err, "error:", text)
		}
		return e.code
	case ctx.Err() != nil:
		fmt.Fprintln(a.err, "interrupted")
		return exitInterrupted
	}
	fmt.Fprintln(a.err, "error:", err)
	if !a.begun {
		return exitUsage
	}
	return exitFailed
}

var errInterrupted = errors.New("interrupted")

// onSignals asks the running operations to stop at the first signal, and ends
// them at the second.
func onSignals(cancel context.CancelCauseFunc, kill func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	<-signals
	fmt.Fprintln(os.Stderr, "\nstopping; what runs is being cancelled cleanly (once more to kill it)")
	cancel(errInterrupted)
	<-signals
	fmt.Fprintln(os.Stderr, "killing what still runs; the next `up` goes on from there")
	kill()
	<-signals
	os.Exit(exitInterrupted)
}

func terminal(w any) bool {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return false
	}
	width, height, err := term.GetSize(int(f.Fd()))
	return err == nil && width > 0 && height > 0 // a pipe that poses as one has no size
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "class",
		Short: "The labs of a whole class: up, looked after, and down again",
		Long: `class runs the lab of the Kubernetes course for one student (--stack) or for
all of a class (--roster). It is the same project, stacks and configuration as
plain ` + "`pulumi`" + `; use either. Docker and Go are all it needs.

A roster is a file with a stack's name a line, or CSV with a header: the column
"name", if you like "student" (what to call them), and a column for each
configuration key that differs between students. An empty cell is the default.

A value's order of precedence: roster, --config, Pulumi.<stack>.yaml, default.

Exit codes: 0 all is well, 1 something failed, 2 wrong usage, configuration or
machine (nothing was made), 130 interrupted.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	f := root.PersistentFlags()
	f.StringVar(&a.flags.stack, "stack", "dev", "the student's `NAME`: one stack")
	f.StringVar(&a.flags.roster, "roster", "", "`FILE` with the class: a name a line, or CSV")
	f.StringSliceVar(&a.flags.only, "only", nil, "only these `NAMES` of the roster, with commas")
	f.IntVarP(&a.flags.parallel, "parallel", "j", 0, "`N` stacks at a time (default: what memory and cores allow)")
	f.BoolVar(&a.flags.json, "json", false, "one JSON document on standard output, progress on standard error (class help json)")
	root.MarkFlagsMutuallyExclusive("stack", "roster")

	changes := func(c *cobra.Command) *cobra.Command {
		c.Flags().StringArrayVar(&a.flags.config, "config", nil, "`KEY=VALUE` of the stack's configuration, repeatable")
		c.Flags().StringSliceVar(&a.flags.ignore, "ignore", nil, "go on in spite of these preflight `CHECKS`: memory, disk, inotify, port")
		return c
	}
	add := func(c *cobra.Command, run func(context.Context) error) *cobra.Command {
		c.Args = cobra.NoArgs
		c.RunE = func(cmd *cobra.Command, _ []string) error {
			a.begun = true
			return run(cmd.Context())
		}
		root.AddCommand(c)
		return c
	}
	up := add(changes(&cobra.Command{
		Use:   "up",
		Short: "Make the lab be there as configured, whatever became of it",
		Long: `up builds what is missing, changes what differs, and rebuilds a cluster that
vanished. It can be run again at any time: what is right stays as it is.`,
	}), a.up)
	up.Flags().BoolVar(&a.flags.yes, "yes", false, "accepted, for symmetry: up asks nothing")
	add(changes(&cobra.Command{Use: "preview", Short: "Tell what up would do; nothing is changed, not even a file"}), a.preview)
	add(&cobra.Command{Use: "status", Short: "Tell how the labs are"}, a.status)
	check := add(&cobra.Command{
		Use:   "check",
		Short: "Ask the course's own acceptance questions of a running lab",
	}, a.check)
	check.Flags().BoolVar(&a.flags.disrupt, "disrupt", false, "also delete a pod and see it come back")
	destroy := add(&cobra.Command{
		Use:   "destroy",
		Short: "Remove the labs, and prove it",
	}, a.destroy)
	destroy.Flags().BoolVar(&a.flags.remove, "remove", false, "also remove the stack, its state, and the configuration file if this tool made it")
	destroy.Flags().BoolVarP(&a.flags.yes, "yes", "y", false, "do not ask")
	kubeconfig := add(&cobra.Command{
		Use:   "kubeconfig",
		Short: "Write the lab's kubeconfig (mode 0600), or merge it into yours",
	}, a.kubeconfig)
	kubeconfig.Flags().StringVarP(&a.flags.output, "output", "o", "", "`FILE` to write, - for standard output (default ./kubeconfig-NAME.yaml)")
	kubeconfig.Flags().BoolVar(&a.flags.merge, "merge", false, "merge into $KUBECONFIG or ~/.kube/config; all else in it stays")
	kubeconfig.MarkFlagsMutuallyExclusive("output", "merge")
	root.AddCommand(&cobra.Command{Use: "json", Short: "The document that --json prints", Long: jsonHelp})
	return root
}
