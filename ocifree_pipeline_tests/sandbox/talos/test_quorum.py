"""Quorum, against a small model of it: random nodes come, go, leave, are wiped and removed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ocifree_pipeline.sandbox.machines import power, reach
from ocifree_pipeline.sandbox.machines.computer import Phase, Platform, Verdict, new_state, print_to
from ocifree_pipeline.sandbox.talos import cluster, etcd, life
from ocifree_pipeline.sandbox.talos.node import Node
from ocifree_pipeline.sandbox.world import World
from ocifree_pipeline_tests.sandbox.talos.lab import bundle
from ocifree_pipeline_tests.sandbox.talos_nodes import configuration

NUMBERS = range(1, 6)
which = st.sampled_from(NUMBERS)


@dataclass
class Plain:
    """The least that is a computer."""

    world: World
    number: int
    state: dict[str, Any] = field(default_factory=new_state)
    guest: dict[str, Any] = field(default_factory=dict)
    disk: dict[str, Any] = field(default_factory=lambda: {"labels": ["META"]})
    architecture: str = "aarch64"
    is_uefi: bool = True
    vcpus: int = 1
    memory_gb: float = 6
    platform: Platform = "nocloud"
    ssh_keys: list[str] = field(default_factory=list)

    @property
    def key(self) -> str:
        return f"plain-{self.number}"

    @property
    def phase(self) -> Phase:
        phase: Phase = self.state["phase"]
        return phase

    @property
    def boots(self) -> int:
        return int(self.state["boots"])

    @property
    def hostname(self) -> str:
        return self.key

    @property
    def addresses(self) -> list[str]:
        return [f"10.0.0.{self.number}"]

    def user_data(self) -> str:
        return configuration(bundle(), hostname=f"lab-{self.number}")

    def judge(self) -> Verdict:
        return Verdict()

    def again(self) -> Plain:
        return self

    def print(self, *lines: str) -> None:
        print_to(self.state, lines)


class Quorum(RuleBasedStateMachine):
    """The model: which disks are of which member, who is on, who is on the list."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(Path("unused"), seed=5, mode="manual")
        self.world.profile = {"region": "uk-london-1"}
        self.computers = {number: Plain(self.world, number) for number in NUMBERS}
        self.on: set[int] = set()
        self.disks: dict[int, int] = {}
        self.members: dict[int, int] = {}
        self.next = 1
        self.founded = False
        self._before = reach.SOURCES[:]
        reach.SOURCES[:] = [lambda world: iter(self.computers.values()) if world is self.world else iter(())]

    def teardown(self) -> None:
        reach.SOURCES[:] = self._before

    # the model ------------------------------------------------------------------------------------------------------

    def playing(self) -> set[int]:
        return {self.disks[one] for one in self.on if self.disks.get(one) in self.members}

    def has_quorum(self) -> bool:
        return len(self.playing()) * 2 > len(self.members)

    def join(self, number: int) -> None:
        self.members[self.next] = number
        self.disks[number] = self.next
        self.next += 1

    def settle(self) -> None:
        """Whoever is on without data joins, as soon as there is a quorum that takes it; one may make room for more."""
        for number in sorted(self.on):
            if self.founded and number not in self.disks and self.has_quorum() and number not in self.members.values():
                self.join(number)

    def wait(self) -> None:
        for _ in range(8):
            self.world.clock.advance(60)
            self.world.settle()
            cluster.refresh(self.world)

    # what happens ---------------------------------------------------------------------------------------------------

    @initialize(three=st.booleans())
    def begin(self, three: bool) -> None:
        for number in (1, 2, 3) if three else (1,):
            power.power_on(self.computers[number])
            self.on.add(number)
        self.wait()
        cluster.bootstrap(Node(self.computers[1]), None)
        self.join(1)
        self.founded = True
        self.wait()
        self.settle()

    @rule(number=which)
    def switch(self, number: int) -> None:
        if number in self.on:
            power.power_off(self.computers[number])
            self.on.discard(number)
        else:
            power.power_on(self.computers[number])
            self.on.add(number)
        self.wait()
        self.settle()

    @rule(number=which)
    def wipe(self, number: int) -> None:
        """By force, and then started again."""
        node = Node(self.computers[number])
        power.power_off(node.computer)
        life.wipe(node, {"EPHEMERAL"})
        self.disks.pop(number, None)
        power.power_on(node.computer)
        self.on.add(number)
        self.wait()
        self.settle()

    @precondition(lambda self: self.has_quorum() and len(self.members) > 1)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        gone = data.draw(st.sampled_from(sorted(self.members)))
        found = self.etcd()
        number = self.members.pop(gone)
        found.remove(next(m for m, one in found.members.items() if one["number"] == gone))
        assert number in NUMBERS
        self.wait()
        self.settle()

    def etcd(self) -> etcd.Etcd:
        (name,) = etcd.of_world(self.world)
        return etcd.Etcd(self.world, name)

    @invariant()
    def agrees(self) -> None:
        if not self.founded:
            return
        found = self.etcd()
        assert len(found.members) == len(self.members)
        assert found.has_quorum == self.has_quorum()
        assert bool(found.leader) == self.has_quorum()
        served = {n for n, one in self.computers.items() if one.phase == "up" and cluster.api_of(Node(one))}
        wanted = {self.members[one] for one in self.playing()} if self.has_quorum() else set()
        assert served == wanted


@pytest.mark.filterwarnings("ignore")
class TestQuorum(Quorum.TestCase):  # type: ignore[name-defined,misc]
    settings = settings(max_examples=12, stateful_step_count=10, deadline=None, suppress_health_check=list(HealthCheck))
