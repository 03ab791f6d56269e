package roster

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestReadGood(t *testing.T) {
	hanako := Student{Name: "hanako", Display: "hanako", Line: 1}
	for name, c := range map[string]struct {
		file, text string
		want       []Student
	}{
		"a list":                    {"class.txt", "hanako\nbob\n", []Student{hanako, {Name: "bob", Display: "bob", Line: 2}}},
		"no newline at the end":     {"class.txt", "hanako", []Student{hanako}},
		"BOM and CRLF":              {"class.txt", "\uFEFFhanako\r\nbob\r\n", []Student{hanako, {Name: "bob", Display: "bob", Line: 2}}},
		"comments and empty lines":  {"class.txt", "# 2026\n\n  hanako  \n\t\n", []Student{{Name: "hanako", Display: "hanako", Line: 3}}},
		"a CSV by its comma":        {"class.txt", "name,replicas\nhanako,3\n", []Student{{Name: "hanako", Display: "hanako", Config: map[string]string{"replicas": "3"}, Line: 2}}},
		"a CSV by its file's name":  {"class.csv", "name\nhanako\n", []Student{{Name: "hanako", Display: "hanako", Config: map[string]string{}, Line: 2}}},
		"a CSV with BOM and CRLF":   {"class.csv", "\uFEFFname,student\r\n\r\n# x\r\nhanako,山田花子\r\n", []Student{{Name: "hanako", Display: "山田花子", Config: map[string]string{}, Line: 4}}},
		"an empty cell is unset":    {"class.csv", "name,replicas,hostPort\nhanako,,18080\n", []Student{{Name: "hanako", Display: "hanako", Config: map[string]string{"hostPort": "18080"}, Unset: []string{"replicas"}, Line: 2}}},
		"a spreadsheet's empty row": {"class.csv", "name,replicas\nhanako,3\n,\n", []Student{{Name: "hanako", Display: "hanako", Config: map[string]string{"replicas": "3"}, Line: 2}}},
		"quotes over two lines":     {"class.csv", "name,student\nhanako,\"Yamada,\nHanako\"\nbob,\n", []Student{{Name: "hanako", Display: "Yamada,\nHanako", Config: map[string]string{}, Line: 2}, {Name: "bob", Display: "bob", Config: map[string]string{}, Line: 4}}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Read(strings.NewReader(c.text), c.file)
			require.NoError(t, err)
			assert.Equal(t, c.want, got)
		})
	}
}

func TestReadBad(t *testing.T) {
	for name, c := range map[string]struct {
		file, text string
		want       []string // one part of each problem, in order
	}{
		"nobody":               {"class.txt", "\n# none\n", []string{"class.txt:1: it names nobody"}},
		"an empty file":        {"class.csv", "", []string{"it names nobody"}},
		"twice":                {"class.txt", "bob\n\nbob\n", []string{`class.txt:3: "bob" is in line 1 already`}},
		"by case alone":        {"class.txt", "bob\nBob\n", []string{`class.txt:2: "Bob" and "bob" of line 1 differ by upper and lower case alone`}},
		"all at once, by line": {"class.csv", "name,replicas\nb b,1\nbob,1\nbob,2\nx,1,2\n", []string{`class.csv:2: stack name "b b"`, `class.csv:4: "bob" is in line 3`, "class.csv:5: it has 3 columns and the header has 2"}},
		"a path":               {"class.txt", "../../etc/passwd\n", []string{"class.txt:1: stack name"}},
		"a command":            {"class.txt", "$(reboot)\n", []string{"class.txt:1: stack name"}},
		"Japanese stack name":  {"class.txt", "花子\n", []string{"class.txt:1: stack name"}},
		"no name column":       {"class.csv", "student,replicas\nx,1\n", []string{`class.csv:1: the header has no column "name"`}},
		"an unknown column":    {"class.csv", "name,replica\nx,1\n", []string{`class.csv:1: column "replica" is no configuration key`}},
		"a column twice":       {"class.csv", "name,replicas,replicas\nx,1,2\n", []string{`class.csv:1: column "replicas" is there twice`}},
		"an empty name":        {"class.csv", "name,replicas\n,3\n", []string{`class.csv:2: stack name ""`}},
		"an open quote":        {"class.csv", "name,student\nx,\"y\n", []string{"class.csv:2: extraneous"}},
		"UTF-16":               {"class.csv", "\xff\xfen\x00a\x00", []string{"class.csv:1: this is UTF-16"}},
		"Shift JIS":            {"class.csv", "name,student\nx,\x8e\x52\x93\x63\n", []string{"class.csv:2: this is not UTF-8"}},
		"a comma after a list": {"class.txt", "bob\nalice,3\n", []string{`class.txt:2: stack name "alice,3"`}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Read(strings.NewReader(c.text), c.file)
			require.Error(t, err)
			assert.Nil(t, got)
			lines := strings.Split(err.Error(), "\n")
			require.Len(t, lines, len(c.want), err.Error())
			for i, want := range c.want {
				assert.Contains(t, lines[i], want)
			}
		})
	}
}

// FuzzRead: whatever the bytes, it is an error with a line, or usable students.
func FuzzRead(f *testing.F) {
	f.Add("name,replicas\nx,1\n", "a.csv")
	f.Add("\uFEFFbob\r\n\r\n#x\r\n", "a.txt")
	f.Add("a\rb\n", "a.txt")
	f.Fuzz(func(t *testing.T, text, file string) {
		got, err := Read(strings.NewReader(text), file)
		if err != nil {
			assert.Empty(t, got)
			assert.Contains(t, err.Error(), ":")
			return
		}
		assert.NotEmpty(t, got)
		seen := map[string]bool{}
		for _, s := range got {
			assert.Regexp(t, `^[A-Za-z0-9_.-]{1,100}$`, s.Name)
			assert.False(t, seen[strings.ToLower(s.Name)])
			assert.Positive(t, s.Line)
			seen[strings.ToLower(s.Name)] = true
		}
	})
}
