"""The whole command on a small disk that fills up under it, and goes on when there is room again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocifree_pipeline.deployment.examples import example
from ocifree_pipeline.sandbox import process
from ocifree_pipeline.sandbox.process import Options, Running


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
    declared = tmp_path / "deployment.yaml"
    declared.write_text(example("talos-native"))
    environ = os.environ | account.environment()
    environ |= {"DAGSTER_HOME": str(disk / "home"), "OCIFREE_DEPLOYMENT": str(declared)}
    ballast = disk / "ballast"

    def up(fills_up: bool) -> tuple[int, str]:
        words = [str(Path(sys.executable).with_name("ocifree")), "up", "--yes", "--select", "+oci/network"]
        with subprocess.Popen(words, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as child:
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


def changes(account: Running) -> int:
    return int(account.call("GET", "records/count")["mutating"])


def fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file:
        while free := shutil.disk_usage(ballast.parent).free:
            file.write(bytes(min(free, 1 << 20)))
