package printable

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestText(t *testing.T) {
	for in, want := range map[string]string{
		"":                       "",
		"plain\n\ttext":          "plain\n\ttext",
		"山田 é 🚀":                 "山田 é 🚀",
		"\x1b]52;c;ZXZpbA==\x07": `\x1b]52;c;ZXZpbA==\a`,
		"a\rb":                   `a\rb`,
		"right\u202eleft":        `right\u202eleft`,
		"half\xffbyte":           "half\uFFFDbyte",
		"\u009b31mC1":            `\u009b31mC1`,
		"no\u200bwidth":          `no\u200bwidth`,
	} {
		assert.Equal(t, want, Text(in))
	}
}

func TestLine(t *testing.T) {
	assert.Equal(t, "a b c", Line(" a\nb\t c\n", 10))
	assert.Equal(t, "12345", Line("12345", 5))
	assert.Equal(t, "1234…", Line("123456", 5))
	assert.Equal(t, "山田…", Line("山田花子", 3))
	assert.Equal(t, `\x1b[2J`, Line("\x1b[2J", 20))
}

func TestMiddle(t *testing.T) {
	assert.Equal(t, "abc", Middle("abc", 3))
	assert.Equal(t, "ab…yz", Middle("abcdefxyz", 5))
	assert.Equal(t, "a…yz", Middle("abcdefxyz", 4))
}

func TestCount(t *testing.T) {
	assert.Equal(t, "0 problems, 1 problem, 2 problems", Count(0, "problem")+", "+Count(1, "problem")+", "+Count(2, "problem"))
}
