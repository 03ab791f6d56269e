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

// says puts a docker command on PATH that prints this, whatever it is asked.
func says(t *testing.T, stdout, stderr string, code string) {
	t.Helper()
	dir := t.TempDir()
	quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
	script := "#!/bin/sh\nprintf %s " + quote(stdout) + "\nprintf %s " + quote(stderr) + " >&2\nexit " + code + "\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "docker"), []byte(script), 0o700))
	t.Setenv("PATH", dir)
}

const plain = `{"Name":"vm","MemTotal":1024,"NCPU":2,"DockerRootDir":"/var/lib/docker","ServerVersion":"20.10.24",` +
	`"OperatingSystem":"Debian","OSType":"linux","Architecture":"aarch64","CgroupVersion":"1","HttpProxy":"http://p:1","HttpsProxy":"http://p:2","ServerErrors":null}`

func TestAsk(t *testing.T) {
	says(t, plain, "WARNING: no swap limit support", "0")
	info, err := Ask(context.Background())
	require.NoError(t, err)
	assert.Equal(t, &Info{
		Host: "vm", Memory: 1024, CPUs: 2, Root: "/var/lib/docker", Version: "20.10.24", OperatingSystem: "Debian", OSType: "linux",
		Architecture: "aarch64", CgroupVersion: "1", HTTPProxy: "http://p:1", HTTPSProxy: "http://p:2",
	}, info)
	assert.Equal(t, "arm64", GoArch(info.Architecture))
}

func TestRealDocker(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix:///gone.sock")
	for name, c := range map[string]struct {
		stdout, stderr, code string
		remedy               string // in it
	}{
		"not permitted":              {"", "permission denied while trying to connect to the Docker daemon socket", "1", "usermod -aG docker"},
		"not permitted, as of old":   {`{"ServerErrors":["Got permission denied while trying to connect"]}`, "", "0", "usermod -aG docker"},
		"not permitted, on Windows":  {"", "error during connect: open //./pipe/docker_engine: Access is denied.", "1", "docker-users"},
		"not running":                {"", "Cannot connect to the Docker daemon at unix:///x.sock. Is the docker daemon running?", "1", "DOCKER_HOST points to unix:///gone.sock"},
		"not running, as of old":     {`{"ServerErrors":["Cannot connect to the Docker daemon"]}`, "", "0", "systemctl start docker"},
		"no version":                 {`{}`, "", "0", "systemctl start docker"},
		"no JSON":                    {"hello", "", "0", "systemctl start docker"},
		"Podman under Docker's name": {`{"host":{"arch":"amd64"},"version":{"Version":"4.9.3"}}`, "", "0", "install Docker"},
		"Windows containers":         {`{"ServerVersion":"27.0.1","OSType":"windows"}`, "", "0", "Linux containers"},
	} {
		t.Run(name, func(t *testing.T) {
			says(t, c.stdout, c.stderr, c.code)
			info, err := Ask(context.Background())
			assert.Nil(t, info)
			var e *Error
			require.ErrorAs(t, err, &e)
			assert.NotEmpty(t, e.Problem)
			assert.Contains(t, e.Remedy, c.remedy)
			assert.Contains(t, err.Error(), c.stderr)
		})
	}
	t.Run("missing", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		_, err := Ask(context.Background())
		var e *Error
		require.ErrorAs(t, err, &e)
		assert.Contains(t, e.Remedy, "install Docker")
	})
	t.Run("interrupted", func(t *testing.T) {
		says(t, plain, "", "0")
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, err := Ask(ctx)
		assert.Equal(t, context.Canceled, err)
	})
}

func TestKindNodes(t *testing.T) {
	says(t, "running bootcamp-a\nexited bootcamp-a\nrunning kind\n", "", "0")
	nodes, running, err := KindNodes(context.Background())
	require.NoError(t, err)
	assert.Equal(t, map[string]int{"bootcamp-a": 2, "kind": 1}, nodes)
	assert.Equal(t, 2, running)

	says(t, "", "no", "1")
	_, _, err = KindNodes(context.Background())
	assert.ErrorContains(t, err, "no")
}

func TestPublisher(t *testing.T) {
	for said, want := range map[string][2]string{
		"":                         {"", ""},
		"web \n":                   {"web", ""},
		"a-control-plane a\nb b\n": {"a-control-plane", "a"},
	} {
		says(t, said, "", "0")
		container, cluster, err := Publisher(context.Background(), 8080)
		require.NoError(t, err)
		assert.Equal(t, want, [2]string{container, cluster})
	}
}

func TestWhere(t *testing.T) {
	says(t, "Podman Engine Conmon", "", "0")
	_, podman := Where(context.Background())
	assert.True(t, podman)
	says(t, "tcp://10.0.0.1:2376\n", "", "0")
	endpoint, podman := Where(context.Background())
	assert.Equal(t, "tcp://10.0.0.1:2376", endpoint)
	assert.False(t, podman)
	says(t, "", "unknown command", "1")
	endpoint, podman = Where(context.Background())
	assert.Empty(t, endpoint)
	assert.False(t, podman)
}

func TestTail(t *testing.T) {
	assert.Equal(t, "ab", string(Tail([]byte(" ab\n"), 2)))
	assert.Equal(t, "[…] bc", string(Tail([]byte("abc"), 2)))
}
