"""Programs of others, and children of ours that end with the test."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest


def program(name: str) -> str:
    """Where it is; the test is skipped with the reason where it is not."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not on the PATH (`make tools` builds it)")
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


@contextmanager
def running(*words: str, log: Path, environ: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """It runs until the block ends; what it says goes to `log`."""
    with log.open("wb") as file, subprocess.Popen(words, stdout=file, stderr=file, env=environ) as child:
        try:
            yield child
        finally:
            child.terminate()
            try:
                child.wait(timeout=20)
            except subprocess.TimeoutExpired:
                child.kill()


def until(answers: Callable[[], bool], child: subprocess.Popen[bytes], log: Path, seconds: float = 120) -> None:
    """Wait until it does; a child that ends before is a failure with its last words."""
    deadline = time.monotonic() + seconds
    while not answers():
        ended = child.poll()
        assert ended is None and time.monotonic() < deadline, f"exit {ended}: {log.read_text()[-2000:]}"  # noqa: PT018
        time.sleep(0.2)
