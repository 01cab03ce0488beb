"""The unmodified OCI CLI, in an environment of its own, and tables of commands as a user types them."""

import fcntl
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Template

import pytest

RELEASE = "3.95.1"
MINUTES = 10


@dataclass(frozen=True, slots=True)
class Step:
    """One command, and what it must do.

    ``$name`` in a command stands for what an earlier step kept. ``keep`` names the output of this one, ``says`` is a
    pattern that it must match from beginning to end, and ``refused`` the status, the code and a pattern of the
    message with which the service must refuse it. (A HEAD is refused without a body, so without a code.)
    """

    command: str
    says: str | None = None
    keep: str | None = None
    refused: tuple[int, str | None, str] | None = None


@cache
def installed() -> Path:
    """The ``oci`` program. Made once per machine, outside the repository; the test is skipped when it cannot be."""
    cache_home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    place = cache_home / "ocifree" / f"oci-cli-{RELEASE}"
    program, complete = place / "bin" / "oci", place / "complete"
    place.parent.mkdir(parents=True, exist_ok=True)
    with (place.parent / "oci-cli.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            shutil.rmtree(place, ignore_errors=True)
            for command in _recipe(place):
                _run_or_skip(command)
            complete.touch()
    return program


def _recipe(place: Path) -> list[list[str]]:
    wanted = f"oci-cli=={RELEASE}"
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if uv:
        return [
            [uv, "venv", "--quiet", "--python", sys.executable, str(place)],
            [uv, "pip", "install", "--quiet", "--python", str(place / "bin" / "python"), wanted],
        ]
    return [
        [sys.executable, "-m", "venv", str(place)],
        [str(place / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", wanted],
    ]


def _run_or_skip(command: list[str]) -> None:
    try:
        subprocess.run(command, capture_output=True, text=True, timeout=MINUTES * 60, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        reason = getattr(error, "stderr", None) or str(error)
        pytest.skip(f"oci-cli {RELEASE} cannot be installed: {str(reason).strip().splitlines()[-1]}")


class Story:
    """Runs steps one after the other; each may use what earlier ones kept."""

    def __init__(self, environment: dict[str, str], folder: Path, **kept: str) -> None:
        self._program = installed()
        basic = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        self._environment = basic | {"HOME": str(folder), "COLUMNS": "200"} | environment
        self.folder = folder
        self.kept = dict(kept)
        self.count = 0

    def tell(self, *steps: Step) -> None:
        for step in steps:
            self._do(step)

    def _do(self, step: Step) -> None:
        words = shlex.split(Template(step.command).substitute(self.kept))
        ran = subprocess.run(
            [str(self._program), *words],
            env=self._environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        self.count += 1
        about = f"oci {step.command}\n--- stdout\n{ran.stdout}\n--- stderr\n{ran.stderr}"
        if step.refused is not None:
            assert ran.returncode != 0, about
            _, _, report = ran.stderr.partition("ServiceError:")
            assert report, about
            error = json.loads(report)
            status, code, message = step.refused
            assert (error["status"], error["code"]) == (status, code), about
            assert re.search(message, error["message"]), about
            return
        assert ran.returncode == 0, about
        output = ran.stdout.strip()
        if step.says is not None:
            assert re.fullmatch(step.says, output, re.DOTALL), f"wanted {step.says}\n{about}"
        if step.keep is not None:
            assert output, about
            self.kept[step.keep] = output
