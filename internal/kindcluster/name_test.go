package kindcluster

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestName has fixed values: a stack whose cluster's name changes with a new
// version of this project would lose its cluster.
func TestName(t *testing.T) {
	t.Parallel()
	for stack, want := range map[string]string{
		"dev":                            "bootcamp-dev",
		"student-01":                     "bootcamp-student-01",
		"Dev":                            "bootcamp-dev-9c24f4",
		"a.b":                            "bootcamp-a-b-2e7336",
		"a_b":                            "bootcamp-a-b-648fa9",
		"-":                              "bootcamp-3973e0",
		"":                               "bootcamp-e3b0c4",
		strings.Repeat("a", 40):          "bootcamp-" + strings.Repeat("a", 40),
		strings.Repeat("a", 41):          "bootcamp-" + strings.Repeat("a", 33) + "-c0f8bd",
		strings.Repeat("a", 30) + ".bcd": "bootcamp-" + strings.Repeat("a", 30) + "-bc-5dc52e",
	} {
		assert.Equal(t, want, Name(stack), "%q", stack)
	}
}

func TestValidName(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"a", "0", "bootcamp-dev", "a-b", strings.Repeat("a", 49)} {
		assert.True(t, ValidName(good), good)
	}
	for _, bad := range []string{"", "-a", "a-", "A", "a.b", "a_b", "a b", "a\n", "é", "--name", strings.Repeat("a", 50)} {
		assert.False(t, ValidName(bad), "%q", bad)
	}
}

// FuzzName: whatever two stacks are called, their clusters have valid names,
// and different ones.
func FuzzName(f *testing.F) {
	for _, pair := range [][2]string{
		{"dev", "Dev"},
		{"a.b", "a_b"},
		{"a-b", "a.b"},
		{"", "-"},
		{"-a", "a-"},
		{"学生", "生徒"},
		{"$(touch x)", "'; rm -rf /"},
		{"\xff", "\xfe"},
		{"İ", "i"},
		{"a\n", "a"},
		{strings.Repeat("a", 40), strings.Repeat("a", 41)},
		{strings.Repeat("x", 100) + "1", strings.Repeat("x", 100) + "2"},
		{strings.Repeat("-", 50), strings.Repeat("-", 51)},
		{strings.Repeat("a", 33) + "-b", strings.Repeat("a", 33) + ".b"},
	} {
		f.Add(pair[0], pair[1])
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, stack := range []string{a, b} {
			name := Name(stack)
			if !ValidName(name) || len(name) > 49 || !strings.HasPrefix(name, "bootcamp-") {
				t.Fatalf("stack %q gives %q", stack, name)
			}
			if Name(stack) != name {
				t.Fatalf("stack %q gives two names", stack)
			}
		}
		if a != b && Name(a) == Name(b) {
			t.Fatalf("stacks %q and %q both give %q", a, b, Name(a))
		}
	})
}
