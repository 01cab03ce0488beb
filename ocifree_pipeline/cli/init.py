"""ocifree init: a few questions become a commented declaration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ocifree_pipeline.cli.declared import declaration_of
from ocifree_pipeline.cli.exits import Exit
from ocifree_pipeline.cli.output import on_terminal, refuse, say, say_json

if TYPE_CHECKING:
    from ocifree_pipeline.deployment.starter import Answers


def write_declaration(path: Path, example_name: str | None, *, ask: bool, force: bool, as_json: bool = False) -> None:
    from ocifree_pipeline.deployment.examples import example

    if path.exists() and not force:
        raise refuse(f"{path} exists", "choose another path, or replace it with --force", Exit.USAGE, as_json=as_json)
    if example_name is not None:
        declaration_of(None, example_name, as_json)
        text = example(example_name)
    else:
        text = _from_answers(ask and on_terminal() and not as_json)
    path.write_text(text, encoding="utf-8")
    if as_json:
        say_json({"written": str(path)})
        return
    say(f"wrote {path}", style="green")
    say("next: `ocifree validate`, then `ocifree plan`")


def _from_answers(ask: bool) -> str:
    from dataclasses import fields, replace

    from ocifree_pipeline.deployment.starter import Answers, starter

    answers = replace(Answers(), **_own_key())
    if ask:
        for field in fields(Answers):
            answers = _ask(answers, field.name, str(field.metadata["question"]))
    return starter(answers)


def _ask(answers: Answers, name: str, question: str) -> Answers:
    """Until the answer is one that a declaration accepts."""
    from dataclasses import replace

    from ocifree_pipeline.deployment.problems import InvalidDeclaration
    from ocifree_pipeline.deployment.starter import starter

    while True:
        given = replace(answers, **{name: typer.prompt(question, default=getattr(answers, name))})
        try:
            starter(given)
        except InvalidDeclaration as error:
            for problem in error.problems:
                say(f"  {problem.why}; {problem.fix}", style="yellow")
        else:
            return given


def _own_key() -> dict[str, str]:
    """The SSH public key of the person who asks, where OpenSSH keeps it."""
    for name in ("id_ed25519.pub", "id_ecdsa.pub", "id_rsa.pub"):
        path = Path("~/.ssh").expanduser() / name
        if path.exists():
            return {"ssh_public_key": path.read_text("utf-8").strip()}
    return {}
