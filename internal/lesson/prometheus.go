package lesson

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	corev1 "k8s.io/api/core/v1"

	"k8sbootcamp/internal/course"
)

// scrapeConfig is what a check reads of prometheus.yml.
type scrapeConfig struct {
	Jobs []job `yaml:"scrape_configs"`
}

type job struct {
	Name      string `yaml:"job_name"`
	Scheme    string `yaml:"scheme"`
	Discovery []struct {
		Role string `yaml:"role"`
	} `yaml:"kubernetes_sd_configs"`
	TLS struct {
		CA string `yaml:"ca_file"`
	} `yaml:"tls_config"`
	Authorization struct {
		File string `yaml:"credentials_file"`
	} `yaml:"authorization"`
	BearerTokenFile string    `yaml:"bearer_token_file"`
	Relabel         []relabel `yaml:"relabel_configs"`
}

type relabel struct {
	Sources     []string `yaml:"source_labels"`
	Regex       string   `yaml:"regex"`
	Action      string   `yaml:"action"`
	Replacement string   `yaml:"replacement"`
	Target      string   `yaml:"target_label"`
}

func (c scrapeConfig) job(name string) *job {
	return named(c.Jobs, name, func(j job) string { return j.Name })
}

func (c scrapeConfig) names() []string { return names(c.Jobs, func(j job) string { return j.Name }) }

func configExists(ctx context.Context, s *seen) (finding, error) {
	return s.exists(ctx, "ConfigMap", corev1.SchemeGroupVersion.WithResource("configmaps"), course.Prometheus,
		names(s.configMaps, func(o corev1.ConfigMap) string { return o.Name }))
}

func usesAccount(_ context.Context, _ *seen, w *workload) (finding, error) {
	switch name := w.pod.Spec.ServiceAccountName; name {
	case course.Prometheus:
		return good()
	case "", "default":
		return wrong("%[1]s: spec.template.spec.serviceAccountName is not set, so the pod works as default and not as %[2]s: look at where the text names the account of chapter 4-2.",
			"%[1]s: spec.template.spec.serviceAccountName がないため、Podは %[2]s ではなく default として動きます。4-2のアカウントをテキストのどこで指定しているか見てください。", w.String(), course.Prometheus)
	default:
		return wrong("%[1]s: spec.template.spec.serviceAccountName is %[3]s, and the account of chapter 4-2 is %[2]s.",
			"%[1]s: spec.template.spec.serviceAccountName が %[3]s ですが、4-2のアカウントは %[2]s です。", w.String(), course.Prometheus, name)
	}
}

// configFlag is the argument by which Prometheus is told of its configuration.
const configFlag = "--config.file"

// configFile finds which file of which ConfigMap is Prometheus's configuration.
func configFile(w *workload) (key, configMap string, f finding) {
	var file string
	var mounts []corev1.VolumeMount
	for _, c := range w.pod.Spec.Containers {
		for i, a := range slices.Concat(c.Command, c.Args) {
			if value, ok := strings.CutPrefix(a, configFlag+"="); ok {
				file, mounts = value, c.VolumeMounts
			} else if all := slices.Concat(c.Command, c.Args); a == configFlag && i+1 < len(all) {
				file, mounts = all[i+1], c.VolumeMounts
			}
		}
	}
	if file == "" {
		f, _ = wrong("%[1]s: spec.template.spec.containers[].args has no %[2]s: Prometheus does not read the file that is mounted for it.",
			"%[1]s: spec.template.spec.containers[].args に %[2]s がありません。Prometheusがマウントしたファイルを読みません。", w.String(), configFlag)
		return "", "", f
	}
	var paths []string
	for _, m := range mounts {
		paths = append(paths, m.MountPath)
		key := m.SubPath
		if m.SubPath == "" {
			below, ok := strings.CutPrefix(file, strings.TrimSuffix(m.MountPath, "/")+"/")
			if !ok {
				continue
			}
			key = below
		} else if path.Clean(m.MountPath) != path.Clean(file) {
			continue
		}
		for _, v := range w.pod.Spec.Volumes {
			if v.Name == m.Name && v.ConfigMap != nil {
				for _, item := range v.ConfigMap.Items {
					if item.Path == key {
						key = item.Key
					}
				}
				return key, v.ConfigMap.Name, finding{state: OK}
			}
		}
		f, _ = wrong("%[1]s: volumeMounts[%[2]s] is of no volume that a ConfigMap fills: look at spec.template.spec.volumes and its configMap.",
			"%[1]s: volumeMounts[%[2]s] がConfigMapのボリュームを指していません。spec.template.spec.volumes と configMap を見てください。", w.String(), m.MountPath)
		return "", "", f
	}
	f, _ = wrong("%[1]s: the argument %[2]s names %[3]s, and volumeMounts[].mountPath is %[4]s: nothing of the ConfigMap is there. Compare the two.",
		"%[1]s: 引数 %[2]s は %[3]s ですが、volumeMounts[].mountPath は %[4]s です。そこにConfigMapの内容はありません。見比べてください。", w.String(), configFlag, file, paths)
	return "", "", f
}

