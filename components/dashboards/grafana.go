// Package dashboards is Grafana with what there is to see of the lab: a data source and
// dashboards that are typed Go (boards.go), so that nobody clicks anything together.
//
// Its tests are in tests/ and tests/prometheus/.
package dashboards

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	appsv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/apps/v1"
	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	metav1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/meta/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"go.yaml.in/yaml/v3"

	"k8sbootcamp/components/editions"
	"k8sbootcamp/components/kube"
	"k8sbootcamp/components/secret"
	"k8sbootcamp/internal/course"
)

// Type is the type token of the dashboards.
const Type = "bootcamp:dashboards:Dashboards"

// Size is that of Grafana's pod.
var Size = kube.Size{CPU: "50m", Memory: "192Mi", CPULimit: "500m", MemoryLimit: "512Mi"}

// Where Grafana looks for what it is provisioned with.
const (
	provisioning = "/etc/grafana/provisioning"
	boardsDir    = "/etc/grafana/bootcamp"
	dataDir      = "/var/lib/grafana"

	passwordKey = "password"
)

// Args describe the dashboards.
type Args struct {
	Namespace      string
	Image          string
	Prometheus     string        // its URL, as Grafana reaches it
	Boards         []Board       // the first is the one that is shown at first
	RolloutTimeout time.Duration // for the pod to be ready
	// Anonymous lets whoever reaches Grafana look: where only the lab does. Else one
	// must be the administrator.
	Anonymous bool
	// Restricted runs the pod without any privilege, where the image is known to run so.
	Restricted bool
	// InPod is set where Grafana runs in another's pod, which has this label app, and
	// makes no pod of its own.
	InPod string
}

// Validate reports every argument that cannot be used.
func (a *Args) Validate() error {
	var errs []error
	if a.Namespace == "" {
		errs = append(errs, errors.New("namespace is empty"))
	}
	if err := editions.CheckImage(a.Image); err != nil {
		errs = append(errs, fmt.Errorf("image %q: %w", a.Image, err))
	}
	if a.Prometheus == "" {
		errs = append(errs, errors.New("the URL of Prometheus is empty"))
	}
	if len(a.Boards) == 0 {
		errs = append(errs, errors.New("there is no dashboard"))
	}
	if a.RolloutTimeout <= 0 {
		errs = append(errs, fmt.Errorf("rollout timeout %s: it must be positive", a.RolloutTimeout))
	}
	return errors.Join(errs...)
}

// Dashboards is Grafana.
type Dashboards struct {
	pulumi.ResourceState

	Password pulumi.StringOutput `pulumi:"password"` // secret; of the user admin

	// Where Grafana runs in another's pod: what to put there.
	Container *corev1.ContainerArgs
	Volumes   corev1.VolumeArray
	Checksum  string // another one needs another pod
}

