package tool

import (
	"github.com/pulumi/pulumi-command/sdk/go/command/local"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"k8sbootcamp/internal/takeover"
)

// TakeOverName is the name of the command that takes over what a student made by hand.
const TakeOverName = "cluster-takeover"

// NewTakeOver registers the command that takes over what of the stack's objects was made
// by hand, before Pulumi makes the same. It is run where there are objects that the run
// before had not, which is told it by what that one printed; so an object that Pulumi has
// made is not looked at again. The tool is one that has the verb, and env what it is told
// beside the objects.
func NewTakeOver(ctx *pulumi.Context, tool string, objects []takeover.Object, env pulumi.StringMap, opts ...pulumi.ResourceOption) (pulumi.Resource, error) {
	env[takeover.EnvObjects] = pulumi.String(takeover.List(objects))
	return local.NewCommand(ctx, TakeOverName, &local.CommandArgs{
		Interpreter:            Interpreter(tool),
		Create:                 pulumi.String(takeover.Verb),
		Update:                 pulumi.String(takeover.Verb),
		Environment:            env,
		Logging:                local.LoggingStderr,
		AddPreviousOutputInEnv: pulumi.Bool(true),
	}, append(opts, Timeouts("2m"))...)
}
