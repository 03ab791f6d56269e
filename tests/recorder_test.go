package tests

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/tokens"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi/internals"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/components/lab"
	"k8sbootcamp/internal/certificate"
	"k8sbootcamp/internal/docker"
	"k8sbootcamp/internal/sharedcluster"
)

// Project is the project's name in Pulumi.yaml, and the namespace of its keys.
const Project = "bootcamp"

// What the commands print in these tests.
const (
	TestClaim      = "00112233445566778899aabbccddeeff"
	TestKubeconfig = "kubeconfig-of-the-test-with-a-private-key"
	TestPassword   = "password-of-the-test"
)

// TestCluster is the shared cluster of these tests.
var TestCluster = sharedcluster.Facts{
	ID:        "0a1b2c3d-0000-4000-8000-000000000001",
	APIServer: []string{"192.0.2.1", "2001:db8::1"}, APIServerPorts: []int{6443},
	DNS:       []string{"198.51.100.10"},
	Nodes:     []string{"192.0.2.11", "192.0.2.12"},
	Audiences: []string{"https://kubernetes.default.svc.cluster.local"},
}

// Run describes one run of a program against mocks. Runs share nothing, so
// tests may be parallel.
type Run struct {
	Stack   string            // "dev" if empty
	Config  map[string]string // keys without the project's name
	Secret  []string          // those of the keys that are secret
	Preview bool
	// Program is the lab's if nil.
	Program pulumi.RunFunc
	// Answer may change what the provider says of a new resource.
	Answer func(r *Registration, state resource.PropertyMap)
	// Cluster is what a shared cluster says of itself; nil is TestCluster.
	Cluster *sharedcluster.Facts
	// Docker, what it says of itself; nil is not asked.
	Docker func(context.Context) (*docker.Info, error)
}

// Recording is everything that a program asked of the engine.
type Recording struct {
	Stack     string
	Resources []*Registration // by URN; the stack itself is not among them
	Outputs   map[string]Output
	Warnings  []string
	Err       error // of the program
}

// Registration is one registered resource.
type Registration struct {
	URN, Type, Name string
	Parent          string // URN
	Custom          bool   // else a component
	Inputs          resource.PropertyMap

	Provider                string // URN of an explicit one, else empty
	DeletedWith             string // URN
	ReplaceWith             []string
	DeleteBeforeReplace     bool
	CreateLimit             string // custom timeouts
	UpdateLimit             string
	DeleteLimit             string
	SecretOutputs           []string
	IgnoreChanges           []string
	DependsOn               []string // URNs
	Protect, RetainOnDelete bool
}

// Output is a stack output.
type Output struct {
	Value  any
	Known  bool
	Secret bool
}

// Record runs a program to its end and returns what was recorded.
func (r Run) Record() *Recording {
	if r.Stack == "" {
		r.Stack = "dev"
	}
	program := r.Program
	configured := make(map[string]string, len(r.Config))
	for k, v := range r.Config {
		configured[Project+":"+k] = v
	}
	if program == nil {
		cluster := cmp.Or(r.Cluster, &TestCluster)
		program = lab.New(slices.Sorted(maps.Keys(configured)), lab.Ask{
			Docker: r.Docker,
			Cluster: func(_ context.Context, _ sharedcluster.Access, owned []sharedcluster.Object, _ bool) (*sharedcluster.Facts, error) {
				if len(owned) == 0 {
					return nil, errors.New("the program asks for no object of its own")
				}
				return cluster, nil
			},
		})
	}
	secret := make([]string, len(r.Secret))
	for i, k := range r.Secret {
		secret[i] = Project + ":" + k
	}

	rec := &recorder{run: r, recording: &Recording{Stack: r.Stack, Outputs: map[string]Output{}}}
	rec.recording.Err = pulumi.RunErr(func(ctx *pulumi.Context) error {
		ctx.Log = rec
		if err := program(ctx); err != nil {
			return err
		}
		return rec.keepOutputs(ctx)
	}, func(info *pulumi.RunInfo) {
		*info = pulumi.RunInfo{ // whole, so that nothing of the environment gets in
			Organization: "organization", Project: Project, Stack: r.Stack,
			Config: configured, ConfigSecretKeys: secret, DryRun: r.Preview, Mocks: rec,
		}
	})
	slices.SortFunc(rec.recording.Resources, func(a, b *Registration) int { return cmp.Compare(a.URN, b.URN) })
	rec.recording.inherit()
	return rec.recording
}

