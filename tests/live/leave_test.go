package live

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"k8sbootcamp/components/settings"
	"k8sbootcamp/components/shared"
	"k8sbootcamp/internal/sharedcluster"
	"k8sbootcamp/tests/live/internal/livelab"
)

const unserved = "example.com/never" // a finalizer that nobody serves

// leaving is a student's stack that is about to be destroyed.
type leaving struct {
	*classCluster
	class, student *livelab.Stack
	namespace      string
}

// poisons are what can stand in the way of a destroy: what a student left, where no
// policy kept them from it, and what befalls the cluster. Each does its worst, and
// says what the destroy must end with.
var poisons = []struct {
	name   string
	poison func(p *leaving)
	// around does what is to be done while the destroy runs, and ends it; nil is to
	// destroy once, which must go well.
	around func(p *leaving)
}{
	{"a finalizer on a ConfigMap", func(p *leaving) {
		p.create(&corev1.ConfigMap{ObjectMeta: left(unserved)})
	}, nil},
	{"a finalizer on a pod", func(p *leaving) {
		p.create(&corev1.Pod{ObjectMeta: left(unserved), Spec: podSpec("pause")})
	}, nil},
	{"a pod that takes a day to end", func(p *leaving) {
		spec, day := podSpec("netexec", "--delay-shutdown=86400"), int64(86400)
		spec.TerminationGracePeriodSeconds = &day
		p.create(&corev1.Pod{ObjectMeta: left(), Spec: spec})
		p.running()
	}, nil},
	{"finalizers on a Deployment, and on the app's pods", func(p *leaving) {
		ctx := context.Background()
		patch := []byte(fmt.Sprintf(`{"metadata":{"finalizers":[%q]},"spec":{"template":{"metadata":{"finalizers":[%q]}}}}`, unserved, unserved))
		_, err := p.client.AppsV1().Deployments(p.namespace).Patch(ctx, "bootcamp", types.StrategicMergePatchType, patch, metav1.PatchOptions{})
		require.NoError(p.t, err)
		require.Eventually(p.t, func() bool {
			pods, err := p.client.CoreV1().Pods(p.namespace).List(ctx, metav1.ListOptions{})
			return err == nil && len(pods.Items) > 0 && len(pods.Items[0].Finalizers) > 0
		}, time.Minute, time.Second)
	}, nil},
	{"a cloud's finalizer on a Service of no cloud", func(p *leaving) {
		p.create(&corev1.Service{ObjectMeta: left("service.kubernetes.io/load-balancer-cleanup"), Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}}})
	}, nil},
	{"a finalizer on an account", func(p *leaving) {
		p.create(&corev1.ServiceAccount{ObjectMeta: left(unserved)})
	}, nil},
	{"a load balancer that is slow to go", func(p *leaving) {
		_, err := p.client.CoreV1().ResourceQuotas(p.namespace).Patch(context.Background(), "bootcamp", types.MergePatchType,
			[]byte(`{"spec":{"hard":{"services.loadbalancers":"1","services.nodeports":"1"}}}`), metav1.PatchOptions{})
		require.NoError(p.t, err)
		p.create(&corev1.Service{ObjectMeta: left("service.kubernetes.io/load-balancer-cleanup"), Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, Ports: []corev1.ServicePort{{Port: 80}},
		}})
	}, func(p *leaving) {
		run, err := p.student.Start("destroy", "--yes", "--skip-preview")
		require.NoError(p.t, err)
		begin := time.Now()
		const named = "services left (finalizer service.kubernetes.io/load-balancer-cleanup, which is the cluster's own to take off)"
		require.Eventually(p.t, func() bool { return strings.Contains(run.Output(), named) }, time.Minute, 200*time.Millisecond, "what blocks is not named")
		p.t.Logf("what blocks was named after %s", time.Since(begin).Round(time.Second))
		_, err = p.client.CoreV1().Services(p.namespace).Patch(context.Background(), "left", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
		require.NoError(p.t, err)
		out, err := run.Wait()
		require.NoError(p.t, err, out)
	}},
	{"pods on a node that is gone", func(p *leaving) {
		p.create(&corev1.Pod{ObjectMeta: left(), Spec: func() corev1.PodSpec {
			spec := podSpec("pause")
			spec.NodeName = p.name + "-worker"
			return spec
		}()})
		p.running()
		docker(p.t, "stop", "--time", "1", p.name+"-worker")
	}, func(p *leaving) {
		defer docker(p.t, "start", p.name+"-worker")
		p.destroys()
	}},
	{"a platform that is gone", func(p *leaving) {
		ctx := context.Background()
		require.NoError(p.t, p.client.CoreV1().Namespaces().Delete(ctx, shared.PlatformNamespace, metav1.DeleteOptions{}))
		for _, o := range shared.PlatformOwned {
			var err error
			switch o.Resource {
			case "clusterroles":
				err = p.client.RbacV1().ClusterRoles().Delete(ctx, o.Name, metav1.DeleteOptions{})
			case "validatingadmissionpolicies":
				err = p.client.AdmissionregistrationV1().ValidatingAdmissionPolicies().Delete(ctx, o.Name, metav1.DeleteOptions{})
			case "validatingadmissionpolicybindings":
				err = p.client.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings().Delete(ctx, o.Name, metav1.DeleteOptions{})
			default:
				require.Fail(p.t, "nobody deletes "+o.String())
			}
			require.NoError(p.t, err)
		}
		p.gone(shared.PlatformNamespace)
	}, nil},
	{"a right that the instructor lost", func(p *leaving) {
		p.create(&corev1.ConfigMap{ObjectMeta: left(unserved)})
	}, func(p *leaving) {
		was, err := os.ReadFile(p.kubeconfig)
		require.NoError(p.t, err)
		require.NoError(p.t, os.WriteFile(p.kubeconfig, p.lesser(), 0o600))
		out, err := p.student.Destroy()
		require.Error(p.t, err, out)
		assert.Contains(p.t, out, "taking the student's rights in namespace "+p.namespace)
		assert.Contains(p.t, out, "forbidden")
		require.NoError(p.t, os.WriteFile(p.kubeconfig, was, 0o600))
		p.destroys()
	}},
	{"an API server that stops half-way", func(p *leaving) {
		p.create(&corev1.ConfigMap{ObjectMeta: left(unserved)})
	}, func(p *leaving) {
		run, err := p.student.Start("destroy", "--yes", "--skip-preview")
		require.NoError(p.t, err)
		require.Eventually(p.t, func() bool {
			n, err := p.client.CoreV1().Namespaces().Get(context.Background(), p.namespace, metav1.GetOptions{})
			return err == nil && n.DeletionTimestamp != nil
		}, time.Minute, 50*time.Millisecond)
		node := p.name + "-control-plane"
		docker(p.t, "stop", "--time", "1", node)
		begin := time.Now()
		out, err := run.Wait()
		docker(p.t, "start", node)
		require.Error(p.t, err, out)
		assert.Contains(p.t, out, "the cluster does not answer")
		assert.Less(p.t, time.Since(begin), 2*time.Minute, "it hung")
		require.Eventually(p.t, func() bool {
			_, err := p.client.CoreV1().Namespaces().Get(context.Background(), p.namespace, metav1.GetOptions{})
			return err == nil || apierrors.IsNotFound(err)
		}, 3*time.Minute, time.Second, "the cluster did not come back")
		p.destroys()
	}},
}

