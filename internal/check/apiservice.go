package check

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// APIService is the Service by which containers find the API server: its address is among
// their variables, if it is there as they begin. APIServiceNamespace is where it is.
const (
	APIService          = "kubernetes"
	APIServiceNamespace = metav1.NamespaceDefault
)

// apiServiceWithin is how long an API server takes to make its Service again (ten seconds),
// and a kubelet to hear of it.
const (
	apiServiceWithin = 20 * time.Second
	kubeletsHear     = time.Second
)

// AwaitAPIService returns once the API server's Service is there. `kubectl delete svc --all`
// takes it too, and what begins before it is made again does without for as long as it lives.
// That it may not be asked for, or does not come, is no error.
func AwaitAPIService(ctx context.Context, config *rest.Config) error {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	wasGone := false
	err = wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, apiServiceWithin, true, func(ctx context.Context) (bool, error) {
		_, err := client.CoreV1().Services(APIServiceNamespace).Get(ctx, APIService, metav1.GetOptions{})
		gone := apierrors.IsNotFound(err)
		wasGone = wasGone || gone
		return !gone, nil
	})
	if err == nil && wasGone {
		select {
		case <-ctx.Done():
		case <-time.After(kubeletsHear):
		}
	}
	return ctx.Err()
}
