package monitoring

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	appsv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/apps/v1"
	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	metav1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/meta/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"k8sbootcamp/components/editions"
	"k8sbootcamp/components/kube"
	"k8sbootcamp/components/rbac"
	"k8sbootcamp/internal/course"
)

const (
	configDir  = "/prometheus"      // where the course has prometheus.yml
	configFile = "prometheus.yml"   // its key in the ConfigMap
	rulesFile  = "rules.yml"        // beside it
	dataDir    = "/prometheus-data" // the course's, /prometheus/data, is under the mount
	readyPath  = "/-/ready"
)

// What Prometheus may keep on the node's disk on a shared cluster. It deletes its
// oldest blocks beyond retentionSize; the write-ahead log of the last hours and the
// container's own log, which it does not count, have the rest.
const (
	StorageRequest = "128Mi"
	StorageLimit   = "2Gi"
	retentionSize  = "512MB"
)

// PrometheusSize is that of its pod.
var PrometheusSize = kube.Size{CPU: "100m", Memory: "192Mi", CPULimit: "1", MemoryLimit: "1Gi"}

// prometheusRules are what service discovery and the scrapes need (course,
// chapter 4-2). Two of the text's resources no longer exist, or never did:
// extensions/ingresses, which is networking.k8s.io/ingresses since Kubernetes
// 1.22, and "metrics", which is nodes/metrics beside it.
func prometheusRules(args *Args) []rbac.Rule {
	if args.Scope == Student { // what is cluster-wide is bound by the class's own roles
		rules := []rbac.Rule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: rbac.Read}}
		if args.Pods != nil {
			rules = append(rules, MetricsRule)
		}
		return rules
	}
	return []rbac.Rule{
		{APIGroups: []string{""}, Resources: []string{"nodes", "services", "endpoints", "pods", "nodes/metrics"}, Verbs: rbac.Read},
		{APIGroups: []string{"networking.k8s.io"}, Resources: []string{"ingresses"}, Verbs: rbac.Read},
		{NonResourceURLs: []string{"/metrics"}, Verbs: []rbac.Verb{rbac.Get}},
	}
}

// files are those of the ConfigMap, and a hash of all of them.
func files(args *Args) (files pulumi.StringMap, sum string, err error) {
	files, hash := pulumi.StringMap{}, sha256.New()
	add := func(name string, content []byte, failed error) {
		if failed != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", name, failed))
		}
		files[name] = pulumi.String(content)
		hash.Write(content)
	}
	config, failed := ScrapeConfig(args)
	add(configFile, config, failed)
	if args.Rules {
		rules, failed := Rules(args.ScrapeInterval)
		add(rulesFile, rules, failed)
	}
	if args.Scope == Class {
		authorization, failed := authorizationFile()
		add(authFile, authorization, failed)
	}
	return files, hex.EncodeToString(hash.Sum(nil)), err
}

// newPrometheus registers Prometheus (course, chapter 4-3).
func newPrometheus(ctx *pulumi.Context, args *Args, account pulumi.StringInput, opts ...pulumi.ResourceOption) error {
	size := PrometheusSize
	flags := []string{
		"--config.file=" + configDir + "/" + configFile,
		"--log.level=debug",
		"--web.enable-lifecycle",
		"--storage.tsdb.path=" + dataDir,
	}
	if args.Scope != Own {
		size.Storage, size.StorageLimit = StorageRequest, StorageLimit
		flags = append(flags, "--storage.tsdb.retention.size="+retentionSize)
	}
	if args.Scope == Class {
		flags = append(flags, fmt.Sprintf("--web.listen-address=%s:%d", loopback, course.PrometheusPort))
	}
	files, sum, err := files(args)
	if err != nil {
		return err
	}
	configMap, err := corev1.NewConfigMap(ctx, course.Prometheus, &corev1.ConfigMapArgs{
		Metadata: kube.Meta(args.Namespace, course.Prometheus, course.Prometheus), Data: files,
	}, opts...)
	if err != nil {
		return err
	}
	configMount := kube.Mount(course.Prometheus, configDir) // the whole directory: a subPath mount never sees a change
	container := &corev1.ContainerArgs{
		Name:            pulumi.String(course.Prometheus),
		Image:           pulumi.String(args.PrometheusImage),
		ImagePullPolicy: pulumi.String("IfNotPresent"),
		Args:            pulumi.ToStringArray(flags),
		Ports: corev1.ContainerPortArray{&corev1.ContainerPortArgs{
			Name: pulumi.String(course.HTTP), ContainerPort: pulumi.Int(course.PrometheusPort), Protocol: pulumi.String("TCP"),
		}},
		VolumeMounts:   corev1.VolumeMountArray{configMount, kube.Mount("data", dataDir)},
		Resources:      size.Resources(),
		ReadinessProbe: kube.HTTPReady(readyPath, course.HTTP),
	}
	containers, portName, port := corev1.ContainerArray{container}, course.HTTP, course.PrometheusPort
	if args.Scope == Class {
		container.Ports, container.ReadinessProbe = nil, ready()
		containers, portName, port = append(containers, tenantProxies(args.Pods, configMount)...), tenantPortName, tenantPort
	}
	volumes := corev1.VolumeArray{
		&corev1.VolumeArgs{
			Name:      pulumi.String(course.Prometheus),
			ConfigMap: &corev1.ConfigMapVolumeSourceArgs{Name: configMap.Metadata.Name().Elem()},
		},
		&corev1.VolumeArgs{Name: pulumi.String("data"), EmptyDir: &corev1.EmptyDirVolumeSourceArgs{}},
	}
	annotations := pulumi.StringMap{"checksum/config": pulumi.String(sum)} // Prometheus reads its file once, so a changed one needs a new pod
	if args.Beside != nil {
		containers, volumes = append(containers, args.Beside.Container), append(volumes, args.Beside.Volumes...)
		annotations["checksum/beside"] = pulumi.String(args.Beside.Checksum)
	}
	pod := &corev1.PodSpecArgs{
		ServiceAccountName: account,
		Containers:         containers,
		Volumes:            volumes,
	}
	if user, known := editions.RunsAs(args.PrometheusImage); known && args.Scope == Student {
		kube.Restrict(pod, user)
	}
	_, err = appsv1.NewDeployment(ctx, course.Prometheus, &appsv1.DeploymentArgs{
		Metadata: kube.Meta(args.Namespace, course.Prometheus, course.Prometheus),
		Spec: &appsv1.DeploymentSpecArgs{
			Replicas: pulumi.Int(1),
			Selector: &metav1.LabelSelectorArgs{MatchLabels: kube.Selector(course.Prometheus)},
			Template: &corev1.PodTemplateSpecArgs{
				Metadata: &metav1.ObjectMetaArgs{Labels: kube.Labels(course.Prometheus), Annotations: annotations},
				Spec:     pod,
			},
		},
	}, append(opts, kube.RolloutTimeouts(args.RolloutTimeout))...)
	if err != nil {
		return err
	}
	return newService(ctx, args.Namespace, course.Prometheus, portName, port, pulumi.Int(port), opts...)
}
