package browser

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/internal/classroom"
	"k8sbootcamp/internal/lesson"
)

const forty = 40

const rows = `document.querySelectorAll('tbody tr').length`

// TestBoard looks at one board in one browser, a page a test.
func TestBoard(t *testing.T) {
	browser := chromium(t)
	page := func(t *testing.T) (*class, *served, *tab) {
		c := students(forty)
		return c, serve(t, c), open(t, browser)
	}

	t.Run("forty students, in both languages", func(t *testing.T) {
		_, s, p := page(t)
		for _, lang := range lesson.Langs {
			p.do(chromedp.Navigate(s.url(lang)))
			assert.Equal(t, forty, value[int](p, rows))
			assert.Equal(t, string(lang), value[string](p, `document.documentElement.lang`))
			assert.Equal(t, "Alice 1", value[string](p, `document.querySelector('tbody th').textContent`))
		}
		assert.Equal(t, value[string](p, `document.querySelector('h1').textContent`), value[string](p, `document.title`))
		assert.Empty(t, p.said(), "errors in the console")
		assert.Empty(t, p.elsewhere(s.address))
	})

	t.Run("a change is seen without loading anew", func(t *testing.T) {
		c, s, p := page(t)
		p.do(chromedp.Navigate(s.url(lesson.English)))
		value[bool](p, `window.same = true`)
		var took []time.Duration
		for i := range 5 {
			p.until(`document.querySelectorAll('tbody tr')[20].className !== 'done'`)
			begin := time.Now()
			c.set(20, func(s *classroom.Seat) { at(s, len(asked()), lesson.OK, 0) })
			p.until(`document.querySelectorAll('tbody tr')[20].className === 'done'`)
			took = append(took, time.Since(begin))
			c.set(20, func(s *classroom.Seat) { at(s, 5+i, lesson.Failed, 0) })
		}
		slices.Sort(took)
		t.Logf("from a change to the screen: %v (median of %d), %v at most", took[len(took)/2], len(took), took[len(took)-1])
		assert.Less(t, took[len(took)-1], 2*time.Second)
		assert.True(t, value[bool](p, `window.same`))
	})

	t.Run("a class at work", func(t *testing.T) {
		c, s, p := page(t)
		p.do(chromedp.Navigate(s.url(lesson.English)))
		value[bool](p, `(() => {
			window.heard = [];
			new MutationObserver(() => heard.push(document.querySelector('[aria-live]').textContent.trim()))
				.observe(document.querySelector('[aria-live]'), {childList: true, subtree: true, characterData: true});
			return true })()`)
		for step := range len(asked()) + 1 { // all go through the course, and are red at times
			for i := range forty {
				state := []lesson.State{lesson.Open, lesson.Starting, lesson.Failed}[(step+i)%3]
				c.set(i, func(s *classroom.Seat) { at(s, step, state, 0) })
			}
		}
		p.until(`document.querySelectorAll('tr.done').length === 40`)
		assert.Equal(t, "0 red", value[string](p, `document.querySelector('[aria-live]').textContent.trim()`))
		heard := value[[]string](p, `window.heard`)
		assert.NotEmpty(t, heard)
		assert.Equal(t, slices.Compact(slices.Clone(heard)), heard, "nothing is said twice")
		before := len(heard)
		at0 := value[string](p, `document.querySelector('.round').textContent`)
		c.set(0, func(*classroom.Seat) { c.round.Ended = c.round.Ended.Add(time.Hour) })
		p.until(fmt.Sprintf(`document.querySelector('.round').textContent !== %q`, at0))
		assert.Len(t, value[[]string](p, `window.heard`), before, "only the number of those who are red is told")
		assert.Empty(t, p.said())
	})

	t.Run("without JavaScript", func(t *testing.T) {
		_, s, p := page(t)
		call(p, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
		p.do(chromedp.Navigate(s.url(lesson.English)))
		assert.Equal(t, forty, value[int](p, rows))
		p.do(chromedp.Click(chromedp.CSS("tr.red summary")))
		assert.True(t, value[bool](p, `document.querySelector('tr.red details').open`))
		assert.Equal(t, 1, value[int](p, `document.querySelectorAll('noscript meta[http-equiv=refresh][content="10"]').length`), "it loads itself anew")
		for _, url := range p.asked {
			assert.NotContains(t, url, "/events")
		}
	})

	t.Run("what somebody reads stays open", func(t *testing.T) {
		c, s, p := page(t)
		p.do(chromedp.Navigate(s.url(lesson.English)))
		value[bool](p, `(() => { document.querySelector('tr.red details').open = true; document.querySelector('tr.red summary').focus(); window.was = document.querySelector('tr.red'); return true })()`)
		i := value[int](p, `Number(was.dataset.part.slice(3))`)
		c.set(i, func(s *classroom.Seat) { s.Name = "Renamed" })
		p.until(`document.querySelector('tr.red th').textContent === 'Renamed'`)
		assert.True(t, value[bool](p, `document.querySelector('tr.red details').open && document.activeElement === document.querySelector('tr.red summary')`))
	})

	t.Run("the connection is lost, and back", func(t *testing.T) {
		c, s, p := page(t)
		p.do(chromedp.Navigate(s.url(lesson.English)))
		p.until(`document.getElementById('lost').hidden`)
		s.end()
		p.until(`!document.getElementById('lost').hidden`)
		assert.Regexp(t, `^Connection lost at \d\d:\d\d:\d\d\. `, value[string](p, `document.getElementById('lost').textContent`))
		assert.Equal(t, forty, value[int](p, rows), "what was known is shown")
		c.set(0, func(s *classroom.Seat) { s.Name = "Back" })
		s.begin()
		p.until(`document.getElementById('lost').hidden && document.querySelector('tbody th').textContent === 'Back'`)
	})

	t.Run("times grow by themselves", func(t *testing.T) {
		_, s, p := page(t)
		p.do(chromedp.Navigate(s.url(lesson.English)))
		value[bool](p, `(() => { const now = Date.now; Date.now = () => now() + 7200000; return true })()`)
		p.until(`[...document.querySelectorAll('time')].every((e) => /^[2-9] h$/.test(e.textContent))`)
	})

	t.Run("sizes", func(t *testing.T) {
		_, s, p := page(t)
		for _, lang := range lesson.Langs {
			for _, size := range [][2]int64{{1920, 1080}, {1280, 720}, {390, 844}} {
				p.size(size[0], size[1])
				p.do(chromedp.Navigate(s.url(lang)))
				width, height := value[int](p, `document.documentElement.scrollWidth`), value[int](p, `document.documentElement.scrollHeight`)
				t.Logf("%s at %dx%d: %d wide, %d high", lang, size[0], size[1], width, height)
				assert.LessOrEqual(t, width, int(size[0]))
				if size[0] == 1920 {
					assert.LessOrEqual(t, height, int(size[1]), "all rows are seen")
				}
				if size[0] > 1000 {
					assert.True(t, value[bool](p, `(() => { const e = document.querySelector('.wide'); return e.scrollWidth <= e.clientWidth })()`), "the table is seen whole")
				}
				assert.Empty(t, value[[]string](p, `[...document.querySelectorAll('tbody td > span, thead th')].filter((e) => {
					const cell = e.closest('td, th');
					return !e.classList.contains('hidden') && (e === cell ? e.scrollWidth > e.clientWidth + 1 : e.getBoundingClientRect().right > cell.getBoundingClientRect().right + 1);
				}).map((e) => e.textContent.trim())`), "nothing runs into its neighbour")
			}
		}
	})

	t.Run("themes", func(t *testing.T) {
		_, s, p := page(t)
		pictures := map[string][]byte{}
		backgrounds := map[string]string{}
		for _, theme := range []string{"light", "dark"} {
			p.prefers(map[string]string{"prefers-color-scheme": theme})
			p.do(chromedp.Navigate(s.url(lesson.English)))
			picture, err := chromedp.Run(p.limited(), chromedp.CaptureScreenshot())
			require.NoError(t, err)
			pictures[theme], backgrounds[theme] = picture, value[string](p, `getComputedStyle(document.documentElement).backgroundColor`)
			keep(t, theme, picture)
		}
		assert.False(t, bytes.Equal(pictures["light"], pictures["dark"]))
		assert.NotEqual(t, backgrounds["light"], backgrounds["dark"])
		p.prefers(map[string]string{"forced-colors": "active"})
		p.do(chromedp.Navigate(s.url(lesson.English)))
		assert.Equal(t, 0, value[int](p, `[...document.querySelectorAll('td b')].filter((e) => { const s = getComputedStyle(e, '::before'); return s.backgroundColor === getComputedStyle(document.documentElement).backgroundColor && s.borderTopWidth === '0px' }).length`), "shapes are seen")
		picture, err := chromedp.Run(p.limited(), chromedp.CaptureScreenshot())
		require.NoError(t, err)
		keep(t, "forced", picture)
		assert.Empty(t, value[[]string](p, `document.getAnimations().map(String)`), "nothing moves")
	})

	t.Run("nothing from elsewhere gets in", func(t *testing.T) {
		_, s, p := page(t)
		p.do(chromedp.Navigate(s.url(lesson.English)))
		p.until(`document.getElementById('lost').hidden`)
		assert.Equal(t, "blocked", value[string](p, `fetch('http://127.0.0.1:9/').then(() => 'loaded', () => 'blocked')`))
		assert.Equal(t, "blocked", value[string](p, `new Promise((done) => {
			const e = document.createElement('script');
			e.src = 'http://localhost:9/x.js'; e.onload = () => done('loaded'); e.onerror = () => done('blocked');
			document.head.append(e) })`))
		value[bool](p, `(() => { const e = document.createElement('script'); e.textContent = 'window.inline = true'; document.head.append(e); return true })()`)
		assert.False(t, value[bool](p, `Boolean(window.inline)`))
		assert.GreaterOrEqual(t, len(p.said()), 3, "each is a violation of the policy")
		for _, url := range p.elsewhere(s.address) {
			assert.Contains(t, []string{"http://127.0.0.1:9/", "http://localhost:9/x.js"}, url, "what this test asked for, and the policy kept from being sent")
		}
	})

	t.Run("by keyboard", func(t *testing.T) {
		_, s, p := page(t)
		p.do(chromedp.Navigate(s.url(lesson.English)))
		reached := map[string]bool{}
		for range 4 {
			p.do(chromedp.KeyEvent(kb.Tab))
			reached[value[string](p, `document.activeElement.localName`)] = true
			assert.NotEqual(t, "none", value[string](p, `getComputedStyle(document.activeElement).outlineStyle`), "where one is, is seen")
		}
		assert.Equal(t, map[string]bool{"a": true, "div": true, "summary": true}, reached)
		p.do(chromedp.KeyEvent(kb.Enter))
		p.until(`document.activeElement.closest('details').open`)
	})

	t.Run("as a screen reader has it", func(t *testing.T) {
		_, s, p := page(t)
		p.do(chromedp.Navigate(s.url(lesson.English)))
		tree := call(p, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
		roles := map[string]int{}
		names := map[string]bool{}
		for _, node := range tree.Nodes {
			if !node.Ignored && node.Role != nil {
				role := unquoted(node.Role.Value)
				roles[role]++
				if node.Name != nil {
					names[role+" "+unquoted(node.Name.Value)] = true
				}
			}
		}
		assert.Equal(t, 1, roles["table"])
		assert.Equal(t, 13, roles["columnheader"])
		assert.Equal(t, forty, roles["rowheader"])
		assert.Equal(t, 12*forty, roles["cell"]+roles["gridcell"])
		for _, name := range []string{
			"table The students, by the chapters of the course", "region The students, by the chapters of the course",
			"columnheader 3-3 Service", "rowheader Alice 1", "cell failed for 9 min", "cell ok", "heading The class", "link 日本語",
		} {
			assert.True(t, names[name], name)
		}
		// The heads of a cell, by HTML's own rule for scope.
		assert.True(t, value[bool](p, `[...document.querySelectorAll('tbody tr')].every((r) => r.cells.length === document.querySelector('thead tr').cells.length && r.cells[0].scope === 'row')`))
	})

	t.Run("what it costs", func(t *testing.T) {
		_, s, p := page(t)
		begin := time.Now()
		html, err := io.ReadAll(get(t, s.url(lesson.English)).Body)
		require.NoError(t, err)
		rendered := time.Since(begin)
		p.do(chromedp.Navigate(s.url(lesson.English)))
		drawn := value[float64](p, `performance.getEntriesByType('navigation')[0].loadEventEnd`)
		event := make([]byte, 1<<20)
		n, err := io.ReadAtLeast(get(t, fmt.Sprintf("http://%s/events", s.address)).Body, event, len(html)*9/10)
		require.NoError(t, err)
		t.Logf("forty students: served in %v, loaded in %.0f ms, the page has %d bytes, an event about %d", rendered, drawn, len(html), n)
		assert.Less(t, len(html), 256<<10)
	})
}

// keep writes a picture where BOOTCAMP_PICTURES says, for somebody to look at.
func keep(t *testing.T, name string, picture []byte) {
	t.Helper()
	if folder := os.Getenv("BOOTCAMP_PICTURES"); folder != "" {
		require.NoError(t, os.WriteFile(folder+"/"+name+".png", picture, 0o600))
	}
}
