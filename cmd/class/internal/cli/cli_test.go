package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/components/lab"
	"k8sbootcamp/cmd/class/internal/roster"
	"k8sbootcamp/cmd/class/internal/runner"
	"k8sbootcamp/cmd/class/internal/stack"
	"k8sbootcamp/cmd/class/internal/status"
)

// pulumiYAML is the project's own; absolute, for tests change their folder.
var pulumiYAML, _ = filepath.Abs(filepath.Join("..", "..", "..", "Pulumi.yaml"))

// call runs the tool in a folder with a Pulumi.yaml, and with neither Docker nor
// Go on PATH, so that nothing is ever begun.
func call(t *testing.T, files map[string]string, args ...string) (code int, out, errOut string) {
	t.Helper()
	dir := t.TempDir()
	own, err := os.ReadFile(pulumiYAML)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "Pulumi.yaml"), own, 0o600))
	for name, text := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	t.Chdir(dir)
	t.Setenv("PATH", t.TempDir())
	in, err := os.Open(os.DevNull)
	require.NoError(t, err)
	defer in.Close()
	var stdout, stderr bytes.Buffer
	a := &app{in: in, out: &stdout, err: &stderr, getenv: func(string) string { return "" }, kill: context.Background()}
	root := a.root()
	root.SetArgs(args)
	root.SetOut(&stdout)
	root.SetErr(&stderr)
	code = a.code(context.Background(), root.Execute())
	assert.NoDirExists(t, filepath.Join(dir, ".bootcamp"), "nothing was made")
	return code, stdout.String(), stderr.String()
}

func TestUsageErrors(t *testing.T) {
	for args, want := range map[string]string{
		"bogus":                          `unknown command "bogus"`,
		"up --bogus":                     "unknown flag: --bogus",
		"up extra":                       `unknown command "extra"`,
		"up --stack a --roster b":        "[stack roster]",
		"kubeconfig --merge --output x":  "[output merge]",
		"up -j -1":                       "-j -1: it must be 1 or more",
		"up -j many":                     "invalid argument",
		"up --ignore docker":             "--ignore docker: allowed are memory, disk, inotify, port",
		"up --stack a/b":                 `stack name "a/b"`,
		"status --only x":                "--only picks from a roster",
		"status --roster none.txt":       "the roster: open none.txt",
		"up --roster r --only b,x,y":     "the roster r has no x, y",
		"destroy":                        "say --yes",
		"kubeconfig --output - --json":   "both want standard output",
		"kubeconfig --roster r --output": "flag needs an argument",
		"kubeconfig --roster r -o x":     "--output is for one stack",
		"up --disrupt":                   "unknown flag",
	} {
		t.Run(args, func(t *testing.T) {
			code, out, errOut := call(t, map[string]string{"r": "a\nb\n"}, strings.Fields(args)...)
			assert.Equal(t, exitUsage, code)
			assert.Empty(t, out)
			assert.Contains(t, errOut, want)
			assert.Equal(t, 1, strings.Count(errOut, "error:"))
		})
	}
}

func TestHelp(t *testing.T) {
	code, out, _ := call(t, nil)
	assert.Equal(t, exitOK, code)
	for _, verb := range []string{"up", "preview", "status", "check", "destroy", "kubeconfig"} {
		assert.Contains(t, out, "\n  "+verb+" ")
	}
	code, out, _ = call(t, nil, "help", "json")
	assert.Equal(t, exitOK, code)
	for _, field := range jsonFields(t) {
		assert.Contains(t, out, field, "an undocumented field of --json")
	}
}

// jsonFields are all names in a document that has everything.
func jsonFields(t *testing.T) []string {
	t.Helper()
	full := row{
		Cause: "x", Detail: "x", Changes: &stack.Changes{Summary: map[string]int{}, Steps: []stack.Step{{Keys: []string{"k"}}}},
		Outputs: map[string]string{"o": ""}, Kept: []string{"x"}, File: "x", Checks: []answer{{}},
		Status: &status.Status{NotReady: []string{"x"}, AppURL: "x", LastChange: &stack.Change{}, Problem: "x"},
	}
	b, err := json.Marshal(document{Error: "x", Retry: "x", Stacks: []row{full}})
	require.NoError(t, err)
	var names []string
	dec := json.NewDecoder(bytes.NewReader(b))
	for {
		token, err := dec.Token()
		if err != nil {
			return names
		}
		if name, ok := token.(string); ok && len(name) > 1 && name[0] != '0' { // values here have one letter, or are a time
			names = append(names, name)
		}
	}
}

