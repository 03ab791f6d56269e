package stack

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	pulumiconfig "github.com/pulumi/pulumi/sdk/v3/go/common/resource/config"
	"github.com/pulumi/pulumi/sdk/v3/go/common/workspace"

	"k8sbootcamp/cmd/class/internal/config"
)

// configFile is where the CLI reads the stack's configuration.
func (s *Stack) configFile() string {
	return filepath.Join(s.dir, filepath.Base(s.Project.ConfigFile(s.Name)))
}

// copyConfig makes the stack's folder one to work in: with a Pulumi.yaml that leads
// to the program, and the user's configuration as it is now. Of an earlier copy the
// salt stays, which the state's secrets are encrypted with.
func (s *Stack) copyConfig() error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	if err := s.Project.From().Save(filepath.Join(s.dir, "Pulumi.yaml")); err != nil {
		return err
	}
	earlier, err := s.load(s.configFile())
	if err != nil {
		return err
	}
	own, err := s.load(s.Project.ConfigSource(s.Name))
	if err != nil {
		return err
	}
	if earlier.EncryptionSalt != "" && !own.Config.HasSecureValue() {
		own.EncryptionSalt = earlier.EncryptionSalt
	}
	return own.Save(s.configFile())
}

// dropSalt takes the salt out of the configuration of a stack that is yet to be made,
// unless a secret there needs it. It is of another passphrase as a rule: a
// colleague's, who committed the file.
func (s *Stack) dropSalt() error {
	stack, err := s.load(s.configFile())
	if err != nil || stack.EncryptionSalt == "" || stack.Config.HasSecureValue() {
		return err
	}
	stack.EncryptionSalt = ""
	return stack.Save(s.configFile())
}

func (s *Stack) load(file string) (*workspace.ProjectStack, error) {
	stack, err := workspace.LoadProjectStack(nil, s.Project.Settings, file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return stack, nil
}

// Configure writes the values that differ from the configuration file: into the
// file where this tool made it, else into the copy.
func (s *Stack) Configure() error {
	file := s.configFile()
	stack, err := s.load(file)
	if err != nil {
		return err
	}
	for _, full := range s.Unset {
		key, err := pulumiconfig.ParseKey(full)
		if err != nil {
			return err
		}
		if err := stack.Config.Remove(key, false); err != nil {
			return err
		}
	}
	for name, value := range s.Set {
		key := pulumiconfig.MustMakeKey(s.Project.Settings.Name.String(), name)
		if err := stack.Config.Set(key, pulumiconfig.NewValue(value), false); err != nil {
			return err
		}
	}
	if err := stack.Save(file); err != nil {
		return err
	}
	b, err := os.ReadFile(file)
	if err != nil || s.dir != s.Project.Dir || strings.HasPrefix(string(b), config.Header) {
		return err
	}
	return os.WriteFile(file, append([]byte(config.Header), b...), 0o644)
}

// KeepsSecrets tells whether a configuration file of the project's folder has a
// secret, which is lost without the passphrase.
func KeepsSecrets(dir string) (bool, error) {
	files, err := filepath.Glob(filepath.Join(dir, "Pulumi.*.yaml"))
	if err != nil {
		return false, err
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil || strings.Contains(string(b), "secure:") {
			return true, err
		}
	}
	return false, nil
}
