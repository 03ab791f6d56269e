package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/internal/classroom"
	"k8sbootcamp/internal/course"
	"k8sbootcamp/internal/fake"
	"k8sbootcamp/internal/lesson"
)

// studentsFile is a kubeconfig of a cluster of one node, with nothing in it yet, in a
// folder that is no project's.
func studentsFile(t *testing.T) (string, *fake.APIServer) {
	t.Helper()
	s := fake.NewAPIServer(t, `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"default"}}`,
		`{"apiVersion":"v1","kind":"Node","metadata":{"name":"a"},"status":{"conditions":[{"type":"Ready","status":"True"}]}}`)
	t.Chdir(t.TempDir())
	require.NoError(t, os.WriteFile("mine.yaml", s.Kubeconfig("x"), 0o600))
	return "mine.yaml", s
}

func tries(args ...string) (code int, out, errOut string) {
	var o, e bytes.Buffer
	code = run(args, os.Stdin, &o, &e)
	return code, o.String(), e.String()
}

// TestCheckOfAKubeconfig: a kubeconfig is all that a student needs: no project, no
// Pulumi, no Docker.
func TestCheckOfAKubeconfig(t *testing.T) {
	file, _ := studentsFile(t)
	t.Setenv("PATH", "")
	code, out, errOut := tries("check", "--kubeconfig", file, "--chapter", "0-3")
	assert.Equal(t, exitOK, code, errOut)
	assert.Contains(t, out, "every node is Ready (1 of 1)")
	assert.NotContains(t, out, "3-2")

	code, out, _ = tries("check", "--kubeconfig", file)
	assert.Equal(t, exitFailed, code)
	assert.Contains(t, out, "There is no Deployment bootcamp in namespace default yet.")
	assert.Contains(t, out, "kubectl get deployments")

	code, out, _ = tries("check", "--kubeconfig", file, "--lang", "ja")
	assert.Equal(t, exitFailed, code)
	assert.Contains(t, out, "Deployment bootcamp はまだネームスペース default にありません。")
	t.Setenv("LC_ALL", "ja_JP.UTF-8")
	_, out, _ = tries("check", "--kubeconfig", file)
	assert.Contains(t, out, "未完了")

	code, out, _ = tries("check", "--kubeconfig", file, "--json", "--lang", "en")
	assert.Equal(t, exitFailed, code)
	var d struct {
		Stacks []struct{ Checks []answer }
	}
	require.NoError(t, json.Unmarshal([]byte(out), &d), out)
	checks := d.Stacks[0].Checks
	assert.Equal(t, answer{ID: "0-3/nodes", Chapter: "0-3", Points: 2, Question: "every node is Ready", State: "ok", OK: true, Detail: "1 of 1"}, checks[1])
	assert.Equal(t, answer{ID: "3-2/deployment", Chapter: "3-2", Points: 3, Question: "there is a Deployment bootcamp", State: "open",
		Hint: "There is no Deployment bootcamp in namespace default yet.", Look: "kubectl get deployments"}, checks[3])
}

func TestCheckRefuses(t *testing.T) {
	file, _ := studentsFile(t)
	require.NoError(t, os.WriteFile("bad.yaml", []byte("{"), 0o600))
	for says, args := range map[string][]string{
		"nowhere.yaml":                          {"--kubeconfig", "nowhere.yaml"},
		"bad.yaml":                              {"--kubeconfig", "bad.yaml"},
		`--chapter "3-5": allowed are 0-3, 3-2`: {"--kubeconfig", file, "--chapter", "3-5"},
		`--lang "fr": allowed are en and ja`:    {"--kubeconfig", file, "--lang", "fr"},
		"--report x.txt: the name must end in":  {"--kubeconfig", file, "--report", "x.txt"},
		"--every 1ms: allowed are 1s to 1h":     {"--kubeconfig", file, "--watch", "--every", "1ms"},
		"with --json ask once":                  {"--kubeconfig", file, "--watch", "--json"},
		"leave out --stack and --roster":        {"--kubeconfig", file, "--stack", "a"},
		"[watch report]":                        {"--kubeconfig", file, "--watch", "--report", "x.csv"},
	} {
		code, out, errOut := tries(append([]string{"check"}, args...)...)
		assert.Equal(t, exitUsage, code, "%v: %s", args, errOut)
		assert.Empty(t, out)
		assert.Contains(t, errOut, says)
		assert.Equal(t, 1, strings.Count(errOut, "error:"), errOut)
	}
}

