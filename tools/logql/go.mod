module logql

go 1.26.5

require github.com/grafana/loki/v3 v3.7.6

// As Loki itself does.
replace github.com/hashicorp/memberlist => github.com/grafana/memberlist v0.3.1-0.20251126142931-6f9f62ab6f86
