"""Dashboards of what lies below the cluster, and of the pipeline."""

from __future__ import annotations

from ocifree_pipeline.deployment.telemetry.boards.model import Board, lines, number, table

PROXMOX = Board(
    "proxmox",
    "Proxmox",
    (
        (
            "At a glance",
            (
                number("Nodes online", 'sum(pve_up{id=~"node/.+",$C})'),
                number("Guests running", 'sum(pve_up{id=~"qemu/.+|lxc/.+",$C})'),
                number("Cluster", 'max(pve_up{id=~"cluster/.+",$C})'),
            ),
        ),
        (
            "Nodes and guests",
            (
                lines("CPU", "{{id}}", 'pve_cpu_usage_ratio{id=~"node/.+|qemu/.+",$C}', "percentunit"),
                lines(
                    "Memory",
                    "{{id}}",
                    'pve_memory_usage_bytes{id=~"node/.+|qemu/.+",$C} '
                    '/ pve_memory_size_bytes{id=~"node/.+|qemu/.+",$C}',
                    "percentunit",
                ),
                lines(
                    "Storage",
                    "{{id}}",
                    'pve_disk_usage_bytes{id=~"storage/.+",$C} / pve_disk_size_bytes{id=~"storage/.+",$C}',
                    "percentunit",
                ),
                table("Guests", "pve_guest_info{$C}"),
                table("Stopped", 'pve_up{id=~"qemu/.+|lxc/.+",$C} == 0'),
            ),
        ),
    ),
)

CEPH = Board(
    "ceph",
    "Ceph",
    (
        (
            "At a glance",
            (
                number("Health (0 is well)", "max(ceph_health_status{$C})", red_above=0),
                number("Monitors in quorum", "sum(ceph_mon_quorum_status{$C})"),
                number("Disks up", "sum(ceph_osd_up{$C})"),
                number("Disks in", "sum(ceph_osd_in{$C})"),
                number("Groups degraded", "sum(ceph_pg_degraded{$C})", red_above=0),
                number(
                    "In use",
                    "max(ceph_cluster_total_used_bytes{$C} / ceph_cluster_total_bytes{$C})",
                    "percentunit",
                    red_above=0.75,
                ),
            ),
        ),
        (
            "Data",
            (
                lines(
                    "Groups that are clean",
                    "",
                    "sum(ceph_pg_clean{$C}) / sum(ceph_pg_total{$C})",
                    "percentunit",
                ),
                lines(
                    "Stored by pool",
                    "{{name}}",
                    "ceph_pool_stored{$C} * on (pool_id) group_left (name) ceph_pool_metadata{$C}",
                    "bytes",
                ),
                lines(
                    "Left by pool",
                    "{{name}}",
                    "ceph_pool_max_avail{$C} * on (pool_id) group_left (name) ceph_pool_metadata{$C}",
                    "bytes",
                ),
                table("What it complains about", "ceph_health_detail{$C} > 0", width=24),
            ),
        ),
    ),
)

PIPELINE = Board(
    "pipeline",
    "Cost and capacity",
    (
        (
            "Free",
            (
                number("Charged by Oracle", "max(last_over_time(ocifree_cost{$D}[1h]))", red_above=0),
                number("Days proven at zero", "max(last_over_time(ocifree_cost_days_proven{$D}[1h]))"),
                number("Look idle", "max(last_over_time(ocifree_machines_at_risk{$D}[1h]))", red_above=0),
                number(
                    "Active series",
                    "max(grafanacloud_instance_active_series)",
                    red_above=8000,
                    source="usage",
                ),
                number(
                    "Samples discarded a second",
                    "sum(grafanacloud_instance_samples_discarded_per_second)",
                    red_above=0,
                    source="usage",
                ),
                number(
                    "GB of logs this month",
                    "max(grafanacloud_org_logs_usage)",
                    "decgbytes",
                    red_above=40,
                    source="usage",
                ),
            ),
        ),
        (
            "The hunt for machines",
            (
                number("Missing", "max(last_over_time(ocifree_machines_missing{$D}[1h]))"),
                number("Launches tried", "max(last_over_time(ocifree_claim_attempts{$D}[1h]))"),
                number(
                    "Asked last",
                    "time() - max(last_over_time(ocifree_hunt_last_asked_seconds{$D}[1h]))",
                    "s",
                    red_above=14400,
                ),
                lines("Launches tried over time", "", "max(last_over_time(ocifree_claim_attempts{$D}[15m]))", width=6),
                lines(
                    "Machines missing over time", "", "max(last_over_time(ocifree_machines_missing{$D}[15m]))", width=6
                ),
            ),
        ),
        (
            "The pipeline",
            (
                number("Failed runs in a day", "max(last_over_time(ocifree_runs_failed_a_day{$D}[1h]))", red_above=0),
                number("Runs in a day", "max(last_over_time(ocifree_runs_a_day{$D}[1h]))"),
                lines("Failures of a day", "", "max(last_over_time(ocifree_runs_failed_a_day{$D}[15m]))"),
                lines("Charged over time", "", "max(last_over_time(ocifree_cost{$D}[15m]))"),
                lines("Seconds by asset", "{{asset}}", "last_over_time(ocifree_asset_seconds{$D}[15m])", "s", width=12),
            ),
        ),
    ),
)
