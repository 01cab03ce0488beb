"""Three control planes become one cluster: the pipeline's steps, without Dagster and without a bastion."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from ocifree_pipeline.deployment.errors import NeedsConfirmation, NotVerified, Transient
from ocifree_pipeline.sandbox.faults import Rule
from ocifree_pipeline.systems.journal import Journal
from ocifree_pipeline.systems.oci.waiting import TimedOut
from ocifree_pipeline.systems.talos import cluster
from ocifree_pipeline.systems.talos.client import Talos
from ocifree_pipeline.systems.talos.cluster import Nodes, Place
from ocifree_pipeline_tests.sandbox.talos.lab import KUBERNETES, SETTLED, Lab, Machine, bundle, stranger
from ocifree_pipeline_tests.sandbox.talos_nodes import NAME, configuration


@dataclass
class Turning:
    """A clock that the sandbox follows."""

    lab: Lab
    now: float = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.lab.here.sandbox.advance(seconds)


def nodes_of(machines: list[Machine]) -> Nodes:
    places = tuple(Place(n, f"lab-{n}", "controlplane", one.ip) for n, one in enumerate(machines, start=1))

    @contextmanager
    def open_node(place: Place) -> Iterator[Talos]:
        reached = machines[place.number - 1].reached()
        if reached.address is None:
            raise Transient(f"{place.hostname} is silent", why=reached.reason, fix="wait")
        with machines[place.number - 1].spoken() as node:
            yield node

    return Nodes(places, open_node)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.jsonl")


def found(here: Lab, nodes: Nodes, journal: Journal, **more: Any) -> bool:
    given: dict[str, Any] = {"was_founded": False, "timeout": 600.0} | more
    return cluster.bootstrap_once(nodes, "lab", journal, now=lambda: datetime.now(UTC), clock=Turning(here), **given)


def test_three_become_one_and_are_left_alone_after_that(here: Lab, journal: Journal) -> None:
    machines = here.control_planes(3)
    nodes, said = nodes_of(machines), list[str]()
    assert cluster.look_at_etcd(nodes).preparing == ("lab-1", "lab-2", "lab-3")
    assert found(here, nodes, journal)
    view = cluster.wait_for_etcd(nodes, said.append, timeout=600, clock=Turning(here))
    assert {one.hostname for one in view.members} == {"lab-1", "lab-2", "lab-3"}
    assert view.leader == "lab-1"
    assert str(view) == "3 of 3 members follow lab-1"
    assert any("waits to join" in line for line in said), "progress is told"
    assert journal.open_intents() == []
    assert not found(here, nodes, journal)
    assert not found(here, nodes, journal, was_founded=True)
    here.here.wait(SETTLED)
    for machine in machines:
        address = machine.reached(KUBERNETES).address
        assert address is not None
        assert cluster.ask_api_server(address, bundle().kubernetes.certificate, NAME) == "ok"
        with pytest.raises(NotVerified, match="not this cluster"):
            cluster.ask_api_server(address, stranger().kubernetes.certificate, NAME)
        with pytest.raises(NotVerified, match="not this cluster"):
            cluster.ask_api_server(address, bundle().kubernetes.certificate, "somewhere.else")


def test_nobody_founds_while_one_of_them_is_silent(here: Lab, journal: Journal) -> None:
    """The silent one may hold the etcd that there is."""
    machines = here.control_planes(3)
    machines[1].act("STOP")
    with pytest.raises(TimedOut, match="say whether etcd was founded"):
        found(here, nodes_of(machines), journal, timeout=60.0)
    assert here.here.sandbox.recorder.count(operation="Bootstrap") == 0
    assert journal.open_intents() == []


def test_without_a_majority_the_view_says_who_is_missing(here: Lab) -> None:
    machines = here.bootstrapped(3)
    nodes = nodes_of(machines)
    machines[0].act("STOP")
    view = cluster.look_at_etcd(nodes)
    assert view.has_quorum
    assert [line.partition(":")[0] for line in view.missing(nodes.control_planes)] == ["lab-1"]
    machines[1].act("STOP")
    view = cluster.look_at_etcd(nodes)
    assert not view.has_quorum
    assert "etcdserver: no leader" in view.problems["lab-3"]
    with pytest.raises(TimedOut, match="etcd is whole"):
        cluster.wait_for_etcd(nodes, lambda line: None, timeout=30, clock=Turning(here))


def test_an_etcd_that_vanished_needs_a_person_unless_we_were_founding_it(here: Lab, journal: Journal) -> None:
    nodes = nodes_of(here.control_planes(1))
    with pytest.raises(NeedsConfirmation, match="on none of its control planes"):
        found(here, nodes, journal, was_founded=True)
    assert journal.open_intents() == []
    journal.intend(cluster.BOOTSTRAP, "lab", {"node": "lab-1"}, now=datetime.now(UTC))
    assert found(here, nodes, journal, was_founded=True), "the record is older than the intent"


@pytest.mark.parametrize("moment", ["before", "after"])
def test_whoever_lost_the_answer_founds_nothing_twice(here: Lab, journal: Journal, moment: Any) -> None:
    nodes = nodes_of(here.control_planes(1))
    here.here.sandbox.faults.add(Rule(service="talos", operation="Bootstrap", moment=moment))
    found(here, nodes, journal)
    assert len(cluster.look_at_etcd(nodes).members) == 1
    assert journal.open_intents() == []


def test_a_configuration_is_sent_once(here: Lab) -> None:
    nodes = nodes_of(here.control_planes(1))
    same = SecretStr(configuration(bundle(), hostname="lab-1"))
    (place,) = nodes.places
    assert not cluster.follow(nodes, place, same)
    other = SecretStr(same.get_secret_value().replace("forwardKubeDNSToHost: true", "forwardKubeDNSToHost: false"))
    assert cluster.follow(nodes, place, other)
    assert not cluster.follow(nodes, place, other)
