package topics

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/common/model"
	appsv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/apps/v1"
	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	metav1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/meta/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"go.yaml.in/yaml/v3"

	"k8sbootcamp/components/kube"
	"k8sbootcamp/internal/course"
)

// StatefulSetType is the type token of the topic statefulset.
const StatefulSetType = "bootcamp:topics:StatefulSet"

// DatabaseSize is that of the database's pod.
var DatabaseSize = kube.Size{CPU: "50m", Memory: "96Mi", CPULimit: "500m", MemoryLimit: "256Mi"}

const (
	databaseConfigDir  = "/etc/database"
	databaseConfigFile = "prometheus.yml"
	databaseDir        = "/data"
	databaseRetention  = "512MB" // of what the claim has; the write-ahead log is beside it
)

// StatefulSetArgs describe the topic statefulset. The image is Prometheus: a database that
// the lab has already, and that fills itself.
type StatefulSetArgs struct{ Pods }

// StatefulSet is a small database whose data outlives its pod and its node's restart.
type StatefulSet struct{ pulumi.ResourceState }

// NewStatefulSet registers the topic statefulset.
func NewStatefulSet(ctx *pulumi.Context, name string, args *StatefulSetArgs, opts ...pulumi.ResourceOption) (*StatefulSet, error) {
	if args == nil {
		return nil, errors.New("topics.NewStatefulSet: args are nil")
	}
	if err := args.Validate(); err != nil {
		return nil, fmt.Errorf("topics.NewStatefulSet %s: %w", name, err)
	}
	s := &StatefulSet{}
	if err := ctx.RegisterComponentResource(StatefulSetType, name, s, opts...); err != nil {
		return nil, err
	}
	const app = course.TopicStatefulSet
	file, err := databaseConfig()
	if err != nil {
		return nil, err
	}
	config, err := newConfigMap(ctx, args.Namespace, app, databaseConfigFile, file, pulumi.Parent(s))
	if err != nil {
		return nil, err
	}
	// The StatefulSet's pods have their names from it, so it comes first.
	if err := args.service(ctx, app, course.PrometheusPort, true, pulumi.Parent(s)); err != nil {
		return nil, err
	}

	container := serves(args.container("database",
		"--config.file="+databaseConfigDir+"/"+databaseConfigFile,
		"--storage.tsdb.path="+databaseDir,
		"--storage.tsdb.retention.size="+databaseRetention,
	), course.PrometheusPort, "/-/ready")
	container.Resources = DatabaseSize.Resources()
	container.VolumeMounts = corev1.VolumeMountArray{kube.Mount("config", databaseConfigDir), kube.Mount("data", databaseDir)}
	pod := args.group(args.template(app, &corev1.PodSpecArgs{
		Containers: corev1.ContainerArray{container},
		Volumes: corev1.VolumeArray{&corev1.VolumeArgs{
			Name: pulumi.String("config"), ConfigMap: &corev1.ConfigMapVolumeSourceArgs{Name: config},
		}},
	}))
	pod.Metadata.(*metav1.ObjectMetaArgs).Annotations = checksum(file)
	_, err = appsv1.NewStatefulSet(ctx, app, &appsv1.StatefulSetArgs{
		Metadata: kube.Meta(args.Namespace, app, app),
		Spec: &appsv1.StatefulSetSpecArgs{
			Replicas:    pulumi.Int(1),
			ServiceName: pulumi.String(app),
			Selector:    &metav1.LabelSelectorArgs{MatchLabels: kube.Selector(app)},
			Template:    pod,
			// Each pod has a claim of its own, which the next pod of its name gets.
			VolumeClaimTemplates: corev1.PersistentVolumeClaimTypeArray{&corev1.PersistentVolumeClaimTypeArgs{
				Metadata: &metav1.ObjectMetaArgs{Name: pulumi.String("data"), Labels: kube.Labels(app)},
				Spec:     claim(),
			}},
			// The claim goes with the StatefulSet, and with nothing less. Kubernetes before
			// 1.27 does not know of this, and there the claim stays.
			PersistentVolumeClaimRetentionPolicy: &appsv1.StatefulSetPersistentVolumeClaimRetentionPolicyArgs{
				WhenDeleted: pulumi.String("Delete"), WhenScaled: pulumi.String("Retain"),
			},
		},
	}, pulumi.Parent(s), kube.RolloutTimeouts(args.RolloutTimeout))
	if err != nil {
		return nil, err
	}
	return s, ctx.RegisterResourceOutputs(s, pulumi.Map{})
}

// databaseConfig has the database write down its own state every five seconds.
func databaseConfig() (string, error) {
	type target struct {
		Targets []string `yaml:"targets"`
	}
	type job struct {
		Name    string   `yaml:"job_name"`
		Targets []target `yaml:"static_configs"`
	}
	config := struct {
		Global struct {
			Interval model.Duration `yaml:"scrape_interval"`
		} `yaml:"global"`
		Jobs []job `yaml:"scrape_configs"`
	}{}
	config.Global.Interval = model.Duration(5 * time.Second)
	config.Jobs = []job{{Name: "itself", Targets: []target{{[]string{fmt.Sprintf("localhost:%d", course.PrometheusPort)}}}}}
	out, err := yaml.Marshal(config)
	return string(out), err
}
