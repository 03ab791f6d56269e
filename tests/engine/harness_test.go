package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/blang/semver"
	"github.com/pulumi/pulumi/pkg/v3/engine"
	lt "github.com/pulumi/pulumi/pkg/v3/engine/lifecycletest/framework"
	"github.com/pulumi/pulumi/pkg/v3/resource/deploy"
	"github.com/pulumi/pulumi/pkg/v3/resource/deploy/deploytest"
	"github.com/pulumi/pulumi/pkg/v3/resource/plugin"
	"github.com/pulumi/pulumi/sdk/v3/go/common/diag"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/config"
	"github.com/pulumi/pulumi/sdk/v3/go/common/tokens"
	"github.com/pulumi/pulumi/sdk/v3/go/common/workspace"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/components/kind"
	"k8sbootcamp/components/lab"
	"k8sbootcamp/components/tool"
)

const project = "bootcamp"

// cfg is configuration of the project's namespace.
type cfg map[string]string

// sim is one stack of the real program, deployed by the real engine to a world.
type sim struct {
	t        testing.TB
	world    *world
	stack    string
	snap     *deploy.Snapshot // the state file
	parallel int32

	programStack *string // the stack's name as the program hears it, where that differs
}

func newSim(t testing.TB, w *world, stack string) *sim {
	return &sim{t: t, world: w, stack: stack, parallel: 16}
}

// outcome is what one command did.
type outcome struct {
	steps   []string              // of the engine, in the order of completion, those without effect left out
	changes []string              // of the world, in order
	journal engine.JournalEntries // for the state at any moment
	base    *deploy.Snapshot
	events  []engine.Event
	said    string // all messages
	program error  // what the program returned
	err     error
}

type option func(*engine.UpdateOptions)

var up, destroy, refresh lt.TestOp = engine.Update, engine.Destroy, engine.Refresh

// up runs an update.
func (s *sim) up(c cfg, opts ...option) *outcome { return s.run(up, c, opts...) }

// destroy runs a destroy.
func (s *sim) destroy() *outcome { return s.run(destroy, nil) }

// refresh runs a refresh.
func (s *sim) refresh() *outcome { return s.run(refresh, nil) }

// replaceCluster is `--replace` with the cluster's URN.
func replaceCluster(s *sim) option { return replaceCommands(s, "cluster") }

// replaceCommands rebuilds commands of the cluster's.
func replaceCommands(s *sim, names ...string) option {
	return func(o *engine.UpdateOptions) {
		var urns []resource.URN
		for _, name := range names {
			urns = append(urns, resource.NewURN(tokens.QName(s.stack), project, kind.Type, tool.CommandType, name))
		}
		o.ReplaceTargets = deploy.NewUrnTargetsFromUrns(urns)
	}
}

// run previews a command, which must change nothing, and then does it.
func (s *sim) run(op lt.TestOp, c cfg, opts ...option) *outcome {
	s.t.Helper()
	if preview := s.once(op, c, true, opts...); len(preview.changes) > 0 {
		s.t.Fatalf("a preview changed the world: %v", preview.changes)
	}
	return s.once(op, c, false, opts...)
}

// once runs a command or its preview, and keeps the state that it leaves.
func (s *sim) once(op lt.TestOp, c cfg, preview bool, opts ...option) *outcome {
	s.t.Helper()
	out := &outcome{}
	var said messages
	var host plugin.Host
	hostF := deploytest.NewPluginHostF(&said, &said,
		deploytest.NewLanguageRuntimeF(s.program(func() string { return host.ServerAddr() }, &out.program)), nil, nil,
		deploytest.NewProviderLoader("command", semver.MustParse("1.2.1"), func() (plugin.Provider, error) { return commandProvider(s.world), nil }),
		deploytest.NewProviderLoader("kubernetes", semver.MustParse("4.32.0"), func() (plugin.Provider, error) { return kubernetesProvider(s.world), nil }))
	options := lt.TestUpdateOptions{
		T: quiet{s.t}, SkipDisplayTests: true,
		HostF:         func() plugin.Host { host = hostF(); return host },
		UpdateOptions: engine.UpdateOptions{Parallel: s.parallel},
	}
	for _, o := range opts {
		o(&options.UpdateOptions)
	}
	values := config.Map{}
	for k, v := range c {
		values[config.MustMakeKey(project, k)] = config.NewValue(v)
	}
	plan := lt.TestPlan{Project: project, Stack: s.stack, Config: values, Options: options}

	logged := len(s.world.Changes)
	snap, err := op.RunStep(plan.GetProject(), plan.GetTarget(quiet{s.t}, s.snap), options, preview, nil,
		func(_ workspace.Project, target deploy.Target, entries engine.JournalEntries, events []engine.Event, err error) error {
			out.journal, out.base, out.events = entries, target.Snapshot, events
			for _, e := range events {
				if d, ok := e.Payload().(engine.DiagEventPayload); ok {
					said.add(d.Message)
				}
			}
			return err
		}, "")
	if !preview {
		s.snap = snap
	}
	out.err, out.said = err, said.String()
	out.changes = slices.Clone(s.world.Changes[logged:])
	for _, e := range out.journal {
		if e.Kind == engine.TestJournalEntrySuccess {
			if op := visible(e.Step); op != "" {
				out.steps = append(out.steps, op+" "+short(e.Step.URN()))
			}
		}
	}
	return out
}

