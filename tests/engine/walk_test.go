package engine

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"k8sbootcamp/internal/fake"
	"k8sbootcamp/tests/internal/results"
)

// randomConfig is a valid configuration; an absent key is the default.
func randomConfig(r *rand.Rand) cfg {
	c := cfg{}
	maybe := func(key string, values ...string) {
		if r.IntN(3) == 0 {
			c[key] = values[r.IntN(len(values))]
		}
	}
	maybe("workers", "0", "1", "2", "10")
	maybe("replicas", "0", "1", strconv.Itoa(r.IntN(101)), "100")
	maybe("serviceType", "ClusterIP", "NodePort", "LoadBalancer")
	maybe("nodePort", "30000", "30080", "32767")
	maybe("hostPort", "0", "1", "18080", "65535")
	maybe("chapter", "all", "0-3", "3-2", "3-3", "4-1", "4-2", "4-3")
	maybe("scrapeInterval", "1s", "15s", "1m30s", "5m")
	maybe("podMonitoring", "true", "false")
	if c["podMonitoring"] == "true" {
		maybe("rules", "true", "false")
		maybe("dashboards", "true", "false")
	}
	maybe("edition", "course", "current")
	maybe("nodeImage", "", "registry.example/node:v1", "registry.example/node:v2")
	maybe("echoImage", "", "registry.example/echo:1", "registry.example/e2e-test-images/agnhost:2.0")
	maybe("prometheusImage", "", "registry.example/prometheus:1")
	maybe("nodeExporterImage", "", "registry.example/node-exporter:1")
	maybe("rolloutTimeout", "10s", "1h")
	return c
}

// walk does anything to a stack that may happen in a class, in any order, and
// then checks the two promises: an up gives what a fresh one gives, and a
// destroy leaves nothing.
func walk(t testing.TB, seed uint64, length int) {
	r := rand.New(rand.NewPCG(seed, 0))
	s := newSim(t, newWorld(), "dev")
	s.parallel = []int32{1, 16}[r.IntN(2)]
	var trace []string
	defer func() {
		if t.Failed() {
			t.Logf("seed %d:\n%s", seed, strings.Join(trace, "\n"))
		}
	}()
	note := func(format string, a ...any) { trace = append(trace, fmt.Sprintf(format, a...)) }

	vanished := false // the state may have a cluster that is gone or broken
	heal := func() []option {
		if vanished && s.snap != nil && len(s.snap.Resources) > 0 {
			return []option{replaceCluster(s)}
		}
		return nil
	}
	for range length {
		c := randomConfig(r)
		switch r.IntN(10) {
		default:
			note("up %v", c)
			require.NoError(t, s.once(up, c, false, heal()...).err)
			vanished = false
		case 5:
			f := fake.Fault{At: 1 + r.IntN(20), How: fake.How(r.IntN(3)), Kill: s.parallel == 1}
			note("up %v, fault %+v", c, f)
			s.world.Revive()
			s.world.Fault = f
			o := s.once(up, c, false, heal()...)
			if s.world.Dead {
				s.killed(t, o)
				s.world.Revive()
			} else if o.err == nil {
				vanished = false
			}
			s.world.Fault = fake.Fault{}
		case 6:
			f := fake.Fault{At: 1, How: fake.How(r.IntN(3)), Kill: s.parallel == 1}
			note("destroy, fault %+v", f)
			s.world.Revive()
			s.world.Fault = f
			o := s.once(destroy, nil, false)
			if s.world.Dead {
				s.killed(t, o)
				s.world.Revive()
			}
			s.world.Fault = fake.Fault{}
			vanished = vanished || o.err != nil
		case 7:
			note("destroy")
			requireGone(t, s, s.once(destroy, nil, false))
			vanished = false
		case 8:
			note("refresh")
			require.NoError(t, s.once(refresh, nil, false).err)
		case 9:
			note("the cluster vanishes")
			clear(s.world.Clusters)
			vanished = true
		}
	}
	last := randomConfig(r)
	note("up %v", last)
	require.NoError(t, s.once(up, last, false, heal()...).err)
	requireFresh(t, s, last)
	note("destroy")
	requireGone(t, s, s.once(destroy, nil, false))
}

// TestWalk walks from fixed seeds.
func TestWalk(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			begin := time.Now()
			defer func() { results.Test(t, "in process: random walks of 6 commands and faults", begin) }()
			walk(t, seed, 6)
		})
	}
}

// FuzzWalk walks from any seed; in this folder: go test -fuzz FuzzWalk .
// (the first time it compiles everything anew, with coverage, for many minutes).
func FuzzWalk(f *testing.F) {
	for seed := range uint64(4) {
		f.Add(1000+seed, uint8(8))
	}
	f.Fuzz(func(t *testing.T, seed uint64, length uint8) {
		walk(t, seed, int(length%16))
	})
}
