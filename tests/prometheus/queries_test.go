package prometheus

import (
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// expressions are those of the rules of a configuration.
func expressions(t *testing.T, name string) (all []string) {
	t.Helper()
	var rules struct {
		Groups []struct{ Rules []struct{ Expr string } }
	}
	require.NoError(t, yaml.Unmarshal([]byte(read(t, kept+name+"-rules.yml")), &rules))
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			all = append(all, r.Expr)
		}
	}
	require.NotEmpty(t, all)
	return all
}

// windows are over what an expression looks back.
func windows(t *testing.T, expr string) (all []model.Duration) {
	t.Helper()
	read, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	require.NoError(t, err, expr)
	parser.Inspect(read, func(node parser.Node, _ []parser.Node) error {
		if m, ok := node.(*parser.MatrixSelector); ok {
			all = append(all, model.Duration(m.Range))
		}
		return nil
	})
	return all
}
