"""oci/network, oci/reserved_ips, oci/image_bucket, oci/dns_zone: what stands before the first machine."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import dagster as dg

from ocifree_pipeline.deployment.blueprint import Blueprint
from ocifree_pipeline.deployment.foundation import FoundationSpec, Part, accepted_charges
from ocifree_pipeline.deployment.port_rules import SecurityRule
from ocifree_pipeline.deployment.pricing import free_of, require_free
from ocifree_pipeline.record.definition import Step, define_asset
from ocifree_pipeline.record.foundation import (
    AddressFacts,
    BucketFacts,
    DnsZoneFacts,
    NetworkFacts,
    ReservedIpsFacts,
    spec_of,
)
from ocifree_pipeline.record.outcome import Outcome
from ocifree_pipeline.systems.foundation import Made, foundation_for

GROUP = "foundation"


def assets(blueprint: Blueprint) -> Iterator[dg.AssetsDefinition]:
    define = partial(define_asset, blueprint, group=GROUP)
    engine = blueprint.declaration.foundation.engine
    kinds = {"oracle", "opentofu"} if engine == "opentofu" else {"oracle"}
    yield define(
        "oci/network",
        _network,
        kinds=kinds,
        deps=["tenancy/guardrails"],
        describe=(
            "The virtual cloud network with its public and private subnets, gateways and security groups. The outside "
            "reaches ports 22, 80 and 443 only; nodes reach each other for corosync, Ceph, VXLAN, Talos and Kubernetes."
        ),
    )
    yield define(
        "oci/reserved_ips",
        _reserved_ips,
        kinds=kinds,
        deps=["oci/network"],
        describe=(
            "Public addresses that outlive their instance: first the ingress, then the bastion, as many as the live "
            "limit allows."
        ),
    )
    yield define(
        "oci/image_bucket",
        _image_bucket,
        kinds=kinds,
        deps=["tenancy/guardrails"],
        describe=(
            "The bucket through which images are imported and to which etcd backups go. Counted against the free "
            "object storage."
        ),
    )
    if blueprint.declaration.network.dns_zone:
        yield define(
            "oci/dns_zone",
            _dns_zone,
            kinds=kinds,
            deps=["oci/reserved_ips"],
            describe=f"The zone {blueprint.declaration.network.dns_zone} and its records for ingress and bastion.",
        )


def _network(step: Step) -> Outcome:
    spec = spec_of(step)
    made, lines = _converge(step, spec, "network")
    facts = NetworkFacts(
        compartment=made["compartment"].id,
        vcn=made["vcn"].id,
        vcn_cidr=str(spec.vcn_cidr),
        subnets={subnet.name: made[f"subnet/{subnet.name}"].id for subnet in spec.subnets},
        groups={group.name: made[f"group/{group.name}"].id for group in spec.groups},
        nodes_subnet=spec.nodes_subnet,
    )
    rules: list[tuple[str, SecurityRule]] = [(group.name, rule) for group in spec.groups for rule in group.rules]
    rules += [("every machine", rule) for rule in spec.for_every_machine]
    return Outcome(
        summary=f"{spec.named('vcn')} {spec.vcn_cidr} with {len(spec.subnets)} subnets; nodes in the "
        f"{spec.nodes_subnet} one",
        facts=facts,
        plan=lines,
        numbers={"changes": len(lines), "rules": len(rules)},
        evidence=[{"group": group, "lets in": str(rule), "because": rule.reason} for group, rule in rules],
        links={"console": f"https://cloud.oracle.com/networking/vcns/{facts.vcn}?region={spec.region}"},
        look_inside=f"oci network vcn get --vcn-id {facts.vcn}",
    )


def _reserved_ips(step: Step) -> Outcome:
    spec = spec_of(step)
    made, lines = _converge(step, spec, "reserved_ips")
    found = {purpose: made[f"reserved_ip/{purpose}"] for purpose in spec.reserved_ips}
    facts = ReservedIpsFacts(
        addresses={purpose: AddressFacts(id=one.id, address=one.attribute("address")) for purpose, one in found.items()}
    )
    said = ", ".join(f"{purpose} {one.address}" for purpose, one in facts.addresses.items())
    return Outcome(
        summary=said or "the limit leaves none; every machine gets an ephemeral address",
        facts=facts,
        plan=lines,
        numbers={"changes": len(lines), "addresses": len(found)},
        look_inside=f"oci network public-ip list --scope REGION --compartment-id {made['compartment'].id}",
    )


def _image_bucket(step: Step) -> Outcome:
    spec = spec_of(step)
    made, lines = _converge(step, spec, "image_bucket")
    bucket = made["bucket"]
    facts = BucketFacts(namespace=bucket.attribute("namespace"), bucket=bucket.name)
    return Outcome(
        summary=f"{facts.bucket}, readable by nobody without a key",
        facts=facts,
        plan=lines,
        numbers={"changes": len(lines)},
        look_inside=f"oci os object list --bucket-name {facts.bucket}",
    )


def _dns_zone(step: Step) -> Outcome:
    spec = spec_of(step)
    made, lines = _converge(step, spec, "dns_zone")
    zone = made["dns_zone"]
    records = [one for role, one in made.items() if role.startswith("dns_record/")]
    facts = DnsZoneFacts(
        zone=zone.name,
        id=zone.id,
        nameservers=tuple(zone.attribute("nameservers")),
        records={one.name: str(one.values["address"]) for one in records},
    )
    return Outcome(
        summary=f"{facts.zone}: " + ", ".join(f"{name} -> {to}" for name, to in facts.records.items()),
        facts=facts,
        plan=lines,
        numbers={"changes": len(lines), "records": len(records)},
        evidence=[{"name server to enter at the registrar": server} for server in facts.nameservers],
        look_inside=f"dig NS {facts.zone}",
    )


def _converge(step: Step, spec: FoundationSpec, part: Part) -> tuple[Made, tuple[str, ...]]:
    """Observe and plan, price, apply, read back."""
    declaration = step.blueprint.declaration
    foundation = foundation_for(declaration, spec, step.say)
    plan = foundation.plan(part)
    for line in plan.surplus:
        step.say(line)
    require_free(foundation.items(part), free_of(declaration), accepted_charges(declaration))
    return foundation.apply(plan), plan.lines
