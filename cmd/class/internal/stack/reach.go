package stack

import (
	"context"
	"errors"

	"k8s.io/client-go/rest"

	"k8sbootcamp/components/lab"
	"k8sbootcamp/components/shared"
	"k8sbootcamp/internal/check"
	"k8sbootcamp/internal/course"
	"k8sbootcamp/internal/kindcluster"
	"k8sbootcamp/internal/kubeclient"
)

// Reach is how the owner of the stack reaches its cluster: by the outputs where the
// cluster is the stack's own, else by the stack's configuration.
func (s *Stack) Reach(outputs map[string]string) (*rest.Config, error) {
	if access, shared := s.Access(); shared {
		return access.Config()
	}
	return kubeclient.FromBytes([]byte(outputs[lab.OutKubeconfig]), "")
}

// WithTrouble asks the cluster why a workload's pods did not become ready, where
// that is what failed: the plugin's own words bury the reason. Where the cluster
// has nothing to say of it, the error stays as it is.
func (s *Stack) WithTrouble(ctx context.Context, err error) error {
	var e *Error
	if ctx.Err() != nil || !errors.As(err, &e) || e.Workload == "" {
		return err
	}
	config, namespace, reachErr := s.reachNow(ctx)
	if reachErr != nil {
		return err
	}
	found, askErr := check.Troubles(ctx, config, namespace, e.Workload)
	if askErr == nil && len(found) > 0 {
		e.Cause = found[0].String()
	}
	return err
}

// reachNow is the way to the stack's cluster while an update has failed: there may
// be no outputs yet.
func (s *Stack) reachNow(ctx context.Context) (config *rest.Config, namespace string, err error) {
	if access, isShared := s.Access(); isShared {
		namespace = kindcluster.Name(s.Name)
		if s.Platform() {
			namespace = shared.PlatformNamespace
		}
		config, err = access.Config()
		return config, namespace, err
	}
	kubeconfig, err := s.Docker.Kubeconfig(ctx, kindcluster.Name(s.Name))
	if err != nil {
		return nil, "", err
	}
	config, err = kubeclient.FromBytes([]byte(kubeconfig), "")
	return config, course.Namespace, err
}
