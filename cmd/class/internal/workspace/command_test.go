package workspace

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// script is a command whose CLI is a shell script.
func script(t *testing.T, text string) *Command {
	t.Helper()
	file := filepath.Join(t.TempDir(), "pulumi")
	write(t, file, "#!/bin/sh\n"+text)
	require.NoError(t, os.Chmod(file, 0o700))
	return &Command{CLI: &CLI{Path: file}, Kill: context.Background()}
}

// starts does something once, when a word is written.
type starts struct {
	on   string
	do   func()
	once sync.Once
}

func (s *starts) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(s.on)) {
		s.once.Do(s.do)
	}
	return len(p), nil
}

func TestCommand(t *testing.T) {
	c := script(t, `echo "$@|$PULUMI_AUTOMATION_API|$X|$(pwd)|${PATH%%:*}"; cat; [ "$2" = ok ] && exit; echo bad >&2; exit 3`)
	dir := t.TempDir()
	var copied, errCopied bytes.Buffer
	out, errOut, code, err := c.Run(t.Context(), dir, strings.NewReader("in"), []io.Writer{&copied}, []io.Writer{&errCopied}, []string{"X=y"}, "stack", "ls")
	require.Error(t, err)
	assert.Equal(t, 3, code)
	assert.Equal(t, "--non-interactive stack ls|true|y|"+dir+"|"+filepath.Dir(c.CLI.Path)+"\nin", out)
	assert.Equal(t, out, copied.String())
	assert.Equal(t, "bad\n", errOut)
	assert.Equal(t, errOut, errCopied.String())

	_, _, code, err = c.Run(t.Context(), dir, nil, nil, nil, nil, "ok")
	require.NoError(t, err)
	assert.Equal(t, 0, code)

	c.CLI.Path = filepath.Join(dir, "none")
	_, _, code, err = c.Run(t.Context(), dir, nil, nil, nil, nil, "ok")
	require.ErrorIs(t, err, os.ErrNotExist)
	assert.Equal(t, -1, code)
}

// TestCommandLeavesNothing: what the CLI or a plugin puts among temporary files is gone.
func TestCommandLeavesNothing(t *testing.T) {
	base := t.TempDir()
	t.Setenv("TMPDIR", base)
	c := script(t, `echo secret >"$TMPDIR/kubeconfig123" && echo "$TMPDIR|$BOOTCAMP_TEMP"; [ "$2" = ok ]`)
	for _, arg := range []string{"ok", "fails"} {
		out, _, _, err := c.Run(t.Context(), t.TempDir(), nil, nil, nil, nil, arg)
		assert.Equal(t, arg == "ok", err == nil, err)
		its, outer, _ := strings.Cut(strings.TrimSpace(out), "|")
		assert.True(t, strings.HasPrefix(its, base+string(filepath.Separator)), its)
		assert.Equal(t, base, outer)
		left, err := os.ReadDir(base)
		require.NoError(t, err)
		assert.Empty(t, left)
	}
}

func TestCancelInterruptsOnceAndWaits(t *testing.T) {
	c := script(t, `
trap 'n=$((n+1)); echo caught $n' INT
echo started
i=0; while [ $i -lt 10 ]; do i=$((i+1)); sleep 0.1; done
echo done; exit 1`)
	ctx, cancel := context.WithCancel(t.Context())
	out := &starts{on: "started", do: cancel}
	text, _, code, err := c.Run(ctx, t.TempDir(), nil, []io.Writer{out}, nil, nil, "up")
	assert.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, 1, code)
	assert.Equal(t, "started\ncaught 1\ndone\n", text, "one signal, and time to end by itself")
}

func TestKillEndsTheWholeGroup(t *testing.T) {
	pidFile := filepath.Join(t.TempDir(), "pid")
	c := script(t, "trap '' INT\nsleep 60 &\necho $! >"+pidFile+"\necho started\nwait; sleep 60")
	kill, killNow := context.WithCancel(t.Context())
	c.Kill = kill
	ctx, cancel := context.WithCancel(t.Context())
	out := &starts{on: "started", do: func() { cancel(); killNow() }}
	began := time.Now()
	_, _, _, err := c.Run(ctx, t.TempDir(), nil, []io.Writer{out}, nil, nil, "up")
	require.Error(t, err)
	assert.Less(t, time.Since(began), 4*time.Second)
	pid, err := os.ReadFile(pidFile)
	require.NoError(t, err)
	gone := func() bool {
		stat, err := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/stat")
		return err != nil || strings.Contains(string(stat), ") Z ")
	}
	assert.Eventually(t, gone, 5*time.Second, 20*time.Millisecond, "its child is gone too")
}

func TestCancelledBeforeItBegins(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ran")
	c := script(t, "touch "+file)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, _, err := c.Run(ctx, t.TempDir(), nil, nil, nil, nil, "up")
	assert.ErrorIs(t, err, context.Canceled)
	assert.NoFileExists(t, file)
}
