// Package settings tests components/settings from outside. It is a package of
// its own, so that the fuzzer need not build the Kubernetes SDK.
package settings

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi/config"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/components/editions"
	"k8sbootcamp/components/settings"
)

const project = "bootcamp"

// source is a stack's configuration, keys without the project's name.
type source map[string]string

func (s source) Try(key string) (string, error) {
	v, ok := s[key]
	if !ok {
		return "", config.ErrMissingVar
	}
	return v, nil
}

func (s source) keys() []string {
	var keys []string
	for _, k := range slices.Sorted(maps.Keys(s)) {
		keys = append(keys, project+":"+k)
	}
	return keys
}

func plain(string) bool  { return false }
func secret(string) bool { return true }

func parse(s source) (*settings.Settings, error) {
	return settings.Parse(project, "dev", s, s.keys(), plain)
}

// values are what a key takes by itself, and what it does not.
type values struct{ good, bad []string }

// cases are the values of each key; TestTogether has those of several.
var cases = map[string]values{
	"cluster": {
		good: []string{"kind"},
		bad:  []string{"", "Kind", "kind ", "minikube", "kind\n", "true"},
	},
	"workers": {
		good: []string{"0", "3", "10"},
		bad:  []string{"", "-1", "11", "3.0", "three", " 3", "3 ", "3\n", "0x3", "1e1", "1_0", "９", "99999999999999999999"},
	},
	"replicas": {
		good: []string{"0", "2", "100"},
		bad:  []string{"", "-1", "101", "2.5", "two", "true", "[2]", "99999999999999999999"},
	},
	"serviceType": {
		good: []string{"ClusterIP", "NodePort", "LoadBalancer"},
		bad:  []string{"", "clusterip", "ClusterIP ", "ExternalName", "Headless", "$(id)", "ClusterIP\nNodePort"},
	},
	"nodePort": {
		good: []string{"30000", "30080", "32767"},
		bad:  []string{"", "29999", "32768", "80", "0", "-30080", "30080/tcp"},
	},
	"hostPort": {
		good: []string{"0", "1", "8080", "65535"},
		bad:  []string{"", "-1", "65536", ":8080", "127.0.0.1:8080", "http"},
	},
	"monitoring": {
		good: []string{"true", "false"},
		bad:  []string{"", "True", "FALSE", "yes", "no", "on", "1", "0", "true "},
	},
	"scrapeInterval": {
		good: []string{"1s", "15s", "1m30s", "5m", "1000ms", "300s"},
		bad:  []string{"", "0", "0s", "999ms", "5m1s", "301s", "15", "-15s", "15 s", " 15s", "1.5s", "fifteen", "1d", "15s15s"},
	},
	"edition": {
		good: []string{"course", "current"},
		bad:  []string{"", "Course", "latest", "course,current"},
	},
	"nodeImage":         images,
	"echoImage":         images,
	"prometheusImage":   images,
	"nodeExporterImage": images,
	"rolloutTimeout": {
		good: []string{"10s", "2m30s", "1h", "60m", "1.5m"},
		bad:  []string{"", "0", "9s", "9999ms", "1h0m1s", "150", "-1m", "2 m", "forever"},
	},
	"role": {
		good: []string{"all"},
		bad:  []string{"", "All", "teacher", "all "},
	},
	"kubeContext": {
		good: []string{"", "kind-dev", "arn:aws:eks:eu-west-1:1:cluster/class", strings.Repeat("x", 253)},
		bad:  []string{"a\nb", "a\x00b", "\x1b[31mred", strings.Repeat("x", 254)},
	},
	"kubeconfigPath": {
		good: []string{"", "/home/teacher/.kube/class.yaml", "~/with space", `C:\Users\teacher\config`},
		bad:  []string{"a\nb", "a\x00b", strings.Repeat("x", 4097)},
	},
	"quotaPods": {
		good: []string{"4", "20", "200"},
		bad:  []string{"", "3", "201", "many"},
	},
	"quotaCPU": {
		good: []string{"2", "6", "2500m", "100"},
		bad:  []string{"", "1999m", "1", "101", "-6", "6 cores", "6Gi", "six"},
	},
	"quotaMemory": {
		good: []string{"1Gi", "4Gi", "4096Mi", "1Ti"},
		bad:  []string{"", "1023Mi", "1025Gi", "4GB", "-4Gi", "4 Gi", "lots"},
	},
	"tokenLifetime": {
		good: []string{"10m", "12h", "720h"},
		bad:  []string{"", "9m59s", "720h1s", "12", "-12h", "1d", "for ever"},
	},
}

