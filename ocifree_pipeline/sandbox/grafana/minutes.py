"""What happens every virtual minute at a stack that is in use: agents push, then alert rules are evaluated.

Nothing runs while no rule and no agent is there. When time is moved far ahead at once, only its last half hour is
played minute by minute: nobody was there to see the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from ocifree_pipeline.sandbox.grafana import alerting, stack
from ocifree_pipeline.sandbox.world import World, transition

MINUTE = timedelta(seconds=60)
PLAYED = timedelta(minutes=30)
TICK = "grafana.minute"

AGENTS: list[Callable[[World], bool]] = []
"""Each pushes what it has for this minute, and says whether it will have more."""


def keep(world: World) -> None:
    """See to it that the minutes go on from here."""
    known = stack.facts(world)
    if not known.get("ticking"):
        known["ticking"] = True
        world.clock.at(world.clock.now() + MINUTE, TICK)


@transition(TICK)
def _minute(world: World) -> None:
    goes_on = [agent(world) for agent in AGENTS]
    alerting.evaluate(world)
    if not any(goes_on) and not alerting.groups(world):
        stack.facts(world)["ticking"] = False
        return
    following = max(world.clock.now() + MINUTE, world.clock.latest() - PLAYED)
    world.clock.at(following, TICK)
