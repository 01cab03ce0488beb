"""tofu/proxmox-cluster by the unmodified provider bpg/proxmox, on a cluster of the sandbox.

What the module makes is what the pipeline makes: the one has nothing to do after the other.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import Any

import hcl2
import pytest
from pydantic import SecretStr

from ocifree_pipeline.deployment.sections.ceph import Ceph
from ocifree_pipeline.deployment.sections.network import Network
from ocifree_pipeline.record.talos import gateway_of, guest_address
from ocifree_pipeline.sandbox import machines
from ocifree_pipeline.sandbox.disks.making import make_qcow2
from ocifree_pipeline.sandbox.machines import Reached
from ocifree_pipeline.sandbox.proxmox import volumes
from ocifree_pipeline.systems.ceph import planning
from ocifree_pipeline.systems.ceph import pool as ceph_pool
from ocifree_pipeline.systems.ceph.building import Builder
from ocifree_pipeline.systems.journal import Journal
from ocifree_pipeline.systems.kube.api import api_at
from ocifree_pipeline.systems.kube.kubeconfig import credentials_of
from ocifree_pipeline.systems.proxmox import access, containers, guests, network, storage
from ocifree_pipeline.systems.proxmox.access import PRIVILEGES, ROLE, TOKEN, USER
from ocifree_pipeline.systems.proxmox.api import Api
from ocifree_pipeline.systems.proxmox.node import Node
from ocifree_pipeline.systems.secrets.vault import Vault
from ocifree_pipeline.systems.ssh.dialer import Result, Run
from ocifree_pipeline_tests.real.opentofu import Site, site_of
from ocifree_pipeline_tests.real.test_talos_provider import MODULE as TALOS_MODULE
from ocifree_pipeline_tests.real.test_talos_provider import dialled
from ocifree_pipeline_tests.sandbox.proxmox.rig import ROOT, Rig
from ocifree_pipeline_tests.sandbox.proxmox.served import Served, served
from ocifree_pipeline_tests.sandbox.talos_nodes import INSTALLER

MODULE = Path(__file__).parents[2] / "tofu" / "proxmox-cluster"
REAL = pytest.mark.real("OpenTofu + bpg/proxmox")
NODES = {"pve1": "10.0.1.11", "pve2": "10.0.1.12"}
TEMPLATE = "local:vztmpl/debian-13-standard_13.1-2_arm64.tar.zst"
APPLY, DESTROY = ("apply", "-input=false", "-auto-approve"), ("destroy", "-input=false", "-auto-approve")


@dataclass(frozen=True)
class Pipeline:
    """What the assets do on two nodes, by the same functions, with a bridge and a Ceph that are there already."""

    cluster: Served
    folder: Path

    def monotonic(self) -> float:
        return self.cluster.inside(lambda rig: rig.world.clock.now().timestamp())

    def sleep(self, seconds: float) -> None:
        self.cluster.wait(max(1, round(seconds)))

    def _run(self, name: str) -> Run:
        def run(argv: Sequence[str], timeout: float = 0, given: SecretStr | None = None) -> Result:
            text = given.get_secret_value() if given else ""
            answer = self.cluster.inside(lambda rig: rig.run(name, shlex.join(argv), text, seconds=900))
            return Result(answer.code, answer.out, answer.err)

        return run

    @property
    def nodes(self) -> list[Node]:
        return [Node(name, name, address, self._run(name)) for name, address in NODES.items()]

    @property
    def journal(self) -> Journal:
        return Journal(self.folder / "journal.jsonl")

    @property
    def vault(self) -> Vault:
        return Vault(self.folder / "vault.age", self.folder / "identity.txt")

    def prepare(self) -> None:
        """Ceph, and the bridge of the guests."""
        declared = Network()
        for number, node in enumerate(self.nodes, start=1):
            gateway, own = gateway_of(declared.guests, number), IPv4Address(node.address)
            peers = tuple(IPv4Address(one.address) for one in self.nodes if one.name != node.name)
            inside = (IPv4Network("10.0.0.0/16"),)
            network.apply(node, network.Wanted(gateway, own, peers, inside, declared.vxlan.vni, declared.vxlan.mtu))
        wanted = planning.Wanted("10.0.1.0/24", 2, 2, planning.memory_settings(6))
        builder = Builder(wanted, self.nodes, self.journal, lambda line: None, self)
        builder.apply(builder.plan()[1])
        builder.healthy()

    def template(self) -> None:
        api = Api(self.cluster.client(), self)
        assert {containers.template_for(api, node, "aarch64")[0] for node in self.nodes} == {TEMPLATE}

    def make(self) -> list[str]:
        """What of proxmox/cluster, proxmox/ceph_pool and proxmox/tailscale_lxc_<n> had to be done."""
        api = Api(self.cluster.client(), self)
        _, lines = access.establish(self.nodes[0], self.vault, TOKEN)
        lines += storage.allow(api)
        pools = ceph_pool.PoolBuilder(
            ceph_pool.Wanted(Ceph().pool, Ceph().size, Ceph().min_size),
            self.nodes,
            self.journal,
            lambda line: None,
            self,
        )
        changes = pools.plan()
        pools.apply(changes)
        pools.proved()
        lines += [change.line for change in changes]
        self.template()
        for number, node in enumerate(self.nodes, start=1):
            gateway = gateway_of(Network().guests, number)
            address = IPv4Interface(f"{gateway.ip + 1}/{gateway.network.prefixlen}")
            wanted = containers.Container(
                f"{node.name}-tailnet", node.name, "lab", TEMPLATE, network.BRIDGE, address, str(gateway.ip)
            )
            found, made = guests.ensure(api, self.journal, containers.order_of(wanted))
            lines += [f"make {wanted.name}"] if made else []
            lines += [*containers.give_tunnel(api, node, found), *guests.start(api, found, "lxc")]
        return lines


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path, 2, clustered=True) as here:
        yield here


@pytest.fixture
def pipeline(cluster: Served, tmp_path: Path) -> Pipeline:
    return Pipeline(cluster, tmp_path)


@pytest.fixture
def site(tmp_path: Path, cluster: Served) -> Site:
    found = site_of(
        MODULE,
        "bpg/proxmox",
        tmp_path,
        SSL_CERT_FILE=cluster.authority(),
        PROXMOX_VE_ENDPOINT=f"https://127.0.0.1:{cluster.port('pve1')}/",
        PROXMOX_VE_USERNAME="root@pam",
        PROXMOX_VE_PASSWORD=ROOT,
    )
    return replace(found, meanwhile=lambda: cluster.wait(2))


def give(site: Site, **more: object) -> None:
    nodes = [{"name": name, "address": address} for name, address in NODES.items()]
    site.given(deployment="lab", nodes=nodes, **more)


def test_the_module_declares_what_the_pipeline_makes() -> None:
    defaults: dict[str, Any] = {}
    for block in hcl2.loads((MODULE / "variables.tf").read_text("utf-8"))["variable"]:
        for name, body in block.items():
            defaults[name.strip('"')] = body.get("default")
    said = {name: value.strip('"') for name, value in defaults.items() if isinstance(value, str)}
    assert said.pop("architecture") == containers.ARCHITECTURES["aarch64"]
    assert said == {
        "role": ROLE,
        "user": USER,
        "token": TOKEN,
        "bridge": network.BRIDGE,
        "guests": str(Network().guests),
    }
    assert {one.strip('"') for one in defaults["privileges"]} == set(PRIVILEGES)
    assert {one.strip('"') for one in defaults["local"]} >= set(storage.FOR_GUESTS)
    inside = (MODULE / "variables.tf").read_text("utf-8")
    for value in (f'"{Ceph().pool}"', Ceph().size, Ceph().min_size, Network().vxlan.vni, Network().vxlan.mtu):
        assert f", {value})" in inside


@REAL
def test_the_module_is_sound_by_itself(site: Site) -> None:
    site.is_sound(MODULE)


@REAL
def test_the_provider_still_cannot_turn_kvm_off(site: Site) -> None:
    """Once it can, guests need no template."""
    told = site.tofu("providers", "schema", "-json")
    assert set(re.findall(r'"(kvm\w*|\w+_kvm)":', told)) == {"kvm_arguments"}


@REAL
@pytest.mark.timeout(300)
def test_made_once_repaired_and_removed(site: Site, pipeline: Pipeline) -> None:
    cluster, root = pipeline.cluster, pipeline.cluster.client()
    before = everything(root)
    pipeline.prepare()
    pipeline.template()
    give(site, template=TEMPLATE)
    site.tofu(*APPLY)
    assert site.changes() == []
    name, _, secret = json.loads(site.tofu("output", "-json", "token")).partition("=")
    user, _, token_name = name.partition("!")
    token = cluster.client(user=user, token_name=token_name, token_value=secret)
    assert {one["node"] for one in token.nodes.get()} == {"pve1", "pve2"}
    pipeline.vault.put({TOKEN: SecretStr(secret)})
    assert pipeline.make() == [], "the pipeline has nothing left to do"
    assert site.changes() == []

    root.access.roles(ROLE).put(privs="VM.Audit")
    root.storage("local").put(content="iso,vztmpl")
    root.nodes("pve2").ceph.pool("vm-storage").put(min_size=1)
    cluster.wait(5)
    vmid = next(one["vmid"] for one in root.nodes("pve1").lxc.get())
    root.nodes("pve1").lxc(vmid).config.put(memory=512)
    assert sorted(site.changes()) == [
        "proxmox_ceph_pool.guests[0]",
        "proxmox_storage_directory.local",
        'proxmox_virtual_environment_container.tailnet["pve1"]',
        "proxmox_virtual_environment_role.pipeline",
    ]
    site.tofu(*APPLY)
    assert (site.changes(), pipeline.make()) == ([], [])
    assert vmid in {one["vmid"] for one in root.nodes("pve1").lxc.get()}, "it is the same container"

    site.tofu(*DESTROY)
    assert everything(root) == before


def everything(root: Any) -> dict[str, Any]:
    """What there is of all that the module makes."""
    return {
        "users": {one["userid"] for one in root.access.users.get()},
        "roles": {one["roleid"] for one in root.access.roles.get()},
        "rights": root.access.acl.get(),
        "storages": {one["storage"] for one in root.storage.get()},
        "guests": guests_of(root),
        "zones": root.cluster.sdn.zones.get(),
        "networks": root.cluster.sdn.vnets.get(),
    }


def guests_of(root: Any) -> dict[str, Any]:
    """The containers with their settings."""
    return {one["id"]: root.nodes(one["node"])(one["id"]).config.get() for one in root.cluster.resources.get(type="vm")}


@REAL
@pytest.mark.timeout(300)
def test_what_the_pipeline_made_is_taken_over_as_it_is(site: Site, pipeline: Pipeline) -> None:
    pipeline.prepare()
    assert pipeline.make() != []
    root = pipeline.cluster.client()
    before = guests_of(root)
    numbers = {one["node"]: one["vmid"] for one in root.cluster.resources.get(type="vm")}
    give(site, template=TEMPLATE, standing={"access": True, "ceph": True, "containers": numbers})
    assert all("delete" not in actions and "create" not in actions for actions in site.planned().values())
    site.tofu(*APPLY)
    assert (site.changes(), pipeline.make(), guests_of(root)) == ([], [], before)


@REAL
@pytest.mark.timeout(300)
def test_guests_are_copies_without_kvm_and_tofu_talos_makes_a_cluster_of_them(
    site: Site, pipeline: Pipeline, tmp_path: Path
) -> None:
    cluster, root = pipeline.cluster, pipeline.cluster.client()
    pipeline.prepare()
    give(site, pool="lab")
    site.tofu(*APPLY)
    image = make_qcow2(("aarch64",), label="META", virtual_gb=2)
    cluster.inside(lambda rig: volumes.put_file(rig.node(), "local", "import", "talos.qcow2", image))
    for line in template_lines():
        cluster.inside(lambda rig, line=line: rig.ok("pve1", line))
    give(site, pool="lab", talos={"template": 9000, "cores": 1, "memory_gb": 2, "disk_gb": 10})
    site.tofu(*APPLY)
    assert site.changes() == []
    api = Api(root, pipeline)
    for number, node in enumerate(pipeline.nodes, start=1):
        wanted = machine(number, node.name)
        found = guests.find(api, wanted.name, "lab")
        assert found is not None
        assert found.running
        assert guests.differences(api, found, wanted) == ["cicustom is None, the plan says user=local:snippets/seed"]
        assert guests.grow(api, found, 10) == []
    (pool,) = root.pools.get(poolid="lab")
    assert {one["name"] for one in pool["members"]} == {"lab-talos-1", "lab-talos-2"}
    addresses = json.loads(site.tofu("output", "-json", "talos"))
    assert addresses == {"lab-talos-1": "10.20.0.10", "lab-talos-2": "10.20.1.10"}
    assert cluster_of(cluster, addresses, tmp_path / "talos") == set(addresses)
    give(site, pool="lab", talos={"template": 9000, "cores": 1, "memory_gb": 3, "disk_gb": 10})
    site.tofu(*APPLY)
    assert site.changes() == []
    assert {(one["memory"], one["kvm"]) for one in guests_of(root).values() if "template" not in one} == {("3072", 0)}
    root.nodes("pve1").qemu(9000).delete()
    site.tofu(*DESTROY)
    assert guests_of(root) == {}


def template_lines() -> list[str]:
    """As the module's own text tells them."""
    text = (MODULE / "README.md").read_text("utf-8").replace("\\\n", " ")
    return re.findall(r"^qm .*$", text, re.MULTILINE)


