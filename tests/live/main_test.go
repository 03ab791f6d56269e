package live

import (
	"os"
	"testing"

	"k8sbootcamp/tests/internal/results"
	"k8sbootcamp/tests/live/internal/livelab"
)

// TestMain writes RESULTS.md where BOOTCAMP_RESULTS=1, or where all tests ran on
// a lab.
func TestMain(m *testing.M) {
	code := results.Run(m, func() bool { return livelab.Why() == "" && os.Getenv("BOOTCAMP_FULL") == "1" })
	livelab.Close()
	os.Exit(code)
}
