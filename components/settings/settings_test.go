package settings_test

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi/config"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/resource"

	"k8sbootcamp/components/editions"
	"k8sbootcamp/components/settings"
	"k8sbootcamp/internal/course"
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

// input is the configuration of stack dev.
func (s source) input() settings.Input {
	in := settings.Input{Project: project, Stack: "dev", Source: s}
	for _, k := range slices.Sorted(maps.Keys(s)) {
		in.Keys = append(in.Keys, project+":"+k)
	}
	return in
}

// secret is the configuration with every value secret.
func (s source) secret() settings.Input {
	in := s.input()
	in.Secret = func(string) bool { return true }
	return in
}

// with is the configuration with other values besides.
func (s source) with(more source) source {
	all := maps.Clone(s)
	maps.Copy(all, more)
	return all
}

var student = source{"mode": "shared-student", "kubeContext": "class"}

func parse(s source) (*settings.Settings, error) { return settings.Parse(s.input()) }

// problems are those of a configuration that must have some.
func problems(t *testing.T, in settings.Input, checks ...settings.Check) []settings.Problem {
	t.Helper()
	got, err := settings.Parse(in, checks...)
	require.Error(t, err, "%q", in.Source)
	require.Nil(t, got)
	var e *settings.Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, in.Stack, e.Stack)
	require.NotEmpty(t, e.Problems)
	assert.Equal(t, e.Problems, settings.Problems(err))
	return e.Problems
}

// kindAndKey is what most tests want to know of a problem.
type kindAndKey struct {
	kind settings.Kind
	key  string
}

func about(problems []settings.Problem) []kindAndKey {
	out := make([]kindAndKey, len(problems))
	for i, p := range problems {
		out[i] = kindAndKey{p.Kind, p.Key}
	}
	return out
}

// values are what a key takes by itself, and what it does not.
type values struct{ good, bad []string }

// special are values to try beside those that usual gives.
var special = map[string]values{
	"mode":        {bad: []string{"kind", "existing", "student"}},                     // of the keys before it
	"chapter":     {bad: []string{"3-4", "4-4", "5", "3", "0", "3.2", "4-3 ", "ALL"}}, // nothing is made there by hand, or no chapter
	"serviceType": {bad: []string{"ExternalName", "Headless"}},
	"hostPort":    {bad: []string{":8080", "127.0.0.1:8080", "http"}},
	"scrapeInterval": {
		good: []string{"1m30s", "1000ms", "300s"},
		bad:  []string{"1.5s", "15s15s"}, // Prometheus does not read them
	},
	"imageMirror": {
		good: []string{"http://192.168.1.5:5000", "https://mirror.example", "http://[fd00::1]:5000", "http://mirror", "https://a-b.example:65535"},
		bad: []string{
			"192.168.1.5:5000", "mirror", "ftp://a", "http://", "http://a/", "http://a/v2", "http://a?b", "http://a#b", "http://u:p@a", "http://a:0", "http://a:65536", "http://a:b", "http://a:",
			"http://localhost:5000", "http://127.0.0.1:5000", "http://[::1]:5000", "http://0.0.0.0:5000", "http://a_b", "http://a\"b", "http://a b", "HTTP://a", "http://[fe80::1%25eth0]:5000", "http://a\nb",
			"http://-a", "http://a..b", "http://fd00::1",
		},
	},
	"rolloutTimeout":    {good: []string{"60m", "1.5m"}, bad: []string{"9999ms", "3600000.5ms"}},
	"nodeImage":         images,
	"echoImage":         images,
	"prometheusImage":   images,
	"nodeExporterImage": images,
	"topicImage":        images,
	"topics": {
		good: []string{"all", "env secret", "secret,env", "env, volume", " env ", "env,", "env configmap secret statefulset volume ingress"},
		bad:  []string{"env env", "env,all", "all all", "env;secret", "env\tsecret", "enw", "env secrets", ",", " , ", "topic-env", "none"},
	},
	"greeting": {
		good: []string{"x", "こんにちは　Kubernetes", strings.Repeat("漢", 200), "$(POD_NAME) $5 100%", "'\"`\\", "🚀"},
		bad:  []string{"", " ", "\t", "a\u202eb", "a\u200bb", "a\xffb", strings.Repeat("x", 201)},
	},
	"kubeContext":    {good: []string{"arn:aws:eks:eu-west-1:1:cluster/class", strings.Repeat("x", 253)}, bad: []string{strings.Repeat("x", 254)}},
	"kubeconfigPath": {good: []string{"~/with space", `C:\Users\teacher\config`}, bad: []string{strings.Repeat("x", 4097)}},
	"quotaCPU":       {good: []string{"2500m"}, bad: []string{"6Gi"}},
	"quotaMemory":    {good: []string{"4096Mi"}, bad: []string{"4GB"}},
}

