"""What arrives at the stack from a cluster that runs our configuration, and what does not once something breaks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ocifree_pipeline.deployment.telemetry.alerts import RULES
from ocifree_pipeline.sandbox import outbox
from ocifree_pipeline.sandbox.clock import parse
from ocifree_pipeline.sandbox.grafana import alerting, boards, logs, metrics, minutes, promql, stack, traces
from ocifree_pipeline.sandbox.kubernetes import cluster as clusters
from ocifree_pipeline.sandbox.kubernetes.cluster import Cluster
from ocifree_pipeline.sandbox.profiles import Profile, seed
from ocifree_pipeline.sandbox.world import World
from ocifree_pipeline.systems.grafana.alerting import groups_for
from ocifree_pipeline_tests.sandbox.grafana import monitored
from ocifree_pipeline_tests.sandbox.harness import owner_keys


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A world in which everything has run for some minutes, as a snapshot keeps it."""
    made = World(tmp_path_factory.mktemp("grown"), seed=7, mode="manual")
    seed(made, Profile(), owner_keys().public_pem)
    blueprint = monitored.declared(monitored.offered(made), "talos-native", contact_emails=["you@example.org"])
    monitored.cluster_in(made, blueprint)
    monitored.deliver(made, blueprint, stack.offered(made)["token"])
    boards.make_folder(made, {"uid": "f", "title": "ocifree"})
    alerting.put_contact_point(
        made, {"name": "lab", "type": "email", "settings": {"addresses": "you@example.org"}}, None
    )
    alerting.put_policy(made, {"receiver": "lab"})
    for group in groups_for(blueprint, "f"):
        alerting.put_group(made, "f", group.name, group.body(), provenance="")
    minutes.keep(made)
    monitored.settle(made, 240)
    return json.dumps(made.to_json())


@pytest.fixture
def world(grown: str, tmp_path: Path) -> World:
    made = World(tmp_path, seed=7, mode="manual")
    made.load_json(json.loads(grown))
    return made


def cluster(world: World) -> Cluster:
    return clusters.find_existing(world, "lab")


def mails(world: World) -> list[str]:
    return [one["subject"] for one in outbox.messages(world)]


def ask(world: World, query: str) -> list[tuple[dict[str, str], float]]:
    value = promql.instant(metrics.stored(world), query, int(world.clock.now().timestamp() * 1000))
    assert isinstance(value, list)
    return value


def lines(world: World, query: str) -> list[str]:
    now = int(world.clock.now().timestamp() * 1e9)
    return [text for one in logs.find(world, query, 0, now + 1, 500, forward=True) for _, text in one["values"]]


def test_everything_that_is_declared_arrives(world: World) -> None:
    jobs = {labels["job"]: value for labels, value in ask(world, "min by (job) (up)")}
    assert {name for name, value in jobs.items() if value == 1} >= {
        "node", "kubelet", "cadvisor", "kube-state", "apiserver", "cilium", "hubble", "flux", "alloy",
    }, jobs  # fmt: skip
    assert {labels["node"] for labels, _ in ask(world, 'up{job="node",cluster="lab",deployment="lab"}')} == {
        "node-1", "node-2", "node-3",
    }  # fmt: skip
    assert len(ask(world, "alloy_build_info")) == 4
    assert 500 < metrics.active_series(world) < 8000
    assert any("alive" in line for line in lines(world, '{job="pods",namespace="kube-system",cluster="lab"}'))
    assert lines(world, '{job="kubernetes-events"}') is not None
    assert traces.search(world, {"cluster": "lab", "service.name": "alloy"}, 0, float("inf"), 5)
    assert not stack.facts(world).get("failedSamples")


def test_all_is_quiet_while_nothing_is_wrong(world: World) -> None:
    monitored.settle(world, 600)
    assert mails(world) == []
    states = [rule for group in alerting.rules_state(world) for rule in group["rules"]]
    assert {rule["name"]: rule["lastError"] for rule in states if rule["health"] != "ok"} == {}


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_node_that_dies_is_told_within_five_minutes_and_its_return_too(world: World, number: int) -> None:
    """Whichever it is: also the one on which the agent of the cluster runs."""
    name = f"node-{number}"
    died = world.clock.now()
    cluster(world).set_node_ready(name, False)
    for _ in range(30):
        monitored.settle(world, 10, every=10)
        told = [one for one in outbox.messages(world) if one["subject"] == f"[FIRING:1] NodeDown ({name})"]
        if told:
            break
    (mail,) = told
    assert (parse(mail["at"]) - died).total_seconds() <= 300
    assert mail["to"] == ["you@example.org"]
    assert "ocifree status" in mail["text"]
    assert "docs/monitoring.md#nodedown" in mail["text"]
    assert not [one for one in mails(world) if "NodeDown" in one and name not in one]
    cluster(world).set_node_ready(name, True)
    monitored.settle(world, 300)
    assert f"[RESOLVED:1] NodeDown ({name})" in mails(world)


