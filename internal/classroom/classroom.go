// Package classroom keeps watch over the labs of a class: who is at which chapter, for
// how long, and what is not well there.
package classroom

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"k8sbootcamp/internal/course"
	"k8sbootcamp/internal/lesson"
	"k8sbootcamp/internal/printable"
)

// Student is one whose lab is watched.
type Student struct {
	Name  string // what to call them
	Stack string
	// Open finds the way to the lab, and what is to be there. It is called again after a
	// round in which the lab could not be asked: its cluster may be another by then. Its
	// error is ErrNoLab where there is none yet.
	Open func(context.Context) (*lesson.Lab, lesson.Options, error)
}

// ErrNoLab is that a student has no lab yet.
var ErrNoLab = errors.New("it is not up yet")

// Seat is how one student stands.
type Seat struct {
	Name, Stack string
	Asked       bool // once at least
	// Problem is why the lab could not be asked the last time, in words; empty where it
	// was. What was known before stays.
	Problem      string
	ProblemSince time.Time
	NoLab        bool // and the problem is that there is none yet
	Report       lesson.Report
	At           course.Chapter // the first that is not whole; "" where all is done
	AtSince      time.Time
	Marks        []Mark // of the chapters that were asked about
	// LastRed is the check that failed last, nil where none ever did.
	LastRed *lesson.Answer
}

// Mark is how a student stands in a chapter.
type Mark struct {
	lesson.Score
	Since time.Time // it has been in this state
}

// Red is the first check that failed, nil where none did.
func (s *Seat) Red() *lesson.Answer {
	i := slices.IndexFunc(s.Report.Answers, func(a lesson.Answer) bool { return a.State == lesson.Failed })
	if i < 0 {
		return nil
	}
	return &s.Report.Answers[i]
}

// RedSince is since when the chapter of the first failed check is red.
func (s *Seat) RedSince() time.Time {
	if red := s.Red(); red != nil {
		for _, m := range s.Marks {
			if m.Chapter == red.Chapter {
				return m.Since
			}
		}
	}
	return time.Time{}
}

// Room is the class. Its methods may be called at any time.
type Room struct {
	Chapter  course.Chapter // asked up to this one; empty is up to what is to be there
	Parallel int            // labs asked at once

	students []Student
	labs     []open

	mu      sync.Mutex
	seats   []Seat
	round   Round
	changed chan struct{} // closed at the next change
	now     func() time.Time
}

// open is a lab to which the way is known.
type open struct {
	*lesson.Lab
	ask lesson.Options
}

// Round is what asking everybody once took.
type Round struct {
	Took     time.Duration
	Requests int // to all API servers
	Ended    time.Time
}

// New is a room with these students, of whom nothing is known yet.
func New(students []Student, upTo course.Chapter) *Room {
	r := &Room{
		Chapter: upTo, Parallel: 8,
		students: students, labs: make([]open, len(students)),
		changed: make(chan struct{}), now: time.Now,
	}
	for _, s := range students {
		r.seats = append(r.seats, Seat{Name: cmp.Or(s.Name, s.Stack), Stack: s.Stack})
	}
	return r
}

// Seats are all students, in the order of the roster, and what the last round took.
func (r *Room) Seats() ([]Seat, Round) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.seats), r.round
}

// Changed is closed when a seat changes, or a round ends.
func (r *Room) Changed() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

// Watch asks everybody again and again, until the context ends.
func (r *Room) Watch(ctx context.Context, every time.Duration) {
	for {
		begin := time.Now()
		r.Ask(ctx)
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(0, every-time.Since(begin))):
		}
	}
}

// longest is how much of a problem is told, in characters.
const longest = 300

// limit is how long one lab may take to answer everything.
const limit = 30 * time.Second

// Ask asks everybody once. One lab that does not answer keeps nobody else waiting but
// for a place among those that are asked at once.
func (r *Room) Ask(ctx context.Context) Round {
	begin, requests := time.Now(), make([]int, len(r.students))
	var group errgroup.Group
	group.SetLimit(max(1, r.Parallel))
	for i := range r.students {
		group.Go(func() error {
			if ctx.Err() == nil {
				requests[i] = r.askOne(ctx, i)
			}
			return nil
		})
	}
	_ = group.Wait() // each seat has its own problem
	round := Round{Took: time.Since(begin), Ended: r.now()}
	for _, n := range requests {
		round.Requests += n
	}
	r.mu.Lock()
	r.round = round
	r.tell()
	r.mu.Unlock()
	return round
}

func (r *Room) tell() {
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *Room) askOne(ctx context.Context, i int) (requests int) {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var report lesson.Report
	var err error
	lab := &r.labs[i]
	if lab.Lab == nil {
		lab.Lab, lab.ask, err = r.students[i].Open(limited)
		lab.ask.Chapter = cmp.Or(r.Chapter, lab.ask.Chapter)
	}
	if err == nil {
		report, err = lab.Ask(limited, lab.ask)
	}
	if ctx.Err() != nil {
		return 0
	}
	if err != nil || !report.Reached() {
		lab.Lab = nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seats[i].update(report, err, r.now())
	r.tell()
	return report.Requests
}

// update notes what was found, and since when what is as it was before is so.
func (s *Seat) update(report lesson.Report, err error, now time.Time) {
	before := *s
	s.Asked, s.NoLab = true, errors.Is(err, ErrNoLab)
	if err != nil {
		s.Problem = printable.Line(err.Error(), longest)
		if before.Problem == "" {
			s.ProblemSince = now
		}
		return
	}
	s.Problem, s.ProblemSince = "", time.Time{}
	s.Report, s.Marks = report, nil
	for _, score := range report.Chapters() {
		mark := Mark{score, now}
		for _, m := range before.Marks {
			if m.Chapter == score.Chapter && m.State == score.State {
				mark.Since = m.Since
			}
		}
		s.Marks = append(s.Marks, mark)
	}
	if red := s.Red(); red != nil {
		s.LastRed = red
	}
	s.At = report.At()
	if s.At != before.At || before.AtSince.IsZero() {
		s.AtSince = now
	}
}