// inherit does what the engine does with a component's options and the mocks do
// not: DeletedWith, Protect and RetainOnDelete go down to the children.
// ReplaceWith and DeleteBeforeReplace do not.
func (r *Recording) inherit() {
	var down func(res *Registration)
	down = func(res *Registration) {
		parent := r.ByURN(res.Parent)
		if parent == nil {
			return
		}
		down(parent)
		res.DeletedWith = cmp.Or(res.DeletedWith, parent.DeletedWith)
		res.Protect = res.Protect || parent.Protect
		res.RetainOnDelete = res.RetainOnDelete || parent.RetainOnDelete
	}
	for _, res := range r.Resources {
		down(res)
	}
}

// Good is Record for a run that must succeed.
func (r Run) Good(t testing.TB) *Recording {
	t.Helper()
	recording := r.Record()
	require.NoError(t, recording.Err)
	return recording
}

// recorder is the engine of these tests. Registrations arrive concurrently.
type recorder struct {
	run       Run
	mu        sync.Mutex
	recording *Recording
}

var _ pulumi.MockResourceMonitor = (*recorder)(nil)

func (rec *recorder) Call(args pulumi.MockCallArgs) (resource.PropertyMap, error) {
	return nil, fmt.Errorf("the program called %s, which these tests do not know", args.Token)
}

func (rec *recorder) NewResource(args pulumi.MockResourceArgs) (string, resource.PropertyMap, error) {
	rpc := args.RegisterRPC
	if rpc == nil {
		return "", nil, fmt.Errorf("the program read %s %q, which these tests do not know", args.TypeToken, args.ID)
	}
	r := &Registration{
		URN:                 urn(rec.run.Stack, rpc.GetParent(), args.TypeToken, args.Name),
		Type:                args.TypeToken,
		Name:                args.Name,
		Parent:              rpc.GetParent(),
		Custom:              rpc.GetCustom(),
		Inputs:              args.Inputs,
		DeletedWith:         rpc.GetDeletedWith(),
		ReplaceWith:         rpc.GetReplaceWith(),
		DeleteBeforeReplace: rpc.GetDeleteBeforeReplace(),
		CreateLimit:         rpc.GetCustomTimeouts().GetCreate(),
		UpdateLimit:         rpc.GetCustomTimeouts().GetUpdate(),
		DeleteLimit:         rpc.GetCustomTimeouts().GetDelete(),
		SecretOutputs:       rpc.GetAdditionalSecretOutputs(),
		IgnoreChanges:       rpc.GetIgnoreChanges(),
		DependsOn:           rpc.GetDependencies(),
		Protect:             rpc.GetProtect(),
		RetainOnDelete:      rpc.GetRetainOnDelete(),
	}
	r.Provider, _, _ = cutLast(rpc.GetProvider(), "::") // "URN::ID"
	rec.mu.Lock()
	rec.recording.Resources = append(rec.recording.Resources, r)
	rec.mu.Unlock()

	state := args.Inputs.Copy()
	if r.Type == "command:local:Command" {
		printed := TestKubeconfig
		switch plain(r.Inputs["create"]) {
		case "password":
			printed = TestPassword
		case certificate.Verb:
			printed = (&certificate.Pair{Certificate: "certificate-of-the-test", Key: TestKubeconfig}).String()
		case "claim":
			printed = TestClaim
			if plain(r.Inputs["interpreter"]).([]any)[1] == sharedcluster.Tool {
				printed = sharedcluster.Claim{Mark: TestClaim, Cluster: TestCluster.ID}.String()
			}
		}
		state["stdout"] = resource.NewProperty(printed)
		state["stderr"] = resource.NewProperty("")
	}
	if metadata := state["metadata"]; r.InCluster() && metadata.IsObject() {
		metadata = resource.NewProperty(metadata.ObjectValue().Copy())
		metadata.ObjectValue()["uid"] = resource.NewProperty("uid-of-" + args.Name)
		state["metadata"] = metadata
	}
	if rec.run.Answer != nil {
		rec.run.Answer(r, state)
	}
	for _, k := range r.SecretOutputs { // as the engine does
		state[resource.PropertyKey(k)] = resource.MakeSecret(state[resource.PropertyKey(k)])
	}
	// A preview's outputs are known here: the SDK's mock engine cannot decode a
	// secret that is unknown.
	return args.Name + "-id", state, nil
}

