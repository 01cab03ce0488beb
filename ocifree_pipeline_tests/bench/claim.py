"""From "there is room" to LaunchInstance, over seeded traces of capacity, and what it costs in calls.

    python -m ocifree_pipeline_tests.bench.claim

The sensor, the asset and the SDK are the real ones; the hours between two questions are virtual, the path from the
answer to the launch is measured. Beside it stand a bare call of the SDK, and a run in a process of its own.
"""

from __future__ import annotations

import contextlib
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import psutil
import pytest
import yaml

from ocifree_pipeline.cli.home import ensure_home
from ocifree_pipeline.sandbox import capacity
from ocifree_pipeline.sandbox.recorder import Entry, Recorder
from ocifree_pipeline_tests.assets.conftest import Deployment, Ground, ground
from ocifree_pipeline_tests.bench.report import Line

TRACES = 20
RUNS = 3
MOST_SECONDS = 120
MACHINE = "machines/ampere_1"
STEP_HOURS = 0.25
MOST_HOURS = 24 * 30
REPORT, LAUNCH = "CreateComputeCapacityReport", "LaunchInstance"


@dataclass
class Heard:
    """When the sandbox answered which operation, in real seconds."""

    at: dict[str, list[float]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)

    def count(self, operation: str) -> int:
        return self.calls.count(operation)


@dataclass(frozen=True, slots=True)
class Claim:
    seconds: float
    reports: int
    launches: int
    between: int
    """Calls between the answer and the launch."""
    ticks: tuple[float, ...]
    """What the sensor took each time, in seconds."""


@contextmanager
def hearing() -> Iterator[Heard]:
    heard, add = Heard(), Recorder.add

    def listening(self: Recorder, entry: Entry) -> None:
        heard.at.setdefault(entry.operation, []).append(time.perf_counter())
        heard.calls.append(entry.operation)
        add(self, entry)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recorder, "add", listening)
        yield heard


def measure() -> list[Line]:
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder, ground(Path(folder), topology="proxmox-ceph") as standing:
        claims = [one for seed in range(TRACES) if (one := _claim(standing, Path(folder) / f"trace-{seed}", seed))]
        bare = [_bare(standing, Path(folder) / f"bare-{number}") for number in range(5)]
        apart = [_apart(standing, Path(folder) / f"run-{number}") for number in range(RUNS)]
    seconds = sorted(one.seconds for one in claims)
    middle, late = statistics.median(seconds), seconds[int(len(seconds) * 0.95)]
    call, ticks = statistics.median(bare), [seconds for one in claims for seconds in one.ticks]
    return [
        Line(f"claim: capacity seen -> LaunchInstance, p50 of {len(claims)} traces", round(middle, 3), "s",
             "a bare SDK call", round(call, 3), ""),
        Line("claim: the same, p95", round(late, 3), "s", "a bare SDK call", round(call, 3), ""),
        Line("claim: `ocifree up` in a process of its own -> LaunchInstance", round(statistics.median(apart), 3), "s",
             "the same in process, p50", round(middle, 3), ""),
        Line("claim: a tick of the sensor", round(statistics.median(ticks), 3), "s", "a bare SDK call", round(call, 3),
             "<= 60 s, or Dagster ends it"),
        Line("claim: calls from the answer to the launch", statistics.mean(one.between for one in claims), "calls",
             "the launch itself", 1, ""),
        Line("claim: capacity reports for each machine had", round(statistics.mean(one.reports for one in claims), 1),
             "calls", "days of hunting", None, "<= 400 a day"),
        Line("claim: launches for each machine had", round(statistics.mean(one.launches for one in claims), 2),
             "calls", "the one that won", 1, ""),
    ]  # fmt: skip


