"""talos/vm_<n>: a Talos machine as a guest of Proxmox, made once and materialized when Talos itself answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import SecretStr

from ocifree_pipeline.assets.departed import take_out
from ocifree_pipeline.deployment.errors import NotVerified, PreconditionMissing
from ocifree_pipeline.record.definition import Step
from ocifree_pipeline.record.facts import find_facts, materialize_command
from ocifree_pipeline.record.images import ImageFacts
from ocifree_pipeline.record.machines import InstanceFacts
from ocifree_pipeline.record.outcome import Facts, Outcome
from ocifree_pipeline.record.proxmox import CLUSTER, NETWORK, ClusterFacts, GuestsFacts, api_of, nodes_of
from ocifree_pipeline.record.talos import MachineConfigFacts, config_key, guest_address
from ocifree_pipeline.record.ways import way_to
from ocifree_pipeline.systems.proxmox.api import Api

if TYPE_CHECKING:
    from ocifree_pipeline.systems.proxmox import guests

IMAGE = "images/talos_nocloud"
POOL = "proxmox/ceph_pool"
EMULATED_SECONDS = 1800.0
"""Without KVM every instruction is translated; a boot takes many minutes."""


class VmFacts(Facts):
    """talos/vm_<n>: `vmid` is its number in the cluster. Where it runs now is weather: it may move."""

    name: str
    vmid: int
    address: str


def vm_key(number: int) -> str:
    return f"talos/vm_{number}"


def materialize(step: Step, number: int) -> Outcome:
    from ocifree_pipeline.systems.journal import journal_of
    from ocifree_pipeline.systems.proxmox import guests, snippets

    deployment = step.blueprint.declaration.name
    config = step.facts(config_key(number), MachineConfigFacts)
    seed = f"ocifree-{config.hostname}.yaml"
    with nodes_of(step) as nodes:
        home = nodes[number - 1]
        has_kvm = home.has("/dev/kvm")
        text = _configuration(step, config)
        lines = [line for node in nodes for line in snippets.place(node, seed, text)]
    with api_of(step) as api:
        _needs_pool(step, api, home.name)
        machine = _machine(step, number, has_kvm=has_kvm, user_data=snippets.volume_of(seed))
        if guests.find(api, machine.name, deployment) is None:
            if find_facts(step.instance, step.key, VmFacts) is not None:
                lines += take_out(step, number)
            lines += _fetch_image(step, api, home.name)
            step.say(f"make {machine.name} on {home.name}")
        found, made = guests.ensure(api, journal_of(deployment), guests.order_of(machine))
        lines += [f"make {machine.name} on {found.node} as guest {found.vmid}"] if made else []
        lines += [f"left as it is: {one}" for one in guests.differences(api, found, machine)]
        lines += guests.grow(api, found, machine.disk_gb)
        lines += guests.start(api, found)
    _answers(step, number, config.hostname, has_kvm=has_kvm)
    facts = VmFacts(name=machine.name, vmid=found.vmid, address=str(machine.address.address.ip))
    return Outcome(
        summary=f"{facts.name} answers at {facts.address}: guest {facts.vmid} on {found.node}, {machine.cores} vCPU, "
        f"{machine.memory_gb} GB" + ("" if has_kvm else ", emulated"),
        facts=facts,
        plan=tuple(lines),
        numbers={"changes": len(lines), "kvm": int(has_kvm)},
        evidence=[
            {"what": "node", "found": found.node},
            {"what": "image", "found": machine.image},
            {"what": "processor", "found": "the node's own (KVM)" if has_kvm else "emulated: there is no /dev/kvm"},
        ],
        look_inside=f"talosctl --nodes {facts.address} version",
    )


def _machine(step: Step, number: int, *, has_kvm: bool, user_data: str) -> guests.Machine:
    """What it shall be."""
    from ocifree_pipeline.systems.proxmox import guests, storage

    declaration, guest = step.blueprint.declaration, step.blueprint.plan.guests[number - 1]
    return guests.Machine(
        name=step.facts(config_key(number), MachineConfigFacts).hostname,
        node=step.facts(CLUSTER, ClusterFacts).node_of(guest.host).name,
        deployment=declaration.name,
        cores=guest.vcpus,
        memory_gb=guest.memory_gb,
        disk_gb=guest.disk_gb,
        pool=declaration.ceph.pool,
        bridge=step.facts(NETWORK, GuestsFacts).bridge,
        address=guest_address(declaration.network.guests, number),
        image=storage.volume_of(storage.IMAGE, _file_of(step.facts(IMAGE, ImageFacts))),
        user_data=user_data,
        architecture=step.facts(f"machines/{guest.host}", InstanceFacts).architecture or "aarch64",
        has_kvm=has_kvm,
        has_agent=step.blueprint.is_built_here("talos_nocloud"),
    )


def _file_of(image: ImageFacts) -> str:
    """By its digest, so that another image never passes for this one."""
    return f"ocifree-talos-{image.sha256[:16]}.qcow2"


def _fetch_image(step: Step, api: Api, node: str) -> list[str]:
    """The node fetches the image that was fetched here, unless it has it; the digest says that it is the same."""
    from ocifree_pipeline.systems.proxmox import storage

    image = step.facts(IMAGE, ImageFacts)
    name = _file_of(image)
    if storage.volume(api, node, storage.IMAGE, name) is not None:
        return []
    step.say(f"{node} fetches {image.source}")
    storage.fetch(api, node, storage.IMAGE, name, url=image.source, sha256=image.sha256)
    return [f"let {node} fetch {image.source}"]


def _configuration(step: Step, config: MachineConfigFacts) -> SecretStr:
    """The text that was recorded, and no other."""
    from ocifree_pipeline.systems.secrets.vault import vault_of
    from ocifree_pipeline.systems.talos.configuration import digest_of

    text = vault_of(step.blueprint.declaration.name).get(config.vault)
    if digest_of(text) != config.digest:
        raise NotVerified(
            f"the vault holds another configuration of {config.hostname} than was recorded",
            why="the digests differ",
            fix=materialize_command(config.vault),
        )
    return text


def _needs_pool(step: Step, api: Api, node: str) -> None:
    pool = step.blueprint.declaration.ceph.pool
    storages = {str(one["storage"]): one for one in api.get(f"/nodes/{node}/storage")}
    if pool not in storages or not int(storages[pool].get("active", 0)):
        raise PreconditionMissing(
            f"the storage {pool} is not there" if pool not in storages else f"the storage {pool} does not work",
            why=f"the disks of guests are in it, and {node} has {', '.join(sorted(storages)) or 'none'}",
            fix=materialize_command(POOL),
        )


def _answers(step: Step, number: int, hostname: str, *, has_kvm: bool) -> None:
    """A guest that Proxmox calls running may hang in its firmware. Only what answers counts."""
    from ocifree_pipeline.systems.guests import BOOT_SECONDS, greet
    from ocifree_pipeline.systems.oci.waiting import Pause, TimedOut, wait_for
    from ocifree_pipeline.systems.ssh.dialer import Hop

    dialer, address = way_to(step, number)
    step.say(f"wait until {hostname} answers at {address}")
    try:
        wait_for(
            lambda: greet("talos", dialer, Hop(hostname, address, "")),
            lambda greeting: True,
            what=f"{hostname} answers",
            timeout=BOOT_SECONDS["talos"] if has_kvm else EMULATED_SECONDS,
            pause=Pause(3, 20),
        )
    except TimedOut as error:
        raise NotVerified(
            error.what,
            why=f"{error.why}; Proxmox says that it runs, which says nothing about its guest",
            fix=f"look at its console on its node: qm terminal <number>; then {materialize_command(vm_key(number))}",
        ) from error
