"""How the verbs of `ocifree sandbox` find the running one, and how they tell an error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ocifree_pipeline.cli.exits import Exit
from ocifree_pipeline.cli.output import fail, refuse
from ocifree_pipeline.deployment.errors import OcifreeError

if TYPE_CHECKING:
    from ocifree_pipeline.sandbox.process import Running

Directory = Annotated[
    Path, typer.Option("--directory", envvar="OCIFREE_SANDBOX", help="Where the sandbox keeps its world and keys.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
HERE = Path(".ocifree/sandbox")


@contextmanager
def told(as_json: bool = False) -> Iterator[None]:
    """An error ends the command with its words and its exit code."""
    try:
        yield
    except OcifreeError as error:
        raise fail(error, as_json=as_json) from None


def running_in(directory: Path, as_json: bool = False) -> Running:
    from ocifree_pipeline.sandbox.process import find

    running = find(directory)
    if running is None:
        raise refuse(f"No sandbox runs in {directory}", "ocifree sandbox up", Exit.NOT_READY, as_json=as_json)
    return running
