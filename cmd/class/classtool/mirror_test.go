package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestMirrorCommand: it says what the class is to be told, serves, and an interrupt is its
// good end.
func TestMirrorCommand(t *testing.T) {
	said, out := io.Pipe()
	tool := &tool{out: out, err: io.Discard}
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	ended := make(chan error, 1)
	go func() {
		ended <- tool.mirror(ctx, mirrorFlags{listen: "127.0.0.1:0", dir: filepath.Join(t.TempDir(), "kept")})
		out.Close()
	}()
	lines := bufio.NewReader(said)
	var printed strings.Builder
	for range 4 {
		line, err := lines.ReadString('\n')
		require.NoError(t, err)
		printed.WriteString(line)
	}
	assert.Contains(t, printed.String(), "serves images of docker.io, quay.io, registry.k8s.io, and keeps them in ")
	at := regexp.MustCompile(`--config imageMirror=(http://127\.0\.0\.1:\d+) `).FindStringSubmatch(printed.String())
	require.Len(t, at, 2, printed.String())
	assert.Contains(t, printed.String(), "bootcamp:imageMirror: "+at[1])
	assert.Contains(t, printed.String(), "no node of a lab reaches that one")

	got, err := http.Get(at[1] + "/v2/") //nolint:noctx // it ends with the mirror
	require.NoError(t, err)
	got.Body.Close()
	assert.Equal(t, http.StatusOK, got.StatusCode)

	interrupt()
	rest, err := io.ReadAll(lines)
	require.NoError(t, err)
	assert.Empty(t, string(rest), "nothing was asked for")
	assert.Equal(t, exitOK, exitCode(ctx, <-ended))
}

// TestMirrorIsRefused: each is one error that names it, with exit code 2, and nothing is
// made.
func TestMirrorIsRefused(t *testing.T) {
	other, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer other.Close()
	dir := filepath.Join(t.TempDir(), "kept")
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"--listen", other.Addr().String()}, []string{"--listen " + other.Addr().String() + " cannot be had", "--listen :5001"}},
		{[]string{"--listen", "here"}, []string{"--listen here cannot be had"}},
		{[]string{"--upstream", "Bad Name", "--upstream", "ghcr.io=ftp://a"}, []string{"--upstream Bad Name: ", "--upstream ghcr.io=ftp://a: "}},
		{[]string{"--upstream", "ghcr.io=https://u:secret@a"}, []string{"more than a host and a port"}},
		{[]string{"--upstream", "a"}, []string{`"a" is no registry`}},
		{[]string{"--json"}, []string{"--json: "}},
		{[]string{"--listen", "127.0.0.1:0", "--dir", file}, []string{file}},
	} {
		args := append([]string{"mirror"}, c.args...)
		if !strings.Contains(strings.Join(args, " "), "--dir") {
			args = append(args, "--dir", dir)
		}
		var out strings.Builder
		assert.Equal(t, exitUsage, run(args, os.Stdin, &out, &out), args)
		for _, want := range c.want {
			assert.Contains(t, out.String(), want)
		}
		assert.Equal(t, 1, strings.Count(out.String(), "error: "), out.String())
		assert.NoDirExists(t, dir)
	}
}
