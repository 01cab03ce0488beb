"""ocifree restore, as far as it goes without a cluster: what the job is given, and what is listed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ocifree_pipeline.cli.app import app
from ocifree_pipeline.cli.exits import Exit
from ocifree_pipeline.deployment.examples import example
from ocifree_pipeline.systems.talos.backups import Backup


@pytest.fixture
def declared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    ran.clear()
    monkeypatch.setattr("ocifree_pipeline.cli.restore.ensure_home", lambda: tmp_path)

    def drive(words: list[str], log: str, as_json: bool) -> Exit:
        ran.append(words)
        return Exit.OK

    monkeypatch.setattr("ocifree_pipeline.cli.up.drive", drive)
    file = tmp_path / "deployment.yaml"
    file.write_text(example("talos-native"))
    return file


ran: list[list[str]] = []


@pytest.mark.parametrize(
    ("words", "stdin", "given"),
    [
        ([], "lab\n", '{"backup": "", "confirm": "lab"}'),
        (["20261120", "--yes", "lab"], None, '{"backup": "20261120", "confirm": "lab"}'),
        ([], "\n", '{"backup": "", "confirm": ""}'),
        ([], "", '{"backup": "", "confirm": ""}'),
    ],
)
def test_the_job_is_told_what_was_typed(declared: Path, words: list[str], stdin: str | None, given: str) -> None:
    told = CliRunner().invoke(app, ["restore", "--deployment", str(declared), *words], input=stdin)
    assert told.exit_code == Exit.OK, told.output
    (called,) = ran
    assert called[:4] == ["job", "execute", "--job", "restore"]
    assert Path(called[-1]).read_text() == f'{{"ops": {{"restore_etcd": {{"config": {given}}}}}}}'


def test_another_name_restores_nothing(declared: Path) -> None:
    told = CliRunner().invoke(app, ["restore", "--deployment", str(declared), "--yes", "lap"])
    assert told.exit_code == Exit.FAILED
    assert "`--yes lap` names another one" in told.output
    assert ran == []


def test_backups_are_listed_newest_first(declared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = tuple(
        Backup(datetime(2026, 11, day, 12, tzinfo=UTC), f"etcd/202611{day}T120000Z-0123456789ab.etcd.age")
        for day in (19, 20)
    )
    monkeypatch.setattr("ocifree_pipeline.automation.backups.kept", lambda step: found)
    monkeypatch.setattr("dagster.DagsterInstance.get", lambda: None)
    told = CliRunner().invoke(app, ["restore", "--list", "--deployment", str(declared)])
    assert told.exit_code == Exit.OK, told.output
    assert [line.split()[0] for line in told.output.splitlines()[-2:]] == [
        "20261120T120000Z-0123456789ab",
        "20261119T120000Z-0123456789ab",
    ]
