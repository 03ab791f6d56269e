// Package settings is the one place that reads the stack's configuration. It
// reports every problem at once, before any resource is registered.
//
// Its tests are beside it; keys.go has the list of all keys.
package settings

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi/config"
	"github.com/texttheater/golang-levenshtein/levenshtein"

	"k8sbootcamp/components/editions"
	"k8sbootcamp/internal/course"
)

// Mode is where a stack's lab is, and what the stack is there.
type Mode string

// The modes.
const (
	OwnCluster     Mode = "own-cluster"     // a kind cluster of the stack's own, on this machine's Docker
	SharedPlatform Mode = "shared-platform" // the class's part of a cluster that is there already, once a cluster
	SharedStudent  Mode = "shared-student"  // a student's namespace on such a cluster
)

// Modes are all modes, the default first.
var Modes = []Mode{OwnCluster, SharedPlatform, SharedStudent}

// ImagePull is who pulls the images of the pods.
type ImagePull string

// Who there is.
const (
	PullByHost  ImagePull = "host"  // this machine's Docker, once, which the nodes are given them from
	PullByNodes ImagePull = "nodes" // each node by itself
)

// ImagePulls are all of them, the default first.
var ImagePulls = []ImagePull{PullByHost, PullByNodes}

// Chapters are those that a lab can stand at, the default first: each but the whole course
// makes something by hand.
var Chapters = []course.Chapter{
	course.All, course.Chapter03, course.Chapter32, course.Chapter33, course.Chapter41, course.Chapter42, course.Chapter43,
}

// Settings are the knobs of one stack, valid and with defaults filled in.
type Settings struct {
	Stack string
	Mode  Mode

	// Chapter is how far the class has come: what comes after it is not there. The other
	// settings say what there is to be once it has come; what the stack may have goes by
	// those alone, so that another chapter touches nothing of it.
	Chapter course.Chapter

	KubeContext    string // on a shared cluster: of the kubeconfig
	KubeconfigPath string // on a shared cluster: a file; empty is kubectl's own rule
	QuotaPods      int    // on a shared cluster: of the stack's namespace
	QuotaCPU       string // Kubernetes quantities
	QuotaMemory    string
	TokenLifetime  time.Duration // of a student's kubeconfig

	Workers  int // beside the one control plane
	HostPort int // on 127.0.0.1, leads to NodePort; 0 is none

	Replicas    int
	ServiceType string // ClusterIP, NodePort or LoadBalancer
	NodePort    int

	ScrapeInterval model.Duration
	PodMonitoring  bool // kube-state-metrics and cAdvisor
	Rules          bool // of Prometheus, recording and alerting
	Dashboards     bool // Grafana

	Topics   []string // of chapter 5, in the order of Topics, each once
	Greeting string   // what the topics env and configmap show

	Edition   editions.Name
	Images    editions.Images // the edition's, with the overrides
	ImagePull ImagePull       // of the pods', on a cluster of the stack's own

	ImageMirror string // on a cluster of the stack's own: URL of a pull-through registry, or empty

	RolloutTimeout time.Duration // for each workload's pods to be ready
}

// Shared tells whether the lab is on a cluster that others use too.
func (s *Settings) Shared() bool { return s.Mode != OwnCluster }

// The keys that add something to the course.
const (
	PodMonitoring = "podMonitoring"
	Rules         = "rules"
	Dashboards    = "dashboards"
)

// The topics, which the text names in chapter 5 and leaves out.
const (
	TopicEnv         = "env"
	TopicConfigMap   = "configmap"
	TopicSecret      = "secret"
	TopicStatefulSet = "statefulset"
	TopicVolume      = "volume"
	TopicIngress     = "ingress"
)

// Topics are all of them.
var Topics = []string{TopicEnv, TopicConfigMap, TopicSecret, TopicStatefulSet, TopicVolume, TopicIngress}

// Exercises are those of them that are on and have come, and the topics, each as
// topic-NAME.
func (s *Settings) Exercises() []string {
	on := []string{}
	for _, e := range []struct {
		key string
		on  bool
	}{{PodMonitoring, s.PodMonitoring}, {Rules, s.Rules}, {Dashboards, s.Dashboards}} {
		if e.on && s.Chapter.Reaches(course.Chapter44) {
			on = append(on, e.key)
		}
	}
	if s.Chapter.Reaches(course.Chapter5) {
		for _, name := range s.Topics {
			on = append(on, "topic-"+name)
		}
	}
	return on
}

