// Package rbac grants a ServiceAccount what it needs and no more (course,
// chapter 4-2).
//
// Its tests are in tests/.
package rbac

import (
	"errors"
	"fmt"
	"slices"

	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	metav1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/meta/v1"
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
	ResourceNames   []string // only these objects; empty is all
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
	case len(r.NonResourceURLs) > 0 && len(r.ResourceNames) > 0:
		add("URLs %v have no resource names, but %v is set", r.NonResourceURLs, r.ResourceNames)
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
	wild("resource name", r.ResourceNames)
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
		ResourceNames:   list(r.ResourceNames),
		NonResourceURLs: list(r.NonResourceURLs),
		Verbs:           pulumi.ToStringArray(names),
	}
}

// policy makes the rules of a role, cluster-wide or not.
func policy(rules []Rule) rbacv1.PolicyRuleArray {
	var out rbacv1.PolicyRuleArray
	for _, r := range rules {
		out = append(out, r.args())
	}
	return out
}

// ValidateRules reports every problem of every rule.
func ValidateRules(rules []Rule) error {
	var errs []error
	for i, r := range rules {
		if err := r.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("rule %d: %w", i+1, err))
		}
	}
	return errors.Join(errs...)
}

// Args describe an account.
type Args struct {
	Namespace string
	Name      string // of the ServiceAccount, the role and the binding
	Rules     []Rule
	// NamespaceOnly allows the rules in the namespace (a Role); without it they
	// hold in the whole cluster (a ClusterRole, as the course has it).
	NamespaceOnly bool
	// Of is an account of another namespace that is there already, to which the role is
	// bound; without it one is made.
	Of *Subject
}

// Subject is a ServiceAccount.
type Subject struct{ Namespace, Name pulumi.StringInput }

// Validate reports every argument that cannot be used.
func (a *Args) Validate() error {
	var errs []error
	if a.Namespace == "" || a.Name == "" {
		errs = append(errs, fmt.Errorf("namespace %q and name %q must be set", a.Namespace, a.Name))
	}
	if len(a.Rules) == 0 {
		errs = append(errs, errors.New("an account without rules can do nothing"))
	}
	errs = append(errs, ValidateRules(a.Rules))
	for i, r := range a.Rules {
		if a.NamespaceOnly && len(r.NonResourceURLs) > 0 {
			errs = append(errs, fmt.Errorf("rule %d: URLs %v are of no namespace", i+1, r.NonResourceURLs))
		}
	}
	return errors.Join(errs...)
}

// Account is a ServiceAccount with a role bound to it.
type Account struct {
	pulumi.ResourceState

	Name pulumi.StringOutput `pulumi:"name"` // of the ServiceAccount, once all is bound
	UID  pulumi.StringOutput `pulumi:"uid"`  // another one is another account; empty for one that was there
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
	of, uid := args.Of, pulumi.String("").ToStringOutput()
	if of == nil {
		account, err := newServiceAccount(ctx, name, args.Namespace, args.Name, pulumi.Parent(a))
		if err != nil {
			return nil, err
		}
		of, uid = &Subject{pulumi.String(args.Namespace), account.Metadata.Name().Elem()}, account.Metadata.Uid().Elem()
	}
	subject := &rbacv1.SubjectArgs{Kind: pulumi.String("ServiceAccount"), Name: of.Name, Namespace: of.Namespace}
	bind := bindCluster
	if args.NamespaceOnly {
		bind = bindNamespace
	}
	bound, err := bind(ctx, name, args, subject, pulumi.Parent(a))
	if err != nil {
		return nil, err
	}
	// The name is known at once; that it can do its work, only with the binding.
	a.Name = pulumi.All(of.Name, bound).
		ApplyT(func(v []any) string { return v[0].(string) }).(pulumi.StringOutput)
	a.UID = uid
	return a, ctx.RegisterResourceOutputs(a, pulumi.Map{"name": a.Name, "uid": a.UID})
}

