"""Dashboards of the cluster itself."""

from __future__ import annotations

from ocifree_pipeline.deployment.telemetry.boards.model import Board, Panel, lines, number, table

KUBERNETES = Board(
    "kubernetes",
    "Kubernetes",
    (
        (
            "At a glance",
            (
                number("Nodes Ready", 'sum(kube_node_status_condition{condition="Ready",status="true",$C})'),
                number("Pods", "count(kube_pod_info{$C})"),
                number(
                    "Waiting containers",
                    "count(kube_pod_container_status_waiting_reason{$C}) or vector(0)",
                    red_above=0,
                ),
                number("Pending pods", 'sum(kube_pod_status_phase{phase="Pending",$C}) or vector(0)', red_above=0),
                number("Failed jobs", "sum(kube_job_failed{$C}) or vector(0)", red_above=0),
                number(
                    "Restarts in a day",
                    "sum(increase(kube_pod_container_status_restarts_total{$C}[1h])) * 24",
                    red_above=50,
                ),
            ),
        ),
        (
            "What it uses",
            (
                lines(
                    "CPU by namespace",
                    "{{namespace}}",
                    "sum by (namespace) (rate(container_cpu_usage_seconds_total{$C}[5m]))",
                ),
                lines(
                    "Memory by namespace",
                    "{{namespace}}",
                    "sum by (namespace) (container_memory_working_set_bytes{$C})",
                    "bytes",
                ),
                lines(
                    "Requested of what there is",
                    "{{resource}}",
                    "sum by (resource) (kube_pod_container_resource_requests{$C}) "
                    '/ on (resource) sum by (resource) (kube_node_status_allocatable{resource!="pods",$C})',
                    "percentunit",
                ),
                lines(
                    "Largest containers",
                    "{{namespace}}/{{pod}}/{{container}}",
                    "topk(10, sum by (namespace, pod, container) (container_memory_working_set_bytes{$C}))",
                    "bytes",
                    width=12,
                ),
                lines(
                    "Received by pods",
                    "{{namespace}}/{{pod}}",
                    "topk(10, sum by (namespace, pod) (rate(container_network_receive_bytes_total{$C}[5m])))",
                    "Bps",
                    width=12,
                ),
            ),
        ),
        (
            "What is not as it should be",
            (
                table("Waiting", "kube_pod_container_status_waiting_reason{$C} > 0"),
                table(
                    "Deployments without all of their pods",
                    "kube_deployment_spec_replicas{$C} - kube_deployment_status_replicas_available{$C} > 0",
                ),
            ),
        ),
    ),
)

NODES = Board(
    "nodes",
    "Nodes",
    (
        (
            "At a glance",
            (
                number("Answering", 'sum(up{job="node",$C})'),
                number("Unschedulable", "sum(kube_node_spec_unschedulable{$C})", red_above=0),
                number("Kubelets", 'sum(up{job="kubelet",$C})'),
                number("Pods", "sum(kubelet_running_pods{$C})"),
                number("Youngest boot", 'min(time() - node_boot_time_seconds{job="node",$C})', "s"),
                number("Disks read-only", 'sum(node_filesystem_readonly{mountpoint="/var",$C})', red_above=0),
            ),
        ),
        (
            "Resources",
            (
                lines(
                    "CPU in use",
                    "{{node}}",
                    '1 - avg by (node) (rate(node_cpu_seconds_total{mode="idle",$C}[5m]))',
                    "percentunit",
                ),
                lines(
                    "CPU stolen by the host",
                    "{{node}}",
                    'avg by (node) (rate(node_cpu_seconds_total{mode="steal",$C}[5m]))',
                    "percentunit",
                ),
                lines("Load", "{{node}}", "max by (node) (node_load5{$C})"),
                lines(
                    "Memory in use",
                    "{{node}}",
                    "1 - max by (node) (node_memory_MemAvailable_bytes{$C} / node_memory_MemTotal_bytes{$C})",
                    "percentunit",
                    help="Oracle may stop an A1 machine whose memory, CPU and network are all below 20 % for a week.",
                ),
                lines(
                    "Disk in use",
                    "{{node}} {{mountpoint}}",
                    "1 - node_filesystem_avail_bytes{$C} / node_filesystem_size_bytes{$C}",
                    "percentunit",
                ),
                lines(
                    "Disk busy", "{{node}} {{device}}", "rate(node_disk_io_time_seconds_total{$C}[5m])", "percentunit"
                ),
                lines("Received", "{{node}} {{device}}", "rate(node_network_receive_bytes_total{$C}[5m])", "Bps"),
                lines("Sent", "{{node}} {{device}}", "rate(node_network_transmit_bytes_total{$C}[5m])", "Bps"),
                lines("Waiting for memory", "{{node}}", "rate(node_pressure_memory_waiting_seconds_total{$C}[5m])"),
            ),
        ),
    ),
)

