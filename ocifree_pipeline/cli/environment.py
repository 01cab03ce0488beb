"""ocifree env: the variables for `dagster` and `dg`, so that they see what `ocifree` sees."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import typer

from ocifree_pipeline.cli.declared import export_declaration
from ocifree_pipeline.cli.home import ensure_home
from ocifree_pipeline.cli.output import say_json


def print_environment(path: Path | None, as_json: bool) -> None:
    export_declaration(path)
    ensure_home()
    names = ("DAGSTER_HOME", "OCIFREE_DEPLOYMENT", "DAGSTER_DISABLE_TELEMETRY")
    found = {name: os.environ[name] for name in names if os.environ.get(name)}
    if as_json:
        say_json(found)
        return
    for name, value in found.items():
        typer.echo(f"export {name}={shlex.quote(value)}")
