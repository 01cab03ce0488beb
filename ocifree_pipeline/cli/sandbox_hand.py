"""ocifree sandbox fault, clock, record: the hand that moves the world, and what it sees."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer

from ocifree_pipeline.cli.output import say, say_json, table
from ocifree_pipeline.cli.sandbox_running import HERE, Directory, Json, running_in, told

fault = typer.Typer(help="Make requests go wrong on purpose.", no_args_is_help=True)
clock = typer.Typer(help="Look at the virtual time, and move it.", no_args_is_help=True)
record = typer.Typer(help="What was asked of the sandbox.", no_args_is_help=True)
UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


# faults


@fault.command("add")
def add_fault(
    *,
    operation: Annotated[str, typer.Argument(help="Name or pattern: LaunchInstance, 'Create*', '*'.")] = "*",
    service: Annotated[str, typer.Option(help="Name or pattern: iaas, objectstorage, ...")] = "*",
    moment: Annotated[str, typer.Option(help="before, after, drop, reset, truncate or slow.")] = "before",
    status: Annotated[int, typer.Option(help="HTTP status of the error.")] = 500,
    code: Annotated[str, typer.Option(help="Oracle's code.")] = "InternalError",
    message: Annotated[str, typer.Option(help="Oracle's message.")] = "An internal error occurred.",
    probability: Annotated[float, typer.Option(help="From 0 to 1.")] = 1.0,
    times: Annotated[int, typer.Option(help="How often it strikes. 0: for ever.")] = 1,
    delay: Annotated[float, typer.Option(help="Seconds, for moment slow.")] = 0.0,
    retry_after: Annotated[int | None, typer.Option(help="Send this Retry-After.")] = None,
    directory: Directory = HERE,
    as_json: Json = False,
) -> None:
    """Add a rule: which requests go wrong, when and how."""
    rule = {
        "service": service,
        "operation": operation,
        "moment": moment,
        "status": status,
        "code": code,
        "message": message,
        "probability": probability,
        "times": times or None,
        "delay": delay,
        "headers": {} if retry_after is None else {"retry-after": str(retry_after)},
    }
    with told(as_json):
        added = running_in(directory, as_json).call("POST", "faults", rule)
        if as_json:
            say_json(added)
        else:
            say(f"rule {added['number']}: {_how(added)}")


@fault.command("list")
def list_faults(directory: Directory = HERE, as_json: Json = False) -> None:
    """The rules, and how often each has struck."""
    with told(as_json):
        found = running_in(directory, as_json).call("GET", "faults")
        if as_json:
            say_json(found)
            return
        rows = [
            [rule["number"], rule["service"], rule["operation"], _how(rule), rule["fired"]] for rule in found["rules"]
        ]
        table(["rule", "service", "operation", "what happens", "struck"], rows)


@fault.command("clear")
def clear_faults(
    number: Annotated[int | None, typer.Argument(help="One rule. [default: all of them]")] = None,
    directory: Directory = HERE,
    as_json: Json = False,
) -> None:
    """Take rules back."""
    with told(as_json):
        running_in(directory, as_json).call("DELETE", "faults" if number is None else f"faults/{number}")
        if as_json:
            say_json({"cleared": number or "all"})
            return
        say("No fault strikes any more." if number is None else f"Rule {number} is gone.")


def _how(rule: dict[str, Any]) -> str:
    errors = f"{rule['status']} {rule['code']}"
    what = {
        "before": f"{errors}, nothing done",
        "after": f"{errors}, although done",
        "drop": "connection cut, nothing done",
        "reset": "connection cut, although done",
        "truncate": "done, reply breaks off",
        "slow": f"done, reply {rule['delay']:g} s late",
    }[rule["moment"]]
    often = "always" if rule["times"] is None else f"{rule['times']} times"
    return f"{what}, {often}" + (f", probability {rule['probability']:g}" if rule["probability"] < 1 else "")


# time


@clock.command("show")
def show_clock(directory: Directory = HERE, as_json: Json = False) -> None:
    """The virtual time, how it moves, and what waits for it."""
    with told(as_json):
        _show_clock(running_in(directory, as_json).call("GET", "clock"), as_json)


@clock.command("advance")
def advance_clock(
    by: Annotated[str, typer.Argument(help="Like 90, 15m, 6h or 3d.")],
    directory: Directory = HERE,
    as_json: Json = False,
) -> None:
    """Move time forward. What falls due happens."""
    with told(as_json):
        _show_clock(running_in(directory, as_json).call("POST", "clock", {"advance": _seconds(by)}), as_json)


@clock.command("mode")
def set_clock_mode(
    mode: Annotated[str, typer.Argument(help="immediate, seconds or manual.")],
    rate: Annotated[float, typer.Option(help="Virtual seconds per second in mode seconds.")] = 1.0,
    directory: Directory = HERE,
    as_json: Json = False,
) -> None:
    """Say how time moves: by itself, faster, or by hand only."""
    with told(as_json):
        _show_clock(running_in(directory, as_json).call("POST", "clock", {"mode": mode, "rate": rate}), as_json)


def _seconds(text: str) -> float:
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smhd]?)", text)
    if match is None:
        raise typer.BadParameter(f"{text!r} is no duration; write it like 90, 15m, 6h or 3d")
    return float(match[1]) * UNITS[match[2]]


def _show_clock(state: dict[str, Any], as_json: bool) -> None:
    if as_json:
        say_json(state)
        return
    say(f"{state['now']}  mode {state['mode']}" + (f", rate {state['rate']:g}" if state["mode"] == "seconds" else ""))
    if state["pending"]:
        table(["due", "what waits"], [[step["due"], step["transition"]] for step in state["pending"]])


# records


@record.command("show")
def show_records(
    operation: Annotated[str | None, typer.Option(help="Only this operation.")] = None,
    status: Annotated[int | None, typer.Option(help="Only this HTTP status.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 50,
    directory: Directory = HERE,
    as_json: Json = False,
) -> None:
    """The newest requests."""
    with told(as_json):
        found = running_in(directory, as_json).call(
            "GET", "records", query=_filters(operation, status) | {"limit": str(limit)}
        )
        if as_json:
            say_json(found)
            return
        rows = [
            [one["at"], one["status"] or "cut", one["code"], one["operation"] or one["method"], _where(one)]
            for one in found["entries"]
        ]
        table(["at", "status", "code", "operation", "path"], rows, title=f"{len(rows)} of {found['count']} requests")


@record.command("count")
def count_records(
    operation: Annotated[str | None, typer.Option(help="Only this operation.")] = None,
    status: Annotated[int | None, typer.Option(help="Only this HTTP status.")] = None,
    directory: Directory = HERE,
    as_json: Json = False,
) -> None:
    """How many requests, how many signatures were good, how many changed something."""
    with told(as_json):
        found = running_in(directory, as_json).call("GET", "records/count", query=_filters(operation, status))
        if as_json:
            say_json(found)
            return
        say(
            f"{found['count']} requests, {found['verified']} with a good signature, "
            f"{found['mutating']} that change things"
        )
        table(["operation", "requests"], list(found["byOperation"].items()))


@record.command("clear")
def clear_records(directory: Directory = HERE, as_json: Json = False) -> None:
    """Forget them."""
    with told(as_json):
        running_in(directory, as_json).call("DELETE", "records")
        if as_json:
            say_json({"cleared": "all"})
            return
        say("The record is empty.")


def _filters(operation: str | None, status: int | None) -> dict[str, str]:
    given = {"operation": operation, "status": status}
    return {name: str(value) for name, value in given.items() if value is not None}


def _where(entry: dict[str, Any]) -> str:
    return str(entry["path"] or entry["host"])
