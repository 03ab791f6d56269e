package docs_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/tests/docs"
)

// guide is the guide's documents and the READMEs that point to it, by their paths.
func guide(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{"README.md": read(t, "README.md"), "README.ja.md": read(t, "README.ja.md")}
	for _, folder := range docs.GuideFolders {
		files, err := filepath.Glob(root + folder + "/*")
		require.NoError(t, err)
		for _, file := range files {
			if info, err := os.Stat(file); err == nil && info.IsDir() {
				continue // ja is in the English one
			}
			at := folder + "/" + filepath.Base(file)
			found[at] = read(t, at)
		}
	}
	return found
}

// TestGuide: what the guide shows of the text and of the code is theirs, both languages
// show the same, each chapter has its page, and its links lead somewhere. That its
// outputs are a run's is TestGuide's of tests/live.
func TestGuide(t *testing.T) {
	t.Parallel()
	for _, problem := range guideProblems(guide(t)) {
		t.Error(problem)
	}
}

// guideProblems are all that is wrong with a guide; what it shows is read from the
// repository.
func guideProblems(documents map[string]string) (problems []string) {
	wrong := func(at, format string, a ...any) {
		problems = append(problems, at+": "+fmt.Sprintf(format, a...))
	}
	fences := map[string][]docs.Fence{}
	for _, at := range slices.Sorted(maps.Keys(documents)) {
		if !strings.HasPrefix(at, "docs/") {
			continue
		}
		var err error
		if fences[at], err = docs.Fences(documents[at]); err != nil {
			wrong(at, "%v", err)
		}
		for _, f := range fences[at] {
			where := fmt.Sprintf("%s:%d", at, f.Line)
			if f.File != "" {
				content, err := os.ReadFile(root + f.File)
				if err != nil || !docs.Excerpt(f.Body, string(content)) {
					wrong(where, "these lines do not stand so in %s (%v)", f.File, err)
				}
			}
			if f.Language != "console" {
				continue
			}
			if _, err := docs.Commands(f.Body); err != nil {
				wrong(where, "%v", err)
			}
		}
		for _, p := range deadLinks(documents, at) {
			wrong(at, "%s", p)
		}
	}

	english, japanese := docs.GuideFolders[docs.English], docs.GuideFolders[docs.Japanese]
	pages := map[string]bool{"README": true}
	for _, page := range docs.GuidePages {
		pages[page] = true
	}
	for _, folder := range []string{english, japanese} {
		for page := range pages {
			at := folder + "/" + page + ".md"
			switch document, there := documents[at]; {
			case !there:
				wrong(at, "it is missing")
			case page != "README" && !strings.HasPrefix(document, "# "+page+" "):
				wrong(at, "its title does not begin with the chapter")
			case page != "README" && !strings.Contains(documents[folder+"/README.md"], "]("+page+".md)"):
				wrong(folder+"/README.md", "it does not list %s", page)
			}
		}
	}
	for at := range documents {
		folder, name := path.Split(at)
		if folder == english+"/" || folder == japanese+"/" {
			if !pages[strings.TrimSuffix(name, ".md")] {
				wrong(at, "it is no page of the guide")
			}
		}
		if folder != english+"/" {
			continue
		}
		other := japanese + "/" + name
		same := slices.EqualFunc(fences[at], fences[other], func(a, b docs.Fence) bool {
			return a.Language == b.Language && a.File == b.File && slices.Equal(a.Body, b.Body)
		})
		if !same {
			wrong(other, "its blocks are not those of %s", at)
		}
	}

	// What the course builds is in its chapter's page.
	shown := map[string]bool{}
	for _, page := range docs.GuidePages {
		for _, f := range fences[english+"/"+page+".md"] {
			shown[f.File] = true
		}
	}
	manifests, err := filepath.Glob(root + "tests/testdata/course/*.yml")
	if err != nil || len(manifests) == 0 {
		wrong("tests/testdata/course", "no manifests (%v)", err)
	}
	for _, m := range manifests {
		if at := strings.TrimPrefix(filepath.ToSlash(m), root); !shown[at] {
			wrong(english, "no page shows %s", at)
		}
	}
	for _, chapter := range regexp.MustCompile(`(?m)^\| .components/\S+ \| (\d.*?) \|`).FindAllStringSubmatch(documents["README.md"], -1) {
		for _, c := range strings.Split(chapter[1], ", ") {
			if c == "5" {
				continue // its pages are those of docs/topics
			}
			if !slices.Contains(docs.GuidePages, c) {
				wrong(english, "chapter %s of README.md has no page", c)
			}
		}
	}
	for readme, index := range map[string]string{"README.md": english, "README.ja.md": japanese} {
		if !strings.Contains(documents[readme], "]("+index+"/README.md)") {
			wrong(readme, "it does not point to %s/README.md", index)
		}
	}

	if err := lastRemoves(fences[english+"/"+docs.GuidePages[len(docs.GuidePages)-1]+".md"]); err != nil {
		wrong(english, "%v", err)
	}
	return problems
}

