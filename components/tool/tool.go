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

// Interpreter is the command line of a tool of this module, to which the command
// plugin adds the verb. It needs what the program itself was built with, and the
// project's folder, which is where Pulumi runs commands.
func Interpreter(name string) pulumi.StringArray {
	return pulumi.ToStringArray([]string{"go", "tool", name})
}

// Timeouts bound one run of a tool. They are generous: the first one pulls a node image of
// about a gigabyte.
func Timeouts(d string) pulumi.ResourceOption {
	return pulumi.Timeouts(&pulumi.CustomTimeouts{Create: d, Update: d, Delete: "5m"})
}