func TestFindingsAllAtOnceAsJSON(t *testing.T) {
	code, out, errOut := call(t, map[string]string{
		"r.csv":         "name,replicas,workers\na,3,0\nb,300,99\n",
		"Pulumi.a.yaml": "config:\n  bootcamp:replica: 3\n",
	}, "up", "--roster", "r.csv", "--config", "nonsense", "--config", "edition=old", "--json")
	assert.Equal(t, exitUsage, code)
	var d document
	require.NoError(t, json.Unmarshal([]byte(out), &d), out)
	assert.Equal(t, "up", d.Verb)
	assert.Equal(t, exitUsage, d.ExitCode)
	var all []string
	for _, f := range d.Findings {
		all = append(all, f.Check+" "+f.Problem)
		assert.NotEmpty(t, f.Remedy)
	}
	require.Len(t, all, 7, "%v", all)
	for i, want := range []string{
		`config --config "nonsense"`,
		`config bootcamp:edition = "old"`,
		"config r.csv:2: a: bootcamp:replica is no key of this project",
		`config r.csv:3: b: bootcamp:workers = "99"`,
		`config r.csv:3: b: bootcamp:replicas = "300"`,
		"go the go command was not found",
		"docker the docker command was not found",
	} {
		assert.Contains(t, all[i], want)
	}
	assert.Contains(t, errOut, "error: the preflight found 7 problems; nothing was made")
}

func TestRosterProblemsAreFindings(t *testing.T) {
	code, _, errOut := call(t, map[string]string{"r": "a\nb c\na\n"}, "up", "--roster", "r")
	assert.Equal(t, exitUsage, code)
	assert.Contains(t, errOut, "[roster] r:2: stack name")
	assert.Contains(t, errOut, `[roster] r:3: "a" is in line 1 already`)
	assert.Contains(t, errOut, "[docker]")
}

// A lab with a broken configuration can still be looked at and removed.
func TestBrokenConfigurationIsNoMatterToDestroy(t *testing.T) {
	_, _, errOut := call(t, map[string]string{"Pulumi.a.yaml": "config:\n  bootcamp:replicas: many\n"}, "destroy", "--stack", "a", "--yes")
	assert.NotContains(t, errOut, "replicas")
	_, _, errOut = call(t, map[string]string{"Pulumi.a.yaml": "config:\n  bootcamp:replicas: many\n"}, "up", "--stack", "a")
	assert.Contains(t, errOut, `bootcamp:replicas = "many"`)
}

func TestExitCodes(t *testing.T) {
	a := &app{err: &bytes.Buffer{}, begun: true}
	assert.Equal(t, exitOK, a.code(context.Background(), nil))
	assert.Equal(t, exitFailed, a.code(context.Background(), errors.New("x")))
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errInterrupted)
	assert.Equal(t, exitInterrupted, a.code(ctx, errors.New("x")))
	assert.Equal(t, exitUsage, a.code(ctx, &exit{exitUsage, errors.New("x")}))
}

func finish(t *testing.T, ctx context.Context, f flags, students int, rows []row) (int, string, string) {
	t.Helper()
	var out bytes.Buffer
	s := &session{app: &app{out: &out, err: &bytes.Buffer{}, flags: f}, verb: "up", students: make([]roster.Student, students)}
	err := s.end(ctx, rows, s.printUp)
	return s.code(ctx, err), out.String(), s.self()
}