def change_configuration(world: World, name: str, change: Callable[[str], str]) -> None:
    found = cluster(world).store.get("configmaps", "monitoring", name)
    assert found is not None
    text = found["data"]["config.alloy"]
    assert change(text) != text
    patch = {"data": {"config.alloy": change(text)}}
    cluster(world).api.client.patch("v1/configmaps", "monitoring", name, patch)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("prometheus.remote_write", "prometheus.remote_wrote"),
        lambda text: text.replace("job_name ", "job_nam "),
        lambda text: text.replace("{", "", 1),
        lambda text: text.replace("regex         = ", "regexp        = "),
    ],
)
def test_a_configuration_that_alloy_would_not_load_shows_as_missing_data(world: World, change: Any) -> None:
    change_configuration(world, "alloy-cluster", change)
    monitored.settle(world, 480)
    assert ask(world, "up") == []
    assert any("[FIRING:1] DataAbsent" in one for one in mails(world))
    assert any("alive" in line for line in lines(world, '{job="pods"}')), "the other agent goes on"
    (pod,) = (one for one in cluster(world).store.all("pods") if one["metadata"]["name"].startswith("alloy-cluster"))
    waiting = pod["status"]["containerStatuses"][0]["state"]["waiting"]
    assert waiting["reason"] == "CrashLoopBackOff"
    assert "line " in waiting["message"]


def test_an_agent_has_the_rights_of_its_release_and_no_others(world: World) -> None:
    """What the API server proxies to a kubelet needs a right that neither we nor the chart give."""
    through_api = (
        'rule {\n\t\ttarget_label = "__metrics_path__"\n\t\treplacement = "/api/v1/nodes/x/proxy/metrics"\n\t}\n\n\t'
    )
    where = 'discovery.relabel "kubelet" {\n\ttargets = discovery.kubernetes.nodes.targets\n\n\t'
    change_configuration(world, "alloy-cluster", lambda text: text.replace(where, where + through_api))
    monitored.settle(world, 400)
    assert {value for _, value in ask(world, 'up{job="kubelet"}')} == {0.0}
    assert {value for _, value in ask(world, 'up{job="node"}')} == {1.0}
    client = cluster(world).api.client
    client.patch("rbac.authorization.k8s.io/v1/clusterroles", "", "alloy-cluster", {"rules": []})
    monitored.settle(world, 400)
    assert ask(world, "up") == []


def test_a_rule_that_drops_a_metric_makes_it_missing_and_nothing_else(world: World) -> None:
    change_configuration(world, "alloy-cluster", lambda text: text.replace('"node_load5",', ""))
    monitored.settle(world, 480)
    assert ask(world, "node_load5") == []
    assert ask(world, "node_load1")


def test_a_token_that_was_revoked_stops_everything_and_is_counted(world: World) -> None:
    stack.revoke(world, stack.offered(world)["token"])
    monitored.settle(world, 480)
    assert ask(world, "up") == []
    assert sum(stack.facts(world)["failedSamples"].values()) > 1000


def test_above_the_limit_series_are_discarded_and_the_agent_says_so(world: World) -> None:
    stack.change(world, limits={"series": metrics.active_series(world) + 10})
    monitored.deliver_pods(world, 30)
    monitored.settle(world, 900)
    assert metrics.discarded_per_second(world) > 0
    assert any("DataLost" in one for one in mails(world))


def test_a_crash_loop_is_told_with_the_command_that_shows_why(world: World) -> None:
    monitored.deliver_pods(world, 1, image="registry.example.org/none:1", broken=True)
    monitored.settle(world, 1200)
    assert any("PodPending" in one and "app-0" in one for one in mails(world)), mails(world)


def test_every_rule_names_a_job_or_a_metric_that_is_there(world: World) -> None:
    """Quorum and API rules look at targets; without them they would be silent for ever."""
    for job in ("node", "apiserver", "etcd", "alloy"):
        assert any(f'job="{job}"' in rule.expr for rule in RULES)
        assert ask(world, f'up{{job="{job}"}}'), job
