// Package sharedcluster does, on a cluster that others use too, what Pulumi's
// resources cannot: it proves before anything is made that a stack's names are
// free, removes what a killed `up` left, and makes a student's kubeconfig.
//
// Whose an object is stands in its annotations, from its creation on.
package sharedcluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"k8sbootcamp/internal/kubeclient"
)

// Tool is the name of the tool (`go tool sharedcluster`) that Pulumi's commands
// run, and its verbs.
const (
	Tool           = "sharedcluster"
	VerbClaim      = "claim"      // prove that names are free or the stack's, print the claim
	VerbRelease    = "release"    // delete what has the claim
	VerbKubeconfig = "kubeconfig" // print a kubeconfig of an account
	VerbAudiences  = "audiences"  // print what tokens for the API server are for, a JSON list
)

// Environment variables of the tool.
const (
	EnvKubeconfig = "BOOTCAMP_KUBECONFIG" // a file; empty is kubectl's own rule
	EnvContext    = "BOOTCAMP_CONTEXT"
	EnvOwned      = "BOOTCAMP_OWNED"    // the stack's objects, as Owned writes them
	EnvRequired   = "BOOTCAMP_REQUIRED" // objects that must be there before
	EnvNamespace  = "BOOTCAMP_NAMESPACE"
	EnvAccount    = "BOOTCAMP_ACCOUNT"
	EnvLifetime   = "BOOTCAMP_LIFETIME"
)

// Annotations of every object that has no namespace of the stack's around it.
const (
	AnnotationClaim = "bootcamp/claim"
	AnnotationStack = "bootcamp/stack"
)

const (
	requestTimeout = 30 * time.Second
	goneTimeout    = 4 * time.Minute // a namespace empties itself first
)

// Object is the plural resource and the name of an object of the whole cluster.
type Object struct{ Resource, Name string }

func (o Object) String() string { return o.Resource + "/" + o.Name }

