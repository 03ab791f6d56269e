package live

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/components/settings"
	"k8sbootcamp/internal/kindcluster"
	"k8sbootcamp/tests/live/internal/livelab"
)

// hostile are values that no key takes, whatever its type: each would do harm or
// be misread somewhere.
var hostile = []string{
	" ", "-1", "1.5", "1e3", "0x10", "99999999999999999999", "NaN", "null", "~", "[]", "{}", "[1,2]", `{"a":1}`,
	"yes", "TRUE", "True", "on", "one", " 2", "2 ", "２", "١", "é", "🚀", "\u202e3",
	"'", `"`, `\`, "\n", "2\n3", "\t", "a b", "$(touch x)", "`touch x`", "; touch x", "&& touch x", "| touch x", "${HOME}", "%s%n",
	"../../etc/passwd", "--help", "-", "<script>", strings.Repeat("a", 300), strings.Repeat("9", 300), strings.Repeat("é", 300),
}

// takes are the hostile values that a key has reason to take.
func takes(k settings.Key, value string) bool {
	switch k.Name {
	case "kubeContext", "kubeconfigPath": // names of the user's own; never more than looked up
		return true
	}
	return false
}

// bounds are values just outside a key's limits, read off its own words.
func bounds(k settings.Key) []string {
	var low, high int
	if _, err := fmt.Sscanf(k.Allowed, "a whole number from %d to %d", &low, &high); err == nil {
		return []string{strconv.Itoa(low - 1), strconv.Itoa(high + 1), "-" + strconv.Itoa(high), ""}
	}
	switch {
	case strings.HasPrefix(k.Allowed, "a duration"):
		return []string{"0s", "-15s", "1ms", "1000h", "10", "s", ""}
	case strings.HasPrefix(k.Allowed, "one of"):
		first := strings.TrimSuffix(strings.Fields(k.Allowed)[2], ",")
		return []string{strings.ToUpper(first), first + " ", first + first, ""}
	case strings.HasPrefix(k.Allowed, "an image"):
		return []string{"nginx", "nginx:latest", "nginx:", ":1", "nginx:1 2", "NGINX:1", "nginx@sha256:12", "reg:port/x:1", "nginx:1;touch x"}
	}
	return nil
}

// badCase is a configuration that must be refused, and what its error must name.
type badCase struct {
	name  string
	stack *string // where not the usual one
	cfg   cfg
	says  []string
}

func badCases() []badCase {
	var out []badCase
	for _, k := range settings.Keys {
		for _, v := range slices.Concat(hostile, bounds(k)) {
			if !takes(k, v) {
				out = append(out, badCase{fmt.Sprintf("%s=%q", k.Name, clipped(v)), nil, cfg{k.Name: v}, []string{project + ":" + k.Name, fmt.Sprintf("%q", clipped(v))}})
			}
		}
	}
	for _, key := range []string{"worker", "Workers", "replica", "service_type", "", " ", "nodeimage", "a b", "$(touch x)", "`touch x`", "a:b", "a.b", "a[0]", "'", `"`, "\n", "é", strings.Repeat("k", 300)} {
		out = append(out, badCase{fmt.Sprintf("unknown key %q", clipped(key)), nil, cfg{key: "1"}, []string{"is no key of this project", clipped(key)}})
	}
	for _, stack := range []string{"a b", "a'b", `a"b`, "a\nb", "$(touch x)", "`touch x`", "a;b", "a/b", "a&b", "a|b", "*", "é", "名前", "🚀", "a\x00b", "a\\b", "", strings.Repeat("s", 101), strings.Repeat("s", 300)} {
		out = append(out, badCase{fmt.Sprintf("stack %q", clipped(stack)), &stack, nil, []string{"stack name", fmt.Sprintf("%q", clipped(stack))}})
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

// refused runs an up of the real program that must end with one error and
// without any resource.
func refused(t *testing.T, c badCase, problems int) {
	t.Helper()
	s := newSim(t, newWorld(), "dev")
	s.programStack = c.stack
	o := s.once(up, c.cfg, false)
	require.Error(t, o.err)
	noun := fmt.Sprintf("%d problems", problems)
	if problems == 1 {
		noun = "1 problem;"
	}
	require.Equal(t, 1, strings.Count(o.said, "the configuration of stack"), "not one error, of all that was said:\n%s", o.said)
	require.Contains(t, o.said, noun)
	for _, want := range c.says {
		require.Contains(t, o.said, want)
	}
	require.NotContains(t, o.said, "panic")
	require.NotContains(t, o.said, "goroutine")
	require.Less(t, len(o.said), 3000*problems, "the error floods the terminal")
	require.Empty(t, o.changes)
	for _, step := range o.steps {
		require.Regexp(t, `^create Stack `, step, "a resource was registered")
	}
}

// TestBadInput gives the real program every invalid configuration of a
// generator, one at a time and several at once.
func TestBadInput(t *testing.T) {
	begin := time.Now()
	cases := badCases()
	require.GreaterOrEqual(t, len(cases), 200)
	for i, c := range cases {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Log(c.name)
			refused(t, c, 1)
		})
	}
	// All at once: one value for each key.
	together := badCase{name: "together", cfg: cfg{}}
	for _, k := range settings.Keys {
		if !takes(k, " ") {
			together.cfg[k.Name] = " "
			together.says = append(together.says, project+":"+k.Name+" ")
		}
	}
	t.Run("together", func(t *testing.T) { refused(t, together, len(together.cfg)) })
	fact("Bad input: %d invalid configurations through the engine in process gave one error each and no resource, in %s.",
		len(cases)+1, time.Since(begin).Round(time.Second))
}

