package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pulumi/pulumi/pkg/v3/resource/stack"
	"github.com/pulumi/pulumi/pkg/v3/secrets"
	"github.com/pulumi/pulumi/pkg/v3/secrets/b64"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/components/settings"
	"k8sbootcamp/components/tool"
	"k8sbootcamp/internal/kindcluster"
	"k8sbootcamp/internal/password"
	"k8sbootcamp/tests/internal/results"
)

// TestTakeover: a stack that an earlier program brought up is this program's own.
// An up of it replaces nothing; what is changed then is changed in place; and what
// the earlier program stored to be run at the end still removes the cluster.
//
// In testdata is a folder for each such commit, with the states that its program
// left after one up of a real cluster each (`pulumi stack export --show-secrets`).
// Keys, certificates, tokens and addresses in them are made up, and where in the
// program's source a resource was registered is left out. They are never written
// anew: a change that fails here breaks the labs of those who have one.
func TestTakeover(t *testing.T) {
	const commit = "e4663c7"
	kubeconfig := filepath.Join("testdata", commit, "kubeconfig.yaml") // as the states name it
	shared := func(mode settings.Mode) cfg {
		return cfg{"mode": string(mode), "kubeContext": "kind-class", "kubeconfigPath": kubeconfig, "edition": "current"}
	}
	// What the text's node-exporter lacks on Kubernetes 1.24 came later.
	toleration := []string{"update DaemonSet node-exporter"}
	// So did the chapters, and images that the host's Docker pulls, what a cluster is prepared
	// with, and ./class. (The world's kubeconfig is not the kept one.)
	own := append([]string{
		takesOver("create"), "create " + prepareCluster, "create Images images", "create " + pullImages, "create " + loadImages,
		"update Command cluster-claim", "update Command cluster", "update kubernetes cluster",
	}, toleration...)
	// So did, on a shared cluster, the one policy in the place of that against
	// external IPs, and bounds of all that can be counted.
	platform := append([]string{
		"update Command cluster-claim", "update ResourceQuota bootcamp-platform", "update LimitRange bootcamp-platform",
		"create Command cluster-leave",
		"create ValidatingAdmissionPolicy bootcamp-platform-students", "create ValidatingAdmissionPolicyBinding bootcamp-platform-students",
		"delete ValidatingAdmissionPolicy bootcamp-platform-no-external-ips", "delete ValidatingAdmissionPolicyBinding bootcamp-platform-no-external-ips",
	}, toleration...)
	// And which cluster it is, what a destroy begins with, and that the student's account
	// is where no pod of theirs can run as it: that is a new token.
	student := []string{
		takesOver("create"), "create Command cluster-leave", "update NetworkPolicy bootcamp-alice",
		"create ServiceAccount bootcamp-alice", "update RoleBinding student", "update ClusterRoleBinding bootcamp-alice-nodes",
		"create-replacement Command student-kubeconfig", "replace Command student-kubeconfig", "delete-replaced Command student-kubeconfig",
		"delete ServiceAccount student", "discard EndpointSlice kubernetes",
		"update Command cluster-claim", "update Namespace bootcamp-alice", "update ResourceQuota bootcamp-alice",
		"update LimitRange bootcamp-alice", "create ResourceQuota bootcamp-alice-system-priority", "update Deployment prometheus", "update Deployment bootcamp",
	}
	const server = "https://127.0.0.1:6443" // in all of the kubeconfigs
	for mode, c := range map[settings.Mode]struct {
		stack string
		cfg   cfg
		once  []string // steps of the first up, which replace no object
	}{
		settings.OwnCluster:     {"dev", cfg{"workers": "0", "nodeImage": "registry.example/node:v1"}, own},
		settings.SharedPlatform: {"class", shared(settings.SharedPlatform), platform},
		settings.SharedStudent:  {"alice", shared(settings.SharedStudent), student},
	} {
		t.Run(commit+" "+string(mode), func(t *testing.T) {
			defer results.Test(t, "in process: a stack of "+commit+" taken over", time.Now())
			s := newSim(t, newWorld(), c.stack)
			s.load(filepath.Join("testdata", commit, string(mode)+".json"))
			cluster := s.world.Add(kindcluster.Identity{Name: "class"}, 0)
			if mode == settings.OwnCluster {
				claim := text(s.outputs("Command cluster-claim"), "stdout")
				require.NotEmpty(t, claim)
				delete(s.world.Clusters, "class")
				cluster = s.world.Add(kindcluster.Identity{Name: "bootcamp-dev", Claim: claim}, 0)
			}
			cluster.Server = server
			s.world.Revive()

			o := s.up(c.cfg)
			require.NoError(t, o.err, o.said)
			require.ElementsMatch(t, c.once, o.steps)

			// The state is compared, after all.
			other := s.clone(t)
			changed := maps.Clone(c.cfg)
			changed["quotaPods"], changed["replicas"] = "30", "3"
			o = other.once(up, changed, false)
			require.NoError(t, o.err, o.said)
			require.ElementsMatch(t, map[settings.Mode][]string{
				settings.OwnCluster:     {"update Deployment bootcamp"},
				settings.SharedPlatform: {"update ResourceQuota bootcamp-platform"},
				settings.SharedStudent:  {"update ResourceQuota bootcamp-alice", "update Deployment bootcamp"},
			}[mode], o.steps)

			if mode == settings.OwnCluster {
				o = s.destroy()
				requireGone(t, s, o)
				require.Equal(t, []string{"delete cluster bootcamp-dev"}, o.changes)
			}
		})
	}
}