def machine(number: int, node: str) -> guests.Machine:
    return guests.Machine(
        name=f"lab-talos-{number}",
        node=node,
        deployment="lab",
        cores=1,
        memory_gb=2,
        disk_gb=10,
        pool=Ceph().pool,
        bridge=network.BRIDGE,
        address=guest_address(Network().guests, number),
        image="local:import/talos.qcow2",
        user_data="local:snippets/seed",
        architecture="aarch64",
        has_kvm=False,
        has_agent=False,
    )


def cluster_of(cluster: Served, addresses: dict[str, str], folder: Path) -> set[str]:
    """The nodes of what tofu/talos makes of machines that wait at these addresses."""
    folder.mkdir()
    site = replace(site_of(TALOS_MODULE, "siderolabs/talos", folder), meanwhile=lambda: cluster.wait(10))

    def way(address: str) -> Callable[[], Reached | None]:
        return lambda: cluster.inside(lambda rig: machines.find(rig.world, address, 50000))

    with ExitStack() as stack:
        ports = {name: stack.enter_context(dialled(way(address))) for name, address in addresses.items()}
        first = min(addresses)
        nodes = {
            name: {"address": address, "role": "controlplane" if name == first else "worker", "dialled": ports[name]}
            for name, address in addresses.items()
        }
        installer = INSTALLER.partition(":")[0]
        site.given(cluster="lab", endpoint=f"https://{addresses[first]}:6443", installer=installer, nodes=nodes)
        site.tofu(*APPLY)
        cluster.wait(120)
        assert site.changes() == []
        kubeconfig = SecretStr(json.loads(site.tofu("output", "-json", "kubeconfig")))
    reached = cluster.inside(lambda rig: machines.find(rig.world, addresses[first], 6443))
    assert reached is not None
    assert reached.address is not None
    with api_at(reached.address, credentials_of(kubeconfig)) as api:
        return {one["metadata"]["name"] for one in api.list(api.require("v1", "Node"))}


@REAL
@pytest.mark.timeout(300)
def test_a_network_of_proxmox_itself_is_applied_on_every_node(site: Site, cluster: Served) -> None:
    give(site, ceph=None, sdn={})
    site.tofu(*APPLY)
    assert site.changes() == []

    def shown(rig: Rig) -> list[str]:
        return [rig.run(name, "ip link show vxlan_vxguests").out for name in NODES]

    assert ["mtu 8950" in one for one in cluster.inside(shown)] == [True, True]
    give(site, ceph=None, sdn={"mtu": 1450})
    site.tofu(*APPLY)
    assert ["mtu 1450" in one for one in cluster.inside(shown)] == [True, True], "what is changed is applied too"
    site.tofu(*DESTROY)
    assert cluster.inside(shown) == ["", ""]
