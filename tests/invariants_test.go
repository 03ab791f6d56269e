package tests

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/components/editions"
	"k8sbootcamp/components/kube"
	"k8sbootcamp/components/lab"
	"k8sbootcamp/components/shared"
	"k8sbootcamp/internal/hostimages"
	"k8sbootcamp/internal/kindcluster"
	"k8sbootcamp/internal/sharedcluster"
	"k8sbootcamp/internal/takeover"
)

const (
	commandType    = "command:local:Command"
	providerType   = "pulumi:providers:kubernetes"
	serviceType    = "kubernetes:core/v1:Service"
	configMapType  = "kubernetes:core/v1:ConfigMap"
	deploymentType = "kubernetes:apps/v1:Deployment"
	daemonSetType  = "kubernetes:apps/v1:DaemonSet"
	statefulType   = "kubernetes:apps/v1:StatefulSet"
	claimType      = "kubernetes:core/v1:PersistentVolumeClaim"
	secretType     = "kubernetes:core/v1:Secret"
	quotaType      = "kubernetes:core/v1:ResourceQuota"
	limitRangeType = "kubernetes:core/v1:LimitRange"
)

// clusterKinds are the kinds that live in no namespace.
var clusterKinds = []string{
	"Namespace", "ClusterRole", "ClusterRoleBinding", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding",
}

// shellRE finds a shell by its name, with or without a folder.
var shellRE = regexp.MustCompile(`(^|[\[ /])(sh|bash|ash|dash|busybox)(]| |$)`)

// commandVerbs are, by interpreter and create, what update and delete run. No
// update runs create again, which a token may and a cluster may not.
var commandVerbs = map[string][]any{
	"[./class kindcluster] claim":        {"claim", "delete"},
	"[./class kindcluster] prepare":      {"prepare", nil},
	"[./class kindcluster] create":       {"kubeconfig", "delete"},
	"[./class kindcluster] takeover":     {"takeover", nil},
	"[./class kindcluster] pull":         {"pull", nil},
	"[./class kindcluster] load":         {"load", nil},
	"[./class kindcluster] mirror":       {"mirror", "unmirror"},
	"[./class sharedcluster] takeover":   {"takeover", nil},
	"[./class sharedcluster] claim":      {"claim", "release"},
	"[./class sharedcluster] kubeconfig": {nil, nil},
	"[./class sharedcluster] <nil>":      {nil, "leave"},
	"[./class secret] password":          {nil, nil},
	"[./class secret] certificate":       {nil, nil},
}

// printNoSecret are those of them, by create, whose output may be seen.
var printNoSecret = []any{kindcluster.VerbClaim, kindcluster.VerbPrepare, takeover.Verb, hostimages.VerbPull, hostimages.VerbLoad, kindcluster.VerbMirror}

// ignored are the changes that a resource may be blind to, by its name: what earlier
// versions of this program set another way, and what would make all anew.
var ignored = map[string][]string{
	"cluster-claim": {"triggers"},
	"cluster":       {"clusterIdentifier"},
}

// An invariant holds for every resource of every configuration.
type invariant struct {
	name string
	// check returns what is wrong with a resource, if anything is.
	check func(r *Recording, res *Registration) error
	// breaks spoils a good recording, each in another way; check must see it.
	breaks []func(r *Recording)
	// sharedBreaks spoil that of a student on a shared cluster.
	sharedBreaks []func(r *Recording)
}

