package engine

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"k8sbootcamp/components/images"
	"k8sbootcamp/components/kind"
	"k8sbootcamp/components/tool"
	"k8sbootcamp/internal/fake"
	"k8sbootcamp/internal/kindcluster"
	"k8sbootcamp/tests/internal/results"
)

// The objects of the course, as short URNs.
var (
	echoObjects       = []string{"Deployment bootcamp", "Service bootcamp"}
	monitoringObjects = []string{
		"DaemonSet node-exporter", "Service node-exporter",
		"ServiceAccount prometheus", "ClusterRole prometheus", "ClusterRoleBinding prometheus",
		"ConfigMap prometheus", "Deployment prometheus", "Service prometheus",
	}
	monitoringAll = append([]string{"Monitoring monitoring", "Account prometheus"}, monitoringObjects...)
	inCluster     = slices.Concat([]string{"Echo bootcamp"}, echoObjects, monitoringAll)
)

// exercises are all on, and what they add.
var (
	exercises    = cfg{"podMonitoring": "true", "rules": "true", "dashboards": "true"}
	exercisesAll = []string{
		"Account kube-state-metrics", "ServiceAccount kube-state-metrics", "ClusterRole kube-state-metrics", "ClusterRoleBinding kube-state-metrics",
		"Deployment kube-state-metrics", "Service kube-state-metrics",
		"Dashboards grafana", "Command grafana-password", "Secret grafana", "ConfigMap grafana", "Deployment grafana", "Service grafana",
	}
)

// inClusterKeys are the same objects as the cluster names them.
var inClusterKeys = []string{
	"ClusterRole/prometheus", "ClusterRoleBinding/prometheus", "ConfigMap/default/prometheus",
	"DaemonSet/default/node-exporter", "Deployment/default/bootcamp", "Deployment/default/prometheus",
	"Service/default/bootcamp-svc", "Service/default/node-exporter", "Service/default/prometheus",
	"ServiceAccount/default/prometheus",
}

// The commands that bring images, and what a cluster needs of its host.
const (
	pullImages     = "Command " + images.PullName
	loadImages     = "Command " + images.LoadName
	prepareCluster = "Command " + kind.PrepareName
)

// madeAfter are pairs of which the second needs the first. Deletes keep the
// reverse order, except in a replacement: there the engine sends them at once.
var madeAfter = [][2]string{
	{"Echo bootcamp", "Deployment bootcamp"}, {"Echo bootcamp", "Service bootcamp"},
	{"Monitoring monitoring", "DaemonSet node-exporter"}, {"Monitoring monitoring", "Service node-exporter"},
	{"Monitoring monitoring", "Account prometheus"}, {"Monitoring monitoring", "ConfigMap prometheus"},
	{"Account prometheus", "ServiceAccount prometheus"}, {"Account prometheus", "ClusterRole prometheus"},
	{"ServiceAccount prometheus", "ClusterRoleBinding prometheus"}, {"ClusterRole prometheus", "ClusterRoleBinding prometheus"},
	{"ClusterRoleBinding prometheus", "Deployment prometheus"}, {"ConfigMap prometheus", "Deployment prometheus"},
	{"Stack bootcamp-dev", "Kind cluster"},
	{"kubernetes cluster", "Echo bootcamp"}, {"kubernetes cluster", "Monitoring monitoring"},
	{"Images images", pullImages}, {pullImages, loadImages}, {"Command cluster", loadImages},
	{loadImages, "Deployment bootcamp"}, {loadImages, "Service bootcamp"}, {loadImages, "DaemonSet node-exporter"}, {loadImages, "Deployment prometheus"},
	{"Command cluster-takeover", "Deployment bootcamp"}, {"Command cluster-takeover", "Service bootcamp"},
	{"Command cluster-takeover", "DaemonSet node-exporter"}, {"Command cluster-takeover", "Service node-exporter"},
	{"Command cluster-takeover", "ServiceAccount prometheus"}, {"Command cluster-takeover", "ClusterRole prometheus"},
	{"Command cluster-takeover", "ConfigMap prometheus"}, {"Command cluster-takeover", "Service prometheus"},
}