// bindCluster and bindNamespace register the role and its binding, and return
// the binding's name.
func bindCluster(ctx *pulumi.Context, name string, args *Args, subject *rbacv1.SubjectArgs, opts ...pulumi.ResourceOption) (pulumi.StringOutput, error) {
	role, err := rbacv1.NewClusterRole(ctx, name, &rbacv1.ClusterRoleArgs{
		Metadata: kube.Meta("", args.Name, args.Name), Rules: policy(args.Rules),
	}, opts...)
	if err != nil {
		return pulumi.StringOutput{}, err
	}
	binding, err := rbacv1.NewClusterRoleBinding(ctx, name, &rbacv1.ClusterRoleBindingArgs{
		Metadata: kube.Meta("", args.Name, args.Name),
		RoleRef:  roleRef("ClusterRole", role.Metadata.Name().Elem()),
		Subjects: rbacv1.SubjectArray{subject},
	}, opts...)
	if err != nil {
		return pulumi.StringOutput{}, err
	}
	return binding.Metadata.Name().Elem(), nil
}

func bindNamespace(ctx *pulumi.Context, name string, args *Args, subject *rbacv1.SubjectArgs, opts ...pulumi.ResourceOption) (pulumi.StringOutput, error) {
	role, err := rbacv1.NewRole(ctx, name, &rbacv1.RoleArgs{
		Metadata: kube.Meta(args.Namespace, args.Name, args.Name), Rules: policy(args.Rules),
	}, opts...)
	if err != nil {
		return pulumi.StringOutput{}, err
	}
	binding, err := rbacv1.NewRoleBinding(ctx, name, &rbacv1.RoleBindingArgs{
		Metadata: kube.Meta(args.Namespace, args.Name, args.Name),
		RoleRef:  roleRef("Role", role.Metadata.Name().Elem()),
		Subjects: rbacv1.SubjectArray{subject},
	}, opts...)
	if err != nil {
		return pulumi.StringOutput{}, err
	}
	return binding.Metadata.Name().Elem(), nil
}

func roleRef(kind string, name pulumi.StringInput) *rbacv1.RoleRefArgs {
	return &rbacv1.RoleRefArgs{ApiGroup: pulumi.String(apiGroup), Kind: pulumi.String(kind), Name: name}
}

func newServiceAccount(ctx *pulumi.Context, name, namespace, account string, opts ...pulumi.ResourceOption) (*corev1.ServiceAccount, error) {
	return corev1.NewServiceAccount(ctx, name, &corev1.ServiceAccountArgs{Metadata: kube.Meta(namespace, account, account)}, opts...)
}

// NewServiceAccount registers an account to which others bind their roles, and returns
// its name.
func NewServiceAccount(ctx *pulumi.Context, name, namespace string, opts ...pulumi.ResourceOption) (pulumi.StringOutput, error) {
	account, err := newServiceAccount(ctx, name, namespace, name, opts...)
	if err != nil {
		return pulumi.StringOutput{}, err
	}
	return account.Metadata.Name().Elem(), nil
}

// NewClusterRole registers a ClusterRole that others bind to.
func NewClusterRole(ctx *pulumi.Context, name string, meta *metav1.ObjectMetaArgs, rules []Rule, opts ...pulumi.ResourceOption) error {
	if err := ValidateRules(rules); err != nil {
		return fmt.Errorf("rbac.NewClusterRole %s: %w", name, err)
	}
	_, err := rbacv1.NewClusterRole(ctx, name, &rbacv1.ClusterRoleArgs{Metadata: meta, Rules: policy(rules)}, opts...)
	return err
}

// BindClusterRole registers a binding of a ClusterRole that is there already to
// ServiceAccounts.
func BindClusterRole(ctx *pulumi.Context, name string, meta *metav1.ObjectMetaArgs, role string, accounts []Subject, opts ...pulumi.ResourceOption) error {
	var subjects rbacv1.SubjectArray
	for _, a := range accounts {
		subjects = append(subjects, &rbacv1.SubjectArgs{Kind: pulumi.String("ServiceAccount"), Name: a.Name, Namespace: a.Namespace})
	}
	_, err := rbacv1.NewClusterRoleBinding(ctx, name, &rbacv1.ClusterRoleBindingArgs{
		Metadata: meta, RoleRef: roleRef("ClusterRole", pulumi.String(role)), Subjects: subjects,
	}, opts...)
	return err
}
