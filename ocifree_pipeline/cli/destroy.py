"""ocifree destroy: show what will end, have the name of the deployment typed, and watch the job that does it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ocifree_pipeline.cli.declared import blueprint_for, export_declaration
from ocifree_pipeline.cli.home import ensure_home
from ocifree_pipeline.cli.output import fail, say, table
from ocifree_pipeline.cli.up import drive_job
from ocifree_pipeline.deployment.blueprint import Blueprint
from ocifree_pipeline.deployment.errors import NeedsConfirmation, OcifreeError

if TYPE_CHECKING:
    from ocifree_pipeline.systems.oci.foundation.teardown import Remains


def destroy_deployment(path: Path | None, yes: str | None, as_json: bool) -> None:
    blueprint = blueprint_for(path, json_wanted=as_json)
    export_declaration(path)
    home = ensure_home()
    from ocifree_pipeline.automation.destroy import NAME, OP, teardown_of

    deployment = blueprint.declaration.name
    try:
        if yes is not None and yes != deployment:
            raise _not_confirmed(deployment, f"`--yes {yes}` names another one")
        if yes is None:
            if not as_json:
                _show(blueprint, teardown_of(blueprint).what_remains())
            _ask(deployment, on_stderr=as_json)
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


def _ask(deployment: str, *, on_stderr: bool) -> None:
    try:
        typed = typer.prompt(
            f"Type the name of the deployment ({deployment}) to end all of it", default="", err=on_stderr
        )
    except typer.Abort as error:
        raise _not_confirmed(deployment, "nobody was there to type it") from error
    if typed != deployment:
        raise _not_confirmed(deployment, f"{typed!r} was typed" if typed else "nothing was typed")


def _not_confirmed(deployment: str, why: str) -> NeedsConfirmation:
    return NeedsConfirmation(
        "nothing was destroyed: the name of the deployment was not typed",
        why=why,
        fix=f"ocifree destroy, and type {deployment}; in scripts: ocifree destroy --yes {deployment}",
    )
