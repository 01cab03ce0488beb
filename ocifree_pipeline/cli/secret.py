"""ocifree secret: put secrets into the vault of a deployment, and list their names. Values are never printed."""

from __future__ import annotations

import sys
from pathlib import Path

import typer
from pydantic import SecretStr

from ocifree_pipeline.cli.declared import declaration_of
from ocifree_pipeline.cli.exits import Exit
from ocifree_pipeline.cli.home import ensure_home
from ocifree_pipeline.cli.output import fail, say, say_json
from ocifree_pipeline.deployment.errors import OcifreeError
from ocifree_pipeline.systems.secrets.vault import Vault, vault_of


def set_secret(path: Path | None, name: str) -> None:
    """The value comes from a hidden prompt, or from standard input in a pipe; never from the command line."""
    vault = _vault(path)
    value = typer.prompt(name, hide_input=True) if sys.stdin.isatty() else sys.stdin.read().rstrip("\n")
    if not value:
        typer.echo("nothing was given\n  fix: type the value, or pipe it in", err=True)
        raise typer.Exit(Exit.USAGE)
    try:
        vault.put({name: SecretStr(value)})
    except OcifreeError as error:
        raise fail(error) from error
    say(f"kept as vault:{name} in {vault.file}", style="green")


def list_secrets(path: Path | None, as_json: bool) -> None:
    try:
        names = _vault(path).names()
    except OcifreeError as error:
        raise fail(error, as_json=as_json) from error
    if as_json:
        say_json(list(names))
    else:
        for name in names:
            say(f"vault:{name}")


def _vault(path: Path | None) -> Vault:
    declaration = declaration_of(path, None)
    ensure_home()
    return vault_of(declaration.name)
