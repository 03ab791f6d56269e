package lab

import (
	"context"
	"time"

	"k8sbootcamp/components/editions"
	"k8sbootcamp/components/settings"
	"k8sbootcamp/internal/course"
	"k8sbootcamp/internal/docker"
	"k8sbootcamp/internal/hostimages"
)

// Image is one that a lab on a cluster of its own is made of.
type Image struct {
	hostimages.Wanted
	Part string // of the lab, in words: "echo app"
	Node bool   // kind makes the nodes of it, out of what Docker has; the others are pods'
}

// Images are all that a stack's lab is made of, as far as its chapter goes; none on a
// shared cluster, whose nodes pull by themselves.
func Images(s *settings.Settings) []Image {
	if s.Shared() {
		return nil
	}
	node := Image{Wanted: hostimages.Wanted{Image: s.Images.Node, Everywhere: true}, Part: "nodes", Node: true}
	return append([]Image{node}, ownPlan(s).images...)
}

// Whole are settings with everything switched on that a lab may come to have: all chapters,
// exercises and topics.
func Whole(s *settings.Settings) *settings.Settings {
	whole := *s
	whole.Chapter, whole.PodMonitoring, whole.Dashboards, whole.Topics = course.All, true, true, settings.Topics
	return &whole
}

// wanted are images as they are brought to nodes.
func wanted(images []Image) []hostimages.Wanted {
	out := make([]hostimages.Wanted, len(images))
	for i, image := range images {
		out[i] = image.Wanted
	}
	return out
}

// Misfit is an image that does not run where the settings put it.
type Misfit struct {
	Key     string // of the configuration, which the image comes from
	Image   string // whose value may be secret
	Problem string // in a sentence, without a full stop
	Remedy  string // what to do
}

func (m Misfit) problem() settings.Problem {
	return settings.Problem{Key: m.Key, Allowed: m.Problem + "; " + m.Remedy}
}

// anotherEcho is the way out wherever the echo app's image is in the way: that of
// edition=current runs everywhere, and an echoImage would hide it.
const anotherEcho = "use edition=current without an echoImage (`bootcamp:edition: current` below `config:` in the stack's file keeps it), or another echoImage"

// imagesFit finds an echo app that the nodes would refuse to run.
func imagesFit(s *settings.Settings) []settings.Problem {
	if s.Shared() || !editions.Schema1(s.Images.Echo) || !editions.RefusesSchema1(s.Images.Node) {
		return nil
	}
	key := keyOf(s, "nodeImage", s.Images.Node)
	if key == "edition" { // whose own images go together, so the other one is not its own
		key = "echoImage"
	}
	return []settings.Problem{Misfit{key, s.Images.Echo,
		"the echo app's image is in an old format (schema 1), which these nodes refuse",
		anotherEcho + ", or a nodeImage of Kubernetes " + editions.LastForSchema1 + " or older"}.problem()}
}

// keyOf is the key that an image comes from: its own, or that of the edition.
func keyOf(s *settings.Settings, own, image string) string {
	edition, err := editions.Of(s.Edition)
	if err == nil && (image == edition.Node || image == edition.Echo) {
		return "edition"
	}
	return own
}

// OnDocker finds the images that do not run on a Docker, by what it says of itself.
func OnDocker(s *settings.Settings, d *docker.Info) []Misfit {
	if s.Shared() {
		return nil
	}
	var found []Misfit
	own := docker.GoArch(d.Architecture)
	if only := editions.OnlyFor(s.Images.Echo); only != "" && own != "" && only != own {
		found = append(found, Misfit{keyOf(s, "echoImage", s.Images.Echo), s.Images.Echo,
			"the echo app's image exists for " + only + " alone, and this Docker is " + own, anotherEcho})
	}
	if d.CgroupVersion == "1" && editions.RefusesCgroupV1(s.Images.Node) {
		found = append(found, Misfit{keyOf(s, "nodeImage", s.Images.Node), s.Images.Node,
			"nodes of a Kubernetes later than " + editions.LastForCgroupV1 + " do not start on cgroup v1, which this Docker has",
			"use a nodeImage of Kubernetes " + editions.LastForCgroupV1 + " or older, or a Docker on a machine with cgroup v2"})
	}
	return found
}

// askTimeout is how long a program waits for Docker, for a finding alone.
const askTimeout = 5 * time.Second

// dockerFits is OnDocker as a check that asks Docker, only where its answer could
// matter. Of a Docker that does not answer it finds nothing: what needs it says that
// better, and a preview does not need it.
func dockerFits(ctx context.Context, ask func(context.Context) (*docker.Info, error)) settings.Check {
	return func(s *settings.Settings) []settings.Problem {
		if ask == nil || s.Shared() || editions.OnlyFor(s.Images.Echo) == "" && !editions.RefusesCgroupV1(s.Images.Node) {
			return nil
		}
		limited, cancel := context.WithTimeout(ctx, askTimeout)
		defer cancel()
		info, err := ask(limited)
		if err != nil {
			return nil
		}
		var found []settings.Problem
		for _, m := range OnDocker(s, info) {
			found = append(found, m.problem())
		}
		return found
	}
}
