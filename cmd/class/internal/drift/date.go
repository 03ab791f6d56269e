package drift

import (
	"net/http"
	"time"
)

// dateReader is a transport that reads the cluster's clock off an answer.
func dateReader(date *time.Time) func(http.RoundTripper) http.RoundTripper {
	return func(next http.RoundTripper) http.RoundTripper { return reader{date, next} }
}

type reader struct {
	date *time.Time
	next http.RoundTripper
}

func (r reader) RoundTrip(request *http.Request) (*http.Response, error) {
	answer, err := r.next.RoundTrip(request)
	if err == nil {
		if date, err := http.ParseTime(answer.Header.Get("Date")); err == nil {
			*r.date = date
		}
	}
	return answer, err
}
