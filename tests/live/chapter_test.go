package live

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/components/settings"
	"k8sbootcamp/internal/course"
	"k8sbootcamp/tests/internal/results"
	"k8sbootcamp/tests/live/internal/livelab"
)

// walker is a lab that walks through the course, and somebody who types along.
type walker struct {
	t       *testing.T
	lab     *livelab.Lab
	stack   *livelab.Stack
	kubectl func(stdin string, args ...string) (string, error) // as the student
	all     func(args ...string) string                        // as the administrator
	has     func(course.Chapter) []string                      // what the lab has then, as RESOURCE/NAME
	took    []string                                           // what an up took
}

// text is one of the text's manifests with changes: each pair is what stands there, and
// what the student wrote.
func (w *walker) text(file string, pairs ...string) string {
	w.t.Helper()
	raw, err := os.ReadFile(filepath.Join(w.lab.Root, "tests", "testdata", "course", file))
	require.NoError(w.t, err)
	for i := 0; i < len(pairs); i += 2 {
		require.Contains(w.t, string(raw), pairs[i])
	}
	return strings.NewReplacer(pairs...).Replace(string(raw))
}

// types applies a manifest, as the text has a student do.
func (w *walker) types(manifest string) {
	w.t.Helper()
	out, err := w.kubectl(manifest, "apply", "--filename=-")
	require.NoError(w.t, err, out)
}

// up is `pulumi up` at a chapter; it returns the objects that it took over.
func (w *walker) up(c course.Chapter) (taken []string) {
	w.t.Helper()
	before := w.uids()
	w.stack.Set("chapter", string(c))
	begin := time.Now()
	out, err := w.stack.Up()
	took := time.Since(begin)
	require.NoError(w.t, err, out)
	w.took = append(w.took, fmt.Sprintf("%s %s", c, took.Round(100*time.Millisecond)))
	w.t.Logf("up at %s took %s", c, took.Round(100*time.Millisecond))
	assert.Equal(w.t, string(c), w.stack.Output("chapter"))

	for _, line := range strings.Split(out, "\n") {
		if _, what, found := strings.Cut(line, "taken over: "); found {
			taken = append(taken, strings.TrimSuffix(strings.TrimSpace(what), ", made by hand"))
		}
	}
	slices.Sort(taken) // each is shown while it runs, and among the diagnostics
	taken = slices.Compact(taken)
	after := w.uids()
	for what, uid := range before {
		if now, there := after[what]; there && !slices.Contains(taken, strings.Replace(what, "/", " ", 1)) {
			assert.Equal(w.t, uid, now, "%s is another at %s", what, c)
		}
	}
	var missing []string
	for _, what := range w.has(c) {
		if after[what] == "" {
			missing = append(missing, what)
		}
	}
	assert.Empty(w.t, missing, "at %s", c)
	return taken
}

// uids are those of all that a lab and a student make, by RESOURCE/NAME.
func (w *walker) uids() map[string]string {
	w.t.Helper()
	found := map[string]string{}
	for _, line := range strings.Fields(w.all("get", "nodes,deployments,daemonsets,services,configmaps,serviceaccounts,roles,rolebindings,clusterroles,clusterrolebindings",
		"--output", `go-template={{range .items}}{{.kind}}/{{.metadata.name}}={{.metadata.uid}} {{end}}`)) {
		what, uid, _ := strings.Cut(line, "=")
		found[what] = uid
	}
	return found
}

// pods are the UIDs of the app's pods, once those that end are gone.
func (w *walker) pods() (uids []string) {
	w.t.Helper()
	require.Eventually(w.t, func() bool {
		raw := w.all("get", "pods", "--selector=app=bootcamp", "--output", `go-template={{range .items}}{{.metadata.uid}}{{if .metadata.deletionTimestamp}}!{{end}} {{end}}`)
		uids = strings.Fields(raw)
		slices.Sort(uids)
		return !strings.Contains(raw, "!")
	}, time.Minute, time.Second)
	return uids
}

// containers are the names and mounts of a workload's containers.
func (w *walker) containers(workload string) string {
	w.t.Helper()
	return strings.TrimSpace(w.all("get", workload, "--output",
		`go-template={{range .spec.template.spec.containers}}{{.name}}{{range .volumeMounts}} {{.name}}:{{.mountPath}}{{end}};{{end}}`))
}

// extra is a second container, as a student may have pasted it.
const extra = "      - name: extra\n        image: registry.invalid/nope:1\n      restartPolicy: Always"

