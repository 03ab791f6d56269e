package check

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCompareTargets(t *testing.T) {
	target := func(job, health string) string {
		return `{"labels":{"job":"` + job + `"},"health":"` + health + `","lastError":"no route","scrapeUrl":"http://x/` + job + `"}`
	}
	answer := func(targets ...string) []byte {
		out := `{"data":{"activeTargets":[`
		for i, s := range targets {
			if i > 0 {
				out += ","
			}
			out += s
		}
		return []byte(out + "]}}")
	}
	want := map[string]int{"a": 1, "b": 2}
	assert.NoError(t, compareTargets(answer(target("a", "up"), target("b", "up"), target("b", "up")), want))
	assert.ErrorContains(t, compareTargets(answer(target("a", "up"), target("b", "up"), target("b", "down")), want), "http://x/b is down: no route")
	assert.ErrorContains(t, compareTargets(answer(target("a", "up"), target("b", "up")), want), "targets up: a 1, b 1; expected: a 1, b 2")
	assert.ErrorContains(t, compareTargets(answer(target("a", "up"), target("b", "up"), target("b", "up"), target("c", "up")), want), "c 1")
	assert.Error(t, compareTargets(answer(), want))
	assert.Error(t, compareTargets([]byte("<html>"), want))
}

func TestUnusableKubeconfig(t *testing.T) {
	for name, raw := range map[string]string{"empty": "", "no YAML": "{", "no clusters": "apiVersion: v1\nkind: Config\n"} {
		t.Run(name, func(t *testing.T) {
			got := Run(context.Background(), Options{Kubeconfig: []byte(raw)})
			require.Len(t, got, 1)
			assert.False(t, got[0].OK)
			assert.Equal(t, got, Failed(got))
			assert.NotEmpty(t, got[0].Detail)
		})
	}
}