var images = values{
	good: []string{
		"prom/prometheus:v3", "registry.example:5000/a/b:1.0", "a:1",
		"a@sha256:0866296e693efe1fed79d5e6c7af8df71fc73ae45e3679af05342239cdc5bc8e",
		"a:latest@sha256:0866296e693efe1fed79d5e6c7af8df71fc73ae45e3679af05342239cdc5bc8e",
	},
	bad: []string{
		"a", "a:latest", "a:Latest", "registry.example:5000/a", "a:", ":1", "A:1", " a:1", "a:1 ", "a:1\n", "a b:1", "a@sha256:12",
		"a:1;id", "$(id):1", "https://registry.example/a:1", "a:" + strings.Repeat("1", 129),
		"0866296e693efe1fed79d5e6c7af8df71fc73ae45e3679af05342239cdc5bc8e",
	},
}

// needed are the keys that must be set beside another.
var needed = map[string]source{"rules": {"podMonitoring": "true"}, "dashboards": {"podMonitoring": "true"}}

// usual are the values to try of any key: those at its ends and just beyond, and
// what nobody should get through, by the notation of its values.
func usual(t testing.TB, k settings.Key) values {
	t.Helper()
	v := values{
		good: slices.Concat([]string{k.Default}, k.Values),
		bad:  []string{"a\nb", "a\x00b", "\x1b[31mred", strings.Repeat("x", 100_000)},
	}
	if k.Min == "" && k.Values == nil { // any name, path, image or text
		return v
	}
	if k.List {
		v.good = append(v.good, strings.Join(k.Values, ","), strings.Join(k.Values, " "))
		for _, one := range k.Values {
			v.bad = append(v.bad, strings.ToUpper(one), one[:len(one)-1], one+one, one+","+one, one+"\n", one+";id")
		}
		v.bad = append(v.bad, "$(id)", "maß")
		return v
	}
	v.bad = append(v.bad, "", "$(id)", "maß", " "+k.Default, k.Default+" ", k.Default+"\n", k.Default+";id")
	if k.Values != nil {
		for _, one := range k.Values {
			v.bad = append(v.bad, one[:len(one)-1], strings.Join(k.Values, ","))
			if upper := strings.ToUpper(one); upper != one { // a chapter's number has no letters
				v.bad = append(v.bad, upper)
			}
		}
		return v
	}
	v.good = append(v.good, k.Min, k.Max)
	if k.Type == "integer" {
		low, err := strconv.Atoi(k.Min)
		require.NoError(t, err, k.Name)
		high, err := strconv.Atoi(k.Max)
		require.NoError(t, err, k.Name)
		v.bad = append(v.bad, strconv.Itoa(low-1), strconv.Itoa(high+1), "99999999999999999999",
			k.Max+".0", "0x"+k.Max, k.Max+"e0", k.Max+"_0", "９", "three", "["+k.Max+"]", "-"+k.Max)
		return v
	}
	v.bad = append(v.bad, "-"+k.Default, "0", "ten", k.Min+" "+k.Min)
	if low, err := time.ParseDuration(k.Min); err == nil {
		high, err := time.ParseDuration(k.Max)
		require.NoError(t, err, k.Name)
		v.bad = append(v.bad, (low - time.Millisecond).String(), (high + time.Second).String(), "15", "15 m", "100d", "for ever")
		return v
	}
	low, err := resource.ParseQuantity(k.Min)
	require.NoError(t, err, "the least value of %s is no number, duration or quantity", k.Name)
	high, err := resource.ParseQuantity(k.Max)
	require.NoError(t, err, k.Name)
	low.Sub(resource.MustParse("1m"))
	high.Add(resource.MustParse("1m"))
	v.bad = append(v.bad, low.String(), high.String(), "6 cores", "4 Gi")
	return v
}

