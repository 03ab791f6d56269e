package workspace

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/blang/semver"
	"github.com/pulumi/pulumi/sdk/v3"
	"github.com/pulumi/pulumi/sdk/v3/go/auto"
)

const (
	cliModule  = "github.com/pulumi/pulumi/pkg/v3"
	cliPackage = cliModule + "/cmd/pulumi"
	sdkModule  = "github.com/pulumi/pulumi/sdk/v3"
	// versionVariable is what the linker fills in a release of the CLI.
	versionVariable = sdkModule + "/go/common/version.Version"
)

// CLI is a Pulumi command line that is new enough for the SDK in use.
type CLI struct {
	Path    string // absolute
	Version semver.Version
}

// Finder looks for the Pulumi CLI, or gets one. Its fields are the ways to it.
type Finder struct {
	Version  semver.Version // the least that will do
	Say      func(format string, a ...any)
	LookPath func(file string) (string, error)
	// Probe returns the version of the CLI at a path.
	Probe func(ctx context.Context, path string) (semver.Version, error)
	// Root is the folder to install into, with a bin below it.
	Root func() (string, error)
	// Download installs the released CLI below a root.
	Download func(ctx context.Context, root string) error
	// Build compiles the CLI of the module proxy to a file.
	Build func(ctx context.Context, file string) error
}

// NewFinder returns the finder of this machine. goSum is the project's go.sum,
// which knows the SDK that the CLI is built with.
func NewFinder(goSum string, say func(format string, a ...any)) *Finder {
	return &Finder{
		Version:  sdk.Version,
		Say:      say,
		LookPath: exec.LookPath,
		Probe:    probe,
		Root: func() (string, error) {
			cache, err := os.UserCacheDir()
			return filepath.Join(cache, ProjectName, "pulumi", "v"+sdk.Version.String()), err
		},
		Download: func(ctx context.Context, root string) error {
			_, err := auto.InstallPulumiCommand(ctx, &auto.PulumiCommandOptions{Version: sdk.Version, Root: root})
			return err
		},
		Build: func(ctx context.Context, file string) error { return build(ctx, goSum, file) },
	}
}

