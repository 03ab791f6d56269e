package docs_test

import (
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/components/settings"
	"k8sbootcamp/tests/docs"
)

// TestNewKey: the places that CONTRIBUTING.md lists for a new configuration key are
// those that have all the keys there are, and no other file has them all. The program,
// components/lab, is one place. Tests do not count: one that knows too few keys fails by
// itself.
func TestNewKey(t *testing.T) {
	t.Parallel()
	list, err := docs.Block(read(t, "CONTRIBUTING.md"), "new-key")
	require.NoError(t, err)
	var listed []string
	for _, m := range regexp.MustCompile("`([^` ]+\\.(?:go|yaml|md)|[^` ]+/)`").FindAllStringSubmatch(list, -1) {
		if !slices.Contains(listed, m[1]) {
			listed = append(listed, m[1])
		}
	}
	places := map[string]string{} // a file or the program, and its text
	for _, file := range textFiles(t) {
		at := file
		if strings.HasPrefix(file, program) {
			at = program
		}
		places[at] += read(t, file)
	}
	var found []string
	for at, text := range places {
		if len(missingKeys(t, text)) == 0 {
			found = append(found, at)
		}
	}
	assert.ElementsMatch(t, listed, found)
	for _, at := range listed {
		assert.Empty(t, missingKeys(t, places[at]), "%s has all keys but these", at)
	}
}

const program = "components/lab/"

// missingKeys are those that a text mentions neither by their names nor by their
// fields of settings.Settings.
func missingKeys(t *testing.T, text string) []string {
	t.Helper()
	var missing []string
	for _, k := range settings.Keys {
		if !regexp.MustCompile(`\b(` + k.Name + `|` + field(t, k.Name) + `)\b`).MatchString(text) {
			missing = append(missing, k.Name)
		}
	}
	return missing
}

// field is the one of settings.Settings that a key sets, as keys.go says.
func field(t *testing.T, key string) string {
	t.Helper()
	m := regexp.MustCompile(`\w+\("` + key + `",.*\b[si](\.Images)?\.([A-Z]\w*)`).FindStringSubmatch(read(t, "components/settings/keys.go"))
	require.NotNil(t, m, "components/settings/keys.go has no line of %s", key)
	return m[2]
}

// textFiles are the repository's files of text, but for tests, by their paths.
func textFiles(t *testing.T) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if len(entry.Name()) > 2 && strings.HasPrefix(entry.Name(), ".") || entry.Name() == "bin" {
				return filepath.SkipDir
			}
			return nil
		}
		switch filepath.Ext(name) {
		case ".go", ".yaml", ".yml", ".md", ".json", ".txt", ".txtar", ".csv":
		default:
			return nil
		}
		if relative, err := filepath.Rel(root, name); err == nil && !strings.HasSuffix(name, "_test.go") {
			files = append(files, filepath.ToSlash(relative))
		}
		return nil
	})
	require.NoError(t, err)
	return files
}
