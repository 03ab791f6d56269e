package tests

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/rogpeppe/go-internal/diff"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

var update = flag.Bool("update", false, "write testdata/golden anew")

// basis are the configurations whose objects are kept as they are: the course's, and
// those on a shared cluster, where most are of another kind or namespace. Of each other
// one what differs from one of these is kept: the one that its name begins with, or the
// course's.
var basis = []string{"course", "platform", "student"}

func basisOf(name string) string {
	for _, b := range basis {
		if strings.HasPrefix(name, b) {
			return b
		}
	}
	return "course"
}

// TestGolden shows what each configuration registers: every custom resource,
// with its options, in the order of the URNs. Read a change of these files as
// what students get.
func TestGolden(t *testing.T) {
	t.Parallel()
	const folder = "testdata/golden"
	kept := []string{}
	for name, run := range golden {
		file, now := filepath.Join(folder, name+".yaml"), oneFile(manifests(t, run.Good(t)))
		if from := basisOf(name); from != name {
			file, now = filepath.Join(folder, name+".diff"), differences(manifests(t, golden[from].Good(t)), manifests(t, run.Good(t)))
		}
		kept = append(kept, file)
		keep(t, file, now)
	}
	files, err := filepath.Glob(folder + "/*")
	require.NoError(t, err)
	assert.ElementsMatch(t, kept, files, "a file of no configuration must be removed")
}

// keep holds a file against what it should be or, with -update, writes it.
func keep(t *testing.T, file string, now []byte) {
	t.Helper()
	if *update {
		require.NoError(t, os.WriteFile(file, now, 0o644))
	}
	before, err := os.ReadFile(file)
	require.NoError(t, err, "make it with `go test ./tests -run %s -update`", t.Name())
	if d := diff.Diff(file, before, "now", now); d != nil {
		t.Errorf("if this change is meant, `go test ./tests -run %s -update`:\n%s", t.Name(), d)
	}
}

// TestPrometheusFiles keeps what Prometheus and Grafana are handed where tests/prometheus
// holds it against Prometheus's own code.
func TestPrometheusFiles(t *testing.T) {
	t.Parallel()
	const folder = "testdata/prometheus"
	kept := []string{}
	for name, run := range map[string]Run{
		"course": {}, "own": {Config: switches}, "student": everything("shared-student"), "class": everything("shared-platform"),
		"own-1s": interval("1s"), "own-5m": interval("5m"),
	} {
		files := map[string]any{}
		for _, config := range run.Good(t).Of(configMapType, "") {
			if config.Name == "prometheus" || config.Name == "grafana" {
				maps.Copy(files, at(config.Object(), "data").(map[string]any))
			}
		}
		for file, content := range files {
			if strings.HasPrefix(name, "own-") && strings.HasSuffix(file, ".yaml") {
				continue // of Grafana's, the same at each interval
			}
			path, now := filepath.Join(folder, name+"-"+file), []byte(content.(string))
			kept = append(kept, path)
			keep(t, path, now)
		}
	}
	files, err := filepath.Glob(folder + "/*")
	require.NoError(t, err)
	assert.ElementsMatch(t, kept, files, "a file of no configuration must be removed")
}

// interval is a stack with everything, scraped that often.
func interval(d string) Run {
	config := maps.Clone(switches)
	config["scrapeInterval"] = d
	return Run{Config: config}
}

// differences are what a configuration registers otherwise than another: for each
// resource, the lines of its manifest that differ. One that only one of them has is
// named; a new one is shown whole. Together with the other's manifests they are a
// configuration's, to the letter.
func differences(basis, ours []manifest) []byte {
	byName := map[string]manifest{}
	for _, m := range basis {
		byName[m.name] = m
	}
	var out bytes.Buffer
	for _, m := range ours {
		was, has := byName[m.name]
		delete(byName, m.name)
		switch {
		case !has:
			fmt.Fprintf(&out, "added: %s\n%s\n", m.name, m.text)
		case !bytes.Equal(was.text, m.text):
			_, hunks, _ := bytes.Cut(diff.Diff("basis", was.text, "ours", m.text), []byte("\n@@"))
			fmt.Fprintf(&out, "changed: %s\n@@%s\n", m.name, hunks)
		}
	}
	for _, m := range basis {
		if _, left := byName[m.name]; left {
			fmt.Fprintf(&out, "not there: %s\n", m.name)
		}
	}
	return out.Bytes()
}

