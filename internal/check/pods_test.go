package check

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/internal/fake"
)

// waits is a pod of the app whose one container is in this state.
func waits(state string) string {
	return `{"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"default","name":"bootcamp-1","labels":{"app":"bootcamp"}},"status":{"containerStatuses":[
		{"name":"bootcamp-app","image":"registry.example/echo:1","ready":false,` + state + `}]}}`
}

// pull is a failed pull, with what containerd said.
func pull(said string) string {
	return waits(fmt.Sprintf(`"state":{"waiting":{"reason":"ErrImagePull","message":%q}}`, "rpc error: code = Unknown desc = failed to pull and unpack image: "+said))
}

// TestTroubles: what keeps a pod from being ready is told with the image or the
// object, the reason and what to do, on one line.
func TestTroubles(t *testing.T) {
	const image, noImage = "registry.example/echo:1", ""
	for name, c := range map[string]struct {
		objects []string
		image   string
		says    string // in the reason
	}{
		"no such image":       {[]string{pull("registry.example/echo:1: not found")}, image, "not found"},
		"rate limit":          {[]string{pull("429 Too Many Requests - toomanyrequests: You have reached your pull rate limit")}, image, "429"},
		"certificate":         {[]string{pull("tls: failed to verify certificate: x509: certificate signed by unknown authority")}, image, "certificate"},
		"no such host":        {[]string{pull("dial tcp: lookup registry.example: no such host")}, image, "no such host"},
		"another platform":    {[]string{pull("no match for platform in manifest: not found")}, image, "architecture"},
		"schema 1":            {[]string{pull("media type application/vnd.docker.distribution.manifest.v1+prettyjws is no longer supported")}, image, "schema 1"},
		"no right":            {[]string{pull("pull access denied, repository does not exist or may require authorization")}, image, "denies access"},
		"no answer":           {[]string{pull("dial tcp 192.0.2.1:443: i/o timeout")}, image, "does not answer"},
		"an unknown reason":   {[]string{pull("the moon is full")}, image, "the moon is full"},
		"exec format":         {[]string{waits(`"state":{"terminated":{"exitCode":128,"reason":"StartError","message":"exec /server: exec format error"}}`)}, image, "architecture"},
		"ends again":          {[]string{waits(`"state":{"waiting":{"reason":"CrashLoopBackOff"}},"lastState":{"terminated":{"exitCode":3}}`)}, noImage, "exit code 3, again and again"},
		"out of memory":       {[]string{waits(`"state":{"waiting":{"reason":"CrashLoopBackOff"}},"lastState":{"terminated":{"exitCode":137,"reason":"OOMKilled"}}`)}, noImage, "more memory"},
		"not ready":           {[]string{waits(`"state":{"running":{}}`)}, noImage, "readiness probe"},
		"a missing ConfigMap": {[]string{waits(`"state":{"waiting":{"reason":"CreateContainerConfigError","message":"configmap \"x\" not found"}}`)}, noImage, `configmap "x" not found`},
		"not scheduled": {[]string{`{"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"default","name":"bootcamp-1","labels":{"app":"bootcamp"}},
			"status":{"conditions":[{"type":"PodScheduled","status":"False","message":"0/1 nodes are available: 1 Insufficient cpu."}]}}`}, noImage, "Insufficient cpu"},
		"over the quota": {[]string{`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"namespace":"default","name":"bootcamp","labels":{"app":"bootcamp"}},
			"status":{"conditions":[{"type":"ReplicaFailure","status":"True","message":"pods is forbidden: exceeded quota: bootcamp"}]}}`}, noImage, "exceeded quota"},
		"a back-off, whose reason is an event": {[]string{
			waits(`"state":{"waiting":{"reason":"ImagePullBackOff","message":"Back-off pulling image"}}`),
			`{"apiVersion":"v1","kind":"Event","metadata":{"namespace":"default","name":"e"},"involvedObject":{"name":"bootcamp-1"},"type":"Warning","message":"Failed to pull image: no such host"}`,
		}, image, "no such host"},
		"a slow pull": {[]string{
			`{"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"default","name":"bootcamp-1","labels":{"app":"bootcamp"}},"spec":{"containers":[{"name":"a","image":"registry.example/echo:1"}]},
				"status":{"containerStatuses":[{"name":"a","image":"registry.example/echo:1","ready":false,"state":{"waiting":{"reason":"ContainerCreating"}}}]}}`,
			`{"apiVersion":"v1","kind":"Event","metadata":{"namespace":"default","name":"f"},"involvedObject":{"name":"bootcamp-1"},"type":"Normal","reason":"Pulling","message":"Pulling image \"registry.example/echo:1\"","lastTimestamp":"2026-11-25T10:00:01Z"}`,
			`{"apiVersion":"v1","kind":"Event","metadata":{"namespace":"default","name":"e"},"involvedObject":{"name":"bootcamp-1"},"type":"Normal","reason":"Scheduled","message":"","eventTime":"2026-11-25T10:00:00.000000Z"}`,
		}, image, "still being pulled"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := fake.NewAPIServer(t, append(c.objects, pod("well"))...)
			found, err := Troubles(t.Context(), s.Config(), "default", "bootcamp")
			require.NoError(t, err)
			require.Len(t, found, 1, "a pod that is ready is no trouble")
			assert.Equal(t, c.image, found[0].Image)
			assert.Contains(t, found[0].Why, c.says)
			assert.NotEmpty(t, found[0].Remedy)
			line := found[0].String()
			assert.LessOrEqual(t, len([]rune(line)), 200)
			assert.Contains(t, line, found[0].Remedy)
			assert.Contains(t, line, c.image)
		})
	}
}

// However long and hostile the names and reasons are, it is one printable line that
// keeps the remedy.
func TestTroubleIsOneLine(t *testing.T) {
	long := Trouble{
		Object: "pod " + strings.Repeat("p", 300), Image: "registry.example/" + strings.Repeat("i", 300) + ":1",
		Why: "because\n\x1b[31m" + strings.Repeat("w", 300), Remedy: "do this",
	}
	line := long.String()
	assert.LessOrEqual(t, len([]rune(line)), 200)
	assert.NotContains(t, line, "\n")
	assert.NotContains(t, line, "\x1b")
	assert.True(t, strings.HasSuffix(line, "; do this"), line)
	assert.Contains(t, line, ":1: because")
}
