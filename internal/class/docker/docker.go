// Package docker asks the docker command what the class tool needs to know,
// beyond what kindcluster asks.
package docker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"k8sbootcamp/internal/kindcluster"

	kindcmd "sigs.k8s.io/kind/pkg/cmd"
)

// Errors of Info, each with a remedy of its own.
var (
	ErrMissing      = errors.New("the docker command was not found on PATH")
	ErrNotPermitted = errors.New("this user may not use Docker")
	ErrNotRunning   = errors.New("the Docker engine does not answer")
)

// answerTimeout is how long an engine may take to say what it is.
const answerTimeout = 20 * time.Second

// Engine is the Docker engine of this machine.
type Engine struct{ *kindcluster.Docker }

// New returns the engine.
func New() Engine { return Engine{kindcluster.NewDocker(kindcmd.NewLogger())} }

// Info is what the engine says about itself.
type Info struct {
	Host    string `json:"Name"`          // host name of the engine
	Memory  uint64 `json:"MemTotal"`      // bytes in all
	CPUs    int    `json:"NCPU"`          //
	Root    string `json:"DockerRootDir"` // on the engine's host
	Version string `json:"ServerVersion"`
}

// Info asks the engine. Its errors wrap one of this package's.
func (e Engine) Info(ctx context.Context) (*Info, error) {
	if _, err := exec.LookPath("docker"); err != nil {
		return nil, ErrMissing
	}
	limited, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	out, err := kindcluster.RunDocker(limited, "info", "--format", "{{json .}}")
	info := &Info{}
	if jsonErr := json.Unmarshal(out, info); err == nil && jsonErr != nil {
		return nil, fmt.Errorf("docker info: %w", jsonErr)
	}
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case limited.Err() != nil:
		return nil, fmt.Errorf("%w within %s", ErrNotRunning, answerTimeout)
	case err == nil && info.Version != "":
		return info, nil
	case err == nil: // older commands end well without an engine
		return nil, ErrNotRunning
	case strings.Contains(strings.ToLower(err.Error()), "permission denied"):
		return nil, fmt.Errorf("%w: %w", ErrNotPermitted, err)
	}
	return nil, fmt.Errorf("%w: %w", ErrNotRunning, err)
}

// Publisher tells which container publishes a port of the host, and the kind
// cluster that it is of; both empty where none does.
func (e Engine) Publisher(ctx context.Context, port int) (container, cluster string, err error) {
	out, err := kindcluster.RunDocker(ctx, "ps", "--filter", fmt.Sprintf("publish=%d", port), "--format", `{{.Names}} {{.Label "io.x-k8s.kind.cluster"}}`)
	if err != nil {
		return "", "", err
	}
	fields := strings.Fields(string(bytes.SplitN(out, []byte("\n"), 2)[0]))
	if len(fields) > 0 {
		container = fields[0]
	}
	if len(fields) > 1 {
		cluster = fields[1]
	}
	return container, cluster, nil
}

// KindNodes counts the nodes of all kind clusters that run, whoever made them.
func (e Engine) KindNodes(ctx context.Context) (int, error) {
	out, err := kindcluster.RunDocker(ctx, "ps", "--quiet", "--filter", "label=io.x-k8s.kind.cluster")
	return len(bytes.Fields(out)), err
}

// HasImage tells whether the engine has an image already.
func (e Engine) HasImage(ctx context.Context, image string) bool {
	_, err := kindcluster.RunDocker(ctx, "image", "inspect", "--format", "{{.Id}}", image)
	return err == nil
}

// Start starts stopped containers; running ones stay as they are.
func (e Engine) Start(ctx context.Context, containers []string) error {
	_, err := kindcluster.RunDocker(ctx, append([]string{"start"}, containers...)...)
	return err
}