// steps are groups of steps: the groups come in this order; in a group any
// order will do that madeAfter allows.
type steps [][]string

// each is one group with an operation on every resource.
func each(resources []string, ops ...string) []string {
	var out []string
	for _, r := range resources {
		for _, op := range ops {
			out = append(out, op+" "+r)
		}
	}
	return out
}

// one is a group of one step each, for a strict order.
func one(list ...string) steps {
	out := steps{}
	for _, s := range list {
		out = append(out, []string{s})
	}
	return out
}

// takesOver is a step of the command that is told which objects there are.
func takesOver(op string) string { return op + " Command " + tool.TakeOverName }

var (
	stepsFirstUp = slices.Concat(
		one("create Stack bootcamp-dev"),
		steps{{"create Kind cluster", "create command default_1_2_1", "create " + pullImages}},
		one("create Command cluster-claim", "create "+prepareCluster, "create Command cluster"),
		steps{append(each(inCluster, "create"), "create kubernetes cluster", takesOver("create"), "create Images images", "create "+loadImages)})
	stepsReplace = slices.Concat(
		steps{each(inCluster, "delete-replaced")},
		one("delete-replaced Command cluster", "replace Command cluster", "create-replacement Command cluster"),
		steps{{"update kubernetes cluster", "update " + loadImages}},
		steps{each(inCluster, "replace", "create-replacement")})
	// Another shape of the cluster is prepared before anything is given up.
	stepsReshape = slices.Concat(one("update "+prepareCluster), stepsReplace)
	// Where the images change too.
	stepsReplaceAll = slices.Concat(stepsReshape, one("update "+pullImages))
	stepsDestroy    = slices.Concat(
		steps{append(each(inCluster, "delete"), "delete kubernetes cluster", takesOver("delete"), "delete "+loadImages)},
		one("delete Command cluster", "delete "+prepareCluster, "delete Command cluster-claim"),
		steps{{"delete Kind cluster", "delete command default_1_2_1", "delete Stack bootcamp-dev", "delete " + pullImages, "delete Images images"}})
)

// beside are the steps that may come at any time, for nothing but images-load waits for
// them: those of images-pull, and of the component that it is in.
func beside(step string) bool {
	return strings.HasSuffix(step, pullImages) || strings.HasSuffix(step, "Images images")
}

// requireSteps compares what the engine did with what it should.
func requireSteps(t *testing.T, want steps, got []string) {
	t.Helper()
	all, ordered := got, steps{}
	var free []string
	for _, group := range want {
		var kept []string
		for _, step := range group {
			if beside(step) {
				free = append(free, step)
			} else {
				kept = append(kept, step)
			}
		}
		if len(kept) > 0 {
			ordered = append(ordered, kept)
		}
	}
	var did []string
	got = slices.DeleteFunc(slices.Clone(got), func(step string) bool {
		if beside(step) {
			did = append(did, step)
		}
		return beside(step)
	})
	require.ElementsMatch(t, free, did, "steps that may come at any time, of all:\n%s", strings.Join(all, "\n"))
	want, rest := ordered, got
	for i, group := range want {
		n := min(len(group), len(rest))
		require.ElementsMatch(t, group, rest[:n], "group %d of the steps, of all:\n%s", i+1, strings.Join(got, "\n"))
		rest = rest[n:]
	}
	require.Empty(t, rest, "steps beyond those expected")
	requireOrder(t, all)
}

func requireOrder(t testing.TB, got []string) {
	t.Helper()
	for _, p := range madeAfter {
		for _, op := range []string{"create ", "create-replacement "} {
			requireBefore(t, got, op+p[0], op+p[1])
		}
		requireBefore(t, got, "delete "+p[1], "delete "+p[0])
	}
}

func requireBefore(t testing.TB, got []string, first, second string) {
	t.Helper()
	a, b := slices.Index(got, first), slices.Index(got, second)
	if a >= 0 && b >= 0 {
		require.Less(t, a, b, "%q must come before %q, of all:\n%s", first, second, strings.Join(got, "\n"))
	}
}

