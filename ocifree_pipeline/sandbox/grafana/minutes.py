"""What happens every virtual minute at a stack that is in use: agents send, then alert rules are evaluated.

Nothing runs while no rule and no agent is there. When time is moved far ahead at once, only its last half hour is
played minute by minute: nobody was there to see the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from ocifree_pipeline.sandbox.grafana import alerting, stack
from ocifree_pipeline.sandbox.world import World, transition

MINUTE = timedelta(seconds=60)
FIRST_SECONDS = 15
AGAIN_SECONDS = 5
PLAYED = timedelta(minutes=30)
TICK = "grafana.minute"


@dataclass(frozen=True, slots=True)
class Sender:
    """Somebody who sends every minute while he is there."""

    is_present: Callable[[World], bool]
    push: Callable[[World], None]


AGENTS: list[Sender] = []


def keep(world: World) -> None:
    """See to it that the minutes go on from here, if there is anything to go on for."""
    known = stack.facts(world)
    if not known.get("ticking") and _is_wanted(world):
        known["ticking"] = True
        world.clock.later(FIRST_SECONDS, TICK)
    elif known.get("ticking") and world.clock.mode == "immediate":
        _push_now(world)


def _push_now(world: World) -> None:
    """Nothing takes time in immediate mode: agents do not let anybody wait for their next minute."""
    if world.clock.now().timestamp() - stack.facts(world).get("pushedAt", 0.0) >= AGAIN_SECONDS:
        _push(world)


def _push(world: World) -> None:
    stack.facts(world)["pushedAt"] = world.clock.now().timestamp()
    for one in AGENTS:
        one.push(world)


def _is_wanted(world: World) -> bool:
    return bool(alerting.groups(world)) or any(one.is_present(world) for one in AGENTS)


@transition(TICK)
def _minute(world: World) -> None:
    _push(world)
    alerting.evaluate(world)
    if not _is_wanted(world):
        stack.facts(world)["ticking"] = False
        return
    world.clock.at(max(world.clock.now() + MINUTE, world.clock.latest() - PLAYED), TICK)
