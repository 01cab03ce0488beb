"""The vault: one age-encrypted file a deployment, for secrets that the pipeline makes or is handed.

The file and its identity are 0600. Writing replaces the file in one step, so a power cut leaves the old or the new
one. Two processes may write at once: each takes the lock, reads, changes, writes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from ocifree_pipeline.deployment.errors import PreconditionMissing, Refused
from ocifree_pipeline.systems.durable import home_of, locked, replace_private
from ocifree_pipeline.systems.secrets.age import key_in

if TYPE_CHECKING:
    from pyrage import x25519


@dataclass(frozen=True, slots=True)
class Vault:
    """`file` holds the secrets, `identity` the age key that opens it. Both are made when first written to."""

    file: Path
    identity: Path

    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self._read()))

    def get(self, name: str) -> SecretStr:
        value = self._read().get(name)
        if value is None:
            raise PreconditionMissing(
                f"the vault has no {name}",
                why=f"{self.file} does not hold it",
                fix="materialize the asset that makes it, or write it with `ocifree secret set`",
            )
        return SecretStr(value)

    def put(self, secrets: Mapping[str, SecretStr]) -> None:
        """Add or replace secrets, all of them or none."""
        with locked(self.file):
            kept = self._read() | {name: secret.get_secret_value() for name, secret in secrets.items()}
            self._write(kept)

    def get_or_make(self, name: str, make: Callable[[], SecretStr]) -> SecretStr:
        """The secret that is there, else the one that `make` gives. Two that ask at once get the same."""
        with locked(self.file):
            kept = self._read()
            if name not in kept:
                self._write(kept | {name: make().get_secret_value()})
                kept = self._read()
            return SecretStr(kept[name])

    def remove(self, names: frozenset[str]) -> None:
        with locked(self.file):
            self._write({name: value for name, value in self._read().items() if name not in names})

    def key(self) -> x25519.Identity:
        """What opens the vault, and whatever else was sealed for its owner."""
        return key_in(self.identity.read_text("utf-8"), self.identity)

    def _read(self) -> dict[str, str]:
        import pyrage

        if not self.file.exists():
            return {}
        if not self.identity.exists():
            raise PreconditionMissing(
                f"{self.identity} is missing",
                why=f"it is the only key to {self.file}",
                fix="put your backup of it back; without it the secrets are lost",
            )
        try:
            plain = pyrage.decrypt(self.file.read_bytes(), [self.key()])
        except pyrage.DecryptError as error:
            raise Refused(
                f"{self.file} does not open",
                why=f"{self.identity} is not its key, or the file is damaged",
                fix="put your backup of both files back",
            ) from error
        found: dict[str, str] = json.loads(plain)
        return found

    def _write(self, secrets: Mapping[str, str]) -> None:
        import pyrage

        if not self.identity.exists():
            if not self.identity.parent.exists():
                raise PreconditionMissing(
                    f"{self.identity.parent} is not there",
                    why=f"the key of the vault is kept in {self.identity}, or shall be",
                    fix="connect what it is on, or correct OCIFREE_AGE_IDENTITY",
                )
            replace_private(self.identity, (str(pyrage.x25519.Identity.generate()) + "\n").encode())
        sealed = pyrage.encrypt(json.dumps(dict(secrets), sort_keys=True).encode(), [self.key().to_public()])
        replace_private(self.file, sealed)


def vault_of(deployment: str, environ: Mapping[str, str] = os.environ) -> Vault:
    """Beside the history of the deployment; OCIFREE_AGE_IDENTITY names a key kept elsewhere."""
    folder = home_of(environ) / "vault"
    identity = environ.get("OCIFREE_AGE_IDENTITY")
    return Vault(folder / f"{deployment}.age", Path(identity) if identity else folder / "identity.txt")
