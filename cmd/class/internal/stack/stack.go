// Package stack is one student's Pulumi stack, worked on through the Automation
// API: the same project, stacks and configuration as the `pulumi` command, with
// the program inline. A verb of the class tool is a sequence of its methods.
package stack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/auto"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optdestroy"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optpreview"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optrefresh"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optup"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"

	"k8sbootcamp/cmd/class/internal/config"
	"k8sbootcamp/cmd/class/internal/progress"
	"k8sbootcamp/cmd/class/internal/shell"
	"k8sbootcamp/cmd/class/internal/workspace"
	"k8sbootcamp/components/lab"
	"k8sbootcamp/internal/kindcluster"
	"k8sbootcamp/internal/sharedcluster"
)

// agent is how Pulumi's history names this tool.
const agent = "bootcamp-class"

// Tools are what a stack is worked on with, the same for all of a run.
type Tools struct {
	Project *workspace.Project
	Pulumi  auto.PulumiCommand
	Docker  kindcluster.Driver
}

// Stack is one student's stack, whether it exists or not.
type Stack struct {
	*config.Stack
	Tools

	dir  string // in which the CLI works, with Pulumi.yaml and the stack's configuration
	auto auto.Stack
	cli  listener
	told map[string]any // outputs, by the last Up; nil where it did not say
}

// listener is the CLI, and keeps what its last failed run printed as its error: the
// SDK's own errors have that amid all else.
type listener struct {
	auto.PulumiCommand
	lastError string
}

func (l *listener) Run(ctx context.Context, dir string, stdin io.Reader, outputs, errOutputs []io.Writer, env []string, args ...string) (string, string, int, error) {
	out, errOut, code, err := l.PulumiCommand.Run(ctx, dir, stdin, outputs, errOutputs, env, args...)
	if err != nil {
		l.lastError = strings.TrimSpace(errOut)
	}
	return out, errOut, code, err
}

// unasked is the CLI as the Automation API has it. After each update that asks for the
// outputs twice and for the history, of which nothing is read here: three starts of the
// CLI, two of them with the second that it takes to make a key of the passphrase.
type unasked struct{ auto.PulumiCommand }

func (u unasked) Run(ctx context.Context, dir string, stdin io.Reader, outputs, errOutputs []io.Writer, env []string, args ...string) (string, string, int, error) {
	switch strings.Join(args[:min(2, len(args))], " ") {
	case "stack output":
		return "{}", "", 0, nil
	case "stack history":
		return "[]", "", 0, nil
	}
	return u.PulumiCommand.Run(ctx, dir, stdin, outputs, errOutputs, env, args...)
}

// Open returns the stack of a configuration. It makes no stack, but where the
// user's own configuration file is not to be written to, a copy of that.
func Open(ctx context.Context, tools Tools, c *config.Stack) (*Stack, error) {
	dir := tools.Project.Dir
	if !c.File.Ours {
		dir = tools.Project.ConfigCopy(c.Name)
	}
	s := &Stack{Stack: c, Tools: tools, dir: dir, cli: listener{PulumiCommand: tools.Pulumi}}
	if dir != tools.Project.Dir {
		if err := s.copyConfig(); err != nil {
			return nil, err
		}
	}
	return s, s.open(ctx, tools.Project.Env)
}

func (s *Stack) open(ctx context.Context, env map[string]string) error {
	space, err := auto.NewLocalWorkspace(ctx, auto.WorkDir(s.dir), auto.EnvVars(env), auto.Pulumi(unasked{&s.cli}), auto.Program(lab.New(s.Keys, lab.Ask{Cluster: sharedcluster.Ask})))
	if err != nil {
		return err
	}
	s.auto, err = auto.SelectStack(ctx, s.Name, unselected{space})
	return err
}

// unselected is the SDK's workspace, but it selects no stack: the user's own choice
// of one is not this tool's to change.
type unselected struct{ auto.Workspace }

func (unselected) SelectStack(context.Context, string) error { return nil }

// run calls the CLI for what the Automation API has no words for.
func (s *Stack) run(ctx context.Context, stdin []byte, args ...string) (string, error) {
	var env []string
	for k, v := range s.auto.Workspace().GetEnvVars() {
		env = append(env, k+"="+v)
	}
	out, _, _, err := s.cli.Run(ctx, s.dir, bytes.NewReader(stdin), nil, nil, env, args...)
	if err != nil {
		return "", s.explain("pulumi "+strings.Join(args[:min(2, len(args))], " "), nil, err)
	}
	return out, nil
}

// export returns what `pulumi stack export` says, or nil where the backend has no
// such stack. It asks of this stack alone: `pulumi stack ls` fails as soon as any
// stack's state is damaged.
func (s *Stack) export(ctx context.Context, flags ...string) ([]byte, error) {
	out, err := s.run(ctx, nil, append([]string{"stack", "export", "--stack", s.Name}, flags...)...)
	switch {
	case err == nil:
		return []byte(out), nil
	case noStack.MatchString(s.cli.lastError):
		return nil, nil
	}
	if damaged := s.damaged(); damaged != nil {
		return nil, damaged // the CLI's own words would only distract
	}
	return nil, err
}

