// Package rbac grants a ServiceAccount what it needs and no more (course,
// chapter 4-2).
package rbac

import (
	"errors"
	"fmt"
	"slices"

	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	rbacv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/rbac/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"k8sbootcamp/components/kube"
)

// Type is the type token of an account.
const Type = "bootcamp:rbac:Account"

const apiGroup = "rbac.authorization.k8s.io"

// Verb is one thing that may be done with a resource.
type Verb string

// The verbs of the API. There is none for "all": a wildcard grants what nobody
// has read.
const (
	Get    Verb = "get"
	List   Verb = "list"
	Watch  Verb = "watch"
	Create Verb = "create"
	Update Verb = "update"
	Patch  Verb = "patch"
	Delete Verb = "delete"
)

// Read are the verbs of those who only look.
var Read = []Verb{Get, List, Watch}

var verbs = []Verb{Get, List, Watch, Create, Update, Patch, Delete}

// Rule allows verbs on resources of API groups ("" is the core group), or on
// URLs that are no resources; never both.
type Rule struct {
	APIGroups       []string
	Resources       []string // plural names, with "/sub" for a subresource
	NonResourceURLs []string
	Verbs           []Verb
}

// Validate reports every problem of a rule.
func (r Rule) Validate() error {
	var errs []error
	add := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	if len(r.Verbs) == 0 {
		add("a rule has no verbs")
	}
	for _, v := range r.Verbs {
		if !slices.Contains(verbs, v) {
			add("verb %q: allowed are %v", v, verbs)
		}
	}
	switch {
	case len(r.Resources) > 0 && len(r.NonResourceURLs) > 0:
		add("a rule is for resources or for URLs, not for both: %v, %v", r.Resources, r.NonResourceURLs)
	case len(r.Resources) > 0 && len(r.APIGroups) == 0:
		add("resources %v have no API group (\"\" is the core group)", r.Resources)
	case len(r.Resources) == 0 && len(r.NonResourceURLs) == 0:
		add("a rule has neither resources nor URLs")
	case len(r.NonResourceURLs) > 0 && len(r.APIGroups) > 0:
		add("URLs %v are of no API group, but %v is set", r.NonResourceURLs, r.APIGroups)
	}
	wild := func(what string, list []string) {
		for _, s := range list {
			for _, c := range s {
				if c == '*' {
					add("%s %q: a wildcard is not allowed, name what is needed", what, s)
					break
				}
			}
		}
	}
	wild("API group", r.APIGroups)
	wild("resource", r.Resources)
	wild("URL", r.NonResourceURLs)
	for _, s := range append(slices.Clone(r.Resources), r.NonResourceURLs...) {
		if s == "" {
			add("a rule names an empty resource or URL")
		}
	}
	return errors.Join(errs...)
}

func (r Rule) args() *rbacv1.PolicyRuleArgs {
	list := func(s []string) pulumi.StringArrayInput {
		if len(s) == 0 {
			return nil
		}
		return pulumi.ToStringArray(s)
	}
	names := make([]string, len(r.Verbs))
	for i, v := range r.Verbs {
		names[i] = string(v)
	}
	return &rbacv1.PolicyRuleArgs{
		ApiGroups:       list(r.APIGroups),
		Resources:       list(r.Resources),
		NonResourceURLs: list(r.NonResourceURLs),
		Verbs:           pulumi.ToStringArray(names),
	}
}

// Args describe an account.
type Args struct {
	Namespace string
	Name      string // of the ServiceAccount, the role and the binding
	Rules     []Rule // allowed in the whole cluster
}

// Validate reports every argument that cannot be used.
func (a *Args) Validate() error {
	var errs []error
	if a.Namespace == "" || a.Name == "" {
		errs = append(errs, fmt.Errorf("namespace %q and name %q must be set", a.Namespace, a.Name))
	}
	if len(a.Rules) == 0 {
		errs = append(errs, errors.New("an account without rules can do nothing"))
	}
	for i, r := range a.Rules {
		if err := r.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("rule %d: %w", i+1, err))
		}
	}
	return errors.Join(errs...)
}

// Account is a ServiceAccount with a ClusterRole bound to it.
type Account struct {
	pulumi.ResourceState

	Name pulumi.StringOutput `pulumi:"name"` // of the ServiceAccount, once all is bound
}

// New registers an account.
func New(ctx *pulumi.Context, name string, args *Args, opts ...pulumi.ResourceOption) (*Account, error) {
	if args == nil {
		return nil, errors.New("rbac.New: args are nil")
	}
	if err := args.Validate(); err != nil {
		return nil, fmt.Errorf("rbac.New %s: %w", name, err)
	}
	a := &Account{}
	if err := ctx.RegisterComponentResource(Type, name, a, opts...); err != nil {
		return nil, err
	}
	account, err := corev1.NewServiceAccount(ctx, name, &corev1.ServiceAccountArgs{
		Metadata: kube.Meta(args.Namespace, args.Name, args.Name),
	}, pulumi.Parent(a))
	if err != nil {
		return nil, err
	}
	var rules rbacv1.PolicyRuleArray
	for _, r := range args.Rules {
		rules = append(rules, r.args())
	}
	role, err := rbacv1.NewClusterRole(ctx, name, &rbacv1.ClusterRoleArgs{
		Metadata: kube.Meta("", args.Name, args.Name),
		Rules:    rules,
	}, pulumi.Parent(a))
	if err != nil {
		return nil, err
	}
	binding, err := rbacv1.NewClusterRoleBinding(ctx, name, &rbacv1.ClusterRoleBindingArgs{
		Metadata: kube.Meta("", args.Name, args.Name),
		RoleRef: &rbacv1.RoleRefArgs{
			ApiGroup: pulumi.String(apiGroup), Kind: pulumi.String("ClusterRole"), Name: role.Metadata.Name().Elem(),
		},
		Subjects: rbacv1.SubjectArray{&rbacv1.SubjectArgs{
			Kind: pulumi.String("ServiceAccount"), Name: account.Metadata.Name().Elem(), Namespace: pulumi.String(args.Namespace),
		}},
	}, pulumi.Parent(a))
	if err != nil {
		return nil, err
	}
	// The name is known at once; that it can do its work, only with the binding.
	a.Name = pulumi.All(account.Metadata.Name().Elem(), binding.Metadata.Name().Elem()).
		ApplyT(func(v []any) string { return v[0].(string) }).(pulumi.StringOutput)
	return a, ctx.RegisterResourceOutputs(a, pulumi.Map{"name": a.Name})
}
