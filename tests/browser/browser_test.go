// Package browser looks at the class's board in a real browser: headless Chromium, with
// forty students who are not there.
package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	runtimelog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/internal/board"
	"k8sbootcamp/internal/lesson"
)

// patience is how long anything may take on a machine that is busy.
const patience = 60 * time.Second

// served is a board that a test serves, and may end and serve again.
type served struct {
	t       *testing.T
	handler *board.Board
	address string
	end     func()
}

func serve(t *testing.T, c *class) *served {
	t.Helper()
	s := &served{t: t, handler: board.New(c, "", lesson.English), address: "127.0.0.1:0"}
	s.begin()
	t.Cleanup(func() { s.end() })
	return s
}

func (s *served) begin() {
	s.t.Helper()
	listener, err := net.Listen("tcp", s.address)
	require.NoError(s.t, err)
	s.address = listener.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.handler.Serve(ctx, listener) }()
	s.end = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			s.t.Errorf("the board: %v", err)
		}
	})
}

func (s *served) url(lang lesson.Lang) string {
	return fmt.Sprintf("http://%s/?lang=%s", s.address, lang)
}

// tab is a page in the browser, and what it did: the addresses that it asked for, and
// what it said of errors.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu     sync.Mutex
	asked  []string
	errors []string
}

// chromium starts a browser. Without one, nothing is proven.
func chromium(t *testing.T) context.Context {
	t.Helper()
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"} {
		if found, err := exec.LookPath(name); err == nil && path == "" {
			path = found
		}
	}
	if path == "" {
		t.Skip("SKIPPED, NOTHING WAS PROVEN: there is no Chromium on PATH (apt-get install chromium)")
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.Flag("hide-scrollbars", false))
	ctx, end := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(end)
	ctx, closeAll := chromedp.NewContext(ctx)
	t.Cleanup(closeAll)
	require.NoError(t, chromedp.Do(ctx))
	return ctx
}

func open(t *testing.T, browser context.Context) *tab {
	t.Helper()
	ctx, leave := chromedp.NewContext(browser)
	t.Cleanup(leave)
	p := &tab{t: t, ctx: ctx}
	require.NoError(t, chromedp.Do(ctx))
	require.NoError(t, chromedp.Listen(ctx, p.hear))
	call(p, network.Enable, network.EnableParams{})
	call(p, runtimelog.Enable, cdp.Empty{})
	call(p, runtime.Enable, cdp.Empty{})
	p.size(1280, 720)
	return p
}

func (p *tab) hear(event any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		p.asked = append(p.asked, e.Request.URL)
	case *runtimelog.EventEntryAdded:
		if e.Entry.Level == runtimelog.EntryLevelError || e.Entry.Level == runtimelog.EntryLevelWarning {
			p.errors = append(p.errors, e.Entry.Text)
		}
	case *runtime.EventExceptionThrown:
		p.errors = append(p.errors, e.ExceptionDetails.Text)
	case *runtime.EventConsoleAPICalled:
		p.errors = append(p.errors, fmt.Sprint("console: ", e.Type))
	}
}

// said are the errors since the last time that they were asked for.
func (p *tab) said() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.errors
	p.errors = nil
	return all
}

// elsewhere are the addresses that were asked for and are not the board's.
func (p *tab) elsewhere(address string) (all []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, url := range p.asked {
		if !strings.HasPrefix(url, "http://"+address+"/") {
			all = append(all, url)
		}
	}
	return all
}

func (p *tab) limited() context.Context {
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	p.t.Cleanup(cancel)
	return ctx
}

func (p *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	require.NoError(p.t, chromedp.Do(p.limited(), steps...))
}

func call[P, R any](p *tab, command cdp.Command[P, R], params P) R {
	p.t.Helper()
	answer, err := chromedp.Call(p.limited(), command, params)
	require.NoError(p.t, err)
	return answer
}

// value is that of an expression in the page.
func value[T any](p *tab, expression string) T {
	p.t.Helper()
	v, err := chromedp.Run(p.limited(), chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	require.NoError(p.t, err, expression)
	return v
}

// until waits for an expression to be true.
func (p *tab) until(expression string) {
	p.t.Helper()
	_, err := chromedp.Run(p.limited(), chromedp.Poll[bool](expression, chromedp.WithPollingInterval(20*time.Millisecond)))
	require.NoError(p.t, err, expression)
}

func (p *tab) size(width, height int64) {
	p.t.Helper()
	p.do(chromedp.EmulateViewport(width, height))
}

// prefers sets what the user's system asks for, such as prefers-color-scheme.
func (p *tab) prefers(features map[string]string) {
	p.t.Helper()
	var all []*emulation.MediaFeature
	for name, value := range features {
		all = append(all, &emulation.MediaFeature{Name: name, Value: value})
	}
	call(p, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: all})
}

// get is what the board answers without a browser.
func get(t *testing.T, url string) *http.Response {
	t.Helper()
	answer, err := http.Get(url) //nolint:noctx // of this process
	require.NoError(t, err)
	t.Cleanup(func() { answer.Body.Close() })
	return answer
}

// unquoted is a JSON string's text.
func unquoted(raw []byte) (text string) {
	if json.Unmarshal(raw, &text) != nil {
		return ""
	}
	return text
}