CONTROL_PLANE = Board(
    "control-plane",
    "Talos and etcd",
    (
        (
            "At a glance",
            (
                number("API servers", 'sum(up{job="apiserver",$C})'),
                number("etcd members", 'sum(up{job="etcd",$C})'),
                number("See a leader", "sum(etcd_server_has_leader{$C})"),
                number("Failed proposals", "sum(etcd_server_proposals_failed_total{$C})", red_above=0),
                number(
                    "Certificates end in",
                    "min(kubelet_certificate_manager_client_ttl_seconds{$C})",
                    "s",
                ),
                number("Database", "max(etcd_mvcc_db_total_size_in_bytes{$C})", "bytes"),
            ),
        ),
        (
            "etcd",
            (
                lines(
                    "Wait for the disk",
                    "{{node}}",
                    "rate(etcd_disk_wal_fsync_duration_seconds_sum{$C}[5m]) "
                    "/ rate(etcd_disk_wal_fsync_duration_seconds_count{$C}[5m])",
                    "s",
                ),
                lines("Leader changes", "{{node}}", "increase(etcd_server_leader_changes_seen_total{$C}[30m])"),
                lines(
                    "Database of its quota",
                    "{{node}}",
                    "etcd_mvcc_db_total_size_in_bytes{$C} / etcd_server_quota_backend_bytes{$C}",
                    "percentunit",
                ),
                lines("Requests in flight", "{{node}} {{request_kind}}", "apiserver_current_inflight_requests{$C}"),
                lines(
                    "Conditions of nodes",
                    "{{node}} {{condition}}",
                    'kube_node_status_condition{condition!="Ready",status="true",$C}',
                ),
                lines(
                    "Storage that the API sees", "{{node}}", "max by (node) (apiserver_storage_size_bytes{$C})", "bytes"
                ),
            ),
        ),
        (
            "Logs of Talos",
            (
                Panel(
                    "Errors",
                    (("", '{job="talos",$C} |~ "(?i)error|fail"'),),
                    "logs",
                    width=24,
                    source="logs",
                ),
            ),
        ),
    ),
)

NETWORK = Board(
    "network",
    "Network",
    (
        (
            "Cilium",
            (
                number("Agents", 'sum(up{job="cilium",$C})'),
                number("Unreachable", "sum(cilium_unreachable_nodes{$C})", red_above=0),
                number("Failing controllers", "sum(cilium_controllers_failing{$C})", red_above=0),
                number("Endpoints", 'sum(cilium_endpoint_state{endpoint_state="ready",$C})'),
                lines(
                    "Forwarded", "{{direction}}", "sum by (direction) (rate(cilium_forward_count_total{$C}[5m]))", "pps"
                ),
                lines(
                    "Dropped",
                    "{{reason}}",
                    "sum by (reason) (rate(cilium_drop_count_total{$C}[5m]))",
                    "pps",
                ),
            ),
        ),
        (
            "Flows",
            (
                lines("By verdict", "{{verdict}}", "sum by (verdict) (rate(hubble_flows_processed_total{$C}[5m]))"),
                lines("Drops", "{{reason}}", "sum by (reason) (rate(hubble_drop_total{$C}[5m]))"),
            ),
        ),
    ),
)

TAILSCALE = Board(
    "tailscale",
    "Tailscale",
    (
        (
            "Proxies",
            (
                number("Answering", 'sum(up{job="tailscale",$C})'),
                number("Health messages", "sum(tailscaled_health_messages{$C})", red_above=0),
                lines("Received", "{{instance}} {{path}}", "rate(tailscaled_inbound_bytes_total{$C}[5m])", "Bps"),
                lines("Sent", "{{instance}} {{path}}", "rate(tailscaled_outbound_bytes_total{$C}[5m])", "Bps"),
            ),
        ),
    ),
)

LOGS = Board(
    "logs",
    "Logs",
    (
        (
            "What arrives",
            (
                number(
                    "Bytes a second", "sum(grafanacloud_logs_instance_bytes_received_per_second)", "Bps", source="usage"
                ),
                number("Streams", "sum(grafanacloud_logs_instance_active_streams)", source="usage"),
                lines("Sent by agents", "{{instance}}", "rate(loki_write_sent_bytes_total{$C}[5m])", "Bps"),
                lines("Dropped by agents", "{{instance}}", "rate(loki_write_dropped_entries_total{$C}[5m])"),
            ),
        ),
        (
            "Lines",
            (
                Panel(
                    "Errors of pods",
                    (("", '{job="pods",$C} |~ "(?i)(error|fatal|panic)"'),),
                    "logs",
                    width=24,
                    source="logs",
                ),
                Panel(
                    "Events",
                    (("", '{job="kubernetes-events",$C}'),),
                    "logs",
                    width=24,
                    source="logs",
                ),
            ),
        ),
    ),
)
