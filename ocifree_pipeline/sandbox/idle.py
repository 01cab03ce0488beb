"""Oracle takes idle Always Free instances back: over seven days CPU, network and, for A1, memory all stayed low.

An instance is reclaimed by being stopped. Paying accounts are left alone. How busy an instance is comes from its
hidden state, as ``[since, cpu, network, memory]`` in percent; until somebody sets it with ``load``, a Micro does next
to nothing, and an A1 is kept busy by the memory that it fills.
"""

from datetime import datetime, timedelta
from itertools import pairwise

from ocifree_pipeline.sandbox import outbox
from ocifree_pipeline.sandbox.clock import parse, stamp
from ocifree_pipeline.sandbox.world import Resource, World, transition

LOADS = "utilisation"
WATCHED = timedelta(days=7)
AGAIN = timedelta(days=1)
LOW = 20.0
SHARE = 0.95
QUIET = (3.0, 1.0, 40.0)
CPU, NETWORK, MEMORY = range(3)


def load(world: World, instance: Resource, *, cpu: float, network: float, memory: float) -> None:
    """From now on the instance is that busy, in percent."""
    instance.hidden.setdefault(LOADS, []).append([world.clock.stamp(), cpu, network, memory])


def loads(instance: Resource) -> list[tuple[datetime, tuple[float, ...]]]:
    """Since when the instance was how busy; before the first it was quiet."""
    return [(parse(since), (cpu, network, memory)) for since, cpu, network, memory in instance.hidden.get(LOADS, ())]


def watch(world: World, instance: Resource) -> None:
    """The instance starts to run: look at it in seven days, and every day after that."""
    if world.profile["account"] == "free":
        _look_at(world, instance, world.clock.now() + WATCHED)


def is_idle(world: World, instance: Resource) -> bool:
    """Whether the 95th percentile of everything that counts for this shape was low all week."""
    from ocifree_pipeline.sandbox.oracle.shape_catalogue import A1, SHAPES

    shape = SHAPES[instance.body["shape"]]
    counted = (CPU, NETWORK, MEMORY) if shape.name == A1 else (CPU, NETWORK)
    now = world.clock.now()
    stretches = _stretches(instance, now - WATCHED, now)
    return shape.always_free and all(
        percentile([(one[which], length) for one, length in stretches]) < LOW for which in counted
    )


def percentile(weighted: list[tuple[float, float]]) -> float:
    """The lowest value that the others do not pass for 95 percent of the time."""
    passed, total = 0.0, sum(length for _, length in weighted)
    for value, length in sorted(weighted):
        passed += length
        if passed >= SHARE * total:
            return value
    return 0.0


def _stretches(instance: Resource, start: datetime, end: datetime) -> list[tuple[tuple[float, ...], float]]:
    """What the load was, and for how many seconds each."""
    edges = [(start, QUIET), *loads(instance), (end, QUIET)]
    found: list[tuple[tuple[float, ...], float]] = []
    for (since, values), (until, _) in pairwise(edges):
        length = (min(until, end) - max(since, start)).total_seconds()
        if length > 0:
            found.append((values, length))
    return found


def _look_at(world: World, instance: Resource, moment: datetime) -> None:
    instance.hidden["idleCheck"] = stamp(moment)
    world.clock.at(moment, "idle.check", ocid=instance.ocid, due=stamp(moment))


@transition("idle.check")
def _check(world: World, ocid: str, due: str) -> None:
    from ocifree_pipeline.sandbox.oracle import instance_life

    instance = world.get("instance", ocid)
    if instance is None or instance.state != "RUNNING" or instance.hidden.get("idleCheck") != due:
        return
    if not is_idle(world, instance):
        _look_at(world, instance, world.clock.now() + AGAIN)
        return
    owner = world.table("user")[world.profile["user"]].body["email"]
    name = instance.body["displayName"]
    text = (
        f"The Always Free compute instance {name} was idle for seven days and has been stopped. You can start it again."
    )
    outbox.send(world, [owner], f"Idle instance reclaimed: {name}", text, instance=ocid)
    instance_life.stop(world, instance)