// requireFresh checks that the world is what a fresh up of the configuration
// gives, and that the engine knows so.
func requireFresh(t testing.TB, s *sim, c cfg) {
	t.Helper()
	require.Equal(t, fresh(t, s.stack, c), s.world.content(), "not what a fresh up gives")
	again := s.once(up, c, false)
	require.NoError(t, again.err)
	require.Empty(t, again.steps, "a further up had something to do")
}

// fresh is the content of a world after one up of the configuration.
func fresh(t testing.TB, stack string, c cfg) map[string]any {
	id := fmt.Sprint(stack, map[string]string(c)) // maps are printed in order
	if known, ok := freshWorlds.Load(id); ok {
		return known.(map[string]any)
	}
	s := newSim(t, newWorld(), stack)
	require.NoError(t, s.once(up, c, false).err)
	freshWorlds.Store(id, s.world.content())
	return s.world.content()
}

var freshWorlds sync.Map

// requireGone checks that destroy has left nothing, neither in the world nor in
// the state.
func requireGone(t testing.TB, s *sim, o *outcome) {
	t.Helper()
	require.NoError(t, o.err)
	require.Zero(t, s.world.containers(), "containers are left: %v", slices.Collect(maps.Keys(s.world.Clusters)))
	require.Empty(t, s.snap.Resources, "resources are left in the state")
}