// TestEachKey tries every key's own values, one key at a time.
func TestEachKey(t *testing.T) {
	t.Parallel()
	for _, k := range settings.Keys {
		all, more := usual(t, k), special[k.Name]
		for _, value := range slices.Concat(all.good, more.good) {
			_, err := parse(source{k.Name: value}.with(needed[k.Name]))
			for _, p := range settings.Problems(err) { // of another key, which goes with this one
				assert.NotEqual(t, k.Name, p.Key, "%q", value)
			}
		}
		for _, value := range slices.Concat(all.bad, more.bad) {
			got := problems(t, source{k.Name: value}.input())
			require.Equal(t, []kindAndKey{{settings.BadValue, k.Name}}, about(got), "%s = %q", k.Name, value)
			shown := value
			if len(value) > 80 {
				shown = value[:80] + "…"
			}
			assert.Equal(t, shown, got[0].Value)
			assert.Equal(t, k.Allowed, got[0].Allowed)
		}
	}
	for name := range special {
		assert.True(t, settings.Known(name), "%s is no key any more", name)
	}
}

// TestAllowed: the words of an error have the bounds.
func TestAllowed(t *testing.T) {
	t.Parallel()
	for _, k := range settings.Keys {
		require.NotEmpty(t, k.Allowed, k.Name)
		for _, bound := range append(slices.Clone(k.Values), k.Min, k.Max) {
			assert.Contains(t, k.Allowed, bound, k.Name)
		}
	}
}

// other is a value that a key takes and that is not its default.
func other(k settings.Key) string {
	for _, v := range append(slices.Clone(k.Values), k.Max, k.Min) {
		if v != "" && v != k.Default {
			return v
		}
	}
	return "example/other:1" // an image, a name and a path
}

// TestOwnField: every key sets the field of its name and no other, and every
// field is a key's.
func TestOwnField(t *testing.T) {
	t.Parallel()
	fields := map[string]string{"Stack": "not a key's"}
	for _, k := range settings.Keys {
		if k.Name == "hostPort" || k.Name == "nodePort" || k.Name == "imageMirror" { // not on a shared cluster
			continue
		}
		base := student.with(source{"kubeContext": "a"}).with(needed[k.Name])
		before, err := parse(base)
		require.NoError(t, err)
		after, err := parse(base.with(source{k.Name: other(k)}))
		require.NoError(t, err, k.Name)
		for _, f := range changed("", reflect.ValueOf(*before), reflect.ValueOf(*after)) {
			if k.Name == "edition" && strings.HasPrefix(f, "Images.") {
				continue // those that come with it
			}
			image, isImage := strings.CutPrefix(f, "Images.")
			assert.True(t, strings.EqualFold(f, k.Name) || isImage && strings.EqualFold(image+"Image", k.Name), "%s sets %s", k.Name, f)
			assert.Empty(t, fields[f], "%s sets %s too", k.Name, f)
			fields[f] = k.Name
		}
	}
	after, err := parse(source{"hostPort": "8080", "nodePort": "30081", "imageMirror": "http://10.0.0.1:5000"})
	require.NoError(t, err)
	assert.Equal(t, 8080, after.HostPort)
	assert.Equal(t, 30081, after.NodePort)
	fields["HostPort"], fields["NodePort"], fields["ImageMirror"] = "hostPort", "nodePort", "imageMirror"
	for _, f := range leaves("", reflect.TypeFor[settings.Settings]()) {
		assert.NotEmpty(t, fields[f], "no key sets %s", f)
	}
	assert.Len(t, fields, len(settings.Keys)+1)
}

// changed are the names of the fields that differ, those of structs within.
func changed(within string, a, b reflect.Value) []string {
	var names []string
	for i := range a.NumField() {
		name := within + a.Type().Field(i).Name
		switch {
		case a.Field(i).Kind() == reflect.Struct:
			names = append(names, changed(name+".", a.Field(i), b.Field(i))...)
		case !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()):
			names = append(names, name)
		}
	}
	return names
}

func leaves(within string, t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		if f := t.Field(i); f.Type.Kind() == reflect.Struct {
			names = append(names, leaves(within+f.Name+".", f.Type)...)
		} else {
			names = append(names, within+f.Name)
		}
	}
	return names
}

