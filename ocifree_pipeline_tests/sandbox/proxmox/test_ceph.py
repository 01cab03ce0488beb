"""Ceph on Proxmox nodes: over the API, with tasks; over commands, with faults; and over a restart of the sandbox."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ocifree_pipeline.sandbox import instruments
from ocifree_pipeline.sandbox.faults import Faults, Rule
from ocifree_pipeline.sandbox.machines import tampering
from ocifree_pipeline.sandbox.recorder import Recorder
from ocifree_pipeline.sandbox.world import World
from ocifree_pipeline_tests.sandbox.proxmox.rig import Rig

NODES = ("pve1", "pve2", "pve3")


def told(rig: Rig, path: str, node: str = "pve1") -> Any:
    return json.loads(rig.ok(node, f"pvesh get {path} --output-format json"))


def create(rig: Rig, node: str, path: str, options: str = "") -> str:
    """A write over the API; what its task says at the end."""
    rig.run(node, f"pvesh create /nodes/{node}/ceph/{path} {options}")
    return str(told(rig, f"/nodes/{node}/tasks", node)[0]["status"])


@pytest.fixture(scope="module")
def formed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The state of three nodes with Ceph, made over the API."""
    rig = Rig.of(tmp_path_factory.mktemp("ceph"))
    rig.form()
    rig.ok("pve1", "pvesh create /nodes/pve1/ceph/init --network 10.0.1.0/24 --size 2 --min_size 1")
    for name in NODES:
        assert create(rig, name, f"mon/{name}") == "OK"
        rig.ok(name, "sgdisk --move-second-header --new=2:0:0 --change-name=2:osd /dev/sda && partx -u /dev/sda")
        assert create(rig, name, "osd", "--dev /dev/sda2") == "OK"
    assert create(rig, "pve2", "pool", "--name vms --size 2 --min_size 1 --pg_num 32 --add_storages 1") == "OK"
    rig.wait(90)
    return rig.world.to_json()


@pytest.fixture
def rig(formed: dict[str, Any], tmp_path: Path) -> Rig:
    """The same world again, as from a snapshot."""
    world = World(tmp_path / "world", seed=3, mode="manual")
    world.directory.mkdir()
    world.load_json(json.loads(json.dumps(formed)))
    instruments.attach(world, Faults(), Recorder(capacity=1000))
    return Rig(world)


def test_all_nodes_and_both_ways_tell_the_same(rig: Rig) -> None:
    api = told(rig, "/cluster/ceph/status", "pve3")
    command = json.loads(rig.ok("pve2", "ceph -s --format json"))
    assert api["health"]["status"] == command["health"]["status"] == "HEALTH_OK", api["health"]
    assert api["pgmap"] == command["pgmap"]
    assert [one["name"] for one in api["monmap"]["mons"]] == list(NODES)
    assert {row["name"]: row["quorum"] for row in told(rig, "/nodes/pve1/ceph/mon")} == dict.fromkeys(NODES, 1)
    assert [row["state"] for row in told(rig, "/nodes/pve1/ceph/mgr")] == ["active", "standby", "standby"]
    hosts = told(rig, "/nodes/pve1/ceph/osd")["root"]["children"][0]["children"]
    assert [(host["name"], [leaf["status"] for leaf in host["children"]]) for host in hosts] == [
        (name, ["up"]) for name in NODES
    ]
    pools = {row["pool_name"]: (row["size"], row["min_size"]) for row in told(rig, "/nodes/pve2/ceph/pool")}
    assert pools == {".mgr": (2, 1), "vms": (2, 1)}
    disks = told(rig, "/nodes/pve3/disks/list --include-partitions 1")
    assert {row["devpath"]: row.get("used") for row in disks} == {
        "/dev/sda": "partitions", "/dev/sda1": "mounted", "/dev/sda15": "mounted", "/dev/sda2": "LVM",
    }  # fmt: skip
    assert "fsid = " in rig.ok("pve3", "cat /etc/pve/ceph.conf")


def test_a_task_fails_with_the_words_of_the_command(rig: Rig) -> None:
    assert "already in use" in create(rig, "pve1", "osd", "--dev /dev/sda2")
    assert create(rig, "pve1", "mon/pve1") == "monitor 'pve1' already exists"
    refused = rig.run("pve1", "pvesh create /nodes/pve1/ceph/pool --name x --size nine")
    assert "type check ('integer') failed" in refused.err


def test_a_pool_is_changed_over_the_api(rig: Rig) -> None:
    before = told(rig, "/nodes/pve1/ceph/pool/vms/status --verbose 1")
    assert (before["size"], before["pg_autoscale_mode"], before["application_list"]) == (2, "warn", ["rbd"])
    rig.ok("pve3", "pvesh set /nodes/pve3/ceph/pool/vms --size 3 --pg_autoscale_mode on --crush_rule replicated_rule")
    assert told(rig, "/nodes/pve1/ceph/pool/vms/status") == {
        **{name: value for name, value in before.items() if name != "application_list"},
        "size": 3,
        "pg_autoscale_mode": "on",
    }
    assert "is not played" in rig.run("pve1", "pvesh set /nodes/pve1/ceph/pool/vms --application cephfs").err
    rig.ok("pve1", "qm create 100 --scsi0 vms:1")
    rig.run("pve1", "pvesh delete /nodes/pve1/ceph/pool/vms --remove_storages 1")
    assert "still in use by storage 'vms'" in told(rig, "/nodes/pve1/tasks")[0]["status"]
    assert "unrecognized pool 'no'" in rig.run("pve1", "pvesh get /nodes/pve1/ceph/pool/no/status").err


