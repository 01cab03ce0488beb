"""ocifree upgrade: say what it means, have the name of the deployment typed, and watch the job that does it."""

from __future__ import annotations

from pathlib import Path

import typer

from ocifree_pipeline.cli.confirming import require_name
from ocifree_pipeline.cli.declared import blueprint_for, export_declaration
from ocifree_pipeline.cli.home import ensure_home
from ocifree_pipeline.cli.layers import Layer
from ocifree_pipeline.cli.output import fail, say
from ocifree_pipeline.cli.up import drive_job
from ocifree_pipeline.deployment.errors import NeedsConfirmation


def upgrade_layer(layer: Layer, path: Path | None, yes: str | None, as_json: bool) -> None:
    blueprint = blueprint_for(path, json_wanted=as_json)
    export_declaration(path)
    home = ensure_home()
    from ocifree_pipeline.automation.operations import op_of

    deployment, job = blueprint.declaration.name, f"upgrade_{layer}"
    try:
        require_name(
            deployment,
            yes,
            show=lambda: say(
                f"{layer}: one node at a time restarts, after a look at all of them; it stops on the first doubt."
            ),
            goal="to begin",
            command=f"ocifree upgrade {layer}",
            undone="nothing was upgraded",
            as_json=as_json,
        )
    except NeedsConfirmation as error:
        raise fail(error, as_json=as_json) from error
    raise typer.Exit(drive_job(home, job, op_of(job), {"confirm": deployment}, as_json))
