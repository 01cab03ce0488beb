"""The name of the deployment, typed before what cannot be taken back."""

from __future__ import annotations

from collections.abc import Callable

import typer

from ocifree_pipeline.deployment.errors import NeedsConfirmation


def require_name(
    deployment: str,
    yes: str | None,
    *,
    show: Callable[[], None],
    goal: str,
    command: str,
    undone: str,
    as_json: bool,
    may_be_empty: bool = False,
) -> str:
    """What was typed, or given with --yes. `show` tells a person first what it means."""
    why = ""
    typed = yes
    if typed is None:
        if not as_json:
            show()
        question = f"Type the name of the deployment ({deployment}) {goal}"
        try:
            typed = typer.prompt(question, default="", err=as_json)
            why = f"{typed!r} was typed" if typed else "nothing was typed"
        except typer.Abort:
            typed, why = "", "nobody was there to type it"
    if typed == deployment or (may_be_empty and not typed):
        return typed
    raise NeedsConfirmation(
        f"{undone}: the name of the deployment was not typed",
        why=why or f"`--yes {yes}` names another one",
        fix=f"{command}, and type {deployment}; in scripts: {command} --yes {deployment}",
    )