var invariants = []invariant{{
	name: "a custom resource is the child of a component, and a component of the stack or of a component",
	check: func(r *Recording, res *Registration) error {
		if parent := r.ByURN(res.Parent); parent != nil && !parent.Custom {
			return nil
		}
		if res.Parent == r.stackURN() && !res.Custom {
			return nil
		}
		return fmt.Errorf("its parent is %q", res.Parent)
	},
	breaks: []func(*Recording){
		func(r *Recording) { r.Kubernetes()[0].Parent = "" },
		func(r *Recording) { r.Of(commandType, "cluster")[0].Parent = r.stackURN() },
		func(r *Recording) { r.Kubernetes()[0].Parent = r.Of(commandType, "cluster")[0].URN },
	},
}, {
	name: "no two resources have one URN, and it says the whole ancestry",
	check: func(r *Recording, res *Registration) error {
		if r.ByURN(res.URN) != res {
			return fmt.Errorf("another resource has its URN")
		}
		if want := urn(r.Stack, res.Parent, res.Type, res.Name); want != res.URN {
			return fmt.Errorf("its URN is %s, by its parent it should be %s", res.URN, want)
		}
		return nil
	},
	breaks: []func(*Recording){
		func(r *Recording) {
			r.Resources = append(r.Resources, &Registration{URN: r.Resources[0].URN})
		},
		func(r *Recording) { r.Kubernetes()[0].Parent = r.Of("bootcamp:cluster:Kind", "")[0].URN },
	},
}, {
	name: "components have type tokens of this project",
	check: func(_ *Recording, res *Registration) error {
		if !res.Custom && !componentType.MatchString(res.Type) {
			return fmt.Errorf("its type is not bootcamp:module:Type")
		}
		return nil
	},
	breaks: []func(*Recording){
		func(r *Recording) { r.Of("bootcamp:echo:Echo", "")[0].Type = "bootcamp:Echo" },
	},
}, {
	name: "destroy removes everything: nothing is protected, retained or blind to changes",
	check: func(r *Recording, res *Registration) error {
		// A secret has no delete to run, and another interpreter would make another secret.
		secret := res.Type == commandType && strings.HasSuffix(fmt.Sprint(res.Object()["interpreter"]), " secret]") &&
			slices.Equal(res.IgnoreChanges, []string{"interpreter"})
		if secret || r.shared() && slices.Equal(res.IgnoreChanges, ignored[res.Name]) && (res.Type == commandType || res.Type == providerType) {
			res = &Registration{Protect: res.Protect, RetainOnDelete: res.RetainOnDelete}
		}
		if res.Protect || res.RetainOnDelete || len(res.IgnoreChanges) > 0 {
			return fmt.Errorf("protect %t, retainOnDelete %t, ignoreChanges %v", res.Protect, res.RetainOnDelete, res.IgnoreChanges)
		}
		return nil
	},
	breaks: []func(*Recording){
		func(r *Recording) { r.Kubernetes()[0].Protect = true },
		func(r *Recording) { r.Kubernetes()[0].RetainOnDelete = true },
		func(r *Recording) { r.Kubernetes()[0].IgnoreChanges = []string{"spec"} },
	},
}, {
	name: "objects are made by the cluster's provider, named explicitly",
	check: objects(func(r *Recording, res *Registration) error {
		if p := r.ByURN(res.Provider); p == nil || p.Type != providerType {
			return fmt.Errorf("its provider is %q", res.Provider)
		}
		return nil
	}),
	breaks: []func(*Recording){
		func(r *Recording) { r.Kubernetes()[0].Provider = "" },
		func(r *Recording) { last(r.Kubernetes()).Provider = r.Resources[0].URN },
	},
}, {
	name: "objects live, are replaced and die with the cluster, or with the namespace on a shared one",
	check: objects(func(r *Recording, res *Registration) error {
		with, replaced := r.lifetime(), []string{r.lifetime()}
		if r.shared() && (slices.Contains(clusterKinds, res.kind()) || r.humanAccount(res)) {
			with, replaced = "", []string{} // each goes by itself
		}
		if res.DeletedWith != with || !slices.Equal(res.ReplaceWith, replaced) || !res.DeleteBeforeReplace {
			return fmt.Errorf("deletedWith %q, replaceWith %q, deleteBeforeReplace %t; it should be with %q",
				res.DeletedWith, res.ReplaceWith, res.DeleteBeforeReplace, with)
		}
		return nil
	}),
	breaks: []func(*Recording){
		func(r *Recording) { r.Kubernetes()[0].DeletedWith = "" },
		func(r *Recording) { last(r.Kubernetes()).ReplaceWith = nil },
		func(r *Recording) {
			last(r.Kubernetes()).ReplaceWith = []string{r.Of(commandType, "cluster-claim")[0].URN}
		},
		func(r *Recording) { r.Of("kubernetes:core/v1:ServiceAccount", "")[0].DeleteBeforeReplace = false },
	},
}, {
	name: "what is not in the stack's namespace on a shared cluster says whose it is, and nothing leaves that namespace",
	check: objects(func(r *Recording, res *Registration) error {
		if !r.shared() {
			return nil
		}
		namespace, _ := r.Outputs["namespace"].Value.(string)
		if slices.Contains(clusterKinds, res.kind()) || r.humanAccount(res) {
			if at(res.Object(), "metadata", "annotations", sharedcluster.AnnotationClaim) != TestClaim {
				return fmt.Errorf("it does not bear the stack's claim: %v", at(res.Object(), "metadata", "annotations"))
			}
			if name, _ := at(res.Object(), "metadata", "name").(string); name != namespace && !strings.HasPrefix(name, namespace+"-") {
				return fmt.Errorf("its name, %s, does not begin with the namespace, %s", name, namespace)
			}
			return nil
		}
		if at(res.Object(), "metadata", "namespace") != namespace || namespace == "" || namespace == "default" {
			return fmt.Errorf("it is in namespace %v, the stack's is %q", at(res.Object(), "metadata", "namespace"), namespace)
		}
		return nil
	}),
	sharedBreaks: []func(*Recording){
		put(deploymentType, "default", "metadata", "namespace"),
		put(deploymentType, "bootcamp-bob", "metadata", "namespace"),
		spoil("kubernetes:core/v1:Namespace", "metadata", "annotations", sharedcluster.AnnotationClaim),
		put("kubernetes:rbac.authorization.k8s.io/v1:ClusterRoleBinding", "nodes", "metadata", "name"),
	},
}, {
	name: "objects, and the pods they make, bear the course's label and the common ones",
	check: objects(func(_ *Recording, res *Registration) error {
		problem := labelProblem(at(res.Object(), "metadata", "labels"))
		if template := at(res.Object(), "spec", "template"); problem == "" && template != nil {
			problem = labelProblem(at(template, "metadata", "labels"))
		}
		return orNil(problem)
	}),
	breaks: []func(*Recording){
		spoil("", "metadata", "labels", "app"),
		spoil("", "metadata", "labels", "app.kubernetes.io/name"),
		spoil(deploymentType, "spec", "template", "metadata", "labels", "app.kubernetes.io/part-of"),
	},
}, {
	name: "selectors hold the course's label alone, and select pods of the lab",
	check: objects(func(r *Recording, res *Registration) error {
		selector := at(res.Object(), "spec", "selector")
		if selector == nil {
			return orNil(map[bool]string{true: "it has no selector"}[slices.Contains([]string{serviceType, deploymentType, daemonSetType, statefulType}, res.Type)])
		}
		if res.Type != serviceType {
			if m, _ := selector.(map[string]any); len(m) != 1 {
				return fmt.Errorf("its selector is %v, not matchLabels alone", selector)
			}
			selector = at(selector, "matchLabels")
		}
		labels, _ := selector.(map[string]any)
		app, _ := labels["app"].(string)
		if len(labels) != 1 || app == "" {
			return fmt.Errorf("its selector is %v, not app alone", selector)
		}
		if !slices.ContainsFunc(r.Kubernetes(), func(w *Registration) bool {
			return at(w.Object(), "spec", "template", "metadata", "labels", "app") == app
		}) {
			return fmt.Errorf("its selector %v selects no workload's pods", selector)
		}
		return nil
	}),
	breaks: []func(*Recording){
		spoil(serviceType, "spec", "selector", "app"),
		spoil(deploymentType, "spec", "selector"),
		put(serviceType, "v1", "spec", "selector", "app.kubernetes.io/version"),
		put(daemonSetType, "other", "spec", "selector", "matchLabels", "app"),
		put(deploymentType, "x", "spec", "selector", "matchExpressions"),
	},
}, {
	name: "containers have requests, limits, a pinned image and, but for init containers, a readiness probe",
	check: objects(func(_ *Recording, res *Registration) error {
		pod := at(res.Object(), "spec", "template", "spec")
		if pod == nil {
			return nil
		}
		containers, _ := at(pod, "containers").([]any)
		inits, _ := at(pod, "initContainers").([]any)
		if len(containers) == 0 {
			return fmt.Errorf("its pods have no containers")
		}
		for i, c := range slices.Concat(containers, inits) {
			for _, kind := range []string{"requests", "limits"} {
				for _, what := range []string{"cpu", "memory"} {
					if q, _ := at(c, "resources", kind, what).(string); q == "" {
						return fmt.Errorf("container %v has no %s of %s", at(c, "name"), kind, what)
					}
				}
			}
			image, _ := at(c, "image").(string)
			if err := editions.CheckImage(image); err != nil {
				return fmt.Errorf("container %v has image %q: %w", at(c, "name"), image, err)
			}
			if i < len(containers) && at(c, "readinessProbe") == nil {
				return fmt.Errorf("container %v has no readiness probe", at(c, "name"))
			}
		}
		return nil
	}),
	breaks: []func(*Recording){
		spoil(deploymentType, "spec", "template", "spec", "containers", 0, "resources", "limits", "memory"),
		spoil(deploymentType, "spec", "template", "spec", "containers", 0, "resources", "requests"),
		spoil(daemonSetType, "spec", "template", "spec", "containers", 0, "readinessProbe"),
		put(daemonSetType, "prom/node-exporter", "spec", "template", "spec", "containers", 0, "image"),
		put(daemonSetType, "prom/node-exporter:latest", "spec", "template", "spec", "containers", 0, "image"),
	},
}, {
	name: "no container runs a shell, nor does a probe",
	check: objects(func(_ *Recording, res *Registration) error {
		pod := at(res.Object(), "spec", "template", "spec")
		containers, _ := at(pod, "containers").([]any)
		inits, _ := at(pod, "initContainers").([]any)
		for _, c := range slices.Concat(containers, inits) {
			for _, path := range [][]any{{"command"}, {"args"}, {"readinessProbe", "exec", "command"}, {"livenessProbe", "exec", "command"}, {"lifecycle"}} {
				if shellRE.MatchString(fmt.Sprint(at(c, path...))) {
					return fmt.Errorf("container %v: %v is %v", at(c, "name"), path, at(c, path...))
				}
			}
		}
		return nil
	}),
	breaks: []func(*Recording){
		put(deploymentType, []any{"/bin/sh", "-c", "sleep 1"}, "spec", "template", "spec", "containers", 0, "command"),
		put(deploymentType, []any{"sh"}, "spec", "template", "spec", "containers", 0, "args"),
		put(deploymentType, map[string]any{"command": []any{"bash", "-c", "true"}}, "spec", "template", "spec", "containers", 0, "readinessProbe", "exec"),
	},
}, {
	name: "what Kubernetes keeps as a secret is one to Pulumi too",
	check: objects(func(_ *Recording, res *Registration) error {
		if res.Type != secretType {
			return nil
		}
		for _, field := range []resource.PropertyKey{"stringData", "data"} {
			content := res.Inputs[field]
			if content.IsSecret() || !content.IsObject() {
				continue
			}
			for key, value := range content.ObjectValue() {
				if !value.IsSecret() {
					return fmt.Errorf("%s of its %s is no secret", key, field)
				}
			}
		}
		return nil
	}),
	breaks: []func(*Recording){
		func(r *Recording) {
			r.Resources = append(r.Resources, &Registration{Type: secretType, Custom: true, Inputs: resource.PropertyMap{
				"stringData": resource.NewProperty(resource.PropertyMap{"password": resource.NewProperty("x")}),
			}})
		},
	},
}, {
	name: "ports that a Service or a probe names are ports of the pods",
	check: objects(func(r *Recording, res *Registration) error {
		switch {
		case res.Type == serviceType:
			pods := r.podsOf(at(res.Object(), "spec", "selector", "app"))
			ports, _ := at(res.Object(), "spec", "ports").([]any)
			for _, p := range ports {
				if !hasPort(pods, at(p, "targetPort")) {
					return fmt.Errorf("no container has its target port %v", at(p, "targetPort"))
				}
			}
		case at(res.Object(), "spec", "template") != nil:
			pod := at(res.Object(), "spec", "template", "spec")
			for _, c := range at(pod, "containers").([]any) {
				port, among := at(c, "readinessProbe", "httpGet", "port"), pod
				if _, named := port.(string); named { // a name is of the container's own
					among = map[string]any{"containers": []any{c}}
				}
				if port != nil && !hasPort([]any{among}, port) {
					return fmt.Errorf("container %v has not the probe's port %v", at(c, "name"), port)
				}
			}
		}
		return nil
	}),
	breaks: []func(*Recording){
		put(serviceType, "web", "spec", "ports", 0, "targetPort"),
		put(deploymentType, "web", "spec", "template", "spec", "containers", 0, "readinessProbe", "httpGet", "port"),
		put(deploymentType, 1234, "spec", "template", "spec", "containers", 0, "readinessProbe", "httpGet", "port"),
		put(deploymentType, []any{map[string]any{"name": "other", "ports": []any{map[string]any{"name": "http", "containerPort": 8080}}},
			map[string]any{"name": "app", "readinessProbe": map[string]any{"httpGet": map[string]any{"port": "http"}}}},
			"spec", "template", "spec", "containers"),
	},
}, {
	name: "namespaced objects name their namespace, the others none, and all have the course's name",
	check: objects(func(_ *Recording, res *Registration) error {
		namespace, _ := at(res.Object(), "metadata", "namespace").(string)
		name, _ := at(res.Object(), "metadata", "name").(string)
		if name == "" { // Pulumi would make one with a random end
			return fmt.Errorf("it has no metadata.name")
		}
		if (namespace == "") != slices.Contains(clusterKinds, res.kind()) {
			return fmt.Errorf("kind %s with namespace %q", res.kind(), namespace)
		}
		return nil
	}),
	breaks: []func(*Recording){
		spoil(serviceType, "metadata", "namespace"),
		spoil(deploymentType, "metadata", "name"),
		put("kubernetes:rbac.authorization.k8s.io/v1:ClusterRole", "default", "metadata", "namespace"),
	},
}, {
	name: "no Service is waited for, for the workload has waited; but for an address where the cluster gives one",
	check: objects(func(r *Recording, res *Registration) error {
		if r.shared() && at(res.Object(), "spec", "type") == "LoadBalancer" {
			return nil
		}
		if res.Type == serviceType && at(res.Object(), "metadata", "annotations", kube.SkipAwait) != "true" {
			return fmt.Errorf("it has no annotation %s", kube.SkipAwait)
		}
		return nil
	}),
	breaks: []func(*Recording){spoil(serviceType, "metadata", "annotations", kube.SkipAwait)},
}, {
	name: "what a student's quota counts is made after it, for it admits nothing before it has counted, and after the default sizes",
	check: objects(func(r *Recording, res *Registration) error {
		hard, _ := at(onlyObject(r, quotaType, r.namespace()), "spec", "hard").(map[string]any)
		if hard["count/pods"] == nil || !slices.Contains(countedTypes, res.Type) || r.humanAccount(res) {
			return nil // the platform counts no objects, and has the student's account
		}
		for _, limits := range slices.Concat(r.Of(quotaType, ""), r.Of(limitRangeType, "")) {
			if !slices.Contains(res.DependsOn, limits.URN) {
				return fmt.Errorf("it does not wait for %s", limits)
			}
		}
		return nil
	}),
	sharedBreaks: []func(*Recording){
		func(r *Recording) { r.Of(deploymentType, "")[0].DependsOn = nil },
		func(r *Recording) { last(r.Of("kubernetes:core/v1:ServiceAccount", "")).DependsOn = nil },
		func(r *Recording) { r.Of("kubernetes:core/v1:Service", "")[0].DependsOn = nil },
	},
}, {
	name: "workloads have a limit of their own for the wait",
	check: objects(func(_ *Recording, res *Registration) error {
		if at(res.Object(), "spec", "template") != nil && (res.CreateLimit == "" || res.UpdateLimit == "") {
			return fmt.Errorf("custom timeouts: create %q, update %q", res.CreateLimit, res.UpdateLimit)
		}
		return nil
	}),
	breaks: []func(*Recording){
		func(r *Recording) { r.Of(deploymentType, "")[0].CreateLimit = "" },
		func(r *Recording) { r.Of(daemonSetType, "")[0].UpdateLimit = "" },
	},
}, {
	name: "a provider outlives its cluster's replacement, and never falls back to the user's own",
	check: func(r *Recording, res *Registration) error {
		if res.Type != providerType {
			return nil
		}
		name, _ := r.Outputs["clusterName"].Value.(string)
		want := map[string]any{
			"clusterIdentifier": "bootcamp", // the same for every stack and configuration
			"context":           "kind-" + name,
			"kubeconfig":        TestKubeconfig,
			// The cluster is the stack's own: where it is gone, so are its objects.
			"deleteUnreachable": true, "upsertExistingObjects": true, "enableConfigMapMutable": true,
			"enablePatchForce": true,
		}
		if r.shared() {
			want = map[string]any{
				"clusterIdentifier": "claimed", // the claim knows which cluster it is
				"context":           "class",
				"kubeconfig":        "testdata/kubeconfig.yaml",
				// Others are on it: nothing is forgotten, nothing taken over.
				"deleteUnreachable": false, "upsertExistingObjects": false, "enableConfigMapMutable": true,
				"enablePatchForce": true,
			}
		}
		if got := res.Object(); !assert.ObjectsAreEqual(want, got) {
			return fmt.Errorf("it is %v, not %v", got, want)
		}
		return nil
	},
	breaks: []func(*Recording){
		put(providerType, "bootcamp-dev", "clusterIdentifier"),
		put(providerType, "", "kubeconfig"),
		spoil(providerType, "deleteUnreachable"),
		spoil(providerType, "context"),
	},
	sharedBreaks: []func(*Recording){
		put(providerType, true, "deleteUnreachable"),
		put(providerType, true, "upsertExistingObjects"),
		put(providerType, "other", "context"),
	},
}, {
	name: "the kubeconfig, and a password, are nowhere in clear",
	check: func(_ *Recording, res *Registration) error {
		if leaks(resource.NewProperty(res.Inputs)) {
			return fmt.Errorf("its inputs hold the kubeconfig or a password, not as a secret")
		}
		if create := res.Object()["create"]; res.Type == commandType && create != nil && !slices.Contains(printNoSecret, create) {
			if !slices.Contains(res.SecretOutputs, "stdout") {
				return fmt.Errorf("its output stdout is no secret: %v", res.SecretOutputs)
			}
			if res.Object()["addPreviousOutputInEnv"] != false {
				return fmt.Errorf("addPreviousOutputInEnv hands the kubeconfig to update and delete")
			}
		}
		return nil
	},
	breaks: []func(*Recording){
		put(providerType, TestKubeconfig, "kubeconfig"),
		put(configMapType, "x: "+TestKubeconfig, "data", "kubeconfig"),
		put(configMapType, TestPassword, "data", "password"),
		func(r *Recording) { r.Of(commandType, "cluster")[0].SecretOutputs = nil },
		spoil(commandType, "addPreviousOutputInEnv"),
	},
	sharedBreaks: []func(*Recording){
		func(r *Recording) { r.Of(commandType, "student-kubeconfig")[0].SecretOutputs = nil },
	},
}, {
	name: "commands run no shell, show no output, and end",
	check: func(_ *Recording, res *Registration) error {
		if res.Type != commandType {
			return nil
		}
		c := res.Object()
		interpreter := fmt.Sprint(c["interpreter"])
		verbs := commandVerbs[interpreter+" "+fmt.Sprint(c["create"])]
		switch {
		case verbs == nil:
			return fmt.Errorf("these tests do not know %s %v", interpreter, c["create"])
		case c["update"] != verbs[0] || c["delete"] != verbs[1]:
			return fmt.Errorf("update %v, delete %v; it should be %v", c["update"], c["delete"], verbs)
		case c["logging"] != "stderr":
			return fmt.Errorf("logging is %v: standard output would be shown", c["logging"])
		case !res.DeleteBeforeReplace && c["delete"] != nil:
			return fmt.Errorf("deleteBeforeReplace is not set: two clusters cannot have one name")
		case res.CreateLimit == "" || res.UpdateLimit == "" || res.DeleteLimit == "":
			return fmt.Errorf("custom timeouts: %q, %q, %q", res.CreateLimit, res.UpdateLimit, res.DeleteLimit)
		case c["triggers"] == nil && interpreter == "[./class kindcluster]" && c["delete"] == kindcluster.VerbDelete:
			return fmt.Errorf("it has no triggers")
		case c["triggers"] != nil && interpreter == "[./class kindcluster]" && c["delete"] != kindcluster.VerbDelete:
			return fmt.Errorf("it has triggers: it would be replaced, and is to be run again")
		case c["triggers"] != nil && interpreter == "[./class sharedcluster]" && c["create"] != "kubeconfig":
			return fmt.Errorf("it has triggers: its delete would be run while the stack lives")
		}
		return nil
	},
	breaks: []func(*Recording){
		put(commandType, []any{"/bin/sh", "-c"}, "interpreter"),
		spoil(commandType, "interpreter"),
		put(commandType, "stdoutAndStderr", "logging"),
		func(r *Recording) { r.Of(commandType, "cluster-claim")[0].DeleteBeforeReplace = false },
		func(r *Recording) { r.Of(commandType, "cluster")[0].CreateLimit = "" },
		spoil(commandType, "triggers"),
		spoil(commandType, "update"),
		put(commandType, "rm -rf /", "delete"),
	},
}}

