package tests

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/components/images"
	"k8sbootcamp/components/lab"
	"k8sbootcamp/components/settings"
	"k8sbootcamp/components/tool"
	"k8sbootcamp/internal/course"
	"k8sbootcamp/internal/hostimages"
	"k8sbootcamp/internal/takeover"
)

// The stacks that walk through the course, with all that can be switched on.
var walkers = map[string]Run{
	"own": {Config: switches}, "student": everything("shared-student"), "platform": everything("shared-platform"),
}

// chapters are those of the key, in the text's order.
func chapters() []course.Chapter {
	return append(slices.Clone(settings.Chapters[1:]), course.All)
}

// at chapter c.
func (r Run) at(c course.Chapter) Run {
	r.Config = maps.Clone(r.Config)
	r.Config["chapter"] = string(c)
	return r
}

// newIn are what each chapter adds, but for the exercises, which all come with the whole
// course.
var newIn = map[string]map[course.Chapter][]string{
	"own": {
		course.Chapter03: nil,
		course.Chapter32: {"Echo bootcamp", "Deployment bootcamp", "Images images", "Command images-pull", "Command images-load"},
		course.Chapter33: {"Service bootcamp"},
		course.Chapter41: {"Monitoring monitoring", "DaemonSet node-exporter", "Service node-exporter"},
		course.Chapter42: {"Account prometheus", "ServiceAccount prometheus", "ClusterRole prometheus", "ClusterRoleBinding prometheus"},
		course.Chapter43: {"ConfigMap prometheus", "Deployment prometheus", "Service prometheus"},
	},
	"student": {
		course.Chapter03: nil,
		course.Chapter32: {"Echo bootcamp", "Deployment bootcamp"},
		course.Chapter33: {"Service bootcamp"},
		course.Chapter41: {"Monitoring monitoring"}, // whose node-exporter is the class's
		course.Chapter42: {"Account prometheus", "ServiceAccount prometheus", "Role prometheus", "RoleBinding prometheus"},
		course.Chapter43: {"ConfigMap prometheus", "Deployment prometheus", "Service prometheus"},
	},
	"platform": {
		course.Chapter03: nil, course.Chapter32: nil, course.Chapter33: nil, course.Chapter42: nil, course.Chapter43: nil,
		course.Chapter41: {"Monitoring monitoring", "DaemonSet node-exporter", "Service node-exporter"},
	},
}

// TestChapters: each chapter has all of the one before, to the letter, and what it adds
// itself. What a stack may have is the same at all of them.
func TestChapters(t *testing.T) {
	t.Parallel()
	for name, run := range walkers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before := run.at(course.Chapter03).Good(t)
			for _, c := range chapters() {
				now := run.at(c).Good(t)
				assert.Equal(t, string(c), now.Outputs[lab.OutChapter].Value)
				added := []string{}
				for _, res := range now.Resources {
					was := before.ByURN(res.URN)
					if was == nil {
						added = append(added, res.Type[strings.LastIndex(res.Type, ":")+1:]+" "+res.Name)
						continue
					}
					assertTouched(t, c, was, res)
				}
				for _, was := range before.Resources {
					assert.NotNil(t, now.ByURN(was.URN), "%s is gone at %s", was, c)
				}
				if want, ok := newIn[name][c]; ok {
					assert.ElementsMatch(t, want, added, c)
				} else {
					assert.Equal(t, course.All, c)
					assert.Greater(t, len(added), 10)
				}
				before = now
			}
			assert.Equal(t, run.Good(t).Resources, before.Resources, "the whole course is the default")
		})
	}
}

