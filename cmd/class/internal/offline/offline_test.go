package offline

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/blang/semver"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
	"github.com/pulumi/pulumi/sdk/v3/go/common/workspace"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/internal/docker"
)

// darwin is a laptop whose Docker is linux/arm64.
var windows = docker.Platform{OS: "windows", Architecture: "amd64"}

var darwin = docker.Platform{OS: "darwin", Architecture: "arm64"}

// TestSaveAndLoad: what was saved for several platforms is loaded for each, under the names
// that Docker is asked for, and no registry is asked again.
func TestSaveAndLoad(t *testing.T) {
	base := layer(t)
	o := newWeb(t)
	digest := o.push("pinned:1", base, amd64, arm64)
	bare := o.push("bare:1", base, amd64, arm64)
	o.push("tagged:1", base, amd64, arm64)
	host := o.host()
	file := filepath.Join(t.TempDir(), "class.tar")
	images := []string{host + "/tagged:1", host + "/pinned:1@" + digest, host + "/bare@" + bare}
	clear(o.asked)
	foreign := docker.Platform{OS: "darwin", Architecture: "amd64"}
	s := o.saver(images, OwnPlatform, darwin, foreign)
	t.Setenv("PULUMI_HOME", t.TempDir())
	var last int64
	s.Progress = func(_ string, done, total int64) { last = done; assert.Positive(t, total) }
	size, err := s.Save(t.Context(), file, false)
	require.NoError(t, err)
	info, err := os.Stat(file)
	require.NoError(t, err)
	assert.Equal(t, info.Size(), size)
	assert.Positive(t, last)
	assert.Equal(t, []string{"class.tar"}, files(t, filepath.Dir(file)))
	d, err := base.Digest()
	require.NoError(t, err)
	shared := 0
	for request, n := range o.asked {
		if strings.HasSuffix(request, "/blobs/"+d.String()) && strings.HasPrefix(request, "GET") {
			shared += n
		}
	}
	assert.Equal(t, 1, shared, "what images and platforms share is fetched once")
	o.Close()

	tag := func(name, digest string) string {
		return host + "/" + name + ":" + strings.Replace(digest, ":", "-", 1)
	}
	for _, store := range []int{classic, containerd, containerd28} {
		for _, p := range []docker.Platform{amd64, arm64} {
			m := newMachine(t)
			m.store = store
			got, err := m.load(file, p)
			require.NoError(t, err)
			assert.ElementsMatch(t, []string{host + "/tagged:1", tag("pinned", digest), tag("bare", bare)}, m.names())
			assert.Equal(t, images, got.Images())
			assert.Equal(t, []string{"pulumi v3.259.0", "k v9.8.7"}, got.Programs())
			assert.Equal(t, map[string]string{"pulumi": "cli of " + OwnPlatform.String(), "pulumi-language-go": "l"}, m.cli)
			require.Len(t, m.plugins, 1)

			got, err = m.load(file, p)
			require.NoError(t, err)
			assert.True(t, got.None(), "again there is nothing to do")
			assert.Equal(t, 3, m.loads)

			m.has[host+"/tagged:1"] = &docker.Image{ID: "sha256:another"}
			got, err = m.load(file, p)
			require.NoError(t, err)
			assert.Equal(t, []string{host + "/tagged:1"}, got.Images(), "a tag that is another image's by now is the archive's again")
		}
	}

	m := newMachine(t)
	m.has[host+"/pinned@"+digest] = &docker.Image{ID: "pulled"}
	got, err := m.load(file, amd64)
	require.NoError(t, err)
	assert.Len(t, got.Images(), 2, "what Docker has from the registry needs no tag")

	_, err = newMachine(t).load(file, docker.Platform{OS: "linux", Architecture: "s390x"})
	require.ErrorContains(t, err, "darwin/amd64")
	assert.ErrorContains(t, err, "--platform "+OwnPlatform.String())
}

