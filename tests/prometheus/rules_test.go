package prometheus

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// kept are the files that the lab hands to Prometheus.
const kept = "../testdata/prometheus/"

// TestRules runs promtool's unit tests of the rules, testdata/rules_test.yml.
func TestRules(t *testing.T) {
	t.Parallel()
	out, err := ruleTests(t, readFile(t, "testdata/rules_test.yml"))
	require.NoError(t, err, out)
}

// TestRulesCanFail: promtool sees rules that do otherwise.
func TestRulesCanFail(t *testing.T) {
	t.Parallel()
	var all map[string]any
	require.NoError(t, yaml.Unmarshal([]byte(readFile(t, "testdata/rules_test.yml")), &all))
	for _, test := range all["tests"].([]any) { // no series, so that no alert fires
		test.(map[string]any)["input_series"] = []any{}
	}
	tests, err := yaml.Marshal(all)
	require.NoError(t, err)
	out, err := ruleTests(t, string(tests))
	assert.Error(t, err)
	assert.Contains(t, out, "FAILED")
}

// TestEveryRuleIsTested: each series and each alert is in the unit tests.
func TestEveryRuleIsTested(t *testing.T) {
	t.Parallel()
	var rules struct {
		Groups []struct {
			Rules []struct{ Record, Alert string }
		}
	}
	require.NoError(t, yaml.Unmarshal([]byte(readFile(t, kept+"own-rules.yml")), &rules))
	tests := readFile(t, "testdata/rules_test.yml")
	seen := 0
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			seen++
			if r.Alert != "" {
				assert.Contains(t, tests, "alertname: "+r.Alert+"\n")
			} else {
				assert.Contains(t, tests, "expr: "+r.Record+"\n")
			}
		}
	}
	assert.Equal(t, 11, seen)
}

// TestCheckRules: promtool takes the rules of each scrape interval, and finds nothing to
// better.
func TestCheckRules(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(kept + "*-rules.yml")
	require.NoError(t, err)
	require.Len(t, files, 5)
	out, err := promtool(append([]string{"check", "rules", "--lint=all", "--lint-fatal"}, files...)...)
	require.NoError(t, err, out)
}

func ruleTests(t *testing.T, tests string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "rules.yml"), []byte(readFile(t, kept+"own-rules.yml")), 0o600))
	file := filepath.Join(dir, "rules_test.yml")
	require.NoError(t, os.WriteFile(file, []byte(tests), 0o600))
	return promtool("test", "rules", file)
}

// promtool is Prometheus's own, without the service discovery of any cloud.
func promtool(args ...string) (string, error) {
	c := exec.Command("go", append([]string{"tool", "promtool"}, args...)...)
	c.Env = append(os.Environ(), "GOFLAGS="+strings.TrimSpace(os.Getenv("GOFLAGS")+" -tags=remove_all_sd"))
	out, err := c.CombinedOutput()
	return string(out), err
}

func readFile(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	return string(b)
}
