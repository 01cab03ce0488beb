"""Quorum: what corosync would decide, against a model that only counts."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ocifree_pipeline.sandbox.machines import tampering
from ocifree_pipeline.sandbox.proxmox import quorum
from ocifree_pipeline_tests.sandbox.proxmox.rig import Rig

SIDES = st.sampled_from(["left", "right", "off"])


def has_majority(sides: dict[str, str], name: str, *, device: bool = False) -> bool:
    """The model: one vote a node, and with a device one more for the larger side; on a tie for that of the first."""
    mine = [one for one, side in sides.items() if side == sides[name]]
    others = [one for one, side in sides.items() if side not in {sides[name], "off"}]
    mine_wins = len(mine) > len(others) or (len(mine) == len(others) and min(mine) < min(others))
    votes = len(mine) + int(device and mine_wins)
    return 2 * votes > len(sides) + int(device)


@given(
    sides=st.lists(SIDES, min_size=1, max_size=6).map(lambda found: {f"n{at}": one for at, one in enumerate(found)}),
    device=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_who_may_decide(sides: dict[str, str], device: bool) -> None:
    members = [quorum.Member(name, at + 1, 1) for at, name in enumerate(sides)]
    alive = [one for one in members if sides[one.name] != "off"]
    found = quorum.count(
        members,
        alive,
        lambda one, other: sides[one] == sides[other],
        device_votes=int(device),
        reaches_device=lambda _name: True,
    )
    assert found.keys() == {one.name for one in alive}
    for name, standing in found.items():
        assert standing.quorate == has_majority(sides, name, device=device), (sides, name, standing)
    assert len({frozenset(one.members) for one in found.values() if one.quorate}) <= 1, "two halves would both write"


@given(votes=st.lists(st.integers(1, 4), min_size=1, max_size=5), lost=st.sets(st.integers(0, 4)))
@settings(max_examples=60, deadline=None)
def test_votes_weigh(votes: list[int], lost: set[int]) -> None:
    members = [quorum.Member(f"n{at}", at + 1, one) for at, one in enumerate(votes)]
    alive = [one for at, one in enumerate(members) if at not in lost]
    found = quorum.count(members, alive, lambda _one, _other: True)
    for standing in found.values():
        assert standing.quorate == (2 * sum(one.votes for one in alive) > sum(votes))


def test_nobody_relays_for_others() -> None:
    """The second hears both others, who do not hear each other: it stays with the first."""
    members = [quorum.Member(name, at, 1) for at, name in enumerate("abc", start=1)]
    found = quorum.count(members, members, lambda one, other: {one, other} != {"a", "c"})
    assert found["b"].members == ("a", "b")
    assert found["a"].quorate
    assert not found["c"].quorate


@pytest.fixture(scope="module")
def trio(tmp_path_factory: pytest.TempPathFactory) -> Rig:
    rig = Rig.of(tmp_path_factory.mktemp("trio"))
    rig.form()
    return rig


@given(sides=st.fixed_dictionaries(dict.fromkeys(("pve1", "pve2", "pve3"), SIDES)))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_cluster_behaves_as_the_model_says(trio: Rig, sides: dict[str, str]) -> None:
    keys = {name: trio.machine(name).key for name in sides}
    for one, other in combinations(sides, 2):
        change = tampering.mend if sides[one] == sides[other] else tampering.cut
        change(trio.world, keys[one], keys[other])
    for name, side in sides.items():
        if side == "off":
            trio.off(name)
        elif trio.machine(name).phase == "off":
            trio.on(name)
    for name, side in sides.items():
        if side == "off":
            continue
        may = has_majority(sides, name)
        assert trio.run(name, "pvecm status").code == (0 if may else 2)
        told = trio.ok(name, "pvesh get /cluster/status --output-format json")
        assert f'"quorate": {int(may)}' in told
        written = trio.run(name, "pveum role modify Probe --privs VM.Audit || pveum role add Probe --privs VM.Audit")
        assert (written.code == 0) == may, written
        if not may:
            assert "no quorum" in written.err
            assert trio.run(name, "echo x > /etc/pve/probe").code == 1


def test_expected_votes_by_hand_are_forgotten_when_the_others_return(tmp_path: Path) -> None:
    rig = Rig.of(tmp_path)
    rig.form()
    rig.off("pve2")
    rig.off("pve3")
    assert rig.run("pve1", "pvecm status").code == 2
    rig.ok("pve1", "pvecm expected 1")
    assert rig.run("pve1", "pvecm status").code == 0
    rig.on("pve2")
    assert "Expected votes:   2" in rig.ok("pve1", "pvecm status")


def test_a_vote_from_outside_keeps_one_of_two_nodes_able_to_write(tmp_path: Path) -> None:
    rig = Rig.of(tmp_path, 2, extra=["bastion"])
    rig.form(2)
    bastion = rig.machine("bastion")
    by_key = "Match Address 10.0.1.0/24\n    PermitRootLogin prohibit-password\n"
    rig.ok("bastion", "install -D -m 0644 /dev/stdin /etc/ssh/sshd_config.d/01-nodes.conf", by_key)
    no = rig.run("pve1", "pvecm qdevice setup 10.0.1.100")
    assert no.code != 0
    assert "corosync-qnetd" in no.err
    rig.ok("bastion", "apt-get install -y corosync-qnetd")
    rig.ok("pve1", "pvecm qdevice setup 10.0.1.100")
    assert "Qdevice" in rig.ok("pve1", "pvecm status")
    rig.off("pve1")
    assert rig.run("pve2", "pvecm status").code == 0
    tampering.cut(rig.world, rig.machine("pve2").key, bastion.key)
    assert rig.run("pve2", "pvecm status").code == 2