// Source is where values come from: *config.Config, or a map.
type Source interface {
	// Try returns a key's value, or config.ErrMissingVar where it has none.
	Try(key string) (string, error)
}

// Input is a stack's configuration as it stands.
type Input struct {
	Project, Stack string
	Source         Source
	Keys           []string              // full names (project:key) of all configured keys, other projects' too
	Secret         func(key string) bool // which values no error may show; nil is none
}

// FromContext is the configuration of the program's stack. keys are as in Input;
// see EnvKeys.
func FromContext(ctx *pulumi.Context, keys []string) Input {
	return Input{
		Project: ctx.Project(), Stack: ctx.Stack(), Source: config.New(ctx, ""), Keys: keys,
		Secret: func(key string) bool { return ctx.IsConfigSecret(ctx.Project() + ":" + key) },
	}
}

// Check is a rule over several keys that this package does not know of. It returns
// problems of kind Clash, with Key and Allowed set. The value is added here, or
// hidden where it is secret, so Allowed has none of it.
type Check func(*Settings) []Problem

// Parse makes settings of a configuration. Its error is *Error, with everything
// that is wrong. Checks are asked only where every value by itself is good, and see
// all settings, the images of the edition among them.
func Parse(in Input, checks ...Check) (*Settings, error) {
	s := &Settings{Stack: in.Stack}
	var problems []Problem
	values := map[string]string{}
	add := func(p Problem) {
		p.project = in.Project
		if p.Kind == BadValue || p.Kind == Clash {
			p.Value = clip(values[p.Key])
			if in.Secret != nil && in.Secret(p.Key) {
				p.Value = secretValue
			}
		}
		problems = append(problems, p)
	}
	if p := CheckStackName(in.Stack); p != nil {
		add(*p)
	}
	bad := map[string]bool{}
	for _, k := range Keys {
		value, err := in.Source.Try(k.Name)
		if errors.Is(err, config.ErrMissingVar) {
			value = k.Default
		} else if err != nil {
			bad[k.Name] = true
			add(Problem{Kind: Unreadable, Key: k.Name, Err: err})
			continue
		}
		values[k.Name] = value
		if !k.set(s, value) {
			bad[k.Name] = true
			add(Problem{Kind: BadValue, Key: k.Name, Allowed: k.Allowed})
		}
	}
	for _, p := range foreignKeys(in) {
		add(p)
	}
	found := s.clashes()
	if len(bad) == 0 {
		images, err := editions.Of(s.Edition)
		if err != nil {
			return nil, err
		}
		s.Images = editions.Images{
			Node:         cmp.Or(s.Images.Node, images.Node),
			Echo:         cmp.Or(s.Images.Echo, images.Echo),
			Prometheus:   cmp.Or(s.Images.Prometheus, images.Prometheus),
			NodeExporter: cmp.Or(s.Images.NodeExporter, images.NodeExporter),

			KubeStateMetrics: cmp.Or(s.Images.KubeStateMetrics, images.KubeStateMetrics),
			AuthProxy:        cmp.Or(s.Images.AuthProxy, images.AuthProxy),
			LabelProxy:       cmp.Or(s.Images.LabelProxy, images.LabelProxy),
			Grafana:          cmp.Or(s.Images.Grafana, images.Grafana),

			Topic: cmp.Or(s.Images.Topic, images.Topic),
		}
		for _, check := range checks {
			for _, p := range check(s) {
				found = append(found, clash{Problem: p})
			}
		}
	}
	for _, c := range found {
		if !bad[c.Key] && !slices.ContainsFunc(c.with, func(k string) bool { return bad[k] }) { // that one is reported already
			c.Kind = Clash
			add(c.Problem)
		}
	}
	if len(problems) > 0 {
		return nil, &Error{Stack: in.Stack, Problems: problems}
	}
	return s, nil
}

// stackRE is what Pulumi itself takes as a stack's name, but for a '-' at its
// beginning, which Pulumi's CLI reads as a flag.
var stackRE = regexp.MustCompile(`^[A-Za-z0-9_.][A-Za-z0-9_.-]{0,99}$`)

// CheckStackName returns what is wrong with a stack's name, or nil.
func CheckStackName(name string) *Problem {
	// Only dots is a folder's name to the file system, which keeps the state.
	if stackRE.MatchString(name) && strings.Trim(name, ".") != "" {
		return nil
	}
	return &Problem{Kind: StackName, Value: clip(name), Allowed: "1 to 100 letters, digits, '-', '_' and '.', not '-' first, and not dots alone"}
}

