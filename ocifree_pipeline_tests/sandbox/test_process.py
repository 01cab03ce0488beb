"""The sandbox as a process: started, found, talked to, stopped, killed, and taken up again."""

import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import oci
import pytest
from oci.identity import models

from ocifree_pipeline.deployment.errors import OcifreeError
from ocifree_pipeline.sandbox import process
from ocifree_pipeline.sandbox.process import Options, Running


@pytest.fixture
def home(tmp_path: Path):
    """A directory whose sandbox, if one was left running, is ended."""
    directory = tmp_path / "sandbox"
    yield directory
    left = process.find(directory)
    if left is not None:
        left.stop()


@pytest.fixture(scope="module")
def alive(tmp_path_factory: pytest.TempPathFactory):
    """One that runs, to be looked at."""
    running = process.start(tmp_path_factory.mktemp("alive") / "sandbox")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of one that was stopped, to be copied."""
    directory = tmp_path_factory.mktemp("stopped") / "sandbox"
    process.start(directory).stop()
    return directory


def identity(running: Running) -> Any:
    config = oci.config.from_file(str(running.directory / "oci.config"))
    return oci.identity.IdentityClient(config, service_endpoint=running.endpoint)


def names(running: Running) -> set[str]:
    return {one.name for one in identity(running).list_compartments(tenancy(running)).data}


def tenancy(running: Running) -> str:
    return str(running.call("GET", "status")["tenancy"])


def make_compartment(running: Running, name: str) -> None:
    details = models.CreateCompartmentDetails(compartment_id=tenancy(running), name=name, description="d")
    identity(running).create_compartment(details)


def modes(directory: Path) -> set[str]:
    return {
        f"{file.name}: {stat.S_IMODE(file.stat().st_mode):o}"
        for file in directory.rglob("*")
        if file.is_file() and file.stat().st_mode & 0o077
    }


def test_a_sandbox_lives_on_its_own_and_is_found_again(home):
    assert process.find(home) is None
    running = process.start(home)
    assert process.find(home) == process.ensure_running(home) == running
    assert os.getsid(running.pid) == running.pid
    assert running.token not in repr(running)
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert modes(home) == set()
    make_compartment(running, "kept")
    running.stop()
    assert process.find(home) is None
    assert not (home / "ready.json").exists()
    with pytest.raises(ProcessLookupError):
        os.kill(running.pid, 0)


def test_what_was_there_is_there_again_after_a_stop(home):
    first = process.start(home, Options(profile={"account": "payg"}, seed=3, mode="manual"))
    before = tenancy(first)
    make_compartment(first, "kept")
    first.call("POST", "clock", {"advance": 86400})
    moment = first.call("GET", "clock")["now"]
    first.stop()
    second = process.start(home)
    assert (tenancy(second), names(second)) == (before, {"kept"})
    assert second.call("GET", "clock")["now"] == moment
    second.stop()
    with pytest.raises(OcifreeError, match="did not start") as refused:
        process.start(home, Options(seed=4))
    assert "--fresh" in refused.value.why
    third = process.start(home, Options(seed=4, fresh=True))
    assert names(third) == set()
    assert tenancy(third) != before


def test_a_killed_sandbox_leaves_nothing_that_misleads(home):
    first = process.start(home)
    os.kill(first.pid, signal.SIGKILL)
    os.waitpid(first.pid, 0)
    assert (home / "ready.json").exists()
    assert process.find(home) is None
    with pytest.raises(OcifreeError, match="does not answer"):
        first.call("GET", "status")
    first.stop()
    second = process.ensure_running(home)
    assert second.pid != first.pid
    assert second.call("GET", "status")["region"] == "uk-london-1"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_in_order(home, number):
    running = process.start(home)
    make_compartment(running, "kept")
    os.kill(running.pid, number)
    assert os.waitpid(running.pid, 0)[1] == 0
    assert names(process.start(home)) == {"kept"}


def test_nobody_asking_for_long_ends_it(home):
    ended = run_module(home, "--idle-hours=0")
    assert ended.returncode == 0
    assert "nobody asked anything" in ended.stderr
    assert process.find(home) is None


def run_module(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ocifree_pipeline.sandbox", f"--directory={home}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_one_directory_holds_one_sandbox(alive):
    second = run_module(alive.directory)
    assert second.returncode == 1
    assert "a sandbox runs in" in second.stderr
    assert "ocifree sandbox down" in second.stderr
    assert process.find(alive.directory) == alive


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda home: (home / "world.json").write_text("{"), "--fresh"),
        (lambda home: (home / "world.json").write_text('{"format": 99}'), "format 99"),
        (lambda home: (home / "owner.pem").write_text("no key"), "owner.pem"),
    ],
)
def test_a_directory_that_cannot_be_used_is_named(home, stopped, spoil, says):
    shutil.copytree(stopped, home)
    spoil(home)
    with pytest.raises(OcifreeError, match="did not start"):
        process.start(home)
    assert says in (home / "sandbox.log").read_text()


def test_wrong_options_are_refused_with_their_reason(home):
    with pytest.raises(OcifreeError) as refused:
        process.start(home, Options(profile={"colour": "red"}))
    assert "a profile has no colour" in refused.value.why


def test_no_secret_is_in_the_log_or_on_the_command_line(alive):
    names(alive)
    command = subprocess.run(["ps", "-o", "args=", "-p", str(alive.pid)], capture_output=True, text=True, check=True)
    for text in ((alive.directory / "sandbox.log").read_text(), command.stdout):
        assert alive.token not in text
        assert "PRIVATE KEY" not in text


def test_only_loopback_is_listened_on(alive):
    import psutil

    listening = [one.laddr for one in psutil.Process(alive.pid).net_connections() if one.status == "LISTEN"]
    assert {address.ip for address in listening} == {"127.0.0.1"}
    assert {address.port for address in listening} == {alive.plain_port, alive.proxy_port}


def test_starting_loads_no_sdk(home):
    """What keeps the start below a second; the models are loaded when the first body needs them."""
    heavy = {"oci", "asyncssh", "paramiko", "kubernetes", "grpc", "grpclib", "dagster", "requests", "typer"}
    code = (
        "import sys; from ocifree_pipeline.sandbox import __main__\n"
        "from ocifree_pipeline.sandbox.oracle.wire import load_services; load_services(); print(*sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert not heavy & set(ran.stdout.split())
