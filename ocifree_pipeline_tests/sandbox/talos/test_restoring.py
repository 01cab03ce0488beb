"""A snapshot into machines to throw away, and over a cluster that lives: three control planes, once each."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ocifree_pipeline.deployment.errors import NeedsConfirmation
from ocifree_pipeline.sandbox.kubernetes import cluster as kubernetes
from ocifree_pipeline.sandbox.talos import etcd
from ocifree_pipeline.sandbox.world import World
from ocifree_pipeline.systems.journal import Journal
from ocifree_pipeline.systems.talos import cluster
from ocifree_pipeline.systems.talos.cluster import Nodes
from ocifree_pipeline.systems.talos.restoring import restore, under_way
from ocifree_pipeline_tests.sandbox.talos.lab import SETTLED, Lab
from ocifree_pipeline_tests.sandbox.talos.test_convergence import Turning, nodes_of


def make(name: str) -> Callable[[World], None]:
    def work(world: World) -> None:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        newest(world).api.client.create("v1/namespaces", body)

    return work


def newest(world: World) -> kubernetes.Cluster:
    """The Kubernetes of the etcd that has a quorum now."""
    (name,) = [one for one in etcd.of_world(world) if etcd.Etcd(world, one).has_quorum]
    return kubernetes.find_existing(world, name)


def namespaces(world: World) -> set[str]:
    return {one["metadata"]["name"] for one in newest(world).store.all("namespaces")} & {"older", "younger"}


def put_back(here: Lab, nodes: Nodes, snapshot: Path, journal: Journal, **more: Any) -> None:
    given: dict[str, Any] = {"say": print, "agreed": False, "timeout": 900.0} | more
    restore(nodes, "lab", snapshot, "20261120", journal, now=lambda: datetime.now(UTC), clock=Turning(here), **given)
    assert len(cluster.wait_for_etcd(nodes, print, timeout=900, clock=Turning(here)).voters) == 3
    here.here.wait(SETTLED)


def test_a_snapshot_goes_into_empty_machines_and_over_living_ones_only_if_agreed(here: Lab, tmp_path: Path) -> None:
    machines, journal, snapshot = here.bootstrapped(3), Journal(tmp_path / "journal.jsonl"), tmp_path / "etcd.db"
    nodes = nodes_of(machines)
    cluster.wait_for_etcd(nodes, print, timeout=900, clock=Turning(here))
    here.inside(make("older"))
    with machines[1].spoken() as node:
        node.snapshot(snapshot)
    here.inside(make("younger"))

    with pytest.raises(NeedsConfirmation, match="lives on lab-1, lab-2, lab-3"):
        put_back(here, nodes, snapshot, journal)
    assert not under_way(journal, "lab")
    assert here.inside(namespaces) == {"older", "younger"}
    put_back(here, nodes, snapshot, journal, agreed=True)
    assert here.inside(namespaces) == {"older"}
    assert under_way(journal, "lab"), "until it was read back"
    put_back(here, nodes, snapshot, journal)
    calls = [one.operation for one in here.here.sandbox.recorder if one.mutating]
    assert (calls.count("EtcdRecover"), calls.count("Reset")) == (1, 3)

    here.clear()
    spare = nodes_of(here.control_planes(3))
    put_back(here, spare, snapshot, Journal(tmp_path / "spare.jsonl"))
    assert here.inside(namespaces) == {"older"}