// readsConfig judges whether Prometheus reads the ConfigMap: argument, mount, volume,
// the ConfigMap's name and its key, one after the other.
func readsConfig(_ context.Context, s *seen, w *workload) (finding, error) {
	key, name, f := configFile(w)
	if f.state != OK {
		return f, nil
	}
	config := s.configMap(name)
	if config == nil {
		return wrong("%[1]s: spec.template.spec.volumes[].configMap.name is %[2]s, and there is no ConfigMap of this name: its name is %[3]s.",
			"%[1]s: spec.template.spec.volumes[].configMap.name が %[2]s ですが、その名前のConfigMapはありません。名前は %[3]s です。", w.String(), name, course.Prometheus)
	}
	if _, ok := config.Data[key]; !ok {
		return wrong("ConfigMap %[1]s: the key under data is %[2]s, and %[3]s asks for %[4]s (volumeMounts[].subPath and %[5]s): compare the two.",
			"ConfigMap %[1]s: data のキーが %[2]s ですが、%[3]s は %[4]s を求めています(volumeMounts[].subPath と %[5]s)。見比べてください。",
			name, slices.Sorted(maps.Keys(config.Data)), w.String(), key, configFlag)
	}
	return good()
}

// written is the configuration in the ConfigMap, once that is what Prometheus reads.
func (s *seen) written() (scrapeConfig, error) {
	var c scrapeConfig
	key, name, f := configFile(s.deployment(course.Prometheus))
	if f.state != OK {
		return c, nil
	}
	return c, yaml.Unmarshal([]byte(s.configMap(name).Data[key]), &c)
}

func configParses(_ context.Context, s *seen) (finding, error) {
	if _, err := s.written(); err != nil {
		return wrong("ConfigMap %[1]s: its content is no YAML that Prometheus reads: %[2]s. Look at the indentation and at tabs.",
			"ConfigMap %[1]s: 内容がPrometheusの読めるYAMLではありません: %[2]s。インデントとタブを見てください。", course.Prometheus, err)
	}
	return good()
}

func hasJobs(_ context.Context, s *seen) (finding, error) {
	config, err := s.written()
	if err != nil {
		return good() // which is another question
	}
	have := config.names()
	for _, want := range []string{course.JobPrometheus, course.JobAPIServer, course.JobNodeExporter} {
		if slices.Contains(have, want) {
			continue
		}
		if near := nearest(want, slices.DeleteFunc(slices.Clone(have), func(n string) bool { return slices.Contains(jobNames, n) })); near != "" {
			return wrong("ConfigMap %[1]s: a scrape_configs[].job_name is %[2]s, and the text has a job %[3]s: compare the two, letter by letter.",
				"ConfigMap %[1]s: scrape_configs[].job_name に %[2]s がありますが、テキストのジョブは %[3]s です。一文字ずつ見比べてください。", course.Prometheus, near, want)
		}
		return wrong("ConfigMap %[1]s: scrape_configs has the jobs %[2]s, and no job_name %[3]s: look at which jobs the text has.",
			"ConfigMap %[1]s: scrape_configs のジョブは %[2]s で、job_name が %[3]s のものがありません。テキストのジョブを見てください。", course.Prometheus, have, want)
	}
	return good()
}