// TestWindows: its release of the CLI is of another form, and its nodes are Linux.
func TestWindows(t *testing.T) {
	o := newWeb(t)
	o.push("a:1", layer(t), amd64)
	t.Setenv("PULUMI_HOME", t.TempDir())
	file := filepath.Join(t.TempDir(), "class.tar")
	_, err := o.saver([]string{o.host() + "/a:1"}, windows).Save(t.Context(), file, false)
	require.NoError(t, err)
	a, err := Open(file)
	require.NoError(t, err)
	defer a.Close()
	require.NoError(t, a.Verify(t.Context(), func(int) {}))
	assert.Len(t, a.imagesFor(amd64), 1)
	all := a.programsFor(windows)
	require.Len(t, all, 2)
	dir := t.TempDir()
	l := &Loader{InstallCLI: func(_ context.Context, unpack func(string) error) error { return unpack(dir) }}
	require.NoError(t, l.install(t.Context(), a, all[0]))
	assert.ElementsMatch(t, []string{"pulumi.exe", "pulumi-language-go.exe"}, files(t, dir))
	content, err := os.ReadFile(filepath.Join(dir, "pulumi.exe"))
	require.NoError(t, err)
	assert.Equal(t, "cli of windows/amd64", string(content))
}

// TestPartIsNobodysElse: a file of that name stays as it is, and two may save at once.
func TestPartIsNobodysElse(t *testing.T) {
	o := newWeb(t)
	o.push("a:1", layer(t), amd64)
	t.Setenv("PULUMI_HOME", t.TempDir())
	dir := t.TempDir()
	file := filepath.Join(dir, "class.tar")
	require.NoError(t, os.WriteFile(file+".part", []byte("mine"), 0o600))
	for _, image := range []string{"/a:1", "/none:1"} {
		_, err := o.saver([]string{o.host() + image}, OwnPlatform).Save(t.Context(), file, false)
		assert.Equal(t, image == "/none:1", err != nil, "%v", err)
		mine, err := os.ReadFile(file + ".part")
		require.NoError(t, err)
		assert.Equal(t, "mine", string(mine))
		os.Remove(file)
	}
	assert.Equal(t, []string{"class.tar.part"}, files(t, dir))
}

// TestProgramsOfThisMachine: what is there already is asked of nobody.
func TestProgramsOfThisMachine(t *testing.T) {
	o := newWeb(t)
	s := o.saver(nil, OwnPlatform)
	home, bin := t.TempDir(), t.TempDir()
	t.Setenv("PULUMI_HOME", home)
	write := func(file, content string) {
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o700))
		require.NoError(t, os.WriteFile(file, []byte(content), 0o755))
	}
	write(filepath.Join(home, "plugins", "resource-k-v9.8.7", "pulumi-resource-k"), "own plugin")
	write(filepath.Join(home, "plugins", "resource-k-v9.8.7", "below", "file"), "x")
	write(filepath.Join(bin, "pulumi"), "own cli")
	write(filepath.Join(bin, "kubectl"), "none of it")
	s.Programs.Own = filepath.Join(bin, "pulumi")
	o.push("a:1", layer(t), amd64)
	s.Images = []string{o.host() + "/a:1"}
	s.Platforms = []docker.Platform{OwnPlatform}
	if OwnPlatform.Architecture != "amd64" {
		t.Skip("the image is for amd64")
	}
	clear(o.files) // no releases
	file := filepath.Join(t.TempDir(), "f")
	_, err := s.Save(t.Context(), file, false)
	require.NoError(t, err)
	m := newMachine(t)
	_, err = m.load(file, amd64)
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"pulumi": "own cli"}, m.cli)
	a, err := Open(file)
	require.NoError(t, err)
	defer a.Close()
	content, err := a.open(a.list.Programs[1].File)
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, unpack(content, dir))
	assert.FileExists(t, filepath.Join(dir, "pulumi-resource-k"))
}

