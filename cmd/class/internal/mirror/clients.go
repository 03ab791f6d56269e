package mirror

import (
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/net/netutil"
	"golang.org/x/time/rate"
)

// Limits of clients. A student's whole lab of four nodes asks some hundred times, and of
// that once for what the mirror has not.
const (
	connections       = 4096
	connectionsOfOne  = 256
	fetchesOfOne      = 300                    // at once,
	fetchesOfOneEvery = 500 * time.Millisecond // and then
	bytesOfOne        = 20 << 30               // of what is fetched for it: a lab of every image has a tenth
	mostClients       = 10_000
)

// clients are who asks, by address.
type clients struct {
	mu   sync.Mutex
	open map[string]int // connections
	had  map[string]*had
}

// had is what was fetched for a client.
type had struct {
	may   *rate.Limiter
	bytes int64
}

func newClients() *clients { return &clients{open: map[string]int{}, had: map[string]*had{}} }

// of is what was fetched for a client so far. c.mu is held.
func (c *clients) of(client string) *had {
	one := c.had[client]
	if one == nil {
		if len(c.had) >= mostClients {
			clear(c.had)
		}
		one = &had{may: rate.NewLimiter(rate.Every(fetchesOfOneEvery), fetchesOfOne)}
		c.had[client] = one
	}
	return one
}

func clientOf(r *http.Request) string { return hostOf(r.RemoteAddr) }

func hostOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return host
}

// mayFetch lets a client have the mirror fetch what it has not, but not without end.
func (c *clients) mayFetch(client string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of(client).may.Allow() {
		return nil
	}
	return &failure{http.StatusTooManyRequests, "TOOMANYREQUESTS", "this client has had the mirror fetch too much", time.Second, true}
}

// mayHave lets a client have the mirror fetch as many bytes, -1 where nobody knows how many;
// what it keeps, it keeps.
func (c *clients) mayHave(client string, bytes int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	one := c.of(client)
	if one.bytes+max(bytes, 0) > bytesOfOne {
		return &failure{http.StatusTooManyRequests, "TOOMANYREQUESTS", "the mirror has fetched too much for this client", time.Hour, true}
	}
	one.bytes += max(bytes, 0)
	return nil
}

// correct counts so many bytes more, or fewer, than were foreseen.
func (c *clients) correct(client string, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.of(client).bytes += bytes
}

// limit bounds connections, those of all and those of one.
func (c *clients) limit(l net.Listener) net.Listener {
	return &limited{netutil.LimitListener(l, connections), c}
}

type limited struct {
	net.Listener
	clients *clients
}

func (l *limited) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		host := hostOf(conn.RemoteAddr().String())
		l.clients.mu.Lock()
		taken := l.clients.open[host] < connectionsOfOne
		if taken {
			l.clients.open[host]++
		}
		l.clients.mu.Unlock()
		if taken {
			return &connection{Conn: conn, closed: func() { l.clients.left(host) }}, nil
		}
		_ = conn.Close()
	}
}

func (c *clients) left(host string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[host]--; c.open[host] <= 0 {
		delete(c.open, host)
	}
}

type connection struct {
	net.Conn
	once   sync.Once
	closed func()
}

func (c *connection) Close() error {
	c.once.Do(c.closed)
	return c.Conn.Close()
}
