"""ocifree upgrade, as far as it goes without a cluster: nothing begins without the name of the deployment."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from ocifree_pipeline.cli.app import app
from ocifree_pipeline.cli.exits import Exit
from ocifree_pipeline.deployment.examples import example


@pytest.fixture
def declared(dagster_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    ran.clear()

    def drive(words: list[str], log: str, as_json: bool) -> Exit:
        ran.append(words)
        return Exit.OK

    monkeypatch.setattr("ocifree_pipeline.cli.up.drive", drive)
    file = tmp_path / "deployment.yaml"
    file.write_text(example("talos-native"))
    return file


ran: list[list[str]] = []


@pytest.mark.parametrize(
    ("words", "stdin", "why"),
    [
        (["--yes", "lap"], None, "`--yes lap` names another one"),
        ([], "\n", "nothing was typed"),
        ([], "", "nobody was there to type it"),
    ],
)
def test_without_the_name_nothing_is_upgraded(declared: Path, words: list[str], stdin: str | None, why: str) -> None:
    told = CliRunner().invoke(app, ["upgrade", "talos", "--deployment", str(declared), *words], input=stdin)
    assert told.exit_code == Exit.FAILED
    assert why in told.output
    assert "ocifree upgrade talos --yes lab" in " ".join(told.output.split())
    assert ran == []


def test_with_the_name_the_job_is_run(declared: Path) -> None:
    told = CliRunner().invoke(app, ["upgrade", "kubernetes", "--deployment", str(declared)], input="lab\n")
    assert told.exit_code == Exit.OK, told.output
    (words,) = ran
    assert words[:4] == ["job", "execute", "--job", "upgrade_kubernetes"]
    assert '{"upgrade_kubernetes_step_by_step": {"config": {"confirm": "lab"}}}' in Path(words[-1]).read_text()