// TestDefaults: an empty configuration is that of the defaults, which Pulumi.yaml
// has too, and the course's images.
func TestDefaults(t *testing.T) {
	t.Parallel()
	got, err := parse(nil)
	require.NoError(t, err)
	spelled := source{}
	for _, k := range settings.Keys {
		spelled[k.Name] = k.Default
	}
	same, err := parse(spelled)
	require.NoError(t, err)
	assert.Equal(t, same, got)

	images, err := editions.Of(editions.Course)
	require.NoError(t, err)
	assert.Equal(t, images, got.Images)
	assert.Equal(t, settings.OwnCluster, got.Mode)
	assert.False(t, got.Shared())
	assert.Equal(t, 150*time.Second, got.RolloutTimeout)
}

// TestImages: an edition's, with what is configured instead.
func TestImages(t *testing.T) {
	t.Parallel()
	got, err := parse(source{"edition": "current", "echoImage": "example/echo:1", "prometheusImage": "example/prometheus:2"})
	require.NoError(t, err)
	want, err := editions.Of(editions.Current)
	require.NoError(t, err)
	want.Echo, want.Prometheus = "example/echo:1", "example/prometheus:2"
	assert.Equal(t, want, got.Images)
}

// TestTopics: a list is in the key's own order, however it is written, and all is all.
func TestTopics(t *testing.T) {
	t.Parallel()
	for in, want := range map[string][]string{
		"": nil, "env": {"env"}, "volume, env": {"env", "volume"}, "secret env": {"env", "secret"},
		"all": settings.Topics,
	} {
		got, err := parse(source{"topics": in})
		require.NoError(t, err, in)
		assert.Equal(t, want, got.Topics, "%q", in)
		for i, exercise := range got.Exercises() {
			assert.Equal(t, "topic-"+want[i], exercise)
		}
		assert.Len(t, got.Exercises(), len(want))
	}
	for _, name := range settings.Topics {
		assert.Contains(t, problems(t, source{"topics": "nothing"}.input())[0].Allowed, name)
	}
}

// TestNeeds: what stands on another exercise, and that one off.
func TestNeeds(t *testing.T) {
	t.Parallel()
	rules := kindAndKey{settings.Clash, "rules"}
	for name, tt := range map[string]struct {
		in   source
		want []kindAndKey
	}{
		"pods":                       {source{"podMonitoring": "true"}, nil},
		"before their chapter":       {source{"podMonitoring": "true", "rules": "true", "dashboards": "true", "topics": "all", "chapter": "0-3"}, nil},
		"rules":                      {source{"podMonitoring": "true", "rules": "true"}, nil},
		"rules without pods":         {source{"rules": "true"}, []kindAndKey{rules}},
		"dashboards without pods":    {source{"dashboards": "true"}, []kindAndKey{{settings.Clash, "dashboards"}}},
		"a student's":                {student.with(source{"rules": "true"}), []kindAndKey{rules}},
		"beside a value that is bad": {source{"rules": "true", "podMonitoring": "yes"}, []kindAndKey{{settings.BadValue, "podMonitoring"}}},
	} {
		_, err := parse(tt.in)
		if tt.want == nil {
			require.NoError(t, err, name)
			continue
		}
		assert.Equal(t, tt.want, about(problems(t, tt.in.input())), name)
	}
	both, err := parse(source{"podMonitoring": "true", "rules": "true"})
	require.NoError(t, err)
	assert.Equal(t, []string{"podMonitoring", "rules"}, both.Exercises())
	for _, e := range both.Exercises() {
		assert.True(t, settings.Known(e), e)
	}
}

