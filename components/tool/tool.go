// Package tool runs the project's own tools as Pulumi commands, with no shell
// between.
//
// Its tests are in tests/.
package tool

import (
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// CommandType is the type token of a command that runs on this machine.
const CommandType = "command:local:Command"

// Interpreter is the command line of one of the lab's own tools, to which the command
// plugin adds the verb. Pulumi runs commands in the project's folder, where ./class is the
// class tool: in a release the executable, in the source tree a script that has Go run it.
// So a state names neither a folder nor Go, and fits wherever the project lies.
func Interpreter(name string) pulumi.StringArray {
	return pulumi.ToStringArray([]string{"./class", name})
}

// Timeouts bound one run of a tool. They are generous: the first one pulls a node image of
// about a gigabyte.
func Timeouts(d string) pulumi.ResourceOption {
	return pulumi.Timeouts(&pulumi.CustomTimeouts{Create: d, Update: d, Delete: "5m"})
}
