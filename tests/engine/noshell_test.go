package engine

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/components/images"
	"k8sbootcamp/components/tool"
	"k8sbootcamp/internal/hostimages"
	"k8sbootcamp/internal/kindcluster"
	"k8sbootcamp/internal/takeover"
	"k8sbootcamp/tests/internal/results"
)

// TestNoShell runs the commands that the program registers, as the command plugin
// does, with values that a shell would run.
func TestNoShell(t *testing.T) {
	s := newSim(t, newWorld(), "dev")
	require.NoError(t, s.once(up, cfg{"imageMirror": "http://10.0.0.1:5000"}, false).err)
	marker := filepath.Join(t.TempDir(), "marker")
	attacks := []string{"$(touch %s)", "`touch %s`", "; touch %s ;", "x' ; touch %s ; '", `x" ; touch %s ; "`, "x\ntouch %s\n", "| touch %s", "&& touch %s", "> %s", "--name=$(touch %s)"}
	ran := 0
	for _, r := range s.snap.Resources {
		if r.Type != tool.CommandType {
			continue
		}
		in := revealed(r.Inputs)
		argv := []string{}
		for _, a := range in["interpreter"].ArrayValue() {
			argv = append(argv, a.StringValue())
		}
		for _, key := range []resource.PropertyKey{"create", "update", "delete"} {
			verb := text(in, key)
			if verb == "" && key == "delete" && slices.Contains([]string{tool.TakeOverName, "cluster-prepare", images.PullName, images.LoadName}, r.URN.Name()) {
				continue // there is nothing to run
			}
			require.Regexp(t, `^[a-z]+$`, verb, "the argument is a word of the program's own")
			for i, attack := range attacks {
				value := fmt.Sprintf(attack, marker)
				program := argv[0]
				if i > 0 { // what that has compiled and runs
					require.Equal(t, "./class", program)
					program = "bin/class"
				}
				cmd := exec.Command(program, append(slices.Clone(argv[1:]), verb)...)
				cmd.Dir = filepath.Join("..", "..") // the project's folder, where Pulumi runs commands
				cmd.Env = append(os.Environ(), kindcluster.EnvName+"="+value, kindcluster.EnvClaim+"="+value, kindcluster.EnvPrinted+"="+value,
					takeover.EnvObjects+"=deployments/default/bootcamp")
				cmd.Stdin = strings.NewReader("kind: Cluster\nname: " + value + "\n")
				var said strings.Builder
				cmd.Stderr = &said
				out, err := cmd.Output()
				if verb == kindcluster.VerbClaim { // which says again what it said
					require.NoError(t, err, said.String())
					require.Equal(t, value+"\n", string(out))
				} else {
					var exit *exec.ExitError
					require.True(t, errors.As(err, &exit), "%s took %q: %v", verb, value, err)
					refused := fmt.Sprintf("cluster name %q", value)
					if verb == hostimages.VerbPull { // which knows of no cluster
						refused = "the list of images on standard input"
					}
					require.Contains(t, said.String(), refused, "%s did not get as far as to refuse it", verb)
				}
				require.NoFileExists(t, marker, "%s %s ran %q", r.URN.Name(), verb, value)
				ran++
			}
		}
		// What shapes the command line is constant; only environment and standard
		// input carry values.
		for _, c := range []cfg{{"workers": "1", "replicas": "7", "imageMirror": "https://mirror.example"}, {"nodeImage": "registry.example/x:1", "edition": "current"}} {
			other := newSim(t, newWorld(), "Other_Stack.1")
			require.NoError(t, other.once(up, c, false).err)
			for _, o := range other.snap.Resources {
				if o.URN.Name() == r.URN.Name() && o.Type == r.Type {
					for _, key := range []resource.PropertyKey{"interpreter", "create", "update", "delete", "dir"} {
						require.Equal(t, r.Inputs[key], o.Inputs[key])
					}
				}
			}
		}
	}
	require.Equal(t, 170, ran, "three commands with three verbs and four with two, ten attacks")
	results.Fact("No shell: %d runs of the registered commands with values that a shell would run left no marker.", ran)
}
