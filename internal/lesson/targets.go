package lesson

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"k8sbootcamp/internal/course"
)

// target is one of Prometheus's (its HTTP API, /api/v1/targets).
type target struct {
	Labels    map[string]string `json:"labels"`
	Health    string            `json:"health"`
	LastError string            `json:"lastError"`
	ScrapeURL string            `json:"scrapeUrl"`
}

// firstScrapes is how long a Prometheus that has just started may have targets that it
// has not asked yet, or asked too early: twice the longest interval of common use.
const firstScrapes = 35 * time.Second

// targetsUp judges the targets of a job; want is how many there are to be, and -1 one at
// least.
func targetsUp(name string, want func(*seen) int) func(context.Context, *seen) (finding, error) {
	return func(ctx context.Context, s *seen) (finding, error) {
		all, err := s.targets.get(func() ([]target, error) {
			var answer struct {
				Data struct {
					Active []target `json:"activeTargets"`
				} `json:"data"`
			}
			err := s.askPrometheus(ctx, "/api/v1/targets", map[string]string{"state": "active"}, &answer)
			return answer.Data.Active, err
		})
		if err != nil {
			return s.noAnswer(err)
		}
		config, err := s.written()
		if err != nil {
			return good() // which is another question
		}
		var up, excused int
		var down []target
		for _, t := range all {
			switch {
			case t.Labels["job"] != name:
			case t.Health == "up":
				up++
			case s.excused(name, t):
				excused++
			default:
				down = append(down, t)
			}
		}
		if config.job(name) == nil {
			return wrong("ConfigMap %[1]s: scrape_configs has no job_name %[2]s.", "ConfigMap %[1]s: scrape_configs に job_name が %[2]s のジョブがありません。", course.Prometheus, name)
		}
		wanted := want(s)
		settled := !s.startedRecently()
		switch {
		case len(down) > 0 && (down[0].Health == "unknown" || !settled):
			return starting("Job %[1]s: %[2]d targets are up, and %[3]s was not asked in time yet; Prometheus asks every few seconds.",
				"ジョブ %[1]s: %[2]d 個のターゲットが up で、%[3]s はまだ確認中です。Prometheusは数秒ごとに確認します。", name, up, down[0].ScrapeURL)
		case len(down) > 0:
			return s.downTarget(config.job(name), down[0])
		case up == 0 || wanted >= 0 && up+excused < wanted:
			if !settled {
				return starting("Job %[1]s: %[2]d targets are up; Prometheus is still looking for others.", "ジョブ %[1]s: %[2]d 個のターゲットが up です。Prometheusがほかを探しています。", name, up)
			}
			return s.noTarget(config.job(name), up, wanted)
		case excused > 0:
			return noted("%[1]d up; %[2]d are of nodes on which the text has no exporter", "%[1]d 個 up。%[2]d 個はテキストでもexporterのないノードです", up, excused)
		}
		return noted("%d up", "%d 個 up", up)
	}
}

// excused is a target of a node on which the text's exporter does not run either.
func (s *seen) excused(job string, t target) bool {
	w := s.daemonSet(course.NodeExporter)
	if job != course.JobNodeExporter || w == nil {
		return false
	}
	for name := range s.lacking(w) {
		if t.Labels["instance"] == name {
			return true
		}
		for _, n := range s.nodes {
			for _, a := range n.Status.Addresses {
				if n.Name == name && strings.HasPrefix(t.Labels["instance"], a.Address+":") {
					return true
				}
			}
		}
	}
	return false
}

// startedRecently tells whether Prometheus, or what it asks, has just begun.
func (s *seen) startedRecently() bool {
	latest := time.Time{}
	for _, w := range []*workload{s.deployment(course.Prometheus), s.daemonSet(course.NodeExporter), s.deployment(course.KubeStateMetrics)} {
		if w == nil {
			continue
		}
		for _, p := range s.own(w) {
			if since, ok := readySince(p); ok {
				latest = later(latest, since)
			}
		}
	}
	return s.young(latest, firstScrapes)
}

