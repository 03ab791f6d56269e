package preflight

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/cmd/class/internal/config"
	"k8sbootcamp/components/editions"
	"k8sbootcamp/components/settings"
	"k8sbootcamp/internal/course"
	"k8sbootcamp/internal/docker"
	"k8sbootcamp/internal/kindcluster"
)

// well is a machine on which all is well, with these labs to be built.
func well(labs ...Lab) *Machine {
	return &Machine{
		Folders: []Folder{{Path: "/project", Free: 500 * gib}},
		Docker:  &docker.Info{Memory: 64 * gib, CPUs: 8, Root: "/var/lib/docker", Architecture: "x86_64"},
		CPUs:    8, FreeMemory: 64 * gib, FreeDisk: 500 * gib,
		Inotify: kindcluster.InotifyLimits{Instances: 1024, Watches: 1 << 20},
		Labs:    labs,
	}
}

func newLab(stack string, nodes, port int) Lab {
	return Lab{HasImage: true, Stack: &config.Stack{Name: stack, Settings: &settings.Settings{
		Mode: settings.OwnCluster, Workers: nodes - 1, HostPort: port, Images: editions.Images{Node: "img:1"},
	}}}
}

func TestFindings(t *testing.T) {
	low := kindcluster.InotifyLimits{Instances: 128, Watches: 8192}
	for name, c := range map[string]struct {
		labs   []Lab
		change func(*Machine)
		want   []string // the check of each finding, and a fact that it names
	}{
		"all well": {[]Lab{newLab("a", 4, 18080), newLab("b", 4, 0)}, func(*Machine) {}, nil},
		"no labs": {nil, func(m *Machine) {
			m.FreeMemory, m.FreeDisk, m.Inotify, m.KindNodes = 0, 0, low, 40
		}, nil},
		"no Docker needed": {nil, func(m *Machine) { m.Docker = nil }, nil},
		"everything at once": {[]Lab{newLab("a", 4, 18080), newLab("b", 4, 18080)}, func(m *Machine) {
			m.Folders[0].Closed = fs.ErrPermission
			m.Labs[0].Taken = syscall.EADDRINUSE
			m.FreeMemory, m.FreeDisk, m.Inotify = 2*gib, 2*gib, low
			m.Setup = Setup{Podman: true, Platform: "linux/arm64", Elsewhere: "there", Proxies: []string{"HTTP_PROXY"}}
		}, []string{"folder /project", "port a, b", "port 18080", "docker Podman", "docker linux/arm64", "network there", "network HTTP_PROXY", "memory", "disk", "inotify"}},

		"a proxy on this machine, whose Docker pulls": {[]Lab{newLab("a", 4, 0)}, func(m *Machine) {
			m.Labs[0].Settings.ImagePull, m.Setup.Proxies = settings.PullByHost, []string{"HTTPS_PROXY"}
		}, nil},
		"a full folder": {nil, func(m *Machine) { m.Folders[0].Free = 50 << 20 }, []string{"disk /project has 0.0 GiB"}},
		"no Docker: what needs none is found all the same": {[]Lab{newLab("a", 4, 18080)}, func(m *Machine) {
			m.Docker, m.NoDocker = nil, &docker.Error{Problem: "gone", Remedy: "start it", Err: errors.New("said")}
			m.Labs[0].Taken = syscall.EADDRINUSE
		}, []string{"port 18080", "docker gone: said"}},

		"memory": {[]Lab{newLab("a", 4, 0), newLab("b", 4, 0)}, func(m *Machine) { m.FreeMemory = 4 * gib },
			[]string{"memory 2 new clusters of 8 nodes need about 5.0 GiB of memory; free: 4.0 GiB"}},
		"memory that is in use already": {[]Lab{newLab("a", 4, 0), newLab("b", 4, 0)}, func(m *Machine) {
			m.FreeMemory, m.Labs[0].Have = 4*gib, 4
		}, nil},
		"a lab that has fewer nodes so far": {[]Lab{newLab("a", 4, 0), newLab("b", 4, 0)}, func(m *Machine) {
			m.FreeMemory, m.Inotify, m.KindNodes = gib, low, 5
			m.Labs[0].Have, m.Labs[1].Have = 1, 4
		}, []string{"memory 3 more nodes need about 2.5 GiB of memory", "inotify low for 3 more nodes beside 5 that run"}},
		"a machine of Docker's own": {[]Lab{newLab("a", 1, 0)}, func(m *Machine) {
			m.FreeMemory, m.FreeDisk, m.Inotify, m.Docker.Memory = unknown, unknown, kindcluster.InotifyLimits{}, gib
		}, []string{"memory 1 new cluster of 1 node need about 1.5 GiB of memory; Docker has in all: 1.0 GiB"}},
		"a machine of Docker's own, in which nodes run": {[]Lab{newLab("a", 4, 0)}, func(m *Machine) {
			m.FreeMemory, m.FreeDisk, m.Inotify, m.Docker.Memory, m.KindNodes = unknown, unknown, kindcluster.InotifyLimits{}, 8*gib, 12
		}, []string{"memory 1 new cluster of 4 nodes need about 3.0 GiB of memory; Docker has, beside 12 nodes that run: 2.0 GiB"}},

		"disk that is enough": {[]Lab{newLab("a", 4, 0)}, func(m *Machine) { m.FreeDisk = 7 * gib }, nil},
		"disk for an image, too": {[]Lab{newLab("a", 4, 0)}, func(m *Machine) {
			m.FreeDisk, m.Labs[0].HasImage = 7*gib, false
		}, []string{"disk 7.5 GiB of disk in /var/lib/docker; free: 7.0 GiB"}},
		"an image that two share": {[]Lab{newLab("a", 1, 0), newLab("b", 1, 0)}, func(m *Machine) {
			m.FreeDisk, m.Labs[0].HasImage, m.Labs[1].HasImage = 9*gib/2, false, false
		}, nil},

		"inotify for one cluster":                     {[]Lab{newLab("a", 4, 0)}, func(m *Machine) { m.Inotify = low }, nil},
		"inotify for a second one":                    {[]Lab{newLab("a", 4, 0), newLab("b", 1, 0)}, func(m *Machine) { m.Inotify = low }, []string{"inotify max_user_instances=128"}},
		"inotify beside what runs":                    {[]Lab{newLab("a", 4, 0)}, func(m *Machine) { m.Inotify, m.KindNodes = low, 1 }, []string{"inotify 1 that run"}},
		"a port, once for all":                        {[]Lab{newLab("a", 1, 1), newLab("b", 1, 2), newLab("c", 1, 1), newLab("d", 1, 1)}, func(*Machine) {}, []string{"port a, c, d"}},
		"a port of the lab's own":                     {[]Lab{newLab("a", 1, 1)}, func(m *Machine) { m.Labs[0].Taken, m.Labs[0].By, m.Labs[0].Own = syscall.EADDRINUSE, "x", true }, nil},
		"a port of a container":                       {[]Lab{newLab("a", 1, 1)}, func(m *Machine) { m.Labs[0].Taken, m.Labs[0].By = syscall.EADDRINUSE, "web" }, []string{"port container web"}},
		"a port that can be listened on all the same": {[]Lab{newLab("a", 1, 1)}, func(m *Machine) { m.Labs[0].By = "web" }, []string{"port container web"}},
		"a port of another program":                   {[]Lab{newLab("a", 1, 1)}, func(m *Machine) { m.Labs[0].Taken = syscall.EADDRINUSE }, []string{"port another program"}},
		"a port for root":                             {[]Lab{newLab("a", 1, 1)}, func(m *Machine) { m.Labs[0].Taken = syscall.EACCES }, []string{"port may not use it"}},

		"Docker's own platform": {[]Lab{newLab("a", 1, 0)}, func(m *Machine) { m.Setup.Platform = "linux/amd64" }, nil},
		"by another name":       {[]Lab{newLab("a", 1, 0)}, func(m *Machine) { m.Setup.Platform, m.Docker.Architecture = "linux/arm64/v8", "aarch64" }, nil},
		"another platform":      {[]Lab{newLab("a", 1, 0)}, func(m *Machine) { m.Setup.Platform, m.Docker.Architecture = "linux/amd64", "aarch64" }, []string{"docker linux/arm64"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := well(c.labs...)
			c.change(m)
			found := m.Findings()
			require.Len(t, found, len(c.want), "%v", found)
			for i, want := range c.want {
				check, fact, _ := strings.Cut(want, " ")
				assert.Equal(t, check, found[i].Check)
				assert.Contains(t, found[i].Problem, fact)
				assert.NotEmpty(t, found[i].Remedy)
			}
		})
	}
}

