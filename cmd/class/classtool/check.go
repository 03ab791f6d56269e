package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"
	"github.com/spf13/cobra"

	"k8sbootcamp/cmd/class/internal/progress"
	"k8sbootcamp/cmd/class/internal/stack"
	"k8sbootcamp/components/lab"
	"k8sbootcamp/internal/check"
	"k8sbootcamp/internal/course"
	"k8sbootcamp/internal/lesson"
	"k8sbootcamp/internal/printable"
)

// checkFlags are those of check.
type checkFlags struct {
	disrupt    bool
	kubeconfig string
	chapter    string
	watch      bool
	every      time.Duration
	report     string
}

func (t *tool) checkCommand() *cobra.Command {
	var o checkFlags
	c := &cobra.Command{
		Use:   "check",
		Short: "Ask of a running lab what the text has the student see, and say what to look at",
		Long: `check asks, chapter by chapter, what the course's text has the student see. Of
what is not so it says what was seen, and what to look at.

A student needs a kubeconfig alone: neither a stack nor Docker.

  class check --kubeconfig kubeconfig-dev.yaml --chapter 3-3 --watch`,
	}
	f := c.Flags()
	f.BoolVar(&o.disrupt, "disrupt", false, "also delete a pod and see it come back")
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "ask the lab that this `FILE` leads to, and no stack")
	f.StringVar(&o.chapter, "chapter", "", "ask up to this `CHAPTER`: "+chapterNames()+" (default: all)")
	f.BoolVar(&o.watch, "watch", false, "ask again and again, until interrupted")
	f.DurationVar(&o.every, "every", 5*time.Second, "how often with --watch")
	f.StringVar(&o.report, "report", "", "also write a `FILE`: .xml is JUnit's, .csv a table")
	t.langFlag(c)
	c.MarkFlagsMutuallyExclusive("watch", "report")
	c.MarkFlagsMutuallyExclusive("watch", "disrupt")
	c.PreRunE = func(cmd *cobra.Command, _ []string) error { return o.validate(t, cmd) }
	v := verb{done: "no check failed", show: showChecks,
		work: func(ctx context.Context, _ *session, st *stack.Stack, line *progress.Line, r *row) error {
			return checkLab(ctx, st, o, line, r)
		},
		end: func(_ context.Context, s *session, rows []row) error { return writeReport(s, o.report, rows) },
	}
	t.command(c, v)
	ofStacks := c.RunE
	c.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case o.kubeconfig != "" && o.watch:
			return t.watchFile(cmd.Context(), o)
		case o.kubeconfig != "":
			return t.checkFile(cmd, o)
		case o.watch:
			return t.watchStacks(cmd, o)
		}
		return ofStacks(cmd, args)
	}
	return c
}

func (o *checkFlags) validate(t *tool, c *cobra.Command) error {
	if _, err := t.language(); err != nil {
		return err
	}
	if err := checkChapter(o.chapter); err != nil {
		return err
	}
	switch {
	case o.watch && t.json:
		return errors.New("--watch shows a table that changes; with --json ask once")
	case o.watch && (o.every < time.Second || o.every > time.Hour):
		return fmt.Errorf("--every %s: allowed are 1s to 1h", o.every)
	case o.report != "" && reportFormat(o.report) == nil:
		return fmt.Errorf("--report %s: the name must end in .xml (JUnit) or .csv", o.report)
	case o.kubeconfig != "" && (t.roster != "" || c.Flags().Changed("stack")):
		return errors.New("--kubeconfig leads to one lab and needs no stack; leave out --stack and --roster")
	case o.kubeconfig != "":
		if _, err := os.Stat(o.kubeconfig); err != nil {
			return fmt.Errorf("--kubeconfig: %w", err)
		}
	}
	return nil
}

// checkChapter returns an error for what is no chapter.
func checkChapter(name string) error {
	if name == "" || slices.Contains(course.Chapters, course.Chapter(name)) {
		return nil
	}
	return fmt.Errorf("--chapter %q: allowed are %s", name, chapterNames())
}

func chapterNames() string {
	all := make([]string, len(course.Chapters))
	for i, c := range course.Chapters {
		all[i] = string(c)
	}
	return strings.Join(all, ", ")
}

// answer is one question of the course, and what was seen.
type answer struct {
	ID       string `json:"id"`
	Chapter  string `json:"chapter"`
	Points   int    `json:"points"`
	Question string `json:"question"`
	State    string `json:"state"`
	OK       bool   `json:"ok"`
	Warning  bool   `json:"warning,omitempty"` // it is ok, and something else should be better
	Hint     string `json:"hint,omitempty"`    // of one that is not ok: what to look at
	Look     string `json:"look,omitempty"`    // and the command that shows it
	Detail   string `json:"detail,omitempty"`  // of one that is ok: what was seen, where that says more
}

