// Package progress shows how the stacks come along: on a terminal a live line
// each, elsewhere a plain line whenever something new begins.
package progress

import (
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/mattn/go-runewidth"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"k8sbootcamp/internal/printable"
)

// longest is how much of one message is shown, in characters.
const longest = 400

// Board is where all stacks' lines are.
type Board struct {
	out  io.Writer
	live *mpb.Progress // nil where lines are plain
	sum  *mpb.Bar      // the totals, below the stacks; nil for one stack
	mu   sync.Mutex

	began                        time.Time
	total, running, done, failed int
	width                        int // of the longest name
}

// New returns a board for the stacks of these names. live is for terminals.
func New(out io.Writer, live bool, names []string) *Board {
	b := &Board{out: out, began: time.Now(), total: len(names)}
	for _, n := range names {
		b.width = max(b.width, runewidth.StringWidth(n))
	}
	if live {
		b.live = mpb.New(mpb.WithOutput(out), mpb.WithAutoRefresh())
		if len(names) > 1 {
			b.sum = b.bar(math.MaxInt, b.totals)
		}
	}
	return b
}

// bar adds a line of text that is written again at every refresh.
func (b *Board) bar(priority int, text func() string) *mpb.Bar {
	return b.live.New(1, mpb.NopStyle(), mpb.BarPriority(priority), mpb.BarFillerTrim(), mpb.PrependDecorators(
		decor.Any(func(s decor.Statistics) string {
			return runewidth.Truncate(text(), max(1, s.AvailableWidth-1), "…")
		})))
}

func (b *Board) totals() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := fmt.Sprintf("%d of %d done", b.done, b.total)
	if b.failed > 0 {
		s += fmt.Sprintf(", %d failed", b.failed)
	}
	if waiting := b.total - b.done - b.failed - b.running; waiting > 0 {
		s += fmt.Sprintf(", %d waiting for their turn", waiting)
	}
	return s + "  " + elapsed(b.began)
}

// Close takes the live lines away, once all stacks' have ended.
func (b *Board) Close() {
	if b.sum != nil {
		b.sum.Abort(true)
	}
	if b.live != nil {
		b.live.Wait()
	}
}

func (b *Board) print(line string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	line += "\n"
	if b.live != nil {
		if _, err := b.live.Write([]byte(line)); err == nil {
			return
		}
	}
	io.WriteString(b.out, line) //nolint:errcheck // a terminal that is gone
}

// Start begins the line of a stack.
func (b *Board) Start(name string) *Line {
	l := &Line{board: b, name: name, began: time.Now(), said: map[string]int{}}
	b.mu.Lock()
	b.running++
	place := b.done + b.failed + b.running
	b.mu.Unlock()
	if b.live != nil {
		l.bar = b.bar(place, l.text)
	}
	return l
}

// Line is the line of one stack. Its methods may be called at any time; what they
// are given is made printable here.
type Line struct {
	board *Board
	name  string
	began time.Time
	bar   *mpb.Bar

	mu     sync.Mutex
	phase  string
	detail string
	said   map[string]int // warnings, by what they say, and how often
	events tracker
}

// Phase says what the stack does now, in a few words.
func (l *Line) Phase(phase string) {
	l.mu.Lock()
	fresh := phase != l.phase
	l.phase = phase
	if fresh {
		l.detail = ""
	}
	l.mu.Unlock()
	if fresh && l.bar == nil {
		l.board.print(l.prefix() + phase)
	}
}

// Detail says what it waits for. Plain lines leave it out.
func (l *Line) Detail(detail string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.detail = printable.Line(detail, longest)
}

// Say prints lines about the stack that stay.
func (l *Line) Say(text string) {
	for line := range strings.Lines(strings.TrimSpace(text)) {
		l.board.print(l.prefix() + printable.Line(line, longest))
	}
}

// End ends the line with a word that stays.
func (l *Line) End(ok bool, word string) {
	for text, n := range l.said {
		if n > 1 {
			l.Say(fmt.Sprintf("warning, %d times: %s", n, text))
		}
	}
	l.board.mu.Lock()
	l.board.running--
	if ok {
		l.board.done++
	} else {
		l.board.failed++
	}
	l.board.mu.Unlock()
	// In this order: what is written appears with the refresh that drops the bar.
	l.board.print(l.prefix() + printable.Line(word, longest) + " (" + elapsed(l.began) + ")")
	if l.bar != nil {
		l.bar.Abort(true)
	}
}

func (l *Line) prefix() string { return "[" + l.name + "] " }

func (l *Line) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := fmt.Sprintf("%s  %6s  %s", runewidth.FillRight(l.name, l.board.width), elapsed(l.began), l.phase)
	if l.detail != "" {
		s += ": " + l.detail
	}
	return s
}

func elapsed(since time.Time) string { return time.Since(since).Round(time.Second).String() }
