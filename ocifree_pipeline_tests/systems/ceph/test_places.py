"""Free space is found and nothing else is touched, whatever is on the disk; and how much of it can be used."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocifree_pipeline.deployment.errors import (
    AuthFailed,
    Conflict,
    LimitReached,
    NotVerified,
    OcifreeError,
    PreconditionMissing,
    Refused,
    Transient,
)
from ocifree_pipeline.sandbox.ceph import devices
from ocifree_pipeline.systems.ceph.places import ALIGNMENT, Gap, Place, find_place
from ocifree_pipeline.systems.ceph.planning import memory_settings, partition_command
from ocifree_pipeline.systems.ceph.space import Space
from ocifree_pipeline.systems.ceph.words import refusal
from ocifree_pipeline.systems.ssh.dialer import Result
from ocifree_pipeline_tests.sandbox.ceph_lab import Lab

GIB_SECTORS = 1024**3 // 512


@settings(max_examples=40, deadline=None)
@given(
    root=st.integers(4, 30),
    extra=st.lists(st.tuples(st.integers(1, 12), st.integers(0, 3)), max_size=3),
)
def test_the_partition_lies_in_space_that_was_free(root: int, extra: list[tuple[int, int]]) -> None:
    """Further partitions of some GB with gaps between them; sgdisk itself refuses what overlaps."""
    lab = Lab(names=("one",), root_gb=root, disk_gb=100)
    disk = lab.nodes["one"].blocks["disks"]["sda"]
    disk["table_sectors"] = disk["sectors"]
    at = root * GIB_SECTORS
    for number, (size, gap) in enumerate(extra, start=2):
        at += gap * GIB_SECTORS
        devices.add_partition(disk, number, at, at + size * GIB_SECTORS - 1)
        at += size * GIB_SECTORS
    devices.read_table_again(disk)
    before = [dict(one) for one in disk["partitions"]]
    node = lab.node("one")
    found = find_place(node)
    assert isinstance(found, Gap)
    assert found.first % ALIGNMENT == 0
    assert all(found.last < one["start"] or found.first >= one["start"] + one["size"] for one in before)
    lab.good("one", " ".join(partition_command(found)))
    assert disk["partitions"][:-1] == before
    lab.good("one", "partx --update /dev/sda")
    place = find_place(node)
    assert place == Place("partition", found.path)


def test_a_disk_of_another_name_and_a_table_shorter_than_its_disk() -> None:
    lab = Lab(names=("one",))
    blocks = lab.nodes["one"].blocks
    blocks["disks"] = {"nvme0n1": blocks["disks"]["sda"]}
    found = find_place(lab.node("one"))
    assert isinstance(found, Gap)
    assert (found.path, found.gb) == ("/dev/nvme0n1p2", 34)


@given(st.lists(st.floats(1, 200), min_size=1, max_size=6), st.sampled_from([2, 3]))
def test_no_more_is_promised_than_copies_on_different_hosts_can_hold(gbs: list[float], size: int) -> None:
    space = Space({f"osd.{number}": gb for number, gb in enumerate(gbs)}, size, 0.0)
    copies = space.usable_gb / 0.85
    assert copies * size <= space.raw_gb + 1e-6
    assert sum(min(gb, copies) for gb in gbs) >= copies * size - 1e-3
    if len(gbs) < size:
        assert copies == pytest.approx(0, abs=1e-6)


def test_the_arithmetic_is_shown() -> None:
    assert Space({"osd.0": 34, "osd.1": 34, "osd.2": 34}, 2, 0.0).how() == (
        "34.0 + 34.0 + 34.0 = 102.0 GB on 3 OSDs; 2 copies = 51.0 GB; below the 85% near-full mark = 43.3 GB"
    )
    assert Space({"osd.0": 90, "osd.1": 10, "osd.2": 10}, 2, 0.0).usable_gb == pytest.approx(20 * 0.85)


def test_small_nodes_get_small_daemons_and_large_ones_cephs_own() -> None:
    assert memory_settings(8)["osd", "osd_memory_target"] == str(1536 * 1024**2)
    assert memory_settings(24) == {}


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("device '/dev/sda2' is already in use\n", Conflict),
        ("unable to get device info for '/dev/dm-0'\n", Refused),
        ("2026-01-01T00:00:00 monclient\n[errno 110] RADOS timed out (error connecting to the cluster)\n", Transient),
        ("Could not connect to ceph cluster despite configured monitors\n", Transient),
        ("cluster not ready - no quorum?\n", PreconditionMissing),
        ("cfs-lock 'file-ceph_conf' error: got lock request timeout\n", Transient),
        ("E: Could not get lock /var/lib/dpkg/lock-frontend.\n", Transient),
        ("No active IP found for the requested ceph public network '10.0.1.0/24' on node 'one'\n", Refused),
        ("binary not installed: /usr/bin/ceph-mon\n", PreconditionMissing),
        ("monitor filesystem '/var/lib/ceph/mon/ceph-one' already exist\n", Conflict),
        ("Error ERANGE: ... exceeds the mon_max_pg_per_osd value of 250\n", LimitReached),
        ("something that nobody has seen before\n", NotVerified),
        ("", NotVerified),
    ],
)
def test_a_refusal_becomes_a_typed_error_with_a_way_out(said: str, kind: type[OcifreeError]) -> None:
    error = refusal(Lab().node("one"), "create the OSD", Result(25, "", said))
    assert type(error) is kind
    assert not isinstance(error, AuthFailed)
    assert error.what.startswith("ampere_1: create the OSD failed")
    assert error.why
    assert error.fix
