package tests

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"k8sbootcamp/components/kube"
	"k8sbootcamp/components/lab"
	"k8sbootcamp/components/settings"
	"k8sbootcamp/internal/course"
	"k8sbootcamp/internal/kindcluster"
	"k8sbootcamp/internal/sharedcluster"
)

// TestBadConfiguration: one error, and not one resource.
func TestBadConfiguration(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		run  Run
		want []string // keys of the problems
	}{
		"values":       {Run{Config: map[string]string{"workers": "11", "replicas": "many"}}, []string{"workers", "replicas"}},
		"unknown keys": {Run{Config: map[string]string{"worker": "1", "replica": "1"}}, []string{"replica", "worker"}},
		"old keys":     {Run{Config: map[string]string{"cluster": "existing", "role": "student", "monitoring": "false"}}, []string{"monitoring", "cluster, role"}},
		"stack name":   {Run{Stack: "it's a stack; $(touch x)", Config: map[string]string{"workers": "x"}}, []string{"", "workers"}},
		"a preview":    {Run{Preview: true, Config: map[string]string{"edition": "old", "serviceType": "x"}}, []string{"serviceType", "edition"}},
		"together":     {Run{Config: map[string]string{"mode": "shared-student"}}, []string{"kubeContext"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			recording := tt.run.Record()
			var keys []string
			for _, p := range settings.Problems(recording.Err) {
				keys = append(keys, p.Key)
			}
			assert.Equal(t, tt.want, keys)
			assert.Empty(t, recording.Resources)
			assert.Empty(t, recording.Outputs)
		})
	}

	recording := Run{Config: map[string]string{"nodeImage": "hunter2"}, Secret: []string{"nodeImage"}}.Record()
	problems := settings.Problems(recording.Err)
	require.Len(t, problems, 1)
	assert.Equal(t, "[secret]", problems[0].Value)
	assert.NotContains(t, recording.Err.Error(), "hunter2")
}

// TestEveryKeyMatters: another value of a key, of whichever, changes what some
// stack registers or puts out.
func TestEveryKeyMatters(t *testing.T) {
	t.Parallel()
	own := Run{Config: map[string]string{"serviceType": "NodePort", "hostPort": "8088"}}
	student := everything("shared-student")
	maps.Copy(student.Config, map[string]string{"quotaPods": "150", "quotaCPU": "50", "quotaMemory": "50Gi"}) // for all replicas
	others := map[string]string{"imageMirror": "http://10.0.0.1:5000", "kubeContext": "other", "kubeconfigPath": "./testdata/kubeconfig.yaml"}
	for _, k := range settings.Keys {
		t.Run(k.Name, func(t *testing.T) {
			t.Parallel()
			other, ok := others[k.Name]
			for _, v := range append(slices.Clone(k.Values), k.Max, "example/other:1") {
				if !ok && v != "" && v != k.Default && v != own.Config[k.Name] {
					other, ok = v, true
				}
			}
			changes := false
			for _, run := range []Run{own, student, everything("shared-platform")} {
				before := run.Good(t)
				run.Config = maps.Clone(run.Config)
				run.Config[k.Name] = other
				if switches[k.Name] == other { // off, and what needs it
					maps.DeleteFunc(run.Config, func(key, value string) bool { return switches[key] == value })
					run.Config[k.Name] = "false"
				}
				if k.Name == "mode" {
					run = onShared("dev", other, nil)
				}
				if run.Config["mode"] != "" && (k.Name == "hostPort" || k.Name == "nodePort" || k.Name == "imageMirror") {
					continue // not on a shared cluster
				}
				after := run.Good(t)
				changes = changes || !assert.ObjectsAreEqual(before.Outputs, after.Outputs) || !assert.ObjectsAreEqual(before.Resources, after.Resources)
			}
			assert.True(t, changes, "%s = %s changes nothing", k.Name, other)
		})
	}
}

