"""What the commands of Proxmox have in common: options, errors, tables, and how a call becomes a line."""

import json
from collections.abc import Generator, Mapping
from typing import Any

from ocifree_pipeline.sandbox import instruments
from ocifree_pipeline.sandbox.machines.session import Event, Result, Steps, Who, Words
from ocifree_pipeline.sandbox.proxmox import methods, tasks
from ocifree_pipeline.sandbox.proxmox.access import ROOT, Caller
from ocifree_pipeline.sandbox.proxmox.errors import ApiError
from ocifree_pipeline.sandbox.proxmox.nodes import Node

FAILED = 255
PARAMETERS = 255
AS_ROOT = Caller(ROOT)
SAID = {"1": "1", "on": "1", "yes": "1", "true": "1", "0": "0", "off": "0", "no": "0", "false": "0"}
Options = dict[str, str | list[str]]


class Usage(Exception):
    """The words make no command."""


def node_of(who: Who) -> Node:
    return Node(who.machine)


def refusal(who: Who) -> Result | None:
    """Why nobody can use the command now."""
    if who.user != "root":
        return Result(FAILED, err="please run as root\n")
    node = node_of(who)
    if node.own["failed"]:
        return Result(
            111,
            err="ipcc_send_rec[1] failed: Connection refused\nUnable to load access control list: Connection refused\n",
        )
    return None


def options(words: Words, flags: frozenset[str] = frozenset()) -> tuple[list[str], Options]:
    """Words without a name, and ``--name value``, ``--name=value``, ``-name value``; a flag needs no value."""
    plain: list[str] = []
    named: Options = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-") or word == "-":
            plain.append(word)
            continue
        name, equals, value = word.lstrip("-").partition("=")
        if not equals:
            takes_none = name in flags and (not rest or rest[0].lower() not in SAID)
            value = "1" if takes_none or not rest else rest.pop(0)
        before = named.get(name)
        named[name] = value if before is None else [*([before] if isinstance(before, str) else before), value]
    return plain, named


def invoke(node: Node, verb: str, path: str, given: Mapping[str, str | list[str]] | None = None) -> Any:
    """As root. A command takes more words for yes and no than the API does."""
    parameters = methods.find(verb, path)[0].parameters
    values = dict(given or {})
    for name, value in values.items():
        if isinstance(value, str) and name in parameters and parameters[name].kind == "boolean":
            values[name] = SAID.get(value.lower(), value)
    status = 200
    try:
        return methods.invoke(node, AS_ROOT, verb, path, values)
    except ApiError as error:
        status = error.status
        raise
    finally:
        note(node, f"{verb} {path}", status, mutating=verb != "GET")


def note(node: Node, operation: str, status: int, *, mutating: bool) -> None:
    """A command is recorded like a request."""
    instruments.note(
        node.world,
        host=node.address,
        method="RUN",
        path=operation,
        service="pve",
        operation=operation,
        status=status,
        mutating=mutating and status < 400,
    )


def failed(error: ApiError) -> Result:
    return Result(FAILED if error.status != 500 else 255, err=error.text)


def shown(value: Any, form: str = "text") -> str:
    """A value as the commands print it."""
    if value is None:
        return ""
    if form in {"json", "json-pretty"}:
        return json.dumps(value, indent=2 if form == "json-pretty" else None, sort_keys=True) + "\n"
    if isinstance(value, list):
        return _table(value)
    if isinstance(value, dict):
        width = max((len(name) for name in value), default=0)
        rows = ("%-*s %s" % (width, name, _cell(one)) for name, one in sorted(value.items()))  # noqa: UP031
        return "".join(f"{row}\n" for row in rows)
    return f"{value}\n"


def _cell(value: Any) -> str:
    return json.dumps(value) if isinstance(value, dict | list) else str(value)


def _table(rows: list[Any]) -> str:
    if not rows or not all(isinstance(row, dict) for row in rows):
        return "".join(f"{_cell(row)}\n" for row in rows)
    names = list(dict.fromkeys(name for row in rows for name in row))
    widths = {name: max(len(name), *(len(_cell(row.get(name, ""))) for row in rows)) for name in names}
    lines = ["  ".join(name.ljust(widths[name]) for name in names)]
    lines += ["  ".join(_cell(row.get(name, "")).ljust(widths[name]) for name in names) for row in rows]
    return "".join(f"{line.rstrip()}\n" for line in lines)


def is_upid(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("UPID:")


def to_the_end(node: Node, upid: str, *, tells: bool = True) -> Steps:
    """Print a task's log until it ends; with ``tells`` its failure is the command's, else the code is 0 anyway."""
    ended = yield from follow(node, upid)
    if ended == "OK" or ended.startswith("WARNINGS"):
        return 0
    yield Result(FAILED if tells else 0, err=f"{ended}\n")
    return FAILED if tells else 0


def follow(node: Node, upid: str) -> Generator[Event, None, str]:
    from ocifree_pipeline.sandbox.proxmox import nodes

    owner = nodes.named(node, upid.split(":")[1]) or node
    return (yield from tasks.follow(owner, upid))
