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
	"unicode"

	"github.com/prometheus/common/model"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi/config"
	"github.com/texttheater/golang-levenshtein/levenshtein"
	"k8s.io/apimachinery/pkg/api/resource"

	"k8sbootcamp/components/editions"
)

// Where the lab runs.
const (
	Kind     = "kind"     // a cluster of the stack's own, on this machine's Docker
	Existing = "existing" // a cluster that is there already, shared by the class
)

// What a stack is on a shared cluster. On kind one stack is both.
const (
	All      = "all"
	Platform = "platform" // the class's: once a cluster
	Student  = "student"  // a namespace a student
)

// Settings are the knobs of one stack, valid and with defaults filled in.
type Settings struct {
	Stack string

	Cluster string // Kind or Existing
	Role    string // All, Platform or Student

	KubeContext    string // with Existing: of the kubeconfig
	KubeconfigPath string // with Existing: a file; empty is kubectl's own rule
	QuotaPods      int    // with Existing: of the stack's namespace
	QuotaCPU       string // Kubernetes quantities
	QuotaMemory    string
	TokenLifetime  time.Duration // of a student's kubeconfig

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
	oneOf("cluster", []string{Kind, Existing}, func(s *Settings, v string) { s.Cluster = v }),
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
	duration("rolloutTimeout", "2m30s", 10*time.Second, time.Hour, "90s or 10m", func(s *Settings) *time.Duration { return &s.RolloutTimeout }),
	oneOf("role", []string{All, Platform, Student}, func(s *Settings, v string) { s.Role = v }),
	{"kubeContext", "string", "", "the name of a context", func(s *Settings, v string) bool {
		s.KubeContext = v
		return len(v) <= 253 && printable(v)
	}},
	{"kubeconfigPath", "string", "", "the path of a kubeconfig; empty is kubectl's own rule", func(s *Settings, v string) bool {
		s.KubeconfigPath = v
		return len(v) <= 4096 && printable(v)
	}},
	integer("quotaPods", 20, 4, 200, func(s *Settings) *int { return &s.QuotaPods }),
	quantity("quotaCPU", "6", "2", "100", func(s *Settings) *string { return &s.QuotaCPU }),
	quantity("quotaMemory", "4Gi", "1Gi", "1Ti", func(s *Settings) *string { return &s.QuotaMemory }),
	duration("tokenLifetime", "12h", 10*time.Minute, 30*24*time.Hour, "90m or 12h", func(s *Settings) *time.Duration { return &s.TokenLifetime }),
}

func within(d, low, high time.Duration) bool { return d >= low && d <= high }

func integer(name string, def, low, high int, field func(*Settings) *int) Key {
	return Key{name, "integer", strconv.Itoa(def), fmt.Sprintf("a whole number from %d to %d", low, high), func(s *Settings, v string) bool {
		n, err := strconv.Atoi(v)
		*field(s) = n
		return err == nil && n >= low && n <= high
	}}
}

func duration(name, def string, low, high time.Duration, examples string, field func(*Settings) *time.Duration) Key {
	words := fmt.Sprintf("a duration from %s to %s, such as %s", short(low), short(high), examples)
	return Key{name, "string", def, words, func(s *Settings, v string) bool {
		d, err := time.ParseDuration(v)
		*field(s) = d
		return err == nil && within(d, low, high)
	}}
}

// short writes whole hours, minutes and seconds without zeroes behind.
func short(d time.Duration) string {
	out := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(out, zero) {
			out = out[:len(out)-2]
		}
	}
	return out
}

func quantity(name, def, low, high string, field func(*Settings) *string) Key {
	least, most := resource.MustParse(low), resource.MustParse(high)
	return Key{name, "string", def, fmt.Sprintf("a Kubernetes quantity from %s to %s", low, high), func(s *Settings, v string) bool {
		q, err := resource.ParseQuantity(v)
		*field(s) = v
		return err == nil && q.Cmp(least) >= 0 && q.Cmp(most) <= 0
	}}
}

