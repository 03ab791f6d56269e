package drift

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/dynamic"

	"k8sbootcamp/internal/course"
	"k8sbootcamp/internal/kubeclient"
)

// Way is how an object that was edited is put right.
type Way string

// The ways.
const (
	Replace Way = "replace" // its fields are written
	Remake  Way = "remake"  // what was edited cannot be changed: it is deleted, and made again
	Keep    Way = "keep"    // so it is here, and it has data: it is left to its owner
	Held    Way = "held"    // it was deleted, and a finalizer kept it: it goes, and is made again
)

// Edit is an object that is not as it should be.
type Edit struct {
	Object
	Way    Way
	Fields []string // paths, without values
	uid    types.UID
	live   *unstructured.Unstructured
}

// Content tells whether that changes what pods read of it.
func (e Edit) Content() bool {
	return slices.ContainsFunc(e.Fields, func(f string) bool { return strings.HasPrefix(f, "data") || strings.HasPrefix(f, "binaryData") })
}

// Compared is what became of a stack's objects.
type Compared struct {
	Edits []Edit
	Gone  []Object
}

// Compare tells which objects were edited and which are gone. It changes nothing: the API
// server itself says, in a dry run, what each manifest would make of its object.
func (c *Cluster) Compare(ctx context.Context, objects []Object) (Compared, error) {
	edits, gone := make([]*Edit, len(objects)), make([]bool, len(objects))
	err := each(ctx, objects, func(ctx context.Context, i int, o Object) error {
		err := tried(ctx, func(ctx context.Context) (err error) {
			edits[i], err = c.compare(ctx, o)
			return err
		})
		if apierrors.IsNotFound(err) {
			gone[i] = o.URN != ""
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s cannot be compared: %w", o, kubeclient.Explain(err))
		}
		return nil
	})
	var found Compared
	for i, o := range objects {
		switch {
		case gone[i]:
			found.Gone = append(found.Gone, o)
		case edits[i] != nil:
			found.Edits = append(found.Edits, *edits[i])
		}
	}
	return found, err
}

// Gone tells which objects are not there, as far as it can be told.
func (c *Cluster) Gone(ctx context.Context, objects []Object) ([]Object, error) {
	gone := make([]bool, len(objects))
	err := each(ctx, objects, func(ctx context.Context, i int, o Object) error {
		if of, err := c.metadataAt(o.gvk(), o.Namespace); err == nil && o.URN != "" {
			_, err = of.Get(ctx, o.Name, metav1.GetOptions{})
			gone[i] = apierrors.IsNotFound(err)
		}
		return ctx.Err()
	})
	var found []Object
	for i, o := range objects {
		if gone[i] {
			found = append(found, o)
		}
	}
	return found, err
}

