// Package preflight finds, before anything is made, what would make a class fail
// on this machine: Look asks the machine, and Findings judges what it said.
package preflight

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/shirou/gopsutil/v4/disk"
	"github.com/shirou/gopsutil/v4/mem"
	"golang.org/x/sync/errgroup"

	"k8sbootcamp/cmd/class/internal/config"
	"k8sbootcamp/cmd/class/internal/pulls"
	"k8sbootcamp/internal/docker"
	"k8sbootcamp/internal/hostimages"
	"k8sbootcamp/internal/kindcluster"
)

// What a lab takes. Measured: four idle nodes with everything of the course use
// 2 GiB of memory, and a node's own disk volume has 1.4 GiB.
const (
	gib         = 1 << 30
	memoryNode  = gib / 2     // of a running node
	memoryBuild = 1 * gib     // while one student's lab is being built: Pulumi, its plugins, kind
	diskNode    = 3 * gib / 2 // of a node
	diskImage   = 3 * gib / 2 // of a node image that is yet to be pulled
	diskFolder  = gib / 10    // of the state

	// nodesByDefault run with the inotify limits that Linux usually has: one
	// cluster as the course has it does, a second one fails.
	nodesByDefault = 4
)

// The checks, as --ignore names them.
const (
	CheckDocker  = "docker"
	CheckFolder  = "folder"
	CheckMemory  = "memory"
	CheckDisk    = "disk"
	CheckInotify = "inotify"
	CheckPort    = "port"
	CheckNetwork = "network"
)

// Ignorable are the checks whose findings rest on an estimate, so that a user who
// knows better may go on.
var Ignorable = []string{CheckMemory, CheckDisk, CheckInotify, CheckPort, CheckNetwork}

// Finding is one thing that is wrong, and what to do about it.
type Finding = config.Problem

// Machine is what was seen of the machine, and what is asked of it.
type Machine struct {
	Folders    []Folder
	NoDocker   *docker.Error             // why Docker cannot be used
	Docker     *docker.Info              // nil also where it is not needed
	CPUs       int                       // of this machine
	FreeMemory uint64                    // bytes; unknown where Docker has a machine of its own
	FreeDisk   uint64                    // bytes for Docker; unknown as FreeMemory
	Inotify    kindcluster.InotifyLimits // unknown as FreeMemory
	KindNodes  int                       // that run, of all clusters
	Labs       []Lab
	Setup      Setup
	Pulls      []pulls.Registry // of the labs that are yet to be made
}

// unknown is a size that nobody tells, and that is never too small.
const unknown = math.MaxUint64

// Folder is one that the tool writes to.
type Folder struct {
	Path   string
	Closed error  // why nothing can be written there
	Free   uint64 // bytes
}

// Lab is a stack that is to be built, and what is there of it.
type Lab struct {
	*config.Stack
	Have     int    // nodes of its cluster that are there, whose resources are in use already
	HasImage bool   // Docker has the nodes' image; asked where its cluster is not there
	Taken    error  // why HostPort cannot be used
	By       string // the container that has it, if one has
	Own      bool   // and it is the lab's
}

// Look asks the machine. The stacks are those that are about to be built; onDocker
// tells whether Docker is needed at all, and the folders must be writable.
func Look(ctx context.Context, stacks []*config.Stack, onDocker bool, folders ...string) (*Machine, error) {
	m := &Machine{CPUs: runtime.NumCPU(), FreeMemory: unknown, FreeDisk: unknown}
	for _, path := range folders {
		m.Folders = append(m.Folders, Folder{path, tryWrite(path), freeDisk(path)})
	}
	if !onDocker {
		return m, nil
	}
	for _, s := range stacks {
		if s.Settings == nil || !s.OnKind() {
			continue
		}
		lab := Lab{Stack: s}
		if port := s.HostPort(); port != 0 {
			lab.Taken = kindcluster.PortTaken(port)
		}
		m.Labs = append(m.Labs, lab)
	}
	// Docker takes a moment for each question, and may not answer at all, which Ask finds out.
	var clusters map[string]int
	var where endpoint
	var all errgroup.Group
	asking, stop := context.WithCancel(ctx)
	defer stop()
	if len(m.Labs) > 0 {
		all.Go(func() (err error) {
			clusters, m.KindNodes, err = docker.KindNodes(asking)
			return err
		})
		all.Go(func() error {
			where.address, where.podman = docker.Where(asking)
			return nil
		})
	}
	info, err := docker.Ask(ctx)
	if err != nil {
		stop()
	}
	noNodes := all.Wait()
	if m.Docker = info; err != nil && !errors.As(err, &m.NoDocker) {
		return nil, err
	}
	if m.Docker == nil || len(m.Labs) == 0 {
		return m, nil
	}
	if noNodes != nil {
		return nil, noNodes
	}
	m.Setup = where.setup(m.Docker)
	if name, err := os.Hostname(); err == nil && name == m.Docker.Host && runtime.GOOS == "linux" {
		m.FreeDisk = freeDisk(m.Docker.Root)
		m.Inotify = kindcluster.Inotify()
		if free, err := mem.VirtualMemoryWithContext(ctx); err == nil {
			m.FreeMemory = free.Available
		}
	}
	images := map[string]bool{}
	has := func(image string) bool {
		if _, asked := images[image]; !asked {
			images[image] = hostimages.InDocker(ctx, image)
		}
		return images[image]
	}
	var fresh []*config.Stack
	for i := range m.Labs {
		lab := &m.Labs[i]
		cluster := kindcluster.Name(lab.Name)
		if lab.Have = clusters[cluster]; lab.Have == 0 {
			lab.HasImage = has(lab.NodeImage())
			fresh = append(fresh, lab.Stack)
		}
		if lab.HostPort() != 0 {
			container, of, err := docker.Publisher(ctx, lab.HostPort())
			if err != nil {
				return nil, err
			}
			lab.By, lab.Own = container, of == cluster
		}
	}
	m.Pulls = lookPulls(fresh, has)
	return m, ctx.Err()
}

// lookPulls counts what labs pull. To ask Docker about each image takes a moment, so it is
// done only where that decides something.
func lookPulls(stacks []*config.Stack, has func(image string) bool) []pulls.Registry {
	all := pulls.ByRegistry(pulls.Count(stacks, func(string) bool { return false }), 1)
	if slices.ContainsFunc(all, pulls.Registry.Over) {
		all = pulls.ByRegistry(pulls.Count(stacks, has), 1)
	}
	return all
}

// tryWrite makes a file in the folder, or where it will be made, and removes it.
func tryWrite(dir string) error {
	f, err := os.CreateTemp(existing(dir), ".class-")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// freeDisk is what this user can still write there.
func freeDisk(dir string) uint64 {
	u, err := disk.Usage(existing(dir))
	if err != nil {
		return unknown
	}
	return u.Free
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
