package livelab

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Run is a pulumi command at work.
type Run struct {
	stack *Stack
	cmd   *exec.Cmd
	out   buffer
	ended chan struct{} // closed once the command has ended, with err
	err   error
}

// Pulumi runs the command on the stack and returns all that it printed. After
// Limit all of its processes are killed, and the error says so.
func (s *Stack) Pulumi(args ...string) (string, error) {
	r, err := s.Start(args...)
	if err != nil {
		return "", err
	}
	return r.Wait()
}

// Start starts a pulumi command on the stack.
func (s *Stack) Start(args ...string) (*Run, error) {
	flags := []string{"--stack", s.Name, "--non-interactive", "--color", "never"}
	if i := slices.Index(args, "--"); i >= 0 { // nothing after it is an option
		args = slices.Insert(slices.Clone(args), i, flags...)
	} else {
		args = slices.Concat(args, flags)
	}
	r := &Run{stack: s, cmd: s.lab.Command("pulumi", args...), ended: make(chan struct{})}
	r.cmd.Stdout, r.cmd.Stderr = &r.out, &r.out
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		r.err = r.cmd.Wait()
		close(r.ended)
	}()
	return r, nil
}

// Command returns a command with the lab's environment, in the project's folder
// and a process group of its own.
func (l *Lab) Command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = l.Project
	cmd.Env = append(os.Environ(), l.env...)
	cmd.Env = append(cmd.Env, l.mark())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = 10 * time.Second // orphans may keep our end of the pipe open
	return cmd
}

// Wait waits for the command to end and returns all that it printed.
func (r *Run) Wait() (string, error) {
	if !r.endsWithin(Limit) {
		out, _ := r.KillTree()
		return out, fmt.Errorf("%s was killed after %s", strings.Join(r.cmd.Args, " "), Limit)
	}
	return r.out.String(), r.err
}

// Kill sends SIGKILL to the CLI alone; its children are left to find out by
// themselves.
func (r *Run) Kill() (string, error) {
	kill(r.cmd.Process.Pid)
	return r.killed()
}

// KillTree sends SIGKILL to the CLI and to everything that it started.
func (r *Run) KillTree() (string, error) {
	for left := r.stack.lab.tree(); len(left) > 0; left = r.stack.lab.tree() {
		for _, pid := range left {
			kill(pid)
		}
		time.Sleep(10 * time.Millisecond) // they are gone from /proc once reaped
	}
	return r.killed()
}

func (r *Run) killed() (string, error) {
	if !r.endsWithin(30 * time.Second) {
		return r.out.String(), fmt.Errorf("%s outlives SIGKILL", strings.Join(r.cmd.Args, " "))
	}
	return r.out.String(), r.err
}

func (r *Run) endsWithin(limit time.Duration) bool {
	select {
	case <-r.ended:
		return true
	case <-time.After(limit):
		return false
	}
}

// Done tells whether the command has ended.
func (r *Run) Done() bool { return r.endsWithin(0) }

// Output is what the command has printed so far.
func (r *Run) Output() string { return r.out.String() }

func kill(pid int) { syscall.Kill(pid, syscall.SIGKILL) } //nolint:errcheck // it may be gone

// mark is in the environment of every process that a lab starts, also of those
// whose parent is gone, so that they can be told from all others.
func (l *Lab) mark() string { return "BOOTCAMP_LIVELAB=" + l.Backend }

// tree lists the processes that the lab started, directly or not.
func (l *Lab) tree() []int {
	var pids []int
	l.Environs(func(pid int, _ []byte) { pids = append(pids, pid) })
	return pids
}

// WaitIdle waits until nothing works for the lab any more, such as the orphans of
// a killed command. Plugins do not count: of themselves they do nothing, and not
// every one ends with its engine.
func (l *Lab) WaitIdle(limit time.Duration) error {
	working := func() (pids []int) {
		for _, pid := range l.tree() {
			name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
			if err == nil && !bytes.HasPrefix(name, []byte("pulumi-")) {
				pids = append(pids, pid)
			}
		}
		return pids
	}
	for end := time.Now().Add(limit); ; time.Sleep(100 * time.Millisecond) {
		pids := working()
		if len(pids) == 0 {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("after %s processes %v are still at work", limit, pids)
		}
	}
}

// Environs hands over the environment of each process that the lab started.
func (l *Lab) Environs(each func(pid int, environ []byte)) {
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range files {
		environ, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(environ, []byte(l.mark()+"\x00")) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil && pid != os.Getpid() {
			each(pid, environ)
		}
	}
}

// buffer is a bytes.Buffer that may be read while a process writes to it.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