// TestInvariants holds every invariant against every resource of every
// configuration.
func TestInvariants(t *testing.T) {
	t.Parallel()
	for name, recording := range allConfigurations(t) {
		t.Run(name, func(t *testing.T) {
			require.Len(t, recording.Of(providerType, ""), 1, "the invariants know one provider a stack")
			require.Equal(t, name == "chapter-0-3" || name == "a mirror alone", len(recording.Kubernetes()) == 0)
			for _, inv := range invariants {
				for _, problem := range inv.problems(recording) {
					t.Error(problem)
				}
			}
		})
	}
}

// TestInvariantsCanFail spoils a recording in every way that an invariant says
// it sees.
func TestInvariantsCanFail(t *testing.T) {
	t.Parallel()
	for _, inv := range invariants {
		require.NotEmpty(t, slices.Concat(inv.breaks, inv.sharedBreaks), inv.name)
		try := func(run Run, name string, spoiled func(*Recording)) {
			t.Run(inv.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				recording := run.Good(t)
				spoiled(recording)
				assert.NotEmpty(t, inv.problems(recording), "the invariant does not see it")
			})
		}
		for i, spoiled := range inv.breaks {
			try(Run{}, strconv.Itoa(i), spoiled)
		}
		for i, spoiled := range inv.sharedBreaks {
			try(golden["student"], "shared "+strconv.Itoa(i), spoiled)
		}
	}
}

