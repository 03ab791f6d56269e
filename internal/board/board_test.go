package board

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/internal/classroom"
	"k8sbootcamp/internal/course"
	"k8sbootcamp/internal/lesson"
)

var noon = time.Date(2026, 4, 1, 12, 0, 0, 0, time.UTC)

// room has the seats that a test sets.
type room struct {
	mu      sync.Mutex
	seats   []classroom.Seat
	round   classroom.Round
	changed chan struct{}
}

func newRoom(seats ...classroom.Seat) *room {
	return &room{seats: seats, changed: make(chan struct{})}
}

func (r *room) Seats() ([]classroom.Seat, classroom.Round) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.seats), r.round
}

func (r *room) Changed() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

func (r *room) set(i int, s classroom.Seat) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seats[i] = s
	close(r.changed)
	r.changed = make(chan struct{})
}

// seat is a student with these answers, in the states that they have had for a while.
func seat(name string, ago time.Duration, states map[string]lesson.State) classroom.Seat {
	s := classroom.Seat{Name: name, Stack: name, Asked: true}
	for i := range lesson.Checks {
		c := &lesson.Checks[i]
		if state, asked := states[c.ID]; asked {
			s.Report.Answers = append(s.Report.Answers, lesson.Answer{Check: c, State: state, Hint: lesson.Text{EN: "hint of " + c.ID, JA: "ヒント"}})
		}
	}
	for _, score := range s.Report.Chapters() {
		s.Marks = append(s.Marks, classroom.Mark{Score: score, Since: noon.Add(-ago)})
	}
	s.At = s.Report.At()
	return s
}

const (
	theCluster    = "0-3/cluster"
	theDeployment = "3-2/deployment"
	theService    = "3-3/service"
)

func at(states ...lesson.State) map[string]lesson.State {
	all := map[string]lesson.State{}
	for i, s := range states {
		all[[]string{theCluster, theDeployment, theService}[i]] = s
	}
	return all
}

// everybody is one student of each kind.
func everybody() *room {
	noLab := classroom.Seat{Name: "eve", Stack: "eve", Asked: true, NoLab: true, Problem: "it is not up", ProblemSince: noon.Add(-time.Minute)}
	gone := seat("frank", time.Hour, at(lesson.OK, lesson.OK, lesson.OK))
	gone.Problem, gone.ProblemSince = "dial tcp 10.1.2.3:6443: token abc", noon.Add(-2*time.Minute)
	r := newRoom(
		seat("alice", 3*time.Minute, at(lesson.OK, lesson.Failed, lesson.Later)),
		seat("bob", time.Hour, at(lesson.OK, lesson.OK, lesson.OK)),
		seat("carol", 0, at(lesson.OK, lesson.Starting, lesson.Skipped)),
		classroom.Seat{Name: "dave", Stack: "dave"},
		noLab,
		gone,
		seat("grace", 4*time.Minute, at(lesson.Failed, lesson.Later, lesson.Later)),
		seat("heidi", 0, at(lesson.OK, lesson.Open, lesson.Open)),
	)
	r.round = classroom.Round{Took: 2140 * time.Millisecond, Ended: noon}
	return r
}

func newBoard(r Room) *Board {
	b := New(r, "", lesson.English)
	b.now = func() time.Time { return noon }
	b.apart, b.heartbeat = time.Millisecond, time.Hour
	return b
}

// ask asks as a browser on this machine does, at the port 8090.
func ask(b *Board, method, path string, change ...func(*http.Request)) *http.Response {
	r := httptest.NewRequest(method, "http://127.0.0.1:8090"+path, nil)
	r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8090}))
	for _, c := range change {
		c(r)
	}
	w := httptest.NewRecorder()
	b.ServeHTTP(w, r)
	return w.Result()
}

func page(t *testing.T, b *Board, path string) string {
	t.Helper()
	answer := ask(b, http.MethodGet, path)
	require.Equal(t, http.StatusOK, answer.StatusCode)
	text, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return string(text)
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	b := newBoard(everybody())
	for _, c := range []struct {
		method, path, kind string
		status             int
	}{
		{"GET", "/", "text/html; charset=utf-8", 200},
		{"HEAD", "/", "text/html; charset=utf-8", 200},
		{"GET", "/?lang=ja", "text/html; charset=utf-8", 200},
		{"GET", "/?lang=fr", "", 400},
		{"GET", "/events?lang=fr", "", 400},
		{"GET", "/style.css", "text/css; charset=utf-8", 200},
		{"GET", "/board.js", "text/javascript; charset=utf-8", 200},
		{"GET", "/page.html", "", 404},
		{"GET", "/x", "", 404},
		{"POST", "/", "", 405},
		{"DELETE", "/events", "", 405},
		{"PUT", "/style.css", "", 405},
	} {
		answer := ask(b, c.method, c.path)
		assert.Equal(t, c.status, answer.StatusCode, c)
		if c.kind != "" {
			assert.Equal(t, c.kind, answer.Header.Get("Content-Type"), c)
		}
		for name, want := range map[string]string{
			"Content-Security-Policy":      "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
			"X-Content-Type-Options":       "nosniff",
			"Referrer-Policy":              "no-referrer",
			"Cross-Origin-Opener-Policy":   "same-origin",
			"Cross-Origin-Resource-Policy": "same-origin",
		} {
			assert.Equal(t, want, answer.Header.Get(name), "%v: %s", c, name)
		}
	}
}

