package engine

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"k8sbootcamp/components/settings"
	"k8sbootcamp/components/tool"
	"k8sbootcamp/internal/course"
	"k8sbootcamp/internal/kindcluster"
	"k8sbootcamp/tests/internal/results"
)

// TestChapters walks each kind of stack through the course and back, in one state. Each
// step makes or removes what is of its chapter, and touches nothing else but the command
// that is told what there is; what a student had made there by hand is taken over.
func TestChapters(t *testing.T) {
	forth := append(slices.Clone(settings.Chapters[1:]), course.All)
	back := slices.Clone(forth[:len(forth)-1])
	slices.Reverse(back)
	for _, mode := range settings.Modes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			defer results.Test(t, "in process: a walk through all chapters and back, with objects made by hand", time.Now())
			base := maps.Clone(exercises)
			s, cluster := newSim(t, newWorld(), "dev"), "bootcamp-dev"
			if mode != settings.OwnCluster {
				cluster = "class"
				s.world.Add(kindcluster.Identity{Name: cluster}, 0).Server = "https://127.0.0.1:6443"
				s.world.Revive()
				maps.Copy(base, cfg{"mode": string(mode), "kubeContext": "kind-class", "kubeconfigPath": "testdata/e4663c7/kubeconfig.yaml"})
			}
			at := func(c course.Chapter) cfg {
				to := maps.Clone(base)
				to["chapter"] = string(c)
				return to
			}
			student := []string{"Deployment", "Service", "ConfigMap", "ServiceAccount", "DaemonSet"}
			require.NoError(t, s.up(at(forth[0])).err)
			for _, c := range slices.Concat(forth[1:], back, forth[1:]) {
				before := slices.Clone(keys(s.world.Clusters[cluster]))
				// What the chapter is going to make, somebody has made, and wrong.
				ahead := s.clone(t)
				require.NoError(t, ahead.once(up, at(c), false).err)
				made := 0
				for name, o := range ahead.world.Clusters[cluster].Objects {
					kind, _, _ := strings.Cut(name, "/")
					mayBe := mode == settings.OwnCluster || mode == settings.SharedStudent && slices.Contains(student, kind)
					if mayBe && !slices.Contains(before, name) {
						wrong := maps.Clone(o)
						wrong[byHand], wrong["spec"] = true, map[string]any{"replicas": 17.0}
						s.world.Clusters[cluster].Objects[name] = wrong
						made++
					}
				}

				o := s.up(at(c))
				require.NoError(t, o.err, o.said)
				for _, step := range o.steps {
					op, what, _ := strings.Cut(step, " ")
					switch {
					case op == "create" || op == "delete":
					case op == "update" && slices.Contains([]string{"Command " + tool.TakeOverName, pullImages, loadImages}, what): // told of more
					case op == "update" && (what == "ConfigMap prometheus" || what == "Deployment prometheus"): // for the exercises
						require.True(t, c == course.All || !slices.Contains(o.steps, "delete Service bootcamp"), step)
						require.Contains(t, strings.Join(o.steps, "\n"), " kube-state-metrics", step)
					case op == "update" && what == "Role prometheus" && mode == settings.SharedStudent:
						require.Contains(t, strings.Join(o.steps, "\n"), " kube-state-metrics", step)
					case op == "update" && what == "Command cluster-claim" && mode == settings.SharedPlatform:
						require.Contains(t, strings.Join(o.steps, "\n"), " DaemonSet node-exporter", step) // its port
					default:
						require.Fail(t, "a step of no chapter", "%s at %s, of all:\n%s", step, c, strings.Join(o.steps, "\n"))
					}
				}
				if slices.Contains(o.steps, "create Deployment prometheus") && mode != settings.SharedPlatform {
					require.Positive(t, made)
				}
				require.Equal(t, ahead.world.content(), s.world.content(), "what was made by hand left something at %s", c)
				again := s.once(up, at(c), false)
				require.NoError(t, again.err)
				require.Empty(t, again.steps)
			}
			if mode == settings.OwnCluster {
				requireFresh(t, s, at(course.All))
				requireGone(t, s, s.destroy())
			}
		})
	}
}

// TestWithoutMonitoring: a stack that an earlier program brought up without chapter 4, by
// the key before chapter, is the same at chapter 3-3, and goes on from there.
func TestWithoutMonitoring(t *testing.T) {
	const commit = "e4663c7"
	s := newSim(t, newWorld(), "dev")
	s.load(filepath.Join("testdata", commit, string(settings.OwnCluster)+".json"))
	// With monitoring=false its state had not these.
	had := s.snap.Resources[:0:0]
	for _, r := range s.snap.Resources {
		if !strings.Contains(string(r.URN), "bootcamp:monitoring:Monitoring") {
			had = append(had, r)
		}
	}
	s.snap.Resources = had
	claim := text(s.outputs("Command cluster-claim"), "stdout")
	s.world.Add(kindcluster.Identity{Name: "bootcamp-dev", Claim: claim}, 0).Server = "https://127.0.0.1:6443"
	s.world.Revive()
	to := cfg{"workers": "0", "nodeImage": "registry.example/node:v1", "chapter": "3-3"}
	o := s.up(to)
	require.NoError(t, o.err, o.said)
	require.ElementsMatch(t, []string{
		takesOver("create"), "create " + prepareCluster, "create Images images", "create " + pullImages, "create " + loadImages,
		"update Command cluster-claim", "update Command cluster", "update kubernetes cluster", // ./class; the world's kubeconfig is not the kept one
	}, o.steps)
	to["chapter"] = "4-3"
	o = s.up(to)
	require.NoError(t, o.err, o.said)
	require.ElementsMatch(t, append(each(monitoringAll, "create"), takesOver("update"), "update "+pullImages, "update "+loadImages), o.steps)
}

// TestMonitoringOff: the key before chapter is one error, and nothing is changed.
func TestMonitoringOff(t *testing.T) {
	s := newSim(t, newWorld(), "dev")
	require.NoError(t, s.up(cfg{"chapter": "3-3"}).err)
	was := s.world.content()
	o := s.once(up, cfg{"monitoring": "false"}, false)
	require.Error(t, o.err)
	problems := settings.Problems(o.program)
	require.Len(t, problems, 1)
	require.Equal(t, settings.OldKey, problems[0].Kind)
	require.Contains(t, problems[0].Allowed, "`pulumi config set chapter 3-3`")
	require.Equal(t, was, s.world.content(), "something was changed")
	require.Empty(t, s.up(cfg{"chapter": "3-3"}).steps)
}
