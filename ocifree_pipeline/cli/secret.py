"""ocifree secret: put secrets into the vault of a deployment, and list their names. Values are never printed."""

from __future__ import annotations

import sys
from pathlib import Path

import typer
from pydantic import SecretStr

from ocifree_pipeline.cli.declared import declaration_of
from ocifree_pipeline.cli.exits import Exit
from ocifree_pipeline.cli.home import ensure_home
from ocifree_pipeline.cli.output import fail, refuse, say, say_json
from ocifree_pipeline.deployment.errors import OcifreeError
from ocifree_pipeline.systems.secrets.vault import Vault, vault_of


def set_secret(path: Path | None, name: str, as_json: bool) -> None:
    """The value comes from a hidden prompt, or from standard input in a pipe; never from the command line."""
    vault = _vault(path, as_json)
    value = typer.prompt(name, hide_input=True, err=as_json) if sys.stdin.isatty() else sys.stdin.read().rstrip("\n")
    if not value:
        raise refuse("nothing was given", "type the value, or pipe it in", Exit.USAGE, as_json=as_json)
    try:
        vault.put({name: SecretStr(value)})
    except OcifreeError as error:
        raise fail(error, as_json=as_json) from error
    if as_json:
        say_json({"kept": f"vault:{name}", "file": str(vault.file)})
        return
    say(f"kept as vault:{name} in {vault.file}", style="green")


def list_secrets(path: Path | None, as_json: bool) -> None:
    try:
        names = _vault(path, as_json).names()
    except OcifreeError as error:
        raise fail(error, as_json=as_json) from error
    if as_json:
        say_json(list(names))
    else:
        for name in names:
            say(f"vault:{name}")


def _vault(path: Path | None, as_json: bool) -> Vault:
    declaration = declaration_of(path, None, as_json)
    ensure_home()
    return vault_of(declaration.name)