func TestCaching(t *testing.T) {
	t.Parallel()
	b := newBoard(everybody())
	assert.Equal(t, "no-store", ask(b, "GET", "/").Header.Get("Cache-Control"))
	tags := map[string]bool{}
	for _, path := range []string{"/style.css", "/board.js"} {
		first := ask(b, "GET", path)
		tag := first.Header.Get("ETag")
		require.NotEmpty(t, tag)
		tags[tag] = true
		assert.Equal(t, "no-cache", first.Header.Get("Cache-Control"))
		again := ask(b, "GET", path, func(r *http.Request) { r.Header.Set("If-None-Match", tag) })
		assert.Equal(t, http.StatusNotModified, again.StatusCode)
	}
	assert.Len(t, tags, 2)
}

// TestHost: a name of another site that leads here is refused (DNS rebinding).
func TestHost(t *testing.T) {
	t.Parallel()
	b := newBoard(everybody())
	for host, status := range map[string]int{
		"127.0.0.1:8090":          200,
		"localhost:8090":          200,
		"[::1]:8090":              200,
		"127.0.0.1":               421,
		"127.0.0.1:80":            421,
		"localhost:8091":          421,
		"evil.example:8090":       421,
		"localhost.evil.com:8090": 421,
		"127.0.0.1.nip.io:8090":   421,
		"10.0.0.1:8090":           421,
		"":                        421,
	} {
		for _, path := range []string{"/", "/style.css", "/x"} {
			want := status
			if status == 200 && path == "/x" {
				want = 404
			}
			answer := ask(b, "GET", path, func(r *http.Request) { r.Host = host })
			assert.Equal(t, want, answer.StatusCode, host+path)
		}
	}
	port80 := func(r *http.Request) {
		*r = *r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv6loopback, Port: 80}))
		r.Host = "[::1]"
	}
	assert.Equal(t, 200, ask(b, "GET", "/", port80).StatusCode)
	unknown := func(r *http.Request) { *r = *r.WithContext(context.Background()) }
	assert.Equal(t, 421, ask(b, "GET", "/", unknown).StatusCode)
}

// TestRows: each student is of one kind, and all are counted.
func TestRows(t *testing.T) {
	t.Parallel()
	v := look(everybody(), "", lesson.English, noon)
	kinds := map[string]kind{}
	var order []string
	for _, r := range v.Rows {
		kinds[r.Name] = r.Kind
		order = append(order, r.Name)
	}
	assert.Equal(t, map[string]kind{
		"alice": red, "bob": done, "carol": working, "dave": waiting, "eve": waiting, "frank": lost, "grace": lost, "heidi": working,
	}, kinds)
	assert.Equal(t, []string{"alice", "bob", "carol", "dave", "eve", "frank", "grace", "heidi"}, order, "as the roster has them")
	assert.Equal(t, []string{"students: 8", "1 done", "1 red", "2 without answer"}, []string{v.Count, v.NDone, v.NRed, v.NLost})
	assert.Equal(t, "all asked in 2.1 s, at "+noon.Local().Format(time.TimeOnly), v.RoundSaid)

	alice := v.Rows[0]
	assert.Equal(t, []cell{
		{State: lesson.OK, Word: "ok"},
		{State: lesson.Failed, Word: "failed", Since: since{At: "2026-04-01T11:57:00Z", Before: "for ", Ago: "3 min"}},
		{State: lesson.Later, Word: "later"},
	}, alice.Cells)
	assert.Equal(t, "1/7", alice.Points)
	assert.Equal(t, "3-2", alice.At)
	assert.Equal(t, &check{ID: theDeployment, Chapter: "3-2", Question: "there is a Deployment bootcamp", Hint: "hint of 3-2/deployment", Look: "kubectl get deployments"}, alice.Check)
	assert.Equal(t, "3 min", alice.Since.Ago)
	assert.Equal(t, "done", v.Rows[1].At)
	assert.Equal(t, lesson.Starting, v.Rows[2].Cells[1].State)
	assert.Equal(t, lesson.Skipped, v.Rows[2].Cells[2].State)
	assert.Equal(t, "not asked yet", v.Rows[3].Said)
	assert.Equal(t, cell{Word: "not asked"}, v.Rows[3].Cells[0])
	assert.Equal(t, "the lab is not up yet", v.Rows[4].Said)
	assert.Equal(t, "2 min", v.Rows[5].NoAnswer.Ago)
	assert.True(t, v.Rows[5].Stale, "what was known stays")
	assert.Equal(t, "done", v.Rows[5].At)
	assert.Equal(t, "4 min", v.Rows[6].NoAnswer.Ago)
	assert.False(t, v.Rows[6].Stale)
}

