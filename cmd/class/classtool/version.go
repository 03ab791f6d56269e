package main

import (
	"cmp"
	"runtime/debug"
)

// version is that of a release, which its link sets.
var version string

// versionText is the version, and the commit where the build knows it.
func versionText() string {
	text := "class " + cmp.Or(version, "from source")
	info, _ := debug.ReadBuildInfo()
	if info == nil {
		return text
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			text += ", commit " + s.Value
		}
	}
	return text
}
