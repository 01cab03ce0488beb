"""All benches: a Markdown table on the screen, and both it and the numbers as JSON in `.ocifree/bench`.

make bench
python -m ocifree_pipeline_tests.bench claim upload      # only these
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

import psutil

from ocifree_pipeline_tests.bench import claim, cluster, deploy, growth, manifests, sandbox, startup, upload
from ocifree_pipeline_tests.bench.report import Line, as_markdown

BENCHES: Mapping[str, Callable[[], list[Line]]] = {
    "startup": startup.measure,
    "sandbox": sandbox.lines,
    "claim": claim.measure,
    "upload": upload.measure,
    "manifests": manifests.measure,
    "cluster": cluster.measure,
    "deploy": deploy.measure,
    "growth": growth.measure,
}
FOLDER = Path(".ocifree/bench")


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure, each number beside a baseline of the same run.")
    parser.add_argument("bench", nargs="*", choices=[*BENCHES, []], help="which; all if none is named")
    chosen = parser.parse_args().bench or list(BENCHES)
    found: dict[str, list[Line]] = {}
    seconds: dict[str, int] = {}
    broken: list[str] = []
    for name in chosen:
        print(f"measuring {name}", file=sys.stderr, flush=True)
        begun = time.perf_counter()
        try:
            found[name] = BENCHES[name]()
        except Exception:  # what the others measured is not lost with it
            traceback.print_exc()
            broken.append(name)
        seconds[name] = round(time.perf_counter() - begun)
    table = "\n".join(as_markdown([line for lines in found.values() for line in lines]))
    taken = ", ".join(f"{name} {number} s" for name, number in seconds.items())
    machine = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": psutil.cpu_count(),
        "load before the last minute": round(psutil.getloadavg()[0], 1),
    }
    FOLDER.mkdir(parents=True, exist_ok=True)
    numbers = {name: [asdict(line) | {"ratio": line.ratio} for line in lines] for name, lines in found.items()}
    (FOLDER / "results.json").write_text(json.dumps({"on": machine, "seconds": seconds, "benches": numbers}, indent=2))
    (FOLDER / "results.md").write_text(f"{table}\n\n{taken}; {machine}\n")
    print(f"{table}\n\n{taken}; written to {FOLDER}")
    if broken:
        print(f"broken: {', '.join(broken)}; what went wrong is above", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
