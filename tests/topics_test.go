package tests

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/components/settings"
	"k8sbootcamp/components/topics"
)

const ingressType = "kubernetes:networking.k8s.io/v1:Ingress"

// topic is a stack with one topic, or several.
func topic(names string, more ...string) Run {
	config := map[string]string{"topics": names}
	for i := 0; i < len(more); i += 2 {
		config[more[i]] = more[i+1]
	}
	return Run{Config: config}
}

// TestTopicsAlone: each topic is what it is without the others, and nothing of it is
// there without it.
func TestTopicsAlone(t *testing.T) {
	t.Parallel()
	without := Run{}.Good(t)
	all := topic("all").Good(t)
	of := func(r *Recording) (names []string) {
		for _, res := range r.Resources {
			if !slices.ContainsFunc(without.Resources, func(w *Registration) bool { return w.URN == res.URN }) {
				names = append(names, res.URN)
			}
		}
		return names
	}
	var together []string
	for _, name := range settings.Topics {
		alone := of(topic(name).Good(t))
		assert.NotEmpty(t, alone, name)
		for _, urn := range alone {
			assert.Contains(t, urn, "bootcamp:topics:", "a part of it is not in the topic's component")
		}
		together = append(together, alone...)
	}
	assert.ElementsMatch(t, of(all), together)
	for _, res := range without.Resources {
		assert.NotContains(t, res.URN, "topic")
	}
}

// TestGreetings: what is configured is what the pods say, to the letter: Kubernetes would
// put other variables into a variable's value.
func TestGreetings(t *testing.T) {
	t.Parallel()
	const greeting = "costs $5, $(POD_NAME) and $$"
	recording := topic("env configmap", "greeting", greeting).Good(t)
	value := at(recording.One(t, deploymentType, "topic-env").Object(), "spec", "template", "spec", "containers", 0, "env", 0, "value")
	assert.Equal(t, greeting, strings.ReplaceAll(value.(string), "$$", "$"))
	assert.NotContains(t, strings.ReplaceAll(value.(string), "$$", ""), "$", "a $ that Kubernetes may take for more")
	assert.Equal(t, greeting, at(recording.One(t, configMapType, "topic-configmap").Object(), "data", "greeting"))
}

// TestConfigMapRollout: another greeting changes the pod that has it as a variable, and
// leaves the one alone that has it as a file.
func TestConfigMapRollout(t *testing.T) {
	t.Parallel()
	before, after := topic("configmap").Good(t), topic("configmap", "greeting", "Good day!").Good(t)
	pod := func(r *Recording, name string) any {
		return at(r.One(t, deploymentType, name).Object(), "spec", "template")
	}
	assert.Equal(t, pod(before, "topic-configmap"), pod(after, "topic-configmap"))
	assert.NotEqual(t, pod(before, "topic-configmap-env"), pod(after, "topic-configmap-env"))
	for _, m := range at(pod(before, "topic-configmap"), "spec", "containers", 0, "volumeMounts").([]any) {
		assert.Nil(t, at(m, "subPath"), "a file mounted so never changes")
	}
}

// TestSecretModes: the file is for the user that the pod runs as, and for nobody else.
func TestSecretModes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		run   Run
		mode  int
		group any
	}{
		"own cluster":           {topic("secret"), 0o400, nil},
		"student":               {onShared("alice", "shared-student", map[string]string{"topics": "secret"}), 0o440, 1000},
		"student's other image": {onShared("alice", "shared-student", map[string]string{"topics": "secret", "topicImage": "example/agnhost:1"}), 0o400, nil},
	} {
		pod := at(c.run.Good(t).One(t, deploymentType, "topic-secret").Object(), "spec", "template", "spec")
		assert.Equal(t, c.mode, at(pod, "volumes", 0, "secret", "defaultMode"), name)
		assert.Equal(t, c.group, at(pod, "securityContext", "fsGroup"), name)
		assert.Equal(t, c.group, at(pod, "securityContext", "runAsUser"), name)
	}
}

