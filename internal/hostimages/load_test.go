package hostimages

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/internal/docker"
)

func decode(t *testing.T, login string) string {
	t.Helper()
	b, err := base64.URLEncoding.DecodeString(login)
	require.NoError(t, err)
	return string(b)
}

var (
	four = []Node{{"cp", true}, {"w1", false}, {"w2", false}, {"w3", false}}
	one  = []Node{{"cp", true}}
)

func empty(of []Node) map[string]Store {
	out := map[string]Store{}
	for _, n := range of {
		out[n.Name] = Store{}
	}
	return out
}

// TestLoad: each image is saved once, by its ID, and goes under the name that the kubelet
// asks for to the nodes that are to run it.
func TestLoad(t *testing.T) {
	e := &engine{}
	h, log := host(e)
	n := &nodes{t: t, stores: empty(four)}
	require.NoError(t, h.Load(t.Context(), n, four, []Wanted{{"r.example/a:1@" + digest, false}, {"exporter:1", true}}))
	pinned := `[{"Config":"sha256:config of r.example/a@` + digest + `","RepoTags":["r.example/a@` + digest + `"],"Layers":["l"]}]`
	tagged := `[{"Config":"sha256:config of docker.io/library/exporter:1","RepoTags":["docker.io/library/exporter:1"],"Layers":["l"]}]`
	assert.Equal(t, map[string][]string{"cp": {tagged}, "w1": {pinned, tagged}, "w2": {pinned, tagged}, "w3": {pinned, tagged}}, n.imported)
	assert.Len(t, e.saves, 2)
	assert.Contains(t, log.String(), "image r.example/a:1: loaded into 3 nodes\n")
	assert.Contains(t, log.String(), "image exporter:1: loaded into 4 nodes\n")

	n = &nodes{t: t, stores: empty(one)}
	require.NoError(t, h.Load(t.Context(), n, one, []Wanted{{"exporter:1", true}, {"r.example/a:1@" + digest, false}}))
	assert.Len(t, n.imported["cp"], 2, "where there are no workers the one node runs all")
	assert.Len(t, e.pulls, 2, "Docker had them by then")
}

// TestLoadedByDigest: an image that came from an archive is found by the tag that stands
// for its digest, is not pulled, and goes into the nodes under the name that the kubelet
// asks for.
func TestLoadedByDigest(t *testing.T) {
	const image, bare = "r.example/a:1@" + digest, "r.example/b@" + digest
	e := &engine{has: map[string]*docker.Image{}}
	for _, i := range []string{image, bare, "c:1"} {
		as, err := LoadName(i)
		require.NoError(t, err)
		e.has[as] = &docker.Image{ID: "id of " + as}
	}
	tag := strings.Replace(digest, ":", "-", 1)
	assert.ElementsMatch(t, []string{"r.example/a:" + tag, "r.example/b:" + tag, "docker.io/library/c:1"}, slices.Collect(maps.Keys(e.has)))
	h, _ := host(e)
	require.NoError(t, h.Pull(t.Context(), []string{image, bare, "c:1"}))
	assert.Empty(t, e.pulls)
	n := &nodes{t: t, stores: empty(one)}
	require.NoError(t, h.Load(t.Context(), n, one, []Wanted{{image, false}}))
	assert.Empty(t, e.pulls)
	assert.Equal(t, []string{"id of r.example/a:" + tag}, e.saves)
	assert.Contains(t, n.imported["cp"][0], `"r.example/a@`+digest+`"`)

	for i, want := range map[string]string{image: "r.example/a:" + tag, "c:1": "c:1", "none:1": "none:1", "none:1@" + digest: "none:1@" + digest} {
		as, err := h.NameOf(t.Context(), i)
		require.NoError(t, err)
		assert.Equal(t, want, as)
	}
	e.has["r.example/a@"+digest] = &docker.Image{ID: "pulled"} // what came from the registry counts first
	as, err := h.NameOf(t.Context(), image)
	require.NoError(t, err)
	assert.Equal(t, image, as)

	for _, bad := range []string{"A", "a@sha512:" + strings.Repeat("0", 128)} {
		_, err := LoadName(bad)
		assert.ErrorContains(t, err, bad)
	}
	assert.Nil(t, LocalNames("A"))
	assert.Len(t, LocalNames("a@sha512:"+strings.Repeat("0", 128)), 1)
}

