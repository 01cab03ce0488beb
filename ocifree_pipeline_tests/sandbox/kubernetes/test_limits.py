"""Quotas and limit ranges, what controllers tell about them, and nodes that wait for their cloud."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocifree_pipeline.sandbox.kubernetes import quotas
from ocifree_pipeline.sandbox.kubernetes.conditions import amount
from ocifree_pipeline_tests.sandbox.kubernetes.platform import conditions, message, stand_up
from ocifree_pipeline_tests.sandbox.kubernetes.served import NODE, Served, served
from ocifree_pipeline_tests.sandbox.kubernetes.test_api import MERGE, deployment

SPACE = "/api/v1/namespaces/small"
DEPLOYMENTS = "/apis/apps/v1/namespaces/small/deployments"


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path, mode="manual") as found:
        stand_up(found)
        found.ask("POST", "/api/v1/namespaces", {"metadata": {"name": "small"}})
        yield found


def quota(here: Served, **hard: str) -> None:
    body = {"metadata": {"name": "all"}, "spec": {"hard": {name.replace("_", "."): one for name, one in hard.items()}}}
    assert here.ask("POST", f"{SPACE}/resourcequotas", body).status_code == 201


def pod(name: str, **resources: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "web:1", "resources": resources}]},
    }


def test_a_quota_refuses_what_is_too_much_or_says_too_little(slow: Served) -> None:
    quota(slow, requests_cpu="100m", pods="2")
    reply = slow.ask("POST", f"{SPACE}/pods", pod("silent"))
    assert reply.status_code == 403
    assert reply.json()["message"] == (
        'pods "silent" is forbidden: failed quota: all: must specify requests.cpu for: c'
    )
    assert slow.ask("POST", f"{SPACE}/pods", pod("one", requests={"cpu": "60m"})).status_code == 201
    reply = slow.ask("POST", f"{SPACE}/pods", pod("two", requests={"cpu": "50m"}))
    assert reply.json()["message"] == (
        'pods "two" is forbidden: exceeded quota: all, requested: requests.cpu=50m, used: requests.cpu=60m, '
        "limited: requests.cpu=100m"
    )
    status = slow.ask("GET", f"{SPACE}/resourcequotas/all").json()["status"]
    assert status == {"hard": {"requests.cpu": "100m", "pods": "2"}, "used": {"requests.cpu": "60m", "pods": "1"}}
    slow.ask("DELETE", f"{SPACE}/pods/one")
    assert slow.ask("GET", f"{SPACE}/resourcequotas/all").json()["status"]["used"]["pods"] == "0"


def test_a_limit_range_speaks_for_who_says_nothing(slow: Served) -> None:
    quota(slow, requests_memory="64Mi", limits_memory="64Mi")
    limits = {"type": "Container", "defaultRequest": {"memory": "32Mi"}, "default": {"memory": "48Mi"}}
    slow.ask("POST", f"{SPACE}/limitranges", {"metadata": {"name": "some"}, "spec": {"limits": [limits]}})
    found = slow.ask("POST", f"{SPACE}/pods", pod("silent")).json()
    assert found["spec"]["containers"][0]["resources"] == {
        "limits": {"memory": "48Mi"},
        "requests": {"memory": "32Mi"},
    }
    reply = slow.ask("POST", f"{SPACE}/pods", pod("loud"))
    assert "requested: limits.memory=48Mi, used: limits.memory=48Mi, limited: limits.memory=64Mi" in reply.text


def test_a_deployment_without_room_says_so_and_goes_on_when_there_is(slow: Served) -> None:
    quota(slow, pods="1")
    body = deployment("web", replicas=2)
    body["metadata"]["namespace"] = "small"
    slow.ask("POST", DEPLOYMENTS, body)
    slow.pass_time(60)
    found = slow.ask("GET", f"{DEPLOYMENTS}/web").json()
    assert conditions(found)["ReplicaFailure"] == ("True", "FailedCreate")
    assert "exceeded quota: all, requested: pods=1, used: pods=1, limited: pods=1" in message(found, "ReplicaFailure")
    events = slow.ask("GET", f"{SPACE}/events?fieldSelector=reason%3DFailedCreate").json()["items"]
    assert [(one["type"], one["involvedObject"]["kind"]) for one in events] == [("Warning", "ReplicaSet")]
    assert events[0]["count"] > 1
    slow.ask("PATCH", f"{SPACE}/resourcequotas/all", {"spec": {"hard": {"pods": "2"}}}, content_type=MERGE)
    slow.pass_time(60)
    found = slow.ask("GET", f"{DEPLOYMENTS}/web").json()
    assert found["status"]["readyReplicas"] == 2
    assert "ReplicaFailure" not in conditions(found)


def test_a_node_of_a_cloud_waits_for_who_knows_it(slow: Served) -> None:
    machine = replace(NODE, external_cloud_provider=True, provider_id="oci://ocid1.instance.oc1..a")
    slow.inside(lambda cluster: cluster.add_node("node-2", machine))
    slow.pass_time(60)
    node = slow.ask("GET", "/api/v1/nodes/node-2").json()
    assert conditions(node)["Ready"][0] == "True"
    assert [one["key"] for one in node["spec"]["taints"]] == ["node.cloudprovider.kubernetes.io/uninitialized"]
    assert "providerID" not in node["spec"]
    body = deployment("ccm")
    template = body["spec"]["template"]
    body["spec"]["selector"] = {"matchLabels": {"component": "oci-cloud-controller-manager"}}
    template["metadata"]["labels"] = {"component": "oci-cloud-controller-manager"}
    slow.ask("POST", "/apis/apps/v1/namespaces/default/deployments", body)
    slow.pass_time(60)
    node = slow.ask("GET", "/api/v1/nodes/node-2").json()
    assert "taints" not in node["spec"]
    assert node["spec"]["providerID"] == "oci://ocid1.instance.oc1..a"


@given(st.integers(0, 64_000), st.sampled_from(["requests.cpu", "limits.memory", "pods"]))
def test_a_shown_amount_is_the_amount(number: int, name: str) -> None:
    value = amount(f"{number}m") if name.endswith("cpu") else amount(number)
    assert amount(quotas.shown(value, name)) == value


@pytest.mark.parametrize(
    ("text", "number"), [("100m", "0.1"), ("1.5Gi", "1610612736"), ("2", "2"), ("1e3", "1000"), ("5k", "5000")]
)
def test_quantities(text: str, number: str) -> None:
    assert str(amount(text).normalize()) == str(type(amount(text))(number).normalize())
