package live

import (
	"bytes"
	"encoding/base64"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"k8sbootcamp/tests/internal/results"
	"k8sbootcamp/tests/live/internal/livelab"
)

// TestSecretsCLI does the same with the real `pulumi` and a real cluster, and
// looks into its logs, its files and the environment of every process, too.
func TestSecretsCLI(t *testing.T) {
	l := livelab.New(t)
	s := l.Stack(livelab.Unique("secret"), small)
	stop := sample(l)

	shown := map[string]string{}
	step := func(name string, out string, err error) {
		t.Helper()
		require.NoError(t, err, out)
		shown[name] = out
	}
	out, err := s.Up("--diff", "-v=3", "--logtostderr", "--logflow")
	step("up --diff -v=3", out, err)
	first := secretsOf(t, s.Output("kubeconfig"))
	out, err = s.Pulumi("stack", "output")
	step("stack output", out, err)
	out, err = s.Pulumi("stack", "output", "--json")
	step("stack output --json", out, err)
	out, err = s.Pulumi("stack", "export")
	step("stack export", out, err)
	s.Set("replicas", "1")
	out, err = s.Preview("--diff")
	step("preview --diff", out, err)
	// At level 9, and at no other, the engine logs each property that it sends to a
	// plugin, decrypted, and with --logflow the plugin's SDK does, on lines that the
	// engine marks as of level 3. That is Pulumi's own, and worth a warning.
	const replaced = "up -v=8, with a new cluster"
	out, err = s.Up("--diff", "--replace", s.ClusterURN(), "-v=8", "--logtostderr", "--logflow")
	step(replaced, out, err)
	require.Contains(t, out, `"v":8}`, "the log has no lines of level 8")
	secrets := append(first, secretsOf(t, s.Output("kubeconfig"))...)
	require.Len(t, slices.Compact(slices.Sorted(slices.Values(secrets))), len(secrets), "the new cluster has the old key")
	out, err = s.Pulumi("refresh", "--yes", "--skip-preview", "--diff")
	step("refresh --diff", out, err)
	files := map[string]string{}
	for _, dir := range []string{l.Backend, l.Project} {
		readAll(t, dir, files)
	}
	out, err = s.Destroy("--diff")
	step("destroy --diff", out, err)
	environs := stop()

	leaks := func(where, text string) {
		t.Helper()
		for _, secret := range secrets {
			if strings.Contains(text, secret) {
				before, _, _ := strings.Cut(text, secret)
				line := before[strings.LastIndex(before, "\n")+1:]
				t.Errorf("%s has the kubeconfig's key in clear, %d times, first after %q", where, strings.Count(text, secret), line[:min(len(line), 300)])
				return
			}
		}
	}
	for name, text := range shown {
		leaks(name, text)
	}
	for name, text := range files {
		leaks(name, text)
	}
	require.Greater(t, len(environs), 5, "no process was seen at work")
	for name, environ := range environs {
		leaks("the environment of "+name, environ)
	}
	results.Fact("Secrets, on a cluster: the client key is in none of %d outputs (%d kB of log up to level 8 among them), %d files of state and configuration, and the environments of %d processes. "+
		"At `-v=9` Pulumi's engine and its plugins log what passes between them, decrypted: such a log is not to be shared.",
		len(shown), len(shown[replaced])>>10, len(files), len(environs))
}

// secretsOf returns the client key of a kubeconfig, as it stands there and a
// line out of the middle of what it encodes.
func secretsOf(t *testing.T, kubeconfig string) []string {
	t.Helper()
	var k struct {
		Users []struct {
			User struct {
				Key string `yaml:"client-key-data"`
			}
		}
	}
	require.NoError(t, yaml.Unmarshal([]byte(kubeconfig), &k))
	require.Len(t, k.Users, 1)
	pem, err := base64.StdEncoding.DecodeString(k.Users[0].User.Key)
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(string(pem)), "\n")
	require.Greater(t, len(lines), 2)
	return []string{k.Users[0].User.Key, lines[len(lines)/2]}
}

// sample collects the environments of the lab's processes until it is stopped,
// by command line.
func sample(l *livelab.Lab) (stop func() map[string]string) {
	seen := map[string]string{}
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			l.Environs(func(pid int, environ []byte) {
				line, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
				if err != nil {
					return
				}
				seen[strconv.Itoa(pid)+" "+string(bytes.ReplaceAll(line, []byte{0}, []byte(" ")))] = string(environ)
			})
			select {
			case <-end:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	return func() map[string]string {
		close(end)
		<-ended
		return seen
	}
}

func readAll(t *testing.T, dir string, into map[string]string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		into[path] = string(b)
		return err
	}))
	require.NotEmpty(t, into)
}
