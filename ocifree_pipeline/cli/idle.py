"""ocifree idle: which machines Oracle may stop as idle, and in how many days. Changes nothing."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import typer

from ocifree_pipeline.cli.declared import blueprint_for
from ocifree_pipeline.cli.exits import Exit
from ocifree_pipeline.cli.output import fail, say, say_json, table
from ocifree_pipeline.deployment.declaration import Declaration
from ocifree_pipeline.deployment.errors import OcifreeError
from ocifree_pipeline.deployment.idle import Idle, Metric


def show_idle(path: Path | None, as_json: bool) -> None:
    blueprint = blueprint_for(path, json_wanted=as_json)
    try:
        machines = _read(blueprint.declaration)
    except OcifreeError as error:
        raise fail(error, as_json=as_json) from error
    if as_json:
        say_json([{**asdict(machine), "at_risk": machine.at_risk, "words": str(machine)} for machine in machines])
    else:
        _show(blueprint.declaration, machines)
    raise typer.Exit(Exit.FAILED if any(machine.at_risk for machine in machines) else Exit.OK)


def _read(declaration: Declaration) -> tuple[Idle, ...]:
    from ocifree_pipeline.systems.oci.foundation.kinds import Scope
    from ocifree_pipeline.systems.oci.foundation.network import compartment_of
    from ocifree_pipeline.systems.oci.idle import read_idle
    from ocifree_pipeline.systems.oci.session import session_for

    session = session_for(declaration.site)
    compartment = compartment_of(session, declaration.name, declaration.compartment)
    scope = Scope(session, declaration.name, compartment.id if compartment else None)
    return read_idle(scope, datetime.now(UTC))


def _show(declaration: Declaration, machines: tuple[Idle, ...]) -> None:
    if not machines:
        say(f"{declaration.name} has no machines yet")
        return
    table(
        ["machine", "", *(f"{metric} p95 %" for metric in Metric), "days left"],
        [
            [
                machine.name,
                "warn" if machine.at_risk else "ok",
                *(f"{machine.p95[metric]:.1f}" if metric in machine.p95 else "-" for metric in Metric),
                "-" if machine.days is None else f"{machine.days:.1f}",
            ]
            for machine in machines
        ],
        title=f"{declaration.name}: the last seven days, as Oracle's idle rule sees them",
    )
    say()
    for machine in machines:
        say(str(machine), style="yellow" if machine.at_risk else None)
    if declaration.site.account == "payg":
        say("Users report that Oracle leaves paying accounts alone; it does not promise it.")