// TestTopicsRestricted: a student's topics need no privilege, their init containers
// neither.
func TestTopicsRestricted(t *testing.T) {
	t.Parallel()
	recording := onShared("alice", "shared-student", map[string]string{"topics": "all"}).Good(t)
	found := 0
	for _, w := range slices.Concat(recording.Of(deploymentType, ""), recording.Of(statefulType, "")) {
		if !strings.HasPrefix(w.Name, "topic-") {
			continue
		}
		pod := at(w.Object(), "spec", "template", "spec")
		assert.Equal(t, true, at(pod, "securityContext", "runAsNonRoot"), w)
		assert.Equal(t, false, at(pod, "automountServiceAccountToken"), w)
		containers, _ := at(pod, "containers").([]any)
		inits, _ := at(pod, "initContainers").([]any)
		for _, c := range slices.Concat(containers, inits) {
			found++
			assert.Equal(t, []any{"ALL"}, at(c, "securityContext", "capabilities", "drop"), "%s: %v", w, at(c, "name"))
			assert.Equal(t, false, at(c, "securityContext", "allowPrivilegeEscalation"), w)
		}
	}
	assert.Equal(t, 8, found)
}

// TestStudentsTopics: what a student may look at goes with the topics of the stack, and of
// Secrets it is that one alone.
func TestStudentsTopics(t *testing.T) {
	t.Parallel()
	for topics, want := range map[string][]string{
		"":            nil,
		"env":         nil,
		"secret":      {"secrets [topic-secret] [get]"},
		"statefulset": {"persistentvolumeclaims <nil> [get list watch]"},
		"volume":      {"persistentvolumeclaims <nil> [get list watch]"},
		"ingress":     {"ingresses <nil> [get list watch]"},
		"all":         {"persistentvolumeclaims <nil> [get list watch]", "secrets [topic-secret] [get]", "ingresses <nil> [get list watch]"},
	} {
		recording := onShared("alice", "shared-student", map[string]string{"topics": topics}).Good(t)
		rules, _ := recording.One(t, "kubernetes:rbac.authorization.k8s.io/v1:Role", "student").Object()["rules"].([]any)
		var got []string
		for _, r := range rules {
			for _, resource := range at(r, "resources").([]any) {
				if slices.Contains([]any{"secrets", "persistentvolumeclaims", "ingresses"}, resource) {
					got = append(got, fmt.Sprint(resource, " ", at(r, "resourceNames"), " ", at(r, "verbs")))
				}
			}
		}
		assert.Equal(t, want, got, topics)
	}
}

// TestIngress: it leads from the host to the app, with the certificate made for that host;
// two students' hosts are not one, and the network policy lets the controller through.
func TestIngress(t *testing.T) {
	t.Parallel()
	for host, run := range map[string]Run{
		"bootcamp.localhost":       topic("ingress"),
		"bootcamp-alice.localhost": onShared("alice", "shared-student", map[string]string{"topics": "ingress"}),
	} {
		recording := run.Good(t)
		ingress := recording.One(t, ingressType, "bootcamp").Object()
		assert.Equal(t, host, at(ingress, "spec", "rules", 0, "host"))
		assert.Equal(t, []any{host}, at(ingress, "spec", "tls", 0, "hosts"))
		assert.Equal(t, host, at(recording.One(t, commandType, "bootcamp-certificate").Object(), "environment", "BOOTCAMP_HOST"))
		secret := recording.One(t, secretType, "bootcamp").Object()
		assert.Equal(t, at(secret, "metadata", "name"), at(ingress, "spec", "tls", 0, "secretName"))
		assert.Equal(t, map[string]any{"tls.crt": "certificate-of-the-test", "tls.key": TestKubeconfig}, at(secret, "stringData"))
		service := recording.One(t, serviceType, "bootcamp").Object()
		backend := at(ingress, "spec", "rules", 0, "http", "paths", 0, "backend", "service")
		assert.Equal(t, at(service, "metadata", "name"), at(backend, "name"))
		assert.Equal(t, at(service, "spec", "ports", 0, "port"), at(backend, "port", "number"))
		policies := recording.Of("kubernetes:networking.k8s.io/v1:NetworkPolicy", "")
		assert.Len(t, policies, map[bool]int{true: 2}[recording.shared()])
	}
}