def test_the_log_of_a_command_is_read_over_the_api(rig: Rig) -> None:
    """The command ended with 0, and its task says that it failed."""
    answer = rig.run("pve2", "pveceph pool create big --size 3 --pg_num 256")
    assert (answer.code, "mon_max_pg_per_osd" in answer.err) == (0, True)
    task = told(rig, "/nodes/pve2/tasks", "pve2")[0]
    assert (task["type"], task["id"]) == ("cephcreatepool", "big")
    assert "mon_max_pg_per_osd" in task["status"]
    wrong = rig.run("pve2", "pveceph pool create big --size nine")
    assert (wrong.code != 0, "type check ('integer') failed" in wrong.err) == (True, True)


def test_a_node_that_reboots_in_the_middle_has_no_osd_and_can_make_one(rig: Rig) -> None:
    rig.ok("pve1", "ceph osd out 2")
    rig.off("pve3")
    rig.ok("pve1", "ceph osd purge 2 --yes-i-really-mean-it")
    rig.on("pve3")
    rig.ok("pve3", "ceph-volume lvm zap --destroy /dev/sda2")
    instruments.of(rig.world).faults.add(Rule(service="pvetask", operation="cephcreateosd", moment="reset"))
    assert rig.run("pve3", "pveceph osd create /dev/sda2").code != 0
    rig.wait(90)
    assert len(json.loads(rig.ok("pve1", "ceph osd ls --format json"))) == 2
    rig.ok("pve3", "pveceph osd create /dev/sda2")
    rig.wait(400)
    assert "HEALTH_OK" in rig.ok("pve1", "ceph health")


def test_a_node_without_power_is_missed_at_once_and_the_storage_goes_on(rig: Rig) -> None:
    rig.off("pve2")
    checks = told(rig, "/cluster/ceph/status")["health"]["checks"]
    assert {"MON_DOWN", "OSD_DOWN", "OSD_HOST_DOWN", "PG_DEGRADED"} == set(checks)
    assert told(rig, "/nodes/pve1/storage/vms/status")["active"] == 1
    rig.on("pve2")
    rig.wait(60)
    assert told(rig, "/cluster/ceph/status")["health"]["status"] == "HEALTH_OK"


def test_without_a_majority_nothing_answers_and_the_storage_is_away(rig: Rig) -> None:
    rig.off("pve2")
    rig.off("pve3")
    assert "RADOS timed out" in rig.run("pve1", "ceph -s").err
    assert "RADOS timed out" in rig.run("pve1", "pvesh get /cluster/ceph/status").err
    assert told(rig, "/nodes/pve1/storage/vms/status")["active"] == 0


def test_a_clock_that_is_wrong_and_a_link_that_is_cut(rig: Rig) -> None:
    tampering.set_skew(rig.machine("pve3"), 0.3)
    assert "MON_CLOCK_SKEW" in told(rig, "/cluster/ceph/status")["health"]["checks"]
    tampering.set_skew(rig.machine("pve3"), 0.0)
    for other in ("pve1", "pve2"):
        tampering.cut(rig.world, rig.machine("pve3").key, rig.machine(other).key)
    assert "quorum pve1,pve2" in rig.ok("pve1", "ceph health")
    assert rig.run("pve3", "ceph health").code == 1


def test_who_is_not_root_gets_nothing_and_who_has_no_package_has_no_command(rig: Rig) -> None:
    assert "PermissionDenied" in rig.run("pve1", "ceph -s", user="debian").err
    rig.machine("pve1").guest["packages"].pop("ceph-common")
    assert rig.run("pve1", "ceph -s").code == 127


def test_install_asks_and_takes_what_is_typed(rig: Rig) -> None:
    packages = rig.machine("pve3").guest["packages"]
    for name in [one for one in packages if one.startswith("ceph")]:
        packages.pop(name)
    line = "pveceph install --repository no-subscription --version tentacle"
    assert "Abort" in rig.run("pve3", line, "").err
    assert "installed Ceph" in rig.ok("pve3", line, "y\n")
    assert "ceph-mon" in packages


@pytest.mark.parametrize(
    ("moment", "done"), [("before", False), ("drop", False), ("after", True), ("truncate", True), ("reset", True)]
)
def test_a_fault_strikes_once_before_or_after_the_work(rig: Rig, moment: Any, done: bool) -> None:
    faults = instruments.of(rig.world).faults
    faults.add(Rule(service="ceph", operation="ceph osd set", moment=moment, message="lost"))
    before = rig.machine("pve1").boots
    answer = rig.run("pve1", "ceph osd set noout")
    assert (answer.code, answer.err) == (1, "lost\n")
    assert [one.operation for one in faults.fired] == ["ceph osd set"]
    rig.wait(60)
    assert ("noout" in rig.ok("pve2", "ceph osd dump --format json")) == done
    assert rig.machine("pve1").boots - before == (moment == "reset")
    assert rig.run("pve1", "ceph osd set noout").code == 0
