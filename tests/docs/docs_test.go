package docs_test

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/components/settings"
	"k8sbootcamp/tests/conformance"
	"k8sbootcamp/tests/docs"
)

var update = flag.Bool("update", false, "write the tables of README.md and README.ja.md anew")

const root = "../../"

func pulumiYAML(t *testing.T) []byte {
	t.Helper()
	b, err := os.ReadFile(root + "Pulumi.yaml")
	require.NoError(t, err)
	return b
}

// TestTables: the tables of the READMEs are what the program says of itself.
func TestTables(t *testing.T) {
	project := pulumiYAML(t)
	for file, lang := range map[string]docs.Language{"README.md": docs.English, "README.ja.md": docs.Japanese} {
		config, err := docs.Config(lang, project)
		require.NoError(t, err)
		for block, want := range map[string]string{"differences": conformance.Markdown(lang), "config": config} {
			t.Run(file+"/"+block, func(t *testing.T) {
				document, err := os.ReadFile(root + file)
				require.NoError(t, err, "%s must show this table between the lines <!-- %s:begin --> and <!-- %s:end -->", file, block, block)
				if *update {
					changed, err := docs.Replace(string(document), block, want)
					require.NoError(t, err, file)
					require.NoError(t, os.WriteFile(root+file, []byte(changed), 0o644))
					return
				}
				got, err := docs.Block(string(document), block)
				require.NoError(t, err, file)
				if d := diff.Diff(file, []byte(got), "now", []byte(want)); d != nil {
					t.Errorf("the table %s of %s is stale: `go test ./internal/docs -update`\n%s", block, file, d)
				}
			})
		}
	}
}

// TestProject: Pulumi.yaml and settings.Keys say the same of every key.
func TestProject(t *testing.T) {
	t.Parallel()
	declared, err := docs.ProjectKeys(pulumiYAML(t))
	require.NoError(t, err)
	known := map[string]bool{}
	for _, k := range settings.Keys {
		assert.False(t, known[k.Name], "key %s is there twice", k.Name)
		known[k.Name] = true
		d, ok := declared[k.Name]
		if !ok {
			t.Errorf("Pulumi.yaml does not declare %s", k.Name)
			continue
		}
		assert.Equal(t, d.Type, k.Type, "type of %s", k.Name)
		yamlType := map[string]string{"int": "integer", "bool": "boolean", "string": "string"}[fmt.Sprintf("%T", d.Default)]
		assert.Equal(t, d.Type, yamlType, "type of the default of %s", k.Name)
		assert.Equal(t, fmt.Sprint(d.Default), k.Default, "default of %s", k.Name)
	}
	for name := range declared {
		assert.True(t, known[name], "Pulumi.yaml declares %s, which the program does not know", name)
	}
}

// TestDescriptions: what is allowed, in numbers and names, stands in both
// languages' descriptions, so that none is left behind when a bound changes.
func TestDescriptions(t *testing.T) {
	t.Parallel()
	project := pulumiYAML(t)
	for _, lang := range []docs.Language{docs.English, docs.Japanese} {
		table, err := docs.Config(lang, project)
		require.NoError(t, err)
		lines := strings.Split(strings.TrimSpace(table), "\n")
		require.Len(t, lines, len(settings.Keys)+2)
		for i, k := range settings.Keys {
			cells := strings.Split(lines[i+2], " | ")
			require.Len(t, cells, 4, "the row of %s", k.Name)
			description := words(cells[3])
			for _, bound := range bounds(k.Allowed) {
				assert.Contains(t, description, bound, "the description of %s in language %d: allowed is %s", k.Name, lang, k.Allowed)
			}
		}
	}
}

var (
	wordRE  = regexp.MustCompile(`[A-Za-z0-9]+`)
	rangeRE = regexp.MustCompile(`from (\w+) to (\w+)`)
)

func words(s string) []string { return wordRE.FindAllString(s, -1) }

// bounds are the words of settings.Key.Allowed that a description must have,
// too: the ends of a range, or the values to choose from.
func bounds(allowed string) []string {
	if m := rangeRE.FindStringSubmatch(allowed); m != nil {
		return m[1:]
	}
	if values, ok := strings.CutPrefix(allowed, "one of "); ok {
		return words(values)
	}
	return nil
}

func TestBlocks(t *testing.T) {
	t.Parallel()
	const document = "before\n<!-- x:begin -->\nold\n<!-- x:end -->\nafter\n"
	got, err := docs.Block(document, "x")
	require.NoError(t, err)
	assert.Equal(t, "old\n", got)

	changed, err := docs.Replace(document, "x", "new\n")
	require.NoError(t, err)
	assert.Equal(t, "before\n<!-- x:begin -->\nnew\n<!-- x:end -->\nafter\n", changed)

	for name, bad := range map[string]string{
		"none":      "text",
		"no end":    "<!-- x:begin -->\n",
		"no begin":  "<!-- x:end -->\n",
		"other":     strings.ReplaceAll(document, "x:", "y:"),
		"twice":     document + document,
		"backwards": "<!-- x:end -->\n<!-- x:begin -->\n",
	} {
		_, err := docs.Block(bad, "x")
		assert.Error(t, err, name)
		_, err = docs.Replace(bad, "x", "new\n")
		assert.Error(t, err, name)
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "| A | B |\n| --- | --- |\n| a\\|b | `c` |\n",
		docs.Table([]string{"A", "B"}, [][]string{{"a|b", docs.Code("c")}}))
	assert.Empty(t, docs.Code(""))
}
