"""A machine that Oracle took back, and its successor: what went with the first leaves the cluster and Ceph."""

from __future__ import annotations

import oci
import pytest

from ocifree_pipeline.record.ceph import CEPH, POOL
from ocifree_pipeline.record.proxmox import CLUSTER, NETWORK
from ocifree_pipeline.systems.ceph.status import judge, read_status
from ocifree_pipeline_tests.assets.conftest import Deployment
from ocifree_pipeline_tests.assets.proxmox.dying import changes
from ocifree_pipeline_tests.assets.proxmox.world import root_of

pytestmark = [pytest.mark.long, pytest.mark.timeout(500)]
MACHINE = "machines/ampere_2"
CONFIG, VM = "talos/machine_config_2", "talos/vm_2"
LAYERS = (CLUSTER, NETWORK, CEPH, POOL)


def end(here: Deployment, ocid: str) -> None:
    here.client(oci.core.ComputeClient).terminate_instance(ocid, preserve_boot_volume=False)
    for _ in range(4):
        here.sandbox.advance(60)


def test_its_successor_takes_its_place(here: Deployment) -> None:
    here.materialize(CLUSTER, NETWORK)
    here.materialize(CEPH, POOL, "talos/secrets", "images/talos_nocloud", CONFIG, VM)
    before = {key: here.facts(key) for key in (*LAYERS, MACHINE, VM)}
    end(here, before[MACHINE]["ocid"])
    here.materialize(MACHINE)
    after = here.facts(MACHINE)
    assert after["ocid"] != before[MACHINE]["ocid"]

    here.materialize(*LAYERS)
    plan = here.metadata(CLUSTER)["plan"]
    assert "take osd.1 of lab-ampere-2 out of Ceph: its machine is gone" in plan
    assert "take the monitor of lab-ampere-2 out of Ceph: its machine is gone" in plan
    assert here.facts(CEPH)["fsid"] == before[CEPH]["fsid"]
    assert here.facts(CEPH)["osds"] == before[CEPH]["osds"], "the number is free again"
    assert here.facts(CEPH)["monitors"]["lab-ampere-2"] == after["private_ip"]
    with root_of(here, "ampere_1") as node:
        assert judge(read_status(node), monitors=3, osds=3).is_good
        assert {row["name"]: row["online"] for row in node.ask("/cluster/status") if row["type"] == "node"} == {
            "lab-ampere-1": 1, "lab-ampere-2": 1, "lab-ampere-3": 1,
        }  # fmt: skip
        assert before[MACHINE]["private_ip"] not in node.text("/etc/pve/ceph.conf") + node.text("/etc/hosts")
    with changes() as done:
        here.materialize(CLUSTER, NETWORK)
    assert done.operations == []
    here.materialize(CEPH, VM)
    assert here.metadata(CEPH)["plan"] == "nothing to do"
    assert here.facts(VM) == before[VM], "the same guest, with the disk that it had"


def test_nobody_is_forgotten_while_oracle_does_not_say_that_it_is_gone(here: Deployment) -> None:
    here.materialize(CLUSTER)
    before = here.facts(MACHINE)
    end(here, before["ocid"])
    here.materialize(MACHINE)
    after = here.facts(MACHINE)
    here.pretend(MACHINE, **before | {"ocid": here.facts("machines/ampere_3")["ocid"]})
    here.pretend(MACHINE, **after)
    with changes() as done:
        refused = here.errors(here.materialize(CLUSTER, good=False))["proxmox__cluster"]
    assert (refused["error"], refused["what"]) == ("Conflict", "an earlier ampere_2 still exists, and is not forgotten")
    assert not [line for line in done.operations if "delnode" in line or "pvecm add" in line]
    with root_of(here, "ampere_1") as node:
        assert len(node.ask("/cluster/config/nodes")) == 3