// TestChapterOf: up to where a lab can be asked, by its outputs; those of a version that
// had no chapters among them.
func TestChapterOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		chapter, prometheus string
		want                course.Chapter
	}{
		{"0-3", "", course.Chapter03}, {"3-2", "", course.Chapter32}, {"3-3", "", course.Chapter34}, {"4-1", "", course.Chapter41},
		{"4-2", "", course.Chapter42}, {"4-3", "kubectl", course.Chapter44}, {"all", "kubectl", course.All}, {"", "kubectl", course.All}, {"", "", course.Chapter34},
	} {
		assert.Equal(t, c.want, lab.ChapterOf(map[string]string{lab.OutChapter: c.chapter, lab.OutPrometheusPortForward: c.prometheus}), c)
	}
	assert.Empty(t, lab.Exercises(nil))
	assert.Equal(t, []string{"podMonitoring", "topic-env"}, lab.Exercises(map[string]string{lab.OutExercises: "podMonitoring,topic-env"}))
}

// TestOutputs: the outputs of each kind of stack.
func TestOutputs(t *testing.T) {
	t.Parallel()
	const (
		app        = "kubectl --context kind-bootcamp-dev --namespace default port-forward service/bootcamp-svc 8081:80"
		prometheus = "kubectl --context kind-bootcamp-dev --namespace default port-forward service/prometheus 8080:9090"
	)
	balancer := func(entries ...map[string]any) Run {
		return Run{Config: map[string]string{"serviceType": "LoadBalancer"}, Answer: ingress(entries...)}
	}
	tests := []struct {
		name string
		run  Run
		want map[string]any // those that differ from the default's
	}{
		{"default", Run{}, nil},
		{"preview", Run{Preview: true}, nil},
		{"all exercises", Run{Config: switches}, map[string]any{
			"exercises":          "podMonitoring,rules,dashboards,topic-env,topic-configmap,topic-secret,topic-statefulset,topic-volume,topic-ingress",
			"grafanaPortForward": "kubectl --context kind-bootcamp-dev --namespace default port-forward service/grafana 3000:3000",
			"grafanaPassword":    TestPassword,
		}},
		{"chapter 0-3", Run{Config: map[string]string{"chapter": "0-3", "serviceType": "NodePort", "hostPort": "8088"}},
			map[string]any{"chapter": "0-3", "appProxyPath": "", "appPortForward": "", "prometheusPortForward": ""}},
		{"chapter 3-2", Run{Config: map[string]string{"chapter": "3-2", "serviceType": "NodePort", "hostPort": "8088"}},
			map[string]any{"chapter": "3-2", "appProxyPath": "", "appPortForward": "", "prometheusPortForward": ""}},
		{"chapter 3-3", Run{Config: map[string]string{"chapter": "3-3"}}, map[string]any{"chapter": "3-3", "prometheusPortForward": ""}},
		{"chapter 4-2", Run{Config: map[string]string{"chapter": "4-2"}}, map[string]any{"chapter": "4-2", "prometheusPortForward": ""}},
		{"chapter 4-3, exercises or not", Run{Config: withSwitches(map[string]string{"chapter": "4-3"})}, map[string]any{"chapter": "4-3"}},
		{"a host port alone", Run{Config: map[string]string{"hostPort": "8088"}}, nil},
		{"NodePort alone", Run{Config: map[string]string{"serviceType": "NodePort"}}, nil},
		{
			"NodePort and host port", Run{Config: map[string]string{"serviceType": "NodePort", "hostPort": "8088"}},
			map[string]any{"appURL": "http://127.0.0.1:8088/"},
		},
		{
			"NodePort and host port 80", Run{Config: map[string]string{"serviceType": "NodePort", "hostPort": "80"}},
			map[string]any{"appURL": "http://127.0.0.1/"},
		},
		{"LoadBalancer without an address", Run{Config: map[string]string{"serviceType": "LoadBalancer"}}, nil},
		{"LoadBalancer with an empty status", balancer(), nil},
		{"LoadBalancer with an empty entry", balancer(map[string]any{}), nil},
		{"LoadBalancer with IPv4", balancer(map[string]any{"ip": loadBalancerIP}), map[string]any{"appURL": "http://192.0.2.10/"}},
		{"LoadBalancer with IPv6", balancer(map[string]any{"ip": "2001:db8::1"}), map[string]any{"appURL": "http://[2001:db8::1]/"}},
		{"LoadBalancer with a name", balancer(map[string]any{"hostname": "lb.example"}), map[string]any{"appURL": "http://lb.example/"}},
		{"LoadBalancer with both", balancer(map[string]any{"ip": loadBalancerIP, "hostname": "lb.example"}), map[string]any{"appURL": "http://192.0.2.10/"}},
		{"LoadBalancer with two", balancer(map[string]any{"ip": ""}, map[string]any{"hostname": "lb.example"}), map[string]any{"appURL": "http://lb.example/"}},
		{
			"a stack name that kind does not take", Run{Stack: "Dev"},
			map[string]any{
				"clusterName": "bootcamp-dev-9c24f4", "context": "kind-bootcamp-dev-9c24f4",
				"appPortForward":        strings.Replace(app, "kind-bootcamp-dev", "kind-bootcamp-dev-9c24f4", 1),
				"prometheusPortForward": strings.Replace(prometheus, "kind-bootcamp-dev", "kind-bootcamp-dev-9c24f4", 1),
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			want := map[string]any{
				"clusterName": "bootcamp-dev", "context": "kind-bootcamp-dev", "namespace": "default", "kubeconfig": TestKubeconfig,
				"chapter":        "all",
				"appProxyPath":   "/api/v1/namespaces/default/services/bootcamp-svc/proxy/",
				"appPortForward": app, "prometheusPortForward": prometheus, "appURL": "",
			}
			for k, v := range tt.want {
				want[k] = v
			}
			got := map[string]any{}
			for k, o := range tt.run.Good(t).Outputs {
				assert.True(t, o.Known, k)
				got[k] = o.Value
			}
			assert.Equal(t, want, got)
		})
	}
}

