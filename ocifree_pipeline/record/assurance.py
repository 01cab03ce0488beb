"""Facts of the group assurance, and what its assets and checks look at together."""

from __future__ import annotations

from datetime import UTC, date, datetime

import dagster as dg

from ocifree_pipeline.deployment.cost import Bill, Line, console_page, money
from ocifree_pipeline.deployment.idle import Idle
from ocifree_pipeline.record.definition import Step
from ocifree_pipeline.record.observed import newest
from ocifree_pipeline.record.outcome import Facts, Scalar


class CostFacts(Facts):
    """assurance/cost_report: the resources that were charged, and those of which nobody knows. Empty is good."""

    since: date
    currency: str
    charged: tuple[str, ...]
    unknown: tuple[str, ...]


class IdleFacts(Facts):
    """assurance/idle_report: the machines that were looked at, and those that Oracle may stop."""

    machines: tuple[str, ...]
    at_risk: tuple[str, ...]


def now() -> datetime:
    return datetime.now(UTC)


def first_day(instance: dg.DagsterInstance) -> date | None:
    """The day on which this deployment first made something: the bill is watched from then on."""
    found = instance.fetch_materializations(dg.AssetKey(["tenancy", "guardrails"]), limit=1, ascending=True).records
    return datetime.fromtimestamp(found[0].timestamp, UTC).date() if found else None


def bill_for(step: Step) -> Bill:
    from ocifree_pipeline.systems.oci.session import session_for
    from ocifree_pipeline.systems.oci.usage import read_bill

    return read_bill(session_for(step.blueprint.declaration.site), now(), first_day(step.instance))


def idle_machines(step: Step) -> tuple[Idle, ...]:
    from ocifree_pipeline.systems.oci.foundation.kinds import Scope
    from ocifree_pipeline.systems.oci.foundation.network import compartment_of
    from ocifree_pipeline.systems.oci.idle import read_idle
    from ocifree_pipeline.systems.oci.session import session_for

    declaration = step.blueprint.declaration
    session = session_for(declaration.site)
    compartment = compartment_of(session, declaration.name, declaration.compartment)
    return read_idle(Scope(session, declaration.name, compartment.id if compartment else None), now())


def charge_row(line: Line) -> dict[str, Scalar]:
    """A charge as a row of evidence, with the page on which a person finds the resource."""
    return {
        "resource": line.what,
        "service": line.service,
        "part number": line.sku,
        "region": line.region,
        "since": str(line.since),
        "days": line.days,
        "amount": "not known" if line.amount is None else money(line.amount, line.currency),
        "look at it": console_page(line.resource, line.region),
    }


# restore drills -------------------------------------------------------------------------------------------------------

DRILL = "restore drill"
"""Under this name an observation of assurance/etcd_backup tells that a backup was restored and compared."""


def last_drill(instance: dg.DagsterInstance, key: str) -> datetime | None:
    """When a restore was last rehearsed to its end."""
    record = newest(instance, key, lambda told: DRILL in told)
    return datetime.fromtimestamp(record.timestamp, UTC) if record else None