// TestPoisons: whatever stands in the way of a student's destroy, the student's access
// goes, and the destroy ends: with nothing left, or saying what is in the way, and the
// next one goes on from there. Three of them a run, all with BOOTCAMP_FULL=1.
func TestPoisons(t *testing.T) {
	turn(t, turnPoisons)
	lab := livelab.New(t)
	on := newClassCluster(t, livelab.Unique("poison"), 1)
	empty := on.objects()
	r := moments(t)
	class := on.stack(lab, "class", settings.SharedPlatform)
	class.Set("chapter", "3-3")
	student := on.stack(lab, "eve", settings.SharedStudent)
	student.Set("chapter", "3-3")
	for _, i := range some(r, len(poisons), 3) {
		poison := poisons[i]
		t.Run(poison.name, func(t *testing.T) {
			fault := "destroy, in the way of which is " + poison.name
			p := &leaving{on, class, student, "bootcamp-eve"}
			outer := on.t
			on.t = t
			defer func() { on.t = outer }()
			out, err := class.Up("--refresh")
			require.NoError(t, err, out)
			out, err = student.Up()
			require.NoError(t, err, out)
			kubeconfig := student.Output("studentKubeconfig")
			others := without(on.objects(), p.namespace)
			p.unguarded(func() { poison.poison(p) })

			begin := time.Now()
			if poison.around == nil {
				p.destroys()
			} else {
				poison.around(p)
			}
			took := time.Since(begin)
			var lost []string
			for _, o := range on.objects() {
				if strings.Contains(o, p.namespace) {
					lost = append(lost, o)
				}
			}
			_, client := connect(t, kubeconfig)
			_, err = client.CoreV1().Pods(p.namespace).List(context.Background(), metav1.ListOptions{})
			if !apierrors.IsUnauthorized(err) {
				lost = append(lost, fmt.Sprintf("the student's token: %v", err))
			}
			if !strings.Contains(poison.name, "platform") && !strings.Contains(poison.name, "lost") {
				assert.Equal(t, others, without(on.objects(), p.namespace), "what is others' was touched")
			}
			checkLost(t, fault, time.Now().Add(-took), lost)
		})
	}

	// The platform goes last.
	out, err := class.Up("--refresh")
	require.NoError(t, err, out)
	out, err = student.Up()
	require.NoError(t, err, out)
	out, err = class.Destroy()
	require.Error(t, err, "the platform was destroyed under a student")
	assert.Contains(t, out, "students are still on this cluster")
	assert.Contains(t, out, "bootcamp-eve (stack organization/bootcamp/eve)")
	out, err = student.Up()
	require.NoError(t, err, "the refused destroy took something away:\n"+out)
	out, err = student.Destroy()
	require.NoError(t, err, out)
	out, err = class.Destroy()
	require.NoError(t, err, out)
	assert.Equal(t, empty, without(on.objects(), "lesser"), "something of the class is left")
}

