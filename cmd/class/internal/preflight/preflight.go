// Package preflight finds, before anything is made, what would make a class
// fail on this machine: all of it at once, each finding with its remedy.
package preflight

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/shirou/gopsutil/v4/disk"
	"github.com/shirou/gopsutil/v4/mem"

	"k8sbootcamp/internal/docker"
	"k8sbootcamp/internal/kindcluster"
)

// What a lab takes. Measured: four idle nodes with everything of the course use
// 2 GB of memory, and a node's own disk volume has 1.4 GB.
const (
	GB = 1 << 30

	MemoryNode  = GB / 2     // of a running node
	MemoryBuild = 1 * GB     // while one student's lab is being built: Pulumi, its plugins, kind
	DiskNode    = 3 * GB / 2 // of a node
	DiskImage   = 3 * GB / 2 // of a node image that is yet to be pulled
	// NodesByDefault run with the inotify limits that Linux usually has: one
	// cluster as the course has it does, a second one fails.
	NodesByDefault = 4

	diskProject = 100 * 1 << 20 // for the state
)

// The checks' names, as `--ignore` takes them.
const (
	Docker  = "docker"
	Go      = "go"
	Memory  = "memory"
	Disk    = "disk"
	Inotify = "inotify"
	Port    = "port"
	Folder  = "folder"
	Config  = "config"
	Roster  = "roster"
)

// Ignorable are the checks whose findings rest on an estimate, so a user who
// knows better may go on.
var Ignorable = []string{Memory, Disk, Inotify, Port}

// Finding is one thing that is wrong, and what to do about it.
type Finding struct {
	Check   string `json:"check"`
	Problem string `json:"problem"`
	Remedy  string `json:"remedy"`
}

func (f Finding) String() string {
	return fmt.Sprintf("[%s] %s\n  remedy: %s", f.Check, f.Problem, f.Remedy)
}

// Want is what one student's lab asks of the machine.
type Want struct {
	Stack    string
	Cluster  string // kind's name
	Nodes    int
	Image    string // of the nodes
	HostPort int    // 0 is none
}

// Machine is what is asked about the machine.
type Machine interface {
	LookPath(file string) error
	Docker(ctx context.Context) (*docker.Info, error)
	// Nodes is how many nodes a kind cluster has.
	Nodes(ctx context.Context, cluster string) (int, error)
	// KindNodes is how many nodes run on the machine, of any kind cluster.
	KindNodes(ctx context.Context) (int, error)
	HasImage(ctx context.Context, image string) bool
	Publisher(ctx context.Context, port int) (container, cluster string, err error)
	// Listen tries a port of 127.0.0.1.
	Listen(port int) error
	HostName() string
	// FreeMemory and FreeDisk are in bytes.
	FreeMemory() (uint64, error)
	FreeDisk(dir string) (uint64, error)
	Inotify() kindcluster.InotifyLimits
	// Writable tries to make a file in a folder, or in the nearest one above it
	// that exists.
	Writable(dir string) error
}

// Report is what was found.
type Report struct {
	Findings []Finding
	Parallel int // how many labs this machine can build at a time, 1 at least
}

// Run asks everything that the wanted labs need. onDocker is whether Docker is
// needed at all; folders must be writable.
func Run(ctx context.Context, m Machine, onDocker bool, wants []Want, folders ...string) (*Report, error) {
	r := &Report{Parallel: 1}
	add := func(check, remedy, problem string, a ...any) {
		r.Findings = append(r.Findings, Finding{check, fmt.Sprintf(problem, a...), remedy})
	}
	if m.LookPath("go") != nil {
		add(Go, "install Go (https://go.dev/doc/install) and put it on PATH; the lab runs its own tools with `go tool`", "the go command was not found on PATH")
	}
	for _, f := range folders {
		if err := m.Writable(f); err != nil {
			add(Folder, "make it writable for this user, or run as its owner", "the folder %s cannot be written: %v", f, err)
		} else if free, err := m.FreeDisk(f); err == nil && free < diskProject {
			add(Disk, "free some space there", "the folder %s has %s free", f, bytes(free))
		}
	}
	if !onDocker {
		return r, nil
	}
	ports(ctx, m, wants, add)
	info, err := m.Docker(ctx)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		add(Docker, dockerRemedy(err), "%v", err)
		return r, nil // the rest is asked of Docker
	}
	return r, r.capacity(ctx, m, info, wants, add)
}

