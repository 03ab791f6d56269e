package offline

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"k8sbootcamp/internal/schema1"
)

// convert writes an image of schema 1 as one of schema 2 that runs the same.
func (s *Saver) convert(ctx context.Context, w *writer, i *image) (*v1.Descriptor, error) {
	if strings.Contains(i.reference, "@") {
		return nil, unfit("it is in an old format (schema 1), whose digest ends with it; name it by its tag")
	}
	old, err := schema1.Parse(i.manifest.Manifest)
	if err != nil {
		return nil, err
	}
	manifest := v1.Manifest{SchemaVersion: 2, MediaType: types.DockerManifestSchema2}
	for _, digest := range old.Layers {
		e, err := s.writeBlob(ctx, w, i.from, digest)
		if err != nil {
			return nil, err
		}
		diff, err := schema1.DiffID(io.NewSectionReader(w.out, e.at, e.size))
		if err != nil {
			return nil, fmt.Errorf("its layer %s: %w", digest, err)
		}
		old.Config.RootFS.DiffIDs = append(old.Config.RootFS.DiffIDs, diff)
		manifest.Layers = append(manifest.Layers, v1.Descriptor{MediaType: types.DockerLayer, Digest: digest, Size: e.size})
	}
	if manifest.Config, err = writeJSON(w, types.DockerConfigJSON, old.Config); err != nil {
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
