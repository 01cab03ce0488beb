"""What a person waits for: the help, a validation, the loading of the graph; each beside a baseline of the same run.

It is computing time, so that a busy computer tells the same.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

from ocifree_pipeline.deployment.examples import example_path
from ocifree_pipeline_tests.bench.report import Line, as_markdown

ROUNDS = 5


def measure() -> list[Line]:
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
    rounds = [{name: _seconds(command) for name, command in commands.items()} for _ in range(ROUNDS + 1)]
    least = {name: round(min(one[name] for one in rounds[1:]), 3) for name in commands}  # the first fills caches
    wanted = (
        ("load the definitions", "import dagster", "<= 1.5 x"),
        ("ocifree --help", "python -c pass", "<= 0.3 s"),
        ("ocifree validate", "python -c pass", "<= 0.6 s"),
        ("ocifree plan", "python -c pass", ""),
    )
    return [Line(name, least[name], "s", baseline, least[baseline], budget) for name, baseline, budget in wanted]


def _seconds(command: list[str]) -> float:
    environment = {**os.environ, "OCIFREE_DEPLOYMENT": str(example_path("proxmox-ceph"))}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    print("\n".join(as_markdown(measure())))
