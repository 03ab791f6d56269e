package offline

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/blang/semver"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
	"github.com/pulumi/pulumi/sdk/v3/go/common/workspace"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/internal/docker"
	"k8sbootcamp/internal/schema1"
)

var (
	amd64 = docker.Platform{OS: "linux", Architecture: "amd64"}
	arm64 = docker.Platform{OS: "linux", Architecture: "arm64"}
)

func sum(content []byte) string {
	s := sha256.Sum256(content)
	return hex.EncodeToString(s[:])
}

// web is a registry, and a server of releases.
type web struct {
	*httptest.Server
	t *testing.T

	mu    sync.Mutex
	asked map[string]int // by method and path

	// fault, where it is set, may answer instead.
	fault func(w http.ResponseWriter, r *http.Request, inner http.Handler) bool
	files map[string][]byte // releases, by path
}

func newWeb(t *testing.T) *web {
	t.Helper()
	o := &web{t: t, asked: map[string]int{}, files: map[string][]byte{}}
	images := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.mu.Lock()
		o.asked[r.Method+" "+r.URL.Path]++
		o.mu.Unlock()
		if o.fault != nil && o.fault(w, r, images) {
			return
		}
		if file, ok := o.files[r.URL.Path]; ok {
			_, _ = w.Write(file)
			return
		}
		images.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { o.CloseClientConnections(); o.Close() })
	return o
}

func (o *web) host() string { return o.Listener.Addr().String() }

// push puts an image into the registry, with layers that another has too, for platforms.
func (o *web) push(reference string, shared v1.Layer, platforms ...docker.Platform) (digest string) {
	o.t.Helper()
	ref, err := name.ParseReference(o.host() + "/" + reference)
	require.NoError(o.t, err)
	all := mutate.IndexMediaType(empty.Index, types.DockerManifestList)
	for _, p := range platforms {
		own, err := random.Layer(5000, types.DockerLayer)
		require.NoError(o.t, err)
		image, err := mutate.AppendLayers(mutate.MediaType(empty.Image, types.DockerManifestSchema2), shared, own)
		require.NoError(o.t, err)
		file, err := image.ConfigFile()
		require.NoError(o.t, err)
		file = file.DeepCopy()
		file.OS, file.Architecture = p.OS, p.Architecture
		image, err = mutate.ConfigFile(image, file)
		require.NoError(o.t, err)
		if len(platforms) == 1 {
			require.NoError(o.t, remote.Write(ref, image))
			d, err := image.Digest()
			require.NoError(o.t, err)
			return d.String()
		}
		all = mutate.AppendManifests(all, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: p.OS, Architecture: p.Architecture}}})
	}
	require.NoError(o.t, remote.WriteIndex(ref, all))
	d, err := all.Digest()
	require.NoError(o.t, err)
	return d.String()
}

func layer(t *testing.T) v1.Layer {
	t.Helper()
	l, err := random.Layer(20_000, types.DockerLayer)
	require.NoError(t, err)
	return l
}

// put puts a blob or a manifest into the registry.
func (o *web) put(path, contentType string, content []byte) {
	o.t.Helper()
	method, url := http.MethodPut, o.URL+path
	if strings.Contains(path, "/blobs/") {
		method, url = http.MethodPost, o.URL+strings.Split(path, "/blobs/")[0]+"/blobs/uploads/?digest=sha256:"+sum(content)
	}
	r, err := http.NewRequest(method, url, bytes.NewReader(content))
	require.NoError(o.t, err)
	r.Header.Set("Content-Type", contentType)
	answer, err := http.DefaultClient.Do(r)
	require.NoError(o.t, err)
	defer answer.Body.Close()
	require.Equal(o.t, http.StatusCreated, answer.StatusCode)
}

// tarGz packs files.
func tarGz(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	packed := gzip.NewWriter(&out)
	w := tar.NewWriter(packed)
	for name, content := range files {
		require.NoError(t, w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(content))}))
		_, err := io.WriteString(w, content)
		require.NoError(t, err)
	}
	require.NoError(t, errors.Join(w.Close(), packed.Close()))
	return out.Bytes()
}

