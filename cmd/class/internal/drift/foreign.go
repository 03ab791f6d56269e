package drift

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"k8sbootcamp/internal/kubeclient"
	"k8sbootcamp/internal/sharedcluster"
)

// Scope is where objects are looked for that do not belong there.
type Scope struct {
	Namespace string // the stack's
	// Own: the cluster is the stack's, and all that was made on it since (by this
	// machine's clock) is the student's. Else the namespace alone is looked at, and in it
	// what the student may make.
	Own   bool
	Since time.Time // zero, where that is not known, looks at the namespace alone
}

// Foreign is an object that does not belong there.
type Foreign struct {
	Kind, Namespace, Name string
	UID                   types.UID
	Created               time.Time // by this machine's clock

	resource schema.GroupVersionResource
	scope    string   // the namespace that needs no naming
	pods     []listed // that are its own, or its own's
}

func (f Foreign) String() string {
	if f.Namespace != "" && f.Namespace != f.scope {
		return f.Kind + " " + f.Namespace + "/" + f.Name
	}
	return f.Kind + " " + f.Name
}

// Age is how long ago it was made, in words.
func (f Foreign) Age() string { return duration.HumanDuration(time.Since(f.Created)) + " old" }

// passing are kinds of no configuration: what happened, what is measured, what
// controllers keep for themselves.
func passing(gvr schema.GroupVersionResource) bool {
	switch gvr.Group {
	case "events.k8s.io", "coordination.k8s.io", "internal.apiserver.k8s.io":
		return true
	}
	return strings.HasSuffix(gvr.Group, "metrics.k8s.io") || gvr.Group == "" && gvr.Resource == "events" || gvr.Resource == "controllerrevisions"
}

// wide are the cluster's kinds of which a student's own harm a lab, or are left over.
var wide = map[string][]string{
	"":                             {"persistentvolumes"},
	"rbac.authorization.k8s.io":    {"clusterroles", "clusterrolebindings"},
	"admissionregistration.k8s.io": nil, // all of them
	"apiextensions.k8s.io":         {"customresourcedefinitions"},
	"apiregistration.k8s.io":       {"apiservices"},
	"scheduling.k8s.io":            {"priorityclasses"},
	"storage.k8s.io":               {"storageclasses"},
	"networking.k8s.io":            {"ingressclasses"},
	"node.k8s.io":                  {"runtimeclasses"},
	"flowcontrol.apiserver.k8s.io": nil,
}

// inSystem are the kinds with which a student harms a lab in the cluster's own
// namespaces. Others the cluster makes there at any time.
var inSystem = map[string][]string{
	"":                  {"pods", "replicationcontrollers", "resourcequotas", "limitranges"},
	"apps":              nil,
	"batch":             nil,
	"autoscaling":       nil,
	"policy":            nil,
	"networking.k8s.io": {"networkpolicies"},
}

// systemWorkloads are a kind cluster's own: somebody may have made one anew.
var systemWorkloads = []string{"coredns", "kube-proxy", "kindnet", "local-path-provisioner"}

func isSystem(namespace string) bool {
	return slices.Contains([]string{metav1.NamespaceSystem, metav1.NamespacePublic, "kube-node-lease", "local-path-storage"}, namespace)
}

func in(kinds map[string][]string, gvr schema.GroupVersionResource) bool {
	resources, has := kinds[gvr.Group]
	return has && (resources == nil || slices.Contains(resources, gvr.Resource))
}

// listed is an object as discovery and a list have it.
type listed struct {
	kind schema.GroupVersionKind
	gvr  schema.GroupVersionResource
	*metav1.PartialObjectMetadata
}

func (l listed) id() id { return id{l.kind.Group, l.kind.Kind, l.Namespace, l.Name} }

