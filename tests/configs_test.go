package tests

import (
	"maps"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
)

// loadBalancerIP is in a range that is for documentation (RFC 5737).
const loadBalancerIP = "192.0.2.10"

// golden are the configurations whose objects are kept in testdata/golden.
var golden = map[string]Run{
	"course":  {},
	"current": {Config: map[string]string{"edition": "current"}},
	"nodeport": {Config: map[string]string{
		"serviceType": "NodePort", "nodePort": "30081", "hostPort": "8088",
	}},
	"loadbalancer": {Config: map[string]string{"serviceType": "LoadBalancer"}, Answer: ingress(map[string]any{"ip": loadBalancerIP})},
	"platform":     onShared("class", "shared-platform", nil),
	"student":      onShared("alice", "shared-student", nil),

	"chapter-0-3":          {Config: map[string]string{"chapter": "0-3"}},
	"chapter-3-2":          {Config: map[string]string{"chapter": "3-2"}},
	"chapter-3-3":          {Config: map[string]string{"chapter": "3-3"}},
	"chapter-4-1":          {Config: map[string]string{"chapter": "4-1"}},
	"chapter-4-2":          {Config: map[string]string{"chapter": "4-2"}},
	"platform-chapter-3-3": onShared("class", "shared-platform", map[string]string{"chapter": "3-3"}),
	"student-chapter-3-2":  onShared("alice", "shared-student", map[string]string{"chapter": "3-2"}),

	"everything":          {Config: switches},
	"platform-everything": everything("shared-platform"),
	"student-everything":  everything("shared-student"),
}

// switches are the keys that add something to the course, all on.
var switches = map[string]string{"podMonitoring": "true", "rules": "true", "dashboards": "true", "topics": "all"}

// withSwitches adds all of them to a configuration.
func withSwitches(config map[string]string) map[string]string {
	config = maps.Clone(config)
	maps.Copy(config, switches)
	return config
}

// everything is a stack on a shared cluster with all switches on.
func everything(mode string) Run {
	stack := "alice"
	if mode == "shared-platform" {
		stack = "class"
	}
	return onShared(stack, mode, switches)
}

// onShared is a stack on a shared cluster, with its own keys besides.
func onShared(stack, mode string, more map[string]string) Run {
	config := map[string]string{
		"mode": mode, "kubeContext": "class", "kubeconfigPath": "testdata/kubeconfig.yaml",
	}
	maps.Copy(config, more)
	return Run{Stack: stack, Config: config}
}

// further are configurations at the edges, for which the invariants hold too.
var further = map[string]Run{
	"smallest": {Config: map[string]string{"workers": "0", "replicas": "0", "chapter": "3-3"}},
	"largest":  {Config: map[string]string{"workers": "10", "replicas": "100", "scrapeInterval": "5m", "rolloutTimeout": "1h"}},
	"own images": {Config: map[string]string{
		"nodeImage": "registry.example:5000/node:v1.34.4", "echoImage": "registry.example:5000/e2e/agnhost:2.56",
		"prometheusImage": "prom/prometheus@sha256:0866296e693efe1fed79d5e6c7af8df71fc73ae45e3679af05342239cdc5bc8e", "nodeExporterImage": "node-exporter:1",
	}},
	"hostPort without NodePort": {Config: map[string]string{"hostPort": "8088"}},
	"NodePort without hostPort": {Config: map[string]string{"serviceType": "NodePort"}},
	"current with all":          {Config: map[string]string{"edition": "current", "serviceType": "NodePort", "hostPort": "65535", "nodePort": "32767"}},
	"nodes pull":                {Config: withSwitches(map[string]string{"imagePull": "nodes"})},
	"a mirror":                  {Config: withSwitches(map[string]string{"imageMirror": "https://mirror.example:5000"})},
	"a mirror, and nodes pull":  {Config: map[string]string{"imageMirror": "http://10.0.0.1:5000", "imagePull": "nodes"}},
	"a mirror alone":            {Config: map[string]string{"imageMirror": "http://[fd00::1]:5000", "chapter": "0-3"}},
	"odd stack name":            {Stack: "Student_01.Example"},
	"long stack name":           {Stack: "a-stack-whose-name-is-longer-than-a-host-name-may-be-and-that-is-cut"},
	"platform before the app":   onShared("class", "shared-platform", map[string]string{"chapter": "0-3"}),
	"student before Prometheus": onShared("Bob.B", "shared-student", map[string]string{"chapter": "4-2"}),
	"exercises that wait":       {Config: withSwitches(map[string]string{"chapter": "4-3"})},
	"student with NodePort":     onShared("carol", "shared-student", map[string]string{"serviceType": "NodePort", "edition": "current"}),
	"student with LoadBalancer": onShared("dave", "shared-student", map[string]string{"serviceType": "LoadBalancer", "replicas": "5", "quotaPods": "10"}),
	"preview":                   {Preview: true, Config: map[string]string{"serviceType": "LoadBalancer"}},
}

// ingress answers for the echo app's Service as a cluster with load balancers
// does: with these entries in its status.
func ingress(entries ...map[string]any) func(*Registration, resource.PropertyMap) {
	return func(r *Registration, state resource.PropertyMap) {
		if r.Type != "kubernetes:core/v1:Service" || plain(r.Inputs["spec"].ObjectValue()["type"]) != "LoadBalancer" {
			return
		}
		state["status"] = resource.NewPropertyValue(map[string]any{"loadBalancer": map[string]any{"ingress": entries}})
	}
}

// allConfigurations records every configuration above.
func allConfigurations(t *testing.T) map[string]*Recording {
	t.Helper()
	recordings := map[string]*Recording{}
	for _, set := range []map[string]Run{golden, further} {
		for name, run := range set {
			recordings[name] = run.Good(t)
		}
	}
	return recordings
}
