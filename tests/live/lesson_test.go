package live

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/internal/course"
	"k8sbootcamp/internal/lesson"
	"k8sbootcamp/tests/docs"
	"k8sbootcamp/tests/live/internal/livelab"
)

// TestLesson is a student who does the course by hand, with the text's own manifests
// and kubectl, and is asked before and after each chapter; and then the mistakes that
// one may make on the way, each of which has one check red, with its hint, and no other.
// Without BOOTCAMP_FULL=1 some of the mistakes are made, others each time. With -update
// their rows of docs/mistakes.md are written.
func TestLesson(t *testing.T) {
	turn(t, turnLesson)
	s := newByHand(t, livelab.New(t).Root)
	t.Run("the course by hand", s.walk)
	if t.Failed() {
		return // of a course that is not whole no mistake tells anything
	}
	t.Run("mistakes", s.mistakes)
}

// byHand is a student who has a cluster and kubectl.
type byHand struct {
	root  string // of the repository
	on    *classCluster
	lab   *lesson.Lab
	took  []time.Duration // each time that the lab was asked
	asked []int           // requests
}

func newByHand(t *testing.T, root string) *byHand {
	t.Helper()
	if os.Getenv("LAB_NODE_IMAGE") == "" { // today's nodes refuse the text's image
		t.Setenv("LAB_NODE_IMAGE", "kindest/node:v1.24.0")
	}
	s := &byHand{root: root, on: newClassCluster(t, "bootcamp-"+livelab.Unique("lesson"), 1)}
	kubeconfig, err := os.ReadFile(s.on.kubeconfig)
	require.NoError(t, err)
	s.lab, err = lesson.New(kubeconfig, "", "")
	require.NoError(t, err)
	return s
}

