// class starts the class tool, which is in classtool, from source: the script ./class runs
// it, and has set GOFLAGS. It says so where compiling takes long, and leaves its place to
// the tool, so that a signal reaches that once.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// called is what the tool says of how it is called, in commands to copy.
const called = "./class"

func main() {
	tool, err := build()
	if err == nil {
		err = syscall.Exec(tool, append([]string{called}, os.Args[1:]...), os.Environ())
	}
	fmt.Fprintln(os.Stderr, "error:", err)
	os.Exit(1)
}

// build returns the path of the tool's executable, which Go keeps in its cache.
func build() (string, error) {
	slow := time.AfterFunc(10*time.Second, func() { // to see that nothing has changed takes seconds
		fmt.Fprintln(os.Stderr, "compiling the class tool and the lab (some minutes, the first time)")
	})
	defer slow.Stop()
	cmd := exec.Command("go", "tool", "-n", "classtool")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	path := strings.TrimSpace(string(out))
	if err == nil && path == "" {
		err = errors.New("it has no executable")
	}
	if err != nil {
		return "", fmt.Errorf("the class tool cannot be built: %w", err)
	}
	return path, nil
}
