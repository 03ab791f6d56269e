// Package kindcluster makes and removes the kind cluster of one stack, safely
// to repeat: a run that was killed half-way is picked up by the next one, and a
// cluster that the stack did not make is never touched.
//
// Whose a cluster is stands on its containers from the moment they exist: each
// node has a mount whose path carries the stack's claim and the configuration's
// hash (a node label would exist only once the API server answers, which a
// half-built cluster never reaches).
package kindcluster

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"path"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"

	"k8sbootcamp/internal/hostlock"
)

// Limits of one run. None of them is met by a healthy machine; they are there
// so that a class never waits for ever.
const (
	// ReadyTimeout is how long a new cluster's nodes may take to be Ready.
	ReadyTimeout = 5 * time.Minute
	// adoptTimeout is how long the nodes of a finished cluster may take.
	adoptTimeout = time.Minute
	// reviveTimeout is how long the nodes may take that were stopped; what comes after
	// it costs the student's work, and laptops are slow.
	reviveTimeout = 5 * time.Minute
	// probeTimeout is how long a pod of theirs may take to answer.
	probeTimeout = 3 * time.Minute
	// probePatience is how long it is waited for before another one is tried, twice as
	// long each time.
	probePatience = 6 * time.Second
)

// Tool is the name of the tool (`./class kindcluster`) that Pulumi's commands run,
// and its verbs.
const (
	Tool           = "kindcluster"
	VerbClaim      = "claim"      // print the stack's claim
	VerbPrepare    = "prepare"    // have ready what the cluster needs of the host
	VerbCreate     = "create"     // make the cluster exist, print its kubeconfig
	VerbKubeconfig = "kubeconfig" // print its kubeconfig
	VerbDelete     = "delete"     // remove it if it has the claim
)

// EnvPrinted is what a command's create printed; the command plugin hands it to
// update and delete.
const EnvPrinted = "PULUMI_COMMAND_STDOUT"

// Environment variables that name the cluster to the tool.
const (
	EnvName  = "BOOTCAMP_CLUSTER"
	EnvClaim = "BOOTCAMP_CLAIM"
	EnvMade  = "BOOTCAMP_CLUSTER_MADE" // read by nobody: another one runs a command again
)

// markRoot is the folder, inside a node, of the mount that tells the owner.
const markRoot = "/kind/bootcamp"

// What may be wrong; errors.Is finds them in the errors of this package.
var (
	// ErrForeign: the cluster's name is taken by a cluster that another stack, or
	// somebody by hand, made.
	ErrForeign = errors.New("belongs to another stack")
	// ErrGone: there is no cluster of the name.
	ErrGone = errors.New("is gone")
	// ErrLeft: Docker says that a cluster is deleted, and containers are there still.
	ErrLeft = errors.New("could not be removed")
	// ErrNotReady: nodes are missing, or they or what rules them do not work.
	ErrNotReady = errors.New("not all nodes work")
	// ErrPort: a port of the host that the cluster is to have is another's.
	ErrPort = errors.New("cannot be used")
	// ErrConfig: kind's configuration has an error.
	ErrConfig = errors.New("the kind configuration on standard input")
	// ErrName and ErrClaim: an Identity's field cannot be used.
	ErrName  = fmt.Errorf("allowed are 1 to %d of a-z, 0-9 and '-'", maxName)
	ErrClaim = errors.New("allowed are 32 hexadecimal digits")
)

// NewClaim returns a fresh claim: 128 random bits in hex, a stack's own mark.
func NewClaim() string {
	b := make([]byte, 16)
	rand.Read(b) //nolint:errcheck // crypto/rand.Read never fails since Go 1.24
	return hex.EncodeToString(b)
}

// Identity is a cluster and whose it is.
type Identity struct {
	Name  string // kind's name of it
	Claim string // the stack's mark, from NewClaim
}

// Validate reports every field that cannot be used: ErrName, ErrClaim, or both.
func (c Identity) Validate() error {
	var errs []error
	if !ValidName(c.Name) {
		errs = append(errs, fmt.Errorf("cluster name %q: %w", c.Name, ErrName))
	}
	if b, err := hex.DecodeString(c.Claim); err != nil || len(b) != 16 {
		errs = append(errs, fmt.Errorf("claim %q: %w", c.Claim, ErrClaim))
	}
	return errors.Join(errs...)
}

