package engine

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pulumi/pulumi/pkg/v3/resource/deploy/deploytest"
	"github.com/pulumi/pulumi/pkg/v3/resource/plugin"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"

	"k8sbootcamp/internal/certificate"
	"k8sbootcamp/internal/fake"
	"k8sbootcamp/internal/hostimages"
	"k8sbootcamp/internal/kindcluster"
	"k8sbootcamp/internal/password"
	"k8sbootcamp/internal/sharedcluster"
	"k8sbootcamp/internal/takeover"
)

// The two providers behave as the plugins do (their source at 1.2.1 and 4.32.0
// was read for it) in what the lab's lifecycle depends on; what they do, they do
// to a world.

// closable is a provider whose calls fail once it was closed, as those of a
// plugin do.
type closable struct {
	*deploytest.Provider
	closed atomic.Bool
}

func (p *closable) Close() error {
	p.closed.Store(true)
	return nil
}

var errClosed = errors.New("rpc error: code = Canceled desc = grpc: the client connection is closing")

func (p *closable) Create(ctx context.Context, r plugin.CreateRequest) (plugin.CreateResponse, error) {
	if p.closed.Load() {
		return plugin.CreateResponse{}, errClosed
	}
	return p.Provider.Create(ctx, r)
}

func (p *closable) Update(ctx context.Context, r plugin.UpdateRequest) (plugin.UpdateResponse, error) {
	if p.closed.Load() {
		return plugin.UpdateResponse{}, errClosed
	}
	return p.Provider.Update(ctx, r)
}

func (p *closable) Delete(ctx context.Context, r plugin.DeleteRequest) (plugin.DeleteResponse, error) {
	if p.closed.Load() {
		return plugin.DeleteResponse{}, errClosed
	}
	return p.Provider.Delete(ctx, r)
}

func (p *closable) Read(ctx context.Context, r plugin.ReadRequest) (plugin.ReadResponse, error) {
	if p.closed.Load() {
		return plugin.ReadResponse{}, errClosed
	}
	return p.Provider.Read(ctx, r)
}

// reveal takes the marks of secrets off, as the engine does for a provider.
func reveal(v resource.PropertyValue) resource.PropertyValue {
	switch {
	case v.IsSecret():
		return reveal(v.SecretValue().Element)
	case v.IsOutput():
		if !v.OutputValue().Known {
			return resource.MakeComputed(resource.NewStringProperty(""))
		}
		return reveal(v.OutputValue().Element)
	case v.IsArray():
		out := make([]resource.PropertyValue, len(v.ArrayValue()))
		for i, e := range v.ArrayValue() {
			out[i] = reveal(e)
		}
		return resource.NewArrayProperty(out)
	case v.IsObject():
		return resource.NewObjectProperty(revealed(v.ObjectValue()))
	}
	return v
}

func revealed(m resource.PropertyMap) resource.PropertyMap {
	out := resource.PropertyMap{}
	for k, v := range m {
		out[k] = reveal(v)
	}
	return out
}

func text(m resource.PropertyMap, key resource.PropertyKey) string {
	if v, ok := m[key]; ok && v.IsString() {
		return v.StringValue()
	}
	return ""
}

func truth(m resource.PropertyMap, key resource.PropertyKey) bool {
	v, ok := m[key]
	return ok && (v.IsBool() && v.BoolValue() || v.IsString() && v.StringValue() == "true")
}

// diff is a plugin's: replacement where a changed key asks for it, else update.
func diff(olds, news resource.PropertyMap, replaces func(d *resource.ObjectDiff) []resource.PropertyKey) plugin.DiffResult {
	d := revealed(olds).Diff(revealed(news))
	if d == nil {
		return plugin.DiffResult{Changes: plugin.DiffNone}
	}
	return plugin.DiffResult{Changes: plugin.DiffSome, ChangedKeys: d.ChangedKeys(), ReplaceKeys: replaces(d)}
}

