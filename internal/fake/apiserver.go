package fake

import (
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// APIServer is a Kubernetes API server in memory, over HTTPS. It knows the lab's
// kinds; it gets, lists (by labels), makes, replaces (also in a dry run), patches (by
// merging), applies (by merging, whoever owns a field) and deletes objects; it gives a
// token of an account and asks for none. It sets no defaults. Nothing happens in it by
// itself, but that what is deleted stays while finalizers, the grace of a pod (over a
// minute) or, of a namespace, what is in it keep it.
type APIServer struct {
	URL string
	// Allowed tells what the bearer of a token may do; where it is nil, all may get,
	// list and watch.
	Allowed func(token string, a *authorizationv1.ResourceAttributes) bool
	// Created sees each object that a client makes, and may add what a cluster would,
	// such as a pod's status; nil does nothing.
	Created func(o *unstructured.Unstructured)
	// Ahead is by how much its clock is before this machine's.
	Ahead time.Duration
	// Refuses tells with which status code the replacement of an object is refused, 0 for
	// none; nil refuses none.
	Refuses func(was, now *unstructured.Unstructured) int

	authority []byte // PEM

	mu      sync.Mutex
	answers map[string]http.HandlerFunc // by "METHOD PATH"
	objects []*unstructured.Unstructured
	made    int
}

// kinds are those that the server knows.
var kinds = []struct {
	group, version, resource, kind string
	namespaced                     bool
}{
	{"", "v1", "namespaces", "Namespace", false},
	{"", "v1", "nodes", "Node", false},
	{"", "v1", "pods", "Pod", true},
	{"", "v1", "events", "Event", true},
	{"", "v1", "services", "Service", true},
	{"", "v1", "configmaps", "ConfigMap", true},
	{"", "v1", "serviceaccounts", "ServiceAccount", true},
	{"", "v1", "resourcequotas", "ResourceQuota", true},
	{"", "v1", "limitranges", "LimitRange", true},
	{"", "v1", "secrets", "Secret", true},
	{"", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", true},
	{"apps", "v1", "deployments", "Deployment", true},
	{"apps", "v1", "daemonsets", "DaemonSet", true},
	{"apps", "v1", "statefulsets", "StatefulSet", true},
	{"", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", true},
	{"networking.k8s.io", "v1", "ingresses", "Ingress", true},
	{"apps", "v1", "replicasets", "ReplicaSet", true},
	{"coordination.k8s.io", "v1", "leases", "Lease", true},
	{"discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", true},
	{"networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", true},
	{"rbac.authorization.k8s.io", "v1", "roles", "Role", true},
	{"rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding", true},
	{"rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", false},
	{"rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", false},
	{"admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations", "ValidatingWebhookConfiguration", false},
	{"admissionregistration.k8s.io", "v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy", false},
	{"admissionregistration.k8s.io", "v1", "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", false},
}

// NewAPIServer starts a server with objects, each as JSON with apiVersion, kind and
// metadata.name, beside the Service that each makes of itself; the test's end stops it.
func NewAPIServer(t testing.TB, objects ...string) *APIServer {
	t.Helper()
	s := &APIServer{answers: map[string]http.HandlerFunc{}}
	server := httptest.NewTLSServer(http.HandlerFunc(s.serve))
	t.Cleanup(server.Close)
	s.URL = server.URL
	s.authority = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	s.Put(t, `{"apiVersion":"v1","kind":"Service","metadata":{"name":"kubernetes","namespace":"default"}}`)
	s.Put(t, objects...)
	return s
}

// Put makes objects, or replaces those that there are.
func (s *APIServer) Put(t testing.TB, objects ...string) {
	t.Helper()
	for _, text := range objects {
		o := &unstructured.Unstructured{}
		if err := o.UnmarshalJSON([]byte(text)); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		p, ok := pathOf(o)
		if !ok || o.GetName() == "" {
			t.Fatalf("an object without a name, or of a kind that fake.APIServer does not know: %s", text)
		}
		s.mu.Lock()
		s.remove(p)
		s.add(o)
		s.mu.Unlock()
	}
}

// Delete takes an object away, by its path.
func (s *APIServer) Delete(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(path)
}

// Has tells whether an object is there, by its path: "/api/v1/nodes/NAME",
// "/apis/apps/v1/namespaces/NAMESPACE/deployments/NAME".
func (s *APIServer) Has(path string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.find(path) != nil
}

// Get returns a copy of an object, by its path as Has has it; nil where it is not there.
func (s *APIServer) Get(path string) *unstructured.Unstructured {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.find(path); o != nil {
		return o.DeepCopy()
	}
	return nil
}

// Answer has a request ("GET /api/v1/nodes") answered by a function.
func (s *APIServer) Answer(request string, with http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[strings.TrimSuffix(request, "/")] = with
}

// Fail has a request answered with an error of a status code, as an API server
// words it.
func (s *APIServer) Fail(request string, code int) {
	s.Answer(request, func(w http.ResponseWriter, _ *http.Request) { fail(w, code) })
}

// Say has a request answered with a text, as a proxied Service does.
func (s *APIServer) Say(request, text string) {
	s.Answer(request, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) })
}

// Kubeconfig leads to the server, by the context of this name.
func (s *APIServer) Kubeconfig(context string) []byte {
	out, err := clientcmd.Write(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{context: {Server: s.URL, CertificateAuthorityData: s.authority}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{context: {}},
		Contexts:       map[string]*clientcmdapi.Context{context: {Cluster: context, AuthInfo: context}},
		CurrentContext: context,
	})
	if err != nil {
		panic(err)
	}
	return out
}

// Config is a client configuration for the server.
func (s *APIServer) Config() *rest.Config {
	return &rest.Config{Host: s.URL, TLSClientConfig: rest.TLSClientConfig{CAData: s.authority}}
}

func (s *APIServer) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Date", time.Now().Add(s.Ahead).UTC().Format(http.TimeFormat))
	s.mu.Lock()
	answer := s.answers[strings.TrimSuffix(r.Method+" "+r.URL.Path, "/")]
	s.mu.Unlock()
	if answer != nil {
		answer(w, r)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch r.Method {
	case http.MethodGet:
		if found := discovery(r.URL.Path); found != nil {
			write(w, http.StatusOK, found)
		} else if o := s.find(r.URL.Path); o != nil {
			write(w, http.StatusOK, o)
		} else if list := s.list(r.URL.Path, r.URL.Query().Get("labelSelector")); list != nil {
			write(w, http.StatusOK, list)
		} else {
			fail(w, http.StatusNotFound)
		}
	case http.MethodPost:
		s.post(w, r)
	case http.MethodDelete:
		options := &metav1.DeleteOptions{}
		if sent, err := decode(r); err == nil { // there may be none
			options, _ = sent.(*metav1.DeleteOptions)
		}
		o := s.find(r.URL.Path)
		switch {
		case o == nil:
			list := s.list(r.URL.Path, r.URL.Query().Get("labelSelector"))
			if list == nil {
				fail(w, http.StatusNotFound)
				return
			}
			for _, o := range list.Items {
				s.end(&o, nil)
			}
		case options != nil && options.Preconditions != nil && options.Preconditions.UID != nil && *options.Preconditions.UID != o.GetUID():
			fail(w, http.StatusConflict)
			return
		default:
			s.end(o, options)
		}
		write(w, http.StatusOK, metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusSuccess})
	case http.MethodPut:
		s.replace(w, r)
	case http.MethodPatch:
		s.patch(w, r)
	default:
		fail(w, http.StatusMethodNotAllowed)
	}
}

