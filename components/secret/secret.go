// Package secret makes passwords: each is made once, on this machine, and is nowhere but
// in the stack's state, encrypted there.
//
// Its tests are in tests/.
package secret

import (
	"github.com/pulumi/pulumi-command/sdk/go/command/local"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"k8sbootcamp/components/tool"
	"k8sbootcamp/internal/password"
)

// NewPassword registers a password, which is another only in another stack.
func NewPassword(ctx *pulumi.Context, name string, opts ...pulumi.ResourceOption) (pulumi.StringOutput, error) {
	made, err := local.NewCommand(ctx, name, &local.CommandArgs{
		Interpreter:            tool.Interpreter(password.Tool),
		Create:                 pulumi.String(password.Verb),
		Logging:                local.LoggingStderr, // or it would be shown
		AddPreviousOutputInEnv: pulumi.Bool(false),
	}, append(opts, tool.Timeouts("2m"), pulumi.AdditionalSecretOutputs([]string{"stdout"}))...)
	if err != nil {
		return pulumi.StringOutput{}, err
	}
	return pulumi.ToSecret(made.Stdout).(pulumi.StringOutput), nil
}
