package check_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/internal/check"
	"k8sbootcamp/internal/fake"
)

// TestAwaitAPIService: who finds it there does not wait, and who may not ask does not either.
func TestAwaitAPIService(t *testing.T) {
	const at = "/api/v1/namespaces/default/services/kubernetes"
	const service = `{"apiVersion":"v1","kind":"Service","metadata":{"name":"kubernetes","namespace":"default"}}`
	api := fake.NewAPIServer(t)
	began := time.Now()
	require.NoError(t, check.AwaitAPIService(t.Context(), api.Config()))
	api.Fail("GET "+at, http.StatusForbidden)
	require.NoError(t, check.AwaitAPIService(t.Context(), api.Config()))
	assert.Less(t, time.Since(began), time.Second)

	api = fake.NewAPIServer(t)
	api.Delete(at)
	soon := time.AfterFunc(2*time.Second, // longer than kubelets are waited for
		func() { api.Put(t, service) })
	defer soon.Stop()
	require.NoError(t, check.AwaitAPIService(t.Context(), api.Config()))
	assert.True(t, api.Has(at), "it was waited for")

	api.Delete(at)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	assert.ErrorIs(t, check.AwaitAPIService(ctx, api.Config()), context.DeadlineExceeded)
}