// replace puts an object in the place of one that is there.
func (s *APIServer) replace(w http.ResponseWriter, r *http.Request) {
	was, now := s.find(r.URL.Path), &unstructured.Unstructured{}
	body, err := io.ReadAll(r.Body)
	if err = errors.Join(err, now.UnmarshalJSON(body)); err != nil {
		fail(w, http.StatusBadRequest)
		return
	}
	switch {
	case was == nil:
		fail(w, http.StatusNotFound)
		return
	case now.GetUID() != "" && now.GetUID() != was.GetUID(), now.GetResourceVersion() != "" && now.GetResourceVersion() != was.GetResourceVersion():
		fail(w, http.StatusConflict)
		return
	}
	if s.Refuses != nil {
		if code := s.Refuses(was, now); code != 0 {
			fail(w, code)
			return
		}
	}
	now.SetUID(was.GetUID())
	now.SetCreationTimestamp(was.GetCreationTimestamp())
	if status, has := was.Object["status"]; has {
		now.Object["status"] = status
	}
	if len(r.URL.Query()["dryRun"]) == 0 {
		s.changed(now)
		was.Object = now.Object
	}
	write(w, http.StatusOK, now)
}

// patch merges into an object; what is applied need not be there.
func (s *APIServer) patch(w http.ResponseWriter, r *http.Request) {
	o, patch := s.find(r.URL.Path), map[string]any{}
	applied := r.Header.Get("Content-Type") == string(types.ApplyYAMLPatchType) || r.Header.Get("Content-Type") == string(types.ApplyCBORPatchType)
	merged := r.Header.Get("Content-Type") == string(types.MergePatchType)
	if err := json.NewDecoder(r.Body).Decode(&patch); err != nil || !applied && !merged {
		fail(w, http.StatusBadRequest)
		return
	}
	if o == nil && !applied {
		fail(w, http.StatusNotFound)
		return
	}
	if o == nil {
		o = &unstructured.Unstructured{Object: patch}
		if s.Created != nil {
			s.Created(o)
		}
		s.add(o)
		write(w, http.StatusCreated, o)
		return
	}
	is := map[string]string{"uid": string(o.GetUID()), "resourceVersion": o.GetResourceVersion()}
	for field, value := range is {
		if said, found, _ := unstructured.NestedString(patch, "metadata", field); found && said != value {
			fail(w, http.StatusConflict)
			return
		}
	}
	merge(o.Object, patch)
	s.changed(o)
	write(w, http.StatusOK, o)
	s.sweep()
}

