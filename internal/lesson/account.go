package lesson

import (
	"context"
	"slices"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"k8sbootcamp/internal/course"
)

func accountExists(ctx context.Context, s *seen) (finding, error) {
	return s.exists(ctx, "ServiceAccount", corev1.SchemeGroupVersion.WithResource("serviceaccounts"), course.Prometheus,
		names(s.accounts, func(o corev1.ServiceAccount) string { return o.Name }))
}

// roleKind is the kind of role that Prometheus has: on a class's cluster one of the
// student's namespace.
func (s *seen) roleKind() string {
	if s.shared {
		return "Role"
	}
	return "ClusterRole"
}

func roleExists(ctx context.Context, s *seen) (finding, error) {
	kind := s.roleKind()
	return s.exists(ctx, kind, rbacv1.SchemeGroupVersion.WithResource(strings.ToLower(kind)+"s"), course.Prometheus,
		names(s.roles, func(r role) string { return r.name }))
}

// needs are the resources that Prometheus reads, of the core group; on a class's
// cluster the class grants the rest.
func (s *seen) needs() []string {
	if s.shared {
		return []string{"pods"}
	}
	return []string{"nodes", "services", "endpoints", "pods", "nodes/metrics"}
}

func roleAllows(_ context.Context, s *seen) (finding, error) {
	r := named(s.roles, course.Prometheus, func(r role) string { return r.name })
	var unnamed []string
	lacks := map[string][]string{} // resources by verb
	for _, resource := range s.needs() {
		verbs, found := r.verbs(resource)
		if !found {
			unnamed = append(unnamed, resource)
			continue
		}
		for _, verb := range []string{"get", "list", "watch"} {
			if !slices.Contains(verbs, verb) && !slices.Contains(verbs, rbacv1.VerbAll) {
				lacks[verb] = append(lacks[verb], resource)
			}
		}
	}
	if len(unnamed) > 0 {
		return wrong("%[1]s %[2]s: rules[].resources names nowhere %[3]s of the API group \"\": Prometheus cannot see them. Compare resources and apiGroups with the text.",
			"%[1]s %[2]s: rules[].resources にAPIグループ \"\" の %[3]s がありません。Prometheusから見えません。resources と apiGroups をテキストと見比べてください。", r.kind, r.name, unnamed)
	}
	for _, verb := range []string{"get", "list", "watch"} {
		if len(lacks[verb]) > 0 {
			return wrong("%[1]s %[2]s: rules[].verbs lacks %[3]s for %[4]s: Prometheus has to find them, and to hear of what changes. Compare verbs with the text.",
				"%[1]s %[2]s: %[4]s の rules[].verbs に %[3]s がありません。Prometheusは対象を探し、変化を知る必要があります。verbs をテキストと見比べてください。", r.kind, r.name, verb, lacks[verb])
		}
	}
	if !s.shared && !slices.ContainsFunc(r.rules, func(p rbacv1.PolicyRule) bool {
		return slices.Contains(p.NonResourceURLs, "/metrics") && (slices.Contains(p.Verbs, "get") || slices.Contains(p.Verbs, rbacv1.VerbAll))
	}) {
		return wrong("%[1]s %[2]s: no rule has nonResourceURLs /metrics with the verb get: the API server gives its metrics there. Compare with the text.",
			"%[1]s %[2]s: nonResourceURLs が /metrics で verb が get のルールがありません。APIサーバーのメトリクスはそこにあります。テキストと見比べてください。", r.kind, r.name)
	}
	return good()
}

// verbs are those that a role allows on a resource of the core group, and whether it
// names that at all.
func (r *role) verbs(resource string) (verbs []string, found bool) {
	for _, p := range r.rules {
		group := slices.Contains(p.APIGroups, "") || slices.Contains(p.APIGroups, rbacv1.APIGroupAll)
		named := slices.Contains(p.Resources, resource) || slices.Contains(p.Resources, rbacv1.ResourceAll)
		if group && named && len(p.ResourceNames) == 0 {
			verbs, found = append(verbs, p.Verbs...), true
		}
	}
	return verbs, found
}

func roleBound(ctx context.Context, s *seen) (finding, error) {
	const name = course.Prometheus
	kind := s.roleKind() + "Binding"
	f, err := s.exists(ctx, kind, rbacv1.SchemeGroupVersion.WithResource(strings.ToLower(kind)+"s"), name, names(s.bindings, func(b binding) string { return b.name }))
	if err != nil || f.state != OK {
		return f, err
	}
	b := named(s.bindings, name, func(b binding) string { return b.name })
	if b.role.Kind != s.roleKind() || b.role.Name != name {
		return wrong("%[1]s %[2]s: roleRef is %[3]s %[4]s, and the role to bind is %[5]s %[2]s: compare roleRef with the role's own name.",
			"%[1]s %[2]s: roleRef が %[3]s %[4]s ですが、紐づけるのは %[5]s %[2]s です。roleRef をロールの名前と見比べてください。", kind, name, b.role.Kind, b.role.Name, s.roleKind())
	}
	var have []string
	for _, of := range b.subjects {
		namespace := of.Namespace
		if of.Kind == rbacv1.ServiceAccountKind && of.Name == name && namespace == s.namespace {
			return good()
		}
		have = append(have, of.Kind+" "+namespace+"/"+of.Name)
	}
	return wrong("%[1]s %[2]s: subjects has %[3]s, and Prometheus's account is ServiceAccount %[4]s/%[2]s: compare kind, name and namespace.",
		"%[1]s %[2]s: subjects が %[3]s ですが、Prometheusのアカウントは ServiceAccount %[4]s/%[2]s です。kind、name、namespace を見比べてください。", kind, name, strings.Join(have, ", "), s.namespace)
}

// accountMay asks as Prometheus's account what it may do: to list pods, and not to
// delete them.
func accountMay(ctx context.Context, s *seen) (finding, error) {
	client, err := s.as(ctx, s.account(course.Prometheus))
	if apierrors.IsForbidden(err) {
		return finding{Skipped, say("This kubeconfig may not ask for a token of the account.", "このkubeconfigにはアカウントのトークンを作る権限がありません。")}, nil
	}
	if err != nil {
		return finding{}, err
	}
	for verb, want := range map[string]bool{"list": true, "delete": false} {
		review, err := client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
			Spec: authorizationv1.SelfSubjectAccessReviewSpec{
				ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: s.namespace, Verb: verb, Resource: "pods"},
			},
		}, metav1.CreateOptions{})
		switch {
		case err != nil:
			return finding{}, err
		case review.Status.Allowed == want:
		case want:
			return wrong("ServiceAccount %[1]s may not list pods in namespace %[2]s: look at its %[3]s and at what that binds.",
				"ServiceAccount %[1]s はネームスペース %[2]s のPodを list できません。%[3]s と、その紐づけを見てください。", course.Prometheus, s.namespace, s.roleKind()+"Binding")
		default:
			return wrong("ServiceAccount %[1]s may delete pods in namespace %[2]s, which Prometheus never does: look for what else binds it to a role.",
				"ServiceAccount %[1]s はネームスペース %[2]s のPodを delete できますが、Prometheusには不要です。ほかにどのロールに紐づいているか見てください。", course.Prometheus, s.namespace)
		}
	}
	return good()
}
