"""The history in a real PostgreSQL, as docs/outgrown.md writes it: what commands and sensors read is the same."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from ocifree_pipeline.deployment.examples import example_path

ROOT = Path(__file__).parents[2]
PROGRAMS = ("initdb", "postgres")
pytestmark = [pytest.mark.real("PostgreSQL"), pytest.mark.timeout(600)]
PASSWORD = "only-in-this-test"


def missing() -> str:
    folders = os.pathsep.join([os.environ.get("PATH", ""), *map(str, Path("/usr/lib/postgresql").glob("*/bin"))])
    lost = [name for name in PROGRAMS if not shutil.which(name, path=folders)]
    lost += [] if importlib.util.find_spec("dagster_postgres") else ["the package dagster-postgres"]
    return ", ".join(lost)


def program(name: str) -> str:
    found = [str(path / name) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    return next((one for one in found if Path(one).exists()), shutil.which(name) or name)


def as_postgres() -> list[str]:
    """PostgreSQL refuses to be run by root."""
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    if missing():
        pytest.skip(f"not found: {missing()}")
    folder = Path("/tmp") / f"ocifree-postgres-{os.getpid()}"  # a path of its own: the user postgres enters no other
    folder.mkdir(mode=0o755)
    try:
        (folder / "password").write_text(PASSWORD)
        (folder / "password").chmod(0o644)
        if as_postgres():
            shutil.chown(folder, "postgres", "postgres")
        subprocess.run(
            [*as_postgres(), program("initdb"), "-D", str(folder / "data"), "-U", "dagster", "-A", "scram-sha-256",
             "--pwfile", str(folder / "password"), "--no-sync"],
            check=True, capture_output=True, cwd=folder,
        )  # fmt: skip
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(
                [*as_postgres(), program("postgres"), "-D", str(folder / "data"), "-p", str(port), "-h", "127.0.0.1",
                 "-k", str(folder), "-F"],
                cwd=folder, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        try:
            _wait_until_ready(folder / "log", process)
            yield port
        finally:
            process.terminate()
            process.wait(timeout=20)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait_until_ready(log: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while "ready to accept connections" not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


@pytest.fixture
def home(database: int, tmp_path: Path) -> Path:
    """A history whose settings are the shipped ones with the storage of the page."""
    page = (ROOT / "docs" / "outgrown.md").read_text("utf-8")
    block = re.search(r"```yaml\n(storage:.*?)```", page, re.DOTALL)
    assert block
    shown = yaml.safe_load(block[1])
    shown["storage"]["postgres"]["postgres_db"] |= {"hostname": "127.0.0.1", "port": database, "db_name": "postgres"}
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    settings = yaml.safe_load((ROOT / "dagster.yaml").read_text("utf-8")) | shown
    (home / "dagster.yaml").write_text(yaml.safe_dump(settings))
    return home


def run(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=home.parent, capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "DAGSTER_HOME": str(home), "DAGSTER_PG_PASSWORD": PASSWORD, "HOME": str(home.parent),
             "OCIFREE_DEPLOYMENT": str(example_path("talos-native"))},
    )  # fmt: skip


def test_commands_read_and_write_the_history_there(home: Path) -> None:
    up = run(home, "ocifree_pipeline.cli.app", "up", "--yes", "--select", "talos/secrets", "--json")
    assert up.returncode == 0, up.stdout + up.stderr
    told = run(home, "ocifree_pipeline.cli.app", "status", "--json")
    assert told.returncode == 0, told.stderr
    states = {row["key"]: row["state"] for row in json.loads(told.stdout)}
    assert states["talos/secrets"] == "made"
    logs = run(home, "ocifree_pipeline.cli.app", "logs", "talos/secrets", "--json")
    assert json.loads(logs.stdout)["lines"]
    assert not list(home.rglob("*.db")), "nothing of it is kept in files"


def test_sensors_and_the_record_work_there(home: Path) -> None:
    script = """
import time
import dagster as dg
from ocifree_pipeline.automation.notify import failures_tick, news_tick
from ocifree_pipeline.automation.orphans import find_orphans
from ocifree_pipeline.definitions import defs
from ocifree_pipeline.deployment.blueprint import find_blueprint
from ocifree_pipeline.record.definition import as_failure
from ocifree_pipeline.deployment.errors import Refused
from ocifree_pipeline.systems.notify.sending import Told
import dataclasses
blueprint = find_blueprint()
blueprint = dataclasses.replace(blueprint, declaration=blueprint.declaration.model_copy(update={"notify": ("syslog://",)}))
heard = []
def send(names, message, event):
    heard.append(message.title)
    return tuple(Told(name) for name in names)
@dg.asset(key=["oci", "network"])
def network():
    raise as_failure(Refused("Oracle said no", why="x", fix="y"), "z")
with dg.DagsterInstance.get() as instance:
    assert "postgres" in type(instance.event_log_storage).__name__.lower()
    def tick(which, cursor):
        context = dg.build_sensor_context(instance=instance, cursor=cursor, definitions=defs)
        return which(blueprint, context, now=time.time(), send=send).cursor
    cursor = tick(failures_tick, None)
    dg.materialize([network], instance=instance, raise_on_error=False)
    tick(failures_tick, cursor)
    tick(news_tick, tick(news_tick, None))
    assert find_orphans(instance) == []
print(heard)
"""
    migrated = run(home, "dagster", "instance", "migrate")
    assert migrated.returncode == 0, migrated.stderr
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], cwd=home.parent, capture_output=True, text=True, timeout=120,
        check=False,
        env={**os.environ, "DAGSTER_HOME": str(home), "DAGSTER_PG_PASSWORD": PASSWORD,
             "OCIFREE_DEPLOYMENT": str(example_path("talos-native"))},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "oci/network failed" in done.stdout.splitlines()[-1]
