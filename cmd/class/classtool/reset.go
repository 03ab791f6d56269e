package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/types"

	"k8sbootcamp/cmd/class/internal/drift"
	"k8sbootcamp/cmd/class/internal/progress"
	"k8sbootcamp/cmd/class/internal/stack"
	"k8sbootcamp/components/lab"
	"k8sbootcamp/internal/check"
	"k8sbootcamp/internal/printable"
)

func (t *tool) resetCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "reset",
		Short: "Put the labs back to what the configuration says; the cluster stays",
		Long: `reset undoes what was edited, makes again what was deleted, starts nodes that
were stopped and opens those that were cordoned or tainted, and restarts pods
that do not get well by themselves. What does not belong in the lab it lists,
and removes with --yes, or once you say so.

On a shared cluster it touches the student's namespace alone, and of that what
the student may make there.`,
	}
	t.configFlags(c)
	yes := c.Flags().BoolP("yes", "y", false, "remove what does not belong there, without asking")
	var agreed consent
	return t.command(c, verb{valid: true, done: "reset", show: showReset,
		confirm: func(ctx context.Context, s *session) (bool, error) {
			agreed = consent{all: *yes}
			if *yes || !terminal(s.in) {
				return true, nil
			}
			return true, agreed.ask(ctx, s)
		},
		work: func(ctx context.Context, _ *session, st *stack.Stack, line *progress.Line, r *row) error {
			return reset(ctx, st, &agreed, line, r)
		}})
}

// consent is what may be removed.
type consent struct {
	all   bool
	these map[types.UID]bool // that the user has seen
}

func (c *consent) to(f drift.Foreign) bool { return c.all || c.these[f.UID] }

// ask shows what does not belong to any of the stacks, and asks once. What cannot be seen
// yet, as on a cluster that is stopped, is not asked for, and stays.
func (c *consent) ask(ctx context.Context, s *session) error {
	found := make([][]drift.Foreign, len(s.stacks))
	var group errgroup.Group
	group.SetLimit(max(1, s.parallel))
	for i := range s.stacks {
		group.Go(func() error {
			st, err := stack.Open(ctx, s.tools, s.stacks[i])
			if err != nil {
				return err
			}
			w, err := st.Wanted(ctx)
			if err != nil || w == nil {
				return ctx.Err() // the work says it better
			}
			if cluster, scope, err := st.Drift(ctx, w); err == nil {
				found[i], _ = cluster.Foreign(ctx, scope, w.Manifests)
			}
			return nil
		})
	}
	if err := errors.Join(group.Wait(), ctx.Err()); err != nil {
		return err
	}
	c.these = map[types.UID]bool{}
	for i, all := range found {
		for _, f := range all {
			fmt.Fprintf(s.err, "%s: does not belong here: %s (%s)\n", s.stacks[i].Name, printable.Line(f.String(), 300), f.Age())
			c.these[f.UID] = true
		}
	}
	if len(c.these) == 0 {
		return nil
	}
	yes, err := answered(ctx, s, fmt.Sprintf("Remove %s?", printable.Count(len(c.these), "object")))
	if !yes {
		c.these = nil
	}
	return err
}

// wasReset is what a reset found and did.
type wasReset struct {
	Did     []string  `json:"did"`
	Foreign []foreign `json:"foreign"`
}

// foreign is an object that did not belong there.
type foreign struct {
	Object  string    `json:"object"`
	Created time.Time `json:"created"`
	Removed bool      `json:"removed"`
}

