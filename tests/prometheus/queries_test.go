package prometheus

import (
	"encoding/json"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// expressions are those of the rules of a configuration.
func expressions(t *testing.T, name string) (all []string) {
	t.Helper()
	var rules struct {
		Groups []struct{ Rules []struct{ Expr string } }
	}
	require.NoError(t, yaml.Unmarshal([]byte(readFile(t, kept+name+"-rules.yml")), &rules))
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			all = append(all, r.Expr)
		}
	}
	require.NotEmpty(t, all)
	return all
}

// TestQueries: Prometheus reads every query of every panel of every dashboard, and at
// each scrape interval a rate has four samples at least.
func TestQueries(t *testing.T) {
	t.Parallel()
	intervals := map[string]time.Duration{"own": 15 * time.Second, "own-1s": time.Second, "own-5m": 5 * time.Minute, "student": 15 * time.Second, "class": 15 * time.Second}
	for name, boards := range map[string][]string{
		"own": {"app", "nodes", "class"}, "own-1s": {"app", "nodes", "class"}, "own-5m": {"app", "nodes", "class"},
		"student": {"app", "nodes"}, "class": {"class", "nodes"},
	} {
		for _, board := range boards {
			file := name + "-bootcamp-" + board + ".json"
			var read struct {
				Title  string
				Panels []struct {
					Title   string
					Targets []struct {
						Expr       string
						Datasource struct{ UID string }
					}
				}
			}
			require.NoError(t, json.Unmarshal([]byte(readFile(t, kept+file)), &read), file)
			assert.NotEmpty(t, read.Title, file)
			assert.GreaterOrEqual(t, len(read.Panels), 6, file)
			for _, p := range read.Panels {
				require.NotEmpty(t, p.Targets, "%s: %s", file, p.Title)
				for _, target := range p.Targets {
					assert.Equal(t, "prometheus", target.Datasource.UID, "%s: %s", file, p.Title)
					for _, window := range windows(t, target.Expr) {
						assert.GreaterOrEqual(t, window, model.Duration(4*intervals[name]), "%s: %s", file, p.Title)
					}
				}
			}
		}
	}
	files, err := filepath.Glob(kept + "*.json")
	require.NoError(t, err)
	assert.Len(t, files, 3+3+3+2+2, "a dashboard that this test does not read")
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
