"""Pods leave a node as their budgets allow, and the node is opened again by whoever comes after."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ocifree_pipeline.deployment.errors import NotVerified
from ocifree_pipeline.systems.kube.api import Api, api_at
from ocifree_pipeline.systems.kube.draining import drain, open_again
from ocifree_pipeline.systems.kube.kubeconfig import credentials_of
from ocifree_pipeline.systems.kube.objects import Ref
from ocifree_pipeline_tests.sandbox.kubernetes.platform import stand_up
from ocifree_pipeline_tests.sandbox.kubernetes.served import Served, served
from ocifree_pipeline_tests.sandbox.kubernetes.test_api import deployment
from ocifree_pipeline_tests.systems.kube.conftest import kubeconfig

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
BUDGETS = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"


@dataclass
class Site:
    """Nodes that carry pods; whoever waits lets the time pass."""

    here: Served
    api: Api
    slept: float = 0.0

    def monotonic(self) -> float:
        return self.slept

    def sleep(self, seconds: float) -> None:
        self.slept += seconds
        self.here.advance(seconds)

    def drain(self, node: str, timeout: float = 300) -> list[str]:
        said: list[str] = []
        drain(self.api, node, "Talos 1.14.2", said.append, timeout=timeout, clock=self)
        return said

    def web(self, replicas: int, **budget: Any) -> None:
        self.here.ask("POST", DEPLOYMENTS, deployment("web", replicas=replicas))
        if budget:
            spec = {"selector": {"matchLabels": {"app": "web"}}, **budget}
            body = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web"}, "spec": spec}
            assert self.here.ask("POST", BUDGETS, body).status_code == 201
        self.here.pass_time(30, 3)

    def places(self) -> list[str]:
        pods = self.api.list(self.api.require("v1", "Pod"), "default", labels="app=web")
        return sorted(one["spec"]["nodeName"] for one in pods if one["status"]["phase"] == "Running")

    def closed(self) -> list[str]:
        nodes = self.api.list(self.api.require("v1", "Node"))
        return [one["metadata"]["name"] for one in nodes if one["spec"].get("unschedulable")]

    def close(self, name: str, closed: bool = True) -> None:
        """By hand, as `kubectl cordon` and `uncordon` do it."""
        node, body = Ref("", "Node", "", name), {"spec": {"unschedulable": closed}}
        self.api.merge(self.api.require("v1", "Node"), node, body, "close")


@contextmanager
def site(folder: Path, nodes: int) -> Iterator[Site]:
    with (
        served(folder, mode="manual") as here,
        api_at(("127.0.0.1", here.port), credentials_of(kubeconfig())) as api,
    ):
        stand_up(here, nodes)
        yield Site(here, api)


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path, 2) as found:
        yield found


def test_pods_go_elsewhere_and_come_back_after(two: Site) -> None:
    two.web(2)
    assert two.places() == ["node-1", "node-2"]
    assert any("pods move away" in line for line in two.drain("node-1"))
    two.here.pass_time(60, 6)
    assert two.places() == ["node-2", "node-2"]
    assert two.closed() == ["node-1"]
    assert open_again(two.api, print) == ["node-1"]
    assert (two.closed(), open_again(two.api, print)) == ([], [])


def test_a_budget_is_kept_at_every_moment(two: Site) -> None:
    two.close("node-2")
    two.web(3, minAvailable=2)
    assert two.places() == ["node-1"] * 3
    two.close("node-2", False)
    least = [3]
    passing = two.sleep

    def sleep(seconds: float) -> None:
        least.append(len(two.places()))
        passing(seconds)

    two.sleep = sleep  # type: ignore[method-assign]
    two.drain("node-1")
    two.here.pass_time(60, 6)
    assert two.places() == ["node-2"] * 3
    assert min(least) == 2


def test_what_a_budget_never_allows_stops_it_and_the_node_is_opened(two: Site) -> None:
    two.web(2, maxUnavailable=0)
    with pytest.raises(NotVerified, match="do not leave node-1 within 60 s") as caught:
        two.drain("node-1", timeout=60)
    assert "The disruption budget web needs 2 healthy pods and has 2 currently" in caught.value.why
    assert two.closed() == []
    assert two.places() == ["node-1", "node-2"]


def test_what_somebody_else_closed_stays_closed_and_takes_no_pods(two: Site) -> None:
    two.web(2)
    two.close("node-2")
    assert "its pods stay" in two.drain("node-1")[0]
    assert two.places() == ["node-1", "node-2"]
    assert open_again(two.api, print) == []
    assert two.closed() == ["node-2"]


def test_a_second_budget_for_a_pod_is_an_error_as_in_life(two: Site) -> None:
    two.web(2, minAvailable="50%")
    spec = {"selector": {"matchLabels": {"app": "web"}}, "minAvailable": 1}
    body = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "more"}, "spec": spec}
    two.here.ask("POST", BUDGETS, body)
    with pytest.raises(NotVerified, match="do not leave node-1") as caught:
        two.drain("node-1", timeout=30)
    assert "more than one PodDisruptionBudget" in caught.value.why