var images = values{
	good: []string{
		"", "prom/prometheus:v3", "registry.example:5000/a/b:1.0", "a:1",
		"a@sha256:0866296e693efe1fed79d5e6c7af8df71fc73ae45e3679af05342239cdc5bc8e",
		"a:latest@sha256:0866296e693efe1fed79d5e6c7af8df71fc73ae45e3679af05342239cdc5bc8e",
	},
	bad: []string{
		"a", "a:latest", "a:Latest", "registry.example:5000/a", "a:", ":1", "A:1", " a:1", "a:1 ", "a:1\n", "a b:1", "a@sha256:12",
		"a:1;id", "$(id):1", "https://registry.example/a:1", "a:" + strings.Repeat("1", 129),
		"0866296e693efe1fed79d5e6c7af8df71fc73ae45e3679af05342239cdc5bc8e",
	},
}

// TestEachKey tries every key's own values, one key at a time.
func TestEachKey(t *testing.T) {
	t.Parallel()
	for _, k := range settings.Keys {
		c, ok := cases[k.Name]
		if !ok {
			t.Errorf("key %s has no cases here", k.Name)
			continue
		}
		for _, value := range c.good {
			_, err := parse(source{k.Name: value})
			assert.NoError(t, err, "%s = %q", k.Name, value)
		}
		for _, value := range c.bad {
			got, err := parse(source{k.Name: value})
			if !assert.Error(t, err, "%s = %q", k.Name, value) {
				continue
			}
			assert.Nil(t, got)
			assert.ErrorContains(t, err, fmt.Sprintf("%s:%s = ", project, k.Name))
			assert.ErrorContains(t, err, k.Allowed, "the error says what is allowed")
			if len(value) <= 80 {
				assert.ErrorContains(t, err, fmt.Sprintf("%q", value), "the error says what was given")
			}
		}
	}
	for name := range cases {
		assert.True(t, slices.ContainsFunc(settings.Keys, func(k settings.Key) bool { return k.Name == name }), "%s is no key any more", name)
	}
}

// TestDefaults: an empty configuration is the course as the text has it.
func TestDefaults(t *testing.T) {
	t.Parallel()
	got, err := parse(nil)
	require.NoError(t, err)
	images, err := editions.Of(editions.Course)
	require.NoError(t, err)
	assert.Equal(t, &settings.Settings{
		Stack: "dev", Cluster: settings.Kind, Role: settings.All,
		Workers: 3, Replicas: 2, ServiceType: "ClusterIP", NodePort: 30080,
		Monitoring: true, ScrapeInterval: got.ScrapeInterval, Edition: editions.Course, Images: images,
		RolloutTimeout: 150 * time.Second, QuotaPods: 20, QuotaCPU: "6", QuotaMemory: "4Gi", TokenLifetime: 12 * time.Hour,
	}, got)
	assert.Equal(t, "15s", got.ScrapeInterval.String())

	spelled := source{}
	for _, k := range settings.Keys {
		spelled[k.Name] = k.Default
	}
	same, err := parse(spelled)
	require.NoError(t, err)
	assert.Equal(t, got, same, "the defaults, spelled out")
}

// TestValues: what is configured is what the program gets.
func TestValues(t *testing.T) {
	t.Parallel()
	got, err := parse(source{
		"workers": "1", "replicas": "5", "serviceType": "NodePort", "nodePort": "30123", "hostPort": "8088",
		"monitoring": "false", "scrapeInterval": "1m30s", "edition": "current", "rolloutTimeout": "10m",
		"echoImage": "example/echo:1", "prometheusImage": "example/prometheus:2",
	})
	require.NoError(t, err)
	images, err := editions.Of(editions.Current)
	require.NoError(t, err)
	images.Echo, images.Prometheus = "example/echo:1", "example/prometheus:2"
	assert.Equal(t, 1, got.Workers)
	assert.Equal(t, 5, got.Replicas)
	assert.Equal(t, "NodePort", got.ServiceType)
	assert.Equal(t, 30123, got.NodePort)
	assert.Equal(t, 8088, got.HostPort)
	assert.False(t, got.Monitoring)
	assert.Equal(t, 90*time.Second, time.Duration(got.ScrapeInterval))
	assert.Equal(t, 10*time.Minute, got.RolloutTimeout)
	assert.Equal(t, editions.Current, got.Edition)
	assert.Equal(t, images, got.Images, "the overrides, and the edition's for the rest")
}

