package topics

import (
	"errors"
	"fmt"

	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"k8sbootcamp/components/kube"
	"k8sbootcamp/components/secret"
	"k8sbootcamp/internal/course"
)

// SecretType is the type token of the topic secret.
const SecretType = "bootcamp:topics:Secret"

const (
	passwordKey  = "password" // of the Secret, and the file's name
	passwordDir  = "/etc/bootcamp"
	passwordPath = passwordDir + "/" + passwordKey
)

// SecretArgs describe the topic secret.
type SecretArgs struct{ Pods }

// Secret is a password that a pod has as a file and as a variable. Pulumi keeps it
// encrypted in the state; nothing prints it.
type Secret struct{ pulumi.ResourceState }

// NewSecret registers the topic secret.
func NewSecret(ctx *pulumi.Context, name string, args *SecretArgs, opts ...pulumi.ResourceOption) (*Secret, error) {
	if args == nil {
		return nil, errors.New("topics.NewSecret: args are nil")
	}
	if err := args.Validate(); err != nil {
		return nil, fmt.Errorf("topics.NewSecret %s: %w", name, err)
	}
	s := &Secret{}
	if err := ctx.RegisterComponentResource(SecretType, name, s, opts...); err != nil {
		return nil, err
	}
	password, err := secret.NewPassword(ctx, course.TopicSecret, pulumi.Parent(s))
	if err != nil {
		return nil, err
	}
	made, err := corev1.NewSecret(ctx, course.TopicSecret, &corev1.SecretArgs{
		Metadata:   kube.Meta(args.Namespace, course.TopicSecret, course.TopicSecret),
		Type:       pulumi.String("Opaque"),
		StringData: pulumi.StringMap{passwordKey: password},
	}, pulumi.Parent(s))
	if err != nil {
		return nil, err
	}
	object := made.Metadata.Name().Elem()

	// Only the owner reads the file, who is root; where the pod runs as another user, the
	// volume's group does.
	mode := 0o400
	if _, known := args.user(); known && args.Restricted {
		mode = 0o440
	}
	// agnhost looks at the file and says nothing of what is in it: once for the log, and
	// again to tell that the pod is ready.
	look := args.container("look", "mounttest", "--fs_type="+passwordDir, "--file_mode="+passwordPath)
	look.VolumeMounts = corev1.VolumeMountArray{kube.Mount("secret", passwordDir)}
	container := args.container("app", "pause")
	container.VolumeMounts = look.VolumeMounts
	container.Env = corev1.EnvVarArray{&corev1.EnvVarArgs{
		Name: pulumi.String("PASSWORD"), ValueFrom: &corev1.EnvVarSourceArgs{
			SecretKeyRef: &corev1.SecretKeySelectorArgs{Name: object, Key: pulumi.String(passwordKey)},
		},
	}}
	container.ReadinessProbe = &corev1.ProbeArgs{
		Exec:           &corev1.ExecActionArgs{Command: pulumi.ToStringArray([]string{"/agnhost", "mounttest", "--file_mode=" + passwordPath})},
		PeriodSeconds:  pulumi.Int(10),
		TimeoutSeconds: pulumi.Int(10), // a program is started, which a busy node takes its time for
	}
	pod := args.template(course.TopicSecret, &corev1.PodSpecArgs{
		InitContainers: corev1.ContainerArray{look},
		Containers:     corev1.ContainerArray{container},
		Volumes: corev1.VolumeArray{&corev1.VolumeArgs{
			Name: pulumi.String("secret"), Secret: &corev1.SecretVolumeSourceArgs{SecretName: object, DefaultMode: pulumi.Int(mode)},
		}},
	})
	if mode == 0o440 {
		args.group(pod)
	}
	if err := args.deployment(ctx, course.TopicSecret, pod, "", pulumi.Parent(s)); err != nil {
		return nil, err
	}
	return s, ctx.RegisterResourceOutputs(s, pulumi.Map{})
}
