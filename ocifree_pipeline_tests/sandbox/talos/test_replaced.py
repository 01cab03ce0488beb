"""A control plane that was made again: the member before it goes, the new one learns first and then votes."""

from __future__ import annotations

import pytest

from ocifree_pipeline.deployment.errors import NotVerified, Transient
from ocifree_pipeline.sandbox.talos.cluster import JOIN_SECONDS
from ocifree_pipeline.systems.talos import cluster, departing
from ocifree_pipeline.systems.talos.cluster import EtcdView
from ocifree_pipeline.systems.talos.departing import EMPTY_SECONDS, remove, remove_replaced
from ocifree_pipeline_tests.sandbox.talos.lab import SETTLED, Lab, bundle
from ocifree_pipeline_tests.sandbox.talos.test_convergence import Turning, nodes_of
from ocifree_pipeline_tests.sandbox.talos_nodes import configuration


def test_a_machine_that_was_made_again_takes_the_place_of_the_one_before(here: Lab) -> None:
    machines = here.bootstrapped(3)
    before = {one.hostname: one.id for one in cluster.look_at_etcd(nodes_of(machines)).members}
    here.here.compute.terminate_instance(machines[2].id)
    here.machines.remove(machines[2])
    here.here.wait(SETTLED)
    machines[2] = here.machine(configuration(bundle(), hostname="lab-3"))
    nodes, clock = nodes_of(machines), Turning(here)
    (line,) = remove_replaced(nodes, print, clock=clock)
    assert line.endswith(f"{before['lab-3']:016x}")
    view = cluster.wait_for_etcd(nodes, print, timeout=300, clock=clock)
    after = {one.hostname: one.id for one in view.members}
    assert len(view.members) == 3
    assert {name for name in after if after[name] != before[name]} == {"lab-3"}
    assert remove_replaced(nodes, print, clock=clock) == []


def test_an_empty_disk_at_the_same_address_is_believed_after_minutes_and_learns_first(here: Lab) -> None:
    machines = here.bootstrapped(3)
    with machines[2].spoken() as node:
        node.reset(graceful=False)
    here.here.wait(SETTLED)
    nodes, clock = nodes_of(machines), Turning(here)
    said: list[str] = []
    remove_replaced(nodes, said.append, clock=clock)
    assert clock.now >= EMPTY_SECONDS
    assert "wait 300 s whether it comes up" in said[0]
    clock.sleep(JOIN_SECONDS + 1)
    learning = cluster.look_at_etcd(nodes)
    assert [one.hostname for one in learning.members if one.is_learner] == ["lab-3"]
    assert learning.missing(nodes.control_planes) == ["lab-3 is no member"]
    assert len(cluster.wait_for_etcd(nodes, print, timeout=60, clock=clock).voters) == 3
    assert "promoted to a voting member" in machines[2].console


def test_one_that_only_starts_again_stays_a_member(here: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    machines = here.bootstrapped(3)
    nodes, look, starting = nodes_of(machines), cluster.look_at_etcd, [True]

    def at_first_like_an_empty_one(nodes: cluster.Nodes) -> EtcdView:
        seen = look(nodes)
        if not starting:
            return seen
        starting.clear()
        own = {name: member for name, member in seen.own.items() if name != "lab-3"}
        return EtcdView(seen.members, ("lab-3",), seen.leaders, {}, own)

    monkeypatch.setattr(departing, "look_at_etcd", at_first_like_an_empty_one)
    assert remove_replaced(nodes, print, clock=Turning(here)) == []
    assert len(look(nodes).members) == 3


def test_nobody_is_taken_out_who_takes_part_or_without_a_quorum(here: Lab) -> None:
    machines = here.bootstrapped(3)
    nodes = nodes_of(machines)
    view = cluster.look_at_etcd(nodes)
    with pytest.raises(NotVerified, match="stays in etcd"):
        remove(nodes, view, "lab-3", view.own["lab-3"], print)
    machines[2].act("STOP")
    with machines[0].spoken() as node, pytest.raises(Transient, match="not enough started members"):
        node.remove_member(view.own["lab-2"])
    machines[1].act("STOP")
    alone = cluster.look_at_etcd(nodes)
    with pytest.raises(NotVerified, match="stays in etcd"):
        remove(nodes, alone, "lab-3", view.own["lab-3"], print)
    assert remove_replaced(nodes, print, clock=Turning(here)) == []