// assertTouched holds a resource against what it was at the chapter before. Only what the
// exercises need of Prometheus changes, with them, and what takes over or brings images is
// told of more.
func assertTouched(t *testing.T, c course.Chapter, was, now *Registration) {
	t.Helper()
	ours, theirs := *was, *now
	ours.DependsOn, theirs.DependsOn = nil, nil // a destroy's first command depends on all that there is
	switch {
	case now.Name == tool.TakeOverName:
		told := func(r *Registration) []string {
			env, _ := r.Object()["environment"].(map[string]any)
			list, _ := env[takeover.EnvObjects].(string)
			return strings.Fields(list)
		}
		assert.Subset(t, told(now), told(was), c)
		forget := func(r *Registration) {
			r.Inputs = r.Inputs.Copy()
			env := r.Inputs["environment"].ObjectValue().Copy()
			delete(env, takeover.EnvObjects)
			r.Inputs["environment"] = resource.NewProperty(env)
		}
		forget(&ours)
		forget(&theirs)
	case now.Name == images.PullName, now.Name == images.LoadName:
		told := func(r *Registration) []hostimages.Wanted {
			list, err := hostimages.Parse([]byte(r.Object()["stdin"].(string)))
			require.NoError(t, err)
			return list
		}
		assert.Subset(t, told(now), told(was), c)
		for _, r := range []*Registration{&ours, &theirs} {
			r.Inputs = r.Inputs.Copy()
			delete(r.Inputs, "stdin")
		}
	case c == course.All && strings.HasSuffix(now.Name, "prometheus"):
		return // with rules, another file and another right
	case c == course.Chapter41 && now.Name == "cluster-claim":
		return // of the platform: it proves that node-exporter's port is free
	}
	assert.Equal(t, ours, theirs, "%s is another at %s", now, c)
}

// TestTakeOver: what takes over is told of all that is to be made in the cluster, and that
// a student could have made, but for what keeps data; and all in the cluster is made after
// it has done so.
func TestTakeOver(t *testing.T) {
	t.Parallel()
	makes := []string{configMapType, serviceType, "kubernetes:core/v1:ServiceAccount", deploymentType, daemonSetType} // a student on a shared cluster
	resources := map[string]string{
		"ConfigMap": "configmaps", "Service": "services", "ServiceAccount": "serviceaccounts", "Deployment": "deployments", "DaemonSet": "daemonsets",
		"Secret": "secrets", "Ingress": "ingresses", "ClusterRole": "clusterroles", "ClusterRoleBinding": "clusterrolebindings",
	}
	for name, run := range walkers {
		for _, c := range chapters() {
			recording := run.at(c).Good(t)
			if name == "platform" {
				assert.Empty(t, recording.Of(commandType, tool.TakeOverName), "nothing there is a student's")
				continue
			}
			command := recording.One(t, commandType, tool.TakeOverName)
			want := []takeover.Object{}
			for _, res := range recording.Kubernetes() {
				if strings.Contains(res.URN, "bootcamp:cluster:") { // a student's limits
					assert.NotContains(t, res.DependsOn, command.URN)
					continue
				}
				assert.Contains(t, res.DependsOn, command.URN, "%s at %s", res, c)
				if res.Type == statefulType || res.Type == claimType || name == "student" && !slices.Contains(makes, res.Type) {
					continue
				}
				namespace, _ := at(res.Object(), "metadata", "namespace").(string)
				require.NotEmpty(t, resources[res.kind()], res)
				want = append(want, takeover.Object{Resource: resources[res.kind()], Namespace: namespace, Name: at(res.Object(), "metadata", "name").(string)})
			}
			told, _ := at(command.Object(), "environment", takeover.EnvObjects).(string)
			assert.Equal(t, takeover.List(want), told, "%s at %s", name, c)
			assert.Nil(t, command.Object()["triggers"])
			assert.Equal(t, true, command.Object()["addPreviousOutputInEnv"], "it takes over what is new alone")
			parent := recording.ByURN(command.Parent).Type
			assert.Equal(t, map[string]string{"own": "bootcamp:cluster:Kind", "student": "bootcamp:cluster:Tenant"}[name], parent)
		}
	}
}
