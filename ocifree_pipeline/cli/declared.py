"""Find the declaration that a command is about, or end the command with what is wrong with it."""

from __future__ import annotations

import os
from pathlib import Path

import typer

from ocifree_pipeline.cli.exits import Exit
from ocifree_pipeline.cli.output import fail, say_json
from ocifree_pipeline.deployment.blueprint import Blueprint, DoesNotFit, blueprint_of, find_declaration
from ocifree_pipeline.deployment.declaration import Declaration
from ocifree_pipeline.deployment.errors import OcifreeError
from ocifree_pipeline.deployment.examples import EXAMPLES, example, example_path
from ocifree_pipeline.deployment.loading import parse
from ocifree_pipeline.deployment.problems import InvalidDeclaration, as_json


def declaration_of(path: Path | None, example_name: str | None, json_wanted: bool = False) -> Declaration:
    """The declaration; a bad one prints all its problems and exits 3."""
    try:
        if example_name is not None:
            if example_name not in EXAMPLES:
                raise typer.BadParameter(f"no example {example_name!r}; there are {', '.join(EXAMPLES)}")
            return parse(example(example_name), source=f"example {example_name}")
        return find_declaration(path)
    except InvalidDeclaration as error:
        if json_wanted:
            say_json({"valid": False, "problems": as_json(error.problems)})
        else:
            typer.echo(str(error), err=True)
        raise typer.Exit(Exit.INVALID_DECLARATION) from error
    except OcifreeError as error:
        raise fail(error, as_json=json_wanted) from error


def blueprint_for(path: Path | None, example_name: str | None = None, json_wanted: bool = False) -> Blueprint:
    """The declaration with its plan; one that does not fit exits 4 with the reasons."""
    declaration = declaration_of(path, example_name, json_wanted)
    try:
        return blueprint_of(declaration)
    except DoesNotFit as error:
        fail(error, as_json=json_wanted)
        raise typer.Exit(Exit.DOES_NOT_FIT) from error


def export_declaration(path: Path | None, example_name: str | None = None) -> None:
    """Definitions that are loaded from here on, in this process or in children, are those of this declaration."""
    if example_name is not None:
        os.environ["OCIFREE_DEPLOYMENT"] = str(example_path(example_name))
    elif path is not None:
        os.environ["OCIFREE_DEPLOYMENT"] = str(path.resolve())
