"""How much Oracle takes from one tenancy: throttling, and the ban that follows when somebody asks far too often.

A banned tenancy gets 401 for everything, or 404 for everything while its limits are shown as 0.
"""

from fnmatch import fnmatchcase

from ocifree_pipeline.sandbox import capacity
from ocifree_pipeline.sandbox.oracle import errors, limits
from ocifree_pipeline.sandbox.oracle.wire import Call, gate
from ocifree_pipeline.sandbox.world import World

BANNED = "banned"


def ban(world: World, answer: int) -> None:
    """From now on the tenancy is shut out."""
    world.facts[BANNED] = {"since": world.clock.stamp(), "answer": answer}
    limits.override(world, "*", 0)


def pardon(world: World) -> None:
    """End a ban, as support does after weeks."""
    if world.facts.pop(BANNED, None) is not None:
        limits.override(world, "*", None)


@gate
def refuse_the_banned(call: Call) -> None:
    banned = call.world.facts.get(BANNED)
    if banned is None:
        return
    if banned["answer"] == 401:
        raise errors.not_authenticated()
    if call.service != "limits":
        raise errors.not_found()


@gate
def count_calls(call: Call) -> None:
    kept = call.world.facts.get(capacity.FACTS)
    if kept is None:
        return
    settings = capacity.settings(call.world)
    if settings.ban is not None and _too_many(call, settings.ban, kept["calls"].setdefault("ban", [])):
        ban(call.world, settings.ban.answer)
        refuse_the_banned(call)
    if settings.throttle is not None:
        calls = kept["calls"].setdefault("throttle", [])
        if _too_many(call, settings.throttle, calls):
            calls.pop()
            raise errors.too_many_requests(retry_after=max(1, round(settings.throttle.seconds)))


def _too_many(call: Call, rate: capacity.Rate, calls: list[float]) -> bool:
    """Note this call, forget those outside of the window."""
    if not any(fnmatchcase(call.operation, pattern) for pattern in rate.operations):
        return False
    now = call.world.clock.now().timestamp()
    calls[:] = [one for one in calls if one > now - rate.seconds]
    calls.append(now)
    return len(calls) > rate.calls
