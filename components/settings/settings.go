// Package settings is the one place that reads the stack's configuration. It
// reports every problem at once, before any resource is registered.
package settings

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi/config"
	"github.com/texttheater/golang-levenshtein/levenshtein"

	"k8sbootcamp/components/editions"
)

// Settings are the knobs of one stack, valid and with defaults filled in.
type Settings struct {
	Stack string

	Workers  int // beside the one control plane
	HostPort int // on 127.0.0.1, leads to NodePort; 0 is none

	Replicas    int
	ServiceType string // ClusterIP, NodePort or LoadBalancer
	NodePort    int

	Monitoring     bool
	ScrapeInterval model.Duration

	Edition editions.Name
	Images  editions.Images // the edition's, with the overrides

	RolloutTimeout time.Duration // for each workload's pods to be ready
}

// Key is one configuration key of the project's namespace. Pulumi.yaml declares
// the same keys with the same types and defaults; a test holds the two together.
type Key struct {
	Name    string
	Type    string // as in Pulumi.yaml: string, integer or boolean
	Default string
	Allowed string // in words, for errors and the documentation
	set     func(*Settings, string) bool
}

// Keys are all keys, in the order of the documentation.
var Keys = []Key{
	integer("workers", 3, 0, 10, func(s *Settings) *int { return &s.Workers }),
	integer("replicas", 2, 0, 100, func(s *Settings) *int { return &s.Replicas }),
	oneOf("serviceType", []string{"ClusterIP", "NodePort", "LoadBalancer"}, func(s *Settings, v string) { s.ServiceType = v }),
	integer("nodePort", 30080, 30000, 32767, func(s *Settings) *int { return &s.NodePort }),
	integer("hostPort", 0, 0, 65535, func(s *Settings) *int { return &s.HostPort }),
	{"monitoring", "boolean", "true", "true or false", func(s *Settings, v string) bool {
		s.Monitoring = v == "true"
		return v == "true" || v == "false"
	}},
	{"scrapeInterval", "string", "15s", "a duration from 1s to 5m, such as 15s or 1m30s", func(s *Settings, v string) (ok bool) {
		d, err := model.ParseDuration(v)
		s.ScrapeInterval = d
		return err == nil && within(time.Duration(d), time.Second, 5*time.Minute)
	}},
	oneOf("edition", []string{string(editions.Course), string(editions.Current)}, func(s *Settings, v string) { s.Edition = editions.Name(v) }),
	image("nodeImage", func(i *editions.Images) *string { return &i.Node }),
	image("echoImage", func(i *editions.Images) *string { return &i.Echo }),
	image("prometheusImage", func(i *editions.Images) *string { return &i.Prometheus }),
	image("nodeExporterImage", func(i *editions.Images) *string { return &i.NodeExporter }),
	{"rolloutTimeout", "string", "2m30s", "a duration from 10s to 1h, such as 90s or 10m", func(s *Settings, v string) bool {
		d, err := time.ParseDuration(v)
		s.RolloutTimeout = d
		return err == nil && within(d, 10*time.Second, time.Hour)
	}},
}

func within(d, low, high time.Duration) bool { return d >= low && d <= high }

func integer(name string, def, low, high int, field func(*Settings) *int) Key {
	return Key{name, "integer", strconv.Itoa(def), fmt.Sprintf("a whole number from %d to %d", low, high), func(s *Settings, v string) bool {
		n, err := strconv.Atoi(v)
		*field(s) = n
		return err == nil && n >= low && n <= high
	}}
}

func oneOf(name string, values []string, set func(*Settings, string)) Key {
	return Key{name, "string", values[0], "one of " + strings.Join(values, ", "), func(s *Settings, v string) bool {
		set(s, v)
		return slices.Contains(values, v)
	}}
}

func image(name string, field func(*editions.Images) *string) Key {
	return Key{name, "string", "", "an image with a tag other than latest, or a digest; empty is the edition's", func(s *Settings, v string) bool {
		*field(&s.Images) = v
		return v == "" || editions.CheckImage(v) == nil
	}}
}

// stackRE is what Pulumi itself takes as a stack's name.
var stackRE = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,100}$`)

// Source is where values come from: *config.Config, or a test's map.
type Source interface {
	Try(key string) (string, error)
}

// Load reads the settings of the program's stack. keys are the full names of
// all configured keys; see EnvKeys.
func Load(ctx *pulumi.Context, keys []string) (*Settings, error) {
	secret := func(key string) bool { return ctx.IsConfigSecret(ctx.Project() + ":" + key) }
	return Parse(ctx.Project(), ctx.Stack(), config.New(ctx, ""), keys, secret)
}

// Parse makes settings of a source's values. A secret value is not shown in
// errors.
func Parse(project, stack string, source Source, keys []string, secret func(key string) bool) (*Settings, error) {
	s := &Settings{Stack: stack}
	var problems []error
	problem := func(format string, a ...any) { problems = append(problems, fmt.Errorf(format, a...)) }

	if !stackRE.MatchString(stack) {
		problem("stack name %q: allowed are 1 to 100 letters, digits, '-', '_' and '.'", clip(stack))
	}
	for _, k := range Keys {
		value, err := source.Try(k.Name)
		if errors.Is(err, config.ErrMissingVar) {
			value = k.Default
		} else if err != nil {
			problem("%s:%s cannot be read: %w", project, k.Name, err)
			continue
		}
		if !k.set(s, value) {
			shown := fmt.Sprintf("%q", clip(value))
			if secret(k.Name) {
				shown = "[secret]"
			}
			problem("%s:%s = %s: allowed is %s", project, k.Name, shown, k.Allowed)
		}
	}
	for _, full := range keys {
		name, ours := strings.CutPrefix(full, project+":")
		if ours && !slices.ContainsFunc(Keys, func(k Key) bool { return k.Name == name }) {
			problem("%s:%s is no key of this project; did you mean %s? (`pulumi config rm %q` removes it)", project, clip(name), nearest(name), clip(name))
		}
	}
	if len(problems) > 0 {
		noun := "problems"
		if len(problems) == 1 {
			noun = "problem"
		}
		return nil, fmt.Errorf("the configuration of stack %q has %d %s; nothing was changed:\n%w\nset a value with `pulumi config set KEY VALUE`",
			clip(stack), len(problems), noun, errors.Join(problems...))
	}

	images, err := editions.Of(s.Edition)
	if err != nil {
		return nil, err
	}
	override(&images.Node, s.Images.Node)
	override(&images.Echo, s.Images.Echo)
	override(&images.Prometheus, s.Images.Prometheus)
	override(&images.NodeExporter, s.Images.NodeExporter)
	s.Images = images
	return s, nil
}

func override(image *string, with string) {
	if with != "" {
		*image = with
	}
}

// nearest is the key that was most likely meant.
func nearest(name string) string {
	distance := func(k Key) int {
		return levenshtein.DistanceForStrings([]rune(strings.ToLower(clip(name))), []rune(strings.ToLower(k.Name)), levenshtein.DefaultOptions)
	}
	return slices.MinFunc(Keys, func(a, b Key) int { return distance(a) - distance(b) }).Name
}

// clip keeps a hostile value from filling the terminal.
func clip(s string) string {
	const most = 80
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

// EnvKeys returns the full names of the configured keys as the language host
// hands them over, for the SDK can only ask for a key by its name.
func EnvKeys() []string {
	var all map[string]string
	if json.Unmarshal([]byte(os.Getenv(pulumi.EnvConfig)), &all) != nil {
		return nil
	}
	keys := make([]string, 0, len(all))
	for k := range all {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
