"""ocifree plan: nodes, headroom, or every reason why not."""

from __future__ import annotations

from pathlib import Path

import typer

from ocifree_pipeline.cli.declared import declaration_of
from ocifree_pipeline.cli.exits import Exit
from ocifree_pipeline.cli.output import fail, say, say_json, table
from ocifree_pipeline.deployment.allowances import allowance
from ocifree_pipeline.deployment.blueprint import plan_for
from ocifree_pipeline.deployment.declaration import Declaration
from ocifree_pipeline.deployment.errors import OcifreeError
from ocifree_pipeline.deployment.plan import Plan, Refusal


def show_plan(path: Path | None, example: str | None, live: bool, as_json: bool) -> None:
    declaration = declaration_of(path, example, as_json)
    try:
        answer = _live_plan(declaration) if live else plan_for(declaration)
    except OcifreeError as error:
        raise fail(error, as_json=as_json) from error
    if as_json:
        say_json(answer.as_dict())
    elif isinstance(answer, Refusal):
        say(f"{declaration.name}: topology {answer.topology} does not fit.", style="bold red")
        _refusal(answer)
    else:
        _heading(declaration, answer)
        _plan(answer)
    if isinstance(answer, Refusal):
        raise typer.Exit(Exit.DOES_NOT_FIT)


def _live_plan(declaration: Declaration) -> Plan | Refusal:
    from ocifree_pipeline.systems.oci.limits import read_tenancy
    from ocifree_pipeline.systems.oci.session import session_for

    tenancy = read_tenancy(session_for(declaration.site), declaration)
    return plan_for(declaration, tenancy.limits, tenancy.used_by_others)


def _heading(declaration: Declaration, plan: Plan) -> None:
    free = allowance(declaration.site.allowance)
    asked = "chosen by `topology: auto`" if declaration.topology == "auto" else "as declared"
    say(f"{declaration.name}: topology {plan.topology}, {asked}. Cost: $0.00 within {free.name}.", style="bold")
    if free.superseded:
        say(
            f"  {free.name} was superseded on {free.superseded}. What it gives beyond the allowance in force may be "
            "billed or ended by Oracle.",
            style="yellow",
        )


def _plan(plan: Plan) -> None:
    say()
    table(
        ["machine", "shape", "OCPU", "memory GB", "boot GB", "availability domain"],
        [
            [
                m.name,
                m.shape,
                m.ocpus if m.is_ampere else "1/8",
                m.memory_gb,
                m.boot_volume_gb,
                m.availability_domain or "found by the hunt",
            ]
            for m in plan.machines
        ],
        title="Machines",
    )
    if plan.guests:
        say()
        table(
            ["guest", "on", "role", "vCPU", "memory GB", "disk GB"],
            [[g.name, g.host, g.role, g.vcpus, g.memory_gb, g.disk_gb] for g in plan.guests],
            title="Talos guests on Proxmox",
        )
    if plan.ceph:
        say()
        say(f"Ceph: {plan.ceph.usable_gb} GB usable. {plan.ceph.how}.")
    say()
    table(
        ["limit", "has", "plan takes", "left", "set by"],
        [[h.label, h.available, h.planned, h.left, h.source] for h in plan.headroom],
        title="Headroom",
    )
    for rejected in plan.rejected:
        say()
        say(f"Not chosen: {rejected.topology}.")
        _refusal(rejected)
    if plan.warnings:
        say()
        for warning in plan.warnings:
            say(f"! {warning}", style="yellow")


def _refusal(refusal: Refusal) -> None:
    table(
        ["limit", "where", "needs", "has", "set by", "why"],
        [[s.limit, s.scope, s.needed, s.available, s.source, s.why] for s in refusal.shortfalls],
    )
    if refusal.nearest:
        say()
        say(f"Nearest that fits: topology {refusal.nearest.topology}", style="bold")
        _plan(refusal.nearest)
