package lesson

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"k8sbootcamp/internal/course"
	"k8sbootcamp/internal/kubeclient"
	"k8sbootcamp/internal/sharedcluster"
)

// Lab is a lab that is asked, again and again if need be. It may be used by one
// goroutine at a time.
type Lab struct {
	Namespace string

	config   *rest.Config
	client   kubernetes.Interface
	metadata metadata.Interface
	requests atomic.Int64
	clock    kubeclient.Clock

	token   string // of Prometheus's account, for an hour at most
	tokenOf string // that account's UID
	tokenAt time.Time
}

// New is the lab that a kubeconfig (YAML) leads to; an empty context is its current
// one, an empty namespace that of the context, and else "default". It does not talk to
// the cluster.
func New(kubeconfig []byte, context, namespace string) (*Lab, error) {
	config, preset, err := kubeclient.WithNamespace(kubeconfig, context)
	if err != nil {
		return nil, err
	}
	if namespace == "" {
		namespace = preset
	}
	l := &Lab{Namespace: namespace, config: config}
	watched := rest.CopyConfig(config)
	watched.QPS = -1 // all that there is to ask is asked at once, and then no more
	watched.Wrap(func(next http.RoundTripper) http.RoundTripper { return counter{l, next} })
	watched.Wrap(l.clock.Watch)
	if l.client, err = kubernetes.NewForConfig(watched); err != nil {
		return nil, err
	}
	l.metadata, err = metadata.NewForConfig(watched)
	return l, err
}

// counter counts requests.
type counter struct {
	lab  *Lab
	next http.RoundTripper
}

func (c counter) RoundTrip(request *http.Request) (*http.Response, error) {
	c.lab.requests.Add(1)
	return c.next.RoundTrip(request)
}

// kind is something of a cluster that a kubeconfig may or may not see.
type kind string

const (
	nodes        kind = "nodes"
	pods         kind = "pods"
	services     kind = "services"
	configMaps   kind = "configmaps"
	accounts     kind = "serviceaccounts"
	claims       kind = "persistentvolumeclaims"
	deployments  kind = "deployments"
	daemonSets   kind = "daemonsets"
	statefulSets kind = "statefulsets"
	ingresses    kind = "ingresses"
	roles        kind = "roles"    // on a cluster of one's own, the ClusterRole that the text names
	bindings     kind = "bindings" // and its binding
)

// seen is what a lab had in it at one moment.
type seen struct {
	lab       *Lab
	namespace string
	options   Options
	shared    bool // the cluster is a class's
	now       time.Time

	nodes        []corev1.Node
	leases       []lease
	pods         []corev1.Pod
	services     []corev1.Service
	configMaps   []corev1.ConfigMap
	accounts     []corev1.ServiceAccount
	claims       []corev1.PersistentVolumeClaim
	deployments  []appsv1.Deployment
	daemonSets   []appsv1.DaemonSet
	statefulSets []appsv1.StatefulSet
	ingresses    []networkingv1.Ingress
	roles        []role
	bindings     []binding

	mu        sync.Mutex
	forbidden map[kind]bool

	answer  once[[]byte]       // of the app, through its Service
	targets once[[]target]     // of Prometheus
	loaded  once[scrapeConfig] // by Prometheus
}

// once is asked for when a check first needs it.
type once[T any] struct {
	done  bool
	value T
	err   error
}

func (o *once[T]) get(ask func() (T, error)) (T, error) {
	if !o.done {
		o.value, o.err = ask()
		o.done = true
	}
	return o.value, o.err
}

// role is a Role or a ClusterRole.
type role struct {
	kind, name string
	rules      []rbacv1.PolicyRule
}

// binding is a RoleBinding or a ClusterRoleBinding.
type binding struct {
	kind, name string
	role       rbacv1.RoleRef
	subjects   []rbacv1.Subject
}

// lease is what a node, the scheduler or the controller manager renews while it works.
type lease struct {
	name string
	age  time.Duration
}

func (s *seen) denied(what []kind) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(what, func(k kind) bool { return s.forbidden[k] })
}