// walk is the whole way, forward with a student who types along and makes mistakes, back,
// and forward again.
func (w *walker) walk(onKind bool) {
	t := w.t
	require.Empty(t, strings.TrimSpace(w.all("get", "pods", "--output=name")), "a pod in a lab of chapter 0-3")
	// The text's own app, with a wrong image, a container too many and a selector of its own.
	w.types(w.text("app.yml", "registry.k8s.io/echoserver:1.4", "registry.invalid/nope:1", "app: bootcamp", "app: botcamp", "      restartPolicy: Always", extra))
	w.types(w.text("service.yml", "targetPort: 8080", "targetPort: 8081"))
	w.types("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: notes\n")
	mine := w.uids()
	assert.Equal(t, []string{"Deployment bootcamp"}, w.up(course.Chapter32))
	now := w.uids()
	assert.NotEqual(t, mine["Deployment/bootcamp"], now["Deployment/bootcamp"])
	assert.Equal(t, mine["Service/bootcamp-svc"], now["Service/bootcamp-svc"], "its chapter has not come")
	assert.Equal(t, course.Container+";", w.containers("deployment/bootcamp"))
	assert.Equal(t, "map[app:bootcamp]", w.all("get", "deployment", "bootcamp", "--output", "go-template={{.spec.selector.matchLabels}}"))

	pods := w.pods()
	require.Len(t, pods, 2)
	assert.Equal(t, []string{"Service bootcamp-svc"}, w.up(course.Chapter33))
	assert.Equal(t, "8080", w.all("get", "service", "bootcamp-svc", "--output", "go-template={{(index .spec.ports 0).targetPort}}"))

	var taken []string
	if onKind {
		w.types(w.text("node-exporter.yml", "prom/node-exporter:v1.3.1", "registry.invalid/nope:1"))
		taken = []string{"DaemonSet node-exporter", "Service node-exporter"}
	}
	assert.Equal(t, taken, w.up(course.Chapter41))
	if onKind {
		w.types(w.text("role-based-access-control.yml", "  kind: ClusterRole\n  name: prometheus", "  kind: ClusterRole\n  name: view"))
		taken = []string{"ClusterRole prometheus", "ClusterRoleBinding prometheus", "ServiceAccount prometheus"}
	} else {
		w.types("apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: prometheus\n")
		taken = []string{"ServiceAccount prometheus"}
	}
	assert.Equal(t, taken, w.up(course.Chapter42))
	w.types(w.text("prometheus.yml", "  namespace: default\n", "")) // all of it, and as it stands: its mounts are others than ours
	assert.Equal(t, []string{"ConfigMap prometheus", "Deployment prometheus", "Service prometheus"}, w.up(course.Chapter43))
	assert.Equal(t, "prometheus prometheus:/prometheus data:/prometheus-data;", w.containers("deployment/prometheus"))
	assert.Empty(t, w.up(course.All))
	assert.Equal(t, pods, w.pods(), "the app's pods are others than in chapter 3-2")
	out, err := w.stack.Up("--expect-no-changes")
	require.NoError(t, err, out)

	chapters := settings.Chapters[1:]
	for i := len(chapters) - 1; i >= 0; i-- {
		assert.Empty(t, w.up(chapters[i]))
		now := w.uids()
		for _, what := range w.has(course.All) {
			assert.Equal(t, slices.Contains(w.has(chapters[i]), what), now[what] != "", "%s, back at %s", what, chapters[i])
		}
		if chapters[i].Reaches(course.Chapter32) {
			assert.Equal(t, pods, w.pods(), "back at %s", chapters[i])
		}
	}
	assert.Empty(t, w.pods())
	// What an earlier walk has had is taken over again.
	w.types(w.text("service.yml", "targetPort: 8080", "targetPort: 8081"))
	assert.Equal(t, []string{"Service bootcamp-svc"}, w.up(course.All))
	assert.Equal(t, mine["ConfigMap/notes"], w.uids()["ConfigMap/notes"], "the lab has no such object, and it was touched")
}

// with is what a lab has at a chapter, of what there is from each on.
func with(from map[course.Chapter][]string) func(course.Chapter) []string {
	return func(c course.Chapter) (all []string) {
		for since, objects := range from {
			if c.Reaches(since) {
				all = append(all, objects...)
			}
		}
		return all
	}
}

