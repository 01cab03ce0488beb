"""Every command in the docs is run as it stands; every link points at something; every exit code is the real one."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

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
def test_commands_run(
    page: Path, block: str, folder: Path, dagster_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [line for line in block.splitlines() if line.strip() not in ELSEWHERE]
    if any("ocifree init" in line for line in lines):
        (folder / "deployment.yaml").unlink()
    if any("dagster asset materialize" in line for line in lines):
        pytest.skip("needs Oracle or the sandbox; test_demo.py runs it there")
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.chdir(folder)
    if page.name == "README.md":
        as_typed(lines)
        return
    for line in filter(str.strip, lines):
        exported = re.fullmatch(r'eval "\$\((.*)\)"', line)
        said = here(exported[1] if exported else line)
        variables = re.findall(r"^export (\w+)=(.*)$", said, re.MULTILINE) if exported else []
        assert bool(variables) == bool(exported), said
        for name, value in variables:
            monkeypatch.setenv(name, "".join(shlex.split(value)))


def as_typed(lines: list[str]) -> None:
    """In a shell, by the program that is on the path."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", "\n".join(["set -eu", *lines])],
        env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{lines}\n{done.stdout}{done.stderr}"


def here(line: str) -> str:
    """In this process, which is spared the start of another for every line. Other programs are not."""
    program, *words = shlex.split(line, comments=True)
    assert program == "ocifree", line
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == Exit.OK, f"{line}\n{done.output}"
    return done.stdout


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
