// sharedcluster is what the commands of a stack on a shared cluster run. No
// shell is between Pulumi and it. What it makes goes to standard output,
// progress to standard error.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"k8sbootcamp/internal/kindcluster"
	"k8sbootcamp/internal/sharedcluster"
)

const usage = `usage: go tool sharedcluster claim | release | kubeconfig | audiences
  claim       prove that the names in $BOOTCAMP_OWNED are free (or have the claim) and those
              in $BOOTCAMP_REQUIRED are taken, print the claim
  release     delete those of $BOOTCAMP_OWNED that bear the claim
  kubeconfig  print a kubeconfig for $BOOTCAMP_ACCOUNT in $BOOTCAMP_NAMESPACE, valid for $BOOTCAMP_LIFETIME
  audiences   print what tokens for the cluster's API server are for, a JSON list
The cluster is $BOOTCAMP_CONTEXT of $BOOTCAMP_KUBECONFIG`

func main() {
	ctx, _ := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New(usage)
	}
	client, err := sharedcluster.Connect(sharedcluster.Access{
		Kubeconfig: os.Getenv(sharedcluster.EnvKubeconfig),
		Context:    os.Getenv(sharedcluster.EnvContext),
	}, os.Stderr)
	if err != nil {
		return err
	}
	owned, err := sharedcluster.ParseOwned(os.Getenv(sharedcluster.EnvOwned))
	if err != nil {
		return fmt.Errorf("%s: %w", sharedcluster.EnvOwned, err)
	}
	required, err := sharedcluster.ParseOwned(os.Getenv(sharedcluster.EnvRequired))
	if err != nil {
		return fmt.Errorf("%s: %w", sharedcluster.EnvRequired, err)
	}
	// Pulumi hands update and delete what create printed: the claim.
	claim := os.Getenv(kindcluster.EnvPrinted)
	switch args[0] {
	case sharedcluster.VerbClaim:
		// First: where a kind is not served, each of its objects would be missing.
		if err := client.Serves(slices.Concat(required, owned)); err != nil {
			return err
		}
		if err := errors.Join(client.There(ctx, required), client.Free(ctx, claim, owned)); err != nil {
			return err
		}
		if claim == "" {
			claim = kindcluster.NewClaim()
		}
		fmt.Println(claim)
	case sharedcluster.VerbRelease:
		return client.Release(ctx, claim, owned)
	case sharedcluster.VerbKubeconfig:
		lifetime, err := time.ParseDuration(os.Getenv(sharedcluster.EnvLifetime))
		if err != nil {
			return fmt.Errorf("%s: %w", sharedcluster.EnvLifetime, err)
		}
		out, until, err := client.Kubeconfig(ctx, os.Getenv(sharedcluster.EnvNamespace), os.Getenv(sharedcluster.EnvAccount), lifetime)
		if err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "valid until %s\n", until.UTC().Format(time.RFC3339))
		os.Stdout.Write(out) //nolint:errcheck // a closed pipe has no reader left to tell
	case sharedcluster.VerbAudiences:
		audiences, err := client.Audiences(ctx)
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(audiences)
	default:
		return fmt.Errorf("unknown command %q\n%s", args[0], usage)
	}
	return nil
}
