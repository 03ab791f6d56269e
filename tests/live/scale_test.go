package live

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"k8sbootcamp/components/settings"
	"k8sbootcamp/components/shared"
	"k8sbootcamp/tests/live/internal/livelab"
)

// TestScale measures what a class of 1, 5, 10 and 20 students costs on one
// shared cluster of four nodes, and what one more costs beside those that are
// there. It takes about half an hour, so it runs only where BOOTCAMP_SCALE=1,
// and writes docs/scale-measured.md.
func TestScale(t *testing.T) {
	if os.Getenv("BOOTCAMP_SCALE") != "1" {
		t.Skip("SKIPPED, NOTHING WAS MEASURED: set BOOTCAMP_SCALE=1 to write docs/scale-measured.md")
	}
	lab := livelab.New(t)
	on := newClassCluster(t, livelab.Unique("scale"), 3)
	class := on.stack(lab, "scale-class", settings.SharedPlatform)
	out, err := class.Up()
	require.NoError(t, err, out)

	b := &bench{t: t, lab: lab, on: on, tool: classTool(lab)}
	b.idle, _ = b.rest() // with the class's platform and no student
	var rows []string
	sizes := []int{1, 5, 10, 20}
	for _, n := range sizes {
		rows = append(rows, b.class(n))
	}
	assert.Less(t, b.more[len(b.more)-1], 1.5*b.more[0], "one more student costs more, the more there are")
	out, err = class.Destroy()
	require.NoError(t, err, out)

	page := fmt.Sprintf(`# Measured

Written by TestScale in tests/live (`+"`BOOTCAMP_SCALE=1 go test -run TestScale -timeout 90m`"+`) on %s: %s, one kind cluster of four nodes on the same machine, %d stacks at a time. Seconds are wall time of one `+"`class`"+` command for the whole roster; "one more" is an up of one further student beside those there; its CPU is that of the command and all its children, the API server's not in it. Memory is the peak of the command and all its children together (the cluster's own is not in it). API requests are all that the API server answered, anybody's, less what it answers without students (%.1f a second); at rest means that the labs stand and nobody works on them.

| students | up (s) | up, each (s) | nothing to do (s) | changed (s) | one more (s) | one more, CPU (s) | one more, API requests | destroy (s) | peak memory (MiB) | API requests, up, each | API requests at rest, each a minute | objects, each |
| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
%s

A scrape of node-exporter costs its node %.1f ms of CPU (each student's Prometheus scrapes every node); a student's Prometheus has %.0f MiB, with %d students and four nodes.
`, time.Now().UTC().Format("2006-01-02"), machine(t), parallel, b.idle, strings.Join(rows, "\n"), b.scrape*1000, b.prometheus/1024/1024, sizes[len(sizes)-1])
	require.NoError(t, os.WriteFile(filepath.Join(lab.Root, "docs", "scale-measured.md"), []byte(page), 0o644))
}

// parallel is how many stacks the class tool works on at a time here.
const parallel = 4

type bench struct {
	t    *testing.T
	lab  *livelab.Lab
	on   *classCluster
	tool string

	idle       float64       // API requests a second without students
	scrape     float64       // seconds of CPU of one scrape of node-exporter
	prometheus float64       // bytes of memory of a student's Prometheus
	more       []float64     // CPU seconds of an up of one more student, by size
	cpu        time.Duration // of the last run, with all its children
}