// changed gives an object another version.
func (s *APIServer) changed(o *unstructured.Unstructured) {
	s.made++
	o.SetResourceVersion(fmt.Sprint(s.made))
}

// end begins the deletion of an object.
func (s *APIServer) end(o *unstructured.Unstructured, options *metav1.DeleteOptions) {
	p, _ := pathOf(o)
	if o = s.find(p); o == nil {
		return
	}
	now := metav1.Now()
	o.SetDeletionTimestamp(&now)
	if options != nil && options.GracePeriodSeconds != nil {
		o.SetDeletionGracePeriodSeconds(options.GracePeriodSeconds)
	}
	if o.GetKind() == "Namespace" {
		for _, in := range slices.Clone(s.objects) {
			if in.GetNamespace() == o.GetName() {
				s.end(in, nil)
			}
		}
	}
	s.sweep()
}

// sweep takes away what was deleted and is kept by nothing.
func (s *APIServer) sweep() {
	before := len(s.objects)
	s.objects = slices.DeleteFunc(s.objects, func(o *unstructured.Unstructured) bool {
		grace, found, _ := unstructured.NestedFieldNoCopy(o.Object, "spec", "terminationGracePeriodSeconds")
		given := o.GetDeletionGracePeriodSeconds()
		slow := o.GetKind() == "Pod" && found && len(fmt.Sprint(grace)) > 2 && (given == nil || *given > 60)
		full := o.GetKind() == "Namespace" && slices.ContainsFunc(s.objects, func(in *unstructured.Unstructured) bool { return in.GetNamespace() == o.GetName() })
		return o.GetDeletionTimestamp() != nil && len(o.GetFinalizers()) == 0 && !slow && !full
	})
	if len(s.objects) < before { // a namespace may be empty now
		s.sweep()
	}
}

