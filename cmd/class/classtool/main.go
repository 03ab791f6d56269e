// classtool is the class tool: it sets up, looks after and removes the labs of one
// student or of a whole class; `./class help` tells how. It is also what Pulumi runs: the
// lab's own tools (package labtools), and in a release the program (package langhost).
//
// Each verb is a file: up.go, preview.go, status.go, check.go (watch.go, report.go),
// board.go, reset.go, destroy.go, kubeconfig.go, images.go and mirror.go; session.go is what comes
// before and after every verb, print.go what is printed. What a verb does to a stack is in internal/stack.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"k8sbootcamp/cmd/class/internal/config"
	"k8sbootcamp/cmd/class/internal/langhost"
	"k8sbootcamp/cmd/class/internal/preflight"
	"k8sbootcamp/cmd/class/internal/workspace"
	"k8sbootcamp/components/lab"
	"k8sbootcamp/internal/docker"
	"k8sbootcamp/internal/labtools"
	"k8sbootcamp/internal/printable"
	"k8sbootcamp/internal/sharedcluster"
)

// Exit codes.
const (
	exitOK          = 0
	exitFailed      = 1   // something went wrong with a stack
	exitUsage       = 2   // bad flags, configuration or roster, or a preflight finding: nothing was begun
	exitInterrupted = 130 // as shells have it
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// run runs the tool and returns its exit code.
func run(args []string, in *os.File, out, errOut io.Writer) int {
	switch {
	case len(args) > 0 && labtools.Is(args[0]):
		return labtools.Main(args[0], args[1:])
	case len(args) > 1 && args[0] == langhost.Verb:
		return serve(args[len(args)-1], out, errOut)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	kill, killNow := context.WithCancel(context.Background())
	defer killNow()
	go onSignals(cancel, killNow)
	t := &tool{in: in, out: out, err: errOut, kill: kill}
	root := t.root()
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errOut)
	err := root.ExecuteContext(ctx)
	if text := errorText(err); text != "" {
		fmt.Fprintln(errOut, "error:", printable.Text(text))
	}
	return exitCode(ctx, err)
}

// serve is Pulumi's language host, for the engine at an address.
func serve(engine string, out, errOut io.Writer) int {
	err := langhost.Serve(context.Background(), engine, func(configKeys []string) pulumi.RunFunc {
		return lab.New(configKeys, lab.Ask{Docker: docker.Ask, Cluster: sharedcluster.Ask})
	}, out)
	if err != nil {
		fmt.Fprintln(errOut, "error:", printable.Text(err.Error()))
		return exitFailed
	}
	return exitOK
}

// begun is an error of a run that was under way; all others are of its usage.
type begun struct{ error }

func (e begun) Unwrap() error { return e.error }

// errTold is a failure of which all has been said.
var errTold = errors.New("")

// exitCode is the one rule of exit codes.
func exitCode(ctx context.Context, err error) int {
	switch {
	case errors.Is(err, errStopped):
		return exitOK
	case ctx.Err() != nil:
		return exitInterrupted
	case err == nil:
		return exitOK
	case errors.As(err, new(begun)):
		return exitFailed
	}
	return exitUsage
}

func errorText(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, context.Canceled):
		return "interrupted"
	}
	return err.Error()
}

// onSignals asks the running operations to stop at the first signal, and ends them
// at the second.
func onSignals(cancel context.CancelCauseFunc, kill func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	<-signals
	fmt.Fprintln(os.Stderr, "\nstopping; what runs is being cancelled cleanly (once more to kill it)")
	cancel(context.Canceled)
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

// tool is one run of the tool: its streams and flags.
type tool struct {
	in       *os.File
	out, err io.Writer
	kill     context.Context // done: end everything without mercy

	stack    string
	roster   string
	trusted  bool // the roster
	only     []string
	parallel int
	json     bool
	lang     string // of questions and hints; empty is the locale's
	config   []string
	ignore   []string
}

func (t *tool) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "class",
		Short: "The labs of a whole class: up, looked after, and down again",
		Long: `class runs the lab of the Kubernetes course for one student (--stack) or for
all of a class (--roster). It is the same project, stacks and configuration as
plain ` + "`pulumi`" + `; use either. Docker and Pulumi are all it needs;
from source, Docker and Go.

A roster is a file with a stack's name a line, or CSV with a header: the column
"name", if you like "student" (what to call them), and a column for each
configuration key that differs between students. An empty cell is the default.

A value's order of precedence: roster, --config, Pulumi.<stack>.yaml, default.

Exit codes: 0 all is well, 1 something failed, 2 wrong usage, configuration or
machine (nothing was begun), 130 interrupted.`,
		Version:       versionText(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetVersionTemplate("{{.Version}}\n")
	f := root.PersistentFlags()
	f.StringVar(&t.stack, "stack", workspace.SampleStack, "the student's `NAME`: one stack")
	f.StringVar(&t.roster, "roster", "", "`FILE` with the class: a name a line, or CSV")
	f.BoolVar(&t.trusted, "trust-roster", false, "the roster may have columns that decide what runs on this machine or where a lab goes: "+strings.Join(config.Far, ", "))
	f.StringSliceVar(&t.only, "only", nil, "only these `NAMES` of the roster, with commas")
	f.IntVarP(&t.parallel, "parallel", "j", 0, "`N` stacks at a time (default: what memory and cores allow)")
	f.BoolVar(&t.json, "json", false, "one JSON document on standard output, progress on standard error (class help json)")
	root.MarkFlagsMutuallyExclusive("stack", "roster")
	root.AddCommand(t.upCommand(), t.previewCommand(), t.statusCommand(), t.checkCommand(), t.boardCommand(), t.resetCommand(), t.destroyCommand(), t.kubeconfigCommand(), t.imagesCommand(), t.mirrorCommand(),
		&cobra.Command{Use: "json", Short: "The document that --json prints", Long: jsonHelp})
	return root
}

// configFlag is that of a verb which looks at the configuration.
func (t *tool) configFlag(c *cobra.Command) {
	c.Flags().StringArrayVar(&t.config, "config", nil, "`KEY=VALUE` of the stack's configuration, repeatable")
}

// configFlags are those of a verb that works towards a configuration.
func (t *tool) configFlags(c *cobra.Command) {
	t.configFlag(c)
	c.Flags().StringSliceVar(&t.ignore, "ignore", nil, "go on in spite of these preflight `FINDINGS`: "+strings.Join(preflight.Ignorable, ", "))
}
