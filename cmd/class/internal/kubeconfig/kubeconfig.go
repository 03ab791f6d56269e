// Package kubeconfig hands a lab's kubeconfig to people as kind and kubectl do: as
// a file of its own, or as one entry of the user's kubeconfig, known by its name.
package kubeconfig

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/rogpeppe/go-internal/robustio"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// ErrLeftAlone is in the error about a file, or an entry, that is not the lab's.
var ErrLeftAlone = errors.New("left alone")

// lockTimeout is how long other programs may take to change a kubeconfig.
var lockTimeout = 10 * time.Second

// Entry is a lab's in a kubeconfig: a context, a cluster and a user of one name.
type Entry struct {
	Name string
	// Server is the API server's URL, "" where it is not known any more. One on
	// loopback is as good as any other there, since a kind cluster that is rebuilt
	// has another port; where it is not known, only one on loopback is the lab's.
	Server string
}

// Read returns the entry that a lab's kubeconfig has.
func Read(kubeconfig []byte) (Entry, error) {
	c, err := clientcmd.Load(kubeconfig)
	if err != nil {
		return Entry{}, fmt.Errorf("the lab's kubeconfig: %w", err)
	}
	name := c.CurrentContext
	if c.Contexts[name] == nil || c.Clusters[name] == nil || c.AuthInfos[name] == nil {
		return Entry{}, fmt.Errorf("the lab's kubeconfig lacks a context, cluster or user of its current context's name, %q", name)
	}
	return Entry{name, c.Clusters[name].Server}, nil
}

// Write writes a lab's kubeconfig to a file of mode 0600, which is never seen
// half. A file that is there and is not the lab's kubeconfig is ErrLeftAlone.
func Write(file string, kubeconfig []byte) error {
	e, err := Read(kubeconfig)
	if err != nil {
		return err
	}
	if err := e.alone(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", file, err)
	}
	temp, err := os.CreateTemp(filepath.Dir(file), ".kubeconfig-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	_, err = temp.Write(kubeconfig)
	if err = errors.Join(err, temp.Close()); err != nil {
		return err
	}
	return robustio.Rename(temp.Name(), file)
}

// Merge makes a lab's kubeconfig an entry of the user's, and returns the file: that
// of $KUBECONFIG's which has the entry, else where kubectl would write. All else
// stays; the current context is set only where there is none. An entry of the name
// that is not the lab's is ErrLeftAlone.
func Merge(kubeconfig []byte) (file string, err error) {
	e, err := Read(kubeconfig)
	if err != nil {
		return "", err
	}
	lab, _ := clientcmd.Load(kubeconfig) // as Read did
	all, err := users().GetStartingConfig()
	if err != nil {
		return "", fmt.Errorf("your kubeconfig: %w", err)
	}
	file = users().GetDefaultFilename()
	if old := all.Contexts[e.Name]; old != nil {
		file = old.LocationOfOrigin
	}
	err = e.change(file, func(c *api.Config) {
		c.Contexts[e.Name], c.Clusters[e.Name], c.AuthInfos[e.Name] = lab.Contexts[e.Name], lab.Clusters[e.Name], lab.AuthInfos[e.Name]
		if all.CurrentContext == "" && c.CurrentContext == "" {
			c.CurrentContext = e.Name
		}
	})
	if err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	return file, nil
}

// Known tells whether there may be anything for Remove to do: the file is there, or a
// kubeconfig of the user's has something of that name or cannot be read.
func Known(name, file string) bool {
	if _, err := os.Lstat(file); err == nil {
		return true
	}
	return slices.ContainsFunc(users().GetLoadingPrecedence(), func(file string) bool {
		c, err := clientcmd.LoadFromFile(file)
		if err != nil {
			return !errors.Is(err, fs.ErrNotExist)
		}
		return c.Contexts[name] != nil || c.Clusters[name] != nil || c.AuthInfos[name] != nil
	})
}

// Remove removes the file that Write made, and the entry that Merge made, and
// returns the files that it removed or changed. What is not the lab's, or not the
// lab's alone, is ErrLeftAlone; the rest goes all the same.
func (e Entry) Remove(file string) (removed []string, err error) {
	var errs []error
	done := func(file string, err error) {
		if err == nil {
			removed = append(removed, file)
		} else if !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("%s: %w", file, err))
		}
	}
	if err = e.alone(file); err == nil {
		err = os.Remove(file)
	}
	done(file, err)
	for _, file := range users().GetLoadingPrecedence() {
		c, err := clientcmd.LoadFromFile(file)
		if err == nil {
			err = e.in(c)
		}
		if err == nil {
			err = e.change(file, func(c *api.Config) {
				delete(c.Contexts, e.Name)
				delete(c.Clusters, e.Name)
				delete(c.AuthInfos, e.Name)
				if c.CurrentContext == e.Name {
					c.CurrentContext = ""
				}
			})
		}
		done(file, err)
	}
	return removed, errors.Join(errs...)
}

