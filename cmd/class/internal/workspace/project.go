// Package workspace is what the class tool stands on: the project's folder, the
// place of its state, the passphrase, and the Pulumi CLI and how it is run. None
// of it needs an account.
package workspace

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/common/workspace"
	"github.com/rogpeppe/go-internal/lockedfile"

	"k8sbootcamp/cmd/class/internal/shell"
	"k8sbootcamp/internal/archive"
)

// SampleStack is the one that is worked on where none is named.
const SampleStack = archive.SampleStack

// ProjectName is the name in the Pulumi.yaml that this tool belongs to.
const ProjectName = "bootcamp"

// Environment variables of Pulumi that this package honours.
const (
	EnvBackend        = "PULUMI_BACKEND_URL"
	EnvPassphrase     = "PULUMI_CONFIG_PASSPHRASE"
	EnvPassphraseFile = "PULUMI_CONFIG_PASSPHRASE_FILE"
)

// Project says where the project lies and how Pulumi is called for it.
type Project struct {
	Dir      string             // of Pulumi.yaml, absolute
	Settings *workspace.Project // Pulumi.yaml
	Backend  string             // URL of the state
	State    StateFolder        // "" where the backend is no folder
	OwnState bool               // the state is the tool's own, and no backend that the user named
	Env      map[string]string  // what Pulumi needs beside the caller's environment

	passphrase string // file, or "" where the user has a passphrase
}

// Find returns the folder of the project that from lies in.
func Find(from string) (string, error) {
	dir, err := filepath.Abs(from)
	if err != nil {
		return "", err
	}
	for at := dir; ; at = filepath.Dir(at) {
		file := filepath.Join(at, "Pulumi.yaml")
		p, err := workspace.LoadProject(file)
		switch {
		case err == nil && p.Name.String() == ProjectName:
			return at, nil
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return "", fmt.Errorf("%s: %w", file, err)
		case at == filepath.Dir(at):
			return "", fmt.Errorf("no Pulumi.yaml of project %q in %s or above it; run this inside the project", ProjectName, dir)
		}
	}
}

// Open describes the project in a folder; lookup is os.LookupEnv. It makes
// nothing; see Prepare.
func Open(dir string, lookup func(string) (string, bool)) (*Project, error) {
	settings, err := workspace.LoadProject(filepath.Join(dir, "Pulumi.yaml"))
	if err != nil {
		return nil, err
	}
	p := &Project{Dir: dir, Settings: settings}
	if p.Backend, _ = lookup(EnvBackend); p.Backend == "" {
		p.OwnState = true
		p.Backend = (&url.URL{Scheme: "file", Path: filepath.ToSlash(p.own("state"))}).String()
	}
	if p.State, err = stateFolder(p.Backend); err != nil {
		return nil, fmt.Errorf("%s: %w", EnvBackend, err)
	}
	p.Env = map[string]string{
		EnvBackend:                 p.Backend,
		"PULUMI_SKIP_UPDATE_CHECK": "true", // the version is pinned
	}
	// As Pulumi reads them: a passphrase may be empty, the name of its file may not.
	_, phrase := lookup(EnvPassphrase)
	file, _ := lookup(EnvPassphraseFile)
	if !phrase && file == "" && p.State != "" {
		p.passphrase = p.own("passphrase")
		p.Env[EnvPassphraseFile] = p.passphrase
	}
	return p, nil
}

// own is a path in the folder of what the tool makes, which git ignores.
func (p *Project) own(name ...string) string {
	return filepath.Join(append([]string{p.Dir, ".bootcamp"}, name...)...)
}

// Main is the program's folder, in which the lab's commands run.
func (p *Project) Main() string {
	if filepath.IsAbs(p.Settings.Main) {
		return p.Settings.Main
	}
	return filepath.Join(p.Dir, p.Settings.Main)
}

// Prebuilt tells whether the project is a release's, in which nothing is compiled: its
// runtime is this executable, and not Go.
func (p *Project) Prebuilt() bool { return p.Settings.Runtime.Name() != "go" }

// Tools is the folder of the module that pins the Pulumi CLI, or "" where nothing is compiled.
func (p *Project) Tools() string {
	if p.Prebuilt() {
		return ""
	}
	return filepath.Join(p.Main(), "tools")
}

