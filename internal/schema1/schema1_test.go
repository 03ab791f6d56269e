package schema1

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParse(t *testing.T) {
	t.Parallel()
	line := func(compat string) map[string]string { return map[string]string{"v1Compatibility": compat} }
	blob := func(hex string) map[string]string { return map[string]string{"blobSum": "sha256:" + hex} }
	top, none, bottom := strings.Repeat("3", 64), strings.Repeat("2", 64), strings.Repeat("1", 64)
	raw, err := json.Marshal(map[string]any{
		"schemaVersion": 1, "architecture": "amd64",
		"fsLayers": []any{blob(top), blob(none), blob(bottom), blob(emptyLayer)},
		"history": []any{
			line(`{"id":"4","parent":"3","created":"2016-05-01T00:00:00Z","os":"plan9","architecture":"386","config":{"Cmd":["nginx"],"Env":["A=b"]},"container_config":{"Cmd":["/bin/sh","-c","top"]},"rootfs":{"type":"x","diff_ids":["sha256:` + top + `"]},"history":[{}]}`),
			line(`{"id":"3","throwaway":true,"container_config":{"Cmd":["CMD"]}}`),
			line(`{"id":"2","author":"a","container_config":{"Cmd":["bottom"]}}`),
			line(`{"id":"1","container_config":{"Cmd":["old nothing"]}}`),
		},
	})
	require.NoError(t, err)
	image, err := Parse(raw)
	require.NoError(t, err)
	assert.Equal(t, []v1.Hash{{Algorithm: "sha256", Hex: bottom}, {Algorithm: "sha256", Hex: top}}, image.Layers)
	assert.Equal(t, "linux/amd64", image.Config.OS+"/"+image.Config.Architecture)
	assert.Equal(t, []string{"nginx"}, image.Config.Config.Cmd)
	assert.Equal(t, []string{"A=b"}, image.Config.Config.Env)
	assert.Equal(t, v1.RootFS{Type: "layers"}, image.Config.RootFS)
	var history []string
	for _, h := range image.Config.History {
		history = append(history, h.CreatedBy+map[bool]string{true: " (empty)"}[h.EmptyLayer])
	}
	assert.Equal(t, []string{"old nothing (empty)", "bottom", "CMD (empty)", "/bin/sh -c top"}, history)

	for _, bad := range []string{
		`{`, `{"fsLayers":[]}`, `{"fsLayers":[{"blobSum":"` + "sha256:" + top + `"}],"history":[]}`,
		`{"fsLayers":[{"blobSum":"../../x"}],"history":[{"v1Compatibility":"{}"}]}`,
		`{"fsLayers":[{"blobSum":"sha256:` + top + `"}],"history":[{"v1Compatibility":"{"}]}`,
	} {
		_, err := Parse([]byte(bad))
		assert.ErrorContains(t, err, "schema 1", bad)
	}
}

func TestIs(t *testing.T) {
	t.Parallel()
	assert.True(t, Is(types.DockerManifestSchema1) && Is(types.DockerManifestSchema1Signed))
	assert.False(t, Is(types.DockerManifestSchema2) || Is(types.OCIImageIndex) || Is(""))
}

func TestDiffID(t *testing.T) {
	t.Parallel()
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, err := io.WriteString(w, "layer")
	require.NoError(t, errors.Join(err, w.Close()))
	whole := packed.Bytes()
	id, err := DiffID(bytes.NewReader(whole))
	require.NoError(t, err)
	assert.Equal(t, fmt.Sprintf("sha256:%x", sha256.Sum256([]byte("layer"))), id.String())
	for _, bad := range [][]byte{nil, []byte("layer"), whole[:len(whole)-4]} {
		_, err := DiffID(bytes.NewReader(bad))
		assert.Error(t, err)
	}
}
