"""ocifree env: the variables for `dagster` and `dg`, so that they see what `ocifree` sees."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import typer

from ocifree_pipeline.cli.declared import export_declaration
from ocifree_pipeline.cli.home import ensure_home


def print_environment(path: Path | None) -> None:
    export_declaration(path)
    ensure_home()
    for name in ("DAGSTER_HOME", "OCIFREE_DEPLOYMENT", "DAGSTER_DISABLE_TELEMETRY"):
        if os.environ.get(name):
            typer.echo(f"export {name}={shlex.quote(os.environ[name])}")