// kubectl runs it in the control plane's node.
func (s *byHand) kubectl(stdin string, args ...string) (string, error) {
	args = append([]string{"exec", "--interactive", s.on.name + "-control-plane", "kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf"}, args...)
	cmd := exec.Command("docker", args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (s *byHand) types(t *testing.T, line string) {
	t.Helper()
	out, err := s.kubectl("", strings.Fields(strings.ReplaceAll(line, "WORKER", s.worker()))...)
	require.NoError(t, err, "%s: %s", line, out)
}

func (s *byHand) worker() string { return s.on.name + "-worker" }

// text is a manifest of the text.
func (s *byHand) text(t *testing.T, file string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(s.root, "tests", "testdata", "course", file))
	require.NoError(t, err)
	return string(raw)
}

func (s *byHand) applies(t *testing.T, manifest string) {
	t.Helper()
	out, err := s.kubectl(manifest, "apply", "--filename", "-")
	require.NoError(t, err, out)
}

func (s *byHand) ask(t *testing.T, o lesson.Options) lesson.Report {
	t.Helper()
	r, err := s.lab.Ask(context.Background(), o)
	require.NoError(t, err)
	if o.Patience == 0 {
		s.took, s.asked = append(s.took, r.Took), append(s.asked, r.Requests)
	}
	return r
}

// patient is how long pods, and Prometheus's first scrapes, may take.
const patient = 2 * time.Minute

func (s *byHand) walk(t *testing.T) {
	for _, step := range []struct {
		chapter course.Chapter
		file    string
		command string
	}{
		{chapter: course.Chapter03},
		{chapter: course.Chapter32, file: appFile},
		{chapter: course.Chapter33, file: serviceFile},
		{chapter: course.Chapter34, command: "delete pods -l app=bootcamp --wait=false"},
		{chapter: course.Chapter41, file: exporterFile},
		{chapter: course.Chapter42, file: roleFile},
		{chapter: course.Chapter43, file: prometheusFile},
		{chapter: course.Chapter44},
	} {
		before := s.ask(t, lesson.Options{})
		if step.file != "" {
			assert.NotEqual(t, lesson.OK, before.Chapter(step.chapter).State, "%s was green before it was done", step.chapter)
			assert.Zero(t, before.Chapter(step.chapter).Points, step.chapter)
			assert.Equal(t, step.chapter, before.At())
			s.applies(t, s.text(t, step.file))
		}
		if step.command != "" {
			s.types(t, step.command)
		}
		after := s.ask(t, lesson.Options{Chapter: step.chapter, Patience: patient})
		for _, a := range after.Answers {
			assert.Equal(t, lesson.OK, a.State, "%s, after chapter %s: %s", a.ID, step.chapter, a.Hint.EN)
		}
		total := after.Total()
		assert.Equal(t, total.Of, total.Points)
		whole := s.ask(t, lesson.Options{})
		for _, a := range whole.Answers {
			assert.NotEqual(t, lesson.Failed, a.State, "%s is red after chapter %s: %s", a.ID, step.chapter, a.Hint.EN)
		}
	}
	all := s.ask(t, lesson.Options{Patience: patient, Disrupt: true})
	assert.True(t, all.OK())
	assert.Equal(t, lesson.OK, all.Find("3-4/comes-back").State, all.Find("3-4/comes-back").Hint.EN)
}

func (s *byHand) mistakes(t *testing.T) {
	r := moments(t)
	picked := some(r, len(mistakes), 12)
	hints := make([]lesson.Text, len(mistakes))
	for _, i := range picked {
		m := mistakes[i]
		t.Run(fmt.Sprintf("%s %s", m.check, m.what), func(t *testing.T) {
			hints[i] = s.makes(t, m)
		})
	}
	longest := slices.Max(s.took)
	slices.Sort(s.took)
	slices.Sort(s.asked)
	t.Logf("asked %d times: %s as a rule, %s at most; %d requests as a rule, %d at most", len(s.took), s.took[len(s.took)/2].Round(time.Millisecond), longest.Round(time.Millisecond),
		s.asked[len(s.asked)/2], s.asked[len(s.asked)-1])
	assert.Less(t, s.took[len(s.took)/2], 2*time.Second, "from a red check to its hint")
	if !t.Failed() {
		s.table(t, hints)
	}
}

// makes makes a mistake, sees the one check that is red, and puts it right.
func (s *byHand) makes(t *testing.T, m mistake) lesson.Text {
	t.Helper()
	restart := m.file == prometheusFile && m.check != "4-4/loaded" || m.file == roleFile
	t.Cleanup(func() { // the next one begins where the text is
		if m.undo != "" {
			s.types(t, m.undo)
		}
		if m.without {
			s.types(t, "delete deployment "+map[string]string{appFile: course.App, prometheusFile: course.Prometheus}[m.file]+" --ignore-not-found")
		}
		if m.file != "" {
			s.applies(t, s.text(t, m.file))
		}
		if restart {
			s.types(t, "delete pods -l app=prometheus --wait=false")
		}
	})
	if m.kubectl != "" {
		s.types(t, m.kubectl)
	}
	if m.without {
		s.types(t, "delete deployment "+map[string]string{appFile: course.App, prometheusFile: course.Prometheus}[m.file])
	}
	if m.file != "" {
		manifest := s.text(t, m.file)
		for _, edit := range append([][2]string{{m.was, m.is}}, m.also...) {
			require.Equal(t, 1, strings.Count(manifest, edit[0]), "%q in %s", edit[0], m.file)
			manifest = strings.Replace(manifest, edit[0], edit[1], 1)
		}
		s.applies(t, manifest)
		if restart {
			s.types(t, "delete pods -l app=prometheus --wait=false")
		}
	}

	later := dependents(m.check)
	var report lesson.Report
	off := func() (off []string) {
		for _, a := range report.Answers {
			switch {
			case a.ID == m.check && a.State == lesson.Failed:
			case a.ID != m.check && slices.Contains(later, a.ID) && a.State == lesson.Later:
			case a.ID != m.check && !slices.Contains(later, a.ID) && a.State == lesson.OK:
			default:
				off = append(off, fmt.Sprintf("%s is %s: %s", a.ID, a.State, a.Hint.EN))
			}
		}
		return off
	}
	for end := time.Now().Add(patient); ; time.Sleep(time.Second) {
		report = s.ask(t, lesson.Options{})
		if len(off()) == 0 || time.Now().After(end) {
			break
		}
	}
	require.Empty(t, off())
	hint := report.Find(m.check).Hint
	for _, name := range m.names {
		name = strings.ReplaceAll(name, "WORKER", s.worker())
		assert.Contains(t, hint.EN, name)
		if name != "nobody listens" && name != "indentation" {
			assert.Contains(t, hint.JA, name)
		}
	}
	return hint
}

// dependents are the checks that come after another, directly or not.
func dependents(id string) (all []string) {
	for _, c := range lesson.Checks {
		if slices.Contains(c.After, id) {
			all = append(append(all, c.ID), dependents(c.ID)...)
		}
	}
	return all
}

// volatile is what is another in each run.
var volatile = []struct {
	re   *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`\b(bootcamp|prometheus|node-exporter)-[0-9a-f]{6,10}-[a-z0-9]{5}\b`), "$1-…"},
	{regexp.MustCompile(`\bnode-exporter-[a-z0-9]{5}\b`), "node-exporter-…"},
	{regexp.MustCompile(`bootcamp-lesson-?[a-z0-9-]*?-(control-plane|worker)`), "bootcamp-dev-$1"},
	{regexp.MustCompile(`\b\d{1,3}(\.\d{1,3}){3}\b`), "192.0.2.1"},
	{regexp.MustCompile(`(which cannot be pulled |を取得できません)\([^)]*\)`), "$1(…)"},
}

