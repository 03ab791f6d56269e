package tests

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/components/dashboards"
	"k8sbootcamp/components/echo"
	"k8sbootcamp/components/images"
	"k8sbootcamp/components/kind"
	"k8sbootcamp/components/monitoring"
	"k8sbootcamp/components/rbac"
	"k8sbootcamp/components/shared"
	"k8sbootcamp/internal/hostimages"
	"k8sbootcamp/internal/sharedcluster"
)

// A made component: constructors differ in their types alone.
func newKind(a *kind.Args) pulumi.RunFunc {
	return func(ctx *pulumi.Context) error { _, err := kind.New(ctx, "c", a); return err }
}

func newEcho(a *echo.Args) pulumi.RunFunc {
	return func(ctx *pulumi.Context) error { _, err := echo.New(ctx, "c", a); return err }
}

func newMonitoring(a *monitoring.Args) pulumi.RunFunc {
	return func(ctx *pulumi.Context) error { _, err := monitoring.New(ctx, "c", a); return err }
}

func newDashboards(a *dashboards.Args) pulumi.RunFunc {
	return func(ctx *pulumi.Context) error { _, err := dashboards.New(ctx, "c", a); return err }
}

func newPlace(a *shared.PlaceArgs) pulumi.RunFunc {
	return func(ctx *pulumi.Context) error { _, err := shared.NewPlace(ctx, "c", a); return err }
}

// On no place there is nothing to register; the arguments are looked at first.
func newStudent(a *shared.StudentArgs) pulumi.RunFunc {
	return func(ctx *pulumi.Context) error { _, err := shared.NewStudent(ctx, "c", &shared.Place{}, a); return err }
}

func newPlatform(a *shared.PlatformArgs) pulumi.RunFunc {
	return func(ctx *pulumi.Context) error {
		_, err := shared.NewPlatform(ctx, "c", &shared.Place{}, a)
		return err
	}
}

func newAccount(a *rbac.Args) pulumi.RunFunc {
	return func(ctx *pulumi.Context) error { _, err := rbac.New(ctx, "c", a); return err }
}

func newImages(a *images.Args) pulumi.RunFunc {
	return func(ctx *pulumi.Context) error {
		_, err := images.New(ctx, "images", a)
		return err
	}
}

func goodImages() *images.Args {
	return &images.Args{
		Images: []hostimages.Wanted{{Image: "echo:1"}}, Cluster: "bootcamp-dev",
		Claim: pulumi.String(strings.Repeat("a", 32)), Made: pulumi.String("1"),
	}
}

func goodKind() *kind.Args {
	return &kind.Args{Name: "bootcamp-dev", Workers: 1, NodeImage: "node:1", NodePort: 30080, HostPort: 8080}
}

func goodEcho() *echo.Args {
	return &echo.Args{Namespace: "default", Replicas: 1, Image: "echo:1", Service: &echo.ServiceArgs{Type: "NodePort", NodePort: 30080}, RolloutTimeout: time.Minute}
}

func goodMonitoring() *monitoring.Args {
	return &monitoring.Args{
		Namespace: "default", Until: monitoring.Prometheus, PrometheusImage: "prometheus:1", NodeExporterImage: "node-exporter:1",
		ScrapeInterval: model.Duration(15 * time.Second), RolloutTimeout: time.Minute,
	}
}

func goodPods() *monitoring.Args {
	a := goodMonitoring()
	a.Pods, a.Rules = &monitoring.PodArgs{KubeStateMetricsImage: "ksm:1", AuthProxyImage: "auth:1", LabelProxyImage: "label:1", ClassNamespace: "class"}, true
	return a
}

func goodDashboards() *dashboards.Args {
	return &dashboards.Args{
		Namespace: "default", Image: "grafana:1", Prometheus: "http://prometheus", Boards: []dashboards.Board{{Name: "a", JSON: []byte("{}")}}, RolloutTimeout: time.Minute,
	}
}