// TestPulls: a class whose nodes pull passes a registry's limit, and is warned, not stopped;
// what Docker has counts only where Docker pulls.
func TestPulls(t *testing.T) {
	var stacks []*config.Stack
	for i := range 20 {
		lab := newLab("s"+strconv.Itoa(i), 4, 0)
		lab.Settings.Images = editions.Images{Node: "node:1", Echo: "echo:1", Prometheus: "prometheus:1", NodeExporter: "exporter:1"}
		lab.Settings.Chapter, lab.Settings.ImagePull = course.All, settings.PullByNodes
		stacks = append(stacks, lab.Stack)
	}
	var asked []string
	m := well()
	m.Pulls = lookPulls(stacks, func(image string) bool { asked = append(asked, image); return true })
	require.Len(t, m.Warnings(), 1)
	assert.Contains(t, m.Warnings()[0], "200 pulls from docker.io")
	assert.Equal(t, []string{"node:1"}, asked)
	assert.Empty(t, m.Findings())

	for _, s := range stacks {
		s.Settings.ImageMirror = "http://10.0.0.1:5000"
	}
	m.Pulls = lookPulls(stacks, func(string) bool { return false })
	assert.Empty(t, m.Warnings(), "a mirror pulls for all")

	for _, s := range stacks {
		s.Settings.ImagePull, s.Settings.ImageMirror = settings.PullByHost, ""
	}
	asked = nil
	m.Pulls = lookPulls(stacks, func(image string) bool { asked = append(asked, image); return true })
	assert.Empty(t, m.Warnings())
	assert.Empty(t, asked, "Docker is not asked where it does not matter")
}