def _claim(standing: Ground, home: Path, seed: int) -> Claim | None:
    """One hunt, until the sensor asks for a run; then that run's first machine, in this process."""
    with pytest.MonkeyPatch.context() as patch, standing.again(home, patch) as here, hearing() as heard:
        scarcity = {"process": "bursts", "bursts": {"drought": 6 * 3600 + 600 * seed, "shower": 900, "mostOcpus": 4},
                    "report": {"precision": 0.9, "recall": 0.9}}  # fmt: skip
        here.sandbox.inside(lambda world: capacity.configure(world, scarcity))
        hours, ticks = 0.0, []
        while hours < MOST_HOURS:
            begun = time.perf_counter()
            asked = _tick(here, hours)
            ticks.append(time.perf_counter() - begun)
            if asked.run_requests:
                seen, before = heard.at[REPORT][-1], len(heard.calls)
                here.materialize(MACHINE, good=False)
                if LAUNCH in heard.calls[before:]:
                    between = heard.calls[before:].index(LAUNCH)
                    launched = heard.at[LAUNCH][heard.calls[:before].count(LAUNCH)]
                    if here.sandbox.inside(lambda world: bool(list(world.all("instance")))):
                        return Claim(launched - seen, heard.count(REPORT), heard.count(LAUNCH), between, tuple(ticks))
            hours += STEP_HOURS
            here.sandbox.advance(STEP_HOURS * 3600)
    return None


def _tick(here: Deployment, hours: float) -> Any:
    repository = here.definitions.get_repository_def()
    sensor = repository.get_sensor_def("capacity_hunt_a1")
    context = dg.build_sensor_context(instance=here.instance, definitions=here.definitions, sensor_name=sensor.name)
    later = SimpleNamespace(time=lambda: time.time() + hours * 3600)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ocifree_pipeline.automation.hunt.time", later)
        return sensor.evaluate_tick(context)


def _bare(standing: Ground, home: Path) -> float:
    """The shortest way there is: one read with the SDK, answered by the same sandbox."""
    import oci

    with pytest.MonkeyPatch.context() as patch, standing.again(home, patch) as here, hearing() as heard:
        client = here.client(oci.core.ComputeClient)
        client.list_instances(here.sandbox.tenancy)
        begun = time.perf_counter()
        client.list_instances(here.sandbox.tenancy)
        return heard.at["ListInstances"][-1] - begun


def _apart(standing: Ground, home: Path) -> float:
    """What a person or a launcher of runs waits for: a new process, the graph, the step."""
    with pytest.MonkeyPatch.context() as patch, standing.again(home, patch) as here, hearing() as heard:
        ensure_home()
        declared = home / "deployment.yaml"
        declared.write_text(yaml.safe_dump(here.blueprint.declaration.model_dump(mode="json", exclude_unset=True)))
        with dg.DagsterInstance.get() as history:
            kept = Deployment(here.sandbox, here.blueprint, history)
            for key, facts in standing.facts.items():
                kept.pretend(key, **facts)
        begun = time.perf_counter()
        ocifree = str(Path(sys.executable).with_name("ocifree"))
        log = (home / "up.log").open("w")
        child = subprocess.Popen(
            [ocifree, "up", "--yes", "--select", MACHINE],
            env={**os.environ, "OCIFREE_DEPLOYMENT": str(declared)},
            stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        pause = threading.Event()
        try:
            while LAUNCH not in heard.at and child.poll() is None and time.perf_counter() - begun < MOST_SECONDS:
                pause.wait(0.01)
        finally:
            # Nothing moves the virtual clock for it, so it would wait for its machine for ever. Its run has a session
            # of its own, and would go on without it.
            family = _family(child.pid)
            for one in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.kill()
            child.wait()
            psutil.wait_procs(family, timeout=10)
            log.close()
        if LAUNCH not in heard.at:
            raise RuntimeError((home / "up.log").read_text())
        return heard.at[LAUNCH][0] - begun


def _family(pid: int) -> list[psutil.Process]:
    try:
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


if __name__ == "__main__":
    from ocifree_pipeline_tests.bench.report import as_markdown

    print("\n".join(as_markdown(measure())))
