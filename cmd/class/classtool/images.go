package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pulumi/pulumi/sdk/v3"
	sdkworkspace "github.com/pulumi/pulumi/sdk/v3/go/common/workspace"
	"github.com/spf13/cobra"

	"k8sbootcamp/cmd/class/internal/config"
	"k8sbootcamp/cmd/class/internal/offline"
	"k8sbootcamp/cmd/class/internal/progress"
	"k8sbootcamp/cmd/class/internal/pulls"
	"k8sbootcamp/cmd/class/internal/shell"
	"k8sbootcamp/cmd/class/internal/workspace"
	"k8sbootcamp/components/lab"
	"k8sbootcamp/internal/docker"
	"k8sbootcamp/internal/hostimages"
	"k8sbootcamp/internal/printable"
)

// imagesReport is what --json prints of images.
type imagesReport struct {
	Images     []pulls.Image    `json:"images,omitempty"`
	Registries []pulls.Registry `json:"registries,omitempty"`
	File       string           `json:"file,omitempty"`
	Bytes      int64            `json:"bytes,omitempty"`
	Loaded     []string         `json:"loaded,omitempty"`
	Installed  []string         `json:"installed,omitempty"`
	Lacking    []string         `json:"lacking,omitempty"`
}

func (t *tool) imagesCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "images",
		Short: "Tell what labs pull, and bring it along where there is no network",
		Long: `images is about all that labs on this machine take from the network: images, the
Pulumi CLI and its plugins. A shared cluster's nodes pull by themselves.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(t.imagesListCommand(), t.imagesSaveCommand(), t.imagesLoadCommand())
	return c
}

// imagesVerb makes a command of what is done once the project is found.
func (t *tool) imagesVerb(c *cobra.Command, work func(ctx context.Context, s *session, args []string) (*imagesReport, error)) *cobra.Command {
	c.RunE = func(cmd *cobra.Command, args []string) error {
		s := &session{tool: t, verb: verb{valid: true}, cmd: cmd, say: t.out}
		if t.json {
			s.say = t.err
		}
		ctx := cmd.Context()
		var report *imagesReport
		err := s.open()
		if err == nil {
			report, err = work(ctx, s, args)
		}
		if t.json {
			err = errors.Join(err, s.printJSON(document{ExitCode: exitCode(ctx, err), Error: errorText(err), Findings: s.findings, Images: report}))
		}
		return err
	}
	return c
}

func (t *tool) imagesListCommand() *cobra.Command {
	laptops := 1
	c := &cobra.Command{
		Use:   "list",
		Short: "Tell which images labs pull, from where, and how often",
		Long: `list tells what the labs of --stack or --roster pull on a machine that has nothing
yet, and where that is more than a registry allows to all behind one address.`,
		Args: cobra.NoArgs,
	}
	t.configFlag(c)
	c.Flags().IntVar(&laptops, "laptops", 1, "`N` machines behind one address do the same")
	c.PreRunE = func(*cobra.Command, []string) error {
		if laptops < 1 || laptops > 100_000 {
			return fmt.Errorf("--laptops %d: allowed are 1 to 100000", laptops)
		}
		return nil
	}
	return t.imagesVerb(c, func(_ context.Context, s *session, _ []string) (*imagesReport, error) {
		images, err := s.images(false)
		if err != nil {
			return nil, err
		}
		r := &imagesReport{Images: images, Registries: pulls.ByRegistry(images, laptops)}
		if !s.json {
			s.showImages(r)
		}
		return r, nil
	})
}

// images are those of all stacks that are meant, on a machine that has none; of the whole
// labs, also what is not switched on.
func (s *session) images(whole bool) ([]pulls.Image, error) {
	if err := s.read(); err != nil {
		return nil, err
	}
	if err := s.refuse(); err != nil {
		return nil, err
	}
	stacks := slices.Clone(s.stacks)
	for i, st := range stacks {
		if whole {
			all := *st
			all.Settings = lab.Whole(st.Settings)
			stacks[i] = &all
		}
	}
	images := pulls.Count(stacks, func(string) bool { return false })
	if len(images) == 0 {
		return nil, errors.New("on a shared cluster the nodes pull by themselves, and none of these labs is on one of its own")
	}
	if slices.ContainsFunc(s.stacks, func(st *config.Stack) bool { return !st.OnKind() }) {
		fmt.Fprintln(s.say, "left out: the stacks on a shared cluster, whose nodes pull by themselves")
	}
	return images, nil
}

func (s *session) showImages(r *imagesReport) {
	table := [][]string{{"IMAGE", "FOR", "PULLS", "imagePull=host", "imagePull=nodes"}}
	for _, i := range r.Images {
		table = append(table, []string{i.Image, strings.Join(i.Parts, ", "), strconv.Itoa(i.Pulls), strconv.Itoa(i.ByHost), strconv.Itoa(i.ByNodes)})
	}
	printTable(s.out, table)
	fmt.Fprintln(s.out)
	table = [][]string{{"REGISTRY", "A LAPTOP", "LAPTOPS", "PULLS", "LIMIT IN 6 HOURS"}}
	for _, g := range r.Registries {
		limit := "-"
		if g.Limit > 0 {
			limit = fmt.Sprintf("%d an address, %d an account", g.Limit, g.Account)
		}
		table = append(table, []string{g.Registry, strconv.Itoa(g.Each), strconv.Itoa(g.Laptops), strconv.Itoa(g.Pulls), limit})
	}
	printTable(s.out, table)
	for _, g := range r.Registries {
		if g.Over() {
			fmt.Fprintf(s.out, "\nwarning: the labs take %s\n", g.Warning())
		}
	}
}

func (t *tool) imagesSaveCommand() *cobra.Command {
	var platforms []string
	var force bool
	c := &cobra.Command{
		Use:   "save FILE",
		Short: "Write all that labs take from the network into a file, for load",
		Long: `save fetches the images straight from their registries, with the logins of the
