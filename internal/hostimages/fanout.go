package hostimages

import (
	"errors"
	"io"
	"sync"
)

// fanOut has a producer write to n consumers at once, none of which is more than a write
// ahead of another: what is between them takes no room. A consumer that fails is left out
// from then on; the error joins those of all.
func fanOut(n int, produce func(io.Writer) error, consume func(i int, from io.Reader) error) error {
	errs := make([]error, n)
	out := make(spread, n)
	var all sync.WaitGroup
	for i := range n {
		from, to := io.Pipe()
		out[i] = to
		all.Go(func() {
			errs[i] = consume(i, from)
			from.CloseWithError(io.ErrClosedPipe) // who writes to it is not held up
		})
	}
	produced := produce(out)
	for _, to := range out {
		if to != nil {
			to.CloseWithError(produced) // nil is the end
		}
	}
	all.Wait()
	if produced != nil && !errors.Is(produced, io.ErrClosedPipe) {
		return produced // and so they failed too
	}
	return errors.Join(errs...)
}

// spread are the consumers; nil are those that failed.
type spread []*io.PipeWriter

func (s spread) Write(p []byte) (int, error) {
	left := 0
	for i, to := range s {
		if to == nil {
			continue
		}
		if _, err := to.Write(p); err != nil {
			s[i] = nil
			continue
		}
		left++
	}
	if left == 0 {
		return 0, io.ErrClosedPipe
	}
	return len(p), nil
}
