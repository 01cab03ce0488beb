"""Which of the shipped metrics the dashboards and alert rules of a deployment ask for, and which of them asks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from ocifree_pipeline.deployment.blueprint import Blueprint
from ocifree_pipeline.deployment.telemetry.alerts import rules_for
from ocifree_pipeline.deployment.telemetry.boards import boards_for
from ocifree_pipeline.deployment.telemetry.pipeline import Job, shipped

_STRING = re.compile(r'"[^"]*"')
_WORD = re.compile(r"[a-zA-Z_:][\w:]*")
# Shown only while there is something to show.
AT_TIMES = frozenset({
    "ceph_health_detail",
    "cilium_drop_count_total",
    "hubble_drop_total",
    "kube_job_failed",
    "kube_pod_container_status_waiting_reason",
    "kubelet_volume_stats_available_bytes",
    "kubelet_volume_stats_capacity_bytes",
    "loki_write_dropped_entries_total",
    "tailscaled_health_messages",
    "tailscaled_inbound_bytes_total",
    "tailscaled_outbound_bytes_total",
})  # fmt: skip


def asked(blueprint: Blueprint, jobs: Iterable[Job]) -> dict[str, tuple[str, ...]]:
    """Who asks for each metric that is always there: titles of dashboards and names of rules."""
    sent = shipped(jobs)
    found: dict[str, dict[str, None]] = {}
    for who, query in _queries(blueprint):
        for word in _WORD.findall(_STRING.sub("", query)):
            if word not in AT_TIMES and sent.has(word):
                found.setdefault(word, {})[who] = None
    return {metric: tuple(those) for metric, those in sorted(found.items())}


def _queries(blueprint: Blueprint) -> Iterator[tuple[str, str]]:
    for board in boards_for(blueprint):
        for panel in board.panels():
            if panel.source == "metrics":
                yield from ((f"dashboard {board.title}", query) for _, query in panel.queries)
    for rule in rules_for(blueprint):
        if rule.source == "metrics":
            yield f"rule {rule.name}", rule.expr