func (p *leaving) destroys() {
	p.t.Helper()
	out, err := p.student.Destroy()
	require.NoError(p.t, err, out)
}

// unguarded lets something be done that the class's policy keeps students from.
func (p *leaving) unguarded(do func()) {
	label := func(value string) {
		patch := []byte(fmt.Sprintf(`{"metadata":{"labels":{%q:%s}}}`, sharedcluster.LabelStudent, value))
		_, err := p.client.CoreV1().Namespaces().Patch(context.Background(), p.namespace, types.MergePatchType, patch, metav1.PatchOptions{})
		require.NoError(p.t, err)
	}
	label("null")
	do()
	label(`"true"`)
}

// left is the metadata of what a student left.
func left(finalizers ...string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: "left", Finalizers: finalizers, Labels: map[string]string{"app": "left"}}
}

func podSpec(args ...string) corev1.PodSpec {
	return corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: agnhost(), Args: args}}}
}

func (p *leaving) create(o any) {
	p.t.Helper()
	var err error
	core, ctx := p.client.CoreV1(), context.Background()
	switch o := o.(type) {
	case *corev1.ConfigMap:
		_, err = core.ConfigMaps(p.namespace).Create(ctx, o, metav1.CreateOptions{})
	case *corev1.Pod:
		_, err = core.Pods(p.namespace).Create(ctx, o, metav1.CreateOptions{})
	case *corev1.Service:
		_, err = core.Services(p.namespace).Create(ctx, o, metav1.CreateOptions{})
	case *corev1.ServiceAccount:
		_, err = core.ServiceAccounts(p.namespace).Create(ctx, o, metav1.CreateOptions{})
	default:
		err = fmt.Errorf("nobody creates %T", o)
	}
	require.NoError(p.t, err)
}

// running waits for the pod that was left.
func (p *leaving) running() {
	p.t.Helper()
	require.Eventually(p.t, func() bool {
		pod, err := p.client.CoreV1().Pods(p.namespace).Get(context.Background(), "left", metav1.GetOptions{})
		return err == nil && pod.Status.Phase == corev1.PodRunning
	}, time.Minute, 500*time.Millisecond, "the pod does not run")
}

func (p *leaving) gone(namespace string) {
	p.t.Helper()
	require.Eventually(p.t, func() bool {
		_, err := p.client.CoreV1().Namespaces().Get(context.Background(), namespace, metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	}, 2*time.Minute, time.Second)
}

// lesser is a kubeconfig of the same context, for an account that may look at all and
// change nothing.
func (p *leaving) lesser() []byte {
	ctx := context.Background()
	const name, namespace = "lesser", "default"
	ignore := func(err error) {
		if !apierrors.IsAlreadyExists(err) {
			require.NoError(p.t, err)
		}
	}
	_, err := p.client.CoreV1().ServiceAccounts(namespace).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	ignore(err)
	_, err = p.client.RbacV1().ClusterRoles().Create(ctx, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"get", "list", "watch"}},
	}}, metav1.CreateOptions{})
	ignore(err)
	_, err = p.client.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:  rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: name},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Name: name, Namespace: namespace}}}, metav1.CreateOptions{})
	ignore(err)
	admin, err := sharedcluster.Connect(sharedcluster.Access{Kubeconfig: p.kubeconfig, Context: "kind-" + p.name}, os.Stderr)
	require.NoError(p.t, err)
	raw, _, err := admin.Kubeconfig(ctx, namespace, namespace+"/"+name, time.Hour)
	require.NoError(p.t, err)
	config, err := clientcmd.Load(raw)
	require.NoError(p.t, err)
	context := "kind-" + p.name
	config.Contexts[context] = &clientcmdapi.Context{Cluster: namespace, AuthInfo: namespace}
	out, err := clientcmd.Write(*config)
	require.NoError(p.t, err)
	return out
}
