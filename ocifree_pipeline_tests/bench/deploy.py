"""A whole deploy, beside the same work done by a plain script: one process, one thing after another, no history kept.

The script makes the same system calls through the same code, so what is above it is what the pipeline itself costs:
a process for each step, and the history that outlives it.

    python -m ocifree_pipeline_tests.bench.deploy
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

import typer

from ocifree_pipeline_tests.bench.report import Line, as_markdown

TOPOLOGY = "talos-native"


def measure() -> list[Line]:
    script = [sys.executable, "-m", "ocifree_pipeline_tests.bench.deploy", "script"]
    pipeline = [sys.executable, "-m", "ocifree_pipeline.cli.app", "demo", "--topology", TOPOLOGY]
    (slow, work), (plain, least) = _taken(pipeline), _taken(script)
    return [
        Line("a whole deploy, talos-native", round(slow, 1), "s", "a plain script", round(plain, 1), "<= 1.5 x"),
        Line("the same, computing time", round(work, 1), "s", "a plain script", round(least, 1), ""),
    ]


def _taken(command: list[str]) -> tuple[float, float]:
    """By the clock, and computing time of it and of all it waits for."""
    with tempfile.TemporaryDirectory() as folder:
        before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        root = str(Path(__file__).parents[2])
        environ = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"} | {"PYTHONPATH": root}
        done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)
        taken, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise RuntimeError(done.stdout[-3000:] + done.stderr[-3000:])
    return taken, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _script() -> None:
    """The demo, but for what drives it."""
    from ocifree_pipeline.cli import demo

    with patch.object(demo, "materialize", _in_this_process), contextlib.suppress(typer.Exit):
        demo.run_demo(TOPOLOGY, as_json=False)


def _in_this_process(selection: str, _as_json: bool) -> int:
    import dagster as dg

    from ocifree_pipeline.definitions import defs

    logging.disable(logging.CRITICAL)
    keys = dg.AssetSelection.from_string(selection).resolve(defs.resolve_asset_graph())
    with dg.DagsterInstance.ephemeral() as instance:
        job = defs.resolve_implicit_global_asset_job_def()
        made = job.execute_in_process(instance=instance, asset_selection=sorted(keys))
    return 0 if made.success else 1


if __name__ == "__main__":
    if sys.argv[1:] == ["script"]:
        _script()
    else:
        print("\n".join(as_markdown(measure())))
