package docker

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// engine is a Docker of a version that answers as told, by method and URL.
func engine(t *testing.T, version string, answers map[string]string) (*API, *[]string) {
	t.Helper()
	asked := []string{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent, _ := io.ReadAll(r.Body)
		asked = append(asked, r.Method+" "+r.URL.String()+r.Header.Get("X-Registry-Auth")+r.Header.Get("Content-Type")+string(sent))
		if r.URL.Path == "/version" {
			_, _ = io.WriteString(w, `{"ApiVersion":"`+version+`","Os":"linux","Arch":"arm64"}`)
			return
		}
		answer, ok := answers[r.Method+" "+r.URL.String()]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			answer = `{"message":"No such image"}`
		}
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(s.Close)
	a, err := open(t.Context(), func(context.Context) (net.Conn, error) { return net.Dial("tcp", s.Listener.Addr().String()) })
	require.NoError(t, err)
	t.Cleanup(a.Close)
	asked = nil
	return a, &asked
}

// TestVersions: what is asked fits the Docker of the day, as far as is known here.
func TestVersions(t *testing.T) {
	for version, minor := range map[string]int{"1.41": 41, "1.51": 51, "1.99": newest} {
		a, _ := engine(t, version, nil)
		assert.Equal(t, minor, a.minor)
		assert.Equal(t, Platform{"linux", "arm64"}, a.Platform)
	}
	for _, version := range []string{"", "2.0", "1", "1.x"} {
		_, err := parseVersion(version)
		assert.Error(t, err, version)
	}
}

// TestImage: an image counts as there where all of it is, for Docker's own platform.
func TestImage(t *testing.T) {
	const classic = `{"Id":"sha256:c","Size":5,"Os":"linux","Architecture":"`
	a, _ := engine(t, "1.41", map[string]string{
		"GET /v1.41/images/a/b:1/json": classic + `arm64"}`,
		"GET /v1.41/images/a/b:2/json": classic + `amd64"}`,
	})
	for name, want := range map[string]*Image{
		"a/b:1": {ID: "sha256:c", Size: 5, Platform: Platform{"linux", "arm64"}},
		"a/b:2": nil,
		"a/b:3": nil,
	} {
		got, err := a.Image(t.Context(), name)
		require.NoError(t, err)
		assert.Equal(t, want, got, name)
	}

	const (
		head  = `{"Id":"sha256:i","Size":5,"Os":"linux","Architecture":"arm64","Manifests":[`
		other = `{"ID":"sha256:x","Kind":"image","Available":true,"ImageData":{"Platform":{"os":"linux","architecture":"amd64"}}}`
		proof = `{"ID":"sha256:p","Kind":"attestation","Available":true}`
		own   = `{"ID":"sha256:m","Kind":"image","Available":true,"ImageData":{"Platform":{"os":"linux","architecture":"arm64","variant":"v8"}}}`
		part  = `{"ID":"sha256:m","Kind":"image","Available":false,"ImageData":{"Platform":{"os":"linux","architecture":"arm64"}}}`
	)
	a, _ = engine(t, "1.48", map[string]string{
		"GET /v1.48/images/a/b@sha256:d/json?manifests=1": head + other + "," + proof + "," + own + `]}`,
		"GET /v1.48/images/a/b:2/json?manifests=1":        head + other + "," + proof + `]}`,
		"GET /v1.48/images/a/b:3/json?manifests=1":        head + part + `]}`,
		"GET /v1.48/images/a/b:4/json?manifests=1":        `{"Id":"sha256:c","Os":"linux","Architecture":"arm64"}`,
	})
	for name, want := range map[string]*Image{
		"a/b@sha256:d": {ID: "sha256:i", Size: 5, Platform: Platform{"linux", "arm64"}, Manifests: []string{"sha256:m"}},
		"a/b:2":        nil, // for another platform
		"a/b:3":        nil, // not all of it
		"a/b:4":        {ID: "sha256:c", Platform: Platform{"linux", "arm64"}},
	} {
		got, err := a.Image(t.Context(), name)
		require.NoError(t, err)
		assert.Equal(t, want, got, name)
	}
}

