"""What Ceph's commands refuse, what they claim, and what time does."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from ocifree_pipeline.sandbox.ceph import reports
from ocifree_pipeline_tests.sandbox.ceph_lab import Lab, formed


def nothing(lab: Lab) -> None:
    """As the image left it."""


def initialized(lab: Lab) -> None:
    lab.good("one", "pveceph init --network 10.0.1.0/24")


def with_mon(lab: Lab) -> None:
    initialized(lab)
    lab.good("one", "pveceph mon create")


def partitioned(lab: Lab) -> None:
    with_mon(lab)
    lab.good("one", "sgdisk --move-second-header --new=2:0:0 --change-name=2:osd /dev/sda")
    lab.good("one", "partx --update /dev/sda")


def with_osd(lab: Lab) -> None:
    partitioned(lab)
    lab.good("one", "pveceph osd create /dev/sda2")


def bare(lab: Lab) -> None:
    lab.nodes["one"].packages.clear()


def two_addresses(lab: Lab) -> None:
    initialized(lab)
    lab.nodes["one"].addresses = ("10.0.1.11/24", "10.0.1.99/24")


def elsewhere(lab: Lab) -> None:
    initialized(lab)
    lab.nodes["one"].addresses = ("192.0.2.7/24",)


def unwritable(lab: Lab) -> None:
    lab.is_writable = False


def leaderless(lab: Lab) -> None:
    with_mon(lab)
    lab.good("two", "pveceph mon create")
    lab.switch_off("two")


REFUSALS: list[tuple[Callable[[Lab], None], str, str, bool]] = [
    (bare, "pveceph init --network 10.0.1.0/24", "Ceph Nautilus required - please run 'pveceph install'", True),
    (bare, "pveceph install --version tentacle", "401  Unauthorized", True),
    (bare, "pveceph install --repository no-subscription --version squid", "not available for this arch", True),
    (bare, "pveceph install --repository no-subscription", "Do you want to continue? [Y/n] Abort.", True),
    (bare, "pveceph mon create", "binary not installed: /usr/bin/ceph-mon", True),
    (unwritable, "pveceph init --network 10.0.1.0/24", "cluster not ready - no quorum?", True),
    (nothing, "pveceph init --network banana", "network: invalid format", True),
    (nothing, "pveceph init --network 10.0.1.0/24 --size nine", "size: type check ('integer') failed", True),
    (nothing, "pveceph init --network 10.0.1.0/24 --colour red", "Unknown option: colour", True),
    (nothing, "pveceph mon create", "pveceph configuration not initialized - missing '/etc/pve/ceph.conf'", True),
    (nothing, "ceph -s", "error calling conf_read_file", True),
    (with_mon, "pveceph mon create", "monitor 'one' already exists", True),
    (with_mon, "pveceph mgr create", "ceph manager directory '/var/lib/ceph/mgr/ceph-one' already exists", True),
    (two_addresses, "pveceph mon create", "use 'mon-address' to specify one of them", True),
    (elsewhere, "pveceph mon create", "No active IP found for the requested ceph public network '10.0.1.0/24'", True),
    (initialized, "pveceph mon create --mon-address 10.0.1.200", "not configured or up on one", True),
    (initialized, "ceph -s", "RADOS timed out", True),
    (leaderless, "ceph -s", "RADOS timed out", True),
    (leaderless, "pveceph osd create /dev/sda2", "RADOS timed out", True),
    (with_mon, "pveceph osd create /dev/sda1", "device '/dev/sda1' is already in use", True),
    (with_mon, "pveceph osd create /dev/sda", "device '/dev/sda' is already in use", True),
    (with_mon, "pveceph osd create /dev/loop0", "unable to get device info for '/dev/loop0'", True),
    (with_mon, "pveceph osd create /dev/mapper/data-osd", "unable to get device info", True),
    (with_osd, "pveceph osd create /dev/sda2", "device '/dev/sda2' is already in use", True),
    (partitioned, "ceph-volume lvm create --data /dev/sda2", "unable to find a keyring", True),
    (with_osd, "ceph-volume lvm zap --destroy /dev/sda2", "osd.0 still running", True),
    (with_osd, "ceph osd ok-to-stop 0", "Error EBUSY: unsafe to stop osd(s)", True),
    (with_osd, "ceph osd purge 0", "Error EPERM", True),
    (with_osd, "ceph osd set nonsense", "Invalid command", True),
    (with_osd, "ceph osd out 7", "Error ENOENT: osd.7 does not exist", True),
    (with_osd, "ceph fs ls", "is not played by the Ceph of this sandbox", True),
    (with_osd, "pveceph fs create", "is not played by the Ceph of this sandbox", True),
    (with_osd, "pveceph pool create x --size 3 --pg_num 128", "exceeds the mon_max_pg_per_osd value of 250", False),
    (with_osd, "pveceph pool create x --size 2 --min_size 3", "min_size must be between 1 and size", False),
    (with_osd, "pveceph pool create x --add_storages True", "type check ('boolean') failed - got 'True'", True),
    (nothing, "sgdisk --new=1:0:0 /dev/sda", "Could not create partition 1", True),
    (nothing, "sgdisk --new=2:2048:9000 /dev/sda", "Could not create partition 2", True),
    (nothing, "sgdisk --new=2:0:0 /dev/sdz", "cannot open /dev/sdz", True),
]


@pytest.mark.parametrize(("prepare", "line", "said", "fails"), REFUSALS, ids=[one[1] for one in REFUSALS])
def test_a_refusal_says_why_and_changes_nothing(
    prepare: Callable[[Lab], None], line: str, said: str, fails: bool
) -> None:
    lab = Lab()
    prepare(lab)

    def state() -> str:
        return json.dumps([lab.shared, lab.storages, {n: [o.blocks, o.own, o.packages] for n, o in lab.nodes.items()}])

    before = state()
    result = lab.said("one", line)
    assert said in result.stderr
    assert (result.exit != 0) == fails, "a pool that was not created ends with 0 too"
    assert state() == before


def test_a_second_init_keeps_the_cluster_and_moves_its_network() -> None:
    lab = Lab()
    initialized(lab)
    fsid = lab.shared["fsid"]
    lab.good("two", "pveceph init --network 10.9.0.0/24 --size 2")
    assert (lab.shared["fsid"], lab.shared["size"], lab.shared["network"]) == (fsid, 3, "10.9.0.0/24")
    assert "public_network = 10.9.0.0/24" in lab.etc_pve["/etc/pve/ceph.conf"]


def test_an_empty_cluster_says_that_osds_are_missing() -> None:
    lab = Lab()
    with_mon(lab)
    assert lab.asked("health")["checks"]["TOO_FEW_OSDS"]["summary"]["message"] == (
        "OSD count 0 < osd_pool_default_size 3"
    )


def test_the_managers_pool_of_size_three_never_gets_clean_on_two_hosts() -> None:
    lab = Lab()
    with_osd(lab)
    lab.good("two", "sgdisk --move-second-header --new=2:0:0 --change-name=2:osd /dev/sda")
    lab.good("two", "partx --update /dev/sda")
    lab.good("two", "pveceph osd create /dev/sda2")
    lab.pass_time(10_000)
    assert lab.asked("-s")["pgmap"]["pgs_by_state"] == [{"state_name": "active+undersized+degraded", "count": 1}]


def test_a_partition_is_unknown_to_the_kernel_until_it_is_told() -> None:
    lab = Lab()
    with_mon(lab)
    lab.good("one", "sgdisk --move-second-header --new=2:0:0 --change-name=2:osd /dev/sda")
    assert "/dev/sda2" not in lab.good("one", "lsblk --output PATH")
    assert "/dev/sda2" in lab.good("one", "sfdisk --json /dev/sda")
    assert "unable to get device info" in lab.said("one", "pveceph osd create /dev/sda2").stderr


def test_who_is_gone_for_ten_minutes_is_given_up_and_its_copies_are_made_anew() -> None:
    lab = formed(2, 1)
    lab.switch_off("three")
    lab.pass_time(599)
    assert (lab.asked("-s")["osdmap"]["num_in_osds"], "OSD_DOWN" in lab.asked("health")["checks"]) == (3, True)
    lab.pass_time(1)
    told = lab.asked("-s")
    assert told["osdmap"]["num_in_osds"] == 2
    assert any("backfilling" in one["state_name"] for one in told["pgmap"]["pgs_by_state"])
    lab.pass_time(60)
    assert [one["state_name"] for one in lab.asked("-s")["pgmap"]["pgs_by_state"]] == ["active+clean"]
    lab.switch_on("three")
    assert lab.asked("-s")["osdmap"]["num_in_osds"] == 3, "it is taken back when it answers again"
    lab.pass_time(60)
    assert lab.asked("health")["status"] == "HEALTH_OK"


def test_no_second_one_is_given_up_and_noout_keeps_the_first() -> None:
    lab = formed(2, 1)
    lab.good("one", "ceph osd set noout")
    lab.switch_off("three")
    lab.pass_time(3600)
    assert lab.asked("-s")["osdmap"]["num_in_osds"] == 3
    lab.good("one", "ceph osd unset noout")
    lab.pass_time(1)
    assert lab.asked("-s")["osdmap"]["num_in_osds"] == 2
    lab.good("one", "ceph osd in 2")
    lab.nodes["two"].stopped = frozenset({"ceph-osd@1"})
    lab.pass_time(0)
    lab.pass_time(3600)
    assert lab.asked("-s")["osdmap"]["num_in_osds"] == 2, "one of three is the most that is given up"


def test_with_min_size_two_guests_stand_still_and_with_one_they_go_on() -> None:
    for min_size, active in ((2, False), (1, True)):
        lab = formed(2, min_size)
        lab.switch_off("three")
        states = [one["state_name"] for one in lab.asked("-s")["pgmap"]["pgs_by_state"]]
        assert all(("active" in state) for state in states) == active
        assert ("PG_AVAILABILITY" in lab.asked("health")["checks"]) != active


def test_what_one_copy_took_alone_is_gone_with_it() -> None:
    lab = formed(2, 1)
    lab.nodes["one"].stopped = frozenset({"ceph-osd@0"})
    lab.pass_time(30)
    lab.nodes["two"].stopped = frozenset({"ceph-osd@1"})
    lab.pass_time(0)
    lab.nodes["one"].stopped = frozenset()
    lab.pass_time(1)
    states = {row["state"] for row in lab.asked("pg", "dump", "pgs_brief")["pg_stats"]}
    assert "down" in states, "the older copy alone is not taken for the newer one"


def test_a_cut_link_takes_the_node_out_of_the_quorum_that_the_others_see() -> None:
    lab = formed(2, 1)
    lab.cut |= {frozenset({"three", "one"}), frozenset({"three", "two"})}
    lab.pass_time(0)
    assert lab.asked("-s", node="one")["quorum_names"] == ["one", "two"]
    assert lab.said("three", "ceph -s").exit == 1
    assert {"MON_DOWN", "OSD_DOWN"} <= set(lab.asked("health")["checks"])


def test_clocks_that_differ_are_a_warning() -> None:
    lab = formed(2, 1)
    lab.nodes["two"].skew = 0.4
    assert lab.asked("health")["checks"]["MON_CLOCK_SKEW"]["summary"]["message"] == "clock skew detected on mon.two"
    lab.nodes["two"].skew = 0.04
    assert "MON_CLOCK_SKEW" not in lab.asked("health")["checks"]


def test_space_runs_out_by_what_guests_write() -> None:
    lab = formed(2, 1)
    pool = next(one for one in lab.shared["pools"].values() if one["pool_name"] == "vm-storage")
    before = next(one for one in lab.asked("df")["pools"] if one["name"] == "vm-storage")["stats"]["max_avail"]
    assert before == pytest.approx(34 * 3 / 2 * 0.95 * 1024**3, rel=0.01)
    pool["bytes"] = 45 * 1024**3
    assert "OSD_NEARFULL" in lab.asked("health")["checks"]
    pool["bytes"] = 49 * 1024**3
    assert lab.asked("health")["status"] == "HEALTH_ERR"


def test_the_api_shows_more_than_the_command() -> None:
    lab = formed(2, 1)
    lab.switch_off("three")
    command, api = lab.asked("-s"), reports.api_status(lab.site("one"))
    assert "mons" not in command["monmap"]
    assert [one["name"] for one in api["monmap"]["mons"]] == ["one", "two", "three"]
    assert "detail" not in command["health"]["checks"]["OSD_DOWN"]
    assert api["health"]["checks"]["OSD_DOWN"]["detail"] == [{"message": "osd.2 (root=default,host=three) is down"}]
    assert api["mgrmap"]["active_name"] == "one"


def test_state_survives_json() -> None:
    lab = formed(2, 1)
    lab.switch_off("two")
    before = lab.asked("-s")
    lab.shared = json.loads(json.dumps(lab.shared))
    for node in lab.nodes.values():
        node.blocks, node.own = json.loads(json.dumps(node.blocks)), json.loads(json.dumps(node.own))
    assert lab.asked("-s") == before