// reset puts a lab back to what the configuration says.
func reset(ctx context.Context, st *stack.Stack, agreed *consent, line *progress.Line, r *row) error {
	r.Reset = &wasReset{Did: []string{}, Foreign: []foreign{}}
	did := func(what ...string) {
		for _, w := range what {
			line.Say(w)
			r.Reset.Did = append(r.Reset.Did, printable.Line(w, 500))
		}
	}
	w, err := readWanted(ctx, st, line)
	if err != nil {
		return err
	}
	if err := st.Configure(); err != nil {
		return err
	}
	if err := st.SameCluster(w.State); err != nil {
		return err
	}
	repair, err := st.Repair(ctx, w.Cluster, line)
	if err != nil {
		return err
	}
	err = restore(ctx, st, w, repair.Stopped, agreed, did, line, r)
	was, failed := repair.Wait()
	if was && failed == nil {
		did("the cluster's nodes are at work again")
	}
	if err = errors.Join(failed, err); err != nil {
		return err
	}
	config, err := st.Reach(w.Outputs) // the way to the cluster is as it was
	if err != nil {
		return err
	}
	return awaitObjects(ctx, st, config, w.State.Objects, line)
}

// restore puts right what is in the cluster, of which some nodes may be stopped. What can
// refuse or spoil the rest of the work goes first.
func restore(ctx context.Context, st *stack.Stack, w *stack.Wanted, stopped []string, agreed *consent, did func(...string), line *progress.Line, r *row) error {
	if w.Pending > 0 {
		if _, err := settle(ctx, st, w.State); err != nil {
			return err
		}
		now, err := st.Wanted(ctx)
		if err != nil {
			return err
		}
		*w = *now
	}

	line.Phase("comparing with the cluster")
	cluster, scope, err := st.Drift(ctx, w)
	if err != nil {
		return err
	}
	gone, err := cluster.Gone(ctx, w.Manifests)
	if err == nil {
		err = cluster.AwaitAPIService(ctx)
	}
	if err == nil {
		err = cluster.Make(ctx, gone) // once more below, where something has refused it
	}
	if err != nil {
		return err
	}
	if st.OnKind() {
		opened, err := cluster.Nodes(ctx)
		did(opened...)
		if err != nil {
			return err
		}
		moved, err := cluster.Evacuate(ctx, stopped, w.Manifests)
		did(moved...)
		if err != nil {
			return err
		}
	}
	stays, err := removeForeign(ctx, cluster, scope, w.Manifests, agreed, line, r)
	if err != nil {
		return err
	}
	still, changed, kept, err := putRight(ctx, cluster, w.Manifests, did)
	stays = append(stays, kept...)
	if err != nil {
		return err
	}
	if err := cluster.Make(ctx, still); err != nil {
		return err
	}
	for _, o := range still {
		if !slices.ContainsFunc(gone, func(g drift.Object) bool { return g.URN == o.URN }) {
			gone = append(gone, o)
		}
	}
	restarted, err := cluster.Pods(ctx, scope, w.Manifests, changed)
	did(restarted...)
	if err == nil {
		err = cluster.Nudge(ctx, w.Manifests)
	}
	if err != nil {
		return err
	}

	line.Phase("updating")
	if len(gone) > 0 { // what was made is another object than the state has, or was not made
		urns, names := named(plain(gone))
		did("made again: " + names)
		if err := st.Refresh(ctx, urns); err != nil {
			return err
		}
	}
	changes, err := st.Up(ctx, nil, line)
	r.Changes = changes
	if err != nil {
		return st.WithTrouble(ctx, err)
	}
	if len(gone) > 0 { // a pod that missed one has waited for it, longer each time
		restarted, err := cluster.Pods(ctx, scope, w.Manifests, nil)
		did(restarted...)
		if err != nil {
			return err
		}
	}
	if len(stays) > 0 {
		return errors.New(strings.Join(stays, "; "))
	}
	return nil
}

// readWanted reads the state of a lab that is up.
func readWanted(ctx context.Context, st *stack.Stack, line *progress.Line) (*stack.Wanted, error) {
	if err := unlock(st, line); err != nil {
		return nil, err
	}
	w, err := st.Wanted(ctx)
	if err != nil {
		return nil, err
	}
	if w == nil || len(w.Manifests) == 0 || st.OnKind() && strings.TrimSpace(w.Outputs[lab.OutKubeconfig]) == "" {
		return nil, errNotUp
	}
	return w, nil
}

