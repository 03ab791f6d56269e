package live

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"k8sbootcamp/tests/live/internal/livelab"
)

// TestMain writes RESULTS.md where BOOTCAMP_RESULTS=1, or where all tests ran on
// a lab; a partial run would leave out rows.
func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	livelab.Close()
	all := flag.Lookup("test.run").Value.String() == "" && flag.Lookup("test.skip").Value.String() == "" && flag.Lookup("test.fuzz").Value.String() == "" && livelab.Why() == ""
	if os.Getenv("BOOTCAMP_RESULTS") == "1" || all {
		if err := writeResults("RESULTS.md"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// recordTest notes a test as one run of a fault; defer it.
func recordTest(t *testing.T, fault string, begin time.Time) {
	if t.Failed() {
		record(fault, time.Since(begin), t.Name())
		return
	}
	record(fault, time.Since(begin))
}
