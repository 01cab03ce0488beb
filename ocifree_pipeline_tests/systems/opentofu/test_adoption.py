"""What is taken over instead of being made a second time."""

from __future__ import annotations

from ocifree_pipeline.deployment.blueprint import blueprint_of
from ocifree_pipeline.deployment.convergence import Found
from ocifree_pipeline.deployment.examples import example
from ocifree_pipeline.deployment.foundation import foundation_of
from ocifree_pipeline.deployment.loading import parse
from ocifree_pipeline.systems.opentofu.adoption import Import, Standing, imports_for
from ocifree_pipeline.systems.opentofu.planned import Creation

RECORD = Creation("oci_dns_rrset", 'oci_dns_rrset.this["ingress"]', "ingress", {"domain": "lab.example.org"})


def test_a_record_in_our_zone_is_taken_over_by_its_place() -> None:
    blueprint = blueprint_of(parse(example("talos-native")))
    spec = foundation_of(blueprint.declaration, blueprint.plan.topology, ("ingress",))
    record = Found(
        "zone/lab.example.org", "lab.example.org", True, values={"zone_id": "zone", "address": "203.0.113.7"}
    )
    there, nothing = Standing({"dns_record/ingress": record}, lambda group: {}), Standing({}, lambda group: {})
    assert imports_for((RECORD,), spec, there) == (
        Import(RECORD.address, "zoneNameOrId/zone/domain/lab.example.org/rtype/A"),
    )
    assert imports_for((RECORD,), spec, nothing) == ()