// checkPatience is how long a lab is waited for that has no mistake, but starts.
const checkPatience = 90 * time.Second

// checkLab asks with the kubeconfig that the student has and, of a shared cluster's
// network, with the administrator's.
func checkLab(ctx context.Context, st *stack.Stack, o checkFlags, line *progress.Line, r *row) error {
	line.Phase("asking")
	l, ask, err := labOf(ctx, st)
	if err != nil {
		return err
	}
	ask.Chapter = cmp.Or(course.Chapter(o.chapter), ask.Chapter)
	ask.Patience, ask.Disrupt = checkPatience, o.disrupt
	report, err := l.Ask(ctx, ask)
	if err != nil {
		return err
	}
	r.Report = &report
	if _, onShared := st.Access(); onShared && report.Find("3-2/deployment").State == lesson.OK && report.Find("3-3/service").State == lesson.OK {
		line.Phase("trying the network")
		result := st.AskNetwork(ctx, l.Namespace)
		r.Network = &result
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return r.judge()
}

// judge is an error where something that was asked is not ok.
func (r *row) judge() error {
	wrong := r.Report.NotOK()
	all := len(r.Report.Answers)
	if r.Network != nil {
		all++
		if !r.Network.OK {
			wrong++
		}
	}
	if wrong > 0 {
		return fmt.Errorf("%d of %s not ok", wrong, printable.Count(all, "check"))
	}
	return nil
}

// labOf is the way to a stack's lab as its student sees it, and what is to be there.
func labOf(ctx context.Context, st *stack.Stack) (*lesson.Lab, lesson.Options, error) {
	outputs, kubeconfig, err := studentOutputs(ctx, st, false)
	if err != nil {
		return nil, lesson.Options{}, err
	}
	l, err := lesson.New(kubeconfig, outputs[lab.OutContext], outputs[lab.OutNamespace])
	return l, lesson.Options{Chapter: lab.ChapterOf(outputs), Exercises: lab.Exercises(outputs)}, err
}

// errNotUp is the error of a verb that needs a lab that is up.
var errNotUp = errors.New("it is not up; run `class up` first")

// studentOutputs are the outputs of a lab that is up, and the student's kubeconfig,
// whose token has not ended, and is new where it is to be renewed. The class's
// platform has no student's lab.
func studentOutputs(ctx context.Context, st *stack.Stack, renew bool) (outputs map[string]string, kubeconfig []byte, err error) {
	if st.Platform() {
		return nil, nil, errors.New("this stack is the class's platform (mode=shared-platform), which has no student's lab; name a student's stack")
	}
	state, err := st.State(ctx)
	if err != nil {
		return nil, nil, err
	}
	if state == nil {
		return nil, nil, errNotUp
	}
	if outputs, err = st.Outputs(ctx); err != nil {
		return nil, nil, err
	}
	if strings.TrimSpace(outputs[lab.OutKubeconfig]) == "" {
		return nil, nil, errNotUp
	}
	kubeconfig, err = st.Kubeconfig(ctx, state, outputs, renew)
	return outputs, kubeconfig, err
}

// fileLab is the lab that a kubeconfig's file leads to.
func fileLab(file string) (*lesson.Lab, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	l, err := lesson.New(raw, "", "")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return l, nil
}

// checkFile asks the lab that a kubeconfig's file leads to.
func (t *tool) checkFile(cmd *cobra.Command, o checkFlags) error {
	l, err := fileLab(o.kubeconfig)
	if err != nil {
		return err
	}
	s := &session{tool: t, cmd: cmd, say: t.err, verb: verb{show: showChecks}}
	ctx := cmd.Context()
	report, err := l.Ask(ctx, lesson.Options{Chapter: course.Chapter(o.chapter), Patience: checkPatience, Disrupt: o.disrupt})
	if err != nil {
		return begun{err}
	}
	r := row{Stack: l.Namespace, Student: l.Namespace, Outcome: ok, Seconds: report.Took.Seconds(), Report: &report}
	if err := r.judge(); err != nil {
		r.Outcome = failed
		r.fail(err)
	}
	rows := []row{r}
	if err := writeReport(s, o.report, rows); err != nil {
		return begun{err}
	}
	return s.finish(ctx, rows)
}

// check.Network is asked of the administrator, and is no chapter's.
func networkAnswer(result *check.Result) answer {
	a := answer{ID: "network", Question: result.Question, OK: result.OK, Warning: result.Warning, State: string(lesson.OK), Detail: result.Detail}
	if !result.OK {
		a.State, a.Hint, a.Detail = string(lesson.Failed), result.Detail, ""
	}
	return a
}

// answers are a row's in one language.
func (r *row) answers(lang lesson.Lang) (all []answer) {
	if r.Report == nil {
		return nil
	}
	for _, a := range r.Report.Answers {
		one := answer{
			ID: a.ID, Chapter: string(a.Chapter), Points: a.Points, Question: a.Question.In(lang),
			State: string(a.State), OK: a.State == lesson.OK, Hint: a.Hint.In(lang), Detail: a.Note.In(lang),
		}
		if a.State == lesson.Failed || a.State == lesson.Open || a.State == lesson.Starting {
			one.Look = a.Look
		}
		all = append(all, one)
	}
	if r.Network != nil {
		all = append(all, networkAnswer(r.Network))
	}
	return all
}

func showChecks(s *session, rows []row) {
	lang, _ := s.language()
	w := wordsIn[lang]
	if len(rows) == 1 {
		showLesson(s, &rows[0], lang)
		return
	}
	// Points a student and chapter, for those who look after many.
	head := []string{w.student, w.stack, w.total}
	var chapters []course.Chapter
	for _, chapter := range course.Chapters {
		if slices.ContainsFunc(rows, func(r row) bool { return r.Report != nil && r.Report.Chapter(chapter).Checks > 0 }) {
			chapters, head = append(chapters, chapter), append(head, string(chapter))
		}
	}
	table := [][]string{append(head, w.at, w.first)}
	for _, r := range rows {
		line := []string{r.Student, r.Stack}
		if r.Report == nil {
			line = append(line, string(r.Outcome))
			table = append(table, line)
			continue
		}
		line = append(line, points(r.Report.Total()))
		for _, chapter := range chapters {
			line = append(line, points(r.Report.Chapter(chapter)))
		}
		line = append(line, position(r.Report, w))
		red := "-"
		if a := r.Report.Total().FirstNotOK; a != nil {
			red = a.ID + ": " + a.Hint.In(lang)
		}
		table = append(table, append(line, red))
	}
	fmt.Fprintln(s.out)
	printTable(s.out, table)
}

func points(s lesson.Score) string {
	if s.Of == 0 {
		return "-"
	}
	return fmt.Sprintf("%d/%d", s.Points, s.Of)
}

// position is the chapter that a student is at, in a word.
func position(r *lesson.Report, w words) string {
	if at := r.At(); at != "" {
		return string(at)
	}
	return w.done
}

// showLesson prints every check of one lab, with what to look at where one is not ok.
func showLesson(s *session, r *row, lang lesson.Lang) {
	if r.Report == nil {
		return
	}
	w := wordsIn[lang]
	at := r.Report.At()
	var chapter course.Chapter
	for _, a := range r.answers(lang) {
		if a.Chapter == "" { // the cluster's, and not the student's
			fmt.Fprintln(s.out)
			showAnswer(s.out, a, lang)
			continue
		}
		score := r.Report.Chapter(course.Chapter(a.Chapter))
		begun := score.State == lesson.OK || score.Begun || score.Chapter == at
		if score.Chapter != chapter {
			chapter = score.Chapter
			title := fmt.Sprintf("%s  %s", chapter, chapter.Title(lang == lesson.Japanese))
			if begun {
				title += "  (" + w.score(score) + ")"
			} else {
				title += "  " + lesson.Open.In(lang)
			}
			fmt.Fprintf(s.out, "\n%s\n", strings.TrimSpace(title))
		}
		if begun {
			showAnswer(s.out, a, lang)
		}
	}
	fmt.Fprintf(s.out, "\n%s\n", w.score(r.Report.Total()))
}

func showAnswer(out io.Writer, a answer, lang lesson.Lang) {
	w := wordsIn[lang]
	const indent = "            "
	question := a.Question
	if a.Detail != "" {
		question += " (" + a.Detail + ")"
	}
	state := lesson.State(a.State).In(lang)
	switch {
	case a.Warning:
		state = w.warning
	case a.State == string(lesson.Failed):
		state = strings.ToUpper(state)
	}
	fmt.Fprintf(out, "  %s  %s\n", runewidth.FillRight(state, 8), printable.Line(question, 500))
	if a.Hint != "" && a.State != string(lesson.Later) {
		fmt.Fprintln(out, indent+printable.Line(a.Hint, 500))
	}
	if a.Look != "" {
		fmt.Fprintln(out, indent+w.look+a.Look)
	}
}
