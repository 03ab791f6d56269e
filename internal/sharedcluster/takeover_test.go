package sharedcluster

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/internal/takeover"
)

// TestTakeOver: of the stack's own namespace, and of nothing else.
func TestTakeOver(t *testing.T) {
	const path = "/apis/apps/v1/namespaces/bootcamp-alice/deployments/left"
	app := takeover.Object{Resource: "deployments", Namespace: "bootcamp-alice", Name: "left"}
	wide := takeover.Object{Resource: "clusterrolebindings", Name: "bootcamp-alice-nodes"}
	neighbours := takeover.Object{Resource: "deployments", Namespace: "bootcamp-bob", Name: "left"}
	for name, c := range map[string]struct {
		claim     Claim
		namespace string
		objects   []takeover.Object
		there     []string
		says      string // empty: it is taken over
	}{
		"the student's":         {mine, "bootcamp-alice", []takeover.Object{app}, student("c1"), ""},
		"a neighbour's":         {mine, "bootcamp-alice", []takeover.Object{app, neighbours}, student("c1"), `deployments/bootcamp-bob/left is not in namespace "bootcamp-alice"`},
		"the cluster's":         {mine, "bootcamp-alice", []takeover.Object{wide}, student("c1"), `clusterrolebindings/bootcamp-alice-nodes is not in namespace`},
		"no namespace":          {mine, "", []takeover.Object{wide}, student("c1"), `is not in namespace ""`},
		"another's namespace":   {mine, "bootcamp-alice", []takeover.Object{app}, student("c2"), "namespaces/bootcamp-alice exists already"},
		"another cluster":       {Claim{"c1", "another"}, "bootcamp-alice", []takeover.Object{app}, student("c1"), "this is another cluster than the stack's"},
		"nobody's claim at all": {Claim{}, "bootcamp-alice", []takeover.Object{app}, student("c1"), "namespaces/bootcamp-alice exists already"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api, server, log := client(t, append(c.there, left("apps/v1", "Deployment", "", ""))...)
			list := takeover.List(c.objects)
			out, err := api.TakeOver(t.Context(), c.claim, c.namespace, list, "")
			assert.True(t, server.Has(bindingPath))
			if c.says == "" {
				require.NoError(t, err)
				assert.Equal(t, list, out)
				assert.False(t, server.Has(path))
				assert.Equal(t, "taken over: Deployment left, made by hand\n", log.String())
				return
			}
			require.ErrorContains(t, err, c.says)
			assert.True(t, server.Has(path), "it was touched")
			assert.Empty(t, log.String())
		})
	}
}