// Foreign lists what does not belong in the scope, by kind and name. What belongs to
// another object is not named: it goes with that one.
func (c *Cluster) Foreign(ctx context.Context, scope Scope, objects []Object) ([]Foreign, error) {
	skew, err := c.skew(ctx)
	if err != nil {
		return nil, err
	}
	all, err := c.list(ctx, scope, objects)
	if err != nil {
		return nil, err
	}
	j := judge{scope: scope, cutoff: scope.Since.Add(skew), wanted: map[id]Object{}, byUID: map[types.UID]listed{}, there: map[id]bool{}, kinds: map[string]bool{}, objects: objects}
	for _, o := range objects {
		j.wanted[o.id()] = o
	}
	pods := map[types.UID][]listed{} // by what they hang on at last
	for _, l := range all {
		j.byUID[l.UID] = l
		j.there[l.id()] = true
		j.kinds[l.kind.Kind] = true
	}
	for _, l := range all {
		if l.kind.Kind == "Pod" && len(l.OwnerReferences) > 0 {
			root := j.root(l)
			pods[root] = append(pods[root], l)
		}
	}
	var found []Foreign
	for _, l := range all {
		if j.foreign(l) {
			found = append(found, Foreign{Kind: l.kind.Kind, Namespace: l.Namespace, Name: l.Name, UID: l.UID, Created: l.CreationTimestamp.Add(-skew),
				resource: l.gvr, scope: scope.Namespace, pods: pods[l.UID]})
		}
	}
	slices.SortFunc(found, func(a, b Foreign) int {
		return cmp.Or(strings.Compare(a.Kind, b.Kind), strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	return found, nil
}

// skew is by how much the cluster's clock is ahead of this machine's.
func (c *Cluster) skew(ctx context.Context) (time.Duration, error) {
	var clock kubeclient.Clock
	config := rest.CopyConfig(c.config)
	config.Wrap(clock.Watch)
	finder, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return 0, err
	}
	if _, err := finder.RESTClient().Get().AbsPath("/version").DoRaw(ctx); err != nil {
		return 0, kubeclient.Explain(err)
	}
	const counts = 3 * time.Second // less is the way of the answer, and a date has whole seconds
	if date, known := clock.Last(); known && time.Until(date).Abs() > counts {
		return time.Until(date), nil
	}
	return 0, nil
}

// list lists all that is looked at.
func (c *Cluster) list(ctx context.Context, scope Scope, objects []Object) ([]listed, error) {
	type kind struct {
		gvr schema.GroupVersionResource
		gvk schema.GroupVersionKind
		in  string // a namespace; empty is all
	}
	var kinds []kind
	theirs := studentMakes(scope, objects)
	for _, served := range discovery.FilteredBy(discovery.SupportsAllVerbs{Verbs: []string{"list", "delete"}}, c.served) {
		gv, err := schema.ParseGroupVersion(served.GroupVersion)
		if err != nil {
			return nil, err
		}
		for _, r := range served.APIResources {
			k := kind{gvr: gv.WithResource(r.Name), gvk: gv.WithKind(r.Kind)}
			switch {
			case passing(k.gvr), strings.Contains(r.Name, "/"):
				continue
			case !scope.Own:
				if !r.Namespaced || !theirs(k.gvr) {
					continue
				}
				k.in = scope.Namespace
			case r.Namespaced:
				if k.in = scope.Namespace; !scope.Since.IsZero() && in(inSystem, k.gvr) {
					k.in = ""
				}
			case scope.Since.IsZero() || !in(wide, k.gvr) && k.gvr.Resource != "namespaces":
				continue
			}
			kinds = append(kinds, k)
		}
	}
	var mu sync.Mutex
	var all []listed
	err := each(ctx, kinds, func(ctx context.Context, _ int, k kind) error {
		var of metadata.ResourceInterface = c.metadata.Resource(k.gvr)
		if k.in != "" {
			of = c.metadata.Resource(k.gvr).Namespace(k.in)
		}
		list, err := of.List(ctx, metav1.ListOptions{})
		switch {
		case apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) || apierrors.IsServiceUnavailable(err):
			return nil // its API went, or is a student's that does not answer
		case err != nil:
			return fmt.Errorf("listing %s: %w", k.gvr.Resource, kubeclient.Explain(err))
		}
		mu.Lock()
		defer mu.Unlock()
		for i := range list.Items {
			all = append(all, listed{k.gvk, k.gvr, &list.Items[i]})
		}
		return nil
	})
	return all, err
}

// studentMakes tells of which kinds a student's own objects may be on a shared cluster:
// those that the student's role lets make, and what controllers make of them. In a
// namespace there may be others, which are the cluster's.
func studentMakes(scope Scope, objects []Object) func(gvr schema.GroupVersionResource) bool {
	makes := map[schema.GroupResource]bool{}
	for _, o := range objects {
		var role rbacv1.Role
		if o.Kind != "Role" || o.Namespace != scope.Namespace || runtime.DefaultUnstructuredConverter.FromUnstructured(o.Manifest, &role) != nil {
			continue
		}
		for _, rule := range role.Rules {
			if !slices.Contains(rule.Verbs, "create") || len(rule.ResourceNames) > 0 {
				continue
			}
			for _, group := range rule.APIGroups {
				for _, resource := range rule.Resources {
					makes[schema.GroupResource{Group: group, Resource: resource}] = true
				}
			}
		}
	}
	if makes[schema.GroupResource{Group: "apps", Resource: "deployments"}] { // deleted with --cascade=orphan
		makes[schema.GroupResource{Group: "apps", Resource: "replicasets"}] = true
	}
	return func(gvr schema.GroupVersionResource) bool { return makes[gvr.GroupResource()] }
}

// judge tells what belongs.
type judge struct {
	scope   Scope
	cutoff  time.Time // by the cluster's clock
	objects []Object
	wanted  map[id]Object
	there   map[id]bool
	byUID   map[types.UID]listed
	kinds   map[string]bool // of which there are any
}

func (j *judge) foreign(l listed) bool {
	switch {
	case j.has(l.id()), j.clusters(l), j.owned(l):
		return false
	case l.DeletionTimestamp != nil && len(l.Finalizers) == 0: // it goes, and nothing holds it
		return false
	case l.Annotations[sharedcluster.AnnotationClaim] != "": // of a stack, this one or another
		return false
	case l.Namespace == j.scope.Namespace && l.Namespace != "":
		return true
	case l.Namespace != "" && !isSystem(l.Namespace): // it goes with its namespace
		return false
	}
	return !l.CreationTimestamp.Time.Before(j.cutoff)
}

func (j *judge) has(of id) bool {
	_, has := j.wanted[of]
	return has
}

// owned tells whether an object has an owner: it goes, or stays, with that. One whose
// owner is gone goes by itself, where owners of that kind are looked at.
func (j *judge) owned(l listed) bool {
	for _, owner := range l.OwnerReferences {
		if _, there := j.byUID[owner.UID]; there || !j.kinds[owner.Kind] {
			return true
		}
	}
	return len(l.OwnerReferences) == 0 && j.orphaned(l)
}

// root is what an object hangs on at last.
func (j *judge) root(l listed) types.UID {
	for range len(j.byUID) { // owners may go round in a circle
		up, found := listed{}, false
		for _, owner := range l.OwnerReferences {
			if up, found = j.byUID[owner.UID]; found {
				break
			}
		}
		if !found {
			break
		}
		l = up
	}
	return l.UID
}

// orphaned tells whether an object has lost its owner and finds the way back: that was
// deleted alone (--cascade=orphan), and adopts it once it is made again.
func (j *judge) orphaned(l listed) bool {
	hash := l.Labels["pod-template-hash"]
	if hash == "" || l.kind.Kind != "ReplicaSet" && l.kind.Kind != "Pod" {
		return false
	}
	for _, o := range j.objects {
		selector, _, _ := unstructured.NestedStringMap(o.Manifest, "spec", "selector", "matchLabels")
		name := o.Name + "-" + hash
		switch {
		case o.Kind != "Deployment" || o.Namespace != l.Namespace || !labels.SelectorFromSet(selector).Matches(labels.Set(l.Labels)):
		case l.kind.Kind == "ReplicaSet" && l.Name == name, l.kind.Kind == "Pod" && j.there[id{"apps", "ReplicaSet", l.Namespace, name}]:
			return true
		}
	}
	return false
}

var tokenName = regexp.MustCompile(`^(.*)-token-[a-z0-9]{5}$`)

// clusters tells whether an object is one that the cluster makes by itself.
func (j *judge) clusters(l listed) bool {
	group, name := l.kind.Group, l.Name
	switch l.kind.Kind {
	case "Service":
		return l.Namespace == metav1.NamespaceDefault && name == "kubernetes"
	case "EndpointSlice": // the other ones of the cluster have owners
		return l.Namespace == metav1.NamespaceDefault && name == "kubernetes"
	case "Endpoints": // they go with the Service of their name
		return l.Namespace == metav1.NamespaceDefault && name == "kubernetes" || j.there[id{"", "Service", l.Namespace, name}]
	case "ConfigMap":
		return name == "kube-root-ca.crt"
	case "ServiceAccount":
		return name == "default"
	case "Secret": // of an account, before Kubernetes 1.24
		account := l.Annotations["kubernetes.io/service-account.name"]
		token := tokenName.FindStringSubmatch(name)
		return token != nil && token[1] == account && (account == "default" || j.has(id{"", "ServiceAccount", l.Namespace, account}))
	case "Namespace":
		return name == metav1.NamespaceDefault || isSystem(name) || name == j.scope.Namespace
	case "PersistentVolumeClaim":
		return j.claimed(l)
	case "PersistentVolume": // made for a claim, or taken by one: it has its data
		return l.Annotations["pv.kubernetes.io/provisioned-by"] != "" || l.Annotations["pv.kubernetes.io/bound-by-controller"] != ""
	case "APIService":
		return l.Labels["kube-aggregator.kubernetes.io/automanaged"] != ""
	case "ClusterRole", "ClusterRoleBinding":
		return l.Labels["kubernetes.io/bootstrapping"] != "" || strings.HasPrefix(name, "system:") || strings.HasPrefix(name, "kubeadm:")
	case "PriorityClass":
		return strings.HasPrefix(name, "system-")
	case "FlowSchema", "PriorityLevelConfiguration":
		return l.Annotations["apf.kubernetes.io/autoupdate-spec"] != ""
	}
	if !isSystem(l.Namespace) {
		return false
	}
	return l.Annotations["kubernetes.io/config.mirror"] != "" || group == "apps" && slices.Contains(systemWorkloads, name) || group == "policy" && slices.Contains(systemWorkloads, name)
}

// claimed tells whether a claim is one that a StatefulSet of the stack makes for a pod of
// its own. It has no owner: the data outlives the StatefulSet.
func (j *judge) claimed(l listed) bool {
	for _, o := range j.objects {
		if o.Kind != "StatefulSet" || o.Namespace != l.Namespace {
			continue
		}
		templates, _, _ := unstructured.NestedSlice(o.Manifest, "spec", "volumeClaimTemplates")
		for _, t := range templates {
			m, _ := t.(map[string]any)
			name, _, _ := unstructured.NestedString(m, "metadata", "name")
			ordinal, of := strings.CutPrefix(l.Name, name+"-"+o.Name+"-")
			if of && strings.Trim(ordinal, "0123456789") == "" {
				return true
			}
		}
	}
	return false
}

// first are the groups whose objects can refuse everybody's requests, or leave them
// without an answer; they go before all else.
var first = []string{"admissionregistration.k8s.io", "apiregistration.k8s.io", "flowcontrol.apiserver.k8s.io"}

// Remove removes what does not belong there, and returns once it is gone. Of what is not
// it has an error, at the same place.
func (c *Cluster) Remove(ctx context.Context, all []Foreign) []error {
	failed := make([]error, len(all))
	for _, early := range []bool{true, false} {
		_ = each(ctx, all, func(ctx context.Context, i int, f Foreign) error {
			if slices.Contains(first, f.resource.Group) == early {
				failed[i] = c.remove(ctx, f)
			}
			return nil
		})
	}
	return failed
}

func (c *Cluster) remove(ctx context.Context, f Foreign) error {
	var of metadata.ResourceInterface = c.metadata.Resource(f.resource)
	if f.Namespace != "" {
		of = c.metadata.Resource(f.resource).Namespace(f.Namespace)
	}
	var meanwhile func(ctx context.Context) error
	switch f.Kind {
	case "Namespace":
		meanwhile = func(ctx context.Context) error { return c.empty(ctx, f.Name) }
	case "CustomResourceDefinition":
		meanwhile = func(ctx context.Context) error { return c.release(ctx, f.Name) }
	case "Pod":
		return c.removePod(ctx, f)
	}
	isBalancer := false
	if f.Kind == "Service" {
		if at, err := c.at(f.resource.GroupVersion().WithKind(f.Kind), f.Namespace); err == nil {
			live, err := at.Get(ctx, f.Name, metav1.GetOptions{})
			isBalancer = err == nil && kubeclient.HasBalancer(live)
		}
	}
	if err := remove(ctx, of, f.String(), f.Name, f.UID, keeps(f.Kind, isBalancer), meanwhile); err != nil {
		return err
	}
	for _, p := range f.pods { // they go by themselves; so their ports and memory are free soon
		if err := shorten(ctx, c.metadata.Resource(p.gvr).Namespace(p.Namespace), p.Name, p.UID); err != nil {
			return fmt.Errorf("pod %s: %w", p.Name, err)
		}
	}
	return nil
}

// removePod does not wait for what nobody waits for: its grace is cut short.
func (c *Cluster) removePod(ctx context.Context, f Foreign) error {
	of := c.metadata.Resource(f.resource).Namespace(f.Namespace)
	meanwhile := func(ctx context.Context) error { return shorten(ctx, of, f.Name, f.UID) }
	return remove(ctx, of, f.String(), f.Name, f.UID, keeps("Pod", false), meanwhile)
}

// shorten cuts the grace of a pod that is being deleted.
func shorten(ctx context.Context, of metadata.ResourceInterface, name string, uid types.UID) error {
	grace := int64(1)
	return kubeclient.IgnoreGone(of.Delete(ctx, name, metav1.DeleteOptions{GracePeriodSeconds: &grace, Preconditions: &metav1.Preconditions{UID: &uid}}))
}

// empty takes from a namespace that is being deleted what keeps it: graces and
// finalizers.
func (c *Cluster) empty(ctx context.Context, namespace string) error {
	all, err := c.list(ctx, Scope{Namespace: namespace, Own: true}, nil)
	if err != nil {
		return err
	}
	return each(ctx, all, func(ctx context.Context, _ int, l listed) error {
		if l.DeletionTimestamp == nil {
			return nil // its turn comes after the pods
		}
		of := c.metadata.Resource(l.gvr).Namespace(namespace)
		if l.kind.Kind == "Pod" && l.DeletionGracePeriodSeconds != nil && *l.DeletionGracePeriodSeconds > 1 {
			if err := shorten(ctx, of, l.Name, l.UID); err != nil {
				return err
			}
		}
		return free(ctx, of, l)
	})
}

// release takes the finalizers off the objects of a student's kind: with it goes who
// would have served them.
func (c *Cluster) release(ctx context.Context, definition string) error {
	resource, group, _ := strings.Cut(definition, ".")
	mapping, err := c.mapper.ResourceFor(schema.GroupVersionResource{Group: group, Resource: resource})
	if err != nil {
		return nil // it is served no more
	}
	list, err := c.metadata.Resource(mapping).List(ctx, metav1.ListOptions{})
	if apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return each(ctx, list.Items, func(ctx context.Context, _ int, o metav1.PartialObjectMetadata) error {
		if o.DeletionTimestamp == nil {
			return nil
		}
		return free(ctx, c.metadata.Resource(mapping).Namespace(o.Namespace), listed{gvr: mapping, PartialObjectMetadata: &o})
	})
}

// free takes finalizers off, but those of Kubernetes itself.
func free(ctx context.Context, of metadata.ResourceInterface, l listed) error {
	keep := keeps(l.kind.Kind, false)
	kept := slices.DeleteFunc(slices.Clone(l.Finalizers), func(f string) bool { return !keep(f) })
	if len(kept) == len(l.Finalizers) {
		return nil
	}
	return kubeclient.IgnoreGone(setFinalizers(ctx, of, l.Name, l.UID, kept))
}
