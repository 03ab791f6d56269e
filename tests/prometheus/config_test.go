package prometheus

import (
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/config"
	_ "github.com/prometheus/prometheus/discovery/kubernetes" // a configuration may name it
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestConfig: Prometheus reads each configuration that we write, and has the jobs that
// are meant.
func TestConfig(t *testing.T) {
	t.Parallel()
	course := []string{"prometheus", "apiserver", "node-exporter"}
	all := append(course, "kube-state-metrics", "cadvisor")
	for name, want := range map[string][]string{
		"course": course, "own": all, "own-1s": all, "own-5m": all, "student": all,
		"class": {"node-exporter", "kube-state-metrics", "cadvisor"},
	} {
		read, err := config.Load(readFile(t, kept+name+"-prometheus.yml"), promslog.NewNopLogger())
		require.NoError(t, err, name)
		var got []string
		for _, job := range read.ScrapeConfigs {
			got = append(got, job.JobName)
			assert.LessOrEqual(t, job.ScrapeTimeout, job.ScrapeInterval, "%s: %s", name, job.JobName)
		}
		assert.Equal(t, want, got, name)
		if name != "course" {
			assert.Equal(t, read.GlobalConfig.ScrapeInterval, read.GlobalConfig.EvaluationInterval, name)
			assert.Equal(t, []string{"/prometheus/rules.yml"}, read.RuleFiles, name)
		}
	}
}

// TestRates: at each scrape interval a rate has four samples at least to be made of.
func TestRates(t *testing.T) {
	t.Parallel()
	for name, interval := range map[string]time.Duration{"own-1s": time.Second, "own": 15 * time.Second, "own-5m": 5 * time.Minute} {
		for _, expr := range expressions(t, name) {
			for _, window := range windows(t, expr) {
				assert.GreaterOrEqual(t, window, model.Duration(4*interval), expr)
			}
		}
	}
}
