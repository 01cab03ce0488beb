"""ocifree restore: which backups there are, or the job that starts etcd from one of them."""

from __future__ import annotations

from pathlib import Path

import typer

from ocifree_pipeline.cli.declared import blueprint_for, export_declaration
from ocifree_pipeline.cli.home import ensure_home
from ocifree_pipeline.cli.output import fail, say, say_json, table
from ocifree_pipeline.cli.up import drive_job
from ocifree_pipeline.deployment.errors import NeedsConfirmation, OcifreeError


def list_backups(path: Path | None, as_json: bool) -> None:
    import dagster as dg

    from ocifree_pipeline.automation.backups import BACKUP, kept
    from ocifree_pipeline.record.definition import Step

    blueprint = blueprint_for(path, json_wanted=as_json)
    ensure_home()
    try:
        found = kept(Step(blueprint, BACKUP, dg.DagsterInstance.get(), say))
    except OcifreeError as error:
        raise fail(error, as_json=as_json) from error
    rows = [(one.short, one.at) for one in reversed(found)]
    if as_json:
        say_json([{"backup": name, "at": at.isoformat()} for name, at in rows])
    elif rows:
        table(["backup", "taken"], [[name, f"{at:%Y-%m-%d %H:%M} UTC"] for name, at in rows])
    else:
        say("There is no backup. `ocifree backup` keeps one.")


def restore_backup(path: Path | None, backup: str, yes: str | None, as_json: bool) -> None:
    blueprint = blueprint_for(path, json_wanted=as_json)
    export_declaration(path)
    home = ensure_home()
    from ocifree_pipeline.automation.restore import NAME, OP

    deployment = blueprint.declaration.name
    if yes is None:
        if not as_json:
            say(f"If {deployment} lives, it goes back to the backup: what was made or changed since then is lost.")
            say("`ocifree backup` first keeps what there is now. Control planes that are empty need no confirmation.")
        question = f"Type the name of the deployment ({deployment}) if it may, or nothing"
        try:
            yes = typer.prompt(question, default="", err=as_json)
        except typer.Abort:
            yes = ""
    if yes not in {"", deployment}:
        error = NeedsConfirmation(
            "nothing was restored: the name that was typed is that of no deployment here",
            why=f"{yes!r} was given",
            fix=f"ocifree restore, and type {deployment}; in scripts: ocifree restore --yes {deployment}",
        )
        raise fail(error, as_json=as_json)
    raise typer.Exit(drive_job(home, NAME, OP, {"backup": backup, "confirm": yes}, as_json))
