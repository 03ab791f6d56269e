package hostimages

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/internal/docker"
)

const digest = "sha256:0866296e693efe1fed79d5e6c7af8df71fc73ae45e3679af05342239cdc5bc8e"

// TestReferences: how Docker and a node's containerd call what a configuration calls so.
func TestReferences(t *testing.T) {
	t.Parallel()
	for image, want := range map[string]named{
		"a:1":                           {"a:1", "docker.io", "docker.io/library/a", "1", "docker.io/library/a:1", false, ""},
		"prom/a:1":                      {"prom/a:1", "docker.io", "docker.io/prom/a", "1", "docker.io/prom/a:1", false, ""},
		"127.0.0.1:5000/a/b:1":          {"127.0.0.1:5000/a/b:1", "127.0.0.1:5000", "127.0.0.1:5000/a/b", "1", "127.0.0.1:5000/a/b:1", false, ""},
		"registry.k8s.io/a:1@" + digest: {"registry.k8s.io/a:1@" + digest, "registry.k8s.io", "registry.k8s.io/a", digest, "registry.k8s.io/a@" + digest, true, "registry.k8s.io/a:sha256-" + digest[7:]},
		"registry.k8s.io/a@" + digest:   {"registry.k8s.io/a@" + digest, "registry.k8s.io", "registry.k8s.io/a", digest, "registry.k8s.io/a@" + digest, true, "registry.k8s.io/a:sha256-" + digest[7:]},
	} {
		got, err := parse(image)
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	_, err := parse("A b")
	assert.ErrorContains(t, err, `"A b"`)
	for _, list := range []string{``, `{}`, `[{"image":"A b"}]`} {
		_, err := Parse([]byte(list))
		assert.Error(t, err, list)
	}
}

// TestPullWhatIsMissing: what Docker has is asked of no registry.
func TestPullWhatIsMissing(t *testing.T) {
	e := &engine{has: map[string]*docker.Image{"docker.io/library/has:1": {ID: "x"}, "r.example/has@" + digest: {ID: "y"}}}
	h, log := host(e)
	h.login = func(registry string) (string, error) { return "login for " + registry, nil }
	require.NoError(t, h.Pull(t.Context(), []string{"has:1", "r.example/has:1@" + digest}))
	assert.Empty(t, e.pulls)
	assert.Empty(t, log.String())

	require.NoError(t, h.Pull(t.Context(), []string{"has:1", "r.example/more:2@" + digest}))
	assert.Equal(t, []string{"r.example/more@" + digest}, e.pulls)
	assert.Equal(t, []string{"login for r.example"}, e.logins)
	assert.Equal(t, "image r.example/more:2: pulled, 0.0 MB\n", log.String())
}

// TestPullOnceAtATime: of two runs that want one image, one has Docker pull it.
func TestPullOnceAtATime(t *testing.T) {
	begun, go_ := make(chan struct{}), make(chan struct{})
	e := &engine{onPull: func(context.Context, string, func(docker.Event)) (*docker.Image, error) {
		close(begun)
		<-go_
		return &docker.Image{ID: "x"}, nil
	}}
	first, _ := host(e)
	done := make(chan error, 2)
	go func() { done <- first.Pull(t.Context(), []string{"a:1"}) }()
	<-begun
	second, log := host(e)
	said := make(chan struct{})
	second.report.out = writer(func(p []byte) { log.Write(p); close(said) })
	go func() { done <- second.Pull(t.Context(), []string{"a:1"}) }()
	<-said
	close(go_)
	require.NoError(t, <-done)
	require.NoError(t, <-done)
	assert.Len(t, e.pulls, 1)
	assert.Contains(t, log.String(), "another run pulls it")
}

type writer func([]byte)

func (w writer) Write(p []byte) (int, error) { w(p); return len(p), nil }

// TestPullFailures: each word of Docker's is known, and its remedy names what it is about.
func TestPullFailures(t *testing.T) {
	for message, want := range map[string]struct {
		problem Problem
		remedy  string // in it
	}{
		"toomanyrequests: You have reached your unauthenticated pull rate limit.":                                                                                                             {RateLimited, "docker login r.example`"},
		"received unexpected HTTP status: 429 Too Many Requests":                                                                                                                              {RateLimited, "mirror"},
		`Get "https://r.example/v2/": tls: failed to verify certificate: x509: certificate signed by unknown authority`:                                                                       {Untrusted, "/etc/docker/certs.d/r.example/ca.crt"},
		`Get "https://r.example/v2/": http: server gave HTTP response to HTTPS client`:                                                                                                        {PlainHTTP, "insecure-registries"},
		`Get "https://r.example/v2/": tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time 2020-01-01T00:00:00Z is before 2024-01-01T00:00:00Z`: {WrongTime, "clock"},
		`Get "https://r.example/v2/": Forbidden`:                                                                                                                                              {Proxy, "docker info"},
		`Get "https://r.example/v2/": Bad Gateway`:                                                                                                                                            {Proxy, "docker info"},
		`received unexpected HTTP status: 502 Bad Gateway`:                                                                                                                                    {Registry, "again"},
		`Get "https://r.example/v2/": dial tcp: lookup r.example on 10.0.0.1:53: no such host`:                                                                                                {NoSuchHost, "class images save"},
		`Get "https://r.example/v2/": dial tcp: lookup r.example: Temporary failure in name resolution`:                                                                                       {NoSuchHost, "network"},
		"no matching manifest for linux/arm64/v8 in the manifest list entries":                                                                                                                {OtherArch, "architecture"},
		"no match for platform in manifest: not found":                                                                                                                                        {OtherArch, "architecture"},
		`cannot overwrite digest sha256:0866`:                                                                                                                                                 {Occupied, "docker image rm r.example/a:1"},
		`unauthorized: authentication required`:                                                                                                                                               {Unauthorized, "docker login r.example`"},
		`Head "https://r.example/v2/a/manifests/1": no basic auth credentials`:                                                                                                                {Unauthorized, "docker login"},
		`pull access denied, repository does not exist or may require authorization: authorization failed: no basic auth credentials`:                                                         {Unauthorized, "docker login r.example`"},
		`error from registry: denied: permission denied`:                                                                                                                                      {Unauthorized, "docker login"},
		`pull access denied for r.example/a, repository does not exist or may require 'docker login': denied: requested access`:                                                               {DeniedOrNone, "is the name right"},
		`manifest for r.example/a:1 not found: manifest unknown: manifest unknown`:                                                                                                            {NotFound, "docker pull r.example/a:1"},
		`failed to resolve reference "r.example/a:1": r.example/a:1: not found`:                                                                                                               {NotFound, "is the name right"},
		`failed to register layer: write /x: no space left on device`:                                                                                                                         {DiskFull, "docker system df"},
		`Get "https://r.example/v2/": proxyconnect tcp: dial tcp: lookup proxy: no such host`:                                                                                                 {Proxy, "proxies"},
		`not supported: media type "application/vnd.docker.distribution.manifest.v1+prettyjws" is no longer supported`:                                                                        {OldFormat, "edition=current"},
		`[DEPRECATION NOTICE] Docker Image Format v1 and Docker Image manifest version 2, schema 1 support is disabled by default.`:                                                           {OldFormat, "another image"},
		`schema 1 image manifests are no longer supported: invalid argument`:                                                                                                                  {OldFormat, "another image"},
		"something else": {Unknown, "docker pull r.example/a:1"},
	} {
		for _, err := range []error{&docker.APIError{Message: message}, &docker.APIError{Status: http.StatusInternalServerError, Message: message}} {
			e := &engine{onPull: func(context.Context, string, func(docker.Event)) (*docker.Image, error) { return nil, err }}
			h, _ := host(e)
			var got *Error
			require.ErrorAs(t, h.Pull(t.Context(), []string{"r.example/a:1"}), &got)
			assert.Equal(t, want.problem, got.Problem, message)
			assert.Contains(t, got.Remedy(), want.remedy)
			assert.NotContains(t, got.Error(), "{")
			assert.Contains(t, got.Error(), "r.example/a:1: "+string(want.problem))
			if want.problem == OldFormat {
				err = errOffline // for it was looked for elsewhere
			}
			assert.ErrorIs(t, got, err)
			if want.problem == Registry {
				continue
			}
			assert.Len(t, e.pulls, 1, "what does not pass by itself is not tried again: %s", message)
		}
	}
	for p := range remedies {
		text := (&Error{Image: "i", Problem: p, registry: "docker.io"}).Error()
		assert.NotRegexp(t, `[{}]|docker login `, text)
	}
}

// TestPullHostileWords: what a registry says cannot steer the terminal, nor fill it.
func TestPullHostileWords(t *testing.T) {
	e := &engine{onPull: func(context.Context, string, func(docker.Event)) (*docker.Image, error) {
		return nil, &docker.APIError{Message: "\x1b]52;c;ZXZpbA==\x07\n" + strings.Repeat("x", 10_000)}
	}}
	h, log := host(e)
	err := h.Pull(t.Context(), []string{"a:1", "b:1"})
	require.NoError(t, h.Warn(err))
	assert.NotContains(t, log.String(), "\x1b")
	assert.Less(t, log.Len(), 1500)
	assert.Equal(t, 2+1, strings.Count(log.String(), "\n"), "a line for each, and one for all")
}

// TestPullTriesAgain: what passes by itself is tried some times, and within a limit.
func TestPullTriesAgain(t *testing.T) {
	passing := []string{
		`Get "https://r.example/v2/": read tcp 1.2.3.4:1->5.6.7.8:443: read: connection reset by peer`,
		`Get "https://r.example/v2/": EOF`,
		`received unexpected HTTP status: 503 Service Unavailable`,
		`Get "https://r.example/v2/": net/http: TLS handshake timeout`,
		`Get "https://r.example/v2/": dial tcp 1.2.3.4:443: connect: connection refused`,
	}
	for _, message := range passing {
		for fails, tries := range map[int]int{1: 2, 2: 3, 9: 3} {
			synctest.Test(t, func(t *testing.T) {
				left := fails
				e := &engine{onPull: func(context.Context, string, func(docker.Event)) (*docker.Image, error) {
					if left--; left >= 0 {
						return nil, &docker.APIError{Message: message}
					}
					return &docker.Image{ID: "x"}, nil
				}}
				h, log := host(e)
				err := h.Pull(t.Context(), []string{"r.example/a:1"})
				assert.Equal(t, fails < 3, err == nil, message)
				assert.Len(t, e.pulls, tries)
				assert.Equal(t, tries-1, strings.Count(log.String(), "trying again"))
			})
		}
	}
	synctest.Test(t, func(t *testing.T) { // each answer takes a quarter of a minute
		began := time.Now()
		e := &engine{onPull: func(ctx context.Context, _ string, _ func(docker.Event)) (*docker.Image, error) {
			return nil, errors.Join(pass(ctx, 16*time.Second), &docker.APIError{Message: "dial tcp 1.2.3.4:443: i/o timeout"})
		}}
		h, _ := host(e)
		var got *Error
		require.ErrorAs(t, h.Pull(t.Context(), []string{"r.example/a:1"}), &got)
		assert.Equal(t, Unreachable, got.Problem)
		assert.Len(t, e.pulls, 2)
		assert.Equal(t, 33*time.Second, time.Since(began))
	})
}

// TestPullThatHangs: a registry that is silent, and bytes that stop, end in an error.
func TestPullThatHangs(t *testing.T) {
	for name, c := range map[string]struct {
		steps func(ctx context.Context, step func(docker.Event)) error // before it hangs
		want  Problem
		after time.Duration
	}{
		"nothing is heard": {func(context.Context, func(docker.Event)) error { return nil }, Silent, 30 * time.Second},
		"Docker has other downloads first": {func(_ context.Context, step func(docker.Event)) error {
			step(event("here", arrived, 0, 0))
			step(event("l", waiting, 0, 0))
			return nil
		}, Stalled, 15 * time.Minute},
		"its turn has come": {func(ctx context.Context, step func(docker.Event)) error {
			step(event("l", waiting, 0, 0))
			if err := pass(ctx, 10*time.Minute); err != nil {
				return err
			}
			step(event("l", arriving, 1, 100))
			return nil
		}, Stalled, 12 * time.Minute},
		"bytes stop": {func(ctx context.Context, step func(docker.Event)) error {
			for i := range int64(10) {
				step(event("l", arriving, i*10, 100))
				if err := pass(ctx, 20*time.Second); err != nil {
					return err
				}
			}
			return nil
		}, Stalled, 9*20*time.Second + 2*time.Minute},
		"the same is said again and again": {func(ctx context.Context, step func(docker.Event)) error {
			for range 1000 {
				step(event("l", arriving, 10, 100))
				if err := pass(ctx, time.Second); err != nil {
					return err
				}
			}
			return nil
		}, Stalled, 2 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				e := &engine{onPull: func(ctx context.Context, _ string, step func(docker.Event)) (*docker.Image, error) {
					if err := c.steps(ctx, step); err != nil {
						return nil, err
					}
					<-ctx.Done()
					return nil, fmt.Errorf("Post: %w", ctx.Err())
				}}
				h, _ := host(e)
				var got *Error
				require.ErrorAs(t, h.Pull(t.Context(), []string{"r.example/a:1"}), &got)
				assert.Equal(t, c.want, got.Problem)
				assert.Equal(t, c.after, time.Since(began))
				assert.Len(t, e.pulls, 1)
			})
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		e := &engine{onPull: func(ctx context.Context, _ string, _ func(docker.Event)) (*docker.Image, error) {
			cancel()
			<-ctx.Done()
			return nil, ctx.Err()
		}}
		h, _ := host(e)
		assert.Equal(t, context.Canceled, h.Pull(ctx, []string{"a:1"}))
	})
}