// TestTogether: values that are good by themselves and do not fit together.
func TestTogether(t *testing.T) {
	t.Parallel()
	student := source{"cluster": "existing", "role": "student", "kubeContext": "class"}
	with := func(more source) source {
		s := maps.Clone(student)
		maps.Copy(s, more)
		return s
	}
	tests := []struct {
		name string
		in   source
		want []string // keys that the error names; none is good
	}{
		{"a student", student, nil},
		{"the class", with(source{"role": "platform"}), nil},
		{"platform on kind", source{"role": "platform"}, []string{"role"}},
		{"student on kind", source{"role": "student"}, []string{"role"}},
		{"all on a shared cluster", with(source{"role": "all"}), []string{"role"}},
		{"no role on a shared cluster", source{"cluster": "existing", "kubeContext": "class"}, []string{"role"}},
		{"no context", with(source{"kubeContext": ""}), []string{"kubeContext"}},
		{"a host port", with(source{"hostPort": "8080"}), []string{"hostPort"}},
		{"more replicas than pods", with(source{"replicas": "15"}), []string{"quotaPods"}},
		{"as many replicas as pods", with(source{"replicas": "14"}), nil},
		{"many replicas and pods", with(source{"replicas": "100", "quotaPods": "200"}), []string{"quotaCPU", "quotaMemory"}},
		{"many replicas, pods and room", with(source{"replicas": "100", "quotaPods": "200", "quotaCPU": "22", "quotaMemory": "15168Mi"}), nil},
		{"no room for a rollout", with(source{"quotaCPU": "2399m", "quotaMemory": "2303Mi"}), []string{"quotaCPU", "quotaMemory"}},
		{"just room for a rollout", with(source{"quotaCPU": "2400m", "quotaMemory": "2304Mi"}), nil},
		{"no Prometheus needs less", with(source{"monitoring": "false", "quotaCPU": "2", "quotaMemory": "1Gi"}), nil},
		{"all of it", source{"cluster": "existing", "hostPort": "1"}, []string{"role", "kubeContext", "hostPort"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := parse(tt.in)
			if len(tt.want) == 0 {
				assert.NoError(t, err)
				return
			}
			require.Error(t, err)
			assert.Equal(t, tt.want, named(err))
		})
	}
}

// named are the keys that the error's problems are about, in their order.
func named(err error) []string {
	var keys []string
	for _, line := range strings.Split(err.Error(), "\n") {
		if rest, ok := strings.CutPrefix(line, project+":"); ok {
			keys = append(keys, rest[:strings.IndexAny(rest+" ", " ")])
		}
	}
	return keys
}

func TestUnknownKeys(t *testing.T) {
	t.Parallel()
	for typo, meant := range map[string]string{
		"replica": "replicas", "Replicas": "replicas", "worker": "workers", "service_type": "serviceType",
		"nodeport": "nodePort", "interval": "scrapeInterval", "prometheus": "prometheusImage", "monitor": "monitoring",
	} {
		_, err := parse(source{typo: "2"})
		assert.ErrorContains(t, err, "bootcamp:"+typo+" is no key of this project; did you mean "+meant+"?")
	}
	_, err := parse(source{"": "x"})
	assert.Error(t, err, "an empty key")

	others := []string{"pulumi:disable-default-providers", "kubernetes:context", "bootcampus:replicas", "replicas"}
	_, err = settings.Parse(project, "dev", source{}, others, plain)
	assert.NoError(t, err, "keys of other namespaces are not ours to judge")
}

// TestHostileKey: a key cannot forge lines of the error, nor colour the terminal.
func TestHostileKey(t *testing.T) {
	t.Parallel()
	_, err := parse(source{"x\nbootcamp:forged = 1\x1b[31m": "1"})
	require.Error(t, err)
	assert.NotContains(t, err.Error(), "\nbootcamp:forged")
	assert.NotContains(t, err.Error(), "\x1b")
}

