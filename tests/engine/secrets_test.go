package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/pkg/v3/backend/display"
	"github.com/pulumi/pulumi/pkg/v3/engine"
	"github.com/pulumi/pulumi/pkg/v3/resource/stack"
	"github.com/pulumi/pulumi/pkg/v3/secrets/passphrase"
	"github.com/pulumi/pulumi/sdk/v3/go/common/diag/colors"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/tests/internal/results"
)

// TestSecrets follows the key of a kubeconfig, and what the topics have to hide, through
// the engine: it is in no message, no diff and no event, and the state has it encrypted.
func TestSecrets(t *testing.T) {
	s := newSim(t, newWorld(), "dev")
	secrets := map[string]bool{} // of every cluster that there was
	hidden := func(what string, o *outcome) {
		t.Helper()
		require.NoError(t, o.err)
		secrets[s.world.Clusters["bootcamp-dev"].Key()] = true
		shown := o.said + render(t, o.events)
		require.Contains(t, shown, "kubernetes", "nothing was rendered")
		for secret := range secrets {
			require.NotContains(t, shown, secret, "%s shows the key", what)
		}
	}
	hidden("first up", s.once(up, nil, false))
	first := s.world.Clusters["bootcamp-dev"].Key()
	hidden("preview of another shape", s.once(up, cfg{"workers": "1"}, true))
	hidden("another shape", s.once(up, cfg{"workers": "1"}, false))
	topics := s.once(up, cfg{"workers": "1", "topics": "all"}, false)
	for name, key := range map[string]string{"topic-secret": "password", "bootcamp": "tls.key"} {
		object := s.world.Clusters["bootcamp-dev"].Objects["Secret/default/"+name]
		content, ok := object["stringData"].(map[string]any)
		require.True(t, ok, "no Secret %s: %v", name, topics.err)
		lines := strings.Split(content[key].(string), "\n") // of a key in PEM one will do
		secrets[lines[min(2, len(lines)-1)]] = true
	}
	hidden("topics", topics)
	hidden("preview of others", s.once(up, cfg{"workers": "1", "topics": "env"}, true))
	hidden("refresh", s.once(refresh, cfg{"workers": "1", "topics": "all"}, false))
	require.Len(t, secrets, 4)

	_, manager, err := passphrase.NewPassphraseSecretsManager("a passphrase")
	require.NoError(t, err)
	saved := *s.snap
	saved.SecretsManager = manager
	stateFile := func(showSecrets bool) string {
		state, err := stack.SerializeDeployment(context.Background(), &saved, showSecrets)
		require.NoError(t, err)
		raw, err := json.Marshal(state)
		require.NoError(t, err)
		return string(raw)
	}
	delete(secrets, first)
	for secret := range secrets {
		require.NotContains(t, stateFile(false), secret, "the state has it in clear")
		require.Contains(t, stateFile(true), secret, "it is not in the state at all, so this test proves nothing")
	}
	hidden("destroy", s.clone(t).once(destroy, nil, false))
	results.Fact("Secrets, in process: the kubeconfig's key, the topics' password and their certificate's key are in no message, event or diff of up, preview, refresh and destroy, and encrypted in the state.")
}

// render is what the CLI would show of events: as JSON, and as a detailed diff.
func render(t *testing.T, events []engine.Event) string {
	t.Helper()
	var out bytes.Buffer
	in, done := make(chan engine.Event), make(chan bool)
	go display.ShowDiffEvents("update", in, done, display.Options{
		Color: colors.Never, ShowConfig: true, ShowSameResources: true, ShowReplacementSteps: true, ShowReads: true,
		Stdout: &out, Stderr: &out, DeterministicOutput: true,
	})
	var public bytes.Buffer
	for _, e := range events {
		if e.Type == engine.CancelEvent {
			continue
		}
		if !e.Internal() {
			converted, err := display.ConvertEngineEvent(e, false)
			require.NoError(t, err)
			require.NoError(t, json.NewEncoder(&public).Encode(converted))
		}
		in <- e
	}
	in <- engine.NewCancelEvent()
	<-done
	return out.String() + public.String()
}
