// Package config works out what configuration a stack will have, without
// Pulumi: its file, what the command line says, and what the roster says.
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

	"k8sbootcamp/components/settings"
)

// Values are configuration values by key, without the project's prefix.
type Values map[string]string

var _ settings.Source = Values(nil)

// Try returns a value, or the SDK's error of a missing one.
func (v Values) Try(key string) (string, error) {
	if value, ok := v[key]; ok {
		return value, nil
	}
	return "", sdkconfig.ErrMissingVar
}

// File is what a stack's configuration file holds.
type File struct {
	Values  Values
	Keys    []string        // full names of all keys, also of other namespaces
	Secrets map[string]bool // encrypted ones, which only Pulumi can read
	Exists  bool
}

// Load reads Pulumi.<stack>.yaml; one that is not there is empty.
func Load(project *workspace.Project, file string) (*File, error) {
	f := &File{Values: Values{}, Secrets: map[string]bool{}}
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	f.Exists = true
	stack, err := workspace.LoadProjectStack(nil, project, file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	for key, value := range stack.Config {
		f.Keys = append(f.Keys, key.Namespace()+":"+key.Name())
		if key.Namespace() != project.Name.String() {
			continue
		}
		if value.Secure() {
			f.Secrets[key.Name()] = true
			continue
		}
		plain, err := value.Value(config.NopDecrypter)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", file, key, err)
		}
		f.Values[key.Name()] = plain
	}
	slices.Sort(f.Keys)
	return f, nil
}

// Stack is the configuration that a stack will have.
type Stack struct {
	Settings *settings.Settings
	Keys     []string // full names of all configured keys, for the program
	Set      Values   // what differs from the file, and must be written to it
	Unset    []string // keys that must go from it
}

// Merge drops keys from the file's, lays the values over them, later ones
// winning, and validates the result. The error is of settings.Parse; see
// Problems.
func Merge(project, stack string, f *File, unset []string, over ...Values) (*Stack, error) {
	all := maps.Clone(f.Values)
	out := &Stack{Set: Values{}, Keys: slices.Clone(f.Keys)}
	secrets := maps.Clone(f.Secrets)
	for _, key := range unset {
		full := project + ":" + key
		if !slices.Contains(out.Keys, full) {
			continue
		}
		delete(all, key)
		delete(secrets, key)
		if !slices.ContainsFunc(over, func(v Values) bool { _, ok := v[key]; return ok }) {
			out.Keys = slices.DeleteFunc(out.Keys, func(k string) bool { return k == full })
			out.Unset = append(out.Unset, full)
		}
	}
	for _, values := range over {
		for key, value := range values {
			all[key] = value
			delete(secrets, key)
		}
	}
	for key, value := range all {
		if old, ok := f.Values[key]; !ok || old != value {
			out.Set[key] = value
		}
		if full := project + ":" + key; !slices.Contains(out.Keys, full) {
			out.Keys = append(out.Keys, full)
		}
	}
	slices.Sort(out.Keys)
	var err error
	// A secret that only Pulumi can read counts as its default here; the program
	// itself checks it.
	out.Settings, err = settings.Parse(project, stack, all, out.Keys, func(key string) bool { return secrets[key] })
	return out, err
}

// ParseFlags reads KEY=VALUE pairs; the key may have the project's prefix.
func ParseFlags(project string, pairs []string) (Values, error) {
	out := Values{}
	var errs []error
	for _, pair := range pairs {
		key, value, ok := strings.Cut(pair, "=")
		key = strings.TrimPrefix(strings.TrimSpace(key), project+":")
		switch _, twice := out[key]; {
		case !ok || key == "":
			errs = append(errs, fmt.Errorf("--config %q: it must be KEY=VALUE", pair))
		case twice:
			errs = append(errs, fmt.Errorf("--config %s is given twice", key))
		default:
			out[key] = value
		}
	}
	return out, errors.Join(errs...)
}

// CheckName returns what is wrong with a stack's name.
func CheckName(name string) []error {
	_, err := settings.Parse("", name, Values(nil), nil, func(string) bool { return false })
	return Problems(err)
}

// Problems takes the error of settings.Parse apart, a problem each.
func Problems(err error) []error {
	if err == nil {
		return nil
	}
	if many, ok := errors.Unwrap(err).(interface{ Unwrap() []error }); ok {
		return many.Unwrap()
	}
	return []error{err}
}
