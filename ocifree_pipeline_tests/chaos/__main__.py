"""python -m ocifree_pipeline_tests.chaos JOB [--kind KIND] [--asset ASSET]: what comes of it, as a table."""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from ocifree_pipeline_tests.chaos.crash import Trial, table, trials
from ocifree_pipeline_tests.chaos.jobs import JOBS
from ocifree_pipeline_tests.chaos.ways import KINDS


def main() -> int:
    """0 when everything ended as the undisturbed run did."""
    parser = argparse.ArgumentParser(prog="python -m ocifree_pipeline_tests.chaos", description=__doc__)
    parser.add_argument("job", nargs="*", default=["talos-native", "proxmox-ceph"], metavar="JOB", help=", ".join(JOBS))
    parser.add_argument("--kind", action="append", choices=[*KINDS, "faults"], help="all of them if none is named")
    parser.add_argument("--asset", action="append", help="only this one")
    asked = parser.parse_args()
    if unknown := set(asked.job) - set(JOBS):
        parser.error(f"no such job: {', '.join(sorted(unknown))}; there are {', '.join(JOBS)}")
    logging.disable(logging.CRITICAL)
    fine = True
    for name in asked.job:
        began = time.perf_counter()
        rows: list[Trial] = []
        print(f"\n## {name}", flush=True)
        with tempfile.TemporaryDirectory() as folder:

            def found(name: str = name, folder: str = folder, rows: list[Trial] = rows) -> Iterator[Trial]:
                for row in of_job(name, Path(folder), asked.kind or [*KINDS, "faults"], asked.asset):
                    rows.append(row)
                    yield row

            for line in table(found()):
                print(line, flush=True)
        bad = [row for row in rows if not row.is_fine]
        print(f"\n{len(rows)} trials, {len(bad)} with another end, {time.perf_counter() - began:.0f} s", flush=True)
        fine = fine and bool(rows) and not bad
    return 0 if fine else 1


def of_job(name: str, folder: Path, kinds: list[str], assets: list[str] | None) -> Iterator[Trial]:
    with JOBS[name](folder) as job:
        for kind in kinds:
            for work in job.works():
                if kind in KINDS and (not assets or work.name in assets):
                    yield from trials(work, KINDS[kind])
            if kind == "faults":
                yield from (row for row in job.faults() if not assets or row.work in assets)


if __name__ == "__main__":
    sys.exit(main())
