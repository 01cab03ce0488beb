"""From the text of a declaration to the declaration, or to everything that is wrong with it at once."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from ocifree_pipeline.deployment import findings
from ocifree_pipeline.deployment.declaration import Declaration
from ocifree_pipeline.deployment.document import MAX_CHARACTERS, read
from ocifree_pipeline.deployment.paths import WHOLE
from ocifree_pipeline.deployment.problems import InvalidDeclaration, Problem


def load(path: Path) -> Declaration:
    """The declaration in a file."""
    problem: Problem | None = None
    text = ""
    try:
        with path.open("rb") as file:
            text = file.read(4 * MAX_CHARACTERS + 1).decode("utf-8-sig")
    except FileNotFoundError:
        problem = _of_file("there is no such file", "run `ocifree init` to write one, or name another with --file")
    except IsADirectoryError:
        problem = _of_file("this is a folder", f"name the file inside it, such as {path / 'deployment.yaml'}")
    except PermissionError:
        problem = _of_file("you may not read this file", f"run `ls -l {path}` and give yourself the right to read it")
    except OSError as error:
        problem = _of_file(f"the file cannot be read: {error.strerror}", f"run `ls -l {path}`")
    except UnicodeDecodeError as error:
        problem = _of_file(f"not text in UTF-8 (byte {error.start + 1})", "save it as UTF-8 in your editor")
    if problem is not None:
        raise InvalidDeclaration([problem], str(path))
    return parse(text, source=str(path))


def parse(text: str, source: str = "the declaration") -> Declaration:
    """The declaration in a text. Raises InvalidDeclaration with every problem, never with a part of them."""
    document = read(text, source)
    secrets = findings.secrets_written_out(document)
    if not document.problems and not secrets:
        try:
            return Declaration.model_validate(document.data)
        except ValidationError:
            pass  # explained below, outside of this block: the error itself quotes what was written
    problems = findings.all_problems(document, secrets)
    if not problems:
        return Declaration.model_validate(document.data)
    raise InvalidDeclaration(problems, source)


def _of_file(why: str, fix: str) -> Problem:
    return Problem(WHOLE, None, "", why, fix)
