"""Checks of the group foundation: is all of it free."""

from __future__ import annotations

from ocifree_pipeline.deployment.allowances import LABELS
from ocifree_pipeline.deployment.foundation import PARTS, accepted_charges
from ocifree_pipeline.deployment.pricing import free_of, price
from ocifree_pipeline.record.definition import Step, Verdict
from ocifree_pipeline.record.foundation import spec_of
from ocifree_pipeline.record.outcome import Scalar
from ocifree_pipeline.systems.foundation import Foundation, foundation_for


def plan_is_free(step: Step) -> Verdict:
    """Prices all parts of the foundation together, whatever of it stands already: what is free is a sum."""
    declaration = step.blueprint.declaration
    foundation = _foundation(step)
    # Every part is led by the compartment that it lives in; it is there once.
    items = list({(item.kind, item.name): item for part in PARTS for item in foundation.items(part)}.values())
    prices, reasons = price(items, free_of(declaration), accepted_charges(declaration))
    rows: list[dict[str, Scalar]] = [
        {
            "resource": str(one.item),
            "free": one.is_free,
            "because": one.because,
            "takes": ", ".join(f"{amount} {LABELS[resource]}" for resource, amount in one.takes.items()),
        }
        for one in prices
    ]
    charged = [str(one.item) for one in prices if not one.is_free]
    accepted = f"; accepted in the declaration: {', '.join(charged)}" if charged else ""
    return Verdict(
        not reasons,
        "; ".join(reasons) or f"{len(prices)} resources for $0.00{accepted}",
        numbers={"resources": len(prices), "not free": len(charged)},
        evidence=tuple(rows),
    )


def _foundation(step: Step) -> Foundation:
    return foundation_for(step.blueprint.declaration, spec_of(step), step.say)