// TestTopicArguments: a topic refuses what it cannot use, all problems at once, before it
// registers anything.
func TestTopicArguments(t *testing.T) {
	t.Parallel()
	good := topics.Pods{Namespace: "default", Image: "agnhost:1", RolloutTimeout: time.Minute}
	bad := topics.Pods{Image: "agnhost:latest", RolloutTimeout: -1}
	inBad := []string{"namespace is empty", `"agnhost:latest"`, "rollout timeout -1ns"}
	env := func(a *topics.EnvArgs) pulumi.RunFunc {
		return func(ctx *pulumi.Context) error { _, err := topics.NewEnv(ctx, "c", a); return err }
	}
	configMap := func(a *topics.ConfigMapArgs) pulumi.RunFunc {
		return func(ctx *pulumi.Context) error { _, err := topics.NewConfigMap(ctx, "c", a); return err }
	}
	secret := func(a *topics.SecretArgs) pulumi.RunFunc {
		return func(ctx *pulumi.Context) error { _, err := topics.NewSecret(ctx, "c", a); return err }
	}
	statefulSet := func(a *topics.StatefulSetArgs) pulumi.RunFunc {
		return func(ctx *pulumi.Context) error { _, err := topics.NewStatefulSet(ctx, "c", a); return err }
	}
	volume := func(a *topics.VolumeArgs) pulumi.RunFunc {
		return func(ctx *pulumi.Context) error { _, err := topics.NewVolume(ctx, "c", a); return err }
	}
	ingress := func(a *topics.IngressArgs) pulumi.RunFunc {
		return func(ctx *pulumi.Context) error { _, err := topics.NewIngress(ctx, "c", a); return err }
	}
	for name, tt := range map[string]struct {
		make pulumi.RunFunc
		want []string // in the error; none is good
	}{
		"env: good":         {env(&topics.EnvArgs{Pods: good, Greeting: "x"}), nil},
		"env: nil":          {env(nil), []string{"topics.NewEnv", "args are nil"}},
		"env: all":          {env(&topics.EnvArgs{Pods: bad}), append(inBad, "greeting is empty")},
		"configmap: good":   {configMap(&topics.ConfigMapArgs{Pods: good, Greeting: "x"}), nil},
		"configmap: nil":    {configMap(nil), []string{"topics.NewConfigMap", "args are nil"}},
		"configmap: all":    {configMap(&topics.ConfigMapArgs{Pods: bad}), append(inBad, "greeting is empty")},
		"secret: good":      {secret(&topics.SecretArgs{Pods: good}), nil},
		"secret: nil":       {secret(nil), []string{"topics.NewSecret", "args are nil"}},
		"secret: all":       {secret(&topics.SecretArgs{Pods: bad}), inBad},
		"statefulset: good": {statefulSet(&topics.StatefulSetArgs{Pods: good}), nil},
		"statefulset: nil":  {statefulSet(nil), []string{"topics.NewStatefulSet", "args are nil"}},
		"statefulset: all":  {statefulSet(&topics.StatefulSetArgs{Pods: bad}), inBad},
		"volume: good":      {volume(&topics.VolumeArgs{Pods: good}), nil},
		"volume: nil":       {volume(nil), []string{"topics.NewVolume", "args are nil"}},
		"volume: all":       {volume(&topics.VolumeArgs{Pods: bad}), inBad},
		"ingress: good":     {ingress(&topics.IngressArgs{Namespace: "default", Host: "a.localhost"}), nil},
		"ingress: nil":      {ingress(nil), []string{"topics.NewIngress", "args are nil"}},
		"ingress: all":      {ingress(&topics.IngressArgs{Host: "*.localhost"}), []string{"namespace is empty", `host "*.localhost"`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			recording := Run{Program: tt.make}.Record()
			if tt.want == nil {
				require.NoError(t, recording.Err)
				assert.NotEmpty(t, recording.Resources)
				return
			}
			require.Error(t, recording.Err)
			for _, w := range tt.want {
				assert.ErrorContains(t, recording.Err, w)
			}
			assert.Empty(t, recording.Resources)
		})
	}
}
