"""Tasks: a call that takes time answers with a UPID at once, and the work is done while the virtual clock moves.

    @work("qmstart")
    def _start(node: Node, task: dict, args: dict) -> float | None:
        task["log"].append("...")            # a number of seconds: call me again then; None: done
        raise TaskError("why it failed")

Work is named and its arguments are JSON, so that a task survives a snapshot. Faults of the service ``pvetask`` strike
by the type of a task: ``before`` fails it with nothing done, ``after`` with all done, ``slow`` lets it take ``delay``
seconds longer, ``reset`` reboots its node in the middle.
"""

from collections.abc import Callable, Generator
from typing import Any

from ocifree_pipeline.sandbox import instruments
from ocifree_pipeline.sandbox.machines import power, reach
from ocifree_pipeline.sandbox.machines.session import WAIT, Event, Result
from ocifree_pipeline.sandbox.proxmox.errors import ApiError, wrong
from ocifree_pipeline.sandbox.proxmox.nodes import Node, is_node
from ocifree_pipeline.sandbox.world import World, transition

Task = dict[str, Any]
Work = Callable[[Node, Task, dict[str, Any]], float | None]
WORK: dict[str, Work] = {}
UNDO: dict[str, Callable[[Node, dict[str, Any]], None]] = {}
"""What a task of a kind takes back that was promised when it was asked for, when it fails before it did anything."""

SECONDS = 2.0
KEPT = 500


class TaskError(Exception):
    """Why a task failed."""


def work(name: str) -> Callable[[Work], Work]:
    def register(function: Work) -> Work:
        WORK[name] = function
        return function

    return register


def start(
    node: Node, kind: str, ident: str, user: str, args: dict[str, Any] | None = None, *, seconds: float = SECONDS
) -> str:
    """Begin a task; the UPID says who does it."""
    own, world = node.own, node.world
    number = own["pids"] = own.get("pids", 2000) + 1
    now = node.now
    upid = f"UPID:{node.name}:{number:08X}:{now & 0xFFFFFFFF:08X}:{now:08X}:{kind}:{ident}:{user}:"
    rule = instruments.strikes(world, "pvetask", kind)
    task: Task = {
        "upid": upid,
        "node": node.name,
        "pid": number,
        "pstart": now & 0xFFFFFFFF,
        "starttime": now,
        "type": kind,
        "id": ident,
        "user": user,
        "status": "running",
        "log": [],
        "args": args or {},
        "boots": node.machine.boots,
        "fault": {"moment": rule.moment, "message": _fault_message(rule.message)} if rule is not None else None,
        "warnings": 0,
    }
    tasks = own["tasks"]
    tasks[upid] = task
    for old in list(tasks)[:-KEPT]:
        del tasks[old]
    if rule is not None and rule.moment == "slow":
        _at(world, seconds + rule.delay, node, upid)
    else:
        world.clock.later(seconds, "pve.task", machine=node.machine.key, upid=upid)
    return upid


def _fault_message(message: str) -> str:
    return "got timeout" if message.startswith("An internal error") else message


def _at(world: World, seconds: float, node: Node, upid: str) -> None:
    from datetime import timedelta

    moment = world.clock.now() + timedelta(seconds=seconds)
    world.clock.at(moment, "pve.task", machine=node.machine.key, upid=upid)


@transition("pve.task")
def _due(world: World, machine: str, upid: str) -> None:
    computer = reach.of_key(world, machine)
    if computer is None or not is_node(computer):
        return
    node = Node(computer)
    task = node.own["tasks"].get(upid)
    if task is None or task["status"] != "running":
        return
    if computer.phase != "up" or computer.boots != task["boots"]:
        _stop(node, task, "unexpected status")
        return
    fault = task["fault"] or {}
    moment = fault.get("moment")
    if moment in {"reset", "drop"}:
        task["fault"] = None
        _stop(node, task, "unexpected status")
        power.restart(computer)
        return
    if moment == "before":
        if task["type"] in UNDO:
            UNDO[task["type"]](node, task["args"])
        _fail(node, task, fault["message"])
        return
    from ocifree_pipeline.sandbox.proxmox import methods

    methods.load()  # a task may be older than this process
    try:
        again = WORK[task["type"]](node, task, task["args"])
    except (TaskError, ApiError) as error:
        _fail(node, task, str(error) if isinstance(error, TaskError) else error.message)
        return
    if again is not None:
        world.clock.later(again, "pve.task", machine=machine, upid=upid)
    elif moment == "after":
        _fail(node, task, fault["message"])
    elif task["warnings"]:
        task["log"].append(f"TASK WARNINGS: {task['warnings']}")
        _stop(node, task, f"WARNINGS: {task['warnings']}")
    else:
        task["log"].append("TASK OK")
        _stop(node, task, "OK")


def _fail(node: Node, task: Task, why: str) -> None:
    task["log"].append(f"TASK ERROR: {why}")
    _stop(node, task, why)


def _stop(node: Node, task: Task, status: str) -> None:
    task["args"].pop("password", None)
    task.update(status="stopped", exitstatus=status, endtime=node.now)


def warn(task: Task, text: str) -> None:
    task["warnings"] += 1
    task["log"].append(f"WARN: {text}")


def find(node: Node, upid: str) -> Task:
    pieces = upid.split(":")
    if len(pieces) != 9 or pieces[0] != "UPID" or pieces[8]:
        raise wrong(upid="unable to parse worker upid")
    task: Task | None = node.own["tasks"].get(upid)
    if task is None:
        raise wrong(upid="no such task")
    return task


def interrupt(node: Node) -> None:
    """The node has started again: what it was doing when it went down is over."""
    for task in node.own["tasks"].values():
        if task["status"] == "running" and task["boots"] != node.machine.boots:
            _stop(node, task, "unexpected status")


def public(task: Task) -> dict[str, Any]:
    names = ("upid", "node", "pid", "pstart", "starttime", "type", "id", "user", "status", "exitstatus", "endtime")
    return {name: task[name] for name in names if name in task}


def follow(node: Node, upid: str) -> Generator[Event, None, str]:
    """As the commands do it: print the log while the work goes on. The value is how it ended."""
    task = find(node, upid)
    shown = 0
    while True:
        lines = task["log"]
        fresh = [line for line in lines[shown:] if not line.startswith("TASK ")]
        if fresh:
            yield Result(0, "".join(f"{line}\n" for line in fresh))
        shown = len(lines)
        if task["status"] == "stopped":
            return str(task["exitstatus"])
        yield WAIT
        if node.machine.again().boots != task["boots"]:
            return "unexpected status"