// printable keeps line breaks and other controls out of paths and names.
func printable(v string) bool {
	return strings.IndexFunc(v, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
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

	// Only dots is a folder's name to the file system, which keeps the state.
	if !stackRE.MatchString(stack) || strings.Trim(stack, ".") == "" {
		problem("stack name %q: allowed are 1 to 100 letters, digits, '-', '_' and '.', and not dots alone", clip(stack))
	}
	values, bad := map[string]string{}, map[string]bool{}
	shown := func(key string) string {
		if secret(key) {
			return "[secret]"
		}
		return strconv.Quote(clip(values[key]))
	}
	for _, k := range Keys {
		value, err := source.Try(k.Name)
		if errors.Is(err, config.ErrMissingVar) {
			value = k.Default
		} else if err != nil {
			problem("%s:%s cannot be read: %w", project, k.Name, err)
			continue
		}
		values[k.Name] = value
		if !k.set(s, value) {
			bad[k.Name] = true
			problem("%s:%s = %s: allowed is %s", project, k.Name, shown(k.Name), k.Allowed)
		}
	}
	for _, full := range keys {
		name, ours := strings.CutPrefix(full, project+":")
		if ours && !slices.ContainsFunc(Keys, func(k Key) bool { return k.Name == name }) {
			quoted := strconv.Quote(clip(name)) // no line break or colour of it gets to the terminal
			problem("%s:%s is no key of this project; did you mean %s? (`pulumi config rm %s` removes it)", project, quoted[1:len(quoted)-1], nearest(name), quoted)
		}
	}
	for _, c := range s.clashes() {
		if !slices.ContainsFunc(c.keys, func(k string) bool { return bad[k] }) { // that one is reported already
			problem("%s:%s = %s: %s", project, c.keys[0], shown(c.keys[0]), c.why)
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

// clash is a value that is good by itself, and not beside those of other keys.
type clash struct {
	keys []string // the one to change, then the others
	why  string
}

func (s *Settings) clashes() []clash {
	var found []clash
	add := func(keys []string, format string, a ...any) {
		found = append(found, clash{keys, fmt.Sprintf(format, a...)})
	}
	switch s.Cluster {
	case Kind:
		if s.Role != All {
			add([]string{"role", "cluster"}, "with cluster=kind allowed is %s, for one stack is both", All)
		}
	case Existing:
		if s.Role == All {
			add([]string{"role", "cluster"}, "with cluster=existing allowed is one of %s, %s", Platform, Student)
		}
		if s.KubeContext == "" {
			add([]string{"kubeContext", "cluster"}, "with cluster=existing it must name a context of the kubeconfig (`kubectl config get-contexts`)")
		}
		if s.HostPort != 0 {
			add([]string{"hostPort", "cluster"}, "a port of this machine leads to a kind cluster alone; with cluster=existing allowed is 0")
		}
		// A rollout has a quarter more pods of the app for a while, and Prometheus two.
		if need := s.Replicas + (s.Replicas+3)/4 + 2; s.Role == Student && need > s.QuotaPods {
			add([]string{"quotaPods", "replicas", "role", "cluster"}, "%d replicas and Prometheus need %d while they roll out", s.Replicas, need)
		}
		if s.Role == Student {
			cpu, memory := s.Limits()
			if have, err := resource.ParseQuantity(s.QuotaCPU); err == nil && have.Cmp(cpu) < 0 {
				add([]string{"quotaCPU", "replicas", "monitoring", "role", "cluster"}, "the pods' limits come to %s while one rolls out", &cpu)
			}
			if have, err := resource.ParseQuantity(s.QuotaMemory); err == nil && have.Cmp(memory) < 0 {
				add([]string{"quotaMemory", "replicas", "monitoring", "role", "cluster"}, "the pods' limits come to %s while one rolls out", &memory)
			}
		}
	}
	return found
}

// Limits of a pod, in millicores and MiB, as components/echo and
// components/monitoring have them; a test in tests/ holds them against the objects.
const (
	appCPU, appMemory               = 200, 128
	prometheusCPU, prometheusMemory = 1000, 1024
)

// Limits are the CPU and memory limits of all of a student's pods together, and of
// the largest once more: a rollout starts a pod before it ends another.
func (s *Settings) Limits() (cpu, memory resource.Quantity) {
	c, m := appCPU*(s.Replicas+1), appMemory*(s.Replicas+1)
	if s.Monitoring {
		c, m = appCPU*s.Replicas+2*prometheusCPU, appMemory*s.Replicas+2*prometheusMemory
	}
	return *resource.NewMilliQuantity(int64(c), resource.DecimalSI), *resource.NewQuantity(int64(m)<<20, resource.BinarySI)
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