// commandProvider runs `./class kindcluster VERB`, `./class sharedcluster VERB` and
// `./class secret VERB` on the world, which an earlier program's state calls `go tool ...`,
// and nothing else; no verb is nothing to run.
func commandProvider(w *world) plugin.Provider {
	tools := map[string]func(context.Context, *world, string, map[string]string, string) (string, error){
		kindcluster.Tool: kindclusterTool, sharedcluster.Tool: sharedclusterTool, password.Tool: secretTool,
	}
	run := func(ctx context.Context, verb string, in, previous resource.PropertyMap) (string, error) {
		line := fmt.Sprint(reveal(in["interpreter"]).Mappable())
		called := regexp.MustCompile(`^\[(?:\./class|go tool) ([a-z]+)\]$`).FindStringSubmatch(line)
		if called == nil || tools[called[1]] == nil {
			return "", fmt.Errorf("interpreter %s: a shell or an unknown program", line)
		}
		if verb == "" {
			return text(previous, "stdout"), nil
		}
		env := map[string]string{}
		if e := in["environment"]; e.IsObject() {
			for k, v := range e.ObjectValue() {
				env[string(k)] = v.StringValue()
			}
		}
		if v, ok := in["addPreviousOutputInEnv"]; !ok || v.BoolValue() {
			env[kindcluster.EnvPrinted] = text(previous, "stdout")
		}
		return tools[called[1]](ctx, w, verb, env, text(in, "stdin"))
	}
	output := func(in resource.PropertyMap, stdout resource.PropertyValue) resource.PropertyMap {
		out := in.Copy()
		out["stdout"], out["stderr"] = stdout, resource.NewStringProperty("")
		return out
	}
	unknown := resource.MakeComputed(resource.NewStringProperty(""))

	p := &closable{Provider: &deploytest.Provider{}}
	p.DiffF = func(_ context.Context, r plugin.DiffRequest) (plugin.DiffResult, error) {
		return diff(r.OldInputs, r.NewInputs, func(d *resource.ObjectDiff) []resource.PropertyKey {
			if d.Changed("triggers") {
				return []resource.PropertyKey{"triggers"}
			}
			return nil
		}), nil
	}
	p.CreateF = func(ctx context.Context, r plugin.CreateRequest) (plugin.CreateResponse, error) {
		in := revealed(r.Properties)
		if r.Preview {
			return plugin.CreateResponse{Properties: output(in, unknown)}, nil
		}
		out, err := run(ctx, text(in, "create"), in, nil)
		if err != nil {
			return plugin.CreateResponse{Status: resource.StatusUnknown}, err
		}
		return plugin.CreateResponse{ID: resource.ID(r.URN.Name()), Properties: output(in, resource.NewStringProperty(out)), Status: resource.StatusOK}, nil
	}
	p.UpdateF = func(ctx context.Context, r plugin.UpdateRequest) (plugin.UpdateResponse, error) {
		in := revealed(r.NewInputs)
		if r.Preview {
			return plugin.UpdateResponse{Properties: output(in, unknown)}, nil
		}
		verb := text(in, "update")
		if verb == "" {
			verb = text(in, "create")
		}
		out, err := run(ctx, verb, in, revealed(r.OldOutputs))
		if err != nil {
			return plugin.UpdateResponse{Status: resource.StatusUnknown}, err
		}
		return plugin.UpdateResponse{Properties: output(in, resource.NewStringProperty(out)), Status: resource.StatusOK}, nil
	}
	p.DeleteF = func(ctx context.Context, r plugin.DeleteRequest) (plugin.DeleteResponse, error) {
		old := revealed(r.Outputs) // script and environment are the state's
		if verb := text(old, "delete"); verb != "" {
			if _, err := run(ctx, verb, old, old); err != nil {
				return plugin.DeleteResponse{Status: resource.StatusUnknown}, err
			}
		}
		return plugin.DeleteResponse{Status: resource.StatusOK}, nil
	}
	return p
}

// secretTool is the tool secret.
func secretTool(_ context.Context, _ *world, verb string, env map[string]string, _ string) (string, error) {
	switch verb {
	case password.Verb:
		return "THE-PASSWORD-OF-THIS-WORLD", nil // always one, so that worlds can be compared
	case certificate.Verb:
		pair, err := certificate.New(env[certificate.EnvHost], time.Now())
		if err != nil {
			return "", err
		}
		return pair.String(), nil
	}
	return "", fmt.Errorf("secret has no command %q", verb)
}

