package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8sbootcamp/components/lab"
	"k8sbootcamp/components/settings"
	"k8sbootcamp/internal/check"
	"k8sbootcamp/cmd/class/internal/kubeconfig"
	"k8sbootcamp/cmd/class/internal/progress"
	"k8sbootcamp/cmd/class/internal/runner"
	"k8sbootcamp/cmd/class/internal/stack"
	"k8sbootcamp/cmd/class/internal/verbs"
	"k8sbootcamp/internal/kindcluster"
)

func (a *app) up(ctx context.Context) error {
	s, err := a.begin(ctx, "up", needValid|needRoom|needTools|needAnnounce)
	if err != nil {
		return err
	}
	rows := s.each(ctx, "ready", func(ctx context.Context, st *stack.Stack, line *progress.Line, r *row) error {
		result, err := verbs.Up(ctx, st, s.engine, s.access(st.Name), line)
		if result != nil {
			r.Changes, r.Outputs = result.Changes, result.Outputs
			s.tellStale(st.Name, result.Kubeconfig, line)
		}
		return err
	})
	return s.end(ctx, rows, s.printUp)
}

// tellStale says where a rebuilt cluster made a written kubeconfig useless.
func (s *session) tellStale(name string, now []byte, line *progress.Line) {
	if len(now) == 0 {
		return
	}
	stale, err := s.book.Stale(name, now)
	if err != nil {
		line.Say("warning: " + err.Error())
	}
	for _, file := range stale {
		line.Say(fmt.Sprintf("the kubeconfig %s is of the cluster before this one; write it anew with `%s`", file, s.command("kubeconfig", name)))
	}
}

func (a *app) preview(ctx context.Context) error {
	s, err := a.begin(ctx, "preview", needValid)
	if err != nil {
		return err
	}
	rows := s.each(ctx, "previewed", func(ctx context.Context, st *stack.Stack, line *progress.Line, r *row) (err error) {
		r.Changes, err = verbs.Preview(ctx, st, s.engine, line)
		return err
	})
	return s.end(ctx, rows, printPreview)
}

func (a *app) status(ctx context.Context) error {
	s, err := a.begin(ctx, "status", 0)
	if err != nil {
		return err
	}
	rows := s.quietly(ctx, func(ctx context.Context, st *stack.Stack, _ *progress.Line, r *row) (err error) {
		r.Status, err = verbs.Status(ctx, st, s.engine, s.access(st.Name))
		return err
	})
	return s.end(ctx, rows, printStatus)
}

// quietly is each, without a line for what takes a moment.
func (s *session) quietly(ctx context.Context, job func(context.Context, *stack.Stack, *progress.Line, *row) error) []row {
	loud := s.say
	if !terminal(loud) {
		s.say = io.Discard
	}
	defer func() { s.say = loud }()
	return s.each(ctx, "read", job)
}