// lastRemoves tells whether a page ends with nothing left.
func lastRemoves(page []docs.Fence) error {
	var all []docs.Command
	for _, f := range page {
		if f.Language == "console" {
			commands, err := docs.Commands(f.Body)
			if err != nil {
				return err
			}
			all = append(all, commands...)
		}
	}
	if !slices.ContainsFunc(all, func(c docs.Command) bool { return c.Line == "./class destroy --remove --yes" }) {
		return errors.New("the last page does not remove the lab")
	}
	return nil
}

var (
	linkRE    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	headingRE = regexp.MustCompile(`(?m)^#+ (.*)$`)
)

// deadLinks are those of a document that lead nowhere in the repository.
func deadLinks(documents map[string]string, at string) (dead []string) {
	for _, m := range linkRE.FindAllStringSubmatch(documents[at], -1) {
		if strings.Contains(m[1], "://") {
			continue
		}
		file, anchor, _ := strings.Cut(m[1], "#")
		to := at
		if file != "" {
			to = path.Join(path.Dir(at), file)
		}
		document, there := documents[to]
		if !there {
			content, err := os.ReadFile(root + to)
			if info, failed := os.Stat(root + to); failed != nil || err != nil && !info.IsDir() {
				dead = append(dead, fmt.Sprintf("the link %s leads nowhere", m[1]))
				continue
			}
			document = string(content)
		}
		if anchor != "" && !slices.Contains(anchors(document), anchor) {
			dead = append(dead, fmt.Sprintf("the link %s leads to no heading", m[1]))
		}
	}
	return dead
}