// TestChapters: a lab stands where the class stands. It goes forward and back in seconds,
// touches nothing of an earlier chapter, and takes over what a student made by hand, right
// or wrong.
func TestChapters(t *testing.T) {
	turn(t, turnChapters)
	t.Run("Own", func(t *testing.T) {
		defer results.Test(t, "chapters forward and back, with the text's manifests typed beside them, and wrong", time.Now())
		lab := livelab.New(t)
		s := lab.Stack(livelab.Unique("chapter"), map[string]string{"workers": "1", "chapter": string(course.Chapter03)})
		begin := time.Now()
		out, err := s.Up()
		require.NoError(t, err, out)
		t.Logf("the first up took %s", time.Since(begin).Round(time.Second))
		w := &walker{t: t, lab: lab, stack: s}
		containers := nodes(s)
		kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
		require.NoError(t, os.WriteFile(kubeconfig, []byte(s.Output("kubeconfig")), 0o600))
		w.kubectl = typing(lab, kubeconfig)
		w.all = asking(t, w.kubectl, "default")
		w.has = with(map[course.Chapter][]string{
			course.Chapter32: {"Deployment/bootcamp"}, course.Chapter33: {"Service/bootcamp-svc"},
			course.Chapter41: {"DaemonSet/node-exporter", "Service/node-exporter"},
			course.Chapter42: {"ServiceAccount/prometheus", "ClusterRole/prometheus", "ClusterRoleBinding/prometheus"},
			course.Chapter43: {"ConfigMap/prometheus", "Deployment/prometheus", "Service/prometheus"},
		})
		w.walk(true)
		assert.Equal(t, containers, nodes(s))
		accepts(t, s, true, false)
		results.Fact("Chapters on a cluster of 1+1 nodes, each `up` as it came: %s.", strings.Join(w.took, ", "))
	})
	t.Run("Shared", func(t *testing.T) {
		defer results.Test(t, "chapters of a student on a shared cluster, forward and back, who types along", time.Now())
		lab := livelab.New(t)
		on := newClassCluster(t, livelab.Unique("chapter"), 1)
		out, err := on.stack(lab, "class", settings.SharedPlatform).Up()
		require.NoError(t, err, out)
		s := on.stack(lab, "alice", settings.SharedStudent)
		s.Set("chapter", string(course.Chapter03))
		out, err = s.Up()
		require.NoError(t, err, out)
		w := &walker{t: t, lab: lab, stack: s}
		kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
		require.NoError(t, os.WriteFile(kubeconfig, []byte(s.Output("studentKubeconfig")), 0o600))
		w.kubectl = typing(lab, kubeconfig)
		administrator := typing(lab, on.kubeconfig)
		w.all = asking(t, administrator, s.Output("namespace"))
		w.has = with(map[course.Chapter][]string{
			course.Chapter32: {"Deployment/bootcamp"}, course.Chapter33: {"Service/bootcamp-svc"},
			course.Chapter42: {"ServiceAccount/prometheus", "Role/prometheus", "RoleBinding/prometheus"},
			course.Chapter43: {"ConfigMap/prometheus", "Deployment/prometheus", "Service/prometheus"},
		})
		// A neighbour's of the same names is nobody's business.
		said, err := administrator(w.text("app.yml")+"---\n"+w.text("service.yml"), "apply", "--filename=-")
		require.NoError(t, err, said)
		neighbours := asking(t, administrator, "default")
		const which = "go-template={{range .items}}{{.metadata.uid}} {{end}}"
		theirs := neighbours("get", "deployments,services", "--output", which)
		before, token := w.uids(), s.Output("studentKubeconfig")
		w.walk(false)
		assert.Equal(t, theirs, neighbours("get", "deployments,services", "--output", which))
		assert.Equal(t, token, s.Output("studentKubeconfig"))
		for what, uid := range before {
			assert.Equal(t, uid, w.uids()[what], what)
		}
		results.Fact("Chapters of a student on a shared cluster of 1+1 nodes, each `up` as it came: %s.", strings.Join(w.took, ", "))
	})
}

// typing is kubectl with a kubeconfig's file.
func typing(lab *livelab.Lab, kubeconfig string) func(stdin string, args ...string) (string, error) {
	return func(stdin string, args ...string) (string, error) {
		cmd := lab.Command("kubectl", append([]string{"--kubeconfig", kubeconfig}, args...)...)
		cmd.Stdin = strings.NewReader(stdin)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
}

// asking is kubectl in a namespace, for questions that must have an answer.
func asking(t *testing.T, kubectl func(string, ...string) (string, error), namespace string) func(args ...string) string {
	return func(args ...string) string {
		t.Helper()
		out, err := kubectl("", append([]string{"--namespace", namespace}, args...)...)
		require.NoError(t, err, out)
		return out
	}
}
