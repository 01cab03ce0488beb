"""Compartment, network, subnets, gateways, routes and reserved addresses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ocifree_pipeline.deployment.convergence import Found, Ref
from ocifree_pipeline.systems.oci.foundation.kinds import Plain, Scope
from ocifree_pipeline.systems.oci.session import Session

_NETWORK = "core.VirtualNetworkClient"


@dataclass(frozen=True, slots=True)
class Route:
    """Packets to `destination` leave through `target`."""

    destination: str
    target: str | Ref
    reason: str

    def __str__(self) -> str:
        return f"{self.destination} through {self.target}"


class _Routes(Plain):
    def values_of(self, scope: Scope, thing: Any) -> dict[str, Any]:
        return {
            "vcn_id": thing.vcn_id,
            "routes": tuple(
                Route(rule.destination, rule.network_entity_id, rule.description or "")
                for rule in thing.route_rules or ()
            ),
        }

    def to_sdk(self, values: Mapping[str, Any]) -> dict[str, Any]:
        fields = dict(values)
        if "routes" in fields:
            fields["route_rules"] = [
                self.sdk_model(
                    "RouteRule",
                    {
                        "destination": route.destination,
                        "destination_type": "CIDR_BLOCK",
                        "network_entity_id": route.target,
                        "description": route.reason,
                    },
                )
                for route in fields.pop("routes")
            ]
        return fields


class _Vcns(Plain):
    def values_of(self, scope: Scope, thing: Any) -> dict[str, Any]:
        return {"cidr_blocks": tuple(thing.cidr_blocks or ()), "dns_label": thing.dns_label}

    def to_sdk(self, values: Mapping[str, Any]) -> dict[str, Any]:
        fields = dict(values)
        if "cidr_blocks" in fields:
            fields["cidr_blocks"] = list(fields["cidr_blocks"])
        return fields


class _Subnets(Plain):
    def values_of(self, scope: Scope, thing: Any) -> dict[str, Any]:
        return {**super().values_of(scope, thing), "security_list_ids": tuple(thing.security_list_ids or ())}

    def to_sdk(self, values: Mapping[str, Any]) -> dict[str, Any]:
        fields = dict(values)
        if "security_list_ids" in fields:
            fields["security_list_ids"] = list(fields["security_list_ids"])
        return fields


class _ReservedIps(Plain):
    def list_arguments(self, place: str) -> dict[str, Any]:
        return {"scope": "REGION", "compartment_id": place, "lifetime": "RESERVED"}

    def found(self, scope: Scope, thing: Any) -> Found:
        plain = super().found(scope, thing)
        return Found(
            plain.id,
            plain.name,
            plain.is_ours,
            plain.state,
            plain.values,
            {"address": thing.ip_address, "assigned_to": thing.assigned_entity_id},
            plain.tags,
        )


class _Compartments(Plain):
    def create(self, scope: Scope, name: str, values: Mapping[str, Any], tags: Mapping[str, str], token: str) -> str:
        # Oracle wants a description at birth; whoever writes a better one later may keep it.
        described = {**values, "description": f"Everything of the ocifree deployment {scope.deployment}"}
        return super().create(scope, name, described, tags, token)


COMPARTMENT = _Compartments(
    "compartment",
    "identity.IdentityClient",
    "compartment",
    "compartments",
    "Compartment",
    in_root=True,
    name_field="name",
)
VCN = _Vcns("vcn", _NETWORK, "vcn", "vcns", "Vcn", shown=("default_security_list_id",))
SUBNET = _Subnets(
    "subnet",
    _NETWORK,
    "subnet",
    "subnets",
    "Subnet",
    readable=("vcn_id", "cidr_block", "dns_label", "prohibit_public_ip_on_vnic", "route_table_id"),
)
INTERNET_GATEWAY = Plain(
    "internet_gateway",
    _NETWORK,
    "internet_gateway",
    "internet_gateways",
    "InternetGateway",
    readable=("vcn_id", "is_enabled"),
)
NAT_GATEWAY = Plain(
    "nat_gateway", _NETWORK, "nat_gateway", "nat_gateways", "NatGateway", readable=("vcn_id", "block_traffic")
)
ROUTE_TABLE = _Routes("route_table", _NETWORK, "route_table", "route_tables", "RouteTable")
RESERVED_IP = _ReservedIps("reserved_ip", _NETWORK, "public_ip", "public_ips", "PublicIp", readable=("lifetime",))


def compartment_of(session: Session, deployment: str, name: str) -> Found | None:
    """The compartment of the deployment: its own, or the one of that name that it was told to use."""
    standing = list(COMPARTMENT.list(Scope(session, deployment, None)))
    own = (one for one in standing if one.is_ours)
    return next(own, None) or next((one for one in standing if one.name == name), None)
