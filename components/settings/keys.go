package settings

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/prometheus/common/model"
	"k8s.io/apimachinery/pkg/api/resource"

	"k8sbootcamp/components/editions"
	"k8sbootcamp/internal/course"
	"k8sbootcamp/internal/hostimages"
)

// Key is one configuration key of the project's namespace. Pulumi.yaml declares
// the same keys with the same types and defaults; a test holds the two together.
type Key struct {
	Name    string
	Type    string // as in Pulumi.yaml: string, integer or boolean
	Default string
	Allowed string // in words, for errors

	// What is allowed, as values: the ends of a range, both allowed, in the key's
	// own notation; or all values there are, of which a list may have several. Both
	// are empty for a key that takes any image, name, path or text.
	Min, Max string
	Values   []string
	List     bool

	set func(*Settings, string) bool // false where the value is not allowed
}

const defaultNodePort = 30080

// Keys are all keys, in the order of the documentation.
var Keys = []Key{
	oneOf("mode", Modes, func(s *Settings, v Mode) { s.Mode = v }),
	oneOf("chapter", Chapters, func(s *Settings, v course.Chapter) { s.Chapter = v }),
	integer("workers", 3, 0, 10, func(s *Settings) *int { return &s.Workers }),
	integer("replicas", 2, 0, 100, func(s *Settings) *int { return &s.Replicas }),
	oneOf("serviceType", []string{"ClusterIP", "NodePort", "LoadBalancer"}, func(s *Settings, v string) { s.ServiceType = v }),
	integer("nodePort", defaultNodePort, 30000, 32767, func(s *Settings) *int { return &s.NodePort }),
	integer("hostPort", 0, 0, 65535, func(s *Settings) *int { return &s.HostPort }),
	promDuration("scrapeInterval", "15s", "1s", "5m", "15s or 1m30s", func(s *Settings) *model.Duration { return &s.ScrapeInterval }),
	boolean("podMonitoring", false, func(s *Settings, v bool) { s.PodMonitoring = v }),
	boolean("rules", false, func(s *Settings, v bool) { s.Rules = v }),
	boolean("dashboards", false, func(s *Settings, v bool) { s.Dashboards = v }),
	list("topics", Topics, func(s *Settings, v []string) { s.Topics = v }),
	words("greeting", "Hello Kubernetes!", 200, func(s *Settings) *string { return &s.Greeting }),
	oneOf("edition", editions.Names, func(s *Settings, v editions.Name) { s.Edition = v }),
	image("nodeImage", func(i *editions.Images) *string { return &i.Node }),
	image("echoImage", func(i *editions.Images) *string { return &i.Echo }),
	image("prometheusImage", func(i *editions.Images) *string { return &i.Prometheus }),
	image("nodeExporterImage", func(i *editions.Images) *string { return &i.NodeExporter }),
	image("kubeStateMetricsImage", func(i *editions.Images) *string { return &i.KubeStateMetrics }),
	image("authProxyImage", func(i *editions.Images) *string { return &i.AuthProxy }),
	image("labelProxyImage", func(i *editions.Images) *string { return &i.LabelProxy }),
	image("grafanaImage", func(i *editions.Images) *string { return &i.Grafana }),
	image("topicImage", func(i *editions.Images) *string { return &i.Topic }),
	oneOf("imagePull", ImagePulls, func(s *Settings, v ImagePull) { s.ImagePull = v }),
	mirror("imageMirror", func(s *Settings) *string { return &s.ImageMirror }),
	duration("rolloutTimeout", "2m30s", "10s", "1h", "90s or 10m", func(s *Settings) *time.Duration { return &s.RolloutTimeout }),
	text("kubeContext", "the name of a context", 253, func(s *Settings) *string { return &s.KubeContext }),
	text("kubeconfigPath", "the path of a kubeconfig; empty is kubectl's own rule", 4096, func(s *Settings) *string { return &s.KubeconfigPath }),
	integer("quotaPods", 20, 4, 200, func(s *Settings) *int { return &s.QuotaPods }),
	quantity("quotaCPU", "6", "2", "100", func(s *Settings) *string { return &s.QuotaCPU }),
	quantity("quotaMemory", "4Gi", "1Gi", "1Ti", func(s *Settings) *string { return &s.QuotaMemory }),
	duration("tokenLifetime", "12h", "10m", "720h", "90m or 12h", func(s *Settings) *time.Duration { return &s.TokenLifetime }),
}

// Known tells whether there is a key of this name.
func Known(name string) bool {
	return slices.ContainsFunc(Keys, func(k Key) bool { return k.Name == name })
}

// Names are those of all keys.
func Names() []string {
	names := make([]string, len(Keys))
	for i, k := range Keys {
		names[i] = k.Name
	}
	return names
}

func integer(name string, def, low, high int, field func(*Settings) *int) Key {
	return Key{
		Name: name, Type: "integer", Default: strconv.Itoa(def), Min: strconv.Itoa(low), Max: strconv.Itoa(high),
		Allowed: fmt.Sprintf("a whole number from %d to %d", low, high),
		set: func(s *Settings, v string) bool {
			n, err := strconv.Atoi(v)
			*field(s) = n
			return err == nil && n >= low && n <= high
		},
	}
}

