package preflight

import (
	"slices"
	"strings"

	"k8sbootcamp/cmd/class/internal/config"
	"k8sbootcamp/components/lab"
)

// Misfits are the stacks' images that do not run on this Docker, each once for all
// the stacks that have it.
func (m *Machine) Misfits(stacks []*config.Stack) []Finding {
	if m.Docker == nil {
		return nil
	}
	var misfits []lab.Misfit // in the order of the stacks
	whose := map[lab.Misfit][]string{}
	for _, s := range stacks {
		if s.Settings == nil {
			continue
		}
		for _, misfit := range lab.OnDocker(s.Settings, m.Docker) {
			if !slices.Contains(misfits, misfit) {
				misfits = append(misfits, misfit)
			}
			whose[misfit] = append(whose[misfit], s.Name)
		}
	}
	f := &findings{}
	for _, misfit := range misfits {
		who := ""
		if names := whose[misfit]; len(names) < len(stacks) {
			who = strings.Join(names, ", ") + ": "
		}
		f.add(CheckDocker, misfit.Remedy, "%s%s (%s)", who, misfit.Problem, misfit.Image)
	}
	return f.all
}
