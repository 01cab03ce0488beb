"""ocifree destroy: show what will end, have the name of the deployment typed, and watch the job that does it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ocifree_pipeline.cli.confirming import require_name
from ocifree_pipeline.cli.declared import blueprint_for, export_declaration
from ocifree_pipeline.cli.home import ensure_home
from ocifree_pipeline.cli.output import fail, say, table
from ocifree_pipeline.cli.up import drive_job
from ocifree_pipeline.deployment.blueprint import Blueprint
from ocifree_pipeline.deployment.errors import OcifreeError

if TYPE_CHECKING:
    from ocifree_pipeline.systems.oci.foundation.teardown import Remains


def destroy_deployment(path: Path | None, yes: str | None, as_json: bool) -> None:
    blueprint = blueprint_for(path, json_wanted=as_json)
    export_declaration(path)
    home = ensure_home()
    from ocifree_pipeline.automation.destroy import NAME, OP, teardown_of

    deployment = blueprint.declaration.name
    try:
        require_name(
            deployment,
            yes,
            show=lambda: _show(blueprint, teardown_of(blueprint).what_remains()),
            goal="to end all of it",
            command="ocifree destroy",
            undone="nothing was destroyed",
            as_json=as_json,
        )
    except OcifreeError as error:
        raise fail(error, as_json=as_json) from error
    raise typer.Exit(drive_job(home, NAME, OP, {"confirm": deployment}, as_json))


def _show(blueprint: Blueprint, standing: Sequence[Remains]) -> None:
    instances = [one for one in standing if one.kind == "instance"]
    scarce = {f"{blueprint.declaration.name}-{machine.name.replace('_', '-')}" for machine in blueprint.plan.ampere}
    if not standing:
        say(f"Nothing of {blueprint.declaration.name} stands at Oracle.")
        return
    table(
        ["what", "name", "why it is here"],
        [[one.kind.replace("_", " "), one.name, one.why] for one in standing],
        title=f"{blueprint.declaration.name}: all of this will end, with everything on it",
    )
    lost = [one.name for one in instances if one.name in scarce]
    if lost:
        say()
        say(
            f"{', '.join(lost)}: Ampere machines are scarce. Oracle may never have capacity for them again.",
            style="bold red",
        )
    say()
