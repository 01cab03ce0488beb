"""assurance/cost_report, idle_report, etcd_backup: proof that it is free, safe from reclaim, and can be restored."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import dagster as dg

from ocifree_pipeline.assets.etcd_backup import materialize_backup
from ocifree_pipeline.deployment.blueprint import Blueprint
from ocifree_pipeline.deployment.cost import Bill, State, console_page, money
from ocifree_pipeline.record.assurance import CostFacts, IdleFacts, bill_for, charge_row, idle_machines
from ocifree_pipeline.record.definition import Step, define_asset
from ocifree_pipeline.record.outcome import Outcome

GROUP = "assurance"


def assets(blueprint: Blueprint) -> Iterator[dg.AssetsDefinition]:
    define = partial(define_asset, blueprint, group=GROUP)
    machines = [f"machines/{machine.name}" for machine in blueprint.plan.machines]
    yield define(
        "assurance/cost_report",
        _cost_report,
        kinds={"oracle"},
        deps=["tenancy/guardrails", *machines],
        describe=(
            "Is it free? What Oracle's Usage API says this tenancy cost, day by day. It lags a day or more, so zero is "
            "proved after 72 hours; until then everything that stands is priced like a plan."
        ),
    )
    yield define(
        "assurance/idle_report",
        _idle_report,
        kinds={"oracle"},
        deps=machines,
        describe=(
            "How near each machine is to Oracle's idle rule: over 7 days the 95th percentile of CPU, network and, on "
            "A1, memory below 20 %. Oracle stops such machines of free accounts; there may be no room to start them."
        ),
    )
    yield define(
        "assurance/etcd_backup",
        materialize_backup,
        kinds={"talos", "oracle"},
        deps=["talos/cluster", "oci/image_bucket"],
        describe=(
            "A snapshot of etcd, sealed for the key of the vault, in the image bucket; old ones go, so that it stays "
            "within the free storage. The job `restore_drill` opens it and compares it with what runs."
        ),
    )


def _cost_report(step: Step) -> Outcome:
    bill = bill_for(step)
    region = step.blueprint.declaration.site.region
    return Outcome(
        summary=bill.summary(),
        facts=CostFacts(
            since=bill.days[0].day,
            currency=bill.currency,
            charged=tuple(sorted({line.what for line in bill.charged})),
            unknown=tuple(sorted({line.what for line in bill.unknown})),
        ),
        numbers={
            "cost": float(bill.total),
            "cost of the youngest closed day": _youngest_closed(bill),
            "days proven at zero": bill.proven,
            "days still open": bill.pending,
        },
        evidence=[charge_row(line) for line in (*bill.charged, *bill.unknown)]
        or [{"day": str(day.day), "cost": money(day.amount, bill.currency), "state": day.state} for day in bill.days],
        links={"cost analysis": console_page("", region)},
        look_inside="ocifree cost",
    )


def _youngest_closed(bill: Bill) -> float:
    closed = [day for day in bill.days if day.state is not State.OPEN]
    return float(closed[-1].amount) if closed else 0.0


def _idle_report(step: Step) -> Outcome:
    machines = idle_machines(step)
    risky = [machine for machine in machines if machine.at_risk]
    numbers: dict[str, float] = {"machines at risk": len(risky)}
    for machine in machines:
        numbers |= {f"{machine.name} p95 {metric} %": round(percent, 2) for metric, percent in machine.p95.items()}
        if machine.days is not None:
            numbers[f"{machine.name} days left"] = round(machine.days, 1)
    return Outcome(
        summary="; ".join(map(str, risky)) or f"{len(machines)} machines, none of them idle",
        facts=IdleFacts(
            machines=tuple(machine.name for machine in machines), at_risk=tuple(machine.name for machine in risky)
        ),
        numbers=numbers,
        evidence=[
            {"machine": machine.name, "shape": machine.shape, "what it means": str(machine)} for machine in machines
        ],
        look_inside="ocifree idle",
    )
