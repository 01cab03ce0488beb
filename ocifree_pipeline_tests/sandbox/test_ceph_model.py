"""Ceph's health against a second, smaller model that knows no clock arithmetic and no commands: only sets of nodes.

Random lives: nodes lose power and come back, units are stopped, OSDs are taken out, flags are set, time passes. After
each event both are asked, and they have to agree on every code and on the state of every placement group.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ocifree_pipeline_tests.sandbox.ceph_lab import Lab, formed

NODES = ("one", "two", "three")
LONG = 100_000.0
"""Longer than anything that Ceph does by itself takes; shorter waits are in test_ceph_commands.py."""


@dataclass
class Copy:
    """One placement group: where it belongs, who has all of it."""

    home: frozenset[str]
    whole: set[str] = field(default_factory=set)


@dataclass
class Model:
    """An OSD a node, named like it. Everybody is either running or not; time is `at once` or `long`."""

    min_size: int
    copies: dict[str, Copy]
    running: set[str] = field(default_factory=lambda: set(NODES))
    monitors: set[str] = field(default_factory=lambda: set(NODES))
    powered: set[str] = field(default_factory=lambda: set(NODES))
    up: set[str] = field(default_factory=lambda: set(NODES))
    rebooted: set[str] = field(default_factory=set)

    @property
    def answers(self) -> bool:
        return len(self.monitors & self.powered) >= 2

    def happen(self) -> None:
        """The monitors see who runs; groups that go on make those who are away miss something."""
        if not self.answers:
            return
        for away in (self.rebooted, set()):
            # Who was off while no monitor answered was away nevertheless.
            self.up = (self.running & self.powered) - away
            self._write()
        self.rebooted.clear()

    def _write(self) -> None:
        for one in self.copies.values():
            alive = one.whole & self.up
            if alive and len(one.home & self.up) >= self.min_size:
                one.whole = alive

    def wait(self) -> None:
        if self.answers:
            for one in self.copies.values():
                if one.whole & self.up:
                    one.whole |= one.home & self.up

    def state(self, one: Copy) -> set[str]:
        """The words in the state of a group that matter to whoever waits for it."""
        live, alive = one.home & self.up, one.whole & self.up
        if not alive:
            return {"inactive"} if live else {"inactive", "undersized"}
        if len(live) < self.min_size:
            return {"inactive", "degraded", "undersized"}
        words = {"active"}
        if len(live) < len(one.home):
            words |= {"undersized", "degraded"}
        if live - one.whole:
            words |= {"degraded", "recovering"}
        return words if len(words) > 1 else {"active", "clean"}

    def codes(self) -> set[str]:
        found = set()
        states = [self.state(one) for one in self.copies.values()]
        if self.monitors & self.powered != set(NODES):
            found.add("MON_DOWN")
        if self.up != set(NODES):
            found |= {"OSD_DOWN", "OSD_HOST_DOWN"}
        if any("inactive" in state for state in states):
            found.add("PG_AVAILABILITY")
        if any(state & {"degraded", "undersized"} for state in states):
            found.add("PG_DEGRADED")
        return found


def shown(state: str) -> set[str]:
    """Ceph's word for it, in those of the model."""
    words = set(state.split("+"))
    found = words & {"active", "clean", "degraded", "undersized", "recovering"}
    if "active" not in words:
        found = (found | {"inactive"}) - {"recovering"}
    return found


class Life(RuleBasedStateMachine):
    """`noout` is set from the beginning, so that nobody is given up while a long time passes."""

    lab: Lab
    model: Model

    @initialize(min_size=st.sampled_from([1, 2]))
    def form(self, min_size: int) -> None:
        self.lab = formed(2, min_size)
        self.lab.good("one", "ceph osd set noout")
        hosts = {row["id"]: row["hostname"] for row in self.lab.asked("osd", "metadata")}
        copies = {}
        for row in self.lab.asked("pg", "dump", "pgs_brief")["pg_stats"]:
            home = frozenset(hosts[one] for one in row["up"])
            copies[row["pgid"]] = Copy(home, set(home))
        assert {len(one.home) for one in copies.values()} == {2}, "each copy on another host"
        self.model = Model(min_size, copies)

    @rule(name=st.sampled_from(NODES))
    def power_off(self, name: str) -> None:
        if name in self.model.powered:
            self.lab.switch_off(name)
            self.model.powered.discard(name)
            self.model.happen()

    @rule(name=st.sampled_from(NODES))
    def power_on(self, name: str) -> None:
        if name not in self.model.powered:
            self.lab.switch_on(name)
            self.model.powered.add(name)
            self.model.rebooted.add(name)
            self.model.happen()

    @rule(name=st.sampled_from(NODES), kind=st.sampled_from(["mon", "osd"]), starts=st.booleans())
    def unit(self, name: str, kind: str, starts: bool) -> None:
        unit = f"ceph-mon@{name}" if kind == "mon" else f"ceph-osd@{NODES.index(name)}"
        node = self.lab.nodes[name]
        node.stopped = node.stopped - {unit} if starts else node.stopped | {unit}
        mine = self.model.monitors if kind == "mon" else self.model.running
        mine.add(name) if starts else mine.discard(name)
        self.lab.pass_time(0)
        self.model.happen()

    @rule()
    def wait_long(self) -> None:
        for _ in range(2):
            self.lab.pass_time(LONG)
        self.model.wait()

    @rule(flag=st.sampled_from(["noscrub", "norebalance"]))
    @precondition(lambda self: self.model.answers)
    def flags_that_change_nothing_here(self, flag: str) -> None:
        node = self._witness()
        self.lab.good(node, f"ceph osd set {flag}")
        assert "OSDMAP_FLAGS" in self.lab.asked("health", node=node)["checks"]
        self.lab.good(node, f"ceph osd unset {flag}")

    def _witness(self) -> str:
        return sorted(self.model.powered)[0]

    @invariant()
    def they_agree(self) -> None:
        if not hasattr(self, "model"):
            return
        if not self.model.answers:
            for name in self.model.powered:
                refused = self.lab.said(name, "ceph -s --format json")
                assert (refused.exit, "RADOS timed out" in refused.stderr) == (1, True)
            return
        witness = self._witness()
        told = self.lab.asked("-s", node=witness)
        assert set(told["health"]["checks"]) - {"OSDMAP_FLAGS", "MGR_DOWN"} == self.model.codes()
        assert told["osdmap"]["num_up_osds"] == len(self.model.up)
        assert set(told["quorum_names"]) == self.model.monitors & self.model.powered
        rows = self.lab.asked("pg", "dump", "pgs_brief", node=witness)["pg_stats"]
        for row in rows:
            expected = self.model.state(self.model.copies[row["pgid"]])
            assert shown(row["state"]) == expected, (row, self.model.copies[row["pgid"]])
        counted = Counter(row["state"] for row in rows)
        assert {one["state_name"]: one["count"] for one in told["pgmap"]["pgs_by_state"]} == counted


TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=30, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