func (inv invariant) problems(r *Recording) []string {
	var out []string
	for _, res := range r.Resources {
		if err := inv.check(r, res); err != nil {
			out = append(out, fmt.Sprintf("%s: %s: %v", res, inv.name, err))
		}
	}
	return out
}

// TestKubeconfigOutputIsSecret looks at the stack's outputs and warnings of
// every configuration.
func TestKubeconfigOutputIsSecret(t *testing.T) {
	t.Parallel()
	for name, recording := range allConfigurations(t) {
		for output, o := range recording.Outputs {
			said := fmt.Sprint(o.Value)
			holds := strings.Contains(said, TestKubeconfig) || strings.Contains(said, TestPassword)
			secret := slices.Contains(lab.SecretOutputs, output)
			assert.Equal(t, secret && said != "", holds, "%s: %s", name, output)
			assert.Equal(t, secret, o.Secret, "%s: %s is a secret", name, output)
		}
		for _, w := range recording.Warnings {
			assert.NotContains(t, w, TestKubeconfig, name)
		}
	}
}

var componentType = regexp.MustCompile(`^bootcamp:[a-z]+:[A-Z][A-Za-z]+$`)

// TestTypeTokens: two component types with one token would be one to the engine.
func TestTypeTokens(t *testing.T) {
	t.Parallel()
	seen := map[string]token.Position{}
	files := token.NewFileSet()
	err := filepath.WalkDir("../components", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" {
			return err
		}
		file, err := parser.ParseFile(files, path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				return true
			}
			s, err := strconv.Unquote(lit.Value)
			if err != nil || !strings.HasPrefix(s, "bootcamp:") || strings.Count(s, ":") != 2 {
				return true
			}
			assert.Regexp(t, componentType, s)
			if before, twice := seen[s]; twice {
				t.Errorf("%s is at %s and at %s", s, before, files.Position(lit.Pos()))
			}
			seen[s] = files.Position(lit.Pos())
			return true
		})
		return nil
	})
	require.NoError(t, err)
	for _, res := range (Run{}).Good(t).Resources {
		if !res.Custom {
			assert.Contains(t, seen, res.Type, "this test does not find the constant; it looks for it in ../components")
		}
	}
}