// kindclusterTool is the tool kindcluster on the world's Docker.
func kindclusterTool(ctx context.Context, w *world, verb string, env map[string]string, stdin string) (string, error) {
	var log bytes.Buffer
	m := &kindcluster.Manager{Driver: w, Log: &log}
	c := kindcluster.Identity{Name: env[kindcluster.EnvName], Claim: env[kindcluster.EnvClaim]}
	if c.Claim == "" {
		c.Claim = env[kindcluster.EnvPrinted]
	}
	var out string
	var err error
	switch verb {
	case kindcluster.VerbClaim:
		err = w.Change("claim", func(bool) error { return nil })
		out = cmp.Or(env[kindcluster.EnvPrinted], kindcluster.NewClaim())
	case kindcluster.VerbPrepare:
		if err = w.Change("prepare", func(bool) error { return nil }); err == nil {
			err = m.Prepare(ctx, c, []byte(stdin))
		}
	case kindcluster.VerbCreate:
		out, err = m.Ensure(ctx, c, []byte(stdin))
	case kindcluster.VerbKubeconfig:
		out, err = m.Kubeconfig(ctx, c)
	case kindcluster.VerbDelete:
		err = m.Delete(ctx, c)
	case kindcluster.VerbMirror:
		err = m.UseMirror(ctx, c, env[hostimages.EnvMirror])
	case kindcluster.VerbNoMirror:
		err = m.NoMirror(ctx, c)
	case hostimages.VerbPull: // what it cannot pull is a warning
		err = w.Change("pull images", func(bool) error { return nil })
	case hostimages.VerbLoad:
		if _, err = m.Nodes(ctx, c); err == nil {
			err = w.loadImages(c.Name, stdin)
		}
	case takeover.Verb:
		if out, err = w.takeOver(env, c.Name); err == nil {
			_, err = m.Kubeconfig(ctx, c)
		}
	default:
		err = fmt.Errorf("kindcluster has no verb %q", verb)
	}
	if err != nil {
		return "", fmt.Errorf("exit status 1: running %q:\n%s%w", verb, log.String(), err)
	}
	return strings.TrimSuffix(out, "\n"), nil
}

// loadImages is package hostimages, whose work is proven elsewhere, on a cluster of the
// world.
func (w *world) loadImages(cluster, list string) error {
	images, err := hostimages.Parse([]byte(list))
	if err != nil {
		return err
	}
	return w.Change("load images", func(bool) error {
		for _, i := range images {
			if w.broken[i.Image] {
				return fmt.Errorf("image %s cannot be pulled", i.Image)
			}
			w.Clusters[cluster].Images = append(w.Clusters[cluster].Images, i.Image)
		}
		return nil
	})
}

// byHand is a field of an object that Pulumi did not make.
const byHand = "byHand"

// takeOver is package takeover, whose work is proven elsewhere, on a cluster of the world.
func (w *world) takeOver(env map[string]string, cluster string) (string, error) {
	list := env[takeover.EnvObjects]
	objects, err := takeover.New(list, env[kindcluster.EnvPrinted])
	if err != nil || len(objects) == 0 {
		return list, err
	}
	return list, w.Change("takeover", func(bool) error {
		c := w.Clusters[cluster]
		if c == nil {
			return errors.New("there is no cluster")
		}
		for name, o := range c.Objects {
			kind, where, _ := strings.Cut(name, "/")
			resource := strings.ToLower(kind) + "s"
			if _, made := o[byHand]; made && slices.ContainsFunc(objects, func(o takeover.Object) bool { return o.String() == resource+"/"+where }) {
				delete(c.Objects, name)
			}
		}
		return nil
	})
}

// worldID is the identity of the shared cluster of a world.
const worldID = "0a1b2c3d-0000-4000-8000-000000000002"

// sharedclusterTool is the tool sharedcluster, whose work is proven elsewhere, on a shared
// cluster that is the world's "class".
func sharedclusterTool(_ context.Context, w *world, verb string, env map[string]string, _ string) (string, error) {
	claim := sharedcluster.ParseClaim(env[kindcluster.EnvPrinted])
	out := ""
	switch verb {
	case sharedcluster.VerbClaim:
		out = sharedcluster.Claim{Mark: cmp.Or(claim.Mark, kindcluster.NewClaim()), Cluster: worldID}.String()
	case sharedcluster.VerbKubeconfig:
		out = "a kubeconfig for " + env[sharedcluster.EnvAccount]
	case sharedcluster.VerbRelease:
		if claim.Mark == "" {
			return "", errors.New("release was told no claim")
		}
	case takeover.Verb:
		if sharedcluster.ParseClaim(env[sharedcluster.EnvClaim]).Mark == "" {
			return "", errors.New("takeover was told no claim")
		}
		return w.takeOver(env, "class")
	case sharedcluster.VerbLeave:
		if sharedcluster.ParseClaim(env[sharedcluster.EnvClaim]).Mark == "" {
			return "", errors.New("leave was told no claim")
		}
	default:
		return "", fmt.Errorf("sharedcluster has no verb %q", verb)
	}
	return out, w.Change(verb, func(bool) error { return nil })
}

// forceNew are the properties that cannot be changed in place.
var forceNew = map[string][]string{
	"Deployment":         {"spec.selector"},
	"DaemonSet":          {"spec.selector"},
	"Service":            {"spec.clusterIP"},
	"ClusterRoleBinding": {"roleRef"},
}

