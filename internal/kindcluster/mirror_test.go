package kindcluster

import (
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestHostsFolder: where containerd looks for mirrors, by its own configuration, of each
// age; and a containerd that would not start with such a folder is left alone.
func TestHostsFolder(t *testing.T) {
	t.Parallel()
	const (
		one = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\"]\nsandbox_image = \"p\"\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n"
		two = "version = 3\n[plugins.\"io.containerd.grpc.v1.cri\"]\ndisable_tcp_service = true\n[plugins.\"io.containerd.cri.v1.images\".registry]\n"
	)
	for dump, want := range map[string]string{
		"":                                "",
		one:                               "",
		one + "config_path = \"\"\n":      "",
		one + "config_path = \"/a\"\n":    "/a",
		two:                               "",
		two + "config_path = \"/a:/b\"\n": "/a",
		two + "config_path = \"/a\"\n[plugins.\"io.containerd.cri.v1.images\".registry.mirrors]\n": "/a",
		one + "[plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors]\n":                         "",
	} {
		got, err := hostsFolder([]byte(dump))
		require.NoError(t, err, dump)
		assert.Equal(t, want, got, dump)
	}
	for _, own := range []string{
		one + "[plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors.\"docker.io\"]\nendpoint = [\"http://a\"]\n",
		one + "[plugins.\"io.containerd.grpc.v1.cri\".registry.configs.\"a\".tls]\ninsecure_skip_verify = true\n",
	} {
		_, err := hostsFolder([]byte(own))
		assert.Equal(t, errOwnMirrors, err)
	}
	_, err := hostsFolder([]byte("a b"))
	assert.Error(t, err)
}

// TestWithHostsFolder: what was in the file stays.
func TestWithHostsFolder(t *testing.T) {
	t.Parallel()
	for config, plugin := range map[string]string{
		"version = 2\n": criPlugin,
		"version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".containerd]\nsnapshotter = \"overlayfs\"\n": criPlugin,
		"version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nheaders = {a = [\"b\"]}\n":       criPlugin,
		"version = 3\nimports = [\"/a/*.toml\"]\n":                                                       imagesPlugin,
	} {
		now, err := withHostsFolder([]byte(config), "/certs")
		require.NoError(t, err)
		folder, err := hostsFolder(now)
		require.NoError(t, err)
		assert.Equal(t, "/certs", folder, string(now))
		var before, after map[string]any
		require.NoError(t, toml.Unmarshal([]byte(config), &before))
		require.NoError(t, toml.Unmarshal(now, &after))
		registry := after["plugins"].(map[string]any)[plugin].(map[string]any)["registry"].(map[string]any)
		assert.Equal(t, "/certs", registry["config_path"])
		delete(registry, "config_path")
		had := in(before, "plugins", plugin, "registry")
		assert.Equal(t, len(had), len(registry))
		for key, value := range before {
			if key != "plugins" {
				assert.Equal(t, value, after[key])
			}
		}
	}
	for _, config := range []string{"", "[plugins.cri]\n", "version = 1\n", "a b"} {
		_, err := withHostsFolder([]byte(config), "/certs")
		assert.ErrorContains(t, err, containerdConfig, config)
	}
}

// TestMirrorHosts: containerd reads it.
func TestMirrorHosts(t *testing.T) {
	t.Parallel()
	var read struct {
		Server string
		Host   map[string]struct{ Capabilities []string }
	}
	require.NoError(t, toml.Unmarshal([]byte(mirrorHosts("http://10.0.0.1:5000")), &read))
	assert.Empty(t, read.Server, "the registry itself is asked after it")
	assert.Equal(t, []string{"pull", "resolve"}, read.Host["http://10.0.0.1:5000"].Capabilities)
}

// in is a table of TOML in others, or nil.
func in(table map[string]any, keys ...string) map[string]any {
	for _, key := range keys {
		table, _ = table[key].(map[string]any)
	}
	return table
}
