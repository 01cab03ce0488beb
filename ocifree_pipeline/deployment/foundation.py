"""What has to stand in the tenancy before the first machine, as data. Pure; both engines make the same of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Literal

from ocifree_pipeline.deployment.allowances import Resource
from ocifree_pipeline.deployment.declaration import Declaration
from ocifree_pipeline.deployment.limits import Counts
from ocifree_pipeline.deployment.plan import Machine, Topology
from ocifree_pipeline.deployment.port_rules import (
    PATH_MTU,
    SSH,
    WEB,
    SecurityRule,
    rules_between_nodes,
    third_vote,
    unreachable,
)
from ocifree_pipeline.deployment.pricing import free_of

Part = Literal["network", "reserved_ips", "image_bucket", "dns_zone"]
"""What is made, and made again, by itself: one asset each."""

PARTS: tuple[Part, ...] = ("network", "reserved_ips", "image_bucket", "dns_zone")

Group = Literal["ssh", "web", "inside"]
SubnetName = Literal["public", "private"]

_LABEL_LENGTH = 15


@dataclass(frozen=True, slots=True)
class Subnet:
    """A part of the network. Machines with a public address can only be in one that has a way out of its own."""

    name: SubnetName
    cidr: IPv4Network
    is_public: bool
    way_out: Literal["internet_gateway", "nat_gateway"] | None


@dataclass(frozen=True, slots=True)
class SecurityGroup:
    """A set of doors. A machine has the doors of every group that it is in."""

    name: Group
    rules: tuple[SecurityRule, ...]


@dataclass(frozen=True, slots=True)
class DnsRecord:
    """A name that points at a reserved address, which is known once it is made."""

    domain: str
    reserved_ip: str


@dataclass(frozen=True, slots=True)
class DnsZone:
    name: str
    records: tuple[DnsRecord, ...]


@dataclass(frozen=True, slots=True)
class FoundationSpec:
    """The same spec in, the same tenancy out, whichever engine makes it."""

    deployment: str
    region: str
    compartment: str
    vcn_cidr: IPv4Network
    dns_label: str
    subnets: tuple[Subnet, ...]
    nodes_subnet: SubnetName
    groups: tuple[SecurityGroup, ...]
    for_every_machine: tuple[SecurityRule, ...]
    nat_gateway: bool
    reserved_ips: tuple[str, ...]
    bucket: str
    dns_zone: DnsZone | None

    def named(self, what: str) -> str:
        """The name that a person sees in Oracle's console."""
        return f"{self.deployment}-{what}"


def foundation_of(
    declaration: Declaration, topology: Topology, reserved_ips: tuple[str, ...], limits: Counts | None = None
) -> FoundationSpec:
    """The spec that follows from what was declared, planned, and is allowed by the live limits."""
    network = declaration.network
    nat = _has_nat_gateway(declaration, limits)
    return FoundationSpec(
        deployment=declaration.name,
        region=declaration.site.region,
        compartment=declaration.compartment,
        vcn_cidr=network.vcn_cidr,
        dns_label=_label(declaration.name),
        subnets=(
            Subnet("public", network.public_subnet, is_public=True, way_out="internet_gateway"),
            Subnet("private", network.private_subnet, is_public=False, way_out="nat_gateway" if nat else None),
        ),
        nodes_subnet="private" if nat else "public",
        groups=(
            SecurityGroup("ssh", _door(declaration, topology)),
            SecurityGroup("web", WEB if declaration.kubernetes.gateway.enabled else ()),
            SecurityGroup("inside", rules_between_nodes(topology)),
        ),
        for_every_machine=(PATH_MTU, unreachable(str(network.vcn_cidr))),
        nat_gateway=nat,
        reserved_ips=reserved_ips,
        bucket=f"{declaration.name}-images",
        dns_zone=_zone(declaration, reserved_ips),
    )


def accepted_charges(declaration: Declaration) -> frozenset[str]:
    """Kinds that cost cents, and that the declaration asks for at a place that says so."""
    return frozenset({"dns_zone"}) if declaration.network.dns_zone else frozenset()


def groups_of(machine: Machine, declaration: Declaration) -> tuple[Group, ...]:
    """The security groups that a machine belongs in."""
    if not machine.is_ampere:
        return ("ssh",)
    web: tuple[Group, ...] = ("web",) if declaration.kubernetes.gateway.enabled else ()
    ssh: tuple[Group, ...] = ("ssh",) if declaration.ssh_via == "direct" else ()
    return ("inside", *web, *ssh)


def _door(declaration: Declaration, topology: Topology) -> tuple[SecurityRule, ...]:
    """SSH, and at the bastion of two Proxmox nodes their third vote."""
    ssh = (SSH,) if _ssh_from_outside(declaration) else ()
    votes = topology == "proxmox-ceph" and declaration.nodes.bastion != "none" and declaration.nodes.asked in (None, 2)
    return (*ssh, third_vote(str(declaration.network.vcn_cidr))) if votes else ssh


def _ssh_from_outside(declaration: Declaration) -> bool:
    return declaration.nodes.bastion != "none" or declaration.ssh_via == "direct"


def _has_nat_gateway(declaration: Declaration, limits: Counts | None) -> bool:
    """Only where it is free and allowed. Without one, nodes reach the internet by public addresses of their own."""
    free = free_of(declaration)
    allowed = limits.regional.get(Resource.NAT_GATEWAYS, 0) if limits else 0
    return min(free.get(Resource.NAT_GATEWAYS, 0), allowed) > 0


def _zone(declaration: Declaration, reserved_ips: tuple[str, ...]) -> DnsZone | None:
    zone = declaration.network.dns_zone
    if zone is None:
        return None
    hostname = declaration.kubernetes.gateway.hostname
    inside = hostname if hostname and (hostname == zone or hostname.endswith(f".{zone}")) else f"ingress.{zone}"
    names = {"ingress": inside, "bastion": f"bastion.{zone}"}
    return DnsZone(zone, tuple(DnsRecord(names[name], name) for name in reserved_ips))


def _label(name: str) -> str:
    """Oracle wants letters and digits, a letter first, at most 15."""
    return re.sub(r"[^a-z0-9]", "", name)[:_LABEL_LENGTH]