// TestLoadWhatIsMissing: what a node has is left alone, unless Docker has something else
// under the name; and Docker is not to pull what no node needs.
func TestLoadWhatIsMissing(t *testing.T) {
	const name = "docker.io/library/a:1"
	pinned := "docker.io/library/a@" + digest
	for what, c := range map[string]struct {
		image string
		host  *docker.Image
		node  Store
		pulls bool
		loads bool
	}{
		"neither has it":                             {"a:1", nil, Store{}, true, true},
		"the node brought it":                        {"a:1", nil, Store{name: {"sha256:t", "sha256:c"}}, false, false},
		"both have it":                               {"a:1", &docker.Image{ID: "sha256:c"}, Store{name: {"sha256:t", "sha256:c"}}, false, false},
		"both have it, of containerd's store":        {"a:1", &docker.Image{ID: "sha256:i", Manifests: []string{"sha256:t"}}, Store{name: {"sha256:t", "sha256:c"}}, false, false},
		"the node pulled it, as containerd's store":  {"a:1", &docker.Image{ID: "sha256:i", Manifests: []string{"sha256:m"}}, Store{name: {"sha256:i", "sha256:c"}}, false, false},
		"Docker has another one":                     {"a:1", &docker.Image{ID: "sha256:new"}, Store{name: {"sha256:t", "sha256:c"}}, false, true},
		"the node has another tag":                   {"a:1", &docker.Image{ID: "sha256:c"}, Store{"docker.io/library/a:2": {"sha256:t", "sha256:c"}}, false, true},
		"the node has it by its digest":              {"a:1@" + digest, &docker.Image{ID: "sha256:c"}, Store{pinned: {"sha256:t", "sha256:other"}}, false, false},
		"the node has the tag, and not the digest's": {"a:1@" + digest, &docker.Image{ID: "sha256:c"}, Store{name: {"sha256:t", "sha256:c"}}, false, true},
	} {
		e := &engine{has: map[string]*docker.Image{}}
		if c.host != nil {
			e.has[name], e.has[pinned] = c.host, c.host
		}
		h, log := host(e)
		n := &nodes{t: t, stores: map[string]Store{"cp": c.node}}
		require.NoError(t, h.Load(t.Context(), n, one, []Wanted{{Image: c.image}}), what)
		assert.Equal(t, c.pulls, len(e.pulls) > 0, what)
		assert.Equal(t, c.loads, len(n.imported["cp"]) > 0, what)
		assert.Equal(t, c.loads, log.Len() > 0, what)
	}
	// Of several nodes those get it that lack it.
	h, _ := host(&engine{})
	n := &nodes{t: t, stores: map[string]Store{"cp": {}, "w1": {name: {"t", "c"}}, "w2": {}, "w3": {name: {"t", "c"}}}}
	require.NoError(t, h.Load(t.Context(), n, four, []Wanted{{Image: "a:1"}}))
	assert.Len(t, n.imported["w2"], 1)
	assert.Len(t, n.imported, 1)
}

// TestLoadFailures: each image that a node lacks in the end is an error, and no other.
func TestLoadFailures(t *testing.T) {
	e := &engine{onPull: func(_ context.Context, name string, _ func(docker.Event)) (*docker.Image, error) {
		switch {
		case strings.Contains(name, "old"):
			return nil, &docker.APIError{Message: "Docker Image manifest version 2, schema 1 support is disabled"}
		case strings.Contains(name, "gone"), strings.Contains(name, "there"):
			return nil, &docker.APIError{Message: "manifest unknown"}
		}
		return &docker.Image{ID: "x", Size: 1}, nil
	}}
	h, log := host(e)
	n := &nodes{t: t, stores: empty(four), fails: map[string]error{"w2": errors.New("no space left on device")}}
	for _, w := range []string{"w1", "w2", "w3"} {
		n.stores[w] = Store{"docker.io/library/there:1": {"t", "c"}}
	}
	err := h.Load(t.Context(), n, four, []Wanted{{Image: "gone:1"}, {Image: "old:1"}, {Image: "there:1"}, {Image: "a:1"}, {Image: "there:1", Everywhere: true}})
	problems := map[string]Problem{}
	for _, one := range parts(err) {
		var e *Error
		require.ErrorAs(t, one, &e)
		problems[e.Image] = e.Problem
	}
	assert.Equal(t, map[string]Problem{"gone:1": NotFound, "a:1": DiskFull, "there:1": NotFound}, problems)
	assert.Contains(t, log.String(), "warning: image old:1: "+string(OldFormat)+", nor could it be made one of today's (no registry is asked here); the nodes pull it themselves")
	assert.Len(t, n.imported["w1"], 1, "one node's failure does not keep the others from theirs")
	assert.Len(t, n.imported["w3"], 1)

	synctest.Test(t, func(t *testing.T) {
		h, _ := host(&engine{})
		var e *Error
		require.ErrorAs(t, h.Load(t.Context(), &nodes{t: t, stores: empty(one), blind: true}, one, []Wanted{{Image: "a:1"}}), &e)
		assert.Equal(t, NotLoaded, e.Problem)
		assert.ErrorContains(t, e, "node cp")
	})
	h, _ = host(&engine{})
	assert.ErrorContains(t, h.Load(t.Context(), &nodes{t: t}, one, nil), "no such node")
}