func (a *app) check(ctx context.Context) error {
	s, err := a.begin(ctx, "check", 0)
	if err != nil {
		return err
	}
	rows := s.each(ctx, "all well", func(ctx context.Context, st *stack.Stack, line *progress.Line, r *row) error {
		line.Phase("asking")
		outs, err := verbs.Kubeconfig(ctx, st)
		if err != nil {
			return err
		}
		failed := 0
		for _, result := range check.Run(ctx, check.Options{
			Kubeconfig: []byte(outs[lab.OutKubeconfig]),
			Context:    outs[lab.OutContext],
			Namespace:  outs[lab.OutNamespace],
			Monitoring: outs[lab.OutPrometheusPortForward] != "",
			Disrupt:    s.flags.disrupt,
		}) {
			r.Checks = append(r.Checks, answer{result.Question, result.OK, result.Detail, result.Took.Seconds()})
			if !result.OK {
				failed++
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if failed > 0 {
			return fmt.Errorf("%d of %s not so", failed, plural(len(r.Checks), "thing"))
		}
		return nil
	})
	return s.end(ctx, rows, printChecks)
}

func (a *app) destroy(ctx context.Context) error {
	if !a.flags.yes && !terminal(a.in) {
		return &exit{exitUsage, errors.New("destroy asks before it removes anything, and this is no terminal; say --yes")}
	}
	s, err := a.begin(ctx, "destroy", needTools)
	if err != nil {
		return err
	}
	if !a.flags.yes {
		if ok, err := s.confirm(ctx); err != nil || !ok {
			return err
		}
	}
	rows := s.each(ctx, "removed", func(ctx context.Context, st *stack.Stack, line *progress.Line, r *row) error {
		cluster := kindcluster.Name(st.Name)
		if c := s.settings(st.Name); c != nil && c.Cluster != settings.Kind {
			cluster = ""
		}
		result, err := verbs.Destroy(ctx, st, s.engine, cluster, s.flags.remove, line)
		r.Changes, r.Kept = result.Changes, result.Kept
		if err != nil {
			return err
		}
		_, err = s.book.Remove(st.Name)
		return err
	})
	if s.flags.remove {
		if err := s.removeState(ctx); err != nil {
			fmt.Fprintln(s.err, "warning:", err)
		}
	}
	return s.end(ctx, rows, printDestroy)
}

// removeState removes the tool's own state once no stack is left in it.
func (s *session) removeState(ctx context.Context) error {
	if !s.project.OwnState || ctx.Err() != nil {
		return nil
	}
	if left, err := s.project.Stacks(); err != nil || len(left) > 0 {
		return err
	}
	// A configuration file with a salt still has secrets of the passphrase.
	files, err := filepath.Glob(filepath.Join(s.project.Dir, "Pulumi.*.yaml"))
	if err != nil {
		return err
	}
	salted := false
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && strings.Contains(string(b), "\nencryptionsalt:") {
			salted = true
		}
	}
	return s.project.RemoveOwn(salted)
}

// confirm asks on the terminal.
func (s *session) confirm(ctx context.Context) (bool, error) {
	what := "the lab"
	if s.flags.remove {
		what = "the lab and the stack"
	}
	fmt.Fprintf(s.err, "Remove %s of %s? [y/N] ", what, strings.Join(s.names(), ", "))
	answers := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(s.in).ReadString('\n')
		answers <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case <-ctx.Done():
		return false, ctx.Err()
	case answer := <-answers:
		if answer == "y" || answer == "yes" {
			return true, nil
		}
	}
	fmt.Fprintln(s.err, "nothing was removed")
	return false, nil
}

func (a *app) kubeconfig(ctx context.Context) error {
	if a.flags.roster != "" && a.flags.output != "" {
		return &exit{exitUsage, errors.New("--output is for one stack; with --roster each gets its own kubeconfig-NAME.yaml")}
	}
	if a.flags.output == "-" && a.flags.json {
		return &exit{exitUsage, errors.New("--output - and --json both want standard output; take one")}
	}
	s, err := a.begin(ctx, "kubeconfig", 0)
	if err != nil {
		return err
	}
	rows := s.quietly(ctx, func(ctx context.Context, st *stack.Stack, _ *progress.Line, r *row) error {
		outs, err := verbs.Kubeconfig(ctx, st)
		if err != nil {
			return err
		}
		content := []byte(outs[lab.OutKubeconfig])
		r.Outputs = map[string]string{lab.OutContext: outs[lab.OutContext]}
		switch {
		case s.flags.output == "-":
			_, err = s.out.Write(content)
			return err
		case s.flags.merge:
			r.File, err = s.book.Merge(st.Name, content)
			return err
		}
		file := s.flags.output
		if file == "" {
			file = kubeconfig.FileName(st.Name)
		}
		if r.File, err = filepath.Abs(file); err != nil {
			return err
		}
		return s.book.Write(st.Name, file, content)
	})
	return s.end(ctx, rows, func(w io.Writer, rows []row) {
		for _, r := range rows {
			if r.Outcome != runner.OK || r.File == "" {
				continue
			}
			if s.flags.merge {
				fmt.Fprintf(w, "merged into %s; use it with: kubectl --context %s get nodes\n", r.File, r.Outputs[lab.OutContext])
			} else {
				fmt.Fprintf(w, "wrote %s; use it with: kubectl --kubeconfig %s get nodes\n", r.File, r.File)
			}
		}
	})
}

func seconds(s float64) string {
	return (time.Duration(s * float64(time.Second))).Round(time.Second).String()
}
