"""A run whose process is gone is found, whatever became of its process id; a living one is never touched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocifree_pipeline.automation.orphans import (
    CLOCK_SLACK_SECONDS,
    START_GRACE_SECONDS,
    TIMES,
    Worker,
    find_orphans,
    in_flight,
    judge,
    living,
    release,
    release_orphans,
    taken_up_again,
)

NOW = 1_000_000.0
BOOT = NOW - 50_000


@pytest.mark.parametrize(
    ("worker", "created", "started", "expected"),
    [
        (Worker(7, NOW - 60), NOW - 61, NOW - 62, None),
        (Worker(7, NOW - 60), NOW - 61, None, "does not exist any more"),
        (Worker(7, NOW - 60), NOW - 61, NOW - 10, "belongs to a younger process"),
        (Worker(7, BOOT - 60), BOOT - 61, BOOT + 5, "ended when the machine was booted"),
        (None, NOW - 10, None, None),
        (None, NOW - START_GRACE_SECONDS - 1, None, "within 10 minutes"),
        (None, BOOT - 1, None, "booted after the run was created"),
    ],
)
def test_verdicts(worker: Worker | None, created: float, started: float | None, expected: str | None) -> None:
    reason = judge(worker, created, NOW, BOOT, lambda pid: started)
    assert reason is None if expected is None else expected in (reason or "")


@given(said=st.floats(BOOT, NOW), started=st.none() | st.floats(BOOT, NOW))
def test_a_run_lives_exactly_while_the_process_that_spoke_lives(said: float, started: float | None) -> None:
    alive = started is not None and started <= said + CLOCK_SLACK_SECONDS
    assert (judge(Worker(1, said), said, NOW, BOOT, lambda pid: started) is None) == alive


def test_a_clock_that_is_set_on_while_it_runs_takes_no_run_for_dead() -> None:
    """A virtual machine that slept, a computer that learns the time late: booting and starting seem to move with it."""
    hours = 7200.0
    worker, booted, started = Worker(7, NOW - 60), BOOT + hours, NOW - 62 + hours
    assert "younger process" in (judge(worker, NOW - 61, NOW + hours, booted, lambda pid: started) or "")
    assert judge(worker, NOW - 61, NOW + hours, booted, lambda pid: started, set_on=hours) is None
    assert judge(worker, NOW - 61, NOW + hours, booted, lambda pid: None, set_on=hours) is not None


DEFINITIONS = """
import os, time
import dagster as dg

@dg.asset(pool="scarce")
def claim(context) -> None:
    open(os.environ["MARK"], "w").close()
    while os.environ.get("HANG"):
        time.sleep(0.1)

defs = dg.Definitions(assets=[claim])
"""


@pytest.fixture
def work(tmp_path: Path, dagster_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "claims.py").write_text(textwrap.dedent(DEFINITIONS))
    monkeypatch.setenv("MARK", str(tmp_path / "mark"))
    return tmp_path


def materialize(work: Path, **environ: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "dagster", "asset", "materialize", "-f", str(work / "claims.py")]
    return subprocess.Popen(
        [*command, "--select", "claim"],
        env={**os.environ, **environ},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd=work,
    )


def wait_for(condition: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while not condition.exists():
        assert process.poll() is None, "the run ended before it began"
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.long
def test_everything_is_killed_mid_run_and_work_goes_on(work: Path) -> None:
    killed = materialize(work, HANG="1")
    wait_for(work / "mark", killed)
    with dg.DagsterInstance.get() as instance:
        assert find_orphans(instance) == [], "a living run is left alone"
        os.killpg(killed.pid, signal.SIGKILL)
        killed.wait()
        run = instance.get_runs()[0]
        assert run.status is dg.DagsterRunStatus.STARTED, "nobody noticed, as after a power cut"
        slots = instance.event_log_storage.get_concurrency_info("scarce")
        assert slots.claimed_slots, "and the dead run still holds the pool"

        orphans = find_orphans(instance)
        assert [orphan.run.run_id for orphan in orphans] == [run.run_id]
        release(instance, orphans[0])

        assert find_orphans(instance) == []
        released = instance.get_run_by_id(run.run_id)
        assert released is not None
        assert released.status is dg.DagsterRunStatus.FAILURE
        assert not instance.event_log_storage.get_concurrency_info("scarce").claimed_slots
        assert materialize(work).wait(timeout=90) == 0
        assert instance.get_latest_materialization_event(dg.AssetKey("claim")) is not None


def test_the_sensor_says_what_it_did() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance=instance)
        tick = release_orphans.evaluate_tick(context)
        assert not tick.run_requests
        assert tick.skip_message == "every unfinished run has a living process"


def test_what_died_is_taken_up_again_and_not_for_ever() -> None:
    """Only assets: nobody but a person repeats a job whose name a person has typed."""
    keys = {dg.AssetKey(["talos", "cluster"]), dg.AssetKey(["machines", "bastion"])}
    run = dg.DagsterRun(job_name="__ASSET_JOB", run_id="0a", asset_selection=frozenset(keys))
    for times in range(3):
        request = taken_up_again(run)
        assert request is not None
        assert set(request.asset_selection or ()) == keys
        assert request.tags[TIMES] == str(times + 1)
        run = dg.DagsterRun(job_name="x", run_id=f"{times}b", asset_selection=frozenset(keys), tags=request.tags)
    assert taken_up_again(run) is None
    assert taken_up_again(dg.DagsterRun(job_name="destroy", run_id="1c")) is None


def test_the_sensor_asks_again_for_what_it_released(dagster_home: Path) -> None:
    """Once no other run works on it, once in all, and never for what a person has destroyed since."""

    @dg.asset
    def claim() -> None: ...

    job = dg.define_asset_job("one", selection=[claim])
    defs = dg.Definitions(assets=[claim], jobs=[job], sensors=[release_orphans])
    keys = frozenset({dg.AssetKey("claim")})
    with dg.DagsterInstance.get() as instance:
        context = dg.build_sensor_context(instance=instance, definitions=defs, sensor_name="release_orphans")

        def run_of(pid: int, **more: Any) -> dg.DagsterRun:
            run = instance.create_run_for_job(
                defs.resolve_job_def("one"), status=dg.DagsterRunStatus.STARTED, asset_selection=keys, **more
            )
            instance.report_engine_event(f"Started process for run (pid: {pid}).", run)
            return run

        def requests() -> list[dg.RunRequest]:
            return list(release_orphans.evaluate_tick(context).run_requests or ())

        alive, dead = run_of(os.getpid()), run_of(999999999)
        assert requests() == [], "another run is making it"
        released = instance.get_run_by_id(dead.run_id)
        assert released is not None
        assert released.is_finished, "its place in the queue is free"
        instance.report_run_failed(alive)
        assert living(instance, ["claim"]) is None
        assert in_flight(instance, ["claim"]) == instance.get_run_by_id(dead.run_id), "no other sensor is faster"
        (request,) = requests()
        assert request.asset_selection == [dg.AssetKey("claim")]
        assert requests() == [request], "a tick that died is made up for; Dagster takes one key once"
        again = run_of(os.getpid(), tags={"dagster/run_key": str(request.run_key)})
        instance.report_run_failed(again)
        assert requests() == []
        assert in_flight(instance, ["claim"]) is None
        run_of(999999998)
        instance.create_run_for_job(dg.GraphDefinition(name="destroy").to_job(), status=dg.DagsterRunStatus.SUCCESS)
        assert requests() == []
