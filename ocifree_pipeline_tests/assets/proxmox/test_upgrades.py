"""Three nodes and their Talos guests to the next versions: in order, on after a stop, never without a quorum."""

from __future__ import annotations

from typing import Any

import pytest

from ocifree_pipeline.deployment.errors import NotVerified
from ocifree_pipeline.sandbox.kubernetes import cluster as kubernetes
from ocifree_pipeline.sandbox.machines import hand
from ocifree_pipeline.sandbox.proxmox import nodes as pve
from ocifree_pipeline.sandbox.talos import etcd
from ocifree_pipeline.sandbox.talos.node import nodes
from ocifree_pipeline.sandbox.world import World
from ocifree_pipeline.systems.talos import cluster as talos
from ocifree_pipeline.systems.talos import upgrading
from ocifree_pipeline_tests.assets.conftest import Deployment
from ocifree_pipeline_tests.assets.proxmox.test_guests import CONFIGS, FORMED, VMS
from ocifree_pipeline_tests.automation.test_upgrades import declare, run, told, upgraded

pytestmark = [pytest.mark.long, pytest.mark.timeout(500)]
CLUSTER, KUBECONFIG = "talos/cluster", "talos/kubeconfig"
NAMES = ["lab-talos-1", "lab-talos-2", "lab-talos-3"]


def versions(here: Deployment) -> dict[str, str]:
    return here.sandbox.inside(lambda world: {one.hostname: one.version for one in nodes(world)})


def the_nodes_below(here: Deployment) -> None:
    """Proxmox first, under Talos that runs: one guest at a time is off, and all are at home and whole afterwards."""

    def guests(world: World) -> dict[str, tuple[str, str]]:
        (store,) = pve.stores(world).values()
        return {one["config"]["name"]: (one["node"], one["status"]) for one in store["guests"].values()}

    before = here.sandbox.inside(guests)
    boots = here.sandbox.inside(lambda world: {one.name: one.machine.boots for one in pve.everyone(world)})
    upgraded(here, "upgrade_proxmox")
    assert here.sandbox.inside(lambda world: {one.machine.boots for one in pve.everyone(world)}) == set(boots.values())
    here.sandbox.inside(lambda world: hand.offer(world, {"pve-manager": "9.2.12"}))
    upgraded(here, "upgrade_proxmox")
    assert here.facts("proxmox/cluster")["release"].startswith("9.2.12 ")
    assert here.sandbox.inside(guests) == before
    again = here.sandbox.inside(lambda world: {one.name: one.machine.boots for one in pve.everyone(world)})
    assert again == {name: count + 1 for name, count in boots.items()}


def closed(world: World) -> list[str]:
    """Nodes of Kubernetes that take no pods."""
    (name,) = etcd.of_world(world)
    found = kubernetes.find_existing(world, name).store.all("nodes")
    return [one["metadata"]["name"] for one in found if one["spec"].get("unschedulable")]


def test_node_by_node_and_on_after_a_stop(here: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    here.materialize(*FORMED)
    here.materialize("proxmox/ceph_pool", "talos/secrets", "images/talos_nocloud", *CONFIGS, *VMS)
    here.materialize(CLUSTER, KUBECONFIG)
    here.materialize("platform/cilium")
    the_nodes_below(here)
    declare(here, talos_version="1.14.2")
    here.materialize(*CONFIGS)
    done: list[str] = []
    install = upgrading.install

    def stopping(all_nodes: Any, place: Any, *words: Any, **more: Any) -> None:
        members = here.sandbox.inside(lambda world: [etcd.Etcd(world, one) for one in etcd.of_world(world)])
        assert all(len(one.players()) == 3 for one in members), "the one before is back"
        assert here.sandbox.inside(closed) == [place.hostname], "its pods have moved away, and the one before is open"
        if done == NAMES[:1]:
            raise NotVerified("it does not start", why="for a test", fix="look")
        install(all_nodes, place, *words, **more)
        done.append(place.hostname)

    monkeypatch.setattr(upgrading, "install", stopping)
    failed = told(run(here, "upgrade_talos"), "upgrade_talos")
    assert failed["what"] == "stopped: lab-talos-2 is in doubt"
    assert list(versions(here).values()).count("v1.14.2") == 1
    assert versions(here)["lab-talos-1"] == "v1.14.2"
    refused = here.errors(here.materialize(CLUSTER, good=False)).popitem()[1]
    assert "lab-talos-2 runs 1.13.9, lab-talos-3 runs 1.13.9" in refused["what"]

    monkeypatch.setattr(upgrading, "install", install)
    calls = upgraded(here, "upgrade_talos")
    assert (calls.count("Upgrade"), calls.count("Reboot"), calls.count("PutObject")) == (2, 2, 0)
    assert set(versions(here).values()) == {"v1.14.2"}
    assert here.sandbox.inside(closed) == []
    here.materialize(CLUSTER)

    declare(here, kubernetes_version="1.37.0")
    here.materialize(*CONFIGS)
    follow, sent = talos.follow, []

    def watched(all_nodes: Any, place: Any, configuration: Any) -> bool:
        changed = follow(all_nodes, place, configuration)
        settings = here.sandbox.inside(lambda world: [one.settings for one in nodes(world)])
        oldest = min(one.api_server for one in settings if one is not None)
        assert all(one.kubelet <= oldest for one in settings if one is not None), "no kubelet is ahead"
        sent.append(place.hostname)
        return changed

    monkeypatch.setattr(talos, "follow", watched)
    upgraded(here, "upgrade_kubernetes")
    assert sent == NAMES * 2
    monkeypatch.setattr(talos, "follow", follow)
    here.materialize(CLUSTER, KUBECONFIG)
    assert here.metadata(CLUSTER)["plan"] == "nothing to do"
    assert here.facts(CLUSTER)["kubernetes_version"] == "1.37.0"