// list asks for all of a kind. What may not be seen is noted.
func list[T any, L any](ctx context.Context, s *seen, of kind, ask func(context.Context, metav1.ListOptions) (L, error), items func(L) []T, into *[]T) func() error {
	return func() error {
		found, err := ask(ctx, metav1.ListOptions{})
		if apierrors.IsForbidden(err) || apierrors.IsNotFound(err) {
			s.mu.Lock()
			s.forbidden[of] = true
			s.mu.Unlock()
			return nil
		}
		if err != nil {
			return err
		}
		*into = items(found)
		if of != pods { // whose going is looked at
			*into = slices.DeleteFunc(*into, going[T])
		}
		return nil
	}
}

// going tells whether an object is being deleted: it is there while a finalizer keeps it,
// and does its work no more.
func going[T any](o T) bool {
	object, ok := any(&o).(metav1.Object)
	return ok && object.GetDeletionTimestamp() != nil
}

// atOnce is how many requests a lab is asked at once.
const atOnce = 8

// look asks for all that the checks may need.
func (l *Lab) look(ctx context.Context, o Options) (*seen, error) {
	s := &seen{lab: l, namespace: l.Namespace, options: o, forbidden: map[kind]bool{}}
	namespace, err := l.client.CoreV1().Namespaces().Get(ctx, l.Namespace, metav1.GetOptions{})
	switch {
	case err == nil:
		_, s.shared = namespace.Labels[sharedcluster.LabelStudent]
	case !apierrors.IsForbidden(err) && !apierrors.IsNotFound(err):
		return nil, err
	}
	core, apps := l.client.CoreV1(), l.client.AppsV1()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for _, ask := range []func() error{
		list(ctx, s, pods, core.Pods(l.Namespace).List, func(l *corev1.PodList) []corev1.Pod { return l.Items }, &s.pods),
		list(ctx, s, nodes, core.Nodes().List, func(l *corev1.NodeList) []corev1.Node { return l.Items }, &s.nodes),
		list(ctx, s, deployments, apps.Deployments(l.Namespace).List, func(l *appsv1.DeploymentList) []appsv1.Deployment { return l.Items }, &s.deployments),
		list(ctx, s, services, core.Services(l.Namespace).List, func(l *corev1.ServiceList) []corev1.Service { return l.Items }, &s.services),
		list(ctx, s, daemonSets, apps.DaemonSets(l.Namespace).List, func(l *appsv1.DaemonSetList) []appsv1.DaemonSet { return l.Items }, &s.daemonSets),
		list(ctx, s, accounts, core.ServiceAccounts(l.Namespace).List, func(l *corev1.ServiceAccountList) []corev1.ServiceAccount { return l.Items }, &s.accounts),
		list(ctx, s, configMaps, core.ConfigMaps(l.Namespace).List, func(l *corev1.ConfigMapList) []corev1.ConfigMap { return l.Items }, &s.configMaps),
		list(ctx, s, statefulSets, apps.StatefulSets(l.Namespace).List, func(l *appsv1.StatefulSetList) []appsv1.StatefulSet { return l.Items }, &s.statefulSets),
		list(ctx, s, claims, core.PersistentVolumeClaims(l.Namespace).List, func(l *corev1.PersistentVolumeClaimList) []corev1.PersistentVolumeClaim { return l.Items }, &s.claims),
		list(ctx, s, ingresses, l.client.NetworkingV1().Ingresses(l.Namespace).List, func(l *networkingv1.IngressList) []networkingv1.Ingress { return l.Items }, &s.ingresses),
		func() error { return s.lookRoles(ctx) },
		func() error { return s.lookBindings(ctx) },
		func() error { return s.lookLeases(ctx) },
	} {
		group.Go(ask)
	}
	err = group.Wait()
	s.now = l.clock.Now()
	return s, err
}

