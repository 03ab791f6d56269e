package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"k8sbootcamp/internal/board"
	"k8sbootcamp/internal/classroom"
	"k8sbootcamp/internal/course"
)

// boardPort is none that the course's own commands forward (course.AppForwardPort and
// the others), nor one of kubectl proxy's.
const boardPort = 8090

// boardFlags are those of board.
type boardFlags struct {
	port    int
	chapter string
	every   time.Duration
}

func (t *tool) boardCommand() *cobra.Command {
	var o boardFlags
	c := &cobra.Command{
		Use:   "board",
		Short: "Serve a page for the projector: who is at which chapter, and what is red since when",
		Long: `board serves one page, on this machine alone, until it is interrupted. It asks the
labs of the class what check asks, and shows the students by chapters, as that
changes. A lab that is not up yet, or does not answer, is asked again.

The page is for looking: it offers no action, and shows no kubeconfig or token. The
hint of a check is shown where somebody opens it.`,
		Args: cobra.NoArgs,
	}
	f := c.Flags()
	f.IntVar(&o.port, "port", boardPort, "`PORT` on 127.0.0.1; 0 for any that is free (default 8090)")
	f.StringVar(&o.chapter, "chapter", "", "ask up to this `CHAPTER`: "+chapterNames()+" (default: all)")
	f.DurationVar(&o.every, "every", 5*time.Second, "how often the labs are asked, as a `DURATION` (default 5s)")
	t.langFlag(c)
	c.PreRunE = func(*cobra.Command, []string) error { return o.validate(t) }
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		listener, err := o.listen()
		if err != nil {
			return err
		}
		defer listener.Close() // where nothing comes to serve it
		s, err := t.session(cmd, verb{quiet: true})
		if err != nil {
			return err
		}
		return s.serveBoard(cmd.Context(), listener, o)
	}
	return c
}

// validate says all at once.
func (o *boardFlags) validate(t *tool) error {
	_, err := t.language()
	problems := []error{err, checkChapter(o.chapter)}
	if t.json {
		problems = append(problems, errors.New("--json: board is a page, and has no document"))
	}
	if o.port < 0 || o.port > 65535 {
		problems = append(problems, fmt.Errorf("--port %d: allowed are 1 to 65535, and 0 for any that is free", o.port))
	}
	if o.every < time.Second || o.every > time.Hour {
		problems = append(problems, fmt.Errorf("--every %s: allowed are 1s to 1h", o.every))
	}
	return errors.Join(problems...)
}

// listen takes the port, before anything else is done.
func (o *boardFlags) listen() (net.Listener, error) {
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(o.port)))
	if err != nil {
		return nil, fmt.Errorf("port %d cannot be had (--port takes another, 0 any that is free): %w", o.port, err)
	}
	return listener, nil
}

// serveBoard asks and shows until it is interrupted, which is its end.
func (s *session) serveBoard(ctx context.Context, listener net.Listener, o boardFlags) error {
	lang, err := s.language()
	if err != nil {
		return err
	}
	upTo := course.Chapter(o.chapter)
	room := classroom.New(s.students(), upTo)
	watching, stop := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { room.Watch(watching, o.every) })
	defer watch.Wait()
	defer stop()
	fmt.Fprintf(s.out, "the board is at http://%s/ (Ctrl-C ends it)\n", listener.Addr())
	if err := board.New(room, upTo, lang).Serve(ctx, listener); err != nil {
		return begun{err}
	}
	return errStopped
}
