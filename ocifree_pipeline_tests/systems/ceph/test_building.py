"""Ceph from nothing to healthy on three nodes, what is missing only, and what it does when something is in the way."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from ocifree_pipeline.deployment.errors import (
    Conflict,
    LimitReached,
    NotVerified,
    OcifreeError,
    PreconditionMissing,
    Refused,
    Transient,
)
from ocifree_pipeline.sandbox.ceph import devices
from ocifree_pipeline.sandbox.ceph.site import GIB
from ocifree_pipeline.systems.ceph import planning, pool
from ocifree_pipeline.systems.ceph.building import Builder
from ocifree_pipeline.systems.ceph.planning import Wanted
from ocifree_pipeline.systems.ceph.space import read_space
from ocifree_pipeline.systems.ceph.status import Judgement, Status
from ocifree_pipeline.systems.journal import Journal
from ocifree_pipeline.systems.proxmox.node import Node
from ocifree_pipeline.systems.ssh.dialer import Result, Run
from ocifree_pipeline_tests.sandbox.ceph_lab import Lab, LabClock
from ocifree_pipeline_tests.sandbox.proxmox.rig import Rig

SMALL = planning.memory_settings(8)


def builder(lab: Lab, folder: Path, network: str = "10.0.1.0/24") -> Builder:
    wanted = Wanted(network, 2, 1, SMALL)
    return Builder(wanted, lab.machines(), Journal(folder / "journal.jsonl"), lambda line: None, LabClock(lab))


def pooler(lab: Lab, folder: Path, name: str = "vm-storage") -> pool.PoolBuilder:
    journal = Journal(folder / "journal.jsonl")
    return pool.PoolBuilder(pool.Wanted(name, 2, 1), lab.machines(), journal, lambda line: None, LabClock(lab))


def build(lab: Lab, folder: Path) -> tuple[list[str], Status, Judgement]:
    one = builder(lab, folder)
    _, actions = one.plan()
    one.apply(actions)
    return [action.line for action in actions], *one.healthy()


def test_from_nothing_to_healthy_and_the_second_time_nothing_changes(tmp_path: Path) -> None:
    lab = Lab()
    lines, status, judgement = build(lab, tmp_path)
    assert lines == [
        "write the configuration of Ceph: network 10.0.1.0/24, 2 copies",
        "create the monitor of one at 10.0.1.11",
        "create the monitor of two at 10.0.1.12",
        "create the monitor of three at 10.0.1.13",
        "set osd_memory_target_autotune of each osd to false",
        "set osd_memory_target of each osd to 1610612736",
        "set mon_memory_target of each mon to 1073741824",
        "make a partition of 34 GB on /dev/sda of one, in space that is free",
        "create the OSD of one on /dev/sda2",
        "make a partition of 34 GB on /dev/sda of two, in space that is free",
        "create the OSD of two on /dev/sda2",
        "make a partition of 34 GB on /dev/sda of three, in space that is free",
        "create the OSD of three on /dev/sda2",
    ]
    assert (status.health, status.in_quorum, judgement.is_good) == ("HEALTH_OK", ("one", "two", "three"), True)
    lab.ran.clear()
    assert build(lab, tmp_path)[0] == []
    assert lab.changes() == []
    assert Journal(tmp_path / "journal.jsonl").open_intents() == []


def test_the_partitions_of_the_system_stay_as_they_were(tmp_path: Path) -> None:
    lab = Lab()
    before = {one: dict(part) for one, part in enumerate(lab.nodes["one"].blocks["disks"]["sda"]["partitions"])}
    build(lab, tmp_path)
    after = lab.nodes["one"].blocks["disks"]["sda"]["partitions"]
    assert dict(enumerate(after[:2])) == before
    assert (after[2]["name"], after[2]["start"] % 2048) == ("osd", 0)


def test_the_pool_gets_a_storage_and_only_what_differs_is_changed(tmp_path: Path) -> None:
    lab = Lab()
    build(lab, tmp_path)
    one = pooler(lab, tmp_path)
    one.apply(one.plan())
    made = one.proved()
    assert (made.size, made.min_size, made.groups, made.autoscale, made.applications) == (2, 1, 32, "on", ("rbd",))
    assert lab.storages["vm-storage"]["type"] == "rbd"
    assert one.plan() == []
    lab.good("one", "ceph osd pool set vm-storage min_size 2")
    assert [change.line for change in one.plan()] == ["set min_size of vm-storage to 1, it is 2"]
    one.apply(one.plan())
    del lab.storages["vm-storage"]
    assert [change.line for change in one.plan()] == ["make the storage vm-storage of the pool"]
    one.apply(one.plan())
    assert one.proved().min_size == 1


def test_a_pool_create_that_lies_is_found_out(tmp_path: Path) -> None:
    """Its status is 0, and there is no pool; why is in what it said."""
    lab = Lab()
    build(lab, tmp_path)
    greedy = pooler(lab, tmp_path)
    change = pool.Change("create the pool", (*greedy.plan()[0].argv[:8], "--pg_num", "1024"))
    with pytest.raises(LimitReached, match="create the pool failed") as caught:
        greedy.apply([change])
    assert "exceeds the mon_max_pg_per_osd value of 250" in caught.value.why
    with pytest.raises(NotVerified, match="not as declared"):
        greedy.proved()


def test_the_same_on_nodes_of_the_sandbox(tmp_path: Path) -> None:
    """Over the shell of guests, with /etc/pve, packages and the API as they are there."""
    rig = Rig.of(tmp_path)
    rig.form()

    def run_on(name: str) -> Run:
        def run(argv: Sequence[str], timeout: float = 0, given: SecretStr | None = None) -> Result:
            answer = rig.run(name, shlex.join(argv), given.get_secret_value() if given else "")
            return Result(answer.code, answer.out, answer.err)

        return run

    class RigClock:
        def monotonic(self) -> float:
            return rig.world.clock.now().timestamp()

        def sleep(self, seconds: float) -> None:
            rig.wait(max(1, round(seconds)))

    packages = rig.machine("pve3").guest["packages"]
    for name in [one for one in packages if one.startswith("ceph")]:
        packages.pop(name)
    nodes = [Node(f"ampere_{n}", f"pve{n}", f"10.0.1.{10 + n}", run_on(f"pve{n}")) for n in (1, 2, 3)]
    journal = Journal(tmp_path / "journal.jsonl")
    said: list[str] = []
    one = Builder(Wanted("10.0.1.0/24", 2, 1, SMALL), nodes, journal, said.append, RigClock())
    pools = pool.PoolBuilder(pool.Wanted("vm-storage", 2, 1), nodes, journal, said.append, RigClock())
    _, actions = one.plan()
    one.apply(actions)
    assert one.healthy()[1].is_good
    pools.apply(pools.plan())
    assert pools.proved().min_size == 1
    assert (one.plan()[1], pools.plan(), journal.open_intents()) == ([], [], [])
    assert "install Ceph on pve3" in said
    assert any(line.startswith("not healthy yet: ") for line in said), "waiting is told"
    assert read_space(nodes[0], 2).usable_gb == pytest.approx(43.3, abs=0.1)


def test_only_what_is_missing_is_added(tmp_path: Path) -> None:
    lab = Lab()
    build(lab, tmp_path)
    lab.good("three", "pveceph mon destroy three")
    lab.good("one", "ceph config rm osd osd_memory_target")
    assert build(lab, tmp_path)[0] == [
        "create the monitor of three at 10.0.1.13",
        "set osd_memory_target of each osd to 1610612736",
    ]


def test_a_logical_volume_named_osd_is_taken_instead_of_a_partition(tmp_path: Path) -> None:
    lab = Lab()
    volume = {"bytes": 30 * GIB, "tags": {}}
    lab.nodes["two"].blocks["vgs"]["data"] = {"pvs": ["/dev/sdb"], "lvs": {"osd": volume}}
    lines, status, _ = build(lab, tmp_path)
    assert "create the OSD of two on data/osd" in lines
    assert status.up == 3
    assert build(lab, tmp_path)[0] == []


def test_a_node_without_packages_gets_them(tmp_path: Path) -> None:
    lab = Lab()
    lab.nodes["two"].packages.clear()
    lines, status, _ = build(lab, tmp_path)
    assert lines[0] == "install Ceph on two"
    assert status.up == 3
    assert "sda2" in str(lab.asked("osd", "metadata"))


def leftover(lab: Lab) -> None:
    other = Lab()
    other.good("one", "pveceph init --network 10.0.1.0/24")
    other.shared["fsid"] = "another-life"
    other.good("one", "pveceph mon create")
    other.good("one", "sgdisk --move-second-header --new=2:0:0 --change-name=2:osd /dev/sda")
    other.good("one", "partx --update /dev/sda")
    other.good("one", "pveceph osd create /dev/sda2")
    lab.nodes["two"].blocks = other.nodes["one"].blocks


def file_system(lab: Lab) -> None:
    lab.good("two", "sgdisk --move-second-header --new=2:0:0 --change-name=2:osd /dev/sda")
    lab.good("two", "partx --update /dev/sda")
    lab.nodes["two"].blocks["disks"]["sda"]["partitions"][2]["fstype"] = "ext4"


def full_root(lab: Lab) -> None:
    lab.nodes["two"].blocks = devices.boot_disk(50, 48)


def two_places(lab: Lab) -> None:
    lab.nodes["two"].blocks["vgs"]["data"] = {"pvs": ["/dev/sdb"], "lvs": {"osd": {"bytes": 1, "tags": {}}}}
    lab.good("two", "sgdisk --move-second-header --new=2:0:0 --change-name=2:osd /dev/sda")
    lab.good("two", "partx --update /dev/sda")


def other_network(lab: Lab) -> None:
    lab.good("one", "pveceph init --network 10.9.0.0/24")


def no_quorum(lab: Lab) -> None:
    lab.is_writable = False


def other_address(lab: Lab) -> None:
    lab.nodes["one"].addresses = ("10.7.0.1/24",)


@pytest.mark.parametrize(
    ("spoil", "kind", "what", "fix"),
    [
        (leftover, Conflict, "an OSD of another cluster is on /dev/sda2", "zap --destroy /dev/sda2"),
        (file_system, Conflict, "something else is on it", "lsblk -f /dev/sda2"),
        (full_root, Refused, "no room for Ceph: 2 GB are free", "make the machine anew"),
        (two_places, Conflict, "more than one place", "keep one"),
        (other_network, Conflict, "Ceph runs on 10.9.0.0/24", "network.private_subnet"),
        (no_quorum, PreconditionMissing, "write the configuration of Ceph failed", "proxmox/cluster"),
    ],
)
def test_what_is_in_the_way_is_named_and_left_alone(
    tmp_path: Path, spoil: object, kind: type[OcifreeError], what: str, fix: str
) -> None:
    lab = Lab()
    spoil(lab)  # type: ignore[operator]
    before = [str(node.blocks) for node in lab.nodes.values()]
    with pytest.raises(kind) as caught:
        build(lab, tmp_path)
    assert what in caught.value.what
    assert fix in caught.value.fix
    assert [str(node.blocks) for node in lab.nodes.values()] == before


def test_an_osd_that_was_purged_is_not_made_again_unasked(tmp_path: Path) -> None:
    lab = Lab()
    build(lab, tmp_path)
    lab.shared["osds"].pop("1")
    with pytest.raises(Conflict, match="Ceph does not know it there") as caught:
        build(lab, tmp_path)
    assert caught.value.fix.endswith("ceph-volume lvm zap --destroy /dev/sda2")


def test_health_that_does_not_come_is_told_in_words(tmp_path: Path) -> None:
    lab = Lab()
    build(lab, tmp_path)
    lab.good("one", "ceph osd set noout")
    lab.switch_off("three")
    with pytest.raises(NotVerified, match="not healthy") as caught:
        builder(lab, tmp_path).healthy()
    assert "OSDMAP_FLAGS: noout flag(s) set (somebody has set it" in caught.value.why
    assert "of 3 OSDs 3 exist, 2 are up, 3 are in" in caught.value.why


# whatever happens meanwhile -------------------------------------------------------------------------------------------

NAMES = ("one", "two", "three")
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["off", "on", "stop", "flag", "cut", "wait", "build"]),
        st.sampled_from(NAMES),
        st.sampled_from(["mon", "mgr", "osd"]),
    ),
    max_size=8,
)


def happen(lab: Lab, what: str, name: str, kind: str) -> None:
    node = lab.nodes[name]
    match what:
        case "off":
            lab.switch_off(name)
        case "on" if not node.is_up:
            lab.switch_on(name)
        case "stop":
            number = next((n for n, osd in lab.shared.get("osds", {}).items() if osd["host"] == name), "0")
            node.stopped |= {f"ceph-{kind}@{number if kind == 'osd' else name}"}
        case "flag" if node.is_up:
            lab.command(name, ("ceph", "osd", "set", "noout"))
        case "cut":
            lab.cut.add(frozenset({name, NAMES[NAMES.index(name) - 1]}))
    lab.pass_time(700 if what == "wait" else 5)


def reason(lab: Lab, folder: Path) -> OcifreeError | None:
    """Why it is not whole."""
    try:
        assert build(lab, folder)[2].is_good
    except OcifreeError as error:
        return error
    return None


def mend(lab: Lab) -> None:
    lab.cut.clear()
    for name, node in lab.nodes.items():
        node.stopped = frozenset()
        if not node.is_up:
            lab.switch_on(name)
    lab.pass_time(1000)
    if "noout" in lab.shared.get("flags", ()):
        lab.good("one", "ceph osd unset noout")
    lab.pass_time(1000)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(events=EVENTS)
def test_it_ends_whole_or_with_a_named_reason(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[str, str, str]]
) -> None:
    lab, folder = Unsteady(), tmp_path_factory.mktemp("random")
    for what, name, kind in events:
        happen(lab, what, name, kind)
        if what == "build" and (error := reason(lab, folder)) is not None:
            assert all((error.what, error.why, error.fix)), error
    mend(lab)
    assert build(lab, folder)[2].is_good
    assert build(lab, folder)[0] == []
    assert sorted(osd["host"] for osd in lab.shared["osds"].values()) == sorted(NAMES), "one OSD a node"


class Unsteady(Lab):
    """A node that is off does not answer."""

    def command(self, name: str, words: tuple[str, ...], typed: str = "") -> Result:
        if not self.nodes[name].is_up:
            raise Transient(f"{name} does not speak SSH", why="it is off", fix="look again")
        return super().command(name, words, typed)