// keepOutputs waits for the stack's outputs, which the mocks do not hand over.
func (rec *recorder) keepOutputs(ctx *pulumi.Context) error {
	for name, value := range ctx.GetCurrentExportMap() {
		got, err := internals.UnsafeAwaitOutput(ctx.Context(), pulumi.ToOutput(value))
		if err != nil {
			return fmt.Errorf("output %s: %w", name, err)
		}
		rec.recording.Outputs[name] = Output{Value: got.Value, Known: got.Known, Secret: got.Secret}
	}
	return nil
}

// The recorder is the program's log, too: it keeps warnings.

func (rec *recorder) Warn(msg string, _ *pulumi.LogArgs) error {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.recording.Warnings = append(rec.recording.Warnings, msg)
	return nil
}

func (rec *recorder) Debug(string, *pulumi.LogArgs) error { return nil }
func (rec *recorder) Info(string, *pulumi.LogArgs) error  { return nil }
func (rec *recorder) Error(msg string, _ *pulumi.LogArgs) error {
	return fmt.Errorf("the program logged an error instead of returning it: %s", msg)
}

// urn is the URN that the mock engine gives a resource.
func urn(stack, parent, typ, name string) string {
	var parentType tokens.Type
	if p := resource.URN(parent); p != "" && p.QualifiedType() != resource.RootStackType {
		parentType = p.QualifiedType()
	}
	return string(resource.NewURN(tokens.QName(stack), Project, parentType, tokens.Type(typ), name))
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// Of returns the resources of one type and, unless it is empty, one name.
func (r *Recording) Of(typ, name string) []*Registration {
	var found []*Registration
	for _, res := range r.Resources {
		if res.Type == typ && (name == "" || res.Name == name) {
			found = append(found, res)
		}
	}
	return found
}

// One returns the only resource of a type and name.
func (r *Recording) One(t testing.TB, typ, name string) *Registration {
	t.Helper()
	found := r.Of(typ, name)
	require.Len(t, found, 1, "%s %q", typ, name)
	return found[0]
}

// ByURN finds a resource, or nil.
func (r *Recording) ByURN(urn string) *Registration {
	for _, res := range r.Resources {
		if res.URN == urn {
			return res
		}
	}
	return nil
}

// Kubernetes returns the in-cluster objects.
func (r *Recording) Kubernetes() []*Registration {
	var found []*Registration
	for _, res := range r.Resources {
		if res.InCluster() {
			found = append(found, res)
		}
	}
	return found
}

// InCluster tells whether the resource is a Kubernetes object.
func (r *Registration) InCluster() bool { return r.Custom && strings.HasPrefix(r.Type, "kubernetes:") }

// Object returns the inputs as plain values, secrets opened.
func (r *Registration) Object() map[string]any {
	return plain(resource.NewProperty(r.Inputs)).(map[string]any)
}

func (r *Registration) String() string { return r.Type + " " + r.Name }

// plain turns a property into what a YAML decoder would give: map[string]any,
// []any, string, bool, int, float64 or nil. An unknown value is the string
// "(unknown)".
func plain(v resource.PropertyValue) any {
	switch {
	case v.IsNull():
		return nil
	case v.IsSecret():
		return plain(v.SecretValue().Element)
	case v.IsComputed() || v.IsOutput():
		return "(unknown)"
	case v.IsString():
		return v.StringValue()
	case v.IsBool():
		return v.BoolValue()
	case v.IsNumber():
		if n := v.NumberValue(); n == float64(int(n)) {
			return int(n)
		}
		return v.NumberValue()
	case v.IsArray():
		list := make([]any, len(v.ArrayValue()))
		for i, e := range v.ArrayValue() {
			list[i] = plain(e)
		}
		return list
	case v.IsObject():
		object := make(map[string]any, len(v.ObjectValue()))
		for k, e := range v.ObjectValue() {
			object[string(k)] = plain(e)
		}
		return object
	}
	panic(fmt.Sprintf("a property of an unexpected kind: %#v", v))
}

// at follows a path of keys and list indexes through plain values; nil is not
// there.
func at(v any, path ...any) any {
	for _, step := range path {
		switch s := step.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[s]
		case int:
			list, _ := v.([]any)
			if s >= len(list) {
				return nil
			}
			v = list[s]
		}
	}
	return v
}
