package workspace

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/blang/semver"
	"github.com/pulumi/pulumi/sdk/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fakeCLI is a CLI, a shell script, that says such a version.
func fakeCLI(t *testing.T, file, version string) {
	t.Helper()
	write(t, file, fmt.Sprintf("#!/bin/sh\n[ \"$*\" = version ] && echo '%s'\n", version))
	require.NoError(t, os.Chmod(file, 0o700))
}

func TestFindCLI(t *testing.T) {
	pinned := "v" + sdk.Version.String()
	later := fmt.Sprintf("v%d.%d.1", sdk.Version.Major, sdk.Version.Minor+1)
	works := func(t *testing.T, root string) error {
		fakeCLI(t, filepath.Join(root, "bin", "pulumi"), pinned)
		return nil
	}
	fails := func(*testing.T, string) error { return errors.New("no route\nto host") }
	makesNothing := func(*testing.T, string) error { return nil }

	for name, c := range map[string]struct {
		onPath, cached string                                // versions, "" is none
		build          func(t *testing.T, root string) error // nil must not be tried
		fromPath       bool
		version, err   string
	}{
		"the one on PATH":                {onPath: pinned, fromPath: true, version: pinned},
		"a later one on PATH":            {onPath: later, fromPath: true, version: later},
		"too old on PATH":                {onPath: "v3.1.0", build: works, version: pinned},
		"another major on PATH":          {onPath: "v4.0.0", build: works, version: pinned},
		"broken on PATH":                 {onPath: "what?", build: works, version: pinned},
		"too old on PATH, cached":        {onPath: "v3.1.0", cached: pinned, version: pinned},
		"none":                           {build: works, version: pinned},
		"none on PATH, too old in cache": {cached: "v3.1.0", build: works, version: pinned},
		"it cannot be built":             {build: fails, err: "install Pulumi " + pinned},
		"what was built is none":         {build: makesNothing, err: "not found|no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			path, home := t.TempDir(), t.TempDir()
			t.Setenv("PATH", path)
			t.Setenv("HOME", home)
			t.Setenv("XDG_CACHE_HOME", filepath.Join(home, "cache"))
			cache, err := os.UserCacheDir()
			require.NoError(t, err)
			root := filepath.Join(cache, "bootcamp", "pulumi", pinned)
			if c.onPath != "" {
				fakeCLI(t, filepath.Join(path, "pulumi"), c.onPath)
			}
			if c.cached != "" {
				fakeCLI(t, filepath.Join(root, "bin", "pulumi"), c.cached)
			}
			built, said := false, 0
			cli, err := find(t.Context(), func(string, ...any) { said++ }, func(_ context.Context, at string) error {
				built = true
				assert.Equal(t, root, at)
				if c.build == nil {
					return errors.New("it must not be built")
				}
				return c.build(t, at)
			})
			assert.Equal(t, c.build != nil, built)
			assert.Equal(t, c.fromPath || c.cached == pinned && c.onPath == "", said == 0, "what it does is said")
			if c.err != "" {
				require.Error(t, err)
				assert.Regexp(t, c.err, err.Error())
				return
			}
			require.NoError(t, err)
			file := filepath.Join(root, "bin", "pulumi")
			if c.fromPath {
				file = filepath.Join(path, "pulumi")
			}
			assert.Equal(t, &CLI{file, semver.MustParse(c.version[1:])}, cli)
		})
	}
}

// A release builds nothing: what it lacks is an error with the remedy.
func TestFindCLIBuildsNothing(t *testing.T) {
	path := t.TempDir()
	t.Setenv("PATH", path)
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	var said []string
	say := func(format string, a ...any) { said = append(said, fmt.Sprintf(format, a...)) }
	_, err := FindCLI(t.Context(), "", say)
	require.ErrorContains(t, err, "install Pulumi v"+sdk.Version.String())
	assert.Empty(t, said)
	fakeCLI(t, filepath.Join(path, "pulumi"), "v3.1.0")
	_, err = FindCLI(t.Context(), "", say)
	require.ErrorContains(t, err, "install Pulumi v"+sdk.Version.String())
	assert.Len(t, said, 1, "that the one on PATH is too old")
	fakeCLI(t, filepath.Join(path, "pulumi"), "v"+sdk.Version.String())
	_, err = FindCLI(t.Context(), "", say)
	assert.NoError(t, err)
}

// A run that is stopped while it builds says no more than that.
func TestFindCLIStops(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	ctx, stop := context.WithCancel(t.Context())
	_, err := find(ctx, func(string, ...any) {},
		func(context.Context, string) error { stop(); return errors.New("killed") })
	assert.ErrorIs(t, err, context.Canceled)
}

// The tools' module builds the CLI that the SDK in use asks for.
func TestToolsPinTheCLI(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "tools", "go.mod"))
	require.NoError(t, err)
	pin := regexp.MustCompile(`(?m)^\s+github\.com/pulumi/pulumi/pkg/v3 (\S+)`).FindSubmatch(b)
	require.NotNil(t, pin)
	assert.Equal(t, "v"+sdk.Version.String(), string(pin[1]))
}

// build runs go in the tools' folder and puts in place what it made, once whole.
func TestBuild(t *testing.T) {
	path, root := t.TempDir(), t.TempDir()
	t.Setenv("PATH", path+string(os.PathListSeparator)+os.Getenv("PATH"))
	fakeGo := func(script string) {
		write(t, filepath.Join(path, "go"), "#!/bin/sh\n"+script)
		require.NoError(t, os.Chmod(filepath.Join(path, "go"), 0o700))
	}
	old := filepath.Join(root, "bin", "pulumi")
	write(t, old, "old")

	fakeGo(`echo "no such module" >&2; exit 1`)
	assert.ErrorContains(t, build(t.Context(), "/tools", root), "no such module")
	assert.FileExists(t, old)

	fakeGo(`while [ "$1" != -o ]; do echo "$1" >>` + root + `/args; shift; done; mkdir "$2"; echo "$CGO_ENABLED $3" >"$2/pulumi"`)
	require.NoError(t, build(t.Context(), "/tools", root))
	b, err := os.ReadFile(old)
	require.NoError(t, err)
	assert.Equal(t, "0 github.com/pulumi/pulumi/pkg/v3/cmd/pulumi\n", string(b))
	args, err := os.ReadFile(filepath.Join(root, "args"))
	require.NoError(t, err)
	assert.Regexp(t, `^build\n-C\n/tools\n(.*\n)*-ldflags=.*Version=v`+regexp.QuoteMeta(sdk.Version.String())+`\n$`, string(args))
	entries, err := os.ReadDir(root)
	require.NoError(t, err)
	assert.Len(t, entries, 2, "bin, and this test's args")
}
