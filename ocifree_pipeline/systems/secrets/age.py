"""An age key, as `age-keygen` or we have written it: comments may stand above it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ocifree_pipeline.deployment.errors import Refused

if TYPE_CHECKING:
    from pyrage import x25519


def key_in(text: str, where: str | Path) -> x25519.Identity:
    """The one key in this text; Refused, without a word of the text, if it is none."""
    import pyrage

    lines = (line.strip() for line in text.splitlines())
    try:
        return pyrage.x25519.Identity.from_str("".join(line for line in lines if line and not line.startswith("#")))
    except pyrage.IdentityError as error:
        raise Refused(
            f"{where} holds no age key",
            why="it has to be one key as `age-keygen` writes it",
            fix="put your backup of it back, or correct OCIFREE_AGE_IDENTITY",
        ) from error
