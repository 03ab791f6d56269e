package config

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/text/encoding/unicode"

	"k8sbootcamp/internal/kindcluster"
)

func utf16(t *testing.T, text string, order unicode.Endianness) string {
	t.Helper()
	out, err := unicode.UTF16(order, unicode.UseBOM).NewEncoder().String(text)
	require.NoError(t, err)
	return out
}

func TestReadRoster(t *testing.T) {
	plain := func(line int, name string) student {
		return student{name: name, called: name, line: line, cells: Values{}}
	}
	alice := student{name: "alice", called: "alice", line: 2, cells: Values{"replicas": "2"}, empty: []string{"hostPort"}}
	bob := student{name: "bob", called: "bob", line: 3, cells: Values{"hostPort": "8001"}, empty: []string{"replicas"}}
	hanako := student{name: "hanako", called: "山田 花子", line: 2, cells: Values{"replicas": "3"}}
	for name, c := range map[string]struct {
		file, text string
		want       []student
	}{
		"a list":                   {"class.txt", "hanako\nbob\n", []student{plain(1, "hanako"), plain(2, "bob")}},
		"no newline at the end":    {"class.txt", "hanako", []student{plain(1, "hanako")}},
		"BOM and CRLF":             {"class.txt", "\uFEFFhanako\r\nbob\r\n", []student{plain(1, "hanako"), plain(2, "bob")}},
		"comments and empty lines": {"class.txt", "# 2026, \"a\"\n\n  hanako  \n\t\n  # x\n", []student{plain(3, "hanako")}},
		"a list in Mac's lines":    {"class.txt", "hanako\rbob\r", []student{plain(1, "hanako"), plain(2, "bob")}},

		"a table by its comma":        {"class.txt", "name,replicas\nalice,2\n", []student{{name: "alice", called: "alice", line: 2, cells: Values{"replicas": "2"}}}},
		"a table by its file's name":  {"class.CSV", "name\nhanako\n", []student{plain(2, "hanako")}},
		"a table by its first line":   {"class.txt", "name\nhanako\n", []student{plain(2, "hanako")}},
		"BOM, CRLF, comments in it":   {"class.csv", "\uFEFF\r\n# x, y\r\nname,student\r\n\r\n# x\r\nhanako,山田花子\r\n", []student{{name: "hanako", called: "山田花子", line: 6, cells: Values{}}}},
		"quotes over two lines":       {"class.csv", "name,student\nhanako,\"Yamada,\nHanako\"\nbob,\n", []student{{name: "hanako", called: "Yamada, Hanako", line: 2, cells: Values{}}, plain(4, "bob")}},
		"a quote after a space":       {"class.csv", "name, student\nhanako, \"Yamada, Hanako\"\n", []student{{name: "hanako", called: "Yamada, Hanako", line: 2, cells: Values{}}}},
		"columns by upper case":       {"class.csv", "Name,hostport,REPLICAS\nbob,8001,\n", []student{{name: "bob", called: "bob", line: 2, cells: Values{"hostPort": "8001"}, empty: []string{"replicas"}}}},
		"empty cells left out":        {"class.csv", "name,replicas,hostPort\r\nalice,2\r\nbob,,8001\r\n", []student{alice, bob}},
		"empty cells, one too many":   {"class.csv", "name,replicas,hostPort,,\nalice,2,,,\n,,,,\n", []student{alice}},
		"semicolons":                  {"class.csv", "name;replicas;hostPort\r\nalice;2\r\nbob;;8001\r\n", []student{alice, bob}},
		"tabs":                        {"class.txt", "name\treplicas\thostPort\r\nalice\t2\r\nbob\t\t8001\r\n", []student{alice, bob}},
		"Excel for Mac":               {"class.csv", "name,replicas,hostPort\ralice,2,\rbob,,8001", []student{alice, bob}},
		"Excel's Unicode text":        {"class.txt", utf16(t, "name\tstudent\treplicas\r\nhanako\t山田\u3000花子\t3\r\n", unicode.LittleEndian), []student{hanako}},
		"UTF-16, the other way round": {"class.csv", utf16(t, "name,student,replicas\r\nhanako,山田 花子,3\r\n", unicode.BigEndian), []student{hanako}},
		"nothing of a cell moves a cursor": {"class.csv", "name,student\nhanako,\"\x1b]52;c;eA==\x07\u202eY\n\"\n", []student{
			{name: "hanako", called: `\x1b]52;c;eA==\a\u202eY`, line: 2, cells: Values{}},
		}},
		"a long cell": {"class.csv", "name,student\nhanako," + strings.Repeat("花", 1000) + "\n", []student{
			{name: "hanako", called: strings.Repeat("花", 79) + "…", line: 2, cells: Values{}},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			got, problems := readRoster([]byte(c.text), c.file, false)
			require.Empty(t, problems)
			assert.Equal(t, c.want, got)
		})
	}
}