// TestShape: what makes another cluster replaces it, and nothing else touches
// its command at all.
func TestShape(t *testing.T) {
	t.Parallel()
	base := map[string]string{"serviceType": "NodePort"}
	mapped := map[string]string{"serviceType": "NodePort", "hostPort": "8088"}
	tests := []struct {
		name    string
		from    map[string]string
		change  map[string]string
		another bool
	}{
		{"workers", base, map[string]string{"workers": "1"}, true},
		{"node image", base, map[string]string{"nodeImage": "kindest/node:v1.28.15"}, true},
		{"edition", base, map[string]string{"edition": "current"}, true},
		{"host port", base, map[string]string{"hostPort": "8088"}, true},
		{"another host port", mapped, map[string]string{"hostPort": "8089"}, true},
		{"node port that a host port leads to", mapped, map[string]string{"nodePort": "30081"}, true},
		{"node port without a host port", base, map[string]string{"nodePort": "30081"}, false},
		{"replicas", base, map[string]string{"replicas": "5"}, false},
		{"service type", mapped, map[string]string{"serviceType": "ClusterIP"}, false},
		{"scrape interval", base, map[string]string{"scrapeInterval": "30s"}, false},
		{"chapter", base, map[string]string{"chapter": "0-3"}, false},
		{"rollout timeout", base, map[string]string{"rolloutTimeout": "10m"}, false},
		{"echo image", base, map[string]string{"echoImage": "example/echo:1"}, false},
		{"Prometheus image", base, map[string]string{"prometheusImage": "example/prometheus:1"}, false},
		{"topics", base, map[string]string{"topics": "all"}, false},
		{"greeting", base, map[string]string{"greeting": "Good day!"}, false},
		{"topics' image", base, map[string]string{"topicImage": "example/agnhost:1"}, false},
		{"mirror", base, map[string]string{"imageMirror": "http://10.0.0.1:5000"}, false},
		{"node-exporter image", base, map[string]string{"nodeExporterImage": "example/node-exporter:1"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			changed := maps.Clone(tt.from)
			maps.Copy(changed, tt.change)
			before, after := Run{Config: tt.from}.Good(t), Run{Config: changed}.Good(t)
			old, now := before.One(t, commandType, "cluster").Object(), after.One(t, commandType, "cluster").Object()
			if tt.another {
				assert.NotEqual(t, old["triggers"], now["triggers"])
			} else {
				assert.Equal(t, old, now)
			}
			assert.Equal(t, before.One(t, commandType, "cluster-claim").Inputs, after.One(t, commandType, "cluster-claim").Inputs,
				"the claim is for the life of the stack")
		})
	}
}

