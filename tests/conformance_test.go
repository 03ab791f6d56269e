package tests

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"k8sbootcamp/tests/conformance"
)

// longer are the lists that may have more items than the text's, after the
// text's own: arguments, and a volume for Prometheus's data.
var longer = []string{"args", "volumes", "volumeMounts"}

// TestConformance walks every field of every object of the course's text
// (testdata/course) and compares it with what the default configuration
// registers. What differs must be in conformance.Differences, and what is there
// must differ.
func TestConformance(t *testing.T) {
	t.Parallel()
	text, ours := courseObjects(t), programObjects(t, Run{}.Good(t))
	require.Len(t, text, 11, "the text has this many objects, kind's configuration included")

	var found []conformance.Difference
	fields := 0
	for name, object := range text {
		mine, ok := ours[name]
		if !ok {
			t.Errorf("the text's %s is not among ours", name)
			continue
		}
		w := &walk{object: name}
		w.compare("", object, mine)
		found = append(found, w.found...)
		fields += w.leaves
	}
	require.Equal(t, values(t, text), fields, "the walk has come to every single value of the text")

	for _, f := range found {
		if !slices.ContainsFunc(conformance.Differences, same(f)) {
			t.Errorf("%s, %s: the text has %q, ours %q; mend it, or give the reason in tests/conformance", f.Object, f.Field, f.Text, f.Ours)
		}
	}
	for i, d := range conformance.Differences {
		if !slices.ContainsFunc(found, same(d)) {
			t.Errorf("tests/conformance: %s, %s, %q, %q is no difference, remove it", d.Object, d.Field, d.Text, d.Ours)
		}
		assert.NotEmpty(t, d.Reason, "%s %s", d.Object, d.Field)
		assert.NotEmpty(t, d.ReasonJA, "%s %s", d.Object, d.Field)
		assert.False(t, slices.ContainsFunc(conformance.Differences[:i], same(d)), "%s %s is there twice", d.Object, d.Field)
	}
}

// same compares all but the reasons.
func same(a conformance.Difference) func(conformance.Difference) bool {
	return func(b conformance.Difference) bool {
		return a.Object == b.Object && a.Field == b.Field && a.Text == b.Text && a.Ours == b.Ours
	}
}

// values counts the single values, those of prometheus.yml too.
func values(t *testing.T, v any) int {
	t.Helper()
	n := 0
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			if s, ok := e.(string); ok && k == "prometheus.yml" {
				require.NoError(t, yaml.Unmarshal([]byte(s), &e))
			}
			n += values(t, e)
		}
	case []any:
		for _, e := range v {
			n += values(t, e)
		}
	default:
		n = 1
	}
	return n
}

// TestConformanceWalk shows that the walk sees each kind of difference.
func TestConformanceWalk(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, text, ours, want string }{
		{"equal", "a: {b: [1, x, true, '']}", "a: {b: [1, x, true, ''], c: more}", ""},
		{"value", "a: {b: 1}", "a: {b: 2}", "a.b 1 2"},
		{"type", "a: 1", "a: '1'", `a 1 "1"`},
		{"missing", "a: {b: {c: 1}}", "a: {}", "a.b.c 1 (not set)"},
		{"empty and missing", "a: ''", "b: ''", `a "" (not set)`},
		{"item", "a: [x, y]", "a: [x, z]", "a[1] y z"},
		{"order", "a: [x, y]", "a: [y, x]", "a[0] x y; a[1] y x"},
		{"shorter list", "a: [x, y]", "a: [x]", "a[1] y (not set)"},
		{"longer list", "a: [x]", "a: [x, y]", "a[1] (not set) y"},
		{"longer list where it may be", "args: [x]", "args: [x, y]", ""},
		{"set", "rules: [{verbs: [get, list]}]", "rules: [{verbs: [list, get]}]", ""},
		{"set with more", "rules: [{verbs: [get]}]", "rules: [{verbs: [get, delete]}]", "rules[0].verbs get get, delete"},
		{"set with less", "rules: [{verbs: [get, list]}]", "rules: [{verbs: [get]}]", "rules[0].verbs get, list get"},
		{"YAML in a string", "data: {prometheus.yml: 'a: {b: 1}'}", "data: {prometheus.yml: 'a: {b: 2}'}", `data["prometheus.yml"].a.b 1 2`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var text, ours any
			require.NoError(t, yaml.Unmarshal([]byte(tt.text), &text))
			require.NoError(t, yaml.Unmarshal([]byte(tt.ours), &ours))
			w := &walk{}
			w.compare("", text, ours)
			var got []string
			for _, d := range w.found {
				got = append(got, strings.TrimSpace(strings.Join([]string{d.Field, d.Text, d.Ours}, " ")))
			}
			slices.Sort(got)
			assert.Equal(t, tt.want, strings.Join(got, "; "))
		})
	}
}