docker command and the proxies of the environment; no Docker is needed. The file
also has the Pulumi CLI and its plugins, this machine's own where they are of the
right version and platform, or else their releases. It has every image of a lab of
that configuration, also of the chapters, exercises and topics to come.`,
		Args: cobra.ExactArgs(1),
	}
	t.configFlag(c)
	c.Flags().StringSliceVar(&platforms, "platform", nil, "for laptops of these `PLATFORMS`, with commas: linux/amd64, darwin/arm64, ... (default: this machine's)")
	c.Flags().BoolVar(&force, "force", false, "overwrite the file")
	return t.imagesVerb(c, func(ctx context.Context, s *session, args []string) (*imagesReport, error) {
		return s.save(ctx, args[0], platforms, force)
	})
}

func (s *session) save(ctx context.Context, file string, platforms []string, force bool) (*imagesReport, error) {
	saver, err := offline.NewSaver()
	if err != nil {
		return nil, err
	}
	var wrong []error
	for _, text := range platforms {
		p, err := offline.ParsePlatform(text)
		wrong = append(wrong, err)
		if !slices.Contains(saver.Platforms, p) {
			saver.Platforms = append(saver.Platforms, p)
		}
	}
	if err := errors.Join(wrong...); err != nil {
		return nil, err
	}
	if len(platforms) == 0 {
		saver.Platforms = []docker.Platform{offline.OwnPlatform}
	}
	saver.Config = s.config
	images, err := s.images(true)
	if err != nil {
		return nil, err
	}
	for _, i := range images {
		if !slices.Contains(saver.Images, i.Image) { // as two stacks may pull it from two places
			saver.Images = append(saver.Images, i.Image)
		}
	}
	if saver.Programs, err = offline.NewPrograms(); err != nil {
		return nil, err
	}
	if cli := workspace.LookCLI(ctx); cli != nil && cli.Version.EQ(sdk.Version) && offline.IsCLI(cli.Path) {
		saver.Programs.Own = cli.Path
	}
	var size int64
	err = s.told("save", func(tell func(string, int64, int64)) (err error) {
		saver.Progress = tell
		size, err = saver.Save(ctx, file, force)
		return err
	})
	switch {
	case errors.Is(err, fs.ErrExist), ctx.Err() != nil:
		return nil, err
	case err != nil:
		return nil, begun{err}
	}
	if absolute, err := filepath.Abs(file); err == nil {
		file = absolute
	}
	fmt.Fprintf(s.say, "%s: %s, %s, the Pulumi CLI and its plugins, for %v\non each laptop, in its own folder of this project:\n  %s images load %s\n  %s\n",
		file, printable.Megabytes(size), printable.Count(len(saver.Images), "image"), saver.Platforms, shell.Here.Class(), shell.Here.Quote(file), upWith(s.config))
	return &imagesReport{File: file, Bytes: size}, nil
}

func (t *tool) imagesLoadCommand() *cobra.Command {
	return t.imagesVerb(&cobra.Command{
		Use:   "load FILE",
		Short: "Take what save wrote into Docker and Pulumi; up then needs no network",
		Long: `load checks the whole file before it changes anything, and takes of it what this
