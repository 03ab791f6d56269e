package sharedcluster

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"

	"golang.org/x/sync/errgroup"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"k8sbootcamp/internal/kubeclient"
)

// Facts are what a stack must know of a shared cluster before it makes anything
// there.
type Facts struct {
	// ID is the UID of the namespace kube-system: which cluster it is, whatever a
	// kubeconfig calls it and wherever that lies.
	ID     string
	Owners []Owner // of the stack's objects that there are

	// For a student's network policy:
	APIServer      []string // addresses behind the Service kubernetes
	APIServerPorts []int    // its ports there
	DNS            []string // addresses of the cluster's own name servers
	Nodes          []string // addresses of the nodes

	// For the class's admission policy: what a token is for that was asked for without
	// any audience.
	Audiences []string
}

// Ask asks a cluster for its facts, those for a student or those for the class. The
// errors say which cluster.
func Ask(ctx context.Context, a Access, owned []Object, student bool) (*Facts, error) {
	c, err := Connect(a, io.Discard)
	if err != nil {
		return nil, err
	}
	f, err := c.facts(ctx, owned, student)
	if err != nil {
		return nil, fmt.Errorf("the cluster of context %q: %w", a.Context, err)
	}
	return f, nil
}

func (c *Client) facts(ctx context.Context, owned []Object, student bool) (*Facts, error) {
	f := &Facts{}
	parts, ctx := errgroup.WithContext(ctx)
	parts.Go(func() (err error) { f.ID, err = c.id(ctx); return err })
	parts.Go(func() (err error) { f.Owners, err = c.owners(ctx, owned); return err })
	if !student {
		parts.Go(func() (err error) { f.Audiences, err = c.audiences(ctx); return err })
		return f, parts.Wait()
	}
	parts.Go(func() (err error) {
		f.APIServer, f.APIServerPorts, err = apiServer(ctx, c.typed)
		return kubeclient.Explain(err)
	})
	parts.Go(func() (err error) { f.DNS, err = nameServers(ctx, c.typed); return kubeclient.Explain(err) })
	parts.Go(func() (err error) { f.Nodes, err = nodes(ctx, c.typed); return kubeclient.Explain(err) })
	return f, parts.Wait()
}

// Mine returns an error where this is another cluster than the one of the claim that
// VerbClaim printed (*AnotherClusterError), or an object of the stack's name is not
// the claim's (*TakenError).
func (f *Facts) Mine(printed string) error {
	claim := ParseClaim(printed)
	if err := claim.On(f.ID); err != nil {
		return err
	}
	return claim.taken(f.Owners)
}

// id is Facts.ID.
func (c *Client) id(ctx context.Context) (string, error) {
	system, err := c.typed.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	if err != nil {
		return "", kubeclient.Explain(err)
	}
	return string(system.UID), nil
}

// same returns an *AnotherClusterError where the claim is on another cluster.
func (c *Client) same(ctx context.Context, claim Claim) error {
	id, err := c.id(ctx)
	if err != nil {
		return err
	}
	return claim.On(id)
}

// audiences are the API server's own. Only a token tells that was asked for without
// any; this one, of an account with no rights, is thrown away.
func (c *Client) audiences(ctx context.Context) ([]string, error) {
	seconds := int64(600) // the least
	answer, err := c.typed.CoreV1().ServiceAccounts(metav1.NamespaceDefault).CreateToken(ctx, "default", &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds},
	}, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("a token that tells the API server's audiences: %w", kubeclient.Explain(err))
	}
	return sorted(answer.Spec.Audiences), nil
}

func apiServer(ctx context.Context, c kubernetes.Interface) (addresses []string, ports []int, err error) {
	slice, err := c.DiscoveryV1().EndpointSlices(metav1.NamespaceDefault).Get(ctx, "kubernetes", metav1.GetOptions{})
	if err != nil {
		return nil, nil, err
	}
	for _, e := range slice.Endpoints {
		addresses = append(addresses, e.Addresses...)
	}
	for _, p := range slice.Ports {
		if p.Port != nil {
			ports = append(ports, int(*p.Port))
		}
	}
	return sorted(addresses), sorted(ports), nil
}

// nameServers are the Services of kube-system that serve DNS's port, whatever the
// cluster's distribution calls them.
func nameServers(ctx context.Context, c kubernetes.Interface) ([]string, error) {
	services, err := c.CoreV1().Services(metav1.NamespaceSystem).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	var found []string
	for _, s := range services.Items {
		if slices.ContainsFunc(s.Spec.Ports, func(p corev1.ServicePort) bool { return p.Port == 53 }) && s.Spec.ClusterIP != corev1.ClusterIPNone {
			found = append(found, s.Spec.ClusterIPs...)
		}
	}
	return sorted(found), nil
}

func nodes(ctx context.Context, c kubernetes.Interface) ([]string, error) {
	all, err := c.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	var found []string
	for _, n := range all.Items {
		for _, a := range n.Status.Addresses {
			if a.Type == corev1.NodeInternalIP {
				found = append(found, a.Address)
			}
		}
	}
	return sorted(found), nil
}

// sorted makes addresses, or ports, ones that can be compared: the order says nothing.
func sorted[T cmp.Ordered](list []T) []T {
	slices.Sort(list)
	return slices.Compact(list)
}