// anchors are GitHub's for a document's headings.
func anchors(document string) (all []string) {
	drop := regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	for _, m := range headingRE.FindAllStringSubmatch(document, -1) {
		all = append(all, strings.ReplaceAll(drop.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-"))
	}
	return all
}

// TestGuideSpoiled: each thing that TestGuide holds can be seen to fail.
func TestGuideSpoiled(t *testing.T) {
	t.Parallel()
	sound := guide(t)
	require.Empty(t, guideProblems(sound))
	const page, ja = "docs/guide/3-2.md", "docs/guide/ja/3-2.md"
	for name, spoil := range map[string]struct {
		files    []string
		old, new string
	}{
		"the text's manifest":        {[]string{page, ja}, "replicas: 2\n", "replicas: 3\n"},
		"its indentation":            {[]string{page, ja}, "      containers:\n", "       containers:\n"},
		"the code":                   {[]string{page, ja}, "pulumi.Int(args.Replicas)", "pulumi.Int(args.Pods)"},
		"another file's code":        {[]string{page, ja}, "code: components/echo/echo.go", "code: components/kind/kind.go"},
		"a file that is none":        {[]string{page, ja}, "text: app.yml", "text: apps.yml"},
		"no marker":                  {[]string{page, ja}, "<!-- text: app.yml -->\n", ""},
		"the other marker":           {[]string{page, ja}, "<!-- text: app.yml -->", "<!-- code: app.yml -->"},
		"a marker of no block":       {[]string{page, ja}, "```console\n", "<!-- text: app.yml -->\n```console\n"},
		"an output without command":  {[]string{page, ja}, "```console\n$ ", "```console\n"},
		"a block of no language":     {[]string{page, ja}, "```console\n", "```\n"},
		"a block that is not closed": {[]string{page, ja}, "\n```\n", "\n"},
		"one language's output":      {[]string{ja}, "```console\n$ ", "```console\n$ #"},
		"one language's code":        {[]string{page}, "replicas: 2\n", ""},
		"a dead link":                {[]string{page}, "](3-3.md)", "](3-33.md)"},
		"a dead anchor":              {[]string{page}, "](3-3.md)", "](3-3.md#nowhere)"},
		"a title":                    {[]string{ja}, "# 3-2 ", "# "},
		"the index":                  {[]string{"docs/guide/ja/README.md"}, "](3-2.md)", "](README.md)"},
		"the README":                 {[]string{"README.md"}, "](docs/guide/README.md)", "](docs)"},
		"the Japanese README":        {[]string{"README.ja.md"}, "](docs/guide/ja/README.md)", "](docs)"},
		"a chapter of the README's":  {[]string{"README.md"}, "| 3-2, 3-3 |", "| 3-2, 3-5 |"},
		"nothing is removed":         {[]string{"docs/guide/4-4.md", "docs/guide/ja/4-4.md"}, "$ ./class destroy --remove --yes", "$ true"},
		"a manifest that no page has": {[]string{"docs/guide/3-3.md", "docs/guide/ja/3-3.md"},
			"<!-- text: service.yml -->", "<!-- text: app.yml -->"},
	} {
		spoiled := maps.Clone(sound)
		for _, file := range spoil.files {
			spoiled[file] = strings.ReplaceAll(sound[file], spoil.old, spoil.new)
			assert.NotEqual(t, sound[file], spoiled[file], "%s: %s has no %q", name, file, spoil.old)
		}
		assert.NotEmpty(t, guideProblems(spoiled), name)
	}
	for _, gone := range []string{page, ja} {
		spoiled := maps.Clone(sound)
		delete(spoiled, gone)
		assert.NotEmpty(t, guideProblems(spoiled), "%s is gone", gone)
	}
	more := maps.Clone(sound)
	more["docs/guide/9-9.md"], more["docs/guide/ja/9-9.md"] = "# 9-9 x\n", "# 9-9 x\n"
	assert.NotEmpty(t, guideProblems(more), "a page of no chapter")
}

// TestGuideShows: what differs from run to run does not count, and what a chapter is
// about does.
func TestGuideShows(t *testing.T) {
	t.Parallel()
	lines := func(s string) []string { return strings.Split(s, "\n") }
	for page, run := range map[string]string{
		"NAME READY AGE\nbootcamp-69f4676f69-9bd9t 1/1 45s": "NAME   READY   AGE\nbootcamp-6c95cd67c7-2r6g9   1/1   3m7s",
		"node-exporter-bp7x8":                               "node-exporter-lqtrt",
		"dev dev nothing left 32s":                          "dev   dev   nothing left   1m2s",
		"came after 3s":                                     "came after 2.1s",
		"(it came after 5.1s)":                              "(it came after 2s)",
		"a.go:119:4: unknown":                               "a.go:7:11: unknown",
		"[dev] ready (2m44s)":                               "[dev] ready (1h0m5s)",
		"dev v1.24.0":                                       "dev v1.24.17",
		"a   10.96.0.1   <none>":                            "a   10.96.239.120   <none>",
		`"value":[1795878003.802,"6"]`:                      `"value":[1795878004,"6"]`,
		"node_load1 19.65":                                  "node_load1 0",
		"first\n...\nlast":                                  "first\nsecond\nthird\nlast",
		"...\nsecond\n...":                                  "first\nsecond\nthird",
		"...":                                               "anything",
		"first\n...":                                        "first",
		"Waiting for one\nover":                             "Waiting for two\nWaiting for three\nover",
	} {
		assert.True(t, docs.Shows(lines(page), lines(run)), "%q is shown by %q", run, page)
	}
	for page, run := range map[string]string{
		"NAME READY AGE\nbootcamp 2/2 1s":      "NAME READY AGE\nbootcamp 3/3 1s",
		"NAME READY AGE\nbootcamp 2/2 1s\n":    "NAME READY AGE\nbootcamp 2/2 1s\nbootcamp 2/2 1s\n",
		"    scrape_interval: 15s":             "    scrape_interval: 5s",
		"svc ClusterIP 10.96.0.1 80/TCP":       "svc NodePort 10.96.0.1 80/TCP",
		"v1.24.0":                              "v1.34.0",
		"The lab dev is up (18 created).":      "The lab dev is up (17 created).",
		`"value":[1795878003.802,"6"]`:         `"value":[1795878003.802,"5"]`,
		"apiserver 1, node-exporter 4":         "apiserver 1, node-exporter 3",
		"first\n...\nlast":                     "first\nlast\nmore",
		"first\n...\nthird\n...\nsecond\n...":  "first\nsecond\nthird",
		"yes":                                  "no",
		"":                                     "error",
		"node-exporter":                        "kube-exporter",
		"first\nsecond\n...":                   "first",
		"...\nthe last two\nlines":             "lines",
		"deployment.apps/bootcamp 2/2 2 2 23s": "deployment.apps/bootcamp 1/2 1 2 23s",
	} {
		assert.False(t, docs.Shows(lines(page), lines(run)), "%q is shown by %q", run, page)
	}
}

// TestGuideFill: a page that is written anew leaves out as much as before.
func TestGuideFill(t *testing.T) {
	t.Parallel()
	run := []string{"a", "b", "c", "d (2s)", "e"}
	for _, c := range []struct{ page, want []string }{
		{nil, run},
		{[]string{"old"}, run},
		{[]string{"old", "..."}, []string{"a", "..."}},
		{[]string{"...", "old", "old"}, []string{"...", "d (2s)", "e"}},
		{[]string{"old", "...", "old"}, []string{"a", "...", "e"}},
		{[]string{"old", "...", "d (1s)", "...", "old"}, []string{"a", "...", "d (2s)", "...", "e"}},
		{[]string{"old", "...", "gone", "...", "old"}, run},
		{[]string{"old", "...", "d 1", "..."}, run},
		{[]string{"1", "2", "3", "...", "4", "5", "6"}, run},
	} {
		assert.Equal(t, c.want, docs.Fill(c.page, run), "%q", c.page)
		assert.True(t, docs.Shows(docs.Fill(c.page, run), run), "%q", c.page)
	}
	assert.Equal(t, []string{"...", "up (2 created)", "..."}, docs.Fill([]string{"...", "up (18 created)", "..."}, []string{"a", "up (2 created)", "b"}))
	const document = "# x\n\n```console\n$ a\nold\n```\n\ntext\n\n```sh\nb\n```\n"
	fences, err := docs.Fences(document)
	require.NoError(t, err)
	commands, err := docs.Commands(fences[0].Body)
	require.NoError(t, err)
	assert.Equal(t, []docs.Command{{Line: "a", Output: []string{"old"}}}, commands)
	commands[0].Output = []string{"new", "lines"}
	changed, err := docs.Rewrite(document, [][]string{docs.Console(commands), fences[1].Body})
	require.NoError(t, err)
	assert.Equal(t, strings.Replace(document, "old", "new\nlines", 1), changed)
	_, err = docs.Rewrite(document, nil)
	assert.Error(t, err)
}
