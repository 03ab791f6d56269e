package tests

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/rogpeppe/go-internal/diff"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

var update = flag.Bool("update", false, "write testdata/golden anew")

// TestGolden shows what each configuration registers: every custom resource,
// with its options, in the order of the URNs. Read a change of these files as
// what students get.
func TestGolden(t *testing.T) {
	t.Parallel()
	const folder = "testdata/golden"
	for name, run := range golden {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(folder, name+".yaml")
			now := manifests(t, run.Good(t))
			if *update {
				require.NoError(t, os.MkdirAll(folder, 0o755))
				require.NoError(t, os.WriteFile(file, now, 0o644))
			}
			kept, err := os.ReadFile(file)
			require.NoError(t, err, "make it with `go test ./tests -run TestGolden -update`")
			if d := diff.Diff(file, kept, "now", now); d != nil {
				t.Errorf("if this change is meant, `go test ./tests -run TestGolden -update`:\n%s", d)
			}
		})
	}
	files, err := filepath.Glob(folder + "/*")
	require.NoError(t, err)
	for _, f := range files {
		name := filepath.Base(f)
		assert.Contains(t, golden, name[:len(name)-len(filepath.Ext(name))], "%s is of no configuration; remove it", f)
	}
}

// manifests renders all custom resources, one YAML document each.
func manifests(t *testing.T, r *Recording) []byte {
	t.Helper()
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	for _, res := range r.Resources {
		if !res.Custom {
			continue
		}
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
	}
	require.NoError(t, enc.Close())
	return out.Bytes()
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
