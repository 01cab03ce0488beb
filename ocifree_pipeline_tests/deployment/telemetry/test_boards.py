"""Every query of every dashboard is PromQL or LogQL, and asks for metrics that this deployment really ships."""

from __future__ import annotations

import json
import subprocess

import pytest

from ocifree_pipeline.deployment.telemetry.boards import boards_for, filled_in
from ocifree_pipeline.deployment.telemetry.boards.model import Board
from ocifree_pipeline.deployment.telemetry.pipeline import shipped
from ocifree_pipeline.sandbox.grafana import logs
from ocifree_pipeline.systems.grafana.drawing import SOURCES, drawn, uid_of
from ocifree_pipeline_tests.deployment.telemetry.watched import OURS, TOPOLOGIES, USAGE, blueprint, jobs, metrics_in
from ocifree_pipeline_tests.real.programs import program

BOARDS = [(topology, board) for topology in TOPOLOGIES for board in boards_for(blueprint(topology))]
every_board = pytest.mark.parametrize(("topology", "board"), BOARDS, ids=[f"{t}-{b.name}" for t, b in BOARDS])


@every_board
def test_every_query_asks_for_what_is_shipped(topology: str, board: Board) -> None:
    sent = shipped(jobs(topology))
    for panel in board.panels():
        for _, query in panel.queries:
            text = filled_in(query, blueprint(topology))
            assert "$" not in text
            if panel.source == "logs":
                assert logs.parse(text).matches
                continue
            for metric in metrics_in(text):
                known = USAGE if panel.source == "usage" else OURS
                assert metric in known or sent.has(metric), f"{panel.title} asks for {metric}"


@pytest.mark.real("logql")
def test_loki_reads_every_query_for_lines() -> None:
    queries = {
        filled_in(query, blueprint(topology))
        for topology, board in BOARDS
        for panel in board.panels()
        if panel.source == "logs"
        for _, query in panel.queries
    }
    assert len(queries) >= 3

    def asked(text: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([program("logql")], input=text, capture_output=True, text=True, check=False)

    read = asked("\n".join(sorted(queries)))
    assert (read.returncode, read.stderr) == (0, "")
    wrong = asked('{job="talos"} |~ error')
    assert wrong.returncode == 1
    assert "parse error" in wrong.stderr


# As Grafana's own list of units names them: an unknown one is shown as a suffix.
UNITS = {"short", "percentunit", "bytes", "decgbytes", "Bps", "pps", "s"}


@every_board
def test_grafanas_own_model_of_a_dashboard_knows_every_field(topology: str, board: Board) -> None:
    """Read into its types and written again, nothing is lost: what they do not know would be."""
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard

    register_default_plugins()
    first = drawn(board, blueprint(topology))
    assert json.loads(JSONEncoder().encode(Dashboard.from_json(first))) == first
    strange = {**first, "surprise": True}
    assert json.loads(JSONEncoder().encode(Dashboard.from_json(strange))) != strange
    for panel in (one for one in first["panels"] if one["type"] not in {"row", "logs"}):
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
        if panel["type"] == "table":
            assert {target["format"] for target in panel["targets"]} == {"table"}, "a row for each series"


@every_board
def test_it_is_drawn_the_same_every_time_and_complete(topology: str, board: Board) -> None:
    first, again = (drawn(board, blueprint(topology)) for _ in range(2))
    assert first == again
    assert first["uid"] == uid_of(board, blueprint(topology))
    assert len(first["uid"]) <= 40
    panels = [panel for panel in first["panels"] if panel["type"] != "row"]
    assert len(panels) == len(list(board.panels()))
    for shown, panel in zip(panels, board.panels(), strict=True):
        assert shown["datasource"]["uid"] == SOURCES[panel.source][1]
        assert [one["expr"] for one in shown["targets"]] == [
            filled_in(query, blueprint(topology)) for _, query in panel.queries
        ]
        assert shown["gridPos"]["x"] + shown["gridPos"]["w"] <= 24
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in first["panels"]]
    assert len(set(places)) == len(places), "panels lie on each other"
    assert "glc_" not in json.dumps(first)


def test_the_other_topologys_dashboards_are_left_out() -> None:
    names = {topology: {board.name for board in boards_for(blueprint(topology))} for topology in TOPOLOGIES}
    assert {"proxmox", "ceph"} <= names["proxmox-ceph"]
    assert not {"proxmox", "ceph"} & names["talos-native"]
    assert "pipeline" in names["talos-native"]


def test_every_metric_that_is_shipped_has_a_use() -> None:
    """What nobody looks at costs series for nothing. Few are kept for a person who searches by hand."""
    from ocifree_pipeline.deployment.telemetry.alerts import RULES, expression

    drawn_ = blueprint("proxmox-ceph")
    asked = {m for rule in RULES for m in metrics_in(expression(rule, drawn_))}
    asked |= {
        metric
        for topology, board in BOARDS
        for panel in board.panels()
        if panel.source != "logs"
        for _, query in panel.queries
        for metric in metrics_in(filled_in(query, blueprint(topology)))
    }
    kept = {
        name
        for job in jobs("proxmox-ceph")
        for rule in job.rules
        if rule.action == "keep" and rule.source_labels == ("__name__",)
        for name in rule.regex.split("|")
        if "(" not in name and ")" not in name
    }
    by_hand = {
        "container_cpu_cfs_throttled_periods_total", "container_network_transmit_bytes_total", "kube_node_info",
        "node_disk_read_bytes_total", "node_disk_written_bytes_total", "node_load1", "node_uname_info",
        "node_pressure_cpu_waiting_seconds_total", "node_pressure_io_waiting_seconds_total",
        "kube_persistentvolumeclaim_status_phase", "kube_statefulset_replicas",
        "kube_statefulset_status_replicas_ready",
        "process_start_time_seconds", "prometheus_remote_storage_samples_total", "alloy_build_info",
        "pve_cluster_info", "pve_cpu_usage_limit", "pve_node_info", "ceph_pg_active",
    }  # fmt: skip
    assert kept - asked <= by_hand, kept - asked - by_hand