// load makes an exported state the stack's.
func (s *sim) load(file string) {
	s.t.Helper()
	raw, err := os.ReadFile(file)
	require.NoError(s.t, err)
	var state apitype.UntypedDeployment
	require.NoError(s.t, json.Unmarshal(raw, &state))
	provider := (&secrets.MockProvider{}).Add(b64.Type, func(json.RawMessage) (secrets.Manager, error) {
		return b64.NewBase64SecretsManager(), nil
	})
	s.snap, err = stack.DeserializeUntypedDeployment(context.Background(), &state, provider)
	require.NoError(s.t, err)
}

// find makes a state that was kept the stack's, and puts the cluster that it speaks of into the
// world.
func (s *sim) find(commit string, mode settings.Mode) {
	s.t.Helper()
	s.load(filepath.Join("testdata", commit, string(mode)+".json"))
	if mode == settings.OwnCluster {
		claim := text(s.outputs("Command cluster-claim"), "stdout")
		s.world.Add(kindcluster.Identity{Name: "bootcamp-dev", Claim: claim}, 0).Server = "https://bootcamp-dev-1.invalid:6443"
	} else {
		s.world.Add(kindcluster.Identity{Name: "class"}, 0).Server = "https://127.0.0.1:6443"
	}
	s.world.Revive()
}

// outputs are those of a resource in the state, by its short URN.
func (s *sim) outputs(of string) resource.PropertyMap {
	s.t.Helper()
	for _, r := range s.snap.Resources {
		if short(r.URN) == of {
			return revealed(r.Outputs)
		}
	}
	require.Fail(s.t, "no "+of+" in the state")
	return nil
}

