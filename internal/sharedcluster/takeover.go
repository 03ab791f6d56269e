package sharedcluster

import (
	"context"
	"fmt"

	"k8s.io/client-go/rest"

	"k8sbootcamp/internal/takeover"
)

// TakeOver is takeover.Run in the namespace that bears the claim. It touches nothing where
// an object is in another, where the namespace is another's (*TakenError), or on another
// cluster (*AnotherClusterError).
func (c *Client) TakeOver(ctx context.Context, claim Claim, namespace, list, printed string) (string, error) {
	return takeover.Run(ctx, list, printed, c.log, func(objects []takeover.Object) (*rest.Config, error) {
		for _, o := range objects {
			if o.Namespace == "" || o.Namespace != namespace {
				return nil, fmt.Errorf("%s is not in namespace %q, and outside of that nothing is taken over", o, namespace)
			}
		}
		return c.config, c.Mine(ctx, claim, []Object{{Resource: "namespaces", Name: namespace}})
	})
}