// shared tells whether the stack is on a cluster that others use too.
func (r *Recording) shared() bool { return len(r.Of("bootcamp:cluster:Existing", "")) > 0 }

// humanAccount tells whether a resource is the account that a student works as, which
// is where no pod of theirs can run as it.
func (r *Recording) humanAccount(res *Registration) bool {
	return r.shared() && res.Type == "kubernetes:core/v1:ServiceAccount" &&
		at(res.Object(), "metadata", "namespace") == shared.PlatformNamespace &&
		at(res.Object(), "metadata", "name") == r.Outputs["namespace"].Value
}

// lifetime is the URN of what the objects of a stack live and die with.
func (r *Recording) lifetime() string {
	found := r.Of(commandType, "cluster")
	if r.shared() {
		found = r.Of("kubernetes:core/v1:Namespace", "")
	}
	if len(found) != 1 {
		return "(no cluster)"
	}
	return found[0].URN
}

// countedTypes are those of which a student's quota counts the objects.
var countedTypes = []string{deploymentType, daemonSetType, statefulType, claimType, serviceType, configMapType, "kubernetes:core/v1:ServiceAccount"}

// namespace is the stack's, where it is on a shared cluster.
func (r *Recording) namespace() string {
	name, _ := r.Outputs["namespace"].Value.(string)
	return name
}