// TestLoadBalancerOnKind: it does not hang, and says what is missing.
func TestLoadBalancerOnKind(t *testing.T) {
	t.Parallel()
	recording := Run{Config: map[string]string{"serviceType": "LoadBalancer"}}.Good(t)
	service := recording.One(t, serviceType, "bootcamp").Object()
	assert.Equal(t, "LoadBalancer", at(service, "spec", "type"))
	assert.Equal(t, "true", at(service, "metadata", "annotations", kube.SkipAwait))
	require.Len(t, recording.Warnings, 1)
	for _, want := range []string{"LoadBalancer", "bootcamp-svc", "cloud-provider-kind", "serviceType=NodePort"} {
		assert.Contains(t, recording.Warnings[0], want)
	}
	for _, other := range []string{"ClusterIP", "NodePort"} {
		assert.Empty(t, Run{Config: map[string]string{"serviceType": other}}.Good(t).Warnings, other)
	}
}

// TestServiceTypes: the Service of each type.
func TestServiceTypes(t *testing.T) {
	t.Parallel()
	for typ, nodePort := range map[string]any{"ClusterIP": nil, "NodePort": 30123, "LoadBalancer": nil} {
		recording := Run{Config: map[string]string{"serviceType": typ, "nodePort": "30123"}}.Good(t)
		service := recording.One(t, serviceType, "bootcamp").Object()
		assert.Equal(t, typ, at(service, "spec", "type"))
		assert.Equal(t, nodePort, at(service, "spec", "ports", 0, "nodePort"), typ)
		assert.Equal(t, 80, at(service, "spec", "ports", 0, "port"), typ)
		assert.Equal(t, 8080, at(service, "spec", "ports", 0, "targetPort"), typ)
	}
}

