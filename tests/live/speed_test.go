package live

import (
	"cmp"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"k8sbootcamp/tests/live/internal/livelab"
)

// TestSpeedOfExercises measures, with BOOTCAMP_BENCH=1, what the exercises cost: the
// course alone and with all of them, in turn, 1+3 nodes each, up to the last pod, then an
// up with nothing to do. It fails on nothing but a failed up: the figures are for people.
// Grafana and the topics that need a volume are left out where the nodes are a lab's own.
func TestSpeedOfExercises(t *testing.T) {
	if os.Getenv("BOOTCAMP_BENCH") != "1" {
		t.Skip("SKIPPED, NOTHING WAS MEASURED: BOOTCAMP_BENCH=1 measures, for a quarter of an hour")
	}
	lab := livelab.New(t)
	grafana := os.Getenv("LAB_NODE_IMAGE") == ""
	all := map[string]string{"podMonitoring": "true", "rules": "true", "topics": "env configmap secret ingress"}
	what := "podMonitoring, rules, four topics"
	if grafana { // the real nodes, which have a provisioner of volumes too
		all["dashboards"], all["topics"], what = "true", "all", "everything"
	}
	const rounds = 3
	var course, everything [2][]time.Duration // first up, up with nothing to do
	for range rounds {
		for _, side := range []struct {
			config map[string]string
			took   *[2][]time.Duration
		}{{nil, &course}, {all, &everything}} {
			s := lab.Stack(livelab.Unique("speed"), side.config)
			for i := range side.took {
				begin := time.Now()
				out, err := s.Up()
				require.NoError(t, err, out)
				side.took[i] = append(side.took[i], time.Since(begin))
			}
			out, err := s.Destroy()
			require.NoError(t, err, out)
			out, err = s.Pulumi("stack", "rm", "--yes")
			require.NoError(t, err, out)
		}
	}
	for i, name := range []string{"first up", "up with nothing to do"} {
		a, b := median(course[i]), median(everything[i])
		t.Logf("%s, 1+3 nodes, median of %d in turn: the course %.1f s, with %s %.1f s, %.2f times as long.",
			name, rounds, a.Seconds(), what, b.Seconds(), b.Seconds()/a.Seconds())
		t.Logf("%s: %v and %v", name, course[i], everything[i])
	}
}

func median[T cmp.Ordered](all []T) T {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}