// TestAllAtOnce: one error has every problem, counts them, and says what to do.
func TestAllAtOnce(t *testing.T) {
	t.Parallel()
	_, err := settings.Parse(project, "my stack", source{
		"workers": "11", "replicas": "x", "serviceType": "Ingress", "scrapeInterval": "1h", "edition": "old", "nodeImage": "a:latest",
	}, []string{"bootcamp:workers", "bootcamp:replica", "bootcamp:color"}, plain)
	require.Error(t, err)
	assert.Equal(t, []string{"workers", "replicas", "serviceType", "scrapeInterval", "edition", "nodeImage", "replica", "color"}, named(err))
	for _, want := range []string{`stack "my stack" has 9 problems`, "nothing was changed", `stack name "my stack": allowed are`, "`pulumi config set KEY VALUE`"} {
		assert.ErrorContains(t, err, want)
	}
	_, err = parse(source{"workers": "11"})
	assert.ErrorContains(t, err, "has 1 problem;")
}

func TestSecretIsNotShown(t *testing.T) {
	t.Parallel()
	for _, k := range settings.Keys {
		const value = "hunter2\n:latest"
		s := source{k.Name: value}
		_, err := settings.Parse(project, "dev", s, s.keys(), secret)
		require.Error(t, err, k.Name)
		assert.NotContains(t, err.Error(), "hunter2", k.Name)
		assert.ErrorContains(t, err, "[secret]", k.Name)
	}
}

// TestSecretIsNotShownTogether: nor where it is its company that makes it bad.
func TestSecretIsNotShownTogether(t *testing.T) {
	t.Parallel()
	s := source{"cluster": "existing", "kubeContext": "class", "role": "student", "hostPort": "54321"}
	_, err := settings.Parse(project, "dev", s, s.keys(), secret)
	require.Error(t, err)
	assert.Equal(t, []string{"hostPort"}, named(err))
	assert.NotContains(t, err.Error(), "54321")
}

// TestFollowUp: a value that is bad by itself brings no second error about its
// company.
func TestFollowUp(t *testing.T) {
	t.Parallel()
	_, err := parse(source{"cluster": "existing", "kubeContext": "class", "role": "student", "replicas": "99999999999999999999"})
	require.Error(t, err)
	assert.Equal(t, []string{"replicas"}, named(err))
}

func TestLongValuesAreClipped(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("漢", 100_000)
	_, err := settings.Parse(project, long, source{"serviceType": long}, []string{project + ":" + long}, plain)
	require.Error(t, err)
	assert.Less(t, len(err.Error()), 4000)
}

func TestStackNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"dev", "a", "A.b_c-9", strings.Repeat("x", 100)} {
		got, err := settings.Parse(project, name, source{}, nil, plain)
		require.NoError(t, err, name)
		assert.Equal(t, name, got.Stack)
	}
	for _, name := range []string{"", ".", "..", " ", "a b", "a/b", "a\n", "$(id)", "a;b", "'a'", "学生", strings.Repeat("x", 101)} {
		_, err := settings.Parse(project, name, source{}, nil, plain)
		assert.ErrorContains(t, err, "stack name", "%q", name)
	}
}

type broken struct{}

var errBroken = errors.New("cannot decrypt")

func (broken) Try(string) (string, error) { return "", errBroken }

// TestUnreadable: a value that cannot be read is not taken for a missing one.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	_, err := settings.Parse(project, "dev", broken{}, nil, plain)
	require.ErrorIs(t, err, errBroken)
	for _, k := range settings.Keys {
		assert.ErrorContains(t, err, "bootcamp:"+k.Name+" cannot be read")
	}
}

func TestEnvKeys(t *testing.T) {
	t.Setenv("PULUMI_CONFIG", `{"bootcamp:workers":"1","aws:region":"x","bootcamp:a":"b"}`)
	assert.Equal(t, []string{"aws:region", "bootcamp:a", "bootcamp:workers"}, settings.EnvKeys())
	t.Setenv("PULUMI_CONFIG", "")
	assert.Empty(t, settings.EnvKeys())
}
