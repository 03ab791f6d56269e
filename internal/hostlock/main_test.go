package hostlock

import (
	"fmt"
	"os"
	"testing"
)

// TestMain gives the locks a folder of their own, for TMPDIR is the process's.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "hostlock-test-")
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