// TestProxyOnLoopback: the nodes do not reach it; that stops nobody whose Docker pulls.
func TestProxyOnLoopback(t *testing.T) {
	m := well(newLab("a", 4, 0))
	m.Labs[0].Settings.ImagePull, m.Setup.Proxies = settings.PullByHost, []string{"HTTPS_PROXY"}
	assert.Empty(t, m.Findings())
	require.Len(t, m.Warnings(), 1)
	assert.Contains(t, m.Warnings()[0], "HTTPS_PROXY points to this machine's 127.0.0.1")
	m.Labs = nil
	assert.Empty(t, m.Warnings(), "nothing is about to be built")
}

func TestInotifyRemedy(t *testing.T) {
	m := well(newLab("a", 8, 0))
	m.Inotify.Instances = 128
	found := m.Findings()
	require.Len(t, found, 1)
	assert.Equal(t, m.Inotify.Remedy(), found[0].Remedy)
}

func TestParallel(t *testing.T) {
	for _, c := range []struct {
		memory                       uint64
		cpus, nodes, students, atOne int
	}{
		{64 * gib, 8, 4, 20, 8},
		{64 * gib, 64, 4, 20, 20},
		{10 * gib, 64, 4, 20, 3},
		{10 * gib, 64, 1, 20, 6},
		{100, 64, 1, 20, 1},
		{64 * gib, 0, 1, 20, 1},
	} {
		m := well(newLab("a", c.nodes, 0))
		m.FreeMemory, m.Docker.CPUs = c.memory, c.cpus
		assert.Equal(t, c.atOne, m.Parallel(c.students), "%+v", c)
	}
	m := well()
	assert.Equal(t, 16, m.Parallel(20), "nothing to build: twice the cores")
	assert.Equal(t, 3, m.Parallel(3))
	m.Docker = nil
	assert.Equal(t, 1, m.Parallel(0))
	there := newLab("a", 11, 0)
	there.Have = there.Nodes()
	m = well(there, newLab("b", 1, 0))
	m.FreeMemory = 3 * gib
	assert.Equal(t, 2, m.Parallel(20), "of the size that is to be made")
}

