package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write docs/class.md, and what the scripts compare with, anew")

func TestMain(m *testing.M) {
	os.Setenv("LC_ALL", "C") //nolint:errcheck // whose tests these are, they expect English
	testscript.Main(m, map[string]func(){
		"class": func() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
	})
}

// TestScripts runs the tool as a user does: each script opens with what it covers.
// Its folder is a project's, and of other programs it has those of its own bin
// folder alone.
func TestScripts(t *testing.T) {
	t.Parallel()
	project, err := os.ReadFile("../../../Pulumi.yaml")
	require.NoError(t, err)
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: *update,
		Setup: func(env *testscript.Env) error {
			class, _, _ := strings.Cut(env.Getenv("PATH"), string(os.PathListSeparator))
			bin := filepath.Join(env.WorkDir, "bin")
			env.Setenv("PATH", class+string(os.PathListSeparator)+bin)
			env.Setenv("HOME", env.WorkDir)
			programs, err := filepath.Glob(filepath.Join(bin, "*"))
			if err != nil {
				return err
			}
			for _, p := range programs {
				if err := os.Chmod(p, 0o755); err != nil {
					return err
				}
			}
			return os.WriteFile(filepath.Join(env.WorkDir, "Pulumi.yaml"), project, 0o600)
		},
	})
}

// TestReference: docs/class.md is what the commands say of themselves.
func TestReference(t *testing.T) {
	t.Parallel()
	const file = "../../../docs/class.md"
	now := []byte(reference((&tool{}).root()))
	if *update {
		require.NoError(t, os.WriteFile(file, now, 0o644))
	}
	kept, err := os.ReadFile(file)
	require.NoError(t, err, "make it with `go test ./cmd/class/classtool -run TestReference -update`")
	if d := diff.Diff(file, kept, "now", now); d != nil {
		t.Errorf("if this change is meant, `go test ./cmd/class/classtool -run TestReference -update`:\n%s", d)
	}
}

// reference renders the commands in Markdown.
func reference(root *cobra.Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# The class tool\n\nGenerated from the commands themselves (`go test ./cmd/class/classtool -run TestReference -update`); `./class help` prints the same.\n\n%s\n", block(root.Long))
	fmt.Fprintf(&b, "\nFlags of every verb:\n\n%s", flags(root.PersistentFlags()))
	verbs(&b, root)
	return b.String()
}

func verbs(b *strings.Builder, of *cobra.Command) {
	for _, c := range of.Commands() {
		fmt.Fprintf(b, "\n## %s %s\n\n%s.\n", of.CommandPath(), c.Use, c.Short)
		if c.Long != "" {
			fmt.Fprintf(b, "\n%s\n", block(c.Long))
		}
		if c.HasAvailableLocalFlags() && c.RunE != nil {
			fmt.Fprintf(b, "\n%s", flags(c.LocalNonPersistentFlags()))
		}
		verbs(b, c)
	}
}

func block(text string) string { return "```text\n" + text + "\n```" }

func flags(set *pflag.FlagSet) string {
	var b strings.Builder
	b.WriteString("| flag | what it does |\n| --- | --- |\n")
	set.VisitAll(func(f *pflag.Flag) {
		name := "`--" + f.Name
		value, usage := pflag.UnquoteUsage(f)
		if value != "" {
			name += " " + value
		}
		name += "`"
		if f.Shorthand != "" {
			name = "`-" + f.Shorthand + "`, " + name
		}
		fmt.Fprintf(&b, "| %s | %s |\n", name, strings.ReplaceAll(usage, "|", `\|`))
	})
	return b.String()
}

// TestEveryFieldOfJSONIsDocumented: `class help json` names each field that a
// document can have.
func TestEveryFieldOfJSONIsDocumented(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	assert.Equal(t, exitOK, run([]string{"help", "json"}, os.Stdin, &out, &out))
	for _, field := range jsonFields(t) {
		assert.Contains(t, out.String(), field)
	}
}
