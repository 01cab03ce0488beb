"""The first thing that a stranger runs, and what Dagster's own front ends say about it afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ocifree_pipeline.deployment.examples import example_path

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


def run(*words: str, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *words],
        env={**os.environ, **more}, cwd=cwd, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip


def test_the_demo_makes_everything(tmp_path: Path) -> None:
    topology = "proxmox-ceph"
    done = run("ocifree_pipeline.cli.app", "demo", "--topology", topology, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    for part in ("nothing leaves it", "tenancy/plan", "machines within every limit", "success", "0 failed"):
        assert part in done.stdout
    folder = tmp_path / ".ocifree/demo" / topology
    told = run(
        "ocifree_pipeline.cli.app", "status", "--json",
        cwd=tmp_path, DAGSTER_HOME=str(folder / "dagster"), OCIFREE_DEPLOYMENT=str(folder / "deployment.yaml"),
    )  # fmt: skip
    states = {row["key"]: row for row in json.loads(told.stdout)}
    assert {key for key, one in states.items() if one["state"] != "made"} <= {"tenancy/a1_capacity"}
    assert states["tenancy/plan"]["failed_checks"] == []


def test_the_second_run_changes_nothing(tmp_path: Path) -> None:
    for _ in range(2):
        done = run("ocifree_pipeline.cli.app", "demo", "--topology", "talos-native", cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
    folder = tmp_path / ".ocifree/demo/talos-native"
    told = run(
        "ocifree_pipeline.cli.app", "watch", "--json",
        cwd=tmp_path, DAGSTER_HOME=str(folder / "dagster"), OCIFREE_DEPLOYMENT=str(folder / "deployment.yaml"),
    )  # fmt: skip
    events = json.loads(told.stdout)["events"]
    made = {one["subject"]: one["details"]["plan"] for one in events if one["kind"] == "made"}
    assert "machines/bastion" in made
    assert {key: plan for key, plan in made.items() if plan != "nothing to do"} == {}


def test_dagsters_own_command_drives_the_same_assets(tmp_path: Path) -> None:
    from ocifree_pipeline.sandbox import process

    sandbox = process.start(tmp_path / "sandbox", process.Options(profile={"account": "payg"}))
    try:
        told = run("ocifree_pipeline.cli.app", "env", cwd=tmp_path, DAGSTER_HOME=str(tmp_path / "home"))
        assert told.returncode == 0, told.stderr
        done = run(
            "dagster", "asset", "materialize", "-m", "ocifree_pipeline.definitions",
            "--select", 'key:"tenancy/limits"',
            cwd=tmp_path, DAGSTER_HOME=str(tmp_path / "home"), OCIFREE_DEPLOYMENT=str(example_path("talos-native")),
            **sandbox.environment(),
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
    finally:
        sandbox.stop()
