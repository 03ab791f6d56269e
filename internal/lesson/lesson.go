// Package lesson asks of a running lab what the course's text has the student see
// there, chapter by chapter, and where something is not so, tells what to look at.
//
// Checks is the table: a row a check. How a row is judged is in the file of its
// chapter (cluster.go, app.go, exporter.go, account.go, prometheus.go, targets.go,
// topics.go), from what was seen of the lab (seen.go). Any kubeconfig will do; what it
// may not see is not asked.
package lesson

import (
	"cmp"
	"context"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"k8sbootcamp/internal/course"
)

// Check is a row of the table.
type Check struct {
	ID       string // chapter/name
	Chapter  course.Chapter
	Points   int
	Question Text   // what is so, as a statement
	Look     string // the kubectl command that shows it
	// After are the checks that must be ok before this one can tell anything: what is
	// wrong there would be told here once more.
	After []string

	reads []kind           // what it cannot do without; where that may not be seen, it is not asked
	when  func(*seen) bool // where it is a question at all; nil is everywhere
	judge func(context.Context, *seen) (finding, error)
}

// State is how a check ended.
type State string

// The states.
const (
	OK       State = "ok"
	Failed   State = "failed"
	Open     State = "open"     // nothing is there yet: the exercise was not begun
	Starting State = "starting" // waiting may be all that it takes
	Later    State = "later"    // another check comes first
	Skipped  State = "skipped"  // this kubeconfig may not see it
)

// Answer is what a check found.
type Answer struct {
	*Check
	State State
	Hint  Text // of one that is not ok: what was seen, and what to look at
	Note  Text // of one that is ok: what else was seen, where that is worth saying
}

// finding is a judgement.
type finding struct {
	state State
	text  Text
}

func good() (finding, error) { return finding{state: OK}, nil }

// noted is ok, with something to say.
func noted(en, ja string, args ...any) (finding, error) {
	return finding{OK, say(en, ja, args...)}, nil
}

// wrong is a mistake. It names the object and the field, and what to look at.
func wrong(en, ja string, args ...any) (finding, error) {
	return finding{Failed, say(en, ja, args...)}, nil
}

// missing is what nobody has made yet.
func missing(en, ja string, args ...any) (finding, error) {
	return finding{Open, say(en, ja, args...)}, nil
}

// starting is what waiting may mend.
func starting(en, ja string, args ...any) (finding, error) {
	return finding{Starting, say(en, ja, args...)}, nil
}

// Report is what was found of one lab.
type Report struct {
	Answers  []Answer // in the order of Checks
	Requests int      // to the API server
	Took     time.Duration
}

// Options say what to ask.
type Options struct {
	Chapter course.Chapter // up to this one; empty is all
	// Patience is how long a lab that has no mistake, but starts, is waited for.
	Patience time.Duration
	// Exercises are those that are to be there, such as podMonitoring and topic-env; the
	// others are asked about where there is anything of them.
	Exercises []string
	// Disrupt deletes a pod, and sees whether another comes (chapter 3-4).
	Disrupt bool
}

const pollInterval = time.Second

// Ask asks a lab. Its error is of the context alone: a cluster that does not answer is
// an answer of the first check.
func (l *Lab) Ask(ctx context.Context, o Options) (Report, error) {
	begin, before := time.Now(), l.requests.Load()
	var r Report
	until := func(ctx context.Context, o Options, done func() bool) error {
		return wait.PollUntilContextCancel(ctx, pollInterval, true, func(ctx context.Context) (bool, error) {
			r.Answers = l.once(ctx, o)
			return done(), nil
		})
	}
	settled := func() bool {
		return !r.Any(Starting) || r.Any(Failed) || r.Any(Open) || time.Since(begin) >= o.Patience
	}
	calm := o
	calm.Disrupt = false
	err := until(ctx, calm, settled)
	if o.Disrupt && err == nil {
		// Once: where what comes before it starts again, no pod was deleted yet.
		err = until(ctx, o, func() bool { back := r.Find(checkComesBack).State; return back == OK || back == Failed || settled() })
	}
	if err != nil {
		return Report{}, err
	}
	r.Requests, r.Took = int(l.requests.Load()-before), time.Since(begin)
	return r, nil
}