// zipped packs files as releases for Windows are.
func zipped(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	_, err := w.Create("pulumi/")
	require.NoError(t, err)
	for name, content := range files {
		file, err := w.Create(name)
		require.NoError(t, err)
		_, err = io.WriteString(file, content)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return out.Bytes()
}

// releases has the server have the programs for platforms.
func (o *web) releases(platforms ...docker.Platform) Programs {
	o.t.Helper()
	version, plugin := semver.MustParse("3.259.0"), semver.MustParse("9.8.7")
	var sums strings.Builder
	for _, p := range platforms {
		file, content := releaseFile(version, p), tarGz(o.t, map[string]string{"pulumi/pulumi": "cli of " + p.String(), "pulumi/pulumi-language-go": "l"})
		if p.OS == "windows" {
			content = zipped(o.t, map[string]string{"pulumi/bin/pulumi.exe": "cli of " + p.String(), "pulumi/bin/pulumi-language-go.exe": "l"})
		}
		o.files["/releases/v3.259.0/"+file] = content
		fmt.Fprintf(&sums, "%s  %s\n", sum(content), file)
		o.files[fmt.Sprintf("/plugins/pulumi-resource-k-v9.8.7-%s-%s.tar.gz", p.OS, p.Architecture)] = tarGz(o.t, map[string]string{"pulumi-resource-k": "plugin of " + p.String()})
	}
	o.files["/releases/v3.259.0/pulumi-3.259.0-checksums.txt"] = []byte(sums.String())
	return Programs{Version: version, Releases: o.URL + "/releases",
		Plugins: []workspace.PluginDescriptor{{Name: "k", Kind: apitype.ResourcePlugin, Version: &plugin, PluginDownloadURL: o.URL + "/plugins"}}}
}

// saver saves from the server.
func (o *web) saver(images []string, platforms ...docker.Platform) *Saver {
	o.t.Helper()
	s, err := NewSaver()
	require.NoError(o.t, err)
	s.pause = 0
	s.Images, s.Platforms, s.Programs = images, platforms, o.releases(platforms...)
	return s
}

// The image stores of a Docker: the classic one, and containerd's, of which Docker since 28
// tells the manifests.
const (
	classic = iota
	containerd
	containerd28
)

// engine is a Docker in memory.
type engine struct {
	t     *testing.T
	store int
	has   map[string]*docker.Image
	loads int
	fails error
}

func (e *engine) Image(_ context.Context, name string) (*docker.Image, error) {
	return e.has[name], nil
}

// Load takes an image as Docker does: it compares each digest.
func (e *engine) Load(_ context.Context, archive io.Reader) error {
	e.loads++
	if e.fails != nil {
		return e.fails
	}
	files := map[string][]byte{}
	for in := tar.NewReader(archive); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if files[h.Name], err = io.ReadAll(in); err != nil {
			return err
		}
	}
	for file, content := range files {
		if digest, blob := strings.CutPrefix(file, blobFolder); blob {
			require.Equal(e.t, digest, sum(content))
		}
	}
	var list []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	require.NoError(e.t, json.Unmarshal(files["manifest.json"], &list))
	require.Len(e.t, list, 1)
	var config v1.ConfigFile
	require.NoError(e.t, json.Unmarshal(files[list[0].Config], &config))
	require.Len(e.t, list[0].Layers, len(config.RootFS.DiffIDs))
	for i, l := range list[0].Layers {
		diff, err := schema1.DiffID(bytes.NewReader(files[l]))
		require.NoError(e.t, err)
		require.Equal(e.t, config.RootFS.DiffIDs[i], diff)
	}
	var index v1.IndexManifest
	require.NoError(e.t, json.Unmarshal(files[indexFile], &index))
	require.Len(e.t, index.Manifests, 1)
	found := &docker.Image{ID: "sha256:" + path.Base(list[0].Config)}
	as := list[0].RepoTags[0]
	if e.store != classic {
		own := index.Manifests[0].Digest.String()
		found = &docker.Image{ID: own}
		if e.store == containerd28 {
			found = &docker.Image{ID: "sha256:of an index", Manifests: []string{own}}
		}
		as = index.Manifests[0].Annotations[containerdName]
	}
	require.Equal(e.t, sum(files[blobFolder+index.Manifests[0].Digest.Hex]), index.Manifests[0].Digest.Hex)
	e.has[as] = found
	return nil
}

// machine is a laptop in memory. PULUMI_HOME is a folder of the test's own.
type machine struct {
	*engine
	cli     map[string]string // files, once it is there
	plugins []string          // what was installed, and its content
	needs   []workspace.PluginDescriptor
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	t.Setenv("PULUMI_HOME", t.TempDir())
	return &machine{engine: &engine{t: t, has: map[string]*docker.Image{}}}
}

func (m *machine) load(file string, of docker.Platform) (*Missing, error) {
	a, err := Open(file)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	l := &Loader{
		Docker: m.engine, Platform: of, Plugins: m.needs,
		HasCLI: func(context.Context) bool { return m.cli != nil },
		InstallCLI: func(_ context.Context, unpack func(string) error) error {
			dir := m.t.TempDir()
			if err := unpack(dir); err != nil {
				return err
			}
			m.cli = map[string]string{}
			files, err := regularFiles(dir)
			for _, f := range files {
				b, _ := os.ReadFile(filepath.Join(dir, f))
				m.cli[f] = string(b)
			}
			return err
		},
		InstallPlugin: func(_ context.Context, p workspace.PluginDescriptor, file string) error {
			b, err := os.ReadFile(file)
			require.NoError(m.t, err)
			m.plugins = append(m.plugins, p.String()+" "+sum(b))
			dir, err := p.DirPath()
			require.NoError(m.t, err)
			return os.MkdirAll(dir, 0o700)
		},
		Progress: func(string, int64, int64) {},
	}
	missing, err := l.Check(m.t.Context(), a)
	if err != nil {
		return nil, err
	}
	return missing, l.Load(m.t.Context(), a, missing)
}

// names are those that Docker has images under.
func (e *engine) names() (all []string) {
	for name := range e.has {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}