func boolean(name string, def bool, set func(*Settings, bool)) Key {
	return Key{
		Name: name, Type: "boolean", Default: strconv.FormatBool(def), Values: []string{"true", "false"},
		Allowed: "true or false",
		set: func(s *Settings, v string) bool {
			set(s, v == "true")
			return v == "true" || v == "false"
		},
	}
}

func oneOf[T ~string](name string, values []T, set func(*Settings, T)) Key {
	words := make([]string, len(values))
	for i, v := range values {
		words[i] = string(v)
	}
	return Key{
		Name: name, Type: "string", Default: words[0], Values: words,
		Allowed: "one of " + strings.Join(words, ", "),
		set: func(s *Settings, v string) bool {
			set(s, T(v))
			return slices.Contains(words, v)
		},
	}
}

// list is a key that takes any of its values, each once, or "all"; between them are
// commas, spaces or both. The setting has them in the key's own order.
func list(name string, values []string, set func(*Settings, []string)) Key {
	const all = "all"
	return Key{
		Name: name, Type: "string", Values: values, List: true,
		Allowed: "names out of " + strings.Join(values, ", ") + ", each once, with commas or spaces between them; or " + all,
		set: func(s *Settings, v string) bool {
			given := strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == ' ' })
			if slices.Equal(given, []string{all}) {
				given = values
			}
			var on []string
			for _, one := range values {
				if slices.Contains(given, one) {
					on = append(on, one)
				}
			}
			set(s, on)
			return len(on) == len(given) && (v == "" || len(on) > 0)
		},
	}
}

// words are a line of text that is shown as it stands.
func words(name, def string, longest int, field func(*Settings) *string) Key {
	return Key{
		Name: name, Type: "string", Default: def,
		Allowed: fmt.Sprintf("a line of 1 to %d characters, all of which can be seen", longest),
		set: func(s *Settings, v string) bool {
			*field(s) = v
			hidden := func(r rune) bool { return !unicode.IsGraphic(r) } // a space of any width is not
			return strings.TrimSpace(v) != "" && utf8.ValidString(v) && utf8.RuneCountInString(v) <= longest && strings.IndexFunc(v, hidden) < 0
		},
	}
}

// ranged is a key whose values have an order.
func ranged[T any](name, def, low, high, allowed string, parse func(string) (T, error), compare func(a, b T) int, store func(*Settings, string, T)) Key {
	bound := func(s string) T {
		v, err := parse(s)
		if err != nil {
			panic(fmt.Sprintf("bound %s of %s: %v", s, name, err))
		}
		return v
	}
	least, most := bound(low), bound(high)
	return Key{
		Name: name, Type: "string", Default: def, Min: low, Max: high, Allowed: allowed,
		set: func(s *Settings, v string) bool {
			value, err := parse(v)
			store(s, v, value)
			return err == nil && compare(value, least) >= 0 && compare(value, most) <= 0
		},
	}
}

func duration(name, def, low, high, examples string, field func(*Settings) *time.Duration) Key {
	return ranged(name, def, low, high, fmt.Sprintf("a duration from %s to %s, such as %s", low, high, examples),
		time.ParseDuration, cmp.Compare[time.Duration],
		func(s *Settings, _ string, d time.Duration) { *field(s) = d })
}

// promDuration is a duration as Prometheus writes it.
func promDuration(name, def, low, high, examples string, field func(*Settings) *model.Duration) Key {
	return ranged(name, def, low, high, fmt.Sprintf("a duration from %s to %s, such as %s", low, high, examples),
		model.ParseDuration, cmp.Compare[model.Duration],
		func(s *Settings, _ string, d model.Duration) { *field(s) = d })
}

func quantity(name, def, low, high string, field func(*Settings) *string) Key {
	return ranged(name, def, low, high, fmt.Sprintf("a Kubernetes quantity from %s to %s", low, high),
		resource.ParseQuantity, func(a, b resource.Quantity) int { return a.Cmp(b) },
		func(s *Settings, v string, _ resource.Quantity) { *field(s) = v })
}

// text is a name or a path of the user's own; no line break or other control
// character is in it.
func text(name, allowed string, longest int, field func(*Settings) *string) Key {
	return Key{
		Name: name, Type: "string", Allowed: allowed,
		set: func(s *Settings, v string) bool {
			*field(s) = v
			return len(v) <= longest && strings.IndexFunc(v, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
		},
	}
}

func mirror(name string, field func(*Settings) *string) Key {
	return Key{
		Name: name, Type: "string", Allowed: "a mirror's URL: " + hostimages.AllowedMirror + "; empty is none",
		set: func(s *Settings, v string) bool {
			*field(s) = v
			return v == "" || hostimages.CheckMirror(v) == nil
		},
	}
}

func image(name string, field func(*editions.Images) *string) Key {
	return Key{
		Name: name, Type: "string", Allowed: "an image with a tag other than latest, or a digest; empty is the edition's",
		set: func(s *Settings, v string) bool {
			*field(&s.Images) = v
			if name != "nodeImage" { // the one that no pod runs
				*field(&s.Images) = editions.ForPods(v)
			}
			return v == "" || editions.CheckImage(v) == nil
		},
	}
}
