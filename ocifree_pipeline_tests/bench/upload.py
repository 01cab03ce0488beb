"""How fast a file gets into Object Storage, beside the OCI CLI on the same file, and how much memory 5 GB take.

python -m ocifree_pipeline_tests.bench.upload
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from ocifree_pipeline.sandbox import process
from ocifree_pipeline.sandbox.process import Running
from ocifree_pipeline_tests.bench.report import Line

MEGABYTE = 1024 * 1024
COMPARED = 256 * MEGABYTE
LARGE = 5 * 1024 * MEGABYTE
MOST_MEGABYTES = 200
BUCKET = "bench"

OURS = """
import json, re, sys
from pathlib import Path
import oci
from ocifree_pipeline.systems.journal import Journal
from ocifree_pipeline.systems.oci.objects import Place, Upload
from ocifree_pipeline.systems.oci.session import Session
config = oci.config.from_file()
session = Session(config, config["region"], config["tenancy"])
store = session.client("object_storage.ObjectStorageClient")
namespace = store.get_namespace().data
file = Path(sys.argv[1])
stored = Upload(session, Journal(Path(sys.argv[2])), Place(namespace, "bench", file.name), file, "0" * 64).run()
# ru_maxrss would count the process that started this one too.
peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text()).group(1))
print(json.dumps({"size": stored.size, "megabytes": peak // 1024}))
"""


@dataclass(frozen=True, slots=True)
class Ran:
    seconds: float
    megabytes: int


def measure() -> list[Line]:
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        running = process.start(here / "sandbox", process.Options(profile={"account": "payg"}))
        try:
            _make_bucket(running)
            compared = _file(here / "compared", COMPARED)
            ours = _ours(running, compared, here / "first.jsonl")
            lines = _beside_the_cli(running, compared, ours)
            large = _ours(running, _file(here / "large", LARGE), here / "second.jsonl")
            return [
                *lines,
                Line("upload of 5 GB, peak memory", large.megabytes, "MB", f"{COMPARED // MEGABYTE} MB", ours.megabytes,
                     f"<= {MOST_MEGABYTES} MB"),
                Line("upload of 5 GB", round(LARGE / MEGABYTE / large.seconds), "MB/s", f"{COMPARED // MEGABYTE} MB",
                     round(COMPARED / MEGABYTE / ours.seconds), ""),
            ]  # fmt: skip
        finally:
            running.stop()


def _beside_the_cli(running: Running, file: Path, ours: Ran) -> list[Line]:
    speed = round(COMPARED / MEGABYTE / ours.seconds)
    theirs = _cli(running, file)
    if theirs is None:
        return [Line("upload, process start included", speed, "MB/s", "the OCI CLI cannot be had here", None, "")]
    cli = round(COMPARED / MEGABYTE / theirs)
    return [Line("upload, process start included", speed, "MB/s", "OCI CLI, same file", cli, ">= 1 x")]


def _ours(running: Running, file: Path, journal: Path) -> Ran:
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", OURS, str(file), str(journal)],
        env={**os.environ, **running.environment()}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    taken = time.perf_counter() - begun
    told = json.loads(done.stdout)
    if told["size"] != file.stat().st_size:
        raise RuntimeError(f"{told['size']} bytes arrived")
    return Ran(taken, told["megabytes"])


def _cli(running: Running, file: Path) -> float | None:
    from ocifree_pipeline_tests.conformance.oci_cli import installed

    try:
        program = installed()
    except pytest.skip.Exception:
        return None
    command = [str(program), "os", "object", "put", "--bucket-name", BUCKET, "--file", str(file), "--name", "theirs",
               "--part-size", "16", "--parallel-upload-count", "3", "--force"]  # fmt: skip
    begun = time.perf_counter()
    subprocess.run(command, env={**os.environ, **running.environment()}, capture_output=True, check=True)
    return time.perf_counter() - begun


def _file(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
    return path


def _make_bucket(running: Running) -> None:
    code = (
        "import oci; c = oci.config.from_file(); s = oci.object_storage.ObjectStorageClient(c);"
        f"s.create_bucket(s.get_namespace().data, oci.object_storage.models.CreateBucketDetails(name='{BUCKET}',"
        "compartment_id=c['tenancy']))"
    )
    subprocess.run([sys.executable, "-c", code], env={**os.environ, **running.environment()}, check=True)


if __name__ == "__main__":
    from ocifree_pipeline_tests.bench.report import as_markdown

    print("\n".join(as_markdown(measure())))
