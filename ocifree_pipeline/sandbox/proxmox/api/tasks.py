"""/nodes/{node}/tasks: what was begun, and how it ended."""

from typing import Any

from ocifree_pipeline.sandbox.proxmox import access, tasks
from ocifree_pipeline.sandbox.proxmox.methods import Call, Page, everybody, method
from ocifree_pipeline.sandbox.proxmox.schema import flag, text, whole


def _visible(call: Call, task: tasks.Task) -> None:
    if task["user"] not in {call.caller.name, call.caller.user}:
        access.require(call.node, call.caller, f"/nodes/{task['node']}", ["Sys.Audit"])


@method(
    "GET",
    "/nodes/{node}/tasks",
    {
        "start": whole(0),
        "limit": whole(0),
        "errors": flag(),
        "vmid": whole(100),
        "typefilter": text(),
        "userfilter": text(),
        "source": text(pattern="archive|active|all"),
    },
    may=everybody,
)
def _list(call: Call) -> Any:
    rows = []
    for task in reversed(call.node.own["tasks"].values()):
        row = tasks.public(task)
        row["status"] = row.pop("exitstatus", "RUNNING")
        rows.append(row)
    if kind := call.get("typefilter"):
        rows = [row for row in rows if row["type"] == kind]
    if vmid := call.get("vmid"):
        rows = [row for row in rows if row["id"] == str(vmid)]
    if call.get("errors"):
        rows = [row for row in rows if row["status"] not in {"OK", "RUNNING"}]
    start = call.get("start", 0)
    return Page(rows[start : start + call.get("limit", 50)], len(rows))


@method("GET", "/nodes/{node}/tasks/{upid}", may=everybody)
def _index(call: Call) -> Any:
    tasks.find(call.node, call["upid"])
    return [{"name": "log"}, {"name": "status"}]


@method("GET", "/nodes/{node}/tasks/{upid}/status", may=everybody)
def _status(call: Call) -> Any:
    task = tasks.find(call.node, call["upid"])
    _visible(call, task)
    found = tasks.public(task)
    found.pop("endtime", None)
    return found


@method(
    "GET", "/nodes/{node}/tasks/{upid}/log", {"start": whole(0), "limit": whole(0), "download": flag()}, may=everybody
)
def _log(call: Call) -> Any:
    task = tasks.find(call.node, call["upid"])
    _visible(call, task)
    lines = [line for text_ in task["log"] for line in str(text_).splitlines()]
    start, limit = call.get("start", 0), call.get("limit", 50) or len(lines)
    rows = [{"n": number, "t": line} for number, line in enumerate(lines, start=1)]
    return Page(rows[start : start + limit] or ([] if rows else [{"n": 1, "t": "no content"}]), len(rows))


@method("DELETE", "/nodes/{node}/tasks/{upid}", may=everybody)
def _stop(call: Call) -> Any:
    task = tasks.find(call.node, call["upid"])
    if task["user"] not in {call.caller.name, call.caller.user}:
        access.require(call.node, call.caller, f"/nodes/{task['node']}", ["Sys.Modify"])
    if task["status"] == "running":
        task["log"].append("TASK ERROR: interrupted by signal")
        task.update(status="stopped", exitstatus="interrupted by signal", endtime=call.node.now)