// Container is a node of a kind cluster, as Docker knows it.
type Container struct {
	Name    string
	Running bool      // and not paused
	Started time.Time // the last time
	Address string    // in kind's network; empty where it does not run
	Mounts  []string  // paths inside the container

	ControlPlane bool
}

// Driver is what this package asks of kind and of Docker.
type Driver interface {
	// Ping returns an error that says what to do where Docker does not answer.
	Ping(ctx context.Context) error
	// Containers lists the nodes of a cluster, running or not.
	Containers(ctx context.Context, cluster string) ([]Container, error)
	// Pull makes sure that Docker has an image, and returns the name that it has it
	// under; progress goes to log.
	Pull(ctx context.Context, image string, log io.Writer) (as string, err error)
	// Publisher tells which container publishes a port of the host, and the kind cluster
	// that it is of; both are empty where none does.
	Publisher(ctx context.Context, port int) (container, cluster string, err error)
	// Create builds the cluster; where it fails, nothing of it is left.
	Create(ctx context.Context, cluster string, config *v1alpha4.Cluster) error
	// Delete removes all nodes of the cluster.
	Delete(ctx context.Context, cluster string) error
	// Ready asks once whether that many nodes are there, at the addresses of their
	// containers, and they and the controllers have been at work since those were
	// started. Its error is ErrNotReady and says who is not.
	Ready(ctx context.Context, cluster string, nodes int) error
	// WaitReady returns once Ready has no error, or its last one.
	WaitReady(ctx context.Context, cluster string, nodes int, limit time.Duration) error
	// Probe returns once a new pod on every node has answered, or ErrNotReady.
	Probe(ctx context.Context, cluster string) error
	// Kubeconfig returns the administrator's kubeconfig, and Admin the way to the cluster
	// for who only asks it something, sooner.
	Kubeconfig(ctx context.Context, cluster string) (string, error)
	Admin(ctx context.Context, cluster string) (Admin, error)
	// Start starts the nodes that do not run, and Stop stops all.
	Start(ctx context.Context, cluster string) error
	Stop(ctx context.Context, cluster string) error
	// ByName lets nothing on the control plane depend on its address, once it is
	// started again or RestartKubelet is called; it tells whether something did.
	ByName(ctx context.Context, cluster string) (changed bool, err error)
	RestartKubelet(ctx context.Context, cluster string) error
	// Mirror has a node ask the mirror of that URL first for all images, or, where it is
	// empty, no mirror.
	Mirror(ctx context.Context, node, url string) error
	// Finish marks the cluster as built to the end, and Finished asks for the mark.
	Finish(ctx context.Context, cluster string) error
	Finished(ctx context.Context, cluster string) bool
}

// Admin is the administrator's way to a cluster.
type Admin struct {
	Kubeconfig []byte // YAML, kubeadm's own: of another server's address
	Server     string // URL of the API server, from this machine
}

// Manager does the work with a driver, one run at a time for each cluster.
type Manager struct {
	Driver Driver
	Log    io.Writer            // progress, line by line; nil is none
	Limits func() InotifyLimits // of this host; nil is Inotify
}

func (m *Manager) say(format string, a ...any) {
	if m.Log != nil {
		fmt.Fprintf(m.Log, format+"\n", a...)
	}
}

// Ensure makes the cluster exist with the configuration (kind's v1alpha4, in
// YAML) and returns its kubeconfig. A finished, healthy cluster of the same
// claim and configuration is adopted; anything else of the same claim is
// rebuilt; a cluster with another claim or none is ErrForeign, and untouched.
func (m *Manager) Ensure(ctx context.Context, c Identity, config []byte) (string, error) {
	if err := c.Validate(); err != nil {
		return "", err
	}
	wanted, err := decode(config)
	if err != nil {
		return "", err
	}
	unlock, err := m.start(ctx, c.Name)
	if err != nil {
		return "", err
	}
	defer unlock()

	mark := MarkPath(c.Claim, config)
	found, err := m.Driver.Containers(ctx, c.Name)
	if err != nil {
		return "", err
	}
	switch {
	case len(found) == 0:
	case !Owned(found, c.Claim):
		return "", Foreign(c.Name, found)
	case m.adoptable(ctx, c.Name, found, mark, len(wanted.Nodes)):
		m.say("cluster %s is there already, built by this stack and healthy", c.Name)
		return m.Driver.Kubeconfig(ctx, c.Name)
	case ctx.Err() != nil: // the look at it was cut short: it may be healthy
		return "", ctx.Err()
	default:
		m.say("cluster %s was left unfinished or has another shape; rebuilding it", c.Name)
		if err := m.pull(ctx, wanted); err != nil { // before anything is given up
			return "", err
		}
		if err := m.remove(ctx, c.Name); err != nil {
			return "", err
		}
	}
	return m.build(ctx, c.Name, wanted, mark)
}