// TestReleases: a release whose checksum is another one, or that is not there, is none.
func TestReleases(t *testing.T) {
	t.Setenv("PULUMI_HOME", t.TempDir())
	for name, c := range map[string]struct {
		spoil func(files map[string][]byte)
		want  string
	}{
		"another checksum": {func(f map[string][]byte) { f["/releases/v3.259.0/pulumi-v3.259.0-linux-x64.tar.gz"] = []byte("forged") }, sum([]byte("forged"))},
		"no checksum":      {func(f map[string][]byte) { f["/releases/v3.259.0/pulumi-3.259.0-checksums.txt"] = []byte("\n") }, "do not have pulumi-v3.259.0-linux-x64.tar.gz"},
		"no checksums":     {func(f map[string][]byte) { delete(f, "/releases/v3.259.0/pulumi-3.259.0-checksums.txt") }, "404"},
		"no release":       {func(f map[string][]byte) { delete(f, "/releases/v3.259.0/pulumi-v3.259.0-linux-x64.tar.gz") }, "404"},
		"no plugin":        {func(f map[string][]byte) { delete(f, "/plugins/pulumi-resource-k-v9.8.7-linux-amd64.tar.gz") }, "plugin k"},
	} {
		t.Run(name, func(t *testing.T) {
			o := newWeb(t)
			o.push("a:1", layer(t), amd64)
			s := o.saver([]string{o.host() + "/a:1"}, amd64)
			c.spoil(o.files)
			dir := t.TempDir()
			_, err := s.Save(t.Context(), filepath.Join(dir, "f"), false)
			require.ErrorContains(t, err, c.want)
			assert.Empty(t, files(t, dir), "nothing is left")
		})
	}
	for p, want := range map[docker.Platform]string{
		amd64:                                 "pulumi-v3.259.0-linux-x64.tar.gz",
		darwin:                                "pulumi-v3.259.0-darwin-arm64.tar.gz",
		{OS: "darwin", Architecture: "amd64"}: "pulumi-v3.259.0-darwin-x64.tar.gz",
		windows:                               "pulumi-v3.259.0-windows-x64.zip",
	} {
		parsed, err := ParsePlatform(p.String())
		require.NoError(t, err)
		assert.Equal(t, p, parsed)
		assert.Equal(t, want, releaseFile(newWeb(t).releases().Version, p))
	}
	for _, bad := range []string{"plan9/amd64", "windows/386", "linux", "linux/s390x", "", "linux/amd64/v2"} {
		_, err := ParsePlatform(bad)
		assert.ErrorContains(t, err, bad)
	}
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	all, err := regularFiles(dir)
	require.NoError(t, err)
	return all
}

// TestImagesThatAreNot: all that is wrong with images is said at once, each with its remedy,
// and nothing is left.
func TestImagesThatAreNot(t *testing.T) {
	o := newWeb(t)
	o.push("a:1", layer(t), amd64, arm64)
	o.push("other:1", layer(t), arm64, darwin)
	o.push("single:1", layer(t), arm64)
	o.fault = func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		for part, status := range map[string]int{"/many/": 429, "/login/": 401, "/forbidden/": 403} {
			if strings.Contains(r.URL.Path, part) {
				w.WriteHeader(status)
				return true
			}
		}
		return false
	}
	dir := t.TempDir()
	host := o.host()
	var images, want []string
	for image, says := range map[string]string{
		host + "/a:2":                            "image " + host + "/a:2: its registry does not have it; is the name right",
		host + "/many/a:1":                       "docker login " + host,
		host + "/login/a:1":                      "asks for a login",
		host + "/forbidden/a:1":                  "forbidden/a:1: its registry does not have it, or asks for a login",
		host + "/other:1":                        "image " + host + "/other:1: it does not exist for linux/amd64; configure",
		host + "/single:1":                       "image " + host + "/single:1: it does not exist for linux/amd64; configure",
		"registry.invalid/a:1":                   "name cannot be looked up",
		"127.0.0.1:1/a:1":                        "run this again",
		"a@sha512:" + strings.Repeat("0", 128):   "only a sha256 digest",
		host + "/a:1@sha256:" + sum([]byte("x")): "does not have it",
	} {
		images, want = append(images, image), append(want, says)
	}
	_, err := o.saver(images, amd64).Save(t.Context(), filepath.Join(dir, "f"), false)
	require.Error(t, err)
	for _, w := range want {
		assert.ErrorContains(t, err, w)
	}
	assert.Equal(t, len(images), strings.Count(err.Error(), "\n")+1, "a line each:\n%v", err)
	assert.Empty(t, files(t, dir))
}

// TestSaveLeavesNothing where it ends early, and overwrites nothing unasked.
func TestSaveLeavesNothing(t *testing.T) {
	o := newWeb(t)
	t.Setenv("PULUMI_HOME", t.TempDir())
	o.push("a:1", layer(t), amd64)
	images := []string{o.host() + "/a:1"}
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	ctx, cancel := context.WithCancel(t.Context())
	s := o.saver(images, amd64)
	s.Progress = func(string, int64, int64) { cancel() }
	_, err := s.Save(ctx, file, false)
	require.ErrorIs(t, err, context.Canceled)
	assert.Empty(t, files(t, dir))

	require.NoError(t, os.WriteFile(file, []byte("mine"), 0o600))
	_, err = o.saver(images, amd64).Save(t.Context(), file, false)
	require.ErrorIs(t, err, os.ErrExist)
	assert.ErrorContains(t, err, "--force")
	assert.Equal(t, []string{"f"}, files(t, dir))
	_, err = o.saver(images, amd64).Save(t.Context(), file, true)
	require.NoError(t, err)
	_, err = newMachine(t).load(file, amd64)
	require.NoError(t, err)
	_, err = o.saver(images, amd64).Save(t.Context(), filepath.Join(dir, "none", "f"), false)
	assert.ErrorIs(t, err, os.ErrNotExist)
}