// TestTakeoverGoTool: a stack whose commands were `go tool NAME` is taken over: an up makes
// them `./class NAME`, in place, and touches nothing else; the next one has nothing to do.
// Without any, a destroy still runs what the state has.
//
// The states are those of commit a10e68c, with all exercises on the cluster of its own. They
// were made in this process, by that commit's program.
func TestTakeoverGoTool(t *testing.T) {
	const commit = "a10e68c"
	shared := func(mode settings.Mode) cfg {
		return cfg{"mode": string(mode), "kubeContext": "kind-class", "kubeconfigPath": filepath.Join("testdata", "e4663c7", "kubeconfig.yaml"), "edition": "current"}
	}
	student := shared(settings.SharedStudent)
	student["topics"] = "secret"
	for mode, c := range map[settings.Mode]struct {
		stack string
		cfg   cfg
	}{
		settings.OwnCluster: {"dev", cfg{
			"workers": "0", "nodeImage": "registry.example/node:v1", "edition": "current",
			"podMonitoring": "true", "rules": "true", "dashboards": "true", "topics": "all",
		}},
		settings.SharedPlatform: {"class", shared(settings.SharedPlatform)},
		settings.SharedStudent:  {"alice", student},
	} {
		t.Run(string(mode), func(t *testing.T) {
			defer results.Test(t, "in process: a stack of "+commit+" taken over", time.Now())
			s := newSim(t, newWorld(), c.stack)
			s.find(commit, mode)
			var updates []string
			for _, r := range s.snap.Resources {
				if r.Type != tool.CommandType {
					continue
				}
				line := fmt.Sprint(revealed(r.Inputs)["interpreter"].Mappable())
				require.Contains(t, line, "[go tool ", "the state is an earlier program's")
				if !strings.Contains(line, password.Tool) { // which would be another secret
					updates = append(updates, "update "+short(r.URN))
				}
			}
			require.GreaterOrEqual(t, len(updates), 2)
			if mode == settings.OwnCluster { // which came later
				updates = append(updates, "create "+prepareCluster)
			}

			if mode == settings.OwnCluster {
				other := s.clone(t)
				requireGone(t, other, other.destroy())
			}
			o := s.up(c.cfg)
			require.NoError(t, o.err, o.said)
			require.ElementsMatch(t, updates, o.steps)
			o = s.up(c.cfg)
			require.NoError(t, o.err, o.said)
			require.Empty(t, o.steps)
		})
	}
}

// TestTakeoverRelease: an up of this program on the state of a release does nothing at all,
// and neither what it has nor its cluster is replaced by what is changed then.
//
// The states are those of the commit that the folder is named by, the first whose state names
// no folder and whose cluster is prepared, with all that a lab may have; made in this process,
// by that commit's program. A change of the program that fails here comes over every lab that
// is up when its release is unpacked: where it is meant, say so in the README (Upgrading), name
// its steps here, and keep the state.
func TestTakeoverRelease(t *testing.T) {
	for mode, c := range releaseStacks {
		t.Run(string(mode), func(t *testing.T) {
			defer results.Test(t, "in process: a release's stack taken over", time.Now())
			s := newSim(t, newWorld(), c.stack)
			s.find(releaseCommit, mode)
			o := s.up(c.cfg)
			require.NoError(t, o.err, o.said)
			require.Empty(t, o.steps)
			require.Empty(t, o.changes)
			if mode == settings.OwnCluster {
				changed := maps.Clone(c.cfg)
				changed["replicas"] = "3"
				o = s.up(changed)
				require.NoError(t, o.err, o.said)
				require.Equal(t, []string{"update Deployment bootcamp"}, o.steps)
				requireGone(t, s, s.destroy())
			}
		})
	}
}

const releaseCommit = "1f5805e"

// releaseStacks are the stacks whose state is kept.
var releaseStacks = func() map[settings.Mode]struct {
	stack string
	cfg   cfg
} {
	shared := func(mode settings.Mode) cfg {
		return cfg{"mode": string(mode), "kubeContext": "kind-class", "kubeconfigPath": filepath.Join("testdata", "e4663c7", "kubeconfig.yaml"), "edition": "current", "podMonitoring": "true", "rules": "true", "dashboards": "true"}
	}
	student := shared(settings.SharedStudent)
	student["topics"] = "all"
	return map[settings.Mode]struct {
		stack string
		cfg   cfg
	}{
		settings.OwnCluster: {"dev", cfg{
			"workers": "2", "nodeImage": "registry.example/node:v1", "edition": "current", "imageMirror": "http://192.0.2.5:5000", "hostPort": "18080", "serviceType": "NodePort",
			"podMonitoring": "true", "rules": "true", "dashboards": "true", "topics": "all",
		}},
		settings.SharedPlatform: {"class", shared(settings.SharedPlatform)},
		settings.SharedStudent:  {"alice", student},
	}
}()
