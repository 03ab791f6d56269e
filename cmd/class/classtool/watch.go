package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"k8sbootcamp/cmd/class/internal/config"
	"k8sbootcamp/cmd/class/internal/stack"
	"k8sbootcamp/internal/classroom"
	"k8sbootcamp/internal/course"
	"k8sbootcamp/internal/lesson"
)

// errStopped is the end of a verb that works until it is interrupted.
var errStopped = errors.New("")

// watchStacks keeps a table of the labs of stacks.
func (t *tool) watchStacks(cmd *cobra.Command, o checkFlags) error {
	s, err := t.session(cmd, verb{})
	if err != nil {
		return err
	}
	room := classroom.New(s.students(), course.Chapter(o.chapter))
	return t.watch(cmd.Context(), room, o.every)
}

// watchFile keeps watch over the lab that a kubeconfig's file leads to.
func (t *tool) watchFile(ctx context.Context, o checkFlags) error {
	if _, err := fileLab(o.kubeconfig); err != nil {
		return err
	}
	student := classroom.Student{Stack: o.kubeconfig, Open: func(context.Context) (*lesson.Lab, lesson.Options, error) {
		l, err := fileLab(o.kubeconfig)
		return l, lesson.Options{}, err
	}}
	return t.watch(ctx, classroom.New([]classroom.Student{student}, course.Chapter(o.chapter)), o.every)
}

// students are those of the session's stacks. A lab that is not up is looked for again
// in each round.
func (s *session) students() (all []classroom.Student) {
	for _, c := range s.stacks {
		all = append(all, classroom.Student{Name: c.Student, Stack: c.Name, Open: s.opener(c)})
	}
	return all
}

func (s *session) opener(c *config.Stack) func(context.Context) (*lesson.Lab, lesson.Options, error) {
	return func(ctx context.Context) (*lesson.Lab, lesson.Options, error) {
		st, err := stack.Open(ctx, s.tools, c)
		if err != nil {
			return nil, lesson.Options{}, err
		}
		l, ask, err := labOf(ctx, st)
		if errors.Is(err, errNotUp) {
			err = classroom.ErrNoLab
		}
		return l, ask, err
	}
}

// watch shows a room until it is interrupted: on a terminal a screen that is written
// anew, elsewhere a line whenever something becomes another.
func (t *tool) watch(ctx context.Context, room *classroom.Room, every time.Duration) error {
	lang, err := t.language()
	if err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		room.Watch(ctx, every)
	}()
	show := (&plainWatch{out: t.out, lang: lang, said: map[string]string{}}).show
	if terminal(t.out) && escapes(t.out.(*os.File)) {
		show = func(seats []classroom.Seat, round classroom.Round) { showScreen(t.out.(*os.File), seats, round, lang) }
	}
	tick := time.NewTicker(time.Second) // the table says for how long
	defer tick.Stop()
	for {
		changed := room.Changed()
		show(room.Seats())
		select {
		case <-ended:
			return errStopped
		case <-changed:
		case <-tick.C:
		}
	}
}

// plainWatch prints what is new.
type plainWatch struct {
	out  io.Writer
	lang lesson.Lang
	said map[string]string // by stack
}

func (p *plainWatch) show(seats []classroom.Seat, _ classroom.Round) {
	w := wordsIn[p.lang]
	for _, s := range seats {
		if !s.Asked {
			continue
		}
		line := s.Problem
		if line == "" {
			total := s.Report.Total()
			line = fmt.Sprintf("%s, %s", position(&s.Report, w), w.score(total))
			if first := total.FirstNotOK; first != nil {
				line += fmt.Sprintf("; %s: %s %s%s", first.ID, first.Hint.In(p.lang), w.look, first.Look)
			}
		}
		if p.said[s.Stack] != line {
			p.said[s.Stack] = line
			fmt.Fprintf(p.out, "%s [%s] %s\n", time.Now().Format(time.TimeOnly), s.Name, line)
		}
	}
}

// showScreen writes the table over the one before. What is too long for the terminal is
// cut, and counted.
func showScreen(out *os.File, seats []classroom.Seat, round classroom.Round, lang lesson.Lang) {
	width, height, err := term.GetSize(int(out.Fd()))
	if err != nil {
		width, height = 80, 24
	}
	var b bytes.Buffer
	if len(seats) == 1 {
		showSeat(&b, &seats[0], lang)
	} else {
		showSeats(&b, seats, round, lang)
	}
	lines := strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
	if more := len(lines) - (height - 1); more > 0 {
		lines = append(lines[:height-2], fmt.Sprintf("... %d more", more+1))
	}
	// Home, each line cleared behind its end, and then all below: no flicker.
	var screen strings.Builder
	screen.WriteString("\x1b[H")
	for _, line := range lines {
		screen.WriteString(runewidth.Truncate(line, width-1, "…") + "\x1b[K\n")
	}
	screen.WriteString("\x1b[J")
	io.WriteString(out, screen.String()) //nolint:errcheck // a terminal that is gone
}

// showSeats is the table of a class.
func showSeats(out io.Writer, seats []classroom.Seat, round classroom.Round, lang lesson.Lang) {
	w := wordsIn[lang]
	table := [][]string{{w.student, w.at, w.since, w.points, w.red}}
	for _, s := range seats {
		switch {
		case !s.Asked:
			table = append(table, []string{s.Name, "-", "-", "-", w.notAsked})
			continue
		case s.Problem != "":
			table = append(table, []string{s.Name, "?", ago(s.ProblemSince), "-", s.Problem})
			continue
		}
		red := "-"
		if a := s.Red(); a != nil {
			red = fmt.Sprintf("%s: %s", a.ID, a.Hint.In(lang))
		} else if s.LastRed != nil {
			red = fmt.Sprintf("%s (%s)", s.LastRed.ID, w.mended)
		}
		table = append(table, []string{s.Name, position(&s.Report, w), ago(s.AtSince), points(s.Report.Total()), red})
	}
	printTable(out, table)
	if !round.Ended.IsZero() {
		fmt.Fprintf(out, "\n%s  %s\n", round.Ended.Format(time.TimeOnly), round.Took.Round(10*time.Millisecond))
	}
}

// showSeat is a student's own view: the chapters, and of the one that they are at, what
// to look at.
func showSeat(out io.Writer, s *classroom.Seat, lang lesson.Lang) {
	w := wordsIn[lang]
	switch {
	case !s.Asked:
		fmt.Fprintln(out, w.notAsked)
		return
	case s.Problem != "":
		fmt.Fprintln(out, s.Problem)
		return
	}
	var table [][]string
	for _, m := range s.Marks {
		table = append(table, []string{string(m.Chapter), m.Chapter.Title(lang == lesson.Japanese), points(m.Score), m.State.In(lang), ago(m.Since)})
	}
	printTable(out, table)
	if first := s.Report.Total().FirstNotOK; first != nil {
		fmt.Fprintf(out, "\n%s  %s\n%s\n", first.State.In(lang), first.Question.In(lang), first.Hint.In(lang))
		if first.Look != "" {
			fmt.Fprintf(out, "%s%s\n", w.look, first.Look)
		}
	}
}

func ago(since time.Time) string {
	if since.IsZero() {
		return "-"
	}
	return time.Since(since).Round(time.Second).String()
}