// Prepare has ready what a cluster of this configuration needs of the host: Docker has the
// image of its nodes, and its ports are free or the cluster's own. A cluster of this shape
// that runs has it all. Its error is ErrPort, ErrForeign, ErrConfig or another of Ensure's:
// what was there before is as it was.
func (m *Manager) Prepare(ctx context.Context, c Identity, config []byte) error {
	if err := c.Validate(); err != nil {
		return err
	}
	wanted, err := decode(config)
	if err != nil {
		return err
	}
	if err := m.Driver.Ping(ctx); err != nil {
		return err
	}
	found, err := m.Driver.Containers(ctx, c.Name)
	switch {
	case err != nil:
		return err
	case len(found) > 0 && !Owned(found, c.Claim):
		return Foreign(c.Name, found)
	case len(found) == len(wanted.Nodes) && allMarked(found, MarkPath(c.Claim, config)) && allRun(found):
		return nil
	}
	for _, node := range wanted.Nodes {
		for _, mapping := range node.ExtraPortMappings {
			if err == nil {
				err = m.portFits(ctx, c.Name, int(mapping.HostPort))
			}
		}
	}
	if err == nil {
		err = m.pull(ctx, wanted)
	}
	if err != nil && len(found) > 0 { // whose lab it is should know
		err = fmt.Errorf("cluster %s stays as it is: %w", c.Name, err)
	}
	return err
}

// portFits looks for who has a port of the host.
func (m *Manager) portFits(ctx context.Context, cluster string, port int) error {
	container, of, err := m.Driver.Publisher(ctx, port)
	switch {
	case err != nil:
		return err
	case of == cluster:
		return nil
	case container != "":
		return fmt.Errorf("hostPort %d %w: container %s has it; end that container or set another hostPort", port, ErrPort, container)
	}
	if taken := PortTaken(port); taken != nil && !errors.Is(taken, fs.ErrPermission) { // which Docker may have
		return fmt.Errorf("hostPort %d %w (%w); end the program that has it or set another hostPort", port, ErrPort, taken)
	}
	return nil
}

// PortTaken returns why a port of 127.0.0.1 cannot be used: fs.ErrPermission where nobody
// has it, and this user may not. It sees no container's port on every machine; Docker tells
// of those.
func PortTaken(port int) error {
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	l, err := net.Listen("tcp", address)
	if err == nil {
		return l.Close()
	}
	if refusedByWindows(runtime.GOOS, err) {
		return fmt.Errorf("%w (%w)", fs.ErrPermission, err)
	}
	if errors.Is(err, fs.ErrPermission) { // which Linux says before it looks for who has it
		if c, failed := net.DialTimeout("tcp", address, time.Second); failed == nil {
			c.Close()
			return fmt.Errorf("listen tcp %s: another program listens there", address)
		}
	}
	return err
}

// refusedByWindows tells whether Windows keeps a port for itself (WSAEACCES), which Go does
// not take for fs.ErrPermission.
func refusedByWindows(goos string, err error) bool {
	const accessDenied = syscall.Errno(10013)
	return goos == "windows" && errors.Is(err, accessDenied)
}

func (m *Manager) build(ctx context.Context, name string, config *v1alpha4.Cluster, mark string) (_ string, err error) {
	if err := m.pull(ctx, config); err != nil {
		return "", err
	}
	for i := range config.Nodes {
		config.Nodes[i].ExtraMounts = append(config.Nodes[i].ExtraMounts,
			v1alpha4.Mount{HostPath: "/dev/null", ContainerPath: mark, Readonly: true})
	}
	read := m.Limits
	if read == nil {
		read = Inotify
	}
	limits := read()
	if limits.Low() {
		m.say("warning: %s", limits)
	}
	defer func() {
		if err != nil && limits.Low() {
			err = &InotifyError{limits, err}
		}
	}()
	err = m.Driver.Create(ctx, name, config)
	if err != nil && ctx.Err() == nil && strings.Contains(err.Error(), "address already in use") {
		// kind looks for a free port first and takes it later; another program
		// was faster. A port of the configuration's own fails again, as it should.
		m.say("a port was taken in the meantime; trying again")
		err = m.Driver.Create(ctx, name, config)
	}
	if err != nil {
		return "", err
	}
	err = m.Driver.WaitReady(ctx, name, len(config.Nodes), ReadyTimeout)
	if err == nil {
		_, err = m.Driver.ByName(ctx, name)
	}
	if err == nil {
		err = m.Driver.Finish(ctx, name)
	}
	if err != nil { // nothing half-built stays behind
		return "", errors.Join(err, m.remove(context.WithoutCancel(ctx), name))
	}
	return m.Driver.Kubeconfig(ctx, name)
}

