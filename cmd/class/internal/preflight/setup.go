package preflight

import (
	"net"
	"net/url"
	"os"
	"slices"
	"strings"

	"k8sbootcamp/cmd/class/internal/shell"
	"k8sbootcamp/internal/docker"
)

// Setup is how Docker is reached and told to work, where that is not plain.
type Setup struct {
	Podman    bool     // answers in Docker's place
	Elsewhere string   // the machine that 127.0.0.1 of Docker is of, where it is not this one
	Platform  string   // DOCKER_DEFAULT_PLATFORM
	Proxies   []string // environment variables, given to the nodes, of a proxy on 127.0.0.1
}

// endpoint is what the docker command talks to; of docker.Where.
type endpoint struct {
	address string
	podman  bool
}

func (e endpoint) setup(info *docker.Info) Setup {
	s := Setup{Platform: os.Getenv("DOCKER_DEFAULT_PLATFORM"), Podman: e.podman}
	here, _ := os.Hostname()
	s.Elsewhere = elsewhere(e.address, inContainer(), here, info.Host)
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY"} { // as kind reads them
		for _, name := range []string{name, strings.ToLower(name)} {
			value := os.Getenv(name)
			if value == "" {
				continue
			}
			if onLoopback(value) {
				s.Proxies = append(s.Proxies, name)
			}
			break
		}
	}
	return s
}

func (m *Machine) setup(f *findings) {
	s := m.Setup
	if s.Podman {
		f.add(CheckDocker, "start Docker, and unset DOCKER_HOST or choose Docker with `docker context use`", "Podman answers in Docker's place, and the lab needs Docker")
	}
	own := docker.GoArch(m.Docker.Architecture)
	if wanted := architecture(s.Platform); wanted != "" && wanted != own {
		f.add(CheckDocker, "`"+shell.Here.Unset("DOCKER_DEFAULT_PLATFORM")+"`", "DOCKER_DEFAULT_PLATFORM is %q and this Docker is linux/%s: kind's nodes do not start", s.Platform, own)
	}
	if s.Elsewhere != "" {
		f.add(CheckNetwork, "run this tool where Docker runs, or use a Docker of this machine (in a dev container: Docker inside it)",
			"Docker is on %s: a cluster's API server is on 127.0.0.1 there, which is not this machine's", s.Elsewhere)
	}
	if len(s.Proxies) > 0 && slices.ContainsFunc(m.Labs, func(l Lab) bool { return !l.PulledByHost() }) {
		f.add(CheckNetwork, "let it point to an address that containers reach, or take imagePull=host", "%s, and with imagePull=nodes they pull all images", s.proxies())
	}
}

// proxies is what is wrong with them, in a sentence.
func (s Setup) proxies() string {
	return strings.Join(s.Proxies, " and ") + " points to this machine's 127.0.0.1, which is another one inside of the nodes"
}

// architecture is that of a platform, as in linux/arm64/v8.
func architecture(platform string) string {
	for _, part := range strings.Split(platform, "/") {
		if part != "linux" {
			return docker.GoArch(part)
		}
	}
	return ""
}

// elsewhere names the machine that publishes Docker's ports, or is empty where it
// is this one.
func elsewhere(endpoint string, inContainer bool, here, docker string) string {
	u, err := url.Parse(endpoint)
	if err == nil && u.Hostname() != "" && !onLoopback(endpoint) {
		return u.Hostname()
	}
	if inContainer && here != docker { // whose socket is the host's
		return docker
	}
	return ""
}

func inContainer() bool {
	for _, file := range []string{"/.dockerenv", "/run/.containerenv"} {
		if _, err := os.Stat(file); err == nil {
			return true
		}
	}
	return false
}

// onLoopback tells whether a URL's host is this machine itself.
func onLoopback(address string) bool {
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	u, err := url.Parse(address)
	return err == nil && (u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback())
}
