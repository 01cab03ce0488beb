"""Changes of load balancers are jobs: accepted at once, seen when they are done. Each service shows them in its way.

A change is data: a list of places in the balancer's body with their new values, where None means removal.
"""

from collections.abc import Sequence
from typing import Any

from ocifree_pipeline.sandbox import clock
from ocifree_pipeline.sandbox.oracle import balancer_family, network_life
from ocifree_pipeline.sandbox.oracle.balancer_family import Family
from ocifree_pipeline.sandbox.world import TRANSITIONS, Resource, World, transition

CHANGE_SECONDS = 5
Edit = tuple[Sequence[str], Any]


def start(
    world: World,
    family: Family,
    balancer: Resource,
    operation: str,
    edits: Sequence[Edit] = (),
    *,
    action: str = "UPDATED",
    seconds: float = CHANGE_SECONDS,
    on_done: str | None = None,
) -> Resource:
    """Begin a change. ``on_done`` is a transition that is called with the balancer's ``ocid`` when it is done."""
    now = world.clock.stamp()
    job_type = family.job_type(operation)
    hidden = {
        "kind": family.kind,
        "balancer": balancer.ocid,
        "compartment": balancer.body["compartmentId"],
        "type": job_type,
        "action": action,
        "edits": [[list(path), value] for path, value in edits],
        "onDone": on_done,
        "status": "IN_PROGRESS",
        "accepted": now,
        "finished": None,
        "seconds": seconds,
        "logs": [{"message": f"{job_type} has started", "timestamp": now}],
    }
    job = world.add(
        family.job_kind, {}, ocid=world.new_ocid(family.job_kind, balancer.region), hidden=hidden, bare=True
    )
    job.region = balancer.region
    balancer.hidden["job"] = job.ocid
    if action == "DELETED":
        world.change(balancer, lifecycleState="DELETING")
    elif action == "UPDATED" and family.shows_updating:
        world.change(balancer, lifecycleState="UPDATING")
    world.clock.later(seconds, "balancer.done", kind=family.job_kind, ocid=job.ocid)
    return job


def of_balancer(world: World, family: Family, ocid: str) -> list[Resource]:
    """The jobs of a balancer, newest first."""
    return [one for one in world.all(family.job_kind) if one.hidden["balancer"] == ocid][::-1]


def percent(world: World, job: Resource) -> float:
    if job.hidden["status"] != "IN_PROGRESS":
        return 100.0
    seconds: float = job.hidden["seconds"]
    passed = (world.clock.now() - clock.parse(job.hidden["accepted"])).total_seconds()
    return round(min(99.0, max(0.0, 100 * passed / seconds)), 1)


@transition("balancer.done")
def _done(world: World, kind: str, ocid: str) -> None:
    job = world.table(kind)[ocid]
    balancer = world.table(job.hidden["kind"])[job.hidden["balancer"]]
    for path, value in job.hidden["edits"]:
        _apply(balancer.body, path, value)
    balancer.hidden["job"] = None
    now = world.clock.stamp()
    if job.hidden["action"] == "DELETED":
        balancer_family.vacate(world, balancer)
        network_life.vanish(world, balancer, "DELETED")
    else:
        world.change(balancer, lifecycleState="ACTIVE")
    if job.hidden["onDone"]:
        TRANSITIONS[job.hidden["onDone"]](world, ocid=balancer.ocid)
    job.hidden["logs"].append({"message": f"{job.hidden['type']} has succeeded", "timestamp": now})
    job.hidden.update(status="SUCCEEDED", finished=now)
    world.touch(job)


def _apply(body: dict[str, Any], path: Sequence[str], value: Any) -> None:
    *parents, last = path
    for name in parents:
        body = body[name]
    if value is None:
        body.pop(last, None)
    else:
        body[last] = value
