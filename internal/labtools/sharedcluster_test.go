package labtools

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/internal/fake"
	"k8sbootcamp/internal/sharedcluster"
)

// TestClaimOnAnOldCluster: a cluster without the kinds that the guards are made of
// gets that one error, before anything is claimed, of the class's stack and of a
// student's alike.
func TestClaimOnAnOldCluster(t *testing.T) {
	server := fake.NewAPIServer(t, `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"kube-system","uid":"this-one"}}`)
	file := filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, os.WriteFile(file, server.Kubeconfig("class"), 0o600))
	t.Setenv(sharedcluster.EnvKubeconfig, file)
	t.Setenv(sharedcluster.EnvContext, "class")
	const policy = "validatingadmissionpolicies/bootcamp-platform-students"
	claim := func(owned, required string) error {
		t.Setenv(sharedcluster.EnvOwned, owned)
		t.Setenv(sharedcluster.EnvRequired, required)
		return runSharedcluster(t.Context(), []string{sharedcluster.VerbClaim})
	}
	require.NoError(t, claim("namespaces/bootcamp-platform "+policy, ""))
	var missing *sharedcluster.MissingError
	require.ErrorAs(t, claim("namespaces/bootcamp-alice", policy), &missing, "the class's stack is not up")

	server.Fail("GET /apis/admissionregistration.k8s.io/v1", http.StatusNotFound)
	for _, err := range []error{claim("namespaces/bootcamp-platform "+policy, ""), claim("namespaces/bootcamp-alice", policy)} {
		var unserved *sharedcluster.UnservedError
		require.ErrorAs(t, err, &unserved)
		assert.NotErrorAs(t, err, &missing)
	}
}
