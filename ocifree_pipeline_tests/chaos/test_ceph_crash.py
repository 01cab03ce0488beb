"""Ceph, killed at every command that changes something, before it and after it: still one OSD a node, and one pool."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ocifree_pipeline.systems.ceph import planning, pool
from ocifree_pipeline.systems.ceph.building import Builder
from ocifree_pipeline.systems.journal import Journal
from ocifree_pipeline.systems.ssh.dialer import Result
from ocifree_pipeline_tests.chaos.crash import Killed, Moment
from ocifree_pipeline_tests.sandbox.ceph_lab import Lab, LabClock, changes_something


class DeadlyLab(Lab):
    """Dies at one of its changing commands; with ``inside`` an OSD is begun on its disk and never heard of."""

    kill_at = 0
    moment: Moment | str = "before"

    def command(self, name: str, words: tuple[str, ...], typed: str = "") -> Result:
        line = " ".join(words)
        if not changes_something(line):
            return super().command(name, words, typed)
        self.kill_at -= 1
        if self.kill_at == 0 and self.moment == "before":
            raise Killed(line)
        answer = super().command(name, words, typed)
        if self.kill_at == 0:
            if self.moment == "inside" and "osd create" in line:
                self.shared["osds"].popitem()
            raise Killed(line)
        return answer


def make(lab: Lab, folder: Path) -> None:
    """What the two assets do."""
    journal = Journal(folder / "journal.jsonl")
    builder = Builder(
        planning.Wanted("10.0.1.0/24", 2, 1, planning.memory_settings(8)),
        lab.machines(),
        journal,
        lambda line: None,
        LabClock(lab),
    )
    builder.apply(builder.plan()[1])
    builder.healthy()
    pools = pool.PoolBuilder(pool.Wanted("vm-storage", 2, 1), lab.machines(), journal, lambda line: None, LabClock(lab))
    pools.apply(pools.plan())
    pools.proved()


def look(lab: Lab, folder: Path) -> Any:
    assert Journal(folder / "journal.jsonl").open_intents() == []
    return {
        "mons": lab.shared["mons"].keys(),
        "mgrs": sorted(lab.shared["mgrs"]),
        "osds": sorted((osd["host"], osd["device"]) for osd in lab.shared["osds"].values()),
        "pools": [one["pool_name"] for one in lab.asked("osd", "pool", "ls", "detail")],
        "partitions": [[p["name"] for p in n.blocks["disks"]["sda"]["partitions"]] for n in lab.nodes.values()],
        "volumes": [len(node.blocks["vgs"]) for node in lab.nodes.values()],
        "config": lab.shared["config"],
        "storages": sorted(lab.storages),
    }


@contextmanager
def fresh(folder: Path, number: int, moment: str) -> Iterator[tuple[DeadlyLab, Path]]:
    lab = DeadlyLab()
    lab.kill_at, lab.moment = number, moment
    yield lab, folder / f"{number}-{moment}"


def test_the_same_ceph_whenever_the_process_dies(tmp_path: Path) -> None:
    with fresh(tmp_path, 0, "never") as (lab, folder):
        make(lab, folder)
        expected, operations = look(lab, folder), lab.changes()
    assert len(operations) >= 17, operations
    for number, operation in enumerate(operations, start=1):
        for moment in ("before", "after", "inside"):
            with fresh(tmp_path, number, moment) as (lab, folder):
                with pytest.raises(Killed):
                    make(lab, folder)
                make(lab, folder)
                assert look(lab, folder) == expected, f"killed {moment} {operation}"
                lab.ran.clear()
                make(lab, folder)
                assert lab.changes() == [], f"a third run changed something after a kill {moment} {operation}"
