// Package stack works on one Pulumi stack through the Automation API: the same
// project, stacks and configuration files as the `pulumi` command, with the
// program inline.
package stack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"al.essio.dev/pkg/shellescape"
	"github.com/pulumi/pulumi/sdk/v3/go/auto"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/events"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optdestroy"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/opthistory"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optpreview"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optrefresh"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optup"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"

	"k8sbootcamp/components/lab"
	"k8sbootcamp/cmd/class/internal/config"
	"k8sbootcamp/cmd/class/internal/workspace"
)

// agent is how Pulumi's history names this tool.
const agent = "bootcamp-class"

// mark is the first line of a configuration file that this tool made, and so
// may remove.
const mark = "# Made by the class tool; `class destroy --remove` removes it. Without this line it stays.\n"

// Stack is one student's stack, whether it exists or not.
type Stack struct {
	Name    string
	project *workspace.Project
	command *workspace.Command
	space   auto.Workspace
	auto    auto.Stack
	config  *config.Stack
}

// workspace is the SDK's, but for two things: it selects no stack, for the
// user's own choice of one is not this tool's to change.
type workspace struct{ auto.Workspace }

func (w workspace) SelectStack(context.Context, string) error { return nil }

// Open returns the stack of a name. kill ends its operations without mercy.
func Open(ctx, kill context.Context, project *workspace.Project, cli *workspace.CLI, name string, c *config.Stack) (*Stack, error) {
	return open(ctx, kill, project, project.Dir, project.Env, cli, name, c)
}

func open(ctx, kill context.Context, project *workspace.Project, dir string, env map[string]string,
	cli *workspace.CLI, name string, c *config.Stack,
) (*Stack, error) {
	s := &Stack{Name: name, project: project, config: c, command: &workspace.Command{CLI: cli, Kill: kill}}
	space, err := auto.NewLocalWorkspace(ctx,
		auto.WorkDir(dir),
		auto.EnvVars(env),
		auto.Pulumi(s.command),
		auto.Program(lab.New(c.Keys)))
	if err != nil {
		return nil, err
	}
	s.space = workspace{space}
	if s.auto, err = auto.SelectStack(ctx, name, s.space); err != nil {
		return nil, err
	}
	return s, nil
}

// run calls the CLI for what the Automation API has no words for.
func (s *Stack) run(ctx context.Context, stdin []byte, args ...string) (string, error) {
	var env []string
	for k, v := range s.space.GetEnvVars() {
		env = append(env, k+"="+v)
	}
	out, _, _, err := s.command.Run(ctx, s.space.WorkDir(), bytes.NewReader(stdin), nil, nil, env, args...)
	if err != nil {
		return "", s.explain(fmt.Sprintf("pulumi %s", strings.Join(args[:min(2, len(args))], " ")), nil, err)
	}
	return out, nil
}

// export returns what `pulumi stack export` says, or nil where the backend has no
// such stack. It asks of this stack alone: `pulumi stack ls` fails as soon as any
// stack's state is damaged.
func (s *Stack) export(ctx context.Context) ([]byte, error) {
	out, err := s.run(ctx, nil, "stack", "export", "--stack", s.Name)
	switch {
	case err == nil:
		return []byte(out), nil
	case noStack.MatchString(s.command.LastError()):
		return nil, nil
	}
	if damaged := s.damaged(); damaged != nil {
		return nil, damaged // the CLI's own words would only distract
	}
	return nil, err
}

// noStack is how the CLI, and the SDK by its IsSelectStack404Error, say so.
var noStack = regexp.MustCompile(`no stack named .* found`)

// damaged returns an error with the remedy where the stack's state file is cut
// short. Pulumi's own names neither the file nor its backup.
func (s *Stack) damaged() error {
	if s.project.StateDir == "" {
		return nil
	}
	file := s.stateFile()
	whole := func(file string) bool {
		b, err := os.ReadFile(file)
		return err == nil && json.Valid(b)
	}
	if _, err := os.Stat(file); err != nil || whole(file) {
		return nil
	}
	backup := file + ".bak"
	if !whole(backup) {
		return &Error{Cause: fmt.Sprintf("the state file %s is damaged and has no whole backup; remove it, and `class destroy --stack %s` names what is left of the lab", file, s.Name)}
	}
	return &Error{Cause: fmt.Sprintf("the state file %s is damaged; its backup is whole: run `cp %s %s`, then this again",
		file, shellescape.Quote(backup), shellescape.Quote(file))}
}

func (s *Stack) stateFile() string {
	return filepath.Join(s.project.StateDir, ".pulumi", "stacks", workspace.ProjectName, s.Name+".json")
}