func (s *seen) lookRoles(ctx context.Context) error {
	api := s.lab.client.RbacV1()
	if s.shared {
		return list(ctx, s, roles, api.Roles(s.namespace).List, func(l *rbacv1.RoleList) (all []role) {
			for _, r := range l.Items {
				all = append(all, role{"Role", r.Name, r.Rules})
			}
			return all
		}, &s.roles)()
	}
	return list(ctx, s, roles, api.ClusterRoles().List, func(l *rbacv1.ClusterRoleList) (all []role) {
		for _, r := range l.Items {
			if r.Labels[bootstrapping] == "" {
				all = append(all, role{"ClusterRole", r.Name, r.Rules})
			}
		}
		return all
	}, &s.roles)()
}

// bootstrapping is the label of Kubernetes's own roles.
const bootstrapping = "kubernetes.io/bootstrapping"

func (s *seen) lookBindings(ctx context.Context) error {
	api := s.lab.client.RbacV1()
	if s.shared {
		return list(ctx, s, bindings, api.RoleBindings(s.namespace).List, func(l *rbacv1.RoleBindingList) (all []binding) {
			for _, b := range l.Items {
				all = append(all, binding{"RoleBinding", b.Name, b.RoleRef, b.Subjects})
			}
			return all
		}, &s.bindings)()
	}
	return list(ctx, s, bindings, api.ClusterRoleBindings().List, func(l *rbacv1.ClusterRoleBindingList) (all []binding) {
		for _, b := range l.Items {
			if b.Labels[bootstrapping] == "" {
				all = append(all, binding{"ClusterRoleBinding", b.Name, b.RoleRef, b.Subjects})
			}
		}
		return all
	}, &s.bindings)()
}

// lookLeases asks for the leases by which the nodes, the scheduler and the controller
// manager say every few seconds that they are there: a cluster that was stopped and
// started tells at first what was true before that.
func (s *seen) lookLeases(ctx context.Context) error {
	for _, namespace := range []string{corev1.NamespaceNodeLease, metav1.NamespaceSystem} {
		found, err := s.lab.client.CoordinationV1().Leases(namespace).List(ctx, metav1.ListOptions{})
		if apierrors.IsForbidden(err) {
			return nil // a student on a shared cluster
		}
		if err != nil {
			return err
		}
		now := s.lab.clock.Now()
		for _, l := range found.Items {
			rules := l.Name == "kube-scheduler" || l.Name == "kube-controller-manager"
			if l.Spec.RenewTime == nil || namespace == metav1.NamespaceSystem && !rules {
				continue
			}
			s.leases = append(s.leases, lease{l.Name, now.Sub(l.Spec.RenewTime.Time)})
		}
	}
	return nil
}

// proxied asks a Service through the API server.
func (s *seen) proxied(ctx context.Context, service, path string, params map[string]string) ([]byte, error) {
	return s.lab.client.CoreV1().Services(s.namespace).ProxyGet("", service, "", path, params).DoRaw(ctx)
}

// appAnswer is what the app answers through its Service.
func (s *seen) appAnswer(ctx context.Context) ([]byte, error) {
	return s.answer.get(func() ([]byte, error) {
		body, err := s.proxied(ctx, course.Service, "/", nil)
		if err == nil && len(body) == 0 {
			err = errors.New("an empty answer")
		}
		return body, err
	})
}

const (
	tokenLifetime = time.Hour
	tokenUse      = 50 * time.Minute
)

// as is a client with a token of an account, so that the asker needs no right to
// review others.
func (s *seen) as(ctx context.Context, account *corev1.ServiceAccount) (kubernetes.Interface, error) {
	l := s.lab
	if l.tokenOf != string(account.UID) || time.Since(l.tokenAt) > tokenUse {
		life := int64(tokenLifetime / time.Second)
		made, err := l.client.CoreV1().ServiceAccounts(s.namespace).CreateToken(ctx, account.Name,
			&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &life}}, metav1.CreateOptions{})
		if err != nil {
			return nil, err
		}
		l.token, l.tokenOf, l.tokenAt = made.Status.Token, string(account.UID), time.Now()
	}
	config := rest.AnonymousClientConfig(l.config)
	config.Timeout, config.BearerToken = kubeclient.Timeout, l.token
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return counter{l, next} })
	return kubernetes.NewForConfig(config)
}