// resources are the kinds that a stack has outside its namespace.
var resources = map[string]schema.GroupVersionResource{
	"namespaces":                        {Version: "v1", Resource: "namespaces"},
	"clusterroles":                      {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterroles"},
	"clusterrolebindings":               {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterrolebindings"},
	"validatingadmissionpolicies":       {Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingadmissionpolicies"},
	"validatingadmissionpolicybindings": {Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingadmissionpolicybindings"},
}

// Owned writes objects for EnvOwned, and ParseOwned reads them.
func Owned(objects []Object) string {
	out := make([]string, len(objects))
	for i, o := range objects {
		out[i] = o.String()
	}
	return strings.Join(out, " ")
}

// ParseOwned is the inverse of Owned; nothing is no objects.
func ParseOwned(s string) ([]Object, error) {
	var out []Object
	for _, f := range strings.Fields(s) {
		resource, name, _ := strings.Cut(f, "/")
		if _, known := resources[resource]; !known || name == "" {
			return nil, fmt.Errorf("%q is not RESOURCE/NAME of a known resource", f)
		}
		out = append(out, Object{resource, name})
	}
	return out, nil
}

// Access is how a shared cluster is reached.
type Access struct {
	Kubeconfig string // a file; empty is kubectl's own rule ($KUBECONFIG, then ~/.kube/config)
	Context    string // never empty: the current context is whatever was used last
}

// Config is the context's client configuration. It does not talk to the cluster.
func (a Access) Config() (*rest.Config, error) {
	config, err := kubeclient.FromFile(a.Kubeconfig, a.Context)
	if err == nil {
		config.Timeout = requestTimeout
	}
	return config, err
}

// Check tells whether the kubeconfig and the context can be used at all.
func (a Access) Check() error {
	_, err := a.Config()
	return err
}

// Client is a connection to a shared cluster.
type Client struct {
	config  *rest.Config
	dynamic dynamic.Interface
	typed   kubernetes.Interface
	log     io.Writer
}

// Connect makes a client; progress goes to log.
func Connect(a Access, log io.Writer) (*Client, error) {
	config, err := a.Config()
	if err != nil {
		return nil, err
	}
	dyn, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	typed, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	return &Client{config: config, dynamic: dyn, typed: typed, log: log}, nil
}

// TakenError is an object that is there already and not the stack's.
type TakenError struct {
	Object Object
	Stack  string // whose it is; empty where no stack of this project made it
	Owner  string // in words
}

func (e *TakenError) Error() string {
	return fmt.Sprintf("%s exists already; its owner is %s. It was left untouched: use another stack name, or ask its owner", e.Object, e.Owner)
}

// MissingError is an object that another stack must have made before.
type MissingError struct{ Object Object }

func (e *MissingError) Error() string {
	return fmt.Sprintf("%s is missing; the class's own stack makes it: `pulumi up` a stack with mode=shared-platform on this cluster first", e.Object)
}

// UnservedError is a kind that the cluster's API server does not have.
type UnservedError struct {
	Resource schema.GroupVersionResource
	Version  string // the cluster's
}

func (e *UnservedError) Error() string {
	return fmt.Sprintf("the cluster, Kubernetes %s, does not serve %s of %s. A shared cluster must be Kubernetes 1.30 or later, "+
		"for without that students cannot be kept from harming each other: upgrade it, or use another (kubeContext)",
		e.Version, e.Resource.Resource, e.Resource.GroupVersion())
}

// Serves returns an *UnservedError for the first kind of the objects that the
// cluster does not have.
func (c *Client) Serves(objects []Object) error {
	served := map[schema.GroupVersion]*metav1.APIResourceList{}
	for _, o := range objects {
		gvr := resources[o.Resource]
		list, asked := served[gvr.GroupVersion()]
		if !asked {
			var err error
			list, err = c.typed.Discovery().ServerResourcesForGroupVersion(gvr.GroupVersion().String())
			if err != nil && !apierrors.IsNotFound(err) {
				return fmt.Errorf("what the cluster serves of %s: %w", gvr.GroupVersion(), err)
			}
			served[gvr.GroupVersion()] = list
		}
		if list == nil || !slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Name == gvr.Resource }) {
			version, err := c.typed.Discovery().ServerVersion()
			if err != nil {
				return fmt.Errorf("the cluster's version: %w", err)
			}
			return &UnservedError{gvr, version.GitVersion}
		}
	}
	return nil
}

// Free returns a *TakenError for each object which is there already without the
// claim; a stack takes nothing over on a cluster that others use. An empty claim
// is nobody's.
func (c *Client) Free(ctx context.Context, claim string, objects []Object) error {
	var errs []error
	for _, o := range objects {
		live, err := c.get(ctx, o)
		if err != nil {
			errs = append(errs, err)
		} else if live != nil && (claim == "" || live.GetAnnotations()[AnnotationClaim] != claim) {
			errs = append(errs, &TakenError{o, live.GetAnnotations()[AnnotationStack], owner(live)})
		}
	}
	return errors.Join(errs...)
}

// There returns a *MissingError for each object which is missing.
func (c *Client) There(ctx context.Context, objects []Object) error {
	var errs []error
	for _, o := range objects {
		live, err := c.get(ctx, o)
		if err == nil && live == nil {
			err = &MissingError{o}
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Release deletes the objects that bear the claim and returns once they are
// gone. Objects without it stay.
func (c *Client) Release(ctx context.Context, claim string, objects []Object) error {
	if claim == "" {
		return errors.New("the claim is empty")
	}
	var errs []error
	for _, o := range objects {
		live, err := c.get(ctx, o)
		if err == nil && live != nil && live.GetAnnotations()[AnnotationClaim] == claim {
			fmt.Fprintf(c.log, "removing %s, which a run that was cut short has left\n", o)
			err = c.remove(ctx, o, live)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (c *Client) get(ctx context.Context, o Object) (*unstructured.Unstructured, error) {
	live, err := c.dynamic.Resource(resources[o.Resource]).Get(ctx, o.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("%s: %w", o, err)
	}
	return live, nil
}

func (c *Client) remove(ctx context.Context, o Object, live *unstructured.Unstructured) error {
	access, uid := c.dynamic.Resource(resources[o.Resource]), live.GetUID()
	err := access.Delete(ctx, o.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting %s: %w", o, err)
	}
	err = wait.PollUntilContextTimeout(ctx, time.Second, goneTimeout, true, func(ctx context.Context) (bool, error) {
		now, err := c.get(ctx, o)
		return err == nil && (now == nil || now.GetUID() != uid), nil
	})
	if err != nil {
		return fmt.Errorf("%s is still there %s after its deletion: %w", o, goneTimeout, err)
	}
	return nil
}

// owner says in words whose an object is, by all that objects tell of that.
func owner(o *unstructured.Unstructured) string {
	if stack := o.GetAnnotations()[AnnotationStack]; stack != "" {
		return "stack " + stack
	}
	var known []string
	if by := o.GetLabels()["app.kubernetes.io/managed-by"]; by != "" {
		known = append(known, "managed by "+by)
	}
	for _, r := range o.GetOwnerReferences() {
		known = append(known, "of "+r.Kind+" "+r.Name)
	}
	if f := o.GetManagedFields(); len(f) > 0 {
		known = append(known, fmt.Sprintf("written by %q", f[0].Manager))
	}
	known = append(known, "made "+o.GetCreationTimestamp().UTC().Format(time.RFC3339))
	return "not this project (" + strings.Join(known, ", ") + ")"
}

// Audiences are the API server's own: what a token is for that was asked for
// without any. Only such a token tells; the one asked for here, of an account with
// no rights, is thrown away.
func (c *Client) Audiences(ctx context.Context) ([]string, error) {
	seconds := int64(600) // the least
	answer, err := c.typed.CoreV1().ServiceAccounts(metav1.NamespaceDefault).CreateToken(ctx, "default", &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds},
	}, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("a token that tells the API server's audiences: %w", err)
	}
	return append([]string{}, answer.Spec.Audiences...), nil // never null
}

// Kubeconfig makes a kubeconfig for a ServiceAccount: the cluster as the
// administrator reaches it, a token that is bound to the account and expires,
// and the namespace preset. The cluster may shorten the lifetime.
func (c *Client) Kubeconfig(ctx context.Context, namespace, account string, lifetime time.Duration) ([]byte, time.Time, error) {
	seconds := int64(lifetime.Seconds())
	answer, err := c.typed.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, account, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds},
	}, metav1.CreateOptions{})
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("a token for %s/%s: %w", namespace, account, err)
	}
	tls := c.config.TLSClientConfig
	if len(tls.CAData) == 0 && tls.CAFile != "" {
		if err := rest.LoadTLSFiles(c.config); err != nil {
			return nil, time.Time{}, err
		}
		tls = c.config.TLSClientConfig
	}
	out := clientcmdapi.NewConfig()
	out.Clusters[namespace] = &clientcmdapi.Cluster{
		Server:                   c.config.Host,
		CertificateAuthorityData: tls.CAData,
		InsecureSkipTLSVerify:    tls.Insecure,
		TLSServerName:            tls.ServerName,
	}
	out.AuthInfos[namespace] = &clientcmdapi.AuthInfo{Token: answer.Status.Token}
	out.Contexts[namespace] = &clientcmdapi.Context{Cluster: namespace, AuthInfo: namespace, Namespace: namespace}
	out.CurrentContext = namespace
	raw, err := clientcmd.Write(*out)
	return raw, answer.Status.ExpirationTimestamp.Time, err
}
