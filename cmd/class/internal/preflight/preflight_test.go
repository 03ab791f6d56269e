package preflight

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/internal/docker"
	"k8sbootcamp/internal/kindcluster"
)

// fake is a machine on which all is well until a test says otherwise.
type fake struct {
	missing   map[string]bool
	dockerErr error
	info      docker.Info
	nodes     map[string]int
	running   int
	images    bool
	taken     map[int]error
	publisher [2]string
	memory    uint64
	disk      uint64
	inotify   kindcluster.InotifyLimits
	readOnly  error
}

func well() *fake {
	return &fake{
		info: docker.Info{Host: "here", Memory: 64 * GB, CPUs: 8, Root: "/var/lib/docker"}, images: true,
		memory: 64 * GB, disk: 500 * GB, inotify: kindcluster.InotifyLimits{Instances: 1024, Watches: 1 << 20},
	}
}

func (f *fake) LookPath(file string) error {
	if f.missing[file] {
		return errors.New("not found")
	}
	return nil
}

func (f *fake) Docker(context.Context) (*docker.Info, error) {
	if f.dockerErr != nil {
		return nil, f.dockerErr
	}
	return &f.info, nil
}
func (f *fake) Nodes(_ context.Context, c string) (int, error) { return f.nodes[c], nil }
func (f *fake) KindNodes(context.Context) (int, error)         { return f.running, nil }
func (f *fake) HasImage(context.Context, string) bool          { return f.images }
func (f *fake) Publisher(context.Context, int) (string, string, error) {
	return f.publisher[0], f.publisher[1], nil
}
func (f *fake) Listen(port int) error              { return f.taken[port] }
func (f *fake) HostName() string                   { return "here" }
func (f *fake) FreeMemory() (uint64, error)        { return f.memory, nil }
func (f *fake) FreeDisk(string) (uint64, error)    { return f.disk, nil }
func (f *fake) Inotify() kindcluster.InotifyLimits { return f.inotify }
func (f *fake) Writable(string) error              { return f.readOnly }

func want(stack string, nodes, port int) Want {
	return Want{Stack: stack, Cluster: "bootcamp-" + stack, Nodes: nodes, Image: "img:1", HostPort: port}
}

func run(t *testing.T, f *fake, wants ...Want) *Report {
	t.Helper()
	r, err := Run(context.Background(), f, true, wants, "/project")
	require.NoError(t, err)
	for _, found := range r.Findings {
		assert.NotEmpty(t, found.Remedy, found.Problem)
	}
	return r
}

func checks(r *Report) string {
	var names []string
	for _, f := range r.Findings {
		names = append(names, f.Check)
	}
	return strings.Join(names, " ")
}

func TestAllWell(t *testing.T) {
	r := run(t, well(), want("a", 4, 18080), want("b", 4, 0))
	assert.Empty(t, r.Findings)
	assert.Equal(t, 2, r.Parallel, "no more at a time than there are")
}

func TestEveryFindingAtOnce(t *testing.T) {
	f := well()
	f.missing = map[string]bool{"go": true}
	f.readOnly = errors.New("read-only file system")
	f.memory, f.disk = 2*GB, 2*GB
	f.inotify = kindcluster.InotifyLimits{Instances: 128, Watches: 8192}
	f.taken = map[int]error{18080: syscall.EADDRINUSE}
	r := run(t, f, want("a", 4, 18080), want("b", 4, 18080))
	assert.Equal(t, "go folder port port memory disk inotify", checks(r))
	assert.Equal(t, 1, r.Parallel)
}

func TestDocker(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix:///gone.sock")
	for name, c := range map[string]struct {
		err    error
		remedy string
	}{
		"missing":       {docker.ErrMissing, "install Docker"},
		"not permitted": {docker.ErrNotPermitted, "usermod -aG docker"},
		"not running":   {docker.ErrNotRunning, "DOCKER_HOST points to unix:///gone.sock"},
	} {
		t.Run(name, func(t *testing.T) {
			f := well()
			f.dockerErr = c.err
			f.taken = map[int]error{18080: syscall.EADDRINUSE}
			r := run(t, f, want("a", 1, 18080))
			require.Equal(t, "port docker", checks(r), "what needs no Docker is found all the same")
			assert.Contains(t, r.Findings[1].Remedy, c.remedy)
		})
	}
}

func TestNoDockerNeeded(t *testing.T) {
	f := well()
	f.dockerErr = docker.ErrMissing
	r, err := Run(context.Background(), f, false, nil, "/project")
	require.NoError(t, err)
	assert.Empty(t, r.Findings)
}

