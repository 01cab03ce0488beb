"""Nodes, pods and workloads: what becomes of what people declare, with time, and when something goes wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ocifree_pipeline.sandbox.kubernetes.cluster import Machine
from ocifree_pipeline_tests.sandbox.kubernetes.platform import CILIUM, conditions, message, stand_up
from ocifree_pipeline_tests.sandbox.kubernetes.served import NODE, Served, served
from ocifree_pipeline_tests.sandbox.kubernetes.test_api import MERGE, deployment

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
PODS = "/api/v1/namespaces/default/pods"


@pytest.fixture
def slow(tmp_path: Any) -> Iterator[Served]:
    """A cluster whose time only the test moves."""
    with served(tmp_path, mode="manual") as found:
        yield found


def node(here: Served, name: str = "node-1") -> dict[str, Any]:
    found: dict[str, Any] = here.ask("GET", f"/api/v1/nodes/{name}").json()
    return found


def pods(here: Served, path: str = PODS, **labels: str) -> list[dict[str, Any]]:
    selector = ",".join(f"{name}={value}" for name, value in labels.items())
    found: list[dict[str, Any]] = here.ask("GET", f"{path}?labelSelector={selector}").json()["items"]
    return found


def waiting(pod: dict[str, Any]) -> str:
    states = [one["state"].get("waiting", {}).get("reason", "") for one in pod["status"].get("containerStatuses", [])]
    return next((one for one in states if one), "")


def test_a_node_is_not_ready_until_a_network_plugin_runs_on_it(slow: Served) -> None:
    slow.inside(lambda cluster: cluster.add_node("node-1", NODE))
    found = node(slow)
    assert conditions(found)["Ready"] == ("False", "KubeletNotReady")
    assert "reason:NetworkPluginNotReady" in message(found)
    assert {one["key"] for one in found["spec"]["taints"]} == {"node.kubernetes.io/not-ready"}
    slow.ask("POST", DEPLOYMENTS, deployment("early"))
    (pod,) = pods(slow, app="early")
    assert conditions(pod)["PodScheduled"] == ("False", "Unschedulable")
    assert "untolerated taint {node.kubernetes.io/not-ready: }" in message(pod, "PodScheduled")
    stand_up(slow)
    assert conditions(node(slow))["Ready"] == ("True", "KubeletReady")
    assert "taints" not in node(slow)["spec"]
    (pod,) = pods(slow, app="early")
    assert pod["status"]["phase"] == "Running"
    assert slow.inside(lambda cluster: (cluster.nodes(), cluster.has_network("node-1"))) == ({"node-1": True}, True)


def test_the_job_that_installs_cilium_waits_for_what_it_needs_and_needs_its_rights(slow: Served) -> None:
    without_rights = CILIUM.replace("kind: ServiceAccount, name: cilium-install", "kind: ServiceAccount, name: other")
    stand_up(slow, cilium=without_rights)
    (pod,) = pods(slow, "/api/v1/namespaces/kube-system/pods")
    assert waiting(pod) == "CrashLoopBackOff"
    assert "is forbidden" in pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"]
    slow.inside(lambda cluster: cluster.bootstrap({"cilium": CILIUM}))
    binding = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/cilium-install"
    subjects = [{"kind": "ServiceAccount", "name": "cilium-install", "namespace": "kube-system"}]
    slow.ask("PATCH", binding, {"subjects": subjects}, content_type=MERGE)
    slow.pass_time(1200)
    job = slow.ask("GET", "/apis/batch/v1/namespaces/kube-system/jobs/cilium-install").json()
    assert conditions(job)["Complete"] == ("True", "CompletionsReached")
    assert conditions(node(slow))["Ready"][0] == "True"


def test_what_talos_cannot_fetch_or_read_is_told(slow: Served) -> None:
    slow.inside(
        lambda cluster: cluster.bootstrap(
            {"bad": "a: [", "odd": "kind: Odd\nmetadata: {name: x}"}, ["https://x.test/y"]
        )
    )
    problems = slow.inside(lambda cluster: cluster.manifest_problems())
    assert problems["https://x.test/y"].startswith("failed to download https://x.test/y")
    assert problems["bad"].startswith("error parsing YAML")
    assert problems["odd"] == 'no matches for kind "Odd" in version "None"' or "no matches for kind" in problems["odd"]


def test_a_deployment_rolls_over_to_a_new_template_and_back_down(slow: Served) -> None:
    stand_up(slow)
    slow.ask("POST", DEPLOYMENTS, deployment("web", replicas=2))
    assert conditions(slow.ask("GET", f"{DEPLOYMENTS}/web").json())["Available"][0] == "False"
    slow.pass_time(30)
    found = slow.ask("GET", f"{DEPLOYMENTS}/web").json()
    assert conditions(found) == {
        "Available": ("True", "MinimumReplicasAvailable"),
        "Progressing": ("True", "NewReplicaSetAvailable"),
    }
    first = {one["metadata"]["name"] for one in pods(slow, app="web")}
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "web:2"}]}}}}
    slow.ask("PATCH", f"{DEPLOYMENTS}/web", patch, content_type=MERGE)
    assert first <= {one["metadata"]["name"] for one in pods(slow, app="web")}, "the old ones serve until the new do"
    slow.pass_time(30)
    now = pods(slow, app="web")
    assert len(now) == 2
    assert not first & {one["metadata"]["name"] for one in now}
    assert {one["spec"]["containers"][0]["image"] for one in now} == {"web:2"}
    slow.ask("DELETE", f"{DEPLOYMENTS}/web")
    assert pods(slow, app="web") == []


def test_what_does_not_fit_waits_for_room(slow: Served) -> None:
    stand_up(slow)
    body = deployment("big", replicas=3)
    body["spec"]["template"]["spec"]["containers"][0]["resources"] = {"requests": {"memory": "5Gi"}}
    slow.ask("POST", DEPLOYMENTS, body)
    slow.pass_time(30)
    found = {one["status"]["phase"] for one in pods(slow, app="big")}
    stuck = next(one for one in pods(slow, app="big") if one["status"]["phase"] == "Pending")
    assert found == {"Running", "Pending"}
    assert message(stuck, "PodScheduled") == "0/1 nodes are available: 1 Insufficient memory."
    slow.inside(lambda cluster: cluster.add_node("node-2", Machine(addresses=("10.0.1.11",))))
    slow.pass_time(60)
    assert {one["status"]["phase"] for one in pods(slow, app="big")} == {"Running"}


def test_an_image_that_cannot_be_pulled_is_tried_again_ever_later(slow: Served) -> None:
    stand_up(slow)
    rule = slow.strike(operation="pull/web:*", times=2, message="not found")
    slow.ask("POST", DEPLOYMENTS, deployment("web"))
    slow.pass_time(8, 4)
    (pod,) = pods(slow, app="web")
    assert waiting(pod) == "ImagePullBackOff"
    assert 'failed to pull and unpack image "web:1": not found' in str(pod["status"]["containerStatuses"])
    reply = slow.ask("GET", f"{PODS}/{pod['metadata']['name']}/log")
    assert "is waiting to start: trying and failing to pull image" in reply.json()["message"]
    slow.ask("PATCH", f"{PODS}/{pod['metadata']['name']}", {"metadata": {"labels": {"a": "b"}}}, content_type=MERGE)
    assert rule.fired == 1, "a change is no reason to try again"
    slow.pass_time(12, 4)
    assert rule.fired == 2
    slow.pass_time(12, 4)
    assert waiting(pods(slow, app="web")[0]) == "ImagePullBackOff"
    slow.pass_time(20, 4)
    assert pods(slow, app="web")[0]["status"]["phase"] == "Running"


def test_a_pod_waits_for_its_secret(slow: Served) -> None:
    stand_up(slow)
    body = deployment("web")
    body["spec"]["template"]["spec"]["volumes"] = [{"name": "v", "secret": {"secretName": "late"}}]
    slow.ask("POST", DEPLOYMENTS, body)
    slow.pass_time(30)
    assert waiting(pods(slow, app="web")[0]) == "ContainerCreating"
    slow.ask("POST", "/api/v1/namespaces/default/secrets", {"metadata": {"name": "late"}})
    slow.pass_time(30)
    assert pods(slow, app="web")[0]["status"]["phase"] == "Running"


def test_a_node_that_falls_silent_is_missed_after_a_while_and_comes_back(slow: Served) -> None:
    stand_up(slow)
    slow.inside(lambda cluster: cluster.set_node_ready("node-1", False))
    slow.advance(30)
    assert conditions(node(slow))["Ready"][0] == "True", "nobody has noticed yet"
    slow.advance(30)
    found = node(slow)
    assert conditions(found)["Ready"] == ("Unknown", "NodeStatusUnknown")
    assert message(found) == "Kubelet stopped posting node status."
    assert {one["key"] for one in found["spec"]["taints"]} == {"node.kubernetes.io/unreachable"}
    slow.inside(lambda cluster: cluster.set_node_ready("node-1", True))
    assert conditions(node(slow))["Ready"][0] == "True"


def test_a_node_that_leaves_takes_its_pods_along(slow: Served) -> None:
    stand_up(slow, nodes=2)
    slow.ask("POST", DEPLOYMENTS, deployment("web", replicas=4))
    slow.pass_time(30)
    assert {one["spec"]["nodeName"] for one in pods(slow, app="web")} == {"node-1", "node-2"}
    slow.inside(lambda cluster: cluster.remove_node("node-2"))
    slow.pass_time(30)
    assert slow.ask("GET", "/api/v1/nodes/node-2").status_code == 404
    now = pods(slow, app="web")
    assert [one["spec"]["nodeName"] for one in now] == ["node-1"] * 4
    assert {one["status"]["phase"] for one in now} == {"Running"}


def test_a_stateful_set_brings_its_pods_up_one_after_the_other(slow: Served) -> None:
    stand_up(slow)
    body = deployment("db", replicas=3, serviceName="db") | {"kind": "StatefulSet"}
    del body["spec"]["template"]["spec"]["containers"][0]["image"]
    body["spec"]["template"]["spec"]["containers"][0]["image"] = "db:1"
    slow.ask("POST", "/apis/apps/v1/namespaces/default/statefulsets", body)
    assert [one["metadata"]["name"] for one in pods(slow, app="db")] == ["db-0"]
    slow.pass_time(30)
    assert [one["metadata"]["name"] for one in pods(slow, app="db")] == ["db-0", "db-1", "db-2"]


def test_a_job_ends_well_or_gives_up(slow: Served) -> None:
    stand_up(slow)
    path = "/apis/batch/v1/namespaces/default/jobs"
    rule = slow.strike(operation="run/bad:*", times=None, message="exit status 1")
    for name in ("good", "bad"):
        containers = [{"name": "c", "image": f"{name}:1"}]
        template = {"spec": {"restartPolicy": "Never", "containers": containers}}
        body = {"metadata": {"name": name}, "spec": {"backoffLimit": 1, "template": template}}
        assert slow.ask("POST", path, body).status_code == 201
    slow.pass_time(60)
    assert conditions(slow.ask("GET", f"{path}/good").json())["Complete"][0] == "True"
    bad = slow.ask("GET", f"{path}/bad").json()
    assert conditions(bad)["Failed"] == ("True", "BackoffLimitExceeded")
    assert bad["status"]["failed"] == 2 == rule.fired


def test_services_know_the_pods_that_answer(slow: Served) -> None:
    stand_up(slow)
    body = deployment("web", replicas=2)
    body["spec"]["template"]["spec"]["containers"][0]["ports"] = [{"name": "http", "containerPort": 8080}]
    slow.ask("POST", DEPLOYMENTS, body)
    spec = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]}
    slow.ask("POST", "/api/v1/namespaces/default/services", {"metadata": {"name": "web"}, "spec": spec})
    slow.pass_time(30)
    slices = slow.ask("GET", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices").json()["items"]
    (found,) = slices
    assert found["ports"] == [{"name": "", "port": 8080, "protocol": "TCP"}]
    addresses = {address for one in found["endpoints"] for address in one["addresses"]}
    assert addresses == {one["status"]["podIP"] for one in pods(slow, app="web")}
    assert len(addresses) == 2


def test_in_immediate_mode_everything_is_there_at_once(here: Served) -> None:
    stand_up(here)
    here.ask("POST", DEPLOYMENTS, deployment("web"))
    (pod,) = pods(here, app="web")
    assert pod["status"]["phase"] == "Running"


def test_nothing_is_done_when_nothing_is_to_do(here: Served) -> None:
    stand_up(here)
    before = here.inside(lambda cluster: cluster.store.revision)
    here.inside(lambda cluster: cluster.runner.wake_all())
    assert here.inside(lambda cluster: cluster.store.revision) == before


@pytest.mark.parametrize(
    ("resources", "quality"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "10m"}}, "Burstable"),
        ({"limits": {"cpu": "10m", "memory": "8Mi"}}, "Guaranteed"),
        ({"limits": {"cpu": "10m", "memory": "8Mi"}, "requests": {"cpu": "5m", "memory": "8Mi"}}, "Burstable"),
        ({"limits": {"memory": "8Mi"}, "requests": {"memory": "8Mi"}}, "Burstable"),
    ],
)
def test_how_well_a_pod_is_kept_follows_from_what_it_asks(here: Served, resources: Any, quality: str) -> None:
    stand_up(here)
    body = deployment("kept")
    body["spec"]["template"]["spec"]["containers"][0]["resources"] = resources
    here.ask("POST", DEPLOYMENTS, body)
    (pod,) = pods(here, app="kept")
    assert pod["status"]["qosClass"] == quality
    here.ask("DELETE", f"{DEPLOYMENTS}/kept")
