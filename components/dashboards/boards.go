package dashboards

import (
	"encoding/json"
	"fmt"

	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
	"github.com/grafana/grafana-foundation-sdk/go/units"
	"github.com/prometheus/common/model"

	"k8sbootcamp/components/monitoring"
	"k8sbootcamp/internal/course"
)

// A Board is a dashboard, as Grafana reads it.
type Board struct {
	Name string // of its file, and its UID
	JSON []byte
}

// A query is one of a panel: PromQL, and what a line of it is called.
type query struct{ expr, legend string }

// A panel shows queries as lines over time, or, where it has a number of its own, as
// that.
type panel struct {
	title, unit string
	number      bool
	queries     []query
}

const (
	count = units.Short
	share = units.PercentUnit
	bytes = units.BytesIEC
	speed = units.BytesPerSecondIEC
	cores = units.Short
)

// source is the one data source.
var source = func() common.DataSourceRef {
	kind, uid := "prometheus", "prometheus"
	return common.DataSourceRef{Type: &kind, Uid: &uid}
}()

// Nodes are the machines: what the course's node-exporter tells.
func Nodes(window model.Duration) (Board, error) {
	return board("bootcamp-nodes", "Nodes", []panel{
		{"Nodes that answer", count, true, []query{{`count(up{job="node-exporter"} == 1)`, ""}}},
		{"Targets that do not", count, true, []query{{`count(up == 0) or vector(0)`, ""}}},
		{"Processor in use", share, false, []query{{monitoring.NodeCPUBusy(window), "{{instance}}"}}},
		{"Memory in use", share, false, []query{{monitoring.NodeMemoryUsed, "{{instance}}"}}},
		{"Fullest disk", share, false, []query{{monitoring.NodeDiskUsed, "{{instance}}"}}},
		{"Received from the network", speed, false, []query{{fmt.Sprintf(`sum by (instance) (rate(node_network_receive_bytes_total{device!="lo"}[%s]))`, window), "{{instance}}"}}},
	})
}

// App is the course's echo app in a namespace: what it should have, and what it has.
func App(namespace string, window model.Duration) (Board, error) {
	deployment := fmt.Sprintf(`namespace=%q,deployment=%q`, namespace, course.App)
	pods := fmt.Sprintf(`namespace=%q,container=%q`, namespace, course.Container)
	return board("bootcamp-app", "Echo app", []panel{
		{"Pods wanted", count, true, []query{{`kube_deployment_spec_replicas{` + deployment + `}`, ""}}},
		{"Pods ready", count, true, []query{{`kube_deployment_status_replicas_available{` + deployment + `}`, ""}}},
		{"Pods wanted and ready", count, false, []query{
			{`kube_deployment_spec_replicas{` + deployment + `}`, "wanted"},
			{`kube_deployment_status_replicas_available{` + deployment + `}`, "ready"},
		}},
		{"Restarts", count, false, []query{{`sum by (pod) (kube_pod_container_status_restarts_total{` + pods + `})`, "{{pod}}"}}},
		{"Processors in use", cores, false, []query{{fmt.Sprintf(`sum by (pod) (rate(container_cpu_usage_seconds_total{%s}[%s]))`, pods, window), "{{pod}}"}}},
		{"Memory in use", bytes, false, []query{{`sum by (pod) (container_memory_working_set_bytes{` + pods + `})`, "{{pod}}"}}},
	})
}

// Everywhere is the selector of all namespaces.
const Everywhere = `namespace=~".+"`

// Class is everybody, a line a namespace, of those that a selector picks: those of the
// students on a shared cluster.
func Class(in string, window model.Duration) (Board, error) {
	return board("bootcamp-class", "Class", []panel{
		{"Namespaces with pods", count, true, []query{{`count(count by (namespace) (kube_pod_info{` + in + `}))`, ""}}},
		{"Pods that are missing", count, true, []query{{`sum(kube_deployment_spec_replicas{` + in + `} - kube_deployment_status_replicas_available{` + in + `})`, ""}}},
		{"Pods ready", count, false, []query{{`sum by (namespace) (kube_deployment_status_replicas_available{` + in + `})`, "{{namespace}}"}}},
		{"Pods missing", count, false, []query{{`sum by (namespace) (kube_deployment_spec_replicas{` + in + `} - kube_deployment_status_replicas_available{` + in + `})`, "{{namespace}}"}}},
		{"Restarts", count, false, []query{{`sum by (namespace) (kube_pod_container_status_restarts_total{` + in + `})`, "{{namespace}}"}}},
		{"Processors in use", cores, false, []query{{fmt.Sprintf(`sum by (namespace) (rate(container_cpu_usage_seconds_total{container!="",%s}[%s]))`, in, window), "{{namespace}}"}}},
		{"Memory in use", bytes, false, []query{{`sum by (namespace) (container_memory_working_set_bytes{container!="",` + in + `})`, "{{namespace}}"}}},
	})
}

// board lays panels out: the numbers beside each other, then the lines, two a row.
func board(uid, title string, panels []panel) (Board, error) {
	//lint:ignore SA1019 every Grafana reads this format from a file; the new one not yet
	b := dashboard.NewDashboardBuilder(title).Uid(uid).Tags([]string{"bootcamp"}).Readonly().
		Refresh("10s").Time("now-30m", "now").Timezone(common.TimeZoneBrowser)
	legend := common.NewVizLegendOptionsBuilder().ShowLegend(true).DisplayMode(common.LegendDisplayModeList).Placement(common.LegendPlacementBottom)
	tooltip := common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeMulti).Sort(common.SortOrderDescending)
	last := common.NewReduceDataOptionsBuilder().Calcs([]string{"lastNotNull"})
	for i, p := range panels {
		id := uint32(i + 1)
		if p.number {
			made := stat.NewPanelBuilder().Id(id).Title(p.title).Unit(p.unit).Datasource(source).Height(4).Span(6).
				ReduceOptions(last).Orientation(common.VizOrientationAuto).GraphMode(common.BigValueGraphModeNone)
			for n, q := range p.queries {
				made.WithTarget(target(n, q).Instant())
			}
			b.WithPanel(made)
			continue
		}
		made := timeseries.NewPanelBuilder().Id(id).Title(p.title).Unit(p.unit).Datasource(source).Height(8).Span(12).Min(0).Legend(legend).Tooltip(tooltip)
		for n, q := range p.queries {
			made.WithTarget(target(n, q))
		}
		b.WithPanel(made)
	}
	built, err := b.Build()
	if err != nil {
		return Board{}, fmt.Errorf("dashboard %s: %w", uid, err)
	}
	raw, err := json.MarshalIndent(built, "", "  ")
	return Board{uid, raw}, err
}

// target is the n-th of a panel.
func target(n int, q query) *prometheus.DataqueryBuilder {
	made := prometheus.NewDataqueryBuilder().RefId(string(rune('A' + n))).Expr(q.expr).Datasource(source)
	if q.legend != "" {
		made.LegendFormat(q.legend)
	}
	return made
}