// alone is nil if a file is a kubeconfig with the lab's context and no other; it is
// fs.ErrNotExist or ErrLeftAlone.
func (e Entry) alone(file string) error {
	c, err := clientcmd.LoadFromFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err != nil || len(c.Contexts) != 1 || c.Contexts[e.Name] == nil {
		return fmt.Errorf("it is not the kubeconfig of %s alone; %w", e.Name, ErrLeftAlone)
	}
	return nil
}

// in is nil if a kubeconfig has the entry, and has it as the lab's. It is
// fs.ErrNotExist if nothing in it has the name, and ErrLeftAlone if that is another's.
func (e Entry) in(c *api.Config) error {
	context, cluster, user := c.Contexts[e.Name], c.Clusters[e.Name], c.AuthInfos[e.Name]
	if context == nil && cluster == nil && user == nil {
		return fs.ErrNotExist
	}
	if cluster == nil || context != nil && (context.Cluster != e.Name || context.AuthInfo != e.Name) ||
		cluster.Server != e.Server && !(loopback(cluster.Server) && (e.Server == "" || loopback(e.Server))) {
		return fmt.Errorf("its entry %s is not this lab's; %w", e.Name, ErrLeftAlone)
	}
	return nil
}

func loopback(server string) bool {
	u, err := url.Parse(server)
	return err == nil && (u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback())
}

// users is the user's kubeconfig: $KUBECONFIG, or ~/.kube/config.
func users() *clientcmd.PathOptions {
	p := clientcmd.NewDefaultPathOptions()
	if home, err := os.UserHomeDir(); err == nil { // as it is now, and not when this program began
		p.GlobalFile = filepath.Join(home, clientcmd.RecommendedHomeDir, clientcmd.RecommendedFileName)
	}
	return p
}

// change edits a kubeconfig, if what it has of the entry's name is the lab's. It
// takes the lock file that kubectl and kind take; they fail where it is taken, this
// waits, so that all of many merges at once get through.
func (e Entry) change(file string, edit func(*api.Config)) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	lock := file + ".lock"
	err := wait.PollUntilContextTimeout(context.Background(), 10*time.Millisecond, lockTimeout, true, func(context.Context) (bool, error) {
		f, err := os.OpenFile(lock, os.O_CREATE|os.O_EXCL, 0)
		if errors.Is(err, fs.ErrExist) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		return true, f.Close()
	})
	if wait.Interrupted(err) {
		return fmt.Errorf("another program is changing it; if none is, remove %s", lock)
	}
	if err != nil {
		return err
	}
	defer os.Remove(lock)
	c, err := clientcmd.LoadFromFile(file)
	if err == nil {
		err = e.in(c)
	} else {
		c = api.NewConfig()
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	edit(c)
	return clientcmd.WriteToFile(*c, file)
}
