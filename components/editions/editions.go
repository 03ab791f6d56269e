// Package editions holds the sets of container images that fit together, and what
// is known of images. An edition is a set, since the node image's container
// runtime decides which images run: the course's echoserver is a schema 1 image,
// which the nodes of today refuse. See known.go.
//
// Its tests are beside it.
package editions

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/distribution/reference"
	"sigs.k8s.io/kind/pkg/apis/config/defaults"
)

// Name is the name of an edition.
type Name string

// The editions.
const (
	Course  Name = "course"  // the text's own images
	Current Name = "current" // images that are supported today
)

// Names are all editions, the default first.
var Names = []Name{Course, Current}

// Images are full image references, each with a tag or a digest. A digest is that of
// all platforms together.
type Images struct {
	Node         string // kind node image
	Echo         string
	Prometheus   string
	NodeExporter string

	KubeStateMetrics string
	AuthProxy        string // kube-rbac-proxy; with LabelProxy it gives a student the metrics of their own pods alone
	LabelProxy       string // prom-label-proxy
	Grafana          string

	Topic string // agnhost, of which the topics' pods run one command or another
}

// What the text leaves as an exercise it names no images for, so these are the same in
// both editions; they run on the text's Kubernetes too. Of the two proxies nobody
// publishes digests that could be compared.
const (
	kubeStateMetrics = "registry.k8s.io/kube-state-metrics/kube-state-metrics:v2.19.1@sha256:85108987d044b18a098126732f98602df408888c0f7d456241f5abefb9744bc1"
	authProxy        = "quay.io/brancz/kube-rbac-proxy:v0.19.1"
	labelProxy       = "quay.io/prometheuscommunity/prom-label-proxy:v0.13.0"
	grafana          = "grafana/grafana:13.2.3@sha256:b28bae15e219c998fb0e0424ed724930cc61b1f61fb404d47c862f9a23f9e572"
	agnhost          = "registry.k8s.io/e2e-test-images/agnhost:2.63.0@sha256:a62f40481e05709988fe44e5035b2e0f553cd52bf0ae4e83614928255b00e8c1"
)

// Of returns the images of an edition.
func Of(n Name) (Images, error) {
	switch n {
	case Course: // course, chapters 0-3, 3-2, 4-1, 4-3
		return Images{
			Node:         "kindest/node:v1.24.0@sha256:0866296e693efe1fed79d5e6c7af8df71fc73ae45e3679af05342239cdc5bc8e",
			Echo:         "registry.k8s.io/echoserver:1.4",
			Prometheus:   "prom/prometheus:v2.33.3",
			NodeExporter: "prom/node-exporter:v1.3.1",

			KubeStateMetrics: kubeStateMetrics, AuthProxy: authProxy, LabelProxy: labelProxy, Grafana: grafana,
			Topic: agnhost,
		}, nil
	case Current:
		return Images{
			Node:         defaults.Image, // the one that the pinned kind was released with
			Echo:         agnhost,
			Prometheus:   "prom/prometheus:v3.13.2@sha256:508729e0e2d18e11fd742a5a5ca70e557b940a93948c3c95fd0123a6fd538b69",
			NodeExporter: "prom/node-exporter:v1.12.1@sha256:1b4e4438faca4dd7e001dd445d161a4a2091b0fededa84093b3a8dfeae1f1be0",

			KubeStateMetrics: kubeStateMetrics, AuthProxy: authProxy, LabelProxy: labelProxy, Grafana: grafana,
			Topic: agnhost,
		}, nil
	}
	return Images{}, fmt.Errorf("unknown edition %q", n)
}

// Registries are those that have the images of all editions, as images name them.
func Registries() []string {
	all := map[string]bool{}
	for _, n := range Names {
		i, err := Of(n)
		if err != nil {
			panic(err) // it is one of them
		}
		for _, image := range []string{i.Node, i.Echo, i.Prometheus, i.NodeExporter, i.KubeStateMetrics, i.AuthProxy, i.LabelProxy, i.Grafana, i.Topic} {
			named, err := reference.ParseNormalizedNamed(image)
			if err != nil {
				panic(err) // a test reads them all
			}
			all[reference.Domain(named)] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// EchoArgs returns the arguments that make an image answer HTTP on 8080.
// agnhost is a tool of many commands and needs one named; any other image is
// taken to serve by itself, as the course's echoserver does.
func EchoArgs(image string) []string {
	named, err := reference.ParseNormalizedNamed(image)
	if err == nil && path.Base(named.Name()) == "agnhost" {
		return []string{"netexec", "--http-port=8080"}
	}
	return nil
}

// CheckImage returns an error unless the image is a reference that names one
// version: by a digest, or by a tag other than latest.
func CheckImage(image string) error {
	ref, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return err
	}
	if _, ok := ref.(reference.Digested); ok {
		return nil
	}
	tagged, ok := ref.(reference.Tagged)
	if !ok {
		return errors.New("it has neither a tag nor a digest")
	}
	if strings.EqualFold(tagged.Tag(), latest) {
		return errors.New("its tag is latest, which is another image tomorrow")
	}
	return nil
}

const latest = "latest"

// ForPods is an image as pods are to name it: Kubernetes reads a tag beside a digest too, and
// asks the registry each time where that is latest (imagePullPolicy).
func ForPods(image string) string {
	ref, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return image
	}
	digested, ok := ref.(reference.Digested)
	if tagged, tags := ref.(reference.Tagged); !ok || !tags || tagged.Tag() != latest {
		return image
	}
	name, _, _ := strings.Cut(image, "@")
	return strings.TrimSuffix(name, ":"+latest) + "@" + digested.Digest().String()
}
