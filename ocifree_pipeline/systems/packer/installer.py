"""Debian's installer as a source: its disc with our answers on it, so that nobody has to type them into a machine."""

from __future__ import annotations

import subprocess
from pathlib import Path

from ocifree_pipeline.deployment.errors import NotVerified
from ocifree_pipeline.systems.images.disk import UnusableImage

WRITING_SECONDS = 600
_MARK_AT, _MARK = 32769, b"CD001"


def require_disc(path: Path) -> None:
    """UnusableImage unless the file is an ISO 9660 disc."""
    with path.open("rb") as file:
        file.seek(_MARK_AT)
        if file.read(len(_MARK)) != _MARK:
            raise UnusableImage(
                f"{path.name} is not the disc of an installer",
                why="it has no ISO 9660 file system",
                fix="name Debian's netinst image (.iso), or write `kind: image` for a qcow2",
            )


def with_answers(disc: Path, answers: Path, xorriso: str, target: Path) -> Path:
    """A copy of the disc with the files of `answers` in it; it starts as the disc does."""
    done = subprocess.run(  # noqa: S603
        [
            *(xorriso, "-abort_on", "SORRY", "-indev", str(disc), "-outdev", str(target)),
            *("-boot_image", "any", "replay", "-overwrite", "on"),
            *("-map", str(answers / "preseed.cfg"), "/preseed.cfg"),
            *("-map", str(answers / "grub.cfg"), "/boot/grub/grub.cfg"),
        ],
        capture_output=True,
        text=True,
        timeout=WRITING_SECONDS,
        check=False,
    )
    if done.returncode != 0 or not target.is_file():
        raise NotVerified(
            f"{disc.name} could not be given the answers for the installer",
            why=(done.stderr.strip().splitlines() or ["xorriso said nothing"])[-1][:300],
            fix="is it whole? compare its checksum; is there room on the disk?",
        )
    return target