// TestModes: values that are good by themselves, and not in a mode.
func TestModes(t *testing.T) {
	t.Parallel()
	noContext, hostPort := kindAndKey{settings.Clash, "kubeContext"}, kindAndKey{settings.Clash, "hostPort"}
	nodePort := kindAndKey{settings.Clash, "nodePort"}
	tests := []struct {
		name string
		in   source
		want []kindAndKey // none is good
	}{
		{"a student", student, nil},
		{"the class", student.with(source{"mode": "shared-platform"}), nil},
		{"a cluster of one's own", source{"mode": "own-cluster", "hostPort": "8080"}, nil},
		{"a context that is not used", source{"kubeContext": "class"}, nil},
		{"no context", source{"mode": "shared-student"}, []kindAndKey{noContext}},
		{"an empty context", student.with(source{"kubeContext": ""}), []kindAndKey{noContext}},
		{"no context for the class", source{"mode": "shared-platform"}, []kindAndKey{noContext}},
		{"a mirror", student.with(source{"imageMirror": "http://10.0.0.1:5000"}), []kindAndKey{{settings.Clash, "imageMirror"}}},
		{"a host port", student.with(source{"hostPort": "8080"}), []kindAndKey{hostPort}},
		{"both", source{"mode": "shared-student", "hostPort": "1"}, []kindAndKey{noContext, hostPort}},
		{"a node port", student.with(source{"nodePort": "30081"}), []kindAndKey{nodePort}},
		{"a node port that no type uses", student.with(source{"serviceType": "ClusterIP", "nodePort": "32767"}), []kindAndKey{nodePort}},
		{"the default node port", student.with(source{"serviceType": "NodePort", "nodePort": "30080"}), nil},
		{"the class's node port, which it has no use for", source{"mode": "shared-platform", "kubeContext": "class", "nodePort": "30081"}, nil},
		{"a node port of one's own", source{"nodePort": "30081"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.want == nil {
				got, err := parse(tt.in)
				require.NoError(t, err)
				assert.Equal(t, got.Mode != settings.OwnCluster, got.Shared())
				return
			}
			got := problems(t, tt.in.input())
			assert.Equal(t, tt.want, about(got))
			for _, p := range got {
				assert.Equal(t, tt.in[p.Key], p.Value)
				assert.Contains(t, p.Allowed, "mode="+tt.in["mode"])
			}
		})
	}
}

// TestOldKeys: whatever the two keys before mode say, the error is one problem,
// with the mode to write and the keys to remove; who does that has a good
// configuration.
func TestOldKeys(t *testing.T) {
	t.Parallel()
	const unset = "unset"
	want := map[[2]string]settings.Mode{ // the rest are students'
		{"kind", "all"}: settings.OwnCluster, {"kind", unset}: settings.OwnCluster, {"kind", "?"}: settings.OwnCluster,
		{unset, "all"}: settings.OwnCluster, {unset, "?"}: settings.OwnCluster,
		{"?", "all"}: settings.OwnCluster, {"?", unset}: settings.OwnCluster, {"?", "?"}: settings.OwnCluster,
		{"kind", "platform"}: settings.SharedPlatform, {unset, "platform"}: settings.SharedPlatform,
		{"existing", "platform"}: settings.SharedPlatform, {"?", "platform"}: settings.SharedPlatform,
	}
	for _, cluster := range []string{unset, "kind", "existing", "?"} {
		for _, role := range []string{unset, "all", "platform", "student", "?"} {
			in, old := source{"kubeContext": "class"}, []string{}
			if cluster != unset {
				in["cluster"], old = cluster, append(old, "cluster")
			}
			if role != unset {
				in["role"], old = role, append(old, "role")
			}
			if len(old) == 0 {
				continue
			}
			mode, ok := want[[2]string{cluster, role}]
			if !ok {
				mode = settings.SharedStudent
			}
			got := problems(t, in.input())
			require.Equal(t, []kindAndKey{{settings.OldKey, strings.Join(old, ", ")}}, about(got), "%s, %s", cluster, role)
			for _, m := range settings.Modes {
				named := strings.Contains(got[0].Allowed, "`pulumi config set mode "+string(m)+"`")
				assert.Equal(t, m == mode, named, "cluster %s, role %s: %s", cluster, role, got[0].Allowed)
			}
			for _, key := range []string{"cluster", "role"} {
				assert.Equal(t, slices.Contains(old, key), strings.Contains(got[0].Allowed, "`pulumi config rm "+key+"`"), got[0].Allowed)
				delete(in, key)
			}
			_, err := parse(in.with(source{"mode": string(mode)}))
			assert.NoError(t, err)
		}
	}
	for _, key := range []string{"cluster", "role"} {
		assert.False(t, settings.Known(key))
	}
}

// TestOldKeysAmongOthers: the rest of what is wrong is not hidden, nor what a
// mode that is configured already brings.
func TestOldKeysAmongOthers(t *testing.T) {
	t.Parallel()
	assert.Equal(t, []kindAndKey{
		{settings.BadValue, "workers"}, {settings.UnknownKey, "color"}, {settings.OldKey, "role"}, {settings.Clash, "kubeContext"},
	}, about(problems(t, source{"mode": "shared-student", "role": "student", "workers": "x", "color": "red"}.input())))
}