var jobNames = []string{course.JobPrometheus, course.JobAPIServer, course.JobNodeExporter, course.JobKubeStateMetrics, course.JobCAdvisor}

func prometheusLeads(s *seen, svc *corev1.Service) (finding, error) {
	w := s.deployment(course.Prometheus)
	return inTurn(
		func() (finding, error) { return hasServicePort(svc, course.PrometheusPort) },
		func() (finding, error) { return selects(svc, w) },
		func() (finding, error) { return leads(svc, course.PrometheusPort, w, course.PrometheusPort) },
	)
}

// askPrometheus asks its HTTP API.
func (s *seen) askPrometheus(ctx context.Context, path string, params map[string]string, into any) error {
	raw, err := s.proxied(ctx, s.prometheusPort(), path, params)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("the answer of Prometheus: %w", err)
	}
	return nil
}

// prometheusPort is Prometheus's Service as a proxy path has it; a port without a name
// is the only one.
func (s *seen) prometheusPort() string {
	svc := s.service(course.Prometheus)
	for _, p := range svc.Spec.Ports {
		if p.Port == course.PrometheusPort && p.Name != "" {
			return svc.Name + ":" + p.Name
		}
	}
	return fmt.Sprintf("%s:%d", svc.Name, course.PrometheusPort)
}

// loadsConfig judges whether the Prometheus that runs has read what the ConfigMap has
// now: it reads its file when it starts.
func loadsConfig(ctx context.Context, s *seen) (finding, error) {
	written, err := s.written()
	if err != nil {
		return good()
	}
	running, err := s.loaded.get(func() (c scrapeConfig, err error) {
		var answer struct {
			Data struct {
				YAML string `json:"yaml"`
			} `json:"data"`
		}
		if err = s.askPrometheus(ctx, "/api/v1/status/config", nil, &answer); err == nil {
			err = yaml.Unmarshal([]byte(answer.Data.YAML), &c)
		}
		return c, err
	})
	if err != nil {
		return s.noAnswer(err)
	}
	for _, j := range written.Jobs {
		if r := running.job(j.Name); r == nil || !r.same(j) {
			return wrong("Prometheus does not have what ConfigMap %[1]s says of job %[2]s: it reads its file when it starts. Look at how old the pod is (kubectl rollout restart).",
				"Prometheusの設定が ConfigMap %[1]s のジョブ %[2]s と異なります。設定ファイルは起動時に読まれます。Podがいつ起動したか見てください(kubectl rollout restart)。", course.Prometheus, j.Name)
		}
	}
	return good()
}

// same compares what is written of a job with what Prometheus has of it, which has all
// defaults filled in.
func (j job) same(written job) bool {
	or := func(value, def string) string {
		if value == "" {
			return def
		}
		return value
	}
	if or(written.Scheme, "http") != or(j.Scheme, "http") || len(written.Relabel) != len(j.Relabel) || written.TLS.CA != j.TLS.CA {
		return false
	}
	for i, w := range written.Relabel {
		r := j.Relabel[i]
		if or(w.Regex, "(.*)") != or(r.Regex, "(.*)") || or(w.Replacement, "$1") != or(r.Replacement, "$1") || or(w.Action, "replace") != or(r.Action, "replace") || !slices.Equal(w.Sources, r.Sources) {
			return false
		}
	}
	return true
}

// noAnswer is Prometheus that cannot be asked.
func (s *seen) noAnswer(err error) (finding, error) {
	for _, p := range s.own(s.deployment(course.Prometheus)) {
		if since, ok := readySince(p); ok && s.young(since, startTime) {
			return starting("Prometheus is ready, and its Service does not lead to it yet.", "Prometheusは準備完了ですが、Serviceがまだつながっていません。")
		}
	}
	return wrong("Service %[1]s: asked through the API server, Prometheus gives no answer: %[2]s. Look at the Service's endpoints and at the pod's log.",
		"Service %[1]s: APIサーバー経由でPrometheusから応答がありません: %[2]s。エンドポイントとPodのログを見てください。", course.Prometheus, err)
}