// TestPullOfAnotherPlatform: Docker pulled something, and not for itself.
func TestPullOfAnotherPlatform(t *testing.T) {
	e := &engine{onPull: func(context.Context, string, func(docker.Event)) (*docker.Image, error) { return nil, nil }}
	h, _ := host(e)
	var got *Error
	require.ErrorAs(t, h.Pull(t.Context(), []string{"a:1"}), &got)
	assert.Equal(t, OtherArch, got.Problem)
}

// TestDockerGoesAway while it pulls.
func TestDockerGoesAway(t *testing.T) {
	for _, err := range []error{errDockerGone, &docker.Error{Problem: "gone"}} {
		e := &engine{onPull: func(context.Context, string, func(docker.Event)) (*docker.Image, error) { return nil, err }}
		h, _ := host(e)
		var got *Error
		require.ErrorAs(t, h.Pull(t.Context(), []string{"a:1"}), &got)
		assert.Equal(t, NoDocker, got.Problem)
	}
}

// TestAllFailuresAtOnce: one image's does not hide another's.
func TestAllFailuresAtOnce(t *testing.T) {
	e := &engine{onPull: func(_ context.Context, name string, _ func(docker.Event)) (*docker.Image, error) {
		if strings.Contains(name, "bad") {
			return nil, &docker.APIError{Message: "manifest unknown"}
		}
		return &docker.Image{}, nil
	}}
	h, log := host(e)
	err := h.Pull(t.Context(), []string{"bad:1", "good:1", "bad:2"})
	assert.Len(t, parts(err), 2)
	assert.ErrorContains(t, err, "bad:1")
	assert.ErrorContains(t, err, "bad:2")
	assert.Len(t, e.pulls, 3)
	log.Reset()
	require.NoError(t, h.Warn(err))
	assert.Equal(t, 2, strings.Count(log.String(), "warning: image bad:"))
	assert.Equal(t, 1, strings.Count(log.String(), "this goes on, and fails where one does not"))
	log.Reset()
	assert.Equal(t, errDockerGone, errors.Unwrap(fmt.Errorf("%w", parts(h.Warn(errDockerGone))[0])), "what is no image's is no warning")
	assert.NoError(t, h.Warn(nil))
	assert.Empty(t, log.String())
}