// pull makes sure that Docker has the images of a cluster's nodes, and names them as it
// finds them.
func (m *Manager) pull(ctx context.Context, config *v1alpha4.Cluster) error {
	log := m.Log
	if log == nil {
		log = io.Discard
	}
	has := map[string]string{}
	for i := range config.Nodes {
		image := config.Nodes[i].Image
		if image == "" { // kind has one of its own
			continue
		}
		if _, asked := has[image]; !asked {
			as, err := m.Driver.Pull(ctx, image, log)
			if err != nil {
				return err
			}
			has[image] = as
		}
		config.Nodes[i].Image = has[image]
	}
	return nil
}

func (m *Manager) adoptable(ctx context.Context, name string, found []Container, mark string, nodes int) bool {
	if len(found) != nodes || !allMarked(found, mark) || !allRun(found) {
		return false
	}
	return m.Driver.Finished(ctx, name) && m.Driver.WaitReady(ctx, name, nodes, adoptTimeout) == nil
}

// Revive makes a finished cluster that was stopped, or does not work, work again
// with all that is in it. Its error is ErrNotReady where that does not help.
func (m *Manager) Revive(ctx context.Context, name string, nodes int) error {
	unlock, err := m.start(ctx, name)
	if err != nil {
		return err
	}
	defer unlock()
	before, err := m.Driver.Containers(ctx, name)
	if err != nil {
		return err
	}
	stopped := slices.ContainsFunc(before, func(c Container) bool { return !c.Running })
	err = m.comeBack(ctx, name, nodes)
	if stopped || !errors.Is(err, ErrNotReady) || ctx.Err() != nil {
		return err
	}
	m.say("%v; its nodes are restarted", err)
	if err := m.Driver.Stop(ctx, name); err != nil {
		return err
	}
	return m.comeBack(ctx, name, nodes)
}

func (m *Manager) comeBack(ctx context.Context, name string, nodes int) error {
	if err := m.Driver.Start(ctx, name); err != nil {
		return err
	}
	changed, err := m.Driver.ByName(ctx, name)
	if err == nil && changed {
		err = m.Driver.RestartKubelet(ctx, name)
	}
	if err == nil {
		err = m.Driver.WaitReady(ctx, name, nodes, reviveTimeout)
	}
	if err == nil {
		err = m.Driver.Probe(ctx, name)
	}
	return err
}

// Kubeconfig returns the kubeconfig of the stack's cluster. Its error is ErrGone
// where there is none, and ErrForeign where it is another's.
func (m *Manager) Kubeconfig(ctx context.Context, c Identity) (out string, err error) {
	err = m.withOwn(ctx, c, func() error {
		out, err = m.Driver.Kubeconfig(ctx, c.Name)
		return err
	})
	return out, err
}

// Admin returns the way to the stack's cluster. Its errors are as Kubeconfig's.
func (m *Manager) Admin(ctx context.Context, c Identity) (out Admin, err error) {
	err = m.withOwn(ctx, c, func() error {
		out, err = m.Driver.Admin(ctx, c.Name)
		return err
	})
	return out, err
}

// withOwn does something with the stack's cluster, once nobody else works on it.
func (m *Manager) withOwn(ctx context.Context, c Identity, do func() error) error {
	if err := c.Validate(); err != nil {
		return err
	}
	unlock, err := m.start(ctx, c.Name)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := m.own(ctx, c); err != nil {
		return err
	}
	return do()
}

// Nodes returns those of the stack's cluster, and waits for no other run. Its errors are
// as Kubeconfig's.
func (m *Manager) Nodes(ctx context.Context, c Identity) ([]Container, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return m.own(ctx, c)
}