// walk compares one object, value by value.
type walk struct {
	object string
	found  []conformance.Difference
	leaves int // single values of the text
}

func (w *walk) compare(path string, text, ours any) {
	switch text := text.(type) {
	case map[string]any:
		for k, v := range text {
			value, has := any(nil), false
			if m, ok := ours.(map[string]any); ok {
				value, has = m[k]
			}
			if !has {
				value = missing{}
			}
			w.compare(join(path, k), v, value)
		}
	case []any:
		if set(path) {
			w.leaves += len(text)
			if !sameSet(text, ours) {
				w.differs(path, text, ours)
			}
			return
		}
		mine, _ := ours.([]any)
		for i, v := range text {
			value := any(missing{})
			if i < len(mine) {
				value = mine[i]
			}
			w.compare(fmt.Sprintf("%s[%d]", path, i), v, value)
		}
		if may := slices.Contains(longer, path[strings.LastIndex(path, ".")+1:]); !may {
			for i := len(text); i < len(mine); i++ {
				w.differs(fmt.Sprintf("%s[%d]", path, i), missing{}, mine[i])
			}
		}
	default:
		if inner, ok := yamlFile(path, text); ok {
			other, _ := yamlFile(path, ours)
			w.compare(path, inner, other)
			return
		}
		w.leaves++
		if text != ours {
			w.differs(path, text, ours)
		}
	}
}

type missing struct{}

func (w *walk) differs(path string, text, ours any) {
	w.found = append(w.found, conformance.Difference{Object: w.object, Field: path, Text: show(text, ours), Ours: show(ours, text)})
}

// show renders a value; quoted where the other one looks the same without.
func show(v, other any) string {
	if m, ok := v.(map[string]any); ok {
		var parts []string
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if m[k] != "" {
				parts = append(parts, fmt.Sprintf("%s %v", k, m[k]))
			}
		}
		return strings.Join(parts, ", ")
	}
	switch v := v.(type) {
	case missing:
		return conformance.NotSet
	case []any:
		items := make([]string, len(v))
		for i, e := range v {
			items[i] = fmt.Sprint(e)
		}
		return strings.Join(items, ", ")
	case string:
		if v == "" || v == fmt.Sprint(other) {
			return fmt.Sprintf("%q", v)
		}
	}
	return fmt.Sprint(v)
}

func join(path, key string) string {
	switch {
	case strings.Contains(key, "."):
		return fmt.Sprintf("%s[%q]", path, key)
	case path == "":
		return key
	}
	return path + "." + key
}

// set tells whether a list is one whose order means nothing and whose length
// means everything: what a role grants.
func set(path string) bool {
	return strings.HasPrefix(path, "rules[") && strings.Contains(path, ".")
}

func sameSet(text []any, ours any) bool {
	mine, _ := ours.([]any)
	key := func(list []any) []string {
		out := make([]string, len(list))
		for i, v := range list {
			out[i] = fmt.Sprint(v)
		}
		slices.Sort(out)
		return out
	}
	return slices.Equal(key(text), key(mine))
}

// yamlFile parses a ConfigMap's entry that is YAML itself.
func yamlFile(path string, value any) (any, bool) {
	s, ok := value.(string)
	if !ok || !strings.HasPrefix(path, "data[") || !strings.HasSuffix(path, `.yml"]`) {
		return nil, false
	}
	var inner any
	if err := yaml.Unmarshal([]byte(s), &inner); err != nil {
		return nil, false
	}
	return inner, true
}

// courseObjects reads the text's objects, by kind and name.
func courseObjects(t *testing.T) map[string]any {
	t.Helper()
	files, err := filepath.Glob("testdata/course/*.yml")
	require.NoError(t, err)
	require.Len(t, files, 6)
	objects := map[string]any{}
	for _, file := range files {
		b, err := os.ReadFile(file)
		require.NoError(t, err)
		for dec := yaml.NewDecoder(bytes.NewReader(b)); ; {
			var object map[string]any
			err := dec.Decode(&object)
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err, file)
			name := objectName(object)
			require.NotContains(t, objects, name, file)
			objects[name] = object
		}
	}
	return objects
}

// programObjects are ours, by kind and name; kind's configuration is read from
// what the command pipes to kind.
func programObjects(t *testing.T, r *Recording) map[string]any {
	t.Helper()
	objects := map[string]any{}
	for _, res := range r.Kubernetes() {
		objects[objectName(res.Object())] = res.Object()
	}
	var config map[string]any
	stdin, _ := r.One(t, commandType, "cluster").Object()["stdin"].(string)
	require.NoError(t, yaml.Unmarshal([]byte(stdin), &config))
	objects[objectName(config)] = config
	return objects
}

func objectName(object map[string]any) string {
	name, _ := at(object, "metadata", "name").(string)
	return strings.TrimSpace(fmt.Sprintf("%v %s", object["kind"], name))
}
