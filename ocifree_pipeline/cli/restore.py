"""ocifree restore: which backups there are, or the job that starts etcd from one of them."""

from __future__ import annotations

from pathlib import Path

import typer

from ocifree_pipeline.cli.confirming import require_name
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
    try:
        confirm = require_name(
            deployment,
            yes,
            show=lambda: _warn(deployment),
            goal="if it may, or nothing",
            command="ocifree restore",
            undone="nothing was restored",
            as_json=as_json,
            may_be_empty=True,
        )
    except NeedsConfirmation as error:
        raise fail(error, as_json=as_json) from error
    raise typer.Exit(drive_job(home, NAME, OP, {"backup": backup, "confirm": confirm}, as_json))


def _warn(deployment: str) -> None:
    say(f"If {deployment} lives, it goes back to the backup: what was made or changed since then is lost.")
    say("`ocifree backup` first keeps what there is now. Control planes that are empty need no confirmation.")
