package tests

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestLauncher: the script ./class, from any folder, compiles as Pulumi's Go language host
// does, into the project's own folder and in one step, and is then what it has compiled:
// arguments, standard input and exit code are handed on. It compiles again where a source
// was changed, added or removed, and only then. What does not compile is not run.
func TestLauncher(t *testing.T) {
	t.Parallel()
	script, err := os.ReadFile("../class")
	require.NoError(t, err)
	dir := filepath.Join(t.TempDir(), "a folder")
	path := filepath.Join(dir, "path")
	require.NoError(t, os.MkdirAll(path, 0o700))
	write := func(file, text string) {
		t.Helper()
		require.NoError(t, os.WriteFile(file, []byte(text), 0o700))
	}
	write(filepath.Join(dir, "class"), string(script))
	source := filepath.Join(dir, "internal", "x", "x.go")
	for _, file := range []string{"cmd/x.go", "components/x.html", "internal/x/x.go", "go.mod", "go.sum"} {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, file)), 0o700))
		write(filepath.Join(dir, file), "")
	}
	write(filepath.Join(path, "go"), `#!/bin/sh
printf '%s|' "$GOTMPDIR" "$@" >"$GOTMPDIR/called"
[ -z "$BROKEN" ] || exit 3
cp "$GOTMPDIR/../built" "$GOTMPDIR/class"
`)
	write(filepath.Join(dir, "built"), "#!/bin/sh\ncat\nprintf '%s|' \"$@\"\nexit 7\n")
	run := func(env string) (out string, code int) {
		t.Helper()
		cmd := exec.Command(filepath.Join(dir, "class"), "kindcluster", "a b", "")
		cmd.Dir, cmd.Env = t.TempDir(), []string{"PATH=" + path + ":" + os.Getenv("PATH"), env}
		stdin, err := os.Open("../class")
		require.NoError(t, err)
		defer stdin.Close()
		cmd.Stdin = stdin
		printed, err := cmd.Output()
		var exit *exec.ExitError
		require.True(t, errors.As(err, &exit), "%v", err)
		return string(printed), exit.ExitCode()
	}
	out, code := run("")
	assert.Equal(t, string(script)+"kindcluster|a b||", out)
	assert.Equal(t, 7, code)
	called, err := os.ReadFile(filepath.Join(dir, "bin", "called"))
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(dir, "bin")+"|build|-C|"+dir+"|-buildvcs=false|-trimpath|-ldflags=-s -w|-o|bin/class|./cmd/class/classtool|", string(called))

	compiled := func() bool {
		t.Helper()
		require.NoError(t, os.Remove(filepath.Join(dir, "bin", "called")))
		out, code := run("")
		assert.Equal(t, string(script)+"kindcluster|a b||", out)
		assert.Equal(t, 7, code)
		_, err := os.Stat(filepath.Join(dir, "bin", "called"))
		if err != nil {
			write(filepath.Join(dir, "bin", "called"), "")
		}
		return err == nil
	}
	later := func(file string) {
		t.Helper()
		at := time.Now().Add(time.Second) // a file system may have no finer times
		require.NoError(t, os.Chtimes(file, at, at))
		time.Sleep(1100 * time.Millisecond)
	}
	assert.False(t, compiled(), "nothing has changed")
	later(source)
	assert.True(t, compiled())
	assert.False(t, compiled())
	require.NoError(t, os.Remove(source))
	later(filepath.Dir(source))
	assert.True(t, compiled(), "a source is gone")
	time.Sleep(1100 * time.Millisecond)
	long := time.Now().Add(-24 * time.Hour)
	require.NoError(t, os.Chtimes(filepath.Join(dir, "go.mod"), long, long)) // as cp -p and tar do
	assert.True(t, compiled(), "a source of another version was put in its place")
	assert.False(t, compiled())
	later(filepath.Join(dir, "go.sum"))

	out, code = run("BROKEN=1")
	assert.Empty(t, out)
	assert.NotZero(t, code)
	left, err := filepath.Glob(filepath.Join(dir, "bin", ".*"))
	require.NoError(t, err)
	assert.Empty(t, left)
}