// run runs the class tool and returns its wall time and peak memory.
func (b *bench) run(roster string, args ...string) (time.Duration, int) {
	b.t.Helper()
	args = append(args, "--roster", roster, "-j", strconv.Itoa(parallel))
	cmd := b.lab.Command(b.tool, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	stop := make(chan struct{})
	peak := make(chan int)
	go func() {
		most := 0
		for {
			select {
			case <-stop:
				peak <- most
				return
			case <-time.After(250 * time.Millisecond):
				most = max(most, b.memory())
			}
		}
	}()
	begin := time.Now()
	err := cmd.Run()
	took := time.Since(begin)
	close(stop)
	most := <-peak
	require.NoError(b.t, err, out.String())
	b.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return took, most
}

var pssRE = regexp.MustCompile(`(?m)^Pss:\s+(\d+) kB`)

// memory is what all processes of the lab have now, shared pages counted once,
// in MiB.
func (b *bench) memory() int {
	total := 0
	b.lab.Environs(func(pid int, _ []byte) {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if m := pssRE.FindSubmatch(raw); err == nil && m != nil {
			kb, _ := strconv.Atoi(string(m[1]))
			total += kb
		}
	})
	return total / 1024
}

func (b *bench) roster(name string, students []string) string {
	file := filepath.Join(b.t.TempDir(), name)
	require.NoError(b.t, os.WriteFile(file, []byte(strings.Join(students, "\n")+"\n"), 0o600))
	return file
}

// class measures n students and one more, and leaves none.
func (b *bench) class(n int) string {
	b.t.Helper()
	var students []string
	for i := range n {
		students = append(students, fmt.Sprintf("scale-%02d", i+1))
	}
	all := b.roster("class", students)
	more := b.roster("more", []string{"scale-more"})
	config := b.on.flags(settings.SharedStudent)
	before, requests := len(b.on.objects()), b.requests()
	up, peak := b.run(all, append([]string{"up"}, config...)...)
	each := (b.requests() - requests - b.idle*up.Seconds()) / float64(n)
	objects := float64(len(b.on.objects())-before) / float64(n)
	rest, scrape := b.rest()
	atRest := (rest - b.idle) * 60 / float64(n)
	b.scrape = scrape
	b.prometheus = b.metric("bootcamp-"+students[0], "services", "prometheus:http", "process_resident_memory_bytes")
	same, p := b.run(all, append([]string{"up"}, config...)...)
	peak = max(peak, p)
	changed, p := b.run(all, append([]string{"up", "--config", "replicas=1"}, config...)...)
	peak = max(peak, p)
	requests = b.requests()
	one, _ := b.run(more, append([]string{"up"}, config...)...)
	oneRequests, oneCPU := b.requests()-requests-b.idle*one.Seconds(), b.cpu.Seconds()
	gone, p := b.run(all, "destroy", "--remove", "--yes")
	peak = max(peak, p)
	b.run(more, "destroy", "--remove", "--yes")
	b.more = append(b.more, oneCPU)
	b.t.Logf("%d students: up %s, nothing to do %s, changed %s, one more %s (CPU %.1f s, %.0f requests), destroy %s, %d MiB", n, up, same, changed, one, oneCPU, oneRequests, gone, peak)
	return fmt.Sprintf("| %d | %.0f | %.1f | %.0f | %.0f | %.1f | %.1f | %.0f | %.0f | %d | %.0f | %.0f | %.0f |",
		n, up.Seconds(), up.Seconds()/float64(n), same.Seconds(), changed.Seconds(), one.Seconds(), oneCPU, oneRequests, gone.Seconds(), peak, each, atRest, objects)
}

var requestRE = regexp.MustCompile(`(?m)^apiserver_request_total\{.*\} ([0-9.e+]+)$`)

// requests is how many requests the API server has answered, anybody's.
func (b *bench) requests() float64 {
	raw, err := b.on.client.CoreV1().RESTClient().Get().AbsPath("/metrics").DoRaw(context.Background())
	require.NoError(b.t, err)
	total := 0.0
	for _, m := range requestRE.FindAllSubmatch(raw, -1) {
		v, err := strconv.ParseFloat(string(m[1]), 64)
		require.NoError(b.t, err)
		total += v
	}
	return total
}

// rest looks at the cluster for a while in which nobody works on it. It returns
// the API requests a second, and the CPU seconds of a scrape of node-exporter, not
// a number where nobody scrapes.
func (b *bench) rest() (requests, scrape float64) {
	b.t.Helper()
	pods, err := b.on.client.CoreV1().Pods(shared.PlatformNamespace).List(context.Background(), metav1.ListOptions{LabelSelector: "app=node-exporter"})
	require.NoError(b.t, err)
	require.NotEmpty(b.t, pods.Items)
	exporter := func(metric string) float64 {
		return b.metric(shared.PlatformNamespace, "pods", pods.Items[0].Name+":9100", metric)
	}
	const cpu, scrapes = "process_cpu_seconds_total", `promhttp_metric_handler_requests_total{code="200"}`
	begin := time.Now()
	r, c, s := b.requests(), exporter(cpu), exporter(scrapes)
	time.Sleep(time.Minute)
	requests = (b.requests() - r) / time.Since(begin).Seconds()
	return requests, (exporter(cpu) - c) / (exporter(scrapes) - s)
}

// metric reads a metric of a pod or a Service through the API server's proxy.
func (b *bench) metric(namespace, resource, name, metric string) float64 {
	b.t.Helper()
	raw, err := b.on.client.CoreV1().RESTClient().Get().Namespace(namespace).Resource(resource).Name(name).
		SubResource("proxy").Suffix("metrics").DoRaw(context.Background())
	require.NoError(b.t, err)
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(metric) + ` ([0-9.e+]+)$`).FindSubmatch(raw)
	require.NotNil(b.t, m, "%s of %s", metric, name)
	v, err := strconv.ParseFloat(string(m[1]), 64)
	require.NoError(b.t, err)
	return v
}

// machine says what it was measured on.
func machine(t *testing.T) string {
	raw, err := os.ReadFile("/proc/meminfo")
	require.NoError(t, err)
	kb := 0
	fmt.Sscanf(string(raw), "MemTotal: %d kB", &kb)
	cores, err := exec.Command("nproc").Output()
	require.NoError(t, err)
	return fmt.Sprintf("%s cores, %d GiB", bytes.TrimSpace(cores), kb/1024/1024)
}
