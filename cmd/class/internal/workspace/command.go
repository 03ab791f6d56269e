package workspace

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/blang/semver"
	"github.com/pulumi/pulumi/sdk/v3/go/auto"
	"github.com/pulumi/pulumi/sdk/v3/go/common/util/cmdutil"

	"k8sbootcamp/internal/hostlock"
)

// Command runs the CLI for the Automation API, as the SDK's own does, with three
// differences. The CLI is in a process group of its own, so a Ctrl-C on the
// terminal reaches it once, through the context, and not twice (which Pulumi
// takes for "stop at once"). A cancelled run may take its time to stop
// cleanly; only Kill ends it. And temporary files go with the run: Pulumi's Kubernetes
// plugin leaves kubeconfigs among them. Runs may overlap.
type Command struct {
	CLI *CLI
	// Kill, once done, ends the run and all its children without mercy.
	Kill context.Context
}

var _ auto.PulumiCommand = (*Command)(nil)

// Version is the CLI's.
func (c *Command) Version() semver.Version { return c.CLI.Version }

// Run runs one CLI command and returns its output, what it printed as its error,
// and its exit code, which is -1 where it has none.
func (c *Command) Run(ctx context.Context, workdir string, stdin io.Reader,
	outputs, errOutputs []io.Writer, env []string, args ...string,
) (string, string, int, error) {
	if err := ctx.Err(); err != nil {
		return "", "", -1, err
	}
	dir, remove, err := hostlock.Scratch(ctx)
	if err != nil {
		return "", "", -1, err
	}
	defer remove()
	cmd := exec.CommandContext(c.Kill, c.CLI.Path, append([]string{"--non-interactive"}, args...)...)
	cmd.Dir = workdir
	cmd.Stdin = stdin
	cmd.Env = append(append(append(os.Environ(), hostlock.ScratchEnv(dir)...), env...),
		"PULUMI_AUTOMATION_API=true",
		"PATH="+filepath.Dir(c.CLI.Path)+string(os.PathListSeparator)+os.Getenv("PATH"))
	var stdout, stderr bytes.Buffer
	cmd.Stdout = io.MultiWriter(append(outputs, &stdout)...)
	cmd.Stderr = io.MultiWriter(append(errOutputs, &stderr)...)
	cmdutil.RegisterProcessGroup(cmd)
	cmd.Cancel = func() error {
		_ = cmdutil.KillChildren(cmd.Process.Pid) // the group
		return cmd.Process.Kill()
	}
	cmd.WaitDelay = 5 * time.Second // after the kill, for whoever still holds the pipes

	err = cmd.Start()
	if err == nil {
		stop := context.AfterFunc(ctx, func() { _ = cmdutil.Interrupt(cmd.Process.Pid) })
		err = cmd.Wait()
		stop()
	}
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return stdout.String(), stderr.String(), cmd.ProcessState.ExitCode(), err
}