// TestColumns: a chapter that nobody is asked about has none.
func TestColumns(t *testing.T) {
	t.Parallel()
	unreached := seat("a", 0, map[string]lesson.State{theCluster: lesson.Failed, "5/env": lesson.Later})
	for _, c := range []struct {
		seats []classroom.Seat
		upTo  course.Chapter
		want  []course.Chapter
	}{
		{nil, "", course.Chapters[:8]},
		{nil, course.Chapter32, course.Chapters[:2]},
		{[]classroom.Seat{unreached}, course.Chapter32, course.Chapters[:2]},
		{[]classroom.Seat{unreached, seat("b", 0, at(lesson.OK, lesson.OK))}, "", course.Chapters[:2]},
		{[]classroom.Seat{seat("a", 0, map[string]lesson.State{theCluster: lesson.OK, "5/env": lesson.OK})}, "", []course.Chapter{course.Chapter03, course.Chapter5}},
	} {
		assert.Equal(t, c.want, columns(c.seats, c.upTo))
	}
}

func TestSameName(t *testing.T) {
	t.Parallel()
	v := look(newRoom(classroom.Seat{Name: "Kim", Stack: "k1"}, classroom.Seat{Name: "Kim", Stack: "k2"}, classroom.Seat{Name: "Lee", Stack: "l"}), "", lesson.English, noon)
	assert.Equal(t, []string{"Kim (k1)", "Kim (k2)", "Lee"}, []string{v.Rows[0].Name, v.Rows[1].Name, v.Rows[2].Name})
}

// TestForeignText: what a roster or a cluster says is text, on one line.
func TestForeignText(t *testing.T) {
	t.Parallel()
	const bad = "<script>alert(1)</script>\" onload=x '\x1b]52;c;x\x07\r\nevent: x\n\n"
	s := seat(bad, 0, at(lesson.OK, lesson.Failed))
	s.Report.Answers[1].Hint = lesson.Text{EN: bad, JA: bad}
	b := newBoard(newRoom(s))
	for _, lang := range []string{"en", "ja"} {
		html := page(t, b, "/?lang="+lang)
		assert.Equal(t, 1, strings.Count(html, "<script"), "the board's own")
		assert.Equal(t, 2, strings.Count(html, "&lt;script&gt;alert(1)&lt;/script&gt;&#34; onload=x &#39;\\x1b]52;c;x"), html)
		assert.NotContains(t, html, "\x1b")
		assert.NotContains(t, html, "\r")
	}
	for _, text := range []string{"a\nb", "a\r\nb", "a\rb"} {
		assert.Equal(t, "data: a\ndata: b\n\n", event([]byte(text)))
	}
}

// TestNothingToDo: no action, no secret, and no way out of the page.
func TestNothingToDo(t *testing.T) {
	t.Parallel()
	b := newBoard(everybody())
	html := page(t, b, "/")
	for _, element := range []string{"<form", "<button", "<input", "<iframe", "<img", "<object", " style=", " onclick", "javascript:"} {
		assert.NotContains(t, html, element)
	}
	links := regexp.MustCompile(`(?:href|src)="([^"]*)"`).FindAllStringSubmatch(html, -1)
	var to []string
	for _, l := range links {
		to = append(to, l[1])
	}
	assert.Equal(t, []string{"/style.css", "/board.js", "/?lang=ja"}, to)
	for _, secret := range []string{"10.1.2.3", "abc", "dial"} {
		assert.NotContains(t, html, secret, "why a lab does not answer is for the terminal")
	}
}

