package engine

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/resource"

	"k8sbootcamp/components/settings"
	"k8sbootcamp/tests/internal/results"
)

// hostile are values that no key takes, whatever its type: each would do harm or
// be misread somewhere.
var hostile = []string{
	" ", "-1", "1.5", "1e3", "0x10", "99999999999999999999", "NaN", "null", "~", "[]", "{}", "[1,2]", `{"a":1}`,
	"yes", "TRUE", "True", "on", "one", " 2", "2 ", "２", "١", "é", "🚀", "\u202e3",
	"'", `"`, `\`, "\n", "2\n3", "\t", "a b", "$(touch x)", "`touch x`", "; touch x", "&& touch x", "| touch x", "${HOME}", "%s%n",
	"../../etc/passwd", "--help", "-", "<script>", strings.Repeat("a", 300), strings.Repeat("9", 300), strings.Repeat("é", 300),
}

// free are the keys whose values are names or words of the user's own; they are never
// more than looked up or shown.
var free = []string{"kubeContext", "kubeconfigPath", "greeting"}

// outside are values just outside of what a key takes, in its own notation.
func outside(t *testing.T, k settings.Key) []string {
	switch {
	case k.List:
		first := k.Values[0]
		return []string{strings.ToUpper(first), first + first, first + "," + first, first + ";" + first, ","}
	case len(k.Values) > 0:
		first := k.Values[0]
		return []string{strings.ToUpper(first), first + " ", first + first, ""}
	case k.Min != "":
		return append(beyond(t, k), "")
	case !slices.Contains(free, k.Name): // an image
		return []string{"nginx", "nginx:latest", "nginx:", ":1", "nginx:1 2", "NGINX:1", "nginx@sha256:12", "reg:port/x:1", "nginx:1;touch x"}
	}
	return nil
}

// beyond are the values next to the ends of a key's range, and one without its
// unit.
func beyond(t *testing.T, k settings.Key) []string {
	if low, err := strconv.Atoi(k.Min); err == nil {
		high, err := strconv.Atoi(k.Max)
		require.NoError(t, err)
		return []string{strconv.Itoa(low - 1), strconv.Itoa(high + 1), "-" + k.Max}
	}
	if low, err := time.ParseDuration(k.Min); err == nil {
		high, err := time.ParseDuration(k.Max)
		require.NoError(t, err)
		ms := func(d time.Duration) string { return fmt.Sprintf("%dms", d.Milliseconds()) }
		return []string{ms(low - time.Millisecond), ms(high + time.Millisecond), "-" + k.Min, "0s", "10", "s"}
	}
	low, err := resource.ParseQuantity(k.Min)
	require.NoError(t, err, "%s: a range of a notation that this test does not know", k.Name)
	high, err := resource.ParseQuantity(k.Max)
	require.NoError(t, err)
	bytes := func(q resource.Quantity, more int64) string { return strconv.FormatInt(q.Value()+more, 10) }
	return []string{bytes(low, -1), bytes(high, 1), "-" + k.Max, "Gi"}
}

// badCase is a configuration that must be refused, and the one problem with it.
type badCase struct {
	name  string
	stack *string // where not the usual one
	cfg   cfg
	want  settings.Problem // its Kind, Key and Value
}

func badCases(t *testing.T) []badCase {
	var out []badCase
	for _, k := range settings.Keys {
		values := outside(t, k)
		if !slices.Contains(free, k.Name) {
			values = append(values, hostile...)
		} else {
			values = append(values, "a\nb", "\t", "\u202e3", strings.Repeat("a", 5000))
		}
		for _, v := range values {
			out = append(out, badCase{fmt.Sprintf("%s=%q", k.Name, clipped(v)), nil, cfg{k.Name: v},
				settings.Problem{Kind: settings.BadValue, Key: k.Name, Value: clipped(v)}})
		}
	}
	for _, key := range []string{"worker", "Workers", "replica", "service_type", "", " ", "nodeimage", "a b", "$(touch x)", "`touch x`", "a:b", "a.b", "a[0]", "'", `"`, "\n", "é", strings.Repeat("k", 300)} {
		out = append(out, badCase{fmt.Sprintf("unknown key %q", clipped(key)), nil, cfg{key: "1"},
			settings.Problem{Kind: settings.UnknownKey, Key: key}})
	}
	for _, old := range []cfg{{"cluster": "kind"}, {"cluster": "existing"}, {"role": "student"}} {
		for key := range old {
			out = append(out, badCase{fmt.Sprintf("old key %v", old), nil, old, settings.Problem{Kind: settings.OldKey, Key: key}})
		}
	}
	out = append(out, badCase{"both old keys", nil, cfg{"cluster": "existing", "role": "platform"}, settings.Problem{Kind: settings.OldKey, Key: "cluster, role"}})
	const node, echo = "kindest/node:v1.34.0", "registry.k8s.io/echoserver:1.4"
	for _, c := range []struct {
		cfg cfg
		key string
	}{
		{cfg{"nodeImage": node}, "nodeImage"},
		{cfg{"nodeImage": node, "edition": "current", "echoImage": echo}, "nodeImage"},
		{cfg{"edition": "current", "echoImage": echo}, "echoImage"},
		{cfg{"mode": "shared-student"}, "kubeContext"},
		{cfg{"mode": "shared-student", "kubeContext": "class", "hostPort": "8080"}, "hostPort"},
	} {
		out = append(out, badCase{fmt.Sprintf("clash %v", c.cfg), nil, c.cfg,
			settings.Problem{Kind: settings.Clash, Key: c.key, Value: c.cfg[c.key]}})
	}
	for _, stack := range []string{"a b", "a'b", `a"b`, "a\nb", "$(touch x)", "`touch x`", "a;b", "a/b", "a&b", "a|b", "*", "é", "名前", "🚀", "a\x00b", "a\\b", "", "..", strings.Repeat("s", 101), strings.Repeat("s", 300)} {
		out = append(out, badCase{fmt.Sprintf("stack %q", clipped(stack)), &stack, nil,
			settings.Problem{Kind: settings.StackName, Value: clipped(stack)}})
	}
	return out
}

