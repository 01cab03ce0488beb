"""What a person waits for: the help, a validation, the loading of the graph; each beside a baseline of the same run."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from ocifree_pipeline.deployment.examples import example_path
from ocifree_pipeline_tests.bench.report import Line, as_markdown

ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Timing:
    what: str
    seconds: float
    baseline: str
    ratio: float
    budget: str


def measure() -> list[Timing]:
    ocifree = str(Path(sys.executable).with_name("ocifree"))
    python = [sys.executable, "-c"]
    commands = {
        "python -c pass": [*python, "pass"],
        "import dagster": [*python, "import dagster"],
        "load the definitions": [*python, "import ocifree_pipeline.definitions"],
        "ocifree --help": [ocifree, "--help"],
        "ocifree validate": [ocifree, "validate", "--example", "proxmox-ceph"],
        "ocifree plan": [ocifree, "plan", "--example", "proxmox-ceph"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for round_ in range(ROUNDS + 1):
        for name, command in commands.items():
            seconds = _seconds(command)
            if round_:  # the first round warms the caches
                times[name].append(seconds)
    middle = {name: statistics.median(values) for name, values in times.items()}
    wanted = (
        ("load the definitions", "import dagster", "<= 1.5 x"),
        ("ocifree --help", "python -c pass", "<= 0.3 s"),
        ("ocifree validate", "python -c pass", "<= 0.6 s"),
        ("ocifree plan", "python -c pass", ""),
    )
    return [
        Timing(name, middle[name], baseline, middle[name] / middle[baseline], budget)
        for name, baseline, budget in wanted
    ]


def _seconds(command: list[str]) -> float:
    environment = {**os.environ, "OCIFREE_DEPLOYMENT": str(example_path("proxmox-ceph"))}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    started = time.perf_counter()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def lines() -> list[Line]:
    return [
        Line(t.what, round(t.seconds, 3), "s", t.baseline, round(t.seconds / t.ratio, 3), t.budget) for t in measure()
    ]


if __name__ == "__main__":
    print("\n".join(as_markdown(lines())))
