// Package prometheus holds what the lab hands to Prometheus (testdata/prometheus in the
// folder above, which the unit tests keep) against Prometheus's own code: its
// configuration, its rules, by promtool's rule tests, and the queries of the dashboards.
// A module of its own, for Prometheus is large; it takes nothing of ours but files, so
// that nothing of ours is compiled again beside it.
package prometheus
