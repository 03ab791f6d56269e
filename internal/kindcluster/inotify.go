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

// String names the limits and the remedy.
func (l InotifyLimits) String() string {
	return fmt.Sprintf("low inotify limits (fs.inotify.max_user_instances=%d, max_user_watches=%d); raise them with "+
		"`sudo sysctl fs.inotify.max_user_instances=%d fs.inotify.max_user_watches=%d`",
		l.Instances, l.Watches, MinInotifyInstances, MinInotifyWatches)
}

func readInt(file string) int {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return n
}