// noStack is how the CLI, and the SDK by its IsSelectStack404Error, say so.
var noStack = regexp.MustCompile(`no stack named .* found`)

// damaged returns an *Error with the remedy where the stack's state file is cut
// short. Pulumi's own names neither the file nor its backup.
func (s *Stack) damaged() error {
	if s.Project.State == "" {
		return nil
	}
	file, backup := s.Project.State.StackFile(s.Name), s.Project.State.BackupFile(s.Name)
	whole := func(file string) bool {
		b, err := os.ReadFile(file)
		return err == nil && json.Valid(b)
	}
	if _, err := os.Stat(file); err != nil || whole(file) {
		return nil
	}
	if !whole(backup) {
		return &Error{Cause: fmt.Sprintf("the state file %s is damaged and has no whole backup; remove it, and `class destroy --stack %s` names what is left of the lab", file, s.Name)}
	}
	return &Error{Cause: fmt.Sprintf("the state file %s is damaged; its backup is whole: run `%s`, then this again",
		file, shell.Here.Copy(backup, file))}
}

// State reads the stack's state, which is nil where there is no such stack.
func (s *Stack) State(ctx context.Context) (*State, error) {
	out, err := s.export(ctx)
	if out == nil || err != nil {
		return nil, err
	}
	var export apitype.UntypedDeployment
	if err := json.Unmarshal(out, &export); err != nil {
		return nil, fmt.Errorf("pulumi stack export: %w", err)
	}
	return parseState(export.Deployment)
}

// Create makes the stack.
func (s *Stack) Create(ctx context.Context) error {
	if err := s.dropSalt(); err != nil {
		return err
	}
	_, err := s.run(ctx, nil, "stack", "init", "--stack", s.Name, "--no-select")
	return err
}

// Adopt asks the cluster which of the objects are there that a killed run was about
// to make, and takes those into the state; an update would refuse to make them a
// second time. Cut off itself, it is done again: an object whose state was never
// read is still unsure.
func (s *Stack) Adopt(ctx context.Context, unsure []Create) error {
	// Not `pulumi refresh --import-pending-creates`: as of 3.259 it reads nothing and
	// forgets them.
	if err := s.forgetPending(ctx, unsure); err != nil {
		return err
	}
	var urns []string
	for _, c := range unsure {
		urns = append(urns, c.URN)
	}
	return s.Refresh(ctx, urns)
}

// ClearPending forgets the operations that a killed run left open.
func (s *Stack) ClearPending(ctx context.Context) error { return s.forgetPending(ctx, nil) }

func (s *Stack) forgetPending(ctx context.Context, but []Create) error {
	return s.edit(ctx, func(export []byte) ([]byte, error) { return withoutPending(export, but) })
}

// edit changes the stack's state by hand, unless somebody else wrote it meanwhile.
func (s *Stack) edit(ctx context.Context, change func(export []byte) ([]byte, error)) error {
	was, err := s.export(ctx)
	if err != nil {
		return err
	}
	changed, err := change(was)
	if err != nil {
		return fmt.Errorf("pulumi stack export: %w", err)
	}
	now, err := s.export(ctx)
	if err != nil {
		return err
	}
	if !bytes.Equal(was, now) {
		return &Error{Cause: "another program has changed the stack's state just now; nothing was written. Run this again once that has ended"}
	}
	_, err = s.run(ctx, changed, "stack", "import", "--stack", s.Name)
	return err
}

// Refresh asks the cluster how the objects of these URNs are. Those that are gone
// are dropped from the state, for the next update to make.
func (s *Stack) Refresh(ctx context.Context, urns []string) error {
	w := watch(nil)
	_, err := s.auto.Refresh(ctx, optrefresh.Target(urns), optrefresh.UserAgent(agent), optrefresh.Color("never"),
		optrefresh.SuppressProgress(), optrefresh.EventStreams(w.events))
	w.stop()
	return s.explain("looking at what is there", w.failures, err)
}

// Up updates the stack, and rebuilds the resources of these URNs. Its error is *Error.
func (s *Stack) Up(ctx context.Context, replace []string, line *progress.Line) (*Changes, error) {
	w := watch(line)
	_, err := s.auto.Up(ctx, optup.Replace(replace), optup.UserAgent(agent), optup.Color("never"),
		optup.SuppressProgress(), optup.EventStreams(w.events))
	w.stop()
	s.told = w.outputs
	return &w.changes, s.explain("the update", w.failures, err)
}

