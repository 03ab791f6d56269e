// Package kubeconfig hands a lab's kubeconfig to people: as a file of its own,
// or merged into the user's where they ask for it. It remembers what it wrote,
// so that it can be taken back.
package kubeconfig

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// FileName is the default name of a stack's own file.
func FileName(stack string) string { return "kubeconfig-" + stack + ".yaml" }

// Record is one thing that was written for a stack.
type Record struct {
	File   string `json:"file"`
	Merged bool   `json:"merged"` // into a file that may hold others too
	Made   bool   `json:"made"`   // the merge made that file
	// The names of what was written.
	Context string `json:"context"`
	Cluster string `json:"cluster"`
	User    string `json:"user"`
}

// Book remembers the records of each stack in a folder, a file a stack.
type Book struct{ Dir string }

func (b Book) file(stack string) string { return filepath.Join(b.Dir, stack+".json") }

// Records are those of a stack.
func (b Book) Records(stack string) ([]Record, error) {
	raw, err := os.ReadFile(b.file(stack))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []Record
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf("%s: %w", b.file(stack), err)
	}
	return list, nil
}

func (b Book) add(stack string, r Record) error {
	list, err := b.Records(stack)
	if err != nil {
		return err
	}
	same := func(old Record) bool { return old.File == r.File && old.Merged == r.Merged && old.Context == r.Context }
	if slices.ContainsFunc(list, same) {
		return nil
	}
	raw, err := json.MarshalIndent(append(list, r), "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(b.Dir, 0o700); err != nil {
		return err
	}
	return replaceFile(b.file(stack), raw)
}

// Write writes a stack's kubeconfig to a file of its own, mode 0600. A file that
// is there is replaced only if it has no other context.
func (b Book) Write(stack, file string, kubeconfig []byte) error {
	file, err := filepath.Abs(file)
	if err != nil {
		return err
	}
	r, _, err := read(kubeconfig)
	if err != nil {
		return err
	}
	old, err := clientcmd.LoadFromFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("%s is there and is no kubeconfig, so it was left alone: %w", file, err)
	case !only(old, r.Context):
		return fmt.Errorf("%s holds other contexts too, so it was left alone; use --merge, or another --output", file)
	}
	if err := replaceFile(file, kubeconfig); err != nil {
		return err
	}
	r.File = file
	return b.add(stack, r)
}

// only tells whether a kubeconfig has no context but this one.
func only(c *api.Config, context string) bool {
	for name := range c.Contexts {
		if name != context {
			return false
		}
	}
	return true
}

// Merge adds a stack's kubeconfig to the user's own ($KUBECONFIG, or
// ~/.kube/config) and returns that file. All else in it stays; the current
// context is set only where there is none.
func (b Book) Merge(stack string, kubeconfig []byte) (string, error) {
	r, add, err := read(kubeconfig)
	if err != nil {
		return "", err
	}
	access := userConfig()
	config, err := access.GetStartingConfig()
	if err != nil {
		return "", fmt.Errorf("your kubeconfig: %w", err)
	}
	// An entry of the name that lies in one of several files stays there.
	file := access.GetDefaultFilename()
	if old, ok := config.Contexts[r.Context]; ok && old.LocationOfOrigin != "" {
		file = old.LocationOfOrigin
	}
	context, cluster, user := *add.Contexts[r.Context], *add.Clusters[r.Cluster], *add.AuthInfos[r.User]
	context.LocationOfOrigin, cluster.LocationOfOrigin, user.LocationOfOrigin = file, file, file
	config.Contexts[r.Context], config.Clusters[r.Cluster], config.AuthInfos[r.User] = &context, &cluster, &user
	if config.CurrentContext == "" {
		config.CurrentContext = r.Context
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return "", err
	}
	_, err = os.Stat(file)
	made := errors.Is(err, fs.ErrNotExist)
	if err := clientcmd.ModifyConfig(access, *config, false); err != nil {
		return "", fmt.Errorf("your kubeconfig: %w", err)
	}
	r.File, r.Merged, r.Made = file, true, made
	return file, b.add(stack, r)
}

