"""Wait until what was asked for is so: reads with growing pauses. The clock is handed in, so tests do not sleep."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from ocifree_pipeline.deployment.errors import NotVerified, OcifreeError, Transient

Seen = TypeVar("Seen")

GROWTH = 1.6


class Clock(Protocol):
    """Seconds that only move forward, and a way to let them pass."""

    def monotonic(self) -> float: ...

    def sleep(self, seconds: float) -> None: ...


@dataclass(frozen=True, slots=True)
class Pause:
    """The first pause and the longest, in seconds."""

    first: float = 1.0
    longest: float = 15.0


class TimedOut(Transient):
    """It did not become so in time. It still may: looking again later is right, asking again is not."""


def wait_for(
    read: Callable[[], Seen],
    done: Callable[[Seen], bool],
    *,
    what: str,
    failed: Callable[[Seen], str | None] = lambda seen: None,
    timeout: float = 600,
    pause: Pause = Pause(),
    clock: Clock = time,
) -> Seen:
    """What `read` returned when `done` was content with it.

    `failed` names what went wrong for good, in Oracle's words; then there is nothing to wait for and NotVerified says
    so. `what` completes "waiting until ...". A fault while reading that may pass does not end the waiting.
    """
    start, step, last = clock.monotonic(), pause.first, "nothing was read"
    while True:
        try:
            seen = read()
        except OcifreeError as error:
            if not isinstance(error, Transient):
                raise
            last = error.what
        else:
            if done(seen):
                return seen
            wrong = failed(seen)
            if wrong:
                raise NotVerified(
                    f"waited until {what}: it failed",
                    why=wrong,
                    fix="read the reason, mend it, and materialize the asset again",
                )
            last = _shown(seen)
        left = timeout - (clock.monotonic() - start)
        if left <= 0:
            raise TimedOut(
                f"waited {timeout:.0f} s until {what}, in vain",
                why=f"last seen: {last}",
                fix="materialize the asset again: it looks first and goes on where it stopped",
            )
        clock.sleep(min(step, left))
        step = min(step * GROWTH, pause.longest)


def _shown(seen: object) -> str:
    state = getattr(seen, "lifecycle_state", None) or getattr(seen, "status", None)
    return str(state or seen).splitlines()[0][:120]