// Preview tells what an update would do. It changes nothing: neither the state nor
// the configuration file, and a stack that does not exist is not made. Its error is
// *Error.
func (s *Stack) Preview(ctx context.Context, replace []string, line *progress.Line) (*Changes, error) {
	export, err := s.export(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "class-preview-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	copied := &Stack{Stack: s.Stack, Tools: s.Tools, dir: dir, cli: listener{PulumiCommand: s.Pulumi}}
	if err := copied.copyConfig(); err != nil {
		return nil, err
	}
	env := maps.Clone(s.Project.Env)
	if export == nil {
		env[workspace.EnvBackend] = "file://" + filepath.ToSlash(dir)
	}
	if err := copied.open(ctx, env); err != nil {
		return nil, err
	}
	if export == nil {
		if err := copied.Create(ctx); err != nil {
			return nil, err
		}
	}
	if err := copied.Configure(); err != nil {
		return nil, err
	}
	w := watch(line)
	_, err = copied.auto.Preview(ctx, optpreview.Replace(replace), optpreview.UserAgent(agent), optpreview.Color("never"),
		optpreview.SuppressProgress(), optpreview.EventStreams(w.events))
	w.stop()
	return &w.changes, copied.explain("the preview", w.failures, err)
}

// Destroy removes everything of the stack, and keeps the stack itself. Its error is
// *Error.
func (s *Stack) Destroy(ctx context.Context, line *progress.Line) (*Changes, error) {
	if _, err := os.Stat(s.configFile()); errors.Is(err, fs.ErrNotExist) {
		defer os.Remove(s.configFile()) // the CLI makes one, for its salt
	}
	w := watch(line)
	_, err := s.auto.Destroy(ctx, optdestroy.UserAgent(agent), optdestroy.Color("never"),
		optdestroy.SuppressProgress(), optdestroy.EventStreams(w.events))
	w.stop()
	return &w.changes, s.explain("the destroy", w.failures, err)
}

// Outputs are the stack's, secret ones in clear, which takes the CLI a second more than
// PlainOutputs.
func (s *Stack) Outputs(ctx context.Context) (map[string]string, error) {
	return s.outputs(ctx, "--show-secrets")
}

// PlainOutputs are those of the stack's that are no secrets. After Up nobody is asked.
func (s *Stack) PlainOutputs(ctx context.Context) (all map[string]string, err error) {
	if s.told != nil {
		all = texts(s.told)
	} else {
		all, err = s.outputs(ctx)
	}
	for _, name := range lab.SecretOutputs {
		delete(all, name)
	}
	return all, err
}

func (s *Stack) outputs(ctx context.Context, flags ...string) (map[string]string, error) {
	var all map[string]any
	if err := s.ask(ctx, &all, append([]string{"stack", "output", "--json", "--stack", s.Name}, flags...)...); err != nil {
		return nil, err
	}
	return texts(all), nil
}

// texts are outputs, all of which are texts.
func texts(all map[string]any) map[string]string {
	values := map[string]string{}
	for name, value := range all {
		values[name], _ = value.(string)
	}
	return values
}

// ask runs the CLI, and reads its answer, which is JSON.
func (s *Stack) ask(ctx context.Context, into any, args ...string) error {
	out, err := s.run(ctx, nil, args...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(out), into); err != nil {
		return fmt.Errorf("pulumi %s: %w", strings.Join(args[:2], " "), err)
	}
	return nil
}

// Change is the last thing that was done to a stack.
type Change struct {
	Kind   string    `json:"kind"`   // update, destroy, refresh, ...
	Result string    `json:"result"` // succeeded, failed or in-progress
	Time   time.Time `json:"time"`
}

// LastChange returns the newest entry of the stack's history, nil without one.
func (s *Stack) LastChange(ctx context.Context) (*Change, error) {
	var list []auto.UpdateSummary
	err := s.ask(ctx, &list, "stack", "history", "--json", "--page-size", "1", "--page", "1", "--stack", s.Name)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	c := &Change{Kind: list[0].Kind, Result: list[0].Result}
	when := list[0].StartTime
	if list[0].EndTime != nil {
		when = *list[0].EndTime
	}
	if c.Time, err = time.Parse("2006-01-02T15:04:05.000Z", when); err != nil {
		return nil, fmt.Errorf("the time in the stack's history: %w", err)
	}
	return c, nil
}

// Remove removes the stack, which must be empty, with its configuration where this
// tool made that, and proves it. It returns the files that are left.
func (s *Stack) Remove(ctx context.Context) (left []string, err error) {
	if _, err := s.run(ctx, nil, "stack", "rm", "--stack", s.Name, "--yes", "--preserve-config", "--remove-backups"); err != nil {
		return nil, err
	}
	if still, err := s.export(ctx); err != nil || still != nil {
		return nil, errors.Join(err, fmt.Errorf("stack %s is still there after its removal", s.Name))
	}
	if s.dir != s.Project.Dir { // the copy, and the folder of copies where it was the last
		if err := os.RemoveAll(s.dir); err != nil {
			return nil, err
		}
		_ = os.Remove(filepath.Dir(s.dir))
	} else if err := os.Remove(s.configFile()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if s.Project.State == "" {
		return nil, nil
	}
	return s.Project.State.Leftovers(s.Name)
}
