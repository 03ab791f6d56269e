package offline

import (
	"archive/tar"
	"bufio"
	"cmp"
	"compress/gzip"
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/blang/semver"
	"github.com/pulumi/pulumi/sdk/v3"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
	"github.com/pulumi/pulumi/sdk/v3/go/common/workspace"

	"k8sbootcamp/internal/docker"
)

// Programs are the Pulumi CLI and the plugins that a lab needs.
type Programs struct {
	Version  semver.Version // of the CLI
	Releases string         // URL of the folder with the CLI's releases
	Plugins  []workspace.PluginDescriptor

	// Own is the file of the CLI of this machine, which is taken for its own platform
	// instead of a release; empty where there is none of this version.
	Own string
}

// cliPackage is what the CLI is compiled from.
const cliPackage = "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"

// IsCLI tells whether a file is the CLI itself, for this platform, and not what a version
// manager has in its place, such as a script, which is of no use elsewhere.
func IsCLI(file string) bool {
	info, err := buildinfo.ReadFile(file)
	if err != nil || info.Path != cliPackage {
		return false
	}
	own := map[string]string{}
	for _, s := range info.Settings {
		own[s.Key] = s.Value
	}
	return own["GOOS"] == OwnPlatform.OS && own["GOARCH"] == OwnPlatform.Architecture
}

// modules are those of the SDKs whose plugins the program uses, by the plugins' names.
// An SDK asks for the plugin of its own version.
var modules = map[string]string{
	"kubernetes": "github.com/pulumi/pulumi-kubernetes/sdk/v4",
	"command":    "github.com/pulumi/pulumi-command/sdk",
}

// NewPrograms are those of the versions that this program was built with.
func NewPrograms() (Programs, error) {
	p := Programs{Version: sdk.Version, Releases: "https://github.com/pulumi/pulumi/releases/download"}
	built, ok := debug.ReadBuildInfo()
	if !ok {
		return p, errors.New("this program does not know what it was built of; run it with `./class`")
	}
	for _, module := range built.Deps {
		for name, of := range modules {
			if module.Path != of {
				continue
			}
			version, err := semver.ParseTolerant(module.Version)
			if err != nil {
				return p, fmt.Errorf("the version of %s: %w", of, err)
			}
			p.Plugins = append(p.Plugins, workspace.PluginDescriptor{Name: name, Kind: apitype.ResourcePlugin, Version: &version})
		}
	}
	if len(p.Plugins) != len(modules) {
		return p, errors.New("this program does not know the versions of its plugins; run it with `./class`")
	}
	return p, nil
}

// OwnPlatform is that of this machine.
var OwnPlatform = docker.Platform{OS: runtime.GOOS, Architecture: runtime.GOARCH}

// ParsePlatform reads OS/ARCHITECTURE, of those that the lab runs on.
func ParsePlatform(text string) (docker.Platform, error) {
	p := docker.Platform{}
	p.OS, p.Architecture, _ = strings.Cut(text, "/")
	if slices.Contains([]string{"linux", "darwin", "windows"}, p.OS) && slices.Contains([]string{"amd64", "arm64"}, p.Architecture) {
		return p, nil
	}
	return p, fmt.Errorf("platform %q: allowed are linux, darwin and windows, each with /amd64 or /arm64 (WSL is linux)", text)
}

// writePrograms writes the programs' archives for a platform.
func (s *Saver) writePrograms(ctx context.Context, w *writer, platform docker.Platform) ([]program, error) {
	own, err := s.writeCLI(ctx, w, platform)
	if err != nil {
		return nil, fmt.Errorf("the Pulumi CLI: %w", err)
	}
	all := []program{own}
	for _, plugin := range s.Programs.Plugins {
		written, err := s.writePlugin(ctx, w, platform, plugin)
		if err != nil {
			return nil, fmt.Errorf("the plugin %s: %w", plugin.Name, err)
		}
		all = append(all, written)
	}
	return all, nil
}

// zipSuffix is that of releases for Windows.
const zipSuffix = ".zip"

// releaseFile is the name of a release of the CLI.
func releaseFile(version semver.Version, p docker.Platform) string {
	arch := p.Architecture
	if arch == "amd64" {
		arch = "x64"
	}
	suffix := ".tar.gz"
	if p.OS == "windows" {
		suffix = zipSuffix
	}
	return fmt.Sprintf("pulumi-v%s-%s-%s%s", version, p.OS, arch, suffix)
}

func (s *Saver) writeCLI(ctx context.Context, w *writer, platform docker.Platform) (program, error) {
	version := s.Programs.Version
	out := program{Name: cli, Version: version.String(), Platform: platform, File: programs + releaseFile(version, platform)}
	s.what = fmt.Sprintf("Pulumi CLI v%s for %s", version, platform)
	if s.Programs.Own != "" && platform == OwnPlatform {
		dir, end := filepath.Dir(s.Programs.Own), filepath.Ext(s.Programs.Own) // .exe, on Windows
		files := []string{filepath.Base(s.Programs.Own)}
		out.File = strings.TrimSuffix(out.File, zipSuffix)                                // pack knows another form only
		if language := "pulumi-language-go" + end; exists(filepath.Join(dir, language)) { // for plain `pulumi up`
			files = append(files, language)
		}
		return out, s.pack(ctx, w, out.File, dir, cli, files)
	}
	release := s.Programs.Releases + "/v" + version.String() + "/"
	sums, err := s.text(ctx, release+"pulumi-"+version.String()+"-checksums.txt")
	if err != nil {
		return out, err
	}
	want := checksum(sums, path.Base(out.File))
	if want == "" {
		return out, fmt.Errorf("its checksums (%s) do not have %s", release, path.Base(out.File))
	}
	e, err := s.download(ctx, w, out.File, func(do fetcher) (io.ReadCloser, int64, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, release+path.Base(out.File), nil)
		if err != nil {
			return nil, -1, err
		}
		return do(r)
	})
	if err == nil && e.sha256 != want {
		err = fmt.Errorf("the checksum of %s is %s, and should be %s", release+path.Base(out.File), e.sha256, want)
	}
	return out, err
}