// Create makes the stack. Its configuration file, where there was none, gets
// the mark of this tool.
func (s *Stack) Create(ctx context.Context) error {
	file := s.configFile()
	_, statErr := os.Stat(file)
	if _, err := s.run(ctx, nil, "stack", "init", s.Name, "--no-select"); err != nil {
		return err
	}
	if !errors.Is(statErr, fs.ErrNotExist) {
		return nil
	}
	b, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.WriteFile(file, append([]byte(mark), b...), 0o644)
}

func (s *Stack) configFile() string {
	return filepath.Join(s.space.WorkDir(), "Pulumi."+s.Name+".yaml")
}

// Configure writes the values that differ from the configuration file.
func (s *Stack) Configure(ctx context.Context) error {
	if len(s.config.Unset) > 0 {
		if err := s.auto.RemoveAllConfig(ctx, s.config.Unset); err != nil {
			return s.explain("pulumi config rm-all", nil, err)
		}
	}
	if len(s.config.Set) == 0 {
		return nil
	}
	values := auto.ConfigMap{}
	for k, v := range s.config.Set {
		values[workspace.ProjectName+":"+k] = auto.ConfigValue{Value: v}
	}
	return s.explain("pulumi config set-all", nil, s.auto.SetAllConfig(ctx, values))
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
	return ParseState(export.Deployment)
}

// Adopt asks the cluster which of the objects are there that a killed run was
// about to make, and takes those into the state; an update would refuse to make
// them a second time. Cut off itself, it is done again: an object whose state was
// never read is still unsure.
func (s *Stack) Adopt(ctx context.Context, unsure []Create) error {
	out, err := s.export(ctx)
	if err != nil {
		return err
	}
	// Not `pulumi refresh --import-pending-creates`: as of 3.259 it reads nothing and
	// forgets them.
	claimed, err := withCreated(out, unsure)
	if err != nil {
		return fmt.Errorf("pulumi stack export: %w", err)
	}
	if _, err := s.run(ctx, claimed, "stack", "import", "--stack", s.Name); err != nil {
		return err
	}
	var urns []string
	for _, c := range unsure {
		urns = append(urns, c.URN)
	}
	return s.Refresh(ctx, urns)
}

// Refresh asks the cluster how the objects of these URNs are. Those that are gone
// are dropped from the state, for the next update to make.
func (s *Stack) Refresh(ctx context.Context, urns []string) error {
	w := newWatcher(nil)
	_, err := s.auto.Refresh(ctx, optrefresh.Target(urns), optrefresh.UserAgent(agent), optrefresh.Color("never"),
		optrefresh.SuppressProgress(), optrefresh.EventStreams(w.events))
	w.stop()
	return s.explain("looking at what is there", &w.diagnostics, err)
}

// ClearPending forgets the operations that a killed run left open.
func (s *Stack) ClearPending(ctx context.Context) error {
	out, err := s.export(ctx)
	if err != nil {
		return err
	}
	clean, err := withoutPending(out)
	if err != nil {
		return fmt.Errorf("pulumi stack export: %w", err)
	}
	_, err = s.run(ctx, clean, "stack", "import", "--stack", s.Name)
	return err
}

// Watch is told every event of the engine.
type Watch func(events.EngineEvent)

// Up updates the stack, and rebuilds the resources of these URNs. It returns the
// outputs too, secret ones in clear.
func (s *Stack) Up(ctx context.Context, replace []string, watch Watch) (*Changes, map[string]string, error) {
	w := newWatcher(watch)
	result, err := s.auto.Up(ctx, optup.Replace(replace), optup.UserAgent(agent), optup.Color("never"),
		optup.SuppressProgress(), optup.EventStreams(w.events))
	w.stop()
	return &w.changes, plain(result.Outputs), s.explain("the update", &w.diagnostics, err)
}

// Preview tells what an update would do. It changes nothing: neither the state
// nor the configuration file, and a stack that does not exist is not made.
func (s *Stack) Preview(ctx context.Context, replace []string, watch Watch) (*Changes, error) {
	export, err := s.export(ctx)
	if err != nil {
		return nil, err
	}
	exists := export != nil
	dir, err := os.MkdirTemp("", "class-preview-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	env := map[string]string{}
	for k, v := range s.project.Env {
		env[k] = v
	}
	copies := []string{"Pulumi.yaml", filepath.Base(s.configFile())}
	for _, name := range copies {
		b, err := os.ReadFile(filepath.Join(s.project.Dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), b, 0o600)
		}
		if err != nil {
			return nil, err
		}
	}
	if !exists {
		env[workspace.EnvBackend] = "file://" + filepath.ToSlash(dir)
	}
	copied, err := open(ctx, s.command.Kill, s.project, dir, env, s.command.CLI, s.Name, s.config)
	if err != nil {
		return nil, err
	}
	if !exists {
		if err := copied.Create(ctx); err != nil {
			return nil, err
		}
	}
	if err := copied.Configure(ctx); err != nil {
		return nil, err
	}
	w := newWatcher(watch)
	_, err = copied.auto.Preview(ctx, optpreview.Replace(replace), optpreview.UserAgent(agent), optpreview.Color("never"),
		optpreview.SuppressProgress(), optpreview.EventStreams(w.events))
	w.stop()
	return &w.changes, copied.explain("the preview", &w.diagnostics, err)
}

