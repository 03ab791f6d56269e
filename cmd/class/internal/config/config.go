// Package config is the class tool's configuration: who is meant, and what each
// stack is configured to be, worked out from roster, command line and files,
// without Pulumi.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/config"
	"github.com/pulumi/pulumi/sdk/v3/go/common/workspace"
	sdkconfig "github.com/pulumi/pulumi/sdk/v3/go/pulumi/config"

	"k8sbootcamp/components/lab"
	"k8sbootcamp/components/settings"
	"k8sbootcamp/internal/sharedcluster"
)

// Stack is one student's stack as it is configured to be.
type Stack struct {
	Name     string             // of the Pulumi stack
	Student  string             // what people call the student, in any script; the name where nothing else is given
	Line     int                // in the roster, 0 without one
	Settings *settings.Settings // nil where the configuration is not right
	File     *File              // Pulumi.<stack>.yaml as it is now
	Keys     []string           // full names of all configured keys, for the program
	Set      Values             // what differs from the file, and must be written to it
	Unset    []string           // full names of the keys that must go from it
}

// OnKind tells whether the stack may have a kind cluster: also where its
// configuration is not right, so that nobody knows.
func (s *Stack) OnKind() bool { return s.Settings == nil || !s.Settings.Shared() }

// Nodes, NodeImage and HostPort are what the lab asks of this machine, on kind.
// They need Settings.
func (s *Stack) Nodes() int        { return 1 + s.Settings.Workers }
func (s *Stack) NodeImage() string { return s.Settings.Images.Node }
func (s *Stack) HostPort() int     { return s.Settings.HostPort } // 0 is none

// PulledByHost tells whether this machine's Docker pulls the images of the pods, and not
// each node. It needs Settings.
func (s *Stack) PulledByHost() bool { return s.Settings.ImagePull == settings.PullByHost }

// Mirrored tells whether its images come from a mirror.
func (s *Stack) Mirrored() bool { return s.Settings != nil && s.Settings.ImageMirror != "" }

// Access is how a shared cluster is reached; false where the stack is on none.
func (s *Stack) Access() (sharedcluster.Access, bool) {
	if s.OnKind() {
		return sharedcluster.Access{}, false
	}
	return sharedcluster.Access{Kubeconfig: s.Settings.KubeconfigPath, Context: s.Settings.KubeContext}, true
}

// Platform tells whether this is the class's part of a shared cluster, on which
// there is no student's lab.
func (s *Stack) Platform() bool {
	return s.Settings != nil && s.Settings.Mode == settings.SharedPlatform
}

// Problem is one thing that is wrong, and what to do about it.
type Problem struct {
	Check   string `json:"check"`
	Problem string `json:"problem"`
	Remedy  string `json:"remedy"`
}

// The checks of this package.
const (
	CheckRoster = "roster"
	CheckConfig = "config"
)

func (p Problem) String() string {
	return fmt.Sprintf("[%s] %s\n  remedy: %s", p.Check, p.Problem, p.Remedy)
}

// Request says which stacks are meant, and what the command line adds.
type Request struct {
	Project     *workspace.Project
	File        func(stack string) string // path of a stack's configuration file
	Stack       string                    // the one stack, where there is no roster
	Roster      string                    // a file
	Trusted     bool                      // it may have columns of Far
	Only        []string                  // names of the roster's; none is all
	Flags       []string                  // KEY=VALUE
	MustBeRight bool                      // or else a wrong configuration is no problem: its lab can be removed all the same
}

// Read works out the stacks. A value's order of precedence: roster, flag, file,
// default. All problems are reported at once; an error is wrong usage.
func Read(r Request) (stacks []*Stack, problems []Problem, err error) {
	project := r.Project.Name.String()
	students, problems, err := r.students()
	if err != nil {
		return nil, nil, err
	}
	flags, wrong := parseFlags(project, r.Flags)
	problems = append(problems, wrong...)
	bad := make([][]settings.Problem, len(students))
	had := map[string]int{} // how many stacks have a problem
	for i, st := range students {
		s := &Stack{Name: st.name, Student: st.called, Line: st.line}
		stacks = append(stacks, s)
		if s.File, err = load(r.Project, r.File(st.name)); err != nil {
			problems = append(problems, Problem{CheckConfig, err.Error(), "fix that file"})
			continue
		}
		if err := s.configure(project, flags, st); err != nil && r.MustBeRight {
			bad[i] = settings.Problems(err)
		}
		for _, p := range bad[i] {
			had[p.Error()]++
		}
	}
	said := map[string]bool{}
	for i, st := range students {
		for _, p := range bad[i] {
			text := p.Error()
			_, own := st.cells[p.Key]
			_, flag := flags[p.Key]
			// What is wrong with a flag is wrong for all.
			switch once := !own && (flag || had[text] == len(students)); {
			case once && said[text]:
				continue
			case once:
				said[text] = true
			default:
				text = fmt.Sprintf("%s:%d: %s: %s", r.Roster, st.line, st.name, text)
			}
			problems = append(problems, Problem{CheckConfig, text,
				"fix it where it was given: the roster, --config, or Pulumi.<stack>.yaml; Pulumi.yaml describes each key"})
		}
	}
	return stacks, problems, nil
}

