package stack

import (
	"context"
	"errors"
	"slices"

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

// Context is the one context of the lab's kubeconfig.
func (s *Stack) Context() string {
	if s.OnKind() {
		return kindcluster.Context(kindcluster.Name(s.Name))
	}
	return kindcluster.Name(s.Name)
}

// WithTrouble asks the cluster why workloads' pods did not become ready, where that
// is what failed: the plugin's own words bury the reason. What waiting does not mend is
// told before what it may. Where the cluster has nothing to say of it, the
// error stays as it is.
func (s *Stack) WithTrouble(ctx context.Context, err error) error {
	var e *Error
	if ctx.Err() != nil || !errors.As(err, &e) || len(e.Workloads) == 0 {
		return err
	}
	config, namespace, reachErr := s.ReachNow(ctx)
	if reachErr != nil {
		return err
	}
	var all []check.Trouble
	for _, w := range append(e.Workloads, "") { // what is only slow may wait for another
		if w == "" && slices.ContainsFunc(all, func(t check.Trouble) bool { return !t.Slow }) {
			break
		}
		found, err := check.Troubles(ctx, config, namespace, w)
		if err != nil {
			break // it only would have said it better
		}
		all = append(all, found...)
	}
	if len(all) > 0 {
		e.Cause = slices.MinFunc(all, check.Worse).String()
	}
	return err
}

// ReachNow is the way to the stack's cluster without the stack's outputs, which an update
// that failed may not have yet, and which take longer to read.
func (s *Stack) ReachNow(ctx context.Context) (config *rest.Config, namespace string, err error) {
	return s.ReachHealed(ctx, Healed{})
}

// ReachHealed is ReachNow, with what Heal has found already.
func (s *Stack) ReachHealed(ctx context.Context, healed Healed) (config *rest.Config, namespace string, err error) {
	if access, isShared := s.Access(); isShared {
		namespace = kindcluster.Name(s.Name)
		if s.Platform() {
			namespace = shared.PlatformNamespace
		}
		config, err = access.Config()
		return config, namespace, err
	}
	admin := healed.admin
	if admin == nil {
		found, err := s.Docker.Admin(ctx, kindcluster.Name(s.Name))
		if err != nil {
			return nil, "", err
		}
		admin = &found
	}
	config, err = kubeclient.FromAdmin(admin.Kubeconfig, admin.Server)
	return config, course.Namespace, err
}
