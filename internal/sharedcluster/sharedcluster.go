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

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"k8sbootcamp/internal/kubeclient"
	"k8sbootcamp/internal/takeover"
)

// Tool is the name of the tool (`./class sharedcluster`) that Pulumi's commands
// run, and its verbs.
const (
	Tool           = "sharedcluster"
	VerbClaim      = "claim"      // prove that names are free or the stack's, print the Claim
	VerbRelease    = "release"    // delete what has the claim
	VerbLeave      = "leave"      // what a destroy begins with
	VerbKubeconfig = "kubeconfig" // print a kubeconfig of an account
)

// Environment variables of the tool.
const (
	EnvKubeconfig = "BOOTCAMP_KUBECONFIG" // a file; empty is kubectl's own rule
	EnvContext    = "BOOTCAMP_CONTEXT"
	EnvOwned      = "BOOTCAMP_OWNED"     // the stack's objects, as Owned writes them
	EnvRequired   = "BOOTCAMP_REQUIRED"  // objects that must be there before
	EnvHostPort   = "BOOTCAMP_HOST_PORT" // of the nodes, that must be free of others' pods; empty is none
	EnvClaim      = "BOOTCAMP_CLAIM"     // as VerbClaim printed it
	EnvNamespace  = "BOOTCAMP_NAMESPACE"
	EnvAccount    = "BOOTCAMP_ACCOUNT" // NAMESPACE/NAME
	EnvLifetime   = "BOOTCAMP_LIFETIME"
)

// Annotations of every object that has no namespace of the stack's around it.
const (
	AnnotationClaim = "bootcamp/claim"
	AnnotationStack = "bootcamp/stack"
)

const requestTimeout = 30 * time.Second

// Claim is whose objects are, and on which cluster.
type Claim struct {
	Mark    string // random; AnnotationClaim of each object
	Cluster string // Facts.ID; empty where an earlier version of this program made the claim
}

// ParseClaim reads what VerbClaim printed.
func ParseClaim(printed string) Claim {
	mark, cluster, _ := strings.Cut(strings.TrimSpace(printed), " ")
	return Claim{mark, cluster}
}

func (c Claim) String() string { return strings.TrimSpace(c.Mark + " " + c.Cluster) }

// AnotherClusterError is a cluster that is not the one which a stack was made on.
type AnotherClusterError struct{ Was, Is string }

func (e *AnotherClusterError) Error() string {
	return fmt.Sprintf("this is another cluster than the stack's (its namespace kube-system has UID %s, the stack's has %s); nothing was touched. "+
		"Let kubeContext and kubeconfigPath lead to the stack's own cluster; if that is gone for good, `./class destroy --forget` forgets the stack", e.Is, e.Was)
}

// On returns an *AnotherClusterError where the claim is on another cluster than that
// of this ID.
func (c Claim) On(id string) error {
	if c.Cluster != "" && c.Cluster != id {
		return &AnotherClusterError{Was: c.Cluster, Is: id}
	}
	return nil
}

// Object is one that lies outside of the stack's namespace: it has a namespace only where
// that is another's.
type Object = takeover.Object

const serviceAccounts = "serviceaccounts" // the one resource that has a namespace

// resources are the kinds that a stack has outside its namespace.
var resources = map[string]schema.GroupVersionResource{
	"namespaces":                        {Version: "v1", Resource: "namespaces"},
	serviceAccounts:                     {Version: "v1", Resource: "serviceaccounts"},
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
		o := Object{Resource: resource, Name: name}
		if resource == serviceAccounts {
			o.Namespace, o.Name, _ = strings.Cut(name, "/")
		}
		if _, known := resources[resource]; !known || o.Name == "" || strings.Contains(o.Name, "/") {
			return nil, fmt.Errorf("%q is not RESOURCE/NAME (%s/NAMESPACE/NAME) of a known resource", f, serviceAccounts)
		}
		out = append(out, o)
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
	config   *rest.Config
	dynamic  dynamic.Interface
	metadata metadata.Interface
	typed    kubernetes.Interface
	log      io.Writer
	tick     time.Duration // between two looks at what is being deleted
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
	meta, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	return &Client{config: config, dynamic: dyn, metadata: meta, typed: typed, log: log, tick: time.Second}, nil
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
	return fmt.Sprintf("%s is missing; the class's own stack makes it: `pulumi up` a stack with mode=shared-platform on this cluster first (and, if this stack has it, with podMonitoring=true)", e.Object)
}

