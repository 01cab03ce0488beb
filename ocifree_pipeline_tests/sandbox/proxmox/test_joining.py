"""How nodes become one cluster, and everything that goes wrong on the way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ocifree_pipeline.sandbox import instruments
from ocifree_pipeline.sandbox.faults import Rule
from ocifree_pipeline.sandbox.machines import tampering
from ocifree_pipeline.sandbox.world import World
from ocifree_pipeline_tests.sandbox.proxmox.rig import ROOT, Rig


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """Three nodes, and the first has a cluster."""
    made = Rig.of(tmp_path)
    made.ok("pve1", f"echo root:{ROOT} | chpasswd && pvecm create lab --link0 10.0.1.11")
    return made


def members(rig: Rig, name: str) -> list[str]:
    rows = json.loads(rig.ok(name, "pvesh get /cluster/status --output-format json"))
    return [row["name"] for row in rows if row["type"] == "node" and row["online"]]


def test_a_join_says_what_it_does_and_is_seen_by_all(rig: Rig) -> None:
    said = rig.join("pve2").out.splitlines()
    wanted = [
        "Establishing API",
        "Login succeeded.",
        "Request addition",
        "waiting for quorum...OK",
        "successfully added",
    ]
    places = [next(at for at, line in enumerate(said) if line.find(one) >= 0) for one in wanted]
    assert places == sorted(places)
    assert members(rig, "pve1") == members(rig, "pve2") == ["pve1", "pve2"]
    assert rig.ok("pve1", "sha256sum /etc/pve/corosync.conf") == rig.ok("pve2", "sha256sum /etc/pve/corosync.conf")


def test_where_lifecycles_are_immediate_a_cluster_forms_too(tmp_path: Path) -> None:
    rig = Rig.of(tmp_path, mode="immediate")
    rig.form()
    assert members(rig, "pve3") == ["pve1", "pve2", "pve3"]


def test_a_join_destroys_what_the_node_had(rig: Rig) -> None:
    rig.ok("pve2", "pveum user add ops@pve && pveum user token add ops@pve ci")
    before, authority = rig.fingerprint("pve2"), rig.ok("pve2", "cat /etc/pve/pve-root-ca.pem")
    rig.join("pve2")
    assert "ops@pve" not in rig.ok("pve2", "pveum user list")
    assert rig.fingerprint("pve2") != before
    assert rig.ok("pve2", "cat /etc/pve/pve-root-ca.pem") != authority
    assert rig.ok("pve2", "cat /etc/pve/pve-root-ca.pem") == rig.ok("pve1", "cat /etc/pve/pve-root-ca.pem")
    assert "PermitRootLogin yes" in rig.ok("pve2", "cat /etc/ssh/sshd_config")


@pytest.mark.parametrize(
    ("stdin", "says"),
    [
        ("wrong\n", "authentication failed"),
        ("", "EOF while reading password"),
    ],
)
def test_a_join_that_failed_ends_with_0(rig: Rig, stdin: str, says: str) -> None:
    shown = rig.fingerprint("pve1")
    answer = rig.run("pve2", f"pvecm add 10.0.1.11 --fingerprint {shown}", stdin)
    assert answer.code == 0
    assert says in answer.err
    assert members(rig, "pve1") == ["pve1"]
    assert rig.run("pve2", "test -e /etc/corosync/authkey").code == 1


def test_without_a_fingerprint_it_asks(rig: Rig) -> None:
    assert "abort" in rig.run("pve2", "pvecm add 10.0.1.11", f"{ROOT}\nno\n").err
    assert "successfully added" in rig.run("pve2", "pvecm add 10.0.1.11", f"{ROOT}\nyes\n").out


def test_a_wrong_fingerprint_is_refused(rig: Rig) -> None:
    wrong = ":".join(["AB"] * 32)
    answer = rig.run("pve2", f"pvecm add 10.0.1.11 --fingerprint {wrong}", f"{ROOT}\n")
    assert (answer.code, members(rig, "pve1")) == (0, ["pve1"])
    assert "not verified" in answer.err


def test_a_prompt_waits_for_somebody_who_types(rig: Rig) -> None:
    shown = rig.fingerprint("pve1")
    with pytest.raises(TimeoutError, match="still waits"):
        rig.run("pve2", f"pvecm add 10.0.1.11 --fingerprint {shown}", None, seconds=5)


def test_without_quorum_it_waits_for_ever_and_leaves_half_a_node(rig: Rig) -> None:
    first, second = rig.machine("pve1").key, rig.machine("pve2").key
    tampering.cut(rig.world, first, second, tampering.COROSYNC)
    shown = rig.fingerprint("pve1")
    with pytest.raises(TimeoutError, match="waiting for quorum"):
        rig.run("pve2", f"pvecm add 10.0.1.11 --fingerprint {shown}", f"{ROOT}\n", seconds=30)
    assert rig.run("pve1", "pvecm status").code == 2, "the first waits for the second too"
    refused = rig.run("pve2", f"pvecm add 10.0.1.11 --fingerprint {shown}", f"{ROOT}\n")
    assert "authentication key '/etc/corosync/authkey' already exists" in refused.err
    assert "cluster config '/etc/pve/corosync.conf' already exists" in refused.err
    tampering.mend(rig.world, first, second)
    rig.wait(30)
    assert members(rig, "pve2") == ["pve1", "pve2"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("pvecm create lab", "cluster config '/etc/pve/corosync.conf' already exists"),
        ("pvecm create a-name-that-is-too-long", "may only be 15 characters long"),
        ("pvecm create", "not enough arguments"),
        ("pvecm create x --nonsense 1", "property is not defined in schema"),
        ("pvecm delnode pve9", "is not a known host"),
        ("pvecm delnode pve1", "Cannot delete myself"),
        ("pvecm dance", "unknown command"),
    ],
)
def test_refusals(rig: Rig, line: str, says: str) -> None:
    answer = rig.run("pve1", line)
    assert answer.code != 0
    assert says in answer.err


@pytest.mark.parametrize(
    ("before", "options", "says"),
    [
        ("true", "--link0 10.0.1.99", "link0: cannot use IP '10.0.1.99', not found on local node!"),
        ("echo 127.0.1.1 pve2 >> /etc/hosts", "", "local node address: cannot use IP '127.0.1.1'"),
        ("pvecm create other", "", "corosync is already running"),
        ("qm create 100 --name x --kvm 0", "", "this host already contains virtual guests"),
    ],
)
def test_a_node_that_may_not_join_says_why_before_anything_happens(
    rig: Rig, before: str, options: str, says: str
) -> None:
    rig.ok("pve2", before)
    answer = rig.run("pve2", f"pvecm add 10.0.1.11 {options}", f"{ROOT}\nyes\n")
    assert answer.code != 0
    assert says in answer.err
    assert "Check if node may join a cluster failed!" in answer.err
    assert members(rig, "pve1") == ["pve1"]


def test_a_removed_node_does_not_notice_and_may_come_again_only_anew(rig: Rig) -> None:
    rig.join("pve2")
    rig.join("pve3")
    rig.ok("pve1", "pvecm delnode pve3")
    assert members(rig, "pve1") == ["pve1", "pve2"]
    assert rig.run("pve3", "pvecm status").code == 2
    assert "already exists" in rig.join("pve3").err


LEAVE = (
    "systemctl stop pve-cluster corosync; pmxcfs -l; rm -f /etc/pve/corosync.conf; rm -rf /etc/corosync/*; "
    "killall pmxcfs; systemctl start pve-cluster"
)


def test_a_half_joined_node_is_mended_by_hand_and_joins_again(rig: Rig) -> None:
    first, second = rig.machine("pve1").key, rig.machine("pve2").key
    tampering.cut(rig.world, first, second, tampering.COROSYNC)
    with pytest.raises(TimeoutError):
        rig.join("pve2")
    rig.off("pve2")
    rig.on("pve2")
    tampering.mend(rig.world, first, second)
    rig.ok("pve2", LEAVE)
    assert rig.run("pve2", "pvecm status").code == 2
    assert rig.run("pve2", "test -e /etc/corosync/authkey").code == 1
    rig.ok("pve1", "pvecm expected 1 && pvecm delnode pve2")
    assert "successfully added" in rig.join("pve2").out
    assert members(rig, "pve1") == members(rig, "pve2") == ["pve1", "pve2"]


def test_a_name_that_stands_for_loopback_stops_the_node(tmp_path: Path) -> None:
    rig = Rig.of(tmp_path, 1)
    rig.ok("pve1", "echo 127.0.1.1 pve1 >> /etc/hosts")
    failed = rig.run("pve1", "systemctl restart pve-cluster")
    assert failed.code != 0
    assert "Connection refused" in rig.run("pve1", "pvesh get /version").err
    rig.ok("pve1", "echo 10.0.1.11 pve1 > /etc/hosts && systemctl restart pve-cluster")
    rig.ok("pve1", "pvesh get /version")


def test_a_cluster_survives_a_snapshot(rig: Rig) -> None:
    rig.join("pve2")
    state = json.loads(json.dumps(rig.world.to_json()))
    again = World(rig.world.directory, mode="manual")
    again.load_json(state)
    restored = Rig(again)
    assert members(restored, "pve2") == ["pve1", "pve2"]
    assert restored.fingerprint("pve1") == rig.fingerprint("pve1")
    restored.join("pve3")
    assert members(restored, "pve3") == ["pve1", "pve2", "pve3"]


def test_a_reboot_in_the_middle_of_a_join_leaves_it_unfinished(rig: Rig) -> None:
    instruments.of(rig.world).faults.add(Rule(service="pvetask", operation="clusterjoin", moment="reset"))
    answer = rig.join("pve2")
    assert "successfully" not in answer.out
    rig.wait(60)
    assert members(rig, "pve1") == ["pve1"]
    assert "successfully added" in rig.join("pve2").out


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_task_that_was_told_to_fail_fails(rig: Rig, moment: str) -> None:
    rule = Rule(service="pvetask", operation="clusterjoin", moment=moment, message="cfs-lock timeout")  # type: ignore[arg-type]
    instruments.of(rig.world).faults.add(rule)
    answer = rig.join("pve2")
    assert answer.code == 0
    assert "cfs-lock timeout" in answer.err
    rig.wait(5)
    assert len(members(rig, "pve1")) == (1 if moment == "before" else 2)
