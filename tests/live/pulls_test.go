package live

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"k8sbootcamp/tests/live/internal/imagelab"
	"k8sbootcamp/tests/live/internal/livelab"
)

// TestClassPullsOnce: the labs of three students on one machine, all new and all at the same
// moment, cost the registry one request for each blob: where the host's Docker pulls, and
// where each node pulls by itself through the class's mirror. With BOOTCAMP_FULL=1, for it
// takes ten minutes; it writes docs/pulls-measured.md.
func TestClassPullsOnce(t *testing.T) {
	if os.Getenv("BOOTCAMP_FULL") != "1" {
		t.Skip("SKIPPED, NOTHING WAS PROVEN: BOOTCAMP_FULL=1 has three labs come up at once, twice")
	}
	const students, workers = 3, 1
	lab := livelab.New(t)
	var rows strings.Builder
	for _, by := range []string{"host", "nodes"} {
		t.Run(by, func(t *testing.T) {
			r := imagelab.New(t)
			config := brought(t, r, map[string]string{"workers": fmt.Sprint(workers), "imagePull": by, "edition": "current"})
			if image := os.Getenv("LAB_NODE_IMAGE"); image != "" {
				config["nodeImage"] = image
			}
			what, served := "this machine's Docker", "-"
			var m *classMirror
			if by == "nodes" {
				m = startMirror(t, classTool(lab), r)
				config["imageMirror"], what = m.url, "each node, through `class mirror`"
			}
			var class errgroup.Group
			begin := time.Now()
			for i := range students {
				s := lab.Stack(livelab.Unique(fmt.Sprintf("class-%s%d", by, i)), config)
				class.Go(func() error {
					out, err := s.Up()
					if err == nil {
						out, err = s.Destroy()
					}
					if err != nil {
						err = fmt.Errorf("%w: %s", err, out)
					}
					return err
				})
			}
			require.NoError(t, class.Wait())
			asked := r.Asked()
			blobs := eachOnce(t, asked)
			assert.Equal(t, 7, blobs, "three images: each its configuration and a layer of its own, and a layer of all")
			requests := 0
			for request, n := range asked {
				if strings.HasPrefix(request, "GET ") && strings.Contains(request, "/v2/") {
					requests += n
				}
			}
			if m != nil {
				served = m.stop()
				t.Log(served)
				served = servedBytes(served)
			}
			fmt.Fprintf(&rows, "| %s | %d labs of %d nodes | 3 | %d | 1 | %d | %s | %.0f s |\n",
				what, students, 1+workers, blobs, requests, served, time.Since(begin).Seconds())
		})
	}
	if t.Failed() {
		return
	}
	page := fmt.Sprintf(`# Measured: a class pulls once

Written by TestClassPullsOnce in tests/live (BOOTCAMP_FULL=1) on %s, on %d cores. Three labs that are all new come up on one machine at the same moment, and are removed; a registry on the same machine, whose images nobody has yet, counts. A request is any GET of the registry.

| who pulls | labs | images | blobs | requests for a blob, the most | requests in all | sent by the mirror | up and down |
| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |
%s`, time.Now().UTC().Format(time.DateOnly), runtime.NumCPU(), rows.String())
	require.NoError(t, os.WriteFile(filepath.Join(lab.Root, "docs", "pulls-measured.md"), []byte(page), 0o644))
}

// servedBytes adds up what a mirror's table says that it served, in MB.
func servedBytes(table string) string {
	sum := 0.0
	for row := range strings.Lines(table) {
		cells := strings.Fields(row) // IMAGE, FETCHED MB, SERVED MB, CLIENTS
		var one float64
		if len(cells) == 6 && strings.Contains(cells[0], "/") {
			if _, err := fmt.Sscan(cells[3], &one); err == nil {
				sum += one
			}
		}
	}
	return fmt.Sprintf("%.0f MB", sum)
}
