package mirror

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"k8sbootcamp/internal/printable"
)

// counts is what was fetched and served, by repository.
type counts struct {
	mu  sync.Mutex
	all map[string]*count
}

// others stand for what is served under names that the mirror has fetched nothing of.
const others = "(other names)"

type count struct {
	fetched, served int64 // bytes
	clients         map[string]bool
}

func (c *counts) of(repository string) *count {
	if c.all == nil {
		c.all = map[string]*count{}
	}
	one := c.all[repository]
	if one == nil {
		one = &count{clients: map[string]bool{}}
		c.all[repository] = one
	}
	return one
}

func (c *counts) fetched(repository string, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.of(repository).fetched += bytes
}

func (c *counts) served(repository, client string, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	one := c.of(repository)
	one.served += bytes
	if len(one.clients) < mostClients {
		one.clients[client] = true
	}
}

// Line is how much there was so far, in a line; empty is nothing.
func (m *Mirror) Line() string {
	m.counts.mu.Lock()
	defer m.counts.mu.Unlock()
	var sum count
	sum.clients = map[string]bool{}
	for _, one := range m.counts.all {
		sum.fetched += one.fetched
		sum.served += one.served
		maps.Copy(sum.clients, one.clients)
	}
	if sum.served == 0 && sum.fetched == 0 {
		return ""
	}
	return fmt.Sprintf("images %d, clients %d, fetched %s, served %s", len(m.counts.all), len(sum.clients), printable.Megabytes(sum.fetched), printable.Megabytes(sum.served))
}

// Tables are what was served, by image, and what the registries were asked, each with its
// head.
func (m *Mirror) Tables() (images, registries [][]string) {
	m.counts.mu.Lock()
	defer m.counts.mu.Unlock()
	images = [][]string{{"IMAGE", "FETCHED", "SERVED", "CLIENTS"}}
	for _, name := range slices.SortedFunc(maps.Keys(m.counts.all), func(a, b string) int {
		return cmp.Or(cmp.Compare(m.counts.all[b].served, m.counts.all[a].served), strings.Compare(a, b))
	}) {
		one := m.counts.all[name]
		images = append(images, []string{name, printable.Megabytes(one.fetched), printable.Megabytes(one.served), strconv.Itoa(len(one.clients))})
	}
	registries = [][]string{{"REGISTRY", "REQUESTS", "FETCHED"}}
	for _, name := range slices.Sorted(maps.Keys(m.upstreams)) {
		u := m.upstreams[name]
		if n := u.requests.Load(); n > 0 {
			registries = append(registries, []string{name, strconv.FormatInt(n, 10), printable.Megabytes(u.bytes.Load())})
		}
	}
	return images, registries
}