func TestMemory(t *testing.T) {
	f := well()
	f.memory = 4 * GB
	r := run(t, f, want("a", 4, 0), want("b", 4, 0))
	require.Equal(t, "memory", checks(r))
	assert.Contains(t, r.Findings[0].Problem, "2 new clusters of 8 nodes need about 5.0 GB of memory; free: 4.0 GB")
	assert.Contains(t, r.Findings[0].Remedy, "workers=0")

	f.nodes = map[string]int{"bootcamp-a": 4} // its memory is in use already
	assert.Empty(t, run(t, f, want("a", 4, 0), want("b", 4, 0)).Findings)

	f.info.Host = "docker-desktop" // what is free here says nothing
	f.memory, f.info.Memory = 64*GB, 2*GB
	r = run(t, f, want("b", 4, 0))
	require.Equal(t, "memory", checks(r))
	assert.Contains(t, r.Findings[0].Problem, "Docker has in all: 2.0 GB")
}

func TestDisk(t *testing.T) {
	f := well()
	f.disk = 7 * GB
	assert.Empty(t, run(t, f, want("a", 4, 0)).Findings)
	f.images = false // one more thing to store
	r := run(t, f, want("a", 4, 0))
	require.Equal(t, "disk", checks(r))
	assert.Contains(t, r.Findings[0].Problem, "/var/lib/docker")
}

func TestInotify(t *testing.T) {
	f := well()
	f.inotify.Instances = 128
	assert.Empty(t, run(t, f, want("a", 4, 0)).Findings, "one cluster of the course's size gets by")
	f.running = 1
	assert.Equal(t, "inotify", checks(run(t, f, want("a", 4, 0))), "but for what runs beside it")
	f.running = 0
	r := run(t, f, want("a", 4, 0), want("b", 1, 0))
	require.Equal(t, "inotify", checks(r))
	assert.Contains(t, r.Findings[0].Remedy, "max_user_instances=512")
}

func TestPorts(t *testing.T) {
	f := well()
	r := run(t, f, want("a", 1, 18080), want("b", 1, 18080), want("c", 1, 18080), want("d", 1, 18081))
	require.Equal(t, "port", checks(r), "one finding a port")
	assert.Contains(t, r.Findings[0].Problem, "hostPort 18080 is asked for by a, b, c")

	f.taken = map[int]error{18080: syscall.EADDRINUSE}
	f.publisher = [2]string{"bootcamp-a-control-plane", "bootcamp-a"}
	assert.Empty(t, run(t, f, want("a", 1, 18080)).Findings, "the lab's own cluster has it")
	r = run(t, f, want("b", 1, 18080))
	require.Equal(t, "port", checks(r))
	assert.Contains(t, r.Findings[0].Problem, "container bootcamp-a-control-plane")
}

func TestParallel(t *testing.T) {
	for _, c := range []struct {
		memory                     uint64
		cpus, nodes, students, all int
	}{
		{64 * GB, 8, 4, 20, 8},
		{64 * GB, 64, 4, 20, 20},
		{10 * GB, 64, 4, 20, 3},
		{10 * GB, 64, 1, 20, 6},
		{100, 64, 1, 20, 1},
		{64 * GB, 0, 1, 20, 1},
	} {
		assert.Equal(t, c.all, parallel(c.memory, c.cpus, c.nodes, c.students), "%+v", c)
	}
}

// The real probes, each on what a new user's machine may lack.

func TestRealDocker(t *testing.T) {
	e := docker.New()
	t.Setenv("PATH", t.TempDir())
	_, err := e.Info(context.Background())
	assert.ErrorIs(t, err, docker.ErrMissing)
	assert.Error(t, This{e}.LookPath("go"))

	for said, want := range map[string]error{
		"permission denied while trying to connect to the Docker daemon socket":                docker.ErrNotPermitted,
		"Cannot connect to the Docker daemon at unix:///x.sock. Is the docker daemon running?": docker.ErrNotRunning,
	} {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "docker"), []byte("#!/bin/sh\necho '"+said+"' >&2\nexit 1\n"), 0o700))
		t.Setenv("PATH", dir)
		_, err := e.Info(context.Background())
		assert.ErrorIs(t, err, want)
		assert.ErrorContains(t, err, said)
	}
}

func TestRealPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	assert.ErrorIs(t, This{}.Listen(port), syscall.EADDRINUSE)
	l.Close()
	assert.NoError(t, This{}.Listen(port))
}

func TestRealFolder(t *testing.T) {
	dir := t.TempDir()
	assert.NoError(t, This{}.Writable(filepath.Join(dir, "not", "yet")))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, entries, "the try leaves nothing")

	file := filepath.Join(dir, "file") // no folder can be below it, whoever asks
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	assert.Error(t, This{}.Writable(file))
	if os.Getuid() == 0 {
		t.Log("as root every folder can be written; the folder without permission was not tried")
		return
	}
	require.NoError(t, os.Chmod(dir, 0o500))
	assert.ErrorIs(t, This{}.Writable(dir), os.ErrPermission)
	require.NoError(t, os.Chmod(dir, 0o700))
}

func TestRealCapacity(t *testing.T) {
	memory, err := This{}.FreeMemory()
	require.NoError(t, err)
	assert.Greater(t, memory, uint64(1<<20))
	disk, err := This{}.FreeDisk(filepath.Join(t.TempDir(), "not", "yet"))
	require.NoError(t, err)
	assert.Positive(t, disk)
}
