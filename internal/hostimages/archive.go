package hostimages

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
)

// Files of an archive as `docker save` writes it that say which images are in it: its own
// list, and, since Docker 25 beside it, that of the OCI's image layout, which containerd
// goes by where there is one.
const (
	listFile  = "manifest.json"
	indexFile = "index.json"
	oldFile   = "repositories" // of Docker before 1.10
)

// manifest is an entry of Docker's own list.
type manifest struct {
	Config   string
	RepoTags []string
	Layers   []string
	// LayerSources tells where layers come from that are not in the archive.
	LayerSources json.RawMessage `json:",omitempty"`
}

// index is the OCI's, as far as it has to be told.
type index struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType,omitempty"`
	Manifests     []descriptor `json:"manifests"`
}

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Platform    json.RawMessage   `json:"platform,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// containerdName is the annotation that containerd takes an image's name from.
const containerdName = "io.containerd.image.name"

// rename copies the archive of one image, which then has that name and no other: one by
// its digest too, which `docker save` cannot write. Nothing of ours is ever in the user's
// Docker for it.
func rename(to io.Writer, from io.Reader, name string) error {
	in, out := tar.NewReader(from), tar.NewWriter(to)
	named := false
	for {
		header, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("the image's archive: %w", err)
		}
		content := io.Reader(in)
		var change func([]byte, string) ([]byte, error)
		switch path.Clean(header.Name) {
		case oldFile:
			continue
		case listFile:
			change = renameList
		case indexFile:
			change = renameIndex
		}
		if change != nil {
			was, err := io.ReadAll(in)
			if err != nil {
				return fmt.Errorf("the image's archive: %w", err)
			}
			now, err := change(was, name)
			if err != nil {
				return fmt.Errorf("the image's archive: %s: %w", header.Name, err)
			}
			named, header.Size, content = true, int64(len(now)), bytes.NewReader(now)
		}
		if err := out.WriteHeader(header); err != nil {
			return err
		}
		if _, err := io.Copy(out, content); err != nil {
			return err
		}
	}
	if !named {
		return errors.New("the image's archive has no list of what is in it")
	}
	return out.Close()
}

func renameList(content []byte, name string) ([]byte, error) {
	var list []manifest
	if err := json.Unmarshal(content, &list); err != nil {
		return nil, err
	}
	if len(list) != 1 {
		return nil, fmt.Errorf("%d images are in it, and should be one", len(list))
	}
	list[0].RepoTags = []string{name}
	return json.Marshal(list)
}

// renameIndex names the one image, which stands there once for each name that Docker has
// for it.
func renameIndex(content []byte, name string) ([]byte, error) {
	var list index
	if err := json.Unmarshal(content, &list); err != nil {
		return nil, err
	}
	for _, m := range list.Manifests {
		if m.Digest != list.Manifests[0].Digest {
			return nil, fmt.Errorf("%s and %s are in it, and should be one", list.Manifests[0].Digest, m.Digest)
		}
	}
	if len(list.Manifests) == 0 {
		return nil, errors.New("no image is in it")
	}
	list.Manifests = list.Manifests[:1]
	list.Manifests[0].Annotations = map[string]string{containerdName: name}
	return json.Marshal(list)
}
