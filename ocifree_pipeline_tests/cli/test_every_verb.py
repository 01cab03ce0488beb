"""What holds for every verb alike: JSON when asked, exit codes of one table, plain text in a pipe, completion."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from ocifree_pipeline.cli.app import app
from ocifree_pipeline.cli.exits import Exit
from ocifree_pipeline.deployment.examples import example_path
from ocifree_pipeline_tests.cli.conftest import Ocifree

HAND_OVER = {"ui", "ssh", "way"}
"""They become another program."""

IN_AN_EMPTY_FOLDER = {
    "init": Exit.OK,
    "init here.yaml": Exit.USAGE,
    "validate": Exit.OK,
    "plan": Exit.OK,
    "graph": Exit.OK,
    "status": Exit.OK,
    "env": Exit.OK,
    "reconcile": Exit.OK,
    "watch": Exit.NOT_READY,
    "logs": Exit.NOT_READY,
    "logs talos/cluster": Exit.NOT_READY,
    "drift": Exit.NOT_READY,
    "verify --select machines/bastion": Exit.FAILED,
    "verify --select group:nothing": Exit.NOT_READY,
    "doctor": Exit.NOT_READY,
    "up --yes --select nothing/here": Exit.FAILED,
    "capacity": Exit.FAILED,
    "cost": Exit.FAILED,
    "idle": Exit.FAILED,
    "kubeconfig": Exit.FAILED,
    "talosconfig": Exit.FAILED,
    "console bastion": Exit.FAILED,
    "console nobody": Exit.USAGE,
    "upgrade talos --yes lap": Exit.FAILED,
    "restore --yes lap": Exit.FAILED,
    "destroy --yes lap": Exit.FAILED,
    "secret set token": Exit.USAGE,
    "secret list": Exit.OK,
    "notify test": Exit.NOT_READY,
    "sandbox status": Exit.NOT_READY,
    "sandbox down": Exit.OK,
    "sandbox env": Exit.NOT_READY,
    "sandbox fault clear": Exit.NOT_READY,
    "sandbox record clear": Exit.NOT_READY,
    "sandbox machine list": Exit.NOT_READY,
}


@pytest.fixture
def here(ocifree: Ocifree, dagster_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ocifree:
    (tmp_path / "here.yaml").write_text("")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("OCIFREE_DEPLOYMENT", str(example_path("talos-native")))
    monkeypatch.delenv("OCIFREE_SANDBOX", raising=False)
    return ocifree


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("words", IN_AN_EMPTY_FOLDER)
def test_json_and_the_exit_code(words: str, here: Ocifree) -> None:
    done = here(*words.split(), "--json", stdin="")
    found = json.loads(done.stdout)
    assert done.exit_code == IN_AN_EMPTY_FOLDER[words], done.output
    if isinstance(found, dict) and "error" in found:
        assert found["what"]
        assert found["fix"]


def verbs(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for name, inner in getattr(command, "commands", {}).items():
        yield from verbs(inner, (*words, name))
    if words and not hasattr(command, "commands"):
        yield " ".join(words), command


VERBS = dict(verbs(typer.main.get_command(app)))


@pytest.mark.parametrize("verb", sorted(set(VERBS) - HAND_OVER))
def test_every_verb_knows_json_and_says_what_it_does(verb: str) -> None:
    command = VERBS[verb]
    assert "--json" in {option for parameter in command.params for option in parameter.opts}
    assert (command.help or "").endswith(".")


def test_every_verb_is_on_the_page_of_the_commands() -> None:
    page = (Path(__file__).parents[2] / "docs/cli.md").read_text()
    missing = {verb.split()[0] for verb, command in VERBS.items() if not command.hidden} - {
        line.split("`")[1].split()[1] for line in page.splitlines() if line.startswith("| `ocifree ")
    }
    assert missing == set()


def test_in_a_pipe_there_are_no_colours(here: Ocifree) -> None:
    for words in ("plan", "graph", "status", "doctor"):
        assert "\x1b" not in here(words).output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_verbs(shell: str, monkeypatch: pytest.MonkeyPatch, ocifree: Ocifree) -> None:
    monkeypatch.setenv("_OCIFREE_COMPLETE", f"complete_{shell}")
    monkeypatch.setenv("COMP_CWORD", "1")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "ocifree st")
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    monkeypatch.setenv("COMP_WORDS", "ocifree st")
    done = CliRunner().invoke(app, [], prog_name="ocifree")
    assert "status" in done.output