// TestRename: an archive has the one name, whichever Docker wrote it.
func TestRename(t *testing.T) {
	t.Parallel()
	const name = "docker.io/library/a@" + digest
	index := `{"schemaVersion":2,"mediaType":"m","manifests":[` +
		`{"mediaType":"i","digest":"sha256:1","size":3,"annotations":{"io.containerd.image.name":"docker.io/library/x:1","org.opencontainers.image.ref.name":"1"}},` +
		`{"mediaType":"i","digest":"sha256:1","size":3,"platform":{"os":"linux"}}]}`
	renamed := `{"schemaVersion":2,"mediaType":"m","manifests":[{"mediaType":"i","digest":"sha256:1","size":3,"annotations":{"io.containerd.image.name":"` + name + `"}}]}`
	for what, c := range map[string]struct{ given, want map[string]string }{
		"of old": {
			map[string]string{"manifest.json": `[{"Config":"c","RepoTags":null,"Layers":["l"]}]`, "repositories": "{}", "l": "layer"},
			map[string]string{"manifest.json": `[{"Config":"c","RepoTags":["` + name + `"],"Layers":["l"]}]`, "l": "layer"},
		},
		"of today": {
			map[string]string{"manifest.json": `[{"Config":"c","RepoTags":["x:1"],"Layers":["l"],"LayerSources":{"a":1}}]`, "index.json": index, "oci-layout": "{}"},
			map[string]string{"manifest.json": `[{"Config":"c","RepoTags":["` + name + `"],"Layers":["l"],"LayerSources":{"a":1}}]`, "index.json": renamed, "oci-layout": "{}"},
		},
	} {
		var out bytes.Buffer
		require.NoError(t, rename(&out, bytes.NewReader(archive(c.given)), name), what)
		assert.Equal(t, c.want, unpack(t, &out), what)
	}
	for what, files := range map[string]map[string]string{
		"no list":          {"l": "layer"},
		"two images":       {"manifest.json": `[{"Config":"c"},{"Config":"d"}]`},
		"two in the index": {"index.json": `{"manifests":[{"digest":"sha256:1"},{"digest":"sha256:2"}]}`},
		"none":             {"index.json": `{"manifests":[]}`},
		"no JSON":          {"manifest.json": `x`},
	} {
		assert.Error(t, rename(io.Discard, bytes.NewReader(archive(files)), name), what)
	}
	whole := archive(map[string]string{"l": strings.Repeat("x", 2000), "manifest.json": `[{}]`})
	assert.ErrorIs(t, rename(io.Discard, bytes.NewReader(whole[:1000]), name), io.ErrUnexpectedEOF)
}

// TestFanOut: all get all of it; who fails is left out, and holds nobody up.
func TestFanOut(t *testing.T) {
	t.Parallel()
	const size = 1 << 20
	write := func(w io.Writer) error {
		_, err := io.CopyN(w, strings.NewReader(strings.Repeat("x", size)), size)
		return err
	}
	got := make([]int64, 3)
	err := fanOut(3, write, func(i int, r io.Reader) error {
		if i == 1 {
			return errors.New("no room")
		}
		n, err := io.Copy(io.Discard, r)
		got[i] = n
		return err
	})
	assert.EqualError(t, err, "no room")
	assert.Equal(t, []int64{size, 0, size}, got)

	assert.EqualError(t, fanOut(2, func(w io.Writer) error { return errors.Join(write(w), errors.New("cut off")) }, func(_ int, r io.Reader) error {
		_, err := io.Copy(io.Discard, r)
		return err
	}), "cut off", "what the consumers say of it is no news")
	assert.Error(t, fanOut(1, write, func(int, io.Reader) error { return errors.New("no") }))
}

