package labtools

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"k8sbootcamp/internal/kindcluster"
	"k8sbootcamp/internal/sharedcluster"
	"k8sbootcamp/internal/takeover"
)

const sharedclusterUsage = `usage: ./class sharedcluster claim | release | leave | kubeconfig | takeover
  claim       prove that the names in $BOOTCAMP_OWNED are free (or have the claim), those in
              $BOOTCAMP_REQUIRED taken, and $BOOTCAMP_HOST_PORT of the nodes not another's (than
              $BOOTCAMP_NAMESPACE); print the claim and the cluster's ID
  release     delete those of $BOOTCAMP_OWNED that bear the claim
  leave       with $BOOTCAMP_NAMESPACE: take a student's access, then remove the namespace;
              without: refuse while there are students. Both refuse what does not bear $BOOTCAMP_CLAIM
  kubeconfig  print a kubeconfig for $BOOTCAMP_ACCOUNT in $BOOTCAMP_NAMESPACE, valid for $BOOTCAMP_LIFETIME
  takeover    delete those of $BOOTCAMP_OBJECTS that are there, that Pulumi did not make, and that
              the last run did not print; print all. They are in $BOOTCAMP_NAMESPACE, which bears
              $BOOTCAMP_CLAIM
The cluster is $BOOTCAMP_CONTEXT of $BOOTCAMP_KUBECONFIG`

func runSharedcluster(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New(sharedclusterUsage)
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
	// Pulumi hands update and delete what create printed: as a rule the claim.
	printed := os.Getenv(kindcluster.EnvPrinted)
	claim := sharedcluster.ParseClaim(printed)
	namespace := os.Getenv(sharedcluster.EnvNamespace)
	switch args[0] {
	case sharedcluster.VerbClaim:
		port := 0
		if text := os.Getenv(sharedcluster.EnvHostPort); text != "" {
			if port, err = strconv.Atoi(text); err != nil {
				return fmt.Errorf("%s: %w", sharedcluster.EnvHostPort, err)
			}
		}
		if claim.Mark == "" {
			claim.Mark = kindcluster.NewClaim()
		}
		if claim, err = client.Claim(ctx, claim, owned, required); err != nil {
			return err
		}
		if port != 0 {
			if err := client.PortFree(ctx, port, namespace); err != nil {
				return err
			}
		}
		fmt.Println(claim)
	case sharedcluster.VerbRelease:
		return client.Release(ctx, claim, owned)
	case sharedcluster.VerbLeave:
		claim = sharedcluster.ParseClaim(os.Getenv(sharedcluster.EnvClaim))
		if namespace == "" {
			return client.LeavePlatform(ctx, claim, owned)
		}
		return client.LeaveStudent(ctx, claim, owned, namespace)
	case sharedcluster.VerbKubeconfig:
		lifetime, err := time.ParseDuration(os.Getenv(sharedcluster.EnvLifetime))
		if err != nil {
			return fmt.Errorf("%s: %w", sharedcluster.EnvLifetime, err)
		}
		out, until, err := client.Kubeconfig(ctx, namespace, os.Getenv(sharedcluster.EnvAccount), lifetime)
		if err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "valid until %s\n", until.UTC().Format(time.RFC3339))
		os.Stdout.Write(out) //nolint:errcheck // a closed pipe has no reader left to tell
	case takeover.Verb:
		claim = sharedcluster.ParseClaim(os.Getenv(sharedcluster.EnvClaim))
		out, err := client.TakeOver(ctx, claim, namespace, os.Getenv(takeover.EnvObjects), printed)
		if err != nil {
			return err
		}
		fmt.Println(out)
	default:
		return fmt.Errorf("unknown command %q\n%s", args[0], sharedclusterUsage)
	}
	return nil
}