// merge is a JSON merge patch (RFC 7396).
func merge(into, patch map[string]any) {
	for k, v := range patch {
		inner, isMap := v.(map[string]any)
		have, hasMap := into[k].(map[string]any)
		switch {
		case v == nil:
			delete(into, k)
		case isMap && hasMap:
			merge(have, inner)
		default:
			into[k] = v
		}
	}
}

// post makes an object, gives a token, or tells what an account may do.
func (s *APIServer) post(w http.ResponseWriter, r *http.Request) {
	sent, err := decode(r)
	if err != nil {
		fail(w, http.StatusBadRequest)
		return
	}
	switch sent := sent.(type) {
	case *authenticationv1.TokenRequest:
		account := s.find(strings.TrimSuffix(r.URL.Path, "/token"))
		if account == nil {
			fail(w, http.StatusNotFound)
			return
		}
		if len(sent.Spec.Audiences) == 0 {
			sent.Spec.Audiences = []string{Audience}
		}
		sent.Status.Token = Token(account.GetNamespace(), account.GetName())
		write(w, http.StatusCreated, sent)
	case *authorizationv1.SelfSubjectAccessReview:
		allowed := s.Allowed
		if allowed == nil {
			allowed = readOnly
		}
		sent.Status.Allowed = allowed(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), sent.Spec.ResourceAttributes)
		write(w, http.StatusCreated, sent)
	default:
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(sent)
		o := &unstructured.Unstructured{Object: content}
		if o.GetName() == "" && o.GetGenerateName() != "" {
			o.SetName(fmt.Sprintf("%s%d", o.GetGenerateName(), s.made))
		}
		if namespace, _, in := strings.Cut(strings.TrimPrefix(r.URL.Path, "/api/v1/namespaces/"), "/"); in && o.GetNamespace() == "" {
			o.SetNamespace(namespace)
		}
		p, ok := pathOf(o)
		switch {
		case err != nil || !ok || !strings.HasPrefix(p, r.URL.Path+"/"):
			fail(w, http.StatusBadRequest)
		case s.find(p) != nil:
			fail(w, http.StatusConflict)
		default:
			if s.Created != nil {
				s.Created(o)
			}
			s.add(o)
			write(w, http.StatusCreated, o)
		}
	}
}

// Audience is the server's own: what a token is for where none was asked for.
const Audience = "https://kubernetes.default.svc"

// Token is that of an account.
func Token(namespace, account string) string { return "token-of-" + namespace + "-" + account }

func readOnly(_ string, a *authorizationv1.ResourceAttributes) bool {
	return a != nil && slices.Contains([]string{"get", "list", "watch"}, a.Verb)
}

// decode reads what a client sent, in whichever notation.
func decode(r *http.Request) (runtime.Object, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	out, _, err := scheme.Codecs.UniversalDeserializer().Decode(body, nil, nil)
	return out, err
}

func (s *APIServer) add(o *unstructured.Unstructured) {
	s.made++
	if o.GetUID() == "" {
		o.SetUID(types.UID(fmt.Sprintf("uid-%d", s.made)))
	}
	s.objects = append(s.objects, o)
}

func (s *APIServer) remove(path string) {
	s.objects = slices.DeleteFunc(s.objects, func(o *unstructured.Unstructured) bool { return is(o, path) })
}

func (s *APIServer) find(path string) *unstructured.Unstructured {
	i := slices.IndexFunc(s.objects, func(o *unstructured.Unstructured) bool { return is(o, path) })
	if i < 0 {
		return nil
	}
	return s.objects[i]
}

func is(o *unstructured.Unstructured, path string) bool {
	p, _ := pathOf(o)
	return p == path
}