// TestChecks: rules of others are asked once all values are good, and what they
// find is a clash like any.
func TestChecks(t *testing.T) {
	t.Parallel()
	find := func(keys ...string) settings.Check {
		return func(s *settings.Settings) (found []settings.Problem) {
			for _, k := range keys {
				found = append(found, settings.Problem{Key: k, Allowed: "less than " + strconv.Itoa(s.Workers)})
			}
			return found
		}
	}
	in := source{"workers": "5", "quotaPods": "50"}
	got := problems(t, in.input(), find(), find("quotaPods", "quotaCPU"), find("replicas"))
	assert.Equal(t, []kindAndKey{{settings.Clash, "quotaPods"}, {settings.Clash, "quotaCPU"}, {settings.Clash, "replicas"}}, about(got))
	assert.Equal(t, "50", got[0].Value)
	assert.Equal(t, "6", got[1].Value, "the default")
	for _, p := range got {
		assert.Equal(t, "less than 5", p.Allowed)
	}
	for _, p := range problems(t, in.secret(), find("quotaPods", "workers")) {
		assert.Equal(t, "[secret]", p.Value)
	}

	s, err := settings.Parse(in.input(), find())
	require.NoError(t, err)
	assert.Equal(t, 5, s.Workers)

	_, err = settings.Parse(source{"nodeImage": "example/node:1"}.input(), func(s *settings.Settings) []settings.Problem {
		want, err := editions.Of(editions.Course)
		require.NoError(t, err)
		want.Node = "example/node:1"
		assert.Equal(t, want, s.Images, "the edition's, with those that are configured")
		return nil
	})
	require.NoError(t, err)

	never := func(*settings.Settings) []settings.Problem {
		t.Error("a check was asked though a value is bad")
		return nil
	}
	problems(t, source{"workers": "x"}.input(), never)
	problems(t, settings.Input{Project: project, Stack: "dev", Source: broken{}}, never)
	// A context that is missing says nothing about the other keys.
	got = problems(t, source{"mode": "shared-student"}.input(), find("quotaPods"))
	assert.Equal(t, []kindAndKey{{settings.Clash, "kubeContext"}, {settings.Clash, "quotaPods"}}, about(got))
}

func TestUnknownKeys(t *testing.T) {
	t.Parallel()
	for typo, meant := range map[string]string{
		"replica": "replicas", "Replicas": "replicas", "worker": "workers", "service_type": "serviceType",
		"nodeport": "nodePort", "interval": "scrapeInterval", "prometheus": "prometheusImage", "chapters": "chapter",
	} {
		got := problems(t, source{typo: "2"}.input())
		require.Equal(t, []kindAndKey{{settings.UnknownKey, typo}}, about(got))
		assert.Equal(t, meant, got[0].Allowed)
	}
	assert.Equal(t, []kindAndKey{{settings.UnknownKey, ""}}, about(problems(t, source{"": "x"}.input())))

	in := source{}.input()
	in.Keys = []string{"pulumi:disable-default-providers", "kubernetes:context", "bootcampus:replicas", "replicas", "aws:cluster"}
	_, err := settings.Parse(in)
	assert.NoError(t, err, "keys of other namespaces are not ours to judge")
}

// TestNames: Known and Names agree with Keys.
func TestNames(t *testing.T) {
	t.Parallel()
	for i, name := range settings.Names() {
		assert.Equal(t, settings.Keys[i].Name, name)
		assert.True(t, settings.Known(name))
	}
	assert.Len(t, settings.Names(), len(settings.Keys))
	assert.False(t, settings.Known("Workers"))
}

// TestAllAtOnce: one error has every problem, in the order of the keys.
func TestAllAtOnce(t *testing.T) {
	t.Parallel()
	in := source{
		"workers": "11", "replicas": "x", "serviceType": "Ingress", "scrapeInterval": "1h", "edition": "old", "nodeImage": "a:latest",
		"replica": "1", "color": "red", "cluster": "kind",
	}.input()
	in.Stack = "my stack"
	assert.Equal(t, []kindAndKey{
		{settings.StackName, ""},
		{settings.BadValue, "workers"}, {settings.BadValue, "replicas"}, {settings.BadValue, "serviceType"},
		{settings.BadValue, "scrapeInterval"}, {settings.BadValue, "edition"}, {settings.BadValue, "nodeImage"},
		{settings.UnknownKey, "color"}, {settings.UnknownKey, "replica"}, {settings.OldKey, "cluster"},
	}, about(problems(t, in)))
}

