package docs_test

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
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

// readmes are the documents with the tables.
var readmes = map[string]docs.Language{"README.md": docs.English, "README.ja.md": docs.Japanese}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(root + file)
	require.NoError(t, err)
	return string(b)
}

// descriptions are the keys', in a language.
func descriptions(t *testing.T, lang docs.Language) map[string]string {
	t.Helper()
	if lang == docs.Japanese {
		table, err := docs.Block(read(t, "README.ja.md"), "config")
		require.NoError(t, err)
		return docs.Descriptions(table)
	}
	declared, err := docs.ProjectKeys([]byte(read(t, "Pulumi.yaml")))
	require.NoError(t, err)
	found := map[string]string{}
	for name, k := range declared {
		found[name] = k.Description
	}
	return found
}

// TestTables: the tables of the READMEs are what the program says of itself.
func TestTables(t *testing.T) {
	for file, lang := range readmes {
		for block, want := range map[string]string{
			"differences": conformance.Markdown(lang), "config": docs.Config(lang, descriptions(t, lang)),
		} {
			t.Run(file+"/"+block, func(t *testing.T) {
				document := read(t, file)
				if *update {
					changed, err := docs.Replace(document, block, want)
					require.NoError(t, err, file)
					require.NoError(t, os.WriteFile(root+file, []byte(changed), 0o644))
					return
				}
				got, err := docs.Block(document, block)
				require.NoError(t, err, file)
				if d := diff.Diff(file, []byte(got), "now", []byte(want)); d != nil {
					t.Errorf("the table %s of %s is stale: `go test ./tests/docs -update`\n%s", block, file, d)
				}
			})
		}
	}
}

// TestProject: Pulumi.yaml and settings.Keys say the same of every key.
func TestProject(t *testing.T) {
	t.Parallel()
	declared, err := docs.ProjectKeys([]byte(read(t, "Pulumi.yaml")))
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

// TestDescriptions: every key is described in both languages, with what is allowed,
// in numbers and names, so that none is left behind when a bound changes.
func TestDescriptions(t *testing.T) {
	t.Parallel()
	for file, lang := range readmes {
		described := descriptions(t, lang)
		for _, k := range settings.Keys {
			words := wordRE.FindAllString(described[k.Name], -1)
			assert.NotEmpty(t, described[k.Name], "%s does not describe %s", file, k.Name)
			if k.Type == "boolean" {
				continue // on or off
			}
			for _, bound := range append(slices.Clone(k.Values), k.Min, k.Max) {
				if bound != "" {
					assert.Contains(t, words, bound, "the description of %s in %s", k.Name, file)
				}
			}
		}
	}
}

var wordRE = regexp.MustCompile(`[A-Za-z0-9-]+`)

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
	table := docs.Table([]string{"A", "B"}, [][]string{{"a|b", docs.Code("c")}})
	assert.Equal(t, "| A | B |\n| --- | --- |\n| a\\|b | `c` |\n", table)
	assert.Equal(t, []string{"a|b", "`c`"}, docs.Cells("| a\\|b | `c` |\n"))
	assert.Equal(t, []string{"", "x"}, docs.Cells("|  | x |"))
	assert.Empty(t, docs.Code(""))
}

// TestConfigKeepsDescriptions: a table that is rendered anew has the old one's.
func TestConfigKeepsDescriptions(t *testing.T) {
	t.Parallel()
	want := map[string]string{}
	for _, k := range settings.Keys {
		want[k.Name] = "a | b of " + k.Name
	}
	table := docs.Config(docs.Japanese, want)
	got := docs.Descriptions(table)
	for _, k := range settings.Keys {
		assert.Equal(t, want[k.Name], got[k.Name])
	}
	assert.Equal(t, table, docs.Config(docs.Japanese, got))
}