type adder func(check, remedy, problem string, a ...any)

// capacity compares what the labs that are yet to be made need with what is free.
func (r *Report) capacity(ctx context.Context, m Machine, info *docker.Info, wants []Want, add adder) error {
	nodes, clusters, most := 0, 0, 1
	images := map[string]bool{}
	for _, w := range wants {
		have, err := m.Nodes(ctx, w.Cluster)
		if err != nil {
			return err
		}
		if have > 0 {
			continue // its resources are in use already
		}
		nodes += w.Nodes
		clusters++
		most = max(most, w.Nodes)
		if !m.HasImage(ctx, w.Image) {
			images[w.Image] = true
		}
	}
	// Docker Desktop and remote engines live in another machine: what is free
	// there nobody tells, what it has in all must do.
	local := info.Host == m.HostName()
	memory, err := m.FreeMemory()
	where := "free"
	if !local || err != nil {
		memory, where = info.Memory, "Docker has in all"
	}
	r.Parallel = parallel(memory, info.CPUs, most, len(wants))
	if clusters == 0 {
		return nil
	}

	if need := uint64(nodes)*MemoryNode + MemoryBuild; memory < need {
		add(Memory, fewer(wants, "close other programs or give Docker more memory"),
			"%s need about %s of memory; %s: %s", count(clusters, nodes), bytes(need), where, bytes(memory))
	}
	if local {
		need := uint64(nodes)*DiskNode + uint64(len(images))*DiskImage
		if free, err := m.FreeDisk(info.Root); err == nil && free < need {
			add(Disk, fewer(wants, "free space with `docker system prune` (it removes all that no container uses)"),
				"%s need about %s of disk in %s; free: %s", count(clusters, nodes), bytes(need), info.Root, bytes(free))
		}
	}
	running, err := m.KindNodes(ctx)
	if err != nil {
		return err
	}
	if limits := m.Inotify(); local && limits.Low() && running+nodes > NodesByDefault {
		add(Inotify, fmt.Sprintf("`sudo sysctl fs.inotify.max_user_instances=%d fs.inotify.max_user_watches=%d`; to keep it, put both into /etc/sysctl.d/99-kind.conf",
			kindcluster.MinInotifyInstances, kindcluster.MinInotifyWatches),
			"the kernel's inotify limits are low for %s beside %d that run (max_user_instances=%d, max_user_watches=%d): clusters fail with errors that name something else",
			count(clusters, nodes), running, limits.Instances, limits.Watches)
	}
	return nil
}

// parallel is how many labs to build at once.
func parallel(memory uint64, cpus, nodes, students int) int {
	byMemory := int(memory / (MemoryBuild + uint64(nodes)*MemoryNode))
	return max(1, min(byMemory, cpus, students))
}

