// Package imagelab is, for tests, a registry on this machine with images for a whole lab
// in it: it counts what is asked of it, and fails as it is told.
package imagelab

import (
	"archive/tar"
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/docker/libtrust"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// unique is the size of the layer that an image has for itself, in bytes.
const unique = 3 << 20

// program builds the server once for all images, as a layer.
var program = sync.OnceValues(func() (v1.Layer, error) {
	dir, err := os.MkdirTemp("", "imagelab-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "server")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", file, "k8sbootcamp/tests/live/internal/imagelab/server")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return nil, err
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return layer("server", content)
})

// layer is one with a file in it.
func layer(file string, content []byte) (v1.Layer, error) {
	var packed bytes.Buffer
	w := tar.NewWriter(&packed)
	if err := w.WriteHeader(&tar.Header{Name: file, Mode: 0o755, Size: int64(len(content))}); err != nil {
		return nil, err
	}
	if _, err := w.Write(content); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(packed.Bytes())), nil })
}

// image is one that runs the server, with a layer that no other has.
func image(says, arch string) (v1.Image, error) {
	base, err := program()
	if err != nil {
		return nil, err
	}
	random := make([]byte, unique)
	rand.Read(random) //nolint:errcheck // it never fails
	own, err := layer("own", random)
	if err != nil {
		return nil, err
	}
	made, err := mutate.AppendLayers(mutate.MediaType(empty.Image, types.DockerManifestSchema2), base, own)
	if err != nil {
		return nil, err
	}
	file, err := made.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", arch
	file.Config.Entrypoint, file.Config.Env, file.Config.User = []string{"/server"}, []string{"IMAGE=" + says}, "65534"
	return mutate.ConfigFile(made, file)
}

// Push puts an image into the registry, for this machine's architecture and another one,
// and returns its reference by tag and the digest of both. It counts for nothing.
func (r *Registry) Push(t testing.TB, repository, tag string) (ref, digest string) {
	t.Helper()
	return r.push(t, repository, tag, runtime.GOARCH, "s390x")
}

// PushFor is Push of an image that exists for the one architecture.
func (r *Registry) PushFor(t testing.TB, repository, tag, arch string) (ref, digest string) {
	t.Helper()
	return r.push(t, repository, tag, arch)
}

// PushOld is Push of an image in Docker's first format (schema 1), which is for this machine's
// architecture alone, and signed, as Docker wants it, by nobody in particular.
func (r *Registry) PushOld(t testing.TB, repository, tag string) (ref string) {
	t.Helper()
	made, err := image(repository+":"+tag, runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	to, err := name.ParseReference(r.inside.Listener.Addr().String() + "/" + repository + ":" + tag)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(to, made); err != nil { // its layers
		t.Fatal(err)
	}
	config, err := made.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := made.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	type blobSum struct {
		BlobSum string `json:"blobSum"`
	}
	type history struct {
		V1Compatibility string `json:"v1Compatibility"`
	}
	old := struct {
		SchemaVersion int       `json:"schemaVersion"`
		Name          string    `json:"name"`
		Tag           string    `json:"tag"`
		Architecture  string    `json:"architecture"`
		FSLayers      []blobSum `json:"fsLayers"`
		History       []history `json:"history"`
	}{1, repository, tag, runtime.GOARCH, nil, nil}
	for i, l := range manifest.Layers { // the topmost comes first
		v1 := map[string]any{"id": fmt.Sprintf("%064d", i+1), "os": "linux", "architecture": runtime.GOARCH}
		if i > 0 {
			v1["parent"] = fmt.Sprintf("%064d", i)
		}
		if i == len(manifest.Layers)-1 {
			v1["config"] = config.Config
		}
		text, err := json.Marshal(v1)
		if err != nil {
			t.Fatal(err)
		}
		old.FSLayers = append([]blobSum{{l.Digest.String()}}, old.FSLayers...)
		old.History = append([]history{{string(text)}}, old.History...)
	}
	content, err := sign(old)
	if err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.old["/v2/"+repository+"/manifests/"+tag] = content
	return r.Host + "/" + repository + ":" + tag
}

func sign(manifest any) ([]byte, error) {
	content, err := json.MarshalIndent(manifest, "", "   ")
	if err != nil {
		return nil, err
	}
	key, err := libtrust.GenerateECP256PrivateKey()
	if err != nil {
		return nil, err
	}
	signature, err := libtrust.NewJSONSignature(content)
	if err != nil {
		return nil, err
	}
	if err := signature.Sign(key); err != nil {
		return nil, err
	}
	return signature.PrettySignature("signatures")
}

func (r *Registry) push(t testing.TB, repository, tag string, archs ...string) (ref, digest string) {
	t.Helper()
	all := mutate.IndexMediaType(empty.Index, types.DockerManifestList)
	for _, arch := range archs {
		made, err := image(repository+":"+tag, arch)
		if err != nil {
			t.Fatal(err)
		}
		all = mutate.AppendManifests(all, mutate.IndexAddendum{Add: made, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
	}
	to, err := name.ParseReference(r.inside.Listener.Addr().String() + "/" + repository + ":" + tag)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(to, all); err != nil {
		t.Fatal(err)
	}
	sum, err := all.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return r.Host + "/" + repository + ":" + tag, sum.String()
}
