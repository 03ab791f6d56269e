// Package secret makes passwords and certificates: each is made once, on this machine, and
// is nowhere but in the stack's state, encrypted there.
//
// Its tests are in tests/.
package secret

import (
	"github.com/pulumi/pulumi-command/sdk/go/command/local"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"k8sbootcamp/components/tool"
	"k8sbootcamp/internal/certificate"
	"k8sbootcamp/internal/password"
)

// NewPassword registers a password, which is another only in another stack.
func NewPassword(ctx *pulumi.Context, name string, opts ...pulumi.ResourceOption) (pulumi.StringOutput, error) {
	return newSecret(ctx, name, password.Verb, nil, opts...)
}

// NewCertificate registers a certificate for a host, which signs itself and is good for a
// year, and its private key, both in PEM. The key is a secret, and so is the certificate,
// since they come out of one command.
func NewCertificate(ctx *pulumi.Context, name, host string, opts ...pulumi.ResourceOption) (cert, key pulumi.StringOutput, err error) {
	made, err := newSecret(ctx, name, certificate.Verb, pulumi.StringMap{certificate.EnvHost: pulumi.String(host)}, opts...)
	if err != nil {
		return cert, key, err
	}
	of := func(part func(*certificate.Pair) string) pulumi.StringOutput {
		return made.ApplyT(func(printed string) (string, error) {
			pair, err := certificate.Parse(printed)
			if err != nil {
				return "", err
			}
			return part(pair), nil
		}).(pulumi.StringOutput)
	}
	cert = of(func(p *certificate.Pair) string { return p.Certificate })
	key = of(func(p *certificate.Pair) string { return p.Key })
	return cert, key, nil
}

// newSecret registers what a verb of `./class secret` prints.
func newSecret(ctx *pulumi.Context, name, verb string, env pulumi.StringMap, opts ...pulumi.ResourceOption) (pulumi.StringOutput, error) {
	args := &local.CommandArgs{
		Interpreter:            tool.Interpreter(password.Tool),
		Create:                 pulumi.String(verb),
		Logging:                local.LoggingStderr, // or it would be shown
		AddPreviousOutputInEnv: pulumi.Bool(false),
	}
	if env != nil {
		args.Environment = env
	}
	// Of an earlier stack the interpreter is another; an update would make another secret.
	made, err := local.NewCommand(ctx, name, args, append(opts, tool.Timeouts("2m"), pulumi.AdditionalSecretOutputs([]string{"stdout"}),
		pulumi.IgnoreChanges([]string{"interpreter"}))...)
	if err != nil {
		return pulumi.StringOutput{}, err
	}
	return pulumi.ToSecret(made.Stdout).(pulumi.StringOutput), nil
}
