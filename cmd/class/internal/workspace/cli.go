package workspace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/blang/semver"
	"github.com/pulumi/pulumi/sdk/v3"
	"github.com/rogpeppe/go-internal/robustio"
)

// CLI is a Pulumi command line that is new enough for the SDK in use.
type CLI struct {
	Path    string // absolute
	Version semver.Version
}

// FindCLI returns the CLI on PATH if it is new enough, else the one in the user's
// cache, which it builds where it is missing, from the Go module that toolsDir, the
// folder of the tools' module, pins with its checksum; "" is none, and nothing is built.
// It downloads no executable: nothing here could tell a forged one. (One that `class images
// save` took from its release was compared with the checksum that is published beside it.)
func FindCLI(ctx context.Context, toolsDir string, say func(format string, a ...any)) (*CLI, error) {
	if toolsDir == "" {
		return find(ctx, say, nil)
	}
	return find(ctx, say, func(ctx context.Context, root string) error { return build(ctx, toolsDir, root) })
}

// OnPath is the CLI on PATH; nil where there is none that can be used.
func OnPath(ctx context.Context) *CLI {
	cli, err := probe(ctx, "pulumi")
	if err != nil {
		return nil
	}
	return cli
}

// LookCLI is FindCLI that builds nothing; nil where there is no CLI that can be used.
func LookCLI(ctx context.Context) *CLI {
	if cli := OnPath(ctx); cli != nil {
		return cli
	}
	if root, err := cached(); err == nil {
		if cli, err := probe(ctx, inCache(root)); err == nil {
			return cli
		}
	}
	return nil
}

// InstallCLI puts a CLI of the SDK's version into the user's cache, where FindCLI looks;
// unpack writes its files into a folder.
func InstallCLI(ctx context.Context, unpack func(dir string) error) error {
	root, err := cached()
	if err != nil {
		return err
	}
	if err := place(root, unpack); err != nil {
		return err
	}
	_, err = probe(ctx, inCache(root))
	return err
}

// cached is the folder of the CLI in the user's cache, and inCache its file there.
func cached() (root string, err error) {
	cache, err := os.UserCacheDir()
	return filepath.Join(cache, ProjectName, "pulumi", "v"+sdk.Version.String()), err
}

func inCache(root string) string { return filepath.Join(root, "bin", "pulumi") }

// find is FindCLI. build makes bin/pulumi in a root; it may be nil.
func find(ctx context.Context, say func(format string, a ...any), build func(ctx context.Context, root string) error) (*CLI, error) {
	cli, err := probe(ctx, "pulumi")
	switch {
	case err == nil:
		return cli, nil
	case !errors.Is(err, exec.ErrNotFound):
		say("Pulumi on PATH is not used: %v", err)
	}
	byHand := fmt.Sprintf("install Pulumi v%s yourself (https://www.pulumi.com/docs/iac/download-install/)", sdk.Version)
	root, err := cached()
	if err != nil {
		return nil, fmt.Errorf("no place for the Pulumi CLI: %w; %s", err, byHand)
	}
	file := inCache(root)
	if cli, err := probe(ctx, file); err == nil {
		return cli, nil
	}
	if build == nil {
		return nil, fmt.Errorf("no Pulumi CLI that can be used: %s, or bring it with `./class images load`", byHand)
	}
	say("building the Pulumi CLI v%s into %s: ten minutes or so, once. It is faster to stop this and to %s", sdk.Version, root, byHand)
	err = build(ctx, root)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("no Pulumi CLI, and it cannot be built: %w\n%s", err, byHand)
	}
	if cli, err = probe(ctx, file); err != nil {
		return nil, fmt.Errorf("the Pulumi CLI that was just built cannot be used: %w; remove it and run again", err)
	}
	say("the Pulumi CLI v%s is ready: %s", cli.Version, cli.Path)
	return cli, nil
}

// probe returns the CLI of a path, or of a name on PATH, if it is new enough.
func probe(ctx context.Context, name string) (*CLI, error) {
	path, err := exec.LookPath(name) // absolute, or an error
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, path, "version")
	cmd.Env = append(os.Environ(), "PULUMI_SKIP_UPDATE_CHECK=true")
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s does not run: %w", path, err)
	}
	v, err := semver.ParseTolerant(string(bytes.TrimSpace(out)))
	if err != nil {
		return nil, fmt.Errorf("the version of %s: %w", path, err)
	}
	if v.Major != sdk.Version.Major || v.LT(sdk.Version) {
		return nil, fmt.Errorf("%s is v%s; v%s or a later v%d is needed", path, v, sdk.Version, sdk.Version.Major)
	}
	return &CLI{path, v}, nil
}

// build compiles the CLI as its releases are.
func build(ctx context.Context, toolsDir, root string) error {
	return place(root, func(fresh string) error { return compile(ctx, toolsDir, fresh) })
}

// place has a CLI made in a folder of its own, and puts it in place once it is whole.
func place(root string, do func(fresh string) error) error {
	fresh, bin := filepath.Join(root, fmt.Sprintf("build-%d", os.Getpid())), filepath.Join(root, "bin")
	defer os.RemoveAll(fresh)
	if err := os.MkdirAll(fresh, 0o755); err != nil {
		return err
	}
	if err := do(fresh); err != nil {
		return err
	}
	return errors.Join(robustio.RemoveAll(bin), robustio.Rename(fresh, bin))
}

func compile(ctx context.Context, toolsDir, fresh string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-C", toolsDir, "-mod=readonly", "-trimpath",
		"-ldflags=-s -w -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v"+sdk.Version.String(),
		"-o", fresh+string(filepath.Separator), "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, bytes.TrimSpace(out))
	}
	return nil
}
