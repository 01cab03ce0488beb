"""A whole deploy, beside the same work done by a plain script: one process, one thing after another, no history kept.

The script makes the same system calls through the same code, so what is above it is what the pipeline itself costs:
commands of their own, the history that outlives them, and, as `ocifree up` does it, a process for each step.

    python -m ocifree_pipeline_tests.bench.deploy
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import typer

from ocifree_pipeline_tests.bench.report import Line, as_markdown

TOPOLOGY = "talos-native"
ROUNDS = 2
ADOPT_ORPHANS = 36  # PR_SET_CHILD_SUBREAPER: without it nobody counts what outlives the process that started it


@dataclass(frozen=True, slots=True)
class Taken:
    """By the clock, and computing time of it and of all that it starts."""

    wall: float
    work: float


def measure() -> list[Line]:
    ctypes.CDLL(None).prctl(ADOPT_ORPHANS, 1, 0, 0, 0)
    taken = {how: [_taken(how)] for how in ("demo", "script", "forked")}
    for _ in range(ROUNDS - 1):
        for how in ("demo", "script"):
            taken[how].append(_taken(how))
    wall = {how: round(min(one.wall for one in rounds), 1) for how, rounds in taken.items()}
    work = {how: round(min(one.work for one in rounds), 1) for how, rounds in taken.items()}
    beside = "a plain script"
    return [
        Line("a whole deploy, talos-native", wall["demo"], "s", beside, wall["script"], "<= 1.5 x"),
        Line("the same, computing time", work["demo"], "s", beside, work["script"], "<= 1.5 x"),
        Line("with a process for each step", wall["forked"], "s", beside, wall["script"], ""),
        Line("the same, computing time", work["forked"], "s", beside, work["script"], ""),
    ]


def _taken(how: str) -> Taken:
    command = [sys.executable, "-m", "ocifree_pipeline_tests.bench.deploy", how]
    with tempfile.TemporaryDirectory() as folder:
        before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        root = str(Path(__file__).parents[2])
        environ = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"} | {"PYTHONPATH": root}
        done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)
        taken = time.perf_counter() - begun
        with contextlib.suppress(ChildProcessError):
            while True:
                os.wait()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise RuntimeError(done.stdout[-3000:] + done.stderr[-3000:])
    return Taken(taken, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def _run(how: str) -> None:
    """The demo, driven in one of three ways."""
    from ocifree_pipeline.cli import demo, up

    def forked(selection: str, as_json: bool, **_: bool) -> int:
        return up.materialize(selection, as_json)

    ways = {"demo": up.materialize, "script": _in_this_process, "forked": forked}
    try:
        with patch.object(demo, "materialize", ways[how]):
            demo.run_demo(TOPOLOGY, as_json=False)
    except typer.Exit as ended:
        sys.exit(ended.exit_code)


def _in_this_process(selection: str, _as_json: bool, **_: bool) -> int:
    import dagster as dg

    from ocifree_pipeline.definitions import defs

    logging.disable(logging.CRITICAL)
    keys = dg.AssetSelection.from_string(selection).resolve(defs.resolve_asset_graph())
    with dg.DagsterInstance.ephemeral() as instance:
        job = defs.resolve_implicit_global_asset_job_def()
        made = job.execute_in_process(instance=instance, asset_selection=sorted(keys))
    return 0 if made.success else 1


if __name__ == "__main__":
    if sys.argv[1:]:
        _run(sys.argv[1])
    else:
        print("\n".join(as_markdown(measure())))