// clash is a value that is good by itself, and not beside those of other keys.
type clash struct {
	Problem
	with []string
}

func (s *Settings) clashes() []clash {
	var found []clash
	if s.Rules && !s.PodMonitoring {
		found = append(found, clash{Problem{Key: Rules, Allowed: "it needs podMonitoring=true, since most rules are about pods"}, []string{PodMonitoring}})
	}
	if s.Dashboards && !s.PodMonitoring {
		found = append(found, clash{Problem{Key: Dashboards, Allowed: "it needs podMonitoring=true, since they show pods"}, []string{PodMonitoring}})
	}
	if !s.Shared() {
		return found
	}
	add := func(key, format string, a ...any) {
		found = append(found, clash{Problem{Key: key, Allowed: fmt.Sprintf(format, a...)}, []string{"mode"}})
	}
	if s.KubeContext == "" {
		add("kubeContext", "with mode=%s it must name a context of the kubeconfig (`kubectl config get-contexts`)", s.Mode)
	}
	// A node port is one for the whole cluster: with a fixed one, the second student
	// would find it taken.
	if s.Mode == SharedStudent && s.NodePort != defaultNodePort {
		add("nodePort", "with mode=%s the cluster chooses the port, since a node port can be had once a cluster; leave it at %d (`pulumi config rm nodePort`)", s.Mode, defaultNodePort)
	}
	if s.HostPort != 0 {
		add("hostPort", "a port of this machine leads to a kind cluster alone; with mode=%s allowed is 0", s.Mode)
	}
	if s.ImageMirror != "" {
		add("imageMirror", "a shared cluster's nodes are not the stack's to set up; with mode=%s there is none (`pulumi config rm imageMirror`)", s.Mode)
	}
	return found
}

// foreignKeys are the configured keys of the project that are none of its keys.
func foreignKeys(in Input) []Problem {
	var found []Problem
	old := map[string][]string{} // by what took their place
	for _, full := range in.Keys {
		name, ours := strings.CutPrefix(full, in.Project+":")
		switch instead, was := oldKeys[name]; {
		case !ours || Known(name):
		case was:
			old[instead] = append(old[instead], name)
		default:
			found = append(found, Problem{Kind: UnknownKey, Key: name, Allowed: nearest(name)})
		}
	}
	for _, instead := range slices.Sorted(maps.Keys(old)) {
		names := slices.Sorted(slices.Values(old[instead]))
		found = append(found, Problem{Kind: OldKey, Key: strings.Join(names, ", "), Allowed: insteadOf(in.Source, instead, names)})
	}
	return found
}

// oldKeys are keys of earlier versions, and which one took their place.
var oldKeys = map[string]string{"cluster": "mode", "role": "mode", "monitoring": "chapter"}

// Instead is the key that took the place of an old one, and whether it is an old one.
func Instead(old string) (key string, was bool) {
	key, was = oldKeys[old]
	return key, was
}

// insteadOf says what to write instead of old keys that one key took the place of.
func insteadOf(source Source, key string, old []string) string {
	was := func(key string) string {
		v, _ := source.Try(key) // a missing one is its default
		return v
	}
	var remove []string
	for _, key := range old {
		remove = append(remove, "`pulumi config rm "+key+"`")
	}
	gone := strings.Join(remove, " and ")
	var value string
	switch {
	case key == "mode":
		value = string(modeOf(was("cluster"), was("role")))
	case was("monitoring") == "false" && was("chapter") == "":
		value = string(course.Chapter33) // the last before chapter 4
	default:
		return "chapter 4 is there unless chapter says otherwise: " + gone
	}
	return fmt.Sprintf("write %s=%s instead: `pulumi config set %s %s`, then %s", key, value, key, value, gone)
}

// modeOf is what the two keys before mode meant.
func modeOf(cluster, role string) Mode {
	switch {
	case role == "platform":
		return SharedPlatform
	case cluster == "existing" || role == "student":
		return SharedStudent
	}
	return OwnCluster
}

// nearest is the key that was most likely meant.
func nearest(name string) string {
	distance := func(k Key) int {
		return levenshtein.DistanceForStrings([]rune(strings.ToLower(clip(name))), []rune(strings.ToLower(k.Name)), levenshtein.DefaultOptions)
	}
	return slices.MinFunc(Keys, func(a, b Key) int { return distance(a) - distance(b) }).Name
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