// own returns the nodes of the stack's cluster, or ErrGone or ErrForeign.
func (m *Manager) own(ctx context.Context, c Identity) ([]Container, error) {
	found, err := m.Driver.Containers(ctx, c.Name)
	switch {
	case err != nil:
		return nil, err
	case len(found) == 0:
		return nil, fmt.Errorf("cluster %s %w; rebuild it with `./class up`, or with `pulumi up --replace` and its URN", c.Name, ErrGone)
	case !Owned(found, c.Claim):
		return nil, Foreign(c.Name, found)
	}
	return found, nil
}

// Delete removes the stack's cluster, finished or not. A cluster that is gone
// is no error; one of the same name that the stack did not make stays.
func (m *Manager) Delete(ctx context.Context, c Identity) error {
	if err := c.Validate(); err != nil {
		return err
	}
	unlock, err := m.start(ctx, c.Name)
	if err != nil {
		return err
	}
	defer unlock()
	found, err := m.Driver.Containers(ctx, c.Name)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return nil
	}
	if !Owned(found, c.Claim) {
		m.say("cluster %s (%s) belongs to another stack; left alone", c.Name, strings.Join(Names(found), " "))
		return nil
	}
	return m.remove(ctx, c.Name)
}

// remove deletes a cluster and proves that it is gone, or returns ErrLeft.
func (m *Manager) remove(ctx context.Context, name string) error {
	err := m.Driver.Delete(ctx, name)
	if err != nil && ctx.Err() == nil {
		// Docker on a busy machine gives up waiting for a container that does end.
		m.say("trying again: %v", err)
		err = m.Driver.Delete(ctx, name)
	}
	if err != nil {
		return err
	}
	left, err := m.Driver.Containers(ctx, name)
	if err != nil {
		return err
	}
	if len(left) > 0 {
		all := strings.Join(Names(left), " ")
		return fmt.Errorf("cluster %s: these containers %w: %s; try `docker rm -f %s`", name, ErrLeft, all, all)
	}
	return nil
}

func (m *Manager) start(ctx context.Context, name string) (unlock func(), err error) {
	if err := m.Driver.Ping(ctx); err != nil {
		return nil, err
	}
	// The other may be the orphan of a killed `pulumi up`, which is still building.
	return hostlock.Take(ctx, name, func() {
		m.say("another run is still at work on cluster %s; waiting for it", name)
	})
}

// Foreign is the error of a cluster's name that another's cluster has. It is
// ErrForeign.
func Foreign(name string, found []Container) error {
	return fmt.Errorf("the kind cluster %s (%s) %w; left alone. "+
		"Use another stack name, or, if nobody needs that cluster, remove it: `./class kind delete cluster --name %s`",
		name, strings.Join(Names(found), " "), ErrForeign, name)
}

// Names are those of the containers.
func Names(found []Container) []string {
	out := make([]string, len(found))
	for i, f := range found {
		out[i] = f.Name
	}
	return out
}

func claimPath(claim string) string { return path.Join(markRoot, claim) }

// MarkPath is the mount, inside every node, that tells whose a cluster is and of
// which configuration it was made.
func MarkPath(claim string, config []byte) string {
	sum := sha256.Sum256(config)
	return path.Join(claimPath(claim), hex.EncodeToString(sum[:8]))
}

// Owned tells whether all of these nodes were made by the stack with this claim.
// No nodes are nobody's.
func Owned(found []Container, claim string) bool {
	return claim != "" && allMarked(found, claimPath(claim))
}

func allRun(found []Container) bool {
	return !slices.ContainsFunc(found, func(c Container) bool { return !c.Running })
}

// allMarked tells whether every container has a mount at or below the path.
func allMarked(found []Container, at string) bool {
	for _, f := range found {
		marked := false
		for _, mount := range f.Mounts {
			marked = marked || mount == at || strings.HasPrefix(mount, at+"/")
		}
		if !marked {
			return false
		}
	}
	return len(found) > 0
}

func decode(config []byte) (*v1alpha4.Cluster, error) {
	dec := yaml.NewDecoder(strings.NewReader(string(config)))
	dec.KnownFields(true)
	out := &v1alpha4.Cluster{}
	if err := dec.Decode(out); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if len(out.Nodes) == 0 {
		return nil, fmt.Errorf("%w has no nodes", ErrConfig)
	}
	return out, nil
}
