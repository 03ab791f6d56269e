// bench measures the course typed by hand, with kind and kubectl, against `pulumi up` and
// `class up` of this project: side by side, in turn, on this machine. It writes the medians
// as RESULTS.md.
//
//	go -C bench run . -rounds 5
//	go -C bench run . -rounds 3 -workers 0
//	go -C bench run . -rounds 3 -pull 10   # all images come over a registry of 10 MB/s
//
// It needs Docker, kind, kubectl, pulumi and Go, makes clusters of names of its own, and
// leaves nothing behind. Nothing of the user's is touched: kubeconfig, state and passphrase
// are in a temporary folder.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options are the flags.
type options struct {
	rounds    int
	workers   int
	edition   string
	nodeImage string
	pull      float64
	fill      int
	out       string
	sides     string
	note      string
}

func main() {
	var o options
	flag.IntVar(&o.rounds, "rounds", 3, "how often each side has its turn")
	flag.IntVar(&o.workers, "workers", 3, "worker nodes beside the control plane")
	flag.StringVar(&o.edition, "edition", "current", "course or current: which images")
	flag.StringVar(&o.nodeImage, "node-image", "", "kind node `IMAGE` instead of the edition's")
	flag.Float64Var(&o.pull, "pull", 0, "have the images of the pods pulled from a registry of so many `MB/s`, for all who ask together; 0 is as it is")
	flag.IntVar(&o.fill, "fill", 0, "with -pull, have each image larger by so many `MB`: some images of the lab are far smaller than the real ones")
	flag.StringVar(&o.out, "out", "RESULTS.md", "`FILE` whose part on such a run is written anew")
	flag.StringVar(&o.sides, "sides", "hand,pulumi,class", "which, in the order of their turns")
	flag.StringVar(&o.note, "note", "", "what else is to be known of this run, a `SENTENCE` beside its table")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	if flag.NArg() > 0 || o.rounds < 1 || o.workers < 0 || o.workers > 10 || o.pull < 0 || o.fill < 0 || o.fill > 0 && o.pull == 0 {
		return errors.New("no arguments; -rounds from 1, -workers from 0 to 10, -pull and -fill not below 0, -fill only with -pull")
	}
	if editions[o.edition] == nil {
		return fmt.Errorf("-edition %q: it is course or current", o.edition)
	}
	if o.nodeImage == "" {
		o.nodeImage = cmp.Or(map[string]string{"course": os.Getenv("LAB_COURSE_NODE_IMAGE"), "current": os.Getenv("LAB_NODE_IMAGE")}[o.edition], nodes[o.edition])
	}
	for _, name := range []string{"docker", "kind", "kubectl", "pulumi", "go"} {
		if _, err := exec.LookPath(name); err != nil {
			return fmt.Errorf("bench needs `%s` on PATH: %w", name, err)
		}
	}
	b, err := newBench(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	all := map[string]side{"hand": &byHand{bench: b}, "pulumi": &byPulumi{bench: b, imagePull: "host"}, "nodes": &byPulumi{bench: b, imagePull: "nodes"}, "class": &byClass{bench: b}}
	names := strings.Split(o.sides, ",")
	for _, n := range names {
		if all[n] == nil {
			return fmt.Errorf("-sides %q: they are hand, pulumi, nodes (pulumi with imagePull=nodes) and class", n)
		}
	}
	if b.pull > 0 && slices.Contains(names, "nodes") {
		return errors.New("-pull: leave out side nodes, whose nodes do not know that registry")
	}
	took := map[string]map[string][]time.Duration{}
	for round := range o.rounds {
		for _, name := range names {
			if err := b.turn(ctx, name, all[name], fmt.Sprintf("bench-%d-%s", os.Getpid(), name), round, took); err != nil {
				return fmt.Errorf("round %d, %s: %w", round+1, name, err)
			}
		}
	}
	return b.write(names, took)
}

// side is one way to the lab and back. Each method returns once what it is for is so.
type side interface {
	prepare(ctx context.Context, name string) error // not measured
	first(ctx context.Context) error
	again(ctx context.Context) error // nothing has changed
	edit() error                     // not measured: three pods, a NodePort; as one does in an editor
	change(ctx context.Context) error
	destroy(ctx context.Context) error
	kubeconfig() string
}

// steps are what is measured, in order.
var steps = []string{firstStep, allUpStep, againStep, changeStep, destroyStep}

const (
	firstStep   = "the commands of the first time"
	allUpStep   = "from nothing to the last target up"
	againStep   = "nothing to do"
	changeStep  = "three pods and a NodePort"
	destroyStep = "destroy"
)

// turn is one side's: from nothing to nothing.
func (b *bench) turn(ctx context.Context, name string, s side, stack string, round int, took map[string]map[string][]time.Duration) (err error) {
	if took[name] == nil {
		took[name] = map[string][]time.Duration{}
	}
	if err := s.prepare(ctx, stack); err != nil {
		return err
	}
	down := false
	defer func() {
		if !down { // whatever went wrong, nothing stays; also after Ctrl-C
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Minute)
			defer cancel()
			err = errors.Join(err, s.destroy(ctx))
		}
		err = errors.Join(err, b.forget())
	}()
	begin := time.Now()
	note := func(step string, since time.Time) {
		d := time.Since(since)
		took[name][step] = append(took[name][step], d)
		fmt.Printf("%d %-7s %-36s %6.2f s\n", round+1, name, step, d.Seconds())
	}
	if err := s.first(ctx); err != nil {
		return err
	}
	note(firstStep, begin)
	if err := b.allUp(ctx, s.kubeconfig()); err != nil {
		return err
	}
	note(allUpStep, begin)
	for range b.again {
		begin := time.Now()
		if err := s.again(ctx); err != nil {
			return err
		}
		note(againStep, begin)
	}
	if err := s.edit(); err != nil {
		return err
	}
	begin = time.Now()
	if err := s.change(ctx); err != nil {
		return err
	}
	note(changeStep, begin)
	begin, down = time.Now(), true
	if err := s.destroy(ctx); err != nil {
		return err
	}
	note(destroyStep, begin)
	return nil
}

// allUp waits until Prometheus has every target that it is to have, up: itself, the API
// server, and an exporter on each node that runs one.
func (b *bench) allUp(ctx context.Context, kubeconfig string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	for {
		nodes, _ := b.output(ctx, b.dir, "kubectl", "--kubeconfig", kubeconfig, "get", "daemonset", "node-exporter", "-o", "jsonpath={.status.desiredNumberScheduled}")
		up, err := b.output(ctx, b.dir, "kubectl", "--kubeconfig", kubeconfig, "get", "--raw", "/api/v1/namespaces/default/services/prometheus:9090/proxy/api/v1/query?query=sum(up)")
		var want int
		if _, e := fmt.Sscan(nodes, &want); e == nil && err == nil && strings.Contains(up, fmt.Sprintf(`,"%d"]`, want+2)) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not all targets are up: %w; Prometheus says %s", ctx.Err(), up)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// median is of an odd number of values, or the upper one of the two in the middle.
func median[T cmp.Ordered](all []T) T {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}

// repository is the folder above bench.
func repository() (string, error) {
	dir, err := filepath.Abs("..")
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(filepath.Join(dir, "Pulumi.yaml")); err != nil {
		return "", fmt.Errorf("run this in the folder bench of the project: go -C bench run .: %w", err)
	}
	return dir, nil
}
