// Package live has tests alone: the real program and the class tool on a real
// cluster, with the pulumi command as a user runs it. They need a lab, which is
// what package livelab says; where there is none, they are skipped.
//
//	cd tests/live && go test -timeout 75m .
package live
