"""A command line of a guest, run over its state (see ``syntax`` for what is understood).

``run`` is a generator, so that a command may wait for the virtual clock or for what somebody types: it yields what was
printed, and ``WAIT`` while it cannot go on. Its value is the exit code.
"""

import re
from collections.abc import Generator
from dataclasses import replace

from ocifree_pipeline.sandbox.machines import commands, files
from ocifree_pipeline.sandbox.machines.session import WAIT, Event, Result, Stdin, Steps, Who, Words
from ocifree_pipeline.sandbox.machines.syntax import NotPlayed, Pipeline, Redirection, Simple, parse

__all__ = ["WAIT", "Event", "NotPlayed", "run"]

CANNOT = 2
ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
SHELLS = frozenset({"sh", "bash", "/bin/sh", "/bin/bash", "/usr/bin/sh", "/usr/bin/bash", "dash"})


def run(who: Who, line: str) -> Steps:
    try:
        steps = parse(line, {"HOME": files.home(who.user), "USER": who.user})
    except (NotPlayed, ValueError) as error:
        yield Result(CANNOT, err=f"sh: {error}\n")
        return CANNOT
    code, stops = 0, False
    for step in steps:
        if (step.operator == "&&" and code) or (step.operator == "||" and not code):
            continue
        words = step.commands[0].words
        if words[0] == "exit":
            return int(words[1]) if len(words) > 1 and words[1].isdigit() else code
        if words[0] == "set" and all(one.startswith(("-", "+")) or one == "pipefail" for one in words[1:]):
            stops = stops or any(one.startswith("-") and "e" in one for one in words[1:] if one != "pipefail")
            continue
        code = yield from _pipeline(who, step)
        if code and stops and _decides(steps, step):
            return code
    return code


def _decides(steps: list[Pipeline], step: Pipeline) -> bool:
    """Whether ``set -e`` ends the line here: nothing after it asks how it went."""
    after = steps.index(step) + 1
    return not step.negated and not (after < len(steps) and steps[after].operator in {"&&", "||"})


def _pipeline(who: Who, pipeline: Pipeline) -> Steps:
    stdin, code = who.stdin, 0
    for at, simple in enumerate(pipeline.commands):
        last = at == len(pipeline.commands) - 1
        here = replace(who, stdin=stdin)
        if last:
            code = yield from _simple(here, simple)
        else:
            _, printed = yield from _captured(here, simple)
            stdin = Stdin(printed)
    return int(not code) if pipeline.negated else code


def _captured(who: Who, simple: Simple) -> Generator[Event, None, tuple[int, str]]:
    """Run it and keep what it writes to its output; what it says besides is passed on."""
    running, kept = _simple(who, simple), ""
    while True:
        try:
            event = next(running)
        except StopIteration as stop:
            return int(stop.value), kept
        if isinstance(event, Result):
            kept += event.out
            event = Result(event.code, err=event.err)
        yield event


def _simple(who: Who, simple: Simple) -> Steps:
    for one in simple.redirections:
        if one.stream == 0:
            text = one.target if one.kind == "<<" else files.read(who, one.target)
            if text is None:
                yield Result(1, err=f"bash: {one.target}: No such file or directory\n")
                return 1
            who = replace(who, stdin=Stdin(text))
        elif one.kind in {">", ">>"} and (wrong := files.why_not(who, one.target)):
            yield Result(1, err=f"bash: {one.target}: {wrong}\n")
            return 1
    sinks = _sinks(simple.redirections)
    running = words_of(who, simple.words)
    written: dict[str, str] = {one.target: "" for one in simple.redirections if one.kind in {">", ">>"}}
    while True:
        try:
            event = next(running)
        except StopIteration as stop:
            code = int(stop.value)
            break
        if isinstance(event, Result):
            kept = {"1": "", "2": ""}
            for stream, text in (("1", event.out), ("2", event.err)):
                sink = sinks[stream]
                if sink in kept:
                    kept[sink] += text
                else:
                    written[sink] += text
            event = Result(event.code, kept["1"], kept["2"])
        yield event
    for one in simple.redirections:
        if one.kind in {">", ">>"}:
            before = (files.read(who, one.target) or "") if one.kind == ">>" else ""
            if wrong := files.write(who, one.target, before + written.pop(one.target, "")):
                yield Result(1, err=f"bash: {one.target}: {wrong}\n")
                code = 1
    return code


def _sinks(redirections: tuple[Redirection, ...]) -> dict[str, str]:
    """Where each stream goes: ``1``, ``2`` or a path; a later redirection sees what the earlier ones made."""
    sinks = {"1": "1", "2": "2"}
    for one in redirections:
        if one.kind == ">&":
            sinks[str(one.stream)] = sinks[one.target]
        elif one.stream:
            sinks[str(one.stream)] = one.target
    return sinks


def words_of(who: Who, words: Words) -> Steps:
    while words and ASSIGNMENT.match(words[0]):
        words = words[1:]
    if not words:
        return 0
    who, words = commands.become(who, words)
    if words[0] in {"env", "command", "exec", "nohup"} and len(words) > 1:
        return (yield from words_of(who, words[1:]))
    if words[0] in {"nice", "timeout", "stdbuf"}:
        rest = list(words[1:])
        while rest and (rest[0].startswith("-") or rest[0].rstrip("smhd").isdigit()):
            rest.pop(0)
        return (yield from words_of(who, tuple(rest)))
    if words[0] in SHELLS:
        return (yield from _shell(who, words[1:]))
    return (yield from commands.execute(who, words))


def _shell(who: Who, words: Words) -> Steps:
    """``sh -c LINE``, ``sh FILE`` and ``sh -s`` with the script in its input."""
    options = "".join(word[1:] for word in words if word.startswith("-"))
    rest = [word for word in words if not word.startswith("-")]
    before = "set -e\n" if "e" in options else ""
    if "c" in options and rest:
        return (yield from run(who, before + rest[0]))
    if rest and "s" not in options:
        script = files.read(who, rest[0])
        if script is None:
            yield Result(127, err=f"bash: {rest[0]}: No such file or directory\n")
            return 127
        return (yield from run(who, before + script))
    while not who.stdin.closed:
        yield WAIT
    script, who = who.stdin.text, replace(who, stdin=Stdin())
    return (yield from run(who, before + script))
