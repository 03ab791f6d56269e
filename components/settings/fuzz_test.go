package settings_test

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/resource"

	"k8sbootcamp/components/editions"
	"k8sbootcamp/components/settings"
)

// FuzzParse takes a configuration as "key=value" entries with a zero byte
// between. Whatever it is: no panic; an error has one problem for each key that is
// bad by itself, is of a sane length, and shows no secret; and what is no error is
// within all bounds.
func FuzzParse(f *testing.F) {
	f.Add("dev", "")
	f.Add("my stack", "workers=11\x00replicas=x")
	f.Add("dev", "mode=shared-student\x00kubeContext=c\x00replicas=100\x00quotaPods=4")
	f.Add("dev", "cluster=existing\x00role=student\x00mode=own-cluster")
	f.Add("$(touch x)", "nodeImage=$(touch x)\x00typo=1")
	for _, k := range settings.Keys {
		all, more := usual(f, k), special[k.Name]
		for _, v := range slices.Concat(all.good, all.bad, more.good, more.bad) {
			f.Add("dev", k.Name+"="+v)
		}
	}
	f.Fuzz(func(t *testing.T, stack, entries string) {
		s := source{}
		for _, e := range strings.Split(entries, "\x00") {
			if k, v, ok := strings.Cut(e, "="); ok {
				s[k] = v
			}
		}
		in := s.input()
		in.Stack = stack
		got, err := settings.Parse(in)
		bad := badAlone(t, s)
		if err == nil {
			require.Empty(t, bad)
			require.Nil(t, settings.CheckStackName(stack))
			checkBounds(t, s, got)
			return
		}
		require.Nil(t, got)
		found := map[kindAndKey]int{}
		for _, p := range settings.Problems(err) {
			found[kindAndKey{p.Kind, p.Key}]++
		}
		for what, n := range found {
			require.Equal(t, 1, n, "%v", what)
			require.Equal(t, what.kind == settings.BadValue, slices.Contains(bad, what.key), "%v", what)
		}
		for _, k := range bad {
			require.Contains(t, found, kindAndKey{settings.BadValue, k})
		}
		require.Less(t, len(err.Error()), 1000*(2+len(settings.Keys)+len(s)))
		require.Equal(t, 2+len(settings.Problems(err)), 1+strings.Count(err.Error(), "\n"))

		in = s.secret()
		in.Stack = stack
		_, err = settings.Parse(in)
		require.Len(t, settings.Problems(err), len(found))
		for _, p := range settings.Problems(err) {
			if p.Kind == settings.BadValue || p.Kind == settings.Clash {
				require.Equal(t, "[secret]", p.Value)
			}
		}
	})
}

// badAlone are the known keys that are bad whatever the others say.
func badAlone(t *testing.T, s source) []string {
	var bad []string
	for _, k := range slices.Sorted(maps.Keys(s)) {
		if !settings.Known(k) {
			continue
		}
		_, err := parse(source{k: s[k]})
		for _, p := range settings.Problems(err) {
			if p.Kind == settings.BadValue {
				require.Equal(t, k, p.Key)
				bad = append(bad, k)
			}
		}
	}
	return bad
}

// checkBounds holds what was configured, or is the default, against the bounds of
// its key.
func checkBounds(t *testing.T, in source, s *settings.Settings) {
	t.Helper()
	for _, k := range settings.Keys {
		v, ok := in[k.Name]
		if !ok {
			v = k.Default
		}
		if k.Values != nil && !k.List {
			assert.Contains(t, k.Values, v, k.Name)
		}
		if k.List {
			require.Len(t, slices.Compact(slices.Sorted(slices.Values(s.Topics))), len(s.Topics), k.Name)
			require.Subset(t, k.Values, s.Topics)
		}
		if k.Min != "" {
			assert.True(t, within(k, v), "%s is %q, which is not from %s to %s", k.Name, v, k.Min, k.Max)
		}
		assert.NotContains(t, v, "\n", k.Name)
		assert.NotContains(t, v, "\x1b", k.Name)
	}
	for _, image := range []string{s.Images.Node, s.Images.Echo, s.Images.Prometheus, s.Images.NodeExporter} {
		assert.NoError(t, editions.CheckImage(image), image)
	}
	if s.Shared() {
		assert.NotEmpty(t, s.KubeContext)
		assert.Zero(t, s.HostPort)
	}
}

// within tells whether a value is between a key's bounds, read as the bounds are:
// as numbers, durations or quantities.
func within(k settings.Key, v string) bool {
	if k.Type == "integer" {
		return between(k, v, strconv.Atoi, func(a, b int) bool { return a <= b })
	}
	if _, err := duration(k.Min); err == nil {
		return between(k, v, duration, func(a, b time.Duration) bool { return a <= b })
	}
	return between(k, v, resource.ParseQuantity, func(a, b resource.Quantity) bool { return a.Cmp(b) <= 0 })
}

func between[T any](k settings.Key, v string, parse func(string) (T, error), notMore func(a, b T) bool) bool {
	low, err1 := parse(k.Min)
	high, err2 := parse(k.Max)
	value, err3 := parse(v)
	return err1 == nil && err2 == nil && err3 == nil && notMore(low, value) && notMore(value, high)
}

// duration reads Go's notation and Prometheus's.
func duration(s string) (time.Duration, error) {
	if d, err := time.ParseDuration(s); err == nil {
		return d, nil
	}
	d, err := model.ParseDuration(s)
	return time.Duration(d), err
}