// once judges every check.
func (l *Lab) once(ctx context.Context, o Options) []Answer {
	upTo := cmp.Or(o.Chapter, course.All)
	s, err := l.look(ctx, o)
	states := map[string]State{}
	var all []Answer
	for i := range Checks {
		c := &Checks[i]
		if !upTo.Reaches(c.Chapter) || c.when != nil && (err != nil || !c.when(s)) {
			continue
		}
		a := Answer{Check: c}
		switch first, blocked := c.first(states); {
		case c.ID == checkCluster:
			a.State = OK
			if err != nil {
				a.State, a.Hint = Failed, unreachable(err)
			}
		case err != nil:
			a.State, a.Hint = Later, comesAfter(checkCluster)
		case s.denied(c.reads):
			a.State, a.Hint = Skipped, say("This kubeconfig may not see it.", "このkubeconfigには、これを見る権限がありません。")
		case blocked:
			a.State, a.Hint = Later, comesAfter(first)
		default:
			f, err := c.judge(ctx, s)
			if err != nil {
				f = finding{Failed, unreachable(err)}
			}
			a.State = f.state
			if f.state == OK {
				a.Note = f.text
			} else {
				a.Hint = f.text
			}
		}
		states[c.ID] = a.State
		all = append(all, a)
	}
	return all
}

// first is the check that must be ok before this one, if one is not.
func (c *Check) first(states map[string]State) (id string, blocked bool) {
	for _, id := range c.After {
		switch states[id] {
		case OK, Skipped, "": // one that is no question here is in nobody's way
		default:
			return id, true
		}
	}
	return "", false
}

func comesAfter(id string) Text {
	q := Find(id).Question
	return Text{EN: "First: " + q.EN + ".", JA: "先に: " + q.JA + "。"}
}

// Find is the check of an ID. It panics where there is none.
func Find(id string) *Check {
	i := slices.IndexFunc(Checks, func(c Check) bool { return c.ID == id })
	return &Checks[i]
}

// Find is the answer to the check of an ID; one of no state where it was not asked.
func (r Report) Find(id string) Answer {
	for _, a := range r.Answers {
		if a.ID == id {
			return a
		}
	}
	return Answer{}
}

// Any tells whether an answer has a state.
func (r Report) Any(s State) bool {
	return slices.ContainsFunc(r.Answers, func(a Answer) bool { return a.State == s })
}

// OK tells whether all that could be asked is ok.
func (r Report) OK() bool { return len(r.Answers) > 0 && r.NotOK() == 0 }

// NotOK is how many checks are not ok.
func (r Report) NotOK() (n int) {
	for _, a := range r.Answers {
		if a.State != OK && a.State != Skipped {
			n++
		}
	}
	return n
}

// Score is how a student stands in one chapter, or in all.
type Score struct {
	Chapter    course.Chapter
	Points, Of int   // those of the checks that are ok, and of all that were asked
	State      State // the worst of its checks': Failed, Starting, Open, Later, OK; Skipped where nothing was asked
	OK, Checks int
	Begun      bool    // something of it is there
	FirstNotOK *Answer // nil where all is well
}

// Chapters are the scores of the chapters that were asked about, in the text's order.
func (r Report) Chapters() []Score {
	var all []Score
	for _, chapter := range course.Chapters {
		if s := r.Chapter(chapter); s.Checks > 0 {
			all = append(all, s)
		}
	}
	return all
}

// Chapter is the score of one chapter; of no checks where it was not asked about.
func (r Report) Chapter(chapter course.Chapter) Score {
	s := r.score(func(a Answer) bool { return a.Chapter == chapter })
	s.Chapter = chapter
	return s
}

// Total is the score of all chapters.
func (r Report) Total() Score { return r.score(func(Answer) bool { return true }) }

// score adds up. A chapter of which something is there, and something is not, is begun:
// it is Open until it is whole.
func (r Report) score(of func(Answer) bool) Score {
	worst := []State{Failed, Starting, Open, Later, OK, Skipped}
	s := Score{State: Skipped}
	for i := range r.Answers {
		a := &r.Answers[i]
		if !of(*a) {
			continue
		}
		s.Checks++
		if a.State != Skipped {
			s.Of += a.Points
		}
		s.Begun = s.Begun || a.State == OK || a.State == Failed || a.State == Starting
		if a.State == OK {
			s.OK++
			s.Points += a.Points
		} else if s.FirstNotOK == nil && a.State != Skipped {
			s.FirstNotOK = a
		}
		if slices.Index(worst, a.State) < slices.Index(worst, s.State) {
			s.State = a.State
		}
	}
	return s
}

// At is the chapter that a student is at: the first that is not whole; "" where all is
// done.
func (r Report) At() course.Chapter {
	for _, s := range r.Chapters() {
		if s.State != OK && s.State != Skipped {
			return s.Chapter
		}
	}
	return ""
}

// Reached tells whether the lab gave any answer.
func (r Report) Reached() bool { return len(r.Answers) > 0 && r.Answers[0].State == OK }
