// Package setup finds or makes what the class tool stands on: the project's
// folder, the place of the state, its passphrase, and the Pulumi CLI. Nothing of
// it needs an account.
package workspace

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/common/workspace"
)

// ProjectName is the name in the Pulumi.yaml that this tool belongs to.
const ProjectName = "bootcamp"

// Environment variables of Pulumi that this package honours.
const (
	EnvBackend        = "PULUMI_BACKEND_URL"
	EnvPassphrase     = "PULUMI_CONFIG_PASSPHRASE"
	EnvPassphraseFile = "PULUMI_CONFIG_PASSPHRASE_FILE"
)

// ownFolder holds what the tool makes inside the project; git ignores it.
const ownFolder = ".bootcamp"

// Project says where the project lies and how Pulumi is called for it.
type Project struct {
	Dir      string             // of Pulumi.yaml, absolute
	Settings *workspace.Project // Pulumi.yaml
	Backend  string             // URL of the state
	StateDir string             // the folder of a file:// backend, else empty
	// OwnState tells that the state is the tool's own, and no backend that the
	// user named.
	OwnState bool
	// Env is what Pulumi needs beside the caller's environment.
	Env map[string]string

	passphrase string // file that Prepare makes, or empty
}

// Find returns the folder of the project that from lies in.
func Find(from string) (string, error) {
	dir, err := filepath.Abs(from)
	if err != nil {
		return "", err
	}
	for at := dir; ; at = filepath.Dir(at) {
		p, err := workspace.LoadProject(filepath.Join(at, "Pulumi.yaml"))
		switch {
		case err == nil && p.Name.String() == ProjectName:
			return at, nil
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return "", fmt.Errorf("%s: %w", filepath.Join(at, "Pulumi.yaml"), err)
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("no Pulumi.yaml of project %q in %s or above it; run this inside the project", ProjectName, dir)
		}
	}
}

// Open describes the project in a folder. It makes nothing; see Prepare.
func Open(dir string, getenv func(string) string) (*Project, error) {
	settings, err := workspace.LoadProject(filepath.Join(dir, "Pulumi.yaml"))
	if err != nil {
		return nil, err
	}
	p := &Project{Dir: dir, Settings: settings, Backend: getenv(EnvBackend), Env: map[string]string{
		// The version is pinned here, so news of another is noise.
		"PULUMI_SKIP_UPDATE_CHECK": "true",
	}}
	if p.Backend == "" {
		p.OwnState = true
		p.Backend = (&url.URL{Scheme: "file", Path: filepath.ToSlash(p.own("state"))}).String()
	}
	p.Env[EnvBackend] = p.Backend
	if p.StateDir, err = stateDir(p.Backend); err != nil {
		return nil, fmt.Errorf("%s: %w", EnvBackend, err)
	}
	if getenv(EnvPassphrase) == "" && getenv(EnvPassphraseFile) == "" && p.StateDir != "" {
		p.passphrase = p.own("passphrase")
		p.Env[EnvPassphraseFile] = p.passphrase
	}
	return p, nil
}

func (p *Project) own(name ...string) string {
	return filepath.Join(append([]string{p.Dir, ownFolder}, name...)...)
}

// Main is the program's folder, in which the lab's commands run.
func (p *Project) Main() string {
	if filepath.IsAbs(p.Settings.Main) {
		return p.Settings.Main
	}
	return filepath.Join(p.Dir, p.Settings.Main)
}

// Kubeconfigs is the folder that remembers which kubeconfigs were written.
func (p *Project) Kubeconfigs() string { return p.own("kubeconfigs") }

// Passphrase is the passphrase file that is the tool's own, or empty.
func (p *Project) Passphrase() string { return p.passphrase }

// ConfigFile is where a stack's configuration lies, as Pulumi has it.
func (p *Project) ConfigFile(stack string) string {
	return filepath.Join(p.Dir, "Pulumi."+stack+".yaml")
}

// Prepare makes the state's folder (mode 0700) and the passphrase file (0600)
// where they are the tool's own and missing.
func (p *Project) Prepare() error {
	if p.OwnState {
		if err := os.MkdirAll(p.StateDir, 0o700); err != nil {
			return fmt.Errorf("the folder of the state: %w", err)
		}
	}
	if p.passphrase == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(p.passphrase), 0o700); err != nil {
		return fmt.Errorf("the folder of the passphrase: %w", err)
	}
	// Linked into place once whole, so that two runs at once agree on one.
	temp, err := os.CreateTemp(filepath.Dir(p.passphrase), "passphrase-*") // mode 0600
	if err != nil {
		return fmt.Errorf("the passphrase: %w", err)
	}
	defer os.Remove(temp.Name())
	b := make([]byte, 32)
	rand.Read(b) //nolint:errcheck // crypto/rand.Read never fails since Go 1.24
	if _, err = temp.WriteString(hex.EncodeToString(b)); err == nil {
		err = temp.Sync()
	}
	if err = errors.Join(err, temp.Close()); err != nil {
		return fmt.Errorf("the passphrase: %w", err)
	}
	if err := os.Link(temp.Name(), p.passphrase); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("the passphrase: %w", err)
	}
	return nil
}

// Exports are the lines that make plain `pulumi` use the same state.
func (p *Project) Exports(quote func(string) string) []string {
	var out []string
	if p.OwnState {
		out = append(out, "export "+EnvBackend+"="+quote(p.Backend))
	}
	if p.passphrase != "" {
		out = append(out, "export "+EnvPassphraseFile+"="+quote(p.passphrase))
	}
	return out
}

// Stacks are the files of the stacks in the folder of the state, damaged ones too.
func (p *Project) Stacks() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(p.StateDir, ".pulumi", "stacks", ProjectName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var files []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".json") || strings.HasSuffix(e.Name(), ".json.gz") {
			files = append(files, e.Name())
		}
	}
	return files, err
}

// RemoveOwn removes the tool's own state and what belongs to it. keepPassphrase
// is for where a configuration file still holds a secret of it.
func (p *Project) RemoveOwn(keepPassphrase bool) error {
	var errs []error
	if p.OwnState {
		errs = append(errs, os.RemoveAll(p.StateDir))
	}
	if p.passphrase != "" && !keepPassphrase {
		if err := os.Remove(p.passphrase); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	// Each only where nothing else lies in it.
	_ = os.Remove(p.Kubeconfigs())
	_ = os.Remove(p.own())
	return errors.Join(errs...)
}

// stateDir is the folder of a file:// backend, read as Pulumi reads it.
func stateDir(backend string) (string, error) {
	path, ok := strings.CutPrefix(backend, "file://")
	if !ok {
		return "", nil
	}
	path, _, _ = strings.Cut(path, "?")
	path, err := url.PathUnescape(path)
	if err != nil {
		return "", err
	}
	if path == "~" || strings.HasPrefix(path, "~/") {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		path = filepath.Join(home, strings.TrimPrefix(path[1:], "/"))
	}
	return filepath.Abs(filepath.FromSlash(path))
}