// TestLifecycle is the table of what a class does with a stack.
func TestLifecycle(t *testing.T) {
	const node = "registry.example/node:v1"
	change := func(from, to cfg, want steps) func(*testing.T, *sim) {
		return func(t *testing.T, s *sim) {
			require.NoError(t, s.up(from).err)
			o := s.up(to)
			require.NoError(t, o.err)
			requireSteps(t, want, o.steps)
			requireFresh(t, s, to)
		}
	}
	cases := map[string]func(*testing.T, *sim){
		"first up": func(t *testing.T, s *sim) {
			o := s.up(nil)
			require.NoError(t, o.err)
			requireSteps(t, stepsFirstUp, o.steps)
			require.Equal(t, inClusterKeys, keys(s.world.Clusters["bootcamp-dev"]))
			require.Equal(t, 4, s.world.containers())
		},
		"no-op up":                    change(nil, nil, nil),
		"replicas":                    change(nil, cfg{"replicas": "5"}, one("update Deployment bootcamp")),
		"service type":                change(nil, cfg{"serviceType": "NodePort"}, one("update Service bootcamp")),
		"service type and back":       change(cfg{"serviceType": "NodePort", "nodePort": "30100"}, nil, one("update Service bootcamp")),
		"load balancer":               change(nil, cfg{"serviceType": "LoadBalancer"}, one("update Service bootcamp")),
		"scrape interval":             change(nil, cfg{"scrapeInterval": "5s"}, one("update ConfigMap prometheus", "update Deployment prometheus")),
		"rollout timeout":             change(nil, cfg{"rolloutTimeout": "5m"}, nil),
		"echo image":                  change(nil, cfg{"echoImage": "registry.example/echo:1"}, one("update "+pullImages, "update "+loadImages, "update Deployment bootcamp")),
		"echo image, that nodes pull": change(cfg{"imagePull": "nodes"}, cfg{"imagePull": "nodes", "echoImage": "registry.example/echo:1"}, one("update Deployment bootcamp")),
		"nodes pull":                  change(nil, cfg{"imagePull": "nodes"}, steps{each([]string{"Images images", pullImages, loadImages}, "delete")}),
		"nodes pull no more":          change(cfg{"imagePull": "nodes"}, nil, steps{each([]string{"Images images", pullImages, loadImages}, "create")}),
		"chapter 4":                   change(cfg{"chapter": "3-3"}, nil, steps{append(each(monitoringAll, "create"), takesOver("update"), "update "+pullImages, "update "+loadImages)}),
		"chapter 4 undone":            change(nil, cfg{"chapter": "3-3"}, steps{append(each(monitoringAll, "delete"), takesOver("update"), "update "+pullImages, "update "+loadImages)}),
		"exercises on":                change(nil, exercises, steps{append(each(exercisesAll, "create"), each([]string{"ConfigMap prometheus", "Deployment prometheus", "Command " + tool.TakeOverName, pullImages, loadImages}, "update")...)}),
		"exercises off":               change(exercises, nil, steps{append(each(exercisesAll, "delete"), each([]string{"ConfigMap prometheus", "Deployment prometheus", "Command " + tool.TakeOverName, pullImages, loadImages}, "update")...)}),
		"exercises, another shape": func(t *testing.T, s *sim) {
			require.NoError(t, s.up(exercises).err)
			to := maps.Clone(exercises)
			to["workers"] = "1"
			require.NoError(t, s.up(to).err)
			requireFresh(t, s, to)
		},
		"edition, same node":     change(cfg{"nodeImage": node}, cfg{"nodeImage": node, "edition": "current"}, steps{each([]string{"Deployment bootcamp", "DaemonSet node-exporter", "Deployment prometheus", pullImages, loadImages}, "update")}),
		"edition":                change(nil, cfg{"edition": "current"}, stepsReplaceAll),
		"workers":                change(nil, cfg{"workers": "1"}, stepsReshape),
		"no workers":             change(nil, cfg{"workers": "0"}, stepsReshape),
		"node image":             change(nil, cfg{"nodeImage": node}, stepsReshape),
		"host port":              change(nil, cfg{"serviceType": "NodePort", "hostPort": "18080"}, stepsReshape),
		"node port without host": change(cfg{"serviceType": "NodePort"}, cfg{"serviceType": "NodePort", "nodePort": "30081"}, one("update Service bootcamp")),
		"everything at once": change(cfg{"replicas": "1"},
			cfg{"replicas": "4", "serviceType": "NodePort", "nodePort": "30082", "hostPort": "18081", "workers": "2", "edition": "current", "scrapeInterval": "1m"}, stepsReplaceAll),

		"destroy": func(t *testing.T, s *sim) {
			require.NoError(t, s.up(nil).err)
			o := s.destroy()
			requireGone(t, s, o)
			requireSteps(t, stepsDestroy, o.steps)
			require.Equal(t, []string{"delete cluster bootcamp-dev"}, o.changes, "only the cluster itself is deleted; its objects go with it")
		},
		"destroy twice": func(t *testing.T, s *sim) {
			require.NoError(t, s.up(nil).err)
			requireGone(t, s, s.destroy())
			o := s.destroy()
			requireGone(t, s, o)
			require.Empty(t, o.steps)
		},
		"destroy with the cluster gone": func(t *testing.T, s *sim) {
			require.NoError(t, s.up(nil).err)
			delete(s.world.Clusters, "bootcamp-dev")
			o := s.destroy()
			requireGone(t, s, o)
			requireSteps(t, stepsDestroy, o.steps)
			require.Empty(t, o.changes)
		},
		"up after destroy": func(t *testing.T, s *sim) {
			require.NoError(t, s.up(cfg{"workers": "1"}).err)
			requireGone(t, s, s.destroy())
			o := s.up(nil)
			require.NoError(t, o.err)
			requireSteps(t, stepsFirstUp, o.steps)
			requireFresh(t, s, nil)
		},
		"vanished cluster": func(t *testing.T, s *sim) {
			require.NoError(t, s.up(nil).err)
			delete(s.world.Clusters, "bootcamp-dev")
			o := s.up(nil)
			require.NoError(t, o.err)
			require.Empty(t, o.steps, "the engine cannot know; should it ever, the docs can say less")
			o = s.up(nil, replaceCluster(s))
			require.NoError(t, o.err)
			requireSteps(t, stepsReplace, o.steps)
			requireFresh(t, s, nil)
		},
		"vanished cluster, as the class tool has it": func(t *testing.T, s *sim) {
			require.NoError(t, s.up(nil).err)
			delete(s.world.Clusters, "bootcamp-dev")
			o := s.up(nil, replaceCommands(s, kind.PrepareName, "cluster"))
			require.NoError(t, o.err)
			require.Contains(t, o.steps, "create-replacement "+prepareCluster)
			require.Contains(t, o.steps, "delete-replaced Command cluster")
			requireBefore(t, o.steps, "create-replacement "+prepareCluster, "delete-replaced Command cluster")
			requireFresh(t, s, nil)
		},
		"vanished cluster, refreshed": func(t *testing.T, s *sim) {
			require.NoError(t, s.up(nil).err)
			delete(s.world.Clusters, "bootcamp-dev")
			require.NoError(t, s.refresh().err)
			o := s.up(nil, replaceCluster(s))
			require.NoError(t, o.err)
			requireFresh(t, s, nil)
		},
		"vanished cluster, other shape": func(t *testing.T, s *sim) {
			require.NoError(t, s.up(nil).err)
			delete(s.world.Clusters, "bootcamp-dev")
			c := cfg{"workers": "1", "chapter": "3-3"}
			require.NoError(t, s.up(c).err)
			requireFresh(t, s, c)
		},
		"refresh": func(t *testing.T, s *sim) {
			require.NoError(t, s.up(nil).err)
			o := s.refresh()
			require.NoError(t, o.err)
			require.Empty(t, o.steps)
			requireFresh(t, s, nil)
		},
		"refresh after a change by hand": func(t *testing.T, s *sim) {
			require.NoError(t, s.up(nil).err)
			c := s.world.Clusters["bootcamp-dev"]
			delete(c.Objects, "Service/default/bootcamp-svc")
			c.Objects["Deployment/default/bootcamp"]["spec"].(map[string]any)["replicas"] = 7.0
			o := s.refresh()
			require.NoError(t, o.err)
			require.ElementsMatch(t, []string{"delete Service bootcamp", "update Deployment bootcamp"}, o.steps)
			o = s.up(nil)
			require.NoError(t, o.err)
			require.ElementsMatch(t, []string{"create Service bootcamp", "update Deployment bootcamp"}, o.steps)
			requireFresh(t, s, nil)
		},
		"a create that fails": func(t *testing.T, s *sim) {
			s.world.Fault = fake.Fault{On: "create ConfigMap/default/prometheus"}
			o := s.once(up, nil, false)
			require.Error(t, o.err)
			require.Contains(t, o.said, fake.ErrFault.Error())
			o = s.up(nil)
			require.NoError(t, o.err)
			require.Contains(t, o.steps, "create ConfigMap prometheus")
			require.NotContains(t, o.steps, "create Command cluster", "the cluster was there")
			requireFresh(t, s, nil)
		},
		"a cluster that cannot be made": func(t *testing.T, s *sim) {
			s.world.Fault = fake.Fault{On: "create cluster bootcamp-dev"}
			o := s.once(up, nil, false)
			require.Error(t, o.err)
			require.Empty(t, s.world.Clusters)
			require.NotContains(t, strings.Join(o.steps, "\n"), "Deployment", "nothing is deployed without a cluster")
			require.NoError(t, s.up(nil).err)
			requireFresh(t, s, nil)
		},
		"a cluster that never gets ready": func(t *testing.T, s *sim) {
			s.world.Fault = fake.Fault{On: "finish cluster bootcamp-dev"}
			require.Error(t, s.once(up, nil, false).err)
			require.Zero(t, s.world.containers(), "kind's failure must leave nothing")
			require.NoError(t, s.up(nil).err)
			requireFresh(t, s, nil)
		},
		"a replacement for which there is no image": func(t *testing.T, s *sim) {
			require.NoError(t, s.up(nil).err)
			s.world.Fault = fake.Fault{On: "prepare"}
			o := s.once(up, cfg{"workers": "1"}, false)
			require.Error(t, o.err)
			require.Empty(t, o.changes, "what there was is as it was")
			o = s.up(nil)
			require.NoError(t, o.err)
			require.Empty(t, o.steps)
			requireFresh(t, s, nil)
		},
		"a replacement whose new cluster cannot be made": func(t *testing.T, s *sim) {
			require.NoError(t, s.up(nil).err)
			s.world.Fault = fake.Fault{On: "create cluster bootcamp-dev"}
			require.Error(t, s.once(up, cfg{"workers": "1"}, false).err)
			require.NoError(t, s.up(cfg{"workers": "1"}).err)
			requireFresh(t, s, cfg{"workers": "1"})
		},
		"a replacement given up": func(t *testing.T, s *sim) {
			require.NoError(t, s.up(nil).err)
			s.world.Fault = fake.Fault{On: "create cluster bootcamp-dev"}
			require.Error(t, s.once(up, cfg{"workers": "1"}, false).err)
			require.NoError(t, s.up(nil).err)
			requireFresh(t, s, nil)
		},
		"a bad image": func(t *testing.T, s *sim) {
			bad := cfg{"echoImage": "registry.example/none:1"}
			require.NoError(t, s.up(nil).err)
			s.world.broken[bad["echoImage"]] = true
			for range 2 { // the same again fails again, and is not called unchanged
				o := s.once(up, bad, false)
				require.Error(t, o.err)
				require.Contains(t, o.said, "image "+bad["echoImage"]+" cannot be pulled")
				require.NotContains(t, o.steps, "update Deployment bootcamp", "it is said before pods are waited for")
			}
			o := s.up(nil)
			require.NoError(t, o.err)
			requireSteps(t, one("update "+pullImages), o.steps)
			requireFresh(t, s, nil)
		},
		"a bad image, that nodes pull": func(t *testing.T, s *sim) {
			bad, good := cfg{"imagePull": "nodes", "echoImage": "registry.example/none:1"}, cfg{"imagePull": "nodes"}
			require.NoError(t, s.up(good).err)
			s.world.broken[bad["echoImage"]] = true
			o := s.once(up, bad, false)
			require.Error(t, o.err)
			require.Contains(t, o.said, "ImagePullBackOff: "+bad["echoImage"])
			require.Error(t, s.once(up, bad, false).err, "the same again fails again, and is not called unchanged")
			o = s.up(good)
			require.NoError(t, o.err)
			requireSteps(t, one("update Deployment bootcamp"), o.steps)
			requireFresh(t, s, good)
		},
		"a foreign cluster of the name": func(t *testing.T, s *sim) {
			other := newSim(t, s.world, "dev")
			require.NoError(t, other.up(nil).err) // the same stack name in another backend
			was, number := s.world.content(), s.world.Clusters["bootcamp-dev"].Number
			o := s.once(up, nil, false)
			require.Error(t, o.err)
			require.Contains(t, o.said, kindcluster.ErrForeign.Error())
			require.NoError(t, s.destroy().err)
			require.Equal(t, was, s.world.content(), "the foreign cluster was touched")
			require.Equal(t, number, s.world.Clusters["bootcamp-dev"].Number)
		},
		"two stacks": func(t *testing.T, s *sim) {
			s2 := newSim(t, s.world, "other")
			require.NoError(t, s.up(nil).err)
			require.NoError(t, s2.up(cfg{"workers": "1"}).err)
			number, was := s2.world.Clusters["bootcamp-other"].Number, s.world.content()["bootcamp-other"]
			untouched := func() {
				t.Helper()
				require.Equal(t, was, s.world.content()["bootcamp-other"])
				require.Equal(t, number, s.world.Clusters["bootcamp-other"].Number)
			}
			require.NoError(t, s.up(cfg{"workers": "2", "replicas": "9"}).err)
			untouched()
			require.NoError(t, s.destroy().err)
			untouched()
			o := s2.up(cfg{"workers": "1"})
			require.NoError(t, o.err)
			require.Empty(t, o.steps)
			requireGone(t, s2, s2.destroy())
		},
	}
	for name, run := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begin := time.Now()
			defer func() { results.Test(t, "in process: lifecycles, step by step", begin) }()
			run(t, newSim(t, newWorld(), "dev"))
		})
	}
}