// TestBreaks: a connection that breaks amid a blob, or is silent, is tried again.
func TestBreaks(t *testing.T) {
	t.Setenv("PULUMI_HOME", t.TempDir())
	for name, silent := range map[string]bool{"broken": false, "silent": true} {
		t.Run(name, func(t *testing.T) {
			o := newWeb(t)
			o.push("a:1", layer(t), amd64)
			var broken int
			o.fault = func(w http.ResponseWriter, r *http.Request, inner http.Handler) bool {
				if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/") && !strings.Contains(r.URL.Path, "/plugins/") || o.asked[r.Method+" "+r.URL.Path] > 1 {
					return false
				}
				broken++
				w.Header().Set("Content-Length", "1000000")
				_, _ = w.Write([]byte("half of it"))
				_ = http.NewResponseController(w).Flush()
				if silent {
					<-r.Context().Done()
				}
				panic(http.ErrAbortHandler)
			}
			s := o.saver([]string{o.host() + "/a:1"}, amd64)
			patience := patient{http.DefaultTransport, time.Second, 250 * time.Millisecond}
			s.client.Transport = patience
			if silent {
				s.client.Transport = patience
				var err error
				s.puller, err = remotePuller(patience)
				require.NoError(t, err)
			}
			file := filepath.Join(t.TempDir(), "f")
			began := time.Now()
			_, err := s.Save(t.Context(), file, false)
			require.NoError(t, err)
			assert.Less(t, time.Since(began), 10*time.Second)
			assert.Equal(t, 4, broken, "two layers, a configuration, and a plugin")
			_, err = newMachine(t).load(file, amd64)
			require.NoError(t, err)
		})
	}
	t.Run("never whole", func(t *testing.T) {
		o := newWeb(t)
		o.push("a:1", layer(t), amd64, arm64)
		o.fault = func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
			if strings.Contains(r.URL.Path, "/blobs/") {
				w.Header().Set("Content-Length", "10")
				_, _ = w.Write([]byte("half"))
				_ = http.NewResponseController(w).Flush()
				panic(http.ErrAbortHandler)
			}
			return false
		}
		dir := t.TempDir()
		_, err := o.saver([]string{o.host() + "/a:1"}, amd64).Save(t.Context(), filepath.Join(dir, "f"), false)
		require.ErrorContains(t, err, "cannot be fetched")
		assert.Empty(t, files(t, dir))
	})
}

// TestRefusals: what a server refuses is asked for once.
func TestRefusals(t *testing.T) {
	t.Setenv("PULUMI_HOME", t.TempDir())
	for _, part := range []string{"/blobs/", "/plugins/"} {
		o := newWeb(t)
		o.push("a:1", layer(t), amd64, arm64)
		s := o.saver([]string{o.host() + "/a:1"}, amd64)
		refused := 0
		o.fault = func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
			if !strings.Contains(r.URL.Path, part) {
				return false
			}
			refused++
			w.WriteHeader(http.StatusForbidden)
			return true
		}
		_, err := s.Save(t.Context(), filepath.Join(t.TempDir(), "f"), false)
		require.Error(t, err)
		assert.Equal(t, 1, refused, part)
	}
}

