"""What went with a machine leaves Ceph, and nothing that somebody still needs."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from ocifree_pipeline.deployment.errors import Conflict, NotVerified
from ocifree_pipeline.systems.ceph import burying, planning
from ocifree_pipeline.systems.ceph.building import Builder
from ocifree_pipeline.systems.ceph.burying import Burial, without_monitor
from ocifree_pipeline.systems.ceph.observing import CONF
from ocifree_pipeline.systems.ceph.status import read_status
from ocifree_pipeline.systems.journal import Journal
from ocifree_pipeline.systems.proxmox.node import Node
from ocifree_pipeline.systems.ssh.dialer import Result
from ocifree_pipeline_tests.chaos.crash import Killed
from ocifree_pipeline_tests.sandbox.ceph_lab import Lab, LabClock, changes_something, formed


def burial(lab: Lab) -> Burial:
    return Burial("two", lab.node("one"), lambda line: None, LabClock(lab))


@pytest.mark.parametrize("min_size", [1, 2])
def test_its_successor_gets_a_monitor_and_an_osd_of_its_own(min_size: int, tmp_path: Path) -> None:
    lab = formed(2, min_size)
    lab.replace("two", "10.0.1.77")
    assert burial(lab).bury() == [
        "take osd.1 of two out of Ceph: its machine is gone",
        "take the monitor of two out of Ceph: its machine is gone",
        f"take the monitor of two out of {CONF}",
    ]
    assert "10.0.1.12" not in lab.etc_pve[CONF]
    assert burial(lab).bury() == []

    wanted = planning.Wanted("10.0.1.0/24", 2, min_size)
    nodes = [lab.node(name) for name in lab.names]
    builder = Builder(wanted, nodes, Journal(tmp_path / "journal.jsonl"), lambda line: None, LabClock(lab))
    builder.apply(builder.plan()[1])
    status, judgement = builder.healthy()
    assert (judgement.is_good, status.up, len(status.in_quorum)) == (True, 3, 3)
    assert lab.shared["mons"]["two"]["address"] == "10.0.1.77"
    assert builder.plan()[1] == []


@pytest.mark.parametrize("moment", ["before", "after"])
def test_it_goes_on_wherever_it_died(moment: str) -> None:
    ground = formed()
    ground.replace("two", "10.0.1.77")
    whole = copy.deepcopy(ground)
    burial(whole).bury()
    steps = [line for line in whole.ran if changes_something(line.partition(": ")[2])]
    assert len(steps) == 4, steps
    for at, step in enumerate(steps, start=1):
        lab = copy.deepcopy(ground)
        with pytest.raises(Killed):
            Burial("two", dying(lab.node("one"), at, moment), lambda line: None, LabClock(lab)).bury()
        burial(lab).bury()
        assert left(lab) == left(whole), f"{moment} {step}"
        assert burial(lab).bury() == []


def left(lab: Lab) -> Any:
    return lab.shared["mons"], lab.shared["osds"], lab.shared["flags"], lab.etc_pve


def dying(node: Node, at: int, moment: str) -> Node:
    left = [at]

    def run(argv: Sequence[str], timeout: float = 0, given: SecretStr | None = None) -> Result:
        left[0] -= changes_something(" ".join(argv))
        strikes = left[0] == 0 and changes_something(" ".join(argv))
        if strikes and moment == "before":
            raise Killed(argv[0])
        answer = node.run(argv, timeout, given)
        if strikes:
            raise Killed(argv[0])
        return answer

    return replace(node, run=run)


def test_who_lives_is_not_buried() -> None:
    lab = formed()
    before = lab.asked("osd", "tree")
    with pytest.raises(Conflict, match=r"osd\.1 of two is up"):
        burial(lab).bury()
    assert lab.asked("osd", "tree") == before


def test_what_may_be_the_last_copy_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(burying, "ACTIVE_SECONDS", 30.0)
    lab = formed()
    lab.nodes["three"].stopped = frozenset({"ceph-osd@2"})
    lab.pass_time(1)
    lab.replace("two", "10.0.1.77")
    with pytest.raises(NotVerified, match="not every placement group has a copy elsewhere"):
        burial(lab).bury()
    assert "1" in lab.shared["osds"]
    assert "two" in lab.shared["mons"]


@pytest.mark.parametrize(
    "told",
    [
        {"groups": {"active+clean": 31, "stale+active+clean": 1}},
        {"groups": {"active+clean": 31, "active+recovery_unfound+undersized+degraded": 1}},
        {"groups": {"active+clean": 32}, "has_manager": False},
    ],
    ids=["nobody has reported it since", "some objects are nowhere else", "nobody counts any more"],
)
def test_what_nobody_vouches_for_may_be_the_last_copy(monkeypatch: pytest.MonkeyPatch, told: dict[str, Any]) -> None:
    monkeypatch.setattr(burying, "ACTIVE_SECONDS", 30.0)
    monkeypatch.setattr(burying, "read_status", lambda node: replace(read_status(node), **told))
    lab = formed()
    lab.replace("two", "10.0.1.77")
    with pytest.raises(NotVerified, match="not every placement group has a copy elsewhere"):
        burial(lab).bury()
    assert "1" in lab.shared["osds"]


def test_without_ceph_there_is_nothing_to_do() -> None:
    assert burial(Lab()).bury() == []


def test_only_the_section_and_the_address_of_one_monitor_go() -> None:
    lab = formed()
    text = lab.etc_pve[CONF]
    after = without_monitor(text, "two")
    gone = set(text.splitlines()) - set(after.splitlines())
    assert gone == {"[mon.two]", "\tpublic_addr = 10.0.1.12", "\tmon_host = 10.0.1.11 10.0.1.12 10.0.1.13"}
    assert set(after.splitlines()) - set(text.splitlines()) == {"\tmon_host = 10.0.1.11 10.0.1.13"}
    assert without_monitor(after, "two") == after
