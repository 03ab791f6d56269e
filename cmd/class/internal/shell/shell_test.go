package shell

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestQuote(t *testing.T) {
	for word, want := range map[string][2]string{
		"dev":                            {`dev`, `dev`},
		"--config":                       {`--config`, `--config`},
		`C:\Users\taro\bootcamp`:         {`'C:\Users\taro\bootcamp'`, `C:\Users\taro\bootcamp`},
		`C:\Users\山田\a.yaml`:             {`'C:\Users\山田\a.yaml'`, `C:\Users\山田\a.yaml`},
		`C:\Users\Taro Yamada\kube.yaml`: {`'C:\Users\Taro Yamada\kube.yaml'`, `"C:\Users\Taro Yamada\kube.yaml"`},
		"alice,bob":                      {`alice,bob`, `"alice,bob"`},
		"greeting=it's $5":               {`'greeting=it'"'"'s $5'`, `'greeting=it''s $5'`},
		"it's":                           {`'it'"'"'s'`, `"it's"`},
		"":                               {`''`, `""`},
		"a;b&c":                          {`'a;b&c'`, `"a;b&c"`},
	} {
		assert.Equal(t, want, [2]string{of("linux").Quote(word), of("windows").Quote(word)}, word)
	}
	assert.Equal(t, `up --only "a,b"`, of("windows").Quote("up", "--only", "a,b"))
}

func TestLines(t *testing.T) {
	assert.Equal(t, "export A='/home/a b'", of("darwin").Set("A", "/home/a b"))
	assert.Equal(t, `$env:A = 'file://C:/Users/it''s $me'`, of("windows").Set("A", "file://C:/Users/it's $me"))
	assert.Equal(t, []string{"unset A", "Remove-Item Env:A"}, []string{of("linux").Unset("A"), of("windows").Unset("A")})
	assert.Equal(t, "cp a.bak 'a b'", of("linux").Copy("a.bak", "a b"))
	assert.Equal(t, `cp a.bak "a b"`, of("windows").Copy("a.bak", "a b"))
	assert.Equal(t, []string{"./class", `.\class`}, []string{of("darwin").Class(), of("windows").Class()})
}
