package labtools

import (
	"errors"
	"fmt"
	"os"
	"time"

	"k8sbootcamp/internal/certificate"
	"k8sbootcamp/internal/password"
)

const secretUsage = `usage: ./class secret password|certificate
  password     print a new password: 26 letters and digits, of 130 random bits
  certificate  print a new certificate for the host that BOOTCAMP_HOST names, which
               signs itself and is good for a year, and its private key, as JSON`

// runSecret makes what a stack must keep to itself: Pulumi keeps it in the state, as a
// secret.
func runSecret(args []string) error {
	switch {
	case len(args) != 1:
		return errors.New(secretUsage)
	case args[0] == password.Verb:
		fmt.Print(password.New())
		return nil
	case args[0] == certificate.Verb:
		pair, err := certificate.New(os.Getenv(certificate.EnvHost), time.Now())
		if err != nil {
			return err
		}
		fmt.Print(pair)
		return nil
	}
	return fmt.Errorf("unknown command %q\n%s", args[0], secretUsage)
}