// checksum is that of a file in a list of them, in hex.
func checksum(list, file string) string {
	for lines := bufio.NewScanner(strings.NewReader(list)); lines.Scan(); {
		if cells := strings.Fields(lines.Text()); len(cells) == 2 && strings.TrimPrefix(cells[1], "*") == file {
			return strings.ToLower(cells[0])
		}
	}
	return ""
}

// writePlugin takes the plugin that this machine has, or the one that Pulumi's own code
// downloads; nobody publishes checksums of those.
func (s *Saver) writePlugin(ctx context.Context, w *writer, platform docker.Platform, plugin workspace.PluginDescriptor) (program, error) {
	out := program{Name: plugin.Name, Version: plugin.Version.String(), Platform: platform,
		File: fmt.Sprintf("%s%s-v%s-%s-%s.tar.gz", programs, plugin.File(), plugin.Version, platform.OS, platform.Architecture)}
	s.what = fmt.Sprintf("plugin %s v%s for %s", plugin.Name, plugin.Version, platform)
	if platform == OwnPlatform && workspace.HasPlugin(plugin) {
		dir, err := plugin.DirPath()
		if err != nil {
			return out, err
		}
		files, err := regularFiles(dir)
		if err != nil {
			return out, err
		}
		return out, s.pack(ctx, w, out.File, dir, "", files)
	}
	source, err := plugin.GetSource()
	if err != nil {
		return out, err
	}
	_, err = s.download(ctx, w, out.File, func(do fetcher) (io.ReadCloser, int64, error) {
		return source.Download(ctx, *plugin.Version, platform.OS, platform.Architecture, do)
	})
	return out, err
}

type fetcher func(*http.Request) (io.ReadCloser, int64, error)

// download writes a file of the archive that comes by HTTP.
func (s *Saver) download(ctx context.Context, w *writer, file string, from func(fetcher) (io.ReadCloser, int64, error)) (e entry, err error) {
	err = s.again(ctx, func() error {
		done := s.done
		content, _, err := from(func(r *http.Request) (io.ReadCloser, int64, error) { return get(s.client, r) })
		if err != nil {
			return err
		}
		defer content.Close()
		if e, err = w.add(file, content); err != nil {
			s.done = done
		}
		return err
	})
	return e, reached(err)
}

// text fetches a small text.
func (s *Saver) text(ctx context.Context, from string) (text string, err error) {
	err = s.again(ctx, func() error {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
		if err != nil {
			return err
		}
		content, _, err := get(s.client, r)
		if err != nil {
			return err
		}
		defer content.Close()
		b, err := io.ReadAll(io.LimitReader(content, most))
		text = string(b)
		return err
	})
	return text, reached(err)
}

// reached adds the remedy of a host that is not reached.
func reached(err error) error {
	if failed := (*url.Error)(nil); errors.As(err, &failed) && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("%w; is the network there, and HTTPS_PROXY set where there is a proxy?", err)
	}
	return err
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// regularFiles are those below a folder, by their slashed paths in it.
func regularFiles(dir string) (files []string, err error) {
	err = filepath.WalkDir(dir, func(file string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		in, err := filepath.Rel(dir, file)
		files = append(files, filepath.ToSlash(in))
		return err
	})
	return files, err
}

// pack writes a .tar.gz with files of a folder, below another one in it.
func (s *Saver) pack(ctx context.Context, w *writer, name, dir, below string, files []string) error {
	read, write := io.Pipe()
	go func() {
		packed, err := gzip.NewWriterLevel(write, gzip.BestSpeed)
		out := tar.NewWriter(packed)
		for _, file := range files {
			if err == nil {
				err = cmp.Or(ctx.Err(), packFile(out, filepath.Join(dir, file), path.Join(below, file)))
			}
		}
		if err == nil {
			err = errors.Join(out.Close(), packed.Close())
		}
		write.CloseWithError(err)
	}()
	_, err := w.add(name, read)
	read.CloseWithError(io.ErrClosedPipe)
	return err
}

func packFile(out *tar.Writer, file, as string) error {
	content, err := os.Open(file)
	if err != nil {
		return err
	}
	defer content.Close()
	info, err := content.Stat()
	if err != nil {
		return err
	}
	if err := out.WriteHeader(&tar.Header{Name: as, Mode: int64(info.Mode().Perm()) | 0o200, Size: info.Size()}); err != nil {
		return err
	}
	_, err = io.Copy(out, content)
	return err
}
