package kubeclient

import (
	"net/http"
	"sync/atomic"
	"time"
)

// Clock is a cluster's, which may not be this machine's: Docker Desktop's stands still
// while a laptop sleeps. It is read off every answer that comes through its transport.
type Clock struct{ date atomic.Pointer[time.Time] }

// Watch is a transport (rest.Config.Wrap).
func (c *Clock) Watch(next http.RoundTripper) http.RoundTripper { return clockReader{c, next} }

type clockReader struct {
	clock *Clock
	next  http.RoundTripper
}

func (r clockReader) RoundTrip(request *http.Request) (*http.Response, error) {
	answer, err := r.next.RoundTrip(request)
	if err == nil {
		if date, err := http.ParseTime(answer.Header.Get("Date")); err == nil {
			r.clock.date.Store(&date)
		}
	}
	return answer, err
}

// Last is when the cluster last answered, by its own clock, in whole seconds; false where
// it has not.
func (c *Clock) Last() (time.Time, bool) {
	if date := c.date.Load(); date != nil {
		return *date, true
	}
	return time.Time{}, false
}

// Now is Last, or this machine's time where the cluster has not answered.
func (c *Clock) Now() time.Time {
	if date, known := c.Last(); known {
		return date
	}
	return time.Now()
}
