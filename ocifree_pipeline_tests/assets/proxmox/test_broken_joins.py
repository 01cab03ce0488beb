"""A join that hangs, a node that is off, a clock that is wrong: each is named, nothing is tried again in silence."""

from __future__ import annotations

from typing import Any

import pytest

from ocifree_pipeline.sandbox.machines import reach, tampering
from ocifree_pipeline.sandbox.machines.computer import Computer
from ocifree_pipeline.sandbox.world import World
from ocifree_pipeline.systems.proxmox import forming
from ocifree_pipeline_tests.assets.conftest import Deployment
from ocifree_pipeline_tests.assets.proxmox.world import root_of

pytestmark = pytest.mark.long

CLUSTER = "proxmox/cluster"


def computer(world: World, name: str) -> Computer:
    return next(one for one in reach.everyone(world) if one.guest.get("hostname") == name)


def told(here: Deployment) -> dict[str, Any]:
    failed = here.materialize(CLUSTER, good=False)
    return here.errors(failed)["proxmox__cluster"]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forming, "JOIN_SECONDS", 4.0)
    monkeypatch.setattr(forming, "SETTLE_SECONDS", 2.0)


@pytest.mark.usefixtures("impatient")
def test_a_join_that_hangs_is_given_up_named_and_goes_on_when_the_way_is_free(here: Deployment) -> None:
    def cut(world: World) -> None:
        one, two = computer(world, "lab-ampere-1"), computer(world, "lab-ampere-2")
        tampering.cut(world, one.key, two.key, tampering.COROSYNC)

    def mend(world: World) -> None:
        tampering.mend(world, computer(world, "lab-ampere-1").key, computer(world, "lab-ampere-2").key)

    here.sandbox.inside(cut)
    first = told(here)
    assert (first["error"], first["what"]) == ("NotVerified", "lab-ampere-2 is not in the cluster lab")
    with root_of(here, "ampere_1") as node:
        assert node.run(["passwd", "-S", "root"]).stdout.split()[1] == "L", "the password went with the join"
    second = told(here)
    assert second["what"] == "the cluster lab has no quorum", "it is not joined again"
    here.sandbox.inside(mend)
    here.sandbox.advance(60)
    here.materialize(CLUSTER)
    assert len(here.facts(CLUSTER)["nodes"]) == 3


def test_a_clock_that_is_wrong_stops_everything_before_it_begins(here: Deployment) -> None:
    here.sandbox.inside(lambda world: tampering.set_skew(computer(world, "lab-ampere-3"), 40.0))
    said = told(here)
    assert (said["error"], said["what"]) == ("PreconditionMissing", "the clock of lab-ampere-3 is not synchronized")
    with root_of(here, "ampere_1") as node:
        assert not node.has("/etc/pve/corosync.conf")


def test_a_port_that_is_shut_stops_everything_before_it_begins(here: Deployment) -> None:
    def cut(world: World) -> None:
        tampering.cut(world, computer(world, "lab-ampere-1").key, computer(world, "lab-ampere-3").key)

    here.sandbox.inside(cut)
    said = told(here)
    assert (said["error"], said["what"]) == (
        "PreconditionMissing", "lab-ampere-3 does not reach lab-ampere-1 at TCP 22",
    )  # fmt: skip
    assert "lab-ampere-1 -> lab-ampere-3: a node joins over the API" in said["why"]
    with root_of(here, "ampere_1") as node:
        assert not node.has("/etc/pve/corosync.conf")


def test_a_password_of_root_is_never_overwritten(here: Deployment) -> None:
    from pydantic import SecretStr

    with root_of(here, "ampere_1") as node:
        node.run(["chpasswd"], given=SecretStr("root:theirs\n")).checked("give root a password")
    said = told(here)
    assert (said["error"], said["what"]) == ("Conflict", "root of lab-ampere-1 has a password")
    with root_of(here, "ampere_1") as node:
        assert node.run(["passwd", "-S", "root"]).stdout.split()[1] == "P"
