package browser

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/internal/lesson"
)

// The checker, as the registry publishes it. It is loaded for the test alone.
const (
	axePackage = "axe-core@4.14.1"
	axeSHA512  = "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="
)

// axe is the checker's source.
func axe(t *testing.T) string {
	t.Helper()
	npm, err := exec.LookPath("npm")
	if err != nil {
		t.Skip("SKIPPED, NOTHING WAS PROVEN: there is no npm on PATH, which loads axe-core")
	}
	folder := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, npm, "pack", "--silent", "--ignore-scripts", "--cache", t.TempDir(), axePackage)
	cmd.Dir = folder
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("SKIPPED, NOTHING WAS PROVEN: npm cannot load %s: %v\n%s", axePackage, err, out)
	}
	packed, err := filepath.Glob(filepath.Join(folder, "*.tgz"))
	require.NoError(t, err)
	require.Len(t, packed, 1)
	content, err := os.ReadFile(packed[0])
	require.NoError(t, err)
	sum := sha512.Sum512(content)
	require.Equal(t, axeSHA512, base64.StdEncoding.EncodeToString(sum[:]), "it is not what was published as %s", axePackage)
	file, err := os.Open(packed[0])
	require.NoError(t, err)
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	require.NoError(t, err)
	for archive := tar.NewReader(unzipped); ; {
		header, err := archive.Next()
		require.False(t, errors.Is(err, io.EOF), "there is no axe.min.js")
		require.NoError(t, err)
		if header.Name == "package/axe.min.js" {
			source, err := io.ReadAll(archive)
			require.NoError(t, err)
			return string(source)
		}
	}
}

// violation is what axe says is wrong.
type violation struct {
	ID    string
	Help  string
	Nodes []struct{ HTML, FailureSummary string }
}

// check runs all of axe's rules on the page.
func check(p *tab, source string) (violations []violation, passed int) {
	p.t.Helper()
	p.do(chromedp.Evaluate[chromedp.Void](source))
	raw := value[string](p, `axe.run(document, {resultTypes: ['violations'], runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']})
		.then((r) => JSON.stringify({violations: r.violations.map((v) => ({ID: v.id, Help: v.help, Nodes: v.nodes.slice(0, 3).map((n) => ({HTML: n.html, FailureSummary: n.failureSummary}))})), passed: r.passes.length}))`)
	var found struct {
		Violations []violation
		Passed     int
	}
	require.NoError(p.t, json.Unmarshal([]byte(raw), &found))
	return found.Violations, found.Passed
}

// TestAccessible: axe finds nothing wrong, in both languages and themes, with a hint
// open, and where the connection is lost; and it finds what is.
func TestAccessible(t *testing.T) {
	browser := chromium(t)
	source := axe(t)
	for _, theme := range []string{"light", "dark"} {
		for _, lang := range lesson.Langs {
			t.Run(theme+" "+string(lang), func(t *testing.T) {
				s, p := serve(t, students(forty)), open(t, browser)
				p.prefers(map[string]string{"prefers-color-scheme": theme})
				p.do(chromedp.Navigate(s.url(lang)))
				value[bool](p, `document.querySelector('tr.red details').open = true`)
				found, passed := check(p, source)
				assert.Empty(t, found)
				assert.Greater(t, passed, 20)
				s.end()
				p.until(`!document.getElementById('lost').hidden`)
				found, _ = check(p, source)
				assert.Empty(t, found, "where the connection is lost")
			})
		}
	}
	t.Run("it can fail", func(t *testing.T) {
		s, p := serve(t, students(forty)), open(t, browser)
		p.do(chromedp.Navigate(s.url(lesson.English)))
		value[bool](p, `(() => {
			document.documentElement.removeAttribute('lang');
			document.querySelector('.ok b').style.color = '#ccc';
			return true })()`)
		found, _ := check(p, source)
		var ids []string
		for _, v := range found {
			ids = append(ids, v.ID)
		}
		assert.ElementsMatch(t, []string{"html-has-lang", "color-contrast"}, ids)
	})
}
