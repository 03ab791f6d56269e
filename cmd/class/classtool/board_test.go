package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/cmd/class/internal/config"
)

// TestBoard: it says where it is, shows a stack that is not up as such, in the language
// that was asked for, and an interrupt is its good end.
func TestBoard(t *testing.T) {
	w := newWorld(t)
	said, out := io.Pipe()
	tool := &tool{out: out, err: io.Discard, lang: "ja"}
	s := &session{tool: tool, cmd: &cobra.Command{Use: "board"}, tools: w.stack.Tools, stacks: []*config.Stack{w.stack.Stack}}
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	o := boardFlags{every: time.Hour, chapter: "3-2"}
	listener, err := o.listen()
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- s.serveBoard(ctx, listener, o) }()

	line, err := bufio.NewReader(said).ReadString('\n')
	require.NoError(t, err)
	at := regexp.MustCompile(`^the board is at (http://127\.0\.0\.1:\d+/) \(Ctrl-C ends it\)\n$`).FindStringSubmatch(line)
	require.Len(t, at, 2, line)

	events, err := http.Get(at[1] + "events") //nolint:noctx // it ends with the board
	require.NoError(t, err)
	defer events.Body.Close()
	lines := bufio.NewScanner(events.Body)
	var row string
	for lines.Scan() && !strings.Contains(row, "ラボはまだありません") {
		row = lines.Text()
	}
	require.Contains(t, row, "ラボはまだありません")

	page, err := http.Get(at[1]) //nolint:noctx // as above
	require.NoError(t, err)
	html, err := io.ReadAll(page.Body)
	page.Body.Close()
	require.NoError(t, err)
	assert.Contains(t, string(html), `<html lang="ja">`)
	assert.Contains(t, string(html), `<span>3-2</span>`)
	assert.NotContains(t, string(html), `<span>3-3</span>`)

	interrupt()
	err = <-ended
	assert.Equal(t, exitOK, exitCode(ctx, err))
	assert.Empty(t, errorText(err))
}

// TestBoardsPortIsTaken: one error that names it and --port, and nothing is begun.
func TestBoardsPortIsTaken(t *testing.T) {
	other, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer other.Close()
	port := other.Addr().(*net.TCPAddr).Port
	var out strings.Builder
	assert.Equal(t, exitUsage, run([]string{"board", "--port", fmt.Sprint(port)}, os.Stdin, &out, &out))
	assert.Contains(t, out.String(), fmt.Sprintf("port %d cannot be had (--port ", port))
	assert.Equal(t, 1, strings.Count(out.String(), "\n"), out.String())
}
