"""ocifree capacity, as a person or a script runs it, against a sandbox."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from ocifree_pipeline.cli import capacity as command
from ocifree_pipeline.cli.app import app
from ocifree_pipeline.deployment.examples import example
from ocifree_pipeline.sandbox import capacity
from ocifree_pipeline.sandbox.faults import Rule
from ocifree_pipeline.sandbox.profiles import Profile
from ocifree_pipeline_tests.sandbox.harness import RunningSandbox, running


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    with running(tmp_path_factory.mktemp("capacity"), profile=Profile(account="payg", micro_ad=2)) as found:
        yield found


@pytest.fixture
def declared(
    sandbox: RunningSandbox, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    folder = tmp_path_factory.mktemp("d")
    config = folder / "oci.cfg"
    config.write_text("[DEFAULT]\n" + "".join(f"{key}={value}\n" for key, value in sandbox.config.items()))
    data = yaml.safe_load(example("talos-native"))
    data["site"]["credentials"] = {"config_file": str(config)}
    file = folder / "deployment.yaml"
    file.write_text(yaml.safe_dump(data))
    assert sandbox.sandbox.home is not None
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{sandbox.sandbox.proxy_port}")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(sandbox.sandbox.home.ca_file))
    sandbox.faults.clear()
    sandbox.recorder.clear()
    return file


def scarce(sandbox: RunningSandbox, *windows: dict[str, Any]) -> None:
    sandbox.inside(lambda world: capacity.configure(world, {"process": "trace", "windows": list(windows)}))


def run(file: Path, *words: str) -> Any:
    return CliRunner().invoke(app, ["capacity", "-d", str(file), *words])


def test_available_is_exit_0(sandbox: RunningSandbox, declared: Path) -> None:
    scarce(sandbox, {"ad": "*AD-3", "ocpus": 4})
    done = run(declared)
    assert done.exit_code == 0, done.output
    assert "A1 is available: `ocifree up` takes it" in done.output
    assert [line.split()[2][-4:] for line in done.output.splitlines() if " A1 " in line][:3] == ["AD-1", "AD-2", "AD-3"]
    assert [line for line in done.output.splitlines() if "Micro" in line and "AD-2" in line]


def test_not_available_is_exit_1_and_says_what_waits(sandbox: RunningSandbox, declared: Path) -> None:
    scarce(sandbox)
    done = run(declared, "--json")
    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert told["a1"]["available"] is False
    assert told["micro"]["available"] is True
    assert told["at"].endswith("+00:00")
    assert [one["capacity"] for one in told["a1"]["domains"]] == ["unavailable"] * 3
    assert "its hunt waits" in told["say"]
    assert sandbox.recorder.count(operation="LaunchInstance") == 0


@pytest.mark.parametrize(
    ("status", "code", "todo"),
    [
        (401, "NotAuthenticated", "ocifree doctor"),
        (404, "NotAuthorizedOrNotFound", "manage compute-capacity-reports"),
        (429, "TooManyRequests", "wait some minutes"),
        (500, "InternalError", "try again in a minute"),
    ],
)
def test_what_could_not_be_told_is_exit_1_and_says_what_to_do(
    sandbox: RunningSandbox, declared: Path, status: int, code: str, todo: str
) -> None:
    scarce(sandbox)
    sandbox.faults.add(Rule(operation="CreateComputeCapacityReport", status=status, code=code, message="m", times=None))
    done = run(declared, "--json")
    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert told["a1"]["available"] is None
    assert "could not be told" in told["say"]
    assert todo in told["say"]


def test_watching_asks_at_the_interval_of_the_policy_and_ends_when_it_is_there(
    sandbox: RunningSandbox, declared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scarce(sandbox)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            scarce(sandbox, {"ocpus": 4})

    monkeypatch.setattr(command.time, "sleep", sleep)
    done = run(declared, "--watch")
    assert done.exit_code == 0, done.output
    assert slept == [900, 900]
    assert done.output.count("its hunt waits") == 2


def test_resume_is_read_by_the_next_tick(declared: Path, dagster_home: Path) -> None:
    import dagster as dg

    from ocifree_pipeline.record.machines import CAPACITY, news_of

    run(declared, "--resume")
    with dg.DagsterInstance.get() as instance:
        assert news_of(instance, [CAPACITY]).resumed
        assert news_of(instance, ["machines/bastion"]).resumed


def test_without_credentials_the_error_names_the_file(declared: Path) -> None:
    (declared.parent / "oci.cfg").unlink()
    done = run(declared)
    assert done.exit_code == 1
    assert "oci.cfg does not exist" in done.output


def test_a_network_that_swallows_everything_is_told_in_time(
    sandbox: RunningSandbox, declared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "ASK_SECONDS", 0.1)
    sandbox.faults.add(Rule(operation="ListAvailabilityDomains", moment="slow", delay=0.5, times=None))
    done = run(declared)
    for thread in threading.enumerate():
        if thread.name == command.ASKING:  # cut off, it would ask again: the sandbox of whatever test is next
            thread.join(timeout=30)
            assert not thread.is_alive()
    assert done.exit_code == 1
    assert "did not answer within 0.1 s" in done.output
    assert "ocifree doctor" in done.output
