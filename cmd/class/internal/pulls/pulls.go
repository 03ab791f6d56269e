// Package pulls counts what labs pull from which registry, and knows what registries allow.
package pulls

import (
	"cmp"
	"fmt"
	"slices"

	"k8sbootcamp/cmd/class/internal/config"
	"k8sbootcamp/components/lab"
	"k8sbootcamp/internal/hostimages"
	"k8sbootcamp/internal/printable"
)

// Image is one that the labs of a machine need.
type Image struct {
	Image    string   `json:"image"`
	Registry string   `json:"registry"`
	Parts    []string `json:"parts"` // of the lab, in words

	// Pulls are those of the machine, as its stacks are configured; ByHost and ByNodes what
	// they would be with that imagePull. Of nodes those count that may run it.
	Pulls   int `json:"pulls"`
	ByHost  int `json:"byHost"`
	ByNodes int `json:"byNodes"`
}

// Count counts what stacks pull that are on one machine and yet to be built. has tells
// which images that machine's Docker has already. A shared cluster's nodes pull elsewhere.
func Count(stacks []*config.Stack, has func(image string) bool) []Image {
	var all []Image
	hosted := map[string]bool{} // by Docker, once for all stacks
	for _, s := range stacks {
		if s.Settings == nil {
			continue
		}
		nodes := map[string]int{} // of this stack, by image
		for _, needed := range lab.Images(s.Settings) {
			at := slices.IndexFunc(all, func(i Image) bool { return i.Image == needed.Image })
			if at < 0 {
				at = len(all)
				all = append(all, Image{Image: needed.Image, Registry: hostimages.RegistryOf(needed.Image), ByHost: 1})
			}
			i := &all[at]
			if !slices.Contains(i.Parts, needed.Part) {
				i.Parts = append(i.Parts, needed.Part)
			}
			run := s.Nodes() - 1
			if needed.Everywhere || run == 0 {
				run = s.Nodes()
			}
			more := max(0, run-nodes[needed.Image]) // where another part has it run already
			nodes[needed.Image] += more
			byHost := needed.Node || s.PulledByHost()
			if needed.Node {
				i.ByNodes = 1
			} else {
				i.ByNodes += more
			}
			switch {
			case !byHost:
				i.Pulls += more
			case !hosted[needed.Image]:
				hosted[needed.Image] = true
				if !has(needed.Image) {
					i.Pulls++
				}
			}
		}
	}
	return all
}

// Registry is what is pulled from one, from behind one address.
type Registry struct {
	Registry string `json:"registry"`
	Each     int    `json:"each"`    // pulls of a machine
	Laptops  int    `json:"laptops"` // machines that pull the same
	Pulls    int    `json:"pulls"`
	// Limit is how many it allows in six hours without a login, and Account with the login
	// of a free account; 0 where nobody knows of one.
	Limit   int `json:"limit"`
	Account int `json:"account"`
}

// hub is the one registry of the editions' that is known to count pulls. What it allows
// is what its documentation says (docs.docker.com/docker-hub/usage), without a login to an
// IPv4 address or an IPv6 /64 network.
var hub = Registry{Registry: "docker.io", Limit: 100, Account: 200}

// ByRegistry adds images up, in the order of their registries' names.
func ByRegistry(images []Image, laptops int) []Registry {
	var all []Registry
	for _, i := range images {
		at := slices.IndexFunc(all, func(r Registry) bool { return r.Registry == i.Registry })
		if at < 0 {
			at = len(all)
			r := Registry{Registry: i.Registry, Laptops: laptops}
			if i.Registry == hub.Registry {
				r.Limit, r.Account = hub.Limit, hub.Account
			}
			all = append(all, r)
		}
		all[at].Each += i.Pulls
		all[at].Pulls += i.Pulls * laptops
	}
	slices.SortFunc(all, func(a, b Registry) int { return cmp.Compare(a.Registry, b.Registry) })
	return all
}

// Over tells whether it is more than the registry allows without a login.
func (r Registry) Over() bool { return r.Limit > 0 && r.Pulls > r.Limit }

// Warning is what to say of one that is over, with what to do.
func (r Registry) Warning() string {
	from := ""
	if r.Laptops > 1 {
		from = fmt.Sprintf(" (%d on each of %d laptops)", r.Each, r.Laptops)
	}
	return fmt.Sprintf("%s from %s%s, which without a login allows %d in 6 hours to all behind one address, and %d to an account. "+
		"Log in (`docker login`), leave imagePull=host, which pulls an image once a machine, bring the images along (`class images save` and `load`), or have one machine pull for all (`class mirror`, and imageMirror)",
		printable.Count(r.Pulls, "pull"), r.Registry, from, r.Limit, r.Account)
}
