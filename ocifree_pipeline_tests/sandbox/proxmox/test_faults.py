"""What can be made to go wrong on purpose, and that it is seen to have gone wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocifree_pipeline.sandbox import instruments
from ocifree_pipeline.sandbox.faults import Rule
from ocifree_pipeline_tests.sandbox.proxmox.rig import Rig


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig.of(tmp_path, 1)


def add(rig: Rig, **rule: object) -> None:
    instruments.of(rig.world).faults.add(Rule(**rule))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rule", "line", "says"),
    [
        ({"service": "apt", "operation": "install"}, "apt-get install -y curl", "Could not get lock"),
        ({"service": "pvelock", "operation": "file-users"}, "pveum user add a@pve", "got lock request timeout"),
        ({"service": "pvelock", "operation": "lock-qemu"}, "qm create 100 --name x", "can't lock file"),
        (
            {"service": "pvetask", "operation": "qmcreate", "message": "disk full"},
            "qm create 100 --name x",
            "disk full",
        ),
        (
            {"service": "pve", "operation": "POST /access/*", "message": "got timeout"},
            "pveum user add a@pve",
            "timeout",
        ),
    ],
)
def test_a_fault_strikes_once_and_is_noted(rig: Rig, rule: dict[str, object], line: str, says: str) -> None:
    add(rig, **rule)
    answer = rig.run("pve1", line)
    assert answer.code != 0
    assert says in answer.err
    assert len(instruments.of(rig.world).faults.fired) == 1
    rig.ok("pve1", line)


def test_a_slow_task_takes_longer(rig: Rig) -> None:
    add(rig, service="pvetask", operation="qmcreate", moment="slow", delay=100)
    before = rig.world.clock.now()
    with pytest.raises(TimeoutError):
        rig.run("pve1", "qm create 100 --name x", seconds=50)
    rig.wait(60)
    assert (rig.world.clock.now() - before).total_seconds() > 100
    assert rig.ok("pve1", "qm status 100") == "status: stopped\n"


def test_what_changes_something_is_recorded_as_that(rig: Rig) -> None:
    rig.ok("pve1", "pvesh get /version && pvecm create lab && pveum user list")
    rig.run("pve1", "pveum user add nobody")
    seen = [one.operation for one in instruments.of(rig.world).recorder.query(mutating=True)]
    assert seen == ["pvecm create"]