// New registers the dashboards.
func New(ctx *pulumi.Context, name string, args *Args, opts ...pulumi.ResourceOption) (*Dashboards, error) {
	if args == nil {
		return nil, errors.New("dashboards.New: args are nil")
	}
	if err := args.Validate(); err != nil {
		return nil, fmt.Errorf("dashboards.New %s: %w", name, err)
	}
	d := &Dashboards{}
	if err := ctx.RegisterComponentResource(Type, name, d, opts...); err != nil {
		return nil, err
	}
	password, err := secret.NewPassword(ctx, name+"-password", pulumi.Parent(d))
	if err != nil {
		return nil, err
	}
	d.Password = password
	admin, err := corev1.NewSecret(ctx, name, &corev1.SecretArgs{
		Metadata:   kube.Meta(args.Namespace, course.Grafana, course.Grafana),
		StringData: pulumi.StringMap{passwordKey: password},
	}, pulumi.Parent(d))
	if err != nil {
		return nil, err
	}
	files, err := args.files()
	if err != nil {
		return nil, fmt.Errorf("dashboards.New %s: %w", name, err)
	}
	data, sum := pulumi.StringMap{}, sha256.New()
	for _, f := range files {
		data[f.name] = pulumi.String(f.content)
		sum.Write(f.content)
	}
	config, err := corev1.NewConfigMap(ctx, name, &corev1.ConfigMapArgs{
		Metadata: kube.Meta(args.Namespace, course.Grafana, course.Grafana), Data: data,
	}, pulumi.Parent(d))
	if err != nil {
		return nil, err
	}
	d.Checksum = hex.EncodeToString(sum.Sum(nil))
	d.Container, d.Volumes = args.container(admin.Metadata.Name().Elem()), args.volumes(files, config.Metadata.Name().Elem())
	app := args.InPod
	if app == "" {
		app = course.Grafana
		if err := newDeployment(ctx, name, args, d, pulumi.Parent(d)); err != nil {
			return nil, err
		}
	}
	meta := kube.Meta(args.Namespace, course.Grafana, course.Grafana)
	meta.Annotations = pulumi.StringMap{kube.SkipAwait: pulumi.String("true")} // the workload has waited
	_, err = corev1.NewService(ctx, name, &corev1.ServiceArgs{
		Metadata: meta,
		Spec: &corev1.ServiceSpecArgs{
			Type: pulumi.String("ClusterIP"), // nobody outside of the cluster
			Ports: corev1.ServicePortArray{&corev1.ServicePortArgs{
				Name: pulumi.String(course.Grafana), Port: pulumi.Int(course.GrafanaPort), Protocol: pulumi.String("TCP"), TargetPort: pulumi.String(course.Grafana),
			}},
			Selector: kube.Selector(app),
		},
	}, pulumi.Parent(d))
	if err != nil {
		return nil, err
	}
	return d, ctx.RegisterResourceOutputs(d, pulumi.Map{"password": password})
}

func newDeployment(ctx *pulumi.Context, name string, args *Args, d *Dashboards, opts ...pulumi.ResourceOption) error {
	pod := &corev1.PodSpecArgs{
		Containers:                   corev1.ContainerArray{d.Container},
		Volumes:                      d.Volumes,
		AutomountServiceAccountToken: pulumi.Bool(false), // it never calls the API
	}
	if user, known := editions.RunsAs(args.Image); known && args.Restricted {
		kube.Restrict(pod, user)
	}
	_, err := appsv1.NewDeployment(ctx, name, &appsv1.DeploymentArgs{
		Metadata: kube.Meta(args.Namespace, course.Grafana, course.Grafana),
		Spec: &appsv1.DeploymentSpecArgs{
			Replicas: pulumi.Int(1),
			Selector: &metav1.LabelSelectorArgs{MatchLabels: kube.Selector(course.Grafana)},
			Template: &corev1.PodTemplateSpecArgs{
				Metadata: &metav1.ObjectMetaArgs{
					Labels: kube.Labels(course.Grafana),
					// Grafana reads its data source once, so a changed file needs a new pod.
					Annotations: pulumi.StringMap{"checksum/config": pulumi.String(d.Checksum)},
				},
				Spec: pod,
			},
		},
	}, append(opts, kube.RolloutTimeouts(args.RolloutTimeout))...)
	return err
}