// TestConfigReachesTheObjects: what is configured is what is deployed.
func TestConfigReachesTheObjects(t *testing.T) {
	t.Parallel()
	recording := Run{Config: map[string]string{
		"replicas": "7", "echoImage": "example/echo:1", "prometheusImage": "example/prometheus:2",
		"nodeExporterImage": "example/node-exporter:3", "nodeImage": "example/node:4", "rolloutTimeout": "9m", "workers": "2",
	}}.Good(t)
	objects := programObjects(t, recording)
	image := func(object string) any {
		return at(objects[object], "spec", "template", "spec", "containers", 0, "image")
	}
	assert.Equal(t, 7, at(objects["Deployment bootcamp"], "spec", "replicas"))
	assert.Equal(t, "example/echo:1", image("Deployment bootcamp"))
	assert.Equal(t, "example/prometheus:2", image("Deployment prometheus"))
	assert.Equal(t, "example/node-exporter:3", image("DaemonSet node-exporter"))
	for i, role := range []string{"control-plane", "worker", "worker"} {
		assert.Equal(t, role, at(objects["Cluster"], "nodes", i, "role"))
		assert.Equal(t, "example/node:4", at(objects["Cluster"], "nodes", i, "image"))
	}
	assert.Nil(t, at(objects["Cluster"], "nodes", 3))
	for _, res := range recording.Kubernetes() {
		if res.Type == deploymentType || res.Type == daemonSetType {
			assert.Equal(t, "9m0s", res.CreateLimit, res)
			assert.Equal(t, "9m0s", res.UpdateLimit, res)
		}
	}
}

// TestCurrentEdition: its echo image needs to be told what to do.
func TestCurrentEdition(t *testing.T) {
	t.Parallel()
	args := func(run Run) any {
		return at(run.Good(t).One(t, deploymentType, "bootcamp").Object(), "spec", "template", "spec", "containers", 0, "args")
	}
	assert.Equal(t, []any{"netexec", "--http-port=8080"}, args(Run{Config: map[string]string{"edition": "current"}}))
	assert.Nil(t, args(Run{}))
	assert.Nil(t, args(Run{Config: map[string]string{"edition": "current", "echoImage": "example/echo:1"}}))
}

// TestHostPort: it leads from this machine alone to the nodePort of one node.
func TestHostPort(t *testing.T) {
	t.Parallel()
	config := programObjects(t, Run{Config: map[string]string{"serviceType": "NodePort", "nodePort": "30123", "hostPort": "8088"}}.Good(t))["Cluster"]
	assert.Equal(t, []any{map[string]any{
		"containerPort": 30123, "hostPort": 8088, "listenAddress": "127.0.0.1", "protocol": "TCP",
	}}, at(config, "nodes", 0, "extraPortMappings"))
	assert.Nil(t, at(config, "nodes", 1, "extraPortMappings"))
	assert.Nil(t, at(programObjects(t, Run{}.Good(t))["Cluster"], "nodes", 0, "extraPortMappings"))
}

// TestScrapeIntervalRollsPrometheus: Prometheus reads its file once, so another
// one must change the pod.
func TestScrapeIntervalRollsPrometheus(t *testing.T) {
	t.Parallel()
	template := func(interval string) (any, any) {
		recording := Run{Config: map[string]string{"scrapeInterval": interval}}.Good(t)
		file, _ := at(recording.One(t, configMapType, "prometheus").Object(), "data", "prometheus.yml").(string)
		var config any
		require.NoError(t, yaml.Unmarshal([]byte(file), &config))
		checksum := at(recording.One(t, deploymentType, "prometheus").Object(), "spec", "template", "metadata", "annotations", "checksum/config")
		return checksum, at(config, "global", "scrape_interval")
	}
	before, interval := template("15s")
	assert.Equal(t, "15s", interval)
	after, interval := template("1m30s")
	assert.Equal(t, "1m30s", interval)
	assert.NotEmpty(t, before)
	assert.NotEqual(t, before, after)
	same, _ := template("90s")
	assert.Equal(t, after, same, "the same interval, written otherwise")
}

// TestEmptyKubeconfig: the provider would take the user's own cluster.
func TestEmptyKubeconfig(t *testing.T) {
	t.Parallel()
	for name, printed := range map[string]string{"empty": "", "blank": " \n\t"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			recording := Run{Answer: func(r *Registration, state resource.PropertyMap) {
				if r.Type == commandType && r.Name == "cluster" {
					state["stdout"] = resource.NewProperty(printed)
				}
			}}.Record()
			require.ErrorContains(t, recording.Err, "cluster bootcamp-dev gave an empty kubeconfig")
			assert.Empty(t, recording.Of(providerType, ""), "no provider")
			assert.Empty(t, recording.Kubernetes(), "and nothing on it")
		})
	}
}

