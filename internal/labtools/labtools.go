// Package labtools is the lab's own tools, as command lines: what Pulumi's commands run,
// with no shell between. What a tool makes goes to standard output, progress to standard
// error.
package labtools

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	kindcmd "sigs.k8s.io/kind/pkg/cmd"
	"sigs.k8s.io/kind/pkg/cmd/kind"

	"k8sbootcamp/internal/kindcluster"
	"k8sbootcamp/internal/password"
	"k8sbootcamp/internal/printable"
	"k8sbootcamp/internal/sharedcluster"
)

// tools are the tools by their names. kind itself is one for people: to remove a cluster
// that no stack owns.
var tools = map[string]func(ctx context.Context, args []string) error{
	kindcluster.Tool:   runKindcluster,
	sharedcluster.Tool: runSharedcluster,
	password.Tool:      func(_ context.Context, args []string) error { return runSecret(args) },
	"kind":             runKind,
}

// Is tells whether there is a tool of this name.
func Is(name string) bool { return tools[name] != nil }

// Main runs the tool of this name and returns its exit code.
func Main(name string, args []string) int {
	ctx, _ := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	if err := tools[name](ctx, args); err != nil {
		fmt.Fprintln(os.Stderr, printable.Text(err.Error())) // of nodes and servers too
		return 1
	}
	return 0
}

func runKind(ctx context.Context, args []string) error {
	c := kind.NewCommand(kindcmd.NewLogger(), kindcmd.StandardIOStreams())
	c.SetArgs(args)
	return c.ExecuteContext(ctx)
}