func TestElsewhere(t *testing.T) {
	for _, c := range []struct {
		endpoint    string
		inContainer bool
		docker      string
		want        string
	}{
		{"unix:///var/run/docker.sock", false, "here", ""},
		{"unix:///var/run/docker.sock", false, "docker-desktop", ""},
		{"npipe:////./pipe/docker_engine", false, "docker-desktop", ""},
		{"", false, "here", ""},
		{"tcp://127.0.0.1:2375", false, "here", ""},
		{"tcp://localhost:2375", false, "here", ""},
		{"tcp://10.0.0.1:2376", false, "there", "10.0.0.1"},
		{"ssh://teacher@lab", false, "there", "lab"},
		{"unix:///var/run/docker.sock", true, "here", ""}, // Docker in it
		{"unix:///var/run/docker.sock", true, "there", "there"},
	} {
		assert.Equal(t, c.want, elsewhere(c.endpoint, c.inContainer, "here", c.docker), "%+v", c)
	}
}

// TestLook asks a docker command that answers from a list.
func TestLook(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "docker"), []byte(`#!/bin/sh
case "$*" in
info*) echo '{"Name":"far","MemTotal":8,"NCPU":3,"ServerVersion":"27","Architecture":"aarch64"}' ;;
"ps --all"*) printf 'running bootcamp-a\nexited bootcamp-a\nrunning kind\n' ;;
"ps --filter publish="*) echo bootcamp-a-control-plane bootcamp-a ;;
"image inspect"*img:1) echo sha256:1 ;;
"context inspect"*) echo ssh://teacher@far ;;
"version"*) echo Engine containerd ;;
*) echo "$*" >&2; exit 1 ;;
esac
`), 0o700))
	t.Setenv("PATH", dir)
	t.Setenv("DOCKER_DEFAULT_PLATFORM", "linux/amd64")
	t.Setenv("HTTP_PROXY", "http://user:secret@proxy:3128")
	t.Setenv("http_proxy", "http://127.0.0.1:3128")
	t.Setenv("HTTPS_PROXY", "")
	t.Setenv("https_proxy", "localhost:3128")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	a, b, c := newLab("a", 4, port), newLab("b", 4, port), newLab("c", 1, 0)
	c.Settings.Images.Node = "img:2"
	shared := &config.Stack{Name: "s", Settings: &settings.Settings{Mode: settings.SharedStudent}}

	m, err := Look(context.Background(), []*config.Stack{a.Stack, b.Stack, c.Stack, shared, {Name: "wrong"}}, true, dir)
	require.NoError(t, err)
	require.Len(t, m.Folders, 1)
	assert.NoError(t, m.Folders[0].Closed)
	assert.Equal(t, &docker.Info{Host: "far", Memory: 8, CPUs: 3, Version: "27", Architecture: "aarch64"}, m.Docker)
	assert.Equal(t, Setup{Elsewhere: "far", Platform: "linux/amd64", Proxies: []string{"https_proxy"}}, m.Setup)
	assert.Equal(t, 2, m.KindNodes)
	assert.Equal(t, uint64(unknown), m.FreeMemory, "Docker has another machine")
	require.Len(t, m.Labs, 3)
	for i, want := range []Lab{
		{Stack: a.Stack, Have: 2, By: "bootcamp-a-control-plane", Own: true},
		{Stack: b.Stack, HasImage: true, By: "bootcamp-a-control-plane"},
		{Stack: c.Stack},
	} {
		if i < 2 {
			assert.ErrorIs(t, m.Labs[i].Taken, syscall.EADDRINUSE)
			m.Labs[i].Taken = nil
		}
		assert.Equal(t, want, m.Labs[i])
	}

	m, err = Look(context.Background(), nil, false)
	require.NoError(t, err)
	assert.Nil(t, m.Docker)
	assert.Nil(t, m.NoDocker)

	t.Setenv("PATH", "")
	m, err = Look(context.Background(), []*config.Stack{a.Stack}, true)
	require.NoError(t, err)
	assert.NotNil(t, m.NoDocker)
	assert.Len(t, m.Labs, 1)
}

