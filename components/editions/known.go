package editions

import (
	"slices"
	"strconv"
	"strings"

	"github.com/distribution/reference"
	"k8s.io/apimachinery/pkg/util/version"
)

// Of an image that nothing is known of, such as one that is named by its digest
// alone, each function below answers that nothing is in its way.

// The Kubernetes versions that node images of any patch fit. Later ones are not
// all unfit: see RefusesSchema1 and RefusesCgroupV1.
const (
	LastForSchema1  = "1.28"
	LastForCgroupV1 = "1.34"
)

// refuseSchema1 are the first patches, by minor version, of which kind's node
// images have containerd 2: it does not pull schema 1 images by default, and since
// 2.1 cannot (containerd#9765, containerd#11681). kind's node images have it since
// January 2025, of all Kubernetes versions that were built then.
var refuseSchema1 = map[uint]uint{29: 14, 30: 10, 31: 6, 32: 1}

// RefusesSchema1 tells whether nodes of an image are known to refuse images of
// schema 1.
func RefusesSchema1(node string) bool {
	v, ok := kubernetes(node)
	if !ok {
		return false
	}
	first, since := refuseSchema1[v.Minor()]
	return v.Minor() >= 33 || since && v.Patch() >= first
}

// RefusesCgroupV1 tells whether nodes of an image are known not to start on cgroup
// v1: a kubelet of 1.35 and later stops there, unless told otherwise
// (kubernetes#134298).
func RefusesCgroupV1(node string) bool {
	v, ok := kubernetes(node)
	return ok && v.Minor() >= 35
}

// kubernetes is the version that a node image's tag says, as kind's own do:
// vMAJOR.MINOR.PATCH, whatever comes after it.
func kubernetes(node string) (*version.Version, bool) {
	_, tag := nameAndTag(node)
	if !strings.HasPrefix(tag, "v1.") { // another major version is somebody's own count
		return nil, false
	}
	v, err := version.ParseSemantic(tag)
	return v, err == nil
}

// Schema1 tells whether an image is known to be in the format that containerd 2
// refuses, "Docker image manifest version 2, schema 1".
func Schema1(image string) bool {
	tag, ok := echoserver(image)
	return ok && tag <= 4 // 1.4 is of May 2016; 1.10 is not (kubernetes/website#47832)
}

// OnlyFor returns the one architecture that an image is known to exist for, as Go
// names it; empty where it may exist for any.
func OnlyFor(image string) string {
	if _, ok := echoserver(image); ok {
		return "amd64" // up to the last tag (kubernetes-retired/contrib#2991)
	}
	return ""
}

// RunsAs returns the user that an image is known to run as without any privilege, and
// whether anything is known: Prometheus's own (its Dockerfile has USER nobody), and for
// agnhost the one that Kubernetes' own tests give it where Pod Security is restricted.
func RunsAs(image string) (user int, known bool) {
	switch name, _ := nameAndTag(image); name {
	case "docker.io/prom/prometheus", "quay.io/prometheus/prometheus":
		return 65534, true
	case "registry.k8s.io/kube-state-metrics/kube-state-metrics", "quay.io/prometheuscommunity/prom-label-proxy": // USER nobody
		return 65534, true
	case "docker.io/grafana/grafana": // USER 472
		return 472, true
	case "quay.io/brancz/kube-rbac-proxy": // USER 65532:65532
		return 65532, true
	case "registry.k8s.io/e2e-test-images/agnhost":
		return 1000, true
	}
	return 0, false
}

// echoservers are the names that the course's echo image has had.
var echoservers = []string{
	"registry.k8s.io/echoserver", "k8s.gcr.io/echoserver",
	"gcr.io/google_containers/echoserver", "gcr.io/google-containers/echoserver",
}

// echoserver returns N of an image that is the course's echoserver:1.N, of which
// the last is 1.10. There are 2.N too, under another name.
func echoserver(image string) (int, bool) {
	name, tag := nameAndTag(image)
	if !slices.Contains(echoservers, strings.TrimSuffix(name, "-amd64")) {
		return 0, false
	}
	minor, ok := strings.CutPrefix(tag, "1.")
	n, err := strconv.Atoi(minor)
	return n, ok && err == nil && n >= 0 && n <= 10
}

// nameAndTag are an image's full name and its tag, also where a digest follows.
func nameAndTag(image string) (name, tag string) {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return "", ""
	}
	if tagged, ok := named.(reference.Tagged); ok {
		tag = tagged.Tag()
	}
	return named.Name(), tag
}