// Remove takes back what was written for a stack. What was changed since then,
// or cannot be removed, is an error that names it; the rest goes all the same.
func (b Book) Remove(stack string) (removed []string, err error) {
	list, err := b.Records(stack)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, r := range list {
		undo := b.unwrite
		if r.Merged {
			undo = b.unmerge
		}
		done, err := undo(r)
		if err != nil {
			errs = append(errs, fmt.Errorf("the kubeconfig %s stays: %w", r.File, err))
		} else if done {
			removed = append(removed, r.File)
		}
	}
	if len(errs) == 0 {
		if err := os.Remove(b.file(stack)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return removed, errors.Join(errs...)
}

func (b Book) unwrite(r Record) (bool, error) {
	config, err := clientcmd.LoadFromFile(r.File)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if !only(config, r.Context) {
		return false, errors.New("other contexts were added to it")
	}
	return true, os.Remove(r.File)
}

func (b Book) unmerge(r Record) (bool, error) {
	access := &clientcmd.PathOptions{GlobalFile: r.File, LoadingRules: &clientcmd.ClientConfigLoadingRules{ExplicitPath: r.File}}
	if _, err := os.Stat(r.File); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	config, err := access.GetStartingConfig()
	if err != nil {
		return false, err
	}
	before := config.DeepCopy()
	delete(config.Contexts, r.Context)
	delete(config.Clusters, r.Cluster)
	delete(config.AuthInfos, r.User)
	if config.CurrentContext == r.Context {
		config.CurrentContext = ""
	}
	if reflect.DeepEqual(before, config) {
		return false, nil
	}
	if r.Made && len(config.Contexts)+len(config.Clusters)+len(config.AuthInfos) == 0 {
		return true, os.Remove(r.File)
	}
	return true, clientcmd.ModifyConfig(access, *config, false)
}

// Stale are the files of a stack whose content is no longer its kubeconfig.
func (b Book) Stale(stack string, kubeconfig []byte) ([]string, error) {
	list, err := b.Records(stack)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	_, now, err := read(kubeconfig)
	if err != nil {
		return nil, err
	}
	var stale []string
	for _, r := range list {
		config, err := clientcmd.LoadFromFile(r.File)
		if err != nil {
			continue // taken away since; nobody uses it
		}
		then, ok := config.Clusters[r.Cluster]
		is := now.Clusters[r.Cluster]
		if ok && (is == nil || then.Server != is.Server || !bytes.Equal(then.CertificateAuthorityData, is.CertificateAuthorityData)) {
			stale = append(stale, r.File)
		}
	}
	return stale, nil
}

// read takes the current context of a kubeconfig.
func read(kubeconfig []byte) (Record, *api.Config, error) {
	config, err := clientcmd.Load(kubeconfig)
	if err != nil {
		return Record{}, nil, fmt.Errorf("the stack's kubeconfig: %w", err)
	}
	context, ok := config.Contexts[config.CurrentContext]
	if !ok {
		return Record{}, nil, fmt.Errorf("the stack's kubeconfig has no context %q", config.CurrentContext)
	}
	r := Record{Context: config.CurrentContext, Cluster: context.Cluster, User: context.AuthInfo}
	if config.Clusters[r.Cluster] == nil || config.AuthInfos[r.User] == nil {
		return Record{}, nil, fmt.Errorf("the stack's kubeconfig lacks cluster %q or user %q of its context", r.Cluster, r.User)
	}
	return r, config, nil
}

func userConfig() *clientcmd.PathOptions {
	p := clientcmd.NewDefaultPathOptions()
	if home, err := os.UserHomeDir(); err == nil {
		p.GlobalFile = filepath.Join(home, clientcmd.RecommendedHomeDir, clientcmd.RecommendedFileName)
	}
	return p
}

// replaceFile writes a file of mode 0600 that is never seen half.
func replaceFile(file string, content []byte) error {
	temp, err := os.CreateTemp(filepath.Dir(file), ".kubeconfig-*.yaml") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	if _, err = temp.Write(content); err == nil {
		err = temp.Sync()
	}
	if err = errors.Join(err, temp.Close()); err != nil {
		return err
	}
	return os.Rename(temp.Name(), file)
}
