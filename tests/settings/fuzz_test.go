package settings

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/resource"

	"k8sbootcamp/components/editions"
	"k8sbootcamp/components/settings"
)

// FuzzParse takes a configuration as "key=value" entries with a zero byte
// between. Whatever it is: no panic; an error has one line for each key that is
// bad by itself, is of a sane length and shows no secret; and what is no error
// is within all bounds.
func FuzzParse(f *testing.F) {
	f.Add("dev", "")
	f.Add("my stack", "workers=11\x00replicas=x")
	f.Add("dev", "cluster=existing\x00role=student\x00kubeContext=c\x00replicas=100\x00quotaPods=4")
	f.Add("$(touch x)", "nodeImage=$(touch x)\x00typo=1")
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		for _, v := range slices.Concat(cases[name].good, cases[name].bad) {
			f.Add("dev", name+"="+v)
		}
	}
	f.Fuzz(func(t *testing.T, stack, entries string) {
		s := source{}
		for _, e := range strings.Split(entries, "\x00") {
			if k, v, ok := strings.Cut(e, "="); ok {
				s[k] = v
			}
		}
		got, err := settings.Parse(project, stack, s, s.keys(), plain)
		bad := badAlone(s)
		if err == nil {
			require.Empty(t, bad)
			checkBounds(t, stack, got)
			return
		}
		require.Nil(t, got)
		for _, k := range bad {
			require.ErrorContains(t, err, k)
		}
		require.Less(t, len(err.Error()), 1000*(2+len(settings.Keys)+len(s)))

		_, err = settings.Parse(project, stack, s, s.keys(), secret)
		require.Error(t, err)
		for _, k := range settings.Keys {
			if slices.Contains(bad, project+":"+k.Name+" = ") {
				require.ErrorContains(t, err, fmt.Sprintf("\n%s:%s = [secret]: allowed is %s\n", project, k.Name, k.Allowed))
			}
		}
	})
}

// badAlone are how an error begins for the known keys that are bad whatever the
// others say.
func badAlone(s source) []string {
	var bad []string
	for _, k := range settings.Keys {
		if v, ok := s[k.Name]; ok {
			_, err := settings.Parse(project, "dev", source{k.Name: v}, nil, plain)
			start := project + ":" + k.Name + " = "
			if err != nil && strings.Contains(err.Error(), start) && strings.Contains(err.Error(), ": allowed is "+k.Allowed) {
				bad = append(bad, start)
			}
		}
	}
	return bad
}

func checkBounds(t *testing.T, stack string, s *settings.Settings) {
	t.Helper()
	assert.Equal(t, stack, s.Stack)
	assert.Contains(t, []string{settings.Kind, settings.Existing}, s.Cluster)
	if s.Cluster == settings.Kind {
		assert.Equal(t, settings.All, s.Role)
	} else {
		assert.Contains(t, []string{settings.Platform, settings.Student}, s.Role)
		assert.NotEmpty(t, s.KubeContext)
		assert.Zero(t, s.HostPort)
	}
	between(t, "workers", s.Workers, 0, 10)
	between(t, "replicas", s.Replicas, 0, 100)
	between(t, "nodePort", s.NodePort, 30000, 32767)
	between(t, "hostPort", s.HostPort, 0, 65535)
	between(t, "quotaPods", s.QuotaPods, 4, 200)
	between(t, "scrapeInterval", time.Duration(s.ScrapeInterval), time.Second, 5*time.Minute)
	between(t, "rolloutTimeout", s.RolloutTimeout, 10*time.Second, time.Hour)
	between(t, "tokenLifetime", s.TokenLifetime, 10*time.Minute, 720*time.Hour)
	assert.Contains(t, []string{"ClusterIP", "NodePort", "LoadBalancer"}, s.ServiceType)
	assert.Contains(t, editions.Names, s.Edition)
	for _, image := range []string{s.Images.Node, s.Images.Echo, s.Images.Prometheus, s.Images.NodeExporter} {
		assert.NoError(t, editions.CheckImage(image), image)
	}
	for _, q := range []string{s.QuotaCPU, s.QuotaMemory} {
		_, err := resource.ParseQuantity(q)
		assert.NoError(t, err, q)
	}
	for _, text := range []string{s.KubeContext, s.KubeconfigPath} {
		assert.NotContains(t, text, "\n")
		assert.NotContains(t, text, "\x1b")
	}
}

func between[T int | time.Duration](t *testing.T, name string, v, low, high T) {
	t.Helper()
	assert.True(t, v >= low && v <= high, "%s is %v", name, v)
}