// TestCompleteWithoutScript: all is there as served, and is loaded anew by itself.
func TestCompleteWithoutScript(t *testing.T) {
	t.Parallel()
	html := page(t, newBoard(everybody()), "/")
	assert.Contains(t, html, `<noscript><meta http-equiv="refresh" content="10"></noscript>`)
	assert.Equal(t, 8, strings.Count(html, `<th scope="row"`))
	assert.Equal(t, 7, strings.Count(html, `<th scope="col"`))
	assert.Contains(t, html, "<caption")
	assert.Contains(t, html, `<time datetime="2026-04-01T11:57:00Z">3 min</time>`)
	assert.Contains(t, html, "<summary>there is a Deployment bootcamp")
	assert.Contains(t, html, "hint of 3-2/deployment")
}

// TestLanguages: a page is in one language, and names the other.
func TestLanguages(t *testing.T) {
	t.Parallel()
	b := newBoard(everybody())
	assert.Contains(t, page(t, b, "/"), `<html lang="en">`)
	b.lang = lesson.Japanese
	assert.Contains(t, page(t, b, "/"), `<html lang="ja">`)

	tag := regexp.MustCompile(`<[^>]*>`)
	names := regexp.MustCompile(`\b(Deployment|Service|node-exporter|Prometheus|RBAC|Pod|bootcamp|kubectl|get|deployments|cluster-info|hint of|alice|bob|carol|dave|eve|frank|grace|heidi|JavaScript)\b`)
	for lang, other := range map[lesson.Lang]lesson.Lang{lesson.English: lesson.Japanese, lesson.Japanese: lesson.English} {
		html := page(t, b, "/?lang="+string(lang))
		assert.Contains(t, html, fmt.Sprintf(`<html lang="%s">`, lang))
		assert.Contains(t, html, fmt.Sprintf(`<a href="/?lang=%[1]s" lang="%[1]s" hreflang="%[1]s">%[2]s</a>`, other, wordsIn[other].Name))
		body := html[strings.Index(html, "<body"):]
		attributes := regexp.MustCompile(`data-(moments|minutes|hours|lost)="([^"]*)"`).FindAllString(body, -1)
		require.Len(t, attributes, 4)
		text := strings.ReplaceAll(tag.ReplaceAllString(body, " ")+strings.Join(attributes, " "), wordsIn[other].Name, "")
		if lang == lesson.English {
			assert.Empty(t, regexp.MustCompile(`\p{Han}|\p{Hiragana}|\p{Katakana}`).FindAllString(text, -1))
		} else {
			text = regexp.MustCompile(`data-\w+=|\{\w+\}`).ReplaceAllString(names.ReplaceAllString(text, ""), "")
			assert.Empty(t, regexp.MustCompile(`[A-Za-z]{2,}`).FindAllString(text, -1))
		}
	}
}

// TestWords: every word is there in both languages, with the same places to fill in.
func TestWords(t *testing.T) {
	t.Parallel()
	places := regexp.MustCompile(`\{\w+\}`)
	en, ja := reflect.ValueOf(wordsIn[lesson.English]), reflect.ValueOf(wordsIn[lesson.Japanese])
	for i := range en.NumField() {
		name := en.Type().Field(i).Name
		assert.NotEmpty(t, en.Field(i).String(), name)
		assert.NotEqual(t, en.Field(i).String(), ja.Field(i).String(), name)
		a, b := places.FindAllString(en.Field(i).String(), -1), places.FindAllString(ja.Field(i).String(), -1)
		assert.ElementsMatch(t, a, b, name)
	}
}

func TestAgo(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration][2]string{
		-time.Second:      {"<1 min", "1分未満"},
		59 * time.Second:  {"<1 min", "1分未満"},
		time.Minute:       {"1 min", "1分"},
		59 * time.Minute:  {"59 min", "59分"},
		time.Hour:         {"1 h", "1時間"},
		150 * time.Minute: {"2 h", "2時間"},
	} {
		assert.Equal(t, want, [2]string{wordsIn[lesson.English].ago(d), wordsIn[lesson.Japanese].ago(d)}, d)
	}
}

// stream is a browser that listens to events.
type stream struct {
	t      *testing.T
	lines  *bufio.Scanner
	header http.Header
	leave  func()
	ended  chan struct{} // the handler's
}

func listen(t *testing.T, b *Board) *stream {
	t.Helper()
	s := &stream{t: t, ended: make(chan struct{})}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(s.ended)
		b.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	s.leave = cancel
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/events?lang=en", nil)
	require.NoError(t, err)
	answer, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	t.Cleanup(func() { answer.Body.Close() })
	require.Equal(t, 200, answer.StatusCode)
	s.header, s.lines = answer.Header, bufio.NewScanner(answer.Body)
	return s
}

