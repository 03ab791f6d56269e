// Package engine has tests alone: the real program, deployed by Pulumi's real
// engine in process to a machine in memory. They need Go and nothing else; they
// are a module of their own for the engine's many dependencies.
//
//	cd tests/engine && go test .
package engine
