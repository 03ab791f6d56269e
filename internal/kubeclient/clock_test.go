package kubeclient

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// A cluster's clock is read off its answers, and is this machine's until then.
func TestClock(t *testing.T) {
	t.Parallel()
	date := time.Now().Add(-3 * time.Hour).UTC().Truncate(time.Second)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Date", date.Format(http.TimeFormat)) }))
	defer server.Close()
	var c Clock
	_, known := c.Last()
	assert.False(t, known)
	assert.WithinDuration(t, time.Now(), c.Now(), time.Minute)
	answer, err := (&http.Client{Transport: c.Watch(http.DefaultTransport)}).Get(server.URL)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	last, known := c.Last()
	assert.True(t, known)
	assert.True(t, date.Equal(last), last)
	assert.True(t, date.Equal(c.Now()))
}

func TestIgnoreGone(t *testing.T) {
	t.Parallel()
	of := schema.GroupResource{Resource: "pods"}
	assert.NoError(t, IgnoreGone(nil))
	assert.NoError(t, IgnoreGone(apierrors.NewNotFound(of, "a")))
	assert.NoError(t, IgnoreGone(apierrors.NewConflict(of, "a", errors.New("another uid"))))
	assert.True(t, apierrors.IsForbidden(IgnoreGone(apierrors.NewForbidden(of, "a", nil))))
}

func TestHasBalancer(t *testing.T) {
	t.Parallel()
	for object, want := range map[string]bool{
		`{"apiVersion":"v1","kind":"Service","spec":{"type":"LoadBalancer"}}`:                                                         true,
		`{"apiVersion":"v1","kind":"Service","spec":{"type":"ClusterIP"},"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.1"}]}}}`: true, // not gone yet
		`{"apiVersion":"v1","kind":"Service","spec":{"type":"ClusterIP"},"status":{"loadBalancer":{}}}`:                               false,
		`{"apiVersion":"v1","kind":"ConfigMap","spec":{"type":"LoadBalancer"}}`:                                                       false,
	} {
		u := &unstructured.Unstructured{}
		require.NoError(t, u.UnmarshalJSON([]byte(object)))
		assert.Equal(t, want, HasBalancer(u), object)
	}
}
