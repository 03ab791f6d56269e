package stack

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"k8sbootcamp/components/editions"
	"k8sbootcamp/components/lab"
	"k8sbootcamp/components/shared"
	"k8sbootcamp/internal/check"
	"k8sbootcamp/internal/kindcluster"
	"k8sbootcamp/internal/kubeclient"
	"k8sbootcamp/internal/sharedcluster"
)

// Mine returns an error where the shared cluster is not the one that the stack was made
// on, or an object there of the stack's name is another's. Of a stack on none, or with
// nothing there yet, it finds nothing.
func (s *Stack) Mine(ctx context.Context, state *State) error {
	if s.OnKind() || state.Claim == "" {
		return nil
	}
	_, err := s.connect(ctx, state)
	return err
}

// connect connects to the shared cluster, once that is proven to be the stack's (Mine).
func (s *Stack) connect(ctx context.Context, state *State) (*sharedcluster.Client, error) {
	access, _ := s.Access()
	client, err := sharedcluster.Connect(access, io.Discard)
	if err != nil {
		return nil, err
	}
	owned, err := sharedcluster.ParseOwned(state.Owned)
	if err != nil {
		return nil, fmt.Errorf("the stack's state: %w", err)
	}
	return client, client.Mine(ctx, sharedcluster.ParseClaim(state.Claim), owned)
}

// Kubeconfig is the lab's for its student: with a token, on a shared cluster, that has
// at least half of its life before it, or, to renew it, a new one.
func (s *Stack) Kubeconfig(ctx context.Context, state *State, outputs map[string]string, renew bool) ([]byte, error) {
	kept := []byte(outputs[lab.OutKubeconfig])
	if s.OnKind() || !renew && !EndsSoon(kept) {
		return kept, nil
	}
	client, err := s.connect(ctx, state)
	if err != nil {
		return nil, err
	}
	namespace := kindcluster.Name(s.Name)
	made, _, err := client.Kubeconfig(ctx, namespace, shared.PlatformNamespace+"/"+namespace, s.Settings.TokenLifetime)
	return made, err
}

// AskNetwork asks what a pod of the student's reaches of others (check.AskNetwork), on
// the cluster that the stack was made on and no other.
func (s *Stack) AskNetwork(ctx context.Context, namespace string) check.Result {
	image := s.Settings.Images.Echo
	if editions.EchoArgs(image) == nil { // it is not agnhost
		current, err := editions.Of(editions.Current)
		if err != nil {
			return check.Unasked(check.Network, err)
		}
		image = current.Echo
	}
	state, err := s.State(ctx)
	if err == nil && state != nil {
		err = s.Mine(ctx, state)
	}
	if err != nil {
		return check.Unasked(check.Network, err)
	}
	access, _ := s.Access()
	config, err := access.Config()
	if err != nil {
		return check.Unasked(check.Network, err)
	}
	return check.AskNetwork(ctx, config, check.NetworkOptions{Namespace: namespace, Image: image})
}

// EndsSoon tells whether the token in a kubeconfig has less than half of its life left.
// One that does not say how long it lives does not end.
func EndsSoon(kubeconfig []byte) bool {
	config, err := kubeclient.FromBytes(kubeconfig, "")
	if err != nil {
		return false
	}
	parts := strings.Split(config.BearerToken, ".")
	if len(parts) != 3 {
		return false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	var life struct {
		Made int64 `json:"iat"`
		Ends int64 `json:"exp"`
	}
	if err = errors.Join(err, json.Unmarshal(payload, &life)); err != nil || life.Ends == 0 {
		return false
	}
	return time.Until(time.Unix(life.Ends, 0)) < time.Duration(life.Ends-life.Made)*time.Second/2
}

// Forget drops from the state what the stack had on a shared cluster that is gone for
// good, and returns what that was, in words. While the cluster answers it refuses, also
// where that answers no more than that the user may not ask.
func (s *Stack) Forget(ctx context.Context, state *State) (string, error) {
	access, onShared := s.Access()
	if !onShared {
		return "", &Error{Cause: "--forget is for stacks on a shared cluster; of a cluster of its own that is gone, destroy alone removes the rest"}
	}
	err := s.Mine(ctx, state)
	var another *sharedcluster.AnotherClusterError
	var taken *sharedcluster.TakenError
	var answer apierrors.APIStatus
	if err == nil || errors.As(err, &taken) {
		return "", &Error{Cause: fmt.Sprintf("the stack's cluster answers (context %s), so there is nothing to forget: destroy without --forget", access.Context)}
	}
	if errors.As(err, &answer) && answer.Status().Code < http.StatusInternalServerError {
		return "", &Error{Cause: fmt.Sprintf("a cluster answers (context %s), and may be the stack's: %s. Mend the access to it, then destroy without --forget", access.Context, err)}
	}
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	why := err.Error()
	if errors.As(err, &another) {
		why = "another cluster is there now"
	}
	if err := s.edit(ctx, withoutResources); err != nil {
		return "", err
	}
	return fmt.Sprintf("what it had on the cluster of context %s, %d objects, was forgotten and not removed (%s)", access.Context, len(state.Objects), why), nil
}
