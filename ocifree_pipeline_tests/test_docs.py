"""Every command in the docs is run as it stands; every link points at something; every exit code is the real one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ocifree_pipeline.cli.app import app
from ocifree_pipeline.cli.exits import Exit

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)

ELSEWHERE = {
    "make demo": "test_demo.py runs what it runs, CI runs the whole",
    "make test": "this is it",
    ". .venv/bin/activate": "the environment of the tests",
    "ocifree doctor   # 4. credentials, clock, tools, reachability": "test_history_verbs.py: exits 6 without account",
    "ocifree up       # 5. make it so; `ocifree ui` shows the same run in the Dagster UI": "test_demo.py",
}
"""Commands that are proved in another place."""


def blocks() -> list[object]:
    return [
        pytest.param(page, block, id=f"{page.relative_to(ROOT)}:{number}")
        for page in PAGES
        for number, block in enumerate(BLOCK.findall(page.read_text("utf-8")), start=1)
        if any(line.strip() not in ELSEWHERE for line in block.splitlines())
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What somebody has who follows the docs: a declaration."""
    from ocifree_pipeline.deployment.starter import Answers, starter

    (tmp_path / "deployment.yaml").write_text(starter(Answers()))
    return tmp_path


@pytest.mark.parametrize(("page", "block"), blocks())
def test_commands_run(page: Path, block: str, folder: Path, dagster_home: Path) -> None:
    lines = [line for line in block.splitlines() if line.strip() not in ELSEWHERE]
    if any("ocifree init" in line for line in lines):
        (folder / "deployment.yaml").unlink()
    if any("dagster asset materialize" in line for line in lines):
        pytest.skip("needs Oracle or the sandbox; test_demo.py runs it there")
    script = "\n".join(["set -eu", *lines])
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script],
        env={**os.environ, "PATH": path, "DAGSTER_HOME": str(dagster_home), "HOME": str(folder)},
        cwd=folder, capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"


def test_every_verb_is_documented() -> None:
    text = (ROOT / "docs" / "cli.md").read_text("utf-8")
    verbs = [c.name or c.callback.__name__ for c in app.registered_commands if c.callback and not c.hidden]
    verbs += [group.name for group in app.registered_groups if group.name]
    assert [verb for verb in verbs if f"`ocifree {verb}`" not in text] == []


def test_exit_codes_are_the_documented_ones() -> None:
    text = (ROOT / "docs" / "cli.md").read_text("utf-8")
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)} == {int(code) for code in Exit}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text("utf-8")):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), target
