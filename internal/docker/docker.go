// Package docker asks the docker command: the one place that runs it.
package docker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// KindLabel is on every node container of a kind cluster; its value is the
// cluster's name.
const KindLabel = "io.x-k8s.kind.cluster"

// answerTimeout is how long Docker may take to say what it is.
const answerTimeout = 20 * time.Second

// Run runs the docker command and returns its standard output. Its error has what
// the command printed to standard error, the end of it at least.
func Run(ctx context.Context, args ...string) ([]byte, error) {
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "docker", args...)
	cmd.Stderr = &stderr
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("docker %s: %w: %s", args[0], err, Tail(stderr.Bytes(), 1000))
	}
	return out, nil
}

// Tail is the end of a text, of n bytes at most.
func Tail(text []byte, n int) []byte {
	text = bytes.TrimSpace(text)
	if len(text) > n {
		return append([]byte("[…] "), text[len(text)-n:]...)
	}
	return text
}

// Error is a Docker that cannot be used.
type Error struct {
	Problem string // in a sentence, without a full stop
	Remedy  string // what the user can do
	Err     error  // what docker said, or nil
}

func (e *Error) Error() string {
	text := e.Problem + "; " + e.Remedy
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

func (e *Error) Unwrap() error { return e.Err }

// Info is what Docker says about itself.
type Info struct {
	Host            string `json:"Name"`          // name of the machine that it runs on
	Memory          uint64 `json:"MemTotal"`      // bytes in all
	CPUs            int    `json:"NCPU"`          //
	Root            string `json:"DockerRootDir"` // on that machine
	Version         string `json:"ServerVersion"`
	OperatingSystem string // in words
	OSType          string // of its containers: linux or windows
	Architecture    string // as its kernel names it: x86_64, aarch64; see GoArch
	CgroupVersion   string // 1 or 2
	HTTPProxy       string `json:"HttpProxy"` // which it pulls images through
	HTTPSProxy      string `json:"HttpsProxy"`
}

// Ask asks Docker what it is. Its error is *Error, or the context's.
func Ask(ctx context.Context) (*Info, error) {
	const install = "install Docker (https://docs.docker.com/engine/install/) and put it on PATH"
	if _, err := exec.LookPath("docker"); err != nil {
		return nil, &Error{Problem: "the docker command was not found on PATH", Remedy: install}
	}
	limited, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	out, err := Run(limited, "info", "--format", "{{json .}}")
	var info struct {
		Info
		ServerErrors []string
		Podman       any `json:"host"` // what Podman's own command has at this place
	}
	if err == nil {
		err = json.Unmarshal(out, &info)
	}
	if err == nil && len(info.ServerErrors) > 0 { // commands before 23 end well without an answer
		err = errors.New(strings.Join(info.ServerErrors, "; "))
	}
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case limited.Err() != nil:
		return nil, &Error{Problem: fmt.Sprintf("Docker did not answer within %s", answerTimeout), Remedy: "restart Docker"}
	case err != nil && strings.Contains(strings.ToLower(err.Error()), "access is denied"): // Windows' word
		return nil, &Error{"this user may not use Docker", "have an administrator add this user to the group docker-users, and log in again", err}
	case err != nil && strings.Contains(strings.ToLower(err.Error()), "permission denied"):
		return nil, &Error{"this user may not use Docker", "join Docker's group with `sudo usermod -aG docker $USER` and log in again, or run as a user who may", err}
	case info.Podman != nil:
		return nil, &Error{Problem: "the docker command is Podman's, and the lab needs Docker", Remedy: install + " before it"}
	case err != nil || info.Version == "":
		start := "start it (`sudo systemctl start docker`, or Docker Desktop)"
		if host := os.Getenv("DOCKER_HOST"); host != "" {
			start += fmt.Sprintf("; DOCKER_HOST points to %s: is that right?", host)
		}
		return nil, &Error{"Docker does not answer", start, err}
	case info.OSType == "windows":
		return nil, &Error{Problem: "Docker is set to Windows containers", Remedy: "switch Docker Desktop to Linux containers"}
	}
	return &info.Info, nil
}

// GoArch is the name that images and Go have for an architecture of Info.
func GoArch(name string) string {
	switch name {
	case "x86_64":
		return "amd64"
	case "aarch64":
		return "arm64"
	}
	return name
}

// Where tells what address the docker command talks to, and whether Podman is
// there in Docker's place, as far as the command says.
func Where(ctx context.Context) (endpoint string, podman bool) {
	out, _ := Run(ctx, "context", "inspect", "--format", "{{.Endpoints.docker.Host}}")
	parts, _ := Run(ctx, "version", "--format", "{{range .Server.Components}}{{.Name}} {{end}}")
	return string(bytes.TrimSpace(out)), bytes.Contains(parts, []byte("Podman"))
}

// HasImage tells whether Docker has an image already.
func HasImage(ctx context.Context, image string) bool {
	_, err := Run(ctx, "image", "inspect", "--format", "{{.Id}}", image)
	return err == nil
}

// KindNodes counts the nodes of each kind cluster, whoever made it, and how many
// of all run.
func KindNodes(ctx context.Context) (nodes map[string]int, running int, err error) {
	out, err := Run(ctx, "ps", "--all", "--filter", "label="+KindLabel, "--format", `{{.State}} {{.Label "`+KindLabel+`"}}`)
	if err != nil {
		return nil, 0, err
	}
	nodes = map[string]int{}
	for line := range strings.Lines(string(out)) {
		state, cluster, _ := strings.Cut(strings.TrimSpace(line), " ")
		nodes[cluster]++
		if state == "running" {
			running++
		}
	}
	return nodes, running, nil
}

// Publisher tells which container publishes a port of the host, and the kind
// cluster that it is of; both are empty where none does.
func Publisher(ctx context.Context, port int) (container, cluster string, err error) {
	out, err := Run(ctx, "ps", "--filter", fmt.Sprintf("publish=%d", port), "--format", `{{.Names}} {{.Label "`+KindLabel+`"}}`)
	if err != nil {
		return "", "", err
	}
	first, _, _ := strings.Cut(string(out), "\n")
	container, cluster, _ = strings.Cut(strings.TrimSpace(first), " ")
	return container, cluster, nil
}

// Feed runs the docker command with this standard input. Its error is as Run's.
func Feed(ctx context.Context, stdin io.Reader, args ...string) error {
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "docker", args...)
	cmd.Stdin, cmd.Stderr = stdin, &stderr
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("docker %s: %w: %s", args[0], err, Tail(stderr.Bytes(), 1000))
	}
	return nil
}
