package stack

import "github.com/pulumi/pulumi/sdk/v3/go/auto"

// dirOnly is a workspace that knows its folder and nothing else.
type dirOnly struct {
	auto.Workspace
	dir string
}

func (d dirOnly) WorkDir() string { return d.dir }
