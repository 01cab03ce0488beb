"""manifests/monitoring in both topologies: what Kubernetes takes, pinned, nothing secret, and in the form of Alloy."""

from __future__ import annotations

import re
from functools import cache

import pytest

from ocifree_pipeline.deployment.convergence import Ref
from ocifree_pipeline.deployment.port_rules import rules_between_nodes
from ocifree_pipeline.deployment.secret_literals import secret_kind
from ocifree_pipeline.deployment.telemetry import landscape, planned
from ocifree_pipeline.deployment.telemetry.pipeline import load
from ocifree_pipeline.deployment.telemetry.relabel import relabelled, rules_of
from ocifree_pipeline.systems.kube.objects import Object, at, is_of, ordered, ref_of
from ocifree_pipeline.systems.kube.rendering import manifest_folder, render
from ocifree_pipeline_tests.deployment.telemetry.watched import TOPOLOGIES, blueprint, rendered, values
from ocifree_pipeline_tests.test_manifests import CUSTOM, is_custom

every_topology = pytest.mark.parametrize("topology", TOPOLOGIES)


@cache
def objects(topology: str) -> tuple[Object, ...]:
    return tuple(ordered(render("monitoring", values(topology))))


@every_topology
def test_kubernetes_takes_every_object(topology: str) -> None:
    import kubernetes_validate

    for thing in objects(topology):
        if is_custom(thing):
            assert (thing["apiVersion"], thing["kind"]) in CUSTOM, ref_of(thing)
        else:
            kubernetes_validate.validate(thing, "1.36", strict=True)


@every_topology
def test_the_namespace_comes_first_and_everything_is_in_it(topology: str) -> None:
    first, *others = objects(topology)
    assert is_of(first, ("", "Namespace"))
    assert {at(thing, "metadata.namespace") for thing in others if thing["kind"] != "ProxyClass"} == {"monitoring"}


@every_topology
def test_everything_is_pinned_and_nothing_is_secret(topology: str) -> None:
    for thing in objects(topology):
        assert thing["kind"] != "Secret"
        if thing["kind"] == "HelmRelease":
            assert re.fullmatch(r"\d+\.\d+\.\d+", at(thing, "spec.chart.spec.version"))
        for container in at(thing, "spec.template.spec", {}).get("containers", ()):
            assert re.fullmatch(r"[a-z.]+/.+:\d+\.\d+\.\d+", container["image"])
    text = "\n".join(path.read_text() for path in (manifest_folder() / "monitoring").iterdir())
    assert not [word for word in re.findall(r"[^\s\"':=]{16,}", text) if secret_kind(word)]


@every_topology
def test_what_is_delivered_is_what_was_checked(topology: str) -> None:
    """The text in the ConfigMap is to the letter the one whose series were counted."""
    made = rendered(topology)
    for name, text in (("alloy-cluster", made.cluster), ("alloy-node", made.node)):
        (found,) = (
            one for one in objects(topology) if is_of(one, ("", "ConfigMap")) and at(one, "metadata.name") == name
        )
        kept = [line.rstrip() for line in found["data"]["config.alloy"].splitlines() if line.strip()]
        assert kept == [line.rstrip() for line in text.splitlines() if line.strip()]


@every_topology
def test_agents_may_read_what_they_ask_for_and_no_more(topology: str) -> None:
    """The chart itself would give them every secret, and not the metrics of kubelets through the API server."""
    granted = {}
    for thing in objects(topology):
        if thing["kind"] == "HelmRelease" and (rbac := at(thing, "spec.values.rbac")) is not None:
            rules = [*rbac["rules"], *rbac["clusterRules"]]
            assert {verb for rule in rules for verb in rule["verbs"]} <= {"get", "list", "watch"}
            granted[at(thing, "metadata.name")] = {
                name for rule in rules for name in (*rule.get("resources", ()), *rule.get("nonResourceURLs", ()))
            }
    assert granted == {
        "alloy-cluster": {"pods", "namespaces", "events", "nodes", "nodes/metrics", "/metrics"},
        "alloy-node": {"pods", "/metrics"},
    }
    paths = {job.name: (job.scheme, job.path) for job in rendered(topology).jobs}
    assert paths["kubelet"] == ("https", "/metrics")
    assert paths["cadvisor"] == ("https", "/metrics/cadvisor")
    assert "/proxy/" not in rendered(topology).cluster, "that needs nodes/proxy, with which one can run anything"


@pytest.mark.parametrize(
    ("annotations", "path"),
    [({}, "/var/log/pods/*u1/main/*.log"), ({"kubernetes_io_config_hash": "c0de"}, "/var/log/pods/*c0de/main/*.log")],
)
def test_logs_are_read_where_the_kubelet_writes_them(annotations: dict[str, str], path: str) -> None:
    """It names the folder of a static pod by the digest of its file."""
    loaded = load(rendered("talos-native").node, {"HOSTNAME": "n", "GRAFANA_CLOUD_TOKEN": "t"})
    block = loaded["discovery.relabel.pod_logs"]
    meta = {"__meta_kubernetes_pod_uid": "u1", "__meta_kubernetes_pod_container_name": "main"}
    meta |= {f"__meta_kubernetes_pod_annotation_{name}": value for name, value in annotations.items()}
    found = relabelled(meta, rules_of(block))
    assert found is not None
    assert found["__path__"] == path


@every_topology
def test_every_port_of_a_node_that_is_scraped_is_open_between_nodes(topology: str) -> None:
    """A closed one would show a node as down that is well."""
    size = landscape.imagined(3, 40, proxmox=3 if topology == "proxmox-ceph" else 0)
    nodes = {node.address for node in (*size.nodes, *size.proxmox)}
    asked = {
        int(port)
        for job in rendered(topology).jobs
        for meta in planned.discovered(job.discovery, size)
        if (target := job.target(meta)) is not None
        for host, _, port in [target["__address__"].rpartition(":")]
        if host in nodes
    }
    assert {9100, 10250, 6443, 2381, 9962, 9965, 12345} <= asked
    drawn = blueprint(topology).plan.topology
    opened = [rule.ports for rule in rules_between_nodes(drawn) if rule.peer == Ref("group/inside") and rule.ports]
    assert {port for port in asked if not any(first <= port <= last for first, last in opened)} == set()


@every_topology
def test_credentials_are_variables_and_every_sink_has_them(topology: str) -> None:
    for text in (rendered(topology).cluster, rendered(topology).node):
        passwords = re.findall(r"password\s*=\s*(.+)", text)
        assert passwords
        assert set(passwords) == {'sys.env("GRAFANA_CLOUD_TOKEN")'}
    for job in rendered(topology).jobs:
        assert job.sample_limit > 0, job.name
        assert job.interval == "60s"
        assert [sink.external for sink in job.sinks] == [{"cluster": "lab", "deployment": "lab"}]


def test_files_are_indented_as_alloy_does_it() -> None:
    for path in (manifest_folder() / "monitoring").glob("*.alloy.j2"):
        for line in path.read_text().splitlines():
            inner = line.removeprefix("{%")
            assert not re.match(r" +[a-z]", inner) or line.startswith(("{%", "    {")), f"{path.name}: {line!r}"