func TestReadRosterBad(t *testing.T) {
	for name, c := range map[string]struct {
		file, text string
		want       []string // the line, and a fact that the problem names
	}{
		"nobody":               {"class.txt", "\n# none\n", []string{"1"}},
		"an empty file":        {"class.csv", "", []string{"1"}},
		"a header alone":       {"class.csv", "name\n", []string{"1"}},
		"twice":                {"class.txt", "bob\n\nbob\n", []string{`3 "bob" is in line 1`}},
		"by case alone":        {"class.txt", "bob\nBob\n", []string{`2 "Bob" and "bob" of line 1`}},
		"the same cluster":     {"class.txt", "a.b\n" + strings.TrimPrefix(kindcluster.Name("a.b"), "bootcamp-") + "\n", []string{"2 " + kindcluster.Name("a.b")}},
		"all at once, by line": {"class.csv", "name,replicas\nb b,1\nbob,1\nbob,2\nx,1,2\n", []string{`2 "b b"`, `4 "bob" is in line 3`, "5 (3) than there are columns (2)"}},
		"a path":               {"class.txt", "../../etc/passwd\n", []string{`1 "../../etc/passwd"`}},
		"a command":            {"class.txt", "$(reboot)\n", []string{`1 "$(reboot)"`}},
		"a flag":               {"class.txt", "alice\n-h\n", []string{`2 "-h"`}},
		"Japanese stack name":  {"class.txt", "花子\n", []string{`1 "花子"`}},
		"no name column":       {"class.csv", "student,replicas\nx,1\n", []string{`1 "name"`}},
		"an unknown column":    {"class.csv", "name;replica\nx;1\n", []string{`1 "replica"`}},
		"two separators":       {"class.csv", "name;student,replicas\nx;1\n", []string{`1 "student,replicas"`}},
		"a column twice":       {"class.csv", "name,replicas,Replicas\nx,1,2\n", []string{`1 "replicas"`}},
		"a column of no name":  {"class.csv", "name,,replicas\nx,1,2\n", []string{`1 ""`}},
		"an empty name":        {"class.csv", "name,replicas\n,3\n", []string{`2 ""`}},
		"an open quote":        {"class.csv", "name,student\nx,\"y\n", []string{"2"}},
		"a comma after a list": {"class.txt", "bob\nalice,3\n", []string{"2 (2) than there are columns (1)"}},
		"an escape in a list":  {"class.txt", "bob\n\x1b]52;c;eA==\x07\n", []string{`2 "\x1b]52;c;eA==\a"`}},
		"escapes in columns":   {"class.csv", "name,\x1b[31m,x\x1b[0m\n", []string{`1 "\x1b[31m, x\x1b[0m"`}},
		"Shift JIS, once":      {"class.csv", "name,student\r\nx,\x8e\x52\x93\x63\r\ny,\x8e\x52\r\n", []string{"2 UTF-8"}},
		"Latin 1":              {"class.csv", "name;student\nx;Andr\xe9\n", []string{"2 UTF-8"}},
		"damaged before":       {"class.csv", "name,student\nx,Andr\uFFFD\n", []string{"2 UTF-8"}},
		"UTF-16 cut short":     {"class.csv", "\xff\xfen\x00a", []string{"1 UTF-8"}},
		"UTF-16 without mark":  {"class.csv", "n\x00a\x00", []string{"1 UTF-8"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, problems := readRoster([]byte(c.text), c.file, false)
			assert.Nil(t, got)
			require.Len(t, problems, len(c.want), problems)
			for i, want := range c.want {
				line, fact, _ := strings.Cut(want, " ")
				assert.Equal(t, CheckRoster, problems[i].Check)
				assert.NotEmpty(t, problems[i].Remedy)
				said, isAt := strings.CutPrefix(problems[i].Problem, fmt.Sprintf("%s:%s: ", c.file, line))
				assert.True(t, isAt, problems[i].Problem)
				assert.Contains(t, said, fact)
			}
		})
	}
}

// FuzzReadRoster: whatever the bytes, it is problems, each with a line, or usable
// students; nothing of either moves a cursor.
func FuzzReadRoster(f *testing.F) {
	f.Add("name,replicas\nx,1\n", "a.csv")
	f.Add("\uFEFFbob\r\n\r\n#x\r\n", "a.txt")
	f.Add("name\tstudent\rb\t\x1b[2J", "a.txt")
	f.Add("\xff\xfea\x00\n\x00", "a.txt")
	f.Fuzz(func(t *testing.T, text, file string) {
		file = strconv.Quote(file)
		got, problems := readRoster([]byte(text), file, true)
		assert.Equal(t, len(problems) == 0, len(got) > 0)
		line := func(s string) {
			assert.Less(t, len(s), 1500+len(file))
			assert.False(t, strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }), "%q", s)
		}
		for _, p := range problems {
			assert.Regexp(t, `^:[1-9][0-9]*: `, strings.TrimPrefix(p.Problem, file))
			line(p.Problem)
		}
		seen := map[string]bool{}
		for _, s := range got {
			assert.Regexp(t, `^[A-Za-z0-9_.][A-Za-z0-9_.-]{0,99}$`, s.name)
			assert.False(t, seen[strings.ToLower(s.name)])
			assert.Positive(t, s.line)
			line(s.called)
			seen[strings.ToLower(s.name)] = true
		}
	})
}

// A roster that came by mail picks neither a cluster nor what runs on the machine.
func TestRosterIsTrustedExplicitly(t *testing.T) {
	for _, column := range Far {
		text := []byte("name," + strings.ToUpper(column) + "\nann,\n")
		students, problems := readRoster(text, "class.csv", false)
		assert.Empty(t, students, column)
		require.Len(t, problems, 1, column)
		assert.Contains(t, problems[0].Problem, `class.csv:1: column "`+column+`"`)
		assert.Contains(t, problems[0].Remedy, "--trust-roster")

		students, problems = readRoster(text, "class.csv", true)
		assert.Len(t, students, 1, column)
		assert.Empty(t, problems, column)
	}
}
