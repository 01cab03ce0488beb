"""Every rule is complete, asks for what is shipped, and fires where it should and nowhere else."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ocifree_pipeline.deployment.telemetry.alerts import MOST_RULES, RULES, expression, rules_for
from ocifree_pipeline.deployment.telemetry.alerts.model import Alert
from ocifree_pipeline.deployment.telemetry.pipeline import shipped
from ocifree_pipeline.sandbox.grafana import promql
from ocifree_pipeline_tests.deployment.telemetry.watched import OURS, TOPOLOGIES, USAGE, blueprint, jobs, metrics_in

ROOT = Path(__file__).parents[3]
MINUTE = 60_000
NOW = 1_800_000_000_000


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_every_rule_asks_for_metrics_that_are_shipped(topology: str) -> None:
    sent = shipped(jobs(topology))
    for rule in rules_for(blueprint(topology)):
        for metric in metrics_in(expression(rule, blueprint(topology))):
            known = USAGE if rule.source == "usage" else OURS
            assert metric in known or sent.has(metric), f"{rule.name} asks for {metric}"


def test_rules_are_few_complete_and_distinct() -> None:
    assert len(RULES) < MOST_RULES
    assert len({rule.name for rule in RULES}) == len(RULES)
    for rule in RULES:
        labels = set(re.findall(r"\$labels\.(\w+)", rule.summary + rule.command))
        by = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", rule.expr))))
        assert labels - {"cluster"} <= by, f"{rule.name} names labels that its query does not give"
        assert rule.context.endswith("."), rule.name
        assert rule.command.split()[0] in {"ocifree", "kubectl", "talosctl"}, rule.name
        assert re.fullmatch(r"\d+[smh]", rule.wait)


def test_every_rule_has_its_place_in_the_runbook() -> None:
    headings = set(re.findall(r"^#+ (\w+)$", (ROOT / "docs" / "monitoring.md").read_text(), re.MULTILINE))
    assert {rule.name for rule in RULES} <= headings


def series(name: str, values: list[float], **labels: str) -> tuple[dict[str, str], list[float]]:
    return {"__name__": name, "cluster": "lab", **labels}, values


def fires(rule: Alert, data: list[tuple[dict[str, str], list[float]]]) -> list[dict[str, str]]:
    """The labels with which it would fire now; values are a minute apart, the last one is now."""

    def source(matches: Any, after: int, until: int) -> Any:
        for labels, values in data:
            if all(one.test(labels.get(one.label, "")) for one in matches):
                points = [(NOW - (len(values) - 1 - at) * MINUTE, value) for at, value in enumerate(values)]
                inside = [(time, value) for time, value in points if after < time <= until]
                if inside:
                    yield labels, [time for time, _ in inside], [value for _, value in inside]

    value = promql.instant(source, expression(rule, blueprint("proxmox-ceph")), NOW)
    assert isinstance(value, list)
    return [labels for labels, _ in value]


def up(job: str, **values: float) -> list[tuple[dict[str, str], list[float]]]:
    return [series("up", [value], job=job, node=node) for node, value in values.items()]


def ready(**values: float) -> list[tuple[dict[str, str], list[float]]]:
    return [
        series("kube_node_status_condition", [value], condition="Ready", status="true", node=node)
        for node, value in values.items()
    ]


HOUR = 3600.0
CONTAINER = {"namespace": "n", "pod": "p", "container": "c"}
POD = {"namespace": "n", "pod": "p"}
LAB = {"deployment": "lab"}
USED = "grafanacloud_instance_active_series"
LOGGED = "grafanacloud_logs_instance_bytes_received_per_second"


def ramp(step: float, minutes: int = 40) -> list[float]:
    """A counter that grows by so much a minute."""
    return [step * minute for minute in range(minutes + 1)]


def part(of: str, whole: str, value: float, **labels: str) -> list[Any]:
    """So much of a hundred."""
    return [series(of, [value], **labels), series(whole, [100], **labels)]


def pair(one: str, other: str, value: float, **labels: str) -> list[Any]:
    """Three are wanted, and so many are there."""
    return [series(one, [3], **labels), series(other, [value], **labels)]


CASES: dict[str, tuple[list[Any], list[dict[str, str]], list[Any]]] = {
    # rule: what makes it fire, the labels with which it does, and what is near and must not
    "NodeDown": (up("node", a=1, b=0), [{"node": "b"}], up("node", a=1, b=1)),
    "NodeNotReady": (
        [*up("node", a=1, b=0), *ready(a=0, b=0)],
        [{"node": "a"}],
        [*up("node", a=1, b=0), *ready(a=1, b=0)],
    ),
    "NodeDiskFull": (
        part("node_filesystem_avail_bytes", "node_filesystem_size_bytes", 9, job="node", node="a", mountpoint="/var"),
        [{"node": "a", "mountpoint": "/var"}],
        part("node_filesystem_avail_bytes", "node_filesystem_size_bytes", 11, job="node", node="a", mountpoint="/var"),
    ),
    "NodeMemoryLow": (
        part("node_memory_MemAvailable_bytes", "node_memory_MemTotal_bytes", 7, job="node", node="a"),
        [{"node": "a"}],
        part("node_memory_MemAvailable_bytes", "node_memory_MemTotal_bytes", 9, job="node", node="a"),
    ),
    "NodeKilledProcess": (
        [series("node_vmstat_oom_kill", ramp(1), job="node", node="a")],
        [{"node": "a"}],
        [series("node_vmstat_oom_kill", [3, 3, 3], job="node", node="a")],
    ),
    "NodeClockWrong": (
        [series("node_timex_offset_seconds", [-0.2], job="node", node="a")],
        [{"node": "a"}],
        [series("node_timex_offset_seconds", [-0.05], job="node", node="a")],
    ),
    "ApiDown": (up("apiserver", a=0, b=0), [{}], up("apiserver", a=0, b=1)),
    "EtcdQuorumLost": (up("etcd", a=1, b=0, c=0), [{}], up("etcd", a=1, b=1, c=0)),
    "EtcdNoLeader": (
        [series("etcd_server_has_leader", [0], node="a")],
        [{"node": "a"}],
        [series("etcd_server_has_leader", [1], node="a")],
    ),
    "EtcdLeaderChanges": (
        [series("etcd_server_leader_changes_seen_total", ramp(0.5), node="a")],
        [{"node": "a"}],
        [series("etcd_server_leader_changes_seen_total", ramp(0.1), node="a")],
    ),
    "EtcdSlowDisk": (
        [
            series("etcd_disk_wal_fsync_duration_seconds_sum", ramp(12), node="a"),
            series("etcd_disk_wal_fsync_duration_seconds_count", ramp(60), node="a"),
        ],
        [{"node": "a"}],
        [
            series("etcd_disk_wal_fsync_duration_seconds_sum", ramp(3), node="a"),
            series("etcd_disk_wal_fsync_duration_seconds_count", ramp(60), node="a"),
        ],
    ),
    "EtcdDatabaseFull": (
        part("etcd_mvcc_db_total_size_in_bytes", "etcd_server_quota_backend_bytes", 81, node="a"),
        [{"node": "a"}],
        part("etcd_mvcc_db_total_size_in_bytes", "etcd_server_quota_backend_bytes", 79, node="a"),
    ),
    "CertificateExpires": (
        [series("kubelet_certificate_manager_client_ttl_seconds", [6 * 24 * HOUR], node="a")],
        [{"node": "a"}],
        [series("kubelet_certificate_manager_client_ttl_seconds", [8 * 24 * HOUR], node="a")],
    ),
    "PodCrashLoops": (
        [series("kube_pod_container_status_waiting_reason", [1], reason="CrashLoopBackOff", **CONTAINER)],
        [CONTAINER],
        [series("kube_pod_container_status_waiting_reason", [1], reason="ContainerCreating", **CONTAINER)],
    ),
    "PodRestarts": (
        [series("kube_pod_container_status_restarts_total", ramp(1), **CONTAINER)],
        [CONTAINER],
        [series("kube_pod_container_status_restarts_total", ramp(0.1), **CONTAINER)],
    ),
    "PodPending": (
        [series("kube_pod_status_phase", [1], phase="Pending", **POD)],
        [POD],
        [series("kube_pod_status_phase", [0], phase="Pending", **POD)],
    ),
    "DeploymentIncomplete": (
        pair("kube_deployment_spec_replicas", "kube_deployment_status_replicas_available", 2, namespace="n",
             deployment="d"),
        [{"namespace": "n", "deployment": "d"}],
        pair("kube_deployment_spec_replicas", "kube_deployment_status_replicas_available", 3, namespace="n",
             deployment="d"),
    ),
    "DaemonSetIncomplete": (
        pair("kube_daemonset_status_desired_number_scheduled", "kube_daemonset_status_number_ready", 2, namespace="n",
             daemonset="d"),
        [{"namespace": "n", "daemonset": "d"}],
        pair("kube_daemonset_status_desired_number_scheduled", "kube_daemonset_status_number_ready", 3, namespace="n",
             daemonset="d"),
    ),
    "JobFailed": (
        [series("kube_job_failed", [1], condition="true", namespace="n", job_name="j")],
        [{"namespace": "n", "job_name": "j"}],
        [series("kube_job_failed", [1], condition="false", namespace="n", job_name="j")],
    ),
    "VolumeFull": (
        part("kubelet_volume_stats_available_bytes", "kubelet_volume_stats_capacity_bytes", 9, namespace="n",
             persistentvolumeclaim="v"),
        [{"namespace": "n", "persistentvolumeclaim": "v"}],
        part("kubelet_volume_stats_available_bytes", "kubelet_volume_stats_capacity_bytes", 11, namespace="n",
             persistentvolumeclaim="v"),
    ),
    "DeliveryFailing": (
        [series("controller_runtime_reconcile_total", ramp(1), job="flux", result="error", controller="helmrelease")],
        [{"controller": "helmrelease"}],
        [series("controller_runtime_reconcile_total", ramp(1), job="flux", result="success", controller="helmrelease")],
    ),
    "NetworkUnreachable": (
        [series("cilium_unreachable_nodes", [1], node="a")],
        [{"node": "a"}],
        [series("cilium_unreachable_nodes", [0], node="a")],
    ),
    "NetworkDrops": (
        [series("cilium_drop_count_total", ramp(600), node="a", reason="Unsupported L3 protocol")],
        [{"node": "a", "reason": "Unsupported L3 protocol"}],
        [series("cilium_drop_count_total", ramp(600), node="a", reason="Policy denied")],
    ),
    "IngressDown": (
        [series("kube_daemonset_status_number_ready", [0], namespace="kube-system", daemonset="cilium-envoy")],
        [{}],
        [series("kube_daemonset_status_number_ready", [1], namespace="kube-system", daemonset="cilium-envoy")],
    ),
    "HypervisorDown": (
        [series("pve_up", [0], id="node/a"), series("pve_up", [0], id="qemu/100")],
        [{"id": "node/a"}],
        [series("pve_up", [0], id="qemu/100")],
    ),
    "ProxmoxQuorumLost": (
        [series("pve_up", [v], id=f"node/{n}") for n, v in enumerate([1, 0, 0])],
        [{}],
        [series("pve_up", [v], id=f"node/{n}") for n, v in enumerate([1, 1, 0])],
    ),
    "GuestDown": (
        [series("pve_up", [0], id="qemu/100"), series("pve_up", [1], id="qemu/101")],
        [{"id": "qemu/100"}],
        [series("pve_up", [1], id="qemu/100"), series("pve_up", [0], id="lxc/102")],
    ),
    "CephDegraded": ([series("ceph_health_status", [1])], [{}], [series("ceph_health_status", [0])]),
    "CephBroken": ([series("ceph_health_status", [2])], [{}], [series("ceph_health_status", [1])]),
    "CephDiskDown": (
        [series("ceph_osd_up", [0], ceph_daemon="osd.1"), series("ceph_osd_up", [1], ceph_daemon="osd.0")],
        [{"ceph_daemon": "osd.1"}],
        [series("ceph_osd_up", [1], ceph_daemon="osd.1")],
    ),
    "CephNearFull": (
        part("ceph_cluster_total_used_bytes", "ceph_cluster_total_bytes", 76),
        [{}],
        part("ceph_cluster_total_used_bytes", "ceph_cluster_total_bytes", 74),
    ),
    "DataAbsent": ([], [{"job": "alloy", "cluster": "lab"}], up("alloy", a=1)),
    "DataLost": (
        [series("prometheus_remote_storage_samples_failed_total", ramp(10), agent="alloy-cluster")],
        [{"agent": "alloy-cluster"}],
        [series("prometheus_remote_storage_samples_failed_total", [400, 400], agent="alloy-cluster")],
    ),
    "SeriesNearLimit": (
        [({"__name__": USED, "id": "1"}, [8001])], [{}], [({"__name__": USED, "id": "1"}, [7999])],
    ),
    "LogsNearLimit": (
        [({"__name__": LOGGED, "id": "1"}, [20_000])], [{}], [({"__name__": LOGGED, "id": "1"}, [10_000])],
    ),
    "CostNotZero": ([series("ocifree_cost", [0.01], **LAB)], [{}], [series("ocifree_cost", [0], **LAB)]),
    "IdleReclaimRisk": (
        [series("ocifree_machines_at_risk", [1], **LAB)], [{}], [series("ocifree_machines_at_risk", [0], **LAB)],
    ),
    # Asked last before the beginning of time, be it that of promtool.
    "HuntStopped": (
        [
            series("ocifree_machines_missing", [2], **LAB),
            series("ocifree_hunt_last_asked_seconds", [-5 * HOUR], **LAB),
        ],
        [{}],
        [
            series("ocifree_machines_missing", [0], **LAB),
            series("ocifree_hunt_last_asked_seconds", [-5 * HOUR], **LAB),
        ],
    ),
    "PipelineFails": (
        [series("ocifree_runs_failed_a_day", [3], **LAB)], [{}], [series("ocifree_runs_failed_a_day", [2], **LAB)],
    ),
}  # fmt: skip


def test_every_rule_has_its_case() -> None:
    assert set(CASES) == {rule.name for rule in RULES}


@pytest.mark.parametrize("name", CASES)
def test_a_rule_fires_where_it_should_and_nowhere_near(name: str) -> None:
    rule = next(one for one in RULES if one.name == name)
    bad, wanted, good = CASES[name]
    assert [{k: v for k, v in labels.items() if k != "__name__"} for labels in fires(rule, bad)] == wanted
    assert fires(rule, good) == []
    other = [({**labels, "cluster": "other", "deployment": "other"}, values) for labels, values in bad]
    if rule.source == "metrics" and name != "DataAbsent":
        assert fires(rule, other) == [], "another cluster's data is none of ours"


# with the real tool ---------------------------------------------------------------------------------------------------

PHASE = 100
"""Minutes that something is wrong; then it is well for as long."""


def _unit_test(rule: Alert) -> dict[str, Any]:
    """The same case in the form of promtool: it fires with its labels, and no longer once all is well."""
    bad, wanted, good = CASES[rule.name]
    expected = [{"exp_labels": {"severity": rule.severity, **one}} for one in wanted]
    phases: list[tuple[str, list[Any]]] = [(f"{PHASE - 5}m", expected), (f"{2 * PHASE - 1}m", [])]
    looked_at = [{"eval_time": at, "alertname": rule.name, "exp_alerts": alerts} for at, alerts in phases]
    test = {"interval": "1m", "input_series": list(_inputs(bad, good)), "alert_rule_test": looked_at}
    return {"evaluation_interval": "1m", "rule_files": [f"{rule.name}.rule.yaml"], "tests": [test]}


def _inputs(bad: list[Any], good: list[Any]) -> Iterator[dict[str, str]]:
    phases: dict[str, list[list[float] | None]] = {}
    for number, data in enumerate((bad, good)):
        for labels, values in data:
            phases.setdefault(_selector(labels), [None, None])[number] = values
    for selector, (first, then) in phases.items():
        begun = _values(first) if first else f"_x{PHASE}"
        yield {"series": selector, "values": f"{begun} {_values(then) if then else 'stale'}"}


def _values(values: list[float]) -> str:
    step = values[1] - values[0] if len(values) > 1 else 0
    return f"{values[0]}{step:+}x{PHASE - 1}"


def _selector(labels: dict[str, str]) -> str:
    pairs = ",".join(f'{key}="{value}"' for key, value in labels.items() if key != "__name__")
    return f"{labels['__name__']}{{{pairs}}}"


def _written(topology: str) -> dict[str, dict[str, Any]]:
    """The rules as Prometheus reads them."""
    return {
        rule.name: {
            "alert": rule.name,
            "expr": expression(rule, blueprint(topology)),
            "for": rule.wait,
            "labels": {"severity": rule.severity},
            "annotations": rule.annotations(),
        }
        for rule in rules_for(blueprint(topology))
    }


def _file(rules: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return {"groups": [{"name": "rules", "interval": "1m", "rules": list(rules)}]}


@pytest.mark.real("promtool")
@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_promtool_takes_every_rule(tmp_path: Path, topology: str) -> None:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(_file(_written(topology).values())))
    done = promtool("check", "rules", str(tmp_path / "rules.yaml"))
    assert done.returncode == 0, done.stderr
    assert f"{len(rules_for(blueprint(topology)))} rules found" in done.stdout


@pytest.mark.real("promtool")
def test_promtool_agrees_about_when_rules_fire_and_resolve(tmp_path: Path) -> None:
    written = _written("proxmox-ceph")
    for rule in rules_for(blueprint("proxmox-ceph")):
        alone = _file([{**written[rule.name], "annotations": {}}])
        (tmp_path / f"{rule.name}.rule.yaml").write_text(yaml.safe_dump(alone))
        (tmp_path / f"{rule.name}.test.yaml").write_text(yaml.safe_dump(_unit_test(rule)))
    done = promtool("test", "rules", *map(str, sorted(tmp_path.glob("*.test.yaml"))))
    assert done.returncode == 0, done.stderr + done.stdout
    assert done.stdout.count("SUCCESS") == len(written) == len(RULES)


def promtool(*words: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus)")
    return subprocess.run([program, *words], capture_output=True, text=True, check=False)