func ports(ctx context.Context, m Machine, wants []Want, add adder) {
	byPort := map[int][]string{}
	for _, w := range wants {
		if w.HostPort != 0 {
			byPort[w.HostPort] = append(byPort[w.HostPort], w.Stack)
		}
	}
	for _, w := range wants {
		stacks := byPort[w.HostPort]
		if w.HostPort == 0 || stacks[0] != w.Stack {
			continue
		}
		if len(stacks) > 1 {
			add(Port, "give each student a hostPort of their own (a roster column), or none",
				"hostPort %d is asked for by %s", w.HostPort, strings.Join(stacks, ", "))
		}
		err := m.Listen(w.HostPort)
		if err == nil {
			continue
		}
		container, cluster, dockerErr := m.Publisher(ctx, w.HostPort)
		if cluster == w.Cluster {
			continue // it is the lab's own
		}
		by := "another program"
		remedy := fmt.Sprintf("end that program (`ss -ltnp 'sport = :%d'` names it) or set another hostPort", w.HostPort)
		if dockerErr == nil && container != "" {
			by = "container " + container
			remedy = "end that container or set another hostPort"
		}
		if errors.Is(err, os.ErrPermission) {
			by, remedy = "nobody, but this user may not use it", "set a hostPort above 1023"
		}
		add(Port, remedy, "hostPort %d of stack %s is taken by %s (%v)", w.HostPort, w.Stack, by, err)
	}
}

func dockerRemedy(err error) string {
	switch {
	case errors.Is(err, docker.ErrMissing):
		return "install Docker (https://docs.docker.com/engine/install/) and put it on PATH"
	case errors.Is(err, docker.ErrNotPermitted):
		return "join Docker's group with `sudo usermod -aG docker $USER` and log in anew, or run as a user who may"
	}
	remedy := "start it (`sudo systemctl start docker`, or Docker Desktop)"
	if host := os.Getenv("DOCKER_HOST"); host != "" {
		remedy += fmt.Sprintf("; DOCKER_HOST points to %s: is that right?", host)
	}
	return remedy
}

// fewer names the ways to ask for less, then another.
func fewer(wants []Want, other string) string {
	var ways []string
	if slices.ContainsFunc(wants, func(w Want) bool { return w.Nodes > 1 }) {
		ways = append(ways, "ask for fewer nodes (`--config workers=0` is one node)")
	}
	if len(wants) > 1 {
		ways = append(ways, "take fewer students on this machine")
	}
	return strings.Join(append(ways, other), ", or ")
}

func count(clusters, nodes int) string {
	n := func(n int, what string) string {
		if n == 1 {
			return "1 " + what
		}
		return strconv.Itoa(n) + " " + what + "s"
	}
	return n(clusters, "new cluster") + " of " + n(nodes, "node")
}

func bytes(n uint64) string { return fmt.Sprintf("%.1f GB", float64(n)/GB) }

// This is the machine that the tool runs on.
type This struct{ docker.Engine }

var _ Machine = This{}

// LookPath looks for a program.
func (This) LookPath(file string) error {
	_, err := exec.LookPath(file)
	return err
}

// Docker asks the engine.
func (t This) Docker(ctx context.Context) (*docker.Info, error) { return t.Info(ctx) }

// Nodes asks the engine.
func (t This) Nodes(ctx context.Context, cluster string) (int, error) {
	found, err := t.Containers(ctx, cluster)
	return len(found), err
}

// Listen tries a port.
func (This) Listen(port int) error {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return err
	}
	return l.Close()
}

// HostName is the kernel's.
func (This) HostName() string {
	name, err := os.Hostname()
	if err != nil || runtime.GOOS != "linux" { // an engine elsewhere is in a virtual machine
		return ""
	}
	return name
}

// FreeMemory is what programs can still have.
func (This) FreeMemory() (uint64, error) {
	m, err := mem.VirtualMemory()
	if err != nil {
		return 0, err
	}
	return m.Available, nil
}

// FreeDisk is what this user can still write.
func (This) FreeDisk(dir string) (uint64, error) {
	u, err := disk.Usage(existing(dir))
	if err != nil {
		return 0, err
	}
	return u.Free, nil
}

// Inotify reads the kernel's limits.
func (This) Inotify() kindcluster.InotifyLimits { return kindcluster.Inotify() }

// Writable makes a file and removes it.
func (This) Writable(dir string) error {
	f, err := os.CreateTemp(existing(dir), ".class-")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// existing is the folder, or the nearest one above it that exists.
func existing(dir string) string {
	for {
		if _, err := os.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}