// onlyObject is the object of a type and a name, or nil.
func onlyObject(r *Recording, typ, name string) any {
	if found := r.Of(typ, name); len(found) == 1 {
		return found[0].Object()
	}
	return nil
}

func (r *Registration) kind() string {
	kind, _ := r.Object()["kind"].(string)
	return kind
}

func (r *Recording) stackURN() string {
	return urn(r.Stack, "", string(resource.RootStackType), Project+"-"+r.Stack)
}

// podsOf returns the pod specs of all workloads with an app label.
func (r *Recording) podsOf(app any) []any {
	var pods []any
	for _, res := range r.Kubernetes() {
		if template := at(res.Object(), "spec", "template"); template != nil && at(template, "metadata", "labels", "app") == app {
			pods = append(pods, at(template, "spec"))
		}
	}
	return pods
}

// hasPort tells whether a container of the pods has a port, by number or name.
func hasPort(pods []any, port any) bool {
	for _, pod := range pods {
		containers, _ := at(pod, "containers").([]any)
		for _, c := range containers {
			ports, _ := at(c, "ports").([]any)
			for _, p := range ports {
				if port != nil && (at(p, "containerPort") == port || at(p, "name") == port) {
					return true
				}
			}
		}
	}
	return false
}

// objects limits a check to Kubernetes objects.
func objects(check func(*Recording, *Registration) error) func(*Recording, *Registration) error {
	return func(r *Recording, res *Registration) error {
		if !res.InCluster() {
			return nil
		}
		return check(r, res)
	}
}