// TestDifferences: none is lost.
func TestDifferences(t *testing.T) {
	t.Parallel()
	course := []manifest{{"a", []byte("x: 1\n")}, {"b", []byte("y: 1\nz: 2\n")}, {"c", []byte("w: 1\n")}}
	ours := []manifest{{"a", []byte("x: 1\n")}, {"b", []byte("y: 1\nz: 3\n")}, {"d", []byte("v: 1\n")}}
	assert.Empty(t, differences(course, course))
	assert.Equal(t, "changed: b\n@@ -1,2 +1,2 @@\n y: 1\n-z: 2\n+z: 3\n\nadded: d\nv: 1\n\nnot there: c\n", string(differences(course, ours)))
}

// A manifest is a custom resource in YAML.
type manifest struct {
	name string // type and name
	text []byte
}

// oneFile makes one file of them, a YAML document each.
func oneFile(all []manifest) []byte {
	texts := make([][]byte, len(all))
	for i, m := range all {
		texts[i] = m.text
	}
	return bytes.Join(texts, []byte("---\n"))
}

// manifests renders all custom resources, in the order of their URNs.
func manifests(t *testing.T, r *Recording) []manifest {
	t.Helper()
	var all []manifest
	for _, res := range r.Resources {
		if !res.Custom {
			continue
		}
		require.Len(t, r.Of(res.Type, res.Name), 1, "two resources have one name here")
		var text bytes.Buffer
		enc := yaml.NewEncoder(&text)
		enc.SetIndent(2)
		require.NoError(t, enc.Encode(document{
			Resource: res.String(),
			Parent:   short(r, res.Parent),
			Options: options{
				Provider:            short(r, res.Provider),
				DeletedWith:         short(r, res.DeletedWith),
				ReplaceWith:         shortAll(r, res.ReplaceWith),
				DeleteBeforeReplace: res.DeleteBeforeReplace,
				Timeouts:            limits{res.CreateLimit, res.UpdateLimit, res.DeleteLimit},
				SecretOutputs:       res.SecretOutputs,
			},
			Inputs: node(resource.NewProperty(res.Inputs)),
		}))
		require.NoError(t, enc.Close())
		all = append(all, manifest{res.String(), text.Bytes()})
	}
	return all
}

type (
	document struct {
		Resource string
		Parent   string
		Options  options
		Inputs   *yaml.Node
	}
	options struct {
		Provider            string   `yaml:",omitempty"`
		DeletedWith         string   `yaml:"deletedWith,omitempty"`
		ReplaceWith         []string `yaml:"replaceWith,omitempty"`
		DeleteBeforeReplace bool     `yaml:"deleteBeforeReplace"`
		Timeouts            limits   `yaml:",omitempty,flow"`
		SecretOutputs       []string `yaml:"secretOutputs,omitempty"`
	}
	limits struct {
		Create, Update, Delete string `yaml:",omitempty"`
	}
)

// short names a resource without the URN's boilerplate.
func short(r *Recording, urn string) string {
	if urn == "" {
		return ""
	}
	if res := r.ByURN(urn); res != nil {
		return res.String()
	}
	return urn
}

func shortAll(r *Recording, urns []string) []string {
	out := make([]string, len(urns))
	for i, u := range urns {
		out[i] = short(r, u)
	}
	return out
}

// node renders a property, with secrets tagged.
func node(v resource.PropertyValue) *yaml.Node {
	n := &yaml.Node{}
	if v.IsSecret() {
		if err := n.Encode(plain(v)); err != nil {
			panic(fmt.Sprintf("a secret that is no YAML: %v", err))
		}
		n.Tag, n.Style = "!secret", n.Style|yaml.TaggedStyle
		return n
	}
	switch {
	case v.IsObject():
		n.Kind = yaml.MappingNode
		for _, k := range v.ObjectValue().StableKeys() {
			n.Content = append(n.Content, node(resource.NewProperty(string(k))), node(v.ObjectValue()[k]))
		}
	case v.IsArray():
		n.Kind = yaml.SequenceNode
		for _, e := range v.ArrayValue() {
			n.Content = append(n.Content, node(e))
		}
	default:
		if err := n.Encode(plain(v)); err != nil {
			panic(fmt.Sprintf("a value that is no YAML: %v", err))
		}
	}
	return n
}
