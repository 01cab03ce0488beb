"""Facts of the group foundation, and of the guardrails: what stands in the tenancy, by its identity."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from ocifree_pipeline.deployment.foundation import FoundationSpec, Group, SubnetName, foundation_of
from ocifree_pipeline.record.definition import Step
from ocifree_pipeline.record.facts import find_facts
from ocifree_pipeline.record.outcome import Facts
from ocifree_pipeline.record.tenancy import LimitsFacts, PlanFacts

if TYPE_CHECKING:
    from ocifree_pipeline.systems.oci.foundation.kinds import Scope


def spec_of(step: Step) -> FoundationSpec:
    """The spec by what was planned with the live limits."""
    plan, limits = step.facts("tenancy/plan", PlanFacts), step.facts("tenancy/limits", LimitsFacts)
    return foundation_of(step.blueprint.declaration, plan.topology, plan.reserved_ips, limits.limits.counts())


GUARDRAILS, STORAGE_QUOTA = "tenancy/guardrails", "tenancy/storage_quota"


class GuardrailsFacts(Facts):
    """tenancy/guardrails, and tenancy/storage_quota, which are one policy before and after the machines are had."""

    quota: str
    statements: tuple[str, ...]
    budget: str
    alert_rule: str
    recipients: tuple[str, ...]


def guards_of(instance: dg.DagsterInstance) -> GuardrailsFacts | None:
    """The guardrails as they were proved last."""
    found = {key: facts for key in (GUARDRAILS, STORAGE_QUOTA) if (facts := find_facts(instance, key, GuardrailsFacts))}
    made = {key: instance.get_latest_materialization_event(dg.AssetKey(key.split("/"))) for key in found}
    last = max(found, key=lambda key: event.timestamp if (event := made[key]) else 0.0, default=None)
    return found[last] if last else None


class NetworkFacts(Facts):
    """oci/network. `nodes_subnet` names the one of the subnets that A1 machines go into."""

    compartment: str
    vcn: str
    vcn_cidr: str
    subnets: dict[SubnetName, str]
    groups: dict[Group, str]
    nodes_subnet: SubnetName


def scope_of(step: Step) -> Scope:
    """The compartment of this deployment, and the session that it is asked with."""
    from ocifree_pipeline.systems.oci.foundation.kinds import Scope
    from ocifree_pipeline.systems.oci.session import session_for

    declaration = step.blueprint.declaration
    return Scope(session_for(declaration.site), declaration.name, step.facts("oci/network", NetworkFacts).compartment)


class AddressFacts(Facts):
    id: str
    address: str


class ReservedIpsFacts(Facts):
    """oci/reserved_ips: by purpose, `ingress` and `bastion`. A purpose without one gets an ephemeral address."""

    addresses: dict[str, AddressFacts]


class BucketFacts(Facts):
    """oci/image_bucket"""

    namespace: str
    bucket: str


class DnsZoneFacts(Facts):
    """oci/dns_zone: the zone's name servers have to be entered where the domain was bought."""

    zone: str
    id: str
    nameservers: tuple[str, ...]
    records: dict[str, str]