// visible names a step's effect, empty where it has none.
func visible(step deploy.Step) string {
	op := step.Op()
	if r, ok := step.(*deploy.RefreshStep); ok {
		op = r.ResultOp()
	}
	if op == deploy.OpSame {
		return ""
	}
	return string(op)
}

// short is a URN's last type and its name.
func short(urn resource.URN) string {
	t := string(urn.Type())
	return t[strings.LastIndex(t, ":")+1:] + " " + urn.Name()
}

// messages collects what is said on every channel.
type messages struct {
	mu   sync.Mutex
	text strings.Builder
}

func (m *messages) add(s string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.text.WriteString(s + "\n")
}

func (m *messages) String() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.text.String()
}

func (m *messages) Logf(_ diag.Severity, d *diag.Diag, args ...any) {
	m.add(fmt.Sprintf(d.Message, args...))
}
func (m *messages) Debugf(*diag.Diag, ...any)                                    {}
func (m *messages) Infof(d *diag.Diag, a ...any)                                 { m.Logf(diag.Info, d, a...) }
func (m *messages) Infoerrf(d *diag.Diag, a ...any)                              { m.Logf(diag.Infoerr, d, a...) }
func (m *messages) Errorf(d *diag.Diag, a ...any)                                { m.Logf(diag.Error, d, a...) }
func (m *messages) Warningf(d *diag.Diag, a ...any)                              { m.Logf(diag.Warning, d, a...) }
func (m *messages) Stringify(diag.Severity, *diag.Diag, ...any) (string, string) { return "", "" }

func upOnce(s *sim, c cfg) *outcome { return s.once(up, c, false) }

// clone copies a stack and its world.
func (s *sim) clone(t testing.TB) *sim {
	out := newSim(t, s.world.clone(), s.stack)
	out.parallel = s.parallel
	out.snap = lt.CloneSnapshot(quiet{t}, s.snap)
	return out
}

// killed makes the state what it was on disk when the command was killed: all
// that its journal has up to the first failure, which nobody wrote down.
func (s *sim) killed(t testing.TB, o *outcome) {
	t.Helper()
	end := slices.IndexFunc(o.journal, func(e engine.TestJournalEntry) bool { return e.Kind == engine.TestJournalEntryFailure })
	require.GreaterOrEqual(t, end, 0, "no operation was cut off")
	snap, err := o.journal[:end].Snap(o.base)
	require.NoError(t, err)
	s.snap = snap
}

// quiet keeps the framework from logging every message of every case.
type quiet struct{ testing.TB }

func (quiet) Logf(string, ...any) {}
func (quiet) Log(...any)          {}

// program is the lab's, connected to the engine that runs it. What it returns is
// kept, for of an error the engine knows the text alone.
func (s *sim) program(serverAddr func() string, returned *error) deploytest.ProgramFunc {
	return func(info plugin.RunInfo, _ *deploytest.ResourceMonitor) (err error) {
		defer func() { *returned = err }()
		if s.programStack != nil {
			info.Stack = *s.programStack
		}
		values, keys := map[string]string{}, []string{}
		for k, v := range info.Config {
			values[k.String()] = v
			keys = append(keys, k.String())
		}
		var secret []string
		for _, k := range info.ConfigSecretKeys {
			secret = append(secret, k.String())
		}
		ctx, err := pulumi.NewContext(context.Background(), pulumi.RunInfo{
			Project: info.Project, Stack: info.Stack, Config: values, ConfigSecretKeys: secret,
			Parallel: info.Parallel, DryRun: info.DryRun, MonitorAddr: info.MonitorAddress, EngineAddr: serverAddr(),
		})
		if err != nil {
			return err
		}
		defer ctx.Close()
		return pulumi.RunWithContext(ctx, lab.New(keys, lab.Ask{Cluster: s.world.ask}))
	}
}
