"""The native engine behind the port of the foundation."""

from __future__ import annotations

from dataclasses import dataclass

from ocifree_pipeline.deployment.convergence import Wanted
from ocifree_pipeline.deployment.foundation import FoundationSpec, Part
from ocifree_pipeline.deployment.pricing import Item
from ocifree_pipeline.systems.foundation import Made, PartPlan
from ocifree_pipeline.systems.oci.foundation.desired import wanted_of
from ocifree_pipeline.systems.oci.foundation.engine import Engine


@dataclass(frozen=True, slots=True)
class NativeFoundation:
    spec: FoundationSpec
    engine: Engine

    def items(self, part: Part) -> tuple[Item, ...]:
        return items_of(wanted_of(self.spec, part))

    def plan(self, part: Part) -> PartPlan:
        plan = self.engine.plan(wanted_of(self.spec, part), self._leans_on(part))
        return PartPlan(part, plan.lines, plan.is_noop, plan.surplus, plan)

    def apply(self, plan: PartPlan) -> Made:
        return self.engine.apply(plan.engine, self._leans_on(plan.part))

    def _leans_on(self, part: Part) -> tuple[Wanted, ...]:
        """Names point at reserved addresses, which another asset makes."""
        if part != "dns_zone":
            return ()
        return tuple(one for one in wanted_of(self.spec, "reserved_ips") if one.kind == "reserved_ip")


def items_of(wanted: tuple[Wanted, ...]) -> tuple[Item, ...]:
    return tuple(Item(one.kind, one.name, {**one.fixed, **one.fields}) for one in wanted)
