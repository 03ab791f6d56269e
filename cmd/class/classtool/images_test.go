package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/cmd/class/internal/shell"
	"k8sbootcamp/cmd/class/internal/stack"
	"k8sbootcamp/cmd/class/internal/workspace"
)

// TestLacking: whoever loads a file is told what their lab needs beyond it, for their own
// configuration may say something else; and the line for up is one that a shell reads.
func TestLacking(t *testing.T) {
	bin := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(bin, "docker"), []byte(`#!/bin/sh
case "$*" in *echo:1|*node:1) exit 0;; esac
exit 1
`), 0o700))
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	dir := t.TempDir()
	project, err := os.ReadFile("../../../Pulumi.yaml")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "Pulumi.yaml"), project, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "Pulumi.dev.yaml"), []byte("config:\n  bootcamp:chapter: \"4-1\"\n"), 0o600))
	p, err := workspace.Open(dir, func(string) (string, bool) { return "", false })
	require.NoError(t, err)
	saved := []string{"echoImage=r.example/echo:1", "nodeImage=r.example/node:1", "nodeExporterImage=r.example/exporter:1"}
	s := &session{tool: &tool{stack: "dev", config: saved}, verb: verb{valid: true}, tools: stack.Tools{Project: p}}
	assert.Equal(t, []string{"r.example/exporter:1"}, s.lacking(t.Context()))

	s.config = []string{"workers=many"}
	assert.Empty(t, s.lacking(t.Context()), "up tells")
	assert.Empty(t, s.findings, "and it is no finding of the load")

	assert.Equal(t, shell.Here.Class()+" up", upWith(nil))
	assert.Equal(t, shell.Here.Class()+` up --config edition=current --config 'greeting=a; rm x'`, upWith([]string{"edition=current", "greeting=a; rm x"}))
}