// TestPull: each step is handed on, and what Docker says at the end of it is the error.
func TestPull(t *testing.T) {
	a, asked := engine(t, "1.41", map[string]string{
		"POST /v1.41/images/create?fromImage=r%2Fa&tag=1": `{"status":"Downloading","progressDetail":{"current":3,"total":7},"id":"l"}` + "\n" + `{"status":"Status: done"}`,
		"POST /v1.41/images/create?fromImage=r%2Fa&tag=2": `{"status":"Pulling"}{"errorDetail":{"message":"no"},"error":"no"}`,
		"POST /v1.41/images/create?fromImage=r%2Fa&tag=3": `{"status":"Pulling"}{"stat`,
	})
	var steps []Event
	step := func(e Event) { steps = append(steps, e) }
	login := base64.URLEncoding.EncodeToString([]byte(`{}`))
	require.NoError(t, a.Pull(t.Context(), "r/a", "1", login, step))
	assert.Equal(t, []string{"POST /v1.41/images/create?fromImage=r%2Fa&tag=1" + login}, *asked)
	want := Event{ID: "l", Status: "Downloading"}
	want.ProgressDetail.Current, want.ProgressDetail.Total = 3, 7
	assert.Equal(t, []Event{want, {Status: "Status: done"}}, steps)

	err := a.Pull(t.Context(), "r/a", "2", "", step)
	assert.Equal(t, &APIError{Message: "no"}, err)
	err = a.Pull(t.Context(), "r/a", "4", "", step)
	assert.Equal(t, &APIError{http.StatusNotFound, "No such image"}, err)
	err = a.Pull(t.Context(), "r/a", "3", "", step)
	require.Error(t, err, "it was cut off")
	var answer *APIError
	assert.False(t, errors.As(err, &answer))
}

// TestLoad: the archive is sent, and what Docker says amid its answer is the error.
func TestLoad(t *testing.T) {
	const load = "POST /v1.41/images/load?quiet=1"
	for answer, want := range map[string]error{
		`{"stream":"Loaded image: a:1\n"}`:                                  nil,
		`{"status":"Loading"}{"errorDetail":{"message":"no"},"error":"no"}`: &APIError{Message: "no"},
	} {
		a, asked := engine(t, "1.41", map[string]string{load: answer})
		assert.Equal(t, want, a.Load(t.Context(), strings.NewReader("a tar")))
		assert.Equal(t, []string{load + "application/x-tar" + "a tar"}, *asked)
	}
	a, _ := engine(t, "1.41", nil)
	assert.Equal(t, &APIError{http.StatusNotFound, "No such image"}, a.Load(t.Context(), strings.NewReader("")))
}

// TestSave: for one platform, where Docker knows how to.
func TestSave(t *testing.T) {
	for version, url := range map[string]string{
		"1.41": "GET /v1.41/images/get?names=sha256%3Ac",
		"1.48": "GET /v1.48/images/get?names=sha256%3Ac&platform=%7B%22os%22%3A%22linux%22%2C%22architecture%22%3A%22arm64%22%7D",
	} {
		a, asked := engine(t, version, map[string]string{url: "a tar"})
		body, err := a.Save(t.Context(), "sha256:c")
		require.NoError(t, err, "%v", *asked)
		got, err := io.ReadAll(body)
		require.NoError(t, err)
		require.NoError(t, body.Close())
		assert.Equal(t, "a tar", string(got))
	}
}

// TestOpenThroughTheCommand: Docker is reached by the docker command, and what that says
// where it cannot is kept.
func TestOpenThroughTheCommand(t *testing.T) {
	dir := t.TempDir()
	command := func(script string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "docker"), []byte("#!/bin/sh\n"+script), 0o700))
	}
	t.Setenv("PATH", dir+":/usr/bin:/bin")
	command(`[ "$*" = "system dial-stdio" ] || exit 3
read line
printf 'HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"ApiVersion":"1.44","Os":"linux","Arch":"amd64"} \n'
read line`)
	a, err := Open(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 44, a.minor)
	a.Close()

	command(`[ "$1" = info ] && echo '{"ServerVersion":"1"}' && exit; echo "no route" >&2; exit 1`)
	_, err = Open(t.Context())
	var unusable *Error
	require.ErrorAs(t, err, &unusable)
	assert.ErrorContains(t, unusable.Err, "docker system dial-stdio: no route")

	command(`echo "Cannot connect to the Docker daemon" >&2; exit 1`)
	_, err = Open(t.Context())
	require.ErrorAs(t, err, &unusable)
	assert.Equal(t, "Docker does not answer", unusable.Problem, "as wherever Docker is gone")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = Open(ctx)
	assert.Equal(t, context.Canceled, err)
}