// list is what a path has below it, nil where it is none of a list.
func (s *APIServer) list(path, selector string) *unstructured.UnstructuredList {
	wanted, err := labels.Parse(selector)
	if err != nil {
		return nil
	}
	for _, k := range kinds {
		gv := schema.GroupVersion{Group: k.group, Version: k.version}
		namespace, inOne := strings.CutPrefix(path, root(gv)+"/namespaces/")
		namespace, ofKind := strings.CutSuffix(namespace, "/"+k.resource)
		inOne = inOne && ofKind && k.namespaced && !strings.Contains(namespace, "/")
		if !inOne && path != root(gv)+"/"+k.resource {
			continue
		}
		list := &unstructured.UnstructuredList{}
		list.SetAPIVersion(gv.String())
		list.SetKind(k.kind + "List")
		for _, o := range s.objects {
			if o.GroupVersionKind() == gv.WithKind(k.kind) && (!inOne || o.GetNamespace() == namespace) && wanted.Matches(labels.Set(o.GetLabels())) {
				list.Items = append(list.Items, *o)
			}
		}
		return list
	}
	return nil
}

// pathOf is where an object is.
func pathOf(o *unstructured.Unstructured) (string, bool) {
	of := o.GroupVersionKind()
	for _, k := range kinds {
		if k.kind != of.Kind || k.group != of.Group || k.version != of.Version {
			continue
		}
		at := root(of.GroupVersion())
		if k.namespaced {
			at += "/namespaces/" + o.GetNamespace()
		}
		return at + "/" + k.resource + "/" + o.GetName(), true
	}
	return "", false
}

func root(gv schema.GroupVersion) string {
	if gv.Group == "" {
		return "/api/" + gv.Version
	}
	return "/apis/" + gv.String()
}

// discovery is what the server says of itself, nil for any other path.
func discovery(path string) any {
	groups, resources := metav1.APIGroupList{}, map[string]*metav1.APIResourceList{}
	for _, k := range kinds {
		gv := schema.GroupVersion{Group: k.group, Version: k.version}
		list := resources[root(gv)]
		if list == nil {
			list = &metav1.APIResourceList{GroupVersion: gv.String()}
			resources[root(gv)] = list
			if k.group != "" {
				v := metav1.GroupVersionForDiscovery{GroupVersion: gv.String(), Version: gv.Version}
				groups.Groups = append(groups.Groups, metav1.APIGroup{Name: k.group, Versions: []metav1.GroupVersionForDiscovery{v}, PreferredVersion: v})
			}
		}
		list.APIResources = append(list.APIResources, metav1.APIResource{
			Name: k.resource, Kind: k.kind, Namespaced: k.namespaced, Verbs: metav1.Verbs{"get", "list", "create", "update", "patch", "delete"},
		})
	}
	switch path {
	case "/version":
		return version.Info{Major: "1", Minor: "34"}
	case "/api":
		return metav1.APIVersions{Versions: []string{"v1"}}
	case "/apis":
		return groups
	}
	if list := resources[path]; list != nil {
		return list
	}
	return nil
}

func write(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // a client that has gone hears nothing
}

// reasons are an API server's of its errors.
var reasons = map[int]metav1.StatusReason{
	http.StatusBadRequest:          metav1.StatusReasonBadRequest,
	http.StatusUnauthorized:        metav1.StatusReasonUnauthorized,
	http.StatusForbidden:           metav1.StatusReasonForbidden,
	http.StatusNotFound:            metav1.StatusReasonNotFound,
	http.StatusMethodNotAllowed:    metav1.StatusReasonMethodNotAllowed,
	http.StatusConflict:            metav1.StatusReasonConflict,
	http.StatusUnprocessableEntity: metav1.StatusReasonInvalid,
	http.StatusInternalServerError: metav1.StatusReasonInternalError,
	http.StatusServiceUnavailable:  metav1.StatusReasonServiceUnavailable,
}

func fail(w http.ResponseWriter, code int) {
	write(w, code, metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
		Status:   metav1.StatusFailure, Reason: reasons[code], Code: int32(code), Message: strings.ToLower(http.StatusText(code)),
	})
}