// Find returns the CLI on PATH if it is new enough, else the one in the cache
// folder, which it fills where it is empty: with the released CLI, or, where
// that cannot be downloaded, with one built from the module proxy.
func (f *Finder) Find(ctx context.Context) (*CLI, error) {
	if path, err := f.LookPath("pulumi"); err == nil {
		if path, err = filepath.Abs(path); err != nil {
			return nil, err
		}
		v, err := f.Probe(ctx, path)
		switch {
		case err == nil && f.fits(v):
			return &CLI{path, v}, nil
		case err != nil:
			f.Say("Pulumi on PATH (%s) does not run: %v", path, err)
		default:
			f.Say("Pulumi on PATH (%s) is v%s; v%s or a later v%d is needed", path, v, f.Version, f.Version.Major)
		}
	}
	root, err := f.Root()
	if err != nil {
		return nil, fmt.Errorf("the cache folder for the Pulumi CLI: %w; install Pulumi v%s yourself (https://www.pulumi.com/docs/iac/download-install/)", err, f.Version)
	}
	file := filepath.Join(root, "bin", "pulumi")
	if runtime.GOOS == "windows" {
		file += ".exe"
	}
	if v, err := f.Probe(ctx, file); err == nil && f.fits(v) {
		return &CLI{file, v}, nil
	}
	f.Say("installing the Pulumi CLI v%s into %s", f.Version, root)
	downloadErr := f.Download(ctx, root)
	if downloadErr != nil && ctx.Err() == nil {
		f.Say("the Pulumi CLI could not be downloaded (%s); building it from its Go module instead, which takes some minutes, once", firstLine(downloadErr.Error()))
		if err := f.Build(ctx, file); err != nil {
			return nil, fmt.Errorf("no Pulumi CLI: its download failed (%s) and so did its build: %w\ninstall Pulumi v%s yourself (https://www.pulumi.com/docs/iac/download-install/)",
				firstLine(downloadErr.Error()), err, f.Version)
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	v, err := f.Probe(ctx, file)
	if err == nil && !f.fits(v) {
		err = fmt.Errorf("it is v%s", v)
	}
	if err != nil {
		return nil, fmt.Errorf("the Pulumi CLI that was just installed (%s) is not usable: %w; remove that file and run again", file, err)
	}
	f.Say("the Pulumi CLI v%s is ready: %s", v, file)
	return &CLI{file, v}, nil
}

func (f *Finder) fits(v semver.Version) bool { return v.Major == f.Version.Major && v.GTE(f.Version) }

func probe(ctx context.Context, path string) (semver.Version, error) {
	cmd := exec.CommandContext(ctx, path, "version")
	cmd.Env = append(os.Environ(), "PULUMI_SKIP_UPDATE_CHECK=true")
	out, err := cmd.Output()
	if err != nil {
		return semver.Version{}, err
	}
	return semver.ParseTolerant(strings.TrimSpace(string(out)))
}

// build compiles the CLI from the module proxy with the very dependencies that
// its release has: `go install` refuses a module whose go.mod has replacements,
// so a copy of that go.mod, without the one that points to a folder of Pulumi's
// own repository, takes its place.
func build(ctx context.Context, goSum, file string) error {
	dir, err := os.MkdirTemp("", "class-pulumi-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	version := "v" + sdk.Version.String()
	run := func(in string, env []string, args ...string) ([]byte, error) {
		var stderr bytes.Buffer
		cmd := exec.CommandContext(ctx, "go", args...)
		cmd.Dir = in
		cmd.Env = append(os.Environ(), env...)
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			return out, fmt.Errorf("go %s: %w\n%s", args[0], err, bytes.TrimSpace(stderr.Bytes()))
		}
		return out, nil
	}

	out, err := run(dir, []string{"GOFLAGS="}, "mod", "download", "-json", cliModule+"@"+version)
	var module struct{ Dir, Error string }
	if jsonErr := json.Unmarshal(out, &module); jsonErr == nil && module.Error != "" {
		return errors.New(module.Error)
	}
	if err != nil {
		return err
	}
	goMod := filepath.Join(dir, "go.mod")
	if err := copyFile(filepath.Join(module.Dir, "go.mod"), goMod, nil); err != nil {
		return err
	}
	sums, err := sumsOf(goSum, sdkModule+" "+version)
	if err != nil {
		return err
	}
	if err := copyFile(filepath.Join(module.Dir, "go.sum"), filepath.Join(dir, "go.sum"), sums); err != nil {
		return err
	}
	if _, err := run(dir, []string{"GOFLAGS="}, "mod", "edit", "-dropreplace="+sdkModule, "-require="+sdkModule+"@"+version, goMod); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	fresh := file + ".new" // a build that is cut off leaves no half CLI
	defer os.Remove(fresh)
	_, err = run(module.Dir, []string{"GOFLAGS=-mod=mod", "CGO_ENABLED=0", "GOWORK=off"},
		"build", "-modfile="+goMod, "-trimpath", "-ldflags=-s -w -X "+versionVariable+"="+version, "-o", fresh, cliPackage)
	if err != nil {
		return err
	}
	return os.Rename(fresh, file)
}

// sumsOf returns the lines of a go.sum that begin so: the SDK's, which the CLI's
// own go.sum lacks, since a folder replaces it there.
func sumsOf(goSum, prefix string) ([]byte, error) {
	b, err := os.ReadFile(goSum)
	if err != nil {
		return nil, err
	}
	var out []byte
	for _, line := range strings.Split(string(b), "\n") {
		if strings.HasPrefix(line, prefix) {
			out = append(out, line+"\n"...)
		}
	}
	return out, nil
}

func copyFile(from, to string, more []byte) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, append(b, more...), 0o600)
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}