// kubernetesProvider keeps objects in the clusters of a world.
func kubernetesProvider(w *world) plugin.Provider {
	var config resource.PropertyMap
	var cluster *fake.Cluster // nil where it could not be reached when the plugin was configured
	gone := errors.New("configured Kubernetes cluster is unreachable")

	p := &closable{Provider: &deploytest.Provider{}}
	p.DiffConfigF = func(_ context.Context, r plugin.DiffConfigRequest) (plugin.DiffConfigResponse, error) {
		return diff(r.OldInputs, r.NewInputs, func(d *resource.ObjectDiff) (keys []resource.PropertyKey) {
			id := resource.PropertyKey("clusterIdentifier")
			if d.Updated(id) {
				return []resource.PropertyKey{id}
			}
			if _, ok := r.NewInputs[id]; ok && !d.Changed(id) {
				return nil // the same cluster by its name, whatever else has changed
			}
			for _, k := range []resource.PropertyKey{"kubeconfig", "context", "cluster"} {
				if d.Changed(k) {
					keys = append(keys, k)
				}
			}
			return keys
		}), nil
	}
	p.ConfigureF = func(_ context.Context, r plugin.ConfigureRequest) (plugin.ConfigureResponse, error) {
		config = revealed(r.Inputs)
		if config.ContainsUnknowns() {
			return plugin.ConfigureResponse{}, nil
		}
		var err error
		cluster, err = w.open(text(config, "kubeconfig"), text(config, "context"))
		return plugin.ConfigureResponse{}, err
	}
	// reach finds the cluster again for one call: it may have gone meanwhile.
	reach := func() (*fake.Cluster, error) {
		if cluster == nil {
			return nil, gone
		}
		now, err := w.open(text(config, "kubeconfig"), text(config, "context"))
		if err == nil && now != cluster {
			err = errors.New("dial tcp: connect: connection refused")
		}
		return now, err
	}
	p.CheckF = func(_ context.Context, r plugin.CheckRequest) (plugin.CheckResponse, error) {
		if meta := reveal(r.News["metadata"]); !meta.IsObject() || text(meta.ObjectValue(), "name") == "" {
			return plugin.CheckResponse{}, fmt.Errorf("%s has no name of its own", r.URN)
		}
		return plugin.CheckResponse{Properties: r.News}, nil
	}
	p.DiffF = func(_ context.Context, r plugin.DiffRequest) (plugin.DiffResult, error) {
		olds, news := revealed(r.OldInputs), revealed(r.NewInputs)
		kind := text(news, "kind")
		paths := append([]string{"metadata.name", "metadata.namespace"}, forceNew[kind]...)
		if kind == "ConfigMap" && !truth(config, "enableConfigMapMutable") {
			paths = append(paths, "data")
		}
		out := diff(olds, news, func(*resource.ObjectDiff) (keys []resource.PropertyKey) {
			for _, path := range paths {
				if !at(olds, path).DeepEquals(at(news, path)) {
					keys = append(keys, resource.PropertyKey(strings.Split(path, ".")[0]))
				}
			}
			return keys
		})
		out.DeleteBeforeReplace = len(out.ReplaceKeys) > 0 && at(olds, "metadata.name").DeepEquals(at(news, "metadata.name"))
		return out, nil
	}
	p.CreateF = func(_ context.Context, r plugin.CreateRequest) (plugin.CreateResponse, error) {
		in := revealed(r.Properties)
		if r.Preview {
			return plugin.CreateResponse{Properties: in}, nil
		}
		c, err := reach()
		if err != nil {
			return plugin.CreateResponse{Status: resource.StatusUnknown}, err
		}
		err = w.Change("create "+key(in), func(bool) error {
			before, exists := c.Objects[key(in)]
			if exists && !truth(config, "upsertExistingObjects") {
				return fmt.Errorf("%s already exists", key(in))
			}
			c.Objects[key(in)] = in.Mappable()
			if mark, has := before[byHand]; has { // an apply adds to what is there
				c.Objects[key(in)][byHand] = mark
			}
			return nil
		})
		if err != nil {
			return plugin.CreateResponse{Status: resource.StatusUnknown}, err
		}
		status, err := w.await(c, in)
		return plugin.CreateResponse{ID: id(in), Properties: live(in), Status: status}, err
	}
	p.UpdateF = func(_ context.Context, r plugin.UpdateRequest) (plugin.UpdateResponse, error) {
		in := revealed(r.NewInputs)
		if r.Preview {
			return plugin.UpdateResponse{Properties: in}, nil
		}
		c, err := reach()
		if err != nil {
			return plugin.UpdateResponse{Status: resource.StatusUnknown}, err
		}
		err = w.Change("update "+key(in), func(bool) error {
			c.Objects[key(in)] = in.Mappable()
			return nil
		})
		if err != nil {
			return plugin.UpdateResponse{Status: resource.StatusUnknown}, err
		}
		status, err := w.await(c, in)
		return plugin.UpdateResponse{Properties: live(in), Status: status}, err
	}
	p.DeleteF = func(_ context.Context, r plugin.DeleteRequest) (plugin.DeleteResponse, error) {
		c, err := reach()
		if cluster == nil && truth(config, "deleteUnreachable") {
			return plugin.DeleteResponse{Status: resource.StatusOK}, nil
		}
		if err == nil {
			gone := kindOf(r.URN) + "/" + string(r.ID)
			err = w.Change("delete "+gone, func(bool) error {
				delete(c.Objects, gone)
				return nil
			})
		}
		if err != nil {
			return plugin.DeleteResponse{Status: resource.StatusUnknown}, err
		}
		return plugin.DeleteResponse{Status: resource.StatusOK}, nil
	}
	p.ReadF = func(_ context.Context, r plugin.ReadRequest) (plugin.ReadResponse, error) {
		c, err := reach()
		switch {
		case cluster == nil && truth(config, "deleteUnreachable"):
			return plugin.ReadResponse{Status: resource.StatusOK}, nil
		case err != nil:
			return plugin.ReadResponse{Status: resource.StatusUnknown}, err
		}
		o := w.object(c, kindOf(r.URN)+"/"+string(r.ID))
		if o == nil {
			return plugin.ReadResponse{Status: resource.StatusOK}, nil
		}
		in := resource.NewPropertyMapFromMap(o)
		return plugin.ReadResponse{ReadResult: plugin.ReadResult{ID: r.ID, Inputs: hide(in), Outputs: live(in)}, Status: resource.StatusOK}, nil
	}
	return p
}