// TestClusterIsTheStacksOwn: the cluster's name and the claim reach both
// commands.
func TestClusterIsTheStacksOwn(t *testing.T) {
	t.Parallel()
	for _, stack := range []string{"dev", "Student_01"} {
		recording := Run{Stack: stack}.Good(t)
		name := kindcluster.Name(stack)
		made := recording.One(t, commandType, "cluster").Object()
		claim := recording.One(t, commandType, "cluster-claim").Object()
		assert.Equal(t, name, at(made, "environment", kindcluster.EnvName))
		assert.Equal(t, name, at(claim, "environment", kindcluster.EnvName))
		assert.Equal(t, TestClaim, at(made, "environment", kindcluster.EnvClaim))
		assert.Equal(t, true, claim["addPreviousOutputInEnv"], "the claim's delete is told the claim by what create printed")
		assert.Contains(t, fmt.Sprint(made["triggers"]), TestClaim, "another claim is another cluster")
		assert.Equal(t, []any{name}, claim["triggers"])
	}
}

// TestTwoStacks share no name of anything outside their clusters.
func TestTwoStacks(t *testing.T) {
	t.Parallel()
	a, b := Run{Stack: "a"}.Good(t), Run{Stack: "b"}.Good(t)
	for _, output := range []string{"clusterName", "context"} {
		assert.NotEqual(t, a.Outputs[output].Value, b.Outputs[output].Value)
	}
	assert.Equal(t, len(a.Resources), len(b.Resources))
	for i := range a.Kubernetes() {
		assert.Equal(t, a.Kubernetes()[i].Inputs, b.Kubernetes()[i].Inputs, "inside, they are the same")
	}
}

// TestTwoStudents on one cluster have no object in common, and neither has one
// that is the class's.
func TestTwoStudents(t *testing.T) {
	t.Parallel()
	owner := map[string]string{}
	for stack, mode := range map[string]string{
		"class": "shared-platform", "alice": "shared-student", "bob": "shared-student", "Bob": "shared-student",
	} {
		for _, res := range onShared(stack, mode, nil).Good(t).Kubernetes() {
			id := fmt.Sprint(res.kind(), " ", at(res.Object(), "metadata", "namespace"), "/", at(res.Object(), "metadata", "name"))
			assert.Empty(t, owner[id], "%s is of %s, and of %s", id, stack, owner[id])
			owner[id] = stack
		}
	}
}

// TestSharedNodePort: a node port is one for the whole cluster, so a student's is
// left to the cluster; the quota and the policy let it have that one alone.
func TestSharedNodePort(t *testing.T) {
	t.Parallel()
	const label = "bootcamp/service-type"
	for typ, want := range map[string]struct{ nodePorts, balancers string }{
		"ClusterIP": {"0", "0"}, "NodePort": {"1", "0"}, "LoadBalancer": {"1", "1"},
	} {
		recording := onShared("alice", "shared-student", map[string]string{"serviceType": typ}).Good(t)
		service := recording.One(t, serviceType, "bootcamp").Object()
		assert.Equal(t, typ, at(service, "spec", "type"))
		assert.Nil(t, at(service, "spec", "ports", 0, "nodePort"), typ)
		hard := at(recording.One(t, quotaType, "bootcamp-alice").Object(), "spec", "hard")
		assert.Equal(t, want.nodePorts, at(hard, "services.nodeports"), typ)
		assert.Equal(t, want.balancers, at(hard, "services.loadbalancers"), typ)
		assert.Equal(t, typ, at(recording.One(t, "kubernetes:core/v1:Namespace", "").Object(), "metadata", "labels", label))
	}
	assert.Nil(t, at(onShared("class", "shared-platform", nil).Good(t).One(t, "kubernetes:core/v1:Namespace", "").Object(), "metadata", "labels", label))
}

