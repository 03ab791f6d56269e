// Package locktest is for tests of what takes locks.
package locktest

import (
	"fmt"
	"os"
	"testing"
)

// Main is a TestMain that gives the locks a folder of their own, for TMPDIR is the
// process's, and fails where anything is left in it.
func Main(m *testing.M) {
	dir, err := os.MkdirTemp("", "locktest-")
	if err != nil {
		panic(err)
	}
	os.Setenv("TMPDIR", dir)
	code := m.Run()
	if left, _ := os.ReadDir(dir); code == 0 && len(left) > 0 {
		fmt.Printf("FAIL: left behind in TMPDIR: %v\n", left)
		code = 1
	}
	os.RemoveAll(dir)
	os.Exit(code)
}
