// Package board is the class's page for the projector: who is at which chapter, and
// what is red since when. It is for looking alone: it names nobody's cluster or token,
// does nothing, and asks nobody else for anything.
package board

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"k8sbootcamp/internal/classroom"
	"k8sbootcamp/internal/course"
	"k8sbootcamp/internal/lesson"
)

// Room is what the board shows: a *classroom.Room.
type Room interface {
	Seats() ([]classroom.Seat, classroom.Round)
	Changed() <-chan struct{} // closed at the next change
}

// Board is the page and what belongs to it, for a browser on this machine.
type Board struct {
	room Room
	upTo course.Chapter
	lang lesson.Lang
	mux  *http.ServeMux

	now       func() time.Time
	apart     time.Duration // from one event to the next, at least
	heartbeat time.Duration // a sign of life, where nothing changes
	patience  time.Duration // with a browser that reads nothing
}

// New is the board of a room in which all chapters up to one are asked about (empty is
// all), in a language where the browser asks for none.
func New(room Room, upTo course.Chapter, lang lesson.Lang) *Board {
	b := &Board{
		room: room, upTo: upTo, lang: lang, mux: http.NewServeMux(), now: time.Now,
		apart: time.Second, heartbeat: 15 * time.Second, patience: 10 * time.Second,
	}
	b.mux.HandleFunc("GET /{$}", b.page)
	b.mux.HandleFunc("GET /events", b.events)
	for _, name := range []string{"style.css", "board.js"} {
		b.mux.Handle("GET /"+name, file(name))
	}
	return b
}

// Serve serves the board until the context ends. Listeners are those of this machine
// alone.
func (b *Board) Serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler:           b,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      b.patience,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		BaseContext:       func(net.Listener) context.Context { return ctx }, // ends the events too
		ErrorLog:          log.New(io.Discard, "", 0),                        // of what browsers do
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.patience)
	defer cancel()
	return errors.Join(server.Shutdown(limited), server.Close())
}

// policy allows a page to load what it has from where it is, and nothing else.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

func (b *Board) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	if !meant(r) {
		http.Error(w, "This board is for browsers on the machine that serves it, by the address that `class board` said.", http.StatusMisdirectedRequest)
		return
	}
	b.mux.ServeHTTP(w, r)
}

// meant tells whether a request names this machine and the port that it came to. Else
// another site's page may have sent it, whose name leads here (DNS rebinding).
func meant(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return false
	}
	_, port, err := net.SplitHostPort(local.String())
	if err != nil {
		return false
	}
	host, named, err := net.SplitHostPort(r.Host)
	if err != nil { // browsers leave HTTP's own port out
		host, named = strings.Trim(r.Host, "[]"), "80"
	}
	return named == port && slices.Contains([]string{"127.0.0.1", "localhost", "::1"}, host)
}

//go:embed page.html style.css board.js
var files embed.FS

var pages = template.Must(template.ParseFS(files, "page.html"))

// file is one that never changes while the program runs.
func file(name string) http.Handler {
	content, err := files.ReadFile(name)
	if err != nil {
		panic(err) // it is embedded
	}
	tag := fmt.Sprintf(`"%x"`, sha256.Sum256(content))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", tag)
		w.Header().Set("Cache-Control", "no-cache") // ask whether it is another by now
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(content))
	})
}

// language is the one that a request asks for.
func (b *Board) language(w http.ResponseWriter, r *http.Request) (lesson.Lang, bool) {
	query := r.URL.Query()
	if !query.Has("lang") {
		return b.lang, true
	}
	lang := lesson.Lang(query.Get("lang"))
	if !slices.Contains(lesson.Langs, lang) {
		http.Error(w, "lang: allowed are en and ja", http.StatusBadRequest)
		return "", false
	}
	return lang, true
}

func (b *Board) page(w http.ResponseWriter, r *http.Request) {
	lang, ok := b.language(w, r)
	if !ok {
		return
	}
	html, err := b.render("page", lang)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Write(html) //nolint:errcheck // a browser that is gone
}

// render makes the page, or the part of it that changes ("class").
func (b *Board) render(name string, lang lesson.Lang) ([]byte, error) {
	var html bytes.Buffer
	err := pages.ExecuteTemplate(&html, name, look(b.room, b.upTo, lang, b.now()))
	return html.Bytes(), err
}

// events tells a browser of changes, each event with all that is to be seen. This is
// the whole of the protocol that the board needs, and less than a library has to be
// told: one kind of event, none kept for later, and who comes late sees what is now.
func (b *Board) events(w http.ResponseWriter, r *http.Request) {
	lang, ok := b.language(w, r)
	if !ok {
		return
	}
	stream := http.NewResponseController(w)
	write := func(text string) error {
		// The server's own limits are for answers that end.
		if err := stream.SetWriteDeadline(time.Now().Add(b.patience)); err != nil {
			return err
		}
		if _, err := io.WriteString(w, text); err != nil {
			return err
		}
		return stream.Flush()
	}
	w.Header().Set("Content-Type", "text/event-stream")
	if stream.SetReadDeadline(time.Time{}) != nil || write("retry: 2000\n\n") != nil {
		return
	}
	beat := time.NewTicker(b.heartbeat)
	defer beat.Stop()
	for said := []byte(nil); ; {
		changed := b.room.Changed() // before looking, so that nothing is missed
		html, err := b.render("class", lang)
		if err != nil {
			return
		}
		if !bytes.Equal(html, said) && write(event(html)) != nil {
			return
		}
		said = html
		select {
		case <-r.Context().Done():
			return
		case <-time.After(b.apart):
		}
		for waiting := true; waiting; {
			select {
			case <-r.Context().Done():
				return
			case <-changed:
				waiting = false
			case <-beat.C:
				if write(": nothing new\n\n") != nil {
					return
				}
			}
		}
	}
}

// event is a message of which each line is marked: any kind of line break would end it.
func event(data []byte) string {
	lines := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(strings.TrimSpace(string(data)))
	return "data: " + strings.ReplaceAll(lines, "\n", "\ndata: ") + "\n\n"
}
