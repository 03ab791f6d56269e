package runner

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"k8sbootcamp/cmd/class/internal/progress"
)

func outcomes(results []Result[int]) []Outcome {
	var out []Outcome
	for _, r := range results {
		out = append(out, r.Outcome)
	}
	return out
}

func TestOneFailureStopsNobody(t *testing.T) {
	names := []string{"a", "b", "c"}
	var out bytes.Buffer
	results := Run(context.Background(), progress.New(&out, false, names), names, 2, "ready",
		func(_ context.Context, name string, _ *progress.Line) (int, error) {
			if name == "b" {
				return 7, errors.New("no image")
			}
			return 1, nil
		})
	assert.Equal(t, []Outcome{OK, Failed, OK}, outcomes(results))
	assert.Equal(t, "b", results[1].Name)
	assert.Equal(t, 7, results[1].Value, "what a failed job got to is kept")
	assert.Contains(t, out.String(), "[b] FAILED: no image")
	assert.Contains(t, out.String(), "[c] ready")
}

func TestAtMostSoMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names := make([]string, 10)
		var now, most atomic.Int32
		began := time.Now()
		Run(t.Context(), progress.New(&bytes.Buffer{}, false, names), names, 3, "ready",
			func(context.Context, string, *progress.Line) (int, error) {
				if n := now.Add(1); n > most.Load() {
					most.Store(n)
				}
				time.Sleep(time.Minute)
				now.Add(-1)
				return 0, nil
			})
		assert.Equal(t, int32(3), most.Load())
		assert.Equal(t, 4*time.Minute, time.Since(began), "and never fewer than it could")
	})
}

func TestCancelled(t *testing.T) {
	names := []string{"a", "b", "c", "d"}
	ctx, cancel := context.WithCancel(context.Background())
	results := Run(ctx, progress.New(&bytes.Buffer{}, false, names), names, 1, "ready",
		func(ctx context.Context, name string, _ *progress.Line) (int, error) {
			if name == "b" {
				cancel()
				<-ctx.Done()
				return 0, errors.New("signal: interrupt")
			}
			return 0, nil
		})
	assert.Equal(t, []Outcome{OK, Interrupted, NotStarted, NotStarted}, outcomes(results))
}