// TestErrorText: an error is a line that counts, a line for each problem, and a
// line that says what to do. Each problem names its key, its value and what is
// allowed, with nothing in them that could be a line of its own.
func TestErrorText(t *testing.T) {
	t.Parallel()
	const forged = "x\nbootcamp:forged = 1\x1b[31m"
	in := source{"workers": "11", "serviceType": forged, forged: "1", "cluster": "kind", "mode": "shared-student"}.input()
	in.Stack = forged
	_, err := settings.Parse(in)
	found := settings.Problems(err)
	require.Len(t, found, 6)
	lines := strings.Split(err.Error(), "\n")
	require.Len(t, lines, len(found)+2)
	assert.Contains(t, lines[0], strconv.Quote(forged))
	assert.Contains(t, lines[0], " 6 problems")
	for i, p := range found {
		assert.Equal(t, p.Error(), lines[i+1])
		assert.Contains(t, lines[i+1], p.Allowed)
		if p.Kind == settings.BadValue || p.Kind == settings.Clash {
			assert.True(t, strings.HasPrefix(lines[i+1], project+":"+p.Key+" = "+strconv.Quote(p.Value)+": "), lines[i+1])
		}
	}
	assert.NotContains(t, err.Error(), "\x1b")

	_, err = parse(source{"workers": "11"})
	assert.ErrorContains(t, err, " 1 problem;")
}

func TestSecretIsNotShown(t *testing.T) {
	t.Parallel()
	const value = "hunter2\n:latest"
	for _, k := range settings.Keys {
		in := source{k.Name: value}.secret()
		got := problems(t, in)
		require.Equal(t, []kindAndKey{{settings.BadValue, k.Name}}, about(got))
		assert.Equal(t, "[secret]", got[0].Value)
		_, err := settings.Parse(in)
		assert.NotContains(t, err.Error(), "hunter2", k.Name)
	}

	got := problems(t, student.with(source{"hostPort": "54321"}).secret())
	assert.Equal(t, []kindAndKey{{settings.Clash, "hostPort"}}, about(got))
	assert.Equal(t, "[secret]", got[0].Value, "where its company makes it bad, too")
}

// TestFollowUp: a value that is bad by itself, or a mode that is, brings no second
// problem about its company.
func TestFollowUp(t *testing.T) {
	t.Parallel()
	for in, key := range map[string]string{"mode": "shared", "kubeContext": "a\nb", "hostPort": "65536"} {
		got := problems(t, student.with(source{"hostPort": "0", in: key}).input())
		assert.Equal(t, []kindAndKey{{settings.BadValue, in}}, about(got))
	}
	assert.Equal(t, []kindAndKey{{settings.BadValue, "mode"}},
		about(problems(t, source{"mode": "shared", "hostPort": "8080"}.input())))
}

func TestLongValuesAreClipped(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("漢", 100_000)
	in := source{"serviceType": long, long: "1"}.input()
	in.Stack = long
	_, err := settings.Parse(in)
	require.Error(t, err)
	assert.Less(t, len(err.Error()), 4000)
	for _, p := range settings.Problems(err) {
		if p.Kind != settings.UnknownKey {
			assert.Equal(t, strings.Repeat("漢", 80)+"…", p.Value)
		}
	}
}

func TestStackNames(t *testing.T) {
	t.Parallel()
	in := source{}.input()
	for _, name := range []string{"dev", "a", "A.b_c-9", strings.Repeat("x", 100)} {
		assert.Nil(t, settings.CheckStackName(name), name)
		in.Stack = name
		got, err := settings.Parse(in)
		require.NoError(t, err, name)
		assert.Equal(t, name, got.Stack)
	}
	for _, name := range []string{"", ".", "..", "-a", " ", "a b", "a/b", "a\n", "$(id)", "a;b", "'a'", "学生", strings.Repeat("x", 101)} {
		in.Stack = name
		p := settings.CheckStackName(name)
		require.NotNil(t, p, name)
		assert.Equal(t, settings.StackName, p.Kind)
		assert.Equal(t, []kindAndKey{{settings.StackName, ""}}, about(problems(t, in)), "%q", name)
	}
}

type broken struct{}

var errBroken = errors.New("cannot decrypt")

func (broken) Try(string) (string, error) { return "", errBroken }

