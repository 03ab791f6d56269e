package stack

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v4/disk"
	"github.com/shirou/gopsutil/v4/process"
)

// Lock is a lock of Pulumi's file backend on one stack.
type Lock struct {
	File      string    `json:"-"`
	PID       int32     `json:"pid"`
	User      string    `json:"username"`
	Host      string    `json:"hostname"`
	Timestamp time.Time `json:"timestamp"`
}

// Held is the error of a stack that another run works on.
type Held struct {
	Stack string
	Lock  Lock
	// Network is the file system of the state, where other machines may reach it: one
	// of them may have this one's name.
	Network string
}

func (e *Held) Error() string {
	text := fmt.Sprintf("stack %s is locked by process %d of %s on host %s since %s; wait for it to end, or, if it is gone, run `pulumi cancel --stack %s`",
		e.Stack, e.Lock.PID, e.Lock.User, e.Lock.Host, e.Lock.Timestamp.Local().Format(time.DateTime), e.Stack)
	if e.Network != "" {
		text += fmt.Sprintf(" (the state lies on a network, %s, so this tool cannot tell)", e.Network)
	}
	return text
}

// networks are file systems that several machines may have, or a machine and what runs
// in it (WSL, virtual machines), as gopsutil names them.
var networks = []string{"nfs", "cifs", "smb", "smb2", "smbfs", "afs", "afpfs", "webdav", "fuse", "ceph", "lustre", "gpfs",
	"coda", "fhgfs", "gfs/gfs2", "novell", "v9fs", "vmhgfs"}

// network is the name of a folder's file system, where that is one of networks.
func network(dir string) string {
	for ; ; dir = filepath.Dir(dir) {
		if u, err := disk.Usage(dir); err == nil {
			if slices.Contains(networks, u.Fstype) {
				return u.Fstype
			}
			return ""
		} else if dir == filepath.Dir(dir) {
			return ""
		}
	}
}

// Unlock removes the stack's locks whose process is gone from this host, and
// returns them. A lock of a living process, of another host, or on a network's file
// system is *Held. Where the state is no folder there is nothing to do.
func (s *Stack) Unlock() ([]Lock, error) {
	if s.Project.State == "" {
		return nil, nil
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("this host's name: %w", err)
	}
	dir := s.Project.State.LockFolder(s.Name)
	return clearLocks(dir, s.Name, host, network(dir), alive)
}

func clearLocks(dir, stack, host, network string, alive func(Lock) bool) ([]Lock, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var cleared []Lock
	for _, entry := range entries {
		file := filepath.Join(dir, entry.Name())
		if entry.IsDir() || filepath.Ext(file) != ".json" {
			continue
		}
		b, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue // its run has just ended
		}
		if err != nil {
			return cleared, err
		}
		l := Lock{File: file}
		if err := json.Unmarshal(b, &l); err != nil {
			return cleared, fmt.Errorf("the lock %s of stack %s cannot be read: %w; if no other run is at work on the stack, remove it with `pulumi cancel --stack %s`", file, stack, err, stack)
		}
		if !sameHost(runtime.GOOS, l.Host, host) || network != "" || alive(l) {
			return cleared, &Held{stack, l, network}
		}
		for _, f := range []string{file, file + ".attrs"} {
			if err := os.Remove(f); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return cleared, err
			}
		}
		cleared = append(cleared, l)
	}
	return cleared, nil
}

// sameHost tells whether two names are one machine's. A Mac has another domain in each
// network.
func sameHost(goos, a, b string) bool {
	if goos == "darwin" {
		a, _, _ = strings.Cut(a, ".")
		b, _, _ = strings.Cut(b, ".")
	}
	return a == b
}

// alive tells whether the process that took the lock still runs. A process of
// the same id that began after the lock was taken is another one.
func alive(l Lock) bool {
	p, err := process.NewProcess(l.PID)
	if err != nil {
		return !errors.Is(err, process.ErrorProcessNotRunning)
	}
	if status, err := p.Status(); err == nil && slices.Contains(status, process.Zombie) {
		return false
	}
	if began, err := p.CreateTime(); err == nil {
		const clock = 5 * time.Second // what a start time is off by
		return time.UnixMilli(began).Before(l.Timestamp.Add(clock))
	}
	return true
}