// Claim proves that a stack may make its objects here: none of them is another's, and
// those that it needs are there. It returns the claim, which is on this cluster now.
func (c *Client) Claim(ctx context.Context, claim Claim, owned, required []Object) (Claim, error) {
	id, err := c.id(ctx)
	if err == nil {
		err = claim.On(id)
	}
	if err == nil {
		err = errors.Join(c.There(ctx, required), c.Free(ctx, claim, owned))
	}
	// Where a kind is not served, each of its objects is missing, or is free: that it
	// is there says that it is served.
	if err == nil && len(required) == 0 || errors.As(err, new(*MissingError)) {
		if serves := c.Serves(slices.Concat(required, owned)); serves != nil {
			err = serves
		}
	}
	if err != nil {
		return Claim{}, err
	}
	return Claim{claim.Mark, id}, nil
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
func (c *Client) Free(ctx context.Context, claim Claim, objects []Object) error {
	owners, err := c.owners(ctx, objects)
	if err != nil {
		return errors.Join(err, claim.taken(owners))
	}
	return claim.taken(owners)
}

// taken returns a *TakenError for each object that is not the claim's.
func (c Claim) taken(owners []Owner) error {
	var errs []error
	for _, o := range owners {
		if c.Mark == "" || o.Mark != c.Mark {
			errs = append(errs, &TakenError{o.Object, o.Stack, o.Words})
		}
	}
	return errors.Join(errs...)
}

// Owner is whose an object is that there is.
type Owner struct {
	Object Object
	Mark   string // of the claim
	Stack  string // empty where no stack of this project made it
	Words  string // for people
}

// owners are those of the objects that there are.
func (c *Client) owners(ctx context.Context, objects []Object) ([]Owner, error) {
	var found []Owner
	var errs []error
	for _, o := range objects {
		live, err := c.get(ctx, o)
		if err != nil {
			errs = append(errs, err)
		} else if live != nil {
			found = append(found, Owner{o, live.GetAnnotations()[AnnotationClaim], live.GetAnnotations()[AnnotationStack], owner(live)})
		}
	}
	return found, errors.Join(errs...)
}

// Mine returns an error unless this is the claim's cluster (*AnotherClusterError), and
// those of the objects that there are bear it (*TakenError).
func (c *Client) Mine(ctx context.Context, claim Claim, objects []Object) error {
	if err := c.same(ctx, claim); err != nil {
		return err
	}
	return c.Free(ctx, claim, objects)
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
// gone. Objects without it stay, and so does another cluster.
func (c *Client) Release(ctx context.Context, claim Claim, objects []Object) error {
	if claim.Mark == "" {
		return errors.New("the claim is empty")
	}
	if err := c.same(ctx, claim); err != nil {
		return err
	}
	var errs []error
	for _, o := range objects {
		live, err := c.get(ctx, o)
		if err == nil && live != nil && live.GetAnnotations()[AnnotationClaim] == claim.Mark {
			fmt.Fprintf(c.log, "removing %s, which a run that was cut short has left\n", o)
			err = c.remove(ctx, o, live.GetUID())
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (c *Client) resource(o Object) dynamic.ResourceInterface {
	all := c.dynamic.Resource(resources[o.Resource])
	if o.Namespace != "" {
		return all.Namespace(o.Namespace)
	}
	return all
}

func (c *Client) get(ctx context.Context, o Object) (*unstructured.Unstructured, error) {
	live, err := c.resource(o).Get(ctx, o.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("%s: %w", o, kubeclient.Explain(err))
	}
	return live, nil
}

// remove deletes the object of this UID, and returns once it is gone.
func (c *Client) remove(ctx context.Context, o Object, uid types.UID) error {
	err := c.resource(o).Delete(ctx, o.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting %s: %w", o, kubeclient.Explain(err))
	}
	if o.Resource == "namespaces" {
		return c.vacate(ctx, o.Name, uid)
	}
	return c.gone(ctx, o, uid)
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
