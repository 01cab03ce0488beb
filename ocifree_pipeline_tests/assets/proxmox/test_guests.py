"""Talos as a guest and containers on the tailnet, in the real graph against the sandbox."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ocifree_pipeline.systems.secrets.vault import vault_of
from ocifree_pipeline_tests.assets.conftest import Deployment
from ocifree_pipeline_tests.assets.proxmox.dying import changes
from ocifree_pipeline_tests.assets.proxmox.test_cluster import checks
from ocifree_pipeline_tests.assets.proxmox.world import Standing, root_of

pytestmark = pytest.mark.long

FORMED = ["proxmox/cluster", "proxmox/network", "links/tailnet", "proxmox/ceph"]
CONFIGS = [f"talos/machine_config_{number}" for number in (1, 2, 3)]
VMS = [f"talos/vm_{number}" for number in (1, 2, 3)]
LXCS = [f"proxmox/tailscale_lxc_{number}" for number in (1, 2, 3)]


@pytest.fixture(scope="module")
def formed(machines: Standing, tmp_path_factory: pytest.TempPathFactory) -> Standing:
    return machines.with_more(tmp_path_factory.mktemp("formed"), *FORMED)


@pytest.fixture
def cluster(formed: Standing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    with formed.again(tmp_path / "home", monkeypatch) as found:
        yield found


def test_three_talos_guests_answer_and_the_second_time_nothing_changes(cluster: Deployment) -> None:
    result = cluster.materialize("proxmox/ceph_pool")
    assert checks(result)["live_migration"], "a small machine went there and back"
    cluster.materialize("talos/secrets", "images/talos_nocloud", *CONFIGS, *VMS)
    facts = [cluster.facts(key) for key in VMS]
    assert [one["address"] for one in facts] == ["10.20.0.10", "10.20.1.10", "10.20.2.10"]
    assert len({one["vmid"] for one in facts}) == 3
    with root_of(cluster, "ampere_1") as node:
        rows = {row["name"]: row for row in node.ask("/cluster/resources", "--type", "vm")}
        assert {name: (row["node"], row["status"]) for name, row in rows.items()} == {
            f"lab-talos-{number}": (f"lab-ampere-{number}", "running") for number in (1, 2, 3)
        }, "each on a node of its own, and nothing is left of the rehearsal"
        config = node.ask(f"/nodes/lab-ampere-1/qemu/{facts[0]['vmid']}/config")
        snippet = "/var/lib/vz/snippets/ocifree-lab-talos-1.yaml"
        assert node.run(["stat", "-c", "%a %U", snippet]).stdout.split() == ["600", "root"]
        assert node.text(snippet) == vault_of("lab").get(CONFIGS[0]).get_secret_value()
    assert (config["kvm"], config["cpu"], config["scsihw"]) == (0, "max", "virtio-scsi-pci")
    assert "vm-storage:" in config["scsi0"]
    with changes() as done:
        cluster.materialize("proxmox/ceph_pool", *VMS)
    rehearsed = [line for line in done.operations if not any(word in line for word in ("/qemu", "migrate"))]
    assert rehearsed == [], "the rehearsal makes and removes its own machine; nothing else changed"
    assert [cluster.facts(key) for key in VMS] == facts
    assert {cluster.metadata(key)["plan"] for key in VMS} == {"nothing to do"}


def test_a_container_on_each_node_puts_the_guests_into_the_tailnet(cluster: Deployment) -> None:
    cluster.materialize(*LXCS)
    facts = [cluster.facts(key) for key in LXCS]
    assert len({one["address"] for one in facts} | set(cluster.facts("links/tailnet")["addresses"].values())) == 7
    assert {one["route"] for one in facts} == {"10.20.0.0/16"}
    assert "let the route 10.20.0.0/16 of lab-ampere-1-tailnet through" in cluster.metadata(LXCS[0])["plan"]
    with changes() as done:
        cluster.materialize(*LXCS)
    assert done.operations == []
    assert {cluster.metadata(key)["plan"] for key in LXCS} == {"nothing to do"}
