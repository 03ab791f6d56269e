package main

import (
	"os"

	"golang.org/x/sys/windows"
)

// escapes has a console obey escape sequences, and tells whether it does: older ones, and
// those that nobody has told, print them.
func escapes(console *os.File) bool {
	var mode uint32
	handle := windows.Handle(console.Fd())
	if err := windows.GetConsoleMode(handle, &mode); err != nil {
		return false
	}
	return windows.SetConsoleMode(handle, mode|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING) == nil
}
