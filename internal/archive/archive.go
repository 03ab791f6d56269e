// Package archive makes what a release's archive has beside the executable: the project's
// folder as it is where nothing is compiled.
package archive

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"go.yaml.in/yaml/v3"
)

// Runtime is the name of a release's runtime in its Pulumi.yaml, for which Pulumi looks for
// an executable pulumi-language-NAME (on Windows .exe or .cmd) in the folder of hosts.
const (
	Runtime = "bootcamp"
	hosts   = "runtime"
)

// SampleStack is the one that is worked on where none is named.
const SampleStack = "dev"

// sample is its configuration. It is the user's to change, so it is not in the archive under
// its own name: the next release is unpacked over this one.
const sample = "Pulumi." + SampleStack + ".yaml"

// Sample is the path of the sample stack's configuration in a release's folder.
const Sample = hosts + "/" + sample

// documents are copied as they are, files and folders.
var documents = []string{"README.md", "README.ja.md", "SECURITY.md", "docs"}

// starters lead from Pulumi to the executable, whose name Pulumi does not know.
var starters = map[string]string{
	"pulumi-language-" + Runtime: `#!/bin/sh
# What runs the lab's program for plain pulumi: the class tool, which has it inside.
exec "${0%/*}/../class" language-host "$@"
`,
	"pulumi-language-" + Runtime + ".cmd": "@\"%~dp0..\\class.exe\" language-host %*\r\n",
}

// Write makes the archive's content, of the source tree in root, in a folder that it empties
// first, if it made what is in it.
func Write(root, dir string) error {
	if found, err := os.ReadDir(dir); err == nil && len(found) > 0 {
		if _, err := os.Stat(filepath.Join(dir, hosts, "pulumi-language-"+Runtime)); err != nil {
			return fmt.Errorf("%s has something else in it; name another folder: %w", dir, err)
		}
		if _, err := os.Stat(filepath.Join(dir, ".bootcamp")); err == nil {
			return fmt.Errorf("%s is in use: labs have their state there (.bootcamp); name another folder", dir)
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, hosts), 0o755); err != nil {
		return err
	}
	for _, name := range documents {
		if err := copyAll(filepath.Join(root, name), filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	if err := copyAll(filepath.Join(root, sample), filepath.Join(dir, filepath.FromSlash(Sample))); err != nil {
		return err
	}
	for name, text := range starters {
		if err := os.WriteFile(filepath.Join(dir, hosts, name), []byte(text), 0o755); err != nil {
			return err
		}
	}
	source, err := os.ReadFile(filepath.Join(root, "Pulumi.yaml"))
	if err != nil {
		return err
	}
	project, err := Project(source)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "Pulumi.yaml"), project, 0o644)
}

func copyAll(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return os.CopyFS(to, os.DirFS(from))
	}
	b, err := os.ReadFile(from)
	return errors.Join(err, os.WriteFile(to, b, 0o644))
}

// Project makes a release's Pulumi.yaml of the source's: all keys, another runtime.
func Project(source []byte) ([]byte, error) {
	var file yaml.Node
	if err := yaml.Unmarshal(source, &file); err != nil {
		return nil, fmt.Errorf("the project's Pulumi.yaml: %w", err)
	}
	var plugins yaml.Node
	type host struct{ Name, Path string }
	if err := plugins.Encode(map[string][]host{"languages": {{Runtime, hosts}}}); err != nil {
		return nil, err
	}
	top := file.Content[0]
	at := slices.IndexFunc(top.Content, func(n *yaml.Node) bool { return n.Value == "runtime" })
	if at < 0 {
		return nil, errors.New("no runtime in Pulumi.yaml")
	}
	text := func(value string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: value} }
	top.Content = slices.Replace(top.Content, at+1, at+2, text(Runtime), text("plugins"), &plugins)
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	err := errors.Join(encoder.Encode(&file), encoder.Close())
	return out.Bytes(), err
}
