"""The tofu program on this machine, and one run of it."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ocifree_pipeline.deployment.errors import PreconditionMissing, Transient
from ocifree_pipeline.systems import child
from ocifree_pipeline.systems.child import Ended

OLDEST = (1, 8)
VERSION_SECONDS = 30
QUIET_SECONDS = 900.0
"""A run that says nothing for so long hangs. The provider itself retries for up to ten minutes."""
GRACE_SECONDS = 30.0
"""What an interrupted run gets to finish the call it is in and to write its state."""


@dataclass(frozen=True, slots=True)
class Program:
    """An OpenTofu that is new enough."""

    path: str
    version: tuple[int, int, int]


def find_program(environ: Mapping[str, str] = os.environ) -> Program:
    """$TOFU, else `tofu` on the PATH. Terraform will not do: it cannot encrypt its state."""
    named = environ.get("TOFU")
    path = shutil.which(named or "tofu", path=environ.get("PATH"))
    fix = "install OpenTofu 1.8 or newer (https://opentofu.org/docs/intro/install), name it in TOFU, or write "
    fix += "`foundation: {engine: native}`, which needs no program"
    if path is None:
        raise PreconditionMissing(
            f"{named} is not a program" if named else "tofu is not installed",
            why="the declaration says `foundation.engine: opentofu`",
            fix=fix,
        )
    said = child.version_of(path, environ, VERSION_SECONDS)
    match = re.match(r"OpenTofu v(\d+)\.(\d+)\.(\d+)", said)
    if match is None:
        raise PreconditionMissing(
            f"{path} is not OpenTofu: it calls itself {said or 'nothing'}",
            why="the state is encrypted by OpenTofu itself, and nothing else can",
            fix=fix,
        )
    version = int(match[1]), int(match[2]), int(match[3])
    if version[:2] < OLDEST:
        raise PreconditionMissing(
            f"{path} is OpenTofu {'.'.join(map(str, version))}",
            why=f"the module needs {'.'.join(map(str, OLDEST))} or newer",
            fix=fix,
        )
    return Program(path, version)


def run(
    command: Sequence[str],
    *,
    folder: Path,
    environ: Mapping[str, str],
    hear: Callable[[str], None],
    quiet_seconds: float = QUIET_SECONDS,
    grace_seconds: float = GRACE_SECONDS,
) -> Ended:
    """Run it to its end and pass on every line of its output. Transient if it falls silent.

    Whatever ends us (an interruption, an error in `hear`) ends it: first by an interrupt, on which it finishes the call
    it is in and writes its state, then by force.
    """
    heard_at = time.monotonic()

    def listening(line: str) -> None:
        nonlocal heard_at
        heard_at = time.monotonic()
        hear(line)

    def look() -> None:
        if time.monotonic() - heard_at > quiet_seconds:
            raise Transient(
                f"`{child.shown(command)}` said nothing for {quiet_seconds:.0f} s and was ended",
                why="it waits for something that does not come, or hangs",
                fix="materialize the asset again; what was made is found again by its tags",
            )

    return child.run(command, folder=folder, environ=environ, hear=listening, look=look, grace_seconds=grace_seconds)
