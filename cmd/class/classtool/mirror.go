package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"k8sbootcamp/cmd/class/internal/mirror"
	"k8sbootcamp/cmd/class/internal/workspace"
	"k8sbootcamp/components/editions"
	"k8sbootcamp/internal/hostimages"
	"k8sbootcamp/internal/printable"
)

// mirrorFlags are those of mirror.
type mirrorFlags struct {
	listen    string
	dir       string
	upstreams []string
	login     bool
}

func (t *tool) mirrorCommand() *cobra.Command {
	var o mirrorFlags
	c := &cobra.Command{
		Use:   "mirror",
		Short: "Serve images to the class, each fetched from its registry once",
		Long: `mirror is a pull-through registry on this machine, until it is interrupted. What the
class asks it for it fetches from the image's own registry, once, and keeps in a folder;
so forty laptops behind one address pull each image from the Internet once. It prints
the configuration that has labs ask it first: imageMirror. Where it does not have an
image, or is gone, they ask the registry itself.

It fetches from a short list of registries alone, and without a login unless --login
says so: whoever reaches this machine then pulls what that login may.

It is plain HTTP. Who can answer in its place in that network can put another image
under a tag; under a digest nobody can.`,
		Args: cobra.NoArgs,
	}
	f := c.Flags()
	f.StringVar(&o.listen, "listen", ":5000", "`ADDRESS:PORT` to listen on; without an address, on all of this machine")
	f.StringVar(&o.dir, "dir", "", "`FOLDER` that keeps what was fetched, an OCI image layout (default .bootcamp/mirror in the project's folder)")
	f.StringArrayVar(&o.upstreams, "upstream", nil, "`REGISTRY[=URL]` to fetch from too, repeatable; beside "+strings.Join(editions.Registries(), ", "))
	f.BoolVar(&o.login, "login", false, "fetch with the docker command's logins; a folder that such images came into is served with this flag alone")
	c.RunE = func(cmd *cobra.Command, _ []string) error { return t.mirror(cmd.Context(), o) }
	return c
}

// registries are those that are fetched from, or what is wrong with the flags.
func (o *mirrorFlags) registries() (map[string]string, error) {
	all := map[string]string{}
	for _, registry := range editions.Registries() {
		all[registry] = "https://" + registry
	}
	var errs []error
	for _, given := range o.upstreams {
		registry, at, named := strings.Cut(given, "=")
		if !named {
			at = "https://" + registry
		}
		if !mirror.ValidRegistry(registry) {
			errs = append(errs, fmt.Errorf("--upstream %s: %q is no registry as images name it, such as ghcr.io", given, registry))
		} else if err := hostimages.CheckURL(at); err != nil {
			errs = append(errs, fmt.Errorf("--upstream %s: %w; allowed are http:// or https://, a host and perhaps a port", given, err))
		}
		all[registry] = at
	}
	return all, errors.Join(errs...)
}

func (t *tool) mirror(ctx context.Context, o mirrorFlags) error {
	registries, err := o.registries()
	if t.json {
		err = errors.Join(err, errors.New("--json: mirror serves, and has no document"))
	}
	if err != nil {
		return err
	}
	if o.dir == "" {
		here, err := os.Getwd()
		if err != nil {
			return err
		}
		project, err := workspace.Find(here)
		if err != nil {
			return fmt.Errorf("%w; or name a folder (--dir)", err)
		}
		o.dir = filepath.Join(project, ".bootcamp", "mirror")
	}
	listener, err := net.Listen("tcp", o.listen)
	if err != nil {
		return fmt.Errorf("--listen %s cannot be had (another port, such as --listen :5001): %w", o.listen, err)
	}
	defer listener.Close() // where nothing comes to serve it
	m, err := mirror.Open(mirror.Options{Dir: o.dir, Upstreams: registries, Login: o.login, Log: t.out})
	if err != nil {
		return err
	}
	defer m.Close() //nolint:errcheck // what it has is on the disk by then
	if err := t.announce(listener, o.dir, registries); err != nil {
		return err
	}
	following, stop := context.WithCancel(ctx)
	told := make(chan struct{})
	go func() {
		defer close(told)
		t.follow(following, m)
	}()
	err = m.Serve(ctx, listener)
	stop()
	<-told
	t.sumUp(m)
	if err != nil {
		return begun{err}
	}
	return errStopped
}

// announce says what the class is to be told.
func (t *tool) announce(listener net.Listener, dir string, registries map[string]string) error {
	addresses, err := mirror.Addresses(listener)
	if err != nil {
		return err
	}
	fmt.Fprintf(t.out, "the mirror serves images of %s, and keeps them in %s (Ctrl-C ends it)\n",
		strings.Join(slices.Sorted(maps.Keys(registries)), ", "), printable.Line(dir, 500))
	fmt.Fprintln(t.out, "for the class, with the address that it reaches this machine at:")
	table := [][]string{}
	for _, a := range addresses {
		table = append(table, []string{"  --config imageMirror=http://" + a, "or in Pulumi.<stack>.yaml:  bootcamp:imageMirror: http://" + a})
		if hostimages.CheckMirror("http://"+a) != nil {
			table = append(table, []string{"  (no node of a lab reaches that one; --listen takes another)"})
		}
	}
	if len(addresses) == 0 {
		fmt.Fprintln(t.out, "  this machine has none; is it on the class's network?")
	}
	printTable(t.out, table)
	if hidden := mirror.Hidden(); hidden != "" {
		fmt.Fprintln(t.out, "  "+hidden)
	}
	return nil
}

// tellEvery is how often a line of what was served may be printed.
const tellEvery = 10 * time.Second

// follow prints how far it is, where that has changed.
func (t *tool) follow(ctx context.Context, m *mirror.Mirror) {
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	for said := ""; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if line := m.Line(); line != said {
			said = line
			fmt.Fprintln(t.out, line)
		}
	}
}

func (t *tool) sumUp(m *mirror.Mirror) {
	images, registries := m.Tables()
	for _, table := range [][][]string{images, registries} {
		if len(table) > 1 {
			fmt.Fprintln(t.out)
			printTable(t.out, table)
		}
	}
}