// TestUnreadable: a value that cannot be read is not taken for a missing one.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	got := problems(t, settings.Input{Project: project, Stack: "dev", Source: broken{}})
	require.Len(t, got, len(settings.Keys))
	for i, k := range settings.Keys {
		assert.Equal(t, kindAndKey{settings.Unreadable, k.Name}, about(got)[i])
		assert.ErrorIs(t, got[i], errBroken)
	}
}

func TestProblemsOfOtherErrors(t *testing.T) {
	t.Parallel()
	assert.Empty(t, settings.Problems(nil))
	assert.Empty(t, settings.Problems(errBroken))
}

func TestEnvKeys(t *testing.T) {
	t.Setenv("PULUMI_CONFIG", `{"bootcamp:workers":"1","aws:region":"x","bootcamp:a":"b"}`)
	assert.Equal(t, []string{"aws:region", "bootcamp:a", "bootcamp:workers"}, settings.EnvKeys())
	t.Setenv("PULUMI_CONFIG", "")
	assert.Empty(t, settings.EnvKeys())
}

// TestChapter: what comes after a chapter is not on there, and is kept for later.
func TestChapter(t *testing.T) {
	t.Parallel()
	on := source{"podMonitoring": "true", "rules": "true", "dashboards": "true", "topics": "secret"}
	require.Equal(t, course.All, settings.Chapters[0], "the default")
	for _, c := range settings.Chapters {
		got, err := parse(on.with(source{"chapter": string(c)}))
		require.NoError(t, err, c)
		assert.Equal(t, c, got.Chapter)
		assert.True(t, got.PodMonitoring && got.Rules && got.Dashboards, c)
		assert.Equal(t, []string{"secret"}, got.Topics, c)
		want := []string{}
		if c == course.All {
			want = []string{"podMonitoring", "rules", "dashboards", "topic-secret"}
		}
		assert.Equal(t, want, got.Exercises(), c)
	}
	without, err := parse(source{})
	require.NoError(t, err)
	assert.Equal(t, course.All, without.Chapter)
}

// TestOldMonitoring: the error says what to write for the key before chapter, and who does
// that has a good configuration, with the chapters that they had before.
func TestOldMonitoring(t *testing.T) {
	t.Parallel()
	const set, rm = "`pulumi config set chapter 3-3`, then ", "`pulumi config rm monitoring`"
	for name, tt := range map[string]struct {
		in   source
		sets bool
	}{
		"off":                  {source{"monitoring": "false"}, true},
		"on":                   {source{"monitoring": "true"}, false},
		"neither":              {source{"monitoring": "x"}, false},
		"off, and a chapter":   {source{"monitoring": "false", "chapter": "4-1"}, false},
		"off, with old topics": {source{"monitoring": "false", "topics": "all"}, true},
	} {
		got := problems(t, tt.in.input())
		require.Equal(t, []kindAndKey{{settings.OldKey, "monitoring"}}, about(got), name)
		assert.Equal(t, tt.sets, strings.Contains(got[0].Allowed, set+rm), "%s: %s", name, got[0].Allowed)
		assert.Contains(t, got[0].Allowed, rm, name)
		fixed := maps.Clone(tt.in)
		delete(fixed, "monitoring")
		if tt.sets {
			fixed["chapter"] = "3-3"
		}
		_, err := parse(fixed)
		assert.NoError(t, err, name)
	}
	assert.False(t, settings.Known("monitoring"))
	assert.Equal(t, []kindAndKey{{settings.OldKey, "monitoring"}, {settings.OldKey, "cluster, role"}},
		about(problems(t, source{"monitoring": "false", "role": "all", "cluster": "kind"}.input())), "beside the other old keys")
}

// TestLatestOfADigest: beside a digest pods are not given the tag latest; the nodes' image is
// kind's, as it was.
func TestLatestOfADigest(t *testing.T) {
	t.Parallel()
	const digest = "@sha256:0866296e693efe1fed79d5e6c7af8df71fc73ae45e3679af05342239cdc5bc8e"
	got, err := parse(source{"echoImage": "a:latest" + digest, "prometheusImage": "b:1" + digest, "nodeImage": "n:latest" + digest})
	require.NoError(t, err)
	assert.Equal(t, []string{"a" + digest, "b:1" + digest, "n:latest" + digest}, []string{got.Images.Echo, got.Images.Prometheus, got.Images.Node})
}
