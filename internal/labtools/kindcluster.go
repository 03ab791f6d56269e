package labtools

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"k8s.io/client-go/rest"

	"k8sbootcamp/internal/docker"
	"k8sbootcamp/internal/hostimages"
	"k8sbootcamp/internal/kindcluster"
	"k8sbootcamp/internal/kubeclient"
	"k8sbootcamp/internal/takeover"

	kindcmd "sigs.k8s.io/kind/pkg/cmd"
)

const kindclusterUsage = `usage: ./class kindcluster claim | prepare | create | kubeconfig | mirror | unmirror | pull |
                           load | takeover | delete
  claim       print the stack's claim, its mark: a new one, or the one it has
  prepare     have Docker have the node image of $BOOTCAMP_CLUSTER (kind's configuration on standard
              input), and see that its port is free, before a cluster is given up for it
  create      make $BOOTCAMP_CLUSTER exist (kind's configuration on standard input), print its kubeconfig
  kubeconfig  print the kubeconfig of $BOOTCAMP_CLUSTER
  mirror      have the nodes of $BOOTCAMP_CLUSTER ask $BOOTCAMP_IMAGE_MIRROR first for images
  unmirror    have them ask none
  pull        pull those of the images (JSON on standard input) that Docker has not; of what it
              cannot, warn. The cluster need not be there
              ($BOOTCAMP_IMAGE_MIRROR, where it is set, is asked first, by prepare and load too)
  load        load them into those nodes of $BOOTCAMP_CLUSTER that are to run them and have them not
  takeover    delete those of $BOOTCAMP_OBJECTS in $BOOTCAMP_CLUSTER that are there, that Pulumi
              did not make, and that the last run did not print; print all
  delete      remove $BOOTCAMP_CLUSTER if it bears $BOOTCAMP_CLAIM`

// exitWith ends the process on a signal, and once its parent is gone (a killed
// `go tool`, from source, tells its child nothing, nor does a killed process of Windows). What is half-built then, the next run
// takes over: it knows it by the claim.
func exitWith(ctx context.Context, parent int) {
	go func() {
		awaitEnd(ctx, parent)
		fmt.Fprintln(os.Stderr, "cancelled")
		os.Exit(130)
	}()
}

func runKindcluster(ctx context.Context, args []string) error {
	exitWith(ctx, os.Getppid())
	if len(args) != 1 {
		return errors.New(kindclusterUsage)
	}
	printed := os.Getenv(kindcluster.EnvPrinted) // by the command's create; Pulumi hands it to update and delete
	if args[0] == kindcluster.VerbClaim {
		if printed == "" {
			printed = kindcluster.NewClaim()
		}
		fmt.Println(printed)
		return nil
	}
	driver := kindcluster.NewDockerDriver(kindcmd.NewLogger())
	driver.ImageMirror = os.Getenv(hostimages.EnvMirror)
	m := &kindcluster.Manager{Driver: driver, Log: os.Stderr}
	c := kindcluster.Identity{Name: os.Getenv(kindcluster.EnvName), Claim: os.Getenv(kindcluster.EnvClaim)}
	if c.Claim == "" { // the claim's own delete
		c.Claim = printed
	}
	var out string
	var err error
	switch args[0] {
	case kindcluster.VerbPrepare, kindcluster.VerbCreate:
		var config []byte
		if config, err = io.ReadAll(os.Stdin); err != nil {
			break
		}
		if args[0] == kindcluster.VerbPrepare {
			err = m.Prepare(ctx, c, config)
		} else {
			out, err = m.Ensure(ctx, c, config)
		}
	case kindcluster.VerbKubeconfig:
		out, err = m.Kubeconfig(ctx, c)
	case kindcluster.VerbMirror:
		err = m.UseMirror(ctx, c, os.Getenv(hostimages.EnvMirror))
	case kindcluster.VerbNoMirror:
		err = m.NoMirror(ctx, c)
	case hostimages.VerbPull, hostimages.VerbLoad:
		err = images(ctx, args[0], m, c)
	case takeover.Verb:
		out, err = takeover.Run(ctx, os.Getenv(takeover.EnvObjects), printed, os.Stderr, func([]takeover.Object) (*rest.Config, error) {
			admin, err := m.Admin(ctx, c)
			if err != nil {
				return nil, err
			}
			return kubeclient.FromAdmin(admin.Kubeconfig, admin.Server)
		})
	case kindcluster.VerbDelete:
		err = m.Delete(ctx, c)
	default:
		err = fmt.Errorf("unknown command %q\n%s", args[0], kindclusterUsage)
	}
	if err == nil {
		fmt.Print(out)
	}
	return err
}

// images pulls or loads those on standard input.
func images(ctx context.Context, verb string, m *kindcluster.Manager, c kindcluster.Identity) error {
	var nodes []hostimages.Node
	if verb == hostimages.VerbLoad {
		found, err := m.Nodes(ctx, c)
		if err != nil {
			return err
		}
		for _, n := range found {
			nodes = append(nodes, hostimages.Node{Name: n.Name, ControlPlane: n.ControlPlane})
		}
	}
	list, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	wanted, err := hostimages.Parse(list)
	if err != nil {
		return err
	}
	api, err := docker.Open(ctx)
	if err != nil {
		return err
	}
	defer api.Close()
	host := hostimages.New(api, api.Platform, os.Stderr)
	host.Mirror = os.Getenv(hostimages.EnvMirror)
	if verb == hostimages.VerbPull {
		return host.Warn(host.Pull(ctx, hostimages.Names(wanted)))
	}
	return host.Load(ctx, hostimages.DockerNodes{}, nodes, wanted)
}