// noTarget tells what to look at where a job finds nothing, or too little.
func (s *seen) noTarget(j *job, up, wanted int) (finding, error) {
	what := "kubernetes_sd_configs[].role"
	for i, r := range j.Relabel {
		if r.Action == "keep" || r.Action == "drop" {
			what = fmt.Sprintf("relabel_configs[%d] (%s by the regex %s)", i, r.Action, r.Regex)
		}
	}
	count := fmt.Sprint(up)
	if wanted > 0 {
		count = fmt.Sprintf("%d/%d", up, wanted)
	}
	return wrong("Job %[1]s of ConfigMap %[2]s finds too few targets (%[3]s): look at %[4]s, and at the labels on Prometheus's page Service Discovery.",
		"ConfigMap %[2]s のジョブ %[1]s のターゲットが足りません(%[3]s)。%[4]s と、PrometheusのService Discoveryページのラベルを見てください。", j.Name, course.Prometheus, count, what)
}

// downTarget tells what to look at where a target gives no metrics.
func (s *seen) downTarget(j *job, t target) (finding, error) {
	said := strings.ToLower(t.LastError)
	has := func(parts ...string) bool {
		return slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(said, p) })
	}
	tell := func(field, en, ja string) (finding, error) {
		down := say("Job %[1]s of ConfigMap %[2]s: %[3]s is down: %[4]s. Look at %[5]s: ",
			"ConfigMap %[2]s のジョブ %[1]s: %[3]s が down です: %[4]s。%[5]s を見てください: ", j.Name, course.Prometheus, t.ScrapeURL, t.LastError, field)
		return finding{Failed, Text{EN: down.EN + en + ".", JA: down.JA + ja + "。"}}, nil
	}
	scheme := "http"
	if u, err := url.Parse(t.ScrapeURL); err == nil {
		scheme = u.Scheme
	}
	switch {
	case has("400 bad request", "http response to https client", "http request to an https", "malformed http response") || scheme == "http" && strings.Contains(t.ScrapeURL, ":6443"):
		return tell("scheme", "one side speaks HTTP, the other HTTPS", "片方がHTTP、もう片方がHTTPSで話しています")
	case has("x509", "certificate"):
		return tell("tls_config.ca_file", "which authority signed the API server's certificate", "APIサーバーの証明書を署名した認証局は何でしょう")
	case has("401", "403", "unauthorized", "forbidden"):
		return tell("authorization.credentials_file", "as whom Prometheus asks, and what that account may do", "Prometheusが誰として問い合わせ、そのアカウントに何が許されているか")
	case has("connection refused"):
		for i, r := range j.Relabel {
			if r.Target == "__address__" {
				return tell(fmt.Sprintf("relabel_configs[%d].replacement", i), "on which port the exporter listens", "exporterが待ち受けるポートはどれでしょう")
			}
		}
		return tell("kubernetes_sd_configs", "whether anybody listens on that port", "そのポートで待ち受けるものがあるか")
	}
	return tell("kubernetes_sd_configs, relabel_configs", "where that address comes from, and whether anybody answers there", "そのアドレスがどこから来たか、そこで応答するものがあるか")
}

func one(*seen) int { return 1 }

func oneAtLeast(*seen) int { return -1 }

func everyNode(s *seen) int { return len(s.nodes) }

// hasJob tells whether Prometheus has a job that not every lab has, or is to have it.
func hasJob(name string) func(*seen) bool {
	return func(s *seen) bool {
		if slices.Contains(s.options.Exercises, "podMonitoring") {
			return true
		}
		w := s.deployment(course.Prometheus)
		if w == nil || s.configMap(course.Prometheus) == nil {
			return false
		}
		if key, configMap, f := configFile(w); f.state != OK || s.configMap(configMap) == nil || s.configMap(configMap).Data[key] == "" {
			return false
		}
		config, err := s.written()
		return err == nil && config.job(name) != nil
	}
}
