"""From three Proxmox nodes to a page in a browser: guests, their cluster, the platform, and a request from outside."""

from __future__ import annotations

from typing import Any

import pytest

from ocifree_pipeline.sandbox.machines import power
from ocifree_pipeline.sandbox.talos import life
from ocifree_pipeline.sandbox.talos.node import nodes
from ocifree_pipeline.sandbox.world import World
from ocifree_pipeline_tests.assets.conftest import Deployment
from ocifree_pipeline_tests.assets.proxmox.test_guests import CONFIGS, FORMED, VMS
from ocifree_pipeline_tests.assets.proxmox.world import root_of
from ocifree_pipeline_tests.assets.test_machines import checks

CLUSTER = ["talos/cluster", "talos/kubeconfig"]
PLATFORM = ["platform/cilium", "platform/sops_age", "platform/flux", "platform/policies", "platform/gateway"]

pytestmark = pytest.mark.long


def lose_its_configuration(here: Deployment, name: str) -> None:
    """As a guest comes up whose cloud-init drive says nothing to Talos."""

    def empty(world: World) -> None:
        found: Any = next(one for one in nodes(world) if one.hostname == name)
        life.wipe(found, {"STATE", "EPHEMERAL"})
        found.computer.record["seed"]["user"] = "#cloud-config\n"
        power.restart(found.computer)

    here.sandbox.inside(empty)
    here.sandbox.advance(120)


@pytest.mark.timeout(600)
def test_a_stranger_reads_the_words_of_the_sample(here: Deployment) -> None:
    """Oracle translates to the first node, the node to its guest, and Envoy there finds the pod on any of the three."""
    here.materialize(*FORMED)
    here.materialize("proxmox/ceph_pool", "talos/secrets", "images/talos_nocloud", *CONFIGS, *VMS)
    lose_its_configuration(here, "lab-talos-2")
    here.materialize(*CLUSTER)
    sent = [one.operation for one in here.sandbox.recorder if one.mutating].count("ApplyConfiguration")
    assert sent == 1, "the guest in maintenance mode, by way of the node that it runs on"
    judged = checks(here.materialize(*PLATFORM))
    assert judged.keys() >= {"cilium:cilium_ok", "flux:releases_ready", "gateway:ingress_reachable", "gateway:drift"}
    assert all(judged.values()), judged
    assert here.facts("platform/cilium")["nodes"] == ["lab-talos-1", "lab-talos-2", "lab-talos-3"]
    reserved = here.facts("oci/reserved_ips")["addresses"]["ingress"]["address"]
    assert here.facts("platform/gateway")["address"] == reserved

    calls = here.mutations()
    here.materialize(*CLUSTER, *PLATFORM)
    assert here.mutations() == calls
    assert {here.metadata(key)["plan"] for key in (*CLUSTER, *PLATFORM)} == {"nothing to do"}

    lose_a_guest(here, "talos/vm_3")
    before = here.sandbox.recorder.count(mutating=True)
    here.materialize("talos/vm_3")
    assert "take lab-talos-3 out of etcd, whose machine is gone" in here.metadata("talos/vm_3")["plan"]
    assert "take lab-talos-3 out of Kubernetes" in here.metadata("talos/vm_3")["plan"]
    done = [one.operation for one in list(here.sandbox.recorder) if one.mutating][before:]
    assert done.count("EtcdRemoveMemberByID") == 1
    here.materialize(*CLUSTER)
    assert here.metadata("talos/cluster")["plan"] == "nothing to do", "it has joined by itself"
    assert set(here.facts("talos/cluster")["members"]) == {f"lab-talos-{number}" for number in (1, 2, 3)}


def lose_a_guest(here: Deployment, key: str) -> None:
    """With its disks, as after a mistake in the UI of Proxmox; then long enough that Kubernetes misses it."""
    vmid = here.facts(key)["vmid"]
    with root_of(here, "ampere_3") as node:
        node.run(["qm", "stop", str(vmid)]).checked("stop it")
        here.sandbox.advance(30)
        node.run(["qm", "destroy", str(vmid), "--purge"]).checked("destroy it")
    for _ in range(6):
        here.sandbox.advance(60)