// TestPlatformsName: a student cannot get the class's namespace.
func TestPlatformsName(t *testing.T) {
	t.Parallel()
	recording := onShared("platform", "shared-student", nil).Record()
	problems := settings.Problems(recording.Err)
	require.Len(t, problems, 1)
	assert.Equal(t, settings.Clash, problems[0].Kind)
	assert.Equal(t, "mode", problems[0].Key)
	assert.Equal(t, "shared-student", problems[0].Value)
	assert.Empty(t, recording.Resources)
}

// TestNoSuchContext: a shared cluster that cannot be meant is an error before
// anything is registered.
func TestNoSuchContext(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"shared-platform", "shared-student"} {
		for key, value := range map[string]string{"kubeContext": "nobody", "kubeconfigPath": "testdata/none.yaml"} {
			recording := onShared("alice", mode, map[string]string{key: value}).Record()
			require.ErrorContains(t, recording.Err, value)
			assert.Empty(t, recording.Resources)
		}
	}
}

// TestSharedOutputs: a student's outputs are what they work with, none of the
// teacher's.
func TestSharedOutputs(t *testing.T) {
	t.Parallel()
	values := func(run Run) map[string]any {
		got := map[string]any{}
		for k, o := range run.Good(t).Outputs {
			got[k] = o.Value
		}
		return got
	}
	assert.Equal(t, map[string]any{
		"clusterName": "class", "context": "bootcamp-alice", "namespace": "bootcamp-alice", "chapter": "all",
		"kubeconfig": TestKubeconfig, "studentKubeconfig": TestKubeconfig,
		"appProxyPath":          "/api/v1/namespaces/bootcamp-alice/services/bootcamp-svc/proxy/",
		"appPortForward":        "kubectl --context bootcamp-alice --namespace bootcamp-alice port-forward service/bootcamp-svc 8081:80",
		"prometheusPortForward": "kubectl --context bootcamp-alice --namespace bootcamp-alice port-forward service/prometheus 8080:9090",
		"appURL":                "",
	}, values(onShared("alice", "shared-student", nil)))
	assert.Equal(t, map[string]any{"context": "class", "namespace": "bootcamp-platform", "chapter": "all"}, values(onShared("class", "shared-platform", nil)))

	balanced := onShared("alice", "shared-student", map[string]string{"serviceType": "LoadBalancer"})
	balanced.Answer = ingress(map[string]any{"ip": loadBalancerIP})
	recording := balanced.Good(t)
	assert.Equal(t, "http://192.0.2.10/", recording.Outputs["appURL"].Value)
	assert.Empty(t, recording.Warnings, "a shared cluster gives load balancers")
}

// TestNetworkPolicy: a rule that names no peers is for everybody, and none does.
func TestNetworkPolicy(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*sharedcluster.Facts){
		"as it should be":        nil,
		"no API server":          func(f *sharedcluster.Facts) { f.APIServer = nil },
		"no API server's port":   func(f *sharedcluster.Facts) { f.APIServerPorts = nil },
		"no nodes":               func(f *sharedcluster.Facts) { f.Nodes = nil },
		"no name server":         func(f *sharedcluster.Facts) { f.DNS = nil },
		"addresses of version 6": func(f *sharedcluster.Facts) { f.Nodes, f.DNS = []string{"2001:db8::11"}, []string{"2001:db8::53"} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run := onShared("alice", "shared-student", nil)
			cluster := TestCluster
			run.Cluster = &cluster
			if change != nil {
				change(run.Cluster)
			}
			recording := run.Record()
			if strings.HasPrefix(name, "no API server") || name == "no nodes" {
				require.ErrorContains(t, recording.Err, "so the NetworkPolicy cannot")
				return
			}
			require.NoError(t, recording.Err)
			spec := recording.One(t, "kubernetes:networking.k8s.io/v1:NetworkPolicy", "").Object()["spec"]
			for _, direction := range []struct{ rules, peers string }{{"ingress", "from"}, {"egress", "to"}} {
				rules, _ := at(spec, direction.rules).([]any)
				require.NotEmpty(t, rules)
				for _, rule := range rules {
					peers, _ := at(rule, direction.peers).([]any)
					assert.NotEmpty(t, peers, "for everybody: %v", rule)
					for _, peer := range peers {
						if block, ok := at(peer, "ipBlock", "cidr").(string); ok {
							if direction.rules == "egress" {
								ports, _ := at(rule, "ports").([]any)
								assert.NotEmpty(t, ports, "every port of %s", block)
							}
							prefix, err := netip.ParsePrefix(block)
							require.NoError(t, err)
							assert.True(t, prefix.IsSingleIP(), "more than one address: %s", block)
							assert.NotEqual(t, "169.254.169.254/32", block, "a cloud's metadata")
						}
					}
				}
			}
		})
	}
}

