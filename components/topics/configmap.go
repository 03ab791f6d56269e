package topics

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	metav1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/meta/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"k8sbootcamp/components/kube"
	"k8sbootcamp/internal/course"
)

// ConfigMapType is the type token of the topic configmap.
const ConfigMapType = "bootcamp:topics:ConfigMap"

const (
	greetingKey  = "greeting" // of the ConfigMap, and the file's name
	greetingDir  = "/config"
	greetingPath = greetingDir + "/" + greetingKey
)

// ConfigMapArgs describe the topic configmap.
type ConfigMapArgs struct {
	Pods
	Greeting string // what the ConfigMap holds
}

// Validate reports every argument that cannot be used.
func (a *ConfigMapArgs) Validate() error {
	return errors.Join(a.Pods.Validate(), checkGreeting(a.Greeting))
}

// ConfigMap is a ConfigMap with two readers: one has it as a file, which follows a change
// within a minute or so; the other as a variable, which needs a new pod.
type ConfigMap struct{ pulumi.ResourceState }

// NewConfigMap registers the topic configmap.
func NewConfigMap(ctx *pulumi.Context, name string, args *ConfigMapArgs, opts ...pulumi.ResourceOption) (*ConfigMap, error) {
	if args == nil {
		return nil, errors.New("topics.NewConfigMap: args are nil")
	}
	if err := args.Validate(); err != nil {
		return nil, fmt.Errorf("topics.NewConfigMap %s: %w", name, err)
	}
	c := &ConfigMap{}
	if err := ctx.RegisterComponentResource(ConfigMapType, name, c, opts...); err != nil {
		return nil, err
	}
	config, err := newConfigMap(ctx, args.Namespace, course.TopicConfigMap, greetingKey, args.Greeting, pulumi.Parent(c))
	if err != nil {
		return nil, err
	}

	// Without a rollout: a file of the whole directory, since one that is mounted with
	// subPath never changes.
	file := serves(args.container("files", "test-webserver", fmt.Sprintf("--port=%d", course.TopicPort)), course.TopicPort, greetingPath)
	file.VolumeMounts = corev1.VolumeMountArray{kube.Mount("config", greetingDir)}
	files := args.template(course.TopicConfigMap, &corev1.PodSpecArgs{
		Containers: corev1.ContainerArray{file},
		Volumes: corev1.VolumeArray{&corev1.VolumeArgs{
			Name: pulumi.String("config"), ConfigMap: &corev1.ConfigMapVolumeSourceArgs{Name: config},
		}},
	})

	// With a rollout: a variable is read when the container starts, so a hash of what it
	// holds makes another pod of another value.
	container := serves(args.container("porter", "porter"), course.TopicPort, "/")
	container.Env = corev1.EnvVarArray{&corev1.EnvVarArgs{
		Name: pulumi.String(serveVariable), ValueFrom: &corev1.EnvVarSourceArgs{
			ConfigMapKeyRef: &corev1.ConfigMapKeySelectorArgs{Name: config, Key: pulumi.String(greetingKey)},
		},
	}}
	variables := args.template(course.TopicConfigMapEnv, &corev1.PodSpecArgs{Containers: corev1.ContainerArray{container}})
	variables.Metadata.(*metav1.ObjectMetaArgs).Annotations = checksum(args.Greeting)

	for _, w := range []struct {
		name string
		pod  *corev1.PodTemplateSpecArgs
	}{{course.TopicConfigMap, files}, {course.TopicConfigMapEnv, variables}} {
		if err := args.deployment(ctx, w.name, w.pod, "", pulumi.Parent(c)); err != nil {
			return nil, err
		}
		if err := args.service(ctx, w.name, course.TopicPort, false, pulumi.Parent(c)); err != nil {
			return nil, err
		}
	}
	return c, ctx.RegisterResourceOutputs(c, pulumi.Map{})
}

// checksum is an annotation that is another for another text.
func checksum(text string) pulumi.StringMap {
	sum := sha256.Sum256([]byte(text))
	return pulumi.StringMap{"checksum/config": pulumi.String(hex.EncodeToString(sum[:]))}
}