func labelProblem(labels any) string {
	for _, k := range []string{"app", "app.kubernetes.io/name", "app.kubernetes.io/part-of", "app.kubernetes.io/managed-by"} {
		if s, _ := at(labels, k).(string); s == "" {
			return fmt.Sprintf("label %s is missing among %v", k, labels)
		}
	}
	return ""
}

func orNil(problem string) error {
	if problem == "" {
		return nil
	}
	return fmt.Errorf("%s", problem)
}

// leaks tells whether the kubeconfig is in a value other than as a secret.
func leaks(v resource.PropertyValue) bool {
	switch {
	case v.IsString():
		return strings.Contains(v.StringValue(), TestKubeconfig) || strings.Contains(v.StringValue(), TestPassword)
	case v.IsArray():
		return slices.ContainsFunc(v.ArrayValue(), leaks)
	case v.IsObject():
		for _, e := range v.ObjectValue() {
			if leaks(e) {
				return true
			}
		}
	}
	return false
}

func last[T any](s []T) T { return s[len(s)-1] }

// spoil removes a field from the first resource of a type (any Kubernetes
// object where the type is empty) that has it.
func spoil(typ string, path ...any) func(*Recording) { return edit(typ, nil, true, path...) }

// put sets a field of the first resource of a type that has the field's parent.
func put(typ string, value any, path ...any) func(*Recording) {
	return edit(typ, value, false, path...)
}

func edit(typ string, value any, remove bool, path ...any) func(*Recording) {
	return func(r *Recording) {
		for _, res := range r.Resources {
			if typ != res.Type && (typ != "" || !res.InCluster()) {
				continue
			}
			object := res.Object()
			parent, _ := at(object, path[:len(path)-1]...).(map[string]any)
			key := path[len(path)-1].(string)
			if _, has := parent[key]; parent == nil || remove && !has {
				continue
			}
			if remove {
				delete(parent, key)
			} else {
				parent[key] = value
			}
			res.Inputs = resource.NewPropertyMapFromMap(object)
			return
		}
		panic(fmt.Sprintf("no %s has %v", typ, path))
	}
}