// TestWrongCluster: on another cluster than the stack's, and where an object of the
// stack's name is another's, nothing is registered that could touch it.
func TestWrongCluster(t *testing.T) {
	t.Parallel()
	namespace := sharedcluster.Object{Resource: "namespaces", Name: "bootcamp-alice"}
	for name, c := range map[string]struct {
		facts sharedcluster.Facts
		says  string
	}{
		"another cluster":                   {sharedcluster.Facts{ID: "another"}, "this is another cluster than the stack's"},
		"another's object":                  {sharedcluster.Facts{ID: TestCluster.ID, Owners: []sharedcluster.Owner{{Object: namespace, Mark: "theirs", Words: "stack x/y/z"}}}, "namespaces/bootcamp-alice exists already; its owner is stack x/y/z"},
		"an object that nobody's claim has": {sharedcluster.Facts{ID: TestCluster.ID, Owners: []sharedcluster.Owner{{Object: namespace, Words: "not this project"}}}, "namespaces/bootcamp-alice exists already"},
	} {
		for _, mode := range []string{"shared-student", "shared-platform"} {
			t.Run(name+", "+mode, func(t *testing.T) {
				t.Parallel()
				run := onShared("alice", mode, nil)
				c.facts.APIServer, c.facts.APIServerPorts, c.facts.Nodes = TestCluster.APIServer, TestCluster.APIServerPorts, TestCluster.Nodes
				run.Cluster = &c.facts
				recording := run.Record()
				require.ErrorContains(t, recording.Err, c.says)
				assert.Empty(t, recording.Kubernetes())
			})
		}
	}
	ours := TestCluster
	ours.Owners = []sharedcluster.Owner{{Object: namespace, Mark: TestClaim}}
	run := onShared("alice", "shared-student", nil)
	run.Cluster = &ours
	assert.NotEmpty(t, run.Good(t).Kubernetes())
}

// TestLeaveIsFirst: what a destroy begins with depends on all else that the stack has,
// so that all else stays where it fails.
func TestLeaveIsFirst(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"student", "platform", "student-everything", "platform-everything"} {
		recording := golden[mode].Good(t)
		leave := recording.One(t, commandType, "cluster-leave")
		for _, res := range recording.Resources {
			if res.Custom && res != leave {
				assert.Contains(t, leave.DependsOn, res.URN, mode)
			}
		}
	}
}

// TestRestrictedPods: a student's own pods need no privilege, where their images are
// known to run without.
func TestRestrictedPods(t *testing.T) {
	t.Parallel()
	for edition, restricted := range map[string]int{"current": 2, "course": 1} { // the course's echo app is not known
		found := 0
		for _, d := range onShared("alice", "shared-student", map[string]string{"edition": edition}).Good(t).Of(deploymentType, "") {
			pod := at(d.Object(), "spec", "template", "spec")
			if at(pod, "securityContext", "runAsNonRoot") == true {
				found++
				assert.Equal(t, "RuntimeDefault", at(pod, "securityContext", "seccompProfile", "type"))
				assert.Equal(t, false, at(pod, "containers", 0, "securityContext", "allowPrivilegeEscalation"))
				assert.Equal(t, []any{"ALL"}, at(pod, "containers", 0, "securityContext", "capabilities", "drop"))
			}
		}
		assert.Equal(t, restricted, found, edition)
	}
}
