"""Checks of the group foundation: is all of it free, and is it still as it was made."""

from __future__ import annotations

from ocifree_pipeline.deployment.allowances import LABELS
from ocifree_pipeline.deployment.convergence import CannotChange
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


def drift(step: Step) -> Verdict:
    """A plan that is never applied: every difference is something that somebody changed behind our back."""
    try:
        plan = _foundation(step).plan("network")
    except CannotChange as error:
        return Verdict(False, error.what, numbers={"differences": 1})
    if plan.is_noop and plan.surplus:
        return Verdict(
            False,
            f"{'; '.join(plan.surplus)}. Nothing removes it by itself: delete it at Oracle if nothing needs it",
            numbers={"differences": len(plan.surplus)},
            warn=True,
        )
    if plan.is_noop:
        return Verdict(True, "the network is as it was made", numbers={"differences": 0})
    return Verdict(
        False,
        f"{'; '.join(plan.lines)}. Repaired in place by: ocifree up --select oci/network",
        numbers={"differences": len(plan.lines)},
        evidence=tuple({"to repair": line} for line in plan.lines),
    )


def _foundation(step: Step) -> Foundation:
    return foundation_for(step.blueprint.declaration, spec_of(step), step.say)
