"""Run the command as a person would, in a folder of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ocifree_pipeline.cli.app import app

Ocifree = Callable[..., Result]


@pytest.fixture
def ocifree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ocifree:
    monkeypatch.chdir(tmp_path)

    def run(*words: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(app, list(words), input=stdin, catch_exceptions=False)

    return run
