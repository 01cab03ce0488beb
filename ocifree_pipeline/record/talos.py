"""Facts of the group kubernetes, and what they say about the cluster and its nodes."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import IPv4Interface, IPv4Network
from itertools import islice
from typing import TYPE_CHECKING

from ocifree_pipeline.deployment.errors import NotVerified, PreconditionMissing, Refused
from ocifree_pipeline.deployment.sections.images import TalosBuild
from ocifree_pipeline.record.definition import Step
from ocifree_pipeline.record.foundation import NetworkFacts, ReservedIpsFacts, spec_of
from ocifree_pipeline.record.machines import host_name
from ocifree_pipeline.record.outcome import Facts
from ocifree_pipeline.systems.images.talos_factory import Platform
from ocifree_pipeline.systems.talos.nodes import Cluster, Node, Role, StaticAddress

if TYPE_CHECKING:
    from ocifree_pipeline.systems.talos.secrets import Bundle

SECRETS = "talos/secrets"
API_PORT = 6443
ORACLES_CLOCK = "169.254.169.254"
"""Answers in every VCN, also where there is no way to the internet."""
FIRST_GUEST = 10
"""The host part of a Talos guest's address; the node itself is 1, and those between are for containers."""


class SecretsFacts(Facts):
    """talos/secrets: which they are, never what they are. `vault` is their name there."""

    vault: str
    fingerprints: dict[str, str]
    expires: dict[str, datetime]


class MachineConfigFacts(Facts):
    """talos/machine_config_<n>: `digest` is that of the text, which the vault holds under the name `vault`.

    Without an address the node gets one from Oracle, and its machine's facts tell which.
    """

    hostname: str
    role: Role
    endpoint: str
    address: str | None
    installer: str
    talos_version: str
    kubernetes_version: str
    vault: str
    digest: str


def now() -> datetime:
    return datetime.now(UTC)


def config_key(number: int) -> str:
    return f"talos/machine_config_{number}"


# the secrets ----------------------------------------------------------------------------------------------------------


def kept_bundle(step: Step) -> Bundle:
    """The secrets that talos/secrets recorded. Never others, whatever the vault holds now."""
    from ocifree_pipeline.systems.secrets.vault import vault_of
    from ocifree_pipeline.systems.talos.secrets import from_file

    recorded = step.facts(SECRETS, SecretsFacts)
    vault = vault_of(step.blueprint.declaration.name)
    if recorded.vault not in vault.names():
        raise PreconditionMissing(
            "the secrets of the cluster are lost",
            why=f"they were made and recorded, and {vault.file} does not hold them; new ones would not open the nodes "
            "that run",
            fix="put your backup of the vault and its key back; if no node runs any more, forget the record: "
            """`dagster asset wipe '["talos", "secrets"]'`""",
        )
    bundle = from_file(vault.get(recorded.vault))
    if bundle.fingerprints() != recorded.fingerprints:
        raise NotVerified(
            "the vault holds the secrets of another cluster",
            why=f"the fingerprints that {SECRETS} recorded are not those of {vault.file}",
            fix="put the vault of this deployment back; was another one copied over it?",
        )
    return bundle


def days_left(bundle: Bundle, at: datetime) -> dict[str, int]:
    """Whole days until each authority expires."""
    return {name: (expires - at).days for name, expires in bundle.expiries().items()}


# the cluster and its nodes --------------------------------------------------------------------------------------------


def cluster_of(step: Step) -> Cluster:
    """The endpoint is the first control plane: every node has a way of its own to all of them once it runs."""
    declaration, plan = step.blueprint.declaration, step.blueprint.plan
    reserved = step.facts("oci/reserved_ips", ReservedIpsFacts).addresses.get("ingress")
    reached_at = _control_planes(step)
    return Cluster(
        name=declaration.name,
        endpoint=f"https://{reached_at[0]}:{API_PORT}",
        talos_version=declaration.kubernetes.talos_version,
        kubernetes_version=declaration.kubernetes.kubernetes_version,
        pods=declaration.network.pods,
        services=declaration.network.services,
        nodes=_range_of_nodes(step),
        alternative_names=(*reached_at, *((reserved.address,) if reserved else ())),
        has_workers=plan.control_planes < _count(step),
        # Oracle's controller knows its own instances only; guests would wait for it for ever.
        external_cloud_provider=declaration.kubernetes.ccm.enabled and _is_native(step),
    )


def node_of(step: Step, number: int) -> Node:
    declaration, plan = step.blueprint.declaration, step.blueprint.plan
    native = _is_native(step)
    machine = plan.ampere[number - 1] if native else plan.guests[number - 1]
    return Node(
        hostname=host_name(step.blueprint, machine.name),
        role="controlplane" if number <= plan.control_planes else "worker",
        installer=_installer(step, "oracle" if native else "nocloud"),
        address=None if native else guest_address(declaration.network.guests, number),
        time_servers=(ORACLES_CLOCK,) if native else (),
    )


def guest_address(guests: IPv4Network, number: int) -> StaticAddress:
    """In the part of the range that belongs to its node. A guest keeps it when it moves: all nodes share the range."""
    gateway = gateway_of(guests, number)
    return StaticAddress(IPv4Interface(f"{gateway.ip + FIRST_GUEST - 1}/{guests.prefixlen}"), gateway.ip)


def gateway_of(guests: IPv4Network, number: int) -> IPv4Interface:
    """Every node has a /24 for its guests, in the order of the nodes, and is the way out of it."""
    subnet = next(islice(guests.subnets(new_prefix=24), number - 1, None), None)
    if subnet is None:
        raise Refused(
            f"{guests} has no /24 for the guests of node {number}",
            why="every node takes one",
            fix="write a wider range at network.guests",
        )
    return IPv4Interface(f"{subnet[1]}/{guests.prefixlen}")


def _control_planes(step: Step) -> tuple[str, ...]:
    """Under what the control planes are reached: natively by name, as Oracle gives addresses out only at launch."""
    plan = step.blueprint.plan
    numbers = range(1, plan.control_planes + 1)
    if not _is_native(step):
        guests = step.blueprint.declaration.network.guests
        return tuple(str(guest_address(guests, number).address.ip) for number in numbers)
    subnet = step.facts("oci/network", NetworkFacts).nodes_subnet
    domain = f"{subnet}.{spec_of(step).dns_label}.oraclevcn.com"
    return tuple(f"{host_name(step.blueprint, plan.ampere[number - 1].name)}.{domain}" for number in numbers)


def _range_of_nodes(step: Step) -> IPv4Network:
    network = step.blueprint.declaration.network
    if not _is_native(step):
        return network.guests
    is_public = step.facts("oci/network", NetworkFacts).nodes_subnet == "public"
    return network.public_subnet if is_public else network.private_subnet


def _installer(step: Step, platform: Platform) -> str:
    """Of the composition that the node boots; of the one that it would have, where the image is somebody else's."""
    from ocifree_pipeline.systems.images.talos_factory import talos_image
    from ocifree_pipeline.systems.talos.configuration import installer_image

    declared = step.blueprint.declared_image(f"talos_{platform}")
    extensions = declared.build.extensions if isinstance(declared.build, TalosBuild) else ()
    version = step.blueprint.declaration.kubernetes.talos_version
    return installer_image(platform, talos_image(platform, version, extensions).schematic.id, version)


def _is_native(step: Step) -> bool:
    return step.blueprint.plan.topology == "talos-native"


def _count(step: Step) -> int:
    plan = step.blueprint.plan
    return len(plan.ampere) if _is_native(step) else len(plan.guests)
