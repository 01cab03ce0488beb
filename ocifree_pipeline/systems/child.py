"""A program run as a child in a process group of its own, which never outlives us, heard line by line."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ocifree_pipeline.deployment.errors import PreconditionMissing

_LOOK_AGAIN_SECONDS = 0.2
_LAST_WORDS = 30
_LAST_WORDS_SECONDS = 10.0
"""What a busy computer gets to hand over what was said, once the program has ended."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended, and the last it said on its error output."""

    code: int
    last_words: tuple[str, ...]


def run(
    command: Sequence[str],
    *,
    folder: Path,
    environ: Mapping[str, str],
    hear: Callable[[str], None],
    look: Callable[[], None],
    grace_seconds: float,
) -> Ended:
    """Run it to its end and pass on every line of its output.

    `look` is called several times a second and may raise, as `hear` may. Whatever ends us ends all of the group: first
    by an interrupt, on which the program finishes what it is in and tidies up, then by force.
    """
    heard: queue.Queue[str | None] = queue.Queue()
    last_words: list[str] = []
    ended_at: float | None = None
    with _group(command, folder, environ, grace_seconds) as process:
        _listen(process.stdout, heard.put, lambda: heard.put(None))
        told = _listen(process.stderr, last_words.append, lambda: None)
        while True:
            try:
                line = heard.get(timeout=_LOOK_AGAIN_SECONDS)
            except queue.Empty:
                if process.poll() is None:
                    look()
                elif ended_at is None:
                    # What it said may still be on its way to us; what it left behind must not hold its output open.
                    ended_at = time.monotonic()
                    _signal(process, signal.SIGKILL)
                elif time.monotonic() - ended_at > _LAST_WORDS_SECONDS:
                    break
                continue
            if line is None:
                break
            hear(line)
            look()
        code = process.wait()
        _signal(process, signal.SIGKILL)
        told.join(_LAST_WORDS_SECONDS)
    return Ended(code, tuple(last_words[-_LAST_WORDS:]))


def shown(command: Sequence[str]) -> str:
    """The program and its verb; arguments may be long, and are nobody's business."""
    return " ".join([Path(command[0]).name, *command[1:2]])


def version_of(path: str, environ: Mapping[str, str], seconds: float) -> str:
    """What a program of HashiCorp's family calls itself; it is kept from asking the network for a newer one."""
    try:
        done = subprocess.run(  # noqa: S603
            [path, "version"],
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            stdin=subprocess.DEVNULL,
            env={**environ, "CHECKPOINT_DISABLE": "1"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PreconditionMissing(
            f"{path} does not run", why=str(error).splitlines()[0], fix=f"try it by hand: {path} version"
        ) from error
    lines = [line.strip() for line in done.stdout.splitlines()]
    # Above it may stand a warning, such as of a configuration that is not where it should be.
    return next((line for line in lines if re.search(r" v\d+\.\d", line)), next(iter(lines), ""))


@contextmanager
def _group(
    command: Sequence[str], folder: Path, environ: Mapping[str, str], grace_seconds: float
) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(  # noqa: S603
        command,
        cwd=folder,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    try:
        yield process
    finally:
        try:
            if process.poll() is None:
                _signal(process, signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(grace_seconds)
        finally:
            _signal(process, signal.SIGKILL)  # what it started too, whatever became of it
            process.wait()


def _signal(process: subprocess.Popen[str], which: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, which)


def _listen(stream: IO[str] | None, each: Callable[[str], None], at_the_end: Callable[[], None]) -> threading.Thread:
    def listen() -> None:
        if stream is not None:
            with stream:
                for line in stream:
                    each(line.rstrip("\n"))
        at_the_end()

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    return thread
