// Package schema1 reads manifests of Docker's first format, "image manifest version 2,
// schema 1", so that an image of today can be made of one. Neither Docker nor containerd
// takes the old ones any more.
package schema1

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Image is an image as a manifest has it.
type Image struct {
	// Config runs the same. It lacks the layers' checksums as they are unpacked (DiffID),
	// which only the layers have.
	Config v1.ConfigFile
	Layers []v1.Hash // the lowest first; without the empty ones
}

// manifest is what is read of one. Both lists begin with the topmost layer.
type manifest struct {
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

// Is tells whether a manifest of a type is one of schema 1, signed or not.
func Is(t types.MediaType) bool {
	return t == types.DockerManifestSchema1 || t == types.DockerManifestSchema1Signed
}

// Parse reads a manifest.
func Parse(raw []byte) (*Image, error) {
	var m manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fmt.Errorf("its manifest (schema 1): %w", err)
	}
	if len(m.FSLayers) == 0 || len(m.FSLayers) != len(m.History) {
		return nil, fmt.Errorf("its manifest (schema 1) has %d layers and a history of %d", len(m.FSLayers), len(m.History))
	}
	var out Image
	if err := json.Unmarshal([]byte(m.History[0].V1Compatibility), &out.Config); err != nil {
		return nil, fmt.Errorf("its configuration (schema 1): %w", err)
	}
	out.Config.OS, out.Config.Architecture = "linux", m.Architecture
	out.Config.RootFS = v1.RootFS{Type: "layers"}
	out.Config.History = nil
	for n := len(m.FSLayers) - 1; n >= 0; n-- {
		var was compatibility
		if err := json.Unmarshal([]byte(m.History[n].V1Compatibility), &was); err != nil {
			return nil, fmt.Errorf("its history (schema 1): %w", err)
		}
		digest := m.FSLayers[n].BlobSum
		empty := was.ThrowAway || digest.Hex == emptyLayer
		out.Config.History = append(out.Config.History, v1.History{Created: was.Created, Author: was.Author, Comment: was.Comment,
			CreatedBy: strings.Join(was.ContainerConfig.Cmd, " "), EmptyLayer: empty})
		if !empty {
			out.Layers = append(out.Layers, digest)
		}
	}
	return &out, nil
}

// DiffID is the checksum of a layer as it is unpacked.
func DiffID(layer io.Reader) (v1.Hash, error) {
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
