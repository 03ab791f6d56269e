package topics

import (
	"errors"
	"fmt"
	"strings"

	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"k8sbootcamp/components/kube"
	"k8sbootcamp/internal/course"
)

// EnvType is the type token of the topic env.
const EnvType = "bootcamp:topics:Env"

// serveVariable is the variable whose value `agnhost porter` answers with, on port 8080.
const serveVariable = "SERVE_PORT_8080"

// EnvArgs describe the topic env.
type EnvArgs struct {
	Pods
	Greeting string // what the pod answers
}

// Validate reports every argument that cannot be used.
func (a *EnvArgs) Validate() error { return errors.Join(a.Pods.Validate(), checkGreeting(a.Greeting)) }

func checkGreeting(greeting string) error {
	if greeting == "" {
		return errors.New("the greeting is empty")
	}
	return nil
}

// Env is a pod that is told what to say by a variable of its environment.
type Env struct{ pulumi.ResourceState }

// NewEnv registers the topic env.
func NewEnv(ctx *pulumi.Context, name string, args *EnvArgs, opts ...pulumi.ResourceOption) (*Env, error) {
	if args == nil {
		return nil, errors.New("topics.NewEnv: args are nil")
	}
	if err := args.Validate(); err != nil {
		return nil, fmt.Errorf("topics.NewEnv %s: %w", name, err)
	}
	e := &Env{}
	if err := ctx.RegisterComponentResource(EnvType, name, e, opts...); err != nil {
		return nil, err
	}
	container := serves(args.container("porter", "porter"), course.TopicPort, "/")
	container.Env = corev1.EnvVarArray{
		kube.Variable(serveVariable, literal(args.Greeting)),
		// What only the cluster knows once the pod is there.
		field("POD_NAME", "metadata.name"),
		field("NODE_NAME", "spec.nodeName"),
	}
	pod := args.template(course.TopicEnv, &corev1.PodSpecArgs{Containers: corev1.ContainerArray{container}})
	if err := args.deployment(ctx, course.TopicEnv, pod, "", pulumi.Parent(e)); err != nil {
		return nil, err
	}
	if err := args.service(ctx, course.TopicEnv, course.TopicPort, false, pulumi.Parent(e)); err != nil {
		return nil, err
	}
	return e, ctx.RegisterResourceOutputs(e, pulumi.Map{})
}

// literal is a variable's value as it stands: Kubernetes puts other variables where a
// value has $(NAME), and takes $$ for $.
func literal(value string) string { return strings.ReplaceAll(value, "$", "$$") }

// field is a variable whose value is a field of the pod itself.
func field(name, path string) *corev1.EnvVarArgs {
	return &corev1.EnvVarArgs{Name: pulumi.String(name), ValueFrom: &corev1.EnvVarSourceArgs{
		FieldRef: &corev1.ObjectFieldSelectorArgs{FieldPath: pulumi.String(path)},
	}}
}