// removeForeign lists what does not belong there, and removes what the user agrees to. It
// returns, in words, what of that is still there.
func removeForeign(ctx context.Context, cluster *drift.Cluster, scope drift.Scope, wanted []drift.Object, agreed *consent, line *progress.Line, r *row) (stays []string, err error) {
	found, err := cluster.Foreign(ctx, scope, wanted)
	if err != nil {
		return nil, err
	}
	var remove []drift.Foreign
	for _, f := range found {
		word := "does not belong here: "
		if agreed.to(f) {
			remove = append(remove, f)
			word = "does not belong here, and is removed: "
		} else {
			r.Reset.Foreign = append(r.Reset.Foreign, foreign{Object: printable.Line(f.String(), 300), Created: f.Created.UTC()})
		}
		line.Say(fmt.Sprintf("%s%s (%s)", word, f, f.Age()))
	}
	if len(remove) == 0 {
		return nil, nil
	}
	line.Phase("removing what does not belong here")
	for i, err := range cluster.Remove(ctx, remove) {
		f := remove[i]
		r.Reset.Foreign = append(r.Reset.Foreign, foreign{Object: printable.Line(f.String(), 300), Created: f.Created.UTC(), Removed: err == nil})
		if err != nil {
			stays = append(stays, err.Error())
		}
	}
	return stays, ctx.Err()
}

// putRight undoes edits. It returns the objects that are gone, for Pulumi to make, those
// whose content was another, and, in words, what it leaves as it is.
func putRight(ctx context.Context, cluster *drift.Cluster, wanted []drift.Object, did func(...string)) (gone, changed []drift.Object, stays []string, err error) {
	found, err := cluster.Compare(ctx, wanted)
	if err != nil {
		return nil, nil, nil, err
	}
	gone, err = cluster.PutRight(ctx, found.Edits)
	if err != nil {
		return nil, nil, nil, err
	}
	for _, e := range found.Edits {
		if e.Content() {
			changed = append(changed, e.Object)
		}
		switch e.Way {
		case drift.Replace:
			did("put right: " + e.String() + " (" + drift.Brief(e.Fields) + ")")
		case drift.Remake:
			did("removed, to be made again: " + e.String() + " (" + drift.Brief(e.Fields) + ")")
		case drift.Held:
			did("removed, to be made again: " + e.String() + " (it was deleted, and a finalizer held it)")
		case drift.Keep:
			stays = append(stays, fmt.Sprintf("%s differs (%s), which cannot be changed; it has data, so it was left. If that may go, delete it, then `class up`", e.Object, drift.Brief(e.Fields)))
		}
	}
	return append(found.Gone, gone...), changed, stays, nil
}

// plain are objects without their manifests.
func plain(objects []drift.Object) []check.Object {
	out := make([]check.Object, len(objects))
	for i, o := range objects {
		out[i] = o.Object
	}
	return out
}

func showReset(s *session, rows []row) {
	table := [][]string{{"STUDENT", "STACK", "RESULT", "TOOK", "PUT RIGHT", "DOES NOT BELONG"}}
	left := 0
	var all []string
	for _, r := range rows {
		right, strange := "-", "-"
		if was := r.Reset; was != nil {
			stay := 0
			for _, f := range was.Foreign {
				if !f.Removed {
					stay++
				}
			}
			left += stay
			right = fmt.Sprint(len(was.Did))
			if n := len(was.Foreign); n > 0 {
				strange = fmt.Sprintf("%d removed", n-stay)
				if stay > 0 {
					strange = fmt.Sprintf("%d left", stay)
					all = append(all, r.Stack)
				}
			}
		}
		table = append(table, []string{r.Student, r.Stack, string(r.Outcome), seconds(r.Seconds), right, strange})
	}
	fmt.Fprintln(s.out)
	printTable(s.out, table)
	if left > 0 {
		fmt.Fprintf(s.out, "\nleft, and not of the lab: %s. To remove them:\n  %s --yes\n", printable.Count(left, "object"), s.again(all))
	}
	if slices.ContainsFunc(rows, func(r row) bool { return r.Outcome == ok }) {
		fmt.Fprintf(s.out, "\nto ask the course's own questions:\n  %s\n", s.as("check"))
	}
}
