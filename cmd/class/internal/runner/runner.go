// Package runner does a job for every stack, some at a time. One stack's
// failure never stops the others.
package runner

import (
	"context"
	"errors"
	"sync"
	"time"

	"k8sbootcamp/cmd/class/internal/progress"
)

// Outcome is how a job ended.
type Outcome string

// The outcomes.
const (
	OK          Outcome = "ok"
	Failed      Outcome = "failed"
	Interrupted Outcome = "interrupted" // begun, and cancelled by the user
	NotStarted  Outcome = "not started" // cancelled before its turn came
)

// Result is one stack's.
type Result[T any] struct {
	Name    string
	Outcome Outcome
	Value   T // also of a failed job, as far as it came
	Err     error
	Took    time.Duration
}

// Job works on one stack and shows how it comes along.
type Job[T any] func(ctx context.Context, name string, line *progress.Line) (T, error)

// Run does the job for every name, at most parallel at a time, in the order
// given, and returns the results in that order. A cancelled context starts no
// further ones and waits for those that run.
func Run[T any](ctx context.Context, board *progress.Board, names []string, parallel int, done string, job Job[T]) []Result[T] {
	results := make([]Result[T], len(names))
	turn := make(chan struct{}, max(1, parallel))
	var running sync.WaitGroup
	for i, name := range names {
		r := &results[i]
		*r = Result[T]{Name: name, Outcome: NotStarted, Err: context.Canceled}
		select {
		case turn <- struct{}{}:
		case <-ctx.Done():
			continue
		}
		if ctx.Err() != nil { // both were ready
			<-turn
			continue
		}
		running.Go(func() {
			defer func() { <-turn }()
			one(ctx, board, r, done, job)
		})
	}
	running.Wait()
	return results
}

func one[T any](ctx context.Context, board *progress.Board, r *Result[T], done string, job Job[T]) {
	line := board.Start(r.Name)
	began := time.Now()
	r.Value, r.Err = job(ctx, r.Name, line)
	r.Took = time.Since(began)
	switch {
	case r.Err == nil:
		r.Outcome = OK
		line.End(true, done)
	case ctx.Err() != nil || errors.Is(r.Err, context.Canceled):
		r.Outcome = Interrupted
		line.End(false, "interrupted")
	default:
		r.Outcome = Failed
		line.End(false, "FAILED: "+r.Err.Error())
	}
}