// TestLookGivesUp: once Docker is known not to answer, nothing else is waited for.
func TestLookGivesUp(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "docker"), []byte("#!/bin/sh\n[ \"$1\" = info ] && exit 1\nexec /bin/sleep 60\n"), 0o700))
	t.Setenv("PATH", dir)
	begin := time.Now()
	m, err := Look(context.Background(), []*config.Stack{newLab("a", 1, 1).Stack}, true)
	require.NoError(t, err)
	assert.NotNil(t, m.NoDocker)
	assert.Less(t, time.Since(begin), 20*time.Second)
}

func TestLookInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "docker"), []byte("#!/bin/sh\n"), 0o700))
	t.Setenv("PATH", dir)
	_, err := Look(ctx, nil, true)
	assert.ErrorIs(t, err, context.Canceled)
}

// The real probes, each on what a new user's machine may lack.

func TestRealFolder(t *testing.T) {
	dir := t.TempDir()
	assert.NoError(t, tryWrite(filepath.Join(dir, "not", "yet")))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, entries, "the try leaves nothing")

	file := filepath.Join(dir, "file") // no folder can be below it, whoever asks
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	assert.Error(t, tryWrite(file))
	if os.Getuid() == 0 {
		t.Log("as root every folder can be written; the folder without permission was not tried")
		return
	}
	require.NoError(t, os.Chmod(dir, 0o500))
	assert.ErrorIs(t, tryWrite(dir), os.ErrPermission)
	require.NoError(t, os.Chmod(dir, 0o700))
}

func TestRealCapacity(t *testing.T) {
	free := freeDisk(filepath.Join(t.TempDir(), "not", "yet"))
	assert.Positive(t, free)
	assert.Less(t, free, uint64(unknown))
}

// TestRealDocker asks this machine's Docker, if there is one.
func TestRealDocker(t *testing.T) {
	m, err := Look(context.Background(), []*config.Stack{newLab("no-such-student", 1, 0).Stack}, true)
	require.NoError(t, err)
	if m.Docker == nil {
		t.Skip("no Docker: ", m.NoDocker)
	}
	assert.Zero(t, m.Labs[0].Have)
	assert.NotContains(t, []string{"", "x86_64", "aarch64"}, docker.GoArch(m.Docker.Architecture))
	assert.Greater(t, m.Docker.Memory, uint64(gib/4))
	if m.FreeMemory != unknown {
		assert.Less(t, m.FreeMemory, m.Docker.Memory)
		assert.Positive(t, m.FreeDisk)
	}
}

func TestListener(t *testing.T) {
	assert.Equal(t, "ss -ltnp 'sport = :8000'", listener("linux", 8000))
	assert.Equal(t, "lsof -nP -iTCP:8000 -sTCP:LISTEN", listener("darwin", 8000))
	assert.Equal(t, "netstat -ano | findstr :8000", listener("windows", 8000))
}
