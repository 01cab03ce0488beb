"""The spec, said in Oracle's resources, in the order of their making."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ocifree_pipeline.deployment.convergence import InOrder, Ref, Wanted
from ocifree_pipeline.deployment.foundation import FoundationSpec, Part, Subnet
from ocifree_pipeline.deployment.port_rules import ANYWHERE, SecurityRule
from ocifree_pipeline.deployment.sections.budget import Budget
from ocifree_pipeline.systems.oci.foundation.network import Route

_VCN = Ref("vcn")
_CALL_OUT = SecurityRule("all", ANYWHERE, None, "machines may call whom they like")


def wanted_of(spec: FoundationSpec, part: Part) -> tuple[Wanted, ...]:
    """The resources of one part. The compartment leads every part that lives in it."""
    parts = {"network": _network, "reserved_ips": _reserved_ips, "image_bucket": _bucket, "dns_zone": _dns}
    return (compartment(spec.compartment), *parts[part](spec))


def compartment(name: str) -> Wanted:
    return Wanted("compartment", "compartment", name, if_named_so="use")


def guardrails(deployment: str, tenancy: str, statements: Sequence[str], budget: Budget) -> tuple[Wanted, ...]:
    """What refuses and what tells. It guards the whole tenancy, so it lives in its root."""
    return (
        Wanted(
            "quota",
            "quota",
            f"ocifree-{deployment}",
            fields={
                "statements": InOrder(tuple(statements)),
                "description": f"Made by ocifree for {deployment}: refuses what is not free",
            },
            if_named_so="refuse",
        ),
        Wanted(
            "budget",
            "budget",
            f"ocifree-{deployment}",
            fixed={"target_type": "COMPARTMENT", "targets": (tenancy,)},
            fields={
                "amount": float(budget.amount),
                "reset_period": "MONTHLY",
                "description": f"Made by ocifree for {deployment}: everything here is to cost nothing",
            },
            if_named_so="refuse",
        ),
        Wanted(
            "alert_rule",
            "alert_rule",
            f"ocifree-{deployment}-first-cent",
            fixed={"budget_id": Ref("budget")},
            fields={
                "type": "ACTUAL",
                "threshold_type": "ABSOLUTE",
                "threshold": budget.threshold,
                "recipients": ", ".join(budget.alert_emails),
                "message": f"Something in this tenancy costs money. ocifree deployment {deployment}: ocifree verify",
            },
        ),
    )


def _network(spec: FoundationSpec) -> Iterator[Wanted]:
    yield Wanted(
        "vcn",
        "vcn",
        spec.named("vcn"),
        fixed={"cidr_blocks": (str(spec.vcn_cidr),), "dns_label": spec.dns_label},
    )
    yield Wanted(
        "security_list",
        "security_list",
        spec.named("every-machine"),
        fields={"ingress": spec.for_every_machine, "egress": (_CALL_OUT,)},
        comes_with="vcn",
    )
    yield Wanted(
        "internet_gateway",
        "internet_gateway",
        spec.named("internet"),
        fixed={"vcn_id": _VCN},
        fields={"is_enabled": True},
    )
    if spec.nat_gateway:
        yield Wanted(
            "nat_gateway", "nat_gateway", spec.named("nat"), fixed={"vcn_id": _VCN}, fields={"block_traffic": False}
        )
    for subnet in spec.subnets:
        yield Wanted(
            "route_table",
            f"route_table/{subnet.name}",
            spec.named(subnet.name),
            fixed={"vcn_id": _VCN},
            fields={"routes": _routes(subnet)},
        )
    for subnet in spec.subnets:
        yield Wanted(
            "subnet",
            f"subnet/{subnet.name}",
            spec.named(subnet.name),
            fixed={
                "vcn_id": _VCN,
                "cidr_block": str(subnet.cidr),
                "dns_label": subnet.name,
                "prohibit_public_ip_on_vnic": not subnet.is_public,
            },
            fields={
                "route_table_id": Ref(f"route_table/{subnet.name}"),
                "security_list_ids": (Ref("security_list"),),
            },
        )
    for group in spec.groups:
        yield Wanted(
            "security_group",
            f"group/{group.name}",
            spec.named(group.name),
            fixed={"vcn_id": _VCN},
            fields={"rules": group.rules},
        )


def _routes(subnet: Subnet) -> tuple[Route, ...]:
    if subnet.way_out is None:
        return ()
    return (Route(ANYWHERE, Ref(subnet.way_out), "the way out"),)


def _reserved_ips(spec: FoundationSpec) -> Iterator[Wanted]:
    for purpose in spec.reserved_ips:
        yield Wanted("reserved_ip", f"reserved_ip/{purpose}", spec.named(purpose), fixed={"lifetime": "RESERVED"})


def _bucket(spec: FoundationSpec) -> Iterator[Wanted]:
    yield Wanted(
        "bucket",
        "bucket",
        spec.bucket,
        fixed={"storage_tier": "Standard"},
        fields={"public_access_type": "NoPublicAccess", "versioning": "Disabled", "auto_tiering": "Disabled"},
        if_named_so="refuse",
    )


def _dns(spec: FoundationSpec) -> Iterator[Wanted]:
    zone = spec.dns_zone
    if zone is None:
        return
    yield Wanted("dns_zone", "dns_zone", zone.name, fixed={"zone_type": "PRIMARY"}, if_named_so="refuse")
    for record in zone.records:
        yield Wanted(
            "dns_record",
            f"dns_record/{record.reserved_ip}",
            record.domain,
            fixed={"zone_id": Ref("dns_zone")},
            fields={"address": Ref(f"reserved_ip/{record.reserved_ip}", "address")},
            if_named_so="use",
        )
