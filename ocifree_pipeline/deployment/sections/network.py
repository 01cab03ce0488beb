"""`network`: every address range the platform uses."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ocifree_pipeline.deployment.addresses import objections, parse_network, subnets_of
from ocifree_pipeline.deployment.objection import Objection, refuse
from ocifree_pipeline.deployment.sections.section import Hostname, ReadBy, Section, between


def _read_range(value: object) -> IPv4Network:
    network = parse_network(value)
    if isinstance(network, Objection):
        raise refuse(network)
    return network


Cidr = Annotated[
    IPv4Network,
    ReadBy(_read_range, {"type": "string", "pattern": r"^\d{1,3}(\.\d{1,3}){3}/\d{1,2}$", "format": "cidr"}),
]


class Vxlan(Section):
    """The tunnel between Proxmox nodes that carries their guests; Oracle's network learns no foreign MAC address."""

    mtu: Annotated[int, between(1280, 8950, "Oracle carries 9000 bytes, of which the tunnel takes 50")] = Field(
        8950, description="Largest packet inside the tunnel, in bytes."
    )
    vni: Annotated[int, between(1, 16_777_215, "a VXLAN number has 24 bits")] = Field(
        4000, description="The number of the tunnel network."
    )


class Network(Section):
    """One address plan. No two ranges may overlap."""

    vcn_cidr: Cidr = Field(IPv4Network("10.0.0.0/16"), description="The range of the virtual cloud network.")
    public_subnet: Cidr = Field(
        IPv4Network("10.0.0.0/24"),
        description="The part of the VCN with public addresses. Left out: the first /24 of the VCN.",
    )
    private_subnet: Cidr = Field(
        IPv4Network("10.0.1.0/24"),
        description="The part of the VCN without public addresses. Left out: the next /24 of the VCN.",
    )
    pods: Cidr = Field(IPv4Network("10.244.0.0/16"), description="Addresses of Kubernetes pods: a /24 for each node.")
    services: Cidr = Field(IPv4Network("10.96.0.0/12"), description="Addresses of Kubernetes services.")
    guests: Cidr = Field(
        IPv4Network("10.20.0.0/16"),
        description="Addresses of Proxmox guests: one range for all nodes, of which each has a /24.",
    )
    vxlan: Vxlan = Field(Vxlan(), description="The tunnel between Proxmox nodes.")
    tailnet: Literal["100.64.0.0/10"] = Field(
        "100.64.0.0/10", description="Where Tailscale puts its machines. Fixed; nothing else may use it."
    )
    dns_zone: Hostname | None = Field(
        None, description="A domain of yours to serve from Oracle DNS. Oracle charges cents for a zone."
    )

    @model_validator(mode="before")
    @classmethod
    def _subnets_follow_the_vcn(cls, data: Any) -> Any:
        """Whoever moves the VCN moves its subnets with it."""
        if not isinstance(data, Mapping) or "vcn_cidr" not in data:
            return data
        vcn = parse_network(data["vcn_cidr"])
        written = [parse_network(data[name]) for name in ("public_subnet", "private_subnet") if name in data]
        if isinstance(vcn, Objection):
            return data
        free = subnets_of(vcn, tuple(net for net in written if isinstance(net, IPv4Network)))
        filled = dict(data)
        for name in ("public_subnet", "private_subnet"):
            if name not in filled and (subnet := next(free, None)):
                filled[name] = subnet
        return filled

    @model_validator(mode="after")
    def _no_overlap(self) -> Network:
        found = tuple(objections(self.address_plan()))
        if found:
            raise refuse(*found)
        return self

    def address_plan(self) -> dict[str, IPv4Network]:
        """Every range that is ours to place, by its name in this section."""
        names = ("vcn_cidr", "public_subnet", "private_subnet", "pods", "services", "guests")
        return {name: getattr(self, name) for name in names}
