// Package kubeclient makes client configurations for Kubernetes, one way for all
// who ask a cluster anything.
package kubeclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Timeout is how long a cluster may take to answer one request.
const Timeout = 15 * time.Second

// FromBytes returns the client configuration of a context of a kubeconfig (YAML);
// an empty context is the kubeconfig's current one. It does not talk to the
// cluster.
func FromBytes(kubeconfig []byte, context string) (*rest.Config, error) {
	raw, err := clientcmd.Load(kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("the kubeconfig: %w", err)
	}
	return of(raw, context)
}

// FromAdmin returns the client configuration of an administrator's kubeconfig (YAML) for a
// server that is reached at another URL than it says. It does not talk to the cluster.
func FromAdmin(kubeconfig []byte, server string) (*rest.Config, error) {
	config, err := FromBytes(kubeconfig, "")
	if err != nil {
		return nil, err
	}
	config.Host = server
	return config, nil
}

// FromFile returns the client configuration of a context of a kubeconfig's file;
// an empty path is kubectl's own rule ($KUBECONFIG, then ~/.kube/config). The
// context must be named: the current one is whatever was used last. The error
// names the contexts that there are; one that does not check the cluster's
// certificate is ErrInsecure. It does not talk to the cluster.
func FromFile(path, context string) (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	where := "$KUBECONFIG or ~/.kube/config"
	if path != "" {
		rules.ExplicitPath, where = path, path
	}
	raw, err := rules.Load()
	if err != nil {
		return nil, fmt.Errorf("the kubeconfig (%s): %w", where, err)
	}
	if _, ok := raw.Contexts[context]; !ok {
		return nil, fmt.Errorf("the kubeconfig (%s) has no context %q; its contexts are: %s",
			where, context, strings.Join(slices.Sorted(maps.Keys(raw.Contexts)), ", "))
	}
	config, err := of(raw, context)
	if err != nil {
		return nil, fmt.Errorf("context %q of the kubeconfig (%s): %w", context, where, err)
	}
	if config.Insecure {
		return nil, fmt.Errorf("context %q of the kubeconfig (%s): %w", context, where, ErrInsecure)
	}
	return config, nil
}

// ErrInsecure is a kubeconfig with which anybody in between can read the
// administrator's token.
var ErrInsecure = errors.New("insecure-skip-tls-verify is set: whoever is between this machine and the cluster could act as you; " +
	"remove it and put the cluster's certificate authority into certificate-authority-data")

// WithNamespace is FromBytes, with the namespace that the context presets, or
// "default".
func WithNamespace(kubeconfig []byte, context string) (config *rest.Config, namespace string, err error) {
	raw, err := clientcmd.Load(kubeconfig)
	if err != nil {
		return nil, "", fmt.Errorf("the kubeconfig: %w", err)
	}
	if config, err = of(raw, context); err != nil {
		return nil, "", err
	}
	namespace, _, err = clientcmd.NewNonInteractiveClientConfig(*raw, context, &clientcmd.ConfigOverrides{}, nil).Namespace()
	return config, namespace, err
}

func of(raw *clientcmdapi.Config, context string) (*rest.Config, error) {
	config, err := clientcmd.NewNonInteractiveClientConfig(*raw, context, &clientcmd.ConfigOverrides{}, nil).ClientConfig()
	if err != nil {
		return nil, err
	}
	config.Timeout = Timeout
	config.WarningHandler = rest.NoWarnings{}
	config.QPS, config.Burst = 50, 100
	return config, nil
}

// ErrNoAnswer is a cluster that cannot be reached, or does not answer in time.
var ErrNoAnswer = errors.New("the cluster does not answer")

// Explain makes ErrNoAnswer of errors that tell a reader nothing: deadlines, closed
// connections, the client's own rate limiter. Others stay as they are.
func Explain(err error) error {
	if err == nil || errors.Is(err, ErrNoAnswer) || errors.Is(err, context.Canceled) {
		return err
	}
	var operation *net.OpError
	if errors.As(err, &operation) && operation.Addr != nil {
		return fmt.Errorf("%w at %s (%s)", ErrNoAnswer, operation.Addr, operation.Err)
	}
	var network net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &network) && network.Timeout() {
		return fmt.Errorf("%w within %s", ErrNoAnswer, Timeout)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || strings.Contains(err.Error(), "rate limiter") {
		return ErrNoAnswer
	}
	return err
}
