//go:build !windows

package labtools

import (
	"context"
	"os"
	"time"
)

// awaitEnd waits until the parent is gone, or the context's end.
func awaitEnd(ctx context.Context, parent int) {
	for os.Getppid() == parent && ctx.Err() == nil {
		time.Sleep(200 * time.Millisecond)
	}
}
