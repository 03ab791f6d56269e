package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/components/settings"
	"k8sbootcamp/tests/docs"
)

// excerptRE is an excerpt of code in a page, with the file that it is of.
var excerptRE = regexp.MustCompile("(?s)<!-- code: (\\S+) -->\n```go\n(.*?)\n```")

// TestTopicPages: each topic has its page, whose Go is the code's.
func TestTopicPages(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(root + "docs/topics/*.md")
	require.NoError(t, err)
	var pages []string
	for _, file := range files {
		pages = append(pages, strings.TrimSuffix(filepath.Base(file), ".md"))
		page, err := os.ReadFile(file)
		require.NoError(t, err)
		found := excerptRE.FindAllStringSubmatch(string(page), -1)
		assert.NotEmpty(t, found, "%s shows no code", file)
		assert.Len(t, found, strings.Count(string(page), "```go\n"), "an excerpt of %s does not say where it is from", file)
		for _, m := range found {
			content, err := os.ReadFile(root + m[1])
			require.NoError(t, err, file)
			lines := strings.Split(m[2], "\n")
			assert.True(t, docs.Excerpt(lines, string(content)), "%s: these lines do not stand so in %s:\n%s", file, m[1], m[2])
			assert.False(t, docs.Excerpt(append(lines, "another"), string(content)))
		}
	}
	assert.ElementsMatch(t, settings.Topics, pages)
}