// From is a Pulumi.yaml for another folder that leads to this project's program.
func (p *Project) From() *workspace.Project {
	other := *p.Settings
	other.Main = p.Main()
	if other.Plugins != nil {
		plugins := *other.Plugins
		plugins.Languages = slices.Clone(plugins.Languages)
		for i, l := range plugins.Languages {
			if !filepath.IsAbs(l.Path) {
				plugins.Languages[i].Path = filepath.Join(p.Dir, l.Path)
			}
		}
		other.Plugins = &plugins
	}
	return &other
}

// Passphrase is the file of the tool's own passphrase, or "" where the user has one.
func (p *Project) Passphrase() string { return p.passphrase }

// ConfigFile is a stack's configuration file, as Pulumi has it.
func (p *Project) ConfigFile(stack string) string {
	return filepath.Join(p.Dir, "Pulumi."+stack+".yaml")
}

// ConfigSource is where a stack's configuration is read from: its file, or the sample where
// a release's folder has none of the sample stack's. It is not this tool's to write to.
func (p *Project) ConfigSource(stack string) string {
	file := p.ConfigFile(stack)
	if stack != SampleStack || !p.Prebuilt() {
		return file
	}
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		return file
	}
	return filepath.Join(p.Dir, filepath.FromSlash(archive.Sample))
}

// ConfigCopy is the folder for a private copy of Pulumi.yaml and of a stack's
// configuration file, where that file is not this tool's to write to.
func (p *Project) ConfigCopy(stack string) string { return p.own("config", stack) }

// Stacks are the names of the project's stacks: those that have a state in a folder, and
// those that have a configuration file.
func (p *Project) Stacks() (names []string, err error) {
	found := func(dir, before string, after ...string) error {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, e := range entries {
			for _, ending := range after {
				name, ours := strings.CutPrefix(e.Name(), before)
				if name, is := strings.CutSuffix(name, ending); ours && is {
					names = append(names, name)
				}
			}
		}
		return nil
	}
	if err := found(p.Dir, "Pulumi.", ".yaml"); err != nil {
		return nil, err
	}
	if p.State == "" { // another backend, whose stacks are not files
		return names, nil
	}
	return names, found(p.State.path("stacks", ProjectName), "", ".json", ".json.gz", ".json.zst")
}

// Namesake is a stack whose name differs from this one's in capitals alone, where this one
// is not among the names. File systems of macOS and Windows do not tell the two apart.
func Namesake(names []string, stack string) string {
	i := slices.IndexFunc(names, func(name string) bool { return strings.EqualFold(name, stack) })
	if i < 0 || slices.Contains(names, stack) {
		return ""
	}
	return names[i]
}

// Kubeconfig is where a stack's kubeconfig is written to.
func (p *Project) Kubeconfig(stack string) string {
	return filepath.Join(p.Dir, "kubeconfig-"+stack+".yaml")
}

// Prepare makes the state's folder (mode 0700) and the passphrase's file (0600)
// where they are the tool's own and missing. Two runs at once agree.
func (p *Project) Prepare() error {
	if p.OwnState {
		if err := os.MkdirAll(string(p.State), 0o700); err != nil {
			return err
		}
	}
	if p.passphrase == "" {
		return nil
	}
	if err := os.MkdirAll(p.own(), 0o700); err != nil {
		return err
	}
	file, err := lockedfile.OpenFile(p.passphrase, os.O_RDWR|os.O_CREATE, 0o600) // waits for another run
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || info.Size() > 0 {
		return err
	}
	// It is new, or a run was killed just here.
	_, err = file.WriteString(rand.Text())
	return errors.Join(err, file.Sync())
}

// Exports are the shell's lines that make plain `pulumi` use the same state.
func (p *Project) Exports() []string {
	var lines []string
	if p.OwnState {
		lines = append(lines, shell.Here.Set(EnvBackend, p.Backend))
	}
	if p.passphrase != "" {
		lines = append(lines, shell.Here.Set(EnvPassphraseFile, p.passphrase))
	}
	return lines
}

// RemoveOwn removes the tool's own state and all that belongs to it; no stack may
// be left in it. keepPassphrase is for where a configuration file still holds a
// secret of it.
func (p *Project) RemoveOwn(keepPassphrase bool) error {
	var errs []error
	if p.OwnState {
		errs = append(errs, os.RemoveAll(string(p.State)), os.RemoveAll(p.own("config")))
	}
	if p.passphrase != "" && !keepPassphrase {
		errs = append(errs, os.RemoveAll(p.passphrase))
	}
	_ = os.Remove(p.own()) // only where nothing else lies in it
	return errors.Join(errs...)
}
