package browser

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"k8sbootcamp/internal/classroom"
	"k8sbootcamp/internal/course"
	"k8sbootcamp/internal/lesson"
)

// class is a room whose students are wherever a test sets them.
type class struct {
	mu      sync.Mutex
	seats   []classroom.Seat
	round   classroom.Round
	changed chan struct{}
}

func (c *class) Seats() ([]classroom.Seat, classroom.Round) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.seats), c.round
}

func (c *class) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// set makes a student another, and tells.
func (c *class) set(i int, change func(*classroom.Seat)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.seats[i])
	close(c.changed)
	c.changed = make(chan struct{})
}

// names are short and long, in two scripts.
var names = []string{"Alice", "佐藤 花子", "Bob", "鈴木 一郎", "Charlotte Montgomery-Fitzgerald", "山田 太郎", "Dmitri", "高橋 さくら"}

// students is a class in the middle of a lesson: most are well at some chapter, some
// are red, one is done, one lab is not up, one does not answer, one is not asked yet.
func students(n int) *class {
	c := &class{changed: make(chan struct{}), round: classroom.Round{Took: 2100 * time.Millisecond, Requests: 13 * n, Ended: time.Now()}}
	for i := range n {
		s := classroom.Seat{Name: fmt.Sprintf("%s %d", names[i%len(names)], i+1), Stack: fmt.Sprintf("s%02d", i+1)}
		switch i {
		case 5:
			s.Asked, s.NoLab, s.Problem, s.ProblemSince = true, true, "it is not up yet", time.Now().Add(-11*time.Minute)
		case 11:
			at(&s, 20, lesson.Open, 30*time.Minute)
			s.Problem, s.ProblemSince = "dial tcp 10.1.2.3:6443: i/o timeout", time.Now().Add(-2*time.Minute)
		case 17:
		default:
			state := []lesson.State{lesson.Open, lesson.Starting, lesson.Open, lesson.Failed, lesson.Open}[i%5]
			at(&s, (i*7+3)%len(asked()), state, time.Duration(i*3)*time.Minute)
		}
		c.seats = append(c.seats, s)
	}
	if n > 2 {
		at(&c.seats[2], len(asked()), lesson.OK, 0)
	}
	return c
}

// asked are the checks that a lab of one's own, with a topic, is asked.
func asked() (all []*lesson.Check) {
	for i := range lesson.Checks {
		if c := &lesson.Checks[i]; c.Chapter != course.Chapter5 || c.ID == "5/env" {
			all = append(all, c)
		}
	}
	return all
}

// at puts a student where so many checks are ok, and the next is in a state for a while.
func at(s *classroom.Seat, done int, next lesson.State, ago time.Duration) {
	s.Asked, s.NoLab, s.Problem = true, false, ""
	s.Report = lesson.Report{Requests: 13, Took: time.Second}
	for i, c := range asked() {
		a := lesson.Answer{Check: c, State: lesson.OK}
		switch {
		case i == done:
			a.State = next
			a.Hint = lesson.Text{
				EN: fmt.Sprintf("%s: what was seen there is not so; look at the object's labels and at its events.", c.ID),
				JA: fmt.Sprintf("%s: 期待と違う状態が見つかりました。ラベルとイベントを確認してください。", c.ID),
			}
		case i > done:
			a.State = lesson.Later
		}
		s.Report.Answers = append(s.Report.Answers, a)
	}
	s.Marks, s.At = nil, s.Report.At()
	for _, score := range s.Report.Chapters() {
		s.Marks = append(s.Marks, classroom.Mark{Score: score, Since: time.Now().Add(-ago)})
	}
}