// students says who is meant.
func (r Request) students() ([]student, []Problem, error) {
	if r.Roster == "" {
		if len(r.Only) > 0 {
			return nil, nil, errors.New("--only picks from a roster; give --roster, or use --stack")
		}
		if p := settings.CheckStackName(r.Stack); p != nil {
			return nil, nil, *p
		}
		return []student{{name: r.Stack, called: r.Stack}}, nil, nil
	}
	b, err := os.ReadFile(r.Roster)
	if err != nil {
		return nil, nil, fmt.Errorf("the roster: %w", err)
	}
	all, problems := readRoster(b, r.Roster, r.Trusted)
	if len(problems) > 0 || len(r.Only) == 0 {
		return all, problems, nil
	}
	var picked []student
	unknown := slices.Clone(r.Only)
	for _, s := range all {
		if slices.Contains(r.Only, s.name) {
			picked = append(picked, s)
			unknown = slices.DeleteFunc(unknown, func(name string) bool { return name == s.name })
		}
	}
	if len(unknown) > 0 {
		return nil, nil, fmt.Errorf("--only: the roster %s has no %q", r.Roster, unknown)
	}
	return picked, nil, nil
}

// configure lays flags and the student's cells over the file, and validates the
// result. Its error is *settings.Error.
func (s *Stack) configure(project string, flags Values, st student) (err error) {
	all, secret := maps.Clone(s.File.Values), maps.Clone(s.File.Secrets)
	for _, key := range st.empty {
		delete(all, key)
		delete(secret, key)
	}
	maps.Copy(all, flags)
	maps.Copy(all, st.cells)
	for _, full := range s.File.Keys {
		key, ours := strings.CutPrefix(full, project+":")
		if _, there := all[key]; ours && !there && !secret[key] {
			s.Unset = append(s.Unset, full)
		} else {
			s.Keys = append(s.Keys, full)
		}
	}
	s.Set = Values{}
	for key, value := range all {
		delete(secret, key)
		if old, ok := s.File.Values[key]; !ok || old != value {
			s.Set[key] = value
		}
		if full := project + ":" + key; !slices.Contains(s.Keys, full) {
			s.Keys = append(s.Keys, full)
		}
	}
	slices.Sort(s.Keys)
	// A secret, which only Pulumi can read, counts as its default here; the program
	// itself checks it.
	s.Settings, err = lab.Configure(settings.Input{
		Project: project, Stack: s.Name, Source: all, Keys: s.Keys, Secret: func(key string) bool { return secret[key] },
	})
	return err
}

// parseFlags reads KEY=VALUE pairs; the key may have the project's prefix.
func parseFlags(project string, pairs []string) (Values, []Problem) {
	out := Values{}
	var problems []Problem
	for _, pair := range pairs {
		key, value, ok := strings.Cut(pair, "=")
		key = strings.TrimPrefix(strings.TrimSpace(key), project+":")
		switch _, twice := out[key]; {
		case !ok || key == "":
			problems = append(problems, Problem{CheckConfig, fmt.Sprintf("--config %q is not KEY=VALUE", pair), "write it as --config KEY=VALUE"})
		case twice:
			problems = append(problems, Problem{CheckConfig, fmt.Sprintf("--config %q is given twice", key), "give it once"})
		default:
			out[key] = value
		}
	}
	return out, problems
}

// Values are configuration values by key, without the project's prefix.
type Values map[string]string

// Try returns a value, or the SDK's error of a missing one.
func (v Values) Try(key string) (string, error) {
	if value, ok := v[key]; ok {
		return value, nil
	}
	return "", sdkconfig.ErrMissingVar
}

// Header is the first line of a configuration file that this tool made, and so may
// write to and remove. Any other it leaves as it is.
const Header = "# Made by the class tool; `class destroy --remove` removes it. Without this line it stays.\n"

// File is what a stack's configuration file holds; one that is not there is empty.
type File struct {
	Ours    bool            // this tool made it, or may
	Values  Values          // of the project, in plain text
	Secrets map[string]bool // keys of the project whose values only Pulumi can read
	Keys    []string        // full names of all keys, other projects' too
}

func load(project *workspace.Project, file string) (*File, error) {
	b, missing := os.ReadFile(file)
	f := &File{Ours: errors.Is(missing, fs.ErrNotExist) || strings.HasPrefix(string(b), Header), Values: Values{}, Secrets: map[string]bool{}}
	stack, err := workspace.LoadProjectStack(nil, project, file)
	if err != nil {
		return f, fmt.Errorf("%s: %w", file, err)
	}
	for key, value := range stack.Config {
		f.Keys = append(f.Keys, key.Namespace()+":"+key.Name())
		if key.Namespace() != project.Name.String() {
			continue
		}
		if value.Secure() {
			f.Secrets[key.Name()] = true
		} else if f.Values[key.Name()], err = value.Value(config.NopDecrypter); err != nil {
			return f, fmt.Errorf("%s: %s: %w", file, key, err)
		}
	}
	slices.Sort(f.Keys)
	return f, nil
}
