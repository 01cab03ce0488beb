"""Where a deployment keeps its history: DAGSTER_HOME, made once, migrated once, private."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, redirect_stderr, redirect_stdout, suppress
from importlib.resources import files
from io import StringIO
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
    import dagster as dg

    said = StringIO()
    try:
        with redirect_stdout(said), redirect_stderr(said), dg.DagsterInstance.get() as instance:
            instance.upgrade()
    except Exception as error:
        raise PreconditionMissing(
            "Dagster could not set up its storage",
            why=(str(error).strip() or type(error).__name__).splitlines()[-1],
            fix=f"look at {home()}; if it holds nothing you need, remove it and try again",
        ) from error


@contextmanager
def kept_open(where: Path, *databases: str) -> Iterator[None]:
    """Hold what a run writes to open while it lasts.

    Dagster opens SQLite for each event, and whoever closes a database last writes all of it back to the disk: an event
    took twice as long.
    """
    files = [where / "history" / f"{name}.db" for name in databases]
    with ExitStack() as held:
        with suppress(sqlite3.Error):  # only slower then
            for file in filter(Path.exists, files):  # none of them where PostgreSQL keeps the history
                database = held.enter_context(closing(sqlite3.connect(file)))
                database.execute("PRAGMA user_version").fetchone()  # it is opened when something is read
        yield
