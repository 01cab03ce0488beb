"""Every rule is complete, asks for what is shipped, and fires where it should and nowhere else."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from ocifree_pipeline.deployment.telemetry.alerts import MOST_RULES, RULES, expression, prometheus_file, rules_for
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
CASES: dict[str, tuple[list[Any], list[dict[str, str]], list[Any]]] = {
    # rule: what makes it fire, the labels with which it does, and what is near and must not
    "NodeDown": (up("node", a=1, b=0), [{"node": "b"}], up("node", a=1, b=1)),
    "NodeNotReady": (
        [*up("node", a=1, b=0), *ready(a=0, b=0)],
        [{"node": "a"}],
        [*up("node", a=1, b=0), *ready(a=1, b=0)],
    ),
    "NodeDiskFull": (
        [
            series("node_filesystem_avail_bytes", [5], job="node", node="a", mountpoint="/var"),
            series("node_filesystem_size_bytes", [100], job="node", node="a", mountpoint="/var"),
        ],
        [{"node": "a", "mountpoint": "/var"}],
        [
            series("node_filesystem_avail_bytes", [50], job="node", node="a", mountpoint="/var"),
            series("node_filesystem_size_bytes", [100], job="node", node="a", mountpoint="/var"),
        ],
    ),
    "NodeKilledProcess": (
        [series("node_vmstat_oom_kill", [0, 0, 1], job="node", node="a")],
        [{"node": "a"}],
        [series("node_vmstat_oom_kill", [3, 3, 3], job="node", node="a")],
    ),
    "ApiDown": (up("apiserver", a=0, b=0), [{}], up("apiserver", a=0, b=1)),
    "EtcdQuorumLost": (up("etcd", a=1, b=0, c=0), [{}], up("etcd", a=1, b=1, c=0)),
    "EtcdNoLeader": (
        [series("etcd_server_has_leader", [0], node="a")],
        [{"node": "a"}],
        [series("etcd_server_has_leader", [1], node="a")],
    ),
    "CertificateExpires": (
        [series("kubelet_certificate_manager_client_ttl_seconds", [24 * HOUR], node="a")],
        [{"node": "a"}],
        [series("kubelet_certificate_manager_client_ttl_seconds", [24 * 30 * HOUR], node="a")],
    ),
    "PodCrashLoops": (
        [series("kube_pod_container_status_waiting_reason", [1], reason="CrashLoopBackOff", **CONTAINER)],
        [{"namespace": "n", "pod": "p", "container": "c"}],
        [series("kube_pod_container_status_waiting_reason", [1], reason="ContainerCreating", **CONTAINER)],
    ),
    "PodRestarts": (
        [series("kube_pod_container_status_restarts_total", [0, 3, 6, 9], namespace="n", pod="p", container="c")],
        [{"namespace": "n", "pod": "p", "container": "c"}],
        [series("kube_pod_container_status_restarts_total", [9, 9, 9, 9], namespace="n", pod="p", container="c")],
    ),
    "IngressDown": (
        [series("kube_daemonset_status_number_ready", [0], namespace="kube-system", daemonset="cilium-envoy")],
        [{}],
        [series("kube_daemonset_status_number_ready", [1], namespace="kube-system", daemonset="cilium-envoy")],
    ),
    "ProxmoxQuorumLost": (
        [series("pve_up", [v], id=f"node/{n}") for n, v in enumerate([1, 0, 0])],
        [{}],
        [series("pve_up", [v], id=f"node/{n}") for n, v in enumerate([1, 1, 0])],
    ),
    "HypervisorDown": (
        [series("pve_up", [0], id="node/a"), series("pve_up", [0], id="qemu/100")],
        [{"id": "node/a"}],
        [series("pve_up", [0], id="qemu/100")],
    ),
    "CephDegraded": ([series("ceph_health_status", [1])], [{}], [series("ceph_health_status", [0])]),
    "CephBroken": ([series("ceph_health_status", [2])], [{}], [series("ceph_health_status", [1])]),
    "CephDiskDown": (
        [series("ceph_osd_up", [0], ceph_daemon="osd.1"), series("ceph_osd_up", [1], ceph_daemon="osd.0")],
        [{"ceph_daemon": "osd.1"}],
        [series("ceph_osd_up", [1], ceph_daemon="osd.1")],
    ),
    "DataAbsent": ([], [{"job": "alloy", "cluster": "lab"}], up("alloy", a=1)),
    "SeriesNearLimit": (
        [({"__name__": "grafanacloud_instance_active_series", "id": "1"}, [8001])],
        [{}],
        [({"__name__": "grafanacloud_instance_active_series", "id": "1"}, [7999])],
    ),
    "LogsNearLimit": (
        [({"__name__": "grafanacloud_logs_instance_bytes_received_per_second", "id": "1"}, [20_000])],
        [{}],
        [({"__name__": "grafanacloud_logs_instance_bytes_received_per_second", "id": "1"}, [10_000])],
    ),
    "CostNotZero": (
        [series("ocifree_cost", [0.01, 0.01], deployment="lab")],
        [{}],
        [series("ocifree_cost", [0, 0], deployment="lab")],
    ),
    "IdleReclaimRisk": (
        [series("ocifree_machines_at_risk", [1], deployment="lab")],
        [{}],
        [series("ocifree_machines_at_risk", [0], deployment="lab")],
    ),
    "HuntStopped": (
        [
            series("ocifree_machines_missing", [2], deployment="lab"),
            series("ocifree_hunt_last_asked_seconds", [NOW / 1000 - 5 * HOUR], deployment="lab"),
        ],
        [{}],
        [
            series("ocifree_machines_missing", [0], deployment="lab"),
            series("ocifree_hunt_last_asked_seconds", [NOW / 1000 - 5 * HOUR], deployment="lab"),
        ],
    ),
}  # fmt: skip


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


def _unit_tests() -> dict[str, Any]:
    """The same cases in the form of promtool."""
    tests = []
    for name, (bad, wanted, _) in CASES.items():
        rule = next(one for one in RULES if one.name == name)
        if name in {"CertificateExpires", "HuntStopped"}:
            continue  # promtool's time begins at 0
        inputs = [
            {"series": _selector(labels), "values": f"{' '.join(map(str, values))} {values[-1]}+0x100"}
            for labels, values in bad
        ]
        expected = [{"exp_labels": {"severity": rule.severity, **one}} for one in wanted]
        at = "4m" if name in {"NodeKilledProcess", "PodRestarts"} else "90m"
        looked_at = {"eval_time": at, "alertname": name, "exp_alerts": expected}
        tests.append({"interval": "1m", "input_series": inputs, "alert_rule_test": [looked_at]})
    return {"evaluation_interval": "1m", "rule_files": ["rules.yaml"], "tests": tests}


def _selector(labels: dict[str, str]) -> str:
    pairs = ",".join(f'{key}="{value}"' for key, value in labels.items() if key != "__name__")
    return f"{labels['__name__']}{{{pairs}}}"


@pytest.mark.real("promtool")
@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_promtool_takes_every_rule(tmp_path: Path, topology: str) -> None:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(prometheus_file(blueprint(topology))))
    done = promtool("check", "rules", str(tmp_path / "rules.yaml"))
    assert done.returncode == 0, done.stderr
    assert f"{len(rules_for(blueprint(topology)))} rules found" in done.stdout


@pytest.mark.real("promtool")
def test_promtool_agrees_about_when_rules_fire(tmp_path: Path) -> None:
    rules = prometheus_file(blueprint("proxmox-ceph"))
    for group in rules["groups"]:
        for rule in group["rules"]:
            del rule["annotations"]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules))
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(_unit_tests()))
    done = promtool("test", "rules", str(tmp_path / "tests.yaml"))
    assert done.returncode == 0, done.stderr + done.stdout


def promtool(*words: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus)")
    return subprocess.run([program, *words], capture_output=True, text=True, check=False)
