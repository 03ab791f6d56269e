package tests

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/components/lab"
)

// TestMakesSecrets: the settings, by which the class tool builds `./class secret` before
// it is needed, say so where the program runs it and nowhere else.
func TestMakesSecrets(t *testing.T) {
	t.Parallel()
	seen := map[bool]bool{}
	runs := map[string]Run{"course": {}, "everything": golden["everything"], "student": golden["student-everything"], "platform": golden["platform-everything"]}
	for _, topic := range []string{"env", "configmap", "secret", "statefulset", "volume", "ingress"} {
		runs[topic] = Run{Config: map[string]string{"topics": topic}}
	}
	runs["dashboards"] = Run{Config: map[string]string{"podMonitoring": "true", "dashboards": "true"}}
	for name, run := range runs {
		runs := false
		for _, res := range run.Good(t).Of(commandType, "") {
			runs = runs || at(res.Object(), "interpreter", 1) == "secret"
		}
		s, err := lab.Configure(input(run.Config))
		require.NoError(t, err, name)
		assert.Equal(t, runs, s.MakesSecrets(), name)
		seen[runs] = true
	}
	assert.Len(t, seen, 2)
}