// TestSchema1: an image of Docker's first format becomes one of today's that runs the same.
func TestSchema1(t *testing.T) {
	t.Setenv("PULUMI_HOME", t.TempDir())
	o := newWeb(t)
	zip := func(text string) []byte {
		var out bytes.Buffer
		w := gzip.NewWriter(&out)
		_, err := io.WriteString(w, text)
		require.NoError(t, errors.Join(err, w.Close()))
		return out.Bytes()
	}
	bottom, top, none := zip("bottom"), zip("top"), zip("none")
	for _, blob := range [][]byte{bottom, top, none} {
		o.put("/v2/old/blobs/sha256:"+sum(blob), "application/octet-stream", blob)
	}
	line := func(compat string) map[string]string { return map[string]string{"v1Compatibility": compat} }
	blob := func(b []byte) map[string]string { return map[string]string{"blobSum": "sha256:" + sum(b)} }
	manifest, err := json.Marshal(map[string]any{
		"schemaVersion": 1, "name": "old", "tag": "1.4", "architecture": "amd64",
		"fsLayers": []any{blob(top), blob(none), blob(bottom), map[string]string{"blobSum": "sha256:a3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4"}},
		"history": []any{
			line(`{"id":"4","parent":"3","created":"2016-05-01T00:00:00Z","os":"linux","architecture":"amd64","docker_version":"1.9.1","config":{"Cmd":["nginx"],"Env":["A=b"],"ExposedPorts":{"8080/tcp":{}}},"container_config":{"Cmd":["/bin/sh","-c","top"]}}`),
			line(`{"id":"3","parent":"2","created":"2016-04-01T00:00:00Z","throwaway":true,"container_config":{"Cmd":["CMD"]}}`),
			line(`{"id":"2","parent":"1","author":"a","container_config":{"Cmd":["bottom"]}}`),
			line(`{"id":"1","container_config":{"Cmd":["old nothing"]}}`),
		},
		"signatures": []any{map[string]any{"header": map[string]string{"alg": "ES256"}}},
	})
	require.NoError(t, err)
	o.put("/v2/old/manifests/1.4", string(types.DockerManifestSchema1Signed), manifest)
	file := filepath.Join(t.TempDir(), "f")
	image := o.host() + "/old:1.4"
	_, err = o.saver([]string{image}, amd64).Save(t.Context(), file, false)
	require.NoError(t, err)
	m := newMachine(t)
	_, err = m.load(file, amd64)
	require.NoError(t, err, "a Docker takes it")
	assert.Equal(t, []string{image}, m.names())

	a, err := Open(file)
	require.NoError(t, err)
	defer a.Close()
	var made v1.Manifest
	require.NoError(t, a.readJSON(blobFolder+a.index.Manifests[0].Digest.Hex, &made))
	assert.Equal(t, types.DockerManifestSchema2, made.MediaType)
	var config v1.ConfigFile
	require.NoError(t, a.readJSON(blobFolder+made.Config.Digest.Hex, &config))
	assert.Equal(t, []string{"sha256:" + sum([]byte("bottom")), "sha256:" + sum([]byte("top"))},
		[]string{config.RootFS.DiffIDs[0].String(), config.RootFS.DiffIDs[1].String()})
	assert.Equal(t, []string{"nginx"}, config.Config.Cmd)
	assert.Equal(t, []string{"A=b"}, config.Config.Env)
	assert.Contains(t, config.Config.ExposedPorts, "8080/tcp")
	assert.Equal(t, "linux/amd64", config.OS+"/"+config.Architecture)
	assert.Len(t, config.History, 4)

	_, err = o.saver([]string{image}, arm64).Save(t.Context(), filepath.Join(t.TempDir(), "f"), false)
	assert.ErrorContains(t, err, "edition=current")
}

// saved is a file to spoil, and what it is for.
func saved(t *testing.T) (file string, content []byte) {
	t.Helper()
	t.Setenv("PULUMI_HOME", t.TempDir())
	o := newWeb(t)
	digest := o.push("a:1", layer(t), amd64, arm64)
	file = filepath.Join(t.TempDir(), "f")
	_, err := o.saver([]string{o.host() + "/a:1@" + digest}, amd64).Save(t.Context(), file, false)
	require.NoError(t, err)
	content, err = os.ReadFile(file)
	require.NoError(t, err)
	return file, content
}

// TestDamaged: a file that is not as it was written changes nothing on the machine.
func TestDamaged(t *testing.T) {
	file, content := saved(t)
	try := func(name string, spoiled []byte) {
		t.Helper()
		require.NoError(t, os.WriteFile(file, spoiled, 0o600))
		m := newMachine(t)
		_, err := m.load(file, amd64)
		require.Error(t, err, name)
		assert.ErrorContains(t, err, file, name)
		assert.NotContains(t, err.Error(), "\n")
		assert.Zero(t, m.loads, name)
		assert.Nil(t, m.cli, name)
		assert.Empty(t, m.plugins, name)
	}
	for _, length := range []int{0, 1, 511, 512, 600, len(content) / 2, len(content) - 2000} {
		try("truncated", content[:length])
	}
	require.NoError(t, os.WriteFile(file, content, 0o600))
	a, err := Open(file)
	require.NoError(t, err)
	for name, e := range a.entries {
		if e.size == 0 {
			continue
		}
		for _, at := range []int64{0, e.size / 2, e.size - 1} {
			spoiled := bytes.Clone(content)
			spoiled[e.at+at] ^= 0x55
			if name != listFile { // in which something would still be read
				try(name, spoiled)
			}
		}
	}
	a.Close()
	noise := make([]byte, 5000)
	rand.Read(noise) //nolint:errcheck // it never fails
	try("noise", noise)
	try("another tar", other(t))
}

