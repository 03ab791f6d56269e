package labtools

import (
	"context"
	"errors"

	"golang.org/x/sys/windows"
)

// awaitEnd waits until the parent is gone, or the context's end. A process of Windows keeps
// its parent's number for ever, so the parent itself is waited for.
func awaitEnd(ctx context.Context, parent int) {
	process, err := windows.OpenProcess(windows.SYNCHRONIZE, false, uint32(parent))
	if errors.Is(err, windows.ERROR_INVALID_PARAMETER) { // there is none of that number
		return
	}
	if err != nil {
		<-ctx.Done()
		return
	}
	defer windows.CloseHandle(process) //nolint:errcheck // it is the end
	for ctx.Err() == nil {
		switch event, err := windows.WaitForSingleObject(process, 200); {
		case err != nil:
			<-ctx.Done()
		case event == windows.WAIT_OBJECT_0:
			return
		}
	}
}
