package live

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"k8sbootcamp/tests/live/internal/livelab"
)

// TestBadInputCLI gives a handful to the real `pulumi`.
func TestBadInputCLI(t *testing.T) {
	l := livelab.New(t)
	s := l.Stack(livelab.Unique("bad"), nil)
	marker := filepath.Join(t.TempDir(), "marker")
	values := map[string]string{
		"workers": "three", "replicas": "-1", "serviceType": "$(touch " + marker + ")",
		"echoImage": "`touch " + marker + "`", "nodeImage": "x:1; touch " + marker, "scrapeInterval": "15 s", "typo": "x\ntouch " + marker,
	}
	for k, v := range values {
		s.Set(k, v)
	}
	for _, command := range []func(...string) (string, error){s.Preview, s.Up} {
		out, err := command()
		require.Error(t, err, out)
		require.NotContains(t, out, "panic")
		require.NotContains(t, out, "command:local:Command")
		// Pulumi itself checks the types that Pulumi.yaml declares, one at a time;
		// what it lets through is ours to refuse, all at once.
		require.Regexp(t, "workers|replicas", out)
	}
	s.Unset("workers")
	s.Unset("replicas")
	out, err := s.Up()
	require.Error(t, err, out)
	for _, k := range slices.Sorted(maps.Keys(values)) {
		if k != "workers" && k != "replicas" {
			require.Contains(t, out, "bootcamp:"+k)
		}
	}
	require.NotContains(t, out, "command:local:Command")
	require.NoFileExists(t, marker)
	require.Empty(t, s.Containers())

	for _, name := range []string{"a b", "$(touch " + marker + ")", "`touch " + marker + "`", "a;touch " + marker, "a'b", strings.Repeat("n", 300), "名前"} {
		cmd := l.Command("pulumi", "stack", "init", "--stack", name, "--non-interactive")
		out, err := cmd.CombinedOutput()
		require.Error(t, err, "stack %q: %s", name, out)
		require.NotContains(t, string(out), "panic")
	}
	require.NoFileExists(t, marker)
}