// container is Grafana's.
func (a *Args) container(admin pulumi.StringInput) *corev1.ContainerArgs {
	env := corev1.EnvVarArray{
		&corev1.EnvVarArgs{Name: pulumi.String("GF_SECURITY_ADMIN_PASSWORD"), ValueFrom: &corev1.EnvVarSourceArgs{
			SecretKeyRef: &corev1.SecretKeySelectorArgs{Name: admin, Key: pulumi.String(passwordKey)},
		}},
		kube.Variable("GF_AUTH_ANONYMOUS_ENABLED", fmt.Sprint(a.Anonymous)),
		kube.Variable("GF_AUTH_ANONYMOUS_ORG_ROLE", "Viewer"),
		kube.Variable("GF_USERS_ALLOW_SIGN_UP", "false"),
		kube.Variable("GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH", boardsDir+"/"+a.Boards[0].Name+".json"),
		// A class behind one address: nothing is asked of the Internet.
		kube.Variable("GF_ANALYTICS_REPORTING_ENABLED", "false"),
		kube.Variable("GF_ANALYTICS_CHECK_FOR_UPDATES", "false"),
		kube.Variable("GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES", "false"),
		kube.Variable("GF_NEWS_NEWS_FEED_ENABLED", "false"),
		kube.Variable("GF_PLUGINS_PREINSTALL_DISABLED", "true"),
		kube.Variable("GF_SECURITY_DISABLE_GRAVATAR", "true"),
	}
	return &corev1.ContainerArgs{
		Name:  pulumi.String(course.Grafana),
		Image: pulumi.String(a.Image),
		Env:   env,
		Ports: corev1.ContainerPortArray{&corev1.ContainerPortArgs{
			Name: pulumi.String(course.Grafana), ContainerPort: pulumi.Int(course.GrafanaPort), Protocol: pulumi.String("TCP"),
		}},
		VolumeMounts: corev1.VolumeMountArray{
			kube.Mount("grafana-datasources", provisioning+"/datasources"),
			kube.Mount("grafana-providers", provisioning+"/dashboards"),
			kube.Mount("grafana-dashboards", boardsDir),
			kube.Mount("grafana-data", dataDir),
		},
		Resources:      Size.Resources(),
		ReadinessProbe: kube.HTTPReady("/api/health", course.Grafana),
	}
}

// volumes are the ConfigMap's files, each where Grafana looks for it, and a folder for
// what Grafana writes.
func (a *Args) volumes(files []file, config pulumi.StringInput) corev1.VolumeArray {
	items := map[string]corev1.KeyToPathArray{}
	for _, f := range files {
		items[f.volume] = append(items[f.volume], &corev1.KeyToPathArgs{Key: pulumi.String(f.name), Path: pulumi.String(f.name)})
	}
	volumes := corev1.VolumeArray{&corev1.VolumeArgs{Name: pulumi.String("grafana-data"), EmptyDir: &corev1.EmptyDirVolumeSourceArgs{}}}
	for _, name := range []string{"grafana-datasources", "grafana-providers", "grafana-dashboards"} {
		volumes = append(volumes, &corev1.VolumeArgs{Name: pulumi.String(name), ConfigMap: &corev1.ConfigMapVolumeSourceArgs{Name: config, Items: items[name]}})
	}
	return volumes
}

// file is one of the ConfigMap.
type file struct {
	name    string
	volume  string // that it is in
	content []byte
}

// What Grafana is provisioned with
// (grafana.com/docs/grafana/latest/administration/provisioning).
type (
	datasources struct {
		APIVersion  int          `yaml:"apiVersion"`
		Datasources []datasource `yaml:"datasources"`
	}
	datasource struct {
		Name      string `yaml:"name"`
		UID       string `yaml:"uid"`
		Type      string `yaml:"type"`
		Access    string `yaml:"access"`
		URL       string `yaml:"url"`
		IsDefault bool   `yaml:"isDefault"`
	}
	providers struct {
		APIVersion int        `yaml:"apiVersion"`
		Providers  []provider `yaml:"providers"`
	}
	provider struct {
		Name    string          `yaml:"name"`
		Type    string          `yaml:"type"`
		Options providerOptions `yaml:"options"`
	}
	providerOptions struct {
		Path string `yaml:"path"`
	}
)

func (a *Args) files() ([]file, error) {
	source, err := yaml.Marshal(datasources{1, []datasource{{"Prometheus", *source.Uid, *source.Type, "proxy", a.Prometheus, true}}})
	if err != nil {
		return nil, err
	}
	provider, err := yaml.Marshal(providers{1, []provider{{"bootcamp", "file", providerOptions{boardsDir}}}})
	if err != nil {
		return nil, err
	}
	files := []file{{"prometheus.yaml", "grafana-datasources", source}, {"bootcamp.yaml", "grafana-providers", provider}}
	for _, b := range a.Boards {
		files = append(files, file{b.Name + ".json", "grafana-dashboards", b.JSON})
	}
	return files, nil
}
