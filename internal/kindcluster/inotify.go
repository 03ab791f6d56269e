package kindcluster

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	"k8sbootcamp/internal/docker"
)

// Limits that several kind clusters need on one Linux host (kind's known
// issues, "Pod errors due to too many open files").
const (
	MinInotifyInstances = 512
	MinInotifyWatches   = 524288
)

// InotifyLimits are the kernel's limits for one user; 0 is unknown (no Linux).
type InotifyLimits struct{ Instances, Watches int }

const (
	instancesFile = "/proc/sys/fs/inotify/max_user_instances"
	watchesFile   = "/proc/sys/fs/inotify/max_user_watches"
)

// Inotify reads the limits of this host.
func Inotify() InotifyLimits {
	return InotifyLimits{
		Instances: readInt(instancesFile),
		Watches:   readInt(watchesFile),
	}
}

// Low tells whether a further cluster may fail for want of inotify.
func (l InotifyLimits) Low() bool {
	return l.Instances > 0 && l.Instances < MinInotifyInstances || l.Watches > 0 && l.Watches < MinInotifyWatches
}

// Remedy is the command that raises the limits.
func (l InotifyLimits) Remedy() string {
	return fmt.Sprintf("`sudo sysctl %s`; to keep it, put both into /etc/sysctl.d/99-kind.conf", l.raised())
}

// raised are the limits as sysctl takes them: what several clusters need, and twice of what
// there is where that was not enough.
func (l InotifyLimits) raised() string {
	enough := func(least, now int) int {
		if now >= least {
			return 2 * now
		}
		return least
	}
	return fmt.Sprintf("fs.inotify.max_user_instances=%d fs.inotify.max_user_watches=%d",
		enough(MinInotifyInstances, l.Instances), enough(MinInotifyWatches, l.Watches))
}

// String names the limits and the remedy.
func (l InotifyLimits) String() string {
	return fmt.Sprintf("the kernel's inotify limits are fs.inotify.max_user_instances=%d, max_user_watches=%d; raise them with %s", l.Instances, l.Watches, l.Remedy())
}

// InotifyError is a failed build on a host whose limits are low.
type InotifyError struct {
	Limits InotifyLimits
	Err    error // of the build
}

func (e *InotifyError) Error() string { return fmt.Sprintf("%v\na likely cause: %s", e.Err, e.Limits) }

func (e *InotifyError) Unwrap() error { return e.Err }

// inotifyIn tells how to raise the limits of the machine that a node runs on, where this
// one has none: Docker's virtual machine. A node may set them, for it is privileged.
func inotifyIn(ctx context.Context, node string) string {
	var now InotifyLimits
	if out, err := docker.Run(ctx, "exec", node, "cat", instancesFile, watchesFile); err == nil {
		if all := strings.Fields(string(out)); len(all) == 2 {
			now = InotifyLimits{number(all[0]), number(all[1])}
		}
	}
	return fmt.Sprintf("raise the limits of Docker's virtual machine with `docker exec %s sysctl -w %s` (until it starts anew), or take fewer clusters", node, now.raised())
}

func readInt(file string) int {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	return number(strings.TrimSpace(string(b)))
}

func number(text string) int {
	n, _ := strconv.Atoi(text)
	return n
}
