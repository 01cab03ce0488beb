"""The spec as the variables of the module: names, tags and rules exactly as the native engine makes them."""

from __future__ import annotations

from typing import Any

from ocifree_pipeline.deployment.convergence import Ref, Wanted
from ocifree_pipeline.deployment.foundation import PARTS, FoundationSpec
from ocifree_pipeline.deployment.port_rules import ANY_CODE, SecurityRule
from ocifree_pipeline.systems.oci.foundation.desired import wanted_of
from ocifree_pipeline.systems.oci.foundation.dns import SECONDS_TO_LIVE
from ocifree_pipeline.systems.oci.foundation.kinds import ROLE_TAG
from ocifree_pipeline.systems.oci.foundation.network import Route
from ocifree_pipeline.systems.oci.limits import DEPLOYMENT_TAG

Json = dict[str, Any]


def variables_of(spec: FoundationSpec, tenancy: str) -> Json:
    """What goes into the variable file. It is made of what the native engine wants, so the two cannot drift apart."""
    wanted = {one.role: one for part in PARTS for one in wanted_of(spec, part)}
    return {"tenancy": tenancy, "spec": _spec(spec, wanted)}


def _spec(spec: FoundationSpec, wanted: dict[str, Wanted]) -> Json:
    def named(role: str, **more: Any) -> Json:
        return {"name": wanted[role].name, "tags": {DEPLOYMENT_TAG: spec.deployment, ROLE_TAG: role}, **more}

    def below(kind: str) -> dict[str, Wanted]:
        return {role.partition("/")[2]: one for role, one in wanted.items() if role.startswith(f"{kind}/")}

    vcn, every_machine, bucket = wanted["vcn"], wanted["security_list"], wanted["bucket"]
    return {
        "deployment": spec.deployment,
        "region": spec.region,
        "compartment": named("compartment", description=f"Everything of the ocifree deployment {spec.deployment}"),
        "vcn": named("vcn", cidr_blocks=list(vcn.fixed["cidr_blocks"]), dns_label=vcn.fixed["dns_label"]),
        "security_list": named(
            "security_list",
            ingress=[_listed(rule) for rule in every_machine.fields["ingress"]],
            egress=[
                {key: value for key, value in _listed(rule).items() if key in ("protocol", "peer", "reason")}
                for rule in every_machine.fields["egress"]
            ],
        ),
        "internet_gateway": named("internet_gateway"),
        "nat_gateway": named("nat_gateway") if "nat_gateway" in wanted else None,
        "route_tables": {
            name: named(one.role, routes=[_route(route) for route in one.fields["routes"]])
            for name, one in below("route_table").items()
        },
        "subnets": {
            name: named(
                one.role,
                cidr_block=one.fixed["cidr_block"],
                dns_label=one.fixed["dns_label"],
                prohibit_public_ip=one.fixed["prohibit_public_ip_on_vnic"],
            )
            for name, one in below("subnet").items()
        },
        "groups": {
            name: named(one.role, rules={str(rule): _rule(rule) for rule in one.fields["rules"]})
            for name, one in below("group").items()
        },
        "reserved_ips": {name: named(one.role) for name, one in below("reserved_ip").items()},
        "bucket": named("bucket", **bucket.fixed, **bucket.fields),
        "dns_zone": named(
            "dns_zone",
            zone_type=wanted["dns_zone"].fixed["zone_type"],
            records={name: {"domain": one.name, "ttl": SECONDS_TO_LIVE} for name, one in below("dns_record").items()},
        )
        if "dns_zone" in wanted
        else None,
    }


def _route(route: Route) -> Json:
    return {"destination": route.destination, "way_out": str(route.target), "reason": route.reason}


def _listed(rule: SecurityRule) -> Json:
    """A rule of the list that comes with the network. It knows ranges only."""
    return {"protocol": rule.protocol, "peer": str(rule.peer), **_numbers(rule), "reason": rule.reason}


def _rule(rule: SecurityRule) -> Json:
    is_group = isinstance(rule.peer, Ref)
    return {
        "protocol": rule.protocol,
        "peer": None if is_group else str(rule.peer),
        "peer_group": str(rule.peer).partition("/")[2] if is_group else None,
        **_numbers(rule),
        "reason": rule.reason,
    }


def _numbers(rule: SecurityRule) -> Json:
    first, last = rule.ports or (None, None)
    return {"first": first, "last": None if rule.protocol == "icmp" and last == ANY_CODE else last}
