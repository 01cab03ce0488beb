"""One run of Packer, and what earlier runs left behind."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ocifree_pipeline.deployment.errors import Refused
from ocifree_pipeline.systems import child
from ocifree_pipeline.systems.child import Ended

GRACE_SECONDS = 60.0
"""What an interrupted Packer gets to end its machine and to delete what it had begun."""

_OURS = ("packer", "qemu-")


def run(
    command: Sequence[str],
    *,
    folder: Path,
    environ: Mapping[str, str],
    hear: Callable[[str], None],
    most_seconds: float,
    grace_seconds: float = GRACE_SECONDS,
) -> Ended:
    """Run it to its end and pass on every line of its output. Refused if it takes too long.

    Whatever ends us (an interruption, an error in `hear`) ends all of it: first by an interrupt, on which Packer ends
    its machine and tidies up, then by force.
    """
    until = time.monotonic() + most_seconds

    def look() -> None:
        if time.monotonic() > until:
            raise Refused(
                f"`{child.shown(command)}` was not done after {most_seconds / 60:.0f} min and was ended",
                why="the machine that it builds hangs, or this computer is too slow for it",
                fix="read the logs that are kept of the build; a computer with KVM needs minutes, not hours",
            )

    return child.run(command, folder=folder, environ=environ, hear=hear, look=look, grace_seconds=grace_seconds)


def end_leftovers(work: Path) -> int:
    """Ends what a run that was killed has left working in this folder: Packer, or a QEMU that nobody watches.

    The folder belongs to one build and its lock is ours, so either of them that has it in its arguments is a leftover.
    """
    import psutil

    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            arguments = process.cmdline()
            program = any(Path(one).name.startswith(_OURS) for one in arguments[:4])
            if program and any(str(work) in one for one in arguments):
                process.terminate()
                found.append(process)
    _, alive = psutil.wait_procs(found, timeout=5)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=5)
    return len(found)