// next is what comes next, up to an empty line.
func (s *stream) next() string {
	s.t.Helper()
	var lines []string
	for s.lines.Scan() {
		if s.lines.Text() == "" {
			return strings.Join(lines, "\n")
		}
		lines = append(lines, s.lines.Text())
	}
	s.t.Fatalf("the events end: %v", s.lines.Err())
	return ""
}

func TestEvents(t *testing.T) {
	t.Parallel()
	r := everybody()
	s := listen(t, newBoard(r))
	assert.Equal(t, "text/event-stream", s.header.Get("Content-Type"))
	assert.Equal(t, "no-store", s.header.Get("Cache-Control"))
	assert.Equal(t, "retry: 2000", s.next())
	first := s.next()
	assert.Contains(t, first, "data: <tr data-part=\"row0\" class=\"red\"><th scope=\"row\">alice</th>")
	assert.NotContains(t, first, "<html")
	r.set(0, seat("alice", 0, at(lesson.OK, lesson.OK, lesson.OK)))
	assert.Contains(t, s.next(), "data: <tr data-part=\"row0\" class=\"done\"><th scope=\"row\">alice</th>")
}

// TestFragmentIsThePages: what events bring is what the page was served with.
func TestFragmentIsThePages(t *testing.T) {
	t.Parallel()
	b := newBoard(everybody())
	fragment, err := b.render("class", lesson.English)
	require.NoError(t, err)
	assert.Contains(t, page(t, b, "/"), string(fragment))
}

// TestEventsAreApart: many changes are one event, and no change is lost.
func TestEventsAreApart(t *testing.T) {
	t.Parallel()
	r := everybody()
	b := newBoard(r)
	b.apart = 300 * time.Millisecond
	begin := time.Now()
	s := listen(t, b)
	s.next()
	s.next()
	for i := range 50 {
		r.set(0, seat(fmt.Sprintf("alice%d", i), 0, at(lesson.OK)))
	}
	assert.Contains(t, s.next(), ">alice49<")
	assert.GreaterOrEqual(t, time.Since(begin), b.apart)
}

// TestHeartbeat: where nothing changes, and where what changed is not on the page.
func TestHeartbeat(t *testing.T) {
	t.Parallel()
	r := everybody()
	b := newBoard(r)
	b.heartbeat = 10 * time.Millisecond
	s := listen(t, b)
	s.next()
	s.next()
	r.set(0, r.seats[0])
	for range 20 { // long after the change
		require.Equal(t, ": nothing new", s.next())
	}
}

func TestBrowserLeaves(t *testing.T) {
	t.Parallel()
	s := listen(t, newBoard(everybody()))
	s.next()
	s.next()
	s.leave()
	waitFor(t, s.ended)
}

// TestBrowserThatReadsNothing: it is left alone after a while.
func TestBrowserThatReadsNothing(t *testing.T) {
	t.Parallel()
	r := everybody()
	b := newBoard(r)
	b.patience, b.apart = 50*time.Millisecond, time.Microsecond
	s := listen(t, b)
	for i := 0; ; i++ { // until all that lies between is full
		r.set(0, seat(fmt.Sprintf("alice%d", i), 0, at(lesson.OK)))
		select {
		case <-s.ended:
			return
		case <-time.After(time.Microsecond):
		}
		if i > 1_000_000 {
			t.Fatal("it still writes")
		}
	}
}

func waitFor(t *testing.T, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("it does not end")
	}
}

// TestServe: events outlast the limits of an answer, and end with the server.
func TestServe(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r := everybody()
	b := newBoard(r)
	b.patience = 500 * time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- b.Serve(ctx, listener) }()
	answer, err := http.Get("http://" + listener.Addr().String() + "/events") //nolint:noctx // it ends with the server
	require.NoError(t, err)
	defer answer.Body.Close()
	s := &stream{t: t, lines: bufio.NewScanner(answer.Body)}
	s.next()
	s.next()
	<-time.After(3 * b.patience)
	r.set(1, seat("robert", 0, at(lesson.OK)))
	assert.Contains(t, s.next(), ">robert<")

	cancel()
	select {
	case err := <-served:
		require.NoError(t, err)
	case <-time.After(10 * time.Second):
		t.Fatal("it does not end")
	}
	for s.lines.Scan() { // the end of the events
	}
	require.NoError(t, s.lines.Err())
	_, err = net.Dial("tcp", listener.Addr().String())
	assert.Error(t, err)
}

func TestServeSaysWhyItCannot(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	assert.True(t, errors.Is(newBoard(everybody()).Serve(t.Context(), listener), net.ErrClosed))
}
