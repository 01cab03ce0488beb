"""ocifree validate: the declaration, and whether a plan for it fits within its allowance."""

from __future__ import annotations

from pathlib import Path

import typer

from ocifree_pipeline.cli.declared import declaration_of
from ocifree_pipeline.cli.exits import Exit
from ocifree_pipeline.cli.output import say, say_json
from ocifree_pipeline.deployment.blueprint import DoesNotFit, blueprint_of


def validate_declaration(path: Path | None, example: str | None, as_json: bool) -> None:
    declaration = declaration_of(path, example, as_json)
    try:
        plan = blueprint_of(declaration).plan
    except DoesNotFit as error:
        if as_json:
            say_json({"valid": False, "problems": [], "refusal": error.refusal.as_dict()})
        else:
            typer.echo(str(error), err=True)
        raise typer.Exit(Exit.DOES_NOT_FIT) from error
    if as_json:
        say_json({"valid": True, "problems": [], "topology": plan.topology, "machines": len(plan.machines)})
    else:
        say(f"{declaration.name} is valid: topology {plan.topology}, {len(plan.machines)} machines.", style="green")
