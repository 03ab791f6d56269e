package mirror

import (
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
)

// virtualRE are names of interfaces that other machines do not reach: of Linux, macOS and
// Windows.
var virtualRE = regexp.MustCompile(`(?i)^(lo|docker|br-|veth|virbr|cni|flannel|cali|tun|tap|utun|awdl|llw|bridge|vmnet|vmware|virtualbox|npcap|hyper-v)`)

// Addresses are those of this machine at which others may reach a listener, the likeliest
// first.
func Addresses(l net.Listener) ([]string, error) {
	at, ok := l.Addr().(*net.TCPAddr)
	if !ok || !at.IP.IsUnspecified() {
		return []string{l.Addr().String()}, nil
	}
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var all []place
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 {
			continue
		}
		addresses, err := i.Addrs()
		if err != nil {
			return nil, err
		}
		for _, a := range addresses {
			if ip, ok := a.(*net.IPNet); ok {
				all = append(all, place{i.Name, ip.IP})
			}
		}
	}
	return reachable(all, outward(), at.Port), nil
}

// place is an address of an interface.
type place struct {
	on string
	ip net.IP
}

// reachable are the addresses that others may reach: first the one by which this machine
// reaches others, then IPv4's.
func reachable(all []place, outward net.IP, port int) []string {
	all = slices.DeleteFunc(slices.Clone(all), func(p place) bool {
		return virtualRE.MatchString(p.on) || !p.ip.IsGlobalUnicast()
	})
	rank := func(p place) int {
		switch {
		case p.ip.Equal(outward):
			return 0
		case p.ip.To4() != nil:
			return 1
		}
		return 2
	}
	slices.SortStableFunc(all, func(a, b place) int { return rank(a) - rank(b) })
	found := make([]string, len(all))
	for i, p := range all {
		found[i] = (&net.TCPAddr{IP: p.ip, Port: port}).String()
	}
	return found
}

// outward is the address of this machine on its default route, or nil. Nothing is sent: a
// UDP socket alone asks the routes (for an address that is nobody's, RFC 5737).
func outward() net.IP {
	c, err := net.Dial("udp4", "192.0.2.1:9") //nolint:noctx // it waits for nothing
	if err != nil {
		return nil
	}
	defer c.Close()
	at, ok := c.LocalAddr().(*net.UDPAddr)
	if !ok {
		return nil
	}
	return at.IP
}

// Hidden tells what keeps other machines from this one, as far as it can be seen from
// here, in a sentence; nothing where nothing is known.
func Hidden() string {
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return ""
	}
	return hidden(string(kernel))
}

func hidden(kernel string) string {
	if !strings.Contains(strings.ToLower(kernel), "microsoft") {
		return ""
	}
	return "this is WSL: others reach it only with networkingMode=mirrored in Windows' .wslconfig, or through a port that Windows forwards (netsh interface portproxy)"
}
