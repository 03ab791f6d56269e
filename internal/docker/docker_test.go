package docker

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// command makes a shell script stand in for the docker command.
func command(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "docker"), []byte("#!/bin/sh\n"+script+"\n"), 0o700))
	t.Setenv("PATH", dir)
}

func TestAsk(t *testing.T) {
	t.Setenv("DOCKER_HOST", "")
	command(t, `[ "$1" = info ] && echo '{"Name":"here","MemTotal":8589934592,"NCPU":4,"DockerRootDir":"/var/lib/docker","ServerVersion":"28.0"}'`)
	info, err := Ask(t.Context())
	require.NoError(t, err)
	assert.Equal(t, &Info{Host: "here", Memory: 8 << 30, CPUs: 4, Root: "/var/lib/docker", Version: "28.0"}, info)
}

// TestAskRemedy: each way in which Docker cannot be used has a remedy of its own.
func TestAskRemedy(t *testing.T) {
	for name, c := range map[string]struct{ script, host, remedy string }{
		"no command":          {"", "", "https://docs.docker.com/engine/install/"},
		"not permitted":       {`echo 'Got Permission Denied while trying to connect' >&2; exit 1`, "", "sudo usermod -aG docker $USER"},
		"does not run":        {`echo 'Cannot connect to the Docker daemon' >&2; exit 1`, "", "sudo systemctl start docker"},
		"an older command":    {`echo '{"ServerErrors":["Cannot connect to the Docker daemon"]}'`, "", "sudo systemctl start docker"},
		"does not run, afar":  {`echo 'Cannot connect to the Docker daemon' >&2; exit 1`, "unix:///gone.sock", "unix:///gone.sock"},
		"not permitted, afar": {`echo 'permission denied' >&2; exit 1`, "unix:///other.sock", "sudo usermod -aG docker $USER"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("DOCKER_HOST", c.host)
			if c.script == "" {
				t.Setenv("PATH", t.TempDir())
			} else {
				command(t, c.script)
			}
			info, err := Ask(t.Context())
			assert.Nil(t, info)
			var unusable *Error
			require.ErrorAs(t, err, &unusable)
			assert.NotEmpty(t, unusable.Problem)
			assert.Contains(t, unusable.Remedy, c.remedy)
			if c.host == "" {
				assert.NotContains(t, unusable.Remedy, "DOCKER_HOST")
			}
		})
	}
}

func TestAskCancelled(t *testing.T) {
	command(t, "exit 1")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Ask(ctx)
	assert.ErrorIs(t, err, context.Canceled)
	var unusable *Error
	assert.NotErrorAs(t, err, &unusable, "who gives up learns nothing of Docker")
}

// TestRun: the error has what the command printed, the end of it at least.
func TestRun(t *testing.T) {
	command(t, `echo out; echo warning >&2`)
	out, err := Run(t.Context(), "ps")
	require.NoError(t, err)
	assert.Equal(t, "out\n", string(out))

	command(t, `i=0; while [ $i -lt 9999 ]; do echo line >&2; i=$((i+1)); done; echo the end >&2; exit 7`)
	out, err = Run(t.Context(), "rm", "x")
	assert.Nil(t, out)
	assert.ErrorContains(t, err, "the end")
	assert.Less(t, len(err.Error()), 1200)
}

func TestTail(t *testing.T) {
	assert.Equal(t, "ab", string(Tail([]byte("\n ab \n"), 2)))
	assert.Equal(t, "[…] bc", string(Tail([]byte("abc"), 2)))
	assert.Empty(t, Tail(nil, 2))
	long := strings.Repeat("x", 9)
	assert.Equal(t, long, string(Tail([]byte(long), 9)))
}

func TestHasImage(t *testing.T) {
	command(t, `[ "$*" = 'image inspect --format {{.Id}} img:1' ]`)
	assert.True(t, HasImage(t.Context(), "img:1"))
	assert.False(t, HasImage(t.Context(), "img:2"))
}

func TestKindNodes(t *testing.T) {
	command(t, `[ "$4" = label=io.x-k8s.kind.cluster ] && printf 'a\nb\nc\n'`)
	n, err := KindNodes(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 3, n)

	command(t, "exit 1")
	_, err = KindNodes(t.Context())
	assert.Error(t, err, "unknown is not none")
}

func TestPublisher(t *testing.T) {
	for printed, want := range map[string][2]string{
		"":                       {"", ""},
		"web ":                   {"web", ""},
		"bootcamp-a-worker boot": {"bootcamp-a-worker", "boot"},
		"first one\nsecond two":  {"first", "one"},
	} {
		command(t, `[ "$3" = publish=18080 ] && printf '%s\n' '`+printed+`'`)
		container, cluster, err := Publisher(t.Context(), 18080)
		require.NoError(t, err)
		assert.Equal(t, want, [2]string{container, cluster})
	}
	command(t, "exit 1")
	_, _, err := Publisher(t.Context(), 18080)
	assert.Error(t, err)
}