machine has not. An image that is named by a digest also gets a tag for it
(sha256-...), by which up finds it. The file has programs that up runs: take it from
nobody whom you would not let run some here.`,
		Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, s *session, args []string) (*imagesReport, error) {
		return s.load(ctx, args[0])
	})
}

func (s *session) load(ctx context.Context, file string) (*imagesReport, error) {
	archive, err := offline.Open(file)
	if err != nil {
		return nil, err
	}
	defer archive.Close()
	api, err := docker.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer api.Close()
	programs, err := offline.NewPrograms()
	if err != nil {
		return nil, err
	}
	loader := &offline.Loader{
		Docker: api, Platform: api.Platform, Plugins: programs.Plugins,
		HasCLI:        func(ctx context.Context) bool { return workspace.LookCLI(ctx) != nil },
		InstallCLI:    workspace.InstallCLI,
		InstallPlugin: s.installPlugin,
	}
	var missing *offline.Missing
	err = s.told("load", func(tell func(string, int64, int64)) (err error) {
		loader.Progress = tell
		if missing, err = loader.Check(ctx, archive); err != nil {
			return err
		}
		if err := loader.Load(ctx, archive, missing); err != nil {
			return begun{err}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	r := &imagesReport{Loaded: missing.Images(), Installed: missing.Programs()}
	if missing.None() {
		fmt.Fprintln(s.say, "all of it is here already")
	} else {
		fmt.Fprintf(s.say, "now here: %s\n", strings.Join(append(r.Installed, printable.Count(len(r.Loaded), "image")), ", "))
	}
	fmt.Fprintf(s.say, "it was saved for labs of:\n  %s\n", printable.Line(upWith(archive.Config()), 2000))
	s.config = archive.Config()
	r.Lacking = s.lacking(ctx)
	for _, image := range r.Lacking {
		fmt.Fprintf(s.say, "warning: the lab as it is configured here needs %s too, which is neither in the file nor in Docker: its registry will be asked for it\n", image)
	}
	return r, nil
}

// upWith is the command that makes a lab of a configuration.
func upWith(config []string) string {
	line := shell.Here.Class() + " up"
	for _, value := range config {
		line += " --config " + shell.Here.Quote(value)
	}
	return line
}

// lacking are images that the stack's lab needs and Docker has not: its own configuration
// file may say something else than the one that the file was saved with.
func (s *session) lacking(ctx context.Context) (lacking []string) {
	if s.read() != nil || len(s.findings) > 0 {
		s.findings = nil // up tells
		return nil
	}
	for _, st := range s.stacks {
		for _, image := range lab.Images(st.Settings) {
			if !hostimages.InDocker(ctx, image.Image) && !slices.Contains(lacking, image.Image) {
				lacking = append(lacking, image.Image)
			}
		}
	}
	return lacking
}

// pluginTimeout is how long Pulumi may take to unpack a plugin.
const pluginTimeout = 10 * time.Minute

// installPlugin has the Pulumi CLI take a plugin out of a file.
func (s *session) installPlugin(ctx context.Context, plugin sdkworkspace.PluginDescriptor, file string) error {
	cli := workspace.LookCLI(ctx)
	if cli == nil {
		return errors.New("the Pulumi CLI went away")
	}
	ctx, cancel := context.WithTimeout(ctx, pluginTimeout)
	defer cancel()
	pulumi := workspace.Command{CLI: cli, Kill: s.kill}
	_, said, _, err := pulumi.Run(ctx, s.tools.Project.Dir, nil, nil, nil, []string{"PULUMI_SKIP_UPDATE_CHECK=true"},
		"plugin", "install", string(plugin.Kind), plugin.Name, plugin.Version.String(), "--file", file)
	if err != nil {
		return fmt.Errorf("pulumi plugin install: %w: %s", err, printable.Line(said, 500))
	}
	return nil
}

// plainEvery is how often bytes are told where no line is live.
const plainEvery = 5 * time.Second

// told shows how something comes along.
func (s *session) told(name string, do func(tell func(what string, done, total int64)) error) error {
	live := terminal(s.say)
	board := progress.New(s.say, live, []string{name})
	defer board.Close()
	line := board.Start(name)
	last := time.Now()
	err := do(func(what string, done, total int64) {
		line.Phase(printable.Line(what, 200))
		text := printable.Megabytes(done)
		if total > 0 {
			text = fmt.Sprintf("%.1f of %s", float64(min(done, total))/1e6, printable.Megabytes(total))
		}
		line.Detail(text)
		if !live && time.Since(last) > plainEvery {
			last = time.Now()
			line.Say(text)
		}
	})
	if err != nil {
		line.End(false, string(failed))
	} else {
		line.End(true, "done")
	}
	return err
}
