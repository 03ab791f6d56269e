// Package docker asks the docker command: the one place that runs it.
package docker

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// KindLabel is on every node container of a kind cluster; its value is the
// cluster's name.
const KindLabel = "io.x-k8s.kind.cluster"

// answerTimeout is how long an engine may take to say what it is.
const answerTimeout = 20 * time.Second

// Run runs the docker command and returns its standard output. What it printed to
// standard error, the end of it at least, is in the error.
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

// Info is what the engine says about itself.
type Info struct {
	Host    string `json:"Name"`          // host name of the engine
	Memory  uint64 `json:"MemTotal"`      // bytes in all
	CPUs    int    `json:"NCPU"`          //
	Root    string `json:"DockerRootDir"` // on the engine's host
	Version string `json:"ServerVersion"`
}

// Ask asks the engine what it is. Its error is *Error, or the context's.
func Ask(ctx context.Context) (*Info, error) {
	if _, err := exec.LookPath("docker"); err != nil {
		return nil, &Error{
			Problem: "the docker command was not found on PATH",
			Remedy:  "install Docker (https://docs.docker.com/engine/install/) and put it on PATH",
		}
	}
	limited, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	out, err := Run(limited, "info", "--format", "{{json .}}")
	info := &Info{}
	if err == nil {
		if err := json.Unmarshal(out, info); err != nil {
			return nil, fmt.Errorf("docker info: %w", err)
		}
	}
	start := "start it (`sudo systemctl start docker`, or Docker Desktop)"
	if host := os.Getenv("DOCKER_HOST"); host != "" {
		start += fmt.Sprintf("; DOCKER_HOST points to %s: is that right?", host)
	}
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case limited.Err() != nil:
		return nil, &Error{Problem: fmt.Sprintf("the Docker engine did not answer within %s", answerTimeout), Remedy: "restart Docker"}
	case err == nil && info.Version != "":
		return info, nil
	case err != nil && strings.Contains(strings.ToLower(err.Error()), "permission denied"):
		return nil, &Error{"this user may not use Docker", "join Docker's group with `sudo usermod -aG docker $USER` and log in again, or run as a user who may", err}
	}
	// Older commands end well without an engine.
	return nil, &Error{"the Docker engine does not answer", start, err}
}

// HasImage tells whether the engine has an image already.
func HasImage(ctx context.Context, image string) bool {
	_, err := Run(ctx, "image", "inspect", "--format", "{{.Id}}", image)
	return err == nil
}

// KindNodes counts the nodes that run, of all kind clusters, whoever made them.
func KindNodes(ctx context.Context) (int, error) {
	out, err := Run(ctx, "ps", "--quiet", "--filter", "label="+KindLabel)
	return len(bytes.Fields(out)), err
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
