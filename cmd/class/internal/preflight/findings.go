package preflight

import (
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"slices"
	"strings"

	"k8sbootcamp/internal/printable"
)

// Findings are all that is wrong.
func (m *Machine) Findings() []Finding {
	f := &findings{}
	for _, folder := range m.Folders {
		if folder.Closed != nil {
			f.add(CheckFolder, "make it writable for this user, or run as its owner", "the folder %s cannot be written: %v", folder.Path, folder.Closed)
		} else if folder.Free < diskFolder {
			f.add(CheckDisk, "free some space there", "the folder %s has %s free", folder.Path, size(folder.Free))
		}
	}
	m.ports(f)
	if e := m.NoDocker; e != nil {
		problem := e.Problem
		if e.Err != nil {
			problem += ": " + e.Err.Error()
		}
		f.add(CheckDocker, e.Remedy, "%s", problem)
	}
	if m.Docker != nil {
		m.setup(f)
		m.capacity(f)
	}
	return f.all
}

// Warnings are what may go wrong, and need not.
func (m *Machine) Warnings() (all []string) {
	for _, r := range m.Pulls {
		if r.Over() {
			all = append(all, "the labs take "+r.Warning())
		}
	}
	if len(m.Setup.Proxies) > 0 && slices.ContainsFunc(m.Labs, func(l Lab) bool { return l.PulledByHost() }) {
		all = append(all, m.Setup.proxies()+": the lab's own images come through this machine's Docker, but the nodes pull none by themselves, such as those of a student's own pods; an address that containers reach helps")
	}
	return all
}

type findings struct{ all []Finding }

func (f *findings) add(check, remedy, problem string, a ...any) {
	f.all = append(f.all, Finding{Check: check, Problem: fmt.Sprintf(problem, a...), Remedy: remedy})
}

func (m *Machine) ports(f *findings) {
	stacks := map[int][]string{}
	for _, lab := range m.Labs {
		stacks[lab.HostPort()] = append(stacks[lab.HostPort()], lab.Name)
	}
	for _, lab := range m.Labs {
		port, all := lab.HostPort(), stacks[lab.HostPort()]
		if port == 0 || all[0] != lab.Name {
			continue
		}
		if len(all) > 1 {
			f.add(CheckPort, "give each student a hostPort of their own (a roster column), or none", "hostPort %d is asked for by %s", port, strings.Join(all, ", "))
		}
		by, remedy := "another program", fmt.Sprintf("end that program (`%s` names it) or set another hostPort", listener(runtime.GOOS, port))
		switch {
		case lab.Own || lab.Taken == nil && lab.By == "":
			continue
		case lab.By != "":
			f.add(CheckPort, "end that container or set another hostPort", "hostPort %d of stack %s is taken by container %s", port, lab.Name, lab.By)
			continue
		case errors.Is(lab.Taken, fs.ErrPermission):
			by, remedy = "nobody, but this user may not use it", "set a hostPort above 1023"
			if runtime.GOOS == "windows" {
				remedy = "set another hostPort, outside of what `netsh int ipv4 show excludedportrange tcp` lists"
			}
		}
		f.add(CheckPort, remedy, "hostPort %d of stack %s is taken by %s (%v)", port, lab.Name, by, lab.Taken)
	}
}

// listener is the command that names who listens on a port.
func listener(goos string, port int) string {
	switch goos {
	case "windows":
		return fmt.Sprintf("netstat -ano | findstr :%d", port)
	case "darwin":
		return fmt.Sprintf("lsof -nP -iTCP:%d -sTCP:LISTEN", port)
	}
	return fmt.Sprintf("ss -ltnp 'sport = :%d'", port)
}

const fewer = "take fewer nodes (`--config workers=0` is one) or fewer students, "

// capacity compares what the labs that are yet to be made, or to have more nodes, need with
// what is free.
func (m *Machine) capacity(f *findings) {
	clusters, nodes, grows := 0, 0, false
	pulls := map[string]bool{}
	for _, lab := range m.Labs {
		if lab.Have >= lab.Nodes() {
			continue
		}
		clusters++
		nodes += lab.Nodes() - lab.Have
		grows = grows || lab.Have > 0
		if lab.Have == 0 && !lab.HasImage {
			pulls[lab.NodeImage()] = true
		}
	}
	if clusters == 0 {
		return
	}
	what := printable.Count(clusters, "new cluster") + " of " + printable.Count(nodes, "node")
	if grows {
		what = printable.Count(nodes, "more node")
	}
	need := uint64(nodes)*memoryNode + memoryBuild
	if memory, where := m.memory(); memory < need {
		f.add(CheckMemory, fewer+"close other programs, or give Docker more memory", "%s need about %s of memory; %s: %s", what, size(need), where, size(memory))
	}
	need = uint64(nodes)*diskNode + uint64(len(pulls))*diskImage
	if m.FreeDisk < need {
		f.add(CheckDisk, fewer+"or free space with `docker image prune --all` (it removes the images that no container uses)",
			"%s need about %s of disk in %s; free: %s", what, size(need), m.Docker.Root, size(m.FreeDisk))
	}
	if m.Inotify.Low() && m.KindNodes+nodes > nodesByDefault {
		f.add(CheckInotify, m.Inotify.Remedy(),
			"the kernel's inotify limits are low for %s beside %d that run (max_user_instances=%d, max_user_watches=%d): clusters fail with errors that name something else",
			what, m.KindNodes, m.Inotify.Instances, m.Inotify.Watches)
	}
}

// memory is what labs can have: what is free, or, where nobody tells, what Docker
// has, less what the nodes that run are likely to.
func (m *Machine) memory() (bytes uint64, where string) {
	switch taken := min(m.Docker.Memory, uint64(m.KindNodes)*memoryNode); {
	case m.FreeMemory != unknown:
		return m.FreeMemory, "free"
	case taken > 0:
		return m.Docker.Memory - taken, "Docker has, beside " + printable.Count(m.KindNodes, "node") + " that run"
	}
	return m.Docker.Memory, "Docker has in all"
}

// Parallel is how many of the students' labs to work on at a time, 1 at least:
// with labs to be built, as many as memory and cores allow.
func (m *Machine) Parallel(students int) int {
	if m.Docker == nil || len(m.Labs) == 0 {
		return max(1, min(2*m.CPUs, students))
	}
	nodes := 1
	for _, lab := range m.Labs {
		if lab.Have == 0 {
			nodes = max(nodes, lab.Nodes())
		}
	}
	memory, _ := m.memory()
	return max(1, min(int(memory/(memoryBuild+uint64(nodes)*memoryNode)), m.Docker.CPUs, students))
}

func size(bytes uint64) string { return fmt.Sprintf("%.1f GiB", float64(bytes)/gib) }
