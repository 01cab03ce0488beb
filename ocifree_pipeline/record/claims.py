"""What to launch for a machine of the plan, from the facts of its upstreams. Shared by the asset and its checks."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from ocifree_pipeline.deployment.errors import NotYetBuilt
from ocifree_pipeline.deployment.foundation import groups_of
from ocifree_pipeline.deployment.machine_differences import Declared, Standing
from ocifree_pipeline.deployment.plan import Machine
from ocifree_pipeline.record.definition import Step
from ocifree_pipeline.record.foundation import NetworkFacts
from ocifree_pipeline.record.images import CustomImageFacts, PlatformImageFacts
from ocifree_pipeline.record.machines import host_name, key_of
from ocifree_pipeline.systems.cloud_init.render import JOIN_ENTRY, FirstBoot, render
from ocifree_pipeline.systems.guests import kind_of
from ocifree_pipeline.systems.oci.launch import Wanted


@dataclass(frozen=True, slots=True)
class Claim:
    """One machine to be had: what Oracle is asked for, and what may be compared with what stands."""

    wanted: Wanted
    declared: Declared


def claim_of(step: Step, machine: Machine, *, reserved_ip: str | None) -> Claim:
    """Everything but the secrets that are made at launch."""
    blueprint, network = step.blueprint, step.facts("oci/network", NetworkFacts)
    declaration = blueprint.declaration
    image, is_oracles = image_of(step, machine)
    user_data = SecretStr(user_data_of(step, machine))
    subnet = network.nodes_subnet if machine.is_ampere else "public"
    keys = declaration.access.ssh_public_keys
    wanted = Wanted(
        key=key_of(machine),
        machine=machine,
        name=host_name(blueprint, machine.name),
        image=image,
        subnet=network.subnets[subnet],
        groups=tuple(network.groups[group] for group in groups_of(machine, declaration)),
        public_address=subnet == "public" and reserved_ip is None,
        ssh_public_keys=keys,
        user_data=user_data,
    )
    if kind_of(blueprint.image_of(machine)) == "talos":
        return Claim(wanted, Declared(machine, image, user_data=None, ssh_public_keys=None))
    encoded = base64.b64encode(user_data.get_secret_value().encode()).decode()
    return Claim(wanted, Declared(machine, None if is_oracles else image, encoded, frozenset(keys)))


def standing_of(instance: Any) -> Standing:
    metadata = instance.metadata or {}
    return Standing(
        ocid=str(instance.id),
        shape=str(instance.shape),
        ocpus=float(instance.shape_config.ocpus),
        memory_gb=float(instance.shape_config.memory_in_gbs),
        image=str(instance.image_id),
        user_data=str(metadata.get("user_data", "")),
        ssh_public_keys=frozenset(filter(None, str(metadata.get("ssh_authorized_keys", "")).splitlines())),
    )


def image_of(step: Step, machine: Machine) -> tuple[str, bool]:
    """The image that this machine boots, and whether it is one of Oracle's own."""
    name = step.blueprint.image_of(machine)
    if name in step.blueprint.custom_images:
        return step.facts(f"oci/custom_image/{name}", CustomImageFacts).ocid, False
    if kind_of(name) == "talos":
        raise NotYetBuilt(f"Talos on {machine.name} from one of Oracle's images", "the first boot that writes Talos")
    return step.facts(f"images/{name}", PlatformImageFacts).ocid, True


def user_data_of(step: Step, machine: Machine) -> str:
    """The first boot: cloud-config for a Linux, the machine configuration for Talos, which the vault holds."""
    blueprint = step.blueprint
    declaration = blueprint.declaration
    if kind_of(blueprint.image_of(machine)) == "talos":
        from ocifree_pipeline.systems.secrets.vault import vault_of

        name = f"talos/machine_config_{machine.name.removeprefix('ampere_')}"
        return vault_of(declaration.name).get(name).get_secret_value()
    network, tailscale = declaration.network, declaration.access.tailscale
    inside = (network.vcn_cidr, network.pods, network.guests) if machine.is_ampere else (network.vcn_cidr,)
    web = (80, 443) if machine.is_ampere and declaration.kubernetes.gateway.enabled else ()
    return render(
        FirstBoot(
            hostname=host_name(blueprint, machine.name),
            user=declaration.access.ssh_user,
            ssh_public_keys=declaration.access.ssh_public_keys,
            inside=inside,
            public_tcp_ports=(22, *web),
            grow_root=not machine.is_ampere or blueprint.plan.ceph is None,
            tailnet_tags=tailscale.tags if _joins_by_itself(step, machine) else (),
        )
    )


def handed_over(step: Step, machine: Machine) -> dict[str, SecretStr]:
    """Secrets that the first boot reads from the metadata, and that are taken out again once it has."""
    from ocifree_pipeline.record.tailnet import key_for

    return {JOIN_ENTRY: key_for(step, machine.name)} if _joins_by_itself(step, machine) else {}


def _joins_by_itself(step: Step, machine: Machine) -> bool:
    """Where the tailnet is the only way in. Everywhere else links/tailnet joins a machine, over the way there is."""
    declaration = step.blueprint.declaration
    is_meant = declaration.access.tailscale.enabled and machine in step.blueprint.tailnet_machines
    return is_meant and declaration.ssh_via == "tailnet"
