package topics

import (
	"errors"
	"fmt"

	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"k8sbootcamp/components/kube"
	"k8sbootcamp/internal/course"
)

// VolumeType is the type token of the topic volume.
const VolumeType = "bootcamp:topics:Volume"

const volumeDir = "/data"

// VolumeArgs describe the topic volume.
type VolumeArgs struct{ Pods }

// Volume is a claim and a pod that leaves a file of its own name in it, and shows the files
// of all before it.
type Volume struct{ pulumi.ResourceState }

// NewVolume registers the topic volume.
func NewVolume(ctx *pulumi.Context, name string, args *VolumeArgs, opts ...pulumi.ResourceOption) (*Volume, error) {
	if args == nil {
		return nil, errors.New("topics.NewVolume: args are nil")
	}
	if err := args.Validate(); err != nil {
		return nil, fmt.Errorf("topics.NewVolume %s: %w", name, err)
	}
	v := &Volume{}
	if err := ctx.RegisterComponentResource(VolumeType, name, v, opts...); err != nil {
		return nil, err
	}
	meta := kube.Meta(args.Namespace, course.TopicVolume, course.TopicVolume)
	// kind's class, and most clouds', finds a disk when the first pod asks for it, and the
	// pod is made after the claim: whoever waits for the claim waits for ever.
	meta.Annotations = pulumi.StringMap{kube.SkipAwait: pulumi.String("true")}
	made, err := corev1.NewPersistentVolumeClaim(ctx, course.TopicVolume, &corev1.PersistentVolumeClaimArgs{
		Metadata: meta, Spec: claim(),
	}, pulumi.Parent(v))
	if err != nil {
		return nil, err
	}
	write := args.container("write", "mounttest", "--new_file_0644="+volumeDir+"/$(POD_NAME)")
	write.Env = corev1.EnvVarArray{field("POD_NAME", "metadata.name")}
	write.VolumeMounts = corev1.VolumeMountArray{kube.Mount("data", volumeDir)}
	show := serves(args.container("show", "test-webserver", fmt.Sprintf("--port=%d", course.TopicPort)), course.TopicPort, volumeDir+"/")
	show.VolumeMounts = write.VolumeMounts
	pod := args.group(args.template(course.TopicVolume, &corev1.PodSpecArgs{
		InitContainers: corev1.ContainerArray{write},
		Containers:     corev1.ContainerArray{show},
		Volumes: corev1.VolumeArray{&corev1.VolumeArgs{
			Name: pulumi.String("data"), PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSourceArgs{ClaimName: made.Metadata.Name().Elem()},
		}},
	}))
	// One node at a time has the disk, so the old pod goes before the new one comes.
	if err := args.deployment(ctx, course.TopicVolume, pod, "Recreate", pulumi.Parent(v)); err != nil {
		return nil, err
	}
	if err := args.service(ctx, course.TopicVolume, course.TopicPort, false, pulumi.Parent(v)); err != nil {
		return nil, err
	}
	return v, ctx.RegisterResourceOutputs(v, pulumi.Map{})
}

// claim asks for a disk of the cluster's default StorageClass, for one node at a time.
func claim() *corev1.PersistentVolumeClaimSpecArgs {
	return &corev1.PersistentVolumeClaimSpecArgs{
		AccessModes: pulumi.ToStringArray([]string{"ReadWriteOnce"}),
		Resources:   &corev1.VolumeResourceRequirementsArgs{Requests: pulumi.StringMap{"storage": pulumi.String(ClaimSize)}},
	}
}