func settled(s string) string {
	for _, v := range volatile {
		s = v.re.ReplaceAllString(s, v.with)
	}
	return s
}

// table holds docs/mistakes.md against the hints or, with -update, writes it.
func (s *byHand) table(t *testing.T, hints []lesson.Text) {
	t.Helper()
	row := func(i int) []string {
		m := mistakes[i]
		c := lesson.Find(m.check)
		return []string{string(c.Chapter), m.what, docs.Code(c.ID), settled(hints[i].EN), settled(hints[i].JA), docs.Code(c.Look)}
	}
	file := filepath.Join(s.root, "docs", "mistakes.md")
	page, err := os.ReadFile(file)
	require.True(t, err == nil || *update && os.IsNotExist(err), err)
	kept := map[string][]string{} // by the mistake
	for _, line := range strings.Split(string(page), "\n") {
		if cells := docs.Cells(line); len(cells) == 6 {
			kept[cells[0]+" "+cells[1]+" "+cells[2]] = cells
		}
	}
	version, err := s.on.client.Discovery().ServerVersion()
	require.NoError(t, err)
	same := strings.Contains(string(page), "Kubernetes 1."+version.Minor+".")
	if !same {
		t.Logf("NOT COMPARED with docs/mistakes.md, which is of another Kubernetes than 1.%s: what that itself says is in the hints", version.Minor)
	}
	var rows [][]string
	for i := range mistakes {
		now := row(i)
		key := now[0] + " " + now[1] + " " + now[2]
		made := hints[i] != lesson.Text{}
		if made && same && !*update {
			assert.Equal(t, kept[key], now, "if this change is meant, `BOOTCAMP_FULL=1 go -C tests/live test -run TestLesson . -update`")
		}
		if !made {
			now = kept[key]
			require.NotNil(t, now, "%s was never made, and is not in docs/mistakes.md", key)
		}
		rows = append(rows, now)
	}
	if *update {
		whole := mistakesIntro(len(mistakes), version.Minor) + docs.Table([]string{"chapter", "the mistake", "check", "hint", "ヒント", "look"}, rows)
		require.NoError(t, os.WriteFile(file, []byte(whole), 0o644))
	}
}

func mistakesIntro(n int, minor string) string {
	return fmt.Sprintf(`# Mistakes, and what `+"`class check`"+` says of them

Written by TestLesson in tests/live (with `+"`-update`"+`): a student has done the whole course by hand, with the text's own manifests, and then makes one of these %d mistakes, each by itself. Exactly one check is red, the one named here; those that come after it are not asked, and all others are green. The hints are what the check says, in both languages, on Kubernetes 1.%s.

`, n, minor)
}