// Destroy removes everything of the stack, and keeps the stack itself.
func (s *Stack) Destroy(ctx context.Context, watch Watch) (*Changes, error) {
	w := newWatcher(watch)
	_, err := s.auto.Destroy(ctx, optdestroy.UserAgent(agent), optdestroy.Color("never"),
		optdestroy.SuppressProgress(), optdestroy.EventStreams(w.events))
	w.stop()
	return &w.changes, s.explain("the destroy", &w.diagnostics, err)
}

// Outputs are the stack's, secret ones in clear.
func (s *Stack) Outputs(ctx context.Context) (map[string]string, error) {
	outs, err := s.auto.Outputs(ctx)
	if err != nil {
		return nil, s.explain("the stack's outputs", nil, err)
	}
	return plain(outs), nil
}

// plain are outputs as what they all are: strings.
func plain(outs auto.OutputMap) map[string]string {
	values := map[string]string{}
	for name, o := range outs {
		values[name], _ = o.Value.(string)
	}
	return values
}

// Change is the last thing that was done to a stack.
type Change struct {
	Kind   string    `json:"kind"`   // update, destroy, refresh, ...
	Result string    `json:"result"` // succeeded, failed or in-progress
	Time   time.Time `json:"time"`
}

// LastChange returns the newest entry of the stack's history, nil without one.
func (s *Stack) LastChange(ctx context.Context) (*Change, error) {
	list, err := s.auto.History(ctx, 1, 1, opthistory.ShowSecrets(false))
	if err != nil {
		return nil, s.explain("the stack's history", nil, err)
	}
	if len(list) == 0 {
		return nil, nil
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

// Remove removes the stack, which must be empty, and proves it. The
// configuration file goes only if this tool made it; any other keeps what the
// user wrote, and loses the salt that the stack put there. It returns what
// stays, in words.
func (s *Stack) Remove(ctx context.Context) (kept []string, err error) {
	if _, err := s.run(ctx, nil, "stack", "rm", s.Name, "--yes", "--preserve-config", "--remove-backups"); err != nil {
		return nil, err
	}
	if left, err := s.export(ctx); err != nil || left != nil {
		return nil, errors.Join(err, fmt.Errorf("stack %s is still there after its removal", s.Name))
	}
	if kept, err = s.removeConfig(); err != nil {
		return kept, err
	}
	left, err := s.leftovers()
	return append(kept, left...), err
}

func (s *Stack) removeConfig() (kept []string, err error) {
	file := s.configFile()
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if bytes.HasPrefix(b, []byte(mark)) {
		return nil, os.Remove(file)
	}
	kept = []string{file + " (it was not made by this tool)"}
	clean := withoutSalt(b)
	if bytes.Equal(clean, b) {
		return kept, nil
	}
	info, err := os.Stat(file)
	if err != nil {
		return kept, err
	}
	return kept, os.WriteFile(file, clean, info.Mode().Perm())
}

// withoutSalt drops the line of the stack's salt, unless a secret in the file
// needs it.
func withoutSalt(file []byte) []byte {
	var out []byte
	for line := range bytes.Lines(file) {
		switch {
		case bytes.HasPrefix(bytes.TrimSpace(line), []byte("secure:")) || bytes.Contains(line, []byte("secure: ")):
			return file
		case bytes.HasPrefix(line, []byte("encryptionsalt:")):
			continue
		}
		out = append(out, line...)
	}
	return out
}

// leftovers are the files of a removed stack in the state's folder.
func (s *Stack) leftovers() (left []string, err error) {
	if s.project.StateDir == "" {
		return nil, nil
	}
	root := filepath.Join(s.project.StateDir, ".pulumi")
	err = filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		at, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		for _, part := range strings.Split(filepath.ToSlash(at), "/") {
			if part == s.Name || strings.HasPrefix(part, s.Name+".json") {
				left = append(left, file)
				break
			}
		}
		return nil
	})
	return left, err
}