func TestSummaryOfAHalfFailedRoster(t *testing.T) {
	rows := []row{
		{Stack: "a", Student: "山田花子", Outcome: runner.OK, Seconds: 61, Changes: &stack.Changes{Summary: map[string]int{"create": 18, "same": 2}}, Outputs: map[string]string{lab.OutAppURL: "http://127.0.0.1:18080/"}},
		{Stack: "b", Student: "Bob", Outcome: runner.Failed, Cause: "Deployment bootcamp: no image", Detail: "much"},
		{Stack: "c", Student: "c", Outcome: runner.Failed, Cause: "no memory"},
	}
	code, out, self := finish(t, context.Background(), flags{roster: "my class.csv", config: []string{"nodeImage=a:1"}}, 3, rows)
	assert.Equal(t, exitFailed, code)
	assert.Equal(t, `
STUDENT   STACK  RESULT  TOOK  CHANGES    APP URL
山田花子  a      ok      1m1s  18 create  http://127.0.0.1:18080/
Bob       b      failed  0s    -          -
c         c      failed  0s    -          -

b FAILED: Deployment bootcamp: no image
c FAILED: no memory

to try again what is missing:
  `+self+` up --roster 'my class.csv' --only b,c --config nodeImage=a:1
`, out)
}

func TestSummaryOfAnInterruptedRun(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	rows := []row{{Stack: "a", Student: "a", Outcome: runner.Interrupted}, {Stack: "b", Student: "b", Outcome: runner.NotStarted}}
	code, out, self := finish(t, ctx, flags{roster: "r", json: true}, 2, rows)
	assert.Equal(t, exitInterrupted, code)
	var d document
	require.NoError(t, json.Unmarshal([]byte(out), &d))
	assert.Equal(t, exitInterrupted, d.ExitCode)
	assert.Equal(t, self+" up --roster r", d.Retry, "all of them need no --only")
	assert.Equal(t, runner.NotStarted, d.Stacks[1].Outcome)
}

func TestOneFailureIsToldInFull(t *testing.T) {
	rows := []row{{Stack: "dev", Outcome: runner.Failed, Cause: "short", Detail: "line 1\nline 2"}}
	_, out, self := finish(t, context.Background(), flags{stack: "dev"}, 1, rows)
	assert.Contains(t, out, "dev FAILED: short\n  line 1\n  line 2\n")
	assert.True(t, strings.HasSuffix(out, "  "+self+" up\n"), out)
}

func TestPrintStatus(t *testing.T) {
	var out bytes.Buffer
	printStatus(&out, []row{
		{Stack: "a", Student: "a", Status: &status.Status{Made: true, Cluster: "alive (nodes: 1)", Ready: 9, Total: 10, NotReady: []string{"Deployment bootcamp: 0 of 2 pods are ready"}}},
		{Stack: "b", Student: "b", Status: &status.Status{Cluster: status.NotMade}},
		{Stack: "c", Student: "c", Outcome: runner.Failed},
	})
	assert.Equal(t, `STUDENT  STACK  CLUSTER           READY  APP URL  LAST CHANGE
a        a      alive (nodes: 1)  9/10   -        -
b        b      not made          0/0    -        -
c        c      failed            -      -        -
a: Deployment bootcamp: 0 of 2 pods are ready
`, out.String())
}

func TestPrintDestroy(t *testing.T) {
	var out bytes.Buffer
	printDestroy(&out, []row{
		{Stack: "a", Student: "a", Outcome: runner.OK},
		{Stack: "b", Student: "b", Outcome: runner.OK, Kept: []string{"Pulumi.b.yaml (it was not made by this tool)"}},
	})
	assert.Equal(t, `
STUDENT  STACK  RESULT        TOOK
a        a      nothing left  0s
b        b      removed       0s
b: stays: Pulumi.b.yaml (it was not made by this tool)
`, out.String())
}

func TestPrintPreviewAndChecks(t *testing.T) {
	var out bytes.Buffer
	printPreview(&out, []row{{Stack: "a", Outcome: runner.OK, Changes: &stack.Changes{
		Summary: map[string]int{"update": 1}, Steps: []stack.Step{{Op: "update", Type: "kubernetes:apps/v1:Deployment", Name: "bootcamp", Keys: []string{"spec"}}}}}})
	assert.Equal(t, "\na: 1 update\n  update  Deployment  bootcamp  spec\n", out.String())

	out.Reset()
	printChecks(&out, []row{{Stack: "a", Checks: []answer{{"nodes", true, "1 of 1", 0}, {"the app", false, "no answer", 0}}}})
	assert.Equal(t, "\na\n  ok      nodes    1 of 1\n  FAILED  the app  no answer\n", out.String())
}
