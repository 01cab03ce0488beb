"""Where a deployment keeps its history: DAGSTER_HOME, made once, migrated once, private."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

from ocifree_pipeline.deployment.errors import PreconditionMissing


def home() -> Path:
    """DAGSTER_HOME if set, else `.ocifree/dagster` in the working directory."""
    return Path(os.environ.get("DAGSTER_HOME") or ".ocifree/dagster").resolve()


def ensure_home() -> Path:
    """The home, ready for use, and exported for everything this process starts.

    The migration runs before anybody else can open the storage: four commands on an empty home at once have been
    seen to leave it with two schema heads, for good.
    """
    where = home()
    where.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.environ["DAGSTER_HOME"] = str(where)
    os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "1")
    with (where / ".setup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (where / "dagster.yaml").exists():
            shutil.copyfile(instance_settings(), where / "dagster.yaml")
        if not (where / ".migrated").exists():
            _migrate()
            (where / ".migrated").touch()
    return where


def instance_settings() -> Path:
    """The shipped dagster.yaml: inside the package when installed, beside it in a checkout."""
    package = Path(str(files("ocifree_pipeline")))
    for candidate in (package / "dagster.yaml", package.parent / "dagster.yaml"):
        if candidate.exists():
            return candidate
    raise PreconditionMissing(
        "dagster.yaml is missing from this installation",
        why=f"neither {package} nor the folder above it holds it",
        fix="install ocifree-pipeline again",
    )


def _migrate() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dagster", "instance", "migrate"], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise PreconditionMissing(
            "Dagster could not set up its storage",
            why=(done.stderr or done.stdout).strip().splitlines()[-1:][0] if (done.stderr or done.stdout) else "?",
            fix=f"look at {home()}; if it holds nothing you need, remove it and try again",
        )
