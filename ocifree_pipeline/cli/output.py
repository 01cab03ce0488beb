"""How the commands speak: Rich on a terminal, plain text in a pipe, JSON when asked."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import typer

from ocifree_pipeline.cli.exits import Exit
from ocifree_pipeline.deployment.errors import NotYetBuilt, OcifreeError

MARKS = {"ok": ("green", "ok"), "bad": ("red", "FAIL"), "warn": ("yellow", "warn"), "idle": ("dim", "-")}


def on_terminal() -> bool:
    return sys.stdout.isatty()


def say(text: str = "", *, style: str | None = None) -> None:
    """One line for people."""
    if style and on_terminal():
        from rich.console import Console
        from rich.text import Text

        Console(highlight=False, soft_wrap=True).print(Text(text, style=style))
    else:
        typer.echo(text)


def say_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, default=str))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> None:
    """A table that a terminal draws and that `cut`, `awk` and people can read in a pipe."""
    cells = [[_mark(cell) for cell in row] for row in rows]
    if on_terminal():
        _rich_table(columns, cells, title)
        return
    if title:
        typer.echo(title)
    texts = [list(columns), *([text for _, text in row] for row in cells)]
    widths = [max(len(row[index]) for row in texts) for index in range(len(columns))]
    for row in texts:
        typer.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def _rich_table(columns: Sequence[str], cells: list[list[tuple[str | None, str]]], title: str | None) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(*columns, title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    for row in cells:
        drawn.add_row(*(Text(text, style=style or "") for style, text in row))
    Console(highlight=False).print(drawn)


def _mark(cell: object) -> tuple[str | None, str]:
    if isinstance(cell, tuple):
        mark, text = cell
        return MARKS[mark][0], str(text)
    if isinstance(cell, str) and cell in MARKS:
        return MARKS[cell]
    return None, "" if cell is None else str(cell)


def refuse(what: str, fix: str, code: Exit, *, as_json: bool = False) -> typer.Exit:
    """Print what is in the way and what to type, and return what to raise. For what is no error of the pipeline."""
    if as_json:
        say_json({"error": code.name.title().replace("_", ""), "what": what, "why": "", "fix": fix})
    else:
        typer.echo(f"{what}\n  fix: {fix}", err=True)
    return typer.Exit(code)


def fail(error: OcifreeError, *, as_json: bool = False) -> typer.Exit:
    """Print the error and return what to raise. The class decides the exit code."""
    if as_json:
        say_json({"error": type(error).__name__, "what": error.what, "why": error.why, "fix": error.fix})
    else:
        typer.echo(str(error), err=True)
    return typer.Exit(Exit.NOT_YET_BUILT if isinstance(error, NotYetBuilt) else Exit.FAILED)