// compare tells how an object differs, nil where it does not.
func (c *Cluster) compare(ctx context.Context, o Object) (*Edit, error) {
	at, err := c.at(o.gvk(), o.Namespace)
	if err != nil {
		return nil, err
	}
	live, err := at.Get(ctx, o.Name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	e := &Edit{Object: o, uid: live.GetUID(), live: live}
	if live.GetDeletionTimestamp() != nil {
		e.Way = Held
		return e, nil
	}
	wanted := o.over(live)
	dry, err := at.Update(ctx, wanted, metav1.UpdateOptions{DryRun: []string{metav1.DryRunAll}, FieldManager: manager})
	switch {
	case apierrors.IsInvalid(err):
		e.Way, e.Fields = Remake, subset(o.Manifest, live.Object)
		if o.hasData() {
			e.Way = Keep
		}
		return e, nil
	case err != nil:
		return nil, err
	}
	if e.Fields = fields(o.configured(dry), o.configured(live)); len(e.Fields) == 0 {
		return nil, nil
	}
	e.Way = Replace
	return e, nil
}

// hasData tells whether a deletion would lose what no manifest brings back.
func (o Object) hasData() bool {
	return slices.Contains([]string{"PersistentVolumeClaim", "PersistentVolume", "StatefulSet", "Namespace", "CustomResourceDefinition"}, o.Kind)
}

// configured is an object without what the API server and controllers alone write.
func (o Object) configured(object *unstructured.Unstructured) map[string]any {
	out := runtime.DeepCopyJSON(object.Object)
	delete(out, "status")
	for _, field := range []string{"managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink"} {
		unstructured.RemoveNestedField(out, "metadata", field)
	}
	for _, key := range controllersAnnotations[o.Kind] {
		unstructured.RemoveNestedField(out, "metadata", "annotations", key)
	}
	return out
}

// controllersAnnotations are what Kubernetes' own controllers write on objects of a kind.
var controllersAnnotations = map[string][]string{
	"Deployment": {"deployment.kubernetes.io/revision"},
	"DaemonSet":  {"deprecated.daemonset.template.generation"},
	"PersistentVolumeClaim": {"pv.kubernetes.io/bind-completed", "pv.kubernetes.io/bound-by-controller", "volume.beta.kubernetes.io/storage-provisioner",
		"volume.kubernetes.io/storage-provisioner", "volume.kubernetes.io/selected-node", "volume.kubernetes.io/storage-resizer"},
}

// restarted is what `kubectl rollout restart` writes into a template. It says when, and
// not how the pods are to be; to take it out would restart them once more.
const restarted = "kubectl.kubernetes.io/restartedAt"

// over is the manifest as it is to replace the live object: with what others than a user
// write there, and the live object's version, so that nothing is overwritten unseen.
func (o Object) over(live *unstructured.Unstructured) *unstructured.Unstructured {
	wanted := &unstructured.Unstructured{Object: runtime.DeepCopyJSON(o.Manifest)}
	wanted.SetResourceVersion(live.GetResourceVersion())
	wanted.SetUID(live.GetUID())

	annotations := live.GetAnnotations()
	for _, key := range controllersAnnotations[o.Kind] {
		if value, has := annotations[key]; has {
			carry(wanted, value, "metadata", "annotations", key)
		}
	}
	var kept []string
	for _, f := range live.GetFinalizers() {
		if keeps(o.Kind, kubeclient.HasBalancer(live))(f) && !slices.Contains(wanted.GetFinalizers(), f) {
			kept = append(kept, f)
		}
	}
	if len(kept) > 0 {
		wanted.SetFinalizers(append(wanted.GetFinalizers(), kept...))
	}

	from := func(path ...string) {
		if value, has, err := unstructured.NestedFieldCopy(live.Object, path...); has && err == nil {
			carry(wanted, value, path...)
		}
	}
	switch o.Kind {
	case "Namespace":
		if o.URN == "" { // of a cluster of the student's own
			break
		}
		for _, of := range []string{"labels", "annotations"} { // the cluster's too: of a policy, a network, a cloud
			values, _, _ := unstructured.NestedStringMap(live.Object, "metadata", of)
			for key, value := range values {
				carry(wanted, value, "metadata", of, key)
			}
		}
	case "Deployment", "DaemonSet", "StatefulSet":
		from("spec", "template", "metadata", "annotations", restarted)
	case "PersistentVolumeClaim":
		from("spec", "volumeName")
		from("spec", "storageClassName")
		from("spec", "volumeMode")
	case "ServiceAccount":
		for _, field := range []string{"secrets", "imagePullSecrets"} {
			list, _, _ := unstructured.NestedSlice(live.Object, field)
			made := slices.DeleteFunc(list, func(v any) bool {
				m, _ := v.(map[string]any)
				name, _ := m["name"].(string)
				return !strings.HasPrefix(name, o.Name+"-token-") && !strings.HasPrefix(name, o.Name+"-dockercfg-")
			})
			if len(made) > 0 {
				carry(wanted, made, field)
			}
		}
	}
	return wanted
}

// carry sets a value where the manifest says nothing.
func carry(wanted *unstructured.Unstructured, value any, path ...string) {
	if _, has, err := unstructured.NestedFieldNoCopy(wanted.Object, path...); has || err != nil {
		return
	}
	_ = unstructured.SetNestedField(wanted.Object, value, path...) // what is in its way is the manifest's
}

// PutRight writes what was edited, and deletes what cannot be written. It returns the
// objects that are gone now.
func (c *Cluster) PutRight(ctx context.Context, edits []Edit) (gone []Object, err error) {
	went := make([]bool, len(edits))
	err = each(ctx, edits, func(ctx context.Context, i int, e Edit) error {
		switch e.Way {
		case Replace:
			at, err := c.at(e.gvk(), e.Namespace)
			if err != nil {
				return err
			}
			return c.replace(ctx, at, e.Object)
		case Remake, Held:
			went[i] = true
			of, err := c.metadataAt(e.gvk(), e.Namespace)
			if err != nil {
				return err
			}
			return remove(ctx, of, e.String(), e.Name, e.uid, keeps(e.Kind, kubeclient.HasBalancer(e.live)), nil)
		}
		return nil
	})
	for i, e := range edits {
		if went[i] {
			gone = append(gone, e.Object)
		}
	}
	return gone, err
}

// replace writes the manifest over whatever is there now.
func (c *Cluster) replace(ctx context.Context, at dynamic.ResourceInterface, o Object) error {
	err := tried(ctx, func(ctx context.Context) error {
		live, err := at.Get(ctx, o.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		now, err := at.Update(ctx, o.over(live), metav1.UpdateOptions{FieldManager: manager})
		if err != nil {
			return err
		}
		if by := o.manager(live); by != manager && o.URN != "" { // the fields are Pulumi's again, to change and to take out
			if now, err = o.apply(ctx, at, by); err != nil {
				return err
			}
		}
		return disown(ctx, at, now)
	})
	if err != nil {
		return fmt.Errorf("%s could not be put right: %w", o, err)
	}
	return nil
}

// manager is who Pulumi is in the history of an object, which may not be there.
func (o Object) manager(live *unstructured.Unstructured) string {
	if o.Manager != "" {
		return o.Manager
	}
	if live != nil {
		for _, f := range live.GetManagedFields() {
			if f.Operation == metav1.ManagedFieldsOperationApply && strings.HasPrefix(f.Manager, "pulumi") {
				return f.Manager
			}
		}
	}
	return manager
}

// apply writes the manifest as Pulumi's plugin does.
func (o Object) apply(ctx context.Context, at dynamic.ResourceInterface, by string) (*unstructured.Unstructured, error) {
	return at.Apply(ctx, o.Name, &unstructured.Unstructured{Object: runtime.DeepCopyJSON(o.Manifest)}, metav1.ApplyOptions{FieldManager: by, Force: true})
}

// Make makes objects that are gone, as Pulumi would, and at once: what is in the cluster
// comes to itself while the rest is still compared, and while Pulumi reads its state. One
// that is refused is left to Pulumi, whose error says more.
func (c *Cluster) Make(ctx context.Context, gone []Object) error {
	stage := func(o Object) int {
		switch {
		case o.Kind == "Namespace":
			return 0
		case !slices.Contains(workloads, o.Kind):
			return 1
		case o.Name == course.Prometheus: // it has to find the others and to ask them, once it runs
			return 2
		}
		return 3 // their pods need what is no workload
	}
	for s := range 4 {
		some := slices.DeleteFunc(slices.Clone(gone), func(o Object) bool { return stage(o) != s })
		err := each(ctx, some, func(ctx context.Context, _ int, o Object) error {
			if at, err := c.at(o.gvk(), o.Namespace); err == nil {
				_, _ = o.apply(ctx, at, o.manager(nil))
			}
			return ctx.Err()
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// controllers are the managers of fields that are no user's.
var controllers = []string{"kube-controller-manager", "kube-scheduler", "kubelet", "kube-apiserver", "cloud-controller-manager"}

// disown takes this tool and the student's off the list of those who own an object's
// fields: with them on it, Pulumi's next change of such a field would be a conflict.
func disown(ctx context.Context, at dynamic.ResourceInterface, o *unstructured.Unstructured) error {
	all := o.GetManagedFields()
	kept := slices.DeleteFunc(slices.Clone(all), func(f metav1.ManagedFieldsEntry) bool {
		return f.Operation == metav1.ManagedFieldsOperationUpdate && f.Subresource == "" && !slices.Contains(controllers, f.Manager)
	})
	if len(kept) == len(all) || len(kept) == 0 { // an empty list would change nothing
		return nil
	}
	var patch struct {
		Metadata struct {
			UID             types.UID                   `json:"uid"`
			ResourceVersion string                      `json:"resourceVersion"`
			ManagedFields   []metav1.ManagedFieldsEntry `json:"managedFields"`
		} `json:"metadata"`
	}
	patch.Metadata.UID, patch.Metadata.ResourceVersion, patch.Metadata.ManagedFields = o.GetUID(), o.GetResourceVersion(), kept
	body, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	_, err = at.Patch(ctx, o.GetName(), types.MergePatchType, body, metav1.PatchOptions{FieldManager: manager})
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) { // its controller was faster: the fields are right all the same
		return nil
	}
	return err
}
