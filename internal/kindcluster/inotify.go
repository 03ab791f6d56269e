package kindcluster

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Limits that several kind clusters need on one Linux host (kind's known
// issues, "Pod errors due to too many open files").
const (
	MinInotifyInstances = 512
	MinInotifyWatches   = 524288
)

// InotifyLimits are the kernel's limits for one user; 0 is unknown (no Linux).
type InotifyLimits struct{ Instances, Watches int }

// Inotify reads the limits of this host.
func Inotify() InotifyLimits {
	return InotifyLimits{
		Instances: readInt("/proc/sys/fs/inotify/max_user_instances"),
		Watches:   readInt("/proc/sys/fs/inotify/max_user_watches"),
	}
}

// Low tells whether a further cluster may fail for want of inotify.
func (l InotifyLimits) Low() bool {
	return l.Instances > 0 && l.Instances < MinInotifyInstances || l.Watches > 0 && l.Watches < MinInotifyWatches
}

// Remedy is the command that raises the limits: to what several clusters need, and
// to twice of what there is where that was not enough.
func (l InotifyLimits) Remedy() string {
	enough := func(least, now int) int {
		if now >= least {
			return 2 * now
		}
		return least
	}
	return fmt.Sprintf("`sudo sysctl fs.inotify.max_user_instances=%d fs.inotify.max_user_watches=%d`; to keep it, put both into /etc/sysctl.d/99-kind.conf",
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

func readInt(file string) int {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return n
}