// other is a tar of somebody else's.
func other(t *testing.T) []byte {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "f"))
	require.NoError(t, err)
	w := &writer{out: file, entries: map[string]entry{}}
	require.NoError(t, w.addJSON("manifest.json", []string{}))
	require.NoError(t, w.end(nil, nil))
	content, err := os.ReadFile(file.Name())
	require.NoError(t, err)
	return content
}

// rewrite makes the file anew with other content of the same checksums' list.
func rewrite(t *testing.T, file string, change func(*Archive)) {
	t.Helper()
	a, err := Open(file)
	require.NoError(t, err)
	defer a.Close()
	change(a)
	out, err := os.Create(file + ".new")
	require.NoError(t, err)
	w := &writer{out: out, entries: map[string]entry{}}
	for name := range a.entries {
		if name == listFile || name == indexFile {
			continue
		}
		content, err := a.open(name)
		require.NoError(t, err)
		_, err = w.add(name, content)
		require.NoError(t, err)
	}
	require.NoError(t, w.addJSON(indexFile, a.index))
	a.list.SHA256 = map[string]string{}
	for name, e := range w.entries {
		a.list.SHA256[name] = e.sha256
	}
	require.NoError(t, w.addJSON(listFile, a.list))
	_, err = out.Write(make([]byte, 2*blockSize))
	require.NoError(t, errors.Join(err, out.Close(), os.Rename(file+".new", file)))
}

// TestForged: what is whole, and not what it says.
func TestForged(t *testing.T) {
	file, content := saved(t)
	again := func() { require.NoError(t, os.WriteFile(file, content, 0o600)) }
	for name, c := range map[string]struct {
		change func(*Archive)
		want   string
	}{
		"a newer version": {func(a *Archive) { a.list.Version = 2 }, "newer version (2)"},
		"another image under a digest": {func(a *Archive) {
			d := &a.index.Manifests[0]
			was := d.Annotations[refName]
			d.Annotations[refName] = was[:strings.Index(was, "@")] + "@sha256:" + sum([]byte("of nothing here"))
		}, "is missing"},
		"an index that does not lead to it": {func(a *Archive) {
			// The manifest itself takes the place of its index: it leads to no manifest.
			var m v1.Manifest
			require.NoError(t, a.readJSON(blobFolder+a.index.Manifests[0].Digest.Hex, &m))
			d := &a.index.Manifests[0]
			was := d.Annotations[refName]
			d.Annotations[refName] = was[:strings.Index(was, "@")] + "@" + m.Config.Digest.String()
		}, "is another image"},
		"a platform of nobody's": {func(a *Archive) { a.list.Programs = nil }, "save one with --platform"},
		"a plugin of no version": {func(a *Archive) { a.list.Programs[1].Version = "x" }, "damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			again()
			rewrite(t, file, c.change)
			m := newMachine(t)
			_, err := m.load(file, amd64)
			require.ErrorContains(t, err, c.want)
			assert.Zero(t, m.loads)
		})
	}
	again()
	rewrite(t, file, func(*Archive) {})
	_, err := newMachine(t).load(file, amd64)
	require.NoError(t, err, "unchanged it is right")

	m := newMachine(t)
	version := semver.MustParse("9.8.6")
	m.needs = []workspace.PluginDescriptor{{Name: "k", Kind: apitype.ResourcePlugin, Version: &version}}
	_, err = m.load(file, amd64)
	require.ErrorContains(t, err, "another version of this project: the plugin k v9.8.6")
	assert.Zero(t, m.loads)

	m = newMachine(t)
	m.fails = errors.New("no space left on device")
	_, err = m.load(file, amd64)
	require.ErrorContains(t, err, "no space left")
	assert.Nil(t, m.cli)
	_, err = Open(t.TempDir())
	assert.ErrorContains(t, err, "is no file")
	_, err = Open(filepath.Join(t.TempDir(), "none"))
	assert.ErrorIs(t, err, os.ErrNotExist)
}
