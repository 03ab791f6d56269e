package board

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"k8sbootcamp/internal/classroom"
	"k8sbootcamp/internal/course"
	"k8sbootcamp/internal/lesson"
	"k8sbootcamp/internal/printable"
)

// longest is how much of a name is shown, in characters.
const longest = 60

// few is the number of students up to which rows are large.
const few = 20

// view is what the template shows. All text in it is printable, and on one line.
type view struct {
	words
	Other words // the other language

	Few                      bool
	Count                    string
	NDone, NRed, NLost       string
	AnyDone, AnyRed, AnyLost bool
	RoundSaid                string
	Head                     []head
	Rows                     []row
}

type head struct{ Number, Title string }

// kind is how a row is shown. Each student is of one.
type kind string

const (
	waiting kind = "waiting" // not asked yet, or no lab yet
	lost    kind = "lost"    // the lab does not answer
	red     kind = "red"     // a check fails
	done    kind = "done"
	working kind = "working"
)

type row struct {
	words
	Part     string // names the row
	Kind     kind
	Name     string
	Cells    []cell
	Points   string
	At       string
	Said     string // of one who is waiting: for what
	NoAnswer since  // of one who is lost
	Stale    bool   // and what is shown is from before
	Check    *check // the first that fails
	Since    since  // it does
}

type cell struct {
	State lesson.State // "" where there is no question
	Word  string
	Since since // of one that failed
}

type check struct{ ID, Chapter, Question, Hint, Look string }

// since is a moment, how long ago that is in words, and those around it.
type since struct {
	At                 string // RFC 3339; "" is no moment
	Before, Ago, After string
}

// look makes the view of a room at a moment.
func look(room Room, upTo course.Chapter, lang lesson.Lang, now time.Time) view {
	seats, round := room.Seats()
	v := view{words: wordsIn[lang], Few: len(seats) <= few, Count: count(wordsIn[lang].Students, len(seats))}
	for _, l := range lesson.Langs {
		if l != lang {
			v.Other = wordsIn[l]
		}
	}
	chapters := columns(seats, upTo)
	for _, c := range chapters {
		v.Head = append(v.Head, head{string(c), c.Title(lang == lesson.Japanese)})
	}
	names, kinds := map[string]int{}, map[kind]int{}
	for _, s := range seats {
		names[s.Name]++
	}
	for i, s := range seats {
		r := v.row(&s, chapters, lang, now)
		r.Part = "row" + strconv.Itoa(i)
		if names[s.Name] > 1 {
			r.Name = printable.Line(s.Name+" ("+s.Stack+")", longest)
		}
		kinds[r.Kind]++
		v.Rows = append(v.Rows, r)
	}
	v.NDone, v.NRed, v.NLost = count(v.Done, kinds[done]), count(v.Red, kinds[red]), count(v.Lost, kinds[lost])
	v.AnyDone, v.AnyRed, v.AnyLost = kinds[done] > 0, kinds[red] > 0, kinds[lost] > 0
	v.RoundSaid = v.NoRound
	if !round.Ended.IsZero() {
		took := strconv.FormatFloat(round.Took.Seconds(), 'f', 1, 64)
		v.RoundSaid = strings.NewReplacer("{n}", took, "{time}", round.Ended.Local().Format(time.TimeOnly)).Replace(v.Round)
	}
	return v
}

// columns are the chapters that labs were asked about. Until one has answered, it is
// those that all labs are asked about: of chapter 5, where something of it is there.
func columns(seats []classroom.Seat, upTo course.Chapter) []course.Chapter {
	if upTo == "" {
		upTo = course.All
	}
	asked := map[course.Chapter]bool{}
	for _, s := range seats {
		if s.Report.Reached() {
			for _, m := range s.Marks {
				asked[m.Chapter] = true
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(course.Chapters), func(c course.Chapter) bool {
		if len(asked) > 0 {
			return !asked[c]
		}
		return !upTo.Reaches(c) || c == course.Chapter5
	})
}

// row is how a student stands.
func (v *view) row(s *classroom.Seat, chapters []course.Chapter, lang lesson.Lang, now time.Time) row {
	r := row{words: v.words, Kind: working, Name: printable.Line(s.Name, longest), At: "–", Points: "–"}
	known := len(s.Report.Answers) > 0
	if first := s.Red(); first != nil {
		r.Kind, r.Since = red, v.since(v.Since, s.RedSince(), now)
		r.Check = &check{first.ID, string(first.Chapter), first.Question.In(lang), first.Hint.In(lang), first.Look}
	}
	if known {
		total := s.Report.Total()
		r.Points, r.At = strconv.Itoa(total.Points)+"/"+strconv.Itoa(total.Of), string(s.At)
		if s.At == "" {
			r.At = v.Finished
			if r.Kind == working {
				r.Kind = done
			}
		}
	}
	switch {
	case !s.Asked:
		r.Kind, r.Said = waiting, v.NotAsked
	case s.NoLab:
		r.Kind, r.Said, r.Stale = waiting, v.NoLab, known
	case s.Problem != "":
		// Why is for the terminal: an error may name files and addresses of this machine.
		r.Kind, r.NoAnswer, r.Stale = lost, v.since(v.words.NoAnswer, s.ProblemSince, now), known
	case !s.Report.Reached():
		r.Kind, r.NoAnswer = lost, v.since(v.words.NoAnswer, s.RedSince(), now)
	}
	for _, c := range chapters {
		one := cell{Word: v.None}
		if i := slices.IndexFunc(s.Marks, func(m classroom.Mark) bool { return m.Chapter == c }); i >= 0 {
			one.State, one.Word = s.Marks[i].State, s.Marks[i].State.In(lang)
			if one.State == lesson.Failed {
				one.Since = v.since(v.Since, s.Marks[i].Since, now)
			}
		}
		r.Cells = append(r.Cells, one)
	}
	return r
}

// since is a moment, with the words that say for how long.
func (v *view) since(words string, at, now time.Time) since {
	if at.IsZero() {
		return since{}
	}
	before, after, _ := strings.Cut(words, "{time}")
	return since{At: at.UTC().Format(time.RFC3339), Before: before, Ago: v.ago(now.Sub(at)), After: after}
}
