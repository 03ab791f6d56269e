package mirror

import (
	"net"
	"regexp"
	"slices"
)

// virtualRE are names of interfaces that other machines do not reach.
var virtualRE = regexp.MustCompile(`^(lo|docker|br-|veth|virbr|cni|flannel|cali|tun|tap|utun|awdl|llw|bridge|vmnet)`)

// Addresses are those of this machine at which others may reach a listener.
func Addresses(l net.Listener) ([]string, error) {
	at, ok := l.Addr().(*net.TCPAddr)
	if !ok || !at.IP.IsUnspecified() {
		return []string{l.Addr().String()}, nil
	}
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var found []string
	for _, i := range interfaces {
		if virtualRE.MatchString(i.Name) || i.Flags&net.FlagUp == 0 {
			continue
		}
		addresses, err := i.Addrs()
		if err != nil {
			return nil, err
		}
		for _, a := range addresses {
			if ip, ok := a.(*net.IPNet); ok && ip.IP.IsGlobalUnicast() {
				found = append(found, (&net.TCPAddr{IP: ip.IP, Port: at.Port}).String())
			}
		}
	}
	slices.SortStableFunc(found, func(a, b string) int { // the plain ones first
		return len(a) - len(b)
	})
	return found, nil
}