// TestStore reads what ctr prints, of old and of today.
func TestStore(t *testing.T) {
	t.Parallel()
	table := `REF                          TYPE     DIGEST       SIZE      PLATFORMS   LABELS
docker.io/prom/a:1           app/m    sha256:t1    15.6 MiB  linux/amd64 io.cri-containerd.image=managed
docker.io/prom/a@sha256:9    app/m    sha256:t1    15.6 MiB  linux/amd64 -
docker.io/prom/b:1           app/i    sha256:t2    1.0 GiB   -           -
sha256:c1                    app/m    sha256:t1    15.6 MiB  linux/amd64 io.cri-containerd.image=managed
`
	assert.Equal(t, Store{
		"docker.io/prom/a:1": {"sha256:t1", "sha256:c1"}, "docker.io/prom/a@sha256:9": {"sha256:t1", "sha256:c1"}, "docker.io/prom/b:1": {"sha256:t2", ""},
	}, parseStore([]byte(table)))
	assert.Empty(t, parseStore(nil))
}

// TestProgress: a line every two seconds at the most, and none that says nothing new; the
// sum of what is to come is told once it is known.
func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		r := &reporter{out: &out}
		n, err := parse("prom/a:1@" + digest)
		require.NoError(t, err)
		a := r.begin(n)
		tell := func(s *state, done, total int64, more bool) {
			time.Sleep(time.Second)
			r.set(s, done, total, more)
		}
		tell(a, 1e6, 0, true)
		tell(a, 2e6, 5e6, true)
		tell(a, 3e6, 5e6, true)
		tell(a, 4e6, 5e6, false)
		tell(a, 12.34e6, 98.1e6, false)
		tell(a, 12.34e6, 98.1e6, false)
		tell(a, 12.34e6, 98.1e6, false)
		b := r.begin(n)
		tell(b, 1e6, 10e6, false)
		r.end(a)
		tell(b, 2e6, 10e6, false)
		tell(b, 3e6, 10e6, false)
		r.end(b)
		assert.Equal(t, "image prom/a:1: 3.0 MB\nimage prom/a:1: 12.3 of 98.1 MB\n2 images: 13.3 of 108.1 MB\nimage prom/a:1: 3.0 of 10.0 MB\n", out.String())
	})
}

// TestLayers adds up what Docker tells layer by layer.
func TestLayers(t *testing.T) {
	t.Parallel()
	all := layers{}
	for i, c := range []struct {
		e           docker.Event
		moved       bool
		done, total int64
		more        bool
	}{
		{event("1", "Pulling from prom/a", 0, 0), true, 0, 0, false},
		{event("l1", fetching, 0, 0), true, 0, 0, true},
		{event("l2", "Already exists", 0, 0), true, 0, 0, true},
		{event("l1", arriving, 10, 100), true, 10, 100, false},
		{event("l1", arriving, 10, 100), false, 10, 100, false},
		{event("l3", waiting, 0, 0), true, 10, 100, true},
		{event("l1", arriving, 60, 100), true, 60, 100, true},
		{event("l3", arriving, 5, 50), true, 65, 150, false},
		{event("l1", "Verifying Checksum", 0, 0), true, 105, 150, false},
		{event("l1", arrived, 0, 0), true, 105, 150, false},
		{event("l1", arrived, 0, 0), false, 105, 150, false},
		{event("l1", "Extracting", 20, 100), true, 105, 150, false},
		{event("l1", "Extracting", 40, 100), true, 105, 150, false},
		{event("l3", "Pull complete", 0, 0), true, 150, 150, false},
		{event("", "Status: Downloaded", 0, 0), true, 150, 150, false},
	} {
		assert.Equal(t, c.moved, all.take(c.e), i)
		done, total, more := all.sum()
		assert.Equal(t, []any{c.done, c.total, c.more}, []any{done, total, more}, i)
	}
}
