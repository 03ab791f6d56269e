package offline

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// schema1 is a manifest of Docker's first format, "image manifest version 2, schema 1",
// as far as an image of today is made of it. Both lists begin with the topmost layer.
type schema1 struct {
	Architecture string `json:"architecture"`
	FSLayers     []struct {
		BlobSum v1.Hash `json:"blobSum"`
	} `json:"fsLayers"`
	History []struct {
		V1Compatibility string `json:"v1Compatibility"`
	} `json:"history"`
}

// compatibility is what stands in a History, beside what a v1.ConfigFile has.
type compatibility struct {
	Created         v1.Time
	Author          string
	Comment         string
	ThrowAway       bool                   // its layer is empty
	ContainerConfig struct{ Cmd []string } `json:"container_config"`
}

// emptyLayer is the layer of whoever had none before ThrowAway was.
const emptyLayer = "a3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4"

func isSchema1(t types.MediaType) bool {
	return t == types.DockerManifestSchema1 || t == types.DockerManifestSchema1Signed
}

func parseSchema1(manifest []byte) (m schema1, err error) {
	if err := json.Unmarshal(manifest, &m); err != nil {
		return m, fmt.Errorf("its manifest (schema 1): %w", err)
	}
	if len(m.FSLayers) == 0 || len(m.FSLayers) != len(m.History) {
		return m, fmt.Errorf("its manifest (schema 1) has %d layers and a history of %d", len(m.FSLayers), len(m.History))
	}
	return m, nil
}

// convert writes an image of schema 1, which neither Docker nor containerd takes any more,
// as one of schema 2 that runs the same.
func (s *Saver) convert(ctx context.Context, w *writer, i *image) (*v1.Descriptor, error) {
	if strings.Contains(i.reference, "@") {
		return nil, unfit("it is in an old format (schema 1), whose digest ends with it; name it by its tag")
	}
	old, err := parseSchema1(i.manifest.Manifest)
	if err != nil {
		return nil, err
	}
	var config v1.ConfigFile
	if err := json.Unmarshal([]byte(old.History[0].V1Compatibility), &config); err != nil {
		return nil, fmt.Errorf("its configuration (schema 1): %w", err)
	}
	config.OS, config.Architecture = i.platform.OS, i.platform.Architecture
	config.RootFS.Type = "layers"
	manifest := v1.Manifest{SchemaVersion: 2, MediaType: types.DockerManifestSchema2}
	for n := len(old.FSLayers) - 1; n >= 0; n-- {
		var was compatibility
		if err := json.Unmarshal([]byte(old.History[n].V1Compatibility), &was); err != nil {
			return nil, fmt.Errorf("its history (schema 1): %w", err)
		}
		digest := old.FSLayers[n].BlobSum
		empty := was.ThrowAway || digest.Hex == emptyLayer
		config.History = append(config.History, v1.History{Created: was.Created, Author: was.Author, Comment: was.Comment,
			CreatedBy: strings.Join(was.ContainerConfig.Cmd, " "), EmptyLayer: empty})
		if empty {
			continue
		}
		e, err := s.writeBlob(ctx, w, i.from, digest)
		if err != nil {
			return nil, err
		}
		diff, err := diffID(io.NewSectionReader(w.out, e.at, e.size))
		if err != nil {
			return nil, fmt.Errorf("its layer %s: %w", digest, err)
		}
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, diff)
		manifest.Layers = append(manifest.Layers, v1.Descriptor{MediaType: types.DockerLayer, Digest: digest, Size: e.size})
	}
	if manifest.Config, err = writeJSON(w, types.DockerConfigJSON, config); err != nil {
		return nil, err
	}
	described, err := writeJSON(w, types.DockerManifestSchema2, manifest)
	return &described, err
}

// writeJSON writes a blob and returns what leads to it.
func writeJSON(w *writer, t types.MediaType, value any) (v1.Descriptor, error) {
	content, err := json.Marshal(value)
	if err != nil {
		return v1.Descriptor{}, err
	}
	digest, size, err := v1.SHA256(bytes.NewReader(content))
	if err == nil {
		_, err = w.addBlob(digest, bytes.NewReader(content))
	}
	return v1.Descriptor{MediaType: t, Digest: digest, Size: size}, err
}

// diffID is the checksum of a layer as it is unpacked.
func diffID(layer io.Reader) (v1.Hash, error) {
	unpacked, err := gzip.NewReader(layer)
	if err != nil {
		return v1.Hash{}, err
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, unpacked); err != nil { //nolint:gosec // nothing is kept of it
		return v1.Hash{}, err
	}
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum.Sum(nil))}, nil
}
