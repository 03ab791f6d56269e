package tests

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/components/lab"
	"k8sbootcamp/components/settings"
	"k8sbootcamp/internal/docker"
)

// keyAndValue is what a test wants to know of a clash.
type keyAndValue struct{ key, value string }

func clashes(t *testing.T, err error) []keyAndValue {
	t.Helper()
	var found []keyAndValue
	for _, p := range settings.Problems(err) {
		assert.Equal(t, settings.Clash, p.Kind)
		assert.NotEmpty(t, p.Allowed)
		found = append(found, keyAndValue{p.Key, p.Value})
	}
	return found
}

const oldEcho = "k8s.gcr.io/echoserver:1.4"

// TestImagesFit: nodes that refuse the echo app's image are a clash, by the images
// that there will be; what its remedies say is none.
func TestImagesFit(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		config map[string]string
		want   []keyAndValue
	}{
		"course":                          {nil, nil},
		"current":                         {map[string]string{"edition": "current"}, nil},
		"course on newer nodes":           {map[string]string{"nodeImage": "kindest/node:v1.34.0"}, []keyAndValue{{"nodeImage", "kindest/node:v1.34.0"}}},
		"by another name":                 {map[string]string{"nodeImage": "reg.example/n:v1.33.1"}, []keyAndValue{{"nodeImage", "reg.example/n:v1.33.1"}}},
		"remedy: current":                 {map[string]string{"nodeImage": "kindest/node:v1.34.0", "edition": "current"}, nil},
		"remedy: another echo":            {map[string]string{"nodeImage": "kindest/node:v1.34.0", "echoImage": "example/echo:1"}, nil},
		"remedy: older nodes":             {map[string]string{"nodeImage": "kindest/node:v1.28.15"}, nil},
		"nodes of nobody knows which":     {map[string]string{"nodeImage": "example/node:1"}, nil},
		"the course's echo on current":    {map[string]string{"edition": "current", "echoImage": oldEcho}, []keyAndValue{{"echoImage", oldEcho}}},
		"both are given":                  {map[string]string{"edition": "current", "echoImage": oldEcho, "nodeImage": "kindest/node:v1.35.0"}, []keyAndValue{{"nodeImage", "kindest/node:v1.35.0"}}},
		"both are given, and go together": {map[string]string{"edition": "current", "echoImage": oldEcho, "nodeImage": "kindest/node:v1.24.17"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			recording := Run{Config: c.config}.Record()
			assert.Equal(t, c.want, clashes(t, recording.Err))
			if c.want != nil {
				assert.Empty(t, recording.Resources)
				return
			}
			require.NoError(t, recording.Err)
		})
	}
	// A shared cluster's nodes are not the program's.
	onShared("alice", "shared-student", map[string]string{"nodeImage": "kindest/node:v1.34.0"}).Good(t)

	_, err := lab.Configure(input(map[string]string{"nodeImage": "kindest/node:v1.34.0"}))
	assert.Equal(t, []keyAndValue{{"nodeImage", "kindest/node:v1.34.0"}}, clashes(t, err), "without the program, too")

	secret := Run{Config: map[string]string{"nodeImage": "hunter2/node:v1.34.0", "echoImage": oldEcho}, Secret: []string{"nodeImage", "echoImage"}}.Record()
	require.Equal(t, []keyAndValue{{"nodeImage", "[secret]"}}, clashes(t, secret.Err))
	assert.NotContains(t, secret.Err.Error(), "hunter2")
	assert.NotContains(t, secret.Err.Error(), oldEcho)
}

// TestOnDocker: a program that a language host runs asks Docker before anything is
// registered, where that matters, and goes on without an answer.
func TestOnDocker(t *testing.T) {
	t.Parallel()
	var (
		plain = docker.Info{Architecture: "x86_64", CgroupVersion: "2"}
		arm   = docker.Info{Architecture: "aarch64", CgroupVersion: "2"}
		old   = docker.Info{Architecture: "x86_64", CgroupVersion: "1"}
		both  = docker.Info{Architecture: "aarch64", CgroupVersion: "1"}

		current  = map[string]string{"edition": "current"}
		onlyNode = map[string]string{"echoImage": "example/echo:1", "nodeImage": "kindest/node:v1.35.0"}
		oldOnNew = map[string]string{"nodeImage": "kindest/node:v1.35.0"}
	)
	for name, c := range map[string]struct {
		run    Run
		docker *docker.Info // nil does not answer
		want   []keyAndValue
		asked  int
	}{
		"fits":                             {Run{}, &plain, nil, 1},
		"course on arm64":                  {Run{}, &arm, []keyAndValue{{"edition", "course"}}, 1},
		"in a preview":                     {Run{Preview: true}, &arm, []keyAndValue{{"edition", "course"}}, 1},
		"an echo image of one's own":       {Run{Config: map[string]string{"edition": "current", "echoImage": oldEcho, "nodeImage": "example/node:1"}}, &arm, []keyAndValue{{"echoImage", oldEcho}}, 1},
		"current on cgroup v1":             {Run{Config: current}, &old, []keyAndValue{{"edition", "current"}}, 1},
		"newer nodes on cgroup v1":         {Run{Config: onlyNode}, &old, []keyAndValue{{"nodeImage", "kindest/node:v1.35.0"}}, 1},
		"beside what the images say alone": {Run{Config: oldOnNew}, &both, []keyAndValue{{"nodeImage", "kindest/node:v1.35.0"}, {"edition", "course"}, {"nodeImage", "kindest/node:v1.35.0"}}, 1},
		"course on cgroup v1":              {Run{}, &old, nil, 1},
		"current on arm64":                 {Run{Config: current}, &arm, nil, 1},
		"no Docker":                        {Run{}, nil, nil, 1},
		"no Docker, in a preview":          {Run{Preview: true, Config: current}, nil, nil, 1},
		"whatever it says":                 {Run{Config: map[string]string{"edition": "current", "nodeImage": "kindest/node:v1.34.11"}}, &both, nil, 0},
		"on a shared cluster":              {onShared("alice", "shared-student", nil), &both, nil, 0},
		"the platform":                     {onShared("class", "shared-platform", current), &both, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked := 0
			c.run.Docker = func(ctx context.Context) (*docker.Info, error) {
				asked++
				_, bounded := ctx.Deadline()
				assert.True(t, bounded, "a Docker that hangs would hold the program up")
				if c.docker == nil {
					return nil, &docker.Error{Problem: "gone", Err: errors.New("said")}
				}
				return c.docker, nil
			}
			recording := c.run.Record()
			assert.Equal(t, c.asked, asked)
			assert.Equal(t, c.want, clashes(t, recording.Err))
			if c.want != nil {
				assert.Empty(t, recording.Resources)
				return
			}
			require.NoError(t, recording.Err)
			assert.NotEmpty(t, recording.Resources)
		})
	}
}