// clipped is as much of a long value as a message shows.
func clipped(s string) string {
	if r := []rune(s); len(r) > 80 {
		return string(r[:80]) + "…"
	}
	return s
}

// refused runs an up of the real program that must end with these problems, said
// once, and without any resource.
func refused(t *testing.T, stack *string, c cfg, want ...settings.Problem) {
	t.Helper()
	s := newSim(t, newWorld(), "dev")
	s.programStack = stack
	o := s.once(up, c, false)
	require.Error(t, o.err)
	var got []settings.Problem
	for _, p := range settings.Problems(o.program) {
		require.NotEmpty(t, p.Allowed, "nothing says what may be there")
		got = append(got, settings.Problem{Kind: p.Kind, Key: p.Key, Value: p.Value})
	}
	require.ElementsMatch(t, want, got, "%v", o.program)

	require.Equal(t, 1, strings.Count(o.said, o.program.Error()), "the error is not said once:\n%s", o.said)
	require.NotContains(t, o.said, "panic")
	require.NotContains(t, o.said, "goroutine")
	require.Less(t, len(o.said), 3000*len(want), "the error floods the terminal")
	require.Empty(t, o.changes)
	for _, step := range o.steps {
		require.Regexp(t, `^create Stack `, step, "a resource was registered")
	}
}

// TestBadInput gives the real program every invalid configuration of a
// generator, one at a time and several at once.
func TestBadInput(t *testing.T) {
	begin := time.Now()
	cases := badCases(t)
	require.GreaterOrEqual(t, len(cases), 900)
	for i, c := range cases {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Log(c.name)
			refused(t, c.stack, c.cfg, c.want)
		})
	}
	// All at once: one value for each key.
	together, problems := cfg{}, []settings.Problem{}
	for _, k := range settings.Keys {
		if !slices.Contains(free, k.Name) {
			together[k.Name] = " "
			problems = append(problems, settings.Problem{Kind: settings.BadValue, Key: k.Name, Value: " "})
		}
	}
	t.Run("together", func(t *testing.T) { refused(t, nil, together, problems...) })
	results.Fact("Bad input: %d invalid configurations through the engine in process gave one error each and no resource, in %s.",
		len(cases)+1, time.Since(begin).Round(time.Second))
}
