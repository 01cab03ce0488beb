"""A command line of a guest: words, ``&&``, ``||``, ``;``, output thrown away. Nothing else of a shell is played.

``run`` is a generator, so that a command may wait for the virtual clock: it yields what was printed, and ``WAIT``
while it cannot go on. Its value is the exit code.
"""

import shlex
from collections.abc import Generator
from dataclasses import dataclass
from typing import Literal

from ocifree_pipeline.sandbox.machines import commands
from ocifree_pipeline.sandbox.machines.commands import Result, Who

WAIT: Literal["wait"] = "wait"
OPERATORS = frozenset({"&&", "||", ";"})
CANNOT = 2

Event = Result | Literal["wait"]


@dataclass(frozen=True, slots=True)
class Step:
    """A simple command, and the operator before it."""

    operator: str
    words: tuple[str, ...]
    silent_out: bool = False
    silent_err: bool = False
    err_to_out: bool = False


class NotPlayed(Exception):
    """A part of the shell that this guest does not have."""


def run(who: Who, line: str) -> Generator[Event, None, int]:
    try:
        steps = parse(line)
    except (NotPlayed, ValueError) as error:
        yield Result(CANNOT, err=f"sh: {error}\n")
        return CANNOT
    code = 0
    for step in steps:
        if (step.operator == "&&" and code) or (step.operator == "||" and not code):
            continue
        if step.words[0] == "exit":
            return int(step.words[1]) if len(step.words) > 1 and step.words[1].isdigit() else code
        code = yield from _simple(who, step)
    return code


def parse(line: str) -> list[Step]:
    if "`" in line or "$(" in line:
        raise NotPlayed("command substitution is not played by this guest of the sandbox")
    lexer = shlex.shlex(line.replace("\n", " ; "), posix=True, punctuation_chars="&|;<>()")
    lexer.whitespace_split = True
    lexer.commenters = ""
    steps: list[Step] = []
    operator = ""
    words: list[str] = []
    for piece in [*lexer, ";"]:
        if piece not in OPERATORS:
            words.append(piece)
            continue
        if words:
            steps.append(_step(operator, words))
        elif piece != ";":
            raise NotPlayed(f"syntax error near unexpected token `{piece}'")
        operator, words = piece, []
    return steps


def _step(operator: str, words: list[str]) -> Step:
    """Take redirections out of the words."""
    kept: list[str] = []
    silent_out = silent_err = err_to_out = False
    rest = iter(words)
    for word in rest:
        if word == ">":
            stream = kept.pop() if kept and kept[-1] in {"1", "2"} else "1"
            target = next(rest, "")
            if target != "/dev/null":
                raise NotPlayed(f"redirection to {target!r} is not played by this guest of the sandbox")
            silent_out, silent_err = silent_out or stream == "1", silent_err or stream == "2"
        elif word == ">&" and kept and kept[-1] == "2" and next(rest, "") == "1":
            kept.pop()
            err_to_out = True
        elif set(word) <= set("&|;<>()"):
            raise NotPlayed(f"{word!r} is not played by this guest of the sandbox")
        else:
            kept.append(word)
    if not kept:
        raise NotPlayed("a redirection without a command is not played by this guest of the sandbox")
    return Step(operator, tuple(kept), silent_out, silent_err, err_to_out)


def _simple(who: Who, step: Step) -> Generator[Event, None, int]:
    who, words = commands.become(who, step.words)
    if words[:1] in {("sh",), ("bash",)} and len(words) == 3 and words[1] in {"-c", "-lc", "-ec"}:
        return (yield from run(who, words[2]))
    while commands.must_wait(who, words):
        yield WAIT
    result = commands.execute(who, words)
    out = "" if step.silent_out else result.out
    err = "" if step.silent_err else result.err
    if step.err_to_out:
        out, err = ("" if step.silent_out else result.out + result.err), ""
    yield Result(result.code, out, err)
    return result.code
