package hostimages

import (
	"fmt"
	"io"
	"sync"
	"time"

	"k8sbootcamp/internal/docker"
	"k8sbootcamp/internal/printable"
)

// lineEvery is how often a line of progress may be printed.
const lineEvery = 2 * time.Second

// reporter prints how far images are, in plain lines: of one that is under way by its
// name, of several by their number. Its methods may be called at any time.
type reporter struct {
	out io.Writer

	mu     sync.Mutex
	states []*state // under way
	last   time.Time
	text   string // the last line
}

// state is how far an image is.
type state struct {
	name  string
	done  int64
	total int64 // 0: not known yet
	more  bool  // total is not all
}

// say prints a line that stays.
func (r *reporter) say(format string, a ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(r.out, format+"\n", a...)
}

// begin adds an image to those under way, and end takes it off.
func (r *reporter) begin(n named) *state {
	s := &state{name: printable.Middle(n.short(), 80)}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.states = append(r.states, s)
	return s
}

func (r *reporter) end(s *state) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, o := range r.states {
		if o == s {
			r.states = append(r.states[:i], r.states[i+1:]...)
			return
		}
	}
}

// set notes how far an image is, and prints that where it is time to.
func (r *reporter) set(s *state, done, total int64, more bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.done, s.total, s.more = done, total, more
	now := time.Now()
	if r.last.IsZero() {
		r.last = now
	}
	if done < 1e5 || now.Sub(r.last) < lineEvery { // with less it reads 0.0
		return
	}
	if text := r.line(); text != r.text {
		r.last, r.text = now, text
		fmt.Fprintln(r.out, text)
	}
}

// line is how far those are that are under way.
func (r *reporter) line() string {
	var all state
	for _, s := range r.states {
		all.done += s.done
		all.total += s.total
		all.more = all.more || s.more || s.total == 0
	}
	what := printable.Count(len(r.states), "image")
	if len(r.states) == 1 {
		what = "image " + r.states[0].name
	}
	if all.more || all.total < all.done {
		return fmt.Sprintf("%s: %s", what, printable.Megabytes(all.done))
	}
	return fmt.Sprintf("%s: %.1f of %s", what, float64(all.done)/1e6, printable.Megabytes(all.total))
}

// layers adds up what Docker tells of a pull, layer by layer.
type layers map[string]*layer

type layer struct {
	current, total int64
	status         string
}

// Docker's words for a layer. It names the layers one by one, and their sizes as it
// begins with them, so the sum is known only late.
const (
	waiting  = "Waiting"
	fetching = "Pulling fs layer"
	arriving = "Downloading"
	arrived  = "Download complete"
)

// take takes a step, and tells whether it is one: Docker repeats itself.
func (l layers) take(e docker.Event) bool {
	if e.ID == "" {
		return true // a sentence
	}
	now := layer{e.ProgressDetail.Current, e.ProgressDetail.Total, e.Status}
	was := l[e.ID]
	if was == nil {
		was = &layer{}
		l[e.ID] = was
	}
	moved := was.status != now.status || now.current != 0 && was.current != now.current
	was.status = now.status
	switch e.Status {
	case arriving:
		was.current = now.current
		was.total = max(was.total, now.total)
	case fetching, waiting:
	default: // it is here, or was
		was.current = was.total
	}
	return moved
}

// queued tells whether Docker has other downloads before all of what is still to come: it
// fetches three layers at a time, whosesoever they are, and says that once.
func (l layers) queued() bool {
	queued := false
	for _, one := range l {
		switch one.status {
		case fetching, arriving:
			return false
		case waiting:
			queued = true
		}
	}
	return queued
}

// sum is how much of the layers has arrived, and of how much; more where the size of
// some is not known yet.
func (l layers) sum() (done, total int64, more bool) {
	for _, one := range l {
		done += one.current
		total += one.total
		more = more || one.status == fetching || one.status == waiting || one.status == arriving && one.total == 0
	}
	return done, total, more
}
