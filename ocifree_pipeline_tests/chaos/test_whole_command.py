"""The whole command, all of its processes: on a disk that fills up under it, and killed at once at random moments."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from ocifree_pipeline.deployment.examples import example
from ocifree_pipeline.sandbox import process, snapshot
from ocifree_pipeline.sandbox.process import Options, Running
from ocifree_pipeline.sandbox.world import World
from ocifree_pipeline.systems.journal import Journal


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=80m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root may mount a small disk")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Running]:
    profile = {"account": "payg", "a1_ocpus": 4, "a1_memory_gb": 24}
    here = process.start(tmp_path / "sandbox", Options(profile=profile, mode="immediate"))
    yield here
    here.stop()


def test_a_run_on_a_disk_that_fills_up_says_so_and_goes_on_when_there_is_room(
    disk: Path, account: Running, tmp_path: Path
) -> None:
    environ = environ_of(account, disk / "home", tmp_path)
    ballast = disk / "ballast"

    def up(fills_up: bool) -> tuple[int, str]:
        with up_to_the_network(environ) as child:
            while fills_up and changes(account) < 3:
                assert child.poll() is None, child.communicate()[0]
                time.sleep(0.05)
            if fills_up:
                fill(ballast)
            said, _ = child.communicate(timeout=300)
        return child.returncode, said

    code, said = up(fills_up=True)
    assert code == 1, said
    assert "there is no room to write" in said
    assert "same command again" in said
    assert "Traceback" not in said

    code, said = up(fills_up=False)
    assert code == 1
    assert "MB are free" in said

    ballast.unlink()
    code, said = up(fills_up=False)
    assert code == 0, said
    made = changes(account)
    code, said = up(fills_up=False)
    assert (code, changes(account)) == (0, made), said


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.exhaustive) for seed in range(2, 7))])
def test_all_processes_die_at_random_moments_and_the_end_is_the_same(
    account: Running, tmp_path: Path, seed: int
) -> None:
    """As in a power cut; what the disk then holds is another matter, and tried at every call elsewhere."""
    chance = random.Random(seed)  # noqa: S311
    environ = environ_of(account, tmp_path / "home", tmp_path)
    for _ in range(3):
        with up_to_the_network(environ) as child:
            last = asked(account) + chance.randint(1, 40)
            while child.poll() is None and asked(account) < last:
                time.sleep(chance.uniform(0.005, 0.05))
            everything = [*psutil.Process(child.pid).children(recursive=True), child] if child.poll() is None else []
            for one in everything:
                with suppress(psutil.Error):
                    one.kill()
            child.communicate(timeout=60)
    for _ in range(2):
        before = changes(account)
        with up_to_the_network(environ) as child:
            said, _ = child.communicate(timeout=300)
        assert child.returncode == 0, said
    assert changes(account) == before, "the second run has nothing to do"
    assert Journal(tmp_path / "home" / "journal" / "lab.jsonl").open_intents() == []
    world = World(tmp_path / "look")
    account.call("POST", "snapshot", {"path": str(tmp_path / "world.tar")})
    snapshot.restore(world, tmp_path / "world.tar")
    for kind, number in (("vcn", 1), ("subnet", 2), ("internetgateway", 1), ("networksecuritygroup", 3)):
        names = [one.body["displayName"] for one in world.all(kind) if not one.gone]
        assert (len(names), len(set(names))) == (number, number), names


def up_to_the_network(environ: dict[str, str]) -> subprocess.Popen[str]:
    words = [str(Path(sys.executable).with_name("ocifree")), "up", "--yes", "--select", "+oci/network"]
    return subprocess.Popen(words, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def environ_of(account: Running, home: Path, folder: Path) -> dict[str, str]:
    declared = folder / "deployment.yaml"
    declared.write_text(example("talos-native"))
    return os.environ | account.environment() | {"DAGSTER_HOME": str(home), "OCIFREE_DEPLOYMENT": str(declared)}


def asked(account: Running) -> int:
    return int(account.call("GET", "records/count")["count"])


def changes(account: Running) -> int:
    return int(account.call("GET", "records/count")["mutating"])


def fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file:
        while free := shutil.disk_usage(ballast.parent).free:
            file.write(bytes(min(free, 1 << 20)))