func goodAccount() *rbac.Args {
	return &rbac.Args{Namespace: "default", Name: "reader", Rules: []rbac.Rule{
		{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: rbac.Read},
	}}
}

func goodPlace() *shared.PlaceArgs {
	return &shared.PlaceArgs{
		Access:    sharedcluster.Access{Kubeconfig: "testdata/kubeconfig.yaml", Context: "class"},
		Cluster:   &TestCluster,
		Namespace: "bootcamp-alice", Enforce: shared.Baseline, Warn: shared.Restricted,
	}
}

func goodStudent() *shared.StudentArgs {
	return &shared.StudentArgs{Quota: shared.Quota{Pods: 20, CPU: "6", Memory: "4Gi"}, TokenLifetime: time.Hour, PrometheusAccount: "prometheus"}
}

// change returns a good value with one thing done to it.
func change[T any](good func() *T, do func(*T)) *T {
	a := good()
	do(a)
	return a
}

// rules are good arguments with other rules.
func rules(r ...rbac.Rule) *rbac.Args {
	return change(goodAccount, func(a *rbac.Args) { a.Rules = r })
}

// TestComponentArguments: a component refuses what it cannot use, all problems
// at once, before it registers anything.
func TestComponentArguments(t *testing.T) {
	t.Parallel()
	type K = kind.Args
	type E = echo.Args
	type M = monitoring.Args
	type D = dashboards.Args
	type P = shared.PlaceArgs
	type S = shared.StudentArgs
	core, pods, get := []string{""}, []string{"pods"}, []rbac.Verb{rbac.Get}
	tests := []struct {
		name string
		make pulumi.RunFunc
		want []string // in the error; none is good
	}{
		{"images: good", newImages(goodImages()), nil},
		{"images: nil", newImages(nil), []string{"images.New", "args are nil"}},
		{"images: none", newImages(change(goodImages, func(a *images.Args) { a.Images = nil })), []string{"neither images nor a mirror"}},
		{"images: mirror", newImages(change(goodImages, func(a *images.Args) { a.Mirror = "10.0.0.1:5000" })), []string{`mirror "10.0.0.1:5000"`, "what a mirror goes with"}},
		{"images: image", newImages(change(goodImages, func(a *images.Args) { a.Images[0].Image = "echo:latest" })), []string{`"echo:latest"`, "latest"}},
		{"images: cluster", newImages(change(goodImages, func(a *images.Args) { a.Cluster = "A b" })), []string{`"A b"`}},
		{"images: claim", newImages(change(goodImages, func(a *images.Args) { a.Claim = nil })), []string{"claim"}},
		{"images: made", newImages(change(goodImages, func(a *images.Args) { a.Made = nil })), []string{"one before"}},
		{"kind: good", newKind(goodKind()), nil},
		{"kind: least", newKind(&K{Name: "a", NodeImage: "node:1"}), nil},
		{"kind: nil", newKind(nil), []string{"kind.New", "args are nil"}},
		{"kind: name", newKind(change(goodKind, func(a *K) { a.Name = "A b" })), []string{`"A b"`}},
		{"kind: fewer workers", newKind(change(goodKind, func(a *K) { a.Workers = -1 })), []string{"workers -1", "0 to 10"}},
		{"kind: more workers", newKind(change(goodKind, func(a *K) { a.Workers = 11 })), []string{"workers 11", "0 to 10"}},
		{"kind: image", newKind(change(goodKind, func(a *K) { a.NodeImage = "node" })), []string{`"node"`, "neither a tag nor a digest"}},
		{"kind: mirror", newKind(change(goodKind, func(a *K) { a.Mirror = "http://localhost:5000" })), []string{`mirror "http://localhost:5000"`, "the node itself"}},
		{"kind: host port", newKind(change(goodKind, func(a *K) { a.HostPort = 65536 })), []string{"65536"}},
		{"kind: node port", newKind(change(goodKind, func(a *K) { a.NodePort = 0 })), []string{"node port 0"}},
		{
			"kind: all", newKind(&K{Workers: 99, NodeImage: "x:latest", HostPort: -1}),
			[]string{`cluster name ""`, "workers 99", "its tag is latest", "host port -1"},
		},

		{"echo: good", newEcho(goodEcho()), nil},
		{"echo: no replicas", newEcho(change(goodEcho, func(a *E) { a.Replicas = 0 })), nil},
		{"echo: node port that no type uses", newEcho(change(goodEcho, func(a *E) { a.Service.Type, a.Service.NodePort = "ClusterIP", 0 })), nil},
		{"echo: node port that the cluster chooses", newEcho(change(goodEcho, func(a *E) { a.Service.NodePort = 0 })), nil},
		{"echo: no Service yet", newEcho(change(goodEcho, func(a *E) { a.Service = nil })), nil},
		{"echo: nil", newEcho(nil), []string{"echo.New", "args are nil"}},
		{"echo: namespace", newEcho(change(goodEcho, func(a *E) { a.Namespace = "" })), []string{"namespace is empty"}},
		{"echo: fewer replicas", newEcho(change(goodEcho, func(a *E) { a.Replicas = -1 })), []string{"replicas -1", "0 to 100"}},
		{"echo: more replicas", newEcho(change(goodEcho, func(a *E) { a.Replicas = 101 })), []string{"replicas 101", "0 to 100"}},
		{"echo: image", newEcho(change(goodEcho, func(a *E) { a.Image = "" })), []string{`image ""`}},
		{"echo: type", newEcho(change(goodEcho, func(a *E) { a.Service.Type = "ExternalName" })), []string{`"ExternalName"`, "ClusterIP, NodePort and LoadBalancer"}},
		{"echo: node port", newEcho(change(goodEcho, func(a *E) { a.Service.NodePort = 29999 })), []string{"node port 29999", "30000 to 32767"}},
		{"echo: timeout", newEcho(change(goodEcho, func(a *E) { a.RolloutTimeout = 0 })), []string{"rollout timeout 0s"}},
		{
			"echo: all", newEcho(&E{Replicas: 999, Image: "e", Service: &echo.ServiceArgs{Type: "x"}, RolloutTimeout: -1}),
			[]string{"namespace is empty", "replicas 999", `image "e"`, `service type "x"`, "rollout timeout -1ns"},
		},

		{"monitoring: good", newMonitoring(goodMonitoring()), nil},
		{"monitoring: nil", newMonitoring(nil), []string{"monitoring.New", "args are nil"}},
		{"monitoring: namespace", newMonitoring(change(goodMonitoring, func(a *M) { a.Namespace = "" })), []string{"namespace is empty"}},
		{"monitoring: Prometheus", newMonitoring(change(goodMonitoring, func(a *M) { a.PrometheusImage = "p:latest" })), []string{`"p:latest"`}},
		{"monitoring: node-exporter", newMonitoring(change(goodMonitoring, func(a *M) { a.NodeExporterImage = "n" })), []string{`"n"`}},
		{"monitoring: shorter interval", newMonitoring(change(goodMonitoring, func(a *M) { a.ScrapeInterval = 999e6 })), []string{"999ms", "1s to 5m"}},
		{"monitoring: longer interval", newMonitoring(change(goodMonitoring, func(a *M) { a.ScrapeInterval = 301e9 })), []string{"5m1s", "1s to 5m"}},
		{"monitoring: timeout", newMonitoring(change(goodMonitoring, func(a *M) { a.RolloutTimeout = -time.Second })), []string{"rollout timeout -1s"}},
		{"monitoring: no part", newMonitoring(change(goodMonitoring, func(a *M) { a.Until = 0 })), []string{"part 0", "1 to 3"}},
		{"monitoring: one part more", newMonitoring(change(goodMonitoring, func(a *M) { a.Until++ })), []string{"part 4", "1 to 3"}},
		{"monitoring: pods before Prometheus", newMonitoring(change(goodPods, func(a *M) { a.Until = monitoring.Account })), []string{"without Prometheus"}},
		{"monitoring: all", newMonitoring(&M{PrometheusImage: "p", NodeExporterImage: "n"}), []string{"namespace", "part 0", `"p"`, `"n"`, "scrape interval 0s", "rollout timeout 0s"}},

		{"monitoring: pods", newMonitoring(goodPods()), nil},
		{"monitoring: a student's pods", newMonitoring(change(goodPods, func(a *M) { a.Scope, a.Pods.AuthProxyImage, a.Pods.LabelProxyImage = monitoring.Student, "", "" })), nil},
		{"monitoring: a class's pods", newMonitoring(change(goodPods, func(a *M) { a.Scope, a.Pods.ClassNamespace = monitoring.Class, "" })), nil},
		{"monitoring: kube-state-metrics", newMonitoring(change(goodPods, func(a *M) { a.Pods.KubeStateMetricsImage = "k" })), []string{`"k"`}},
		{"monitoring: a class's proxies", newMonitoring(change(goodPods, func(a *M) { a.Scope, a.Pods.AuthProxyImage, a.Pods.LabelProxyImage = monitoring.Class, "x", "y" })), []string{`"x"`, `"y"`}},
		{"monitoring: a student's class", newMonitoring(change(goodPods, func(a *M) { a.Scope, a.Pods.ClassNamespace = monitoring.Student, "" })), []string{"class's namespace is empty"}},
		{"monitoring: rules alone", newMonitoring(change(goodMonitoring, func(a *M) { a.Rules = true })), []string{"rules without"}},

		{"dashboards: good", newDashboards(goodDashboards()), nil},
		{"dashboards: nil", newDashboards(nil), []string{"dashboards.New", "args are nil"}},
		{"dashboards: all", newDashboards(&D{Image: "g"}), []string{"namespace", `"g"`, "URL of Prometheus", "no dashboard", "rollout timeout 0s"}},

		{"place: good", newPlace(goodPlace()), nil},
		{"place: nil", newPlace(nil), []string{"shared.NewPlace", "args are nil"}},
		{"place: no context", newPlace(change(goodPlace, func(a *P) { a.Access.Context = "" })), []string{"context is empty"}},
		{"place: unknown context", newPlace(change(goodPlace, func(a *P) { a.Access.Context = "nobody" })), []string{"nobody"}},
		{"place: no kubeconfig", newPlace(change(goodPlace, func(a *P) { a.Access.Kubeconfig = "testdata/none.yaml" })), []string{"testdata/none.yaml"}},
		{"place: namespace", newPlace(change(goodPlace, func(a *P) { a.Namespace = "A_b" })), []string{`"A_b"`}},
		{"place: no facts", newPlace(change(goodPlace, func(a *P) { a.Cluster = nil })), []string{"nothing is known of the cluster"}},
		{"place: level", newPlace(change(goodPlace, func(a *P) { a.Enforce = "none" })), []string{`"none"`, "privileged, baseline and restricted"}},
		{"place: all", newPlace(&P{}), []string{"context is empty", `namespace ""`, `level ""`}},

		{"student: nil", newStudent(nil), []string{"shared.NewStudent", "args are nil"}},
		{"student: lifetime", newStudent(change(goodStudent, func(a *S) { a.TokenLifetime = 9 * time.Minute })), []string{"9m0s", "10m"}},
		{"student: pods", newStudent(change(goodStudent, func(a *S) { a.Quota.Pods = 0 })), []string{"0 pods"}},
		{"student: CPU", newStudent(change(goodStudent, func(a *S) { a.Quota.CPU = "much" })), []string{`"much"`}},
		{"student: memory", newStudent(change(goodStudent, func(a *S) { a.Quota.Memory = "-1Gi" })), []string{`"-1Gi"`}},
		{"student: all", newStudent(&S{}), []string{"0 pods", `quota ""`, "Prometheus's account is empty", "token lifetime 0s"}},
		{"platform: nil", newPlatform(nil), []string{"shared.NewPlatform", "args are nil"}},
		{"platform: quota", newPlatform(&shared.PlatformArgs{}), []string{"0 pods", `quota ""`}},

		{"rbac: good", newAccount(goodAccount()), nil},
		{"rbac: URLs", newAccount(rules(rbac.Rule{NonResourceURLs: []string{"/metrics"}, Verbs: get})), nil},
		{"rbac: nil", newAccount(nil), []string{"rbac.New", "args are nil"}},
		{"rbac: names", newAccount(&rbac.Args{Rules: goodAccount().Rules}), []string{`namespace "" and name ""`}},
		{"rbac: no rules", newAccount(rules()), []string{"without rules"}},
		{"rbac: no verbs", newAccount(rules(rbac.Rule{APIGroups: core, Resources: pods})), []string{"rule 1", "no verbs"}},
		{"rbac: wildcard verb", newAccount(rules(rbac.Rule{APIGroups: core, Resources: pods, Verbs: []rbac.Verb{"*"}})), []string{`verb "*"`}},
		{"rbac: unknown verb", newAccount(rules(rbac.Rule{APIGroups: core, Resources: pods, Verbs: []rbac.Verb{"escalate"}})), []string{`verb "escalate"`}},
		{"rbac: wildcard resource", newAccount(rules(rbac.Rule{APIGroups: core, Resources: []string{"*"}, Verbs: get})), []string{`resource "*"`, "wildcard"}},
		{"rbac: wildcard subresource", newAccount(rules(rbac.Rule{APIGroups: core, Resources: []string{"*/status"}, Verbs: get})), []string{`resource "*/status"`}},
		{"rbac: wildcard group", newAccount(rules(rbac.Rule{APIGroups: []string{"*"}, Resources: pods, Verbs: get})), []string{`API group "*"`}},
		{"rbac: wildcard URL", newAccount(rules(rbac.Rule{NonResourceURLs: []string{"/healthz/*"}, Verbs: get})), []string{`URL "/healthz/*"`}},
		{"rbac: no group", newAccount(rules(rbac.Rule{Resources: pods, Verbs: get})), []string{"no API group"}},
		{"rbac: nothing", newAccount(rules(rbac.Rule{Verbs: get})), []string{"neither resources nor URLs"}},
		{"rbac: both", newAccount(rules(rbac.Rule{APIGroups: core, Resources: pods, NonResourceURLs: []string{"/x"}, Verbs: get})), []string{"not for both"}},
		{"rbac: URL with a group", newAccount(rules(rbac.Rule{APIGroups: core, NonResourceURLs: []string{"/x"}, Verbs: get})), []string{"of no API group"}},
		{"rbac: empty resource", newAccount(rules(rbac.Rule{APIGroups: core, Resources: []string{""}, Verbs: get})), []string{"empty resource"}},
		{
			"rbac: all", newAccount(&rbac.Args{Rules: []rbac.Rule{{Verbs: []rbac.Verb{"*"}}, {APIGroups: core, Resources: []string{"*"}}}}),
			[]string{"namespace", "rule 1", `verb "*"`, "neither", "rule 2", "no verbs", `resource "*"`},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			recording := Run{Program: tt.make}.Record()
			if tt.want == nil {
				require.NoError(t, recording.Err)
				assert.NotEmpty(t, recording.Resources)
				return
			}
			require.Error(t, recording.Err)
			for _, w := range tt.want {
				assert.ErrorContains(t, recording.Err, w)
			}
			assert.Empty(t, recording.Resources)
		})
	}
}
