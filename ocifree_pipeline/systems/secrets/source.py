"""Resolve a reference of the declaration to the secret it names. The secret stays wrapped until it is used."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr

from ocifree_pipeline.deployment.errors import PreconditionMissing, Refused
from ocifree_pipeline.deployment.secret_reference import SecretRef
from ocifree_pipeline.systems.secrets.vault import Vault

SOPS_SECONDS = 60


def resolve(reference: SecretRef, vault: Vault, environ: Mapping[str, str] = os.environ) -> SecretStr:
    """env: from the environment, sops: through the sops program, vault: from the deployment's own vault."""
    if reference.scheme == "env":
        value = environ.get(reference.name)
        if not value:
            raise PreconditionMissing(
                f"the environment has no {reference.name}",
                why=f"the declaration refers to {reference}",
                fix=f"export {reference.name}=... in the shell, or in the .env file beside the declaration",
            )
        return SecretStr(value)
    if reference.scheme == "sops":
        return _sops(reference)
    return vault.get(reference.name)


def _sops(reference: SecretRef) -> SecretStr:
    """sops itself decrypts, so every key service that it knows works."""
    file = Path(reference.file)
    if not file.exists():
        raise PreconditionMissing(
            f"{file} does not exist",
            why=f"the declaration refers to {reference}",
            fix="correct the path, or make the file with `sops`",
        )
    path = "".join(f'["{part}"]' for part in reference.key.split("."))
    command = ["sops", "--decrypt", "--extract", path, str(file)]
    try:
        done = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, timeout=SOPS_SECONDS, check=False, stdin=subprocess.DEVNULL
        )
    except FileNotFoundError as error:
        raise PreconditionMissing(
            "sops is not installed", why=f"{reference} is decrypted by it", fix="install sops, or use env: or vault:"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise Refused(
            f"sops did not finish with {file} within {SOPS_SECONDS} s",
            why="it may be waiting for a key service",
            fix=f"try it by hand: sops --decrypt {file}",
        ) from error
    if done.returncode != 0 or not done.stdout:
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise Refused(f"sops could not read {reference}", why=said, fix=f"try it by hand: sops --decrypt {file}")
    return SecretStr(done.stdout.rstrip("\n"))
