"""Checks of the group assurance: is the bill zero, is everything within the allowance, may Oracle stop a machine."""

from __future__ import annotations

from collections.abc import Mapping

from ocifree_pipeline.deployment.allowances import LABELS, Resource
from ocifree_pipeline.deployment.foundation import accepted_charges
from ocifree_pipeline.deployment.limits import Counts
from ocifree_pipeline.deployment.pricing import Price, free_of, price
from ocifree_pipeline.record.assurance import bill_for, charge_row, idle_machines, last_drill, now
from ocifree_pipeline.record.definition import Step, Verdict
from ocifree_pipeline.record.outcome import Scalar

DRILL_DAYS = 30


def bill_is_zero(step: Step) -> Verdict:
    """The last of four guards: what Oracle itself says that it charged."""
    bill = bill_for(step)
    return Verdict(
        bill.is_zero,
        bill.summary(),
        numbers={"cost": float(bill.total), "days proven at zero": bill.proven, "days still open": bill.pending},
        evidence=tuple(charge_row(line) for line in (*bill.charged, *bill.unknown)),
    )


def within_allowance(step: Step) -> Verdict:
    """The second of four guards: all that stands in the tenancy now, priced like a plan, whoever made it."""
    from ocifree_pipeline.systems.oci.inventory import inventory, items_of
    from ocifree_pipeline.systems.oci.limits import read_tenancy
    from ocifree_pipeline.systems.oci.session import session_for

    declaration = step.blueprint.declaration
    session = session_for(declaration.site)
    free = free_of(declaration)
    counted = items_of(inventory(session))
    prices, reasons = price(counted, free, accepted_charges(declaration))
    rows, over = _rows(prices, read_tenancy(session, declaration).used, free)
    reasons = (*reasons, *over)
    return Verdict(
        not reasons,
        "; ".join(reasons) or f"{len(counted)} resources in the whole tenancy, all within what is free",
        numbers={f"in use: {row['limit']}": float(str(row["in use"])) for row in rows},
        evidence=tuple(rows),
    )


def reclaim_risk(step: Step) -> Verdict:
    """Days ahead, so that there is time to do something about it."""
    machines = idle_machines(step)
    risky = [machine for machine in machines if machine.at_risk]
    words = "; ".join(map(str, risky))
    if risky and step.blueprint.declaration.site.account == "payg":
        return Verdict(True, f"{words}. Users report that Oracle leaves paying accounts alone; it does not promise it")
    days = [machine.days for machine in risky if machine.days is not None]
    return Verdict(
        not risky,
        words or f"{len(machines)} machines, none of them idle",
        numbers={"machines at risk": len(risky)} | ({"days left": min(days)} if days else {}),
        warn=True,
    )


def _rows(
    prices: tuple[Price, ...], used: Counts, free: Mapping[Resource, int]
) -> tuple[list[dict[str, Scalar]], tuple[str, ...]]:
    """Counted twice: from the resources, and by Oracle's Limits API, which also knows what is on its way."""
    rows: list[dict[str, Scalar]] = []
    over: list[str] = []
    for resource, label in LABELS.items():
        found = sum(one.takes.get(resource, 0) for one in prices)
        told, allowed = used.in_region(resource), free.get(resource, 0)
        rows.append({"limit": label, "in use": max(found, told), "free": allowed, "found": found, "Limits API": told})
        if told > allowed and told > found:
            over.append(f"{label}: Oracle counts {told}, {allowed} are free")
    return rows, tuple(over)


def restore_drill_age(step: Step) -> Verdict:
    """A backup that was never restored is a hope."""
    drilled = last_drill(step.instance, step.key)
    if drilled is None:
        return Verdict(False, "no restore has ever been rehearsed: job restore_drill does that", warn=True)
    days = (now() - drilled).days
    return Verdict(days <= DRILL_DAYS, f"rehearsed {days} days ago", {"days": days}, warn=True)