// await waits for a workload's pods, which never come where an image cannot be
// pulled; the object is there all the same. Where images are loaded into the nodes, they
// are to be there by now.
func (w *world) await(c *fake.Cluster, in resource.PropertyMap) (resource.Status, error) {
	containers := at(in, "spec.template.spec.containers")
	if !containers.IsArray() {
		return resource.StatusOK, nil
	}
	for _, container := range containers.ArrayValue() {
		image := text(container.ObjectValue(), "image")
		if loaded := c.Images; len(loaded) > 0 && !slices.Contains(loaded, image) {
			return resource.StatusPartialFailure, &plugin.InitError{Reasons: []string{"never loaded: " + image}}
		}
		if w.broken[image] {
			return resource.StatusPartialFailure, &plugin.InitError{Reasons: []string{"ImagePullBackOff: " + image}}
		}
	}
	return resource.StatusOK, nil
}

// hide marks what a Secret holds as secret, as the plugin does with what the API server
// says.
func hide(in resource.PropertyMap) resource.PropertyMap {
	out := in.Copy()
	for _, k := range []resource.PropertyKey{"data", "stringData"} {
		if v, ok := out[k]; ok && text(in, "kind") == "Secret" {
			out[k] = resource.MakeSecret(v)
		}
	}
	return out
}

// live is an object as the API server returns it.
func live(in resource.PropertyMap) resource.PropertyMap {
	out := hide(in)
	if text(in, "kind") == "Service" {
		out["status"] = resource.NewObjectProperty(resource.PropertyMap{
			"loadBalancer": resource.NewObjectProperty(resource.PropertyMap{}),
		})
	}
	return out
}

// key names an object in its cluster.
func key(in resource.PropertyMap) string { return text(in, "kind") + "/" + string(id(in)) }

// kindOf is the kind of an object that has this URN.
func kindOf(urn resource.URN) string {
	t := string(urn.Type())
	return t[strings.LastIndex(t, ":")+1:]
}

// id is the plugin's own of an object: its name, with the namespace.
func id(in resource.PropertyMap) resource.ID {
	var name []string
	for _, path := range []string{"metadata.namespace", "metadata.name"} {
		if v := at(in, path); v.IsString() {
			name = append(name, v.StringValue())
		}
	}
	return resource.ID(strings.Join(name, "/"))
}

// at is the value at a path of object keys, null where there is none.
func at(m resource.PropertyMap, path string) resource.PropertyValue {
	v := resource.NewObjectProperty(m)
	for k := range strings.SplitSeq(path, ".") {
		if !v.IsObject() {
			return resource.NewNullProperty()
		}
		v = v.ObjectValue()[resource.PropertyKey(k)]
	}
	return v
}