// TestBadInputReachesNoShell runs the commands that the program registers, as
// the command plugin does, with values that a shell would run.
func TestBadInputReachesNoShell(t *testing.T) {
	s := newSim(t, newWorld(), "dev")
	require.NoError(t, s.once(up, nil, false).err)
	marker := filepath.Join(t.TempDir(), "marker")
	attacks := []string{"$(touch %s)", "`touch %s`", "; touch %s ;", "x' ; touch %s ; '", `x" ; touch %s ; "`, "x\ntouch %s\n", "| touch %s", "&& touch %s", "> %s", "--name=$(touch %s)"}
	ran := 0
	for _, r := range s.snap.Resources {
		if r.Type != "command:local:Command" {
			continue
		}
		in := revealed(r.Inputs)
		argv := []string{}
		for _, a := range in["interpreter"].ArrayValue() {
			argv = append(argv, a.StringValue())
		}
		for _, key := range []resource.PropertyKey{"create", "update", "delete"} {
			verb := text(in, key)
			require.Regexp(t, `^[a-z]+$`, verb, "the argument is a word of the program's own")
			for _, attack := range attacks {
				value := fmt.Sprintf(attack, marker)
				cmd := exec.Command(argv[0], append(slices.Clone(argv[1:]), verb)...)
				cmd.Env = append(os.Environ(), kindcluster.EnvName+"="+value, kindcluster.EnvClaim+"="+value, "PULUMI_COMMAND_STDOUT="+value)
				cmd.Stdin = strings.NewReader("kind: Cluster\nname: " + value + "\n")
				out, err := cmd.CombinedOutput()
				if verb != "claim" { // which takes nothing
					require.Error(t, err, "%s took %q: %s", verb, value, out)
				}
				require.NoFileExists(t, marker, "%s %s ran %q", r.URN.Name(), verb, value)
				ran++
			}
		}
		// What shapes the command line is constant; only environment and standard
		// input carry values.
		for _, c := range []cfg{{"workers": "1", "replicas": "7"}, {"nodeImage": "registry.example/x:1", "edition": "current"}} {
			other := newSim(t, newWorld(), "Other_Stack.1")
			require.NoError(t, other.once(up, c, false).err)
			for _, o := range other.snap.Resources {
				if o.URN.Name() == r.URN.Name() && o.Type == r.Type {
					for _, key := range []resource.PropertyKey{"interpreter", "create", "update", "delete", "dir"} {
						require.Equal(t, r.Inputs[key], o.Inputs[key])
					}
				}
			}
		}
	}
	require.GreaterOrEqual(t, ran, 60)
	fact("No shell: %d runs of the registered commands with values that a shell would run left no marker.", ran)
}

// TestBadInputCLI gives a handful to the real `pulumi`.
func TestBadInputCLI(t *testing.T) {
	l := livelab.New(t)
	s := l.Stack(livelab.Unique("bad"), nil)
	marker := filepath.Join(t.TempDir(), "marker")
	values := map[string]string{
		"workers": "three", "replicas": "-1", "serviceType": "$(touch " + marker + ")",
		"echoImage": "`touch " + marker + "`", "nodeImage": "x:1; touch " + marker, "scrapeInterval": "15 s", "typo": "x\ntouch " + marker,
	}
	for k, v := range values {
		s.Set(k, v)
	}
	for _, command := range []func(...string) (string, error){s.Preview, s.Up} {
		out, err := command()
		require.Error(t, err, out)
		require.NotContains(t, out, "panic")
		require.NotContains(t, out, "command:local:Command")
		// Pulumi itself checks the types that Pulumi.yaml declares, one at a time;
		// what it lets through is ours to refuse, all at once.
		require.Regexp(t, "workers|replicas", out)
	}
	s.Unset("workers")
	s.Unset("replicas")
	out, err := s.Up()
	require.Error(t, err, out)
	for _, k := range slices.Sorted(maps.Keys(values)) {
		if k != "workers" && k != "replicas" {
			require.Contains(t, out, "bootcamp:"+k)
		}
	}
	require.NotContains(t, out, "command:local:Command")
	require.NoFileExists(t, marker)
	require.Empty(t, s.Containers())

	for _, name := range []string{"a b", "$(touch " + marker + ")", "`touch " + marker + "`", "a;touch " + marker, "a'b", strings.Repeat("n", 300), "名前"} {
		cmd := l.Command("pulumi", "stack", "init", "--stack", name, "--non-interactive")
		out, err := cmd.CombinedOutput()
		require.Error(t, err, "stack %q: %s", name, out)
		require.NotContains(t, string(out), "panic")
	}
	require.NoFileExists(t, marker)
}