// TestLogin: the docker command's own, of its file and of its helpers.
func TestLogin(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	t.Setenv("PATH", dir+":/usr/bin:/bin")
	write := func(name, content string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o700))
	}
	none, err := login("r.example")
	require.NoError(t, err)
	assert.Empty(t, none)

	write("docker-credential-mine", "#!/bin/sh\nread registry\n"+`printf '{"ServerURL":"%s","Username":"<token>","Secret":"t"}' "$registry"`)
	write("docker-credential-broken", "#!/bin/sh\necho locked; exit 1\n")
	write("config.json", `{"auths":{"https://index.docker.io/v1/":{"auth":"YW5uOnM="},"r.example:5000":{"auth":"Ym9iOnM="}},`+
		`"credHelpers":{"helped.example":"mine","broken.example":"broken"}}`)
	for registry, want := range map[string]string{
		"docker.io":      `{"username":"ann","password":"s","serveraddress":"https://index.docker.io/v1/"}`,
		"r.example:5000": `{"username":"bob","password":"s","serveraddress":"r.example:5000"}`,
		"helped.example": `{"serveraddress":"helped.example","identitytoken":"t"}`,
	} {
		got, err := login(registry)
		require.NoError(t, err)
		assert.JSONEq(t, want, decode(t, got), registry)
	}
	_, err = login("broken.example")
	require.ErrorContains(t, err, "broken.example")
	for registry, want := range map[string]authn.AuthConfig{"r.example:5000": {Username: "bob", Password: "s"}, "broken.example": {}} {
		of, err := name.NewRegistry(registry)
		require.NoError(t, err)
		auth, err := Logins.Resolve(of)
		require.NoError(t, err, registry)
		got, err := authn.Authorization(t.Context(), auth)
		require.NoError(t, err)
		assert.Equal(t, want, *got, registry)
	}

	// Its own failure counts where the registry asks for a login, and not before.
	answer := error(nil)
	e := &engine{onPull: func(context.Context, string, func(docker.Event)) (*docker.Image, error) {
		return &docker.Image{}, answer
	}}
	h := New(e, docker.Platform{}, writer(func([]byte) {}))
	require.NoError(t, h.Pull(t.Context(), []string{"broken.example/a:1"}))
	answer = &docker.APIError{Message: "unauthorized"}
	assert.ErrorContains(t, h.Pull(t.Context(), []string{"broken.example/a:2"}), "locked")
}