// TestReports: points a student and check, for other tools.
func TestReports(t *testing.T) {
	file, _ := studentsFile(t)
	code, out, errOut := tries("check", "--kubeconfig", file, "--report", "r.csv")
	assert.Equal(t, exitFailed, code)
	assert.Contains(t, errOut, "wrote r.csv")
	assert.NotContains(t, out, "wrote")
	raw, err := os.ReadFile("r.csv")
	require.NoError(t, err)
	raw, marked := bytes.CutPrefix(raw, []byte("\xef\xbb\xbf"))
	assert.True(t, marked, "Excel reads it as UTF-8")
	rows, err := csv.NewReader(bytes.NewReader(raw)).ReadAll()
	require.NoError(t, err)
	assert.Equal(t, []string{"student", "stack", "chapter", "check", "points", "of", "state", "question", "hint"}, rows[0])
	assert.Equal(t, []string{"default", "default", "0-3", "0-3/nodes", "2", "2", "ok", "every node is Ready", ""}, rows[2])
	assert.Equal(t, []string{"0", "3", "open"}, rows[4][4:7])

	_, _, _ = tries("check", "--kubeconfig", file, "--report", "r.xml")
	raw, err = os.ReadFile("r.xml")
	require.NoError(t, err)
	var suites struct {
		Suites []struct {
			Name     string `xml:"name,attr"`
			Tests    int    `xml:"tests,attr"`
			Failures int    `xml:"failures,attr"`
			Skipped  int    `xml:"skipped,attr"`
			Cases    []struct {
				Name    string `xml:"name,attr"`
				Failure *struct {
					Message string `xml:"message,attr"`
				} `xml:"failure"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	require.NoError(t, xml.Unmarshal(raw, &suites))
	require.Len(t, suites.Suites, 1)
	s := suites.Suites[0]
	assert.Equal(t, "default", s.Name)
	assert.Positive(t, s.Skipped)
	assert.Equal(t, "There is no Deployment bootcamp in namespace default yet.", s.Cases[3].Failure.Message)
	assert.Nil(t, s.Cases[0].Failure)

	files, err := os.ReadDir(".")
	require.NoError(t, err)
	assert.Len(t, files, 3, "something else is left")
	code, _, errOut = tries("check", "--kubeconfig", file, "--report", filepath.Join("nowhere", "r.csv"))
	assert.Equal(t, exitFailed, code)
	assert.Contains(t, errOut, "--report")

	// What cannot be put in place is not lost.
	require.NoError(t, os.MkdirAll(filepath.Join("taken.csv", "inside"), 0o700))
	_, _, errOut = tries("check", "--kubeconfig", file, "--report", "taken.csv")
	require.Regexp(t, `--report: .*; the points are in (\S+\.csv)\n`, errOut)
	kept := regexp.MustCompile(`the points are in (\S+)`).FindStringSubmatch(errOut)[1]
	assert.FileExists(t, kept)
}

// A spreadsheet takes no student's name for a formula.
func TestReportIsHarmless(t *testing.T) {
	for cell, want := range map[string]string{"=1+1": "'=1+1", "@x": "'@x", "-1": "'-1", "+1": "'+1", "\tx": "'\tx", "a=b": "a=b", "": ""} {
		assert.Equal(t, want, harmless(cell))
	}
	var out bytes.Buffer
	require.NoError(t, writeCSV(&out, []row{{Student: "=cmd()", Stack: "a", Outcome: failed, Cause: "it is not up"}}, lesson.English))
	assert.Contains(t, out.String(), "\n'=cmd(),a,,,0,,failed,,it is not up\n")
}

// lines is a buffer that can be read while it is written to.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestWatch: a line whenever something becomes another, until it is interrupted, which
// is its normal end.
func TestWatch(t *testing.T) {
	file, s := studentsFile(t)
	var out lines
	tool := &tool{out: &out, err: &out, lang: "en"}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- tool.watchFile(ctx, checkFlags{kubeconfig: file, every: 50 * time.Millisecond}) }()
	says := func(want string) {
		t.Helper()
		assert.Eventually(t, func() bool { return strings.Contains(out.String(), want) }, 20*time.Second, 10*time.Millisecond, out.String())
	}
	says("3-2, 4 of ")
	says("look: kubectl get deployments")
	s.Put(t, `{"apiVersion":"v1","kind":"Node","metadata":{"name":"a"},"status":{"conditions":[{"type":"Ready","status":"Unknown"}]}}`)
	says("0-3, 2 of ")
	s.Fail("GET /api/v1/nodes", http.StatusInternalServerError)
	says("0-3/cluster")
	n := strings.Count(out.String(), "\n")
	cancel()
	err := <-ended
	assert.ErrorIs(t, err, errStopped)
	assert.Equal(t, exitOK, exitCode(ctx, err))
	assert.Equal(t, n, strings.Count(out.String(), "\n"), "what is as before is not said again")
}

// TestScreen: the table of a class, and a student's own view.
func TestScreen(t *testing.T) {
	now := time.Now()
	red := lesson.Answer{Check: lesson.Find("3-3/selector"), State: lesson.Failed, Hint: lesson.Text{EN: "Service bootcamp-svc: \x1b[2J", JA: "ラベル"}}
	seat := classroom.Seat{Name: "花子", Stack: "h", Asked: true, At: course.Chapter33, AtSince: now.Add(-2 * time.Minute), Report: lesson.Report{Answers: []lesson.Answer{
		{Check: lesson.Find("0-3/cluster"), State: lesson.OK}, red,
	}}}
	var out bytes.Buffer
	showSeats(&out, []classroom.Seat{seat, {Name: "b", Stack: "b"}, {Name: "c", Asked: true, Problem: "it is not up", ProblemSince: now}}, classroom.Round{}, lesson.English)
	assert.Equal(t, "STUDENT  AT   FOR   POINTS  LAST FAILED CHECK\n"+
		"花子     3-3  2m0s  1/4     3-3/selector: Service bootcamp-svc: \\x1b[2J\n"+
		"b        -    -     -       not asked yet\n"+
		"c        ?    0s    -       it is not up\n", out.String())

	out.Reset()
	seat.Marks = []classroom.Mark{{Score: seat.Report.Chapter(course.Chapter33), Since: now.Add(-time.Minute)}}
	showSeat(&out, &seat, lesson.Japanese)
	assert.Equal(t, "3-3  Service  0/3  失敗  1m0s\n\n失敗  アプリのPodを見つける\nラベル\n確認: kubectl get service bootcamp-svc -o wide\n", out.String())
}
