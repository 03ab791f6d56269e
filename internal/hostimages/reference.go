package hostimages

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/distribution/reference"

	"k8sbootcamp/internal/docker"
)

// Wanted is an image that pods of the lab run.
type Wanted struct {
	Image string `json:"image"` // a reference, with a tag or a digest
	// Everywhere: on the control plane's node too. What is not runs on the workers, or on
	// that node where there are none.
	Everywhere bool `json:"everywhere,omitempty"`
}

// List writes images for the tools' standard input, each once and in an order of their
// own, and Parse reads them.
func List(images []Wanted) string {
	var all []Wanted
	for _, w := range images {
		if i := slices.IndexFunc(all, func(o Wanted) bool { return o.Image == w.Image }); i >= 0 {
			all[i].Everywhere = all[i].Everywhere || w.Everywhere
		} else {
			all = append(all, w)
		}
	}
	slices.SortFunc(all, func(a, b Wanted) int { return strings.Compare(a.Image, b.Image) })
	out, err := json.Marshal(all)
	if err != nil {
		panic(err) // strings and booleans
	}
	return string(out)
}

// Parse is the inverse of List.
func Parse(list []byte) ([]Wanted, error) {
	var out []Wanted
	if err := json.Unmarshal(list, &out); err != nil {
		return nil, fmt.Errorf("the list of images on standard input: %w", err)
	}
	for _, w := range out {
		if _, err := parse(w.Image); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Names are the references of the images.
func Names(images []Wanted) []string {
	out := make([]string, len(images))
	for i, w := range images {
		out[i] = w.Image
	}
	return out
}

// named is an image's reference, as those who keep images read it.
type named struct {
	given string // as the configuration has it

	registry string // docker.io, or a host and perhaps a port
	name     string // full, without tag and digest
	version  string // the digest, or else the tag

	// full is the one name under which Docker and the kubelet's containerd both look for
	// it: by its digest where it has one, and by its tag otherwise.
	full   string
	pinned bool // by a digest

	// loaded is the tag that stands for the digest where the image did not come from its
	// registry; empty without a digest. See LoadName.
	loaded string
}

func parse(image string) (named, error) {
	ref, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return named{}, fmt.Errorf("image %q: %w", image, err)
	}
	n := named{given: image, registry: reference.Domain(ref), name: ref.Name()}
	if digested, ok := ref.(reference.Digested); ok {
		n.pinned, n.version = true, digested.Digest().String()
		n.full = n.name + "@" + n.version
		if d := digested.Digest(); d.Algorithm() == "sha256" { // a longer one does not fit into a tag
			n.loaded = n.name + ":sha256-" + d.Encoded()
		}
		return n, nil
	}
	tagged, ok := reference.TagNameOnly(ref).(reference.Tagged)
	if !ok {
		return named{}, fmt.Errorf("image %q has neither a tag nor a digest", image)
	}
	n.version = tagged.Tag()
	n.full = n.name + ":" + n.version
	return n, nil
}

// LoadName is the name to give an image in Docker that is not pulled, but loaded: its
// tag, or one that stands for its digest, since Docker's classic store takes no digest
// but from a registry. Whoever loads it has made sure that the content is the digest's.
func LoadName(image string) (string, error) {
	n, err := parse(image)
	switch {
	case err != nil:
		return "", err
	case n.pinned && n.loaded == "":
		return "", fmt.Errorf("image %q: only a sha256 digest can be loaded", image)
	case n.pinned:
		return n.loaded, nil
	}
	return n.full, nil
}

// local are the names under which Docker may have it; the first that it has counts.
func (n named) local() []string {
	if n.loaded == "" {
		return []string{n.full}
	}
	return []string{n.full, n.loaded}
}

// LocalNames are the names under which Docker may have an image; none where it is no
// reference.
func LocalNames(image string) []string {
	n, err := parse(image)
	if err != nil {
		return nil
	}
	return n.local()
}

// InDocker tells whether the docker command's Docker has an image, under whichever of its
// names.
func InDocker(ctx context.Context, image string) bool {
	return slices.ContainsFunc(LocalNames(image), func(name string) bool { return docker.HasImage(ctx, name) })
}

// RegistryOf is the host, and perhaps port, of an image's registry; docker.io where the
// image names none.
func RegistryOf(image string) string {
	n, err := parse(image)
	if err != nil {
		return ""
	}
	return n.registry
}

// short is what is shown of it: a digest says nothing to a reader.
func (n named) short() string {
	before, _, _ := strings.Cut(n.given, "@")
	return before
}
