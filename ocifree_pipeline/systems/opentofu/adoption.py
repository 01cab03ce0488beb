"""What stands, is ours by its tags, and is not in the state: it is imported instead of being made a second time.

So a run that was cut off between Oracle's answer and the writing of the state leaves nothing behind, a state that was
lost is made again from what stands, and a deployment can change over from the native engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ocifree_pipeline.deployment.convergence import Found, resolve
from ocifree_pipeline.deployment.foundation import PARTS, FoundationSpec
from ocifree_pipeline.deployment.port_rules import SecurityRule
from ocifree_pipeline.systems.oci.foundation.desired import wanted_of
from ocifree_pipeline.systems.oci.foundation.engine import Engine
from ocifree_pipeline.systems.oci.foundation.firewall import SECURITY_GROUP
from ocifree_pipeline.systems.oci.foundation.kinds import ROLE_TAG, Scope
from ocifree_pipeline.systems.opentofu.planned import Creation

RULE = "oci_core_network_security_group_security_rule"

_BY_ID = frozenset(
    {
        "oci_identity_compartment",
        "oci_core_vcn",
        "oci_core_internet_gateway",
        "oci_core_nat_gateway",
        "oci_core_route_table",
        "oci_core_subnet",
        "oci_core_network_security_group",
        "oci_core_public_ip",
        "oci_dns_zone",
    }
)
_BUCKET = "oci_objectstorage_bucket"
_RECORD = "oci_dns_rrset"


@dataclass(frozen=True, slots=True)
class Import:
    """Take `id` over as `to`."""

    to: str
    id: str


@dataclass(frozen=True, slots=True)
class Standing:
    """What stands at Oracle for this deployment, by role, and the rules of each group by their ids."""

    found: Mapping[str, Found]
    rules_of: Callable[[str], Mapping[str, SecurityRule]]


def what_stands(engine: Engine, spec: FoundationSpec) -> Standing:
    """Reads only. Conflict if something of somebody else's has a name that we need."""
    wanted = {one.role: one for part in PARTS for one in wanted_of(spec, part)}
    found = engine.plan(tuple(wanted.values())).found
    compartment = found.get("compartment")
    scope = Scope(engine.session, engine.deployment, compartment.id if compartment else None)
    return Standing(found, lambda group: SECURITY_GROUP.rules_of(scope, group))


def imports_for(creations: Sequence[Creation], spec: FoundationSpec, standing: Standing) -> tuple[Import, ...]:
    """For each creation whose thing stands already: what to import. The rest is really to be made.

    The lists that come with the network are set, not made: doing it again changes nothing.
    """
    return tuple(one for creation in creations for one in _import(creation, spec, standing))


def _import(creation: Creation, spec: FoundationSpec, standing: Standing) -> Iterator[Import]:
    if creation.type == RULE:
        yield from _import_rule(creation, spec, standing)
        return
    if creation.type == _RECORD:
        yield from _import_record(creation, standing)
        return
    there = standing.found.get(str((creation.after.get("freeform_tags") or {}).get(ROLE_TAG)))
    if there is None:
        return
    if creation.type in _BY_ID:
        yield Import(creation.address, there.id)
    elif creation.type == _BUCKET:
        yield Import(creation.address, f"n/{there.attribute('namespace')}/b/{there.name}")


def _import_record(creation: Creation, standing: Standing) -> Iterator[Import]:
    """Records carry no tags; being in our zone makes them ours."""
    there = standing.found.get(f"dns_record/{creation.index}")
    if there is not None:
        yield Import(creation.address, f"zoneNameOrId/{there.values['zone_id']}/domain/{there.name}/rtype/A")


def _import_rule(creation: Creation, spec: FoundationSpec, standing: Standing) -> Iterator[Import]:
    """Rules carry no tags; one that says the same in the same group is the same."""
    name, _, text = creation.index.partition(": ")
    group = standing.found.get(f"group/{name}")
    wanted = next((rule for one in spec.groups if one.name == name for rule in one.rules if str(rule) == text), None)
    if group is None or wanted is None:
        return
    same: SecurityRule = resolve(wanted, standing.found)
    for rule_id, rule in standing.rules_of(group.id).items():
        if rule == same:
            yield Import(creation.address, f"networkSecurityGroups/{group.id}/securityRules/{rule_id}")
            return
